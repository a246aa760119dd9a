//! One executor: whether it is there, what takes its slots, how healthy and how fast it is.

use broadsweep_common::ids::AttemptId;

use super::moment::Moment;
use super::pace::Pace;
use super::protocol::CancelReason;
use super::task::TaskRecord;

/// How many epochs of one attempt its pace remembers: few, so that a node that turns slow is noticed.
const ATTEMPT_MEMORY: u32 = 4;

// As many of these are kept as there are slots.
const _: () = assert!(size_of::<Slot>() <= 80);

/// Whether an executor is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// It is connected.
    Open,
    /// Its connection ended; it is lost unless it is back by `until`.
    Away { until: Moment },
    /// It was lost. Only its health and its pace are remembered.
    Lost,
}

/// What is thought of an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Its last ended attempts failed, `failures` of them, the first at `since`; none is the normal case.
    Well { failures: u32, since: Moment },
    /// Nothing goes there before `until`.
    Excluded { until: Moment, failures: u32, probes: u32 },
    /// It takes one task at a time: the probe.
    Probing { failures: u32, probes: u32, probe: Option<AttemptId> },
}

impl Health {
    pub(super) const GOOD: Self = Self::Well { failures: 0, since: Moment(0) };

    pub(super) fn is_excluded(self) -> bool {
        matches!(self, Self::Excluded { .. } | Self::Probing { .. })
    }
}

/// What takes a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slot {
    /// When it was launched or adopted, or when its newest epoch ended.
    pub(super) since: Moment,
    /// When it counts as hung; none while that is not watched.
    pub(super) hangs: Option<Moment>,
    /// How fast it goes, by its own epochs.
    pace: Pace,
    /// Its newest epoch, or the checkpoint that it began with.
    pub(super) epoch: u32,
    /// Whether it reported no epoch yet.
    silent: bool,
    /// Whether an epoch began at `since`; it may lie anywhere in one if the attempt was adopted.
    timed: bool,
    /// Whether it has ended there, and its end does not count yet: nothing more is due from it.
    pub(super) is_ending: bool,
    /// Why it was told to stop; it is live until then.
    pub(super) told: Option<CancelReason>,
}

impl Slot {
    /// A live attempt that starts at `checkpoint`.
    pub(super) fn launched(now: Moment, checkpoint: u32) -> Self {
        Self {
            since: now,
            hangs: None,
            pace: Pace::default(),
            epoch: checkpoint,
            silent: true,
            timed: true,
            is_ending: false,
            told: None,
        }
    }

    /// A live attempt that is somewhere behind `checkpoint`.
    pub(super) fn adopted(now: Moment, checkpoint: u32) -> Self {
        Self { timed: false, ..Self::launched(now, checkpoint) }
    }

    /// One that nobody wants.
    pub(super) fn unwanted(now: Moment) -> Self {
        Self { told: Some(CancelReason::Unwanted), ..Self::launched(now, 0) }
    }

    /// Nothing is known of what passed until now: what it does next is no measure of its pace.
    pub(super) fn begin_anew(&mut self, now: Moment) {
        (self.since, self.timed) = (now, false);
    }

    /// Whether this epoch is news. The first report is, even if it lies below the checkpoint, or below the task's own
    /// epochs: then the attempt could not go on from there and began anew.
    pub(super) fn is_news(&self, epoch: u32) -> bool {
        epoch > 0 && (self.silent || epoch > self.epoch)
    }

    /// An epoch is done; returns the cost that was worked off since the last one, if that was measured.
    pub(super) fn progress(&mut self, epoch: u32, epoch_cost: f64, now: Moment) -> Option<f64> {
        let cost = epoch_cost * f64::from(epoch.saturating_sub(self.epoch).max(1));
        let timed = self.timed;
        if timed {
            self.pace.measured(now.since(self.since), cost, ATTEMPT_MEMORY);
        }
        self.since = now;
        self.epoch = epoch;
        self.silent = false;
        self.timed = true;
        timed.then_some(cost)
    }

    /// The cost that the attempt worked off in one go, now that it completed: known only of a task of one epoch.
    pub(super) fn completed_cost(&self, record: &TaskRecord) -> Option<f64> {
        (record.epochs() == 1 && self.silent && self.timed).then(|| record.epoch_cost())
    }

