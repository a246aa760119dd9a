//! What the process expects at a point, given the results and what is under way.
//!
//! What is under way has no loss yet, but makes what is around it less uncertain: the mean is that given the results, the
//! deviation that given both (GP-BUCB: Desautels, Krause, Burdick, "Parallelizing exploration-exploitation tradeoffs in
//! Gaussian process bandit optimization", JMLR 2014). This is the same as to believe the mean where something is under way.

use super::covariance::Covariance;
use crate::cholesky::Cholesky;
use crate::unit_point::UnitPoint;

/// The process.
pub(super) struct Posterior<'a> {
    covariance: Covariance<'a>,
    /// The results, and then what is under way.
    points: Vec<UnitPoint>,
    factor: Cholesky,
    /// `K⁻¹ z` of the results.
    weights: Vec<f64>,
}

/// A normal distribution of a loss, with derivatives by the point; these are 0 for parameters without an order.
#[derive(Clone, Debug, Default)]
struct Expectation {
    mean: f64,
    deviation: f64,
    mean_slope: Vec<f64>,
    deviation_slope: Vec<f64>,
}

/// Added to the noise, each time ten times as much, where rounding leaves no positive definite matrix.
const JITTER: f64 = 1e-10;

impl<'a> Posterior<'a> {
    /// Given losses at the first of `points`; the others are under way. `None` for what is not finite.
    pub(super) fn new(mut covariance: Covariance<'a>, points: Vec<UnitPoint>, losses: &[f64]) -> Option<Self> {
        let mut jitter = JITTER;
        let (factor, of_results) = loop {
            let results = Cholesky::new(covariance.matrix(&points[..losses.len()]), losses.len());
            if let (Some(factor), Some(of_results)) =
                (Cholesky::new(covariance.matrix(&points), points.len()), results)
            {
                break (factor, of_results);
            }
            if jitter > 1.0 {
                return None;
            }
            covariance.noise += jitter * covariance.variance;
            jitter *= 10.0;
        };
        let mut weights = losses.to_vec();
        of_results.solve_lower(&mut weights);
        of_results.solve_upper(&mut weights);
        Some(Self { covariance, points, factor, weights })
    }

    /// The mean less `beta` deviations.
    pub(super) fn lower_bound(&self, at: &[f64], beta: f64) -> f64 {
        let expectation = self.expectation(at);
        expectation.mean - beta * expectation.deviation
    }

    /// The same, and its derivatives.
    pub(super) fn lower_bound_with_slopes(&self, at: &[f64], beta: f64, slopes: &mut [f64]) -> f64 {
        let expectation = self.expectation_with_slopes(at);
        for (number, slope) in slopes.iter_mut().enumerate() {
            *slope = expectation.mean_slope[number] - beta * expectation.deviation_slope[number];
        }
        expectation.mean - beta * expectation.deviation
    }

    /// The mean and the deviation of the mean of the losses at some points; `None` if there are none.
    pub(super) fn of_mean(&self, points: &[UnitPoint]) -> Option<(f64, f64)> {
        if points.is_empty() {
            return None;
        }
        let count = points.len() as f64;
        let with = |known: &UnitPoint| points.iter().map(|at| self.covariance.of(at, known)).sum::<f64>() / count;
        let mut known: Vec<_> = self.points.iter().map(with).collect();
        let mean = self.weights.iter().zip(&known).map(|(weight, known)| weight * known).sum();
        let others = |(place, at): (usize, &UnitPoint)| -> f64 {
            points[..place].iter().map(|other| self.covariance.of(at, other)).sum()
        };
        let pairs: f64 = points.iter().enumerate().map(others).sum();
        let variance = self.covariance.variance / count + 2.0 * pairs / (count * count);
        self.factor.solve_lower(&mut known);
        let explained: f64 = known.iter().map(|part| part * part).sum();
        Some((mean, libm::sqrt((variance - explained).max(1e-12 * self.covariance.variance))))
    }

    fn expectation(&self, at: &[f64]) -> Expectation {
        let mut known: Vec<_> = self.points.iter().map(|point| self.covariance.of(at, point)).collect();
        let mean = self.weights.iter().zip(&known).map(|(weight, known)| weight * known).sum();
        self.factor.solve_lower(&mut known);
        Expectation { mean, deviation: self.deviation(&known), ..Expectation::default() }
    }

    fn deviation(&self, solved: &[f64]) -> f64 {
        let explained: f64 = solved.iter().map(|part| part * part).sum();
        libm::sqrt((self.covariance.variance - explained).max(1e-12 * self.covariance.variance))
    }

