//! What can be wrong with a model of another program.

use std::io;
use std::path::PathBuf;

use broadsweep_common::printable::printable;

use crate::BYTES_MAX;

/// Letters of a name that an error shows.
const LETTERS_SHOWN_MAX: usize = 80;

/// Why a file is no model that can be applied.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has more bytes than the format allows.
    #[error("it has {bytes} bytes, and {BYTES_MAX} are allowed")]
    TooLarge {
        /// How many.
        bytes: u64,
    },
    /// It is no ONNX, or damaged.
    #[error("it is no ONNX model, or damaged: {0}")]
    Damaged(String),
    /// It is one that cannot be applied here; the text says why, and what to do.
    #[error("{0}")]
    Unsupported(String),
    /// The graph does not run.
    #[error("its graph does not run: {0}")]
    Failed(String),
}

/// A name as an error shows it.
pub(crate) fn shown(name: &str) -> impl std::fmt::Display + '_ {
    printable(name, LETTERS_SHOWN_MAX)
}
