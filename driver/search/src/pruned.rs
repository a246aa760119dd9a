//! The search of a study with a pruner: trials pause at rungs, those that the pruner says go on, and the sampler starts new
//! ones: while the pruner says of none that it goes on, if the sampler learns, or first, if it does not.
//!
//! The control is what all others are compared with: it does not pause.
//!
//! A sampler that learns must not take values after different epochs for equals. It is shown the outlook of each trial at
//! each of its rungs ([`Bracket::note`]), and which rung that is: samplers bring them to one scale (`levelled.rs`). A trial of
//! which something is observed is not under way any more, though it was continued.
//!
//! All that is decided follows from what was started and continued and from what was seen, in whatever order one was told of
//! the other: so a later driver that recalls all decisions first, and is shown all results after, goes on with the same.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::Objective;

use super::decision::{Decision, Origin, Running, Search, Seen, SegmentEnd, VirtualTime};
use super::picks::Picks;
use super::pruner::{Bracket, Pruner, Rung, RungArrival};
use super::ranking::finite_loss;
use super::sampler::{Observation, Sampler};
use super::virtual_time::PlannedCosts;

/// Trials that have come to a first rung before any goes on, if there are so many, and the sampler does not learn. On the
/// developed half of the curves of `tests/rivals/curves.py`, the best of a hundred trials of a Sobol sequence so was missed by
/// 0.06 points, in place of 0.17. More would let a long search that is stopped have trained none to its end.
const COMPARED_MIN: usize = 100;

/// A trial that was started.
struct Climber {
    configuration: Configuration,
    bracket: usize,
    /// Its last epoch.
    epochs_max: u32,
    /// Where the newest of its segments ends.
    until_epoch: u32,
}

/// A segment of which something was seen.
struct Ending {
    trial: TrialId,
    until_epoch: u32,
    /// Of each of its replicates.
    losses: Vec<f64>,
    /// Whether all of them have paused.
    has_paused: bool,
}

/// A sampler's configurations, whose trials go on where a pruner says so.
pub struct Pruned {
    picks: Picks,
    /// See [`COMPARED_MIN`].
    compared_min: usize,
    pruner: Box<dyn Pruner>,
    costs: Box<dyn PlannedCosts>,
    objective: Objective,
    brackets: Vec<Bracket>,
    /// By trial.
    climbers: Vec<Climber>,
    /// In the order of what was seen last; a trial with replicates under way is among them until all have ended.
    endings: Vec<Ending>,
    /// What is kept for a sampler that learns.
    observed: Vec<Observation>,
    observed_trials: BTreeSet<TrialId>,
}

