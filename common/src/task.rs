//! What is scheduled, and what is broadcast before it.

use serde::{Deserialize, Serialize};

use crate::application::Application;
use crate::dataset::Part;
use crate::ids::{Digest, TrialId};
use crate::mapper::MapperDescription;
use crate::measure::{Reported, Watched};
use crate::metrics::{Direction, MetricName, Objective};
use crate::model::ModelDescription;
use crate::program::ProgramDescription;
use crate::replay::ReplayDescription;
use crate::training::TrainingDescription;

/// All that an executor knows of a study besides its data: broadcast once, so that a task carries its
/// configuration alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyDescription {
    /// The study's seed.
    pub seed: u64,
    /// What a trial does.
    pub trainer: TrainerDescription,
    /// Over which rows early stop watches, and the search chooses.
    pub select: Select,
    /// What early stop watches there: what the search ranks by first.
    pub watched: Watched,
    /// What a network is measured by beside its loss and its error.
    pub measures: Vec<Reported>,
    /// Whether every trial looks at the test rows after each epoch.
    pub test_every_trial: bool,
}

/// What a trial does, with searched settings open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TrainerDescription {
    /// Trains a network.
    Network {
        /// The layers.
        model: ModelDescription,
        /// How they are trained.
        training: TrainingDescription,
    },
    /// Waits, and reports what it was given.
    Replay(ReplayDescription),
    /// Runs somebody's own program.
    Program(ProgramDescription),
    /// Applies a finished model, which stands in the place of the data set.
    Model(Application),
    /// Maps rows through somebody's own program, whose files stand in the place of the data set.
    Mapper(MapperDescription),
}

impl TrainerDescription {
    /// How many trials it has a recording of; none unless it replays one.
    #[must_use]
    pub fn recorded(&self) -> usize {
        match self {
            Self::Network { .. } | Self::Program(_) | Self::Model(_) | Self::Mapper(_) => 0,
            Self::Replay(replay) => replay.recorded(),
        }
    }
}

/// The part of the data by whose error trials are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Select {
    /// Rows held out of the training rows.
    Validation,
    /// The test rows: then their error is no estimate of the error on new data.
    Test,
}

impl Select {
    /// What trials are ranked by: the error over these rows, the smaller the better.
    #[must_use]
    pub fn objective(self) -> Objective {
        let metric = match self {
            Self::Validation => MetricName::VALIDATION_ERROR,
            Self::Test => MetricName::TEST_ERROR,
        };
        Objective { metric, direction: Direction::Minimize }
    }
}

/// What a task does. Stored with the task and journaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskKind {
    /// Train a segment of a trial.
    Train(Segment),
    /// Train a trial once more, from its beginning to an epoch of which two executors told different numbers: only what
    /// is measured then is wanted. To its executor it is a training like any other.
    Check(Segment),
    /// Measure finished weights on one part of the data.
    Measure {
        /// Whose weights these are.
        replicate: Replicate,
        /// The blob that holds them.
        weights: Digest,
        /// On which rows.
        part: Part,
    },
    /// Look closely at what finished weights answer to one part of the data.
    Examine {
        /// Whose weights these are.
        replicate: Replicate,
        /// The blob that holds them.
        weights: Digest,
        /// To which rows.
        part: Part,
    },
    /// Apply the model to a partition of the input.
    Apply {
        /// Its number, from 0.
        partition: u32,
    },
}

/// One repeat and fold of a trial: the same configuration with another seed, or with other rows held out. Both count
/// from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Replicate {
    /// The trial.
    pub trial: TrialId,
    /// Which seed.
    pub repeat: u32,
    /// Which rows are held out.
    pub fold: u32,
}

/// What is scheduled of a replicate: its epochs from the one after `from_epoch` to `until_epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Segment {
    /// Of what.
    pub replicate: Replicate,
    /// Epochs that are trained before; 0 for a segment that begins the training.
    pub from_epoch: u32,
    /// Its last epoch: a rung, or the training's last one.
    pub until_epoch: u32,
}

impl TaskKind {
    /// The trial that this task belongs to; `None` for one that applies the model.
    #[must_use]
    pub fn trial(&self) -> Option<TrialId> {
        match self {
            Self::Train(Segment { replicate, .. })
            | Self::Check(Segment { replicate, .. })
            | Self::Measure { replicate, .. }
            | Self::Examine { replicate, .. } => Some(replicate.trial),
            Self::Apply { .. } => None,
        }
    }
}

impl Replicate {
    /// The one that every trial has.
    #[must_use]
    pub fn first(trial: TrialId) -> Self {
        Self { trial, repeat: 0, fold: 0 }
    }
}
