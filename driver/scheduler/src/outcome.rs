//! What becomes of a task whose attempt makes an epoch, ends, hangs or is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::executor::Connection;
use super::moment::Moment;
use super::protocol::{CancelReason, Command, GivenUp, Outcome, Verdict};
use super::rejected::Rejected;
use super::step::Scheduler;
use super::task::{TaskRecord, TaskState};
use super::timers::Timer;

/// How many epochs the pace of an executor remembers, and that of all.
const EXECUTOR_MEMORY: u32 = 8;
const FLEET_MEMORY: u32 = 64;

/// Cost in a microsecond, a hundred million in a second, that any machine does: where nothing was measured yet.
const COST_PER_US_MIN: f64 = 100.0;

impl Scheduler {
    pub(super) fn on_epoch_ended(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        epoch: u32,
        now: Moment,
        commands: &mut Vec<Command>,
    ) -> Result<(), Rejected> {
        self.check_slot(executor, attempt)?;
        if self.executor_of(attempt) != Some(executor) {
            return Err(Rejected::StaleAttempt { executor, attempt });
        }
        let epoch_cost = self.task(attempt.task).map_or(1.0, TaskRecord::epoch_cost);
        let Some(found) = self.fleet.get_mut(executor) else { return Ok(()) };
        let Some(slot) = found.slot_mut(attempt).filter(|slot| slot.is_news(epoch)) else { return Ok(()) };
        let took = now.since(slot.since);
        if let Some(cost) = slot.progress(epoch, epoch_cost, now) {
            found.pace.measured(took, cost, EXECUTOR_MEMORY);
            self.fleet.pace.measured(took, cost, FLEET_MEMORY);
        }
        self.watch_for_hang(executor, attempt, now);
        self.credit_epoch(executor, attempt, now, commands);
        Ok(())
    }

    pub(super) fn on_checkpointed(&mut self, task: TaskId, epoch: u32) -> Result<(), Rejected> {
        let record = self.task_mut(task).ok_or(Rejected::UnknownTask(task))?;
        if epoch > record.checkpoint && !record.is_finished() {
            record.reach(epoch);
        }
        Ok(())
    }

    /// Nothing is due from an attempt any more that has ended there.
    pub(super) fn on_attempt_ending(&mut self, executor: ExecutorId, attempt: AttemptId) -> Result<(), Rejected> {
        self.check_slot(executor, attempt)?;
        if self.executor_of(attempt) != Some(executor) {
            return Err(Rejected::StaleAttempt { executor, attempt });
        }
        self.stop_watching(executor, attempt);
        if let Some(slot) = self.fleet.get_mut(executor).and_then(|found| found.slot_mut(attempt)) {
            slot.is_ending = true;
        }
        Ok(())
    }

    pub(super) fn on_attempt_ended(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        outcome: Outcome,
        now: Moment,
        commands: &mut Vec<Command>,
    ) -> Result<(), Rejected> {
        self.check_slot(executor, attempt)?;
        if self.executor_of(attempt) != Some(executor) {
            self.fleet.vacate(executor, attempt); // it was told to stop
            return Ok(());
        }
        let probed = self.fleet.get(executor).is_some_and(|found| found.is_probed_by(attempt));
        if outcome == Outcome::Completed {
            self.measure_completion(executor, attempt, now);
        }
        self.stop_watching(executor, attempt);
        self.fleet.vacate(executor, attempt);
        match outcome {
            Outcome::Completed => {
                self.complete_task(attempt, commands);
                self.credit_completion(executor, now, commands);
            }
            Outcome::Failed => {
                self.fail_attempt(executor, attempt, now, commands);
                self.blame_failure(executor, probed, now, commands);
            }
            Outcome::Doubted => self.doubt_attempt(executor, attempt, now, commands),
            Outcome::Refused => self.refuse_attempt(executor, attempt, now, commands),
            Outcome::Stopped => self.settle(attempt, now, now, commands),
        }
        Ok(())
    }

    /// An attempt was silent for too long: it is told to stop, and counts as failed.
    pub(super) fn on_hang(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        now: Moment,
        commands: &mut Vec<Command>,
    ) {
        let Some(found) = self.fleet.get_mut(executor) else { return };
        let probed = found.is_probed_by(attempt);
        let Some(slot) = found.slot_mut(attempt) else { return };
        slot.hangs = None;
        let silent = now.since(slot.since);
        self.cancel_attempt(executor, attempt, CancelReason::Hung { silent }, commands);
        self.fail_attempt(executor, attempt, now, commands);
        self.blame_failure(executor, probed, now, commands);
        // Its executor may have no slot left that does not hang: some tasks do not wait for that.
        self.refused_changed |= !self.refused.is_empty();
    }

