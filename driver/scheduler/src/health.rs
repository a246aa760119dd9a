//! Which executors fail what others complete: excluded for a while, then probed by one task.

use broadsweep_common::ids::{AttemptId, ExecutorId};

use super::executor::Health;
use super::moment::Moment;
use super::protocol::Command;
use super::step::Scheduler;
use super::timers::Timer;

impl Scheduler {
    /// An attempt made an epoch there: if it is the probe, the executor is sound again.
    pub(super) fn credit_epoch(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        now: Moment,
        commands: &mut Vec<Command>,
    ) {
        if self.fleet.get(executor).is_some_and(|found| found.is_probed_by(attempt)) {
            self.reinstate(executor, commands);
        }
        self.note_work(executor);
        self.record_progress(executor, now, commands);
    }

    fn note_work(&mut self, executor: ExecutorId) {
        if let Some(found) = self.fleet.get_mut(executor) {
            (found.has_worked, found.has_died) = (true, false);
        }
    }

    /// An attempt completed there: the executor is sound, whatever failed before.
    pub(super) fn credit_completion(&mut self, executor: ExecutorId, now: Moment, commands: &mut Vec<Command>) {
        if self.health(executor).is_excluded() {
            self.reinstate(executor, commands);
        } else {
            self.forget_failures(executor);
        }
        self.note_work(executor);
        self.record_progress(executor, now, commands);
    }

    /// An attempt failed there, which is the executor's fault if others work. Of an excluded one only the probe says
    /// anything new; what ran there before may fail without consequence.
    pub(super) fn blame_failure(
        &mut self,
        executor: ExecutorId,
        probed: bool,
        now: Moment,
        commands: &mut Vec<Command>,
    ) {
        match self.health(executor) {
            Health::Well { failures, since } => {
                let since = if failures == 0 { now } else { since };
                let failures = failures + 1;
                self.set_health(executor, Health::Well { failures, since });
                if failures >= self.policy.exclude_after() {
                    self.evidence.suspects.insert(executor);
                    if self.evidence.has_progress_elsewhere(executor, since) {
                        self.exclude(executor, failures, 0, now, commands);
                    }
                }
            }
            Health::Probing { failures, probes, .. } if probed => {
                self.exclude(executor, failures + 1, probes + 1, now, commands);
            }
            Health::Probing { .. } | Health::Excluded { .. } => {}
        }
    }

    /// The time of an excluded executor has come.
    pub(super) fn on_probe_due(&mut self, executor: ExecutorId) {
        if let Health::Excluded { failures, probes, .. } = self.health(executor) {
            self.set_health(executor, Health::Probing { failures, probes, probe: None });
        }
    }

    /// A row of failures is broken, without an exclusion to end.
    pub(super) fn forget_failures(&mut self, executor: ExecutorId) {
        self.evidence.forget_suspect(executor);
        if !self.health(executor).is_excluded() {
            self.set_health(executor, Health::GOOD);
        }
    }

    fn record_progress(&mut self, executor: ExecutorId, now: Moment, commands: &mut Vec<Command>) {
        self.evidence.add_progress(executor, now);
        if self.evidence.suspects.is_empty() {
            return;
        }
        for suspect in self.evidence.suspects.clone() {
            if let Health::Well { failures, .. } = self.health(suspect)
                && suspect != executor
            {
                self.exclude(suspect, failures, 0, now, commands);
            }
        }
    }

    fn exclude(
        &mut self,
        executor: ExecutorId,
        failures: u32,
        probes: u32,
        now: Moment,
        commands: &mut Vec<Command>,
    ) {
        let until = now.after(self.policy.probe_wait(probes));
        self.evidence.forget_suspect(executor);
        self.set_health(executor, Health::Excluded { until, failures, probes });
        self.timers.set(until, Timer::Probe(executor));
        commands.push(Command::Exclude { executor, until, failures });
    }

    fn reinstate(&mut self, executor: ExecutorId, commands: &mut Vec<Command>) {
        if let Health::Excluded { until, .. } = self.health(executor) {
            self.timers.clear(until, Timer::Probe(executor));
        }
        self.set_health(executor, Health::GOOD);
        commands.push(Command::Reinstate(executor));
    }

    fn health(&self, executor: ExecutorId) -> Health {
        self.fleet.known(executor).map_or(Health::GOOD, |found| found.health)
    }

    fn set_health(&mut self, executor: ExecutorId, health: Health) {
        self.fleet.change(executor, |found| found.health = health);
    }
}
