//! A driver's run folder: in memory, ends its process within any write, and has no threads.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broadsweep_driver::cluster::{Vault, VaultFuture, load};
use broadsweep_driver::journal::{MemoryStorage, NewJournal, Storage, StorageError};
use bytes::Bytes;

use super::chance::Chance;

/// What the memory answers to a process that has ended.
const ENDED: &str = "the process has ended here";

/// A run folder.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) memory: MemoryStorage,
    /// Set when the process ended within a write.
    pub(super) has_halted: AtomicBool,
    /// Files that were asked for after newer ones had taken their place.
    pub(super) outdated: Mutex<BTreeSet<String>>,
    written: Mutex<BTreeSet<String>>,
    /// Of the driver that writes here now: what its network needs.
    pub(super) power: Mutex<Arc<AtomicBool>>,
}

impl Disk {
    /// Of a process that ends here nothing more is heard, and no word leaves it.
    fn watch<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if result.as_ref().is_err_and(|error| error.to_string().contains(ENDED)) {
            self.has_halted.store(true, Ordering::Relaxed);
            self.power.lock().unwrap().store(false, Ordering::Relaxed);
        }
        result
    }
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
        self.watch(self.memory.append_journal(offset, bytes))
    }

    fn sync_journal(&self) -> Result<(), StorageError> {
        self.watch(self.memory.sync_journal())
    }

    fn truncate_journal(&self, bytes: u64) -> Result<(), StorageError> {
        self.watch(self.memory.truncate_journal(bytes))
    }

    fn new_journal(&self) -> Result<Box<dyn NewJournal + '_>, StorageError> {
        let begun = self.watch(self.memory.new_journal())?;
        Ok(Box::new(Watched { disk: self, begun }))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.watch(self.memory.write(name, bytes))?;
        self.written.lock().unwrap().insert(name.to_owned());
        Ok(())
    }

    fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        self.memory.read(name, bytes_max)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.watch(self.memory.remove(name))
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
        self.disk.watch(self.begun.append(bytes))
    }

    fn seal(self: Box<Self>) -> Result<(), StorageError> {
        let Self { disk, begun } = *self;
        disk.watch(begun.seal())
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
