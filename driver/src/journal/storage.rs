//! The seam of simulation: what a run asks of its folder, and why the folder may refuse.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broadsweep_common::room;

/// One run folder: its journal, and small whole files such as `checkpoints/t7-3` or `weights/t7`.
///
/// One process writes there (the folder is locked), and no two threads the same file at a time. A file's name is a
/// word, or a folder's and a word: `weights/t7`. No part of it starts with a dot; anything else is refused as
/// [`StorageError::Failed`].
pub trait Storage: Debug + Send + Sync {
    /// The journal's path, for messages.
    fn journal_path(&self) -> PathBuf;

    /// The journal's length in bytes, or `None` if there is no journal.
    ///
    /// # Errors
    /// [`StorageError`], as all that follow.
    fn journal_bytes(&self) -> Result<Option<u64>, StorageError>;

    /// Fills `buffer` with the journal's bytes from `offset` on. The journal must have that many.
    ///
    /// # Errors
    /// [`StorageError`]; a shorter journal is [`StorageError::Failed`].
    fn read_journal(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError>;

    /// Writes `bytes` behind the journal's last byte. They are durable after [`Self::sync_journal`].
    ///
    /// `offset` is where the caller knows the end to be: a journal of another length has a second writer.
    ///
    /// # Errors
    /// [`StorageError`]; then the journal ends at `offset` again, unless the folder refuses even that.
    fn append_journal(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes all of the journal durable. It returns after the disk has said so.
    ///
    /// # Errors
    /// [`StorageError`]; then what was not synced before may or may not be there after a crash.
    fn sync_journal(&self) -> Result<(), StorageError>;

    /// Cuts the journal to its first `bytes` bytes; durable after [`Self::sync_journal`].
    ///
    /// # Errors
    /// [`StorageError`].
    fn truncate_journal(&self, bytes: u64) -> Result<(), StorageError>;

    /// Begins a journal that will take the place of the present one, if any, at once and whole.
    ///
    /// # Errors
    /// [`StorageError`].
    fn new_journal(&self) -> Result<Box<dyn NewJournal + '_>, StorageError>;

    /// Writes a whole file, durably: it has all of its bytes or its former ones, whatever happens.
    ///
    /// # Errors
    /// [`StorageError`].
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Reads a whole file of at most `bytes_max` bytes; `None` if there is none.
    ///
    /// # Errors
    /// [`StorageError`]; a longer file is [`StorageError::Failed`], before memory is taken for it.
    fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError>;

    /// Removes a file; one that is not there is no error. After a crash of the machine it may be there again.
    ///
    /// # Errors
    /// [`StorageError`].
    fn remove(&self, name: &str) -> Result<(), StorageError>;

    /// The names of the whole files in `folder`, in their order; none if there is no such folder.
    ///
    /// # Errors
    /// [`StorageError`].
    fn list(&self, folder: &str) -> Result<Vec<String>, StorageError>;
}

/// A journal in the making. Dropped unsealed, it leaves nothing, and the former journal is as it was.
pub trait NewJournal {
    /// Writes `bytes` behind what was written.
    ///
    /// # Errors
    /// [`StorageError`]; then this cannot be sealed any more.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes this the journal: synced, renamed, the folder synced. After a crash at any point there is the former
    /// journal or this one.
    ///
    /// # Errors
    /// [`StorageError`]; then it is not known which of the two it will be.
    fn seal(self: Box<Self>) -> Result<(), StorageError>;
}

/// Why a run folder was not read or written, by what the user can do about it.
///
/// It can be cloned, since a journal repeats its first error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// No room.
    #[error("cannot {doing} {}: {source}; {}, then resume the run", path.display(), room::advice(source))]
    Full {
        /// What was tried: a verb.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Not allowed.
    #[error("cannot {doing} {}: {source}; it needs to be yours to read and write", path.display())]
    Denied {
        /// What was tried: a verb.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Anything else.
    #[error("cannot {doing} {}: {source}", path.display())]
    Failed {
        /// What was tried: a verb.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl StorageError {
    /// Sorts what the system said by what the user can do.
    pub(super) fn from_io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let (path, kind, source) = (path.to_owned(), source.kind(), Arc::new(source));
        match kind {
            _ if room::is_full(&source) => Self::Full { doing, path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { doing, path, source }
            }
            _ => Self::Failed { doing, path, source },
        }
    }

    /// [`Self::Failed`] for a reason of our own.
    pub(super) fn failed(doing: &'static str, path: &Path, why: impl Into<String>) -> Self {
        Self::Failed { doing, path: path.to_owned(), source: Arc::new(io::Error::other(why.into())) }
    }

    /// The file is not of the length that the caller knows.
    pub(super) fn second_writer(path: &Path, found: u64, known: u64) -> Self {
        let why = format!("it has {found} bytes where this process left {known}: another process writes it");
        Self::failed("write", path, why)
    }

    /// The file is longer than the caller takes.
    pub(super) fn too_long(path: &Path, bytes: u64, bytes_max: u64) -> Self {
        Self::failed("read", path, format!("it has {bytes} bytes, more than the {bytes_max} that it may have"))
    }
}

/// Whether `part` can be the name of a file or a folder. A dot in front is for files that are not finished.
fn is_word(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\0'])
}

/// The folder and the file that `name` names; the folder is empty if it is the run folder itself.
pub(super) fn split_name<'a>(doing: &'static str, name: &'a str) -> Result<(&'a str, &'a str), StorageError> {
    let (folder, file) = name.split_once('/').unwrap_or(("", name));
    if is_word(file) && (is_word(folder) || !name.contains('/')) {
        Ok((folder, file))
    } else {
        Err(StorageError::failed(doing, Path::new(name), "this is no name for a file of a run"))
    }
}

/// `folder`, if it can be one.
pub(super) fn checked_folder(folder: &str) -> Result<&str, StorageError> {
    if is_word(folder) {
        Ok(folder)
    } else {
        Err(StorageError::failed("list", Path::new(folder), "this is no name for a folder of a run"))
    }
}
