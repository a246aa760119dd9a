//! Losses as a Gaussian process can follow them.
//!
//! Losses are often spread over powers of ten above the least one. What the process sees is the logarithm of the distance
//! from the least one, plus an offset (the two-parameter transformation of Box and Cox, 1964, with an exponent of 0), and
//! from that its mean is taken, in units of its deviation. The offset is the one, of a few, for which what comes out is
//! most likely to be from a normal distribution; smaller ones than these spread the best results so far apart that the
//! process followed little else. Losses that are not finite count as the worst one that is.

/// Offsets, over the median distance from the least loss.
const OFFSETS: [f64; 4] = [0.03, 0.1, 1.0, 10.0];

/// How losses were warped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Warp {
    least: f64,
    /// Of the distances from the least one; 0 if no two losses differ.
    median: f64,
    offset: f64,
    /// Of the logarithms.
    mean: f64,
    deviation: f64,
}

impl Warp {
    /// The loss that is warped to this one.
    pub(super) fn back(&self, warped: f64) -> f64 {
        self.least + self.median * (libm::exp(warped * self.deviation + self.mean) - self.offset)
    }
}

/// The warped losses, with a mean of 0 and a deviation of 1; all 0 if no two of them differ.
pub(super) fn warped(losses: &[f64]) -> (Vec<f64>, Warp) {
    let finite = || losses.iter().copied().filter(|loss| loss.is_finite());
    let least = finite().fold(f64::INFINITY, f64::min);
    let worst = finite().fold(f64::NEG_INFINITY, f64::max);
    let distances: Vec<_> =
        losses.iter().map(|loss| if loss.is_finite() { loss - least } else { worst - least }).collect();
    let mut sorted: Vec<_> =
        distances.iter().copied().filter(|distance| *distance > 0.0 && distance.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let nothing = || (vec![0.0; losses.len()], Warp { least, ..Warp::default() });
    let Some(&median) = sorted.get(sorted.len() / 2) else { return nothing() };
    let mut best: Option<(f64, (Vec<f64>, Warp))> = None;
    for offset in OFFSETS {
        let logs: Vec<_> = distances.iter().map(|distance| libm::log(distance / median + offset)).collect();
        let count = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / count;
        let deviation = libm::sqrt(logs.iter().map(|log| (log - mean) * (log - mean)).sum::<f64>() / count);
        // The likelihood of a normal distribution, with the derivatives of the warp.
        let unlikely = count * libm::log(deviation) + logs.iter().sum::<f64>();
        if deviation > 0.0 && best.as_ref().is_none_or(|(known, _)| unlikely < *known) {
            let warped = logs.iter().map(|log| (log - mean) / deviation).collect();
            best = Some((unlikely, (warped, Warp { least, median, offset, mean, deviation })));
        }
    }
    best.map_or_else(nothing, |(_, found)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_stays_and_what_is_not_finite_is_the_worst() {
        let (warped, warp) = warped(&[3.0, f64::INFINITY, 1.0, 1e6, f64::NAN, 2.0]);
        assert!(warped[2] < warped[5] && warped[5] < warped[0] && warped[0] < warped[3], "{warped:?}");
        assert_eq!((warped[1], warped[4]), (warped[3], warped[3]));
        assert!((warped.iter().sum::<f64>()).abs() < 1e-9);
        for (loss, warped) in [3.0, 1e6, 1.0, 1e6, 1e6, 2.0].into_iter().zip(warped) {
            assert!((warp.back(warped) / loss - 1.0).abs() < 1e-9, "{loss}");
        }
    }

    #[test]
    fn powers_of_ten_come_closer_together() {
        let (warped, _) = warped(&[0.0, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
        assert!(warped[7] - warped[6] < 4.0 * (warped[3] - warped[2]), "{warped:?}");
    }

    #[test]
    fn losses_that_do_not_differ_say_nothing() {
        let (equal, warp) = warped(&[2.0, 2.0]);
        assert_eq!((equal, warp.back(0.3)), (vec![0.0, 0.0], 2.0));
        assert_eq!(warped(&[f64::INFINITY; 2]).0, [0.0, 0.0]);
        assert_eq!(warped(&[]).0, [0.0; 0]);
    }
}
