//! Models of other programs, as ONNX has them.
//!
//! | module | holds |
//! |---|---|
//! | [`messages`] | the format, as far as it is used: our own models are written with it, too |
//! | [`opened`] | a file, opened: what it takes and answers, and its graph in standard operators |
//! | `graph` | the graph of a file: whether it is one, and who makes what |
//! | `inputs`, `answer` | what a graph takes; which output answers, and what it means |
//! | `lower` | machine learning operators, put into standard ones |
//! | `shapes` | refuses graphs whose memory depends on the values of rows |
//! | `session` | a graph that is run, with the feature `run` |
//! | `constant`, `attributes` | tensors that do not change; what nodes are told |
//! | [`error`] | what can be wrong |

pub mod error;
pub mod messages;
pub mod opened;

mod answer;
mod attributes;
mod constant;
mod graph;
mod inputs;
mod lower;
#[cfg(feature = "run")]
mod session;
mod shapes;
#[cfg(test)]
mod tests;

pub use answer::AnswerKind;
pub use error::OnnxError;
pub use opened::{Opened, open};
#[cfg(feature = "run")]
pub use session::{Runner, Session};

/// Bytes of the largest file that the format allows, and of another one beside it.
pub const BYTES_MAX: u64 = i32::MAX as u64;
