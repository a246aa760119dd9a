//! Executors come, go, come back with what they hold, and drain.

use std::collections::BTreeSet;

use broadsweep_common::ids::{AttemptId, ExecutorId};

use super::executor::{Connection, Health, Slot};
use super::moment::Moment;
use super::protocol::{CancelReason, Command};
use super::rejected::{Rejected, SLOTS_MAX};
use super::step::Scheduler;
use super::task::{Live, TaskState};
use super::timers::Timer;

impl Scheduler {
    /// An executor is connected: what ran there goes on, what it lost is made again, what nobody knew is adopted or
    /// told to stop.
    pub(super) fn on_executor_ready(
        &mut self,
        executor: ExecutorId,
        slots: u32,
        held: &[AttemptId],
        restarted: bool,
        now: Moment,
        commands: &mut Vec<Command>,
    ) -> Result<(), Rejected> {
        let before = self.fleet.get(executor);
        if before.is_some_and(|found| found.connection == Connection::Open) {
            return Err(Rejected::ExecutorConnected(executor));
        }
        if !(1..=SLOTS_MAX).contains(&slots) {
            return Err(Rejected::BadSlots { executor, slots });
        }
        let ours: Vec<AttemptId> = self.running_on(executor).collect();
        let held: BTreeSet<AttemptId> = held.iter().copied().collect();
        if restarted {
            let lost: Vec<_> = ours.iter().copied().filter(|attempt| !held.contains(attempt)).collect();
            self.judge_end_of_process(executor, &lost, now, commands);
        }
        self.mark_connected(executor, slots, restarted);
        for attempt in ours.iter().copied().filter(|attempt| !held.contains(attempt)) {
            self.on_not_held(executor, attempt, restarted, now, commands);
        }
        for attempt in held {
            if ours.binary_search(&attempt).is_ok() {
                self.on_still_held(executor, attempt, now, commands);
            } else {
                self.on_newly_held(executor, attempt, now, commands);
            }
        }
        self.refused_changed = true;
        Ok(())
    }

    pub(super) fn on_executor_draining(&mut self, executor: ExecutorId) -> Result<(), Rejected> {
        self.fleet.get(executor).ok_or(Rejected::UnknownExecutor(executor))?;
        self.fleet.change(executor, |found| found.draining = true);
        self.refused_changed = true;
        Ok(())
    }

    pub(super) fn on_executor_away(&mut self, executor: ExecutorId, now: Moment) -> Result<(), Rejected> {
        let here = self.fleet.get(executor).filter(|found| found.connection == Connection::Open);
        here.ok_or(Rejected::UnknownExecutor(executor))?;
        let until = now.after(self.policy.reconnect());
        self.fleet.change(executor, |found| found.connection = Connection::Away { until });
        self.timers.set(until, Timer::Away(executor));
        for attempt in self.running_on(executor).collect::<Vec<_>>() {
            self.stop_watching(executor, attempt);
            if let Some(slot) = self.fleet.get_mut(executor).and_then(|found| found.slot_mut(attempt)) {
                slot.is_ending = false; // its end is told again in the next session
            }
        }
        self.refused_changed = true;
        Ok(())
    }

    /// Nobody was listened to for a while: who is away, what runs, and what waits for an executor to come back with it has
    /// all of its time again.
    pub(super) fn on_stood_still(&mut self, now: Moment) {
        let again = now.after(self.policy.reconnect());
        for task in self.timers.due_releases(now) {
            self.change_state(task, TaskState::Waiting { until: again });
            self.timers.set(again, Timer::Release(task));
        }
        let executors: Vec<_> = self.fleet.all().map(|(id, found)| (id, found.connection)).collect();
        for (executor, connection) in executors {
            if let Connection::Away { until } = connection {
                self.timers.clear(until, Timer::Away(executor));
                self.fleet.change(executor, |found| found.connection = Connection::Away { until: again });
                self.timers.set(again, Timer::Away(executor));
            }
            for attempt in self.running_on(executor).collect::<Vec<_>>() {
                let slot = self.fleet.get_mut(executor).and_then(|found| found.slot_mut(attempt));
                let Some(slot) = slot.filter(|slot| slot.told.is_none()) else { continue };
                slot.begin_anew(now);
                self.watch_for_hang(executor, attempt, now);
            }
        }
    }

    pub(super) fn on_executor_lost(
        &mut self,
        executor: ExecutorId,
        now: Moment,
        commands: &mut Vec<Command>,
    ) -> Result<(), Rejected> {
        self.fleet.get(executor).ok_or(Rejected::UnknownExecutor(executor))?;
        self.lose_executor(executor, now, commands);
        Ok(())
    }

