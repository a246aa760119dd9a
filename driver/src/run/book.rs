//! What is known of a run: what the records of its journal add up to. It only records; search and scheduler decide.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;

use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{AttemptId, Digest, ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::task::{Replicate, TaskKind};
use broadsweep_scheduler::Moment;
use broadsweep_search::VirtualTime;
use broadsweep_search::ranking::{Objectives, Ranking, Values};
use bytes::Bytes;

use super::record::{Begun, Difference, Finish, Row, SafeCheckpoint};
use super::task::TaskBook;
use super::trial::TrialBook;
use crate::records::attempt::AttemptRecord;
use crate::records::change::{ChangeRecord, picks_after};
use crate::records::curves::Columns;
use crate::records::run::{BroadcastRecord, DetailsRecord};
use crate::records::standing::{Standing, StandingSince};
use crate::study::Study;

/// Lists of metrics that a run may have that are reported together: a program has a few.
const NAME_LISTS_MAX: usize = 4096;

/// The trials and tasks of a run, and the weights that are worth keeping.
pub(super) struct Book {
    /// The newest driver.
    pub(super) begun: Option<Begun>,
    /// What people call the executors, in their order.
    pub(super) executors: Vec<String>,
    /// The process that each of them was when it was in use last.
    pub(super) processes: BTreeMap<ExecutorId, u64>,
    /// How each of them stood, in order of time.
    pub(super) standings: Vec<Vec<StandingSince>>,
    /// What the broadcast took so far.
    pub(super) broadcast: BroadcastRecord,
    /// What the search decided, in order.
    pub(super) decisions: Vec<Asked>,
    /// The moments of the search's clock: from which decision on it showed what.
    pub(super) moments: Vec<(u32, VirtualTime)>,
    /// From the end of a segment to the moment at which the search is shown its result.
    pub(super) lag: Option<NonZeroU64>,
    /// In the order in which they were started.
    pub(super) trials: Vec<TrialBook>,
    /// In the order in which they were added.
    pub(super) tasks: Vec<TaskBook>,
    /// Whether all tasks are there.
    pub(super) adding_ended: bool,
    /// Which trial is the control.
    pub(super) control: Option<TrialId>,
    /// Which trial is the best so far.
    pub(super) ranking: Ranking,
    /// Weights of the best and of the control.
    pub(super) weights: BTreeMap<TrialId, Blob<Bytes>>,
    /// The names of the parameters, which the trials' configurations share.
    pub(super) parameters: BTreeSet<Arc<str>>,
    /// The lists of metrics that were reported together, by number.
    pub(super) names: Vec<Arc<[MetricName]>>,
    /// The columns that the trials' curves share.
    pub(super) columns: Columns,
    /// Where executors told different numbers: at most once a replicate.
    pub(super) differences: BTreeMap<(Replicate, u32), Difference>,
    /// Epochs that were reported by a second attempt.
    pub(super) repeated: u64,
    /// Attempts that ended with their executor, and those whose program failed.
    pub(super) misfortunes: (u32, u32),
    /// What people, or the clock, changed, in order.
    pub(super) changes: Vec<ChangeRecord>,
    /// The wishes that were granted, by number.
    pub(super) granted: Vec<u64>,
    /// The latest moment that a record tells of.
    pub(super) latest: Moment,
}

/// What the search asked for, as it is remembered: what a start is made of stands with its trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Start(TrialId),
    Continue { trial: TrialId, until_epoch: u32 },
    Ended,
}

/// A record that cannot follow those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(pub(super) String);

impl Book {
    /// The book of a run that has not begun, and ranks its trials by `objectives`.
    pub(super) fn new(objectives: Objectives) -> Self {
        Self {
            begun: None,
            executors: Vec::new(),
            processes: BTreeMap::new(),
            standings: Vec::new(),
            broadcast: BroadcastRecord::default(),
            decisions: Vec::new(),
            moments: Vec::new(),
            lag: None,
            trials: Vec::new(),
            tasks: Vec::new(),
            adding_ended: false,
            control: None,
            ranking: Ranking::new(objectives, None),
            weights: BTreeMap::new(),
            parameters: BTreeSet::new(),
            names: Vec::new(),
            columns: Columns::default(),
            differences: BTreeMap::new(),
            repeated: 0,
            misfortunes: (0, 0),
            changes: Vec::new(),
            granted: Vec::new(),
            latest: Moment::default(),
        }
    }

