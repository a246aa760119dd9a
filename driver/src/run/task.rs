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
    pub(super) finish: Option<(Finish, Moment)>,
}

/// Entries that one record holds: it stays far below what the journal takes.
pub(super) const PIECE: usize = 1000;

impl TaskBook {
    pub(super) fn new(task: NewTask) -> Self {
        Self { task, attempts: Vec::new(), checkpoint: None, finish: None }
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
            TaskKind::Measure { replicate, .. } => Purpose::Measurement(replicate.trial),
            TaskKind::Apply { partition } => Purpose::Application { partition },
        }
    }

    /// What it trains, if it does.
    pub(super) fn segment(&self) -> Option<Segment> {
        match self.task.kind {
            TaskKind::Train(segment) => Some(segment),
            TaskKind::Measure { .. } | TaskKind::Apply { .. } => None,
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
        let begins_at = self.segment().map_or(0, |segment| segment.from_epoch);
        self.checkpoint.map_or(begins_at, |checkpoint| checkpoint.epoch)
    }

    /// What it will take: a training reports epochs, everything else ends in one step.
    pub(super) fn forecast(&self) -> Forecast {
        let (from_epoch, until_epoch) =
            self.segment().map_or((0, 1), |segment| (segment.from_epoch, segment.until_epoch));
        Forecast { cost: Cost(self.task.cost), from_epoch, until_epoch: until_epoch.max(from_epoch + 1) }
    }

    /// What the task went through, for a scheduler that begins anew; attempts that were live may come back until then.
    pub(super) fn history(&self, held_until: Moment, may_hold: impl Fn(ExecutorId) -> bool) -> History {
        let from_epoch = self.begins_after();
        let blamed = |blame| {
            let ended = move |attempt: &&AttemptRecord| attempt.end.as_ref().is_some_and(|end| end.blames() == blame);
            self.attempts.iter().filter(ended)
        };
        let since_checkpoint = blamed(Blame::Executor).filter(|attempt| attempt.from_epoch == from_epoch);
        let is_live = self.attempts.iter().any(|attempt| attempt.end.is_none() && may_hold(attempt.executor));
        History {
            attempts: self.attempts.len() as u32,
            lost_on: since_checkpoint.map(|attempt| attempt.executor).collect(),
            failed_on: blamed(Blame::Program).map(|attempt| attempt.executor).collect(),
            checkpoint: self.checkpoint.map_or(0, |checkpoint| checkpoint.epoch),
            held_until: is_live.then_some(held_until),
            finished: self.is_finished(),
        }
    }

    /// The attempt whose end is the task's.
    pub(super) fn completing(&self) -> Option<&AttemptRecord> {
        let brings_result = |end: &AttemptEnd| end.yields() == Yield::Result;
        let completed = self.attempts.iter().rev().find(|attempt| attempt.end.as_ref().is_some_and(brings_result));
        completed.or(self.attempts.last())
    }

    /// What is known beside what it is, in as few records as it takes.
    pub(super) fn records(&self, task: TaskId) -> impl Iterator<Item = Record> {
        let known = Record::Known { task, checkpoint: self.checkpoint, finish: self.finish.clone() };
        let told = self.checkpoint.is_some() || self.finish.is_some();
        let attempts = self.attempts.chunks(PIECE).map(|piece| Record::Attempts(piece.to_vec()));
        attempts.chain(told.then_some(known))
    }
}
