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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot::channel;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test(start_paused = true)]
    async fn an_errand_that_panics_says_so_and_one_that_ends_does_not() {
        let mut errands = Errands::default();
        let ((one, one_has_ended), (other, other_has_ended)) = (channel(), channel());
        errands.begin(async move { one.send(()).unwrap() });
        errands.begin_lasting(async move { other.send(()).unwrap() });
        one_has_ended.await.unwrap();
        other_has_ended.await.unwrap();
        assert!(timeout(LONG, errands.panicked()).await.is_err());
        errands.begin(async { panic!("it broke") });
        errands.begin_lasting(async { panic!("it broke, too") });
        for _ in 0..2 {
            let told = timeout(LONG, errands.panicked()).await.unwrap();
            assert!(told.contains("it broke"), "{told}");
        }
    }

    #[tokio::test]
    async fn errands_end_with_their_session_but_for_those_that_last() {
        let mut errands = Errands::default();
        let ((kept, has_ended), (go_on, goes_on), (done, is_done)) = (channel::<()>(), channel(), channel());
        errands.begin(async move {
            pending::<()>().await;
            drop(kept);
        });
        errands.begin_lasting(async move {
            goes_on.await.unwrap();
            done.send(()).unwrap();
        });
        drop(errands);
        assert!(has_ended.await.is_err());
        go_on.send(()).unwrap();
        is_done.await.unwrap();
    }
}
