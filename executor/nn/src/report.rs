//! What a training reports: of an epoch, of a part of the data, and of its end.

use broadsweep_common::dataset::Part;
use broadsweep_common::measure::{MEASURES_MAX, Reported};
use broadsweep_common::metrics::{MetricName, Metrics};
use serde::{Deserialize, Serialize};

/// Loss and error over one part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean loss a row: nats for cross entropy, the mean squared error otherwise, in the data set's units.
    pub loss: f64,
    /// The fraction wrong, or the root mean square error for squared-error losses, in the file's units. Smaller is
    /// better.
    pub error: f64,
    /// What else the task asks for.
    pub further: Further,
}

/// The values of a task's measures, in their order. NaN is one: a measure that the rows do not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Vec<f64>", from = "Vec<f64>")]
pub struct Further {
    values: [f64; MEASURES_MAX],
    count: usize,
}

impl Further {
    /// Adds the value of the next measure; more than there may be are dropped.
    pub(super) fn push(&mut self, value: f64) {
        if let Some(slot) = self.values.get_mut(self.count) {
            *slot = value;
            self.count += 1;
        }
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[f64] {
        &self.values[..self.count]
    }
}

impl From<Further> for Vec<f64> {
    fn from(further: Further) -> Self {
        further.as_slice().to_vec()
    }
}

impl From<Vec<f64>> for Further {
    fn from(values: Vec<f64>) -> Self {
        values.into_iter().collect()
    }
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
    /// The metrics of this part: its loss, its error, and what else was measured, which is `measures`.
    #[must_use]
    pub fn metrics(&self, part: Part, measures: &[Reported]) -> Metrics {
        let [loss, error] = MetricName::of_part(part);
        let further = measures.iter().zip(self.further.as_slice());
        let further = further.map(|(measure, value)| (measure.metric(part).clone(), *value));
        [(loss, self.loss), (error, self.error)].into_iter().chain(further).collect()
    }
}

impl EpochReport {
    /// What was measured, by name. A part that was not looked at gives no metric.
    #[must_use]
    pub fn metrics(&self, measures: &[Reported]) -> Metrics {
        let own = [(MetricName::LEARNING_RATE, self.learning_rate), (MetricName::TRAINING_LOSS, self.training_loss)];
        let mut metrics = Metrics::from_iter(own);
        for (part, score) in [(Part::Validation, self.validation), (Part::Test, self.test)] {
            if let Some(score) = score {
                score.metrics(part, measures).iter().for_each(|(name, value)| metrics.set(name.clone(), value));
            }
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::measure::Measure;

    use super::*;

    #[test]
    fn an_epoch_gives_the_metrics_of_the_parts_that_were_looked_at() {
        let test = Some(Score { loss: 3.0, error: 4.0, further: [5.0].into_iter().collect() });
        let report = EpochReport { epoch: 1, learning_rate: 1.0, training_loss: 2.0, validation: None, test };
        let metrics = report.metrics(&[Reported::new(Measure::F1, "f1").unwrap()]);
        let shown: Vec<_> = metrics.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let own = [("learning_rate", 1.0), ("training_loss", 2.0)];
        assert_eq!(shown, [&own[..], &[("test_loss", 3.0), ("test_error", 4.0), ("test_f1", 5.0)]].concat());
    }

    #[test]
    fn a_score_is_named_by_its_part() {
        let score = Score { loss: 1.0, error: 2.0, further: Further::default() };
        for part in [Part::Train, Part::Validation, Part::Test] {
            let names = [format!("{part}_loss"), format!("{part}_error")];
            let metrics = score.metrics(part, &[]);
            assert_eq!(metrics.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>(), names);
        }
    }
}
