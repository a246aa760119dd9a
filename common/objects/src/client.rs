//! Objects through the crate `object_store`: requests run on threads of their own, for whoever waits.
//!
//! Redirects are not followed: they could lead a process to where its driver must not send it. The tag of an object is
//! compared with that of each answer, since not every server minds `If-Match`.

mod brought;
mod reached;
mod reasons;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use tokio::runtime::{Builder, Runtime};
use tokio_stream::StreamExt as _;

use crate::objects::sort;
use crate::{Condition, Object, ObjectAddress, ObjectError, Objects, Pending, Put};
use reached::Reached;
use reasons::{failed, is_refused};

/// Threads that carry requests: they copy bytes, and encrypt them.
const THREADS: usize = 2;
/// How often whoever waits is asked whether it still does.
const PATIENCE: Duration = Duration::from_millis(100);
/// Bytes of an object that is put in pieces, and of a piece.
const PIECE_BYTES: usize = 8 << 20;
/// Objects that are removed at the same time.
const REMOVED_TOGETHER: usize = 16;

/// Stores and web servers, with the environment's credentials.
#[derive(Debug)]
pub(crate) struct Client {
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
    reached: Arc<Reached>,
}

impl Client {
    pub(crate) fn new() -> Result<Self, ObjectError> {
        Self::of(Reached::by_environment()?)
    }

    fn of(reached: Reached) -> Result<Self, ObjectError> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("stores").enable_all().build();
        let runtime = runtime.map_err(|error| ObjectError::Environment { said: error.to_string() })?;
        Ok(Self { runtime: Some(runtime), reached: Arc::new(reached) })
    }

    /// Starts a request, whose end is told to `ended`.
    fn start<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
        ended: SyncSender<T>,
    ) -> Option<tokio::task::AbortHandle> {
        let task = async move {
            // Whoever asked may be gone.
            let _ = ended.send(request.await);
        };
        self.runtime.as_ref().map(|runtime| runtime.spawn(task).abort_handle())
    }

    /// Waits for a request; also where no task may wait, since that is done by this thread alone.
    fn wait<T: Send + 'static>(
        &self,
        address: &ObjectAddress,
        request: impl Future<Output = Result<T, ObjectError>> + Send + 'static,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<T, ObjectError> {
        let (sender, ended) = sync_channel(1);
        let task = self.start(request, sender);
        loop {
            match ended.recv_timeout(PATIENCE) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) if goes_on() => {}
                Err(RecvTimeoutError::Timeout) => {
                    task.inspect(tokio::task::AbortHandle::abort);
                    return Err(ObjectError::Stopped);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ObjectError::Failed { address: address.clone(), said: "it was given up".to_owned() });
                }
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // To wait for its threads is not allowed everywhere.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Objects for Client {
    fn list(&self, below: &ObjectAddress, most: usize) -> Result<Vec<Object>, ObjectError> {
        let (store, path) = self.reached.find(below)?;
        let address = below.clone();
        let listing = async move {
            let mut found = Vec::new();
            let mut entries = store.list(Some(&path));
            while let Some(entry) = entries.next().await {
                let meta = entry.map_err(|error| failed(&address, &error))?;
                found.push(object_of(address.with_key(meta.location.as_ref())?, &meta));
                if found.len() > most {
                    return Err(ObjectError::TooMany { address, most });
                }
            }
            sort(&mut found);
            Ok(found)
        };
        self.wait(below, listing, &|| true)
    }

    fn look(&self, address: &ObjectAddress) -> Result<Option<Object>, ObjectError> {
        let (store, path) = self.reached.find(address)?;
        let own = address.clone();
        let looking = async move {
            match store.head(&path).await {
                Ok(meta) => Ok(Some(object_of(own, &meta))),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(failed(&own, &error)),
            }
        };
        self.wait(address, looking, &|| true)
    }

    fn read(&self, address: &ObjectAddress, most: u64) -> Result<Option<(Vec<u8>, String)>, ObjectError> {
        let (store, path) = self.reached.find(address)?;
        let own = address.clone();
        let reading = async move {
            let answer = match store.get_opts(&path, GetOptions::default()).await {
                Ok(answer) => answer,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(failed(&own, &error)),
            };
            let tag = tag_of(&answer.meta);
            let mut bytes = Vec::new();
            let mut pieces = answer.into_stream();
            while let Some(piece) = pieces.next().await {
                bytes.extend_from_slice(&piece.map_err(|error| failed(&own, &error))?);
                if bytes.len() as u64 > most {
                    return Err(ObjectError::TooLarge { address: own, bytes: bytes.len() as u64, most });
                }
            }
            Ok(Some((bytes, tag)))
        };
        self.wait(address, reading, &|| true)
    }

    fn fill(
        &self,
        object: &Object,
        ranges: &[Range<u64>],
        file: &File,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), ObjectError> {
        let (store, path) = self.reached.find(&object.address)?;
        let not_brought = |error: std::io::Error| ObjectError::NotBrought {
            address: object.address.clone(),
            said: error.to_string(),
        };
        let file = Arc::new(file.try_clone().map_err(not_brought)?);
        let bringing = brought::bring(store, path, object.clone(), brought::pieces(ranges, object.bytes), file);
        self.wait(&object.address, bringing, goes_on)
    }

    fn put(&self, address: &ObjectAddress, bytes: Vec<u8>) -> Pending {
        let (store, path) = match self.reached.find(address) {
            Ok(found) => found,
            Err(error) => return Pending::ended(address.clone(), Err(error)),
        };
        let (sender, ended) = sync_channel(1);
        let own = address.clone();
        let putting =
            async move { put_whole(&*store, &path, Bytes::from(bytes)).await.map_err(|error| failed(&own, &error)) };
        self.start(putting, sender);
        Pending::new(address.clone(), ended)
    }

    fn put_if(&self, address: &ObjectAddress, bytes: Vec<u8>, condition: &Condition) -> Result<Put, ObjectError> {
        let (store, path) = self.reached.find(address)?;
        let mode = match condition {
            Condition::Absent => PutMode::Create,
            Condition::Unchanged(tag) => {
                PutMode::Update(UpdateVersion { e_tag: Some(etag_of(tag).to_owned()), version: None })
            }
        };
        let own = address.clone();
        let putting = async move {
            match store.put_opts(&path, PutPayload::from(bytes), PutOptions::from(mode)).await {
                Ok(_) => Ok(Put::Done),
                Err(error) if is_refused(&error) => Ok(Put::Refused),
                Err(error) => Err(failed(&own, &error)),
            }
        };
        self.wait(address, putting, &|| true)
    }

    fn remove(&self, addresses: &[ObjectAddress]) -> Result<(), ObjectError> {
        for some in addresses.chunks(REMOVED_TOGETHER) {
            let removals = some.iter().map(|address| {
                let (store, path) = self.reached.find(address)?;
                let (sender, ended) = sync_channel(1);
                let own = address.clone();
                let removal = async move {
                    match store.delete(&path).await {
                        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                        Err(error) => Err(failed(&own, &error)),
                    }
                };
                self.start(removal, sender);
                Ok(Pending::new(address.clone(), ended))
            });
            let removals = removals.collect::<Result<Vec<_>, ObjectError>>()?;
            removals.into_iter().try_for_each(Pending::wait)?;
        }
        Ok(())
    }
}

