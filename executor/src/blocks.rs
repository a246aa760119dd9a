//! The service that moves bulk: takes offers and blocks into the store, gives blobs out of it.

use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::blob::Blob;
use broadsweep_common::ids::Digest;
use broadsweep_common::wire;
use broadsweep_proto::blocks::blocks_server::Blocks;
use broadsweep_proto::blocks::{
    OfferReply, OfferRequest, PullReply, PullRequest, PushReply, PushRequest, pull_reply::Part,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::hold::Hold;
use crate::store::{BlobStore, Content, Offer, Place, StoreError};

/// How often a file that another process is writing is looked at again.
const BUSY_POLL: Duration = Duration::from_millis(20);

/// How long an offer waits for room that is still in use: by the last run, whose attempts end after their batch.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);

/// Serves the store to the run that holds the executor.
pub(crate) struct BlocksService {
    pub(crate) hold: Arc<Hold>,
    pub(crate) store: Arc<BlobStore>,
}

impl BlocksService {
    fn only_the_holder(&self, run: &str) -> Result<(), Status> {
        if self.hold.is_held_by(run) {
            return Ok(());
        }
        Err(Status::failed_precondition(format!("run {run:?} does not hold this executor")))
    }
}

#[tonic::async_trait]
impl Blocks for BlocksService {
    async fn offer(&self, request: Request<OfferRequest>) -> Result<Response<OfferReply>, Status> {
        let request = request.into_inner();
        let place = if request.cached { Place::Cache } else { Place::Memory };
        let manifest = wire::manifest(request.manifest).map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        let offered = Instant::now();
        loop {
            // Asked again in every round, so that a lost driver's offer does not wait for ever.
            self.only_the_holder(&request.run)?;
            match self.store.offer(manifest.clone(), place).await {
                Ok(Offer::Missing(missing)) => return Ok(Response::new(OfferReply { missing })),
                Ok(Offer::Busy) => {}
                Err(error) if error.may_pass() && offered.elapsed() < ROOM_PATIENCE => {}
                Err(error) => return Err(status(&error)),
            }
            tokio::time::sleep(BUSY_POLL).await;
        }
    }

    async fn push(&self, request: Request<Streaming<PushRequest>>) -> Result<Response<PushReply>, Status> {
        let mut blocks = request.into_inner();
        while let Some(block) = blocks.message().await? {
            self.only_the_holder(&block.run)?;
            let blob = digest(&block.blob)?;
            self.store.store_block(blob, block.index, &block.content).map_err(|error| status(&error))?;
        }
        Ok(Response::new(PushReply {}))
    }

    type PullStream = ReceiverStream<Result<PullReply, Status>>;

    async fn pull(&self, request: Request<PullRequest>) -> Result<Response<Self::PullStream>, Status> {
        let request = request.into_inner();
        self.only_the_holder(&request.run)?;
        let name = digest(&request.blob)?;
        let blob = self.store.get(name).ok_or_else(|| Status::not_found(format!("blob {name} is not here")))?;
        let (parts, stream) = mpsc::channel(2);
        tokio::spawn(give(blob, parts));
        Ok(Response::new(ReceiverStream::new(stream)))
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
    Digest::try_from(bytes).map_err(|bad| Status::invalid_argument(bad.to_string()))
}

fn status(error: &StoreError) -> Status {
    let message = error.to_string();
    match error {
        StoreError::File { .. }
        | StoreError::CacheFull { .. }
        | StoreError::DiskFull { .. }
        | StoreError::NoRoom { .. }
        | StoreError::TooMany => Status::resource_exhausted(message),
        StoreError::NotOffered(_) => Status::failed_precondition(message),
        StoreError::NoSuchBlock { .. } | StoreError::Length { .. } | StoreError::Manifest(_) => {
            Status::invalid_argument(message)
        }
        StoreError::Corrupt { .. } => Status::data_loss(message),
    }
}
