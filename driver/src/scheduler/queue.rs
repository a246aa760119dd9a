//! The waiting tasks: those that may be placed now, longest first, and those that wait out a failure.
//!
//! An index of the tasks whose state is `Waiting`, since looking for the longest of a million at each event would be
//! too slow.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Bound;

use broadsweep_common::ids::TaskId;

use super::protocol::{Cost, Time};

/// A task's place in the queue: the costliest first, then the lowest id.
pub(super) type Place = (Reverse<Cost>, TaskId);

/// The waiting tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    ready: BTreeSet<Place>,
    /// By the time at which they join `ready`.
    delayed: BTreeSet<(Time, Place)>,
}

impl Queue {
    /// A task waits, for nothing but a slot if `until` is not after `now`.
    pub(super) fn push(&mut self, task: TaskId, cost: Cost, until: Time, now: Time) {
        let place = (Reverse(cost), task);
        if until <= now {
            self.ready.insert(place);
        } else {
            self.delayed.insert((until, place));
        }
    }

    /// Lets the delayed tasks whose time has come join the ready ones.
    pub(super) fn release(&mut self, now: Time) {
        while let Some(&(until, place)) = self.delayed.first()
            && until <= now
        {
            self.delayed.pop_first();
            self.ready.insert(place);
        }
    }

    /// The first ready task behind `place`, or the first of all.
    pub(super) fn ready_after(&self, place: Option<Place>) -> Option<Place> {
        let from = place.map_or(Bound::Unbounded, Bound::Excluded);
        self.ready.range((from, Bound::Unbounded)).next().copied()
    }

    /// A ready task is placed.
    pub(super) fn remove_ready(&mut self, place: Place) {
        self.ready.remove(&place);
    }

    /// When the next delayed task may be placed.
    pub(super) fn next_release(&self) -> Option<Time> {
        self.delayed.first().map(|&(until, _)| until)
    }

    /// Tasks in the queue, ready or not.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.delayed.len()
    }

    /// Whether the task stands where its record says: among the ready ones, or among the delayed until then.
    pub(super) fn holds(&self, task: TaskId, cost: Cost, until: Time) -> bool {
        let place = (Reverse(cost), task);
        self.ready.contains(&place) != self.delayed.contains(&(until, place))
    }
}
