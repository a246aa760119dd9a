//! What is trained, and how.

use broadsweep_common::dataset::{Header, Part};
use broadsweep_common::model::Model;
use broadsweep_common::task::Select;
use broadsweep_common::training::Training;

use super::kernel::Kernel;
use super::report::{EpochReport, Score};

/// What is trained, and how.
#[derive(Clone, Copy, Debug)]
pub struct TrainTask<'a> {
    /// The layers.
    pub model: &'a Model,
    /// Optimizer, batches and epochs.
    pub training: &'a Training,
    /// Shared by all trials: with `repeat`, the order of the rows.
    pub study_seed: u64,
    /// The trial's own: weights at the start, and dropout.
    pub trial_seed: u64,
    /// Which repetition of the configuration this is.
    pub repeat: u32,
    /// Whose error early stop watches.
    pub select: Select,
    /// Whether the test rows are scored after every epoch in any case.
    pub test_every_trial: bool,
    /// What multiplies. Another kernel ends in other bits.
    pub kernel: Kernel,
}

impl TrainTask<'_> {
    /// The score that early stop watches.
    pub(super) fn watched(&self, report: &EpochReport) -> Option<Score> {
        match self.select {
            Select::Validation => report.validation,
            Select::Test => report.test,
        }
    }

    /// Whether every epoch reports a score of this part.
    #[must_use]
    pub fn reports(&self, part: Part, data: &Header) -> bool {
        let is_looked_at = match part {
            Part::Train => false,
            Part::Validation => true,
            Part::Test => self.test_every_trial || self.select == Select::Test,
        };
        is_looked_at && data.rows(part) > 0
    }

    /// The step size of an epoch, counted from 1.
    pub(super) fn learning_rate(&self, epoch: u32) -> f64 {
        self.training.learning_rate * libm::pow(self.training.learning_rate_decay, f64::from(epoch - 1))
    }
}
