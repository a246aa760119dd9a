//! Picks what is likely among good results and unlikely among the others: the tree-structured Parzen estimator (Bergstra,
//! Bardenet, Bengio, Kégl, 2011).
//!
//! The results so far are split into a few good ones and the rest. Each side gives a density over the whole space, `l` of
//! the good and `g` of the rest (`tpe/estimator.rs`); candidates are drawn from `l`, and the one with the largest `l / g` is
//! taken: the one whose expected improvement is largest (the same paper). Both are densities over all parameters together
//! (Falkner, Klein, Hutter, 2018), and the good ones weigh more the better they are; what is known of the components is in
//! Watanabe ("Tree-structured Parzen estimator: understanding its algorithm components", 2023).
//!
//! Where parameters have conditions, those that are there together have densities of their own, from the results that have
//! them (Optuna calls it `group`); of a candidate, the `l / g` of what it has are multiplied.
//!
//! What is under way counts as bad (a constant liar: Ginsbourger, Le Riche, Carraro, 2010). The more of it there is for
//! each good result, the wider `l` is and the narrower `g`: many candidates will come from the same `l`, and they are to
//! differ from each other. The constants were measured with 1 and with 13 under way by `tests/rivals/search_tables.py`.

mod belief;
mod estimator;
mod group;

use std::collections::BTreeSet;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::seeds::Rng;

use super::belief::Belief;
use super::decision::Origin;
use super::levelled::Levelled;
use super::sampler::{Knowledge, Sampler};
use super::space::Space;
use super::tried::{Learner, RankedLoss, TriedConfigurations, next_of};
use estimator::Estimator;
use group::{Group, groups};

/// Results that are seen before it learns; until then it takes points that fill the space evenly.
const RESULTS_MIN: usize = 8;
/// One result of so many is good, rounded up.
const RESULTS_PER_GOOD: usize = 10;
/// Good results at most.
const GOOD_MAX: usize = 25;
/// Of the other results, so many are looked at, the better ones first: a decision costs the same however many there are.
const BAD_MAX: usize = 400;
/// Draws from the density of the good ones for each decision.
const CANDIDATES: usize = 64;
/// The same with those that break a constraint, which do not count.
const CANDIDATE_DRAWS_MAX: usize = 1000;
/// How wide a Gaussian is over the spread of the results, with nothing under way.
const BREADTH: f64 = 0.5;
/// How the breadth of the good side grows with what is under way, as a power.
const CROWD_POWER: f64 = 0.8;

/// The sampler.
#[derive(Clone, Debug)]
pub struct Tpe {
    tried: TriedConfigurations,
    groups: Vec<Group>,
}

impl Tpe {
    /// `trials` different configurations, or as many as `space` has.
    #[must_use]
    pub fn new(seed: u64, space: &Space, trials: u32) -> Self {
        let tried = TriedConfigurations::new(seed, space, trials);
        Self { groups: groups(space, &tried.coordinates), tried }
    }

