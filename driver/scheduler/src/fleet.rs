//! The executors, and which of them have room.
//!
//! Three indexes, so that a placement does not look at all executors: the free slots of the sound ones, those of the
//! excluded ones, which count where there are no others, and the excluded ones that want a probe.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::ids::{AttemptId, ExecutorId};

use super::executor::{Connection, Executor, Slot};
use super::pace::Pace;
use super::task::{Shunned, Trouble};

/// Executors of one kind that may take attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shelf {
    /// How many there are.
    executors: usize,
    /// Those with a free slot: most free slots first, then the lowest id.
    free: BTreeSet<(Reverse<u32>, ExecutorId)>,
}

/// Every executor that was ever ready. One that was lost stays: its health and its pace are remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fleet {
    executors: BTreeMap<ExecutorId, Executor>,
    sound: Shelf,
    excluded: Shelf,
    /// Excluded executors whose time has come, with a free slot and no probe.
    probes: BTreeSet<ExecutorId>,
    /// Executors that are connected, but every slot hangs.
    stuck: usize,
    /// Executors that are away and do not drain.
    away: usize,
    /// How fast attempts go anywhere.
    pub(super) pace: Pace,
}

impl Fleet {
    /// The executor, unless it is unknown or gone.
    pub(super) fn get(&self, executor: ExecutorId) -> Option<&Executor> {
        self.executors.get(&executor).filter(|found| found.connection != Connection::Lost)
    }

    /// The executor, gone or not.
    pub(super) fn known(&self, executor: ExecutorId) -> Option<&Executor> {
        self.executors.get(&executor)
    }

    /// The executor, for changes that move it between no indexes: not of its slots, connection or health.
    pub(super) fn get_mut(&mut self, executor: ExecutorId) -> Option<&mut Executor> {
        self.executors.get_mut(&executor)
    }

    /// Every executor that was ever ready, in the order of their ids.
    pub(super) fn all(&self) -> impl Iterator<Item = (ExecutorId, &Executor)> {
        self.executors.iter().map(|(&id, executor)| (id, executor))
    }

