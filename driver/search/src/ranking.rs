//! Which trial is better: the one place that knows order, ties, NaN, and whose weights are worth keeping.
//!
//! The better value stands first, whichever way the objective goes; where values are equal (zeros of either sign are),
//! the next objective decides, and after the last one the lower trial stands first. NaN is a value: a trial that has it
//! in an objective stands behind all others there, and one that has it in the first is never the best.

use std::cmp::Ordering;

use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{Direction, MetricName, Metrics, Objective, canonical_bits};

/// Objectives that a study may have.
pub const OBJECTIVES_MAX: usize = 4;

/// What trials are ranked by: the first objective, and where it ties, the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objectives {
    first: Objective,
    ties: Vec<Objective>,
}

impl Objectives {
    /// Of more than [`OBJECTIVES_MAX`], the last are left out.
    #[must_use]
    pub fn new(first: Objective, mut ties: Vec<Objective>) -> Self {
        ties.truncate(OBJECTIVES_MAX - 1);
        Self { first, ties }
    }

    /// The one that decides first.
    #[must_use]
    pub fn first(&self) -> &Objective {
        &self.first
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Objective> + Clone {
        [&self.first].into_iter().chain(&self.ties)
    }

    /// A trial's values, where it has one of the first objective; of the others it may have none.
    pub fn values(&self, mut value: impl FnMut(&MetricName) -> Option<f64>) -> Option<Values> {
        let mut values = Values::from(value(&self.first.metric)?);
        for (slot, objective) in values.0[1..].iter_mut().zip(&self.ties) {
            *slot = value(&objective.metric).unwrap_or(f64::NAN);
        }
        Some(values)
    }
}

impl From<Objective> for Objectives {
    fn from(first: Objective) -> Self {
        Self { first, ties: Vec::new() }
    }
}

/// A trial's values of the objectives, in their order; NaN where it has none.
#[derive(Clone, Copy, Debug)]
pub struct Values([f64; OBJECTIVES_MAX]);

impl Values {
    /// Of the first objective.
    #[must_use]
    pub fn first(&self) -> f64 {
        self.0[0]
    }
}

impl PartialEq for Values {
    /// By the exact bits; every NaN is the same one.
    fn eq(&self, other: &Self) -> bool {
        self.0.map(canonical_bits) == other.0.map(canonical_bits)
    }
}

impl From<f64> for Values {
    /// Of the first objective alone.
    fn from(first: f64) -> Self {
        let mut values = [f64::NAN; OBJECTIVES_MAX];
        values[0] = first;
        Self(values)
    }
}

/// The order of two trials by their values, the better one first.
#[must_use]
pub fn compare(objectives: &Objectives, one: (TrialId, Values), other: (TrialId, Values)) -> Ordering {
    let pairs = objectives.iter().zip(one.1.0.iter().zip(&other.1.0));
    let by_values = pairs.map(|(objective, (one, other))| objective.direction.order(*one, *other));
    by_values.fold(Ordering::Equal, Ordering::then).then(one.0.cmp(&other.0))
}

/// A value turned so that less is better, for what can only make things small.
#[must_use]
pub fn as_loss(objective: &Objective, value: f64) -> f64 {
    match objective.direction {
        Direction::Minimize => value,
        Direction::Maximize => -value,
    }
}

/// What is made small of these metrics: infinite where the objective has no finite value among them.
#[must_use]
pub fn finite_loss(objective: &Objective, metrics: &Metrics) -> f64 {
    let loss = metrics.get(&objective.metric).map(|value| as_loss(objective, value));
    loss.filter(|loss| loss.is_finite()).unwrap_or(f64::INFINITY)
}

/// Sorts anything that belongs to trials, those of the better trials first. `key` tells the trial and its value.
pub fn sort<T>(objectives: &Objectives, items: &mut [T], key: impl Fn(&T) -> (TrialId, Values)) {
    items.sort_by(|one, other| compare(objectives, key(one), key(other)));
}

/// The trials that have a value, best first; those with NaN come last.
#[must_use]
pub fn order(objectives: &Objectives, trials: impl IntoIterator<Item = (TrialId, Option<Values>)>) -> Vec<TrialId> {
    let mut ranked: Vec<_> = trials.into_iter().filter_map(|(trial, value)| Some((trial, value?))).collect();
    sort(objectives, &mut ranked, |ranked| *ranked);
    ranked.into_iter().map(|(trial, _)| trial).collect()
}

/// The best trial with its value, if any has one that is a number.
#[must_use]
pub fn best(
    objectives: &Objectives,
    trials: impl IntoIterator<Item = (TrialId, Option<Values>)>,
) -> Option<(TrialId, Values)> {
    let numbers = trials.into_iter().filter_map(|(trial, values)| Some((trial, values?)));
    numbers.filter(|(_, values)| !values.first().is_nan()).min_by(|one, other| compare(objectives, *one, *other))
}

/// The best trial so far of a run that goes on, whatever the order in which results come.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    objectives: Objectives,
    control: Option<TrialId>,
    best: Option<(TrialId, Values)>,
}

