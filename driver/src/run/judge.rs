//! Which reports of an attempt can be believed: those that do not contradict what is known.

use broadsweep_common::attempt::{ArtifactName, Ended};
use broadsweep_common::dataset::Part;
use broadsweep_common::details::Details;
use broadsweep_common::ids::{AttemptId, Digest, TaskId, TrialId};
use broadsweep_common::measure::MEASURES_MAX;
use broadsweep_common::metrics::{METRICS_MAX, MetricName, Metrics};
use broadsweep_common::task::{Segment, TaskKind};

use super::book::Book;
use super::task::TaskBook;
use crate::records::attempt::AttemptEnd;

/// Different metrics that one trial may report: a report has half as many at most, and a program may tell some now and
/// others then.
const NAMES_OF_TRIAL_MAX: usize = 2 * METRICS_MAX;

/// A report that contradicts what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{trial} reported epoch {epoch} out of turn, or more metrics than a trial has")]
pub(super) struct Contradiction {
    pub(super) trial: TrialId,
    pub(super) epoch: u32,
}

/// What the report of an epoch is, if it is in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JudgedEpoch {
    pub(super) seen: Seen,
    /// Whether an attempt told other numbers of this epoch before.
    pub(super) differs: bool,
}

/// Whether an epoch's report tells something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The attempt has done one more epoch.
    New,
    /// The attempt said so before: its report was handed over twice.
    Before,
}

/// An end that can be believed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum JudgedEnd {
    /// A trial is trained to its end; its weights, if it has some.
    Trained {
        epoch: u32,
        weights: Option<Digest>,
    },
    /// A segment is trained to its end; the state after it.
    Paused {
        epoch: u32,
        until_epoch: u32,
        checkpoint: Digest,
    },
    Diverged {
        epoch: u32,
    },
    Measured(Metrics),
    Examined(Details),
    Applied {
        output: Digest,
    },
    /// What was trained once more came to its end, or diverged in this epoch.
    Checked {
        diverged: Option<u32>,
    },
    Stopped,
    /// It ended without a result.
    Without(AttemptEnd),
}

impl Book {
    /// Whether the report of an epoch is in turn, and what it is. `None` if its task has no epochs that count.
    pub(super) fn judge_epoch(
        &self,
        attempt: AttemptId,
        epoch: u32,
        metrics: &Metrics,
    ) -> Option<Result<JudgedEpoch, Contradiction>> {
        let (task, record) = (self.task(attempt.task)?, self.attempt(attempt)?);
        let segment = task.segment()?;
        let trial = segment.replicate.trial;
        let contradiction = Contradiction { trial, epoch };
        let curves = &self.trial(trial)?.replicate(segment.replicate)?.curves;
        let differs = curves.at(epoch).is_some_and(|known| known != *metrics);
        let is_new = |name: &&MetricName| curves.names().binary_search(name).is_err();
        let names = curves.names().len() + metrics.iter().map(|(name, _)| name).filter(is_new).count();
        if names > NAMES_OF_TRIAL_MAX || epoch == 0 || epoch > segment.until_epoch {
            return Some(Err(contradiction));
        }
        Some(if Some(epoch) == record.epoch.checked_add(1) && epoch <= curves.epochs().saturating_add(1) {
            Ok(JudgedEpoch { seen: Seen::New, differs })
        } else if epoch <= record.epoch {
            Ok(JudgedEpoch { seen: Seen::Before, differs })
        } else {
            Err(contradiction)
        })
    }

