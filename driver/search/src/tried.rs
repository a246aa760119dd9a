//! What samplers that learn have in common: what they have tried, and the places of it: nothing is started twice, and a space that has an end is
//! taken in full.

use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::configuration::{Configuration, ConfigurationDigest};
use broadsweep_common::seeds::{Rng, sampler_rng};
use rand_chacha::rand_core::Rng as _;

use super::combinations::Combinations;
use super::coordinate::{Coordinate, coordinates};
use super::decision::Origin;
use super::sampler::{Knowledge, Promise};
use super::sobol::SobolPoints;
use super::space::Space;

/// Draws from the space before its configurations are tried one after the other.
const EVEN_DRAWS_MAX: u32 = 100;
/// The same where constraints refuse some of them; and how many more are tried one after the other.
const CONSTRAINED_DRAWS_MAX: u32 = 1000;
const CONSTRAINED_TRIES_MAX: u64 = 100_000;

/// A sampler that learns from results, with the record of what it has tried.
pub(crate) trait Learner {
    /// Configurations whose results are seen before it learns; until then it takes points that fill the space evenly.
    const RESULTS_MIN: usize;

    /// The record.
    fn tried(&mut self) -> &mut TriedConfigurations;

    /// The best of the new configurations that it looks at, if any is new.
    fn most_promising(&mut self, knowledge: Knowledge<'_>, rng: &mut Rng) -> Option<Configuration>;
}

/// What such a sampler picks next, and how; `None` once all that was wanted was picked, or nothing is new any more.
pub(crate) fn next_of<L: Learner>(learner: &mut L, knowledge: Knowledge<'_>) -> Option<(Configuration, Origin)> {
    if learner.tried().is_complete() {
        return None;
    }
    learner.tried().note(knowledge);
    let mut rng = sampler_rng(learner.tried().seed, knowledge.decision);
    let picked = if learner.tried().ranked().len() < L::RESULTS_MIN {
        learner.tried().new_even(knowledge.decision)
    } else {
        learner.most_promising(knowledge, &mut rng)
    };
    let configuration = picked.or_else(|| learner.tried().any_new(&mut rng))?;
    let origin = Origin::Draw(knowledge.decision);
    learner.tried().note_start(&configuration, origin);
    Some((configuration, origin))
}

/// The record.
#[derive(Clone, Debug)]
pub(crate) struct TriedConfigurations {
    pub(crate) seed: u64,
    space: Space,
    pub(crate) coordinates: Vec<Coordinate>,
    /// Points that fill the space evenly: the first ones are taken before anything is learnt.
    even_points: SobolPoints,
    wanted: u32,
    picked: u32,
    /// Everything that is known to be started.
    started: BTreeSet<ConfigurationDigest>,
    /// Of each observation, the place of each parameter; `None` for a configuration that is not of the space.
    points: Vec<Option<Vec<f64>>>,
    /// Of each configuration, the number of the observation that counts: the last one.
    latest: BTreeMap<ConfigurationDigest, usize>,
    /// The same numbers, the best one first, and of equally good ones the earlier. It is kept, not sorted anew for each
    /// decision: that would cost the more, the more results there are.
    ranked: BTreeSet<(Promise, usize)>,
}

impl TriedConfigurations {
    pub(crate) fn new(seed: u64, space: &Space, wanted: u32) -> Self {
        Self {
            seed,
            space: space.clone(),
            coordinates: coordinates(space),
            even_points: SobolPoints::new(seed, space),
            wanted,
            picked: 0,
            started: BTreeSet::new(),
            points: Vec::new(),
            latest: BTreeMap::new(),
            ranked: BTreeSet::new(),
        }
    }

    /// Whether all that was wanted was picked.
    pub(crate) fn is_complete(&self) -> bool {
        self.picked >= self.wanted
    }

    pub(crate) fn note(&mut self, knowledge: Knowledge<'_>) {
        for (number, observation) in knowledge.observed.iter().enumerate().skip(self.points.len()) {
            let digest = observation.configuration.digest();
            self.started.insert(digest);
            if let Some(earlier) = self.latest.insert(digest, number) {
                self.ranked.remove(&(knowledge.observed[earlier].promise(), earlier));
            }
            self.ranked.insert((observation.promise(), number));
            let point = self.point(&observation.configuration);
            self.points.push(point);
        }
        self.started.extend(knowledge.under_way.iter().map(Configuration::digest));
    }

