//! Where bulk of a run is made safe: weights and checkpoints on their way from an executor, and back to one.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

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
        beside(name.clone(), move || {
            let _alone = writing.lock().unwrap_or_else(PoisonError::into_inner);
            storage.write(&name, &bytes)
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
