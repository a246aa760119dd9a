//! What is known of one trial: what the search decided, and what was reported.

use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::{TaskId, TrialId};
use broadsweep_common::task::Replicate;
use broadsweep_search::Origin;

use super::record::TrialNeeds;
use crate::records::curves::Curves;

/// What is known of one trial.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TrialBook {
    pub(super) configuration: Configuration,
    pub(super) origin: Origin,
    /// The epoch at which it first pauses, if it does.
    pub(super) until_epoch: Option<u32>,
    pub(super) needs: TrialNeeds,
    /// One entry for each repeat and fold that was begun.
    replicates: Vec<ReplicateBook>,
}

/// What is known of one repeat and fold of a trial.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ReplicateBook {
    repeat: u32,
    fold: u32,
    /// The tasks that train it, in the order of their epochs.
    pub(super) segments: Vec<TaskId>,
    /// What was reported, by whichever attempt at whichever of them.
    pub(super) curves: Curves,
}

impl TrialBook {
    /// A trial of which nothing was reported.
    pub(super) fn new(
        configuration: Configuration,
        origin: Origin,
        until_epoch: Option<u32>,
        needs: TrialNeeds,
    ) -> Self {
        Self { configuration, origin, until_epoch, needs, replicates: Vec::new() }
    }

    /// The replicate by which the trial is ranked.
    pub(super) fn first(&self) -> Option<&ReplicateBook> {
        self.replicates.first()
    }

    pub(super) fn replicate(&self, wanted: Replicate) -> Option<&ReplicateBook> {
        self.replicates.iter().find(|known| known.is(wanted))
    }

    pub(super) fn replicate_mut(&mut self, wanted: Replicate) -> Option<&mut ReplicateBook> {
        self.replicates.iter_mut().find(|known| known.is(wanted))
    }

    /// The task that trains the newest segment of a replicate.
    pub(super) fn newest_of(&self, of: Replicate) -> Option<TaskId> {
        self.replicate(of)?.segments.last().copied()
    }

    /// One more segment of a replicate is to be trained, or the newest one by another task than before.
    pub(super) fn add_segment(&mut self, of: Replicate, task: TaskId, is_again: bool) {
        if let Some(known) = self.replicate_mut(of) {
            known.segments.pop_if(|_| is_again);
            known.segments.push(task);
            return;
        }
        // Nearly all trials have one replicate of one segment; a vector that grows begins with room for four.
        let segments = vec![task];
        self.replicates.reserve_exact(1);
        self.replicates.push(ReplicateBook { repeat: of.repeat, fold: of.fold, segments, curves: Curves::default() });
    }

    /// Every replicate, with what names it.
    pub(super) fn replicates(&self, trial: TrialId) -> impl Iterator<Item = (Replicate, &ReplicateBook)> {
        self.replicates.iter().map(move |known| (Replicate { trial, repeat: known.repeat, fold: known.fold }, known))
    }

    /// The tasks that train it.
    pub(super) fn segments(&self) -> impl Iterator<Item = TaskId> {
        self.replicates.iter().flat_map(|replicate| replicate.segments.iter().copied())
    }
}

impl ReplicateBook {
    fn is(&self, other: Replicate) -> bool {
        (self.repeat, self.fold) == (other.repeat, other.fold)
    }
}