/// Puts an object: a large one in pieces, of which nothing is seen before the last one is there.
async fn put_whole(store: &dyn ObjectStore, path: &Path, bytes: Bytes) -> object_store::Result<()> {
    if bytes.len() <= 2 * PIECE_BYTES {
        return store.put(path, PutPayload::from_bytes(bytes)).await.map(drop);
    }
    let mut upload = store.put_multipart(path).await?;
    let mut from = 0;
    while from < bytes.len() {
        let until = bytes.len().min(from + PIECE_BYTES);
        if let Err(error) = upload.put_part(PutPayload::from_bytes(bytes.slice(from..until))).await {
            // What is left of it costs its owner room; that it stays is no reason to hide the error.
            let _ = upload.abort().await;
            return Err(error);
        }
        from = until;
    }
    upload.complete().await.map(drop)
}

fn object_of(address: ObjectAddress, meta: &ObjectMeta) -> Object {
    Object { address, bytes: meta.size, tag: tag_of(meta) }
}

/// What an object would have another one of if it were changed.
fn tag_of(meta: &ObjectMeta) -> String {
    let changed = meta.last_modified.timestamp_millis();
    match &meta.e_tag {
        Some(tag) => format!("{ETAG}{tag}"),
        None if changed > 0 => format!("changed {changed}"),
        None => String::new(),
    }
}

const ETAG: &str = "etag ";

/// The `ETag` in a tag. One that is none, which no object has, lets no condition hold.
fn etag_of(tag: &str) -> &str {
    tag.strip_prefix(ETAG).unwrap_or("\"\"")
}
