//! The broadcast of a blob: each block goes to one executor, and the executors fetch the rest from each other.
//!
//! Whatever every executor needs takes this way: the data set now, and any other blob that all of them are to have. What
//! one executor needs is pushed to it alone (`transfer`): the checkpoint that an attempt goes on from, and the weights that
//! a measure task looks at, of which there are two in a run, each for one executor. For those a plain push is one copy as
//! well, without asking who else has it. The study's description is a few hundred bytes: there is nothing to hand on.
//!
//! What is decided here is decided by [`Scatter`]; each executor's link watches what it has, tells it who the others
//! are, and pushes what is asked of it. A link that ends takes its executor out, with the blocks that only it had.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use broadsweep_common::blob::Blob;
use broadsweep_common::encoding::Encoding;
use broadsweep_common::exchange::{BlockSet, Mesh, NodeId, Push, Scatter, Why};
use broadsweep_common::ids::ExecutorId;
use broadsweep_proto::dial::is_loopback;
use broadsweep_proto::session::{Peers, driver_item};
use broadsweep_proto::wire::Told;
use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::ending::{SessionEnd, broadcast_error};
use super::outbound::Outbound;
use super::teller::Teller;
use super::transfer::Transfer;
use super::{LinkError, LinkEvent, Traffic};

/// The broadcast of one blob to a run's executors.
pub(super) struct Broadcast {
    pub(super) blob: Blob<Bytes>,
    /// How its blocks travel where a network lies between; known once a node is there to ask for it.
    encoding: OnceLock<Encoding>,
    began: Instant,
    state: Mutex<State>,
}

struct State {
    scatter: Scatter,
    mesh: Mesh,
    seated: BTreeMap<ExecutorId, Seated>,
}

struct Seated {
    address: String,
    /// What its link is to push: few at a time.
    pushes: UnboundedSender<Push>,
    /// Who its peers are: only the newest list counts, and no other waits for an executor that reads nothing.
    peers: watch::Sender<Vec<String>>,
}

/// An executor's place in the broadcast, until this is dropped.
pub(super) struct Seat {
    broadcast: Arc<Broadcast>,
    executor: ExecutorId,
    pushes: UnboundedReceiver<Push>,
    peers: watch::Receiver<Vec<String>>,
    have: BlockSet,
    traffic: Arc<Traffic>,
}

/// What leads to one executor while its session lasts.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) address: &'a str,
    pub(super) transfer: &'a Transfer,
    pub(super) outbound: &'a Outbound,
    pub(super) teller: &'a Teller,
}

impl Broadcast {
    pub(super) fn new(blob: Blob<Bytes>) -> Self {
        let scatter = Scatter::new(blob.manifest.blocks().len() as u32);
        Self {
            blob,
            encoding: OnceLock::new(),
            began: Instant::now(),
            state: Mutex::new(State { scatter, mesh: Mesh::default(), seated: BTreeMap::new() }),
        }
    }

    /// An executor that others reach at `address` takes part, and has these blocks.
    pub(super) fn join(
        self: &Arc<Self>,
        executor: ExecutorId,
        address: &str,
        (have, traffic): (BlockSet, &Arc<Traffic>),
    ) -> Seat {
        let (pushes, pushed) = unbounded_channel();
        let (peers, told) = watch::channel(Vec::new());
        let mut state = self.state();
        state.seated.insert(executor, Seated { address: address.to_owned(), pushes, peers });
        state.scatter.joined(NodeId(executor.0), have.clone());
        let changed = state.mesh.join(NodeId(executor.0));
        state.tell_peers(changed);
        self.decide(&mut state);
        let (broadcast, traffic) = (Arc::clone(self), Arc::clone(traffic));
        Seat { broadcast, executor, pushes: pushed, peers: told, have, traffic }
    }

    /// How blocks go to `address`.
    fn encoding_to(&self, address: &str) -> Encoding {
        if is_loopback(address) {
            return Encoding::Raw; // it would take longer than the way
        }
        *self.encoding.get_or_init(|| {
            let encoding = Encoding::by_sample(&self.blob.content);
            tracing::debug!(?encoding, "how blocks travel");
            encoding
        })
    }

