//! Blobs that are made on this machine: written straight into the file that executors map too, and named by what they
//! turned out to be.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use broadsweep_common::blob::{BLOCK_BYTES, Blob, Manifest, ManifestError};
use broadsweep_common::ids::Digest;
use bytes::Bytes;

use super::cache::CacheFolder;
use super::map::SealedMap;
use super::naming::Naming;
use super::part::{PartFile, reserve};
use super::{Content, Owned, StoreError};

/// Blocks for which a thread is worth its start.
const SHARE_BLOCKS_MIN: usize = 4;

/// A file of a cache folder that this process writes. It goes when this is dropped before it was sealed.
pub struct NewFile {
    cache: CacheFolder,
    part: PartFile,
    bytes: u64,
    naming: Naming,
}

impl CacheFolder {
    /// Begins a file of so many zeros, which get their content and then their name. Room for it is made, and set aside,
    /// as for what comes from elsewhere; nobody drops it while it is written.
    ///
    /// # Errors
    /// [`StoreError`], if there is no room for it.
    pub fn begin_new(&self, bytes: u64) -> Result<NewFile, StoreError> {
        loop {
            if let Some(part) = self.begin_unnamed(&unused_name(), bytes)? {
                return NewFile::of(self.clone(), part, bytes);
            }
        }
    }

    /// Takes a sealed file into use that is the blob of `manifest` to the last byte: all cores check it. `None` if there is
    /// none; one that is damaged goes.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn find_whole(&self, manifest: &Manifest) -> Result<Option<Bytes>, StoreError> {
        let name = manifest.digest().to_string();
        let Some(file) = self.take(&name)? else { return Ok(None) };
        let content = self.map(&name, Arc::clone(&file))?;
        if manifest_of((*content).as_ref()).as_ref() != Ok(manifest) {
            self.drop_damaged(&name, &file)?;
            return Ok(None);
        }
        Ok(Some(Bytes::from_owner(Owned(content))))
    }
}

impl NewFile {
    pub(super) fn of(cache: CacheFolder, part: PartFile, bytes: u64) -> Result<Self, StoreError> {
        let naming = Naming::begin().map_err(|source| StoreError::File { path: part.path.clone(), source })?;
        Ok(Self { cache, part, bytes, naming })
    }

    /// Writes some of its bytes at their place. Whole blocks are named on the way.
    ///
    /// # Errors
    /// What the system said.
    pub fn write_at(&self, bytes: Vec<u8>, start: u64) -> io::Result<()> {
        self.part.file.write_all_at(&bytes, start)?;
        self.naming.note(bytes, start);
        Ok(())
    }

    /// Lets it end behind so many bytes, where it has more.
    ///
    /// # Errors
    /// What the system said.
    pub fn end_at(&mut self, bytes: u64) -> io::Result<()> {
        self.part.file.set_len(bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Names it by its content. From now on executors find it there, and nobody changes it any more. One of that name is
    /// replaced: whoever has it mapped keeps the old one, and of the two only this is known to be right.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn seal(self) -> Result<Blob<Bytes>, StoreError> {
        let Self { cache, part, bytes, naming } = self;
        let unusable = |source| StoreError::File { path: part.path.clone(), source };
        let manifest = naming.manifest(&part.file, bytes).map_err(unusable)??;
        let content = cache.seal(&manifest.digest().to_string(), part)?;
        Ok(Blob { manifest, content: Bytes::from_owner(Owned(content)) })
    }
}

/// A file without a name, of so many zeros, for bytes that belong into no cache folder.
///
/// # Errors
/// What the system said: there may be no room.
pub fn temporary_file(folder: &Path, bytes: u64) -> io::Result<TemporaryFile> {
    let file = tempfile::tempfile_in(folder)?;
    file.set_len(bytes)?;
    reserve(&file, bytes)?;
    Ok(TemporaryFile { file, bytes, naming: Naming::begin()? })
}

/// A file without a name, which this process alone has.
pub struct TemporaryFile {
    file: File,
    bytes: u64,
    naming: Naming,
}

impl TemporaryFile {
    /// Writes some of its bytes at their place. Whole blocks are named on the way.
    ///
    /// # Errors
    /// What the system said.
    pub fn write_at(&self, bytes: Vec<u8>, start: u64) -> io::Result<()> {
        self.file.write_all_at(&bytes, start)?;
        self.naming.note(bytes, start);
        Ok(())
    }

    /// Lets it end behind so many bytes, where it has more.
    ///
    /// # Errors
    /// What the system said.
    pub fn end_at(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Its content, which nobody changes any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn seal(self) -> Result<Blob<Bytes>, StoreError> {
        let unusable = |source| StoreError::File { path: std::env::temp_dir(), source };
        let manifest = self.naming.manifest(&self.file, self.bytes).map_err(unusable)??;
        let content: Content = Arc::new(SealedMap::of(Arc::new(self.file)).map_err(unusable)?);
        Ok(Blob { manifest, content: Bytes::from_owner(Owned(content)) })
    }
}

/// The manifest of `content`, which all cores name block by block: nothing else is going on yet.
///
/// # Errors
/// [`ManifestError::TooLarge`].
pub fn manifest_of(content: &[u8]) -> Result<Manifest, ManifestError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = content.len().div_ceil(BLOCK_BYTES).div_ceil(cores);
    if share < SHARE_BLOCKS_MIN {
        return Manifest::of(content);
    }
    let mut blocks = Vec::with_capacity(content.len().div_ceil(BLOCK_BYTES));
    thread::scope(|scope| {
        let name = |share: &[u8]| share.chunks(BLOCK_BYTES).map(Digest::of).collect::<Vec<_>>();
        let shares = content.chunks(share * BLOCK_BYTES);
        let threads: Vec<_> = shares.map(|share| scope.spawn(move || name(share))).collect();
        for thread in threads {
            blocks.extend(thread.join().unwrap_or_default());
        }
    });
    Manifest::checked(content.len() as u64, blocks)
}

/// A name as blobs have it, which nobody else has drawn: drivers of several machines may share a folder.
fn unused_name() -> String {
    let drawn = [(); 2].map(|()| RandomState::new().build_hasher().finish().to_le_bytes());
    Digest::of(&drawn.concat()).to_string()
}
