//! What samplers that learn have in common: what they have tried, and the places of it: nothing is started twice, and a space that has an end is
//! taken in full.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::configuration::{Configuration, ConfigurationDigest};
use broadsweep_common::seeds::{Rng, sampler_rng};
use rand_chacha::rand_core::Rng as _;

use super::combinations::Combinations;
use super::coordinate::{Coordinate, coordinates};
use super::decision::Origin;
use super::levelled::{Levelled, levelled};
use super::sampler::{Knowledge, Observation};
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
    let picked = if learner.tried().observed_count() < L::RESULTS_MIN {
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
    /// Of each configuration, the numbers of its observations, in order.
    histories: BTreeMap<ConfigurationDigest, Vec<usize>>,
    /// The number of each configuration's last observation, the best one first, and of equally good ones the earlier; `None`
    /// once some were made at different rungs. It is kept, not sorted anew for each decision: that would cost the more, the
    /// more results there are.
    ranked: Option<BTreeSet<(RankedLoss, usize)>>,
    /// The rung of all observations so far.
    rung_epochs: Option<u32>,
}

/// A loss, by which results are ranked: finite ones first, then the smaller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RankedLoss(pub(crate) f64);

impl RankedLoss {
    pub(crate) fn is_finite(self) -> bool {
        self.0.is_finite()
    }
}

impl Ord for RankedLoss {
    fn cmp(&self, other: &Self) -> Ordering {
        other.is_finite().cmp(&self.is_finite()).then_with(|| self.0.total_cmp(&other.0))
    }
}

impl PartialOrd for RankedLoss {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RankedLoss {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for RankedLoss {}

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
            histories: BTreeMap::new(),
            ranked: Some(BTreeSet::new()),
            rung_epochs: None,
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
            let history = self.histories.entry(digest).or_default();
            if *self.rung_epochs.get_or_insert(observation.rung_epochs) != observation.rung_epochs {
                self.ranked = None;
            }
            if let Some(ranked) = &mut self.ranked {
                if let Some(earlier) = history.last() {
                    ranked.remove(&(RankedLoss(knowledge.observed[*earlier].loss), *earlier));
                }
                ranked.insert((RankedLoss(observation.loss), number));
            }
            history.push(number);
            let point = self.point(&observation.configuration);
            self.points.push(point);
        }
        self.started.extend(knowledge.under_way.iter().map(Configuration::digest));
    }

    pub(crate) fn note_start(&mut self, configuration: &Configuration, origin: Origin) {
        self.started.insert(configuration.digest());
        self.picked += u32::from(!origin.is_given());
    }

    /// How many configurations were observed.
    pub(crate) fn observed_count(&self) -> usize {
        self.histories.len()
    }

    /// Of each configuration that was observed, the number of its last observation with its loss, the best one first; `None`
    /// where observations were made at different rungs.
    pub(crate) fn ranked(&self) -> Option<&BTreeSet<(RankedLoss, usize)>> {
        self.ranked.as_ref()
    }

    /// What is known of each configuration by these observations, the first ones of those that were noted.
    pub(crate) fn levelled(&self, observed: &[Observation]) -> Vec<Levelled> {
        levelled(observed, self.histories.values().map(Vec::as_slice))
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