    fn expectation_with_slopes(&self, at: &[f64]) -> Expectation {
        let pairs: Vec<_> = self.points.iter().map(|point| self.covariance.with_slope(at, point)).collect();
        let mut solved: Vec<_> = pairs.iter().map(|(known, _)| *known).collect();
        let mean = self.weights.iter().zip(&solved).map(|(weight, known)| weight * known).sum();
        self.factor.solve_lower(&mut solved);
        let deviation = self.deviation(&solved);
        self.factor.solve_upper(&mut solved);
        let (mut mean_slope, mut deviation_slope) = (vec![0.0; at.len()], vec![0.0; at.len()]);
        for (number, (point, (_, slope))) in self.points.iter().zip(&pairs).enumerate() {
            let weight = self.weights.get(number).copied().unwrap_or(0.0);
            for (parameter, closeness) in self.covariance.closeness.iter().enumerate() {
                if self.covariance.is_ordered[parameter] {
                    let step = -slope * closeness * (at[parameter] - point[parameter]);
                    mean_slope[parameter] += weight * step;
                    deviation_slope[parameter] -= solved[number] * step / deviation;
                }
            }
        }
        Expectation { mean, deviation, mean_slope, deviation_slope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posterior(under_way: &[f64], noise: f64) -> Posterior<'static> {
        let covariance = Covariance { is_ordered: &[true, false], closeness: vec![9.0, 1.0], variance: 1.5, noise };
        let points = [0.1, 0.4, 0.8].iter().chain(under_way).map(|place| vec![*place, 1.0]).collect();
        Posterior::new(covariance, points, &[1.0, -0.5, 0.3]).unwrap()
    }

    #[test]
    fn without_noise_it_goes_through_the_results() {
        let posterior = posterior(&[], 0.0);
        for (place, loss) in [(0.1, 1.0), (0.4, -0.5), (0.8, 0.3)] {
            let expectation = posterior.expectation(&[place, 1.0]);
            assert!((expectation.mean - loss).abs() < 1e-9 && expectation.deviation < 1e-5, "{expectation:?}");
        }
        let far = posterior.expectation(&[0.1, 0.0]);
        assert!(far.deviation > 0.5 && far.mean < 1.0);
    }

    #[test]
    fn what_is_under_way_changes_the_deviation_alone() {
        let (without, with) = (posterior(&[], 0.01), posterior(&[0.6], 0.01));
        let [before, after] = [without, with].map(|posterior| posterior.expectation(&[0.6, 1.0]));
        assert!((before.mean - after.mean).abs() < 1e-12);
        assert!(after.deviation < 0.5 * before.deviation, "{after:?} {before:?}");
    }

    #[test]
    fn the_mean_over_one_point_is_what_is_expected_there_and_means_are_more_certain_than_their_parts() {
        let posterior = posterior(&[], 0.01);
        let points = [0.2, 0.5, 0.95].map(|place| vec![place, 1.0]);
        for point in &points {
            let (expected, (mean, deviation)) =
                (posterior.expectation(point), posterior.of_mean(std::slice::from_ref(point)).unwrap());
            assert!((expected.mean - mean).abs() < 1e-12 && (expected.deviation - deviation).abs() < 1e-12);
        }
        let parts = points.each_ref().map(|point| posterior.expectation(point));
        let (mean, deviation) = posterior.of_mean(&points).unwrap();
        assert!((parts.iter().map(|part| part.mean).sum::<f64>() / 3.0 - mean).abs() < 1e-12);
        assert!(deviation < parts.iter().map(|part| part.deviation).sum::<f64>() / 3.0);
        // The covariance given the results, pair by pair.
        let known = points.each_ref().map(|point| {
            let mut known: Vec<_> =
                posterior.points.iter().map(|other| posterior.covariance.of(point, other)).collect();
            posterior.factor.solve_lower(&mut known);
            known
        });
        let pairs = (0..9).map(|pair| (pair / 3, pair % 3));
        let covariances = pairs.map(|(one, other)| {
            let explained: f64 = known[one].iter().zip(&known[other]).map(|(one, other)| one * other).sum();
            posterior.covariance.of(&points[one], &points[other]) - explained
        });
        assert!((covariances.sum::<f64>() / 9.0 - deviation * deviation).abs() < 1e-12);
        assert_eq!(posterior.of_mean(&[]), None);
    }

    #[test]
    fn the_derivatives_are_those_of_small_differences() {
        let posterior = posterior(&[0.55], 0.01);
        let [low, at, high] =
            [0.62 - 1e-5, 0.62, 0.62 + 1e-5].map(|place| posterior.expectation_with_slopes(&[place, 0.0]));
        let difference = |one: f64, other: f64| (one - other) / 2e-5;
        assert!((difference(high.mean, low.mean) - at.mean_slope[0]).abs() < 1e-7);
        assert!((difference(high.deviation, low.deviation) - at.deviation_slope[0]).abs() < 1e-7);
        assert!((posterior.expectation(&[0.62, 0.0]).deviation - at.deviation).abs() < 1e-15);
        assert!(at.mean_slope[1].abs() + at.deviation_slope[1].abs() < 1e-300);
    }
}
