//! How much each searched parameter has to do with being among the best trials, by PED-ANOVA.
//!
//! It needs no trial to have every parameter, as a forest does: one that some trials lack is compared among those that
//! have it. What the study said of the space is not in a record; it is taken to be as wide as the trials are.

use std::collections::BTreeSet;

use broadsweep_common::configuration::Value;
use broadsweep_search::importance::importances;
use broadsweep_search::space::{Domain, Space};

use super::importance::{TRIALS_MIN, ended, sampled};
use super::parameters::{Parameter, Scale};
use crate::records::run::RunRecord;

/// The best are one trial of so many.
const PART: usize = 10;
/// But no fewer than this: densities of three or four trials are hardly any.
const BEST_MIN: usize = 5;

/// How much the parameters count for being among the best.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AmongBest {
    /// Each parameter, the one that counts most first.
    pub(super) ranked: Vec<ShareAmongBest>,
    /// How many trials are the best.
    pub(super) best: usize,
    /// Of how many.
    pub(super) trials: usize,
}

/// How much one of them counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ShareAmongBest {
    /// Its place among the run's parameters.
    pub(super) place: usize,
    /// Its share of what all of them have to do with it, from 0 to 1.
    pub(super) share: f64,
    /// Where nine of ten such shares are, if the trials are drawn again.
    pub(super) interval: [f64; 2],
}

