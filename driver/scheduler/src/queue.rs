//! The tasks that may be placed now, by their priority.
//!
//! An index of the tasks whose state is `Waiting` and due, since looking for the first of a million at each event
//! would be too slow. Fresh tasks come in bulk and leave from the front only: they are sorted once and consumed from
//! the end of a vector, which costs the same however many there are. Tasks that were tried before can be skipped or
//! leave from the middle, and stand in a set, which is small.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Bound;

use broadsweep_common::ids::TaskId;

use super::priority::Priority;

/// Fresh tasks are merged into the sorted ones once they are one in so many of them; fewer go to the set.
const MERGE_PART: usize = 16;

/// Where a task stands in the queue: the greatest is placed first, which is that of the highest priority, and of the lowest
/// id.
pub(super) type QueueKey = (Priority, Reverse<TaskId>);

/// The tasks that wait for nothing but a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    /// Fresh tasks, not looked at yet.
    added: Vec<QueueKey>,
    /// Fresh tasks, the first to be placed last.
    sorted: Vec<QueueKey>,
    /// Tasks that were tried before, and fresh ones that came one by one.
    late: BTreeSet<QueueKey>,
}

impl Queue {
    /// A task that was never tried joins. It leaves as the front, or where it is not [retained](Self::retain).
    pub(super) fn push_fresh(&mut self, key: QueueKey) {
        self.added.push(key);
    }

    /// A task that was tried before joins.
    pub(super) fn push_tried(&mut self, key: QueueKey) {
        self.late.insert(key);
    }

    /// A task that was tried before leaves without being placed, if it is here.
    pub(super) fn remove_tried(&mut self, key: QueueKey) {
        self.late.remove(&key);
    }

    /// The task to be placed first, but for those that were `passed` over: all that come before this key, itself included. In
    /// practice those are tried ones, since fresh tasks fit everywhere.
    pub(super) fn front(&mut self, passed: Option<QueueKey>) -> Option<QueueKey> {
        self.sort();
        let until = passed.map_or(Bound::Unbounded, Bound::Excluded);
        let late = self.late.range((Bound::Unbounded, until)).next_back().copied();
        let fresh = self.sorted.last().copied().filter(|&fresh| passed.is_none_or(|passed| fresh < passed));
        late.max(fresh)
    }

    /// The task that [`Queue::front`] returned is placed.
    pub(super) fn take(&mut self, front: QueueKey) {
        if self.sorted.last() == Some(&front) {
            self.sorted.pop();
        } else {
            self.late.remove(&front);
        }
    }

    /// The others leave without being placed.
    pub(super) fn retain(&mut self, is_kept: impl Fn(TaskId) -> bool) {
        let is_kept = |&(_, Reverse(task)): &QueueKey| is_kept(task);
        self.added.retain(is_kept);
        self.sorted.retain(is_kept);
        self.late.retain(is_kept);
    }

    /// How many tasks are here.
    pub(super) fn len(&self) -> usize {
        self.added.len() + self.sorted.len() + self.late.len()
    }

    /// Every task that is here, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = QueueKey> {
        self.added.iter().chain(&self.sorted).chain(&self.late).copied()
    }

    /// Brings the tasks that were added since the last time into order. Merging one in so many, at least, keeps the
    /// cost of a task constant however they come.
    fn sort(&mut self) {
        if self.added.is_empty() {
            return;
        }
        if self.added.len() * MERGE_PART < self.sorted.len() {
            self.late.extend(self.added.drain(..));
            return;
        }
        self.sorted.append(&mut self.added);
        // Stable, since it finds the order that is there already, and merges.
        self.sorted.sort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cost;

    fn key(cost: u64, task: u32) -> QueueKey {
        (Priority::longest_first(Cost(cost)), Reverse(TaskId(task)))
    }

    fn drained(queue: &mut Queue) -> Vec<u32> {
        let mut tasks = Vec::new();
        while let Some(front) = queue.front(None) {
            queue.take(front);
            tasks.push(front.1.0.0);
        }
        tasks
    }

    #[test]
    fn tasks_leave_by_priority_then_by_id_however_they_came() {
        let mut queue = Queue::default();
        for task in 0..100 {
            queue.push_fresh(key(u64::from(task % 10), task));
        }
        assert_eq!(queue.front(None), Some(key(9, 9)));
        queue.push_fresh(key(5, 100)); // too few to merge
        queue.push_tried(key(9, 101));
        for task in 102..110 {
            queue.push_fresh(key(7, task));
        }
        assert_eq!(queue.len(), 110);
        let tasks = drained(&mut queue);
        let mut expected: Vec<u32> = (0..110).collect();
        let cost = |task: u32| match task {
            100 => 5,
            101 => 9,
            102..110 => 7,
            other => other % 10,
        };
        expected.sort_by_key(|&task| (Reverse(cost(task)), task));
        assert_eq!(tasks, expected);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_tried_task_can_be_passed_over_or_leave_from_the_middle() {
        let mut queue = Queue::default();
        queue.push_tried(key(9, 0));
        queue.push_tried(key(8, 1));
        queue.push_fresh(key(7, 2));
        let first = queue.front(None);
        assert_eq!(queue.front(first), Some(key(8, 1)));
        queue.remove_tried(key(8, 1));
        assert_eq!(queue.front(first), Some(key(7, 2)));
        assert_eq!(drained(&mut queue), [0, 2]);
    }
}
