//! What a run leaves behind, as plain data: the run loop fills it, tables, files and digests read it.

use std::collections::{BTreeMap, BTreeSet};
use std::ptr;

use broadsweep_common::attempt::Used;
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::Part;
use broadsweep_common::details::Details;
use broadsweep_common::ids::{ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::{MetricName, Metrics, Objective};
use broadsweep_common::model::Loss;
use broadsweep_search::ranking::{self, Objectives, Values};
use serde::{Deserialize, Serialize};

use super::answers::AnswersRecord;
use super::attempt::AttemptRecord;
use super::change::ChangeRecord;
use super::counts::PartitionCounts;
use super::curves::Curves;
use super::difference::{DifferenceRecord, Odd};
use super::searched::SearchRecord;
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
    /// The epochs after which it paused and was continued.
    pub rungs: Vec<u32>,
    /// What it reported, epoch by epoch.
    pub curves: Curves,
    /// Attempts that were launched for it.
    pub attempts: u32,
    /// The executor where it ended.
    pub executor: Option<ExecutorId>,
    /// Seconds spent in training, as its executor measured them.
    pub training_s: f64,
    /// Seconds spent in measuring errors, likewise.
    pub evaluation_s: f64,
    /// What its programs used, those of all attempts together.
    pub used: Option<Used>,
    /// Seconds from the run's start to the launch of its first attempt, by the driver's clock.
    pub started_s: f64,
    /// Seconds from the run's start to its end, by the driver's clock.
    pub ended_s: f64,
    /// The last look at the test rows after the search, for the best and the control; empty where there was none.
    pub measured: Metrics,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq)]
pub enum TrialOutcome {
    /// With a result.
    Finished {
        /// The epoch that counts, from 1.
        epoch: u32,
    },
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
    /// It has paused after this epoch, and nobody has continued it.
    Paused {
        /// Counted from 1.
        epoch: u32,
    },
    /// Not at all: the run was interrupted before, or goes on.
    NotRun,
    /// Not at all, and nobody waits for it: the run was stopped before it began.
    LeftOut,
}

/// What a closer look told.
#[derive(Clone, Debug, PartialEq)]
pub struct DetailsRecord {
    /// At whose answers.
    pub trial: TrialId,
    /// To which rows.
    pub part: Part,
    /// What was seen.
    pub details: Details,
}

/// What a task was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To train a trial, or a segment of it.
    Training(TrialId),
    /// To train a trial once more, since two executors told different numbers of it.
    Check(TrialId),
    /// To look at the test rows with the weights of a trial.
    Measurement(TrialId),
    /// To look closely at what the weights of a trial answer to a part of the data.
    Examination(TrialId, Part),
    /// To apply the model to a partition of the input.
    Application {
        /// Its number, from 0.
        partition: u32,
    },
}

impl Purpose {
    /// The trial that it is about; `None` for a partition of the input.
    #[must_use]
    pub fn trial(self) -> Option<TrialId> {
        match self {
            Self::Training(trial) | Self::Check(trial) | Self::Measurement(trial) | Self::Examination(trial, _) => {
                Some(trial)
            }
            Self::Application { .. } => None,
        }
    }
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
    /// What trials are ranked by.
    pub objectives: Objectives,
    /// The search, if it saw results; `None` if all was decided before anything was trained.
    pub search: Option<SearchRecord>,
    /// The learning rates of a network's trials, ascending, where no trial has a result: what to try follows from them.
    pub learning_rates: Vec<f64>,
    /// What the data calls its classes, as far as that is known.
    pub class_names: Vec<String>,
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
    /// What the closer looks at the best told, the validation rows first.
    pub details: Vec<DetailsRecord>,
    /// What each task was for, in the order of their numbers.
    pub tasks: Vec<Purpose>,
    /// How far a model was applied; all zeros where trials are trained.
    pub partitions: PartitionCounts,
    /// What the model answered, once that is an output.
    pub answers: Option<AnswersRecord>,
    /// Which trial is the control.
    pub control: Option<TrialId>,
    /// Attempts of all tasks, in the order of tasks and attempts.
    pub attempts: Vec<AttemptRecord>,
    /// What people call the executors, in their order.
    pub executor_names: Vec<String>,
    /// How each of them stood, in order of time; before the first of its entries it was not there.
    pub standings: Vec<Vec<StandingSince>>,
    /// Epochs that were trained by a second attempt after a first one had reported them.
    pub epochs_repeated: u64,
    /// What people, or the clock, changed about it, in order.
    pub changes: Vec<ChangeRecord>,
    /// Where executors told different numbers.
    pub differences: Vec<DifferenceRecord>,
    /// Seconds from the run's start to its end, or to the last that is known of it.
    pub wall_s: f64,
    /// What it took to bring the data to the executors.
    pub broadcast: BroadcastRecord,
}

/// What it took to bring the data to the executors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BroadcastRecord {
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

impl TrialRecord {
    /// The epoch that counts, if the trial has a result.
    #[must_use]
    pub fn counted(&self) -> Option<u32> {
        match self.outcome {
            TrialOutcome::Finished { epoch } => Some(epoch),
            TrialOutcome::Diverged { .. }
            | TrialOutcome::GivenUp { .. }
            | TrialOutcome::Paused { .. }
            | TrialOutcome::NotRun
            | TrialOutcome::LeftOut => None,
        }
    }

    /// The trial's value of a metric: that of the last look after the search, or else of the epoch that counts.
    #[must_use]
    pub fn metric(&self, name: &MetricName) -> Option<f64> {
        self.measured.get(name).or_else(|| self.at_counted(name))
    }

