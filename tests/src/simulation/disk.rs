//! A driver's run folder: in memory, ends its process within any write or between any two, and has no threads.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broadsweep_driver::cluster::{Vault, VaultFuture, load};
use broadsweep_driver::journal::{MemoryStorage, NewJournal, Storage, StorageError};
use bytes::Bytes;

use super::chance::Chance;
use super::guard::Guard;

/// What the memory answers to a process that has ended.
const ENDED: &str = "the process has ended here";

/// A run folder.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) memory: Arc<MemoryStorage>,
    /// Who looks on at what is removed.
    pub(super) guard: Option<Arc<Guard>>,
    /// Set when the process ended within a write, or right after one.
    pub(super) has_halted: AtomicBool,
    /// Files that were asked for after newer ones had taken their place.
    pub(super) outdated: Mutex<BTreeSet<String>>,
    written: Mutex<BTreeSet<String>>,
    /// Operations that the process does before its last one.
    operations_left: Mutex<Option<u64>>,
    /// Of the driver that writes here now: what its network needs.
    pub(super) power: Mutex<Arc<AtomicBool>>,
}

impl Disk {
    /// Lets the process end right after `operations` more operations that write, and one: that one is whole, and nothing
    /// that would follow from it happens.
    pub(super) fn end_after(&self, operations: u64) {
        *self.operations_left.lock().unwrap() = Some(operations);
    }

    /// Another process writes here from now on.
    pub(super) fn restart(&self) {
        self.memory.restart();
        *self.operations_left.lock().unwrap() = None;
        self.has_halted.store(false, Ordering::Relaxed);
    }

    /// Does something that writes. Of a process that ends here nothing more is heard, and no word leaves it.
    fn perform<T>(&self, operation: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
        if self.has_halted.load(Ordering::Relaxed) {
            return Err(ended());
        }
        let result = operation();
        let halts_within = result.as_ref().is_err_and(|error| error.to_string().contains(ENDED));
        if !halts_within && !self.is_the_last() {
            return result;
        }
        self.has_halted.store(true, Ordering::Relaxed);
        self.power.lock().unwrap().store(false, Ordering::Relaxed);
        Err(ended())
    }

    /// Whether the process ends with the operation that was just done.
    fn is_the_last(&self) -> bool {
        let mut left = self.operations_left.lock().unwrap();
        let is_last = *left == Some(0);
        *left = left.and_then(|left| left.checked_sub(1));
        is_last
    }
}

fn ended() -> StorageError {
    StorageError::Failed { doing: "use", path: "memory".into(), source: Arc::new(io::Error::other(ENDED)) }
}

impl Storage for Disk {
    fn journal_path(&self) -> PathBuf {
        self.memory.journal_path()
    }

    fn journal_bytes(&self) -> Result<Option<u64>, StorageError> {
        self.memory.journal_bytes()
    }

    fn read_journal(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        self.memory.read_journal(offset, buffer)
    }

    fn append_journal(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.perform(|| self.memory.append_journal(offset, bytes))
    }

    fn sync_journal(&self) -> Result<(), StorageError> {
        self.perform(|| self.memory.sync_journal())
    }

    fn truncate_journal(&self, bytes: u64) -> Result<(), StorageError> {
        self.perform(|| self.memory.truncate_journal(bytes))
    }

    fn new_journal(&self) -> Result<Box<dyn NewJournal + '_>, StorageError> {
        let begun = self.perform(|| self.memory.new_journal())?;
        Ok(Box::new(Watched { disk: self, begun }))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.perform(|| self.memory.write(name, bytes))?;
        self.written.lock().unwrap().insert(name.to_owned());
        Ok(())
    }

    fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        self.memory.read(name, bytes_max)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        if let Some(guard) = self.guard.as_ref().filter(|_| !self.has_halted.load(Ordering::Relaxed)) {
            guard.removing(name);
        }
        self.perform(|| self.memory.remove(name))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        self.memory.list(folder)
    }
}

struct Watched<'a> {
    disk: &'a Disk,
    begun: Box<dyn NewJournal + 'a>,
}

impl NewJournal for Watched<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.disk.perform(|| self.begun.append(bytes))
    }

    fn seal(self: Box<Self>) -> Result<(), StorageError> {
        let Self { disk, begun } = *self;
        disk.perform(|| begun.seal())
    }
}

/// Takes its time, in simulated time.
#[derive(Debug)]
pub(super) struct SlowVault {
    pub(super) disk: Arc<Disk>,
    pub(super) chance: Mutex<Chance>,
    pub(super) slowest_ms: u64,
}

impl SlowVault {
    fn wait(&self) -> Duration {
        Duration::from_millis(self.chance.lock().unwrap().whole(0, self.slowest_ms))
    }
}

impl Vault for SlowVault {
    fn keep(&self, name: String, bytes: Bytes) -> VaultFuture<()> {
        let (disk, wait) = (Arc::clone(&self.disk), self.wait());
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            disk.write(&name, &bytes)
        })
    }

    fn load(&self, name: String) -> VaultFuture<Bytes> {
        let (disk, wait) = (Arc::clone(&self.disk), self.wait());
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            let loaded = load(&*disk, &name);
            if loaded.is_err() && disk.written.lock().unwrap().contains(&name) {
                disk.outdated.lock().unwrap().insert(name);
            }
            loaded
        })
    }
}
