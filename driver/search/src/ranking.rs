//! Which trial is better: the one place that knows order, ties, NaN, and whose weights are worth keeping.
//!
//! The better value stands first, whichever way the objective goes; of equal values (zeros of either sign are) the
//! lower trial does. NaN is a value: a trial that has it stands behind all others, and is never the best.

use std::cmp::Ordering;

use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{Direction, Objective};

/// The order of two trials by their values, the better one first.
#[must_use]
pub fn compare(objective: &Objective, one: (TrialId, f64), other: (TrialId, f64)) -> Ordering {
    objective.direction.order(one.1, other.1).then(one.0.cmp(&other.0))
}

/// A value turned so that less is better, for what can only make things small.
#[must_use]
pub fn as_loss(objective: &Objective, value: f64) -> f64 {
    match objective.direction {
        Direction::Minimize => value,
        Direction::Maximize => -value,
    }
}

/// Sorts anything that belongs to trials, those of the better trials first. `key` tells the trial and its value.
pub fn sort<T>(objective: &Objective, items: &mut [T], key: impl Fn(&T) -> (TrialId, f64)) {
    items.sort_by(|one, other| compare(objective, key(one), key(other)));
}

/// The trials that have a value, best first; those with NaN come last.
#[must_use]
pub fn order(objective: &Objective, trials: impl IntoIterator<Item = (TrialId, Option<f64>)>) -> Vec<TrialId> {
    let mut ranked: Vec<_> = trials.into_iter().filter_map(|(trial, value)| Some((trial, value?))).collect();
    sort(objective, &mut ranked, |ranked| *ranked);
    ranked.into_iter().map(|(trial, _)| trial).collect()
}

/// The best trial with its value, if any has one that is a number.
#[must_use]
pub fn best(
    objective: &Objective,
    trials: impl IntoIterator<Item = (TrialId, Option<f64>)>,
) -> Option<(TrialId, f64)> {
    let numbers = trials.into_iter().filter_map(|(trial, value)| Some((trial, value?)));
    numbers.filter(|(_, value)| !value.is_nan()).min_by(|one, other| compare(objective, *one, *other))
}

/// The best trial so far of a run that goes on, whatever the order in which results come.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    objective: Objective,
    control: Option<TrialId>,
    best: Option<(TrialId, f64)>,
}

impl Ranking {
    /// Without any result yet.
    #[must_use]
    pub fn new(objective: Objective, control: Option<TrialId>) -> Self {
        Self { objective, control, best: None }
    }

    /// What is compared, and which way is better.
    #[must_use]
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// A trial has ended with this value. To say it twice changes nothing.
    pub fn note(&mut self, trial: TrialId, value: f64) {
        if self.would_be_best(trial, value) {
            self.best = Some((trial, value));
        }
    }

    /// The best of those that were noted, with its value; `None` until one has a number.
    #[must_use]
    pub fn best(&self) -> Option<(TrialId, f64)> {
        self.best
    }

    /// Whether a trial with this value is the best once it is noted.
    #[must_use]
    pub fn would_be_best(&self, trial: TrialId, value: f64) -> bool {
        let beats = |best| compare(&self.objective, (trial, value), best) != Ordering::Greater;
        !value.is_nan() && self.best.is_none_or(beats)
    }

    /// Whether a trial's weights are needed after its end: they are the control's, or the best's.
    #[must_use]
    pub fn is_worth_keeping(&self, trial: TrialId) -> bool {
        Some(trial) == self.control || self.best.is_some_and(|(best, _)| best == trial)
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::metrics::MetricName;
    use proptest::prelude::*;

    use super::*;

    fn objective(direction: Direction) -> Objective {
        Objective { metric: MetricName::VALIDATION_ERROR, direction }
    }

    fn ordered(direction: Direction, values: &[Option<f64>]) -> Vec<u32> {
        let trials = (0..).map(TrialId).zip(values.iter().copied());
        order(&objective(direction), trials).into_iter().map(|trial| trial.0).collect()
    }

    #[test]
    fn the_better_value_stands_first_then_the_lower_trial_and_nan_last() {
        let values = [Some(f64::NAN), Some(0.5), None, Some(0.25), Some(0.5), Some(f64::INFINITY), Some(f64::NAN)];
        assert_eq!(ordered(Direction::Minimize, &values), [3, 1, 4, 5, 0, 6]);
        assert_eq!(ordered(Direction::Maximize, &values), [5, 1, 4, 3, 0, 6]);
    }

    #[test]
    fn zeros_of_either_sign_are_equal() {
        assert_eq!(ordered(Direction::Minimize, &[Some(0.0), Some(-0.0), Some(0.0)]), [0, 1, 2]);
    }

    #[test]
    fn nan_is_never_the_best() {
        let mut ranking = Ranking::new(objective(Direction::Maximize), None);
        assert!(!ranking.would_be_best(TrialId(0), f64::NAN));
        ranking.note(TrialId(0), f64::NAN);
        assert_eq!(ranking.best(), None);
        assert_eq!(best(ranking.objective(), [(TrialId(0), Some(f64::NAN)), (TrialId(1), None)]), None);
    }

    #[test]
    fn the_weights_of_the_control_and_of_the_best_are_worth_keeping() {
        let mut ranking = Ranking::new(objective(Direction::Minimize), Some(TrialId(0)));
        for (trial, value) in [(0, 0.5), (1, 0.25), (2, 0.125), (3, 0.125)] {
            ranking.note(TrialId(trial), value);
        }
        let kept: Vec<_> = (0..4).filter(|trial| ranking.is_worth_keeping(TrialId(*trial))).collect();
        assert_eq!(kept, [0, 2]);
        assert!(ranking.would_be_best(TrialId(2), 0.125), "it is already");
        assert!(ranking.would_be_best(TrialId(1), 0.125) && !ranking.would_be_best(TrialId(3), 0.125), "ties");
    }

    proptest! {
        #[test]
        fn the_best_is_the_first_in_order_whichever_result_comes_first(
            values in proptest::collection::vec(prop_oneof![Just(f64::NAN), Just(-0.0), (0_u8..4).prop_map(f64::from)], 0..12),
            rotation in 0_usize..12,
            maximize in any::<bool>(),
        ) {
            let objective = objective(if maximize { Direction::Maximize } else { Direction::Minimize });
            let trials: Vec<_> = (0..).map(TrialId).zip(values).collect();
            let with_value = || trials.iter().map(|(trial, value)| (*trial, Some(*value)));
            let mut ranking = Ranking::new(objective.clone(), None);
            for place in 0..trials.len() {
                let (trial, value) = trials[(place + rotation) % trials.len()];
                ranking.note(trial, value);
            }
            let first = order(&objective, with_value()).first().copied();
            let first = first.filter(|first| !trials[first.0 as usize].1.is_nan());
            prop_assert_eq!(ranking.best().map(|(trial, _)| trial), first);
            prop_assert_eq!(best(&objective, with_value()).map(|(trial, _)| trial), first);
        }
    }
}
