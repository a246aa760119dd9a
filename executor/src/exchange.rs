//! Fetches what this executor lacks of a blob from its peers, until it has all of it.
//!
//! What is asked of whom is decided by [`Fetcher`]; here it is carried out. The driver pushes blocks at the same time,
//! and sends what cannot be had from peers: so nothing here is an error that anybody has to hear of.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::encoding::Encoding;
use broadsweep_common::exchange::{BlockSet, Failure, Fetcher, PeerId, Request};
use broadsweep_common::ids::Digest;
use broadsweep_proto::MESSAGE_BYTES_MAX;
use broadsweep_proto::blocks::blocks_client::BlocksClient;
use broadsweep_proto::blocks::{Holdings, WatchRequest};
use broadsweep_proto::bulk::{BulkClient, FetchReply, FetchRequest};
use broadsweep_proto::dial::{Connect, dial, is_loopback};
use broadsweep_proto::wire::{self, Told};
use bytes::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{self, Receiver as EventReceiver, Sender as EventSender};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::{Stream, StreamExt};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use crate::arrivals::{Arrival, Arrivals};
use broadsweep_store::{BlobStore, StoreError};

/// How long a dial, or the first word of a peer, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one block may take.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Wait before a peer is dialled again; doubles up to [`REDIAL_MAX`].
const REDIAL_MIN: Duration = Duration::from_millis(200);
const REDIAL_MAX: Duration = Duration::from_secs(5);
/// Addresses that one exchange knows, listed now or before.
const ADDRESSES_MAX: usize = 1 << 16;
/// What peers told and nobody has taken in yet: a peer that tells faster is read no further, and has to wait.
const EVENTS_MAX: usize = 64;

const EXCHANGE_OVER: &str = "the exchange is over";

/// What an exchange needs of its executor.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) store: Arc<BlobStore>,
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) connect: Arc<dyn Connect>,
    /// Of this process: executors begin with different blocks.
    pub(crate) instance: u64,
}

/// The others that have blocks of a blob, or will have.
#[derive(Clone, Debug)]
pub(crate) struct Company {
    pub(crate) addresses: Vec<String>,
    /// How blocks are asked for where a network lies between.
    pub(crate) encoding: Encoding,
}

/// The exchange of one blob. Dropping it ends it; what has come stays.
pub(crate) struct Exchange {
    pub(crate) blob: Digest,
    company: watch::Sender<Company>,
    _task: AbortOnDropHandle<()>,
}

impl Exchange {
    /// Fetches `blob`, which was offered here, from executors that belong to `run` as well.
    pub(crate) fn start(surroundings: Surroundings, run: &str, blob: Digest, company: Company) -> Self {
        let (company, told) = watch::channel(company);
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let errand = Errand { surroundings, run: run.to_owned(), blob, tell };
        let task = tokio::spawn(exchange(errand, told, events));
        Self { blob, company, _task: AbortOnDropHandle::new(task) }
    }

    /// Who the others are, from now on.
    pub(crate) fn on_peers(&self, company: Company) {
        self.company.send_replace(company);
    }
}

/// What the task that watches a peer tells.
enum PeerEvent {
    /// It answers.
    Joined(PeerId, Reached),
    Has(PeerId, Vec<u32>),
    Left(PeerId),
}

/// A peer that answers.
struct Reached {
    client: BulkClient,
    /// No network lies between.
    is_near: bool,
}

#[derive(Clone)]
struct Errand {
    surroundings: Surroundings,
    run: String,
    blob: Digest,
    /// Only the tasks that watch peers wait for room there: the exchange itself never does, and always takes in.
    tell: EventSender<PeerEvent>,
}

/// Everything about the peers of one exchange.
#[derive(Default)]
struct Peers {
    /// Of every address that was ever listed: one that is listed again gets its old number, so that it stays banned.
    ids: HashMap<String, PeerId>,
    /// Those that are listed, each with the task that watches it.
    listed: BTreeMap<PeerId, AbortOnDropHandle<()>>,
    reached: BTreeMap<PeerId, Reached>,
    /// How blocks are asked for where a network lies between.
    encoding: Encoding,
}

