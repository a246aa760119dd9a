//! The executors of a run, and the links to them.
//!
//! | module | holds |
//! |---|---|
//! | [`nodes`] | node lists |
//! | `node_names` | names of many nodes at once |
//! | [`local`] | executors that this machine lends: child processes |
//! | [`roster`] | who executes a run, written down in its folder |
//! | `broadcast` | the data set on its way to all of them |
//! | `kernel` | the kernel that all of them train with |
//! | `dial` | the way to an executor |
//! | `desk` | the run loop as a link sees it |
//! | `orders` | what waits on its way from the run loop |
//! | `teller` | how a link tells the run loop |
//! | `error`, `ending` | why there is no session, or no longer |
//! | `link` | one executor: dial, session, its end, dial again |
//! | `greeting` | how a session begins: hello, broadcast, prepare |
//! | `session` | a session that is ready: orders out, reports in |
//! | `errands` | what goes on beside it |
//! | `payload` | what every executor gets once, and what that took |
//! | `outbound` | the driver's half of its stream |
//! | `transfer` | blobs pushed to and pulled from an executor |
//! | `vault` | where pulled blobs are made safe |
//! | `world` | the network and the files around the links |
//!
//! Links parse and forward; they decide nothing. What they tell are [`LinkEvent`]s, in order for each executor; what
//! they are told are [`Order`]s, which name the session they are meant for.

mod broadcast;
mod desk;
mod dial;
mod ending;
mod errands;
mod error;
mod greeting;
mod kernel;
mod link;
pub mod local;
mod node_names;
pub mod nodes;
mod orders;
mod outbound;
mod payload;
#[cfg(test)]
mod played;
pub mod roster;
mod rows;
mod session;
mod teller;
mod transfer;
mod vault;
mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use broadsweep_common::attempt::{Launch, Report};
use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{AttemptId, Digest, ExecutorId};
use broadsweep_common::log::LogPiece;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::journal::StorageError;

use broadcast::Broadcast;
use desk::{Desk, Processes};
use link::Link;
use orders::{OrderSender, order_channel};
use teller::Teller;

pub use broadsweep_proto::dial::{Connect, Tcp};
pub use error::LinkError;
pub use kernel::KernelChoice;
pub use payload::{Payload, Traffic};
pub use rows::{PartitionSource, RowsFuture};
pub use vault::{BlockingVault, Vault, VaultFuture, load};
pub use world::{Witness, World};

/// Events that may wait for the run loop, before links wait for it.
const EVENTS_MAX: usize = 4_096;
/// Blobs that are fetched at once, from all executors together: each may be as large as the memory of a training.
const PULLS_MAX: usize = 8;
/// How long executors may take to hear that the run is over.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Counts the sessions of one executor: an order for an earlier one is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What a link tells the run loop.
#[derive(Debug)]
pub enum LinkEvent {
    /// The executor answered; the data is on its way.
    Connected,
    /// The executor gets nothing from the others: this driver sends it what it lacks.
    Fed,
    /// The executor has all it needs.
    Ready(Ready),
    /// A session that was ready is over; the link dials again.
    Ended {
        /// Why, in words.
        reason: String,
    },
    /// No session came about; the link dials again.
    Unreachable(LinkError),
    /// No session will come about: dialling again would not help.
    Refused(LinkError),
    /// Reports of attempts, in one message of this session, to be acknowledged by its number.
    Reports {
        /// The message's number.
        sequence: u64,
        /// In order.
        reports: Vec<Report>,
    },
    /// Something of what programs print there.
    Logged {
        /// In order.
        pieces: Vec<LogPiece>,
        /// What they take of the room that their executor has: it gets it back when this is dropped.
        room: OwnedSemaphorePermit,
    },
    /// The executor will leave.
    Draining,
    /// A blob that was to be fetched is safe in the vault, or why it is not.
    Pulled {
        /// The attempt that made it.
        attempt: AttemptId,
        /// Which it is.
        cargo: Cargo,
        /// What came, as it was asked for.
        content: Result<Blob<Bytes>, PullError>,
    },
}

