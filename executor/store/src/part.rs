//! A cache file that is being written: locked by its writer, under a name that says so.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// A file under a temporary name, locked by its writer. What arrived outlives the writer, so that the next one has to
/// ask for the rest only; a file without a block goes when this is dropped.
pub(super) struct PartFile {
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    /// Whether it stays when this is dropped.
    pub(super) stays: bool,
}

impl PartFile {
    /// A file that was empty when it was locked, or that `has_content`.
    pub(super) fn new(file: File, path: PathBuf, has_content: bool) -> Self {
        Self { file: Arc::new(file), path, stays: has_content }
    }

    /// It is whole, and has another name now, under which it stays, or none.
    pub(super) fn sealed(mut self) -> Arc<File> {
        self.stays = true;
        Arc::clone(&self.file)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // Its lock is still ours, so nobody else has begun another one at this path unless somebody removed ours.
        let is_there = || is_at(&self.file, &self.path).unwrap_or(true);
        if !self.stays
            && is_there()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an unfinished cache file could not be removed");
        }
    }
}

/// Whether an open file is the one at `path`: it may have been removed, and another one made there.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Has the disk set room aside for all of a file, so that it is full now or never, and blocks in any order cost no search
/// for room each. Where the file system cannot, room is found as blocks are written.
pub(super) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()), // an empty blob is invalid, and needs no room
        reserved => Ok(reserved?),
    }
}
