//! What a training reports: of an epoch, of a part of the data, and of its end.

use broadsweep_common::dataset::Part;
use broadsweep_common::metrics::{MetricName, Metrics};
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

/// How a training ended, in numbers alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TrainingEnd {
    /// All epochs, or as many as early stop allowed. Holds the epoch that counts.
    Complete(EpochReport),
    /// Trained to the end of a segment, with epochs left. Holds the epoch that counts so far.
    Paused(EpochReport),
    /// The control said stop. Holds the last epoch that counts, if one was finished.
    Stopped(Option<EpochReport>),
    /// A loss was NaN or infinite, in this epoch (counted from 1). A result, not a failure.
    Diverged {
        /// The epoch in which it happened.
        epoch: u32,
    },
}

impl Score {
    /// The metrics of this part: its loss and its error.
    #[must_use]
    pub fn metrics(&self, part: Part) -> Metrics {
        let [loss, error] = MetricName::of_part(part);
        Metrics::from_iter([(loss, self.loss), (error, self.error)])
    }
}

impl EpochReport {
    /// What was measured, by name. A part that was not looked at gives no metric.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let own = [(MetricName::LEARNING_RATE, self.learning_rate), (MetricName::TRAINING_LOSS, self.training_loss)];
        let mut metrics = Metrics::from_iter(own);
        for (part, score) in [(Part::Validation, self.validation), (Part::Test, self.test)] {
            if let Some(score) = score {
                score.metrics(part).iter().for_each(|(name, value)| metrics.set(name.clone(), value));
            }
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_gives_the_metrics_of_the_parts_that_were_looked_at() {
        let test = Some(Score { loss: 3.0, error: 4.0 });
        let report = EpochReport { epoch: 1, learning_rate: 1.0, training_loss: 2.0, validation: None, test };
        let metrics = report.metrics();
        let shown: Vec<_> = metrics.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(shown, [("learning_rate", 1.0), ("training_loss", 2.0), ("test_loss", 3.0), ("test_error", 4.0)]);
    }

    #[test]
    fn a_score_is_named_by_its_part() {
        let score = Score { loss: 1.0, error: 2.0 };
        for part in [Part::Train, Part::Validation, Part::Test] {
            let names = [format!("{part}_loss"), format!("{part}_error")];
            let metrics = score.metrics(part);
            assert_eq!(metrics.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>(), names);
        }
    }
}
