//! What a driver asks of an executor's slot, and what the slot reports.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::details::Details;
use crate::ids::{AttemptId, Digest};
use crate::metrics::Metrics;
use crate::task::TaskKind;

/// Slots that one executor may have.
pub const SLOTS_MAX: u32 = 4096;
/// Artifacts that one attempt may end with: one of each name.
pub const ARTIFACTS_MAX: usize = 3;

/// One attempt, to be started on a free slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Which try at which task.
    pub attempt: AttemptId,
    /// What is to be done.
    pub kind: TaskKind,
    /// The values of its trial; empty where the model is applied.
    pub configuration: Configuration,
    /// The blob that it begins with: the checkpoint to go on from, `None` to start at the beginning; or what the partition needs
    /// of files that its executor cannot read.
    pub input: Option<Digest>,
}

/// What a slot tells of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Whose report it is.
    pub attempt: AttemptId,
    /// Time spent since the attempt's report before this one.
    pub durations: Durations,
    /// What happened.
    pub event: AttemptEvent,
}

/// What happened to an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum AttemptEvent {
    /// One more epoch is done.
    Epoch {
        /// Which one, counted from 1.
        epoch: u32,
        /// What it measured.
        metrics: Metrics,
        /// The blob of the training's state after it, if one was taken: kept until the attempt's next one.
        checkpoint: Option<Digest>,
    },
    /// The attempt is over, and its slot is free.
    Ended(Ended),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// A segment is trained to its end, or as far as early stop allowed.
    Trained {
        /// The epoch that counts.
        epoch: u32,
        /// What was made; the executor keeps it until it is released.
        artifacts: Vec<Artifact>,
    },
    /// Weights were measured.
    Measured(Metrics),
    /// What weights answer was looked at closely.
    Examined(Details),
    /// The model was applied to a partition.
    Applied {
        /// What was made; the executor keeps it until it is released.
        artifacts: Vec<Artifact>,
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
}

impl Ended {
    /// An end that failed for this reason.
    #[must_use]
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into() }
    }

    /// What was made.
    #[must_use]
    pub fn artifacts(&self) -> &[Artifact] {
        match self {
            Self::Trained { artifacts, .. } | Self::Applied { artifacts } => artifacts,
            Self::Measured(_)
            | Self::Examined(_)
            | Self::Stopped
            | Self::Refused { .. }
            | Self::Diverged { .. }
            | Self::Failed { .. } => &[],
        }
    }

    /// The blob of the artifact with this name.
    #[must_use]
    pub fn artifact(&self, name: ArtifactName) -> Option<Digest> {
        self.artifacts().iter().find(|artifact| artifact.name == name).map(|artifact| artifact.blob)
    }
}

/// Something that an attempt made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What it is.
    pub name: ArtifactName,
    /// The blob that holds it.
    pub blob: Digest,
}

/// What an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ArtifactName {
    /// Trained weights.
    Weights,
    /// The state of a training after the last epoch of its segment.
    Checkpoint,
    /// The rows of a partition.
    Output,
}

/// What was spent since the report before: monotonic time by phase, by the executor's clock, and what programs used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// Fitting weights.
    pub training: Duration,
    /// Measuring them.
    pub evaluation: Duration,
    /// What the processes of a program used, which is known once they have ended.
    pub used: Option<Used>,
}

/// What processes used. Of a worker's attempts: from its line to its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Processor time of all of them, user and system, in microseconds.
    pub cpu_us: u64,
    /// The most memory at one time: of all processes together where an attempt has its own control group, else of the
    /// largest one.
    pub memory_peak_bytes: u64,
}

impl Used {
    /// What these used that ran after each other, where any of it is known.
    #[must_use]
    pub fn sum(all: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        all.into_iter().flatten().reduce(|before, after| Self {
            cpu_us: before.cpu_us.saturating_add(after.cpu_us),
            memory_peak_bytes: before.memory_peak_bytes.max(after.memory_peak_bytes),
        })
    }

    /// The processor time, in seconds.
    #[must_use]
    pub fn cpu_s(self) -> f64 {
        self.cpu_us as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_after_each_other_took_all_of_the_time_and_the_largest_memory() {
        let used = |cpu_us, memory_peak_bytes| Some(Used { cpu_us, memory_peak_bytes });
        assert_eq!(Used::sum([None, used(2, 9), None, used(3, 4)]), used(5, 9));
        assert_eq!(Used::sum([used(u64::MAX, 1), used(1, 1)]), used(u64::MAX, 1), "whatever an executor says");
        assert_eq!(Used::sum([None, None]), None);
    }
}
