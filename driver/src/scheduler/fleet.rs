//! The connected executors: what runs on each, and which have free slots.
//!
//! `running` indexes the tasks whose state is `Running`, so that the loss of an executor does not look at all tasks;
//! `free` indexes the executors, so that a placement does not look at all executors.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::ids::{AttemptId, ExecutorId};

/// One connected executor.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Executor {
    slots: u32,
    running: BTreeSet<AttemptId>,
}

impl Executor {
    fn free_slots(&self) -> u32 {
        self.slots.saturating_sub(self.running.len() as u32)
    }
}

/// The connected executors. One that is lost leaves; nothing of it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fleet {
    connected: BTreeMap<ExecutorId, Executor>,
    /// Executors with a free slot: most free slots first, then the lowest id.
    free: BTreeSet<(Reverse<u32>, ExecutorId)>,
}

impl Fleet {
    pub(super) fn is_connected(&self, executor: ExecutorId) -> bool {
        self.connected.contains_key(&executor)
    }

    pub(super) fn len(&self) -> usize {
        self.connected.len()
    }

    /// An executor with nothing on it joins.
    pub(super) fn join(&mut self, executor: ExecutorId, slots: u32) {
        self.connected.insert(executor, Executor { slots, running: BTreeSet::new() });
        self.free.insert((Reverse(slots), executor));
    }

    /// An executor leaves; returns the attempts that ran there, `None` if it was not connected.
    pub(super) fn leave(&mut self, executor: ExecutorId) -> Option<BTreeSet<AttemptId>> {
        let left = self.connected.remove(&executor)?;
        self.free.remove(&(Reverse(left.free_slots()), executor));
        Some(left.running)
    }

    /// A slot of `executor` is taken.
    pub(super) fn occupy(&mut self, executor: ExecutorId, attempt: AttemptId) {
        self.change(executor, |running| running.insert(attempt));
    }

    /// A slot of `executor` is free again.
    pub(super) fn vacate(&mut self, executor: ExecutorId, attempt: AttemptId) {
        self.change(executor, |running| running.remove(&attempt));
    }

    /// The executor with the most free slots that is none of `avoided`; where only those are connected, they will do.
    /// A task that failed is not stuck on a cluster of one, and does not spend its tries on one sick node while
    /// healthy ones are merely busy.
    pub(super) fn roomiest(&self, avoided: &[ExecutorId]) -> Option<ExecutorId> {
        let only_avoided = self.only_avoided(avoided);
        self.free.iter().map(|&(_, executor)| executor).find(|executor| only_avoided || !avoided.contains(executor))
    }

    /// Whether some slot is free.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// The attempts that run on `executor`, in the order of their tasks.
    pub(super) fn running_on(&self, executor: ExecutorId) -> impl Iterator<Item = AttemptId> {
        self.connected.get(&executor).into_iter().flat_map(|found| found.running.iter().copied())
    }

    /// What each executor runs.
    pub(super) fn running(&self) -> impl Iterator<Item = (ExecutorId, AttemptId)> {
        self.connected.iter().flat_map(|(&id, found)| found.running.iter().map(move |&attempt| (id, attempt)))
    }

    /// Recounts slots and the index of free ones.
    pub(super) fn broken_invariant(&self) -> Option<String> {
        for (id, executor) in &self.connected {
            if executor.running.len() > executor.slots as usize {
                return Some(format!("{id} runs {} attempts on {} slots", executor.running.len(), executor.slots));
            }
        }
        let with_room = self.connected.iter().filter(|(_, executor)| executor.free_slots() > 0);
        let recounted: BTreeSet<_> = with_room.map(|(&id, executor)| (Reverse(executor.free_slots()), id)).collect();
        (recounted != self.free).then(|| format!("free slots are {:?}, recounted {recounted:?}", self.free))
    }

    fn only_avoided(&self, avoided: &[ExecutorId]) -> bool {
        // The first comparison keeps this cheap: `avoided` is short, the fleet may be long.
        self.connected.len() <= avoided.len() && self.connected.keys().all(|executor| avoided.contains(executor))
    }

    fn change(&mut self, id: ExecutorId, change: impl FnOnce(&mut BTreeSet<AttemptId>) -> bool) {
        let Some(executor) = self.connected.get_mut(&id) else { return };
        self.free.remove(&(Reverse(executor.free_slots()), id));
        change(&mut executor.running);
        let free_slots = executor.free_slots();
        if free_slots > 0 {
            self.free.insert((Reverse(free_slots), id));
        }
    }
}
