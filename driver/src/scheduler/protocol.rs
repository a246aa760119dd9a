//! What the scheduler is told and what it answers: events, commands, and the reasons to reject an event.

use std::fmt;
use std::time::Duration;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};
pub use broadsweep_proto::SLOTS_MAX;

/// A moment, in microseconds since the run's start. The scheduler has no clock: the run loop stamps each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// The moment that lies `elapsed` after the run's start.
    #[must_use]
    pub fn since_start(elapsed: Duration) -> Self {
        Self::default().after(elapsed)
    }

    /// The moment that lies `wait` after this one. Saturates: a run does not last 584,000 years.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let wait_us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(wait_us))
    }
}

/// What a task is forecast to cost, in FLOPs. Only the order counts: the longest is placed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(pub u64);

/// What happened. Each comes with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a task to do.
    TaskAdded {
        /// A task that was never added before.
        task: TaskId,
        /// Its forecast cost.
        cost: Cost,
    },
    /// No more tasks will come: the scheduler is done when those that it has are finished.
    AddingEnded,
    /// An executor is connected and holds the data: attempts may go there. Legal again after it was lost.
    ExecutorReady {
        /// Which one.
        executor: ExecutorId,
        /// Attempts that it runs at a time: 1 to [`SLOTS_MAX`].
        slots: u32,
    },
    /// An executor is gone, and every attempt that ran there with it.
    ExecutorLost(ExecutorId),
    /// An executor reports the end of an attempt.
    AttemptEnded {
        /// Who reports it.
        executor: ExecutorId,
        /// Which attempt.
        attempt: AttemptId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The time that [`Scheduler::next_deadline`](super::Scheduler::next_deadline) asked for has come.
    Deadline,
}

/// How an attempt ended on an executor that is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a result. A divergence is one too.
    Completed,
    /// The program failed: counts against the task.
    Failed,
}

/// What the run loop must do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start this attempt on this executor.
    Launch(ExecutorId, AttemptId),
    /// The task is over. Said once a task; no report about it is believed afterwards.
    Finish(TaskId, Verdict),
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An attempt has a result.
    Completed {
        /// Attempts that it took, this one included.
        attempts: u32,
    },
    /// It is not tried again.
    GivenUp {
        /// Why.
        reason: GivenUp,
        /// Attempts that were made.
        attempts: u32,
    },
}

/// Why a task is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// Its program failed `failures_max` times.
    FailedTooOften {
        /// How often.
        failures: u32,
    },
    /// It lost `losses_max` executors.
    LostTooOften {
        /// How many.
        losses: u32,
    },
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailedTooOften { failures } => write!(f, "its program failed {failures} times"),
            Self::LostTooOften { losses } => write!(f, "it lost {losses} executors"),
        }
    }
}

/// An event that does not fit the state. The state is unchanged; the sender is at fault, not the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The task was added before.
    #[error("{0} was added before")]
    TaskKnown(TaskId),
    /// A task came after the end of adding.
    #[error("{0} was added after the last task was announced")]
    AddedTooLate(TaskId),
    /// The executor is connected already.
    #[error("{0} is connected already")]
    ExecutorConnected(ExecutorId),
    /// The executor never connected, or was lost.
    #[error("{0} is not connected")]
    UnknownExecutor(ExecutorId),
    /// No slots, or absurdly many.
    #[error("{executor} offers {slots} slots; 1 to {max} are possible", max = SLOTS_MAX)]
    BadSlots {
        /// Who says so.
        executor: ExecutorId,
        /// What it says.
        slots: u32,
    },
    /// The attempt does not run there: it ended, was lost, runs elsewhere or never started.
    #[error("{attempt} is not running on {executor}")]
    StaleAttempt {
        /// Who reports it.
        executor: ExecutorId,
        /// What is reported.
        attempt: AttemptId,
    },
}