impl Pruned {
    /// A search that has decided nothing yet, whose sampler and pruner make what `objective` says better. `costs` tells how
    /// many epochs each trial has.
    #[must_use]
    pub fn new(
        control: Option<Configuration>,
        sampler: Box<dyn Sampler>,
        pruner: Box<dyn Pruner>,
        objective: Objective,
        costs: Box<dyn PlannedCosts>,
    ) -> Self {
        let brackets = pruner.rungs().into_iter().map(Bracket::new).collect();
        let picks = Picks::new(control, sampler);
        let (climbers, endings, observed, observed_trials) = (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
        let compared_min = COMPARED_MIN;
        Self { picks, compared_min, pruner, costs, objective, brackets, climbers, endings, observed, observed_trials }
    }

    /// With these starting points: behind the control, and before what the sampler picks.
    #[must_use]
    pub fn starting_from(mut self, initial: Vec<Configuration>) -> Self {
        self.picks.give(initial);
        self
    }

    /// Where the search may be stopped by a budget, so many trials at most come to a first rung before any goes on: else none
    /// would be trained to its end.
    #[must_use]
    pub fn comparing_at_most(mut self, trials: usize) -> Self {
        self.compared_min = self.compared_min.min(trials);
        self
    }

    /// How many of the configurations that the study gives the sampler has picked as well.
    #[must_use]
    pub fn given_picked(&self) -> usize {
        self.picks.given_picked()
    }

    fn see(&mut self, seen: &Seen) {
        let (trial, until_epoch) = (seen.segment.replicate.trial, seen.segment.until_epoch);
        let loss = match &seen.end {
            SegmentEnd::Paused { metrics, .. } | SegmentEnd::Finished { metrics, .. } => {
                finite_loss(&self.objective, metrics)
            }
            SegmentEnd::Diverged { .. } | SegmentEnd::GivenUp => f64::INFINITY,
        };
        let is_same = |ending: &Ending| ending.trial == trial && ending.until_epoch == until_epoch;
        let known = self.endings.iter().position(is_same).map(|place| self.endings.remove(place));
        let mut ending = known.unwrap_or(Ending { trial, until_epoch, losses: Vec::new(), has_paused: true });
        ending.losses.push(loss);
        ending.has_paused &= matches!(seen.end, SegmentEnd::Paused { .. });
        self.endings.push(ending);
    }

    /// A segment of which no replicate is under way any more counts at its rung: the mean of its replicates.
    fn settle(&mut self, under_way: &BTreeSet<(TrialId, u32)>) {
        let is_settled = |ending: &mut Ending| !under_way.contains(&(ending.trial, ending.until_epoch));
        for Ending { trial, until_epoch, losses, has_paused } in self.endings.extract_if(.., is_settled) {
            let Some(climber) = self.climbers.get(trial.0 as usize) else { continue };
            let loss = losses.iter().sum::<f64>() / losses.len() as f64;
            let is_paused = has_paused && climber.until_epoch == until_epoch && until_epoch < climber.epochs_max;
            let bracket = &mut self.brackets[climber.bracket];
            let epochs_max = has_paused.then_some(climber.epochs_max);
            let outlook = bracket.note(until_epoch, RungArrival { trial, loss, epochs_max, is_paused });
            if self.picks.learns() {
                let (rung_epochs, configuration) = (bracket.rung_epochs(until_epoch), climber.configuration.clone());
                self.observed.push(Observation { configuration, rung_epochs, loss: outlook });
                self.observed_trials.insert(trial);
            }
        }
    }

    /// The next promotion, and where the trial pauses after it.
    fn promotion(&self, all_started: bool) -> Option<Decision> {
        self.going_on(self.brackets.iter().find_map(|bracket| self.pruner.promoted(bracket, all_started))?)
    }

    fn going_on(&self, trial: TrialId) -> Option<Decision> {
        let climber = self.climbers.get(trial.0 as usize)?;
        let pause = self.brackets[climber.bracket].next_pause(climber.until_epoch, climber.epochs_max);
        Some(Decision::Continue { trial, until_epoch: pause.unwrap_or(climber.epochs_max) })
    }

    /// Where nothing is under way and no trial has got to its end with a number, the best of those that have paused goes on,
    /// whatever the pruner says: those that it chose diverged or failed.
    fn replacement(&self, is_any_under_way: bool) -> Option<Decision> {
        let has_result = |bracket: &Bracket| {
            bracket.rungs().last().is_some_and(|rung| rung.results().iter().any(|result| result.loss.is_finite()))
        };
        if is_any_under_way || self.brackets.iter().any(has_result) {
            return None;
        }
        let best = |rung: &Rung| {
            let mut paused = rung.results().iter().filter(|result| result.is_paused && result.loss.is_finite());
            paused.next().map(|result| result.trial)
        };
        let rungs = self.brackets.iter().map(|bracket| bracket.rungs().len()).max().unwrap_or(0);
        let from_the_end = |back: usize| {
            let rung = |bracket: &Bracket| {
                bracket.rungs().len().checked_sub(back).and_then(|place| best(&bracket.rungs()[place]))
            };
            self.brackets.iter().find_map(rung)
        };
        self.going_on((1..=rungs).find_map(from_the_end)?)
    }

    /// Whether promotions come before new trials: then some are of trials that later ones would have beaten. A sampler that
    /// learns has to see soon what trials are worth; of another one, that many trials are compared first.
    fn promotes_early(&self) -> bool {
        let compared = || self.brackets.iter().filter_map(|bracket| bracket.rungs().first());
        self.picks.learns() || compared().map(|rung| rung.results().len()).sum::<usize>() >= self.compared_min
    }

    fn start(&mut self, running: &dyn Running) -> Option<Decision> {
        let (mut under_way, mut known): (Vec<(TrialId, Configuration)>, _) = (Vec::new(), BTreeSet::new());
        if self.picks.learns() {
            for running in running.trials() {
                let trial = running.segment.replicate.trial;
                if !self.observed_trials.contains(&trial) && known.insert(trial) {
                    under_way.push((trial, running.configuration.clone()));
                }
            }
        }
        let under_way: Vec<_> = under_way.into_iter().map(|(_, configuration)| configuration).collect();
        let (configuration, origin) = self.picks.next(&self.observed, &under_way)?;
        let trial = TrialId(self.climbers.len() as u32);
        let epochs_max = self.costs.epochs(&configuration).get();
        let first_pause = self.brackets[self.bracket_of(trial)].next_pause(0, epochs_max);
        let until_epoch = first_pause.filter(|_| origin != Origin::Control);
        Some(Decision::Start { configuration, origin, until_epoch })
    }

    fn bracket_of(&self, trial: TrialId) -> usize {
        self.pruner.bracket_of(trial).min(self.brackets.len().saturating_sub(1))
    }

    /// What follows from a decision, whoever made it.
    fn carry_out(&mut self, decision: &Decision) {
        match decision {
            Decision::Start { configuration, until_epoch, .. } => {
                let bracket = self.bracket_of(TrialId(self.climbers.len() as u32));
                let epochs_max = self.costs.epochs(configuration).get();
                let until_epoch = until_epoch.map_or(epochs_max, |until_epoch| until_epoch.clamp(1, epochs_max));
                self.brackets[bracket].expect(until_epoch);
                let configuration = configuration.clone();
                self.climbers.push(Climber { configuration, bracket, epochs_max, until_epoch });
            }
            Decision::Continue { trial, until_epoch } => {
                let Some(climber) = self.climbers.get_mut(trial.0 as usize) else { return };
                let bracket = &mut self.brackets[climber.bracket];
                bracket.promote(climber.until_epoch, *trial);
                climber.until_epoch = *until_epoch;
                bracket.expect(*until_epoch);
            }
            Decision::Wait | Decision::Ended => {}
        }
    }
}

impl Search for Pruned {
    fn next(&mut self, _: VirtualTime, seen: &[Seen], running: &dyn Running) -> Decision {
        let under_way: BTreeSet<_> =
            running.trials().map(|trial| (trial.segment.replicate.trial, trial.segment.until_epoch)).collect();
        for seen in seen {
            self.see(seen);
        }
        self.settle(&under_way);
        // Always in this order: a later driver does not know whether the sampler has picked its last one until it asks.
        let early = if self.promotes_early() { self.promotion(false) } else { None };
        let is_any_under_way = !under_way.is_empty();
        let late = |search: &Self| {
            let promoted = search.promotion(false).or_else(|| search.promotion(true));
            promoted.or_else(|| search.replacement(is_any_under_way))
        };
        let decision = early.or_else(|| self.start(running)).or_else(|| late(self));
        let Some(decision) = decision else {
            let can_pause = |(trial, until_epoch): &(TrialId, u32)| {
                self.climbers.get(trial.0 as usize).is_some_and(|climber| *until_epoch < climber.epochs_max)
            };
            let is_paused =
                self.brackets.iter().flat_map(Bracket::rungs).any(|rung| rung.best_paused(usize::MAX).is_some());
            let may_go_on = !under_way.is_empty() && (is_paused || under_way.iter().any(can_pause));
            return if may_go_on { Decision::Wait } else { Decision::Ended };
        };
        self.carry_out(&decision);
        decision
    }

    fn recall(&mut self, decision: &Decision) {
        if let Decision::Start { configuration, origin, .. } = decision {
            self.picks.recall(configuration, *origin);
        }
        self.carry_out(decision);
    }
}
