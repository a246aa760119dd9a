//! The process on a node that trains.
//!
//! | module | holds |
//! |---|---|
//! | [`nn`] | the built-in trainer: networks, optimizers, the training loop; pure |
//! | [`slots`] | the training threads |
//! | [`store`] | the blobs: cache files and memory |

mod hold;
pub mod nn;
pub mod slots;
pub mod store;
