//! Slots that are free where nothing waits get a second copy of a slow attempt, if the copy is forecast to win.
//!
//! No median of finished tasks is asked for, as speculative execution elsewhere does: tasks of a search differ in
//! cost, and there may be two of them. An attempt is compared with itself on another executor.

use std::time::Duration;

use broadsweep_common::ids::{ExecutorId, TaskId};

use super::executor::{Connection, Executor};
use super::moment::Moment;
use super::protocol::Command;
use super::step::Scheduler;

/// A copy has to be forecast to win by this factor: forecasts err, and a copy that loses was for nothing. One of a task that
/// is awaited costs nothing, since its slot has nothing else to do: it has to win at all.
const MARGIN: f64 = 1.25;

/// Time between two looks, by how soon something may change.
const LOOK_MIN: Duration = Duration::from_millis(100);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// A look costs time for each executor and attempt that is looked at; at many it is taken less often.
const LOOK_PER_ONE: Duration = Duration::from_micros(100);

/// Looks are taken at the tenth part of the shortest forecast.
const LOOKS_PER_FORECAST: f64 = 10.0;

/// A task that one attempt is live of, and where.
struct Single {
    task: TaskId,
    executor: ExecutorId,
    /// Until the attempt ends, in microseconds; endless while its executor is away.
    remaining_us: f64,
    /// What a copy would have to do.
    cost: f64,
    is_awaited: bool,
}

/// An executor that may take a copy.
struct Host {
    executor: ExecutorId,
    free_slots: u32,
    /// For one unit of cost, in microseconds.
    pace_us: Option<f64>,
}

impl Scheduler {
    /// Looks for slow attempts, if a copy could be made of one and it is time to; soon, if something `changed` that a
    /// forecast knows nothing of.
    pub(super) fn look_for_slow_attempts(&mut self, changed: bool, now: Moment, commands: &mut Vec<Command>) {
        if !self.may_copy() {
            self.copy_watch.next = None;
            return;
        }
        let soonest = self.copy_watch.last.map_or(now, |last| last.after(self.look_gap(LOOK_MIN)));
        let due = self.copy_watch.next.filter(|_| !changed).unwrap_or(soonest).max(soonest);
        if due > now {
            self.copy_watch.next = Some(due);
            return;
        }
        self.copy_watch.last = Some(now);
        let again = self.look(now, commands);
        self.copy_watch.next = again.filter(|_| self.may_copy()).map(|gap| now.after(self.look_gap(gap)));
    }

    /// The wait until the next look where the forecasts ask for this one.
    fn look_gap(&self, gap: Duration) -> Duration {
        let looked_at = self.singles.max(self.fleet.len()) as u32;
        gap.max(LOOK_MIN).max(LOOK_PER_ONE * looked_at).min(LOOK_MAX)
    }

    /// What waits is placed before: a slot that is still free now suits nothing that waits. Where nothing was measured
    /// yet, only an attempt out of reach is known to be slow.
    fn may_copy(&self) -> bool {
        let wanted = self.policy.copies() && !self.placing_ended && self.singles > 0;
        wanted && self.fleet.has_roomy() && (self.fleet.pace.is_known() || self.fleet.has_away())
    }

    /// Makes copies, of what is awaited and then of the longest remaining attempts first, and says after what time to look again. Not before
    /// something else happens, if each attempt has the only free slots beside it.
    fn look(&mut self, now: Moment, commands: &mut Vec<Command>) -> Option<Duration> {
        let fastest_us = self.fastest_host();
        let only_host = self.only_host();
        let mut shortest_us = f64::INFINITY;
        let mut watched = false;
        let mut slow = Vec::new();
        self.each_single(now, |single| {
            if only_host != Some(single.executor) {
                watched = true;
                shortest_us = shortest_us.min(single.remaining_us);
                // Most looks end here: not even the fastest host would win.
                if single.gains(fastest_us) {
                    slow.push(single);
                }
            }
        });
        slow.sort_by(|one: &Single, other| {
            let awaited = other.is_awaited.cmp(&one.is_awaited);
            let longest = other.remaining_us.total_cmp(&one.remaining_us);
            awaited.then(longest).then(other.cost.total_cmp(&one.cost)).then(one.task.cmp(&other.task))
        });
        let mut hosts = if slow.is_empty() { Vec::new() } else { self.hosts() };
        for single in slow {
            let Some(index) = self.best_host(&single, &hosts) else { continue };
            let host = &mut hosts[index];
            host.free_slots -= 1;
            let executor = host.executor;
            if host.free_slots == 0 {
                hosts.remove(index);
            }
            self.launch(single.task, executor, now, commands);
        }
        watched.then(|| Duration::from_micros((shortest_us / LOOKS_PER_FORECAST) as u64))
    }

    /// What the fastest executor with a free slot takes for one unit of cost, in microseconds.
    fn fastest_host(&self) -> Option<f64> {
        let all = self.fleet.pace;
        self.fleet.iter_roomy().filter_map(|found| found.pace.or(all).forecast_us(1.0)).min_by(f64::total_cmp)
    }

    /// The executor with the only free slots.
    fn only_host(&self) -> Option<ExecutorId> {
        let mut roomy = self.fleet.roomy();
        let first = roomy.next().map(|(executor, _)| executor);
        first.filter(|_| roomy.next().is_none())
    }

    /// The executors with free slots, the fastest first, then by free slots and id.
    fn hosts(&self) -> Vec<Host> {
        let host = |(executor, found): (ExecutorId, &Executor)| Host {
            executor,
            free_slots: found.free_slots(),
            pace_us: found.pace.or(self.fleet.pace).forecast_us(1.0),
        };
        let mut hosts: Vec<Host> = self.fleet.roomy().map(host).collect();
        let pace = |host: &Host| host.pace_us.unwrap_or(f64::INFINITY);
        // Stable: those of the same pace stay in the order of their free slots and ids.
        hosts.sort_by(|one, other| pace(one).total_cmp(&pace(other)));
        hosts
    }

    /// Visits the tasks that one attempt is live of.
    fn each_single(&self, now: Moment, mut visit: impl FnMut(Single)) {
        for (executor, found) in self.fleet.iter() {
            let away = matches!(found.connection, Connection::Away { .. });
            for (attempt, slot) in found.running().iter().filter(|(_, slot)| slot.told.is_none()) {
                let Some(record) = self.task(attempt.task).filter(|record| record.is_single()) else { continue };
                let remaining_us = if away { f64::INFINITY } else { slot.remaining_us(record, found.pace, now) };
                let cost = record.cost_left();
                let is_awaited = self.awaited == Some(attempt.task);
                visit(Single { task: attempt.task, executor, remaining_us, cost, is_awaited });
            }
        }
    }

    /// The first host that the task suits and where a copy wins.
    fn best_host(&self, single: &Single, hosts: &[Host]) -> Option<usize> {
        let shunned = self.task(single.task).and_then(|record| record.shunned(&self.policy));
        let suits = self.fleet.suits(shunned);
        let fits = |host: &Host| host.executor != single.executor && suits(host.executor);
        hosts.iter().position(fits).filter(|&index| single.gains(hosts[index].pace_us))
    }
}

impl Single {
    /// Whether a copy is forecast to win at this pace. Nothing is slower than an attempt out of reach.
    fn gains(&self, pace_us: Option<f64>) -> bool {
        let margin = if self.is_awaited { 1.0 } else { MARGIN };
        match pace_us {
            Some(pace_us) => self.cost * pace_us * margin < self.remaining_us,
            None => self.remaining_us.is_infinite(),
        }
    }
}