    /// A live attempt is gone without a report: with its executor if it had `arrived` there, else with a session.
    pub(super) fn lose_attempt(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        arrived: bool,
        now: Moment,
        commands: &mut Vec<Command>,
    ) {
        commands.push(Command::Lost { executor, attempt, arrived });
        let policy = self.policy;
        let Some(record) = self.task_mut(attempt.task) else { return };
        record.lost_on(executor);
        let wait = if arrived { Duration::ZERO } else { policy.launch_backoff(record.losses(), attempt.task) };
        self.settle(attempt, now.after(wait), now, commands);
    }

    /// Tells an attempt to stop: its slot is taken until it did.
    pub(super) fn cancel_attempt(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        reason: CancelReason,
        commands: &mut Vec<Command>,
    ) {
        self.stop_watching(executor, attempt);
        self.fleet.change(executor, |found| {
            if let Some(slot) = found.slot_mut(attempt) {
                slot.told = Some(reason);
            }
        });
        commands.push(Command::Cancel(executor, attempt, reason));
    }

    /// The next epoch of a live attempt is due from now on, if its executor is connected.
    pub(super) fn watch_for_hang(&mut self, executor: ExecutorId, attempt: AttemptId, now: Moment) {
        self.stop_watching(executor, attempt);
        let Some(record) = self.tasks.get(attempt.task.0 as usize) else { return };
        let all = self.fleet.pace;
        let Some(found) = self.fleet.get_mut(executor).filter(|found| found.connection == Connection::Open) else {
            return;
        };
        let cost = record.epoch_cost();
        let patience = match found.pace.or(all).forecast_us(cost) {
            Some(forecast_us) => self.policy.hang_after(micros(forecast_us)),
            None => self.policy.hang_after_unmeasured(micros(cost / COST_PER_US_MIN)),
        };
        if let Some(slot) = found.slot_mut(attempt).filter(|slot| !slot.is_ending) {
            let hangs = now.after(patience);
            slot.hangs = Some(hangs);
            self.timers.set(hangs, Timer::Hang(executor, attempt));
        }
    }

    pub(super) fn stop_watching(&mut self, executor: ExecutorId, attempt: AttemptId) {
        let slot = self.fleet.get_mut(executor).and_then(|found| found.slot_mut(attempt));
        if let Some(hangs) = slot.and_then(|slot| slot.hangs.take()) {
            self.timers.clear(hangs, Timer::Hang(executor, attempt));
        }
    }

    /// Finishes the tasks that every executor refused.
    pub(super) fn give_up_misfits(&mut self, now: Moment, commands: &mut Vec<Command>) {
        if !std::mem::take(&mut self.refused_changed) {
            return;
        }
        let fits_nowhere = |task: &TaskId| {
            self.task(*task).is_some_and(|record| {
                // One that was live under an earlier driver may still be somewhere: its time has to come first.
                let waits = matches!(record.state, TaskState::Waiting { until } if until <= now);
                waits && record.trouble.as_ref().is_some_and(|trouble| self.fleet.all_refused(trouble))
            })
        };
        for task in self.refused.iter().copied().filter(fits_nowhere).collect::<Vec<_>>() {
            self.give_up(task, GivenUp::FitsNowhere, commands);
        }
    }

    pub(super) fn on_tasks_dropped(&mut self, tasks: &[TaskId], commands: &mut Vec<Command>) -> Result<(), Rejected> {
        for task in tasks {
            let record = self.task(*task).ok_or(Rejected::UnknownTask(*task))?;
            if record.attempts > 0 || record.is_finished() {
                return Err(Rejected::TaskBegun(*task));
            }
        }
        let dropped: BTreeSet<TaskId> = tasks.iter().copied().collect();
        self.queue.retain(|task| !dropped.contains(&task));
        for task in dropped {
            self.finish_task(task, Verdict::Dropped, commands);
        }
        Ok(())
    }

    /// The task is over without a result.
    pub(super) fn give_up(&mut self, task: TaskId, reason: GivenUp, commands: &mut Vec<Command>) {
        let attempts = self.task(task).map_or(0, |record| record.attempts);
        self.finish_task(task, Verdict::GivenUp { reason, attempts }, commands);
    }

