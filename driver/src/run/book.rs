//! What is known of each trial while a run goes on. It only records; the scheduler decides.

use std::collections::BTreeMap;
use std::time::Duration;

use broadsweep_common::attempt::Durations;
use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{AttemptId, TaskId, TrialId};
use broadsweep_common::metrics::{EpochReport, Score, canonical_bits};
use broadsweep_common::task::{Select, Task};
use bytes::Bytes;

use crate::plan::StudyPlan;
use crate::results::pace::Work;
use crate::results::record::{TrialOutcome, TrialRecord};
use crate::scheduler::Cost;

/// The trials of a run, and the weights that are worth keeping.
pub(super) struct Book {
    plan: StudyPlan,
    select: Select,
    pub(super) trials: Vec<TrialRecord>,
    /// Share of each trial's cost that is done.
    done: Vec<f64>,
    done_flops: f64,
    /// The trial with the least error so far; of equal ones, the first.
    best: Option<(f64, TrialId)>,
    /// Weights of the best and of the control.
    weights: BTreeMap<TrialId, Blob<Bytes>>,
    /// What the tasks after the trainings measure.
    measures: Vec<TrialId>,
    pub(super) attempts: u64,
    pub(super) attempts_lost: u32,
    pub(super) attempts_failed: u32,
}

/// A report that contradicts an earlier one about the same epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{trial} reported epoch {epoch} out of turn, or a second time with other numbers; executors of one run have to \
     agree on bits"
)]
pub(super) struct Contradiction {
    trial: TrialId,
    epoch: u32,
}

impl Book {
    pub(super) fn new(plan: StudyPlan, select: Select) -> Self {
        let trials = plan.trials.iter().enumerate().map(|(number, trial)| TrialRecord {
            trial: TrialId(number as u32),
            configuration: trial.configuration.clone(),
            outcome: TrialOutcome::NotRun,
            epochs: Vec::new(),
            attempts: 0,
            executor: None,
            training_s: 0.0,
            evaluation_s: 0.0,
            started_s: 0.0,
            ended_s: 0.0,
            test: None,
        });
        Self {
            select,
            trials: trials.collect(),
            done: vec![0.0; plan.trials.len()],
            done_flops: 0.0,
            best: None,
            weights: BTreeMap::new(),
            measures: Vec::new(),
            attempts: 0,
            attempts_lost: 0,
            attempts_failed: 0,
            plan,
        }
    }

    /// The tasks that train, with their costs. Trial `n` is trained by task `n`.
    pub(super) fn trainings(&self) -> impl Iterator<Item = (TaskId, Cost)> {
        self.plan.trials.iter().enumerate().map(|(number, trial)| (TaskId(number as u32), Cost(trial.flops)))
    }

    /// The tasks that look at the test rows once, after the search: for the best and the control.
    pub(super) fn plan_measures(&mut self) -> Vec<(TaskId, Cost)> {
        let first = self.plan.trials.len();
        self.measures = self.weights.keys().copied().collect();
        let measures = self.measures.iter().enumerate();
        measures
            .map(|(number, trial)| {
                let cost = self.plan.trials[trial.0 as usize].test_flops;
                (TaskId((first + number) as u32), Cost(cost))
            })
            .collect()
    }

    /// The trial that a task belongs to.
    pub(super) fn trial_of(&self, task: TaskId) -> Option<TrialId> {
        let number = task.0 as usize;
        if number < self.plan.trials.len() {
            return Some(TrialId(task.0));
        }
        self.measures.get(number - self.plan.trials.len()).copied()
    }

    /// Whether a task measures finished weights.
    pub(super) fn is_measure(&self, task: TaskId) -> bool {
        task.0 as usize >= self.plan.trials.len()
    }

    /// What an executor is asked to do for a task, and the weights that it needs for it.
    pub(super) fn task(&self, task: TaskId) -> Option<(Task, Option<Blob<Bytes>>)> {
        let trial = self.trial_of(task)?;
        let configuration = self.trials[trial.0 as usize].configuration.clone();
        if !self.is_measure(task) {
            return Some((Task::Train { trial, configuration }, None));
        }
        let weights = self.weights.get(&trial)?.clone();
        Some((Task::Measure { trial, configuration, weights: weights.manifest.digest() }, Some(weights)))
    }

    /// An attempt goes out to the executor at `address`.
    pub(super) fn launched(&mut self, attempt: AttemptId, address: &str, now: Duration) {
        self.attempts += 1;
        let Some(trial) = self.trial_of(attempt.task) else { return };
        if self.is_measure(attempt.task) {
            return;
        }
        let record = &mut self.trials[trial.0 as usize];
        if record.attempts == 0 {
            record.started_s = now.as_secs_f64();
        }
        record.attempts = attempt.number;
        record.executor = Some(address.to_owned());
        (record.training_s, record.evaluation_s) = (0.0, 0.0); // of the attempt that counts
        self.credit(trial, 0.0);
    }

