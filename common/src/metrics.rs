//! What a trial reports: numbers that depend on the study alone, never on place or time.

use serde::{Deserialize, Serialize};

/// Loss and error over one part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean loss a row: nats for cross entropy, the mean squared error otherwise.
    pub loss: f64,
    /// The fraction wrong, or the root mean square error for squared-error losses. Smaller is better.
    pub error: f64,
}

/// One epoch of one trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Counted from 1: after the first pass over the training rows this is 1.
    pub epoch: u32,
    /// The step size of this epoch.
    pub learning_rate: f64,
    /// Mean loss a row over the epoch's batches, in training mode, without penalties.
    pub training_loss: f64,
    /// Over the held-out rows; `None` without such rows.
    pub validation: Option<Score>,
    /// Over the test rows; `None` unless the study looks at them in every trial.
    pub test: Option<Score>,
}

/// How an attempt at training ended, in numbers alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Training {
    /// All epochs, or as many as early stop allowed. Holds the epoch that counts.
    Complete(EpochReport),
    /// The control said stop. Holds the last epoch that counts, if one was finished.
    Stopped(Option<EpochReport>),
    /// A loss was NaN or infinite, in this epoch (counted from 1). A result, not a failure.
    Diverged {
        /// The epoch in which it happened.
        epoch: u32,
    },
}

/// The bits of `value` with every NaN made the same one, so that digests do not depend on a NaN's payload.
#[must_use]
pub fn canonical_bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}
