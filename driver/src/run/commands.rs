//! What each command of the scheduler does: it is written down, and carried out once that is safe.

use std::time::Duration;

use broadsweep_common::attempt::Launch;
use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId, TrialId};

use super::record::{Finish, Record, Spent};
use super::{Effect, Run, checkpoint_name};
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
            Command::Lost { executor, attempt, counted } => self.lose(executor, attempt, counted),
            Command::Exclude { executor, until, failures } => self.exclude(executor, until, failures),
            Command::Reinstate(executor) => {
                self.say(format!("{} works again, and takes trials as before", self.cluster.name(executor)));
            }
            Command::Finish(task, verdict) => self.finish(task, verdict),
        }
    }

    fn launch(&mut self, executor: ExecutorId, attempt: AttemptId) {
        let book = self.chronicle.book();
        let Some((task, weights)) = book.work_of(attempt.task) else {
            tracing::error!(%attempt, "a task without a description was launched");
            return;
        };
        let kept = book.task(attempt.task).and_then(|task| task.checkpoint);
        self.end_orphans(attempt);
        let from_epoch = kept.map_or(0, |kept| kept.epoch);
        self.skip_numbers(attempt, executor, from_epoch);
        tracing::info!(%executor, %attempt, trial = task.trial().0, from_epoch, "launched");
        self.note(&Record::Launched { attempt, executor, from_epoch, at: self.now() });
        let checkpoint =
            kept.map(|kept| Needs::Checkpoint { name: checkpoint_name(attempt.task, kept.epoch), blob: kept.blob });
        let needs = weights.map(Needs::Weights).or(checkpoint);
        self.tell(executor, Order::Launch { launch: Launch { attempt, task, checkpoint: None }, needs });
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

    fn lose(&mut self, executor: ExecutorId, attempt: AttemptId, counted: bool) {
        self.awaited.remove(&attempt);
        self.contradicted.remove(&attempt);
        let end = if counted {
            let reason = format!("{}: {}", self.cluster.name(executor), self.executors.end_reason(executor));
            self.say(format!("{attempt} is lost with {}; it is made again", self.cluster.name(executor)));
            AttemptEnd::Lost { reason }
        } else {
            AttemptEnd::NeverArrived
        };
        self.end_attempt(attempt, end, Spent::default());
    }

    fn exclude(&mut self, executor: ExecutorId, until: Moment, failures: u32) {
        let wait = Duration::from_micros(until.0.saturating_sub(self.now().0));
        self.say(format!(
            "{}: {failures} attempts in a row failed there while others succeed; it is left alone for {}, then tried \
             with one",
            self.cluster.name(executor),
            duration_text(wait)
        ));
    }

    /// Writes down how an attempt ended, unless that is known.
    pub(super) fn end_attempt(&mut self, attempt: AttemptId, end: AttemptEnd, spent: Spent) {
        let known = self.chronicle.book().attempt(attempt);
        if known.is_some_and(|known| matches!(known.end, None | Some(AttemptEnd::Beaten))) {
            self.note(&Record::Ended { attempt, end, spent, at: self.now() });
        }
    }

    fn finish(&mut self, task: TaskId, verdict: Verdict) {
        let book = self.chronicle.book();
        let Some(trial) = book.trial_of(task) else { return };
        if let Verdict::GivenUp { reason, .. } = verdict {
            let reason = self.why_given_up(task, reason);
            let what = if self.chronicle.book().is_measure(task) {
                format!("the test error of {trial} could not be measured")
            } else {
                format!("{trial} is given up")
            };
            self.say(format!("{what}: {reason}"));
            self.note(&Record::Finished { task, finish: Finish::GivenUp { reason }, at: self.now() });
        }
        let book = self.chronicle.book();
        if let Some(kept) = book.task(task).and_then(|task| task.checkpoint) {
            self.effects.push(Effect::Drop(checkpoint_name(task, kept.epoch)));
        }
        let book = self.chronicle.book();
        if !book.is_measure(task) {
            self.effects.push(Effect::TrialEnded(TrialId(task.0)));
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
