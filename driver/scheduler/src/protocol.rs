//! What the scheduler is told and what it answers: events and commands.

use std::fmt;
use std::time::Duration;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::cost::Cost;
use super::moment::Moment;
use super::priority::Priority;

/// What a task is forecast to take: a segment of a trial, which reports each of its epochs, all of equal cost. A
/// measurement is one epoch, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Of its own epochs together.
    pub cost: Cost,
    /// The epoch that it begins after: its input, which is no checkpoint of its own. 0 begins from nothing.
    pub from_epoch: u32,
    /// Its last epoch; more than `from_epoch`.
    pub until_epoch: u32,
}

/// What a task went through under an earlier driver of its run. The default: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Attempts launched so far: the next one has the number after.
    pub attempts: u32,
    /// Which executors were lost with it since its newest checkpoint, a row a loss.
    pub lost_on: Vec<ExecutorId>,
    /// Where its program failed, a row a failure.
    pub failed_on: Vec<ExecutorId>,
    /// Where what it told was doubted, without anybody's fault: it keeps off there as where it failed.
    pub doubted_on: Vec<ExecutorId>,
    /// Which executors cannot do it, as they said.
    pub refused_on: Vec<ExecutorId>,
    /// Which executors it is about, so that it never goes there, whatever process they are.
    pub parties: Vec<ExecutorId>,
    /// The epoch of its newest checkpoint; 0 if it has none but its input.
    pub checkpoint: u32,
    /// Set where an attempt was live when that driver ended: nothing is placed before, so that its executor can come
    /// back with it.
    pub held_until: Option<Moment>,
    /// Set where it has its verdict: nothing is left to do, and none is announced again.
    pub finished: bool,
}

/// What happened. Each comes with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a task to do.
    TaskAdded {
        /// The next number: tasks are added in order from 0, without gaps.
        task: TaskId,
        /// What is placed before it and after it.
        priority: Priority,
        /// What it will take.
        forecast: Forecast,
        /// What was tried before.
        history: History,
    },
    /// No more tasks will come: the scheduler is done when those that it has are finished.
    AddingEnded,
    /// Nobody wants these tasks any more, of which nothing was ever launched: they are over.
    TasksDropped(Vec<TaskId>),
    /// Whoever adds tasks adds no more before this one is done, or has no such task: slots that are free meanwhile are for
    /// copies of it before all others.
    Awaited(Option<TaskId>),
    /// An executor is connected and holds the data: attempts may go there. Legal after it was away or lost.
    ExecutorReady {
        /// Which one.
        executor: ExecutorId,
        /// Attempts that it runs at a time: 1 to [`SLOTS_MAX`](super::SLOTS_MAX).
        slots: u32,
        /// Attempts that run there, or ended there without their end being known here.
        held: Vec<AttemptId>,
        /// Whether its process is another one than when it was last ready: then what ran there and is not held was
        /// lost with it. Of the same process, a launch that is not held never arrived.
        restarted: bool,
    },
    /// An executor will leave: it ends or stops what it runs, and takes nothing new.
    ExecutorDraining(ExecutorId),
    /// The connection to an executor ended. What runs there goes on, and nothing new is placed there; unless it is
    /// ready again within `reconnect_ms`, it is lost.
    ExecutorAway(ExecutorId),
    /// An executor is gone, and every attempt that ran there with it.
    ExecutorLost(ExecutorId),
    /// An attempt has done one more epoch.
    EpochEnded {
        /// Who reports it.
        executor: ExecutorId,
        /// Which attempt.
        attempt: AttemptId,
        /// Counted from 1, whatever epoch the task begins after. What lies below its newest checkpoint, or is not its
        /// own at all, was done before: an attempt that has to begin anew does it again, and lives while it does.
        epoch: u32,
    },
    /// The state of a task after this epoch is safe: its next attempt goes on from there.
    Checkpointed {
        /// Which task.
        task: TaskId,
        /// Counted from 1.
        epoch: u32,
    },
    /// An executor reports the end of an attempt, which counts once what it made is here: [`Event::AttemptEnded`] follows,
    /// or the same again after the executor was away.
    AttemptEnding {
        /// Who reports it.
        executor: ExecutorId,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// An executor reports the end of an attempt.
    AttemptEnded {
        /// Who reports it.
        executor: ExecutorId,
        /// Which attempt.
        attempt: AttemptId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The driver itself stood still for a while: its process was stopped, or its disk. That it heard nothing meanwhile
    /// says nothing of anybody, and what was to come by now may be waiting to be read: every watch begins anew.
    StoodStill,
    /// The run is to end early: nothing more is placed.
    PlacingEnded,
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
    /// What it told differs from what is known, and nobody knows yet who is right: counts against nobody, and another
    /// executor is tried.
    Doubted,
    /// The executor cannot do this task at all (it has too little memory): counts against nobody, another one is
    /// tried.
    Refused,
    /// It stopped because its executor drains or because it was told to: counts against nobody.
    Stopped,
}

/// What the run loop must do or note, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start this attempt on this executor, from the task's newest checkpoint.
    Launch(ExecutorId, AttemptId),
    /// Stop this attempt; its slot is free when its end is reported. Said again when its executor was away.
    Cancel(ExecutorId, AttemptId, CancelReason),
    /// Noted: an attempt that this executor holds is live again.
    Adopt(ExecutorId, AttemptId),
    /// Noted: an attempt is not live any more, without a report of its end.
    Lost {
        /// Where it ran.
        executor: ExecutorId,
        /// Which attempt.
        attempt: AttemptId,
        /// Whether its executor had it, and was lost with it; otherwise the session ended on its launch.
        arrived: bool,
    },
    /// Noted: nothing is placed there until then, when one task probes it.
    Exclude {
        /// Which executor.
        executor: ExecutorId,
        /// When it is probed.
        until: Moment,
        /// Attempts in a row that failed there.
        failures: u32,
    },
    /// Noted: an excluded executor takes tasks again, since one completed there or a probe made an epoch.
    Reinstate(ExecutorId),
    /// The task is over. Said once a task; no report about it is believed afterwards.
    Finish(TaskId, Verdict),
}

/// Why an attempt is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// Its task was decided by another attempt.
    Beaten,
    /// It is held, but its task is over, unknown or has two live attempts, or no slot is left for it.
    Unwanted,
    /// No epoch within its deadline. Counts as a failure of the program.
    Hung {
        /// How long nothing came of it.
        silent: Duration,
    },
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An attempt has a result.
    Completed {
        /// Attempts that were made, this one included.
        attempts: u32,
    },
    /// It is not tried again.
    GivenUp {
        /// Why.
        reason: GivenUp,
        /// Attempts that were made.
        attempts: u32,
    },
    /// Nobody wants it, and it had not begun.
    Dropped,
}

/// Why a task is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// Its program failed `failures_max` times.
    FailedTooOften {
        /// How often.
        failures: u32,
    },
    /// It lost `losses_max` executors, or sessions that ended on its launch, without reaching a new checkpoint.
    LostTooOften {
        /// How many.
        losses: u32,
    },
    /// Every executor that is there refused it.
    FitsNowhere,
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailedTooOften { failures } => write!(f, "its program failed {}", times(*failures)),
            Self::LostTooOften { losses } => write!(f, "it was lost {} without a new checkpoint", times(*losses)),
            Self::FitsNowhere => write!(f, "no executor that is there can do it"),
        }
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
