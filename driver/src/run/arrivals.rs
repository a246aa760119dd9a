//! What each blob does that was asked for and is in the run folder now, or will not come.

use broadsweep_common::application::Applied;
use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{AttemptId, ExecutorId};
use broadsweep_scheduler::{Event, Outcome};
use bytes::Bytes;
use tokio::time::Instant;

use super::attempts::{Awaited, Fetching, Phase};
use super::record::{Finish, Record, SafeCheckpoint};
use super::{Effect, Run, names};
use crate::cluster::{Cargo, Order, PullError};
use crate::records::attempt::AttemptEnd;

/// How often an artifact is asked for before its attempt counts as failed.
const PULLS_MAX: u32 = 3;

impl Run<'_> {
    pub(super) fn on_pulled(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        cargo: Cargo,
        content: Result<Blob<Bytes>, PullError>,
    ) {
        let content = match content {
            Err(PullError::Storage(error)) => {
                self.broken.get_or_insert(error.into());
                return;
            }
            Err(PullError::Link(error)) => Err(error.to_string()),
            Ok(content) => Ok(content),
        };
        match cargo {
            Cargo::Checkpoint { epoch } if !self.waits_for_pause(attempt, epoch) => {
                self.on_checkpoint_pulled(executor, attempt, epoch, content);
            }
            Cargo::Checkpoint { .. } | Cargo::Weights | Cargo::Output => {
                self.on_artifact(executor, attempt, content);
            }
        }
    }

    /// Whether an attempt that ended waits for the state after this epoch: it is what its trial pauses with. Older ones may
    /// still be on their way.
    fn waits_for_pause(&self, attempt: AttemptId, epoch: u32) -> bool {
        self.attempts.fetching(attempt).is_some_and(|fetching| match &fetching.awaited {
            Awaited::Artifact { finish, .. } => finish.keeps(epoch),
            Awaited::LastCheckpoint => false,
        })
    }

    /// A result counts once what it is made of is safe, so that it is never lost.
    fn on_artifact(&mut self, executor: ExecutorId, attempt: AttemptId, content: Result<Blob<Bytes>, String>) {
        if self.attempts.fetching(attempt).is_none_or(|fetching| fetching.executor != executor) {
            return; // of a session that is over: its report comes again
        }
        let Some(Fetching { sequence, spent, awaited, .. }) = self.attempts.take_fetching(attempt) else { return };
        let Awaited::Artifact { finish, blob, tries } = awaited else { return };
        if self.scheduler.executor_of(attempt) != Some(executor) {
            // It was beaten, or took too long to be waited for: the task has, or will have, another attempt's result.
            self.tell(executor, Order::Release(attempt, blob));
            self.end_attempt(attempt, AttemptEnd::Beaten, spent);
            self.feed(Event::AttemptEnded { executor, attempt, outcome: Outcome::Stopped });
            self.mail.settle(executor, sequence);
            return;
        }
        let content = content.and_then(|content| {
            // A former checkpoint of the attempt may still have been on its way.
            let is_it = content.manifest.digest() == blob;
            is_it.then_some(content).ok_or_else(|| "another blob came in its place".to_owned())
        });
        let content = content.and_then(|content| match finish {
            // Its executor may be of another mind about what answers are: then it is no result.
            Finish::Applied { .. } => match Applied::of_artifact(&content.content) {
                Ok(_) => Ok(content),
                Err(error) => Err(format!("what came out of the partition cannot be read: {error}")),
            },
            _ => Ok(content),
        });
        match content {
            Ok(content) => {
                self.tell(executor, Order::Release(attempt, blob));
                self.complete_with(executor, attempt, (finish, content), spent);
            }
            // If the session is over, its end comes next; otherwise the blob may come at the second try.
            Err(reason) if tries < PULLS_MAX => {
                tracing::warn!(%executor, %attempt, reason, "asking again for what an attempt made");
                self.pull_artifact(executor, attempt, &finish, blob);
                let awaited = Awaited::Artifact { finish, blob, tries: tries + 1 };
                self.attempts.enter(attempt, Phase::Fetching(Fetching { executor, sequence, spent, awaited }));
                return;
            }
            Err(reason) => {
                self.tell(executor, Order::Release(attempt, blob));
                self.fail(executor, attempt, reason, spent);
            }
        }
        self.mail.settle(executor, sequence);
    }

    /// What an attempt made is in the run folder: its task is over.
    fn complete_with(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        (finish, content): (Finish, Blob<Bytes>),
        spent: super::record::Spent,
    ) {
        let trial = self.chronicle.book().trial_of(attempt.task).map(|(trial, _)| trial);
        match (finish, trial) {
            (Finish::Trained { epoch, .. }, Some(trial)) => {
                // Another trial may have become the best meanwhile.
                let is_wanted = self.chronicle.book().wants_weights(trial, epoch);
                let weights = is_wanted.then(|| content.manifest.digest());
                self.complete(executor, attempt, Finish::Trained { epoch, weights }, spent);
                for retired in self.chronicle.keep_weights(trial, content) {
                    self.effects.push(Effect::Drop(names::weights(retired)));
                }
            }
            (finish, _) => self.complete(executor, attempt, finish, spent),
        }
    }

    fn on_checkpoint_pulled(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        epoch: u32,
        content: Result<Blob<Bytes>, String>,
    ) {
        let bytes = content.as_ref().map_or(0, |blob| blob.manifest.bytes());
        let fetched = self.checkpoints.fetched((attempt, epoch), bytes, Instant::now());
        self.keep_checkpoint(executor, attempt, epoch, content);
        self.fetch_due_checkpoints();
        let is_last =
            self.attempts.fetching(attempt).is_some_and(|one| matches!(one.awaited, Awaited::LastCheckpoint));
        if !is_last {
            return;
        }
        // The attempt stopped meanwhile: its very last checkpoint may still wait.
        if self.checkpoints.want_last_of(attempt) {
            self.fetch_due_checkpoints();
        } else if let Some(Fetching { sequence, spent, .. }) = self.attempts.take_fetching(attempt) {
            if let Some(offered) = fetched {
                self.tell(executor, Order::Release(attempt, offered.blob));
            }
            self.stopped(executor, attempt, spent);
            self.mail.settle(executor, sequence);
        }
    }

    /// A checkpoint that was fetched while its attempt ran takes the place of an older one.
    fn keep_checkpoint(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        epoch: u32,
        content: Result<Blob<Bytes>, String>,
    ) {
        let task = self.chronicle.book().task(attempt.task);
        let is_over = task.is_none_or(super::task::TaskBook::is_finished);
        let keeps = self.chronicle.book().needs_checkpoint(attempt.task, epoch);
        let older = task.and_then(|task| task.checkpoint);
        match content {
            Ok(_) if keeps => {} // it is what the task ended with
            Ok(_) if is_over => self.effects.push(Effect::Drop(names::checkpoint(attempt.task, epoch))),
            Ok(_) if self.attempts.is_doubted(attempt) => {} // nothing speaks of the file
            Ok(blob) if older.is_none_or(|older| older.epoch < epoch) => {
                let checkpoint = SafeCheckpoint { epoch, blob: blob.manifest.digest() };
                tracing::debug!(task = %attempt.task, epoch, "checkpoint safe");
                self.note(&Record::Checkpointed { task: attempt.task, checkpoint });
                if let Some(older) = older {
                    self.effects.push(Effect::Drop(names::checkpoint(attempt.task, older.epoch)));
                }
                self.feed(Event::Checkpointed { task: attempt.task, epoch });
            }
            Ok(_) => {}
            Err(reason) => tracing::info!(%executor, %attempt, epoch, reason, "a checkpoint was not fetched"),
        }
    }
}

#[cfg(test)]
#[path = "arrivals_tests.rs"]
mod tests;
