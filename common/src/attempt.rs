//! What a driver asks of an executor's slot, and what the slot reports.

use std::time::Duration;

use crate::ids::{AttemptId, Digest};
use crate::metrics::{EpochReport, Score};
use crate::task::Task;

/// Slots that one executor may have.
pub const SLOTS_MAX: u32 = 4096;

/// One attempt, to be started on a free slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Which try at which task.
    pub attempt: AttemptId,
    /// What is to be done.
    pub task: Task,
    /// The blob of the checkpoint to go on from; `None` to start at the beginning.
    pub checkpoint: Option<Digest>,
}

/// What a slot tells of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Whose report it is.
    pub attempt: AttemptId,
    /// Time spent since the attempt's report before this one.
    pub durations: Durations,
    /// What happened.
    pub news: News,
}

/// What happened to an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// One more epoch is done.
    Epoch {
        /// What it measured.
        report: EpochReport,
        /// The blob of the training's state after it, if one was taken: kept until the attempt's next one.
        checkpoint: Option<Digest>,
    },
    /// The attempt is over, and its slot is free.
    Ended(Ended),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// Trained to the end.
    Complete {
        /// The epoch that counts.
        report: EpochReport,
        /// The blob of the weights, if there are any; the executor keeps it until it is released.
        weights: Option<Digest>,
    },
    /// Stopped because it was cancelled, or because its executor drains.
    Stopped,
    /// Not started: a slot of this executor has too little memory for it.
    Refused {
        /// What it would take.
        needed_bytes: u64,
        /// What a slot has.
        available_bytes: u64,
    },
    /// A loss was NaN or infinite: a result, not a failure.
    Diverged {
        /// In which epoch, counted from 1.
        epoch: u32,
    },
    /// The training program failed.
    Failed {
        /// Why, in words.
        reason: String,
    },
    /// Weights were measured.
    Measured(Score),
}

/// Monotonic time by phase, by the executor's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// Fitting weights.
    pub training: Duration,
    /// Measuring them.
    pub evaluation: Duration,
}