    /// The end of an attempt, if it can be believed; otherwise why not, for people.
    pub(super) fn judge_end(&self, task: TaskId, ended: &Ended) -> Result<JudgedEnd, String> {
        let kind = self.task(task).map(TaskBook::kind);
        match (ended, kind) {
            (Ended::Trained { epoch, .. }, Some(TaskKind::Train(segment))) => {
                self.judge_trained(segment, *epoch, ended)
            }
            (Ended::Trained { .. }, Some(TaskKind::Check(_))) => Ok(JudgedEnd::Checked { diverged: None }),
            (Ended::Diverged { epoch }, Some(TaskKind::Check(_))) => {
                Ok(JudgedEnd::Checked { diverged: Some(*epoch) })
            }
            (Ended::Diverged { epoch }, Some(TaskKind::Train(segment))) => {
                let trial = segment.replicate.trial;
                let replicate = self.trial(trial).and_then(|book| book.replicate(segment.replicate));
                // The epochs before it have to have numbers; they may have been told to a driver that had not taken the
                // attempt on.
                let told = replicate.ok_or_else(foreign)?.curves.epochs();
                (1..=segment.until_epoch.min(told.saturating_add(1)))
                    .contains(epoch)
                    .then_some(JudgedEnd::Diverged { epoch: *epoch })
                    .ok_or_else(|| Contradiction { trial, epoch: *epoch }.to_string())
            }
            (Ended::Measured(metrics), Some(TaskKind::Measure { part, .. })) => {
                is_measured(metrics, part).then(|| JudgedEnd::Measured(metrics.clone())).ok_or_else(foreign)
            }
            (Ended::Examined(details), Some(TaskKind::Examine { .. })) => Ok(JudgedEnd::Examined(details.clone())),
            (Ended::Applied { .. }, Some(TaskKind::Apply { .. })) => {
                let output = ended.artifact(ArtifactName::Output);
                output
                    .map(|output| JudgedEnd::Applied { output })
                    .ok_or_else(|| "it ended without what came out of its partition".to_owned())
            }
            (Ended::Stopped, _) => Ok(JudgedEnd::Stopped),
            (Ended::Failed { reason }, _) => Ok(JudgedEnd::Without(AttemptEnd::Failed { reason: reason.clone() })),
            (Ended::Refused { needed_bytes, available_bytes }, _) => {
                let (needed_bytes, available_bytes) = (*needed_bytes, *available_bytes);
                Ok(JudgedEnd::Without(AttemptEnd::Refused { needed_bytes, available_bytes }))
            }
            (
                Ended::Trained { .. }
                | Ended::Diverged { .. }
                | Ended::Measured(_)
                | Ended::Examined(_)
                | Ended::Applied { .. },
                Some(
                    TaskKind::Train(_)
                    | TaskKind::Check(_)
                    | TaskKind::Measure { .. }
                    | TaskKind::Examine { .. }
                    | TaskKind::Apply { .. },
                )
                | None,
            ) => Err(foreign()),
        }
    }

    /// Why a program's training has no result although it came to its end: no epoch told what trials are ranked by. An
    /// attempt that went on from a checkpoint cannot know.
    pub(super) fn lacks_objective(&self, task: TaskId) -> Option<String> {
        let replicate = self.task(task)?.segment()?.replicate;
        let curves = &self.trial(replicate.trial)?.replicate(replicate)?.curves;
        let objective = &self.ranking.objectives().first().metric;
        let is_told = (1..=curves.epochs()).rev().any(|epoch| curves.get(epoch, objective).is_some());
        (!is_told).then(|| format!("it had not reported {objective} by epoch {}", curves.epochs()))
    }

    /// The end of a training that came to the end of its segment.
    fn judge_trained(&self, segment: Segment, epoch: u32, ended: &Ended) -> Result<JudgedEnd, String> {
        let trial = segment.replicate.trial;
        let known = self.trial(trial).zip(self.trial(trial).and_then(|book| book.replicate(segment.replicate)));
        let (book, replicate) = known.ok_or_else(foreign)?;
        if !(1..=replicate.curves.epochs()).contains(&epoch) {
            return Err(Contradiction { trial, epoch }.to_string());
        }
        let (weights, checkpoint) = (ended.artifact(ArtifactName::Weights), ended.artifact(ArtifactName::Checkpoint));
        if ended.artifact(ArtifactName::Output).is_some() {
            return Err(foreign());
        }
        match (checkpoint, weights) {
            (Some(checkpoint), None) => {
                let until_epoch = segment.until_epoch;
                let fits = until_epoch < book.needs.epochs && replicate.curves.epochs() >= until_epoch;
                let paused = JudgedEnd::Paused { epoch, until_epoch, checkpoint };
                fits.then_some(paused).ok_or_else(foreign)
            }
            (None, None) if book.needs.makes_weights => Err("it ended without the weights of its network".to_owned()),
            (None, weights) => Ok(JudgedEnd::Trained { epoch, weights }),
            (Some(_), Some(_)) => Err(foreign()),
        }
    }
}

/// Whether these are the loss and the error of a part, and what else is measured there.
fn is_measured(metrics: &Metrics, part: Part) -> bool {
    let (own, prefix) = (MetricName::of_part(part), format!("{part}_"));
    let is_whole = own.iter().all(|name| metrics.get(name).is_some());
    let are_of_part = metrics.iter().all(|(name, _)| name.as_str().starts_with(&prefix));
    is_whole && are_of_part && metrics.len() <= own.len() + MEASURES_MAX
}

fn foreign() -> String {
    "it reported an outcome that its task does not have".to_owned()
}