    /// The moment up to which the run is known.
    pub(super) fn latest(&self) -> Moment {
        self.latest
    }

    /// The slots that an executor had last; 0 if it was never ready.
    pub(super) fn slots_of(&self, executor: ExecutorId) -> u32 {
        let standings = self.standings.get(executor.0 as usize).map(Vec::as_slice).unwrap_or_default();
        let slots = standings.iter().rev().find_map(|stood| match stood.standing {
            Standing::Ready { slots } => Some(slots),
            Standing::Gone | Standing::Answering | Standing::Unasked => None,
        });
        slots.unwrap_or_default()
    }

    /// The process that an executor was when it was in use last, under whatever driver.
    pub(super) fn process_of(&self, executor: ExecutorId) -> Option<u64> {
        self.processes.get(&executor).copied()
    }

    /// How an executor stands.
    pub(super) fn standing_of(&self, executor: ExecutorId) -> Standing {
        let last = self.standings.get(executor.0 as usize).and_then(|standings| standings.last());
        last.map_or(Standing::Gone, |last| last.standing)
    }

    /// Executors that were ever ready, and their slots.
    pub(super) fn took_part(&self) -> (u32, u32) {
        let slots = (0..self.executors.len() as u32).map(|number| self.slots_of(ExecutorId(number)));
        slots.filter(|slots| *slots > 0).fold((0, 0), |(executors, sum), slots| (executors + 1, sum + slots))
    }

    /// Every task so far, in the order in which they were added.
    pub(super) fn tasks(&self) -> impl Iterator<Item = (TaskId, &TaskBook)> {
        self.tasks.iter().enumerate().map(|(number, task)| (TaskId(number as u32), task))
    }

    pub(super) fn task(&self, task: TaskId) -> Option<&TaskBook> {
        self.tasks.get(task.0 as usize)
    }

    /// Every trial so far, in the order in which they were started.
    pub(super) fn trials(&self) -> impl Iterator<Item = (TrialId, &TrialBook)> {
        self.trials.iter().enumerate().map(|(number, trial)| (TrialId(number as u32), trial))
    }

    pub(super) fn trial(&self, trial: TrialId) -> Option<&TrialBook> {
        self.trials.get(trial.0 as usize)
    }

    /// The trial that a task belongs to.
    pub(super) fn trial_of(&self, task: TaskId) -> Option<(TrialId, &TrialBook)> {
        let trial = self.task(task)?.trial()?;
        Some((trial, self.trial(trial)?))
    }

    /// One attempt.
    pub(super) fn attempt(&self, attempt: AttemptId) -> Option<&AttemptRecord> {
        self.task(attempt.task)?.attempts.get((attempt.number as usize).wrapping_sub(1))
    }

    /// All attempts of all tasks.
    pub(super) fn attempts(&self) -> impl Iterator<Item = &AttemptRecord> {
        self.tasks.iter().flat_map(|task| &task.attempts)
    }

    /// Whether the search decides nothing more.
    pub(super) fn search_has_ended(&self) -> bool {
        self.decisions.last() == Some(&Asked::Ended)
    }

