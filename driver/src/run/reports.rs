//! What each report of an executor does. A report is settled, and may be acknowledged, once the journal has what it
//! tells; the end of an attempt that made something which is wanted waits until that is in the run folder.

use broadsweep_common::application::TABLE_BYTES_MAX;
use broadsweep_common::attempt::{AttemptEvent, Ended, Report};
use broadsweep_common::ids::{AttemptId, Digest, ExecutorId};
use broadsweep_common::metrics::Metrics;
use broadsweep_common::task::{Segment, TaskKind};
use broadsweep_scheduler::{Event, Outcome};
use tokio::time::Instant;

use super::attempts::{Awaited, Fetching, Phase};
use super::checkpoints::Offered;
use super::differing::Told;
use super::judge::{Contradiction, JudgedEnd, JudgedEpoch, Seen};
use super::record::{Finish, Record, Row, SafeCheckpoint, Spent};
use super::task::TaskBook;
use super::{Run, names};
use crate::cluster::{Cargo, Order, Pull};
use crate::records::attempt::AttemptEnd;
use crate::study::Trainer;

/// Bytes that weights or a checkpoint may have beyond the memory of their training: names, shapes, the course so far.
const BLOB_BYTES_SLACK: u64 = 64 << 20;
/// What came of a partition may be so large; executors refuse to make more.
const ANSWERS_BYTES_MAX: u64 = TABLE_BYTES_MAX as u64 + BLOB_BYTES_SLACK;

/// Lists of metrics that one executor may be the first to report.
const NAME_LISTS_OF_EXECUTOR_MAX: u32 = 64;

/// Whether a report is settled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settled {
    Now,
    Later,
}

