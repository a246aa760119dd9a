//! Where bulk of a run is made safe: weights and checkpoints on their way from an executor, and back to one.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::journal::{Storage, StorageError};

/// What a [`Vault`] answers.
pub type VaultFuture<T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send>>;

/// Whole files of a run, written and read beside the run loop. The seam at which a simulation puts its own: only what
/// `main` hands in knows threads.
pub trait Vault: Send + Sync {
    /// Makes `bytes` safe under `name`.
    fn keep(&self, name: String, bytes: Bytes) -> VaultFuture<()>;

    /// Reads what was kept under `name`.
    fn load(&self, name: String) -> VaultFuture<Bytes>;
}

/// Bytes that a file of a run may have to be read back: what one blob of a training needs, far below what it could
/// claim.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// A vault over a run's storage, whose waits for the disk block threads of their own.
#[derive(Debug)]
pub struct BlockingVault {
    storage: Arc<dyn Storage>,
    /// One file is written at a time: two attempts may bring the same one.
    writing: Arc<Mutex<()>>,
}

impl BlockingVault {
    /// A vault over `storage`.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, writing: Arc::default() }
    }
}

impl Vault for BlockingVault {
    fn keep(&self, name: String, bytes: Bytes) -> VaultFuture<()> {
        let (storage, writing) = (Arc::clone(&self.storage), Arc::clone(&self.writing));
        Box::pin(async move {
            // Waited for here: a thread each would be parked until its turn.
            let _alone = writing.lock_owned().await;
            beside(name.clone(), move || storage.write(&name, &bytes)).await
        })
    }

    fn load(&self, name: String) -> VaultFuture<Bytes> {
        let storage = Arc::clone(&self.storage);
        beside(name.clone(), move || load(&*storage, &name))
    }
}

/// Reads what was kept under `name`.
///
/// # Errors
/// [`StorageError`]; a file that is not there is one too.
pub fn load(storage: &dyn Storage, name: &str) -> Result<Bytes, StorageError> {
    let missing = || failed(name, io::Error::from(io::ErrorKind::NotFound));
    storage.read(name, FILE_BYTES_MAX)?.map(Bytes::from).ok_or_else(missing)
}

fn beside<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> VaultFuture<T> {
    Box::pin(async move {
        let worked = tokio::task::spawn_blocking(work).await;
        worked.unwrap_or_else(|ended| Err(failed(&name, io::Error::other(ended))))
    })
}

fn failed(name: &str, source: io::Error) -> StorageError {
    StorageError::Failed { doing: "use", path: PathBuf::from(name), source: Arc::new(source) }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;
    use crate::journal::{MemoryStorage, NewJournal};

    /// Takes what is written only when it is told to.
    #[derive(Debug)]
    struct Stalled {
        memory: MemoryStorage,
        go_on: Mutex<mpsc::Receiver<()>>,
    }

    impl Storage for Stalled {
        fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
            self.go_on.lock().unwrap().recv().unwrap();
            self.memory.write(name, bytes)
        }

        fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
            self.memory.read(name, bytes_max)
        }

        fn remove(&self, name: &str) -> Result<(), StorageError> {
            self.memory.remove(name)
        }

        fn list(&self, folder: &str) -> Result<Vec<String>, StorageError> {
            self.memory.list(folder)
        }

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
            self.memory.append_journal(offset, bytes)
        }

        fn sync_journal(&self) -> Result<(), StorageError> {
            self.memory.sync_journal()
        }

        fn truncate_journal(&self, bytes: u64) -> Result<(), StorageError> {
            self.memory.truncate_journal(bytes)
        }

        fn new_journal(&self) -> Result<Box<dyn NewJournal + '_>, StorageError> {
            self.memory.new_journal()
        }
    }

    #[test]
    fn what_waits_for_a_stalled_disk_takes_no_thread_from_what_is_read() {
        let (go_on, gate) = mpsc::channel();
        let memory = MemoryStorage::new();
        memory.write("weights/0", b"known").unwrap();
        let vault = BlockingVault::new(Arc::new(Stalled { memory, go_on: Mutex::new(gate) }));
        // One thread for the write that stalls, and one for all else.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(2).build().unwrap();
        runtime.block_on(async {
            let keeps: Vec<_> = (1..5)
                .map(|number| tokio::spawn(vault.keep(format!("weights/{number}"), Bytes::from_static(b"new"))))
                .collect();
            tokio::task::yield_now().await;
            assert_eq!(vault.load("weights/0".to_owned()).await.unwrap(), "known");
            for _ in &keeps {
                go_on.send(()).unwrap();
            }
            for keep in keeps {
                keep.await.unwrap().unwrap();
            }
            assert_eq!(vault.load("weights/4".to_owned()).await.unwrap(), "new");
        });
    }
}
