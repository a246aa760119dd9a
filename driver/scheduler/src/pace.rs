//! How long cost takes: an exponential mean over what was measured.

use std::time::Duration;

/// The mean time that one unit of cost took, in microseconds on one slot; none before the first measurement.
///
/// A mean of times, not of speeds: an attempt that diverges at once looks endlessly fast, and would drag a mean of
/// speeds along, where it moves a mean of times by one part only.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace {
    us_per_cost: f64,
    samples: u32,
}

impl Pace {
    /// `cost` took this long. The mean is a plain one over the first `memory` measurements; from then on each weighs
    /// one part in `memory`.
    pub(super) fn measured(&mut self, took: Duration, cost: f64, memory: u32) {
        self.samples = (self.samples + 1).min(memory);
        let measured = took.as_micros() as f64 / cost;
        self.us_per_cost += (measured - self.us_per_cost) / f64::from(self.samples);
    }

    pub(super) fn is_known(self) -> bool {
        self.samples > 0
    }

    /// This pace, or the other one where nothing was measured yet.
    pub(super) fn or(self, other: Self) -> Self {
        if self.is_known() { self } else { other }
    }

    /// How long `cost` will take, in microseconds.
    pub(super) fn forecast_us(self, cost: f64) -> Option<f64> {
        self.is_known().then_some(self.us_per_cost * cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_a_plain_mean_first_and_forgets_later() {
        let mut pace = Pace::default();
        assert_eq!(pace.forecast_us(1.0), None);
        for took_us in [100, 200, 300] {
            pace.measured(Duration::from_micros(took_us), 10.0, 4);
        }
        assert_eq!(pace.forecast_us(1.0), Some(20.0));
        for _ in 0..100 {
            pace.measured(Duration::from_micros(50), 10.0, 4);
        }
        assert!((pace.forecast_us(1.0).unwrap() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn one_attempt_that_ends_at_once_changes_a_pace_by_one_part() {
        let mut pace = Pace::default();
        for _ in 0..8 {
            pace.measured(Duration::from_micros(80), 1.0, 8);
        }
        pace.measured(Duration::ZERO, 1.0, 8);
        assert_eq!(pace.forecast_us(1.0), Some(70.0));
    }
}