impl Run<'_> {
    pub(super) fn on_reports(&mut self, executor: ExecutorId, sequence: u64, reports: Vec<Report>) {
        self.mail.received(executor, sequence, reports.len());
        for report in reports {
            if self.on_report(executor, sequence, report) == Settled::Now {
                self.mail.settle(executor, sequence);
            }
        }
    }

    fn on_report(&mut self, executor: ExecutorId, sequence: u64, report: Report) -> Settled {
        let Report { attempt, durations, event } = report;
        let spent = Spent::from(durations);
        if self.scheduler.executor_of(attempt) != Some(executor) || self.attempts.is_fetching(attempt) {
            self.on_stale(executor, attempt, &event, spent);
            return Settled::Now;
        }
        match event {
            AttemptEvent::Epoch { epoch, metrics, checkpoint } => {
                if self.on_epoch(executor, attempt, (epoch, &metrics), spent) {
                    self.on_checkpoint(executor, attempt, epoch, checkpoint);
                } else if let Some(checkpoint) = checkpoint {
                    self.tell(executor, Order::Release(attempt, checkpoint));
                }
                Settled::Now
            }
            AttemptEvent::Ended(ended) => self.on_end(executor, attempt, &ended, (sequence, spent)),
        }
    }

    /// A report of an attempt that was told to stop, or that was told before, or that never was.
    fn on_stale(&mut self, executor: ExecutorId, attempt: AttemptId, event: &AttemptEvent, spent: Spent) {
        self.release_all(executor, attempt, blobs_of(event));
        let stops = self.scheduler.running_on(executor).any(|running| running == attempt);
        if stops && matches!(event, AttemptEvent::Ended(_)) && self.scheduler.executor_of(attempt).is_none() {
            self.attempts.take_doubt(attempt);
            self.forget_checkpoint(attempt);
            self.end_attempt(attempt, AttemptEnd::Beaten, spent);
            self.feed(Event::AttemptEnded { executor, attempt, outcome: Outcome::Stopped });
        } else {
            tracing::debug!(%executor, %attempt, "a report of an attempt that is not live is ignored");
        }
    }

    /// Takes an epoch in; says whether it can be believed.
    fn on_epoch(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        (epoch, metrics): (u32, &Metrics),
        spent: Spent,
    ) -> bool {
        if let Some(TaskKind::Check(segment)) = self.chronicle.book().task(attempt.task).map(TaskBook::kind) {
            if (1..=segment.until_epoch).contains(&epoch) {
                self.feed(Event::EpochEnded { executor, attempt, epoch });
                self.compare(executor, segment.replicate, (epoch, Some(metrics)));
            }
            return false; // nothing of it is kept
        }
        let judged = self.chronicle.book().judge_epoch(attempt, epoch, metrics);
        let Some(judged) = judged.filter(|_| !self.attempts.is_doubted(attempt)) else {
            tracing::warn!(%executor, %attempt, epoch, "an epoch that cannot be believed is ignored");
            return false;
        };
        if let Ok(JudgedEpoch { differs, .. }) = judged
            && !self.agrees(executor, attempt, (epoch, Some(metrics)), differs)
        {
            return false;
        }
        match judged.map(|judged| judged.seen) {
            Ok(Seen::New) if !self.note_epoch(executor, attempt, (epoch, metrics), spent) => {
                self.doubt(executor, attempt, "it reports other metrics at each epoch".to_owned());
                false
            }
            Ok(Seen::New | Seen::Before) => {
                self.say_if_begun_anew(executor, attempt, epoch);
                // Told again where it is known: an attempt that began anew is at work all the same.
                self.feed(Event::EpochEnded { executor, attempt, epoch });
                true
            }
            Err(contradiction @ Contradiction { .. }) => {
                self.doubt(executor, attempt, contradiction.to_string());
                false
            }
        }
    }

    /// Whether an attempt may go on with what it tells of an epoch of its training.
    fn agrees(&mut self, executor: ExecutorId, attempt: AttemptId, told: Told<'_>, differs: bool) -> bool {
        let segment = self.chronicle.book().task(attempt.task).and_then(TaskBook::segment);
        let Some(replicate) = segment.map(|segment| segment.replicate) else { return true };
        // A program may give other numbers the second time: those that were told first stand.
        if differs && self.study.is_deterministic() {
            return self.on_other_numbers(executor, attempt, replicate, told);
        }
        self.compare(executor, replicate, told);
        true
    }

    /// People hear when an attempt had to begin at the beginning: it takes longer, and something was wrong.
    fn say_if_begun_anew(&mut self, executor: ExecutorId, attempt: AttemptId, epoch: u32) {
        let from_epoch = self.chronicle.book().attempt(attempt).map_or(0, |known| known.from_epoch);
        if epoch == 1 && from_epoch > 0 {
            self.say(format!(
                "{attempt} on {} could not use its checkpoint of epoch {from_epoch}; it trains from the beginning",
                self.cluster.name(executor)
            ));
        }
    }

    /// Writes an epoch down, unless its executor has told of too many different metrics. Each executor has its own share
    /// of them: one that makes names up leaves the others theirs.
    fn note_epoch(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        (epoch, metrics): (u32, &Metrics),
        spent: Spent,
    ) -> bool {
        let Some(row) = self.row_of(executor, metrics) else { return false };
        tracing::info!(%attempt, epoch, ?metrics, "epoch done");
        self.note(&Record::Epoch { attempt, epoch, row, spent });
        self.on_epoch_noted(attempt.task);
        true
    }

    /// Metrics as the journal has them, after their names were written down; `None` if there are too many of these.
    pub(super) fn row_of(&mut self, executor: ExecutorId, metrics: &Metrics) -> Option<Row> {
        if self.chronicle.book().row(metrics).is_none() {
            let lists = self.name_lists.entry(executor).or_default();
            *lists += 1;
            if *lists > NAME_LISTS_OF_EXECUTOR_MAX || !self.chronicle.book().has_room_for_names() {
                return None;
            }
            self.note(&Record::Names(metrics.iter().map(|(name, _)| name.clone()).collect()));
        }
        self.chronicle.book().row(metrics)
    }

    fn on_checkpoint(&mut self, executor: ExecutorId, attempt: AttemptId, epoch: u32, blob: Option<Digest>) {
        let Some((blob, session)) = blob.zip(self.executors.session(executor)) else { return };
        let known = self.chronicle.book().task(attempt.task).and_then(|task| task.checkpoint);
        if known.is_some_and(|known| known.epoch >= epoch) {
            self.tell(executor, Order::Release(attempt, blob));
            return;
        }
        let offered = Offered { attempt, executor, session, epoch, blob };
        if let Some(offered) = self.checkpoints.offered(offered, Instant::now()) {
            self.fetch_checkpoint(offered);
        }
    }

    /// Asks for the checkpoints whose turn it is by now.
    pub(super) fn fetch_due_checkpoints(&mut self) {
        for offered in self.checkpoints.due(Instant::now()) {
            self.fetch_checkpoint(offered);
        }
    }

    fn fetch_checkpoint(&mut self, Offered { attempt, executor, epoch, blob, .. }: Offered) {
        let name = names::checkpoint(attempt.task, epoch);
        self.pull(executor, attempt, Cargo::Checkpoint { epoch }, (blob, name));
    }

    /// An attempt told something that cannot be: it is stopped, and tried again elsewhere.
    pub(super) fn doubt(&mut self, executor: ExecutorId, attempt: AttemptId, reason: String) {
        self.say(format!("{}: {reason}", self.cluster.name(executor)));
        self.tell(executor, Order::Cancel { attempt, at_epoch_end: false });
        self.attempts.enter(attempt, Phase::Doubted { reason, differs: None });
    }

    fn on_end(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        ended: &Ended,
        (sequence, spent): (u64, Spent),
    ) -> Settled {
        let book = self.chronicle.book();
        let disbelieved = || book.disbelieved(attempt).map(|(reason, epoch)| (reason, Some(epoch)));
        let doubt = self.attempts.take_doubt(attempt).or_else(disbelieved);
        let judged = match doubt {
            Some((reason, Some(epoch))) => Err(self.end_of_other_numbers(attempt, epoch, reason)),
            Some((reason, None)) => Err(AttemptEnd::Failed { reason }),
            None => book.judge_end(attempt.task, ended).map_err(|reason| AttemptEnd::Failed { reason }),
        };
        let is_program = matches!(self.study.trainer, Trainer::Program(_));
        let judged = judged.and_then(|judged| match judged {
            JudgedEnd::Trained { .. } | JudgedEnd::Paused { .. } if is_program => {
                let lacking = book.lacks_objective(attempt.task).map(|reason| AttemptEnd::Failed { reason });
                lacking.map_or(Ok(judged), Err)
            }
            judged => Ok(judged),
        });
        let judged = match judged {
            Ok(judged) => judged,
            Err(end) => {
                self.release_all(executor, attempt, ended.artifacts().iter().map(|artifact| artifact.blob));
                self.end_without(executor, attempt, end, spent);
                return Settled::Now;
            }
        };
        match judged {
            JudgedEnd::Trained { epoch, weights } => {
                return self.on_trained(executor, attempt, (epoch, weights), (sequence, spent));
            }
            JudgedEnd::Paused { epoch, until_epoch, checkpoint } => {
                let safe = SafeCheckpoint { epoch: until_epoch, blob: checkpoint };
                let finish = Finish::Paused { epoch, checkpoint: safe };
                return self.fetch_artifact(executor, attempt, (finish, checkpoint), (sequence, spent));
            }
            JudgedEnd::Applied { output } => {
                let finish = Finish::Applied { output };
                return self.fetch_artifact(executor, attempt, (finish, output), (sequence, spent));
            }
            JudgedEnd::Stopped => return self.on_stopped(executor, attempt, (sequence, spent)),
            JudgedEnd::Diverged { epoch } => self.on_diverged(executor, attempt, epoch, spent),
            JudgedEnd::Checked { diverged } => {
                self.release_all(executor, attempt, ended.artifacts().iter().map(|artifact| artifact.blob));
                self.on_checked(executor, attempt, diverged, spent);
            }
            JudgedEnd::Measured(metrics) => self.complete(executor, attempt, Finish::Measured(metrics), spent),
            JudgedEnd::Examined(details) => self.complete(executor, attempt, Finish::Examined(details), spent),
            JudgedEnd::Without(end) => self.end_without(executor, attempt, end, spent),
        }
        Settled::Now
    }

    /// A training diverged: a result, unless another attempt told numbers of that epoch.
    fn on_diverged(&mut self, executor: ExecutorId, attempt: AttemptId, epoch: u32, spent: Spent) {
        let book = self.chronicle.book();
        let segment = book.task(attempt.task).and_then(TaskBook::segment);
        let has_numbers = |segment: Segment| {
            let replicate = book.trial(segment.replicate.trial)?.replicate(segment.replicate)?;
            Some(replicate.curves.epochs() >= epoch)
        };
        let differs = segment.and_then(has_numbers).unwrap_or_default();
        if self.agrees(executor, attempt, (epoch, None), differs) {
            return self.complete(executor, attempt, Finish::Diverged { epoch }, spent);
        }
        let (reason, _) = self.attempts.take_doubt(attempt).unwrap_or_default();
        let end = self.end_of_other_numbers(attempt, epoch, reason);
        self.end_without(executor, attempt, end, spent);
    }

    /// A trial was trained once more, as far as it had to be.
    fn on_checked(&mut self, executor: ExecutorId, attempt: AttemptId, diverged: Option<u32>, spent: Spent) {
        let kind = self.chronicle.book().task(attempt.task).map(TaskBook::kind);
        if let (Some(TaskKind::Check(segment)), Some(epoch)) = (kind, diverged) {
            self.compare(executor, segment.replicate, (epoch, None));
        }
        self.complete(executor, attempt, Finish::Checked, spent);
    }

    /// A trial is trained: if it may be the best or is the control, its weights are fetched first.
    fn on_trained(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        (epoch, weights): (u32, Option<Digest>),
        (sequence, spent): (u64, Spent),
    ) -> Settled {
        let book = self.chronicle.book();
        let is_wanted = book.trial_of(attempt.task).is_some_and(|(trial, _)| book.wants_weights(trial, epoch));
        match weights {
            Some(blob) if is_wanted => {
                let finish = Finish::Trained { epoch, weights: Some(blob) };
                self.fetch_artifact(executor, attempt, (finish, blob), (sequence, spent))
            }
            unwanted => {
                self.release_all(executor, attempt, unwanted);
                self.complete(executor, attempt, Finish::Trained { epoch, weights: None }, spent);
                Settled::Now
            }
        }
    }

    /// The end of an attempt waits for what it made.
    fn fetch_artifact(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        (finish, blob): (Finish, Digest),
        (sequence, spent): (u64, Spent),
    ) -> Settled {
        self.pull_artifact(executor, attempt, &finish, blob);
        let awaited = Awaited::Artifact { finish, blob, tries: 1 };
        self.await_end(attempt, Fetching { executor, sequence, spent, awaited });
        Settled::Later
    }

    pub(super) fn pull_artifact(&mut self, executor: ExecutorId, attempt: AttemptId, finish: &Finish, blob: Digest) {
        let task = attempt.task;
        let trial = self.chronicle.book().trial_of(task).map(|(trial, _)| trial);
        let (cargo, name) = match (finish, trial) {
            (Finish::Trained { .. }, Some(trial)) => (Cargo::Weights, names::weights(trial)),
            (Finish::Paused { checkpoint, .. }, _) => {
                (Cargo::Checkpoint { epoch: checkpoint.epoch }, names::checkpoint(task, checkpoint.epoch))
            }
            _ => (Cargo::Output, names::output(task)),
        };
        self.pull(executor, attempt, cargo, (blob, name));
    }

    /// An attempt stopped because its executor leaves, its driver was away, or the run is to end early: what it did
    /// since its last checkpoint is fetched first.
    fn on_stopped(&mut self, executor: ExecutorId, attempt: AttemptId, (sequence, spent): (u64, Spent)) -> Settled {
        let was_due =
            self.stopping || self.executors.is_draining(executor) || self.executors.came_with(executor, attempt);
        if !was_due {
            self.fail(executor, attempt, "it stopped without being asked to".to_owned(), spent);
            return Settled::Now;
        }
        if self.checkpoints.want_last_of(attempt) {
            self.fetch_due_checkpoints();
            let awaited = Awaited::LastCheckpoint;
            self.await_end(attempt, Fetching { executor, sequence, spent, awaited });
            return Settled::Later;
        }
        self.stopped(executor, attempt, spent);
        Settled::Now
    }

    /// An attempt has ended, and its end counts once something is here: until then nothing is due from it.
    fn await_end(&mut self, attempt: AttemptId, fetching: Fetching) {
        let executor = fetching.executor;
        self.attempts.enter(attempt, Phase::Fetching(fetching));
        self.feed(Event::AttemptEnding { executor, attempt });
    }

    pub(super) fn stopped(&mut self, executor: ExecutorId, attempt: AttemptId, spent: Spent) {
        self.forget_checkpoint(attempt);
        self.end_attempt(attempt, AttemptEnd::Stopped, spent);
        self.feed(Event::AttemptEnded { executor, attempt, outcome: Outcome::Stopped });
    }

    /// An attempt has its task's result.
    pub(super) fn complete(&mut self, executor: ExecutorId, attempt: AttemptId, finish: Finish, spent: Spent) {
        self.forget_checkpoint(attempt);
        self.note(&Record::Completed { attempt, spent, finish, at: self.now() });
        self.feed(Event::AttemptEnded { executor, attempt, outcome: Outcome::Completed });
    }

    pub(super) fn fail(&mut self, executor: ExecutorId, attempt: AttemptId, reason: String, spent: Spent) {
        self.end_without(executor, attempt, AttemptEnd::Failed { reason }, spent);
    }

    /// An attempt is over without a result: the journal and the scheduler hear of it.
    fn end_without(&mut self, executor: ExecutorId, attempt: AttemptId, end: AttemptEnd, spent: Spent) {
        tracing::warn!(%executor, %attempt, reason = end.reason(), "attempt {}", end.word());
        self.forget_checkpoint(attempt);
        let outcome = end.outcome();
        self.end_attempt(attempt, end, spent);
        if let Some(outcome) = outcome {
            self.feed(Event::AttemptEnded { executor, attempt, outcome });
        }
    }

    /// Lets an executor drop the checkpoint of an attempt that is over.
    fn forget_checkpoint(&mut self, attempt: AttemptId) {
        if let Some(offered) = self.checkpoints.forget(attempt) {
            self.tell(offered.executor, Order::Release(attempt, offered.blob));
        }
    }

    /// Lets an executor drop what an attempt made there.
    fn release_all(&mut self, executor: ExecutorId, attempt: AttemptId, blobs: impl IntoIterator<Item = Digest>) {
        for blob in blobs {
            self.tell(executor, Order::Release(attempt, blob));
        }
    }

    /// What an attempt made is no larger than what it needed to make it.
    fn pull(&mut self, executor: ExecutorId, attempt: AttemptId, cargo: Cargo, (blob, name): (Digest, String)) {
        let trial = self.chronicle.book().trial_of(attempt.task);
        let memory_bytes = trial.map_or(0, |(_, trial)| trial.needs.memory_bytes);
        let slack = if cargo == Cargo::Output { ANSWERS_BYTES_MAX } else { BLOB_BYTES_SLACK };
        let bytes_max = memory_bytes.saturating_add(slack);
        self.tell(executor, Order::Pull(Pull { attempt, cargo, blob, name, bytes_max }));
    }
}

/// The blobs that a report names: its executor keeps them until they are released.
fn blobs_of(event: &AttemptEvent) -> Vec<Digest> {
    match event {
        AttemptEvent::Epoch { checkpoint, .. } => checkpoint.iter().copied().collect(),
        AttemptEvent::Ended(ended) => ended.artifacts().iter().map(|artifact| artifact.blob).collect(),
    }
}

#[cfg(test)]
#[path = "reports_tests.rs"]
mod tests;
