//! The executors of a run, and the links to them.
//!
//! | module | holds |
//! |---|---|
//! | [`nodes`] | node lists |
//! | [`local`] | executors that this machine lends: child processes |
//! | `desk` | the run loop as a link sees it |
//! | `link` | one executor: dial, session, loss, dial again |
//! | `session` | one session: hello, broadcast, launches, reports |
//! | `transfer` | blobs pushed to and pulled from an executor |
//!
//! Links parse and forward; they decide nothing. What they tell are [`LinkEvent`]s, in order for each executor; what
//! they are told are [`Order`]s, which name the session they are meant for.

mod desk;
mod link;
pub mod local;
pub mod nodes;
mod session;
mod transfer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broadsweep_common::attempt::{Launch, Report};
use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{AttemptId, Digest, ExecutorId};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use desk::Desk;
use link::Link;

/// Orders that may wait for one executor.
const ORDERS_MAX: usize = 16_384;
/// Events that may wait for the run loop, before links wait for it.
const EVENTS_MAX: usize = 4_096;

/// What every executor of a run gets once.
#[derive(Debug)]
pub struct Payload {
    /// The run that holds the executors.
    pub run: String,
    /// Ends the hold of another run.
    pub take_over: bool,
    /// The data set.
    pub data: Blob<Bytes>,
    /// The encoded description of the study.
    pub study: Blob<Bytes>,
    /// The kernel that all of them train with.
    pub kernel: String,
    /// Block bytes that this driver put on the wire for data and description.
    pub sent_bytes: Arc<AtomicU64>,
}

/// Counts the sessions of one executor: an order for an earlier one is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What a link tells the run loop.
#[derive(Debug)]
pub enum LinkEvent {
    /// The executor answered; the data is on its way.
    Connected,
    /// The executor has all it needs.
    Ready {
        /// The session that orders have to name.
        session: SessionId,
        /// Attempts that run there at the same time.
        slots: u32,
    },
    /// A session that was ready is over; the link dials again.
    Lost {
        /// Why, in words.
        reason: String,
    },
    /// No session came about; the link dials again.
    Unreachable(LinkError),
    /// No session will come about: dialling again would not help.
    Refused(LinkError),
    /// An attempt's report.
    Report(Report),
    /// Weights that were asked for, or why they are not to be had.
    Pulled {
        /// The attempt that made them.
        attempt: AttemptId,
        /// The blob.
        weights: Result<Vec<u8>, LinkError>,
    },
}

/// What the run loop tells a link.
#[derive(Debug)]
pub enum Order {
    /// Start an attempt. Weights that it measures are pushed before.
    Launch {
        /// What to start.
        launch: Launch,
        /// The weights that the executor has to have for it.
        weights: Option<Blob<Bytes>>,
    },
    /// Stop an attempt.
    Cancel(AttemptId),
    /// Fetch the weights of an attempt that ended.
    Pull {
        /// The attempt.
        attempt: AttemptId,
        /// Its blob.
        blob: Digest,
    },
    /// A blob is needed no longer.
    Release(Digest),
}

/// Why there is no session with a node, or no longer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing answers there.
    #[error("{address} does not answer: {reason}; is an executor running there?")]
    Unreachable {
        /// The node.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// A local executor that ends whenever it is started.
    #[error("{name} cannot be started; its log says why")]
    NotStarted {
        /// What people call it.
        name: String,
    },
    /// Something answers, but not as an executor.
    #[error("{address} answers, but not as a broadsweep executor: {reason}")]
    NotAnExecutor {
        /// The node.
        address: String,
        /// How it answered.
        reason: String,
    },
    /// The executor does not want this driver: another run holds it, or the versions differ.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// The node.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The data or the description did not get there.
    #[error("{address} cannot take the data: {reason}")]
    Broadcast {
        /// The node.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The connection or the peer failed.
    #[error("{address}: {reason}")]
    Broken {
        /// The node.
        address: String,
        /// How.
        reason: String,
    },
}

impl LinkError {
    /// Whether dialling again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            // A frozen executor cannot be told from something else that listens there: it may wake.
            Self::Unreachable { .. } | Self::NotAnExecutor { .. } | Self::Broken { .. } => true,
            Self::NotStarted { .. } | Self::Refused { .. } | Self::Broadcast { .. } => false,
        }
    }
}

/// The links of a run. Dropping it ends every session.
pub struct Cluster {
    names: Vec<String>,
    orders: Vec<mpsc::Sender<(SessionId, Order)>>,
    events: mpsc::Receiver<(ExecutorId, LinkEvent)>,
    _links: JoinSet<()>,
}

/// An executor that is to be dialled.
#[derive(Clone, Debug)]
pub struct Member {
    /// What people call it: a node's address, or `local 3`.
    pub name: String,
    /// Where it is now; `None` while it is being started. Closed once it will not be started again.
    pub whereabouts: watch::Receiver<Option<String>>,
}

impl Cluster {
    /// Dials all executors at once; the first is executor 0.
    #[must_use]
    pub fn dial(executors: &[Member], payload: &Arc<Payload>) -> Self {
        let (told, events) = mpsc::channel(EVENTS_MAX);
        let mut links = JoinSet::new();
        let mut orders = Vec::new();
        for (number, member) in executors.iter().enumerate() {
            let (order, ordered) = mpsc::channel(ORDERS_MAX);
            orders.push(order);
            let desk = Desk {
                executor: ExecutorId(number as u32),
                payload: Arc::clone(payload),
                takes_over: payload.take_over,
                orders: ordered,
                events: told.clone(),
            };
            let link = Link { member: member.clone(), desk };
            links.spawn(link.run());
        }
        let names = executors.iter().map(|member| member.name.clone()).collect();
        Self { names, orders, events, _links: links }
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

    /// The next thing that happened on a link; `None` when every link has given up.
    pub async fn next(&mut self) -> Option<(ExecutorId, LinkEvent)> {
        self.events.recv().await
    }

    /// Passes an order on, without waiting. An executor so far behind that its queue is full is as good as lost: its
    /// session's end will say so, and the order with it.
    pub fn tell(&self, executor: ExecutorId, session: SessionId, order: Order) {
        let Some(link) = self.orders.get(executor.0 as usize) else { return };
        if let Err(error) = link.try_send((session, order)) {
            tracing::warn!(%executor, %error, "an order was not passed on");
        }
    }
}

impl Payload {
    /// Bytes of one copy of the data set.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data.manifest.bytes()
    }

    /// Block bytes put on the wire so far.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }
}
