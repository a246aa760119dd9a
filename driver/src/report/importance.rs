//! How much each searched parameter has to do with what trials are ranked by.
//!
//! What is explained is the place of a trial among all, from 0 for the best to 1 for the worst, not its value: ranks keep
//! a few very bad trials from being all that is explained (Conover and Iman, "Rank Transformations as a Bridge Between
//! Parametric and Nonparametric Statistics", 1981), and let a diverged trial count as one of the worst.

use std::cmp::Ordering;

use super::forest::{self, Rows};
use super::parameters::Parameter;
use crate::records::run::{RunRecord, TrialOutcome};
use broadsweep_search::ranking;

/// Fewer trials than this tell nothing.
pub(super) const TRIALS_MIN: usize = 10;
/// Trials that an importance comes from; of more, an even sample.
const TRIALS_MAX: usize = 2000;
/// Levels of a factor; more values are put together, as many trials to each level.
const LEVELS_MAX: usize = 24;
/// A forest that explains less than this says nothing about its factors.
const EXPLAINED_MIN: f64 = 0.1;

/// How much each parameter has to do with what ranks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Importance {
    /// Places among the run's parameters, each with the share that it explains alone, the largest first.
    pub(super) ranked: Vec<(usize, f64)>,
    /// The share that only combinations explain.
    pub(super) together: f64,
    /// The share of the differences between trials that trees explain which did not see them.
    pub(super) explained: f64,
    /// Trials that this comes from.
    pub(super) trials: usize,
}