async fn exchange(errand: Errand, mut told: watch::Receiver<Company>, mut events: EventReceiver<PeerEvent>) {
    let Errand { surroundings: Surroundings { store, arrivals, instance, .. }, blob, .. } = errand.clone();
    let mut arrived = arrivals.listen();
    let Some(have) = what_is_here(&store, blob) else { return };
    let mut fetcher = Fetcher::new(have.len(), have, seed(instance, blob));
    let mut peers = Peers::default();
    let mut fetches: JoinSet<(Request, Result<u64, Failure>)> = JoinSet::new();
    let began = Instant::now();
    told.mark_changed();
    while !fetcher.is_complete() {
        while let Some(request) = fetcher.next(began.elapsed()) {
            if let Some(Reached { client, is_near }) = peers.reached.get(&request.peer) {
                let encoding = if *is_near { Encoding::Raw } else { peers.encoding };
                fetches.spawn(fetch(errand.clone(), client.clone(), request, encoding));
            }
        }
        let patience = async {
            match fetcher.deadline() {
                Some(due) => sleep_until(began + due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = told.changed() => match changed {
                Ok(()) => peers.list(&errand, &told.borrow_and_update(), &mut fetcher),
                Err(_) => return, // the exchange was dropped
            },
            Some(event) = events.recv() => peers.on_event(event, &mut fetcher),
            arrival = arrived.recv() => catch_up(&mut fetcher, &store, blob, (arrival, &mut arrived), began.elapsed()),
            Some(done) = fetches.join_next() => if let Ok((request, fetched)) = done {
                match fetched {
                    Ok(bytes) => {
                        drop(fetcher.arrived(request.index, Some(request.peer), began.elapsed()));
                        arrivals.came(blob, request.index, bytes);
                    }
                    Err(failure) => {
                        fetcher.failed(request.peer, request.index, failure, began.elapsed());
                        if failure == Failure::Corrupt {
                            let is_banned = fetcher.is_banned(request.peer);
                            tracing::warn!(peer = peers.name(request.peer), index = request.index, is_banned, "a peer gave another block than it was asked for");
                        }
                    }
                }
            },
            () = patience => {}
        }
    }
    tracing::debug!(%blob, "the blob is whole");
}

fn seed(instance: u64, blob: Digest) -> u64 {
    let mut hasher = DefaultHasher::new();
    (instance, blob.0).hash(&mut hasher);
    hasher.finish()
}

/// Which blocks of a blob are here; `None` if the run that it was offered for is over.
pub(crate) fn what_is_here(store: &BlobStore, blob: Digest) -> Option<BlockSet> {
    let (blocks, missing) = store.missing(blob)?;
    let mut here = BlockSet::full(blocks);
    for index in missing {
        here.remove(index);
    }
    Some(here)
}

/// Takes in what came by other ways: the driver's pushes.
fn catch_up(
    fetcher: &mut Fetcher,
    store: &BlobStore,
    blob: Digest,
    (arrival, arrived): (Result<Arrival, RecvError>, &mut Receiver<Arrival>),
    now: Duration,
) {
    match arrival {
        Ok(Arrival::Came(of, index)) if of == blob => drop(fetcher.arrived(index, None, now)),
        Ok(_) | Err(RecvError::Closed) => {}
        Err(RecvError::Lagged(_)) => {
            *arrived = arrived.resubscribe();
            if let Some(here) = what_is_here(store, blob) {
                here.present().for_each(|index| drop(fetcher.arrived(index, None, now)));
            }
        }
    }
}

impl Peers {
    /// Goes to those that are new on the list, and lets go whoever is not on it any more.
    fn list(&mut self, errand: &Errand, Company { addresses, encoding }: &Company, fetcher: &mut Fetcher) {
        self.encoding = *encoding;
        let on_list: BTreeSet<PeerId> = addresses.iter().filter_map(|address| self.number(address)).collect();
        for gone in self.listed.keys().copied().filter(|peer| !on_list.contains(peer)).collect::<Vec<_>>() {
            self.listed.remove(&gone);
            self.reached.remove(&gone);
            fetcher.peer_left(gone);
        }
        for address in addresses {
            if let Some(peer) = self.number(address).filter(|peer| !self.listed.contains_key(peer)) {
                let watching = tokio::spawn(watch_peer(errand.clone(), peer, address.clone()));
                self.listed.insert(peer, AbortOnDropHandle::new(watching));
            }
        }
    }

    /// The number of the peer at `address`; `None` if too many are known.
    fn number(&mut self, address: &str) -> Option<PeerId> {
        if let Some(known) = self.ids.get(address) {
            return Some(*known);
        }
        let next = PeerId(self.ids.len() as u32);
        let has_room = self.ids.len() < ADDRESSES_MAX;
        has_room.then(|| *self.ids.entry(address.to_owned()).or_insert(next))
    }

    fn on_event(&mut self, event: PeerEvent, fetcher: &mut Fetcher) {
        let (PeerEvent::Joined(peer, _) | PeerEvent::Has(peer, _) | PeerEvent::Left(peer)) = &event;
        if !self.listed.contains_key(peer) {
            return; // told before it was let go
        }
        match event {
            PeerEvent::Joined(peer, reached) => {
                self.reached.insert(peer, reached);
                fetcher.peer_joined(peer);
            }
            PeerEvent::Has(peer, indices) => indices.into_iter().for_each(|index| fetcher.peer_has(peer, index)),
            PeerEvent::Left(peer) => {
                self.reached.remove(&peer);
                fetcher.peer_left(peer);
            }
        }
    }

    fn name(&self, peer: PeerId) -> &str {
        self.ids.iter().find(|(_, id)| **id == peer).map_or("unknown", |(name, _)| name)
    }
}

/// Watches one peer for as long as the exchange lasts.
async fn watch_peer(errand: Errand, peer: PeerId, address: String) {
    let mut wait = REDIAL_MIN;
    loop {
        match watch_once(&errand, peer, &address).await {
            Ok(()) => pending().await, // it has all, and can be asked at any time
            Err(reason) => tracing::debug!(address, reason, "a peer does not answer"),
        }
        if errand.tell.send(PeerEvent::Left(peer)).await.is_err() {
            return;
        }
        sleep(wait).await;
        wait = REDIAL_MAX.min(wait * 2);
    }
}

/// Until the peer has told that it has all, or ends.
async fn watch_once(errand: &Errand, peer: PeerId, address: &str) -> Result<(), String> {
    let channel = dial(&errand.surroundings.connect, address, ANSWER_TIMEOUT).await.map_err(|error| error.reason)?;
    let mut client = BlocksClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request = WatchRequest { run: errand.run.clone(), blob: name_of(errand.blob), by_peer: true };
    let watching = timeout(ANSWER_TIMEOUT, client.watch(request)).await.map_err(|_| "no answer".to_owned())?;
    let holdings = watching.map_err(|status| status.message().to_owned())?.into_inner();
    let blocks = what_is_here(&errand.surroundings.store, errand.blob).ok_or("the run is over")?.len();
    let reached = Reached { client: BulkClient::new(channel), is_near: is_loopback(address) };
    errand.tell.send(PeerEvent::Joined(peer, reached)).await.map_err(|_| EXCHANGE_OVER)?;
    pass_on(&errand.tell, peer, Told::new(blocks), holdings).await
}

/// Passes on what a peer tells, no faster than it is taken in.
async fn pass_on(
    tell: &EventSender<PeerEvent>,
    peer: PeerId,
    mut told: Told,
    mut holdings: impl Stream<Item = Result<Holdings, Status>> + Unpin,
) -> Result<(), String> {
    while let Some(message) = holdings.next().await {
        let message = message.map_err(|status| status.message().to_owned())?;
        let new = told.add(message).map_err(|bad| bad.to_string())?;
        tell.send(PeerEvent::Has(peer, new)).await.map_err(|_| EXCHANGE_OVER)?;
    }
    Ok(())
}

/// Fetches, checks and keeps one block; returns its length.
async fn fetch(
    errand: Errand,
    mut client: BulkClient,
    request: Request,
    encoding: Encoding,
) -> (Request, Result<u64, Failure>) {
    let (blob, encoding) = (name_of(errand.blob), wire::encoding_number(encoding));
    let asked = FetchRequest { run: errand.run, blob, index: request.index, encoding };
    let fetched = match timeout(BLOCK_TIMEOUT, client.fetch(asked)).await {
        Ok(Ok(reply)) => keep(&errand.surroundings, errand.blob, request.index, reply),
        Ok(Err(status)) => {
            tracing::debug!(index = request.index, reason = status.message(), "a peer did not give a block");
            Err(Failure::Refused)
        }
        Err(_) => Err(Failure::Refused),
    };
    (request, fetched)
}

/// Checks and keeps a block that a peer gave; returns its length on the wire.
fn keep(surroundings: &Surroundings, blob: Digest, index: u32, reply: FetchReply) -> Result<u64, Failure> {
    let bytes = reply.content.len() as u64;
    let Ok(block) = wire::encoded(reply.content, reply.encoding) else { return Err(Failure::Corrupt) };
    match surroundings.store.store_block(blob, index, block) {
        Ok(()) => Ok(bytes),
        Err(StoreError::Corrupt { .. } | StoreError::Encoding { .. } | StoreError::Length { .. }) => {
            Err(Failure::Corrupt)
        }
        Err(error) => {
            tracing::warn!(%error, index, "a block could not be kept");
            surroundings.arrivals.failed(blob, &error.to_string());
            Err(Failure::Refused)
        }
    }
}

fn name_of(blob: Digest) -> Bytes {
    Bytes::copy_from_slice(&blob.0)
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
