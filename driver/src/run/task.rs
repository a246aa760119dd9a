//! What is known of one task.

use broadsweep_common::ids::{ExecutorId, TaskId, TrialId};
use broadsweep_common::task::{Segment, TaskKind};
use broadsweep_scheduler::{Cost, Forecast, History, Moment};

use super::record::{Finish, Input, NewTask, Record, SafeCheckpoint};
use crate::records::attempt::{AttemptEnd, AttemptRecord, Blame, Yield};
use crate::records::run::Purpose;

/// What is known of one task.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TaskBook {
    /// What it is, as it was added.
    pub(super) task: NewTask,
    /// In order: number `n` stands at `n - 1`.
    pub(super) attempts: Vec<AttemptRecord>,
    /// Its own newest one; what it began with is among its inputs.
    pub(super) checkpoint: Option<SafeCheckpoint>,
    /// Which executors were lost with it since that was safe, a row a loss.
    pub(super) lost_on: Vec<ExecutorId>,
    /// Which executors cannot do it, as the processes said that they are now.
    pub(super) refused_on: Vec<ExecutorId>,
    pub(super) finish: Option<(Finish, Moment)>,
}

/// Entries that one record holds: it stays far below what the journal takes.
pub(super) const PIECE: usize = 1000;
/// Bytes that one record holds where entries are long: a record has 1 MiB at most.
pub(super) const PIECE_BYTES: usize = 128 << 10;
/// What an attempt takes in a record beside the reason of its end.
const ATTEMPT_BYTES: usize = 96;

impl TaskBook {
    pub(super) fn new(task: NewTask) -> Self {
        Self {
            task,
            attempts: Vec::new(),
            checkpoint: None,
            lost_on: Vec::new(),
            refused_on: Vec::new(),
            finish: None,
        }
    }

    pub(super) fn kind(&self) -> TaskKind {
        self.task.kind
    }

    /// The trial that it belongs to, if it does to one.
    pub(super) fn trial(&self) -> Option<TrialId> {
        self.task.kind.trial()
    }

    /// What it is for, as tables and pictures tell it.
    pub(super) fn purpose(&self) -> Purpose {
        match self.task.kind {
            TaskKind::Train(segment) => Purpose::Training(segment.replicate.trial),
            TaskKind::Check(segment) => Purpose::Check(segment.replicate.trial),
            TaskKind::Measure { replicate, .. } => Purpose::Measurement(replicate.trial),
            TaskKind::Examine { replicate, part, .. } => Purpose::Examination(replicate.trial, part),
            TaskKind::Apply { partition } => Purpose::Application { partition },
        }
    }

    /// What it trains, if it does.
    pub(super) fn segment(&self) -> Option<Segment> {
        match self.task.kind {
            TaskKind::Train(segment) => Some(segment),
            TaskKind::Check(_) | TaskKind::Measure { .. } | TaskKind::Examine { .. } | TaskKind::Apply { .. } => None,
        }
    }

    /// The epochs that it reports: the one that it begins after, and its last.
    fn epochs(&self) -> (u32, u32) {
        match self.task.kind {
            TaskKind::Train(segment) | TaskKind::Check(segment) => (segment.from_epoch, segment.until_epoch),
            TaskKind::Measure { .. } | TaskKind::Examine { .. } | TaskKind::Apply { .. } => (0, 1),
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// What its next attempt needs from the run folder: its inputs, with its own newest checkpoint in place of the one that
    /// it began with.
    pub(super) fn needs(&self, task: TaskId) -> Vec<Input> {
        let own = self.checkpoint.map(|checkpoint| Input::Checkpoint { task, checkpoint });
        let is_replaced = |input: &Input| own.is_some() && matches!(input, Input::Checkpoint { .. });
        let others = self.task.inputs.iter().copied().filter(|input| !is_replaced(input));
        own.into_iter().chain(others).collect()
    }

    /// The epoch after which its next attempt goes on; 0 for the beginning.
    pub(super) fn begins_after(&self) -> u32 {
        self.checkpoint.map_or(self.epochs().0, |checkpoint| checkpoint.epoch)
    }

    /// What it will take: a training reports epochs, everything else ends in one step.
    pub(super) fn forecast(&self) -> Forecast {
        let (from_epoch, until_epoch) = self.epochs();
        Forecast { cost: Cost(self.task.cost), from_epoch, until_epoch: until_epoch.max(from_epoch + 1) }
    }

    /// What the task went through, for a scheduler that begins anew; attempts that were live may come back until then.
    pub(super) fn history(&self, held_until: Moment, may_hold: impl Fn(ExecutorId) -> bool) -> History {
        let ended = |is_so: fn(&AttemptEnd) -> bool| {
            let ended = self.attempts.iter().filter(move |attempt| attempt.end.as_ref().is_some_and(is_so));
            ended.map(|attempt| attempt.executor).collect()
        };
        let is_live = self.attempts.iter().any(|attempt| attempt.end.is_none() && may_hold(attempt.executor));
        History {
            attempts: self.attempts.len() as u32,
            lost_on: self.lost_on.clone(),
            failed_on: ended(|end| end.blames() == Blame::Program),
            doubted_on: ended(|end| matches!(end, AttemptEnd::Doubted { .. })),
            refused_on: self.refused_on.clone(),
            parties: Vec::new(),
            checkpoint: self.checkpoint.map_or(0, |checkpoint| checkpoint.epoch),
            held_until: is_live.then_some(held_until),
            finished: self.is_finished(),
        }
    }

    /// A state of it is safe: what was lost before is forgiven, if it is news.
    pub(super) fn reach(&mut self, checkpoint: SafeCheckpoint) {
        if self.checkpoint.is_none_or(|known| known.epoch < checkpoint.epoch) {
            self.lost_on.clear();
        }
        self.checkpoint = Some(checkpoint);
    }

    /// The attempt whose end is the task's.
    pub(super) fn completing(&self) -> Option<&AttemptRecord> {
        let brings_result = |end: &AttemptEnd| end.yields() == Yield::Result;
        let completed = self.attempts.iter().rev().find(|attempt| attempt.end.as_ref().is_some_and(brings_result));
        completed.or(self.attempts.last())
    }

    /// What is known beside what it is, in as few records as it takes.
    pub(super) fn records(&self, task: TaskId) -> impl Iterator<Item = Record> {
        let known = Record::Known {
            task,
            checkpoint: self.checkpoint,
            lost_on: self.lost_on.clone(),
            refused_on: self.refused_on.clone(),
            finish: self.finish.clone(),
        };
        let is_troubled = !(self.lost_on.is_empty() && self.refused_on.is_empty());
        let told = self.checkpoint.is_some() || is_troubled || self.finish.is_some();
        pieces_of(&self.attempts).map(Record::Attempts).chain(told.then_some(known))
    }
}

/// Attempts as records hold them: as many as fit, whatever the reasons of their ends.
fn pieces_of(attempts: &[AttemptRecord]) -> impl Iterator<Item = Vec<AttemptRecord>> {
    let mut left = attempts;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fit = left.iter().take_while(|attempt| {
            bytes += ATTEMPT_BYTES + attempt.end.as_ref().map_or(0, |end| end.reason().len());
            bytes <= PIECE_BYTES
        });
        let (piece, rest) = left.split_at(fit.count().max(1).min(left.len()));
        left = rest;
        (!piece.is_empty()).then(|| piece.to_vec())
    })
}
