//! Why there is no journal to go on with, and what was cut off where there is one. Each says what to do.

use std::fmt;
use std::path::PathBuf;

use broadsweep_common::codec::CodecError;

use super::format::RECORD_BYTES_MAX;
use super::storage::StorageError;

/// Why a journal was not made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder refuses. A journal that failed to commit repeats its first one.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is one already.
    #[error("there is a journal {} already: resume its run, or start one in a new folder", .0.display())]
    Exists(PathBuf),
    /// There is none.
    #[error("there is no journal {}: no run began there; start a new one", .0.display())]
    Missing(PathBuf),
    /// The first bytes are not those of a journal.
    #[error("{} does not begin as a journal: its header is damaged, or it is another file; restore it from a copy, \
             or start a new run (nothing was changed)", .0.display())]
    Header(PathBuf),
    /// Another format.
    #[error("the journal {} has format {found}, and this broadsweep reads format {known}: resume with the build that \
             wrote it, or start a new run (nothing was changed)", path.display())]
    Version {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Bytes that were committed have changed.
    #[error("the journal {} is damaged: record {record}, at byte {offset}, is not what was written, but {evidence}; \
             restore the file from a copy, or start a new run (nothing was changed)", path.display())]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// The first record that cannot be read, counted from 0.
        record: u64,
        /// Where its frame starts.
        offset: u64,
        /// Why this is no torn end.
        evidence: Evidence,
    },
    /// A record as it was written, but not one of ours.
    #[error("record {record} of the journal {}, at byte {offset}, {source}: another build of broadsweep wrote it; \
             resume with that build, or start a new run (nothing was changed)", path.display())]
    Undecodable {
        /// The journal.
        path: PathBuf,
        /// Which record, counted from 0.
        record: u64,
        /// Where its frame starts.
        offset: u64,
        /// What does not fit.
        source: CodecError,
    },
    /// A record that cannot be written.
    #[error("a record {0}")]
    Unencodable(CodecError),
    /// A record that is too large.
    #[error("a record of {bytes} bytes is more than a journal takes ({RECORD_BYTES_MAX})")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What shows that a bad frame is damage, not the torn end of an unfinished commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A commit behind it, which was not begun before the bad one was synced.
    CommitBehind {
        /// Where that frame starts.
        offset: u64,
    },
    /// More bytes than one commit can leave.
    BytesBehind {
        /// From the bad frame's start to the file's end.
        bytes: u64,
    },
}

impl fmt::Display for Evidence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommitBehind { offset } => write!(out, "a later commit stands at byte {offset}"),
            Self::BytesBehind { bytes } => write!(out, "{bytes} bytes follow, more than one unfinished commit"),
        }
    }
}

/// The unfinished commit that a crash left at a journal's end. Shown as one that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The journal.
    pub path: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// How many records stand before.
    pub records: u64,
}

impl Torn {
    /// The same for one who only reads, and cuts nothing off.
    #[must_use]
    pub fn left_out(&self) -> String {
        let Self { path, offset, bytes, records } = self;
        format!(
            "the journal {} ends in an unfinished commit, as a crash leaves it: {bytes} bytes after its first {records} \
             records, from byte {offset} on, are left out",
            path.display()
        )
    }
}

impl fmt::Display for Torn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, bytes, records } = self;
        write!(
            out,
            "the journal {} ended in an unfinished commit: {bytes} bytes after its first {records} records, from \
             byte {offset} on, were cut off; what they stood for is done again",
            path.display()
        )
    }
}
