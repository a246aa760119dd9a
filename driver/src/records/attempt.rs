//! One attempt as it is remembered: where it ran, how far it came, and how it ended.

use broadsweep_common::attempt::Used;
use broadsweep_common::ids::{AttemptId, ExecutorId};
use broadsweep_scheduler::Outcome;
use serde::{Deserialize, Serialize};

/// One attempt at a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Which one.
    pub attempt: AttemptId,
    /// Where it ran.
    pub executor: ExecutorId,
    /// The epoch whose checkpoint it went on from; 0 for the beginning.
    pub from_epoch: u32,
    /// The last epoch that it reported; `from_epoch` if it reported none.
    pub epoch: u32,
    /// From the run's start to its launch, by the driver's clock.
    pub started_s: f64,
    /// From the run's start to its end, likewise.
    pub ended_s: f64,
    /// Spent in training, as its executor measured it.
    pub training_s: f64,
    /// Spent in measuring errors, likewise.
    pub evaluation_s: f64,
    /// What its program used, where it is one and that was told.
    pub used: Option<Used>,
    /// How it ended; `None` while it runs.
    pub end: Option<AttemptEnd>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptEnd {
    /// With the task's result.
    Completed,
    /// Its program failed, or it did not keep to what was known.
    Failed {
        /// Why, for people.
        reason: String,
    },
    /// It told other numbers than those that stand, and nobody knew yet who is right.
    Doubted {
        /// Which, for people.
        reason: String,
    },
    /// No epoch came within its deadline.
    Hung {
        /// How long it kept silent.
        silent_s: u64,
    },
    /// Its executor has too little memory for it.
    Refused {
        /// What it would take.
        needed_bytes: u64,
        /// What a slot has there.
        available_bytes: u64,
    },
    /// It stopped after an epoch because its executor left or the run was interrupted; its checkpoint goes on.
    Stopped,
    /// Another attempt of the task ended first.
    Beaten,
    /// Its executor was lost, or the session that was to bring it there.
    Lost {
        /// Why, for people.
        reason: String,
    },
    /// Its executor held its number although it was never launched there.
    NeverArrived,
    /// Its driver ended, and no executor came back with it.
    Orphaned,
}

/// Whom an end counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Nobody: it is no misfortune, or neither of them could help it.
    Nobody,
    /// The trial's program: a trial may have only so many of these.
    Program,
    /// The executor: a trial may lose only so many of them.
    Executor,
}

/// What a run has of the work of an attempt that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yield {
    /// The task's result.
    Result,
    /// A checkpoint, from which another attempt goes on.
    Checkpoint,
    /// Nothing that another attempt had not done first.
    Duplicate,
    /// Nothing, but for the checkpoints before its end.
    Nothing,
}

