//! What is known of each task: what the records of the journal add up to. It only records; the scheduler decides.

use std::collections::BTreeMap;

use broadsweep_common::blob::Blob;
use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::{AttemptId, Digest, ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::{EpochReport, Score, canonical_bits};
use broadsweep_common::task::{Select, Task};
use bytes::Bytes;

use super::record::{Begun, Finish, Kept};
use super::task::TaskBook;
use crate::plan::StudyPlan;
use crate::records::attempt::AttemptRecord;
use crate::records::run::Broadcast;
use crate::records::standing::{Standing, StandingSince};
use broadsweep_scheduler::{Cost, Forecast, Moment};

/// The tasks of a run, and the weights that are worth keeping.
pub(super) struct Book {
    pub(super) plan: StudyPlan,
    pub(super) select: Select,
    /// The newest driver.
    pub(super) begun: Option<Begun>,
    /// What people call the executors, in their order.
    pub(super) executors: Vec<String>,
    /// How each of them stood, in order of time.
    pub(super) presence: Vec<Vec<StandingSince>>,
    /// What the broadcast took so far.
    pub(super) broadcast: Broadcast,
    /// The trainings, then the measurements.
    pub(super) tasks: Vec<TaskBook>,
    /// Whose weights the tasks after the trainings measure; `None` until that is planned.
    pub(super) measures: Option<Vec<TrialId>>,
    /// The trial with the least error so far; of equal ones, the first.
    pub(super) best: Option<(f64, TrialId)>,
    /// Weights of the best and of the control.
    pub(super) weights: BTreeMap<TrialId, Blob<Bytes>>,
    /// Epochs that were reported by a second attempt.
    pub(super) repeated: u64,
    /// Attempts that ended with their executor, and those whose program failed.
    pub(super) misfortunes: (u32, u32),
    /// The latest moment that a record tells of.
    pub(super) latest: Moment,
}

/// A report that contradicts what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{trial} reported epoch {epoch} out of turn, or a second time with other numbers; executors of one run have to \
     agree on bits"
)]
pub(super) struct Contradiction {
    trial: TrialId,
    epoch: u32,
}

/// Whether an epoch's report tells something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The attempt has done one more epoch.
    New,
    /// The attempt said so before: its report was handed over twice.
    Before,
}

/// A record that cannot follow those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(pub(super) String);

impl Book {
    pub(super) fn new(plan: StudyPlan, select: Select) -> Self {
        Self {
            select,
            begun: None,
            executors: Vec::new(),
            presence: Vec::new(),
            broadcast: Broadcast::default(),
            tasks: vec![TaskBook::default(); plan.trials.len()],
            measures: None,
            best: None,
            weights: BTreeMap::new(),
            repeated: 0,
            misfortunes: (0, 0),
            latest: Moment::default(),
            plan,
        }
    }

    /// The moment up to which the run is known.
    pub(super) fn latest(&self) -> Moment {
        self.latest
    }

    /// The slots that an executor had last; 0 if it was never ready.
    pub(super) fn slots_of(&self, executor: ExecutorId) -> u32 {
        let presence = self.presence.get(executor.0 as usize).map(Vec::as_slice).unwrap_or_default();
        let slots = presence.iter().rev().find_map(|presence| match presence.standing {
            Standing::Ready { slots } => Some(slots),
            Standing::Gone | Standing::Answering | Standing::Unasked => None,
        });
        slots.unwrap_or_default()
    }

    /// How an executor stands.
    pub(super) fn standing_of(&self, executor: ExecutorId) -> Standing {
        let last = self.presence.get(executor.0 as usize).and_then(|presence| presence.last());
        last.map_or(Standing::Gone, |last| last.standing)
    }

    /// Executors that were ever ready, and their slots.
    pub(super) fn took_part(&self) -> (u32, u32) {
        let slots = (0..self.executors.len() as u32).map(|number| self.slots_of(ExecutorId(number)));
        slots.filter(|slots| *slots > 0).fold((0, 0), |(executors, sum), slots| (executors + 1, sum + slots))
    }

    /// Every task so far, with what it will take: the trainings, then the measurements.
    pub(super) fn forecasts(&self) -> Vec<(TaskId, Forecast)> {
        (0..self.tasks.len() as u32).map(|number| (TaskId(number), self.forecast(TaskId(number)))).collect()
    }

