//! The covariance that fits the results best: the maximum of its posterior probability.
//!
//! What is least is `½ zᵀ K⁻¹ z + ½ log |K|` (Rasmussen and Williams, 2006, 5.8) less the logarithms of the priors, over
//! the logarithms of the length scales, the variance and the noise. Each of the logarithms has a normal prior.

use super::covariance::Covariance;
use super::minimise::{Bounds, minimise};
use crate::cholesky::Cholesky;
use crate::unit_point::UnitPoint;

/// A normal distribution of a logarithm, and how far it may go.
struct Prior {
    mean: f64,
    deviation: f64,
    low: f64,
    high: f64,
}

/// Length scales. The mean grows with the root of their number: otherwise, all points would be far from each other where
/// there are many parameters (Hvarfner, Hellsten, Nardi, "Vanilla Bayesian optimization performs great in high
/// dimensions", 2024).
const LENGTH: Prior = Prior { mean: -2.0, deviation: 1.0, low: -4.6, high: 3.0 };
/// The variance; that of all results is 1, and that of the whole space, of which they are a choice, is more.
const VARIANCE: Prior = Prior { mean: 1.0, deviation: 1.0, low: -3.0, high: 4.0 };
/// The noise. Wide: functions have none, and trainings may have as much as all else.
const NOISE: Prior = Prior { mean: -7.0, deviation: 2.0, low: -13.0, high: 0.0 };

/// The logarithms of the length scales, of the variance and of the noise.
pub(super) type LogScales = Vec<f64>;

/// The logarithms before anything is known.
pub(super) fn first_logs(parameters: usize) -> LogScales {
    priors(parameters).iter().map(|prior| prior.mean).collect()
}

fn priors(parameters: usize) -> Vec<Prior> {
    let wider = 0.5 * libm::log(parameters.max(1) as f64);
    let length = || Prior { mean: LENGTH.mean + wider, ..LENGTH };
    (0..parameters).map(|_| length()).chain([VARIANCE, NOISE]).collect()
}

/// The covariance with these logarithms.
pub(super) fn covariance<'a>(is_ordered: &'a [bool], logs: &[f64]) -> Covariance<'a> {
    let parameters = is_ordered.len();
    Covariance {
        is_ordered,
        closeness: logs[..parameters].iter().map(|log| libm::exp(-2.0 * log)).collect(),
        variance: libm::exp(logs[parameters]),
        noise: libm::exp(logs[parameters + 1]),
    }
}

/// The logarithms that fit best, sought from each of `starts`.
pub(super) fn fitted(
    is_ordered: &[bool],
    points: &[UnitPoint],
    losses: &[f64],
    starts: &[LogScales],
    calls_max: usize,
) -> LogScales {
    let priors = priors(is_ordered.len());
    let low: Vec<_> = priors.iter().map(|prior| prior.low).collect();
    let high: Vec<_> = priors.iter().map(|prior| prior.high).collect();
    let bounds = Bounds { low: &low, high: &high, first_step: 0.5, calls_max };
    let mut best: Option<(LogScales, f64)> = None;
    for start in starts {
        let found =
            minimise(start, bounds, |logs, gradient| unlikeliness(is_ordered, points, losses, logs, gradient));
        if best.as_ref().is_none_or(|(_, known)| found.1 < *known) {
            best = Some(found);
        }
    }
    best.map_or_else(|| first_logs(is_ordered.len()), |(logs, _)| logs)
}

/// Less the logarithm of the posterior probability, up to a constant; infinite where rounding makes it meaningless.
fn unlikeliness(
    is_ordered: &[bool],
    points: &[UnitPoint],
    losses: &[f64],
    logs: &[f64],
    gradient: &mut [f64],
) -> f64 {
    let size = points.len();
    let covariance = covariance(is_ordered, logs);
    let pairs = covariance.pairs(points);
    let Some(factor) = Cholesky::new(covariance.matrix_of(&pairs, size), size) else { return f64::INFINITY };
    let mut weights = losses.to_vec();
    factor.solve_lower(&mut weights);
    factor.solve_upper(&mut weights);
    let misfit: f64 = 0.5 * weights.iter().zip(losses).map(|(weight, loss)| weight * loss).sum::<f64>();
    let mut value = misfit + factor.half_log_determinant();
    gradient.fill(0.0);
    let parameters = is_ordered.len();
    let mut pairs = pairs.into_iter();
    // The derivative by each element of K is ½ (K⁻¹ - w wᵀ) (Rasmussen and Williams, 2006, 5.9).
    for (place, inverse) in factor.inverse().chunks_exact(size).enumerate() {
        let of_noise = 0.5 * (inverse[place] - weights[place] * weights[place]);
        gradient[parameters] += of_noise * covariance.variance;
        gradient[parameters + 1] += of_noise * covariance.noise;
        for (other, (covariant, slope)) in pairs.by_ref().take(place).enumerate() {
            let of_pair = inverse[other] - weights[place] * weights[other];
            gradient[parameters] += of_pair * covariant;
            for parameter in 0..parameters {
                let (one, other) = (points[place][parameter], points[other][parameter]);
                let square = Covariance::square(is_ordered[parameter], one, other);
                gradient[parameter] += of_pair * slope * covariance.closeness[parameter] * square;
            }
        }
    }
    for ((prior, log), slope) in priors(parameters).iter().zip(logs).zip(gradient) {
        let distance = (log - prior.mean) / prior.deviation;
        value += 0.5 * distance * distance;
        *slope += distance / prior.deviation;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> (Vec<UnitPoint>, Vec<f64>) {
        let points: Vec<_> = (0..12)
            .map(|number| vec![f64::from(number) / 11.0, f64::from(number * 5 % 12) / 11.0, f64::from(number % 3)])
            .collect();
        let losses = points.iter().map(|point| libm::sin(6.0 * point[0]) + 0.3 * (point[2] - 1.0)).collect();
        (points, losses)
    }

    #[test]
    fn the_gradient_is_that_of_small_differences() {
        let (points, losses) = results();
        let is_ordered = [true, true, false];
        let logs = [-0.7, 0.2, 0.1, 0.3, -3.0];
        let at = |logs: &[f64]| {
            let mut gradient = vec![0.0; logs.len()];
            (unlikeliness(&is_ordered, &points, &losses, logs, &mut gradient), gradient)
        };
        let (_, gradient) = at(&logs);
        for (place, slope) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                let mut logs = logs;
                logs[place] += by;
                at(&logs).0
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - expected).abs() < 1e-6 * (1.0 + expected.abs()), "{place}: {slope}, not {expected}");
        }
    }

    #[test]
    fn a_parameter_without_influence_gets_a_long_scale() {
        let (points, losses) = results();
        let logs = fitted(&[true, true, false], &points, &losses, &[first_logs(3)], 60);
        assert!(logs[1] > logs[0] + 0.5, "{logs:?}");
    }
}
