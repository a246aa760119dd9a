//! Densities over the cells of one parameter, and how far that of the best trials is from that of all.

use std::ops::Range;

use super::table::Counted;
use crate::coordinate::PlaceKind;

/// The least deviation of a kernel, in cells: 90 % of it are inside its own cell.
const DEVIATION_MIN: f64 = 0.5 / 1.645;
/// Scott's rule for one dimension (1992).
const SCOTT: f64 = 1.059;
/// The weight of an even density beside trials of weight 1.
const EVEN_WEIGHT: f64 = 1.0;

/// How the densities of one parameter are made of counts.
pub(super) struct Comparison {
    cells: Range<usize>,
    /// What makes the density of all trials, and that of the best.
    of_all: Kernel,
    of_best: Kernel,
}

/// How trials in one cell count for others.
enum Kernel {
    /// They do not: choices.
    Own,
    /// By the trial's cell, and then by the cell that it counts for.
    Smooth(Vec<Vec<f64>>),
}

impl Comparison {
    /// For a parameter with these cells among all. Kernels are as wide as Scott's rule says of these counts.
    pub(super) fn new(kind: &PlaceKind, cells: Range<usize>, counted: &Counted) -> Self {
        let kernel = |counts: &[u32]| match kind {
            PlaceKind::Choices(_) => Kernel::Own,
            PlaceKind::Smooth(_) | PlaceKind::Cells { .. } => Kernel::smooth(counts),
        };
        let [of_all, of_best] = [&counted.of_all, &counted.of_best].map(|counts| kernel(&counts[cells.clone()]));
        Self { cells, of_all, of_best }
    }

    /// How far the densities are apart beyond what chance makes, which was at work so many times.
    pub(super) fn importance(&self, counted: &Counted, chances: f64) -> f64 {
        let counts = [&counted.of_all, &counted.of_best].map(|counts| &counts[self.cells.clone()]);
        let [all, best] = counts.map(|counts| f64::from(counts.iter().sum::<u32>()));
        if best < 1.0 || self.cells.len() < 2 {
            return 0.0;
        }
        let (of_all, of_best) = (self.of_all.density(counts[0]), self.of_best.density(counts[1]));
        let apart = |(all, best): (&f64, &f64)| (best - all) * (best - all) / all;
        let divergence: f64 = of_all.iter().zip(&of_best).map(apart).sum();
        let by_chance = self.of_best.by_chance(counts[0], best, &of_all) * (1.0 - best / all).max(0.0);
        let best_part = best / counted.best as f64;
        let part = all / counted.all as f64;
        best_part * best_part / part * (divergence - chances * by_chance).max(0.0)
    }
}

impl Kernel {
    /// Gaussians, cut off at both ends.
    fn smooth(counts: &[u32]) -> Self {
        let trials = f64::from(counts.iter().sum::<u32>()).max(1.0);
        let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
            counts.iter().enumerate().map(|(cell, count)| f64::from(*count) * of(cell as f64)).sum()
        };
        let mean = sum(&|cell| cell) / trials;
        let variance = sum(&|cell| (cell - mean) * (cell - mean)) / (trials - 1.0).max(1.0);
        let deviation = (SCOTT * libm::sqrt(variance) * libm::pow(trials, -0.2)).max(DEVIATION_MIN);
        let row = |from: usize| {
            let weight = |to: usize| {
                let distance = (to as f64 - from as f64) / deviation;
                libm::exp(-0.5 * distance * distance)
            };
            let weights: Vec<_> = (0..counts.len()).map(weight).collect();
            let total: f64 = weights.iter().sum();
            weights.into_iter().map(|weight| weight / total).collect()
        };
        Self::Smooth((0..counts.len()).map(row).collect())
    }

    /// The density that these counts make, of which an even one is a part.
    fn density(&self, counts: &[u32]) -> Vec<f64> {
        let total = f64::from(counts.iter().sum::<u32>()) + EVEN_WEIGHT;
        let even = EVEN_WEIGHT / counts.len() as f64;
        let smoothed = self.smoothed(&counts.iter().map(|count| f64::from(*count)).collect::<Vec<_>>(), |one| one);
        smoothed.into_iter().map(|count| (count + even) / total).collect()
    }

    /// How far from `of_all` a density of `best` trials, drawn from those counted, is expected to be.
    fn by_chance(&self, counts: &[u32], best: f64, of_all: &[f64]) -> f64 {
        let total = f64::from(counts.iter().sum::<u32>());
        let parts: Vec<_> = counts.iter().map(|count| f64::from(*count) / total).collect();
        let means = self.smoothed(&parts, |one| one);
        let squares = self.smoothed(&parts, |one| one * one);
        let variances = means.iter().zip(&squares).map(|(mean, square)| (square - mean * mean).max(0.0));
        let kept = best / ((best + EVEN_WEIGHT) * (best + EVEN_WEIGHT));
        variances.zip(of_all).map(|(variance, all)| variance / all).sum::<f64>() * kept
    }

    /// The sum of all cells' kernels by these weights, with each value of a kernel put through `of`.
    fn smoothed(&self, weights: &[f64], of: impl Fn(f64) -> f64) -> Vec<f64> {
        let Self::Smooth(rows) = self else { return weights.to_vec() };
        let mut sums = vec![0.0; weights.len()];
        for (row, weight) in rows.iter().zip(weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += weight * of(*value);
            }
        }
        sums
    }
}
