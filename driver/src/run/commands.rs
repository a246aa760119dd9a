//! What each command of the scheduler does: it is written down, and carried out once that is safe.

use broadsweep_common::attempt::Launch;
use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};
use broadsweep_common::task::TaskKind;

use super::record::{Finish, Input, Record, Spent};
use super::task::TaskBook;
use super::{Effect, Run, names};
use crate::cluster::{Needs, Order};
use crate::records::attempt::AttemptEnd;
use crate::results::show::duration_text;
use broadsweep_scheduler::{CancelReason, Command, GivenUp, Moment, Verdict};

impl Run<'_> {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Launch(executor, attempt) => self.launch(executor, attempt),
            Command::Cancel(executor, attempt, reason) => self.cancel(executor, attempt, reason),
            Command::Adopt(executor, attempt) => self.adopt(executor, attempt),
            Command::Lost { executor, attempt, arrived } => self.lose(executor, attempt, arrived),
            Command::Exclude { executor, until, failures } => self.exclude(executor, until, failures),
            Command::Reinstate(executor) => {
                self.say(format!("{} works again, and takes trials as before", self.cluster.name(executor)));
            }
            Command::Finish(task, verdict) => self.finish(task, verdict),
        }
    }

    fn launch(&mut self, executor: ExecutorId, attempt: AttemptId) {
        let book = self.chronicle.book();
        let Some(task) = book.task(attempt.task) else {
            tracing::error!(%attempt, "a task without a description was launched");
            return;
        };
        let (kind, from_epoch) = (task.kind(), task.begins_after());
        let of_files = match task.kind() {
            TaskKind::Apply { partition } if self.executors.lacks(executor) => Some(Needs::Rows { partition }),
            _ => None,
        };
        let of_run = task.needs(attempt.task);
        let needs = of_run.iter().filter_map(|input| self.needed(input)).chain(of_files).collect();
        let configuration = book.trial_of(attempt.task).map(|(_, trial)| trial.configuration.clone());
        self.end_orphans(attempt);
        self.skip_numbers(attempt, executor, from_epoch);
        tracing::info!(%executor, %attempt, ?kind, from_epoch, "launched");
        self.note(&Record::Launched { attempt, executor, from_epoch, at: self.now() });
        let configuration = configuration.unwrap_or_default();
        let launch = Launch { attempt, kind, configuration, input: None };
        self.tell(executor, Order::Launch { launch, needs });
    }

    /// What an executor is given before it starts: weights are at hand, checkpoints are read from the run folder.
    fn needed(&self, input: &Input) -> Option<Needs> {
        match *input {
            Input::Weights { trial, .. } => self.chronicle.book().weights.get(&trial).cloned().map(Needs::Weights),
            Input::Checkpoint { checkpoint, .. } => {
                Some(Needs::Checkpoint { name: names::input(input), blob: checkpoint.blob })
            }
        }
    }

    /// An executor that came holding an attempt which was never launched takes its number: the next one is higher, and
    /// the journal has no gaps.
    fn skip_numbers(&mut self, next: AttemptId, executor: ExecutorId, from_epoch: u32) {
        let known = self.chronicle.book().task(next.task).map_or(0, |task| task.attempts.len() as u32);
        for number in known + 1..next.number {
            let attempt = AttemptId { task: next.task, number };
            self.note(&Record::Launched { attempt, executor, from_epoch, at: self.now() });
            self.end_attempt(attempt, AttemptEnd::NeverArrived, Spent::default());
        }
    }

    /// Attempts of an earlier driver that nobody came back with are given up once their task is launched again.
    fn end_orphans(&mut self, newer: AttemptId) {
        let Some(task) = self.chronicle.book().task(newer.task) else { return };
        let open = task.attempts.iter().filter(|attempt| attempt.end.is_none()).map(|attempt| attempt.attempt);
        let orphans: Vec<_> = open.filter(|attempt| self.scheduler.executor_of(*attempt).is_none()).collect();
        for orphan in orphans {
            self.end_attempt(orphan, AttemptEnd::Orphaned, Spent::default());
        }
    }

    fn cancel(&mut self, executor: ExecutorId, attempt: AttemptId, reason: CancelReason) {
        if let CancelReason::Hung { silent } = reason {
            let silent_s = silent.as_secs();
            self.say(format!(
                "{attempt} on {} reported no epoch for {}; it is made again",
                self.cluster.name(executor),
                duration_text(silent)
            ));
            self.end_attempt(attempt, AttemptEnd::Hung { silent_s }, Spent::default());
        }
        tracing::info!(%executor, %attempt, ?reason, "cancelled");
        self.tell(executor, Order::Cancel { attempt, at_epoch_end: false });
    }

    fn adopt(&mut self, executor: ExecutorId, attempt: AttemptId) {
        let name = self.cluster.name(executor).to_owned();
        self.say(format!("{attempt} goes on at {name}"));
        self.note(&Record::Adopted(attempt));
        if self.stopping {
            self.tell(executor, Order::Cancel { attempt, at_epoch_end: true });
        }
    }

    fn lose(&mut self, executor: ExecutorId, attempt: AttemptId, arrived: bool) {
        self.attempts.forget(attempt);
        let (name, ended) = (self.cluster.name(executor), self.executors.end_reason(executor));
        let (line, reason) = if arrived {
            (format!("{attempt} is lost with {name}; it is made again"), format!("{name}: {ended}"))
        } else {
            let line = format!("the connection to {name} ended before {attempt} arrived there; it is made again");
            (line, format!("{name}: the connection ended on its launch: {ended}"))
        };
        self.say(line);
        self.end_attempt(attempt, AttemptEnd::Lost { reason }, Spent::default());
    }

    fn exclude(&mut self, executor: ExecutorId, until: Moment, failures: u32) {
        let wait = until.since(self.now());
        self.say(format!(
            "{}: {failures} attempts in a row failed there while other executors get on; it is left alone for {}, then tried \
             with one",
            self.cluster.name(executor),
            duration_text(wait)
        ));
    }

    /// Writes down how an attempt ended, unless that is known.
    pub(super) fn end_attempt(&mut self, attempt: AttemptId, end: AttemptEnd, spent: Spent) {
        let known = self.chronicle.book().attempt(attempt);
        if known.is_some_and(|known| !known.end.as_ref().is_some_and(AttemptEnd::is_final)) {
            self.note(&Record::Ended { attempt, end, spent, at: self.now() });
        }
    }

    fn finish(&mut self, task: TaskId, verdict: Verdict) {
        if verdict == Verdict::Dropped {
            self.note(&Record::Finished { task, finish: Finish::LeftOut, at: self.now() });
        }
        if let Verdict::GivenUp { reason, .. } = verdict {
            let reason = self.why_given_up(task, reason);
            let what = self.given_up(task);
            self.say(format!("{what}: {reason}"));
            self.note(&Record::Finished { task, finish: Finish::GivenUp { reason }, at: self.now() });
        }
        self.drop_checkpoints(task);
        self.end_check(task);
        let book = self.chronicle.book();
        if let Some(TaskKind::Apply { partition }) = book.task(task).map(TaskBook::kind) {
            self.effects.push(Effect::PartitionEnded(partition));
        }
        let Some(segment) = book.task(task).and_then(TaskBook::segment) else { return };
        let trial = segment.replicate.trial;
        let is_over = book.finish_of(trial).is_some_and(|(finish, _)| finish.is_end());
        if is_over {
            self.effects.push(Effect::TrialEnded(trial));
        }
        self.on_segment_end(task);
    }

    /// A task that is over goes on from nowhere: neither from its newest checkpoint nor from the one that it began with.
    fn drop_checkpoints(&mut self, task: TaskId) {
        let book = self.chronicle.book();
        let Some(known) = book.task(task) else { return };
        if matches!(known.finish, Some((Finish::LeftOut, _))) {
            return; // it may be begun after all
        }
        let keeps = |epoch| known.finish.as_ref().is_some_and(|(finish, _)| finish.keeps(epoch));
        let newest = known.checkpoint.filter(|newest| !keeps(newest.epoch));
        let newest = newest.map(|newest| names::checkpoint(task, newest.epoch));
        let first = known.task.inputs.iter().filter(|input| matches!(input, Input::Checkpoint { .. }));
        let worthless: Vec<_> = newest.into_iter().chain(first.map(names::input)).collect();
        self.effects.extend(worthless.into_iter().map(Effect::Drop));
    }

    /// What people are told of a task that is given up.
    fn given_up(&self, task: TaskId) -> String {
        let book = self.chronicle.book();
        let trial = book.trial_of(task).map(|(trial, _)| trial.to_string()).unwrap_or_default();
        match book.task(task).map(TaskBook::kind) {
            Some(TaskKind::Measure { .. }) => format!("the test error of {trial} could not be measured"),
            Some(TaskKind::Examine { .. }) => format!("the answers of {trial} could not be looked at"),
            Some(TaskKind::Apply { partition }) => format!("partition {partition} is given up"),
            Some(TaskKind::Check(_)) => format!("{trial} could not be trained once more"),
            Some(TaskKind::Train(_)) | None => format!("{trial} is given up"),
        }
    }

    fn why_given_up(&self, task: TaskId, reason: GivenUp) -> String {
        let attempts = self.chronicle.book().task(task).map(|task| task.attempts.as_slice()).unwrap_or_default();
        let told = attempts.iter().rev().filter_map(|attempt| attempt.end.as_ref().map(AttemptEnd::reason));
        let last = told.into_iter().find(|reason| !reason.is_empty());
        match last {
            Some(last) => format!("{reason}; the last time: {last}"),
            None => reason.to_string(),
        }
    }
}

#[cfg(test)]
#[path = "commands_tests.rs"]
mod tests;