/// The importance of each parameter; `None` where too few trials ended, or where the parameters explain too little.
pub(super) fn importance(run: &RunRecord, parameters: &[Parameter<'_>]) -> Option<Importance> {
    let ended = whole(run, parameters);
    let trials = ended.len();
    if trials < TRIALS_MIN {
        return None;
    }
    let targets = ranks(&ended.iter().map(|(_, error)| *error).collect::<Vec<_>>());
    let factors: Vec<_> = parameters
        .iter()
        .map(|parameter| {
            let places = ended.iter().map(|(trial, _)| parameter.places[*trial].unwrap_or_default());
            levels(parameter, &places.collect::<Vec<_>>(), &targets)
        })
        .collect();
    let rows = (0..trials).map(|row| factors.iter().map(|(_, levels)| levels[row]).collect()).collect();
    let shares =
        forest::shares(&Rows { levels: factors.iter().map(|(count, _)| *count).collect(), at: rows, targets })?;
    let together = shares.together();
    let mut ranked: Vec<_> = shares.alone.iter().copied().enumerate().collect();
    ranked.sort_by(|(place, share), (other_place, other)| {
        other.partial_cmp(share).unwrap_or(Ordering::Equal).then(place.cmp(other_place))
    });
    (shares.explained >= EXPLAINED_MIN).then_some(Importance {
        ranked,
        together,
        explained: shares.explained,
        trials,
    })
}

/// Of the trials that [`ended`], those that have every parameter: only they have a place in every tree.
pub(super) fn whole(run: &RunRecord, parameters: &[Parameter<'_>]) -> Vec<(usize, f64)> {
    sampled(ended(run).filter(|(trial, _)| parameters.iter().all(|one| one.places[*trial].is_some())).collect())
}

/// Trials that ended with a result, each with its value turned so that less is better; one that diverged is worse than any
/// other. A paused one is none of them: its value is of fewer epochs.
pub(super) fn ended(run: &RunRecord) -> impl Iterator<Item = (usize, f64)> {
    run.trials.iter().enumerate().filter_map(|(place, trial)| {
        let loss = match trial.outcome {
            TrialOutcome::Diverged { .. } => f64::INFINITY,
            TrialOutcome::Finished { .. }
            | TrialOutcome::GivenUp { .. }
            | TrialOutcome::Paused { .. }
            | TrialOutcome::NotRun
            | TrialOutcome::LeftOut => {
                let value = run.value_of(trial).filter(|value| !value.is_nan())?;
                ranking::as_loss(run.objective(), value)
            }
        };
        Some((place, loss))
    })
}

/// All of them, or an even sample.
pub(super) fn sampled(trials: Vec<(usize, f64)>) -> Vec<(usize, f64)> {
    let count = trials.len();
    if count <= TRIALS_MAX {
        return trials;
    }
    (0..TRIALS_MAX).map(|place| trials[place * count / TRIALS_MAX]).collect()
}

/// The place of each number among all, from 0 for the least to 1; equal ones share the middle of theirs.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut order: Vec<_> = (0..numbers.len()).collect();
    order.sort_by(|one, other| numbers[*one].total_cmp(&numbers[*other]));
    let mut ranks = vec![0.0; numbers.len()];
    let last = numbers.len().saturating_sub(1).max(1) as f64;
    for equal in order.chunk_by(|one, other| numbers[*one].total_cmp(&numbers[*other]) == Ordering::Equal) {
        let first = order.partition_point(|place| numbers[*place].total_cmp(&numbers[equal[0]]) == Ordering::Less);
        let middle = (first as f64 + (equal.len() - 1) as f64 / 2.0) / last;
        for place in equal {
            ranks[*place] = middle;
        }
    }
    ranks
}

/// How many levels a parameter has, and that of each trial. Words stand in the order of their mean rank, so that a tree
/// can cut between better and worse ones (Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees",
/// 1984).
fn levels(parameter: &Parameter<'_>, places: &[usize], targets: &[f64]) -> (usize, Vec<usize>) {
    let keys: Vec<f64> = if parameter.is_numeric() {
        places.iter().map(|place| *place as f64).collect()
    } else {
        let mut sums = vec![(0.0, 0.0); parameter.values.len()];
        for (place, target) in places.iter().zip(targets) {
            sums[*place].0 += target;
            sums[*place].1 += 1.0;
        }
        places.iter().map(|place| sums[*place].0 / sums[*place].1).collect()
    };
    let mut sorted = keys.clone();
    sorted.sort_by(f64::total_cmp);
    let mut starts = sorted.clone();
    starts.dedup();
    if starts.len() > LEVELS_MAX {
        starts = (0..LEVELS_MAX).map(|level| sorted[level * sorted.len() / LEVELS_MAX]).collect();
        starts.dedup();
    }
    let level = |key: &f64| starts.partition_point(|start| start <= key).saturating_sub(1);
    (starts.len(), keys.iter().map(level).collect())
}

#[cfg(test)]
mod tests {
    use broadsweep_common::configuration::Value;

    use super::super::parameters::parameters;
    use super::*;
    use crate::results::fixtures::{configuration, diverged, finished, run};

    /// Trials whose error comes from the rate alone, which diverge where it is large; `words` does nothing.
    fn searched() -> RunRecord {
        let trials = (0..120_u32).map(|trial| {
            let rate = libm::pow(10.0, -4.0 + 4.0 * f64::from(trial % 24) / 23.0);
            let error = (libm::log10(rate) + 2.0).abs() / 4.0 + 0.01;
            let mut record = if rate > 0.5 { diverged(trial, 1) } else { finished(trial, error) };
            let word = ["relu", "tanh", "gelu"][trial as usize % 7 % 3];
            record.configuration =
                configuration(&[("activation", Value::Choice(word.into())), ("rate", Value::Real(rate))]);
            record
        });
        run(trials.collect())
    }

    #[test]
    fn what_the_error_comes_from_is_important() {
        let record = searched();
        let found = importance(&record, &parameters(&record)).unwrap();
        assert_eq!(found.ranked[0].0, 1, "{found:?}");
        assert!(found.ranked[0].1 > 0.9 && found.ranked[1].1 < 0.05 && found.explained > 0.9, "{found:?}");
        assert_eq!(found.trials, 120);
    }

    #[test]
    fn what_explains_nothing_is_not_called_important() {
        let mut record = searched();
        for trial in &mut record.trials {
            let digest = trial.trial.0.wrapping_mul(2_654_435_761) >> 8;
            *trial = crate::records::run::TrialRecord {
                configuration: trial.configuration.clone(),
                ..finished(trial.trial.0, f64::from(digest))
            };
        }
        assert_eq!(importance(&record, &parameters(&record)), None);
    }

    #[test]
    fn a_few_trials_are_too_few() {
        let mut record = searched();
        record.trials.truncate(TRIALS_MIN - 1);
        assert_eq!(importance(&record, &parameters(&record)), None);
    }

    #[test]
    fn equal_errors_share_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, f64::INFINITY, 0.0]), [0.625, 0.25, 0.625, 1.0, 0.0]);
        assert_eq!(ranks(&[2.0]), [0.0]);
    }

    #[test]
    fn many_values_become_a_few_levels_of_equal_weight() {
        let trials = (0..960).map(|trial| {
            let mut record = finished(trial, 0.1);
            record.configuration = configuration(&[("x", Value::Real(f64::from(trial)))]);
            record
        });
        let record = run(trials.collect());
        let parameters = parameters(&record);
        let places: Vec<_> = (0..960).collect();
        let (count, levels) = levels(&parameters[0], &places, &vec![0.0; 960]);
        assert_eq!((count, levels[0], levels[959]), (LEVELS_MAX, 0, LEVELS_MAX - 1));
        assert_eq!(levels.iter().filter(|level| **level == 5).count(), 40);
    }
}
