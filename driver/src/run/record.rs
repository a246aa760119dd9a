//! What a run writes down: the records of its journal. The book is what they add up to.

use std::time::Duration;

use broadsweep_common::attempt::Durations;
use broadsweep_common::ids::{AttemptId, Digest, ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::{EpochReport, Score};
use broadsweep_scheduler::Moment;
use serde::{Deserialize, Serialize};

use crate::records::attempt::{AttemptEnd, AttemptRecord};
use crate::records::run::Broadcast;
use crate::records::standing::{Standing, StandingSince};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Record {
    /// A driver takes the run up.
    Begun(Begun),
    /// An executor of the node list: its number stays, whoever drives.
    Executor {
        /// The next number.
        executor: ExecutorId,
        /// What people call it.
        name: String,
    },
    /// What trials are forecast to cost: nobody who reads the run later needs its data for that.
    Planned {
        /// The first of them.
        first: TrialId,
        /// In trial order.
        costs: Vec<PlannedCost>,
    },
    /// An executor came or went.
    Stands {
        /// Which one.
        executor: ExecutorId,
        /// How it stands from now on.
        standing: Standing,
        /// When.
        at: Moment,
    },
    /// The last look at the test rows is planned: the tasks after the trainings, for these trials in this order.
    MeasuresPlanned(Vec<TrialId>),
    /// An attempt is about to go out.
    Launched {
        /// The next number of its task.
        attempt: AttemptId,
        /// Where.
        executor: ExecutorId,
        /// The epoch whose checkpoint it goes on from.
        from_epoch: u32,
        /// When.
        at: Moment,
    },
    /// An attempt that counted as lost is live after all.
    Adopted(AttemptId),
    /// An attempt has done an epoch.
    Epoch {
        /// Whose report it is.
        attempt: AttemptId,
        /// What it measured.
        report: EpochReport,
        /// What it took.
        spent: Spent,
    },
    /// The state of a task after this epoch is safe in the run folder.
    Checkpointed {
        /// Of which task.
        task: TaskId,
        /// What is there.
        checkpoint: Kept,
    },
    /// An attempt is over.
    Ended {
        /// Which one.
        attempt: AttemptId,
        /// How.
        end: AttemptEnd,
        /// What it took since its last epoch.
        spent: Spent,
        /// When.
        at: Moment,
    },
    /// An attempt has its task's result, so that both are over.
    Completed {
        /// Which one.
        attempt: AttemptId,
        /// What it took since its last epoch.
        spent: Spent,
        /// With what.
        finish: Finish,
        /// When.
        at: Moment,
    },
    /// A task is over without a result.
    Finished {
        /// Which one.
        task: TaskId,
        /// With what.
        finish: Finish,
        /// When.
        at: Moment,
    },
    /// All that is known of a task but its epochs: what a compaction leaves of the records above.
    Known {
        /// Which one.
        task: TaskId,
        /// Its newest checkpoint.
        checkpoint: Option<Kept>,
        /// With what it is over, and when.
        finish: Option<(Finish, Moment)>,
    },
    /// Attempts of a task, in order: likewise.
    Attempts(Vec<AttemptRecord>),
    /// Epochs of a task, in order: likewise.
    Epochs {
        /// Which task.
        task: TaskId,
        /// Those that follow the ones known so far.
        reports: Vec<EpochReport>,
    },
    /// What the tasks do not tell: likewise.
    Totals {
        /// Epochs that were trained again.
        repeated: u64,
        /// The latest moment that was told of.
        latest: Moment,
    },
    /// The kernel that every executor uses: they agreed on it.
    Kernel(String),
    /// What the broadcast took so far, under all drivers of the run.
    Broadcast(Broadcast),
    /// A driver ends in order: up to here the time is driven.
    Closed(Moment),
    /// How an executor stood, in order: what a compaction leaves.
    Presence {
        /// Which one.
        executor: ExecutorId,
        /// Those that follow the ones known so far.
        presence: Vec<StandingSince>,
    },
}

/// What a trial is forecast to cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlannedCost {
    /// Epochs, at most.
    pub(super) epochs: u32,
    /// Of all of them.
    pub(super) flops: u64,
    /// Of measuring the test rows once.
    pub(super) test_flops: u64,
}

/// What a driver starts from. A later one has to start from the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Counts the drivers of the run, from 1.
    pub(super) generation: u64,
    /// Names the run to its executors.
    pub(super) run: String,
    /// The driver's version.
    pub(super) build: String,
    /// The kernel that every executor uses, if that is known.
    pub(super) kernel: Option<String>,
    /// The data set's blob.
    pub(super) data: Digest,
    /// The description's blob.
    pub(super) study: Digest,
    /// Trials that are planned.
    pub(super) trials: u32,
    /// When: where the driven time goes on.
    pub(super) at: Moment,
}

/// Time by phase, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spent {
    training_us: u64,
    evaluation_us: u64,
}

impl Spent {
    pub(super) fn training_s(self) -> f64 {
        self.training_us as f64 / 1e6
    }

    pub(super) fn evaluation_s(self) -> f64 {
        self.evaluation_us as f64 / 1e6
    }
}

impl From<Durations> for Spent {
    fn from(durations: Durations) -> Self {
        let microseconds = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self { training_us: microseconds(durations.training), evaluation_us: microseconds(durations.evaluation) }
    }
}

/// A checkpoint in the run folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The state is that after this epoch.
    pub(super) epoch: u32,
    /// By which its bytes are checked.
    pub(super) blob: Digest,
}

/// With what a task is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Finish {
    /// A training has its result.
    Trained {
        /// The epoch that counts.
        report: EpochReport,
        /// The blob of its weights, if they are in the run folder.
        weights: Option<Digest>,
    },
    /// A training's loss was NaN or infinite.
    Diverged {
        /// In this epoch.
        epoch: u32,
    },
    /// Weights were measured.
    Measured(Score),
    /// It is not tried again.
    GivenUp {
        /// Why, for people.
        reason: String,
    },
}
