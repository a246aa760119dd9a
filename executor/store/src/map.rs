//! A read-only memory map of a sealed cache file. The one place of this crate's store that needs `unsafe`.
#![expect(unsafe_code, reason = "a memory map is as safe as its file is unchanging, which only we can promise")]

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use memmap2::Mmap;

/// The bytes of a sealed file, in use for as long as this lives: the file's shared lock is kept, and goes with the
/// process however that ends.
pub(super) struct SealedMap {
    map: Option<Mmap>,
    file: Arc<File>,
}

impl SealedMap {
    /// Maps `file`, which nobody may change any more.
    pub(super) fn of(file: Arc<File>) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self { map: None, file }); // an empty map is an error on Linux
        }
        // SAFETY: cache files are written under a temporary name, renamed once they are whole, and never written
        // again; a later writer of the same name renames another file over it, and this map keeps the old one.
        let map = unsafe { Mmap::map(&*file)? };
        Ok(Self { map: Some(map), file })
    }
}

impl AsRef<[u8]> for SealedMap {
    fn as_ref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl Drop for SealedMap {
    fn drop(&mut self) {
        mark_used(&self.file);
    }
}

/// Notes that a file is used now. A file of another user may not let us: it then counts as used when it was written.
pub(super) fn mark_used(file: &File) {
    if let Err(error) = file.set_modified(SystemTime::now()) {
        tracing::debug!(%error, "the time of a cache file could not be set");
    }
}
