//! The process on a node that trains.
//!
//! | module | holds |
//! |---|---|
//! | [`command`] | the flags, and the process around the rest |
//! | [`server`] | listens, and puts the parts below together |
//! | `session` | one driver at a time: hello, launches, reports |
//! | `hold` | who that driver is |
//! | `blocks` | bulk: offers, pushes, pulls |
//! | [`store`] | the blobs: cache files and memory |
//! | [`slots`] | the training threads |
//! | `work` | what a slot does with one attempt |
//! | [`nn`] | the built-in trainer: networks, optimizers, the training loop; pure |

mod blocks;
pub mod command;
mod hold;
pub mod nn;
pub mod server;
mod session;
pub mod slots;
pub mod store;
mod work;