impl Ranking {
    /// Without any result yet.
    #[must_use]
    pub fn new(objectives: Objectives, control: Option<TrialId>) -> Self {
        Self { objectives, control, best: None }
    }

    /// What is compared, and which way is better.
    #[must_use]
    pub fn objectives(&self) -> &Objectives {
        &self.objectives
    }

    /// A trial has ended with these values. To say it twice changes nothing.
    pub fn note(&mut self, trial: TrialId, values: Values) {
        if self.would_be_best(trial, values) {
            self.best = Some((trial, values));
        }
    }

    /// The best of those that were noted, with its values; `None` until one has a number.
    #[must_use]
    pub fn best(&self) -> Option<(TrialId, Values)> {
        self.best
    }

    /// Whether a trial with these values is the best once it is noted.
    #[must_use]
    pub fn would_be_best(&self, trial: TrialId, values: Values) -> bool {
        let beats = |best| compare(&self.objectives, (trial, values), best) != Ordering::Greater;
        !values.first().is_nan() && self.best.is_none_or(beats)
    }

    /// Whether a trial's weights are needed after its end: they are the control's, or the best's.
    #[must_use]
    pub fn is_worth_keeping(&self, trial: TrialId) -> bool {
        Some(trial) == self.control || self.best.is_some_and(|(best, _)| best == trial)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn objective(direction: Direction) -> Objectives {
        Objective { metric: MetricName::VALIDATION_ERROR, direction }.into()
    }

    fn ordered(direction: Direction, values: &[Option<f64>]) -> Vec<u32> {
        let trials = (0..).map(TrialId).zip(values.iter().map(|value| value.map(Values::from)));
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
        assert!(!ranking.would_be_best(TrialId(0), f64::NAN.into()));
        ranking.note(TrialId(0), f64::NAN.into());
        assert_eq!(ranking.best(), None);
        assert_eq!(best(ranking.objectives(), [(TrialId(0), Some(f64::NAN.into())), (TrialId(1), None)]), None);
    }

    #[test]
    fn the_weights_of_the_control_and_of_the_best_are_worth_keeping() {
        let mut ranking = Ranking::new(objective(Direction::Minimize), Some(TrialId(0)));
        for (trial, value) in [(0, 0.5), (1, 0.25), (2, 0.125), (3, 0.125)] {
            ranking.note(TrialId(trial), f64::into(value));
        }
        let kept: Vec<_> = (0..4).filter(|trial| ranking.is_worth_keeping(TrialId(*trial))).collect();
        assert_eq!(kept, [0, 2]);
        assert!(ranking.would_be_best(TrialId(2), 0.125.into()), "it is already");
        assert!(
            ranking.would_be_best(TrialId(1), 0.125.into()) && !ranking.would_be_best(TrialId(3), 0.125.into()),
            "ties"
        );
    }

    #[test]
    fn where_an_objective_ties_the_next_one_decides() {
        let of = |metric, direction| Objective { metric, direction };
        let first = of(MetricName::VALIDATION_ERROR, Direction::Minimize);
        let then = of(MetricName::VALIDATION_LOSS, Direction::Maximize);
        let last = of(MetricName::TRAINING_LOSS, Direction::Minimize);
        let objectives = Objectives::new(first, vec![then, last]);
        let rows = [
            [Some(0.5), Some(1.0), Some(3.0)],
            [Some(0.25), Some(1.0), Some(9.0)],
            [Some(0.25), Some(2.0), Some(9.0)],
            [Some(0.25), None, Some(9.0)],
            [None, Some(9.0), Some(0.0)],
            [Some(0.25), Some(2.0), Some(8.0)],
            [Some(0.25), Some(2.0), Some(8.0)],
        ];
        let values = |row: &[Option<f64>; 3]| {
            let place = |metric: &MetricName| objectives.iter().position(|known| known.metric == *metric);
            objectives.values(|metric| row[place(metric).unwrap()])
        };
        let trials = || (0..).map(TrialId).zip(rows.iter().map(values));
        let ranked: Vec<_> = order(&objectives, trials()).into_iter().map(|trial| trial.0).collect();
        assert_eq!(ranked, [5, 6, 2, 1, 3, 0]);
        assert_eq!(best(&objectives, trials()).map(|(trial, _)| trial), Some(TrialId(5)));
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
            let with_value = || trials.iter().map(|(trial, value)| (*trial, Some(Values::from(*value))));
            let mut ranking = Ranking::new(objective.clone(), None);
            for place in 0..trials.len() {
                let (trial, value) = trials[(place + rotation) % trials.len()];
                ranking.note(trial, value.into());
            }
            let first = order(&objective, with_value()).first().copied();
            let first = first.filter(|first| !trials[first.0 as usize].1.is_nan());
            prop_assert_eq!(ranking.best().map(|(trial, _)| trial), first);
            prop_assert_eq!(best(&objective, with_value()).map(|(trial, _)| trial), first);
        }
    }
}
