//! Trials that train nothing: each waits for a given or a recorded time and reports given metrics, so that scheduling
//! can be measured by itself. In two forms: as a study has it ([`ReplayDescription`]), and as one trial does it
//! ([`Replay`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::ids::TrialId;
use crate::metrics::{EpochReport, Score};
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
    /// What the trials of an earlier run took and gave: trial `n` is row `n`.
    Recorded(Vec<Replay>),
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// From start to end, spread evenly over the epochs; one that diverges is among them.
    pub wait: Duration,
    /// Epochs that are completed.
    pub epochs: u32,
    /// How it ends.
    pub end: ReplayEnd,
}

/// How a replayed trial ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ReplayEnd {
    /// With the epoch that counts, one of the completed.
    Complete(EpochReport),
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
            Self::Recorded(trials) => {
                let recorded = trials.len();
                let replay = trials.get(trial.0 as usize).ok_or(ReplayError::NotRecorded { trial, recorded })?;
                if replay.is_possible() { Ok(*replay) } else { Err(ReplayError::Impossible { trial }) }
            }
        }
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
        let counted = EpochReport {
            epoch: epochs,
            learning_rate: 0.0, // nothing is learned
            training_loss: error,
            validation: Some(Score { loss: error, error }),
            test: None,
        };
        let wait = Duration::from_secs_f64(seconds) * epochs;
        Ok(Replay { wait, epochs, end: ReplayEnd::Complete(counted) })
    }
}

impl Replay {
    /// Epochs that are begun: one that diverges is not completed.
    #[must_use]
    pub fn epochs_begun(&self) -> u32 {
        match self.end {
            ReplayEnd::Complete(_) => self.epochs,
            ReplayEnd::Diverged => self.epochs.saturating_add(1),
        }
    }

    /// Whether a run can have left this: the description comes over the wire.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let counts = match self.end {
            ReplayEnd::Complete(counted) => (1..=self.epochs).contains(&counted.epoch),
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
        let report =
            EpochReport { epoch: counted, learning_rate: 0.0, training_loss: 0.5, validation: None, test: None };
        Replay { wait: Duration::from_secs(1), epochs, end: ReplayEnd::Complete(report) }
    }

    #[test]
    fn a_given_replay_takes_its_seconds_for_each_epoch_and_ends_with_its_error() {
        let given = GivenReplay {
            seconds: Setting::Fixed(0.1),
            epochs: Setting::Searched("n".into()),
            error: Setting::Fixed(0.25),
        };
        let configuration = Configuration([("n".to_owned(), Value::Integer(7))].into());
        let replay = ReplayDescription::Given(given).resolve(TrialId(99), &configuration).unwrap();
        assert_eq!((replay.wait, replay.epochs_begun()), (Duration::from_millis(700), 7));
        let ReplayEnd::Complete(counted) = replay.end else { panic!("{replay:?}") };
        assert_eq!((counted.epoch, counted.validation), (7, Some(Score { loss: 0.25, error: 0.25 })));
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
        let description = ReplayDescription::Recorded(rows);
        let resolved = |trial| description.resolve(TrialId(trial), &Configuration::default());
        assert_eq!(resolved(0), Ok(recorded(3, 2)));
        for trial in 1..5 {
            assert_eq!(resolved(trial), Err(ReplayError::Impossible { trial: TrialId(trial) }));
        }
        assert_eq!(resolved(5), Err(ReplayError::NotRecorded { trial: TrialId(5), recorded: 5 }));
    }

    #[test]
    fn the_longest_recording_fits_what_one_may_decode_to() {
        let mut row = recorded(100_000, 1);
        let ReplayEnd::Complete(counted) = &mut row.end else { panic!("{row:?}") };
        (counted.validation, counted.test) =
            (Some(Score { loss: 1.0, error: 1.0 }), Some(Score { loss: 1.0, error: 1.0 }));
        let bytes = codec::encode(&row).unwrap().len();
        assert!(bytes * RECORDED_MAX < codec::DECODED_BYTES_MAX / 3 * 2, "{bytes} bytes a trial");
    }
}