/// What counts for being among the best; `None` where too few trials ended, or where nothing but chance is seen.
pub(super) fn among_best(run: &RunRecord, parameters: &[Parameter<'_>]) -> Option<AmongBest> {
    let ended = sampled(ended(run).collect());
    let trials = ended.len();
    if trials < TRIALS_MIN {
        return None;
    }
    let space: Space = parameters
        .iter()
        .filter_map(|parameter| Some((parameter.name.to_owned(), domain(parameter, &ended)?)))
        .collect();
    let wanted = trials.div_ceil(PART).max(BEST_MIN);
    // In the middle of a step, so that no rounding makes it one more.
    let top = (wanted as f64 - 0.5) / trials as f64;
    let with_losses: Vec<_> = ended.iter().map(|(trial, loss)| (&run.trials[*trial].configuration, *loss)).collect();
    let found = importances(&space, &with_losses, top, run.seed)?;
    let ranked = found.into_iter().filter_map(|one| {
        let place = parameters.iter().position(|parameter| parameter.name == one.name)?;
        Some(ShareAmongBest { place, share: one.share, interval: one.interval })
    });
    let unfailed = ended.iter().filter(|(_, loss)| loss.is_finite()).count();
    Some(AmongBest { ranked: ranked.collect(), best: wanted.min(unfailed), trials })
}

/// What the trials that ended have of a parameter: a range of many numbers, a list of a few or of words. `None` where all
/// have the same.
fn domain(parameter: &Parameter<'_>, ended: &[(usize, f64)]) -> Option<Domain> {
    let places: BTreeSet<usize> = ended.iter().filter_map(|(trial, _)| parameter.places[*trial]).collect();
    let (first, last) = (*places.first()?, *places.last()?);
    if first == last {
        return None;
    }
    let (min, max) = (parameter.position(first), parameter.position(last));
    let log = parameter.scale == Scale::Logarithmic;
    // A few numbers were chosen one by one: as a range they would leave gaps that no density is meant for.
    if !parameter.is_numeric() || parameter.is_discrete() || !min.is_finite() || !max.is_finite() {
        return Some(Domain::Values(places.into_iter().map(|place| parameter.values[place].clone()).collect()));
    }
    let are_whole = parameter.values.iter().all(|value| matches!(value, Value::Integer(_)));
    Some(match (parameter.values[first], parameter.values[last]) {
        (Value::Integer(min), Value::Integer(max)) if are_whole => {
            Domain::Integers { min: *min, max: *max, log, count: None }
        }
        _ => Domain::Reals { min, max, log, count: None },
    })
}

#[cfg(test)]
mod tests {
    use super::super::importance::importance;
    use super::super::parameters::parameters;
    use super::*;
    use crate::records::run::{TrialOutcome, TrialRecord};
    use crate::results::fixtures::{configuration, diverged, finished, run};

    /// So many trials whose error comes from the rate alone, which diverge where it is large; `words` does nothing.
    fn searched(trials: u32) -> RunRecord {
        let trials = (0..trials).map(|trial| {
            let rate = libm::pow(10.0, -4.0 + 4.0 * f64::from(trial % 24) / 23.0);
            let error = (libm::log10(rate) + 2.0).abs() / 4.0 + 0.01;
            let made = if rate > 0.5 { diverged(trial, 1) } else { finished(trial, error) };
            let word = ["relu", "tanh", "gelu"][trial as usize % 7 % 3];
            let values = [("rate", Value::Real(rate)), ("words", Value::Choice(word.into()))];
            TrialRecord { configuration: configuration(&values), ..made }
        });
        run(trials.collect())
    }

    fn found(record: &RunRecord) -> Option<AmongBest> {
        among_best(record, &parameters(record))
    }

    #[test]
    fn what_the_best_have_in_common_counts() {
        let found = found(&searched(120)).unwrap();
        assert_eq!((found.best, found.trials), (12, 120));
        let [first, second] = found.ranked[..] else { panic!("{found:?}") };
        assert_eq!((first.place, second.place), (0, 1));
        assert!(first.share > 0.8 && first.interval[0] > 0.5 && second.interval[0] < 0.05, "{found:?}");
        assert_eq!(self::found(&searched(120)).unwrap(), found, "the run's seed decides");
    }

    #[test]
    fn of_few_trials_five_are_the_best_and_of_fewer_nothing_is_told() {
        assert_eq!(found(&searched(30)).unwrap().best, 5);
        assert_eq!(found(&searched(TRIALS_MIN as u32 - 1)), None);
    }

    #[test]
    fn a_parameter_that_some_trials_lack_is_told_of_where_a_forest_has_no_trial() {
        let mut record = searched(240);
        for trial in &mut record.trials {
            let own = trial.configuration.get("rate").unwrap().clone();
            let name = if trial.trial.0 % 2 == 0 { "rate" } else { "idle" };
            trial.configuration = configuration(&[(name, own)]);
            if name == "idle" {
                *trial = TrialRecord { configuration: trial.configuration.clone(), ..finished(trial.trial.0, 0.9) };
            }
        }
        let parameters = parameters(&record);
        assert_eq!(importance(&record, &parameters), None);
        let found = among_best(&record, &parameters).unwrap();
        assert_eq!(parameters[found.ranked[0].place].name, "rate");
        assert!(found.ranked[0].share > 0.9, "{found:?}");
    }

    #[test]
    fn paused_trials_are_left_out() {
        let mut record = searched(120);
        for trial in record.trials.iter_mut().step_by(2) {
            trial.outcome = TrialOutcome::Paused { epoch: 1 };
        }
        assert_eq!(found(&record).unwrap().trials, 60);
    }

    #[test]
    fn a_space_is_as_wide_as_its_trials() {
        let of = |values: Vec<Value>| {
            let trial = |(trial, value): (usize, Value)| TrialRecord {
                configuration: configuration(&[("x", value)]),
                ..finished(trial as u32, 0.5)
            };
            let record = run(values.into_iter().enumerate().map(trial).collect());
            domain(&parameters(&record)[0], &ended(&record).collect::<Vec<_>>()).unwrap()
        };
        let whole = (0..40).map(Value::Integer).collect();
        assert_eq!(of(whole), Domain::Integers { min: 0, max: 39, log: false, count: None });
        let ratios = (0..40).map(|place| Value::Real(libm::exp2(f64::from(place)))).collect();
        assert_eq!(of(ratios), Domain::Reals { min: 1.0, max: libm::exp2(39.0), log: true, count: None });
        let few = [1, 2, 8].map(Value::Integer).to_vec();
        assert_eq!(of(few.clone()), Domain::Values(few));
        let words = ["gelu", "relu"].map(|word| Value::Choice(word.into())).to_vec();
        assert_eq!(of(words.clone()), Domain::Values(words));
    }
}
