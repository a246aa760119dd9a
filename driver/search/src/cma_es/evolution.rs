//! How a generation changes what the next one is drawn from.
//!
//! Equations are those of Hansen, "The CMA evolution strategy: a tutorial" (arXiv:1604.00772, figure 6 and table 1), with
//! weights below zero for the worse half. Three things are from elsewhere: the factor of Cholesky in the place of the
//! symmetric root (Krause, Arbonès, Igel, 2016, "CMA-ES with optimal covariance update and storage complexity"); steps that
//! are too long are cut (Hansen, "Injecting external solutions into CMA-ES", arXiv:1110.4181), because some come from a
//! generation before; and the odds of choices follow the weights and keep a margin (Akimoto, Shirakawa, Yoshinari, Uchida,
//! Saito, Nishida, 2019, "Adaptive stochastic natural gradient method for one-shot neural architecture search"; Hamano,
//! Saito, Nomura, Uchida, Shirakawa, arXiv:2405.09962).

use super::distribution::{Distribution, Genotype, is_ordered, stretch};
use super::weights::RankWeights;
use crate::cholesky::Cholesky;
use crate::coordinate::{Coordinate, PlaceKind};

/// The deviation of the first generation in all parameters. With 0.25, as with half as many members more, the functions of
/// `tests/rivals/search_tables.py` were worse after 150 trials.
const FIRST_STEP: f64 = 1.0 / 6.0;
/// At this step, all of the folded axis is about as likely.
const STEP_MAX: f64 = 1.0;
/// Odds follow half a generation at once where its better half counts as much as so many equal members. 4 and 8 were no
/// better on tables of real trainings.
const ODDS_INERTIA: f64 = 2.0;
/// How likely the likeliest choices of all parameters without an order are together, at most, if there are many of each
/// (Hamano and others, arXiv:2405.09962).
const ODDS_CERTAINTY: f64 = 0.73;

/// The state of a run.
#[derive(Clone, Debug)]
pub(super) struct Evolution {
    mean: Vec<f64>,
    step: f64,
    /// Column by column.
    covariance: Vec<f64>,
    /// Where the mean went, as seen in units of the distribution: longer than by chance, and the step grows.
    step_path: Vec<f64>,
    /// Where the mean went, in units of the step.
    path: Vec<f64>,
    odds: Vec<Vec<f64>>,
    /// Generations so far.
    generations: u32,
}

impl Evolution {
    /// A run that starts around this mean, with all choices equally likely.
    pub(super) fn new(coordinates: &[Coordinate], mean: Vec<f64>) -> Self {
        let dimensions = mean.len();
        let mut covariance = vec![0.0; dimensions * dimensions];
        covariance.iter_mut().step_by(dimensions + 1).for_each(|variance| *variance = 1.0);
        let odds = coordinates.iter().filter_map(|coordinate| match &coordinate.kind {
            PlaceKind::Choices(values) => Some(vec![1.0 / values.len() as f64; values.len()]),
            PlaceKind::Smooth(_) | PlaceKind::Cells { .. } => None,
        });
        Self {
            step: FIRST_STEP,
            covariance,
            step_path: vec![0.0; dimensions],
            path: vec![0.0; dimensions],
            odds: odds.collect(),
            generations: 0,
            mean,
        }
    }

    /// The deviations of the parameters with an order.
    pub(super) fn deviations(&self) -> Vec<f64> {
        let variances = self.covariance.iter().step_by(self.mean.len() + 1);
        variances.map(|variance| self.step * libm::sqrt(*variance)).collect()
    }

    /// What the next generation is drawn from; `None` if the covariance is none any more.
    pub(super) fn distribution(&self, coordinates: &[Coordinate]) -> Option<Distribution> {
        Some(Distribution {
            mean: self.mean.clone(),
            step: self.step,
            factor: Cholesky::new(self.covariance.clone(), self.mean.len())?,
            stretch: stretch(coordinates, &self.mean, &self.deviations()),
            odds: self.odds.clone(),
        })
    }

    /// Learns from a generation, the best first. `from` is the distribution that this had last.
    pub(super) fn learn(&mut self, coordinates: &[Coordinate], from: &Distribution, ranked: &[Genotype]) {
        self.generations += 1;
        if !self.mean.is_empty() {
            self.move_mean(coordinates, from, ranked);
        }
        if !self.odds.is_empty() {
            self.shift_odds(coordinates, ranked);
        }
    }

    /// The mean goes to that of the better half; where it went, and what all members say, changes step and covariance.
    fn move_mean(&mut self, coordinates: &[Coordinate], from: &Distribution, ranked: &[Genotype]) {
        let dimensions = self.mean.len();
        let weights = RankWeights::new(ranked.len(), dimensions);
        let (mut moved, mut moved_white) = (vec![0.0; dimensions], vec![0.0; dimensions]);
        let mut by_ranks = vec![0.0; dimensions * dimensions];
        for (genotype, weight) in ranked.iter().zip(&weights.of_ranks) {
            let (offset, white, square) = offset(coordinates, from, genotype);
            let mut of_square = *weight;
            if *weight > 0.0 {
                add(&mut moved, *weight, &offset);
                add(&mut moved_white, *weight, &white);
            } else {
                of_square *= dimensions as f64 / square.max(f64::MIN_POSITIVE);
            }
            for (column, element) in by_ranks.chunks_exact_mut(dimensions).zip(&offset) {
                add(column, of_square * element, &offset);
            }
        }
        for ((mean, moved), stretch) in self.mean.iter_mut().zip(&moved).zip(&from.stretch) {
            *mean += self.step * stretch * moved;
        }
        let is_short = self.grow_paths(&weights, &moved, &moved_white);
        self.turn(&weights, &by_ranks, is_short);
    }

