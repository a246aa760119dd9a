//! What each report of an executor does. A report is settled, and may be acknowledged, once the journal has what it
//! tells; the end of an attempt whose weights or last checkpoint are wanted waits for those.

use broadsweep_common::attempt::{Ended, News, Report};
use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{AttemptId, Digest, ExecutorId, TrialId};
use broadsweep_common::metrics::EpochReport;
use bytes::Bytes;
use tokio::time::Instant;

use super::book::{Contradiction, Seen};
use super::checkpoints::Offered;
use super::record::{Finish, Kept, Record, Spent};
use super::{Effect, Run, checkpoint_name, weights_name};
use crate::cluster::{Cargo, Order, Pull, PullError};
use crate::records::attempt::AttemptEnd;
use broadsweep_scheduler::{Event, Outcome};

/// How often weights are asked for before their attempt counts as failed.
const PULLS_MAX: u32 = 3;

/// Bytes that weights or a checkpoint may have beyond the memory of their training: names, shapes, the course so far.
const BLOB_BYTES_SLACK: u64 = 64 << 20;

/// An attempt whose end waits for a blob.
pub(super) struct Awaited {
    pub(super) executor: ExecutorId,
    /// The message that told of the end.
    sequence: u64,
    spent: Spent,
    what: Await,
}

enum Await {
    /// The weights of a trial that may be the best.
    Weights { report: EpochReport, blob: Digest, tries: u32 },
    /// The last checkpoint of an attempt that stopped.
    Checkpoint,
}

/// Whether a report is settled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settled {
    Now,
    Later,
}

