//! Trials that train nothing: each waits for a given or a recorded time and reports given metrics, so that scheduling
//! can be measured by itself. In two forms: as a study has it ([`ReplayDescription`]), and as one trial does it
//! ([`Replay`]).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::ids::TrialId;
use crate::metrics::{METRICS_MAX, MetricName, Metrics};
use crate::setting::{Bounds, Setting, SettingError};
use crate::training::EPOCHS;

/// Seconds that an epoch, or a recorded trial, may take.
pub const SECONDS: Bounds<f64> = Bounds::Within(0.0, 1e8);
/// The validation error of a replay's last epoch: a fraction.
pub const ERROR: Bounds<f64> = Bounds::Within(0.0, 1.0);
/// What recorded waits are divided by.
pub const SPEED: Bounds<f64> = Bounds::Within(1e-3, 1e6);
/// Trials of one recording: they travel with the study's description, and this many fit what one may decode to.
pub const RECORDED_MAX: usize = 500_000;

/// Longest wait of one trial that an executor accepts.
const WAIT_MAX: Duration = Duration::from_secs(10_000_000_000_000);

/// The waits and metrics of a study's trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ReplayDescription {
    /// What the study says, the same for each trial but for what is searched.
    Given(GivenReplay),
    /// What the trials of an earlier run took and gave.
    Recorded(Recording),
}

/// What the trials of an earlier run took and gave: trial `n` is row `n`. Names of metrics are held once, not in each
/// row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    metrics: Vec<MetricName>,
    trials: Vec<RecordedTrial>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RecordedTrial {
    wait: Duration,
    epochs: u32,
    /// The epoch that counts; `None` if the trial diverged.
    counted: Option<u32>,
    /// What that epoch measured, in the order of the names.
    values: Vec<Option<f64>>,
}

/// Waits and metrics as a study writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GivenReplay {
    /// Of one epoch.
    pub seconds: Setting<f64>,
    /// How many there are.
    pub epochs: Setting<u32>,
    /// The validation error of the last one.
    pub error: Setting<f64>,
}

/// What one trial takes and reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// From start to end, spread evenly over the epochs; one that diverges is among them.
    pub wait: Duration,
    /// Epochs that are completed.
    pub epochs: u32,
    /// How it ends.
    pub end: ReplayEnd,
}

/// How a replayed trial ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ReplayEnd {
    /// With the epoch that counts, one of the completed.
    Complete {
        /// Which one that is.
        epoch: u32,
        /// What it measured.
        metrics: Metrics,
    },
    /// In the epoch after the completed ones.
    Diverged,
}

/// Why a trial cannot be replayed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// A setting has no usable value.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The recording ends before.
    #[error("{trial} is not among the {recorded} recorded trials")]
    NotRecorded {
        /// Which trial.
        trial: TrialId,
        /// How many there are.
        recorded: usize,
    },
    /// No run leaves such a row.
    #[error("{trial} is recorded with an impossible time, or with epochs that contradict each other")]
    Impossible {
        /// Which trial.
        trial: TrialId,
    },
}

impl ReplayDescription {
    /// What trial number `trial` takes and reports under `configuration`.
    ///
    /// # Errors
    /// [`ReplayError`]; never for a description that a checked study gave.
    pub fn resolve(&self, trial: TrialId, configuration: &Configuration) -> Result<Replay, ReplayError> {
        match self {
            Self::Given(given) => Ok(given.resolve(configuration)?),
            Self::Recorded(recording) => {
                let recorded = recording.trials.len();
                let replay = recording.replay_of(trial).ok_or(ReplayError::NotRecorded { trial, recorded })?;
                if replay.is_possible() { Ok(replay) } else { Err(ReplayError::Impossible { trial }) }
            }
        }
    }

    /// How many trials are recorded.
    #[must_use]
    pub fn recorded(&self) -> usize {
        match self {
            Self::Given(_) => 0,
            Self::Recorded(recording) => recording.trials.len(),
        }
    }
}

