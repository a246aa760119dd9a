//! What a run leaves behind, as plain data: the run loop fills it, tables, files and digests read it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::{ExecutorId, TrialId};
use broadsweep_common::metrics::{EpochReport, Score};
use broadsweep_common::model::Loss;
use broadsweep_common::task::Select;
use serde::{Deserialize, Serialize};

use super::attempt::{AttemptEnd, AttemptRecord};
use super::standing::StandingSince;

/// One trial: its configuration, what it reported, and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialRecord {
    /// Which trial this is.
    pub trial: TrialId,
    /// Its values.
    pub configuration: Configuration,
    /// What it was forecast to cost, in a unit of the study's own: FLOPs, or what a replay waits.
    pub cost: u64,
    /// Epochs that it has at most; equal shares of its cost.
    pub epochs_max: u32,
    /// How it ended.
    pub outcome: TrialOutcome,
    /// What it reported, one entry an epoch, in order.
    pub epochs: Vec<EpochReport>,
    /// Attempts that were launched for it.
    pub attempts: u32,
    /// Address of the executor where it ended.
    pub executor: Option<String>,
    /// Seconds spent in training, as its executor measured them.
    pub training_s: f64,
    /// Seconds spent in measuring errors, likewise.
    pub evaluation_s: f64,
    /// Seconds from the run's start to the launch of its first attempt, by the driver's clock.
    pub started_s: f64,
    /// Seconds from the run's start to its end, by the driver's clock.
    pub ended_s: f64,
    /// The final look at the test rows, for the best and the control; or the counted epoch's, where every trial
    /// looks at them.
    pub test: Option<Score>,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq)]
pub enum TrialOutcome {
    /// With a result: the epoch that counts.
    Finished(EpochReport),
    /// A loss was NaN or infinite. A result, not a failure.
    Diverged {
        /// The epoch in which it happened, counted from 1.
        epoch: u32,
    },
    /// It failed, or lost its executors, too often.
    GivenUp {
        /// Why, for people.
        reason: String,
    },
    /// Not at all: the run was interrupted before, or goes on.
    NotRun,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its driver is at work: what is not there yet may come.
    GoingOn,
    /// Its driver ended before all trials did.
    Interrupted,
    /// All trials have ended, and so have the looks at the test rows after them.
    Over,
}

/// One execution of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// The study's name.
    pub study: String,
    /// The study's seed.
    pub seed: u64,
    /// The part of the data by whose error trials are compared.
    pub select: Select,
    /// What was made small: says whether an error is a fraction or a root mean square.
    pub loss: Loss,
    /// The kernel that every executor used.
    pub kernel: String,
    /// The driver's version.
    pub build: String,
    /// Executors that took part.
    pub executors: u32,
    /// Slots of all executors together.
    pub slots: u32,
    /// How far it is.
    pub stage: Stage,
    /// All trials, in trial order.
    pub trials: Vec<TrialRecord>,
    /// Which trial is the control.
    pub control: Option<TrialId>,
    /// Attempts of all tasks, in the order of tasks and attempts.
    pub attempts: Vec<AttemptRecord>,
    /// What people call the executors, in their order.
    pub executor_names: Vec<String>,
    /// How each of them stood, in order of time; before the first of its entries it was not there.
    pub presence: Vec<Vec<StandingSince>>,
    /// Epochs that were trained by a second attempt after a first one had reported them.
    pub epochs_repeated: u64,
    /// Seconds from the run's start to its end, or to the last that is known of it.
    pub wall_s: f64,
    /// What it took to bring the data to the executors.
    pub broadcast: Broadcast,
}

/// What it took to bring the data to the executors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Broadcast {
    /// Bytes of one copy as it is on the wire: encoded as what was sent, or raw if nothing was.
    pub data_bytes: u64,
    /// Bytes of one copy as it is in memory and in caches.
    pub data_raw_bytes: u64,
    /// Encoded block bytes that the driver put on the wire, resends included.
    pub sent_bytes: u64,
    /// Encoded block bytes that executors fetched from each other.
    pub from_peers_bytes: u64,
    /// Bytes that executors had in their caches, where nothing is encoded.
    pub from_cache_bytes: u64,
    /// Seconds from the first block to the last executor that became ready.
    pub wall_s: f64,
}

