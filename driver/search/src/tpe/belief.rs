//! How the good results and the others lie along one parameter.
//!
//! Both densities are sums of products with one factor a parameter, each of which has an integral of 1. So the density of one
//! parameter whatever the others are, the marginal one, is the same sum with its factor alone: no draw is needed. They are
//! told over an even density, whose value is 1, for ranges, lists and words alike.
//!
//! The sampler compares whole configurations, `l(x) / g(x)`; the ratio of two marginal densities is not the same, since a
//! value may be good in company alone. It is what such a picture can show (Watanabe, "Tree-structured Parzen estimator:
//! understanding its algorithm components", 2023, draws the same).

use std::sync::Arc;

use super::{RESULTS_MIN, Tpe};
use crate::belief::{Belief, Believed, DensityPair, steps};
use crate::sampler::Knowledge;

impl Tpe {
    /// What is believed given the results and what is under way, as when it picks.
    pub(super) fn marginals(&self, parameters: &[&str], knowledge: Knowledge<'_>) -> Vec<Belief> {
        let mut asked = self.clone();
        asked.tried.note(knowledge);
        if asked.tried.observed_count() < RESULTS_MIN {
            return Vec::new();
        }
        let sides = asked.sides(knowledge);
        let belief = |parameter: &&str| {
            let own = asked
                .groups
                .iter()
                .zip(&sides)
                .find_map(|(group, sides)| Some((group.coordinate(parameter)?, sides)));
            let ((number, coordinate), (of_good, of_others)) = own?;
            let pair = |(place, value)| {
                let [good, others] = [of_good, of_others].map(|side| libm::exp(side.log_beyond_even(number, place)));
                DensityPair { value, good, others }
            };
            let pairs = steps(coordinate).into_iter().map(pair).collect();
            Some(Belief { parameter: Arc::clone(&coordinate.name), believed: Believed::Densities(pairs) })
        };
        parameters.iter().filter_map(belief).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use broadsweep_common::configuration::{Configuration, Value};

    use super::*;
    use crate::condition::Condition;
    use crate::sampler::{IN_FULL, Observation, Sampler};
    use crate::sobol::SobolPoints;
    use crate::space::{Domain, Space};

    /// A learning rate, a number of layers, an activation, and a parameter that does nothing.
    fn space() -> Space {
        let words = ["elu", "relu", "tanh"].map(|word| Value::Choice(word.to_owned()));
        [
            ("activation", Domain::Values(words.into())),
            ("idle", Domain::Reals { min: 0.0, max: 1.0, log: false, count: None }),
            ("layers", Domain::Integers { min: 1, max: 6, log: true, count: None }),
            ("rate", Domain::Reals { min: 1e-4, max: 1.0, log: true, count: None }),
        ]
        .map(|(name, domain)| (name.to_owned(), domain))
        .into()
    }

    /// Least at a rate of 0.01, with two layers of relu.
    fn loss(configuration: &Configuration) -> f64 {
        let part = |(name, value): (&str, &Value)| match (name, value) {
            ("rate", Value::Real(rate)) => (libm::log10(*rate) + 2.0).powi(2),
            ("layers", Value::Integer(layers)) => (layers - 2).pow(2) as f64 / 4.0,
            ("activation", Value::Choice(word)) => f64::from(u8::from(word != "relu")) / 2.0,
            _ => 0.0,
        };
        configuration.iter().map(part).sum()
    }

    fn observed(space: &Space, results: u64) -> Vec<Observation> {
        let points = SobolPoints::new(3, space);
        let result = |number| {
            let configuration = space.active(&points.at(number));
            Observation { loss: loss(&configuration), configuration, rung_epochs: IN_FULL }
        };
        (0..results).map(result).collect()
    }

    fn pairs(space: &Space, observed: &[Observation], parameter: &str) -> Vec<DensityPair> {
        let sampler = Tpe::new(1, space, 100);
        let mut beliefs = sampler.beliefs(&[parameter], Knowledge { observed, under_way: &[], decision: 0 });
        match beliefs.pop() {
            Some(Belief { parameter: own, believed: Believed::Densities(pairs) }) if &*own == parameter => pairs,
            other => panic!("{other:?}"),
        }
    }

    fn best(pairs: &[DensityPair]) -> &DensityPair {
        pairs.iter().max_by(|one, other| one.ratio().total_cmp(&other.ratio())).expect("there are some")
    }

    #[test]
    fn the_good_results_are_where_the_function_is_low_and_what_does_nothing_is_flat() {
        let (space, results) = (space(), observed(&space(), 200));
        let rates = pairs(&space, &results, "rate");
        let Value::Real(rate) = best(&rates).value else { panic!("{rates:?}") };
        assert!((libm::log10(rate) + 2.0).abs() < 0.3 && best(&rates).ratio() > 2.0, "{:?}", best(&rates));
        assert!(rates[0].ratio() < 0.5 && rates[40].ratio() < 0.5, "{rates:?}");
        assert_eq!(best(&pairs(&space, &results, "layers")).value, Value::Integer(2));
        assert_eq!(best(&pairs(&space, &results, "activation")).value, Value::Choice("relu".to_owned()));
        let idle = pairs(&space, &results, "idle");
        let apart = |pairs: &[DensityPair]| {
            pairs.iter().map(|pair| libm::fabs(libm::log(pair.ratio()))).sum::<f64>() / pairs.len() as f64
        };
        assert!(apart(&idle) < 0.25 * apart(&rates), "{} and {}", apart(&idle), apart(&rates));
    }

    #[test]
    fn densities_are_told_over_an_even_one() {
        let (space, results) = (space(), observed(&space(), 200));
        let means = |pairs: &[DensityPair], parts: &[f64]| {
            let sum =
                |of: &dyn Fn(&DensityPair) -> f64| pairs.iter().zip(parts).map(|(pair, part)| of(pair) * part).sum();
            [sum(&|pair| pair.good), sum(&|pair| pair.others)]
        };
        // By the trapezoidal rule, by the lengths of the intervals, and evenly.
        let mut trapezoids = vec![1.0 / 40.0; 41];
        (trapezoids[0], trapezoids[40]) = (1.0 / 80.0, 1.0 / 80.0);
        let edge = |edge: u32| libm::log(f64::from(edge) - 0.5);
        let intervals: Vec<_> =
            (1..=6).map(|layers| (edge(layers + 1) - edge(layers)) / (edge(7) - edge(1))).collect();
        for (parameter, parts) in [("rate", trapezoids), ("layers", intervals), ("activation", vec![1.0 / 3.0; 3])] {
            let means: [f64; 2] = means(&pairs(&space, &results, parameter), &parts);
            assert!(means.iter().all(|mean| (mean - 1.0).abs() < 0.01), "{parameter}: {means:?}");
        }
    }

    #[test]
    fn before_it_learns_it_believes_nothing_and_of_strange_parameters_never() {
        let (sampler, results) = (Tpe::new(1, &space(), 100), observed(&space(), 8));
        let beliefs = |results: &[Observation], parameters: &[&str]| {
            sampler.beliefs(parameters, Knowledge { observed: results, under_way: &[], decision: 0 }).len()
        };
        assert_eq!(beliefs(&results[..7], &["rate"]), 0);
        assert_eq!((beliefs(&results, &["rate", "idle"]), beliefs(&results, &["strange"])), (2, 0));
    }

    #[test]
    fn a_parameter_with_a_condition_is_looked_at_where_it_is_there() {
        let mut space = space();
        let condition = Condition { parent: "activation".to_owned(), values: vec![Value::Choice("relu".to_owned())] };
        space.set_conditions(BTreeMap::from([("rate".to_owned(), vec![condition])])).expect("there is no cycle");
        let rates = pairs(&space, &observed(&space, 200), "rate");
        let Value::Real(rate) = best(&rates).value else { panic!("{rates:?}") };
        assert!((libm::log10(rate) + 2.0).abs() < 0.5, "{rate}");
    }

    #[test]
    fn a_belief_is_the_same_bits_on_every_processor_and_changes_no_pick() {
        let results = observed(&space(), 30);
        let knowledge = Knowledge { observed: &results, under_way: &[], decision: 30 };
        let (mut asked, mut unasked) = (Tpe::new(1, &space(), 100), Tpe::new(1, &space(), 100));
        let beliefs = asked.beliefs(&["rate"], knowledge);
        assert_eq!(asked.next(knowledge), unasked.next(knowledge));
        assert_eq!(asked.beliefs(&["rate"], knowledge), beliefs);
        let Believed::Densities(pairs) = &beliefs[0].believed else { panic!("{beliefs:?}") };
        let ratios = [0, 20, 40].map(|place| format!("{:?}", pairs[place].ratio()));
        assert_eq!(ratios, ["0.401783525065766", "2.1657048969752157", "0.4248375430155768"]);
    }
}