    pub(crate) fn note_start(&mut self, configuration: &Configuration, origin: Origin) {
        self.started.insert(configuration.digest());
        self.picked += u32::from(!origin.is_given());
    }

    /// Of each configuration that was observed, the number of its last observation with how good that is: the best one
    /// first.
    pub(crate) fn ranked(&self) -> &BTreeSet<(Promise, usize)> {
        &self.ranked
    }

    /// The point of the observation of this number.
    pub(crate) fn observed_point(&self, number: usize) -> Option<&[f64]> {
        self.points.get(number)?.as_deref()
    }

    /// The place of each parameter, also of those that are absent; `None` for a configuration that is not of the space.
    pub(crate) fn point(&self, configuration: &Configuration) -> Option<Vec<f64>> {
        self.coordinates.iter().map(|coordinate| coordinate.place(configuration)).collect()
    }

    /// The configuration at a point, without what is not there; `None` if it breaks a constraint.
    pub(crate) fn admitted_at(&self, point: &[f64]) -> Option<Configuration> {
        let values = self.coordinates.iter().zip(point).map(|(coordinate, place)| coordinate.value(*place));
        self.space.admitted(values.collect())
    }

    /// The configuration at a point, if it is new.
    pub(crate) fn new_at(&self, point: &[f64]) -> Option<Configuration> {
        self.admitted_at(point).filter(|configuration| self.is_new(configuration))
    }

    /// The evenly spread point of this number, if it is new.
    pub(crate) fn new_even(&self, number: u64) -> Option<Configuration> {
        self.space.admitted(self.even_points.at(number)).filter(|configuration| self.is_new(configuration))
    }

    /// The evenly spread point of this number, with a place of its own for every parameter.
    pub(crate) fn even_point(&self, number: u64) -> Option<Vec<f64>> {
        self.point(&self.even_points.at(number))
    }

    pub(crate) fn is_new(&self, configuration: &Configuration) -> bool {
        !self.started.contains(&configuration.digest())
    }

    /// Any new configuration, if there is one.
    pub(crate) fn any_new(&self, rng: &mut Rng) -> Option<Configuration> {
        let is_constrained = !self.space.constraints().is_empty();
        for _ in 0..if is_constrained { CONSTRAINED_DRAWS_MAX } else { EVEN_DRAWS_MAX } {
            let point = self.coordinates.iter().map(|coordinate| coordinate.kind.even_place(rng.next_u64()));
            if let Some(configuration) = self.new_at(&point.collect::<Vec<_>>()) {
                return Some(configuration);
            }
        }
        // Of one more than were started, one is new.
        let tries = self.started.len() as u64 + 1;
        if is_constrained || self.space.has_conditions() {
            return self.first_new(tries + if is_constrained { CONSTRAINED_TRIES_MAX } else { 0 });
        }
        (0..tries).map_while(|number| self.numbered(number)).find_map(|point| self.new_at(&point))
    }

    /// The first new configuration among the first `tries` combinations of the space, if it has an end.
    fn first_new(&self, tries: u64) -> Option<Configuration> {
        let mut combinations = Combinations::new(&self.space)?;
        for _ in 0..tries {
            let configuration = combinations.current()?;
            if self.space.broken_constraint(&configuration).is_none() && self.is_new(&configuration) {
                return Some(configuration);
            }
            combinations.advance();
        }
        None
    }

    /// The point of this number among all of a space that has an end, and no conditions: the first parameter is the fastest. `None` from the
    /// number on of which there are so many.
    fn numbered(&self, number: u64) -> Option<Vec<f64>> {
        let mut rest = number;
        let mut point = Vec::with_capacity(self.coordinates.len());
        for coordinate in &self.coordinates {
            let count = coordinate.kind.count()?;
            point.push(coordinate.kind.place_of(rest % count));
            rest /= count;
        }
        (rest == 0).then_some(point)
    }
}
