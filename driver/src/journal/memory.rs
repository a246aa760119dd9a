//! A run folder in memory, for simulations and tests: it keeps apart what is durable and what is not, ends the
//! process after any operation, crashes by a seed, and fills up.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::storage::{NewJournal, Storage, StorageError, checked_folder, split_name};

const JOURNAL: &str = "memory/journal";

/// A folder in memory. Share it through an `Arc`, and open its journal again after [`Self::crash`].
///
/// | what was done | after a crash |
/// |---|---|
/// | appended, not synced | lost, kept, or torn: cut at any byte, or with zeros in any part of it |
/// | cut, not synced | cut, or as it was synced before |
/// | a whole file removed | gone, or there again |
/// | synced, sealed or written whole | there |
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    journal: Option<Log>,
    files: BTreeMap<String, Vec<u8>>,
    /// What was being put into its place when the process ended.
    begun: Option<Begun>,
    /// Files that a crash may bring back.
    removed: BTreeMap<String, Vec<u8>>,
    /// Of the new journal, if one is being written.
    partial_bytes: u64,
    capacity_bytes: u64,
    operations: u64,
    /// The operation within which the process ends.
    halt_at: Option<u64>,
}

/// A whole file that is there after the crash, or is not.
#[derive(Debug)]
enum Begun {
    Journal(Vec<u8>),
    File(String, Vec<u8>),
}

#[derive(Debug, Default)]
struct Log {
    bytes: Vec<u8>,
    /// How many of them are durable.
    synced: usize,
    /// Durable bytes behind these, which a cut took away and a crash may bring back.
    cut: Vec<u8>,
}

/// How far an operation gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Whole,
    /// The process ends within it: what it began, a crash may finish.
    Begun,
}

impl Default for State {
    fn default() -> Self {
        Self {
            journal: None,
            files: BTreeMap::new(),
            begun: None,
            removed: BTreeMap::new(),
            partial_bytes: 0,
            capacity_bytes: u64::MAX,
            operations: 0,
            halt_at: None,
        }
    }
}

impl MemoryStorage {
    /// An empty folder with room for everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Room for `bytes` bytes, of all files together, from now on. A whole file needs room beside its former one.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity_bytes = bytes;
    }

    /// Lets the process end within the operation that comes after `operations` more (those that read do not count):
    /// it happens in part, and every later one is refused, until [`Self::crash`] or [`Self::restart`].
    pub fn halt_after(&self, operations: u64) {
        let mut state = self.state();
        state.halt_at = Some(state.operations + operations);
    }

    /// How many operations that write there were, refused ones included.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The machine crashes and comes back; `seed` decides what becomes of all that was not durable.
    pub fn crash(&self, seed: u64) {
        let mut state = self.state();
        let mut chance = Chance(seed);
        if let Some(log) = &mut state.journal {
            log.crash(&mut chance);
        }
        for (name, bytes) in std::mem::take(&mut state.removed) {
            if chance.coin() {
                state.files.insert(name, bytes);
            }
        }
        match state.begun.take().filter(|_| chance.coin()) {
            Some(Begun::Journal(bytes)) => state.journal = Some(Log::durable(bytes)),
            Some(Begun::File(name, bytes)) => drop(state.files.insert(name, bytes)),
            None => {}
        }
        state.restart();
    }

    /// The process was killed and the machine was not: all that was written is there, durable or not.
    pub fn restart(&self) {
        self.state().restart();
    }

    /// The journal's bytes, durable or not; `None` if there is no journal.
    #[must_use]
    pub fn journal(&self) -> Option<Vec<u8>> {
        self.state().journal.as_ref().map(|log| log.bytes.clone())
    }

    /// As much of the journal as any crash leaves; `None` if there is no journal.
    #[must_use]
    pub fn durable_journal(&self) -> Option<Vec<u8>> {
        self.state().journal.as_ref().map(|log| log.bytes[..log.synced].to_vec())
    }

    /// Puts `bytes` in the journal's place, durably: damage of any kind.
    pub fn set_journal(&self, bytes: Vec<u8>) {
        self.state().journal = Some(Log::durable(bytes));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn durable(bytes: Vec<u8>) -> Self {
        Self { synced: bytes.len(), bytes, cut: Vec::new() }
    }

    fn truncate(&mut self, bytes: usize) {
        if bytes < self.synced {
            let mut cut = self.bytes[bytes..self.synced].to_vec();
            cut.append(&mut self.cut);
            (self.cut, self.synced) = (cut, bytes);
        }
        self.bytes.truncate(bytes);
    }

    fn sync(&mut self) {
        self.synced = self.bytes.len();
        self.cut.clear();
    }

    fn crash(&mut self, chance: &mut Chance) {
        if !self.cut.is_empty() && chance.coin() {
            self.bytes.truncate(self.synced);
            self.bytes.append(&mut self.cut);
        } else {
            let tail = &mut self.bytes[self.synced..];
            if chance.coin() {
                let (one, other) = (chance.below(tail.len() + 1), chance.below(tail.len() + 1));
                tail[one.min(other)..one.max(other)].fill(0);
            }
            let kept = match chance.below(4) {
                0 => 0,
                1 => tail.len(),
                _ => chance.below(tail.len() + 1),
            };
            self.bytes.truncate(self.synced + kept);
        }
        self.sync();
    }
}

