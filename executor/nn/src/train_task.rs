//! What is trained, and how.

use broadsweep_common::dataset::{Header, Part};
use broadsweep_common::measure::{Measure, Watched, WatchedValue};
use broadsweep_common::metrics::Direction;
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
    /// Whose rows early stop watches.
    pub select: Select,
    /// By which number.
    pub watched: Watched,
    /// What is measured beside loss and error.
    pub measures: &'a [Measure],
    /// Whether the test rows are scored after every epoch in any case.
    pub test_every_trial: bool,
    /// What multiplies. Another kernel ends in other bits.
    pub kernel: Kernel,
}

impl TrainTask<'_> {
    /// The score of the rows that early stop watches.
    pub(super) fn watched_score(&self, report: &EpochReport) -> Option<Score> {
        match self.select {
            Select::Validation => report.validation,
            Select::Test => report.test,
        }
    }

    /// The number that early stop watches, turned so that less is better. One that the rows do not have is worse than
    /// all others.
    pub(super) fn watched(&self, report: &EpochReport) -> Option<f64> {
        let score = self.watched_score(report)?;
        let value = match self.watched.value {
            WatchedValue::Error => score.error,
            WatchedValue::Loss => score.loss,
            WatchedValue::Measure(place) => score.further.as_slice().get(place as usize).copied().unwrap_or(f64::NAN),
        };
        Some(match self.watched.direction {
            _ if value.is_nan() => f64::MAX,
            Direction::Minimize => value,
            Direction::Maximize => -value,
        })
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

    /// The parts of which every epoch reports a score.
    pub(super) fn reported_parts(&self, data: &Header) -> Vec<Part> {
        Part::ALL.into_iter().filter(|part| self.reports(*part, data)).collect()
    }

    /// The step size of an epoch, counted from 1.
    pub(super) fn learning_rate(&self, epoch: u32) -> f64 {
        self.training.learning_rate * libm::pow(self.training.learning_rate_decay, f64::from(epoch - 1))
    }
}
