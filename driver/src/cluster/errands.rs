//! What goes on beside a session: it ends with it, and a panic of it ends the session.

use std::future::{Future, pending};
use std::panic::resume_unwind;

use tokio::task::JoinSet;

/// What goes on beside one session. Dropping it ends them.
#[derive(Default)]
pub(super) struct Errands(JoinSet<()>);

impl Errands {
    /// Begins one.
    pub(super) fn begin(&mut self, errand: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(errand);
    }

    /// Begins one that goes on to its end although the session ends before.
    pub(super) fn begin_lasting(&mut self, errand: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(errand);
        self.0.spawn(async move {
            if let Err(ended) = task.await
                && let Ok(panic) = ended.try_into_panic()
            {
                resume_unwind(panic);
            }
        });
    }

    /// Waits for one that panics, and says in words that it did. Safe to cancel.
    pub(super) async fn panicked(&mut self) -> String {
        loop {
            match self.0.join_next().await {
                Some(Err(ended)) if ended.is_panic() => return ended.to_string(),
                Some(_) => {}
                None => pending().await,
            }
        }
    }
}
