//! What the oracle knows of one task and of one executor.

use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::ids::{AttemptId, ExecutorId};

use crate::{CancelReason, Forecast, GivenUp, History, Moment, Priority, SchedulingConfig, Verdict};

/// A task.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) priority: Priority,
    forecast: Forecast,
    pub(super) attempts: u32,
    pub(super) failed_on: Vec<ExecutorId>,
    pub(super) doubted_on: BTreeSet<ExecutorId>,
    pub(super) refused_on: BTreeSet<ExecutorId>,
    /// Since the newest checkpoint.
    pub(super) lost_on: Vec<ExecutorId>,
    pub(super) checkpoint: u32,
    pub(super) not_before: Moment,
    /// The live attempts by number.
    pub(super) live: BTreeMap<u32, ExecutorId>,
    pub(super) completed: bool,
    pub(super) verdict: Option<Verdict>,
}

impl Seen {
    pub(super) fn new(priority: Priority, forecast: Forecast, history: &History, now: Moment) -> Self {
        Self {
            priority,
            forecast,
            attempts: history.attempts,
            failed_on: history.failed_on.clone(),
            doubted_on: history.doubted_on.iter().copied().collect(),
            refused_on: history.refused_on.iter().copied().collect(),
            lost_on: history.lost_on.clone(),
            checkpoint: history.checkpoint.max(forecast.from_epoch),
            not_before: history.held_until.unwrap_or(now),
            live: BTreeMap::new(),
            completed: false,
            verdict: None,
        }
    }

    /// The cost of the epochs that no checkpoint has.
    pub(super) fn cost_left(&self) -> f64 {
        let Forecast { cost, from_epoch, until_epoch } = self.forecast;
        let left = (self.checkpoint..until_epoch).len() as f64;
        cost.0.max(1) as f64 * left / (from_epoch..until_epoch).len() as f64
    }

    pub(super) fn waits(&self) -> bool {
        self.verdict.is_none() && self.live.is_empty()
    }

    /// One attempt less; without another one the task waits until then.
    pub(super) fn release(&mut self, number: u32, until: Moment) {
        self.live.remove(&number);
        if self.live.is_empty() {
            self.not_before = until;
        }
    }

    /// What should have become of the task by its own history.
    pub(super) fn due_verdict(&self, config: &SchedulingConfig) -> Option<Verdict> {
        let (failures, losses) = (self.failed_on.len() as u32, self.lost_on.len() as u32);
        let given_up = |reason| Some(Verdict::GivenUp { reason, attempts: self.attempts });
        if self.completed {
            Some(Verdict::Completed { attempts: self.attempts })
        } else if failures >= config.failures_max {
            given_up(GivenUp::FailedTooOften { failures })
        } else if losses >= config.losses_max {
            given_up(GivenUp::LostTooOften { losses })
        } else {
            None
        }
    }
}

/// Where an executor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    Here,
    Away { until: Moment },
    Gone,
}

/// What takes a slot.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    /// The launch, or the newest epoch.
    pub(super) since: Moment,
    /// The same, or the return of its executor.
    pub(super) watched_from: Moment,
    pub(super) reported: Option<u32>,
    /// Whether it has ended there, and its end is not counted yet.
    pub(super) is_ending: bool,
    pub(super) told: Option<CancelReason>,
}

impl Taken {
    pub(super) fn new(now: Moment, told: Option<CancelReason>) -> Self {
        Self { since: now, watched_from: now, reported: None, is_ending: false, told }
    }
}

/// Why and how long nothing goes to an executor.
#[derive(Clone, Debug)]
pub(super) struct Exclusion {
    pub(super) until: Moment,
    pub(super) failures: u32,
    pub(super) probes: u32,
    pub(super) due: bool,
    pub(super) probe: Option<AttemptId>,
}

/// An executor.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) slots: u32,
    pub(super) place: Where,
    pub(super) draining: bool,
    pub(super) taken: BTreeMap<AttemptId, Taken>,
    /// When the last attempts failed, if nothing else happened to any since.
    pub(super) failed_at: Vec<Moment>,
    pub(super) exclusion: Option<Exclusion>,
    /// Whether anything came of what ran in its process.
    pub(super) has_worked: bool,
    /// Whether the one before ended with what was launched there, and nothing came since.
    pub(super) has_died: bool,
}

impl Node {
    pub(super) fn new() -> Self {
        Self {
            slots: 0,
            place: Where::Gone,
            draining: false,
            taken: BTreeMap::new(),
            failed_at: Vec::new(),
            exclusion: None,
            has_worked: false,
            has_died: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.place == Where::Here && !self.draining
    }

    /// Whether only attempts that hang take its slots, and all of them.
    pub(super) fn is_stuck(&self) -> bool {
        let hangs = |taken: &Taken| matches!(taken.told, Some(CancelReason::Hung { .. }));
        self.free_slots() == 0 && self.taken.values().all(hangs)
    }

    pub(super) fn is_away(&self) -> bool {
        matches!(self.place, Where::Away { .. })
    }

    pub(super) fn is_known(&self) -> bool {
        self.place != Where::Gone
    }

    pub(super) fn is_probed_by(&self, attempt: AttemptId) -> bool {
        self.exclusion.as_ref().is_some_and(|exclusion| exclusion.probe == Some(attempt))
    }

    pub(super) fn free_slots(&self) -> u32 {
        self.slots.saturating_sub(self.taken.len() as u32)
    }

    /// Free slots for tasks, where `all_excluded` executors have to do.
    pub(super) fn room(&self, all_excluded: bool) -> u32 {
        match &self.exclusion {
            _ if !self.is_open() => 0,
            Some(exclusion) if !all_excluded => {
                let wants_probe = exclusion.due && exclusion.probe.is_none();
                if wants_probe { self.free_slots().min(1) } else { 0 }
            }
            _ => self.free_slots(),
        }
    }

    pub(super) fn take(&mut self, attempt: AttemptId, taken: Taken) {
        if let Some(exclusion) = &mut self.exclusion
            && exclusion.due
            && exclusion.probe.is_none()
            && taken.told.is_none()
        {
            exclusion.probe = Some(attempt);
        }
        self.taken.insert(attempt, taken);
    }

    pub(super) fn vacate(&mut self, attempt: AttemptId) -> Taken {
        if let Some(exclusion) = &mut self.exclusion
            && exclusion.probe == Some(attempt)
        {
            exclusion.probe = None;
        }
        self.taken.remove(&attempt).expect("the slot was taken")
    }
}