/// An executor that has all it needs.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The session that orders have to name.
    pub session: SessionId,
    /// Attempts that run there at the same time.
    pub slots: u32,
    /// Of its process: another number is another process.
    pub instance: u64,
    /// What it trains with.
    pub kernel: String,
    /// Where it has found the study's program, if it told that.
    pub program: Option<String>,
    /// Why it cannot read the files of the input, in words, so that what it needs of them is sent.
    pub lacks: Option<String>,
    /// Attempts that run there, or whose end was not acknowledged.
    pub held: Vec<AttemptId>,
    /// Whether it is about to leave.
    pub draining: bool,
}

/// What an attempt made that the driver wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cargo {
    /// The weights of a finished training.
    Weights,
    /// The state after this epoch.
    Checkpoint {
        /// Counted from 1.
        epoch: u32,
    },
    /// What came out of a partition.
    Output,
}

/// Why a blob is not in the vault.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The executor did not give it.
    #[error(transparent)]
    Link(LinkError),
    /// The run folder did not take it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What an executor has to have for an attempt.
#[derive(Debug)]
pub enum Needs {
    /// The weights that it measures.
    Weights(Blob<Bytes>),
    /// The checkpoint to go on from.
    Checkpoint {
        /// Its name in the vault.
        name: String,
        /// The blob that it has to be.
        blob: Digest,
    },
    /// What a partition needs of its files, which the executor cannot read.
    Rows {
        /// Its number.
        partition: u32,
    },
}

/// What the run loop tells a link.
#[derive(Debug)]
pub enum Order {
    /// Start an attempt. What it needs is pushed before.
    Launch {
        /// What to start; what it begins with is filled in.
        launch: Launch,
        /// What the executor has to have for it.
        needs: Vec<Needs>,
    },
    /// Stop an attempt.
    Cancel {
        /// Which one.
        attempt: AttemptId,
        /// After the epoch under way, or between two batches.
        at_epoch_end: bool,
    },
    /// Fetch a blob and make it safe.
    Pull(Pull),
    /// A blob that an attempt made is needed no longer.
    Release(AttemptId, Digest),
    /// End the session: what was told in it and not acknowledged is told again in the next one.
    HangUp {
        /// Why, in words.
        reason: &'static str,
    },
    /// All that these messages of the executor told is safe.
    Acknowledge {
        /// The one with this number, and all before it.
        through: u64,
        /// Some after it.
        settled: Vec<u64>,
    },
}

/// A blob that is to be fetched and made safe.
#[derive(Debug)]
pub struct Pull {
    /// The attempt that made it.
    pub attempt: AttemptId,
    /// Which it is.
    pub cargo: Cargo,
    /// Its name on the executor.
    pub blob: Digest,
    /// Its name in the vault.
    pub name: String,
    /// Bytes that it may have.
    pub bytes_max: u64,
}

/// The links of a run. Dropping it ends every session, and leaves the run on its executors; see [`Self::dismiss`].
pub struct Cluster {
    payload: Arc<Payload>,
    world: World,
    names: Vec<String>,
    orders: Vec<OrderSender>,
    told: mpsc::Sender<(ExecutorId, LinkEvent)>,
    events: mpsc::Receiver<(ExecutorId, LinkEvent)>,
    over: CancellationToken,
    spared: Arc<OnceLock<BTreeSet<ExecutorId>>>,
    processes: Arc<Processes>,
    broadcast: Arc<Broadcast>,
    pulls: Arc<Semaphore>,
    links: JoinSet<()>,
}

/// An executor that is to be dialled.
#[derive(Clone, Debug)]
pub struct Member {
    /// What people call it: a node's address, or `local 3`.
    pub name: String,
    /// Where it is now; `None` while it is being started. Closed once it will not be started again.
    pub whereabouts: watch::Receiver<Option<String>>,
    /// Whether it is one that an earlier driver had: nobody dials it.
    pub is_former: bool,
}

/// What comes of a node list that changes while the run goes on.
#[derive(Clone, Debug)]
pub enum Newcomer {
    /// An executor that was not in it before.
    Executor(Member),
    /// What people should know of it, as a line.
    Remark(String),
}

impl Member {
    /// A node: it never moves.
    #[must_use]
    pub fn node(address: &str) -> Self {
        let (_, whereabouts) = watch::channel(Some(address.to_owned()));
        Self { name: address.to_owned(), whereabouts, is_former: false }
    }

