//! What a run writes down: the records of its journal. The book is what they add up to.

use std::num::NonZeroU64;
use std::time::Duration;

use broadsweep_common::attempt::{Durations, Used};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::details::Details;
use broadsweep_common::ids::{AttemptId, Digest, ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::task::{Replicate, TaskKind};
use broadsweep_scheduler::{Moment, Priority};
use broadsweep_search::{Origin, VirtualTime};
use serde::{Deserialize, Serialize};

use crate::records::attempt::{AttemptEnd, AttemptRecord};
use crate::records::change::ChangeRecord;
use crate::records::difference::DifferenceRecord;
use crate::records::run::BroadcastRecord;
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
    /// An executor is in use, and this process: another number is another process.
    Process {
        /// Which one.
        executor: ExecutorId,
        /// As the process drew it.
        instance: u64,
    },
    /// What the search decided, in order: nobody decides it again.
    Decided {
        /// The number of the first of them; decisions count from 0.
        first: u32,
        /// When, by the search's own clock.
        v: VirtualTime,
        /// What.
        decisions: Vec<Decided>,
    },
    /// Tasks that there are from now on.
    TasksAdded {
        /// The first one's number, which is the next; the others follow.
        first: TaskId,
        /// What they are.
        tasks: Vec<NewTask>,
    },
    /// Two executors told different numbers: what is known of that by now.
    Differs {
        /// Of what.
        replicate: Replicate,
        /// What is known.
        difference: Difference,
    },
    /// No more tasks will come: the search has ended, and the looks at the test rows after it are planned.
    AddingEnded,
    /// An executor came or went.
    Stands {
        /// Which one.
        executor: ExecutorId,
        /// How it stands from now on.
        standing: Standing,
        /// When.
        at: Moment,
    },
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
    /// The names of metrics that are reported together. Such lists are numbered from 0.
    Names(Vec<MetricName>),
    /// An attempt has done an epoch.
    Epoch {
        /// Whose report it is.
        attempt: AttemptId,
        /// Counted from 1.
        epoch: u32,
        /// What it measured.
        row: Row,
        /// What it took.
        spent: Spent,
    },
    /// The state of a task after this epoch is safe in the run folder.
    Checkpointed {
        /// Of which task.
        task: TaskId,
        /// What is there.
        checkpoint: SafeCheckpoint,
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
    /// All that is known of a task but its attempts: what a compaction leaves of the records above.
    Known {
        /// Which one.
        task: TaskId,
        /// Its newest checkpoint.
        checkpoint: Option<SafeCheckpoint>,
        /// Which executors were lost with it since that was safe.
        lost_on: Vec<ExecutorId>,
        /// Which executors cannot do it.
        refused_on: Vec<ExecutorId>,
        /// With what it is over, and when.
        finish: Option<(Finish, Moment)>,
    },
    /// Attempts of a task, in order: likewise.
    Attempts(Vec<AttemptRecord>),
    /// Epochs of a trial, in order: likewise.
    Epochs {
        /// Of which repeat and fold.
        replicate: Replicate,
        /// Those that follow the ones known so far.
        rows: Vec<Row>,
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
    Broadcast(BroadcastRecord),
    /// A driver ends in order: up to here the time is driven.
    Closed(Moment),
    /// How an executor stood, in order: what a compaction leaves.
    Standings {
        /// Which one.
        executor: ExecutorId,
        /// Those that follow the ones known so far.
        standings: Vec<StandingSince>,
    },
    /// People, or the clock, changed what is begun.
    Changed {
        /// What.
        change: ChangeRecord,
        /// The number of the wish that is granted with it: it is not granted again.
        wish: Option<u64>,
    },
    /// A wish was granted that changed nothing, by its number.
    Granted(u64),
    /// All changes, and the numbers of all wishes that were granted: what a compaction leaves.
    Changes {
        /// In order.
        changes: Vec<ChangeRecord>,
        /// In order.
        granted: Vec<u64>,
    },
    /// A search that goes on in virtual time: from the end of a segment to the moment at which it is shown its result, in
    /// the unit of the trials' costs. Nobody who reads the run later needs its data for that.
    Lag(NonZeroU64),
}

/// One decision of the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Decided {
    /// A new trial: its number is the next one.
    Start {
        /// Its values.
        configuration: Configuration,
        /// Where they are from.
        origin: Origin,
        /// The epoch at which it pauses, if it does.
        until_epoch: Option<u32>,
        /// What it will take: nobody who reads the run later needs its data for that.
        needs: TrialNeeds,
    },
    /// A trial that has paused is trained on.
    Continue {
        /// Which one.
        trial: TrialId,
        /// Where it pauses next.
        until_epoch: u32,
    },
    /// Nothing more is decided.
    Ended,
}

/// What a trial will take, as far as the study tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TrialNeeds {
    /// Epochs, at most.
    pub(super) epochs: u32,
    /// Of all of them, in a unit of the study's own: FLOPs, or the microseconds that a replay waits.
    pub(super) cost: u64,
    /// Of measuring the test rows once.
    pub(super) test_cost: u64,
    /// Memory of its slot.
    pub(super) memory_bytes: u64,
    /// Whether a training ends with weights: a replay does not.
    pub(super) makes_weights: bool,
}

