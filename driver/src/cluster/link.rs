//! One executor: dial, hold a session, and after its loss dial again until the run is over.

use std::sync::Arc;
use std::time::Duration;

use broadsweep_common::ids::ExecutorId;
use tokio::sync::mpsc;

use super::session::{self, SessionEnd};
use super::{LinkError, LinkEvent, Member, Order, Payload, SessionId};

/// Wait before the first new dial; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

pub(super) struct Link {
    executor: ExecutorId,
    member: Member,
    pub(super) payload: Arc<Payload>,
    /// Whether the next session ends another run's hold.
    pub(super) takes_over: bool,
    pub(super) orders: mpsc::Receiver<(SessionId, Order)>,
    events: mpsc::Sender<(ExecutorId, LinkEvent)>,
}

/// The run loop has gone: nobody is left to tell.
pub(super) struct RunOver;

impl Link {
    pub(super) fn new(
        executor: ExecutorId,
        member: Member,
        payload: Arc<Payload>,
        orders: mpsc::Receiver<(SessionId, Order)>,
        events: mpsc::Sender<(ExecutorId, LinkEvent)>,
    ) -> Self {
        let takes_over = payload.take_over;
        Self { executor, member, payload, takes_over, orders, events }
    }

    pub(super) async fn run(mut self) {
        let mut session = SessionId(0);
        let mut backoff = BACKOFF_MIN;
        loop {
            let Some(address) = self.address().await else {
                let gone = LinkEvent::Refused(LinkError::NotStarted { name: self.member.name.clone() });
                let _ = self.tell(gone).await; // this link is done either way
                return;
            };
            session.0 += 1;
            let event = match session::hold(&mut self, session, &address).await {
                SessionEnd::RunOver => return,
                SessionEnd::Lost { reason } => {
                    backoff = BACKOFF_MIN;
                    LinkEvent::Lost { reason }
                }
                SessionEnd::Failed(error) if error.is_transient() => LinkEvent::Unreachable(error),
                SessionEnd::Failed(error) => {
                    let _ = self.tell(LinkEvent::Refused(error)).await; // this link is done either way
                    return;
                }
            };
            if self.tell(event).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff) => backoff = BACKOFF_MAX.min(backoff * 2),
                // A restarted local executor has a new address: dial it at once. One that is given up ends the link.
                _ = self.member.whereabouts.changed() => {}
            }
        }
    }

    /// Where the executor is, once it is somewhere; `None` if it will not be started again.
    async fn address(&mut self) -> Option<String> {
        let address = self.member.whereabouts.wait_for(Option::is_some).await.ok()?;
        address.clone()
    }

    pub(super) async fn tell(&self, event: LinkEvent) -> Result<(), RunOver> {
        self.events.send((self.executor, event)).await.map_err(|_| RunOver)
    }

    /// A way for work beside the session to tell its result.
    pub(super) fn teller(&self) -> (ExecutorId, mpsc::Sender<(ExecutorId, LinkEvent)>) {
        (self.executor, self.events.clone())
    }
}
