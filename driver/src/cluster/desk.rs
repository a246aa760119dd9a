//! The run loop as one executor's link sees it: orders come from it, events go to it.

use std::sync::Arc;

use broadsweep_common::ids::ExecutorId;
use tokio::sync::mpsc;

use super::{LinkEvent, Order, Payload, SessionId};

/// The run loop's desk for one executor.
pub(super) struct Desk {
    pub(super) executor: ExecutorId,
    pub(super) payload: Arc<Payload>,
    /// Whether the next session ends another run's hold.
    pub(super) takes_over: bool,
    pub(super) orders: mpsc::Receiver<(SessionId, Order)>,
    pub(super) events: mpsc::Sender<(ExecutorId, LinkEvent)>,
}

/// The run loop has gone: nobody is left to tell.
pub(super) struct RunOver;

impl Desk {
    pub(super) async fn tell(&self, event: LinkEvent) -> Result<(), RunOver> {
        self.events.send((self.executor, event)).await.map_err(|_| RunOver)
    }

    /// A way for work beside the session to tell its result.
    pub(super) fn teller(&self) -> (ExecutorId, mpsc::Sender<(ExecutorId, LinkEvent)>) {
        (self.executor, self.events.clone())
    }
}
