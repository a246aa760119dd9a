//! Picks where a Gaussian process, given the results so far, expects most at best.
//!
//! The process says of each configuration what loss is to be expected, and how certain that is. What is picked has the
//! least lower bound: mean less `BETA` deviations (GP-UCB: Srinivas, Krause, Kakade, Seeger, 2010, turned from gains to
//! losses). What is under way makes its neighbourhood certain, not good (GP-BUCB: Desautels, Krause, Burdick, JMLR 2014):
//! many picks in a row differ from each other. On the functions of `tests/rivals/search_tables.py`, with 13 under way, the
//! logarithm of the expected improvement was worse, and so was exploration beside one such bound (GP-UCB-PE, arXiv
//! 2408.11527). One at a time, the improvement stayed in local optima.
//!
//! | file | holds |
//! |---|---|
//! | `gaussian/warp.rs` | losses as the process sees them |
//! | `gaussian/covariance.rs` | how alike two configurations are |
//! | `gaussian/fit.rs` | length scales, variance and noise that fit the results |
//! | `gaussian/posterior.rs` | what the process expects at a point |
//! | `gaussian/belief.rs` | what it expects along one parameter, for people |
//! | `gaussian/minimise.rs` | descent; factors of matrices are in `cholesky.rs` |

mod belief;
mod covariance;
mod fit;
mod minimise;
mod posterior;
mod warp;

use std::cmp::Ordering;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::seeds::Rng;
use rand_chacha::rand_core::Rng as _;

use super::belief::Belief;
use super::coordinate::PlaceKind;
use super::decision::Origin;
use super::levelled::Levelled;
use super::sampler::{Knowledge, Observation, Sampler};
use super::space::{Space, below, fraction};
use super::tried::{Learner, TriedConfigurations, next_of};
use super::unit_point::{UnitPoint, point_at, unit_point};
use fit::{LogScales, covariance, first_logs, fitted};
use minimise::{Bounds, minimise};
use posterior::Posterior;
use warp::{Warp, warped};

/// How many deviations below its mean a loss is hoped to be. 1 and 3 were worse.
const BETA: f64 = 1.8;
/// Results that are seen before it learns; until then it takes points that fill the space evenly.
const RESULTS_MIN: usize = 8;
/// Results that are looked at, at most.
const RESULTS_MAX: usize = 250;
/// Of them, so many are the best ones; the others are the last ones.
const BEST_RESULTS_MAX: usize = 150;
/// The covariance is fitted anew whenever there is one more result for so many.
const RESULTS_PER_FIT: usize = 10;
/// Evenly spread points looked at for each decision.
const EVEN_CANDIDATES: u64 = 300;
/// Points looked at around the best results.
const NEAR_CANDIDATES: usize = 200;
/// The best results that they are around.
const CENTRES: usize = 5;
/// Candidates from which a descent starts.
const DESCENTS: usize = 4;
/// Calls of the lower bound for each.
const DESCENT_CALLS_MAX: usize = 40;
/// Calls of the likelihood for a fit from one start; there are two, the last fit and the priors' means.
const FIT_CALLS_MAX: usize = 40;

/// The sampler.
#[derive(Clone, Debug)]
pub struct Gaussian {
    tried: TriedConfigurations,
    /// Of each parameter, whether its values have an order.
    is_ordered: Vec<bool>,
    /// The last fit.
    logs: LogScales,
    /// Results that it was made from.
    fitted: usize,
}

/// A point that was looked at.
struct Candidate {
    /// What its loss is at best.
    bound: f64,
    unit: UnitPoint,
    configuration: Configuration,
}

impl Gaussian {
    /// `trials` different configurations, or as many as `space` has.
    #[must_use]
    pub fn new(seed: u64, space: &Space, trials: u32) -> Self {
        let tried = TriedConfigurations::new(seed, space, trials);
        let is_ordered: Vec<_> =
            tried.coordinates.iter().map(|coordinate| !matches!(coordinate.kind, PlaceKind::Choices(_))).collect();
        let logs = first_logs(is_ordered.len());
        Self { tried, is_ordered, logs, fitted: 0 }
    }

    /// The unit points and warped losses of the results that are looked at, and how these were warped.
    fn results(&self, observed: &[Observation]) -> (Vec<UnitPoint>, Vec<f64>, Warp) {
        let mut points = Vec::new();
        let mut losses = Vec::new();
        for Levelled { number, loss } in chosen(self.tried.levelled(observed)) {
            if let Some(point) = self.tried.observed_point(number) {
                points.push(unit_point(&self.tried.coordinates, point));
                losses.push(loss);
            }
        }
        let (losses, warp) = warped(&losses);
        (points, losses, warp)
    }

    /// Fits are made at numbers of results that do not depend on when it is asked, each from the one before: a later driver
    /// comes to the same.
    fn fit(&mut self, observed: &[Observation]) {
        loop {
            let next = (self.fitted + self.fitted.div_ceil(RESULTS_PER_FIT)).max(RESULTS_MIN);
            if next > observed.len() {
                return;
            }
            let (points, losses, _) = self.results(&observed[..next]);
            self.fitted = next;
            if points.is_empty() {
                continue;
            }
            let starts = [self.logs.clone(), first_logs(self.is_ordered.len())];
            self.logs = fitted(&self.is_ordered, &points, &losses, &starts, FIT_CALLS_MAX);
        }
    }