/// How many trials ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All trials.
    pub planned: usize,
    /// With a result.
    pub finished: usize,
    /// Given up.
    pub failed: usize,
    /// With a loss that was NaN or infinite.
    pub diverged: usize,
    /// Not ended: the run was interrupted before, or goes on.
    pub not_run: usize,
}

impl TrialRecord {
    /// The epoch that counts, if the trial has a result.
    #[must_use]
    pub fn counted(&self) -> Option<&EpochReport> {
        match &self.outcome {
            TrialOutcome::Finished(report) => Some(report),
            TrialOutcome::Diverged { .. } | TrialOutcome::GivenUp { .. } | TrialOutcome::NotRun => None,
        }
    }

    /// The score on the test rows, if they were looked at.
    #[must_use]
    pub fn tested(&self) -> Option<Score> {
        self.test.or_else(|| self.counted().and_then(|report| report.test))
    }

    /// The error by which this trial is compared with others; `None` without a result, and never NaN.
    #[must_use]
    pub fn selected_error(&self, select: Select) -> Option<f64> {
        let score = match select {
            Select::Validation => self.counted()?.validation,
            Select::Test => self.counted()?.test,
        };
        score.map(|score| score.error).filter(|error| !error.is_nan())
    }
}

impl RunRecord {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// The trials that can be compared, best first. Of equal errors, the lower trial stands first.
    #[must_use]
    pub fn ranking(&self) -> Vec<&TrialRecord> {
        let mut ranked: Vec<(f64, &TrialRecord)> = self
            .trials
            .iter()
            .filter_map(|trial| trial.selected_error(self.select).map(|error| (error, trial)))
            .collect();
        ranked.sort_by(|(error, trial), (other_error, other)| {
            (error, trial.trial).partial_cmp(&(other_error, other.trial)).unwrap_or(Ordering::Equal)
        });
        ranked.into_iter().map(|(_, trial)| trial).collect()
    }

    /// The trial with the least selected error; of equal ones, the lowest. The control takes part.
    #[must_use]
    pub fn best(&self) -> Option<&TrialRecord> {
        self.ranking().first().copied()
    }

    /// What people call an executor.
    #[must_use]
    pub fn executor_name(&self, executor: ExecutorId) -> &str {
        self.executor_names.get(executor.0 as usize).map_or("an unknown executor", String::as_str)
    }

    /// The control's trial.
    #[must_use]
    pub fn control_trial(&self) -> Option<&TrialRecord> {
        self.trials.iter().find(|trial| Some(trial.trial) == self.control)
    }

    /// Looks at the test rows that were begun and given up.
    #[must_use]
    pub fn unmeasured(&self) -> usize {
        let measures = self.attempts.iter().filter(|attempt| attempt.attempt.task.0 as usize >= self.trials.len());
        let mut completed = BTreeMap::new();
        for attempt in measures {
            *completed.entry(attempt.attempt.task).or_insert(false) |= attempt.end == Some(AttemptEnd::Completed);
        }
        completed.into_values().filter(|is_completed| !is_completed).count()
    }

    /// How much lower the best's test error is than the control's, as a fraction of the control's; below 0 where
    /// it is higher. `None` unless both were tested, and where the control's error is 0.
    #[must_use]
    pub fn error_reduction(&self) -> Option<f64> {
        let best = self.best()?.tested()?.error;
        let control = self.control_trial()?.tested()?.error;
        let reduction = 1.0 - best / control;
        reduction.is_finite().then_some(reduction)
    }