impl Recording {
    /// What these trials took and gave, the first of them trial 0.
    #[must_use]
    pub fn of(replays: Vec<Replay>) -> Self {
        let names: BTreeSet<&MetricName> = replays.iter().flat_map(Replay::metrics).map(|(name, _)| name).collect();
        let metrics: Vec<MetricName> = names.into_iter().cloned().collect();
        let row = |replay: Replay| RecordedTrial {
            wait: replay.wait,
            epochs: replay.epochs,
            counted: match replay.end {
                ReplayEnd::Complete { epoch, .. } => Some(epoch),
                ReplayEnd::Diverged => None,
            },
            values: match replay.end {
                ReplayEnd::Complete { metrics: counted, .. } => {
                    metrics.iter().map(|name| counted.get(name)).collect()
                }
                ReplayEnd::Diverged => Vec::new(),
            },
        };
        let trials = replays.into_iter().map(row).collect();
        Self { metrics, trials }
    }

    fn replay_of(&self, trial: TrialId) -> Option<Replay> {
        let RecordedTrial { wait, epochs, counted, values } = self.trials.get(trial.0 as usize)?;
        let measured = self.metrics.iter().zip(values).take(METRICS_MAX);
        let metrics = measured.filter_map(|(name, value)| Some((name.clone(), (*value)?)));
        let end = match counted {
            Some(epoch) => ReplayEnd::Complete { epoch: *epoch, metrics: metrics.collect() },
            None => ReplayEnd::Diverged,
        };
        Some(Replay { wait: *wait, epochs: *epochs, end })
    }
}

impl GivenReplay {
    /// What a trial takes and reports under `configuration`.
    ///
    /// # Errors
    /// [`SettingError`], if a value is missing, of another kind or out of range.
    pub fn resolve(&self, configuration: &Configuration) -> Result<Replay, SettingError> {
        let seconds = SECONDS.check(self.seconds.resolve(configuration, "seconds")?, "seconds")?;
        let epochs = EPOCHS.check(self.epochs.resolve(configuration, "epochs")?, "epochs")?;
        let error = ERROR.check(self.error.resolve(configuration, "error")?, "error")?;
        let metrics = Metrics::from_iter([
            (MetricName::LEARNING_RATE, 0.0), // nothing is learned
            (MetricName::TRAINING_LOSS, error),
            (MetricName::VALIDATION_LOSS, error),
            (MetricName::VALIDATION_ERROR, error),
        ]);
        let wait = Duration::from_secs_f64(seconds) * epochs;
        Ok(Replay { wait, epochs, end: ReplayEnd::Complete { epoch: epochs, metrics } })
    }
}

impl Replay {
    /// What the epoch that counts measured.
    fn metrics(&self) -> impl Iterator<Item = (&MetricName, f64)> {
        let counted = match &self.end {
            ReplayEnd::Complete { metrics, .. } => Some(metrics),
            ReplayEnd::Diverged => None,
        };
        counted.into_iter().flat_map(Metrics::iter)
    }

    /// Epochs that are begun: one that diverges is not completed.
    #[must_use]
    pub fn epochs_begun(&self) -> u32 {
        match self.end {
            ReplayEnd::Complete { .. } => self.epochs,
            ReplayEnd::Diverged => self.epochs.saturating_add(1),
        }
    }

