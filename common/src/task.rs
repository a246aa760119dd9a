//! What is scheduled, and what is broadcast before it.

use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::ids::{Digest, TrialId};
use crate::model::ModelDescription;
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
    /// Which error early stop watches and the search chooses by.
    pub select: Select,
    /// Whether every trial looks at the test rows after each epoch.
    pub test_every_trial: bool,
}

/// What a trial does, with searched settings open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a study has one")]
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
}

/// The part of the data by whose error trials are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Select {
    /// Rows held out of the training rows.
    Validation,
    /// The test rows: then their error is no estimate of the error on new data.
    Test,
}

/// What is scheduled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// Train one configuration, and keep its weights until they are released.
    Train {
        /// Which trial this is.
        trial: TrialId,
        /// Its values.
        configuration: Configuration,
    },
    /// Measure finished weights on the test rows.
    Measure {
        /// Whose weights these are.
        trial: TrialId,
        /// The configuration that shaped them.
        configuration: Configuration,
        /// The blob that holds them.
        weights: Digest,
    },
}

impl Task {
    /// The trial that this task belongs to.
    #[must_use]
    pub fn trial(&self) -> TrialId {
        match self {
            Self::Train { trial, .. } | Self::Measure { trial, .. } => *trial,
        }
    }
}
