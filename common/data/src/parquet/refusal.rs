//! Why a Parquet file is not read, before anybody says which file it is.

use std::io;

use super::compact::Broken;
use crate::error::{DataError, Origin};

/// Why a part of a file is not read.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It says what cannot be.
    Corrupt(String),
    /// It would take more memory or time than it may.
    TooLarge(String),
    /// It is written in a way that is not read here.
    Unsupported(String),
    /// The operating system could not read it.
    Unreadable(io::Error),
}

impl Refusal {
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    /// With the file's name.
    pub(super) fn of(self, file: &Origin) -> DataError {
        let file = file.clone();
        match self {
            Self::Corrupt(what) => DataError::Corrupt { file, what },
            Self::TooLarge(what) => DataError::TooLarge { file, what },
            Self::Unsupported(what) => DataError::Unsupported { file, what },
            Self::Unreadable(error) => DataError::of_file(&file, error),
        }
    }

    /// With the column's name, as it is shown.
    pub(super) fn in_column(self, name: &str) -> Self {
        let within = |what: String| format!("column `{name}`: {what}");
        match self {
            Self::Corrupt(what) => Self::Corrupt(within(what)),
            Self::TooLarge(what) => Self::TooLarge(within(what)),
            Self::Unsupported(what) => Self::Unsupported(within(what)),
            Self::Unreadable(error) => Self::Unreadable(error),
        }
    }
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        Self::corrupt(match broken {
            Broken::Short => "its description ends too early",
            Broken::Wrong(what) => what,
        })
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::corrupt("it ends too early"),
            _ => Self::Unreadable(error),
        }
    }
}