    /// How many trials ended in which way.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { planned: self.trials.len(), ..Counts::default() };
        for trial in &self.trials {
            match trial.outcome {
                TrialOutcome::Finished(_) => counts.finished += 1,
                TrialOutcome::Diverged { .. } => counts.diverged += 1,
                TrialOutcome::GivenUp { .. } => counts.failed += 1,
                TrialOutcome::NotRun => counts.not_run += 1,
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixtures::{diverged, finished, given_up, not_run, run, score, tested};

    #[test]
    fn the_best_has_the_least_selected_error() {
        let record = run(vec![finished(0, 0.03), finished(1, 0.01), finished(2, 0.02)]);
        assert_eq!(record.best().unwrap().trial, TrialId(1));
        let order: Vec<u32> = record.ranking().iter().map(|trial| trial.trial.0).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn of_equal_errors_the_lower_trial_is_best_even_with_a_negative_zero() {
        let record = run(vec![finished(0, 0.2), finished(1, 0.0), finished(2, -0.0), finished(3, 0.0)]);
        assert_eq!(record.best().unwrap().trial, TrialId(1));
    }

    #[test]
    fn neither_a_nan_nor_an_unfinished_trial_is_ever_best() {
        let record =
            run(vec![finished(0, f64::NAN), diverged(1, 1), given_up(2, "lost"), not_run(3), finished(4, 0.9)]);
        assert_eq!(record.best().unwrap().trial, TrialId(4));
        let record = run(vec![finished(0, f64::NAN), diverged(1, 1), given_up(2, "lost"), not_run(3)]);
        assert_eq!(record.best(), None);
    }

    #[test]
    fn the_test_error_chooses_only_where_the_study_says_so() {
        let mut trials = vec![finished(0, 0.1), finished(1, 0.2)];
        for (trial, error) in trials.iter_mut().zip([0.5, 0.4]) {
            let TrialOutcome::Finished(report) = &mut trial.outcome else { panic!("not finished") };
            report.test = Some(score(error));
        }
        let mut record = run(trials);
        assert_eq!(record.best().unwrap().trial, TrialId(0));
        record.select = Select::Test;
        assert_eq!(record.best().unwrap().trial, TrialId(1));
    }

    #[test]
    fn the_reduction_is_a_fraction_of_the_controls_test_error() {
        let mut record = run(vec![tested(finished(0, 0.04), 0.04), tested(finished(1, 0.02), 0.03)]);
        record.control = Some(TrialId(0));
        assert!((record.error_reduction().unwrap() - 0.25).abs() < 1e-12);
        record.trials[1].test = Some(score(0.05));
        assert!((record.error_reduction().unwrap() + 0.25).abs() < 1e-12);
    }

    #[test]
    fn there_is_no_reduction_without_a_control_that_was_tested_and_erred() {
        let trials = vec![tested(finished(0, 0.04), 0.04), tested(finished(1, 0.02), 0.03)];
        assert_eq!(run(trials.clone()).error_reduction(), None, "no control");
        let with_control = |trials| RunRecord { control: Some(TrialId(0)), ..run(trials) };
        assert_eq!(with_control(vec![finished(0, 0.04), trials[1].clone()]).error_reduction(), None, "control");
        assert_eq!(with_control(vec![trials[0].clone(), finished(1, 0.02)]).error_reduction(), None, "best");
        for error in [0.0, f64::NAN] {
            let control = tested(finished(0, 0.04), error);
            assert_eq!(with_control(vec![control, trials[1].clone()]).error_reduction(), None, "{error}");
        }
        let perfect = vec![tested(finished(0, 0.0), 0.0)];
        assert_eq!(with_control(perfect).error_reduction(), None, "0 of 0");
    }

    #[test]
    fn every_trial_is_counted_once() {
        let record = run(vec![finished(0, 0.1), finished(1, 0.1), diverged(2, 1), given_up(3, "x"), not_run(4)]);
        let counts = Counts { planned: 5, finished: 2, failed: 1, diverged: 1, not_run: 1 };
        assert_eq!(record.counts(), counts);
    }
}
