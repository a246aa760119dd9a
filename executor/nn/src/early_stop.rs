//! When to stop, and which epoch counts.

use broadsweep_common::training::EarlyStop;
use serde::{Deserialize, Serialize};

/// A rule, and how the watched error stands by it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Watch {
    rule: EarlyStop,
    course: Course,
}

/// The course of the watched error so far: what a checkpoint keeps of a [`Watch`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Course {
    /// The lowest error of all epochs: that epoch is the result.
    lowest: f64,
    /// The error that a fall is measured against: it moves by improvements of at least `min_delta` only, so that
    /// many small falls do not add up to none.
    reference: f64,
    /// Epochs since the last improvement.
    waited: u32,
}

impl Watch {
    pub(super) fn new(rule: EarlyStop) -> Self {
        Self { rule, course: Course { lowest: f64::INFINITY, reference: f64::INFINITY, waited: 0 } }
    }

    /// Goes on from `course`. `None` if `epochs` epochs under `rule`, the best of which had the error `lowest`, cannot
    /// have led there.
    pub(super) fn resume(rule: EarlyStop, course: Course, epochs: u32, lowest: f64) -> Option<Self> {
        let Course { reference, waited, .. } = course;
        let is_possible = course.lowest.to_bits() == lowest.to_bits()
            && reference.is_finite()
            && lowest <= reference
            && waited < epochs
            && waited <= rule.patience;
        is_possible.then_some(Self { rule, course })
    }

    /// Takes the error of one more epoch; says whether it is the best so far.
    pub(super) fn see(&mut self, error: f64) -> bool {
        let Course { lowest, reference, waited } = &mut self.course;
        let is_best = error < *lowest;
        if is_best {
            *lowest = error;
        }
        let improved = error < *reference && *reference - error >= self.rule.min_delta;
        if improved {
            *reference = error;
            *waited = 0;
        } else {
            *waited += 1;
        }
        is_best
    }

    /// Whether the last epoch was one too many without improvement.
    pub(super) fn rules_to_stop(&self) -> bool {
        self.course.waited >= self.rule.patience
    }

    pub(super) fn course(&self) -> Course {
        self.course
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rulings(patience: u32, min_delta: f64, errors: &[f64]) -> Vec<(bool, bool)> {
        let mut watch = Watch::new(EarlyStop { patience, min_delta });
        errors.iter().map(|&error| (watch.see(error), watch.rules_to_stop())).collect()
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

    #[test]
    fn a_course_that_no_epochs_lead_to_is_not_resumed() {
        let course = Course { lowest: 0.5, reference: 0.625, waited: 2 };
        let resume = |course, epochs| Watch::resume(EarlyStop { patience: 3, min_delta: 0.25 }, course, epochs, 0.5);
        assert_eq!(resume(course, 3).map(|watch| watch.course()), Some(course));
        for (impossible, epochs) in [
            (course, 2),
            (Course { waited: 4, ..course }, 9),
            (Course { lowest: 0.375, ..course }, 9),
            (Course { reference: 0.25, ..course }, 9),
            (Course { reference: f64::INFINITY, ..course }, 9),
            (Course { reference: f64::NAN, ..course }, 9),
        ] {
            assert_eq!(resume(impossible, epochs), None, "{impossible:?} after {epochs} epochs");
        }
    }
}
