//! What each event of a link and each command of the scheduler does.

use std::time::Instant;

use broadsweep_common::attempt::{Ended, Launch, News, Report};
use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};
use broadsweep_common::metrics::EpochReport;
use bytes::Bytes;

use super::book::Contradiction;
use super::{Pulling, Run, is_out_of_place};
use crate::cluster::{LinkError, LinkEvent, Order};
use crate::results::record::TrialOutcome;
use crate::scheduler::{Command, Event, Outcome, Time, Verdict};

/// How often weights are asked for before their attempt counts as failed.
const PULLS_MAX: u32 = 3;

impl Run<'_> {
    pub(super) fn on_link(&mut self, executor: ExecutorId, event: LinkEvent) {
        match event {
            LinkEvent::Connected => self.fleet.answering(executor),
            LinkEvent::Ready { session, slots } => {
                if self.fleet.is_new(executor) {
                    self.broadcast_s = self.started.elapsed().as_secs_f64();
                }
                for (executor, slots) in self.fleet.ready_now(executor, session, slots, self.settings.nodes_min) {
                    self.feed(Event::ExecutorReady { executor, slots });
                }
            }
            LinkEvent::Lost { reason } => self.lose(executor, &reason),
            LinkEvent::Unreachable(error) => {
                self.fleet.gone(executor, Some(error));
            }
            LinkEvent::Refused(error) => {
                let message = format!("{error}; going on without it");
                self.fleet.refused(executor, error);
                // The end of the run lists every node's error itself.
                if self.fleet.verdict(self.settings.nodes_min, Instant::now()).is_none() {
                    self.progress.println(&message);
                }
            }
            LinkEvent::Report(report) => self.on_report(executor, report),
            LinkEvent::Pulled { attempt, weights } => self.on_pulled(executor, attempt, weights),
        }
    }

    fn lose(&mut self, executor: ExecutorId, reason: &str) {
        let lost: Vec<_> = self.scheduler.running_on(executor).collect();
        let name = self.cluster.name(executor);
        self.progress.println(&match lost.len() {
            0 => format!("{name} was lost ({reason})"),
            1 => format!("{name} was lost ({reason}); its attempt is made again"),
            more => format!("{name} was lost ({reason}); its {more} attempts are made again"),
        });
        self.book.attempts_lost += lost.len() as u32;
        for attempt in lost {
            self.pulling.remove(&attempt);
            self.contradicted.remove(&attempt);
        }
        if self.fleet.gone(executor, None) {
            self.feed(Event::ExecutorLost(executor));
        }
    }

    fn on_report(&mut self, executor: ExecutorId, report: Report) {
        let Report { attempt, durations, news } = report;
        if self.scheduler.executor_of(attempt) != Some(executor) || self.pulling.contains_key(&attempt) {
            tracing::warn!(%executor, %attempt, "a report of an attempt that is not live is ignored");
            return;
        }
        let Some(trial) = self.book.trial_of(attempt.task) else { return };
        self.book.spent(attempt, durations);
        match news {
            News::Epoch(epoch) if !self.book.is_measure(attempt.task) => {
                tracing::info!(%executor, %attempt, epoch = epoch.epoch, loss = epoch.training_loss, "epoch done");
                if let Err(contradiction) = self.book.epoch(trial, &epoch) {
                    self.contradict(executor, attempt, contradiction);
                }
            }
            News::Epoch(_) => tracing::warn!(%executor, %attempt, "a measurement has no epochs"),
            News::Ended(ended) if is_out_of_place(&ended, self.book.is_measure(attempt.task)) => {
                self.fail(executor, attempt, "it reported an outcome that its task does not have".to_owned());
            }
            News::Ended(Ended::Complete { report: EpochReport { epoch, .. }, .. } | Ended::Diverged { epoch })
                if !self.book.has_epoch(trial, epoch) =>
            {
                self.fail(
                    executor,
                    attempt,
                    format!("it ended with epoch {epoch}, which its training does not have"),
                );
            }
            News::Ended(ended) => match self.contradicted.remove(&attempt) {
                None => self.on_end(executor, attempt, ended),
                Some(contradiction) => {
                    if let Ended::Complete { weights, .. } = ended {
                        self.tell(executor, Order::Release(weights));
                    }
                    self.fail(executor, attempt, contradiction.to_string());
                }
            },
        }
    }

    /// An attempt told something else than an earlier one: it is stopped, and tried again elsewhere.
    fn contradict(&mut self, executor: ExecutorId, attempt: AttemptId, contradiction: Contradiction) {
        self.progress.println(&format!("{}: {contradiction}", self.cluster.name(executor)));
        self.tell(executor, Order::Cancel(attempt));
        self.contradicted.insert(attempt, contradiction);
    }

    fn on_end(&mut self, executor: ExecutorId, attempt: AttemptId, ended: Ended) {
        let Some(trial) = self.book.trial_of(attempt.task) else { return };
        if let Ended::Complete { report, weights } = &ended
            && let Err(contradiction) = self.book.agrees(trial, report)
        {
            self.tell(executor, Order::Release(*weights));
            self.fail(executor, attempt, contradiction.to_string());
            return;
        }
        match ended {
            Ended::Complete { report, weights: blob } if self.book.wants_weights(trial, &report) => {
                self.tell(executor, Order::Pull { attempt, blob });
                self.pulling.insert(attempt, Pulling { report, blob, tries: 1 });
            }
            Ended::Complete { report, weights } => {
                self.tell(executor, Order::Release(weights));
                self.book.trained(trial, report, None);
                self.end(executor, attempt, Outcome::Completed);
            }
            Ended::Diverged { epoch } => {
                self.book.diverged(trial, epoch);
                self.end(executor, attempt, Outcome::Completed);
            }
            Ended::Measured(score) => {
                self.book.measured(trial, score);
                self.end(executor, attempt, Outcome::Completed);
            }
            Ended::Stopped => self.fail(executor, attempt, "it stopped without being asked to".to_owned()),
            Ended::Failed { reason } => self.fail(executor, attempt, reason),
        }
    }

    /// A candidate's result counts once its weights are here, so that the best trial's are never lost.
    fn on_pulled(&mut self, executor: ExecutorId, attempt: AttemptId, weights: Result<Vec<u8>, LinkError>) {
        let Some(trial) = self.book.trial_of(attempt.task) else { return };
        if self.scheduler.executor_of(attempt) != Some(executor) {
            return; // lost with its executor: another attempt will bring the same weights
        }
        let Some(mut pulling) = self.pulling.remove(&attempt) else { return };
        let blob = weights.map_err(|error| error.to_string());
        match blob.and_then(|bytes| Blob::new(Bytes::from(bytes)).map_err(|error| error.to_string())) {
            Ok(weights) => {
                self.tell(executor, Order::Release(pulling.blob));
                self.book.trained(trial, pulling.report, Some(weights));
                self.end(executor, attempt, Outcome::Completed);
            }
            // If the session is over, its end comes next; otherwise the weights may come at the second try.
            Err(reason) if pulling.tries < PULLS_MAX => {
                tracing::warn!(%executor, %attempt, reason, "asking again for weights");
                pulling.tries += 1;
                self.tell(executor, Order::Pull { attempt, blob: pulling.blob });
                self.pulling.insert(attempt, pulling);
            }
            Err(reason) => self.fail(executor, attempt, reason),
        }
    }

    fn fail(&mut self, executor: ExecutorId, attempt: AttemptId, reason: String) {
        tracing::warn!(%executor, %attempt, reason, "attempt failed");
        self.book.attempts_failed += 1;
        if let Some(trial) = self.book.trial_of(attempt.task) {
            self.failures.insert(trial, reason);
        }
        self.end(executor, attempt, Outcome::Failed);
    }

    fn end(&mut self, executor: ExecutorId, attempt: AttemptId, outcome: Outcome) {
        self.feed(Event::AttemptEnded { executor, attempt, outcome });
    }

    /// Gives an event to the scheduler and carries its commands out.
    pub(super) fn feed(&mut self, event: Event) {
        let now = Time::since_start(self.started.elapsed());
        match self.scheduler.handle(now, event) {
            Ok(commands) => commands.into_iter().for_each(|command| self.carry_out(command)),
            Err(rejected) => tracing::warn!(%rejected, "event rejected"),
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Launch(executor, attempt) => self.launch(executor, attempt),
            Command::Finish(task, verdict) => self.finish(task, verdict),
        }
    }

    fn launch(&mut self, executor: ExecutorId, attempt: AttemptId) {
        let Some((task, weights)) = self.book.task(attempt.task) else {
            tracing::error!(%attempt, "a task without a description was launched");
            return;
        };
        tracing::info!(%executor, %attempt, trial = task.trial().0, "launched");
        self.book.launched(attempt, self.cluster.name(executor), self.started.elapsed());
        self.tell(executor, Order::Launch { launch: Launch { attempt, task }, weights });
    }

    fn finish(&mut self, task: TaskId, verdict: Verdict) {
        let Some(trial) = self.book.trial_of(task) else { return };
        let given_up = match verdict {
            Verdict::Completed { .. } => None,
            Verdict::GivenUp { reason, .. } => {
                let last =
                    self.failures.get(&trial).map(|last| format!("; the last time: {last}")).unwrap_or_default();
                Some(format!("{reason}{last}"))
            }
        };
        if self.book.is_measure(task) {
            if let Some(reason) = given_up {
                self.unmeasured += 1;
                self.progress.println(&format!("the test error of {trial} could not be measured: {reason}"));
            }
            return;
        }
        self.book.ended(trial, given_up, self.started.elapsed());
        let record = &self.book.trials[trial.0 as usize];
        if let TrialOutcome::GivenUp { reason } = &record.outcome {
            self.progress.println(&format!("{trial} is given up: {reason}"));
        }
        self.progress.trial_ended(trial, &record.configuration, self.book.error_of(trial));
    }

    fn tell(&self, executor: ExecutorId, order: Order) {
        if let Some((session, _)) = self.fleet.session(executor) {
            self.cluster.tell(executor, session, order);
        }
    }
}
