//! One attempt as it is remembered: where it ran, how far it came, and how it ended.

use broadsweep_common::ids::{AttemptId, ExecutorId};
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
    /// Its executor was lost.
    Lost {
        /// Why, for people.
        reason: String,
    },
    /// Its launch was lost with a connection.
    NeverArrived,
    /// Its driver ended, and no executor came back with it.
    Orphaned,
}

impl AttemptEnd {
    /// One word for a column of a table.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
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
            Self::Failed { reason } | Self::Lost { reason } => reason.clone(),
            Self::Hung { silent_s } => format!("no epoch within {silent_s} s"),
            Self::Refused { needed_bytes, available_bytes } => {
                format!("needs {needed_bytes} bytes of memory; a slot there has {available_bytes}")
            }
        }
    }
}
