//! The sampler as a whole, on losses that are known.

use std::collections::BTreeSet;

use broadsweep_common::configuration::Value;
use proptest::prelude::*;

use super::*;
use crate::sampler::{IN_FULL, Observation};
use crate::sobol::SobolPoints;
use crate::space::Domain;
use crate::toy_search::picks;

/// A learning rate, a width, a number of layers and an activation.
fn space() -> Space {
    let words = ["elu", "gelu", "relu", "tanh"].map(|word| Value::Choice(word.to_owned()));
    [
        ("rate", Domain::Reals { min: 1e-5, max: 1.0, log: true, count: None }),
        ("units", Domain::Integers { min: 8, max: 512, log: true, count: None }),
        ("layers", Domain::Integers { min: 1, max: 5, log: false, count: None }),
        ("activation", Domain::Values(words.into())),
        ("momentum", Domain::Values([0.0, 0.5, 0.9, 0.99].map(Value::Real).into())),
    ]
    .map(|(name, domain)| (name.to_owned(), domain))
    .into()
}

/// Least, and 0, at a rate of 0.01, 64 units, 2 layers of relu, and a momentum of 0.9.
fn loss(configuration: &Configuration) -> f64 {
    configuration
        .iter()
        .map(|(name, value)| match (name, value) {
            ("rate", Value::Real(rate)) => (libm::log10(*rate) + 2.0).powi(2),
            ("units", Value::Integer(units)) => (libm::log2(*units as f64) - 6.0).powi(2) / 10.0,
            ("layers", Value::Integer(layers)) => (layers - 2).pow(2) as f64,
            ("activation", Value::Choice(word)) => f64::from(u8::from(word != "relu")) / 2.0,
            ("momentum", Value::Real(momentum)) => (momentum - 0.9).abs(),
            other => panic!("{other:?}"),
        })
        .sum()
}

/// What a search with so many under way picks; after `stop` decisions it is told of them anew, as by a later driver.
fn search(space: &Space, seed: u64, trials: u32, lag: usize, stop: Option<usize>) -> Vec<Configuration> {
    picks(&|| Box::new(Tpe::new(seed, space, trials)), &loss, lag, stop)
}

fn best(picked: &[Configuration]) -> f64 {
    picked.iter().map(loss).fold(f64::INFINITY, f64::min)
}

#[test]
fn it_finds_better_configurations_than_even_points_do() {
    for lag in [1, 13] {
        let of_seeds = |trial: &dyn Fn(u64) -> f64| (0..5).map(trial).sum::<f64>() / 5.0;
        let learned = of_seeds(&|seed| best(&search(&space(), seed, 100, lag, None)));
        let even = of_seeds(&|seed| {
            let points = SobolPoints::new(seed, &space());
            best(&(0..100).map(|number| points.at(number)).collect::<Vec<_>>())
        });
        assert!(learned < even / 1.5, "{learned} and {even} with {lag} under way");
    }
}

#[test]
fn results_without_a_number_and_configurations_of_another_space_are_no_harm() {
    let observed: Vec<_> = (0..20)
        .map(|number| {
            let configuration = match number % 2 {
                0 => SobolPoints::new(1, &space()).at(number),
                _ => Configuration::from_iter([("other", Value::Integer(number as i64))]),
            };
            Observation { configuration, rung_epochs: IN_FULL, loss: f64::INFINITY }
        })
        .collect();
    let mut sampler = Tpe::new(1, &space(), 100);
    let (configuration, _) = sampler
        .next(Knowledge { observed: &observed, under_way: &[], decision: 20 })
        .expect("there is always another");
    assert!(configuration.names().eq(space().keys().map(String::as_str)));
}

/// Results in their order, as if each were of another configuration.
fn results(losses: impl IntoIterator<Item = f64>) -> Vec<Levelled> {
    losses.into_iter().enumerate().map(|(number, loss)| Levelled { number, loss }).collect()
}

#[test]
fn the_best_tenth_is_good_and_of_equal_losses_the_earlier_one() {
    let losses = [4.0, f64::INFINITY, 1.0, 1.0, 0.5, 3.0, 2.0, f64::INFINITY, 9.0, 8.0, 7.0];
    assert_eq!(split(results(losses)), (vec![4, 2], vec![3, 6, 5, 0, 10, 9, 8, 1, 7]));
    assert_eq!(split(results([f64::INFINITY])), (vec![], vec![0]));
}

#[test]
fn the_last_result_of_a_trial_counts_as_what_the_highest_rung_would_have_said() {
    let mut sampler = Tpe::new(1, &space(), 100);
    let points = [1, 2, 3].map(|number| SobolPoints::new(1, &space()).at(number));
    let [first, second, third] = &points;
    let observed = [(first, 1, 5.0), (second, 1, 4.0), (first, 3, 2.5), (third, 1, 4.5)];
    let observed = observed.map(|(configuration, rung_epochs, loss)| Observation {
        configuration: configuration.clone(),
        rung_epochs,
        loss,
    });
    sampler.tried.note(Knowledge { observed: &observed, under_way: &[], decision: 3 });
    let known = sampler.tried.levelled(&observed);
    let expected = [(1, 1.5), (2, 2.5), (3, 2.0)].map(|(number, loss)| Levelled { number, loss });
    assert_eq!(known, expected);
    assert_eq!(split(known), (vec![1], vec![3, 2]), "who went on first is not the best for good");
}

#[test]
fn of_many_results_the_worst_are_left_out() {
    let (good, bad) = split(results((0..10_000).map(|number| f64::from(number % 1000))));
    assert_eq!((good.len(), bad.len()), (GOOD_MAX, BAD_MAX));
    assert_eq!((&good[..11], bad[399]), (&[0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 1][..], 4042));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_search_that_is_told_what_it_picked_goes_on_where_it_stood(seed: u64, lag in 1_usize..9, stop in 0_usize..40) {
        let all = search(&space(), seed, 40, lag, None);
        prop_assert_eq!(search(&space(), seed, 40, lag, Some(stop)), all);
    }

    #[test]
    fn a_space_that_has_an_end_is_taken_in_full_and_nothing_twice(seed: u64, lag in 1_usize..9, large: bool) {
        let size = if large { 100 } else { 7 };
        let space = Space::from([
            ("layers".to_owned(), Domain::Integers { min: 1, max: size, log: true, count: None }),
            ("momentum".to_owned(), Domain::Values([0.5, 0.9].map(Value::Real).into())),
        ]);
        let picked = search(&space, seed, 1000, lag, None);
        let different: BTreeSet<_> = picked.iter().map(Configuration::digest).collect();
        prop_assert_eq!((picked.len(), different.len()), (2 * size as usize, 2 * size as usize));
    }
}
