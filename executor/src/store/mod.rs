//! The blobs of this executor: data in cache files that outlast a run, the rest in memory until it is released.
//!
//! Every block is checked against its digest before it counts; a file of an earlier run is checked again before it
//! is used. Executors that share a cache folder share its files: one writes, the others wait for it.

mod assembly;
mod map;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broadsweep_common::blob::{Blob, Manifest, ManifestError};
use broadsweep_common::ids::Digest;

use assembly::{Assembled, Assembly};
use map::SealedMap;

/// Bytes that blobs in memory may take together: descriptions, and weights that wait to be fetched.
pub const MEMORY_BLOB_BYTES_MAX: u64 = 4 << 30;
/// Blobs that may be arriving at the same time.
const ASSEMBLIES_MAX: usize = 64;

/// The bytes of a blob, wherever they are.
pub type Content = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Where a blob is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file of the cache folder, across runs.
    Cache,
    /// In memory, until it is released or its run ends.
    Memory,
}

/// What the store says to a blob that it is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// These blocks are missing; none, if the blob is here.
    Missing(Vec<u32>),
    /// Another process is writing the same file. Ask again.
    Busy,
}

/// Why a blob or block cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The cache folder or a file in it cannot be used: no room, no permission, no folder.
    #[error("the cache file {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A block of a blob that was not offered.
    #[error("blob {0} was not offered")]
    NotOffered(Digest),
    /// A block beyond the manifest's end.
    #[error("block {index} of a blob of {blocks} blocks")]
    NoSuchBlock {
        /// Counted from 0.
        index: usize,
        /// What the manifest lists.
        blocks: usize,
    },
    /// The bytes are not those of the manifest.
    #[error("block {index}: digest {got}, the manifest says {want}")]
    Corrupt {
        /// Counted from 0.
        index: usize,
        /// What the manifest says.
        want: Digest,
        /// What arrived.
        got: Digest,
    },
    /// The bytes are those of the manifest, but not as many as its block has.
    #[error("block {index}: {got} bytes, its place has {want}")]
    Length {
        /// Counted from 0.
        index: usize,
        /// Bytes from the block's start to its end.
        want: u64,
        /// Bytes that arrived.
        got: usize,
    },
    /// Blobs in memory would take too much.
    #[error("{bytes} bytes more in memory than the {MEMORY_BLOB_BYTES_MAX} bytes that blobs may take there")]
    NoRoom {
        /// What was asked for.
        bytes: u64,
    },
    /// Too many blobs are arriving.
    #[error("more than {ASSEMBLIES_MAX} blobs arriving at the same time")]
    TooMany,
    /// The blob is larger than any may be.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The blobs of this executor.
pub struct BlobStore {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    whole: HashMap<Digest, Stored>,
    arriving: HashMap<Digest, (Place, Assembly)>,
}

struct Stored {
    place: Place,
    /// Made here for the driver to fetch: weights and checkpoints.
    is_result: bool,
    /// Attempts that it was offered for and that have not taken it in. The same bytes may be a result as well: the
    /// checkpoint that an attempt left here, and that the next one goes on from.
    inputs: u32,
    blob: Blob<Content>,
}