    /// The best of the new candidates, if any is new.
    fn likeliest(&self, knowledge: Knowledge<'_>, rng: &mut Rng) -> Option<Configuration> {
        let sides = self.sides(knowledge);
        let mut best: Option<(f64, Configuration)> = None;
        let mut looked_at = 0;
        for _ in 0..CANDIDATE_DRAWS_MAX {
            if looked_at == CANDIDATES {
                break;
            }
            let mut drawn = vec![0.0; self.tried.coordinates.len()];
            for (group, (of_good, _)) in self.groups.iter().zip(&sides) {
                group.put(&of_good.draw(rng), &mut drawn);
            }
            let Some(candidate) = self.tried.admitted_at(&drawn) else { continue };
            looked_at += 1;
            let Some(point) = self.tried.point(&candidate).filter(|_| self.tried.is_new(&candidate)) else {
                continue;
            };
            let own = self.groups.iter().zip(&sides).filter(|(group, _)| group.is_in(&candidate));
            let log_ratios = own.map(|(group, (of_good, of_bad))| {
                let part = group.part(&point);
                of_good.log_density(&part) - of_bad.log_density(&part)
            });
            let log_ratio: f64 = log_ratios.sum();
            if best.as_ref().is_none_or(|(known, _)| log_ratio > *known) {
                best = Some((log_ratio, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// Of each group, the density of the good results that have it, and of the others.
    fn sides(&self, knowledge: Knowledge<'_>) -> Vec<(Estimator<'_>, Estimator<'_>)> {
        let (good, bad) = match self.tried.ranked() {
            Some(ranked) => split_ranked(ranked),
            None => split(self.tried.levelled(knowledge.observed)),
        };
        let of_space = |configuration| Some((configuration, self.tried.point(configuration)?));
        let under_way: Vec<_> = knowledge.under_way.iter().filter_map(of_space).collect();
        let result =
            |place: &usize| Some((&knowledge.observed[*place].configuration, self.tried.observed_point(*place)?));
        let weights = (1..=good.len()).rev().map(|better| better as f64 / good.len() as f64);
        let good_points: Vec<_> =
            good.iter().zip(weights).filter_map(|(place, weight)| Some((result(place)?, weight))).collect();
        let waiting = under_way.iter().map(|(configuration, point)| (*configuration, point.as_slice()));
        let bad_points: Vec<_> = bad.iter().filter_map(result).chain(waiting).map(|known| (known, 1.0)).collect();
        let crowd = 1.0 + under_way.len() as f64 / good.len().max(1) as f64;
        let breadths = (BREADTH * libm::pow(crowd, CROWD_POWER), BREADTH / crowd);
        let of_good = self.groups.iter().map(|group| group.estimator(&good_points, breadths.0));
        let of_bad = self.groups.iter().map(|group| group.estimator(&bad_points, breadths.1));
        of_good.zip(of_bad).collect()
    }
}

impl Learner for Tpe {
    const RESULTS_MIN: usize = RESULTS_MIN;

    fn tried(&mut self) -> &mut TriedConfigurations {
        &mut self.tried
    }

    fn most_promising(&mut self, knowledge: Knowledge<'_>, rng: &mut Rng) -> Option<Configuration> {
        self.likeliest(knowledge, rng)
    }
}

impl Sampler for Tpe {
    fn next(&mut self, knowledge: Knowledge<'_>) -> Option<(Configuration, Origin)> {
        next_of(self, knowledge)
    }

    fn recall(&mut self, configuration: &Configuration, origin: Origin) {
        self.tried.note_start(configuration, origin);
    }

    fn learns(&self) -> bool {
        true
    }

    fn beliefs(&self, parameters: &[&str], knowledge: Knowledge<'_>) -> Vec<Belief> {
        self.marginals(parameters, knowledge)
    }
}

/// The numbers of the good results, the best first, and of the next ones: of equal losses, the earlier one. A result without
/// a finite loss is never good.
fn split_ranked(ranked: &BTreeSet<(RankedLoss, usize)>) -> (Vec<usize>, Vec<usize>) {
    let good_max = ranked.len().div_ceil(RESULTS_PER_GOOD).min(GOOD_MAX);
    // Those that are finite come first.
    let good = ranked.iter().take(good_max).take_while(|(loss, _)| loss.is_finite()).count();
    let mut numbers = ranked.iter().map(|(_, number)| *number);
    (numbers.by_ref().take(good).collect(), numbers.take(BAD_MAX).collect())
}

/// The same of results whose losses depend on each other.
fn split(results: Vec<Levelled>) -> (Vec<usize>, Vec<usize>) {
    let mut ranked: Vec<_> = results.into_iter().map(|result| (RankedLoss(result.loss), result.number)).collect();
    let looked_at = GOOD_MAX + BAD_MAX;
    let good_max = ranked.len().div_ceil(RESULTS_PER_GOOD).min(GOOD_MAX);
    if ranked.len() > looked_at {
        ranked.select_nth_unstable(looked_at);
        ranked.truncate(looked_at);
    }
    ranked.sort_unstable();
    let good = ranked.iter().take(good_max).take_while(|(loss, _)| loss.is_finite()).count();
    let mut numbers = ranked.into_iter().map(|(_, number)| number);
    (numbers.by_ref().take(good).collect(), numbers.take(BAD_MAX).collect())
}

#[cfg(test)]
mod tests;
