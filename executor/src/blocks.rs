//! The service that moves bulk: takes offers and blocks into the store, gives blobs out of it.

use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::blob::{Blob, Manifest};
use broadsweep_common::encoding::Encoded;
use broadsweep_common::exchange::PEERS_MAX;
use broadsweep_common::ids::Digest;
use broadsweep_proto::blocks::blocks_server::Blocks;
use broadsweep_proto::blocks::{
    Holdings, OfferReply, OfferRequest, PullReply, PullRequest, WatchRequest, pull_reply::Part,
};
use broadsweep_proto::bulk::{Bulk, FetchReply, FetchRequest, Messages, PushReply, PushRequest};
use broadsweep_proto::secure::Caller;
use broadsweep_proto::wire;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::arrivals::{Arrival, Arrivals};
use crate::exchange::what_is_here;
use crate::hold::Hold;
use broadsweep_store::{BlobStore, Content, Medium, Offer, StoreError};

/// How often a file that another process is writing is looked at again.
const BUSY_POLL: Duration = Duration::from_millis(20);
/// After how long an offer is answered although that goes on, or although its own file is still being read: a large one
/// takes minutes, and who offers takes silence for a loss.
const BUSY_ANSWER: Duration = Duration::from_secs(10);
/// How often a watcher's run is checked while nothing comes.
const HOLDER_CHECK: Duration = Duration::from_secs(5);
/// Peers that may watch at the same time: more than a driver sends here, since some may have gone unnoticed.
const PEER_WATCHERS_MAX: usize = 4 * PEERS_MAX;
/// The same for drivers: the one of this session, and of earlier ones.
const DRIVER_WATCHERS_MAX: usize = 16;
/// Blocks that are given to peers at the same time.
const FETCHES_MAX: usize = 64;
/// Blocks that are told of together.
const TOLD_TOGETHER_MAX: usize = 1024;
/// How long an offer waits for room that is still in use: by the last run, whose attempts end after their batch.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);

/// Serves the store to the run that holds the executor.
pub(crate) struct BlocksService {
    hold: Arc<Hold>,
    store: Arc<BlobStore>,
    arrivals: Arc<Arrivals>,
    peer_watchers: Arc<Semaphore>,
    driver_watchers: Arc<Semaphore>,
    fetches: Semaphore,
}

impl BlocksService {
    pub(crate) fn new(hold: Arc<Hold>, store: Arc<BlobStore>, arrivals: Arc<Arrivals>) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        let (peer_watchers, driver_watchers) = (places(PEER_WATCHERS_MAX), places(DRIVER_WATCHERS_MAX));
        Self { hold, store, arrivals, peer_watchers, driver_watchers, fetches: Semaphore::new(FETCHES_MAX) }
    }

    fn only_the_holder(&self, run: &str, driver: Option<&str>) -> Result<(), Status> {
        if self.hold.is_held_by(run, driver) {
            return Ok(());
        }
        Err(Status::failed_precondition(format!("run {run:?} does not hold this executor")))
    }
}

/// The name of the driver that asks, if that has an identity.
fn driver_of<T>(request: &Request<T>) -> Option<String> {
    request.extensions().get::<Caller>()?.driver().map(ToOwned::to_owned)
}

#[tonic::async_trait]
impl Blocks for BlocksService {
    async fn offer(&self, request: Request<OfferRequest>) -> Result<Response<OfferReply>, Status> {
        let driver = driver_of(&request);
        let request = request.into_inner();
        let medium = if request.cached { Medium::Cache } else { Medium::Memory };
        let manifest = wire::manifest(request.manifest).map_err(|bad| invalid(&bad))?;
        let offered = Instant::now();
        loop {
            // Asked again in every round, so that a lost driver's offer does not wait for ever.
            self.only_the_holder(&request.run, driver.as_deref())?;
            let here = (Arc::clone(&self.store), Arc::clone(&self.arrivals));
            let looked = tokio::spawn(look(here, manifest.clone(), medium));
            match tokio::time::timeout(BUSY_ANSWER, looked).await {
                Ok(Ok(Ok(Offer::Missing(missing)))) => return Ok(Response::new(OfferReply { missing, busy: false })),
                Ok(Ok(Ok(Offer::Busy))) if offered.elapsed() < BUSY_ANSWER => {}
                // It goes on looking; the next offer hears what it found.
                Err(_) | Ok(Ok(Ok(Offer::Busy))) => {
                    return Ok(Response::new(OfferReply { missing: Vec::new(), busy: true }));
                }
                Ok(Ok(Err(error))) if error.may_pass() && offered.elapsed() < ROOM_PATIENCE => {}
                Ok(Ok(Err(error))) => return Err(status(&error)),
                Ok(Err(ended)) => return Err(Status::unavailable(format!("the store is ending: {ended}"))),
            }
            tokio::time::sleep(BUSY_POLL).await;
        }
    }

