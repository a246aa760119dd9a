//! The sampler as a whole, on losses that are known.

use std::collections::BTreeSet;

use broadsweep_common::configuration::Value;
use proptest::prelude::*;

use super::*;
use crate::random::Random;
use crate::sampler::IN_FULL;
use crate::space::Domain;
use crate::toy_search::picks;

/// A learning rate, two widths, a number of layers and an activation.
fn space() -> Space {
    let words = ["elu", "gelu", "relu", "tanh"].map(|word| Value::Choice(word.to_owned()));
    [
        ("rate", Domain::Reals { min: 1e-5, max: 1.0, log: true, count: None }),
        ("layers", Domain::Integers { min: 1, max: 9, log: false, count: None }),
        ("units", Domain::Integers { min: 8, max: 512, log: true, count: None }),
        ("filters", Domain::Integers { min: 1, max: 200, log: false, count: None }),
        ("activation", Domain::Values(words.into())),
    ]
    .map(|(name, domain)| (name.to_owned(), domain))
    .into()
}

/// Least, and 0, at a rate of 0.01, 64 units, 140 filters and 4 layers of relu; rates above a half diverge.
fn loss(configuration: &Configuration) -> f64 {
    configuration
        .iter()
        .map(|(name, value)| match (name, value) {
            ("rate", Value::Real(rate)) if *rate > 0.5 => f64::INFINITY,
            ("rate", Value::Real(rate)) => (libm::log10(*rate) + 2.0).powi(2),
            ("units", Value::Integer(units)) => (libm::log2(*units as f64) - 6.0).powi(2) / 10.0,
            ("filters", Value::Integer(filters)) => (filters - 140).pow(2) as f64 / 1e4,
            ("layers" | "momentum", Value::Integer(layers)) => (layers - 4).pow(2) as f64 / 10.0,
            ("activation", Value::Choice(word)) => f64::from(u8::from(word != "relu")) / 2.0,
            other => panic!("{other:?}"),
        })
        .sum()
}

/// Numbers from -5 to 10.
fn reals(count: usize) -> Space {
    let domain = Domain::Reals { min: -5.0, max: 10.0, log: false, count: None };
    (0..count).map(|number| (format!("x{number}"), domain.clone())).collect()
}

fn numbers(configuration: &Configuration) -> Vec<f64> {
    let number = |(_, value): (&str, &Value)| if let Value::Real(real) = value { *real } else { f64::NAN };
    configuration.iter().map(number).collect()
}

/// Rosenbrock's valley: 0 where all are 1, and its parameters depend on each other.
fn valley(configuration: &Configuration) -> f64 {
    let x = numbers(configuration);
    x.windows(2).map(|pair| 100.0 * (pair[1] - pair[0] * pair[0]).powi(2) + (1.0 - pair[0]).powi(2)).sum()
}

fn search(space: &Space, seed: u64, trials: u32, lag: usize, stop: Option<usize>) -> Vec<Configuration> {
    picks(&|| Box::new(CmaEs::new(seed, space, trials)), &loss, lag, stop)
}

/// The best loss of each of five searches, the median.
fn best(sampler: impl Fn(u64) -> Box<dyn Sampler>, loss: fn(&Configuration) -> f64, lag: usize) -> f64 {
    let best_of = |seed| {
        let picked = picks(&|| sampler(seed), &loss, lag, None);
        picked.iter().map(loss).fold(f64::INFINITY, f64::min)
    };
    let mut best: Vec<_> = (0..5).map(best_of).collect();
    best.sort_by(f64::total_cmp);
    best[2]
}

#[test]
fn it_finds_far_better_configurations_than_random_draws_do() {
    let trials = 150;
    for (space, loss) in [(space(), loss as fn(&Configuration) -> f64), (reals(5), valley)] {
        let random = best(|seed| Box::new(Random::new(seed, &space, trials)), loss, 1);
        for lag in [1, 13] {
            let learned = best(|seed| Box::new(CmaEs::new(seed, &space, trials)), loss, lag);
            assert!(learned < random / 5.0, "{learned} and {random} with {lag} under way");
        }
    }
}

#[test]
fn with_many_trials_it_follows_a_bent_valley_to_its_end() {
    for (lag, most) in [(1, 0.1), (13, 1.0)] {
        let learned = best(|seed| Box::new(CmaEs::new(seed, &reals(4), 1500)), valley, lag);
        assert!(learned < most, "{learned} with {lag} under way");
    }
}

