//! A driver that ends before its run does: what goes on without it, and what stops.

use std::collections::BTreeSet;

use broadsweep_common::ids::{AttemptId, ExecutorId};
use broadsweep_scheduler::Event;

use super::Run;
use crate::cluster::Order;

impl Run<'_> {
    /// Executors on which something of the run may go on, although this driver ends.
    pub(super) fn spared(&self) -> BTreeSet<ExecutorId> {
        let executors = (0..self.cluster.names().len() as u32).map(ExecutorId);
        let is_spared = |executor: &ExecutorId| {
            !self.executors.is_known(*executor) || self.scheduler.running_on(*executor).next().is_some()
        };
        if self.scheduler.is_done() { BTreeSet::new() } else { executors.filter(is_spared).collect() }
    }

    /// The run is to end early: what runs stops after its epoch, with a checkpoint.
    pub(super) fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.feed(Event::PlacingEnded);
        let ready: Vec<_> = self.executors.ready().collect();
        let running: usize = ready.into_iter().map(|executor| self.stop_on(executor)).sum();
        if running > 0 {
            self.say(format!(
                "stopping: {} under way, so that nothing is lost; press Ctrl-C again to end at once",
                if running == 1 { "one attempt ends the epoch" } else { "attempts end the epochs" }
            ));
        }
    }

    /// What is live on an executor stops after its epoch; returns how many attempts that are.
    pub(super) fn stop_on(&mut self, executor: ExecutorId) -> usize {
        let attempts: Vec<_> = self.live_on(executor).collect();
        let count = attempts.len();
        for attempt in attempts {
            self.tell(executor, Order::Cancel { attempt, at_epoch_end: true });
        }
        count
    }

    /// The live attempts on an executor: not those that were told to stop, which may never do so.
    pub(super) fn live_on(&self, executor: ExecutorId) -> impl Iterator<Item = AttemptId> {
        let running = self.scheduler.running_on(executor);
        running.filter(move |attempt| self.scheduler.executor_of(*attempt) == Some(executor))
    }
}
