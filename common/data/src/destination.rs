//! Where a data set is put while it is read: the file that executors of this machine map too, where there is one.

use std::io;
use std::path::{Path, PathBuf};

use broadsweep_common::blob::{BLOCK_BYTES, BLOCKS_MAX, Blob, ManifestError};
use broadsweep_common::dataset::{AlignedBytes, Target};
use broadsweep_store::{CacheFolder, NewFile, StoreError, TemporaryFile, manifest_of, temporary_file};
use bytes::Bytes;

use super::DataError;

/// What is kept in memory wherever it might be: it is read and sent in a moment, and a command that fails leaves nothing.
const MEMORY_BYTES_MAX: u64 = 16 << 20;

/// Where a data set is to be put that is large.
#[derive(Clone, Debug)]
pub enum Destination {
    /// Memory.
    Memory,
    /// A file without a name, for this process only.
    Temporary,
    /// The cache folder of local executors, with the limit that they are given.
    LocalCache {
        /// Which.
        folder: PathBuf,
        /// What it may have, if that is said.
        bytes_max: Option<u64>,
        /// Whether all is read anew.
        rehash: bool,
    },
    /// The cache folder of this user, with the limit that it has.
    UserCache {
        /// Which.
        folder: PathBuf,
        /// Whether all is read anew.
        rehash: bool,
    },
}

/// A data set on its way there.
pub(super) enum Sink {
    Memory(AlignedBytes),
    Temporary(TemporaryFile),
    Cache(NewFile),
}

impl Destination {
    /// Makes room for so many bytes. Where the cache folder has none, or cannot be used, `remarks` gets that.
    pub(super) fn begin(&self, bytes: u64, remarks: &mut Vec<String>) -> Result<Sink, DataError> {
        if bytes > (BLOCKS_MAX * BLOCK_BYTES) as u64 {
            return Err(DataError::Store(ManifestError::TooLarge { bytes }.into()));
        }
        let in_memory = || Sink::Memory(AlignedBytes::zeroed(bytes as usize));
        if matches!(self, Self::Memory) || bytes <= MEMORY_BYTES_MAX {
            return Ok(in_memory());
        }
        match self.cache().map(|cache| cache.and_then(|cache| cache.begin_new(bytes))) {
            Some(Ok(file)) => return Ok(Sink::Cache(file)),
            Some(Err(error)) => remarks.push(format!("{error}; the data is read, but not kept for later runs")),
            None => {}
        }
        let folder = std::env::temp_dir();
        temporary_file(&folder, bytes).map(Sink::Temporary).or_else(|error| {
            let folder = folder.display();
            remarks.push(format!("no temporary file in {folder} ({error}): the data is kept in memory"));
            Ok(in_memory())
        })
    }

    /// The same, with all files read anew if that is asked for.
    #[must_use]
    pub fn rehashing(mut self, is_asked_for: bool) -> Self {
        if let Self::LocalCache { rehash, .. } | Self::UserCache { rehash, .. } = &mut self {
            *rehash = is_asked_for;
        }
        self
    }

    pub(super) fn rehashes(&self) -> bool {
        matches!(self, Self::LocalCache { rehash: true, .. } | Self::UserCache { rehash: true, .. })
    }

    /// Where the cache folder lies, if it is to be one.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Memory | Self::Temporary => None,
            Self::LocalCache { folder, .. } | Self::UserCache { folder, .. } => Some(folder),
        }
    }

    /// The cache folder, if it is to be one.
    pub(super) fn cache(&self) -> Option<Result<CacheFolder, StoreError>> {
        match self {
            Self::Memory | Self::Temporary => None,
            Self::LocalCache { folder, bytes_max, .. } => Some(CacheFolder::open(folder, *bytes_max)),
            Self::UserCache { folder, .. } => Some(match CacheFolder::find(folder) {
                Ok(Some(cache)) => Ok(cache),
                _ => CacheFolder::open(folder, None),
            }),
        }
    }
}

impl Sink {
    /// What was written, named by its content and not to be changed any more.
    pub(super) fn seal(self) -> Result<Blob<Bytes>, DataError> {
        let sealed = match self {
            Self::Memory(bytes) => manifest_of(bytes.as_ref()).map_err(StoreError::Manifest).map(|manifest| {
                let content = Bytes::from_owner(bytes);
                Blob { manifest, content }
            }),
            Self::Temporary(file) => file.seal(),
            Self::Cache(file) => file.seal(),
        };
        sealed.map_err(DataError::Store)
    }
}

impl Target for Sink {
    fn write_at(&mut self, bytes: Vec<u8>, start: u64) -> io::Result<()> {
        match self {
            Self::Memory(memory) => memory.write_at(bytes, start),
            Self::Temporary(file) => file.write_at(bytes, start),
            Self::Cache(file) => file.write_at(bytes, start),
        }
    }

    fn end_at(&mut self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Memory(memory) => memory.end_at(bytes),
            Self::Temporary(file) => file.end_at(bytes),
            Self::Cache(file) => file.end_at(bytes),
        }
    }
}
