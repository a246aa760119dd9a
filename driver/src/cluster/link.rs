//! One executor: dial, hold a session, and after its end dial again until the run is over.

use std::time::Duration;

use super::desk::Desk;
use super::session::{self, SessionEnd};
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
    pub(super) async fn run(mut self) {
        let over = self.desk.over.clone();
        let mut session = SessionId(0);
        let mut backoff = BACKOFF_MIN;
        loop {
            let address: Option<String> = tokio::select! {
                biased;
                () = over.cancelled() => return,
                address = self.address() => address,
            };
            let Some(address) = address else {
                self.desk.payload.kernel.failed(self.desk.executor);
                let gone = LinkEvent::Refused(LinkError::NotStarted { name: self.member.name.clone() });
                let _ = self.desk.tell(gone).await; // this link is done either way
                return;
            };
            session.0 += 1;
            let end = session::hold(&mut self.desk, session, &address).await;
            if let SessionEnd::Failed(_) = end {
                self.desk.payload.kernel.failed(self.desk.executor);
            }
            let event = match end {
                SessionEnd::RunOver => return,
                SessionEnd::Lost { reason } => {
                    backoff = BACKOFF_MIN;
                    LinkEvent::Ended { reason }
                }
                SessionEnd::Failed(error) if error.is_transient() => LinkEvent::Unreachable(error),
                SessionEnd::Failed(error) => {
                    let _ = self.desk.tell(LinkEvent::Refused(error)).await; // this link is done either way
                    return;
                }
            };
            if self.desk.tell(event).await.is_err() {
                return;
            }
            tokio::select! {
                biased;
                () = over.cancelled() => return,
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