    fn forecast(&self, task: TaskId) -> Forecast {
        let whole = |cost, until_epoch| Forecast { cost: Cost(cost), from_epoch: 0, until_epoch };
        let measured = self.trial_of(task).filter(|_| self.is_measure(task));
        match (self.plan.trials.get(task.0 as usize), measured) {
            (Some(trial), _) => whole(trial.flops, trial.epochs.max(1)),
            (None, Some(trial)) => whole(self.plan.trials[trial.0 as usize].test_flops, 1),
            (None, None) => whole(0, 1),
        }
    }

    /// The trials whose weights are worth a last look at the test rows: the best and the control.
    pub(super) fn candidates(&self) -> Vec<TrialId> {
        self.weights.keys().copied().collect()
    }

    /// Whether that look is planned.
    pub(super) fn measures_are_planned(&self) -> bool {
        self.measures.is_some()
    }

    /// Whether nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        self.measures_are_planned() && self.tasks.iter().all(|task| task.finish.is_some())
    }

    /// How many trials there are.
    pub(super) fn trials(&self) -> usize {
        self.plan.trials.len()
    }

    pub(super) fn task(&self, task: TaskId) -> Option<&TaskBook> {
        self.tasks.get(task.0 as usize)
    }

    pub(super) fn plan(&self) -> &StudyPlan {
        &self.plan
    }

    /// One attempt.
    pub(super) fn attempt(&self, attempt: AttemptId) -> Option<&AttemptRecord> {
        self.task(attempt.task)?.attempts.get((attempt.number as usize).wrapping_sub(1))
    }

    /// The trial that a task belongs to.
    pub(super) fn trial_of(&self, task: TaskId) -> Option<TrialId> {
        let number = task.0 as usize;
        if number < self.plan.trials.len() {
            return Some(TrialId(task.0));
        }
        self.measures.as_ref()?.get(number - self.plan.trials.len()).copied()
    }

    /// Whether a task measures finished weights.
    pub(super) fn is_measure(&self, task: TaskId) -> bool {
        task.0 as usize >= self.plan.trials.len()
    }

    /// What an executor is asked to do for a task, and the weights that it needs for it.
    pub(super) fn work_of(&self, task: TaskId) -> Option<(Task, Option<Blob<Bytes>>)> {
        let trial = self.trial_of(task)?;
        let configuration = self.plan.trials[trial.0 as usize].configuration.clone();
        if !self.is_measure(task) {
            return Some((Task::Train { trial, configuration }, None));
        }
        let weights = self.weights.get(&trial)?.clone();
        Some((Task::Measure { trial, configuration, weights: weights.manifest.digest() }, Some(weights)))
    }

    /// Whether the report of an epoch can be believed, and whether it is news.
    pub(super) fn judge(&self, attempt: AttemptId, report: &EpochReport) -> Result<Seen, Contradiction> {
        let trial = self.trial_of(attempt.task).unwrap_or(TrialId(attempt.task.0));
        let contradiction = Contradiction { trial, epoch: report.epoch };
        let Some((task, record)) = self.task(attempt.task).zip(self.attempt(attempt)) else {
            return Err(contradiction);
        };
        let known = (report.epoch as usize).checked_sub(1).and_then(|index| task.epochs.get(index));
        let agrees = known.is_none_or(|known| bits(known) == bits(report));
        if !agrees || report.epoch == 0 || f64::from(report.epoch) > self.epochs_of(attempt.task) {
            return Err(contradiction);
        }
        match report.epoch {
            epoch if Some(epoch) == record.epoch.checked_add(1) && epoch as usize <= task.epochs.len() + 1 => {
                Ok(Seen::New)
            }
            epoch if epoch <= record.epoch => Ok(Seen::Before),
            _ => Err(contradiction),
        }
    }

    /// Whether the epoch that an attempt ended with is one that was reported, to the last bit.
    pub(super) fn agrees(&self, task: TaskId, report: &EpochReport) -> Result<(), Contradiction> {
        let known = (report.epoch as usize).checked_sub(1).and_then(|index| self.task(task)?.epochs.get(index));
        match known {
            Some(earlier) if bits(earlier) == bits(report) => Ok(()),
            Some(_) | None => Err(Contradiction { trial: TrialId(task.0), epoch: report.epoch }),
        }
    }

    /// Whether a training ends with weights: a replay does not.
    pub(super) fn makes_weights(&self, task: TaskId) -> bool {
        self.plan.trials.get(task.0 as usize).is_some_and(|trial| trial.parameters > 0)
    }

    /// Whether a training has such an epoch.
    pub(super) fn has_epoch(&self, task: TaskId, epoch: u32) -> bool {
        epoch >= 1 && f64::from(epoch) <= self.epochs_of(task)
    }

    /// Whether the weights of a trial that ended like this are worth fetching: it is the control, or the best so far.
    pub(super) fn wants_weights(&self, trial: TrialId, report: &EpochReport) -> bool {
        Some(trial) == self.plan.control || self.beats_the_best(trial, report)
    }

    /// Weights have come. Another trial may have become the best while they were on their way: then they are not kept.
    /// Returns whose need not be any longer.
    pub(super) fn keep_weights(&mut self, trial: TrialId, weights: Blob<Bytes>) -> Vec<TrialId> {
        let is_worth_it = |book: &Self, trial: TrialId| {
            Some(trial) == book.plan.control || book.best.is_some_and(|(_, best)| best == trial)
        };
        self.weights.insert(trial, weights);
        let retired: Vec<_> = self.weights.keys().copied().filter(|trial| !is_worth_it(self, *trial)).collect();
        for retired in &retired {
            self.weights.remove(retired);
        }
        retired
    }

    /// The trials whose weights have to be in the run folder: the best and the control, as far as they have any.
    pub(super) fn weights_needed(&self) -> BTreeMap<TrialId, Digest> {
        let candidates = self.best.map(|(_, best)| best).into_iter().chain(self.plan.control);
        let weights = |trial: TrialId| match &self.task(TaskId(trial.0))?.finish {
            Some((Finish::Trained { weights, .. }, _)) => weights.map(|weights| (trial, weights)),
            _ => None,
        };
        candidates.filter_map(weights).collect()
    }

    /// The checkpoints of the tasks that are not over.
    pub(super) fn checkpoints(&self) -> impl Iterator<Item = (TaskId, Kept)> {
        let open = self.tasks.iter().enumerate().filter(|(_, task)| task.finish.is_none());
        open.filter_map(|(number, task)| Some((TaskId(number as u32), task.checkpoint?)))
    }

    /// The error by which a finished trial is compared.
    pub(super) fn error_of(&self, task: TaskId) -> Option<f64> {
        match &self.task(task)?.finish {
            Some((Finish::Trained { report, .. }, _)) => selected(report, self.select),
            _ => None,
        }
    }

    /// The trials that are over, with the error by which each is compared.
    pub(super) fn ended(&self) -> impl Iterator<Item = (TrialId, &Configuration, Option<f64>)> {
        let ended =
            self.plan.trials.iter().zip(&self.tasks).enumerate().filter(|(_, (_, task))| task.finish.is_some());
        ended.map(|(number, (trial, _))| {
            (TrialId(number as u32), &trial.configuration, self.error_of(TaskId(number as u32)))
        })
    }

    /// The best trial, with its weights.
    pub(super) fn best_weights(&self) -> Option<(TrialId, &Blob<Bytes>)> {
        let (_, trial) = self.best?;
        self.weights.get(&trial).map(|weights| (trial, weights))
    }

    /// All attempts of all tasks.
    pub(super) fn attempts(&self) -> impl Iterator<Item = &AttemptRecord> {
        self.tasks.iter().flat_map(|task| &task.attempts)
    }

    pub(super) fn beats_the_best(&self, trial: TrialId, report: &EpochReport) -> bool {
        let Some(error) = selected(report, self.select) else { return false };
        self.best.is_none_or(|best| (error, trial) < best)
    }

    /// Epochs that a task has.
    pub(super) fn epochs_of(&self, task: TaskId) -> f64 {
        self.plan.trials.get(task.0 as usize).map_or(1.0, |trial| f64::from(trial.epochs))
    }
}

/// The error by which trials are compared; NaN is none.
pub(super) fn selected(report: &EpochReport, select: Select) -> Option<f64> {
    let score = match select {
        Select::Validation => report.validation,
        Select::Test => report.test,
    };
    score.map(|score| score.error).filter(|error| !error.is_nan())
}

/// The report's exact numbers.
fn bits(report: &EpochReport) -> impl PartialEq + use<> {
    let score = |score: Option<Score>| score.map(|score| (canonical_bits(score.loss), canonical_bits(score.error)));
    let numbers = (canonical_bits(report.learning_rate), canonical_bits(report.training_loss));
    (report.epoch, numbers, score(report.validation), score(report.test))
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