    /// One that an earlier driver started, and that this one has no use for: nobody dials it, and its number stays.
    #[must_use]
    pub fn former(name: &str) -> Self {
        let (_, whereabouts) = watch::channel(None);
        Self { name: name.to_owned(), whereabouts, is_former: true }
    }
}

impl Cluster {
    /// A cluster without executors.
    #[must_use]
    pub fn new(payload: Arc<Payload>, world: World) -> Self {
        let (told, events) = mpsc::channel(EVENTS_MAX);
        let (names, orders) = (Vec::new(), Vec::new());
        let (over, spared, processes) = (CancellationToken::new(), Arc::default(), Arc::default());
        let broadcast = Arc::new(Broadcast::new(payload.data.clone()));
        Self {
            payload,
            world,
            names,
            orders,
            told,
            events,
            over,
            spared,
            processes,
            broadcast,
            pulls: Arc::new(Semaphore::new(PULLS_MAX)),
            links: JoinSet::new(),
        }
    }

    /// Dials one more executor, unless it is a former one: the first is executor 0.
    pub fn add(&mut self, member: Member) -> ExecutorId {
        let executor = ExecutorId(self.names.len() as u32);
        let (order, ordered) = order_channel();
        self.names.push(member.name.clone());
        self.orders.push(order);
        if member.is_former {
            return executor;
        }
        self.payload.kernel.awaits(executor);
        let desk = Desk {
            teller: Teller { executor, events: self.told.clone() },
            name: member.name.clone(),
            payload: Arc::clone(&self.payload),
            world: self.world.clone(),
            takes_over: self.payload.take_over,
            orders: ordered,
            over: self.over.clone(),
            spared: Arc::clone(&self.spared),
            processes: Arc::clone(&self.processes),
            broadcast: Arc::clone(&self.broadcast),
            pulls: Arc::clone(&self.pulls),
        };
        self.links.spawn(Link { member, desk }.run());
        executor
    }

    /// Tells every executor that the run is over, so that it frees what it has of it; but not the `spared` ones: what
    /// runs there goes on until another driver takes the run up.
    pub async fn dismiss(mut self, spared: BTreeSet<ExecutorId>) {
        let _ = self.spared.set(spared); // nobody else sets it
        self.over.cancel();
        drop(self.events); // links that wait for the run loop need not
        let all = async { while self.links.join_next().await.is_some() {} };
        if tokio::time::timeout(GOODBYE_MAX, all).await.is_err() {
            tracing::warn!("not every executor heard that the run is over");
        }
    }

    /// What people call the executors, in their order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What people call an executor.
    #[must_use]
    pub fn name(&self, executor: ExecutorId) -> &str {
        self.names.get(executor.0 as usize).map_or("an unknown executor", String::as_str)
    }

    /// The next things that happened on links, at most `max`, as soon as there is one. Safe to cancel.
    pub async fn next(&mut self, events: &mut Vec<(ExecutorId, LinkEvent)>, max: usize) {
        self.events.recv_many(events, max).await;
        for (executor, event) in events.iter() {
            self.world.witness.heard(*executor, event);
        }
    }

    /// What else has happened by now, up to `max` events in all. Other threads get a chance to tell first: what is taken
    /// in together is written down together.
    pub fn more(&mut self, events: &mut Vec<(ExecutorId, LinkEvent)>, max: usize) {
        std::thread::yield_now();
        while events.len() < max
            && let Ok((executor, event)) = self.events.try_recv()
        {
            self.world.witness.heard(executor, &event);
            events.push((executor, event));
        }
    }

    /// Keeps a piece of a log, without waiting.
    pub fn keep_log(&self, piece: LogPiece) {
        self.world.logs.keep(piece);
    }

    /// Passes orders on, without waiting. An executor so far behind that they find no room is as good as lost: its
    /// session ends, and the orders with it.
    pub fn tell(&self, executor: ExecutorId, session: SessionId, orders: Vec<Order>) {
        self.world.witness.told(executor, session, &orders);
        if let Some(link) = self.orders.get(executor.0 as usize) {
            link.send(session, orders);
        }
    }
}

#[cfg(test)]
mod tests;