    /// Time that an attempt spent.
    pub(super) fn spent(&mut self, attempt: AttemptId, durations: Durations) {
        let Some(trial) = self.trial_of(attempt.task).filter(|_| !self.is_measure(attempt.task)) else { return };
        let record = &mut self.trials[trial.0 as usize];
        record.training_s += durations.training.as_secs_f64();
        record.evaluation_s += durations.evaluation.as_secs_f64();
    }

    /// An epoch is done. One that an earlier attempt reported has to have the same bits.
    pub(super) fn epoch(&mut self, trial: TrialId, report: &EpochReport) -> Result<(), Contradiction> {
        let contradiction = Contradiction { trial, epoch: report.epoch };
        if !self.has_epoch(trial, report.epoch) {
            return Err(contradiction);
        }
        let epochs = self.plan.trials[trial.0 as usize].epochs;
        self.credit(trial, f64::from(report.epoch) / f64::from(epochs));
        let known = &mut self.trials[trial.0 as usize].epochs;
        match known.get((report.epoch as usize).wrapping_sub(1)) {
            Some(earlier) if bits(earlier) == bits(report) => Ok(()),
            None if report.epoch as usize == known.len() + 1 => {
                known.push(*report);
                Ok(())
            }
            Some(_) | None => Err(contradiction),
        }
    }

    /// Whether the epoch that an attempt ended with is the one that was reported before, to the last bit.
    pub(super) fn agrees(&self, trial: TrialId, report: &EpochReport) -> Result<(), Contradiction> {
        let known = &self.trials[trial.0 as usize].epochs;
        match known.get((report.epoch as usize).wrapping_sub(1)) {
            Some(earlier) if bits(earlier) == bits(report) => Ok(()),
            Some(_) | None => Err(Contradiction { trial, epoch: report.epoch }),
        }
    }

    /// Whether a training of `trial` has such an epoch.
    pub(super) fn has_epoch(&self, trial: TrialId, epoch: u32) -> bool {
        (1..=self.plan.trials[trial.0 as usize].epochs).contains(&epoch)
    }

    /// Whether the weights of a trial that ended like this are worth fetching: it is the control, or the best so far.
    pub(super) fn wants_weights(&self, trial: TrialId, report: &EpochReport) -> bool {
        Some(trial) == self.plan.control || self.beats_the_best(trial, report)
    }

    /// A trial was trained to the end; `weights` if they were wanted. Another trial may have become the best while they
    /// were on their way: then they are not kept.
    pub(super) fn trained(&mut self, trial: TrialId, report: EpochReport, weights: Option<Blob<Bytes>>) {
        let weights = weights.filter(|_| self.wants_weights(trial, &report));
        if self.beats_the_best(trial, &report)
            && let Some(error) = selected(&report, self.select)
            && let Some((_, beaten)) = self.best.replace((error, trial))
            && Some(beaten) != self.plan.control
        {
            self.weights.remove(&beaten);
        }
        if let Some(weights) = weights {
            self.weights.insert(trial, weights);
        }
        let record = &mut self.trials[trial.0 as usize];
        record.test = report.test;
        record.outcome = TrialOutcome::Finished(report);
    }

    /// A trial's loss was NaN or infinite.
    pub(super) fn diverged(&mut self, trial: TrialId, epoch: u32) {
        self.trials[trial.0 as usize].outcome = TrialOutcome::Diverged { epoch };
    }

    /// The last look at the test rows.
    pub(super) fn measured(&mut self, trial: TrialId, score: Score) {
        self.trials[trial.0 as usize].test = Some(score);
    }

    /// A trial is over, one way or the other.
    pub(super) fn ended(&mut self, trial: TrialId, given_up: Option<String>, now: Duration) {
        if let Some(reason) = given_up {
            self.trials[trial.0 as usize].outcome = TrialOutcome::GivenUp { reason };
        }
        self.trials[trial.0 as usize].ended_s = now.as_secs_f64();
        self.credit(trial, 1.0);
    }

    /// The error by which a finished trial is compared.
    pub(super) fn error_of(&self, trial: TrialId) -> Option<f64> {
        self.trials[trial.0 as usize].selected_error(self.select)
    }

    /// The best trial, with its weights.
    pub(super) fn best_weights(&self) -> Option<(TrialId, &Blob<Bytes>)> {
        let (_, trial) = self.best?;
        self.weights.get(&trial).map(|weights| (trial, weights))
    }

    /// What is done and what is left; `running` are the trials that train now.
    pub(super) fn work(&self, running: impl Iterator<Item = TrialId>, elapsed: Duration, slots: u32) -> Work {
        let flops = |trial: TrialId| self.plan.trials[trial.0 as usize].flops as f64;
        let all: f64 = self.plan.trials.iter().map(|trial| trial.flops as f64).sum();
        let left = running.map(|trial| flops(trial) * (1.0 - self.done[trial.0 as usize]));
        Work {
            done: self.done_flops,
            remaining: (all - self.done_flops).max(0.0),
            remaining_longest: left.fold(0.0, f64::max),
            elapsed,
            slots,
        }
    }