impl Run<'_> {
    pub(super) fn on_reports(&mut self, executor: ExecutorId, sequence: u64, reports: Vec<Report>) {
        self.acks.entry(executor).or_default().received(sequence, reports.len());
        for report in reports {
            if self.on_report(executor, sequence, report) == Settled::Now {
                self.settle(executor, sequence);
            }
        }
    }

    fn settle(&mut self, executor: ExecutorId, sequence: u64) {
        if let Some(acks) = self.acks.get_mut(&executor) {
            acks.settle(sequence);
            self.settled.insert(executor);
        }
    }

    fn on_report(&mut self, executor: ExecutorId, sequence: u64, report: Report) -> Settled {
        let Report { attempt, durations, news } = report;
        let spent = Spent::from(durations);
        if self.scheduler.executor_of(attempt) == Some(executor) && !self.awaited.contains_key(&attempt) {
            return match news {
                News::Epoch { report, checkpoint } => {
                    if self.on_epoch(executor, attempt, &report, spent) {
                        self.on_checkpoint(executor, attempt, report.epoch, checkpoint);
                    } else if let Some(checkpoint) = checkpoint {
                        self.tell(executor, Order::Release(checkpoint));
                    }
                    Settled::Now
                }
                News::Ended(ended) => self.on_end(executor, attempt, ended, (sequence, spent)),
            };
        }
        self.on_stale(executor, attempt, &news, spent);
        Settled::Now
    }

    /// A report of an attempt that was told to stop, or that was told before, or that never was.
    fn on_stale(&mut self, executor: ExecutorId, attempt: AttemptId, news: &News, spent: Spent) {
        match news {
            News::Epoch { checkpoint: Some(blob), .. } | News::Ended(Ended::Complete { weights: Some(blob), .. }) => {
                self.tell(executor, Order::Release(*blob));
            }
            News::Epoch { .. } | News::Ended(_) => {}
        }
        let stops = self.scheduler.running_on(executor).any(|running| running == attempt);
        if stops && matches!(news, News::Ended(_)) && self.scheduler.executor_of(attempt).is_none() {
            self.forget_checkpoint(attempt);
            self.end_attempt(attempt, AttemptEnd::Beaten, spent);
            self.feed(Event::AttemptEnded { executor, attempt, outcome: Outcome::Stopped });
        } else {
            tracing::debug!(%executor, %attempt, "a report of an attempt that is not live is ignored");
        }
    }

    /// Takes an epoch in; says whether it can be believed.
    fn on_epoch(&mut self, executor: ExecutorId, attempt: AttemptId, report: &EpochReport, spent: Spent) -> bool {
        if self.chronicle.book().is_measure(attempt.task) || self.contradicted.contains_key(&attempt) {
            tracing::warn!(%executor, %attempt, epoch = report.epoch, "an epoch that cannot be believed is ignored");
            return false;
        }
        match self.chronicle.book().judge(attempt, report) {
            Ok(seen) => {
                if seen == Seen::New {
                    tracing::info!(%executor, %attempt, epoch = report.epoch, loss = report.training_loss, "epoch done");
                    self.note(&Record::Epoch { attempt, report: *report, spent });
                }
                // Told again where it is known: an attempt that began anew is at work all the same.
                self.feed(Event::EpochEnded { executor, attempt, epoch: report.epoch });
                true
            }
            Err(contradiction) => {
                self.contradict(executor, attempt, contradiction);
                false
            }
        }
    }

    fn on_checkpoint(&mut self, executor: ExecutorId, attempt: AttemptId, epoch: u32, blob: Option<Digest>) {
        let Some((blob, session)) = blob.zip(self.executors.session(executor)) else { return };
        let known = self.chronicle.book().task(attempt.task).and_then(|task| task.checkpoint);
        if known.is_some_and(|kept| kept.epoch >= epoch) {
            self.tell(executor, Order::Release(blob));
            return;
        }
        let offered = Offered { attempt, executor, session, epoch, blob };
        if let Some(offered) = self.checkpoints.offered(offered, Instant::now()) {
            self.fetch(offered);
        }
    }

    fn fetch(&mut self, Offered { attempt, executor, epoch, blob, .. }: Offered) {
        let name = checkpoint_name(attempt.task, epoch);
        self.pull(executor, attempt, Cargo::Checkpoint { epoch }, (blob, name));
    }

    /// An attempt told something else than an earlier one: it is stopped, and tried again elsewhere.
    fn contradict(&mut self, executor: ExecutorId, attempt: AttemptId, contradiction: Contradiction) {
        self.say(format!("{}: {contradiction}", self.cluster.name(executor)));
        self.tell(executor, Order::Cancel { attempt, at_epoch_end: false });
        self.contradicted.insert(attempt, contradiction);
    }

    fn on_end(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        ended: Ended,
        (sequence, spent): (u64, Spent),
    ) -> Settled {
        if let Err(reason) = self.judge_end(attempt, &ended) {
            if let Ended::Complete { weights: Some(weights), .. } = ended {
                self.tell(executor, Order::Release(weights));
            }
            self.fail(executor, attempt, reason, spent);
            return Settled::Now;
        }
        let trial = TrialId(attempt.task.0);
        match ended {
            Ended::Complete { report, weights: Some(blob) }
                if self.chronicle.book().wants_weights(trial, &report) =>
            {
                self.pull_weights(executor, attempt, blob);
                let what = Await::Weights { report, blob, tries: 1 };
                self.awaited.insert(attempt, Awaited { executor, sequence, spent, what });
                return Settled::Later;
            }
            Ended::Complete { report, weights } => {
                if let Some(weights) = weights {
                    self.tell(executor, Order::Release(weights));
                }
                self.complete(executor, attempt, Finish::Trained { report, weights: None }, spent);
            }
            Ended::Diverged { epoch } => self.complete(executor, attempt, Finish::Diverged { epoch }, spent),
            Ended::Measured(score) => self.complete(executor, attempt, Finish::Measured(score), spent),
            Ended::Stopped => return self.on_stopped(executor, attempt, (sequence, spent)),
            Ended::Refused { needed_bytes, available_bytes } => {
                self.end_attempt(attempt, AttemptEnd::Refused { needed_bytes, available_bytes }, spent);
                self.feed(Event::AttemptEnded { executor, attempt, outcome: Outcome::Refused });
            }
            Ended::Failed { reason } => self.fail(executor, attempt, reason, spent),
        }
        Settled::Now
    }

    /// Why an end cannot be believed.
    fn judge_end(&mut self, attempt: AttemptId, ended: &Ended) -> Result<(), String> {
        let book = self.chronicle.book();
        let is_measure = book.is_measure(attempt.task);
        let fits = match ended {
            Ended::Measured(_) => is_measure,
            Ended::Complete { .. } | Ended::Diverged { .. } => !is_measure,
            Ended::Stopped | Ended::Failed { .. } | Ended::Refused { .. } => true,
        };
        if !fits {
            return Err("it reported an outcome that its task does not have".to_owned());
        }
        if let Some(contradiction) = self.contradicted.remove(&attempt) {
            return Err(contradiction.to_string());
        }
        match ended {
            Ended::Diverged { epoch } if !book.has_epoch(attempt.task, *epoch) => {
                Err(format!("it ended with epoch {epoch}, which its training does not have"))
            }
            Ended::Complete { weights: None, .. } if book.makes_weights(attempt.task) => {
                Err("it ended without the weights of its network".to_owned())
            }
            Ended::Complete { report, .. } => {
                book.agrees(attempt.task, report).map_err(|contradiction| contradiction.to_string())
            }
            _ => Ok(()),
        }
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
        let (fetch, is_coming) = self.checkpoints.last_of(attempt, Instant::now());
        if let Some(offered) = fetch {
            self.fetch(offered);
        }
        if is_coming {
            self.awaited.insert(attempt, Awaited { executor, sequence, spent, what: Await::Checkpoint });
            return Settled::Later;
        }
        self.stopped(executor, attempt, spent);
        Settled::Now
    }

    fn stopped(&mut self, executor: ExecutorId, attempt: AttemptId, spent: Spent) {
        self.forget_checkpoint(attempt);
        self.end_attempt(attempt, AttemptEnd::Stopped, spent);
        self.feed(Event::AttemptEnded { executor, attempt, outcome: Outcome::Stopped });
    }

    /// An attempt has its task's result.
    fn complete(&mut self, executor: ExecutorId, attempt: AttemptId, finish: Finish, spent: Spent) {
        self.forget_checkpoint(attempt);
        self.note(&Record::Completed { attempt, spent, finish, at: self.now() });
        self.feed(Event::AttemptEnded { executor, attempt, outcome: Outcome::Completed });
    }

    fn fail(&mut self, executor: ExecutorId, attempt: AttemptId, reason: String, spent: Spent) {
        tracing::warn!(%executor, %attempt, reason, "attempt failed");
        self.forget_checkpoint(attempt);
        self.end_attempt(attempt, AttemptEnd::Failed { reason }, spent);
        self.feed(Event::AttemptEnded { executor, attempt, outcome: Outcome::Failed });
    }

    /// Lets an executor drop the checkpoint of an attempt that is over.
    fn forget_checkpoint(&mut self, attempt: AttemptId) {
        if let Some(offered) = self.checkpoints.forget(attempt) {
            self.tell(offered.executor, Order::Release(offered.blob));
        }
    }

    fn pull_weights(&mut self, executor: ExecutorId, attempt: AttemptId, blob: Digest) {
        let name = weights_name(TrialId(attempt.task.0));
        self.pull(executor, attempt, Cargo::Weights, (blob, name));
    }

    /// What an attempt made is no larger than what it needed to make it.
    fn pull(&mut self, executor: ExecutorId, attempt: AttemptId, cargo: Cargo, (blob, name): (Digest, String)) {
        let trial = self.chronicle.book().plan().trials.get(attempt.task.0 as usize);
        let bytes_max = trial.map_or(0, |trial| trial.memory_bytes).saturating_add(BLOB_BYTES_SLACK);
        self.tell(executor, Order::Pull(Pull { attempt, cargo, blob, name, bytes_max }));
    }

    pub(super) fn on_pulled(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        cargo: Cargo,
        content: Result<Bytes, PullError>,
    ) {
        let content = match content {
            Err(PullError::Storage(error)) => {
                self.broken.get_or_insert(error.into());
                return;
            }
            Err(PullError::Link(error)) => Err(error.to_string()),
            Ok(content) => Blob::new(content).map_err(|error| error.to_string()),
        };
        match cargo {
            Cargo::Weights => self.on_weights(executor, attempt, content),
            Cargo::Checkpoint { epoch } => self.on_checkpoint_pulled(executor, attempt, epoch, content),
        }
    }

    /// A candidate's result counts once its weights are safe, so that the best trial's are never lost.
    fn on_weights(&mut self, executor: ExecutorId, attempt: AttemptId, content: Result<Blob<Bytes>, String>) {
        if self.awaited.get(&attempt).is_none_or(|awaited| awaited.executor != executor) {
            return; // of a session that is over: its report comes again
        }
        let Some(Awaited { sequence, spent, what, .. }) = self.awaited.remove(&attempt) else { return };
        let Await::Weights { report, blob, tries } = what else { return };
        if self.scheduler.executor_of(attempt) != Some(executor) {
            // It was beaten, or took too long to be waited for: the task has, or will have, another attempt's result.
            self.tell(executor, Order::Release(blob));
            self.end_attempt(attempt, AttemptEnd::Beaten, spent);
            self.feed(Event::AttemptEnded { executor, attempt, outcome: Outcome::Stopped });
            self.settle(executor, sequence);
            return;
        }
        let trial = TrialId(attempt.task.0);
        match content {
            Ok(weights) => {
                self.tell(executor, Order::Release(blob));
                let is_wanted = self.chronicle.book().wants_weights(trial, &report);
                let digest = is_wanted.then(|| weights.manifest.digest());
                self.complete(executor, attempt, Finish::Trained { report, weights: digest }, spent);
                for retired in self.chronicle.keep_weights(trial, weights) {
                    self.effects.push(Effect::Drop(weights_name(retired)));
                }
            }
            // If the session is over, its end comes next; otherwise the weights may come at the second try.
            Err(reason) if tries < PULLS_MAX => {
                tracing::warn!(%executor, %attempt, reason, "asking again for weights");
                self.pull_weights(executor, attempt, blob);
                let what = Await::Weights { report, blob, tries: tries + 1 };
                self.awaited.insert(attempt, Awaited { executor, sequence, spent, what });
                return;
            }
            Err(reason) => self.fail(executor, attempt, reason, spent),
        }
        self.settle(executor, sequence);
    }

    fn on_checkpoint_pulled(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        epoch: u32,
        content: Result<Blob<Bytes>, String>,
    ) {
        let bytes = content.as_ref().map_or(0, |blob| blob.manifest.bytes());
        let fetched = self.checkpoints.fetched(attempt, epoch, bytes, Instant::now());
        let task = self.chronicle.book().task(attempt.task);
        let is_over = task.is_none_or(|task| task.finish.is_some());
        let older = task.and_then(|task| task.checkpoint);
        match content {
            Ok(_) if is_over => self.effects.push(Effect::Drop(checkpoint_name(attempt.task, epoch))),
            Ok(_) if self.contradicted.contains_key(&attempt) => {} // nothing speaks of the file
            Ok(blob) if older.is_none_or(|older| older.epoch < epoch) => {
                let checkpoint = Kept { epoch, blob: blob.manifest.digest() };
                tracing::debug!(task = %attempt.task, epoch, "checkpoint safe");
                self.note(&Record::Checkpointed { task: attempt.task, checkpoint });
                if let Some(older) = older {
                    self.effects.push(Effect::Drop(checkpoint_name(attempt.task, older.epoch)));
                }
                self.feed(Event::Checkpointed { task: attempt.task, epoch });
            }
            Ok(_) => {}
            Err(reason) => tracing::info!(%executor, %attempt, epoch, reason, "a checkpoint was not fetched"),
        }
        if !self.awaited.get(&attempt).is_some_and(|awaited| matches!(awaited.what, Await::Checkpoint)) {
            return;
        }
        // The attempt stopped meanwhile: its very last checkpoint may still wait.
        if let (Some(offered), _) = self.checkpoints.last_of(attempt, Instant::now()) {
            self.fetch(offered);
        } else if let Some(Awaited { sequence, spent, .. }) = self.awaited.remove(&attempt) {
            if let Some(offered) = fetched {
                self.tell(executor, Order::Release(offered.blob));
            }
            self.stopped(executor, attempt, spent);
            self.settle(executor, sequence);
        }
    }
}
