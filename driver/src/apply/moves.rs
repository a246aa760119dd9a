//! Folders exchanged, also where a file system cannot do it at once; and folders that are read, moved and synced.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::OutputError;

/// How folders are moved. No flag is needed to move one where nothing may be overwritten: it takes the place of an empty
/// folder or of none, and of nothing else, on every file system.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moves {
    /// Exchanged in one step, if the file system can.
    Flags,
    /// As on file systems that cannot.
    #[cfg(test)]
    Plain,
}

/// Whether two folders could be exchanged in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchanged {
    Yes,
    /// This file system does not know how; they are where they were.
    Unknown,
}

impl Moves {
    /// Exchanges two folders in one step, if the file system can.
    pub(super) fn exchange(self, one: &Path, other: &Path) -> Result<Exchanged, OutputError> {
        match self {
            #[cfg(test)]
            Self::Plain => Ok(Exchanged::Unknown),
            Self::Flags => match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
                Ok(()) => Ok(Exchanged::Yes),
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(Exchanged::Unknown),
                Err(error) => Err(OutputError::unwritten(other)(error.into())),
            },
        }
    }
}

/// Whether anything has this name, also a link to nothing.
pub(super) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The names in a folder, in their order; `None` if there is no such folder.
pub(super) fn names_in(folder: &Path) -> Result<Option<Vec<OsString>>, OutputError> {
    let failed = OutputError::unreadable(folder);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(&failed)?,
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>();
    let mut names = names.map_err(&failed)?;
    names.sort_unstable();
    Ok(Some(names))
}

/// Moves a file or a folder within a file system. A folder takes the place of an empty one or of none.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), OutputError> {
    fs::rename(from, to).map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => OutputError::NotEmpty(to.to_owned()),
        _ => OutputError::unwritten(to)(error),
    })
}

/// Makes durable which names a folder has, or what a file holds.
pub(super) fn sync(path: &Path) -> Result<(), OutputError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(OutputError::unwritten(path))
}

/// Removes a file or an empty folder, or a folder with all that is in it; what is not there is no error.
pub(super) fn remove_all(path: &Path) -> Result<(), OutputError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(OutputError::unwritten(path)),
    }
}