    /// How long the attempt will still take if it goes on as it does, in microseconds: by its own epochs, else by
    /// those of its executor; and no epoch is shorter than what the one at hand has taken already.
    pub(super) fn remaining_us(&self, record: &TaskRecord, executor: Pace, now: Moment) -> f64 {
        let seen_us = self.pace.or(executor).forecast_us(record.epoch_cost()).unwrap_or(0.0);
        let epoch_us = seen_us.max(now.since(self.since).as_micros() as f64);
        epoch_us * f64::from(record.epochs_after(self.epoch))
    }
}

impl Slot {
    /// What is left of the attempt, in microseconds: the cost of its epochs at its own pace, else at this one, without the
    /// time that the one at hand has taken already; and if that takes longer, so do those behind it.
    pub(super) fn left_us(&self, record: &TaskRecord, executor: Pace, now: Moment) -> f64 {
        let epochs = f64::from(record.epochs_after(self.epoch));
        let seen_us = self.pace.or(executor).forecast_us(record.epoch_cost()).unwrap_or(0.0);
        let taken_us = now.since(self.since).as_micros() as f64;
        if taken_us > seen_us { taken_us * (epochs - 1.0).max(0.0) } else { seen_us * epochs - taken_us }
    }
}

/// An executor that was ready at least once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Executor {
    pub(super) slots: u32,
    pub(super) connection: Connection,
    /// Whether it will leave.
    pub(super) draining: bool,
    pub(super) health: Health,
    /// Whether an attempt made an epoch or completed there since its process came.
    pub(super) has_worked: bool,
    /// Whether the process before ended with what was launched there, before anything of it came.
    pub(super) has_died: bool,
    /// How fast its attempts go, by all of their epochs.
    pub(super) pace: Pace,
    /// What takes its slots, sorted. A vector, not a map: most executors have few slots, and it keeps its memory.
    running: Vec<(AttemptId, Slot)>,
}

impl Executor {
    pub(super) fn new() -> Self {
        Self {
            slots: 0,
            connection: Connection::Lost,
            draining: false,
            health: Health::GOOD,
            has_worked: false,
            has_died: false,
            pace: Pace::default(),
            running: Vec::new(),
        }
    }

    /// Whether each slot is taken by an attempt that hangs, which may never stop: no task should wait for one of them.
    pub(super) fn is_stuck(&self) -> bool {
        let hangs = |(_, slot): &(_, Slot)| matches!(slot.told, Some(CancelReason::Hung { .. }));
        self.free_slots() == 0 && self.running.iter().all(hangs)
    }

    /// None where held attempts take more than there are.
    pub(super) fn free_slots(&self) -> u32 {
        self.slots.saturating_sub(self.running.len() as u32)
    }

    /// Whether its time has come and no probe runs.
    pub(super) fn wants_probe(&self) -> bool {
        matches!(self.health, Health::Probing { probe: None, .. })
    }

    /// Whether the attempt there decides about its exclusion.
    pub(super) fn is_probed_by(&self, attempt: AttemptId) -> bool {
        matches!(self.health, Health::Probing { probe: Some(probe), .. } if probe == attempt)
    }

    pub(super) fn running(&self) -> &[(AttemptId, Slot)] {
        &self.running
    }

    pub(super) fn slot(&self, attempt: AttemptId) -> Option<&Slot> {
        self.find(attempt).ok().map(|index| &self.running[index].1)
    }

    pub(super) fn slot_mut(&mut self, attempt: AttemptId) -> Option<&mut Slot> {
        self.find(attempt).ok().map(|index| &mut self.running[index].1)
    }

    /// The attempt takes a slot; the first one that does while the executor is probed is the probe.
    pub(super) fn occupy(&mut self, attempt: AttemptId, slot: Slot) {
        if let Err(index) = self.find(attempt) {
            self.running.insert(index, (attempt, slot));
        }
        if let Health::Probing { probe: probe @ None, .. } = &mut self.health
            && slot.told.is_none()
        {
            *probe = Some(attempt);
        }
    }

    /// The attempt's slot is free.
    pub(super) fn vacate(&mut self, attempt: AttemptId) -> Option<Slot> {
        if let Health::Probing { probe, .. } = &mut self.health
            && *probe == Some(attempt)
        {
            *probe = None;
        }
        self.find(attempt).ok().map(|index| self.running.remove(index).1)
    }

    fn find(&self, attempt: AttemptId) -> Result<usize, usize> {
        self.running.binary_search_by_key(&attempt, |&(running, _)| running)
    }
}