    type PullStream = ReceiverStream<Result<PullReply, Status>>;

    async fn pull(&self, request: Request<PullRequest>) -> Result<Response<Self::PullStream>, Status> {
        let driver = driver_of(&request);
        let request = request.into_inner();
        self.only_the_holder(&request.run, driver.as_deref())?;
        let name = digest(&request.blob)?;
        let blob = self.store.get(name).ok_or_else(|| Status::not_found(format!("blob {name} is not here")))?;
        let (parts, stream) = mpsc::channel(2);
        tokio::spawn(give(blob, parts));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type WatchStream = ReceiverStream<Result<Holdings, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let driver = driver_of(&request);
        let request = request.into_inner();
        self.only_the_holder(&request.run, driver.as_deref())?;
        let blob = digest(&request.blob)?;
        let places = if request.by_peer { &self.peer_watchers } else { &self.driver_watchers };
        let place = Arc::clone(places).try_acquire_owned();
        // One that goes makes room: whoever asks may ask again.
        let place = place.map_err(|_| Status::unavailable("too many watch this executor"))?;
        let (holdings, stream) = mpsc::channel(2);
        let (hold, store, arrived) = (Arc::clone(&self.hold), Arc::clone(&self.store), self.arrivals.listen());
        tokio::spawn(async move {
            let _place = place;
            let is_held = || hold.is_held_by(&request.run, driver.as_deref());
            tokio::select! {
                () = holdings.closed() => {} // the watcher has gone
                told = tell(&store, blob, is_held, arrived, &holdings) => if let Err(status) = told {
                    let _ = holdings.try_send(Err(status)); // the watcher may read nothing
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tonic::async_trait]
impl Bulk for BlocksService {
    async fn push(&self, blocks: Messages<PushRequest>) -> Result<PushReply, Status> {
        let mut blocks = blocks;
        while let Some(block) = blocks.message().await? {
            // Content that is named by its digest can be anybody's.
            self.only_the_holder(&block.run, None)?;
            let blob = digest(&block.blob)?;
            let encoded = wire::encoded(block.content, block.encoding).map_err(|bad| invalid(&bad))?;
            self.store.store_block(blob, block.index, encoded).map_err(|error| status(&error))?;
            self.arrivals.came(blob, block.index, 0);
        }
        Ok(PushReply {})
    }

    async fn fetch(&self, request: FetchRequest) -> Result<FetchReply, Status> {
        let (blob, index) = (digest(&request.blob)?, request.index);
        let encoding = wire::encoding(request.encoding).map_err(|bad| invalid(&bad))?;
        // Each block that is on its way takes memory, whoever asks.
        let _place = self.fetches.acquire().await.map_err(|closed| Status::unavailable(closed.to_string()))?;
        self.only_the_holder(&request.run, None)?;
        let content = self.store.block(blob, index).map_err(|error| status(&error))?;
        let content =
            content.ok_or_else(|| Status::not_found(format!("block {index} of blob {blob} is not here")))?;
        // Two milliseconds: as long as it takes to read a block from a disk, which is done here as well.
        let Encoded { encoding, content } = Encoded::of(content, encoding);
        Ok(FetchReply { content, encoding: wire::encoding_number(encoding) })
    }
}

/// Looks for a blob in the store, and counts what of it was here when it is offered for the first time.
async fn look(
    (store, arrivals): (Arc<BlobStore>, Arc<Arrivals>),
    manifest: Manifest,
    medium: Medium,
) -> Result<Offer, StoreError> {
    let (blob, bytes) = (manifest.digest(), manifest.bytes());
    let was_known = store.missing(blob).is_some();
    let found = store.offer(manifest.clone(), medium).await?;
    if let Offer::Missing(missing) = &found
        && !was_known
    {
        let lacks = missing.iter().filter_map(|index| manifest.range(*index as usize));
        let lacks: u64 = lacks.map(|range| range.end - range.start).sum();
        arrivals.was_cached(blob, bytes - lacks);
    }
    Ok(found)
}

/// Tells what is here of a blob, then each block that comes, until all have come.
async fn tell(
    store: &BlobStore,
    blob: Digest,
    is_held: impl Fn() -> bool,
    mut arrived: Receiver<Arrival>,
    holdings: &mpsc::Sender<Result<Holdings, Status>>,
) -> Result<(), Status> {
    let over = || Status::not_found(format!("blob {blob} is not offered here"));
    let gone = |_| Status::cancelled("the watcher has gone");
    let mut here = what_is_here(store, blob).ok_or_else(over)?;
    let all = Holdings { all: Some(here.to_bytes().into()), came: Vec::new() };
    holdings.send(Ok(all)).await.map_err(gone)?;
    while !here.is_full() {
        let mut came = Vec::new();
        match tokio::time::timeout(HOLDER_CHECK, arrived.recv()).await {
            Ok(Ok(arrival)) => came.extend(block_told_by(&arrival, blob)?),
            Err(_) if is_held() => continue,
            Err(_) | Ok(Err(RecvError::Closed)) => return Err(over()),
            Ok(Err(RecvError::Lagged(_))) => {
                arrived = arrived.resubscribe();
                let now = what_is_here(store, blob).ok_or_else(over)?;
                came.extend(now.present());
            }
        }
        while came.len() < TOLD_TOGETHER_MAX
            && let Ok(arrival) = arrived.try_recv()
        {
            came.extend(block_told_by(&arrival, blob)?);
        }
        came.retain(|index| here.insert(*index));
        if !came.is_empty() {
            holdings.send(Ok(Holdings { all: None, came })).await.map_err(gone)?;
        }
    }
    Ok(())
}

/// The block of this blob that an arrival tells of, or why there will be no more.
fn block_told_by(arrival: &Arrival, blob: Digest) -> Result<Option<u32>, Status> {
    match arrival {
        Arrival::Came(of, index) => Ok(Some(*index).filter(|_| *of == blob)),
        Arrival::Failed(of, reason) if *of == blob => Err(Status::resource_exhausted(&**reason)),
        Arrival::Failed(..) => Ok(None),
    }
}

/// Sends a blob, a block at a time and never faster than it is taken.
async fn give(blob: Blob<Content>, parts: mpsc::Sender<Result<PullReply, Status>>) {
    let manifest = PullReply { part: Some(Part::Manifest(wire::manifest_message(&blob.manifest))) };
    if parts.send(Ok(manifest)).await.is_err() {
        return; // the driver has gone
    }
    for range in (0..).map_while(|index| blob.manifest.range(index)) {
        let content = &(*blob.content).as_ref()[range.start as usize..range.end as usize];
        let block = PullReply { part: Some(Part::Block(content.to_vec().into())) };
        if parts.send(Ok(block)).await.is_err() {
            return;
        }
    }
}

fn digest(bytes: &[u8]) -> Result<Digest, Status> {
    Digest::try_from(bytes).map_err(|bad| invalid(&bad))
}

fn invalid(bad: &dyn ToString) -> Status {
    Status::invalid_argument(bad.to_string())
}

fn status(error: &StoreError) -> Status {
    let message = error.to_string();
    match error {
        StoreError::File { .. }
        | StoreError::CacheFull { .. }
        | StoreError::DiskFull { .. }
        | StoreError::NoRoom { .. }
        | StoreError::TooMany => Status::resource_exhausted(message),
        StoreError::NotOffered(_) | StoreError::RunOver => Status::failed_precondition(message),
        StoreError::NoSuchBlock { .. } | StoreError::Length { .. } | StoreError::Manifest(_) => {
            Status::invalid_argument(message)
        }
        StoreError::Corrupt { .. } | StoreError::Encoding { .. } => Status::data_loss(message),
    }
}
