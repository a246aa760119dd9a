//! What is known of each attempt between its launch and its end: one phase each, in one place.

use std::collections::BTreeMap;

use broadsweep_common::ids::{AttemptId, Digest, ExecutorId};

use super::record::{Finish, Spent};

/// Where an attempt stands. How it ended is written in the book; where it runs, the scheduler knows.
pub(super) enum Phase {
    /// It reported something that contradicts what is known: it was told to stop, and is not believed however it ends.
    Doubted {
        /// What is wrong, for people.
        reason: String,
        /// The epoch in which its numbers differ from those that stand, if that is all: it need not be its fault.
        differs: Option<u32>,
    },
    /// It ended, and its end counts once a blob is here.
    Fetching(Fetching),
}

/// An attempt whose end waits for a blob.
pub(super) struct Fetching {
    pub(super) executor: ExecutorId,
    /// The message that told of the end.
    pub(super) sequence: u64,
    pub(super) spent: Spent,
    pub(super) awaited: Awaited,
}

/// What an end waits for.
pub(super) enum Awaited {
    /// What the attempt made: its task is over with this once it is in the run folder.
    Artifact {
        /// With what.
        finish: Finish,
        /// Its name on the executor.
        blob: Digest,
        /// How often it was asked for.
        tries: u32,
    },
    /// The last checkpoint of an attempt that stopped.
    LastCheckpoint,
}

/// The attempts of which there is more to say than that they run. All others are live, or over.
#[derive(Default)]
pub(super) struct Attempts(BTreeMap<AttemptId, Phase>);

impl Attempts {
    /// An attempt is in this phase from now on.
    pub(super) fn enter(&mut self, attempt: AttemptId, phase: Phase) {
        self.0.insert(attempt, phase);
    }

    /// An attempt is over, or its executor will tell of it again: nothing more is to be said of it here.
    pub(super) fn forget(&mut self, attempt: AttemptId) {
        self.0.remove(&attempt);
    }

    pub(super) fn is_doubted(&self, attempt: AttemptId) -> bool {
        matches!(self.0.get(&attempt), Some(Phase::Doubted { .. }))
    }

    pub(super) fn is_fetching(&self, attempt: AttemptId) -> bool {
        self.fetching(attempt).is_some()
    }

    /// What an attempt that ended waits for.
    pub(super) fn fetching(&self, attempt: AttemptId) -> Option<&Fetching> {
        match self.0.get(&attempt)? {
            Phase::Fetching(fetching) => Some(fetching),
            Phase::Doubted { .. } => None,
        }
    }

    /// Why an attempt that has just ended is not believed, and in which epoch its numbers differ, if that is all. It is over
    /// with that.
    pub(super) fn take_doubt(&mut self, attempt: AttemptId) -> Option<(String, Option<u32>)> {
        match self.0.remove(&attempt)? {
            Phase::Doubted { reason, differs } => Some((reason, differs)),
            fetching @ Phase::Fetching(_) => {
                self.0.insert(attempt, fetching);
                None
            }
        }
    }

    /// What an attempt waited for, now that it is here, or will not come.
    pub(super) fn take_fetching(&mut self, attempt: AttemptId) -> Option<Fetching> {
        match self.0.remove(&attempt)? {
            Phase::Fetching(fetching) => Some(fetching),
            doubted @ Phase::Doubted { .. } => {
                self.0.insert(attempt, doubted);
                None
            }
        }
    }

    /// A session is over: the ends that it told of, and that wait, are told again in the next one.
    pub(super) fn session_ended(&mut self, executor: ExecutorId) {
        self.0.retain(|_, phase| match phase {
            Phase::Fetching(fetching) => fetching.executor != executor,
            Phase::Doubted { .. } => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TaskId;

    use super::*;

    fn attempt(task: u32) -> AttemptId {
        AttemptId { task: TaskId(task), number: 1 }
    }

    fn fetching(executor: u32) -> Phase {
        let awaited = Awaited::LastCheckpoint;
        Phase::Fetching(Fetching { executor: ExecutorId(executor), sequence: 7, spent: Spent::default(), awaited })
    }

    fn doubted() -> Phase {
        Phase::Doubted { reason: "odd".into(), differs: None }
    }

    #[test]
    fn what_waits_ends_with_its_own_session_and_doubt_does_not() {
        let mut attempts = Attempts::default();
        attempts.enter(attempt(0), fetching(0));
        attempts.enter(attempt(1), fetching(1));
        attempts.enter(attempt(2), doubted());
        attempts.session_ended(ExecutorId(0));
        assert!(!attempts.is_fetching(attempt(0)), "its end is told again, and must be taken in then");
        assert!(attempts.is_fetching(attempt(1)) && attempts.is_doubted(attempt(2)));
        attempts.forget(attempt(1));
        assert!(!attempts.is_fetching(attempt(1)));
    }

    #[test]
    fn one_phase_is_never_taken_for_another() {
        let mut attempts = Attempts::default();
        attempts.enter(attempt(0), fetching(0));
        attempts.enter(attempt(1), doubted());
        assert_eq!(attempts.take_doubt(attempt(0)), None);
        assert!(attempts.take_fetching(attempt(1)).is_none());
        assert_eq!(attempts.take_doubt(attempt(1)), Some(("odd".to_owned(), None)));
        assert_eq!(attempts.take_fetching(attempt(0)).map(|one| one.sequence), Some(7));
        assert!(attempts.take_doubt(attempt(1)).is_none() && attempts.take_fetching(attempt(0)).is_none());
    }
}
