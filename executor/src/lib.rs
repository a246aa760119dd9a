//! The process on a node that trains.
//!
//! | module | holds |
//! |---|---|
//! | [`nn`] | the built-in trainer: networks, optimizers, the training loop; pure |

pub mod nn;
