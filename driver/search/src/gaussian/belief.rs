//! What the process expects along one parameter: its partial dependence (Friedman, "Greedy function approximation: a gradient
//! boosting machine", 2001), with the uncertainty that the process has of it (Moosbauer, Herbinger, Casalicchio, Lindauer,
//! Bischl, "Explaining hyperparameter optimization via partial dependence plots", 2021, 4.1).
//!
//! The others stand where points are that fill the space evenly, `x₁` to `xₛ`. With a value `v` of the parameter in each,
//! what is looked at is `g(v) = 1/S Σ f(v, xᵢ)`. As a mean of values of a process it is normally distributed, with the mean
//! `1/S Σ m(v, xᵢ)` and the variance `1/S² Σᵢⱼ c((v, xᵢ), (v, xⱼ))`, where `m` and `c` are the mean and the covariance of the
//! process given the results. No draw is needed for that: with `k(v) = 1/S Σ k((v, xᵢ), X)`, they are `k(v)ᵀ K⁻¹ z` and
//! `1/S² Σᵢⱼ k((v, xᵢ), (v, xⱼ)) - k(v)ᵀ K⁻¹ k(v)`.
//!
//! The process follows warped losses. The mean over the others is taken of these, which a few losses that are thousands of
//! times too large do not rule, and then it is taken back with its deviations: a warp that ascends keeps quantiles, so what
//! was a mean, which is the median of a normal distribution, is the median of the loss.
//!
//! Points where the parameter is not there, or which with this value break a constraint, are left out; a parameter that is
//! there only with this value stands in them where it does for the process.

use std::sync::Arc;

use super::fit::{LogScales, covariance, first_logs, fitted};
use super::posterior::Posterior;
use super::warp::Warp;
use super::{FIT_CALLS_MAX, Gaussian, RESULTS_MIN};
use crate::belief::{Belief, Believed, ExpectedLoss, steps};
use crate::coordinate::Coordinate;
use crate::sampler::Knowledge;
use crate::tried::TriedConfigurations;
use crate::unit_point::{UnitPoint, unit_point};

/// Evenly spread points over which the other parameters are averaged.
const OTHERS: usize = 64;
/// Points looked at to find so many in which the parameter is there.
const OTHERS_TRIES_MAX: u64 = 1024;

impl Gaussian {
    /// What is believed given all results, and not what is under way: the covariance is fitted to them anew, so that this
    /// depends on nothing that was asked before.
    pub(super) fn marginals(&self, parameters: &[&str], knowledge: Knowledge<'_>) -> Vec<Belief> {
        let mut asked = self.clone();
        asked.tried.note(knowledge);
        if asked.tried.observed_count() < RESULTS_MIN {
            return Vec::new();
        }
        let (points, losses, warp) = asked.results(knowledge.observed);
        let starts: [LogScales; 1] = [first_logs(asked.is_ordered.len())];
        let logs = fitted(&asked.is_ordered, &points, &losses, &starts, FIT_CALLS_MAX);
        let Some(posterior) = Posterior::new(covariance(&asked.is_ordered, &logs), points, &losses) else {
            return Vec::new();
        };
        parameters.iter().filter_map(|parameter| marginal(&asked.tried, parameter, &posterior, &warp)).collect()
    }
}

fn marginal(tried: &TriedConfigurations, parameter: &str, posterior: &Posterior<'_>, warp: &Warp) -> Option<Belief> {
    let number = tried.coordinates.iter().position(|coordinate| &*coordinate.name == parameter)?;
    let coordinate = &tried.coordinates[number];
    let with = |point: &[f64], place: f64| {
        let mut changed = point.to_vec();
        changed[number] = place;
        unit_with(tried, coordinate, &changed)
    };
    let even = (0..OTHERS_TRIES_MAX).filter_map(|point| tried.even_point(point));
    let others: Vec<_> = even.filter(|point| unit_with(tried, coordinate, point).is_some()).take(OTHERS).collect();
    let expected = steps(coordinate).into_iter().filter_map(|(place, value)| {
        let points: Vec<_> = others.iter().filter_map(|point| with(point, place)).collect();
        let (mean, deviation) = posterior.of_mean(&points)?;
        let [low, median, high] = [mean - deviation, mean, mean + deviation].map(|warped| warp.back(warped));
        Some(ExpectedLoss { value, median, low, high })
    });
    let expected: Vec<_> = expected.collect();
    if expected.is_empty() {
        return None;
    }
    Some(Belief { parameter: Arc::clone(&coordinate.name), believed: Believed::Losses(expected) })
}

