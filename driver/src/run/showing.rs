//! What people see of how far a run is.

use std::num::NonZeroU64;

use broadsweep_common::ids::TrialId;
use broadsweep_common::task::TaskKind;
use broadsweep_search::PrunerKind;

use super::book::Book;
use super::{OngoingSearch, Run};
use crate::cluster::Traffic;
use crate::forecast::StillToCome;
use crate::results::progress::RunState;
use crate::study::Study;

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
            let (now, still_to_come) =
                (self.now(), || still_to_come(self.study, self.search.as_ref(), self.chronicle.book()));
            // Nobody knows how many of the trials that have paused will go on.
            let is_open = self.search.as_ref().is_some_and(|search| !search.timeline.has_ended());
            let is_unknown = is_open && self.study.search.pruner != PrunerKind::None;
            let left = if is_unknown { None } else { self.left.at(now, &self.scheduler, still_to_come) };
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

/// The trials that a search has not started, as far as its budgets go: what they cost, nobody knows but by those before.
fn still_to_come(study: &Study, search: Option<&OngoingSearch<'_>>, book: &Book) -> StillToCome {
    let Some(OngoingSearch { timeline, .. }) = search.filter(|search| !search.timeline.has_ended()) else {
        return StillToCome::default();
    };
    let (mut epochs, mut cost) = (0, 0_u64);
    for task in &book.tasks {
        if let TaskKind::Train(segment) = task.kind() {
            epochs += u64::from(segment.until_epoch - segment.from_epoch);
            cost = cost.saturating_add(task.task.cost);
        }
    }
    let started = (book.trials.len() as u64).max(1);
    let within = |budget: Option<NonZeroU64>, spent: u64| {
        budget.map_or(u64::MAX, |budget| budget.get().saturating_sub(spent) / (spent / started).max(1))
    };
    let rules = study.search.stop;
    let trials = study.trials_max().saturating_sub(book.trials.len() as u64);
    StillToCome {
        trials: trials.min(within(rules.epochs, epochs)).min(within(rules.cost, cost)),
        cost: cost / started,
        at_once: timeline.slots(),
    }
}
