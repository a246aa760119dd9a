//! The blobs of this executor: data in cache files that outlast a run, the rest in memory until it is released.
//!
//! | module | holds |
//! |---|---|
//! | `cache` | the cache folder: what is there, what is in use, what goes when there is no room |
//! | `assembly` | a blob that is still arriving, and the check of its blocks |
//! | `part` | a file that is being written |
//! | `made` | blobs that are made on this machine, by its driver |
//! | `naming` | the names of their blocks, found while they are written |
//! | `map` | the memory map of a sealed file |
//! | `shelf` | the store as the attempts of one run see it |
//! | `state` | which blobs are whole, which arrive, and who needs them |
//! | `error` | why something cannot be stored |
//!
//! Every block is checked against its digest before it counts; a file of an earlier run is checked again before it
//! is used, and one that was left half written is finished. Executors that share a cache folder share its files: one
//! writes, the others wait for it.

mod assembly;
mod cache;
mod error;
mod made;
mod map;
mod naming;
mod part;
mod shelf;
mod state;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broadsweep_common::blob::{ARRIVING_MAX, Blob, Manifest};
use broadsweep_common::encoding::Encoded;
use broadsweep_common::ids::{AttemptId, Digest};
use broadsweep_common::size::ByteSize;
use bytes::Bytes;

use assembly::{Assembled, Assembly, BlockPlace, is_whole};
use cache::Begun;
use state::{State, Stored};

pub use cache::{CACHE_BYTES_MAX, CacheFolder, Cleared, Entry};
pub use error::StoreError;
pub use made::{NewFile, TemporaryFile, manifest_of, temporary_file};
pub use shelf::Shelf;

/// Bytes that blobs in memory may take together: descriptions, and weights that wait to be fetched.
pub const MEMORY_BLOB_BYTES_MAX: u64 = 4 << 30;

/// The bytes of a blob, wherever they are.
pub type Content = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Where a blob is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// In a file of the cache folder, across runs.
    Cache,
    /// In memory, until it is released or its run ends.
    Memory,
}

/// What was made here for the driver to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Made {
    /// The state of an attempt that goes on: it goes where a result needs its room, and costs epochs at worst.
    Checkpoint,
    /// What an attempt ends with: without it all of its work is lost.
    Result,
}

/// What the store says to a blob that it is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// These blocks are missing; none, if the blob is here.
    Missing(Vec<u32>),
    /// Another process is writing the same file, or another offer of the blob is looking at it. Ask again.
    Busy,
}

/// What the blobs of an executor may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of its cache folder; [`CacheFolder::open`] says what there is without a limit.
    pub cache_bytes: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// The blobs of this executor.
pub struct BlobStore {
    cache: CacheFolder,
    memory_bytes_max: u64,
    state: Mutex<State>,
}

/// Marks a blob as looked for, and no longer once this is dropped: also when nobody waits for the answer any more.
struct Search<'a> {
    store: &'a BlobStore,
    digest: Digest,
    forgotten: u64,
}

/// What a search came to.
enum Found {
    Whole(Blob<Content>),
    Arriving(Assembly),
}

