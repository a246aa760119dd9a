//! Who holds this executor: one run at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// The place that one run can hold.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    holder: Mutex<Option<Holder>>,
}

#[derive(Debug)]
struct Holder {
    run: String,
    generation: u64,
    since: Instant,
    /// Tells the session that it has to end.
    evicted: CancellationToken,
    /// Tells whoever waits that the session has ended.
    ended: CancellationToken,
}

/// Another run has the executor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("held by run {run} for {seconds} s; wait until it ends, or end its hold with --take-over")]
pub(crate) struct Held {
    run: String,
    seconds: u64,
}

/// The hold of one session; dropping it frees the executor.
#[derive(Debug)]
pub(crate) struct Grip {
    hold: Arc<Hold>,
    /// Cancelled when another session takes over.
    pub(crate) evicted: CancellationToken,
    ended: CancellationToken,
}

impl Hold {
    /// Takes the executor for `run`.
    ///
    /// A session of the same run and at least the same generation replaces an older one: its driver came back before
    /// the old connection was known to be dead. With `take_over`, any holder is replaced. Waits until the replaced
    /// session has let go.
    pub(crate) async fn take(self: &Arc<Self>, run: &str, generation: u64, take_over: bool) -> Result<Grip, Held> {
        loop {
            let ended = {
                let mut place = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
                match &*place {
                    None => return Ok(self.grip(&mut place, run, generation)),
                    Some(holder) if take_over || (holder.run == run && holder.generation <= generation) => {
                        holder.evicted.cancel();
                        holder.ended.clone()
                    }
                    Some(holder) => {
                        let seconds = holder.since.elapsed().as_secs();
                        return Err(Held { run: holder.run.clone(), seconds });
                    }
                }
            };
            ended.cancelled().await;
        }
    }

    /// Whether `run` holds the executor now.
    pub(crate) fn is_held_by(&self, run: &str) -> bool {
        let place = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        place.as_ref().is_some_and(|holder| holder.run == run)
    }

    fn grip(self: &Arc<Self>, place: &mut Option<Holder>, run: &str, generation: u64) -> Grip {
        let (evicted, ended) = (CancellationToken::new(), CancellationToken::new());
        *place = Some(Holder {
            run: run.to_owned(),
            generation,
            since: Instant::now(),
            evicted: evicted.clone(),
            ended: ended.clone(),
        });
        Grip { hold: Arc::clone(self), evicted, ended }
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        *self.hold.holder.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_run_is_told_who_holds_the_executor() {
        let hold = Arc::new(Hold::default());
        let _grip = hold.take("first", 1, false).await.unwrap();
        let refused = hold.take("second", 1, false).await.unwrap_err();
        assert!(refused.to_string().starts_with("held by run first for 0 s"), "{refused}");
        assert!(hold.is_held_by("first") && !hold.is_held_by("second"));
    }

    #[tokio::test]
    async fn a_hold_ends_with_its_session() {
        let hold = Arc::new(Hold::default());
        drop(hold.take("first", 1, false).await.unwrap());
        assert!(hold.take("second", 1, false).await.is_ok());
    }

    #[tokio::test]
    async fn taking_over_waits_until_the_old_session_has_let_go() {
        for (run, generation, take_over) in [("second", 1, true), ("first", 1, false), ("first", 2, false)] {
            let hold = Arc::new(Hold::default());
            let old = hold.take("first", 1, false).await.unwrap();
            let evicted = old.evicted.clone();
            let session = tokio::spawn(async move {
                evicted.cancelled().await;
                drop(old);
            });
            let grip = hold.take(run, generation, take_over).await.unwrap();
            session.await.unwrap();
            assert!(hold.is_held_by(run), "{run} {generation} did not get the executor");
            drop(grip);
        }
    }

    #[tokio::test]
    async fn an_older_generation_of_the_same_run_is_refused() {
        let hold = Arc::new(Hold::default());
        let _grip = hold.take("first", 2, false).await.unwrap();
        assert!(hold.take("first", 1, false).await.is_err());
    }
}