    /// The new configuration with the least lower bound of all that were looked at.
    fn lowest_bound(&self, knowledge: Knowledge<'_>, rng: &mut Rng) -> Option<Configuration> {
        let (mut points, losses, _) = self.results(knowledge.observed);
        let mut centres: Vec<usize> = (0..losses.len()).collect();
        centres.sort_by(|one, other| losses[*one].total_cmp(&losses[*other]));
        centres.truncate(CENTRES);
        let centres: Vec<_> = centres.into_iter().map(|number| points[number].clone()).collect();
        let under_way = knowledge.under_way.iter().filter_map(|configuration| self.tried.point(configuration));
        points.extend(under_way.map(|point| unit_point(&self.tried.coordinates, &point)));
        let posterior = Posterior::new(covariance(&self.is_ordered, &self.logs), points, &losses)?;
        let mut candidates = self.candidates(knowledge.decision, &centres, rng, &posterior);
        candidates.sort_by(|one, other| one.bound.total_cmp(&other.bound));
        for number in 0..DESCENTS.min(candidates.len()) {
            let lowest = self.descend(&candidates[number].unit, &posterior);
            candidates.extend(self.candidate(&lowest, &posterior));
        }
        let best =
            candidates.into_iter().reduce(|best, other| if other.bound < best.bound { other } else { best })?;
        Some(best.configuration)
    }

    /// The configuration at a unit point, if it is new.
    fn candidate(&self, unit: &[f64], posterior: &Posterior<'_>) -> Option<Candidate> {
        let configuration = self.tried.new_at(&point_at(&self.tried.coordinates, unit))?;
        let unit = unit_point(&self.tried.coordinates, &self.tried.point(&configuration)?);
        let bound = posterior.lower_bound(&unit, BETA);
        bound.is_finite().then_some(Candidate { bound, unit, configuration })
    }

    /// Points spread evenly, other ones for each decision, and points near the best results.
    fn candidates(
        &self,
        decision: u64,
        centres: &[UnitPoint],
        rng: &mut Rng,
        posterior: &Posterior<'_>,
    ) -> Vec<Candidate> {
        let first = decision.wrapping_mul(EVEN_CANDIDATES);
        let even = (first..first + EVEN_CANDIDATES).filter_map(|number| self.tried.even_point(number));
        let mut units: Vec<_> = even.map(|point| unit_point(&self.tried.coordinates, &point)).collect();
        units.extend(centres.iter().cycle().take(NEAR_CANDIDATES).map(|centre| self.near(centre, rng)));
        units.iter().filter_map(|unit| self.candidate(unit, posterior)).collect()
    }

    /// A point near another: some parameters are changed, by steps of all sizes.
    fn near(&self, centre: &[f64], rng: &mut Rng) -> UnitPoint {
        let size = libm::pow(10.0, -3.0 * fraction(rng.next_u64()));
        let certain = below(centre.len() as u64, rng.next_u64()) as usize;
        let mut unit = centre.to_vec();
        for (number, coordinate) in self.tried.coordinates.iter().enumerate() {
            let (is_changed, by) = (fraction(rng.next_u64()) < 0.5, fraction(rng.next_u64()));
            if number != certain && !is_changed {
                continue;
            }
            if let PlaceKind::Choices(values) = &coordinate.kind {
                unit[number] = (by * values.len() as f64).floor();
            } else {
                unit[number] = (unit[number] + size * (2.0 * by - 1.0)).clamp(0.0, 1.0);
            }
        }
        unit
    }

    /// Downhill from a point, in the parameters with an order.
    fn descend(&self, from: &[f64], posterior: &Posterior<'_>) -> UnitPoint {
        let low: Vec<_> =
            self.is_ordered.iter().zip(from).map(|(ordered, at)| if *ordered { 0.0 } else { *at }).collect();
        let high: Vec<_> =
            self.is_ordered.iter().zip(from).map(|(ordered, at)| if *ordered { 1.0 } else { *at }).collect();
        let bounds = Bounds { low: &low, high: &high, first_step: 0.05, calls_max: DESCENT_CALLS_MAX };
        minimise(from, bounds, |at, slopes| posterior.lower_bound_with_slopes(at, BETA, slopes)).0
    }
}

impl Learner for Gaussian {
    const RESULTS_MIN: usize = RESULTS_MIN;

    fn tried(&mut self) -> &mut TriedConfigurations {
        &mut self.tried
    }

    fn most_promising(&mut self, knowledge: Knowledge<'_>, rng: &mut Rng) -> Option<Configuration> {
        self.fit(knowledge.observed);
        self.lowest_bound(knowledge, rng)
    }
}

impl Sampler for Gaussian {
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

/// The results that are looked at: all, or the best ones and the last of the others.
fn chosen(mut results: Vec<Levelled>) -> Vec<Levelled> {
    if results.len() > RESULTS_MAX {
        let loss = |result: &Levelled| if result.loss.is_nan() { f64::INFINITY } else { result.loss };
        let better = |one: &Levelled, other: &Levelled| -> Ordering {
            loss(one).total_cmp(&loss(other)).then(one.number.cmp(&other.number))
        };
        results.select_nth_unstable_by(BEST_RESULTS_MAX, better);
        let mut others = results.split_off(BEST_RESULTS_MAX);
        others.sort_unstable_by_key(|result| result.number);
        results.extend(others.split_off(others.len() - (RESULTS_MAX - BEST_RESULTS_MAX)));
        results.sort_unstable_by_key(|result| result.number);
    }
    results
}

#[cfg(test)]
mod tests;