    /// Every executor that is here or away, in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ExecutorId, &Executor)> {
        self.all().filter(|(_, executor)| executor.connection != Connection::Lost)
    }

    pub(super) fn len(&self) -> usize {
        self.executors.len()
    }

    /// Changes an executor, which is a new one if it is unknown, and all indexes with it.
    pub(super) fn change<R>(&mut self, id: ExecutorId, change: impl FnOnce(&mut Executor) -> R) -> R {
        let executor = self.executors.entry(id).or_insert_with(Executor::new);
        let before = Indexed::of(executor);
        let result = change(executor);
        let after = Indexed::of(executor);
        if before != after {
            self.unindex(id, before);
            self.index(id, after);
        }
        result
    }

    /// A slot of `executor` is taken.
    pub(super) fn occupy(&mut self, executor: ExecutorId, attempt: AttemptId, slot: Slot) {
        self.change(executor, |found| found.occupy(attempt, slot));
    }

    /// A slot of `executor` is free again.
    pub(super) fn vacate(&mut self, executor: ExecutorId, attempt: AttemptId) -> Option<Slot> {
        self.change(executor, |found| found.vacate(attempt))
    }

    /// Whether some slot is free that a task may take.
    pub(super) fn has_room(&self) -> bool {
        !self.accepting().free.is_empty() || !self.probes.is_empty()
    }

    /// The executor with the most free slots that the task may go to, then the one of the lowest id; one that is
    /// probed has room for one. A task keeps off where it failed, and before a last try where it was lost, while there is
    /// another executor, even a busy one: it does not spend its tries on one sick node.
    pub(super) fn roomiest(&self, shunned: Option<Shunned<'_>>) -> Option<ExecutorId> {
        let suits = self.suits(shunned);
        let roomy = self.accepting().free.iter().copied().find(|&(_, id)| suits(id));
        let probed = self.probes.iter().map(|&id| (Reverse(1), id)).find(|&(_, id)| suits(id));
        // Where exclusion is ignored, those that want a probe are among the others.
        let probed = probed.filter(|_| self.sound.executors > 0);
        roomy.into_iter().chain(probed).min().map(|(_, executor)| executor)
    }

    /// The executors with free slots, most free slots first; not those that are probed.
    pub(super) fn roomy(&self) -> impl Iterator<Item = (ExecutorId, &Executor)> {
        let free = self.accepting().free.iter();
        free.filter_map(|&(_, id)| self.executors.get(&id).map(|executor| (id, executor)))
    }

    /// The same in the order of their ids, which is faster where there are many.
    pub(super) fn iter_roomy(&self) -> impl Iterator<Item = &Executor> {
        let ignored = self.sound.executors == 0;
        self.executors.values().filter(move |executor| match Indexed::of(executor) {
            Indexed::Sound { free_slots } => free_slots > 0,
            Indexed::Excluded { free_slots, .. } => ignored && free_slots > 0,
            Indexed::Nowhere | Indexed::Stuck | Indexed::Away => false,
        })
    }

    /// Whether some executor has a free slot, but for those that are probed.
    pub(super) fn has_roomy(&self) -> bool {
        !self.accepting().free.is_empty()
    }

    /// Whether some executor is away, and expected to go on if it comes back.
    pub(super) fn has_away(&self) -> bool {
        self.away > 0
    }

    /// Where a task that keeps off these may go, full or not.
    pub(super) fn suits<'t>(&self, shunned: Option<Shunned<'t>>) -> impl Fn(ExecutorId) -> bool + use<'t> {
        let last_resort = shunned.is_some_and(|shunned| {
            let accepting = shunned.executors().filter(|&executor| self.accepts(executor)).count();
            accepting >= self.accepting().executors && !(shunned.has_last_try() && self.awaits_another(shunned))
        });
        move |executor| shunned.is_none_or(|shunned| shunned.allows(executor, last_resort))
    }

    /// Whether an executor is away, and may come back, that the task does not keep off.
    fn awaits_another(&self, shunned: Shunned<'_>) -> bool {
        let is_away = |executor: &ExecutorId| {
            self.get(*executor).is_some_and(|found| matches!(Indexed::of(found), Indexed::Away))
        };
        self.away > shunned.executors().filter(is_away).count()
    }

    /// Whether each executor that is there refused the task. Those that are away may come back and do it; but one
    /// has to be here before anything is decided. A task that is about some of them does not wait for one that hangs: no
    /// result rests on it.
    pub(super) fn all_refused(&self, trouble: &Trouble) -> bool {
        let here = self.sound.executors + self.excluded.executors + self.stuck;
        let is_out = |executor: &Executor| executor.draining || trouble.has_parties() && executor.is_stuck();
        here > 0 && self.iter().all(|(id, executor)| is_out(executor) || trouble.has_refused(id))
    }

    /// The shelf that attempts are taken from: the sound executors, or the excluded ones if there are no others. A
    /// sick cluster is better than none.
    fn accepting(&self) -> &Shelf {
        if self.sound.executors > 0 { &self.sound } else { &self.excluded }
    }

    /// Whether the executor is on that shelf, or would be with a free slot.
    fn accepts(&self, executor: ExecutorId) -> bool {
        let ignored = self.sound.executors == 0;
        self.get(executor).is_some_and(|found| match Indexed::of(found) {
            Indexed::Sound { .. } => true,
            Indexed::Excluded { .. } => ignored,
            Indexed::Nowhere | Indexed::Stuck | Indexed::Away => false,
        })
    }

    fn unindex(&mut self, id: ExecutorId, indexed: Indexed) {
        match indexed {
            Indexed::Nowhere => {}
            Indexed::Stuck => self.stuck -= 1,
            Indexed::Away => self.away -= 1,
            Indexed::Sound { free_slots } => self.sound.remove(id, free_slots),
            Indexed::Excluded { free_slots, wants_probe } => {
                self.excluded.remove(id, free_slots);
                if wants_probe {
                    self.probes.remove(&id);
                }
            }
        }
    }

    fn index(&mut self, id: ExecutorId, indexed: Indexed) {
        match indexed {
            Indexed::Nowhere => {}
            Indexed::Stuck => self.stuck += 1,
            Indexed::Away => self.away += 1,
            Indexed::Sound { free_slots } => self.sound.insert(id, free_slots),
            Indexed::Excluded { free_slots, wants_probe } => {
                self.excluded.insert(id, free_slots);
                if wants_probe {
                    self.probes.insert(id);
                }
            }
        }
    }

    /// Recounts every index.
    pub(super) fn broken_invariant(&self) -> Option<String> {
        let mut recounted = Self { executors: self.executors.clone(), pace: self.pace, ..Self::default() };
        for (&id, executor) in &self.executors {
            recounted.index(id, Indexed::of(executor));
            if executor.connection == Connection::Lost && !executor.running().is_empty() {
                return Some(format!("{id} is gone and still runs {:?}", executor.running()));
            }
        }
        (recounted != *self).then(|| format!("the fleet is {self:?}, recounted {recounted:?}"))
    }
}

impl Shelf {
    fn insert(&mut self, id: ExecutorId, free_slots: u32) {
        self.executors += 1;
        if free_slots > 0 {
            self.free.insert((Reverse(free_slots), id));
        }
    }

    fn remove(&mut self, id: ExecutorId, free_slots: u32) {
        self.executors -= 1;
        self.free.remove(&(Reverse(free_slots), id));
    }
}

/// What the indexes say of an executor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Indexed {
    /// It is gone, or drains.
    Nowhere,
    Stuck,
    Away,
    Sound {
        free_slots: u32,
    },
    Excluded {
        free_slots: u32,
        /// Whether its time has come, with a free slot and no probe.
        wants_probe: bool,
    },
}

impl Indexed {
    fn of(executor: &Executor) -> Self {
        let free_slots = executor.free_slots();
        match executor.connection {
            Connection::Lost => Self::Nowhere,
            _ if executor.draining => Self::Nowhere,
            Connection::Away { .. } => Self::Away,
            Connection::Open if executor.is_stuck() => Self::Stuck,
            Connection::Open if executor.health.is_excluded() => {
                Self::Excluded { free_slots, wants_probe: free_slots > 0 && executor.wants_probe() }
            }
            Connection::Open => Self::Sound { free_slots },
        }
    }
}