/// Where the process sees a point, if the space admits it and the parameter is there.
fn unit_with(tried: &TriedConfigurations, coordinate: &Coordinate, point: &[f64]) -> Option<UnitPoint> {
    let configuration = tried.admitted_at(point)?;
    configuration.get(&coordinate.name)?;
    Some(unit_point(&tried.coordinates, &tried.point(&configuration)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use broadsweep_common::configuration::{Configuration, Value};

    use super::*;
    use crate::condition::Condition;
    use crate::sampler::{IN_FULL, Observation, Sampler};
    use crate::space::{Domain, Space};

    /// A learning rate, an activation, and a parameter that does nothing.
    fn space() -> Space {
        let words = ["elu", "relu", "tanh"].map(|word| Value::Choice(word.to_owned()));
        [
            ("activation", Domain::Values(words.into())),
            ("idle", Domain::Reals { min: 0.0, max: 1.0, log: false, count: None }),
            ("rate", Domain::Reals { min: 1e-4, max: 1.0, log: true, count: None }),
        ]
        .map(|(name, domain)| (name.to_owned(), domain))
        .into()
    }

    /// Least at a rate of 0.01 and with relu.
    fn loss(configuration: &Configuration) -> f64 {
        let Some(Value::Real(rate)) = configuration.get("rate") else { panic!("{configuration}") };
        let is_relu = configuration.get("activation") == Some(&Value::Choice("relu".to_owned()));
        (libm::log10(*rate) + 2.0).powi(2) + if is_relu { 0.1 } else { 0.6 }
    }

    fn observed(space: &Space, results: u64, loss: impl Fn(&Configuration) -> f64) -> Vec<Observation> {
        let tried = TriedConfigurations::new(3, space, 0);
        let result = |configuration: Configuration| {
            let loss = loss(&configuration);
            Observation { configuration, rung_epochs: IN_FULL, loss }
        };
        (0..results).filter_map(|number| tried.new_even(number)).map(result).collect()
    }

    fn believed(space: &Space, observed: &[Observation], parameter: &str) -> Vec<ExpectedLoss> {
        let sampler = Gaussian::new(1, space, 100);
        let mut beliefs = sampler.beliefs(&[parameter], Knowledge { observed, under_way: &[], decision: 0 });
        match beliefs.pop() {
            Some(Belief { parameter: own, believed: Believed::Losses(losses) }) if &*own == parameter => losses,
            other => panic!("{other:?}"),
        }
    }

    fn best(losses: &[ExpectedLoss]) -> &ExpectedLoss {
        losses.iter().min_by(|one, other| one.median.total_cmp(&other.median)).expect("there are some")
    }

    fn span(losses: &[ExpectedLoss]) -> f64 {
        let largest = losses.iter().map(|one| one.median).fold(f64::NEG_INFINITY, f64::max);
        largest - best(losses).median
    }

    #[test]
    fn the_best_value_is_that_of_the_function_and_what_does_nothing_is_flat() {
        let (space, results) = (space(), observed(&space(), 60, loss));
        let rates = believed(&space, &results, "rate");
        let Value::Real(rate) = best(&rates).value else { panic!("{rates:?}") };
        assert!((libm::log10(rate) + 2.0).abs() < 0.2 && rates.len() == 41, "{rate}");
        let words = believed(&space, &results, "activation");
        assert_eq!((words.len(), &best(&words).value), (3, &Value::Choice("relu".to_owned())));
        let idle = believed(&space, &results, "idle");
        assert!(span(&idle) < 0.02 * span(&rates), "{} and {}", span(&idle), span(&rates));
        for one in rates.iter().chain(&words).chain(&idle) {
            assert!(one.low < one.median && one.median < one.high, "{one:?}");
        }
    }

    #[test]
    fn it_is_the_mean_over_the_others_of_a_function_that_is_known() {
        // Without a part of the activation, the process has to find the rate's alone, which is flat in the others.
        let of_rate = |configuration: &Configuration| match configuration.get("rate") {
            Some(Value::Real(rate)) => 1.0 + (libm::log10(*rate) + 2.0).powi(2),
            other => panic!("{other:?}"),
        };
        for one in believed(&space(), &observed(&space(), 100, of_rate), "rate") {
            let Value::Real(rate) = one.value else { panic!("{one:?}") };
            let true_loss = 1.0 + (libm::log10(rate) + 2.0).powi(2);
            assert!((one.median - true_loss).abs() < 0.1 * true_loss, "{one:?}, not {true_loss}");
        }
    }

    #[test]
    fn where_there_are_no_results_it_is_less_certain() {
        let mut results = observed(&space(), 80, loss);
        results.retain(|result| match result.configuration.get("rate") {
            Some(Value::Real(rate)) => *rate < 0.02,
            _ => false,
        });
        let rates = believed(&space(), &results, "rate");
        let width = |one: &ExpectedLoss| (one.high - one.low) / one.median;
        assert!(width(&rates[40]) > 3.0 * width(&rates[8]), "{:?} {:?}", rates[40], rates[8]);
    }

    #[test]
    fn before_it_learns_it_believes_nothing_and_of_strange_parameters_never() {
        let sampler = Gaussian::new(1, &space(), 100);
        let beliefs = |results: &[Observation], parameters: &[&str]| {
            sampler.beliefs(parameters, Knowledge { observed: results, under_way: &[], decision: 0 }).len()
        };
        let results = observed(&space(), 8, loss);
        assert_eq!(beliefs(&results[..7], &["rate"]), 0);
        assert_eq!((beliefs(&results, &["rate", "idle"]), beliefs(&results, &["strange"])), (2, 0));
    }

    #[test]
    fn a_parameter_with_a_condition_is_looked_at_where_it_is_there() {
        let mut space = space();
        let condition = Condition { parent: "activation".to_owned(), values: vec![Value::Choice("elu".to_owned())] };
        space.set_conditions(BTreeMap::from([("idle".to_owned(), vec![condition])])).expect("there is no cycle");
        // It counts where it is there, and only there.
        let of_idle = |configuration: &Configuration| match configuration.get("idle") {
            Some(Value::Real(idle)) => 0.1 + (idle - 0.25).powi(2),
            _ => 3.0,
        };
        let idle = believed(&space, &observed(&space, 120, of_idle), "idle");
        let Value::Real(least) = best(&idle).value else { panic!("{idle:?}") };
        assert!((least - 0.25).abs() < 0.1 && best(&idle).median < 0.5, "{least} {:?}", best(&idle));
    }

    #[test]
    fn a_belief_is_the_same_bits_on_every_processor_and_changes_no_pick() {
        let results = observed(&space(), 30, loss);
        let knowledge = Knowledge { observed: &results, under_way: &[], decision: 30 };
        let (mut asked, mut unasked) = (Gaussian::new(1, &space(), 100), Gaussian::new(1, &space(), 100));
        let beliefs = asked.beliefs(&["rate"], knowledge);
        assert_eq!(asked.next(knowledge), unasked.next(knowledge));
        assert_eq!(asked.beliefs(&["rate"], knowledge), beliefs);
        let Believed::Losses(losses) = &beliefs[0].believed else { panic!("{beliefs:?}") };
        let medians = [0, 20, 40].map(|place| format!("{:?}", losses[place].median));
        assert_eq!(medians, ["4.374049978333485", "0.40987719873478157", "4.3922624025921495"]);
    }
}
