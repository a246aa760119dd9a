//! The input of `broadsweep apply`: files, cut into partitions, and the rows of one of these for a model that is trained.
//!
//! Partitions depend on the input alone, never on who reads them: the same bytes are cut alike on any machine. A row that
//! no model can take is set aside with its reason; an error is one of a whole file.
//!
//! | module | holds |
//! |---|---|
//! | `inputs` | files and folders, listed in their order |
//! | `elsewhere` | what lies on no file system, listed likewise |
//! | `globs` | names with wildcards |
//! | `cut` | how files become partitions |
//! | `records` | where the records of a text begin |
//! | `bad` | rows that are set aside |
//! | `plain` | rows as they are, for whoever has no schema |
//! | `rows` | the rows of one partition |
//! | `parts` | what a partition needs of its files, for whoever cannot read them |

mod bad;
mod cut;
mod elsewhere;
mod globs;
mod inputs;
mod parts;
mod plain;
mod records;
mod rows;
#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use tempfile::TempDir;

pub use broadsweep_common::application::{
    BadRow, InputFile, KeptCell, KeptColumn, KeptKind, Partition, Portion, Wanted,
};

use crate::error::{DataError, Origin};

pub use cut::{cut, cut_with};
pub use elsewhere::Elsewhere;
pub use parts::{SENT_BYTES_MAX, needed, pack, unpack};
pub use plain::{PlainInput, PlainPiece, PlainValues, look};
pub use rows::{PartitionRows, Piece};

/// Files, cut into partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// In the order in which they were named; those of a folder in that of their names.
    pub files: Vec<InputFile>,
    /// In the order of files and rows.
    pub partitions: Vec<Partition>,
    /// What is passed on of each row.
    pub kept: Vec<KeptColumn>,
    /// What people should know, though it is no error.
    pub remarks: Vec<String>,
}

/// A file of the input where it is read: under its own name, or a copy of the parts that a partition needs.
#[derive(Clone, Debug)]
pub struct Readable {
    file: InputFile,
    copy: Option<Held>,
}

/// What a copy is in: it goes with the last one who holds it.
#[derive(Clone, Debug)]
enum Held {
    /// A file without a name, opened anew through the descriptor that is held; nothing of it is left, however the process ends.
    Unnamed(Arc<File>),
    /// One of many in a folder: each descriptor is one of a thousand that a process may have.
    Named {
        /// It goes with the last of its files.
        _folder: Arc<TempDir>,
        path: Arc<PathBuf>,
    },
}

impl Readable {
    /// A file that lies on this machine.
    #[must_use]
    pub fn here(file: InputFile) -> Self {
        Self { file, copy: None }
    }

    /// A copy of some parts of a file: as long as the file, with all that will be read of it.
    #[must_use]
    pub fn brought(file: InputFile, copy: File) -> Self {
        Self { file, copy: Some(Held::Unnamed(Arc::new(copy))) }
    }

    /// Refuses a file that is no longer as it was when it was cut. A copy is.
    ///
    /// # Errors
    /// [`DataError`], with what changed.
    pub fn check(&self) -> Result<(), DataError> {
        if self.copy.is_some() { Ok(()) } else { self.file.check() }
    }

    /// What errors call it, and where it is.
    fn origin(&self) -> Origin {
        let copy = self.copy.as_ref().map(|held| match held {
            Held::Unnamed(file) => Arc::new(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))),
            Held::Named { path, .. } => Arc::clone(path),
        });
        Origin { copy, ..self.file.origin() }
    }
}

/// A file of the input, beside the one that lies on this machine now.
trait OnDisk: Sized {
    /// What a file is now.
    fn look(path: &Path) -> Result<Self, DataError>;

    /// Refuses a file that is no longer as it was.
    fn check(&self) -> Result<(), DataError>;

    /// What errors call it.
    fn origin(&self) -> Origin;
}

impl OnDisk for InputFile {
    fn look(path: &Path) -> Result<Self, DataError> {
        let origin = Origin::file(path.to_owned());
        let text = path.to_str().ok_or_else(|| {
            let what = "its path is not UTF-8; rename it, or the folder that is called so".to_owned();
            DataError::Unsupported { file: origin.clone(), what }
        })?;
        let metadata = fs::metadata(path).map_err(|error| DataError::of_file(&origin, error))?;
        Ok(Self {
            path: text.to_owned(),
            bytes: metadata.len(),
            modified_ns: modified_ns(&metadata),
            tag: String::new(),
        })
    }

    fn check(&self) -> Result<(), DataError> {
        let now = Self::look(Path::new(&self.path))?;
        let what = if now.bytes != self.bytes {
            format!("it had {} bytes and has {}", self.bytes, now.bytes)
        } else if now.modified_ns != self.modified_ns {
            "it was written again".to_owned()
        } else {
            return Ok(());
        };
        Err(DataError::Changed { file: self.origin(), what })
    }

    fn origin(&self) -> Origin {
        Origin::file(self.path.clone().into())
    }
}

fn modified_ns(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}
