//! When a search ends before its sampler does: a target that is reached, no progress, or a budget that is spent.

use std::num::{NonZeroU32, NonZeroU64};

use broadsweep_common::configuration::Configuration;
use broadsweep_common::metrics::{Direction, Objective};

use super::decision::{Decision, Running, Search, Seen, SegmentEnd, VirtualTime};
use super::ranking::finite_loss;
use super::virtual_time::PlannedCosts;

/// What ends a search; the first of them that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StopRules {
    /// A trial's result is this value of the objective, or a better one.
    pub target: Option<f64>,
    /// So many trials have ended since one was better than all before it.
    pub no_progress: Option<NonZeroU32>,
    /// No more epochs are started than these, of all trials together.
    pub epochs: Option<NonZeroU64>,
    /// Nothing is started that would cost more than this, of all trials together, in the unit of [`PlannedCosts::cost`].
    pub cost: Option<NonZeroU64>,
}

impl StopRules {
    /// Whether there is one.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// A trial that was started: its epochs so far, and what they cost.
struct Started {
    configuration: Configuration,
    until_epoch: u32,
}

/// A search that ends by rules. They look at what is seen and at what is planned, and at no clock: so it ends at the same
/// decision on every cluster.
pub struct Stopping<'a> {
    search: Box<dyn Search + 'a>,
    rules: StopRules,
    objective: Objective,
    costs: Box<dyn PlannedCosts + 'a>,
    /// By trial.
    started: Vec<Started>,
    epochs: u64,
    cost: u64,
    best: f64,
    /// Trials that ended since `best` was found.
    since_best: u32,
    has_ended: bool,
}

impl<'a> Stopping<'a> {
    /// The search that ends as `search` does, or where one of the rules holds.
    #[must_use]
    pub fn new(
        search: Box<dyn Search + 'a>,
        rules: StopRules,
        objective: Objective,
        costs: Box<dyn PlannedCosts + 'a>,
    ) -> Self {
        let (started, best) = (Vec::new(), f64::INFINITY);
        let (epochs, cost, since_best, has_ended) = (0, 0, 0, false);
        Self { search, rules, objective, costs, started, epochs, cost, best, since_best, has_ended }
    }

    fn see(&mut self, end: &SegmentEnd) {
        let loss = match end {
            SegmentEnd::Finished { metrics, .. } => finite_loss(&self.objective, metrics),
            SegmentEnd::Diverged { .. } | SegmentEnd::GivenUp => f64::INFINITY,
            SegmentEnd::Paused { .. } => return,
        };
        self.since_best = if loss < self.best { 0 } else { self.since_best.saturating_add(1) };
        self.best = self.best.min(loss);
    }

    fn is_reached(&self) -> bool {
        let target = self.rules.target.map(|target| match self.objective.direction {
            Direction::Minimize => target,
            Direction::Maximize => -target,
        });
        let is_stuck = self.rules.no_progress.is_some_and(|trials| self.since_best >= trials.get());
        target.is_some_and(|target| self.best <= target) || is_stuck
    }

    /// Counts what a decision starts; says whether that is within the budget.
    fn count(&mut self, decision: &Decision) -> bool {
        let (trial, from_epoch, until_epoch) = match decision {
            Decision::Start { configuration, until_epoch, .. } => {
                let epochs = self.costs.epochs(configuration).get();
                let until_epoch = until_epoch.map_or(epochs, |until_epoch| until_epoch.clamp(1, epochs));
                self.started.push(Started { configuration: configuration.clone(), until_epoch: 0 });
                (self.started.len() - 1, 0, until_epoch)
            }
            Decision::Continue { trial, until_epoch } => {
                let Some(started) = self.started.get(trial.0 as usize) else { return true };
                let epochs = self.costs.epochs(&started.configuration).get();
                (trial.0 as usize, started.until_epoch, (*until_epoch).min(epochs).max(started.until_epoch))
            }
            Decision::Wait | Decision::Ended => return true,
        };
        let started = &mut self.started[trial];
        started.until_epoch = until_epoch;
        self.epochs = self.epochs.saturating_add(u64::from(until_epoch - from_epoch));
        let cost = self.costs.cost(&started.configuration, from_epoch..until_epoch);
        self.cost = self.cost.saturating_add(cost.get());
        let within = |budget: Option<NonZeroU64>, spent: u64| budget.is_none_or(|budget| spent <= budget.get());
        within(self.rules.epochs, self.epochs) && within(self.rules.cost, self.cost)
    }
}

impl Search for Stopping<'_> {
    fn next(&mut self, v: VirtualTime, seen: &[Seen], running: &dyn Running) -> Decision {
        for seen in seen {
            self.see(&seen.end);
        }
        self.has_ended |= self.is_reached();
        if self.has_ended {
            return Decision::Ended;
        }
        let decision = self.search.next(v, seen, running);
        self.has_ended = !self.count(&decision);
        if self.has_ended { Decision::Ended } else { decision }
    }

    fn recall(&mut self, decision: &Decision) {
        self.count(decision);
        self.search.recall(decision);
    }
}

#[cfg(test)]
#[path = "stops_tests.rs"]
mod tests;