    /// Whether nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        self.adding_ended && self.tasks.iter().all(TaskBook::is_finished)
    }

    /// What the newest segment of a trial ended with; `None` while it is under way.
    pub(super) fn finish_of(&self, trial: TrialId) -> Option<&(Finish, Moment)> {
        let newest = *self.trial(trial)?.first()?.segments.last()?;
        self.task(newest)?.finish.as_ref()
    }

    /// The epoch after which a trial has paused; `None` while it is under way, and once it is over.
    pub(super) fn paused_at(&self, trial: TrialId) -> Option<u32> {
        match self.finish_of(trial)? {
            (Finish::Paused { checkpoint, .. }, _) => Some(checkpoint.epoch),
            _ => None,
        }
    }

    /// The trials that are over, with the value by which each is ranked.
    pub(super) fn ended(&self) -> impl Iterator<Item = (TrialId, &TrialBook, Option<Values>)> {
        let is_over = |trial: &TrialId| self.finish_of(*trial).is_some_and(|(finish, _)| finish.is_end());
        self.trials()
            .filter(move |(trial, _)| is_over(trial))
            .map(|(number, trial)| (number, trial, self.value_of(number)))
    }

    /// The value by which a trained trial is ranked.
    pub(super) fn value_of(&self, trial: TrialId) -> Option<Values> {
        match self.finish_of(trial)? {
            (Finish::Trained { epoch, .. }, _) => self.value_at(trial, *epoch),
            _ => None,
        }
    }

    /// The values of the objectives that a trial reported at an epoch.
    pub(super) fn value_at(&self, trial: TrialId, epoch: u32) -> Option<Values> {
        let curves = &self.trial(trial)?.first()?.curves;
        self.ranking.objectives().values(|metric| curves.get(epoch, metric))
    }

    /// Whether the weights of a trial that ended with this epoch are worth fetching: it is the control, or the best so far.
    pub(super) fn wants_weights(&self, trial: TrialId, epoch: u32) -> bool {
        let is_best = self.value_at(trial, epoch).is_some_and(|value| self.ranking.would_be_best(trial, value));
        Some(trial) == self.control || is_best
    }

    /// Weights have come. Another trial may have become the best while they were on their way: then they are not kept.
    /// Returns whose need not be any longer.
    pub(super) fn keep_weights(&mut self, trial: TrialId, weights: Blob<Bytes>) -> Vec<TrialId> {
        self.weights.insert(trial, weights);
        let retired: Vec<_> =
            self.weights.keys().copied().filter(|trial| !self.ranking.is_worth_keeping(*trial)).collect();
        for retired in &retired {
            self.weights.remove(retired);
        }
        retired
    }

    /// The trials whose weights have to be in the run folder: the best and the control, as far as they have any.
    pub(super) fn weights_needed(&self) -> BTreeMap<TrialId, Digest> {
        let candidates = self.ranking.best().map(|(best, _)| best).into_iter().chain(self.control);
        let weights = |trial: TrialId| match self.finish_of(trial)? {
            (Finish::Trained { weights, .. }, _) => weights.map(|weights| (trial, weights)),
            _ => None,
        };
        candidates.filter_map(weights).collect()
    }

    /// The trials whose weights are worth a last look at the test rows: the best and the control.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (TrialId, Digest)> {
        self.weights.iter().map(|(trial, weights)| (*trial, weights.manifest.digest()))
    }

    /// The best trial, and the name of its weights.
    pub(super) fn best_candidate(&self) -> Option<(TrialId, Digest)> {
        self.best_weights().map(|(trial, weights)| (trial, weights.manifest.digest()))
    }

    /// The best trial, with its weights.
    pub(super) fn best_weights(&self) -> Option<(TrialId, &Blob<Bytes>)> {
        let (best, _) = self.ranking.best()?;
        self.weights.get(&best).map(|weights| (best, weights))
    }

    /// The checkpoints that may be gone on from: the newest of each task that is not over, and what it began with; and
    /// those of trials that have paused.
    pub(super) fn checkpoints(&self) -> impl Iterator<Item = (TaskId, SafeCheckpoint)> {
        self.tasks().filter_map(|(number, task)| match &task.finish {
            None => Some((number, task.checkpoint?)),
            Some((Finish::Paused { checkpoint, .. }, _)) => {
                (!self.adding_ended && !self.is_continued_to_its_end(number)).then_some((number, *checkpoint))
            }
            Some(_) => None,
        })
    }

    /// Whether a trial may still go on from the state after this epoch, with which this task is over.
    pub(super) fn needs_checkpoint(&self, task: TaskId, epoch: u32) -> bool {
        let finish = self.task(task).and_then(|task| task.finish.as_ref());
        let is_kept = finish.is_some_and(|(finish, _)| finish.keeps(epoch));
        is_kept && !self.adding_ended && !self.is_continued_to_its_end(task)
    }

    /// Whether the segment that goes on from this one is over, so that nobody needs the checkpoint between them.
    pub(super) fn is_continued_to_its_end(&self, task: TaskId) -> bool {
        let next = self.next_segment(task).and_then(|next| self.task(next));
        next.and_then(|next| next.finish.as_ref()).is_some_and(|(finish, _)| *finish != Finish::LeftOut)
    }

    /// The segment that goes on from this one.
    fn next_segment(&self, task: TaskId) -> Option<TaskId> {
        let replicate = self.task(task)?.segment()?.replicate;
        let segments = &self.trial(replicate.trial)?.replicate(replicate)?.segments;
        let place = segments.iter().position(|known| *known == task)?;
        segments.get(place + 1).copied()
    }

    /// What came out of partitions, and has to be in the run folder.
    pub(super) fn outputs(&self) -> impl Iterator<Item = TaskId> {
        self.tasks()
            .filter(|(_, task)| matches!(task.finish, Some((Finish::Applied { .. }, _))))
            .map(|(task, _)| task)
    }

    /// The tasks that look at the test rows, each with its trial.
    pub(super) fn measured_tasks(&self) -> impl Iterator<Item = (&TaskBook, TrialId)> {
        self.tasks.iter().filter_map(|task| match task.kind() {
            TaskKind::Measure { replicate, .. } => Some((task, replicate.trial)),
            TaskKind::Train(_) | TaskKind::Check(_) | TaskKind::Examine { .. } | TaskKind::Apply { .. } => None,
        })
    }

    /// Whether there is such a task, and it was not left out or given up.
    pub(super) fn has_task(&self, kind: TaskKind) -> bool {
        let is_wanted = |task: &TaskBook| !matches!(task.finish, Some((Finish::LeftOut | Finish::GivenUp { .. }, _)));
        self.tasks.iter().any(|task| task.kind() == kind && is_wanted(task))
    }

    /// What `trials` of the study's sampler is, if somebody asked for more than the study says.
    pub(super) fn picks(&self) -> Option<u32> {
        picks_after(&self.changes)
    }

    /// The study as it is searched now.
    pub(super) fn study_now<'s>(&self, study: &'s Study) -> Cow<'s, Study> {
        self.picks().map_or(Cow::Borrowed(study), |picks| Cow::Owned(study.extended(picks)))
    }

    /// The closer looks at the best that are over, each with the part that it was at.
    pub(super) fn details(&self) -> impl Iterator<Item = DetailsRecord> {
        let best = self.ranking.best().map(|(best, _)| best);
        self.tasks.iter().filter_map(move |task| match (task.kind(), &task.finish) {
            (TaskKind::Examine { replicate, part, .. }, Some((Finish::Examined(details), _)))
                if best.is_none_or(|best| best == replicate.trial) =>
            {
                Some(DetailsRecord { trial: replicate.trial, part, details: details.clone() })
            }
            _ => None,
        })
    }

    /// Metrics as the journal has them; `None` if their names have not been written down.
    pub(super) fn row(&self, metrics: &Metrics) -> Option<Row> {
        let is_of = |names: &Arc<[MetricName]>| metrics.iter().map(|(name, _)| name).eq(names.iter());
        let names = self.names.iter().position(is_of)? as u32;
        Some(Row { names, values: metrics.iter().map(|(_, value)| value).collect() })
    }

    /// The names of a row's values.
    pub(super) fn names_of(&self, row: &Row) -> Result<Arc<[MetricName]>, Unfit> {
        let names = self.names.get(row.names as usize).filter(|names| names.len() == row.values.len());
        names.cloned().ok_or_else(|| Unfit("numbers came without the names of their metrics".to_owned()))
    }

    /// Whether one more list of metrics may come.
    pub(super) fn has_room_for_names(&self) -> bool {
        self.names.len() < NAME_LISTS_MAX
    }
}

impl Finish {
    /// Whether the trial is over, and something came of it.
    pub(super) fn is_end(&self) -> bool {
        !self.pauses() && *self != Self::LeftOut
    }

    /// Whether the state after this epoch is what the task ended with.
    pub(super) fn keeps(&self, epoch: u32) -> bool {
        matches!(self, Self::Paused { checkpoint, .. } if checkpoint.epoch == epoch)
    }

    /// Whether the trial can be continued.
    pub(super) fn pauses(&self) -> bool {
        match self {
            Self::Paused { .. } => true,
            Self::Trained { .. }
            | Self::Diverged { .. }
            | Self::Checked
            | Self::Measured(_)
            | Self::Examined(_)
            | Self::Applied { .. }
            | Self::GivenUp { .. }
            | Self::LeftOut => false,
        }
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