    /// Whether a run can have left this: the description comes over the wire.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let counts = match self.end {
            ReplayEnd::Complete { epoch, .. } => (1..=self.epochs).contains(&epoch),
            ReplayEnd::Diverged => true,
        };
        counts && EPOCHS.hold(self.epochs_begun()) && self.wait <= WAIT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use crate::configuration::Value;

    fn recorded(epochs: u32, counted: u32) -> Replay {
        let metrics = Metrics::from_iter([(MetricName::LEARNING_RATE, 0.0), (MetricName::TRAINING_LOSS, 0.5)]);
        Replay { wait: Duration::from_secs(1), epochs, end: ReplayEnd::Complete { epoch: counted, metrics } }
    }

    #[test]
    fn a_given_replay_takes_its_seconds_for_each_epoch_and_ends_with_its_error() {
        let given = GivenReplay {
            seconds: Setting::Fixed(0.1),
            epochs: Setting::Searched("n".into()),
            error: Setting::Fixed(0.25),
        };
        let configuration = Configuration::from_iter([("n", Value::Integer(7))]);
        let replay = ReplayDescription::Given(given).resolve(TrialId(99), &configuration).unwrap();
        assert_eq!((replay.wait, replay.epochs_begun()), (Duration::from_millis(700), 7));
        let ReplayEnd::Complete { epoch, metrics } = replay.end else { panic!("{replay:?}") };
        let shown: Vec<_> = metrics.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let expected =
            [("learning_rate", 0.0), ("training_loss", 0.25), ("validation_loss", 0.25), ("validation_error", 0.25)];
        assert_eq!((epoch, &shown[..]), (7, &expected[..]));
    }

    #[test]
    fn values_that_no_checked_study_has_are_refused() {
        let fixed = |seconds, epochs, error| GivenReplay {
            seconds: Setting::Fixed(seconds),
            epochs: Setting::Fixed(epochs),
            error: Setting::Fixed(error),
        };
        for (seconds, epochs, error) in
            [(-1.0, 1, 0.0), (f64::NAN, 1, 0.0), (1e9, 1, 0.0), (0.0, 0, 0.0), (0.0, 1, 1.5), (0.0, 1, f64::NAN)]
        {
            let refused = fixed(seconds, epochs, error).resolve(&Configuration::default()).unwrap_err();
            assert!(matches!(refused, SettingError::Range { .. }), "{refused}");
        }
    }

    #[test]
    fn a_recorded_trial_is_found_by_its_number_and_has_to_make_sense() {
        let endless = Replay { wait: Duration::MAX, ..recorded(1, 1) };
        let never = Replay { end: ReplayEnd::Diverged, ..recorded(u32::MAX, 1) };
        let rows = vec![recorded(3, 2), recorded(3, 4), recorded(3, 0), endless, never];
        let description = ReplayDescription::Recorded(Recording::of(rows));
        let resolved = |trial| description.resolve(TrialId(trial), &Configuration::default());
        assert_eq!(resolved(0), Ok(recorded(3, 2)));
        for trial in 1..5 {
            assert_eq!(resolved(trial), Err(ReplayError::Impossible { trial: TrialId(trial) }));
        }
        assert_eq!(resolved(5), Err(ReplayError::NotRecorded { trial: TrialId(5), recorded: 5 }));
    }

    #[test]
    fn a_recording_gives_back_the_metrics_of_each_trial_also_where_they_differ() {
        let given = |names: &[MetricName]| {
            let metrics = names.iter().cloned().zip([f64::NAN, -0.0]).collect();
            Replay { wait: Duration::from_secs(1), epochs: 1, end: ReplayEnd::Complete { epoch: 1, metrics } }
        };
        let own = MetricName::new("auc").unwrap();
        let diverged = Replay { wait: Duration::ZERO, epochs: 0, end: ReplayEnd::Diverged };
        let rows = vec![given(&[MetricName::TEST_LOSS, MetricName::TEST_ERROR]), diverged, given(&[own]), given(&[])];
        let recording: Recording = codec::decode(&codec::encode(&Recording::of(rows.clone())).unwrap()).unwrap();
        for (row, number) in rows.iter().zip(0..) {
            assert_eq!(recording.replay_of(TrialId(number)).as_ref(), Some(row));
        }
    }

    #[test]
    fn the_longest_recording_fits_what_one_may_decode_to() {
        let all = [
            MetricName::LEARNING_RATE,
            MetricName::TRAINING_LOSS,
            MetricName::VALIDATION_LOSS,
            MetricName::VALIDATION_ERROR,
            MetricName::TEST_LOSS,
            MetricName::TEST_ERROR,
        ];
        let metrics = all.map(|name| (name, 1.0)).into_iter().collect();
        let row =
            Replay { wait: Duration::from_secs(1), epochs: 100_000, end: ReplayEnd::Complete { epoch: 1, metrics } };
        let bytes = |rows: usize| codec::encode(&Recording::of(vec![row.clone(); rows])).unwrap().len();
        let (names, each) = (bytes(0), bytes(2) - bytes(1));
        assert!(names + each * RECORDED_MAX < codec::DECODED_BYTES_MAX / 3 * 2, "{each} bytes a trial");
    }
}