    /// The epoch whose metrics are told of the trial: the one that counts, or the last one of a trial that paused, whose
    /// metrics are no result, and rank nobody.
    #[must_use]
    pub fn told_epoch(&self) -> Option<u32> {
        match self.outcome {
            TrialOutcome::Paused { epoch } => Some(epoch),
            TrialOutcome::Finished { .. }
            | TrialOutcome::Diverged { .. }
            | TrialOutcome::GivenUp { .. }
            | TrialOutcome::NotRun
            | TrialOutcome::LeftOut => self.counted(),
        }
    }

    /// The value of a metric that is told of the trial: as [`Self::metric`], but of a trial that paused, that of its last
    /// epoch.
    #[must_use]
    pub fn told_metric(&self, name: &MetricName) -> Option<f64> {
        self.measured.get(name).or_else(|| self.curves.get(self.told_epoch()?, name))
    }

    /// The value of a metric at the epoch that counts.
    #[must_use]
    pub fn at_counted(&self, name: &MetricName) -> Option<f64> {
        self.curves.get(self.counted()?, name)
    }
}

impl RunRecord {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// The value by which a trial is ranked, if it has one: whoever is looked at again later is still ranked by what
    /// all trials were.
    #[must_use]
    pub fn value_of(&self, trial: &TrialRecord) -> Option<f64> {
        trial.at_counted(&self.objective().metric)
    }

    /// That, and the values that decide where it ties.
    #[must_use]
    pub fn values_of(&self, trial: &TrialRecord) -> Option<Values> {
        self.objectives.values(|metric| trial.at_counted(metric))
    }

    /// What trials are ranked by first.
    #[must_use]
    pub fn objective(&self) -> &Objective {
        self.objectives.first()
    }

    /// The trials that can be compared, best first; those whose value is NaN come last.
    #[must_use]
    pub fn ranking(&self) -> Vec<&TrialRecord> {
        let valued = self.trials.iter().filter_map(|trial| Some((self.values_of(trial)?, trial)));
        let mut ranked: Vec<(Values, &TrialRecord)> = valued.collect();
        ranking::sort(&self.objectives, &mut ranked, |(value, trial)| (trial.trial, *value));
        ranked.into_iter().map(|(_, trial)| trial).collect()
    }

    /// The trial with the best value. The control takes part.
    #[must_use]
    pub fn best(&self) -> Option<&TrialRecord> {
        let valued = self.trials.iter().map(|trial| (trial.trial, self.values_of(trial)));
        let (best, _) = ranking::best(&self.objectives, valued)?;
        self.trials.iter().find(|trial| trial.trial == best)
    }

    /// Whether the test rows choose the best: then what they say of it is no estimate for new data.
    #[must_use]
    pub fn is_chosen_by_test_rows(&self) -> bool {
        self.objective().metric.as_str().starts_with("test_")
    }

    /// The metrics that some trial has, in the order of their names.
    #[must_use]
    pub fn metric_names(&self) -> BTreeSet<MetricName> {
        let mut names = BTreeSet::new();
        let mut known: &[MetricName] = &[];
        for trial in &self.trials {
            // Nearly all trials share one list.
            if !ptr::eq(trial.curves.names(), known) {
                known = trial.curves.names();
                names.extend(known.iter().cloned());
            }
            names.extend(trial.measured.iter().map(|(name, _)| name.clone()));
        }
        names
    }

    /// What a task was for.
    #[must_use]
    pub fn purpose_of(&self, task: TaskId) -> Option<Purpose> {
        self.tasks.get(task.0 as usize).copied()
    }

    /// The trial that a task trains; `None` if it does something else.
    #[must_use]
    pub fn trained_by(&self, task: TaskId) -> Option<&TrialRecord> {
        match self.purpose_of(task)? {
            Purpose::Training(trial) => self.trials.get(trial.0 as usize),
            Purpose::Check(_) | Purpose::Measurement(_) | Purpose::Examination(..) | Purpose::Application { .. } => {
                None
            }
        }
    }

    /// Whether a task trains a trial once more, only to see who is right.
    #[must_use]
    pub fn is_check(&self, task: TaskId) -> bool {
        matches!(self.purpose_of(task), Some(Purpose::Check(_)))
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

    /// Whether numbers that stand are wrong, or may be: an executor told others, and none was found to be wrong itself.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.differences.iter().any(|difference| match difference.odd {
            Odd::First | Odd::Unknown => true,
            Odd::Sought => self.is_over(),
            Odd::Other => false,
        })
    }

    /// Looks at the test rows that were begun and given up.
    #[must_use]
    pub fn unmeasured(&self) -> usize {
        let measures = self
            .attempts
            .iter()
            .filter(|attempt| matches!(self.purpose_of(attempt.attempt.task), Some(Purpose::Measurement(_))));
        let mut completed = BTreeMap::new();
        for attempt in measures {
            *completed.entry(attempt.attempt.task).or_insert(false) |= attempt.has_result();
        }
        completed.into_values().filter(|is_completed| !is_completed).count()
    }

    /// How much lower the best's test error is than the control's, as a fraction of the control's; below 0 where
    /// it is higher. `None` unless both were tested, and where the control's error is 0.
    #[must_use]
    pub fn error_reduction(&self) -> Option<f64> {
        let best = self.best()?.metric(&MetricName::TEST_ERROR)?;
        let control = self.control_trial()?.metric(&MetricName::TEST_ERROR)?;
        let reduction = 1.0 - best / control;
        reduction.is_finite().then_some(reduction)
    }

    /// How many trials there may be at most, while a search decides on more; `None` once all are there.
    #[must_use]
    pub fn trials_at_most(&self) -> Option<u64> {
        let search = self.search.as_ref().filter(|search| !self.is_over() && !search.has_ended())?;
        Some(search.trials_max.max(self.trials.len() as u64))
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