impl State {
    /// Counts an operation that writes.
    fn begin(&mut self, doing: &'static str, path: &Path) -> Result<Reach, StorageError> {
        let number = self.operations;
        self.operations += 1;
        match self.halt_at {
            Some(halt_at) if number > halt_at => Err(ended(doing, path)),
            Some(halt_at) if number == halt_at => Ok(Reach::Begun),
            _ => Ok(Reach::Whole),
        }
    }

    /// Refuses `bytes` more bytes where there is no room.
    fn check_room(&self, doing: &'static str, path: &Path, bytes: usize) -> Result<(), StorageError> {
        let journal_bytes = self.journal.as_ref().map_or(0, |log| log.bytes.len());
        let files_bytes: usize = self.files.values().map(Vec::len).sum();
        let used = (journal_bytes + files_bytes + bytes) as u64 + self.partial_bytes;
        if used > self.capacity_bytes {
            return Err(StorageError::from_io(doing, path, io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    fn log(&mut self, doing: &'static str) -> Result<&mut Log, StorageError> {
        let missing = || StorageError::from_io(doing, Path::new(JOURNAL), io::ErrorKind::NotFound.into());
        self.journal.as_mut().ok_or_else(missing)
    }

    fn restart(&mut self) {
        self.halt_at = None;
        self.begun = None;
        self.partial_bytes = 0;
    }
}

fn ended(doing: &'static str, path: &Path) -> StorageError {
    StorageError::failed(doing, path, "the process has ended here")
}

/// `Ok` for an operation that was done; the process's end for one that was only begun.
fn finish(reach: Reach, doing: &'static str, path: &Path) -> Result<(), StorageError> {
    if reach == Reach::Whole { Ok(()) } else { Err(ended(doing, path)) }
}

/// Where the file `name` would be.
fn locate(doing: &'static str, name: &str) -> Result<PathBuf, StorageError> {
    split_name(doing, name)?;
    Ok(Path::new("memory").join(name))
}

impl Storage for MemoryStorage {
    fn journal_path(&self) -> PathBuf {
        JOURNAL.into()
    }

    fn journal_bytes(&self) -> Result<Option<u64>, StorageError> {
        Ok(self.state().journal.as_ref().map(|log| log.bytes.len() as u64))
    }

    fn read_journal(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        let mut state = self.state();
        let behind = state.log("read")?.bytes.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
        let short = || StorageError::from_io("read", Path::new(JOURNAL), io::ErrorKind::UnexpectedEof.into());
        buffer.copy_from_slice(behind.ok_or_else(short)?);
        Ok(())
    }

    fn append_journal(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let (mut state, path) = (self.state(), Path::new(JOURNAL));
        let reach = state.begin("write", path)?;
        state.check_room("write", path, bytes.len())?;
        let log = state.log("write")?;
        let found = log.bytes.len() as u64;
        if found != offset {
            return Err(StorageError::second_writer(path, found, offset));
        }
        log.bytes.extend_from_slice(bytes);
        finish(reach, "write", path)
    }

    fn sync_journal(&self) -> Result<(), StorageError> {
        let (mut state, path) = (self.state(), Path::new(JOURNAL));
        let reach = state.begin("sync", path)?;
        let log = state.log("sync")?;
        if reach == Reach::Whole {
            log.sync();
        }
        finish(reach, "sync", path)
    }

    fn truncate_journal(&self, bytes: u64) -> Result<(), StorageError> {
        let (mut state, path) = (self.state(), Path::new(JOURNAL));
        let reach = state.begin("cut", path)?;
        state.log("cut")?.truncate(bytes as usize);
        finish(reach, "cut", path)
    }

    fn new_journal(&self) -> Result<Box<dyn NewJournal + '_>, StorageError> {
        let path = Path::new(JOURNAL);
        let mut state = self.state();
        let reach = state.begin("write", path)?;
        finish(reach, "write", path)?;
        state.partial_bytes = 0;
        Ok(Box::new(NewLog { storage: self, bytes: Vec::new() }))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let (path, mut state) = (locate("write", name)?, self.state());
        let reach = state.begin("write", &path)?;
        state.check_room("write", &path, bytes.len())?;
        if reach == Reach::Whole {
            state.removed.remove(name);
            state.files.insert(name.to_owned(), bytes.to_owned());
        } else {
            state.begun = Some(Begun::File(name.to_owned(), bytes.to_owned()));
        }
        finish(reach, "write", &path)
    }

    fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let path = locate("read", name)?;
        match self.state().files.get(name) {
            Some(bytes) if bytes.len() as u64 > bytes_max => {
                Err(StorageError::too_long(&path, bytes.len() as u64, bytes_max))
            }
            bytes => Ok(bytes.cloned()),
        }
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let (path, mut state) = (locate("remove", name)?, self.state());
        let reach = state.begin("remove", &path)?;
        if let Some(bytes) = state.files.remove(name) {
            state.removed.insert(name.to_owned(), bytes);
        }
        finish(reach, "remove", &path)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let folder = format!("{}/", checked_folder(folder)?);
        Ok(self.state().files.keys().filter_map(|name| name.strip_prefix(&folder)).map(str::to_owned).collect())
    }
}

/// A journal that is written beside the present one.
struct NewLog<'a> {
    storage: &'a MemoryStorage,
    bytes: Vec<u8>,
}

impl NewJournal for NewLog<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let (mut state, path) = (self.storage.state(), Path::new(JOURNAL));
        let reach = state.begin("write", path)?;
        state.check_room("write", path, bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        state.partial_bytes = self.bytes.len() as u64;
        finish(reach, "write", path)
    }

    fn seal(mut self: Box<Self>) -> Result<(), StorageError> {
        let (mut state, path) = (self.storage.state(), Path::new(JOURNAL));
        let reach = state.begin("write", path)?;
        let bytes = std::mem::take(&mut self.bytes);
        if reach == Reach::Whole {
            state.journal = Some(Log::durable(bytes));
        } else {
            state.begun = Some(Begun::Journal(bytes));
        }
        finish(reach, "write", path)
    }
}

impl Drop for NewLog<'_> {
    fn drop(&mut self) {
        self.storage.state().partial_bytes = 0;
    }
}

/// Numbers that look random and are a function of the seed: Steele, Lea and Flood's `SplitMix` (2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_generator_that_others_call_split_mix() {
        let mut chance = Chance(0);
        let first = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        assert_eq!([(); 3].map(|()| chance.next()), first);
    }
}
