//! What is left at the end of a run, as plain data.

use broadsweep_common::ids::{TaskId, TrialId};

use super::book::Book;
use super::record::Finish;
use super::task::TaskBook;
use super::{Run, RunOutcome};
use crate::cluster::{Cluster, Traffic};
use crate::records::run::{Broadcast, RunRecord, Stage, TrialOutcome, TrialRecord};
use crate::study::Study;

impl Run<'_> {
    /// All that is known now, and the links, which are to be told that the run is over.
    pub(super) fn outcome(self) -> (RunOutcome, Cluster) {
        let book = self.chronicle.book();
        let best = book.best_weights().map(|(trial, weights)| (trial, weights.content.to_vec()));
        let (record, unmeasured) = (book.run_record(self.study), book.unmeasured());
        (RunOutcome { record, best, unmeasured }, self.cluster)
    }

    /// What the broadcast took so far: under earlier drivers, and under this one.
    pub(super) fn broadcast(&self) -> Broadcast {
        let (before, traffic) = (self.broadcast_before, &self.payload.traffic);
        let sent_bytes = Traffic::read(&traffic.sent);
        let encoded = traffic.encoded(self.payload.data_bytes());
        Broadcast {
            // Where this driver sent nothing, an earlier one knows what a copy takes.
            data_bytes: if sent_bytes == 0 && before.data_bytes > 0 { before.data_bytes } else { encoded },
            data_raw_bytes: self.payload.data_bytes(),
            sent_bytes: before.sent_bytes + sent_bytes,
            from_peers_bytes: before.from_peers_bytes + Traffic::read(&traffic.from_peers),
            from_cache_bytes: before.from_cache_bytes + Traffic::read(&traffic.from_cache),
            wall_s: before.wall_s + self.broadcast_s,
        }
    }
}

impl Book {
    /// All that is known of the run, with what its study says.
    pub(super) fn run_record(&self, study: &Study) -> RunRecord {
        let (executors, slots) = self.took_part();
        let begun = self.begun.as_ref();
        RunRecord {
            study: study.name.clone(),
            seed: study.seed,
            select: self.select,
            loss: study.loss(),
            kernel: begun.and_then(|begun| begun.kernel.clone()).unwrap_or_else(|| "none".to_owned()),
            build: begun.map(|begun| begun.build.clone()).unwrap_or_default(),
            executors,
            slots,
            // Whether its driver lives is not known here: see `read`.
            stage: if self.is_over() { Stage::Over } else { Stage::Interrupted },
            attempts: self.attempts().cloned().collect(),
            executor_names: self.executors.clone(),
            presence: self.presence.clone(),
            epochs_repeated: self.repeated,
            trials: self.trial_records(),
            control: self.plan.control,
            wall_s: self.latest.seconds(),
            broadcast: self.broadcast,
        }
    }

    /// Every trial with what it reported and what it took.
    pub(super) fn trial_records(&self) -> Vec<TrialRecord> {
        let trials = (0..self.trials() as u32).filter_map(|number| Some((number, self.task(TaskId(number))?)));
        let mut records: Vec<_> = trials.map(|(number, task)| self.trial_record(TrialId(number), task)).collect();
        for (task, trial) in self.measured_tasks() {
            if let Some((Finish::Measured(score), _)) = self.task(task).and_then(|task| task.finish.as_ref()) {
                records[trial.0 as usize].test = Some(*score);
            }
        }
        records
    }

    fn trial_record(&self, trial: TrialId, task: &TaskBook) -> TrialRecord {
        let outcome = match &task.finish {
            Some((Finish::Trained { report, .. }, _)) => TrialOutcome::Finished(*report),
            Some((Finish::Diverged { epoch }, _)) => TrialOutcome::Diverged { epoch: *epoch },
            Some((Finish::GivenUp { reason }, _)) => TrialOutcome::GivenUp { reason: reason.clone() },
            Some((Finish::Measured(_), _)) | None => TrialOutcome::NotRun,
        };
        let (plan, last) = (&self.plan.trials[trial.0 as usize], task.completing());
        let name = |number: u32| self.executors.get(number as usize).cloned();
        TrialRecord {
            trial,
            configuration: plan.configuration.clone(),
            cost: plan.flops,
            epochs_max: plan.epochs,
            test: match &outcome {
                TrialOutcome::Finished(report) => report.test,
                TrialOutcome::Diverged { .. } | TrialOutcome::GivenUp { .. } | TrialOutcome::NotRun => None,
            },
            outcome,
            epochs: task.epochs.clone(),
            attempts: task.attempts.len() as u32,
            executor: last.and_then(|attempt| name(attempt.executor.0)),
            training_s: last.map_or(0.0, |attempt| attempt.training_s),
            evaluation_s: last.map_or(0.0, |attempt| attempt.evaluation_s),
            started_s: task.attempts.first().map_or(0.0, |attempt| attempt.started_s),
            ended_s: task.finish.as_ref().map_or(0.0, |(_, at)| at.seconds()),
        }
    }

    /// The tasks that look at the test rows, each with its trial.
    fn measured_tasks(&self) -> impl Iterator<Item = (TaskId, TrialId)> {
        let first = self.trials() as u32;
        (first..).map_while(move |number| Some((TaskId(number), self.trial_of(TaskId(number))?)))
    }

    /// Trials whose test error was due and could not be had.
    fn unmeasured(&self) -> u32 {
        let finishes = self.measured_tasks().filter_map(|(task, _)| self.task(task)?.finish.as_ref());
        finishes.filter(|(finish, _)| matches!(finish, Finish::GivenUp { .. })).count() as u32
    }
}
