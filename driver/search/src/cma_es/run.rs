//! One run: from a start to convergence.

use std::collections::VecDeque;

use broadsweep_common::configuration::ConfigurationDigest;

use super::distribution::{Distribution, Genotype, is_ordered};
use super::evolution::Evolution;
use crate::coordinate::Coordinate;
use crate::levelled::Levelled;

/// Generations whose results still count: a training that takes long is not to be lost for it.
const GENERATIONS_KEPT: usize = 8;
/// Of so many members of a generation, one at least was drawn from it; the others may come, late, from those before. With
/// fewer of its own, 20 parameters with 64 under way learnt next to nothing; with no late ones, five parameters with 13
/// under way learnt later.
const MEMBERS_PER_OWN: usize = 4;
/// A run has converged once no parameter deviates by more, in the unit interval.
const DEVIATION_MIN: f64 = 1e-6;
/// ... or once the best losses of generations do not differ by more than this, over their size,
const FLATNESS: f64 = 1e-12;
/// for so many generations, and so many more for each parameter a member (Auger and Hansen, 2005, "A restart CMA evolution
/// strategy with increasing population size").
const FLAT_GENERATIONS: usize = 10;
const FLAT_RESULTS_PER_PARAMETER: usize = 30;

/// The run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Members of a generation, at least.
    pub(super) members: usize,
    evolution: Evolution,
    /// What the last generations were drawn from; there is always a current one.
    earlier: VecDeque<Distribution>,
    current: Distribution,
    /// Members of the generation that is under way, in the order in which they were observed.
    pending: Vec<OwnResult>,
    /// The best loss of each generation.
    best_losses: Vec<f64>,
}

/// A configuration that this run drew, and that was observed.
#[derive(Clone, Debug)]
pub(super) struct OwnResult {
    /// The number of its observation.
    pub(super) number: usize,
    pub(super) configuration: ConfigurationDigest,
    pub(super) genotype: Genotype,
    /// How many generations ago it was drawn.
    pub(super) age: usize,
}

impl Run {
    /// A run with so many members a generation at least, around this mean; `None` if there is nothing to be drawn from.
    pub(super) fn new(coordinates: &[Coordinate], mean: Vec<f64>, members: usize) -> Option<Self> {
        let evolution = Evolution::new(coordinates, mean);
        let current = evolution.distribution(coordinates)?;
        let (earlier, pending, best_losses) = (VecDeque::new(), Vec::new(), Vec::new());
        Some(Self { members, evolution, earlier, current, pending, best_losses })
    }

    /// What the current generation is drawn from.
    pub(super) fn current(&self) -> &Distribution {
        &self.current
    }

    /// What the last generations were drawn from, the current one first.
    pub(super) fn distributions(&self) -> impl Iterator<Item = &Distribution> {
        [&self.current].into_iter().chain(self.earlier.iter().rev())
    }

    /// Takes a member; a later result of the same configuration takes the place of an earlier one. Whether there are enough
    /// for a generation.
    pub(super) fn take(&mut self, member: OwnResult) -> bool {
        self.pending.retain(|known| known.configuration != member.configuration);
        self.pending.push(member);
        let own = self.pending.iter().filter(|member| member.age == 0).count();
        self.pending.len() >= self.members && own * MEMBERS_PER_OWN >= self.pending.len()
    }

    /// Ends the generation, and learns from its members; `known` holds what is known of them, in the order of its numbers.
    /// Whether the run has converged.
    pub(super) fn end_generation(&mut self, coordinates: &[Coordinate], known: &[Levelled]) -> bool {
        let loss = |number: usize| {
            let place = known.binary_search_by_key(&number, |known| known.number);
            place.map_or(f64::INFINITY, |place| known[place].loss)
        };
        let members = std::mem::take(&mut self.pending).into_iter();
        let mut ranked: Vec<_> = members.map(|member| (loss(member.number), member)).collect();
        ranked.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.number.cmp(&other.1.number)));
        let best_loss = ranked.first().map_or(f64::INFINITY, |(loss, _)| *loss);
        self.best_losses.push(best_loss);
        // Where all diverged, which is the better half means nothing.
        if best_loss.is_finite() {
            let genotypes: Vec<_> = ranked.into_iter().map(|(_, member)| member.genotype).collect();
            self.evolution.learn(coordinates, &self.current, &genotypes);
        }
        let Some(next) = self.evolution.distribution(coordinates) else { return true };
        let is_converged = self.is_narrow(&next) || self.is_flat(coordinates.len());
        self.earlier.push_back(std::mem::replace(&mut self.current, next));
        if self.earlier.len() >= GENERATIONS_KEPT {
            self.earlier.pop_front();
        }
        is_converged
    }

    /// Whether no parameter deviates any more, but for those that are made to.
    fn is_narrow(&self, distribution: &Distribution) -> bool {
        let deviations = self.evolution.deviations();
        let mut of_parameters = deviations.iter().zip(&distribution.stretch);
        !deviations.is_empty()
            && of_parameters.all(|(deviation, stretch)| *deviation < DEVIATION_MIN || *stretch > 1.0)
    }

    fn is_flat(&self, parameters: usize) -> bool {
        let generations = FLAT_GENERATIONS + FLAT_RESULTS_PER_PARAMETER * parameters / self.members;
        let Some(first) = self.best_losses.len().checked_sub(generations) else { return false };
        let last = self.best_losses[first..].iter().copied();
        let (least, most) = (last.clone().fold(f64::INFINITY, f64::min), last.fold(f64::NEG_INFINITY, f64::max));
        least >= most || most - least <= FLATNESS * least.abs().max(most.abs())
    }
}

/// Where a run starts: at the places, among those of a unit point, of the parameters with an order.
pub(super) fn ordered_places(coordinates: &[Coordinate], unit: &[f64]) -> Vec<f64> {
    let ordered = coordinates.iter().zip(unit).filter(|(coordinate, _)| is_ordered(coordinate));
    ordered.map(|(_, place)| *place).collect()
}
