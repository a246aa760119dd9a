//! When to stop, and which epoch counts.

use broadsweep_common::training::EarlyStop;

/// The course of the watched error so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Watch {
    rule: EarlyStop,
    /// The lowest error of all epochs: that epoch is the result.
    lowest: f64,
    /// The error that a fall is measured against: it moves by improvements of at least `min_delta` only, so that
    /// many small falls do not add up to none.
    reference: f64,
    /// Epochs since the last improvement.
    waited: u32,
}

/// What one more epoch means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    /// It is the best so far.
    pub(super) is_best: bool,
    /// It was one too many without improvement.
    pub(super) stop: bool,
}

impl Watch {
    pub(super) fn new(rule: EarlyStop) -> Self {
        Self { rule, lowest: f64::INFINITY, reference: f64::INFINITY, waited: 0 }
    }

    pub(super) fn see(&mut self, error: f64) -> Ruling {
        let is_best = error < self.lowest;
        if is_best {
            self.lowest = error;
        }
        let improved = error < self.reference && self.reference - error >= self.rule.min_delta;
        if improved {
            self.reference = error;
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        Ruling { is_best, stop: self.waited >= self.rule.patience }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rulings(patience: u32, min_delta: f64, errors: &[f64]) -> Vec<(bool, bool)> {
        let mut watch = Watch::new(EarlyStop { patience, min_delta });
        errors.iter().map(|&error| watch.see(error)).map(|ruling| (ruling.is_best, ruling.stop)).collect()
    }

    #[test]
    fn patience_counts_epochs_without_improvement_and_starts_anew_after_one() {
        let expected = [(true, false), (false, false), (true, false), (false, false), (false, true)];
        assert_eq!(rulings(2, 0.0, &[0.5, 0.6, 0.4, 0.4, 0.41]), expected);
    }

    #[test]
    fn a_fall_below_min_delta_is_best_but_no_improvement() {
        assert_eq!(rulings(1, 0.1, &[0.5, 0.45]), [(true, false), (true, true)]);
    }

    #[test]
    fn small_falls_add_up_to_an_improvement() {
        let expected = [(true, false), (true, false), (true, false), (true, false)];
        assert_eq!(rulings(2, 0.125, &[0.5, 0.4375, 0.375, 0.3125]), expected);
    }
}