impl BlobStore {
    /// A store with the usual limits.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::with_limits(folder, Limits { cache_bytes: None, memory_bytes: MEMORY_BLOB_BYTES_MAX })
    }

    /// A store whose cache files lie in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn with_limits(folder: &Path, limits: Limits) -> Result<Self, StoreError> {
        let cache = CacheFolder::open(folder, limits.cache_bytes)?;
        let memory_bytes_max = limits.memory_bytes.min(MEMORY_BLOB_BYTES_MAX);
        Ok(Self { cache, memory_bytes_max, state: Mutex::default() })
    }

    /// Says which blocks of a blob are missing here, and makes room for them. What lies in the cache folder is checked
    /// block by block without the store's lock, and others get their turn in between; who offers the same blob
    /// meanwhile is told [`Offer::Busy`].
    ///
    /// # Errors
    /// [`StoreError`], if there is no room for it.
    pub async fn offer(&self, manifest: Manifest, medium: Medium) -> Result<Offer, StoreError> {
        let digest = manifest.digest();
        let search = {
            let mut state = self.state();
            if let Some(offer) = state.known(digest) {
                return Ok(offer);
            }
            if state.sought.len() >= ARRIVING_MAX {
                return Err(StoreError::TooMany);
            }
            if !state.sought.insert(digest) {
                return Ok(Offer::Busy);
            }
            Search { store: self, digest, forgotten: state.forgotten }
        };
        let found = match medium {
            Medium::Memory => Some(Found::Arriving(Assembly::in_memory(manifest))),
            Medium::Cache => self.find(manifest, digest).await?,
        };
        match found {
            Some(found) => self.admit(&search, medium, found),
            None => Ok(Offer::Busy),
        }
    }

    /// Looks into the cache folder: the whole blob, what is there of it, or `None` if another process writes it.
    async fn find(&self, manifest: Manifest, digest: Digest) -> Result<Option<Found>, StoreError> {
        let name = digest.to_string();
        loop {
            if let Some(file) = self.cache.take(&name)? {
                if is_whole(&file, &manifest).await {
                    let content = self.cache.map(&name, file)?;
                    return Ok(Some(Found::Whole(Blob { manifest, content })));
                }
                self.cache.drop_damaged(&name, &file)?;
            }
            return match self.cache.begin(&name, manifest.bytes())? {
                Begun::Ours(part) => Ok(Some(Found::Arriving(Assembly::in_file(manifest, part).await))),
                Begun::Busy => Ok(None),
                Begun::Sealed => continue,
            };
        }
    }

    /// Takes in what a search found, unless it is here by now or its run has gone.
    fn admit(&self, search: &Search, medium: Medium, found: Found) -> Result<Offer, StoreError> {
        let mut state = self.state();
        if let Some(offer) = state.known(search.digest) {
            return Ok(offer);
        }
        if state.forgotten != search.forgotten {
            return Ok(Offer::Busy); // asked again, by whoever still wants it
        }
        let missing = match found {
            Found::Whole(blob) => {
                state.whole.insert(search.digest, Stored::new(medium, blob, 1));
                Vec::new()
            }
            Found::Arriving(assembly) => {
                if state.arriving.len() >= ARRIVING_MAX {
                    return Err(StoreError::TooMany);
                }
                if medium == Medium::Memory {
                    self.room_for(&state, assembly.manifest.bytes())?;
                }
                let missing = assembly.missing();
                state.arriving.insert(search.digest, (medium, assembly));
                self.seal_if_complete(&mut state, search.digest)?;
                missing
            }
        };
        Ok(Offer::Missing(missing))
    }

    /// Decodes, checks and keeps one block of a blob that was offered. Decoding takes as much memory as the manifest says.
    ///
    /// # Errors
    /// [`StoreError`]; the other blocks stay, unless the disk is full.
    pub fn store_block(&self, blob: Digest, index: u32, block: Encoded) -> Result<(), StoreError> {
        let Some(bytes) = self.bytes_of(blob, index as usize)? else {
            return Ok(()); // sent twice: it is here
        };
        // Without the lock: others need not wait for this.
        let source = block.decode(bytes);
        let content = source.map_err(|source| StoreError::Encoding { index: index as usize, source })?;
        let digest = Digest::of(&content);
        let mut state = self.state();
        if state.whole.contains_key(&blob) {
            return Ok(()); // it has come meanwhile
        }
        let (_, assembly) = state.arriving.get_mut(&blob).ok_or(StoreError::NotOffered(blob))?;
        if let Err(error) = assembly.write(index, content, digest) {
            if error.is_disk_full()
                && let Some((_, assembly)) = state.arriving.remove(&blob)
            {
                assembly.discard(); // whoever else writes to that disk needs the room
            }
            return Err(error);
        }
        self.seal_if_complete(&mut state, blob)?;
        Ok(())
    }

    /// The length of a block of a blob that is arriving; `None` if all of the blob is here.
    fn bytes_of(&self, blob: Digest, index: usize) -> Result<Option<usize>, StoreError> {
        let state = self.state();
        if state.whole.contains_key(&blob) {
            return Ok(None);
        }
        let (_, Assembly { manifest, .. }) = state.arriving.get(&blob).ok_or(StoreError::NotOffered(blob))?;
        let blocks = manifest.blocks().len();
        let range = manifest.range(index).ok_or(StoreError::NoSuchBlock { index, blocks })?;
        Ok(Some((range.end - range.start) as usize))
    }

    /// A block that is here, of a whole blob or of one that is still arriving.
    ///
    /// # Errors
    /// [`StoreError::File`], if what was written cannot be read.
    pub fn block(&self, blob: Digest, index: u32) -> Result<Option<Bytes>, StoreError> {
        let place = {
            let state = self.state();
            if let Some(stored) = state.whole.get(&blob) {
                let Some(range) = stored.blob.manifest.range(index as usize) else { return Ok(None) };
                let content = Bytes::from_owner(Owned(Arc::clone(&stored.blob.content)));
                return Ok(Some(content.slice(range.start as usize..range.end as usize)));
            }
            state.arriving.get(&blob).and_then(|(_, assembly)| assembly.block(index))
        };
        place.map(BlockPlace::read).transpose()
    }

    /// How many blocks a blob has that was offered, and those that are missing; `None` if it was not offered, or is
    /// being looked for.
    pub fn missing(&self, blob: Digest) -> Option<(u32, Vec<u32>)> {
        let state = self.state();
        if let Some(stored) = state.whole.get(&blob) {
            return Some((stored.blob.manifest.blocks().len() as u32, Vec::new()));
        }
        let (_, assembly) = state.arriving.get(&blob)?;
        Some((assembly.manifest.blocks().len() as u32, assembly.missing()))
    }

    /// A whole blob.
    pub fn get(&self, blob: Digest) -> Option<Blob<Content>> {
        self.state().whole.get(&blob).map(|stored| stored.blob.clone())
    }

    /// Drops a blob that this attempt made here, unless another one made it too, or it was offered for one; a cached one
    /// stays.
    pub fn release(&self, attempt: AttemptId, blob: Digest) {
        self.state().release(attempt, blob);
    }

    /// Drops what came or was on its way for attempts that were not launched: the session that sent it is over.
    pub fn forget_supplies(&self) {
        let mut state = self.state();
        state.arriving.retain(|_, (medium, _)| *medium == Medium::Cache);
        state.whole.retain(|_, stored| {
            stored.offers = 0;
            stored.medium == Medium::Cache || stored.is_needed()
        });
    }

    /// Drops what a run was given here, and keeps what was made for it. Cache files stay, half-written ones too: the
    /// next run goes on with them.
    pub fn forget_inputs(&self) {
        let mut state = self.state();
        state.whole.retain(|_, stored| {
            (stored.offers, stored.takers) = (0, BTreeSet::new());
            stored.is_made_here()
        });
        state.forget_arriving();
    }

    /// Whether something that was made here waits to be fetched or released.
    pub fn holds_results(&self) -> bool {
        self.state().whole.values().any(Stored::is_made_here)
    }

    /// Drops all that belongs to a run: blobs in memory, and what is still arriving. Cache files stay, half-written
    /// ones too: the next run goes on with them. What its attempts make from now on is not kept.
    pub fn forget_run(&self) {
        let mut state = self.state();
        state.stay += 1;
        state.whole.clear();
        state.forget_arriving();
    }

    fn seal_if_complete(&self, state: &mut State, digest: Digest) -> Result<(), StoreError> {
        if !state.arriving.get(&digest).is_some_and(|(_, assembly)| assembly.is_complete()) {
            return Ok(());
        }
        let Some((medium, assembly)) = state.arriving.remove(&digest) else { return Ok(()) };
        let (manifest, offers) = (assembly.manifest.clone(), assembly.offers);
        let content: Content = match assembly.finish() {
            Assembled::Memory(bytes) => Arc::new(bytes),
            Assembled::File(part) => self.cache.seal(&digest.to_string(), part)?,
        };
        state.whole.insert(digest, Stored::new(medium, Blob { manifest, content }, offers));
        Ok(())
    }

    /// Whether blobs in memory may take so many bytes more.
    fn room_for(&self, state: &State, bytes: u64) -> Result<(), StoreError> {
        match state.bytes_in_memory().checked_add(bytes) {
            Some(all) if all <= self.memory_bytes_max => Ok(()),
            _ => Err(StoreError::NoRoom { bytes: ByteSize(bytes), bytes_max: ByteSize(self.memory_bytes_max) }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Search<'_> {
    fn drop(&mut self) {
        self.store.state().sought.remove(&self.digest);
    }
}

/// A blob's bytes as the owner of a [`Bytes`].
struct Owned(Content);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

#[cfg(test)]
mod made_tests;
#[cfg(test)]
mod removed_tests;
#[cfg(test)]
mod sharing_tests;
#[cfg(test)]
mod tests;
