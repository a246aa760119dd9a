//! Blobs pushed to and pulled from an executor.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broadsweep_common::blob::Blob;
use broadsweep_common::encoding::{Encoded, Encoding};
use broadsweep_common::ids::Digest;
use broadsweep_proto::MESSAGE_BYTES_MAX;
use broadsweep_proto::blocks::blocks_client::BlocksClient;
use broadsweep_proto::blocks::{Holdings, OfferReply, OfferRequest, PullRequest, WatchRequest, pull_reply::Part};
use broadsweep_proto::bulk::{BulkClient, PushRequest};
use broadsweep_proto::safe_channel::SafeChannel;
use broadsweep_proto::wire;
use bytes::Bytes;
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use super::Traffic;

/// How long an executor may take over one block, or over the answer to an offer, or have no room for what an attempt
/// needs.
const STALL_MAX: Duration = Duration::from_mins(2);
/// How long a launch waits for room for what it needs: well below the time after which it would count as hung.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(20);
/// Bytes in a second that a blob has to come with, beside that time: slower is as good as lost.
const PULL_RATE_MIN: u64 = 256 << 10;
/// How often it is asked again whether it has room.
const ROOM_POLL: Duration = Duration::from_millis(200);

/// An answer that comes while the other side is at work. A peer that only keeps its connection alive is as good as lost.
async fn moving<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(STALL_MAX, answer).await.unwrap_or_else(|_| Err(stalled()))
}

fn stalled() -> Status {
    Status::deadline_exceeded(format!("nothing moved for {} s", STALL_MAX.as_secs()))
}

/// Moves blobs between this driver and one executor, for one run.
#[derive(Clone)]
pub(super) struct Transfer {
    client: BlocksClient<SafeChannel>,
    bulk: BulkClient,
    run: String,
}

impl Transfer {
    pub(super) fn new(channel: SafeChannel, run: &str) -> Self {
        let client = BlocksClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Self { client, bulk: BulkClient::new(channel), run: run.to_owned() }
    }

    /// Asks which blocks of `blob` the executor lacks; `None` while another process of its machine is writing the same
    /// file: to be asked again.
    pub(super) async fn offer(&mut self, blob: &Blob<Bytes>, cached: bool) -> Result<Option<Vec<u32>>, Status> {
        let manifest = Some(wire::manifest_message(&blob.manifest));
        let offer = OfferRequest { run: self.run.clone(), manifest, cached };
        let OfferReply { missing, busy } = moving(self.client.offer(offer)).await?.into_inner();
        if busy {
            return Ok(None);
        }
        // Each block goes out once: an answer that names one again could ask for bytes without end.
        if missing.is_sorted_by(|earlier, later| earlier < later) {
            return Ok(Some(missing));
        }
        Err(Status::invalid_argument("it named missing blocks twice or out of order"))
    }

    /// Gives the executor a blob that belongs to one attempt, as soon as it has room for it.
    pub(super) async fn supply(&mut self, blob: &Blob<Bytes>) -> Result<(), Status> {
        let began = Instant::now();
        let missing = loop {
            match self.offer(blob, false).await {
                Ok(missing) => break missing.ok_or_else(|| Status::internal("a blob in memory was busy"))?,
                // What is there goes once its attempt begins, or once it was fetched.
                Err(full) if full.code() == Code::ResourceExhausted && began.elapsed() < ROOM_WAIT_MAX => {
                    tokio::time::sleep(ROOM_POLL).await;
                }
                Err(status) => return Err(status),
            }
        };
        // It is no broadcast, so nobody counts it; numbers of training do not shrink.
        self.push(blob, missing, Encoding::Raw, &Traffic::default().into()).await
    }

    /// Gives the executor the `missing` blocks of `blob`, in this encoding where it makes them shorter; `traffic` counts
    /// their bytes.
    pub(super) async fn push(
        &mut self,
        blob: &Blob<Bytes>,
        missing: Vec<u32>,
        encoding: Encoding,
        traffic: &Arc<Traffic>,
    ) -> Result<(), Status> {
        if missing.is_empty() {
            return Ok(());
        }
        let name = Bytes::copy_from_slice(&blob.manifest.digest().0);
        let (blob, run, traffic) = (blob.clone(), self.run.clone(), Arc::clone(traffic));
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        // A block that the executor claims to lack but that does not exist is left out: it is the executor's mistake.
        let blocks = missing.into_iter().filter_map(move |index| {
            let range = blob.manifest.range(index as usize)?;
            let content = blob.content.slice(range.start as usize..range.end as usize);
            traffic.sent_raw.fetch_add(content.len() as u64, Ordering::Relaxed);
            let Encoded { encoding, content } = Encoded::of(content, encoding);
            traffic.sent.fetch_add(content.len() as u64, Ordering::Relaxed);
            count.fetch_add(1, Ordering::Relaxed);
            let encoding = wire::encoding_number(encoding);
            Some(PushRequest { run: run.clone(), blob: name.clone(), index, content, encoding })
        });
        let mut pushed = pin!(self.bulk.push(blocks));
        loop {
            let before = taken.load(Ordering::Relaxed);
            match tokio::time::timeout(STALL_MAX, &mut pushed).await {
                Ok(answer) => return answer.map(drop),
                Err(_) if taken.load(Ordering::Relaxed) == before => return Err(stalled()),
                Err(_) => {} // it is slow, and moves
            }
        }
    }

    /// What the executor has of a blob, and what comes.
    pub(super) async fn watch(&mut self, blob: Digest) -> Result<Streaming<Holdings>, Status> {
        let request = WatchRequest { run: self.run.clone(), blob: Bytes::copy_from_slice(&blob.0), by_peer: false };
        Ok(moving(self.client.watch(request)).await?.into_inner())
    }

    /// Fetches a whole blob and checks it against its name: nobody has to look at its bytes again.
    pub(super) async fn pull(&mut self, blob: Digest, bytes_max: u64) -> Result<Blob<Bytes>, Status> {
        let name = Bytes::copy_from_slice(&blob.0);
        let request = PullRequest { run: self.run.clone(), blob: name };
        let mut parts = moving(self.client.pull(request)).await?.into_inner();
        let bad = |what: &str| Status::data_loss(format!("blob {blob}: {what}"));
        let Some(Part::Manifest(manifest)) = moving(parts.message()).await?.and_then(|reply| reply.part) else {
            return Err(bad("its manifest did not come first"));
        };
        let manifest = wire::manifest(Some(manifest)).map_err(|error| bad(&error.to_string()))?;
        if manifest.digest() != blob {
            return Err(bad("another blob's manifest came"));
        }
        if manifest.bytes() > bytes_max {
            return Err(bad(&format!("it has {} bytes, and may have {bytes_max}", manifest.bytes())));
        }
        let deadline = Instant::now() + STALL_MAX + Duration::from_secs(manifest.bytes() / PULL_RATE_MIN);
        let mut content = Vec::new();
        for (index, digest) in manifest.blocks().iter().enumerate() {
            let part = tokio::time::timeout_at(deadline, moving(parts.message())).await;
            let part = part.unwrap_or_else(|_| Err(bad("it came too slowly to be waited for")))?;
            let Some(Part::Block(block)) = part.and_then(|reply| reply.part) else {
                return Err(bad("its blocks ended early"));
            };
            let range = manifest.range(index).unwrap_or_default();
            if Digest::of(&block) != *digest || block.len() as u64 != range.end - range.start {
                return Err(bad("a block is not what the manifest says"));
            }
            content.extend_from_slice(&block);
        }
        Ok(Blob { manifest, content: Bytes::from(content) })
    }
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
