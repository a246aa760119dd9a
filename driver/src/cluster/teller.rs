//! How a link tells the run loop what happens to its executor.

use broadsweep_common::ids::ExecutorId;
use tokio::sync::mpsc;

use super::LinkEvent;

/// Tells of one executor.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) executor: ExecutorId,
    pub(super) events: mpsc::Sender<(ExecutorId, LinkEvent)>,
}

/// The run loop has gone: nobody is left to tell.
pub(super) struct RunOver;

impl Teller {
    pub(super) async fn tell(&self, event: LinkEvent) -> Result<(), RunOver> {
        self.events.send((self.executor, event)).await.map_err(|_| RunOver)
    }
}