#[test]
fn a_run_that_has_converged_is_followed_by_a_larger_one_elsewhere() {
    let mut sampler = CmaEs::new(3, &reals(2), 3000);
    let mut observed = Vec::new();
    let first_members = sampler.run.as_ref().unwrap().members;
    while sampler.restarts == 0 {
        let decision = observed.len() as u64;
        let knowledge = Knowledge { observed: &observed, under_way: &[], decision };
        let (configuration, _) = sampler.next(knowledge).unwrap();
        let loss = numbers(&configuration).iter().map(|number| (number - 2.0).powi(2)).sum();
        observed.push(Observation { configuration, rung_epochs: IN_FULL, loss });
        assert!(observed.len() < 1500, "it does not converge");
    }
    let run = sampler.run.as_ref().unwrap();
    assert_eq!((run.members, sampler.restarts), (2 * first_members, 1));
    let best = observed.iter().map(|result| result.loss).fold(f64::INFINITY, f64::min);
    assert!(best < 1e-9, "{best}");
    assert!(observed.len() > 50, "{}", observed.len());
}

#[test]
fn whole_numbers_do_not_stop_to_change_before_the_best_is_found() {
    let domain = Domain::Integers { min: 0, max: 60, log: false, count: None };
    let space: Space = (0..6).map(|number| (format!("x{number}"), domain.clone())).collect();
    let bowl = |configuration: &Configuration| {
        let square = |(_, value): (&str, &Value)| match value {
            Value::Integer(number) => (number - 17).pow(2) as f64,
            other => panic!("{other:?}"),
        };
        configuration.iter().enumerate().map(|(place, one)| square(one) * libm::pow(10.0, place as f64 / 2.0)).sum()
    };
    let learned = best(|seed| Box::new(CmaEs::new(seed, &space, 1000)), bowl, 1);
    assert!(learned <= 0.0, "{learned}");
}

#[test]
fn results_without_a_number_and_configurations_of_another_space_are_no_harm() {
    let tried = TriedConfigurations::new(1, &space(), 50);
    let mut sampler = CmaEs::new(1, &space(), 200);
    let mut observed = Vec::new();
    for decision in 0..200 {
        let knowledge = Knowledge { observed: &observed, under_way: &[], decision };
        let (configuration, _) = sampler.next(knowledge).expect("there is always another");
        assert!(configuration.names().eq(space().keys().map(String::as_str)));
        let foreign = Configuration::from_iter([("other", Value::Integer(decision as i64))]);
        for configuration in
            [configuration, foreign, tried.admitted_at(&tried.even_point(decision).unwrap()).unwrap()]
        {
            let loss = if decision % 2 == 0 { f64::INFINITY } else { f64::NAN };
            observed.push(Observation { configuration, rung_epochs: IN_FULL, loss });
        }
    }
}

#[test]
fn the_picks_are_the_same_bits_on_every_processor() {
    let last = search(&space(), 7, 120, 3, None).pop().unwrap();
    assert_eq!(last.to_string(), "activation=relu filters=106 layers=5 rate=0.010243572479193701 units=82");
}

#[test]
fn what_was_drawn_is_known_again_from_its_decision() {
    let mut sampler = CmaEs::new(5, &space(), 100);
    for decision in 0..50 {
        let knowledge = Knowledge { observed: &[], under_way: &[], decision };
        let (configuration, _) = sampler.next(knowledge).unwrap();
        let member = sampler.member(0, &configuration).expect("it was drawn");
        assert_eq!(
            (sampler.tried.admitted_at(&sampler.point(&member.genotype)), member.age),
            (Some(configuration), 0)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_search_that_is_told_what_it_picked_goes_on_where_it_stood(seed: u64, lag in 1_usize..20, stop in 0_usize..100) {
        let all = search(&space(), seed, 100, lag, None);
        prop_assert_eq!(search(&space(), seed, 100, lag, Some(stop)), all);
    }

    #[test]
    fn a_space_that_has_an_end_is_taken_in_full_and_nothing_twice(seed: u64, lag in 1_usize..9, large: bool) {
        let size = if large { 100 } else { 4 };
        let space = Space::from([
            ("layers".to_owned(), Domain::Integers { min: 1, max: size, log: true, count: None }),
            ("momentum".to_owned(), Domain::Values([5, 9].map(Value::Integer).into())),
        ]);
        let picked = search(&space, seed, 1000, lag, None);
        let different: BTreeSet<_> = picked.iter().map(Configuration::digest).collect();
        prop_assert_eq!((picked.len(), different.len()), (2 * size as usize, 2 * size as usize));
    }

    #[test]
    fn spaces_of_choices_alone_and_without_parameters_are_no_harm(seed: u64, words in 0_usize..5) {
        let domain = Domain::Values(["a", "b"].map(|word| Value::Choice(word.to_owned())).into());
        let space: Space = (0..words).map(|number| (format!("x{number}"), domain.clone())).collect();
        let loss = |configuration: &Configuration| configuration.text_bytes() as f64;
        let picked = picks(&|| Box::new(CmaEs::new(seed, &space, 100)), &loss, 2, None);
        prop_assert_eq!(picked.len(), 1 << words);
    }
}
