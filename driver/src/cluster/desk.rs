//! The run loop as one executor's link sees it: orders come from it, events go to it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use broadsweep_common::ids::ExecutorId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::broadcast::Broadcast;
use super::{LinkEvent, Order, Payload, SessionId, World};

/// The run loop's desk for one executor.
pub(super) struct Desk {
    pub(super) executor: ExecutorId,
    /// What people call it.
    pub(super) name: String,
    pub(super) payload: Arc<Payload>,
    pub(super) world: World,
    /// Whether the next session ends another run's hold.
    pub(super) takes_over: bool,
    pub(super) orders: mpsc::Receiver<(SessionId, Vec<Order>)>,
    pub(super) events: mpsc::Sender<(ExecutorId, LinkEvent)>,
    /// The run is over: executors are to be told, and nobody is dialled any more but for that.
    pub(super) over: CancellationToken,
    /// Executors that are left as they are then; set before `over` is.
    pub(super) spared: Arc<OnceLock<BTreeSet<ExecutorId>>>,
    pub(super) processes: Arc<Processes>,
    pub(super) broadcast: Arc<Broadcast>,
}

/// The names under which each executor process answered first.
#[derive(Default)]
pub(super) struct Processes(Mutex<HashMap<u64, String>>);

/// The run loop has gone: nobody is left to tell.
pub(super) struct RunOver;

impl Desk {
    pub(super) async fn tell(&self, event: LinkEvent) -> Result<(), RunOver> {
        self.events.send((self.executor, event)).await.map_err(|_| RunOver)
    }

    /// Whether the executor is left as it is, now that the run is over here.
    pub(super) fn is_spared(&self) -> bool {
        self.spared.get().is_some_and(|spared| spared.contains(&self.executor))
    }

    /// Takes note of the process that answers here. An executor that is in the list twice would end its own sessions in
    /// turns: the name that came second gets the first one's.
    pub(super) fn claim(&self, instance: u64) -> Result<(), String> {
        let mut processes = self.processes.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = processes.entry(instance).or_insert_with(|| self.name.clone());
        if *first == self.name { Ok(()) } else { Err(first.clone()) }
    }

    /// A way for work beside the session to tell its result.
    pub(super) fn teller(&self) -> (ExecutorId, mpsc::Sender<(ExecutorId, LinkEvent)>) {
        (self.executor, self.events.clone())
    }
}