    fn change(&self, change: impl FnOnce(&mut Scatter, Duration)) {
        let mut state = self.state();
        change(&mut state.scatter, self.began.elapsed());
        self.decide(&mut state);
    }

    fn decide(&self, state: &mut State) {
        let now = self.began.elapsed();
        while let Some(push) = state.scatter.next(now) {
            if let Some(seated) = state.seated.get(&ExecutorId(push.node.0)) {
                let _ = seated.pushes.send(push); // a link that is ending says so itself
            }
        }
    }

    /// Waits until something may be due although nothing happened.
    async fn patience(&self) {
        let deadline = self.state().scatter.deadline();
        match deadline {
            Some(due) => sleep_until(self.began + due).await,
            None => pending().await,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells those whose peers are others now who these are; one that has all blocks needs none.
    fn tell_peers(&self, changed: BTreeSet<NodeId>) {
        let address = |node: NodeId| Some(self.seated.get(&ExecutorId(node.0))?.address.clone());
        for node in changed.into_iter().filter(|node| !self.scatter.is_whole(*node)) {
            if let Some(seated) = self.seated.get(&ExecutorId(node.0)) {
                seated.peers.send_replace(self.mesh.peers(node).filter_map(address).collect());
            }
        }
    }
}

impl Seat {
    fn came(&mut self, indices: impl Iterator<Item = u32>) {
        let node = NodeId(self.executor.0);
        let new: Vec<u32> = indices.filter(|index| self.have.insert(*index)).collect();
        let ranges = new.iter().filter_map(|index| self.broadcast.blob.manifest.range(*index as usize));
        self.traffic.arrived.fetch_add(ranges.map(|range| range.end - range.start).sum(), Ordering::Relaxed);
        self.broadcast.change(|scatter, now| new.iter().for_each(|index| scatter.has(node, *index, now)));
    }

    fn pushed(&self, index: u32, is_there: bool) {
        self.broadcast.change(|scatter, now| scatter.pushed(NodeId(self.executor.0), index, is_there, now));
    }

    /// Until the executor has the whole blob.
    ///
    /// # Errors
    /// [`SessionEnd`], if the executor cannot take it or the session ends.
    pub(super) async fn complete(&mut self, way: Way<'_>) -> Result<(), SessionEnd> {
        let broadcast = Arc::clone(&self.broadcast);
        let (blob, address) = (&broadcast.blob, way.address);
        let refused = |status: Status| broadcast_error(address, &status);
        let broken = |reason: &str| LinkError::Broken { address: address.to_owned(), reason: reason.to_owned() };
        let mut holdings = way.transfer.clone().watch(blob.manifest.digest()).await.map_err(refused)?;
        let mut told = Told::new(blob.manifest.blocks().len() as u32);
        let encoding = broadcast.encoding_to(address);
        let mut pushes = JoinSet::new();
        let mut is_fed = false;
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.peers.changed() => {
                    let addresses = self.peers.borrow_and_update().clone();
                    let name = Bytes::copy_from_slice(&blob.manifest.digest().0);
                    let encoded = addresses.iter().any(|address| broadcast.encoding_to(address) == Encoding::Lz4);
                    let peers = Peers { blob: name, addresses, encoded };
                    way.outbound.send(vec![driver_item::Item::Peers(peers)]).await?;
                }
                Some(Push { index, why, .. }) = self.pushes.recv() => {
                    if why == Why::Fed && !std::mem::replace(&mut is_fed, true) {
                        way.teller.tell(LinkEvent::Fed).await?;
                    }
                    let (mut transfer, blob) = (way.transfer.clone(), blob.clone());
                    let traffic = Arc::clone(&self.traffic);
                    pushes.spawn(async move { (index, transfer.push(&blob, vec![index], encoding, &traffic).await) });
                }
                Some(pushed) = pushes.join_next() => {
                    let (index, answer) = pushed.map_err(|_| SessionEnd::RunOver)?;
                    self.pushed(index, answer.is_ok());
                    answer.map_err(refused)?;
                }
                update = holdings.message() => match update.map_err(refused)? {
                    Some(message) => {
                        let new = told.add(message).map_err(|bad| broken(&bad.to_string()))?;
                        self.came(new.into_iter());
                    }
                    None if self.have.is_full() => return Ok(()),
                    None => return Err(broken("stopped telling what it has of the data").into()),
                },
                () = broadcast.patience() => broadcast.change(|_, _| {}),
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.broadcast.state();
        state.seated.remove(&self.executor);
        state.scatter.left(NodeId(self.executor.0));
        let changed = state.mesh.leave(NodeId(self.executor.0));
        state.tell_peers(changed);
        self.broadcast.decide(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::blob::BLOCK_BYTES;
    use broadsweep_common::exchange::PEERS_MAX;

    use super::*;

    /// How many lists of peers wait for these; none names more than it may.
    fn lists(seats: &mut [Seat]) -> usize {
        let mut lists = 0;
        for seat in seats {
            if seat.peers.has_changed().unwrap() {
                let peers = seat.peers.borrow_and_update().len();
                assert!(peers <= PEERS_MAX, "{peers} peers");
                lists += 1;
            }
        }
        lists
    }

    #[test]
    fn of_a_node_that_joins_or_leaves_few_others_hear_however_many_there_are() {
        let broadcast = Arc::new(Broadcast::new(Blob::new(Bytes::from_static(b"data")).unwrap()));
        let (traffic, mut seats) = (Arc::default(), Vec::new());
        for number in 0..1000 {
            let have = BlockSet::empty(1);
            seats.push(broadcast.join(ExecutorId(number), &format!("node{number}:7717"), (have, &traffic)));
            let told = lists(&mut seats[..]);
            assert!(told <= PEERS_MAX + 1, "{told} nodes heard that node {number} joined");
        }
        drop(seats.swap_remove(500));
        let told = lists(&mut seats);
        assert!((1..=PEERS_MAX).contains(&told), "{told} nodes heard that one left");
    }

    /// A broadcast of two blocks, the second of nine bytes.
    fn two_blocks() -> Arc<Broadcast> {
        Arc::new(Broadcast::new(Blob::new(Bytes::from(vec![7; BLOCK_BYTES + 9])).unwrap()))
    }

    /// Which blocks an executor's link is to push.
    fn asked(seat: &mut Seat) -> Vec<u32> {
        std::iter::from_fn(|| seat.pushes.try_recv().ok()).map(|push| push.index).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_block_goes_to_one_executor_and_to_another_where_that_fails_and_after_a_while_to_the_same() {
        let (broadcast, traffic) = (two_blocks(), Arc::default());
        let join = |number| broadcast.join(ExecutorId(number), "node:1", (BlockSet::empty(2), &traffic));
        let mut first = join(0);
        assert_eq!(asked(&mut first), [0, 1]);
        let mut second = join(1);
        assert_eq!(asked(&mut second), [0; 0], "both are on their way");
        first.pushed(0, false);
        assert_eq!((asked(&mut first), asked(&mut second)), (vec![], vec![0]));
        drop(second);
        first.pushed(0, false);
        assert_eq!(asked(&mut first), [0; 0]);
        broadcast.patience().await;
        broadcast.change(|_, _| {});
        assert_eq!(asked(&mut first), [0]);
    }

    #[test]
    fn bytes_are_counted_as_their_blocks_come_and_once() {
        let (broadcast, traffic) = (two_blocks(), Arc::default());
        let mut seat = broadcast.join(ExecutorId(0), "node:1", (BlockSet::empty(2), &traffic));
        for (index, arrived) in [(1, 9), (1, 9), (0, BLOCK_BYTES as u64 + 9)] {
            seat.came([index].into_iter());
            assert_eq!(Traffic::read(&traffic.arrived), arrived);
        }
    }

    #[test]
    fn blocks_are_encoded_where_that_pays_and_a_network_lies_between() {
        let broadcast = two_blocks();
        let encodings = ["127.0.0.1:7717", "node:7717"].map(|address| broadcast.encoding_to(address));
        assert_eq!(encodings, [Encoding::Raw, Encoding::Lz4]);
    }
}
