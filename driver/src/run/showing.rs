//! What people see of how far a run is.

use broadsweep_common::ids::TrialId;

use super::Run;
use crate::cluster::Traffic;
use crate::results::progress::RunState;

impl Run<'_> {
    /// Shows how far the run is.
    pub(super) fn show(&mut self) {
        let (answered, ready, nodes) = self.executors.counts();
        if answered == 0 {
            self.progress.connecting(answered, nodes);
        } else if ready == 0 {
            let traffic = &self.payload.traffic;
            let arrived = Traffic::read(&traffic.arrived);
            let rate = (arrived as f64 / self.started.elapsed().as_secs_f64().max(1e-3)) as u64;
            self.progress.broadcasting(ready, nodes, (Traffic::read(&traffic.sent), arrived, rate));
        } else {
            let running =
                self.executors.ready().map(|executor| self.scheduler.running_on(executor).count() as u32).sum();
            let (attempts_lost, attempts_failed) = self.chronicle.book().misfortunes;
            let left = self.left.at(self.now(), &self.scheduler);
            let idle = self.idle_slots(running);
            self.progress.tick(RunState { running, attempts_lost, attempts_failed, left, idle });
        }
    }

    fn slots_ready(&self) -> u32 {
        self.executors.ready().map(|executor| self.chronicle.book().slots_of(executor)).sum()
    }

    /// Says that there are more slots than the order of the search keeps busy.
    pub(super) fn say_if_too_many_slots(&mut self) {
        let Some(search) = self.search.as_ref().filter(|search| !search.timeline.has_ended()) else { return };
        let (slots, parallel) = (self.slots_ready(), search.timeline.slots());
        if slots > parallel.max(self.slots_told) {
            self.slots_told = slots;
            self.say(format!(
                "there are {slots} slots, and `parallel` is {parallel}: some of them will be idle; parallel = {slots} in \
                 [search] uses all"
            ));
        }
    }

    /// Slots that have nothing to do before more is reported of a trial, and of which, while so many attempts run.
    fn idle_slots(&self, running: u32) -> Option<(u32, TrialId)> {
        let timeline = &self.search.as_ref()?.timeline;
        let slots = self.slots_ready();
        let idle = timeline.idle_slots(slots).min(slots.saturating_sub(running));
        let blocker = timeline.blocker().map(|segment| segment.replicate.trial);
        blocker.filter(|_| idle > 0).map(|trial| (idle, trial))
    }
}
