//! A read-only memory map of a sealed cache file. The one place of this crate's store that needs `unsafe`.
#![expect(unsafe_code, reason = "a memory map is as safe as its file is unchanging, which only we can promise")]

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// The bytes of a sealed file.
pub(super) struct SealedMap(Option<Mmap>);

impl SealedMap {
    /// Maps `file`, which nobody may change any more.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self(None)); // an empty map is an error on Linux
        }
        // SAFETY: cache files are written under a temporary name, renamed once they are whole, and never written
        // again; a later writer of the same name renames another file over it, and this map keeps the old one.
        let map = unsafe { Mmap::map(file)? };
        Ok(Self(Some(map)))
    }
}

impl AsRef<[u8]> for SealedMap {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