    /// An executor is gone, with all that ran there.
    pub(super) fn lose_executor(&mut self, executor: ExecutorId, now: Moment, commands: &mut Vec<Command>) {
        self.stop_waiting_for(executor);
        let running: Vec<AttemptId> = self.running_on(executor).collect();
        for &attempt in &running {
            self.stop_watching(executor, attempt);
        }
        self.judge_end_of_process(executor, &running, now, commands);
        self.fleet.change(executor, |found| {
            for &attempt in &running {
                found.vacate(attempt);
            }
            found.connection = Connection::Lost;
            found.draining = false;
        });
        for attempt in running {
            if self.executor_of(attempt) == Some(executor) {
                self.lose_attempt(executor, attempt, true, now, commands);
            }
        }
        self.refused_changed = true;
    }

    /// A process is gone with these attempts. If nothing came of them, nor of any other there, it may be what ends with every
    /// launch: that counts as a failure of the executor, which another process does not make good. Otherwise what failed
    /// there is forgotten with it.
    fn judge_end_of_process(
        &mut self,
        executor: ExecutorId,
        lost: &[AttemptId],
        now: Moment,
        commands: &mut Vec<Command>,
    ) {
        let Some(found) = self.fleet.get(executor) else { return };
        let has_lost = lost.iter().any(|attempt| self.executor_of(*attempt) == Some(executor));
        let has_died = has_lost && !found.has_worked;
        let probed = lost.iter().any(|attempt| found.is_probed_by(*attempt));
        if let Some(found) = self.fleet.get_mut(executor) {
            (found.has_worked, found.has_died) = (false, has_died || found.has_died);
        }
        if has_died {
            self.blame_failure(executor, probed, now, commands);
        } else if !self.fleet.get(executor).is_some_and(|found| found.has_died) {
            self.forget_failures(executor);
        }
    }

    fn mark_connected(&mut self, executor: ExecutorId, slots: u32, restarted: bool) {
        self.stop_waiting_for(executor);
        if restarted {
            if !self.fleet.known(executor).is_some_and(|found| found.has_died) {
                self.forget_health(executor);
            }
            self.forget_refusals(executor);
        }
        self.fleet.change(executor, |found| {
            found.slots = slots;
            found.connection = Connection::Open;
            found.draining &= !restarted;
        });
    }

    fn stop_waiting_for(&mut self, executor: ExecutorId) {
        if let Some(Connection::Away { until }) = self.fleet.get(executor).map(|found| found.connection) {
            self.timers.clear(until, Timer::Away(executor));
        }
    }

    /// What ran on an executor that was away does not any more.
    fn on_not_held(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        restarted: bool,
        now: Moment,
        commands: &mut Vec<Command>,
    ) {
        self.fleet.vacate(executor, attempt);
        if self.executor_of(attempt) == Some(executor) {
            self.lose_attempt(executor, attempt, restarted, now, commands);
        }
    }

    /// What ran on an executor that was away still does.
    fn on_still_held(&mut self, executor: ExecutorId, attempt: AttemptId, now: Moment, commands: &mut Vec<Command>) {
        let told = self.fleet.get(executor).and_then(|found| found.slot(attempt)).and_then(|slot| slot.told);
        match told {
            Some(reason) => commands.push(Command::Cancel(executor, attempt, reason)),
            None => self.watch_for_hang(executor, attempt, now),
        }
    }

    /// An executor holds what was not known to run there.
    fn on_newly_held(&mut self, executor: ExecutorId, attempt: AttemptId, now: Moment, commands: &mut Vec<Command>) {
        if self.can_adopt(executor, attempt) {
            let checkpoint = self.checkpoint_of(attempt.task);
            self.unqueue(attempt.task);
            let live = Live { executor, number: attempt.number };
            self.go_live(attempt.task, live, Slot::adopted(now, checkpoint), now);
            commands.push(Command::Adopt(executor, attempt));
        } else {
            self.fleet.occupy(executor, attempt, Slot::unwanted(now));
            commands.push(Command::Cancel(executor, attempt, CancelReason::Unwanted));
        }
    }

    /// Whether the attempt may be live there: its task wants one, it is neither live elsewhere nor beside another of
    /// its task, and there is a slot for it.
    fn can_adopt(&self, executor: ExecutorId, attempt: AttemptId) -> bool {
        let wanted = self.task(attempt.task).is_some_and(|record| {
            let launched = (1..=record.attempts).contains(&attempt.number);
            let apart = |live: Live| live.executor != executor && live.number != attempt.number;
            !record.is_finished() && launched && record.live().count() < 2 && record.live().all(apart)
        });
        wanted && self.fleet.get(executor).is_some_and(|found| found.free_slots() > 0)
    }

    /// Another process may have more memory than the one before.
    fn forget_refusals(&mut self, executor: ExecutorId) {
        let tasks = &mut self.tasks;
        self.refused.retain(|task| !tasks[task.0 as usize].forget_refusal(executor));
    }

    /// Another process knows nothing of what went wrong in the one before.
    fn forget_health(&mut self, executor: ExecutorId) {
        let health = self.fleet.get_mut(executor).map(|found| found.health);
        if let Some(Health::Excluded { until, .. }) = health {
            self.timers.clear(until, Timer::Probe(executor));
        }
        self.evidence.forget_suspect(executor);
        self.fleet.change(executor, |found| found.health = Health::GOOD);
    }
}