    fn check_slot(&self, executor: ExecutorId, attempt: AttemptId) -> Result<(), Rejected> {
        let found = self.fleet.get(executor).ok_or(Rejected::UnknownExecutor(executor))?;
        found.slot(attempt).map(|_| ()).ok_or(Rejected::StaleAttempt { executor, attempt })
    }

    /// A task of one epoch is measured by its end.
    fn measure_completion(&mut self, executor: ExecutorId, attempt: AttemptId, now: Moment) {
        let Some(record) = self.tasks.get(attempt.task.0 as usize) else { return };
        let Some(found) = self.fleet.get_mut(executor) else { return };
        let Some(slot) = found.slot(attempt) else { return };
        if let Some(cost) = slot.completed_cost(record) {
            let took = now.since(slot.since);
            found.pace.measured(took, cost, EXECUTOR_MEMORY);
            self.fleet.pace.measured(took, cost, FLEET_MEMORY);
        }
    }

    fn complete_task(&mut self, attempt: AttemptId, commands: &mut Vec<Command>) {
        let Some(record) = self.task(attempt.task) else { return };
        let verdict = Verdict::Completed { attempts: record.attempts };
        // What is left of it is beaten, the attempt itself is not.
        if let Some(rest) = record.without_live(attempt) {
            self.change_state(attempt.task, rest);
            self.finish_task(attempt.task, verdict, commands);
        } else {
            self.end_task(attempt.task, verdict, commands);
        }
    }

    fn fail_attempt(&mut self, executor: ExecutorId, attempt: AttemptId, now: Moment, commands: &mut Vec<Command>) {
        let policy = self.policy;
        let Some(record) = self.task_mut(attempt.task) else { return };
        record.failed_on(executor);
        let until = now.after(policy.backoff(record.failures()));
        self.settle(attempt, until, now, commands);
    }

    fn doubt_attempt(&mut self, executor: ExecutorId, attempt: AttemptId, now: Moment, commands: &mut Vec<Command>) {
        let policy = self.policy;
        let Some(record) = self.task_mut(attempt.task) else { return };
        record.doubted_on(executor);
        self.settle(attempt, now.after(policy.backoff(1)), now, commands);
    }

    fn refuse_attempt(&mut self, executor: ExecutorId, attempt: AttemptId, now: Moment, commands: &mut Vec<Command>) {
        if let Some(record) = self.task_mut(attempt.task) {
            record.refused_on(executor);
            self.refused.insert(attempt.task);
        }
        self.settle(attempt, now, now, commands);
    }

    /// Follows the end of a live attempt that brought no result: the task is given up, goes on with its other
    /// attempt, or waits `until` then.
    fn settle(&mut self, attempt: AttemptId, until: Moment, now: Moment, commands: &mut Vec<Command>) {
        let task = attempt.task;
        let Some(record) = self.task(task) else { return };
        let exhausted = record.exhausted(&self.policy);
        let state = record.without_live(attempt).unwrap_or(TaskState::Waiting { until });
        self.change_state(task, state);
        self.enqueue(task, state, now);
        self.refused_changed |= self.refused.contains(&task);
        if let Some(reason) = exhausted {
            self.give_up(task, reason, commands);
        }
    }

    /// Ends a task wherever it stands: it leaves the queue, and its live attempts are beaten.
    fn finish_task(&mut self, task: TaskId, verdict: Verdict, commands: &mut Vec<Command>) {
        self.unqueue(task);
        let rest: Vec<_> = self.task(task).into_iter().flat_map(TaskRecord::live).collect();
        self.end_task(task, verdict, commands);
        for live in rest {
            self.cancel_attempt(live.executor, live.attempt(task), CancelReason::Beaten, commands);
        }
    }

    fn end_task(&mut self, task: TaskId, verdict: Verdict, commands: &mut Vec<Command>) {
        self.change_state(task, TaskState::Finished(verdict));
        self.refused.remove(&task);
        if let Some(record) = self.task_mut(task) {
            record.trouble = None; // nobody asks any more
        }
        commands.push(Command::Finish(task, verdict));
    }

    /// A waiting task leaves the queue, or does not join it any more.
    pub(super) fn unqueue(&mut self, task: TaskId) {
        let Some(record) = self.tasks.get(task.0 as usize) else { return };
        if let TaskState::Waiting { until } = record.state {
            self.queue.remove_tried(record.queue_key(task));
            self.timers.clear(until, Timer::Release(task));
        }
    }
}

fn micros(us: f64) -> Duration {
    Duration::from_micros(us as u64)
}