impl AttemptEnd {
    /// One word for a column of a table.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
            Self::Doubted { .. } => "doubted",
            Self::Hung { .. } => "hung",
            Self::Refused { .. } => "refused",
            Self::Stopped => "stopped",
            Self::Beaten => "beaten",
            Self::Lost { .. } => "lost",
            Self::NeverArrived => "never arrived",
            Self::Orphaned => "orphaned",
        }
    }

    /// Why, in words; empty where the word says it all.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Completed | Self::Stopped | Self::Beaten | Self::NeverArrived => String::new(),
            Self::Orphaned => "its driver ended, and no executor came back with it".to_owned(),
            Self::Failed { reason } | Self::Doubted { reason } | Self::Lost { reason } => reason.clone(),
            Self::Hung { silent_s } => format!("no epoch within {silent_s} s"),
            Self::Refused { needed_bytes, available_bytes } => {
                format!("needs {needed_bytes} bytes of memory; a slot there has {available_bytes}")
            }
        }
    }

    /// Whom it counts against.
    #[must_use]
    pub fn blames(&self) -> Blame {
        match self {
            Self::Failed { .. } | Self::Hung { .. } => Blame::Program,
            Self::Lost { .. } => Blame::Executor,
            Self::Completed
            | Self::Doubted { .. }
            | Self::Refused { .. }
            | Self::Stopped
            | Self::Beaten
            | Self::NeverArrived
            | Self::Orphaned => Blame::Nobody,
        }
    }

    /// What the scheduler is told of an end that an executor reports; `None` where the scheduler decided it itself.
    #[must_use]
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Completed => Some(Outcome::Completed),
            Self::Failed { .. } => Some(Outcome::Failed),
            Self::Doubted { .. } => Some(Outcome::Doubted),
            Self::Refused { .. } => Some(Outcome::Refused),
            Self::Stopped | Self::Beaten => Some(Outcome::Stopped),
            Self::Hung { .. } | Self::Lost { .. } | Self::NeverArrived | Self::Orphaned => None,
        }
    }

    /// What the run has of its work.
    #[must_use]
    pub fn yields(&self) -> Yield {
        match self {
            Self::Completed => Yield::Result,
            Self::Stopped => Yield::Checkpoint,
            Self::Beaten => Yield::Duplicate,
            Self::Failed { .. }
            | Self::Doubted { .. }
            | Self::Hung { .. }
            | Self::Refused { .. }
            | Self::Lost { .. }
            | Self::NeverArrived
            | Self::Orphaned => Yield::Nothing,
        }
    }

    /// Whether all that the attempt did after its last checkpoint was thrown away.
    #[must_use]
    pub fn is_wasted(&self) -> bool {
        match self.yields() {
            Yield::Result | Yield::Checkpoint => false,
            Yield::Duplicate | Yield::Nothing => true,
        }
    }

    /// Whether it stays as it is written down. An attempt that was beaten may still tell how it really ended.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Beaten => false,
            Self::Completed
            | Self::Failed { .. }
            | Self::Doubted { .. }
            | Self::Hung { .. }
            | Self::Refused { .. }
            | Self::Stopped
            | Self::Lost { .. }
            | Self::NeverArrived
            | Self::Orphaned => true,
        }
    }

    /// Whether its executor may have it yet, and come back with it: the driver decided on this end by itself, and nobody
    /// there told of one. One that was beaten or hung takes its slot until it has stopped.
    #[must_use]
    pub fn may_still_run(&self) -> bool {
        match self {
            Self::Beaten | Self::Hung { .. } | Self::Lost { .. } | Self::NeverArrived | Self::Orphaned => true,
            Self::Completed | Self::Failed { .. } | Self::Doubted { .. } | Self::Refused { .. } | Self::Stopped => {
                false
            }
        }
    }
}

impl AttemptRecord {
    /// Whether it brought its task's result.
    #[must_use]
    pub fn has_result(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.yields() == Yield::Result)
    }

    /// How it ended, if it ended without its task's result.
    #[must_use]
    pub fn end_without_result(&self) -> Option<&AttemptEnd> {
        self.end.as_ref().filter(|end| end.yields() != Yield::Result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_answers() {
        let reason = String::new;
        for (end, blames, yields, may_still_run) in [
            (AttemptEnd::Completed, Blame::Nobody, Yield::Result, false),
            (AttemptEnd::Failed { reason: reason() }, Blame::Program, Yield::Nothing, false),
            (AttemptEnd::Hung { silent_s: 9 }, Blame::Program, Yield::Nothing, true),
            (AttemptEnd::Refused { needed_bytes: 2, available_bytes: 1 }, Blame::Nobody, Yield::Nothing, false),
            (AttemptEnd::Stopped, Blame::Nobody, Yield::Checkpoint, false),
            (AttemptEnd::Beaten, Blame::Nobody, Yield::Duplicate, true),
            (AttemptEnd::Lost { reason: reason() }, Blame::Executor, Yield::Nothing, true),
            (AttemptEnd::NeverArrived, Blame::Nobody, Yield::Nothing, true),
            (AttemptEnd::Orphaned, Blame::Nobody, Yield::Nothing, true),
        ] {
            assert_eq!((end.blames(), end.yields(), end.may_still_run()), (blames, yields, may_still_run), "{end:?}");
            assert_eq!(end.is_final(), end != AttemptEnd::Beaten, "{end:?}");
        }
    }
}