impl BlobStore {
    /// A store whose cache files lie in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let folder = folder.join("blobs");
        fs::create_dir_all(&folder).map_err(|source| StoreError::File { path: folder.clone(), source })?;
        Ok(Self { folder, state: Mutex::default() })
    }

    /// Says which blocks of a blob are missing here, and makes room for them.
    ///
    /// # Errors
    /// [`StoreError`], if there is no room for it.
    pub fn offer(&self, manifest: Manifest, place: Place) -> Result<Offer, StoreError> {
        let digest = manifest.digest();
        let mut state = self.state();
        if let Some(stored) = state.whole.get_mut(&digest) {
            stored.inputs = stored.inputs.saturating_add(1);
            return Ok(Offer::Missing(Vec::new()));
        }
        if let Some((_, assembly)) = state.arriving.get(&digest) {
            return Ok(Offer::Missing(assembly.missing()));
        }
        if place == Place::Cache
            && let Some(content) = self.reopen(&manifest, digest)?
        {
            state.whole.insert(digest, Stored::given(place, Blob { manifest, content }));
            return Ok(Offer::Missing(Vec::new()));
        }
        if state.arriving.len() >= ASSEMBLIES_MAX {
            return Err(StoreError::TooMany);
        }
        let assembly = match place {
            Place::Memory => {
                state.room_for(manifest.bytes())?;
                Assembly::in_memory(manifest.clone())
            }
            Place::Cache => match Assembly::in_file(manifest.clone(), &self.path(digest, ".part"))? {
                Some(assembly) => assembly,
                None => return Ok(Offer::Busy),
            },
        };
        // The last writer may have sealed the file between the first look and our lock.
        if place == Place::Cache
            && let Some(content) = self.reopen(&manifest, digest)?
        {
            assembly.discard();
            state.whole.insert(digest, Stored::given(place, Blob { manifest, content }));
            return Ok(Offer::Missing(Vec::new()));
        }
        let missing = assembly.missing();
        state.arriving.insert(digest, (place, assembly));
        self.seal_if_complete(&mut state, digest)?;
        Ok(Offer::Missing(missing))
    }

    /// Checks and keeps one block of a blob that was offered.
    ///
    /// # Errors
    /// [`StoreError`]; the other blocks stay.
    pub fn store_block(&self, blob: Digest, index: u32, content: &[u8]) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.whole.contains_key(&blob) {
            return Ok(()); // sent twice: it is here
        }
        let (_, assembly) = state.arriving.get_mut(&blob).ok_or(StoreError::NotOffered(blob))?;
        assembly.write(index, content)?;
        self.seal_if_complete(&mut state, blob)
    }

    /// A whole blob.
    pub fn get(&self, blob: Digest) -> Option<Blob<Content>> {
        self.state().whole.get(&blob).map(|stored| stored.blob.clone())
    }

    /// Keeps bytes that were made here, in memory until they are released.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`] and [`StoreError::Manifest`].
    pub fn keep(&self, content: Vec<u8>) -> Result<Digest, StoreError> {
        let manifest = Manifest::of(&content)?;
        let digest = manifest.digest();
        let mut state = self.state();
        state.room_for(manifest.bytes())?;
        let blob = Blob { manifest, content: Arc::new(content) as Content };
        let made = Stored { place: Place::Memory, is_result: true, inputs: 0, blob };
        state.whole.entry(digest).and_modify(|stored| stored.is_result = true).or_insert(made);
        Ok(digest)
    }

    /// Drops a blob that was made here, unless it was offered for an attempt as well; a cached one stays.
    pub fn release(&self, blob: Digest) {
        self.state().change(blob, |stored| stored.is_result = false);
    }

    /// An attempt has taken in what was offered for it: drops it, unless something else needs it.
    pub fn took_in(&self, blob: Digest) {
        self.state().change(blob, |stored| stored.inputs = stored.inputs.saturating_sub(1));
    }

    /// Drops what a run was given here, and keeps what was made for it.
    pub fn forget_inputs(&self) {
        let mut state = self.state();
        state.whole.retain(|_, stored| {
            stored.inputs = 0;
            stored.is_result
        });
        state.arriving.drain().for_each(|(_, (_, assembly))| assembly.discard());
    }

    /// Whether something that was made here waits to be fetched or released.
    pub fn holds_results(&self) -> bool {
        self.state().whole.values().any(|stored| stored.is_result)
    }

    /// Drops all that belongs to a run: blobs in memory, and what is still arriving. Cache files stay.
    pub fn forget_run(&self) {
        let mut state = self.state();
        state.whole.clear();
        state.arriving.drain().for_each(|(_, (_, assembly))| assembly.discard());
    }

    fn seal_if_complete(&self, state: &mut State, digest: Digest) -> Result<(), StoreError> {
        if !state.arriving.get(&digest).is_some_and(|(_, assembly)| assembly.is_complete()) {
            return Ok(());
        }
        let Some((place, assembly)) = state.arriving.remove(&digest) else { return Ok(()) };
        let manifest = assembly.manifest.clone();
        let content: Content = match assembly.seal(&self.path(digest, ""))? {
            Assembled::Memory(bytes) => Arc::new(bytes),
            Assembled::File(path) => map(&path)?,
        };
        state.whole.insert(digest, Stored::given(place, Blob { manifest, content }));
        Ok(())
    }

    /// A cache file of an earlier run, if it is there and every block of it is right; a damaged one is removed.
    fn reopen(&self, manifest: &Manifest, digest: Digest) -> Result<Option<Content>, StoreError> {
        let path = self.path(digest, "");
        let content = match map(&path) {
            Ok(content) => content,
            Err(StoreError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if Manifest::of((*content).as_ref())? == *manifest {
            return Ok(Some(content));
        }
        tracing::warn!(path = %path.display(), "a damaged cache file is dropped and fetched again");
        fs::remove_file(&path).map_err(|source| StoreError::File { path, source })?;
        Ok(None)
    }

    fn path(&self, digest: Digest, ending: &str) -> PathBuf {
        self.folder.join(format!("{digest}{ending}"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    /// What came from outside.
    fn given(place: Place, blob: Blob<Content>) -> Self {
        Self { place, is_result: false, inputs: 1, blob }
    }
}

impl State {
    /// Changes who needs a blob in memory, and drops it if nobody does.
    fn change(&mut self, blob: Digest, change: impl FnOnce(&mut Stored)) {
        let Some(stored) = self.whole.get_mut(&blob).filter(|stored| stored.place == Place::Memory) else { return };
        change(stored);
        if !stored.is_result && stored.inputs == 0 {
            self.whole.remove(&blob);
        }
    }

    fn room_for(&self, bytes: u64) -> Result<(), StoreError> {
        let in_memory = self.whole.values().filter(|stored| stored.place == Place::Memory);
        let arriving = self.arriving.values().filter(|(place, _)| *place == Place::Memory);
        let taken: u64 = in_memory
            .map(|stored| stored.blob.manifest.bytes())
            .chain(arriving.map(|(_, assembly)| assembly.manifest.bytes()))
            .sum();
        match taken.checked_add(bytes) {
            Some(all) if all <= MEMORY_BLOB_BYTES_MAX => Ok(()),
            _ => Err(StoreError::NoRoom { bytes }),
        }
    }
}

fn map(path: &Path) -> Result<Content, StoreError> {
    let opened = File::open(path).and_then(|file| SealedMap::of(&file));
    opened.map(|map| Arc::new(map) as Content).map_err(|source| StoreError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
