//! What is known of one task.

use broadsweep_common::ids::TaskId;
use broadsweep_common::metrics::EpochReport;

use super::record::{Finish, Kept, Record};
use crate::records::attempt::{AttemptEnd, AttemptRecord};
use broadsweep_scheduler::{History, Moment};

/// What is known of one task.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TaskBook {
    /// What was reported, one entry an epoch, in order.
    pub(super) epochs: Vec<EpochReport>,
    /// In order: number `n` stands at `n - 1`.
    pub(super) attempts: Vec<AttemptRecord>,
    pub(super) checkpoint: Option<Kept>,
    pub(super) finish: Option<(Finish, Moment)>,
}

/// Entries that one record holds: it stays far below what the journal takes.
pub(super) const PIECE: usize = 1000;

impl TaskBook {
    pub(super) fn records(&self, task: TaskId) -> impl Iterator<Item = Record> {
        let known = Record::Known { task, checkpoint: self.checkpoint, finish: self.finish.clone() };
        let told = self.checkpoint.is_some() || self.finish.is_some();
        let attempts = self.attempts.chunks(PIECE).map(|piece| Record::Attempts(piece.to_vec()));
        let epochs = self.epochs.chunks(PIECE);
        let epochs = epochs.map(move |piece| Record::Epochs { task, reports: piece.to_vec() });
        attempts.chain(epochs).chain(told.then_some(known))
    }

    /// The attempt whose end is the task's.
    pub(super) fn completing(&self) -> Option<&AttemptRecord> {
        let completed = self.attempts.iter().rev().find(|attempt| attempt.end == Some(AttemptEnd::Completed));
        completed.or(self.attempts.last())
    }

    /// What the task went through, for a scheduler that begins anew; attempts that were live may come back until then.
    pub(super) fn history(&self, held_until: Moment) -> History {
        let checkpoint = self.checkpoint.map_or(0, |kept| kept.epoch);
        let is_lost = |attempt: &&AttemptRecord| matches!(attempt.end, Some(AttemptEnd::Lost { .. }));
        let since_checkpoint = self.attempts.iter().filter(|attempt| attempt.from_epoch == checkpoint);
        let failed = self
            .attempts
            .iter()
            .filter(|attempt| matches!(attempt.end, Some(AttemptEnd::Failed { .. } | AttemptEnd::Hung { .. })));
        let is_live = self.attempts.iter().any(|attempt| attempt.end.is_none());
        History {
            attempts: self.attempts.len() as u32,
            lost_on: since_checkpoint.filter(is_lost).map(|attempt| attempt.executor).collect(),
            failed_on: failed.map(|attempt| attempt.executor).collect(),
            checkpoint,
            held_until: is_live.then_some(held_until),
            finished: self.finish.is_some(),
        }
    }
}
