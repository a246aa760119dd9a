//! Why an executor does not take part in a study: told when the study is prepared, before anything is placed.

use std::fmt;

use crate::ids::Digest;

/// What an executor will not or cannot do for a study. Displayed as words for people, to follow "it ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot multiply as the other executors of the run do.
    #[error("cannot multiply with the kernel {wanted:?}; has {}", has.join(", "))]
    Kernel {
        /// What the run trains with.
        wanted: String,
        /// What it has, the fastest first.
        has: Vec<String>,
    },
    /// Something that the study needs did not get there.
    #[error("lacks the {what} (blob {blob})")]
    Missing {
        /// What.
        what: StudyPart,
        /// The blob that holds it.
        blob: Digest,
    },
    /// The data set cannot be used.
    #[error("cannot use the data set: {reason}")]
    Data {
        /// Why.
        reason: String,
    },
    /// The description of the study cannot be read.
    #[error("cannot read the study's description: {reason}")]
    Study {
        /// Why.
        reason: String,
    },
    /// It runs nobody's programs.
    #[error("runs no programs; start it with --allow-programs if whoever can reach it may run theirs")]
    NoPrograms,
    /// The program of the study cannot be started there.
    #[error("cannot start the study's program: {reason}")]
    Program {
        /// What is missing, where it was looked for, and what to do.
        reason: String,
    },
    /// The trainer has nothing to do with this data.
    #[error("cannot train so: {reason}")]
    Trainer {
        /// Why.
        reason: String,
    },
}

/// What an executor is given of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StudyPart {
    /// The data set.
    Data,
    /// What is to be done with it.
    Description,
}

impl fmt::Display for StudyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data set",
            Self::Description => "study's description",
        })
    }
}
