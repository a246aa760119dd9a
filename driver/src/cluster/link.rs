//! One executor: dial, hold a session, and after its end dial again until the run is over.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::desk::Desk;
use super::ending::SessionEnd;
use super::greeting::{self, Opened, open};
use super::orders::ORDERS_MAX;
use super::{LinkError, LinkEvent, Member, SessionId};

/// Wait before the first new dial; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The link to one executor.
pub(super) struct Link {
    pub(super) member: Member,
    pub(super) desk: Desk,
}

impl Link {
    /// Serves the executor until the run is over. A panic is a mistake of ours: it ends this link, and the run goes on
    /// without the executor.
    pub(super) async fn run(self) {
        let (teller, payload) = (self.desk.teller.clone(), Arc::clone(&self.desk.payload));
        let name = self.member.name.clone();
        let served = AbortOnDropHandle::new(tokio::spawn(self.serve_and_part())).await;
        if let Err(ended) = served
            && ended.is_panic()
        {
            payload.kernel.on_failure(teller.executor);
            let panicked = LinkError::Panicked { name, reason: ended.to_string() };
            let _ = teller.tell(LinkEvent::Refused(panicked)).await; // the run may be over
        }
    }

    async fn serve_and_part(mut self) {
        if let Some(address) = self.serve().await {
            greeting::say_goodbye_after_redial(&mut self.desk, &address).await;
        }
    }

    /// Holds sessions until the run is over, or dialling again would not help. Returns where an executor may hold the
    /// run although nobody talks to it any more: its session broke off, or it is of no use.
    async fn serve(&mut self) -> Option<String> {
        let over = self.desk.over.clone();
        let mut session = SessionId(0);
        let mut backoff = BACKOFF_MIN;
        let mut left_at = None;
        loop {
            let address: Option<String> = tokio::select! {
                biased;
                () = over.cancelled() => return left_at,
                address = self.address() => address,
            };
            let Some(address) = address else {
                self.desk.payload.kernel.on_failure(self.desk.executor());
                let gone = LinkEvent::Refused(LinkError::NotStarted { name: self.member.name.clone() });
                let _ = self.desk.tell(gone).await; // this link is done either way
                return None;
            };
            session.0 += 1;
            let end = hold(&mut self.desk, session, &address).await;
            if let SessionEnd::Failed(_) = end {
                self.desk.payload.kernel.on_failure(self.desk.executor());
            }
            let event = match end {
                SessionEnd::RunOver => return None,
                SessionEnd::Unheard => return Some(address),
                SessionEnd::Lost { reason } => {
                    (backoff, left_at) = (BACKOFF_MIN, Some(address));
                    LinkEvent::Ended { reason }
                }
                SessionEnd::Failed(error) if error.is_transient() => {
                    left_at = match error.leaves_a_hold() {
                        Some(true) => Some(address),
                        Some(false) => None,
                        None => left_at,
                    };
                    LinkEvent::Unreachable(error)
                }
                SessionEnd::Failed(error) => {
                    let left_at = (error.leaves_a_hold() == Some(true)).then_some(address);
                    let _ = self.desk.tell(LinkEvent::Refused(error)).await; // this link is done either way
                    return left_at;
                }
            };
            if self.desk.tell(event).await.is_err() {
                // Without a run loop the run may go on under another driver; if it is over, that was said before.
                return left_at.filter(|_| over.is_cancelled());
            }
            tokio::select! {
                biased;
                () = over.cancelled() => return left_at,
                // A restarted local executor has a new address: dial it at once.
                Ok(()) = self.member.whereabouts.changed() => {}
                () = tokio::time::sleep(backoff) => backoff = BACKOFF_MAX.min(backoff * 2),
            }
        }
    }

    /// Where the executor is, once it is somewhere; `None` if it will not be started again.
    async fn address(&mut self) -> Option<String> {
        let address = self.member.whereabouts.wait_for(Option::is_some).await.ok()?;
        address.clone()
    }
}

/// Holds one session with the executor at `address`, from dial to end.
async fn hold(desk: &mut Desk, id: SessionId, address: &str) -> SessionEnd {
    // While it has its seat, others fetch the data from the executor.
    let Opened { mut session, ready, seat: _seat } = match open(desk, id, address).await {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    let over = desk.over.clone();
    desk.orders.forget_earlier();
    let overrun = desk.orders.overrun(id);
    let talk = async {
        desk.tell(LinkEvent::Ready(ready)).await?;
        session.talk(desk, id).await
    };
    let end = tokio::select! {
        biased;
        () = over.cancelled() => SessionEnd::RunOver,
        () = overrun => SessionEnd::Lost { reason: format!("it left {ORDERS_MAX} batches of orders untaken") },
        end = talk => end.err().unwrap_or(SessionEnd::RunOver),
    };
    if over.is_cancelled() && !desk.is_spared() {
        return session.goodbye().await;
    }
    end
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