/// A task, as it is added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct NewTask {
    /// What it does.
    pub(super) kind: TaskKind,
    /// What it costs, in the unit of its study.
    pub(super) cost: u64,
    /// What is placed first.
    pub(super) priority: Priority,
    /// What has to be there before it starts.
    pub(super) inputs: Vec<Input>,
}

/// A file of the run folder that an executor needs before it starts a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Input {
    /// The weights of a trial.
    Weights {
        /// Whose.
        trial: TrialId,
        /// By which their bytes are checked.
        blob: Digest,
    },
    /// The state that a trial has paused with.
    Checkpoint {
        /// The segment that left it.
        task: TaskId,
        /// What it left.
        checkpoint: SafeCheckpoint,
    },
}

/// The metrics of one epoch: the number of their list of names, and a value for each of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) names: u32,
    pub(super) values: Vec<f64>,
}

/// What is known of numbers that two executors told differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Difference {
    /// What people are told.
    pub(super) told: DifferenceRecord,
    /// The attempt that told the other's numbers: it was to stop.
    pub(super) attempt: AttemptId,
    /// The other's numbers; `None` where its training diverged then.
    pub(super) row: Option<Row>,
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
    /// What is searched, and how.
    pub(super) search: Digest,
    /// When: where the driven time goes on.
    pub(super) at: Moment,
}

/// What was spent: time by phase, in microseconds, and what programs used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spent {
    training_us: u64,
    evaluation_us: u64,
    pub(super) used: Option<Used>,
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
        Self {
            training_us: microseconds(durations.training),
            evaluation_us: microseconds(durations.evaluation),
            used: durations.used,
        }
    }
}

/// A checkpoint in the run folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SafeCheckpoint {
    /// The state is that after this epoch.
    pub(super) epoch: u32,
    /// By which its bytes are checked.
    pub(super) blob: Digest,
}

/// With what a task is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Finish {
    /// A trial is trained to its end, or as far as early stop allowed.
    Trained {
        /// The epoch that counts.
        epoch: u32,
        /// The blob of its weights, if they are in the run folder.
        weights: Option<Digest>,
    },
    /// A segment is trained to its end, and its trial can be continued.
    Paused {
        /// The epoch that counts so far.
        epoch: u32,
        /// Where it goes on from: in the run folder.
        checkpoint: SafeCheckpoint,
    },
    /// A training's loss was NaN or infinite.
    Diverged {
        /// In this epoch.
        epoch: u32,
    },
    /// A trial was trained once more, or the part that had to be.
    Checked,
    /// Weights were measured.
    Measured(Metrics),
    /// What weights answer was looked at closely.
    Examined(Details),
    /// The model was applied to a partition.
    Applied {
        /// What came out, in the run folder.
        output: Digest,
    },
    /// It is not tried again.
    GivenUp {
        /// Why, for people.
        reason: String,
    },
    /// The run was stopped before anything of it began.
    LeftOut,
}