    fn beats_the_best(&self, trial: TrialId, report: &EpochReport) -> bool {
        let Some(error) = selected(report, self.select) else { return false };
        self.best.is_none_or(|best| (error, trial) < best)
    }

    fn credit(&mut self, trial: TrialId, share: f64) {
        let done = &mut self.done[trial.0 as usize];
        self.done_flops += (share - *done) * self.plan.trials[trial.0 as usize].flops as f64;
        *done = share;
    }
}

/// The error by which trials are compared; NaN is none.
fn selected(report: &EpochReport, select: Select) -> Option<f64> {
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
mod tests {
    use broadsweep_common::configuration::{Configuration, Value};

    use super::*;
    use crate::plan::TrialPlan;

    fn book(trials: u32, control: Option<TrialId>) -> Book {
        let trial = |number| TrialPlan {
            configuration: Configuration([("n".to_owned(), Value::Integer(number))].into()),
            epochs: 2,
            parameters: 1,
            flops: 100,
            test_flops: 10,
            memory_bytes: 1,
        };
        Book::new(StudyPlan { trials: (0..i64::from(trials)).map(trial).collect(), control }, Select::Validation)
    }

    fn report(epoch: u32, error: f64) -> EpochReport {
        let validation = Some(Score { loss: 1.0, error });
        EpochReport { epoch, learning_rate: 0.1, training_loss: 2.0, validation, test: None }
    }

    fn weights(trial: u32) -> Blob<Bytes> {
        Blob::new(Bytes::from(vec![trial as u8])).unwrap()
    }

    #[test]
    fn the_best_is_the_same_in_whatever_order_trials_end() {
        let errors = [0.3, 0.1, 0.1, 0.2];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut book = book(4, Some(TrialId(0)));
            for number in order {
                let report = report(2, errors[number as usize]);
                let wanted = book.wants_weights(TrialId(number), &report);
                book.trained(TrialId(number), report, wanted.then(|| weights(number)));
            }
            let (best, blob) = book.best_weights().unwrap();
            assert_eq!((best, &blob.content[..]), (TrialId(1), &[1][..]), "{order:?}");
            assert_eq!(book.weights.len(), 2, "weights of others than the best and the control are kept");
            let measures: Vec<_> = book.plan_measures().into_iter().map(|(task, _)| book.trial_of(task)).collect();
            assert_eq!(measures, [Some(TrialId(0)), Some(TrialId(1))]);
        }
    }

    #[test]
    fn weights_that_come_after_a_better_trials_are_not_kept() {
        let mut book = book(2, None);
        let [better, worse] = [report(2, 0.1), report(2, 0.2)];
        assert!(book.wants_weights(TrialId(0), &worse) && book.wants_weights(TrialId(1), &better));
        book.trained(TrialId(1), better, Some(weights(1)));
        book.trained(TrialId(0), worse, Some(weights(0)));
        assert_eq!(book.weights.keys().collect::<Vec<_>>(), [&TrialId(1)]);
        assert_eq!(book.plan_measures().len(), 1);
    }

    #[test]
    fn an_attempt_ends_with_an_epoch_that_it_reported() {
        let mut book = book(1, None);
        book.epoch(TrialId(0), &report(1, 0.5)).unwrap();
        assert_eq!(book.agrees(TrialId(0), &report(1, 0.5)), Ok(()));
        for other in [report(1, 0.25), report(2, 0.5), report(0, 0.5)] {
            assert!(book.agrees(TrialId(0), &other).is_err(), "{other:?} was believed");
        }
    }

    #[test]
    fn an_epoch_that_is_repeated_has_to_have_the_same_bits() {
        let mut book = book(1, None);
        book.epoch(TrialId(0), &report(1, 0.5)).unwrap();
        book.epoch(TrialId(0), &report(1, 0.5)).unwrap();
        book.epoch(TrialId(0), &report(2, 0.25)).unwrap();
        assert_eq!(book.trials[0].epochs.len(), 2);
        let other = Err(Contradiction { trial: TrialId(0), epoch: 1 });
        assert_eq!(book.epoch(TrialId(0), &report(1, 0.5 + f64::EPSILON)), other);
        for hostile in [0, 4, u32::MAX] {
            assert!(book.epoch(TrialId(0), &report(hostile, 0.5)).is_err(), "epoch {hostile} was taken");
        }
    }

    #[test]
    fn work_done_counts_epochs_and_is_lost_with_an_attempt() {
        let mut book = book(2, None);
        let attempt = |number| AttemptId { task: TaskId(0), number };
        let work = |book: &Book| book.work([TrialId(0)].into_iter(), Duration::from_secs(1), 1);
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        book.launched(attempt(1), "a", Duration::ZERO);
        book.epoch(TrialId(0), &report(1, 0.5)).unwrap();
        assert!(near(work(&book).done, 50.0) && near(work(&book).remaining_longest, 50.0));
        book.launched(attempt(2), "b", Duration::ZERO);
        assert!(near(work(&book).done, 0.0));
        book.ended(TrialId(0), None, Duration::ZERO);
        assert!(near(work(&book).done, 100.0) && near(work(&book).remaining, 100.0));
    }
}