    /// The paths, and the step by the first of them. Whether it is no longer than it may be for the other one to grow.
    fn grow_paths(&mut self, weights: &RankWeights, moved: &[f64], moved_white: &[f64]) -> bool {
        let n = self.mean.len() as f64;
        let by_chance = libm::sqrt(n) * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n));
        let rate = weights.step_path_rate;
        scale(&mut self.step_path, 1.0 - rate);
        add(&mut self.step_path, libm::sqrt(rate * (2.0 - rate) * weights.effective), moved_white);
        let length = libm::sqrt(square(&self.step_path));
        let expected = libm::sqrt(1.0 - libm::pow(1.0 - rate, 2.0 * f64::from(self.generations)));
        let is_short = length / expected < (1.4 + 2.0 / (n + 1.0)) * by_chance;
        let rate = weights.path_rate;
        scale(&mut self.path, 1.0 - rate);
        if is_short {
            add(&mut self.path, libm::sqrt(rate * (2.0 - rate) * weights.effective), moved);
        }
        let growth = weights.step_path_rate / weights.damping * (length / by_chance - 1.0);
        self.step = (self.step * libm::exp(growth.min(1.0))).min(STEP_MAX);
        is_short
    }

    /// The covariance, by the path and by all members.
    fn turn(&mut self, weights: &RankWeights, by_ranks: &[f64], is_short: bool) {
        let dimensions = self.mean.len();
        let lost = if is_short { 0.0 } else { weights.path_rate * (2.0 - weights.path_rate) };
        let total: f64 = weights.of_ranks.iter().sum();
        let kept = 1.0 + weights.path_part * lost - weights.path_part - weights.ranks_part * total;
        scale(&mut self.covariance, kept);
        for (column, element) in self.covariance.chunks_exact_mut(dimensions).zip(&self.path) {
            add(column, weights.path_part * element, &self.path);
        }
        add(&mut self.covariance, weights.ranks_part, by_ranks);
    }

    /// The odds move towards those of the better half, by its weights, and no choice becomes impossible.
    fn shift_odds(&mut self, coordinates: &[Coordinate], ranked: &[Genotype]) {
        let weights = RankWeights::new(ranked.len(), coordinates.len());
        let rate = weights.effective / (weights.effective + ODDS_INERTIA);
        let least = 1.0 - libm::pow(ODDS_CERTAINTY, 1.0 / self.odds.len() as f64);
        let numbers = coordinates.iter().enumerate().filter(|(_, coordinate)| !is_ordered(coordinate));
        for (odds, (number, _)) in self.odds.iter_mut().zip(numbers) {
            scale(odds, 1.0 - rate);
            for (genotype, weight) in ranked.iter().zip(&weights.of_ranks).filter(|(_, weight)| **weight > 0.0) {
                odds[genotype[number] as usize] += rate * weight;
            }
            let even = 1.0 / odds.len() as f64;
            keep_margin(odds, least * even);
        }
    }
}

/// Raises what is below `least` to it, and takes that from the others by what they are above.
fn keep_margin(odds: &mut [f64], least: f64) {
    let above: f64 = odds.iter().map(|odds| (odds - least).max(0.0)).sum();
    let free = 1.0 - least * odds.len() as f64;
    for odds in odds {
        *odds = least + if above > 0.0 { (*odds - least).max(0.0) / above * free } else { 0.0 };
    }
}

/// How far a genotype is from the mean, in steps, and the same in units of the distribution, with its square; cut to a
/// length that a draw seldom has.
fn offset(coordinates: &[Coordinate], from: &Distribution, genotype: &[f64]) -> (Vec<f64>, Vec<f64>, f64) {
    let ordered = coordinates.iter().zip(genotype).filter(|(coordinate, _)| is_ordered(coordinate));
    let from_mean = ordered.zip(&from.mean).zip(&from.stretch);
    let mut offset: Vec<_> =
        from_mean.map(|(((_, at), mean), stretch)| (at - mean) / (from.step * stretch)).collect();
    let mut white = offset.clone();
    from.factor.solve_lower(&mut white);
    let n = offset.len() as f64;
    let longest = libm::sqrt(n) + 2.0 * n / (n + 2.0);
    let length = libm::sqrt(square(&white));
    if length > longest {
        scale(&mut offset, longest / length);
        scale(&mut white, longest / length);
    }
    let square = square(&white);
    (offset, white, square)
}

fn square(vector: &[f64]) -> f64 {
    vector.iter().map(|element| element * element).sum()
}

fn scale(vector: &mut [f64], factor: f64) {
    for element in vector {
        *element *= factor;
    }
}

fn add(target: &mut [f64], factor: f64, source: &[f64]) {
    for (element, other) in target.iter_mut().zip(source) {
        *element += factor * other;
    }
}
