//! The sampler as a whole, on losses that are known.

use std::collections::BTreeSet;

use broadsweep_common::configuration::Value;
use proptest::prelude::*;

use super::*;
use crate::sampler::IN_FULL;
use crate::space::Domain;
use crate::toy_search::picks;

/// A learning rate, a number of layers and an activation.
fn space() -> Space {
    let words = ["elu", "gelu", "relu", "tanh"].map(|word| Value::Choice(word.to_owned()));
    [
        ("rate", Domain::Reals { min: 1e-5, max: 1.0, log: true, count: None }),
        ("layers", Domain::Integers { min: 1, max: 9, log: false, count: None }),
        ("units", Domain::Integers { min: 8, max: 512, log: true, count: None }),
        ("activation", Domain::Values(words.into())),
    ]
    .map(|(name, domain)| (name.to_owned(), domain))
    .into()
}

/// Least, and 0, at a rate of 0.01, 64 units and 4 layers of relu; rates above a half diverge.
fn loss(configuration: &Configuration) -> f64 {
    configuration
        .iter()
        .map(|(name, value)| match (name, value) {
            ("rate", Value::Real(rate)) if *rate > 0.5 => f64::INFINITY,
            ("rate", Value::Real(rate)) => (libm::log10(*rate) + 2.0).powi(2),
            ("units", Value::Integer(units)) => (libm::log2(*units as f64) - 6.0).powi(2) / 10.0,
            ("layers" | "momentum", Value::Integer(layers)) => (layers - 4).pow(2) as f64 / 10.0,
            ("activation", Value::Choice(word)) => f64::from(u8::from(word != "relu")) / 2.0,
            other => panic!("{other:?}"),
        })
        .sum()
}

/// What a search with so many under way picks; after `stop` decisions it is told of them anew, as by a later driver.
fn search(space: &Space, seed: u64, trials: u32, lag: usize, stop: Option<usize>) -> Vec<Configuration> {
    picks(&|| Box::new(Gaussian::new(seed, space, trials)), &loss, lag, stop)
}

fn best(picked: &[Configuration]) -> f64 {
    picked.iter().map(loss).fold(f64::INFINITY, f64::min)
}

#[test]
fn it_finds_far_better_configurations_than_even_points_do() {
    for lag in [1, 13] {
        let of_seeds = |trial: &dyn Fn(u64) -> f64| (0..5).map(trial).sum::<f64>() / 5.0;
        let learned = of_seeds(&|seed| best(&search(&space(), seed, 50, lag, None)));
        let even = of_seeds(&|seed| {
            let tried = TriedConfigurations::new(seed, &space(), 50);
            best(&(0..50).filter_map(|number| tried.new_even(number)).collect::<Vec<_>>())
        });
        assert!(learned < even / 5.0, "{learned} and {even} with {lag} under way");
    }
}

#[test]
fn results_without_a_number_and_configurations_of_another_space_are_no_harm() {
    let tried = TriedConfigurations::new(1, &space(), 50);
    for all_foreign in [false, true] {
        let observed: Vec<_> = (0..20)
            .map(|number| {
                let foreign = Configuration::from_iter([("other", Value::Integer(number as i64))]);
                let own = tried.new_even(number).filter(|_| number % 2 == 0 && !all_foreign);
                Observation { configuration: own.unwrap_or(foreign), rung_epochs: IN_FULL, loss: f64::INFINITY }
            })
            .collect();
        let mut sampler = Gaussian::new(1, &space(), 100);
        let (configuration, _) = sampler
            .next(Knowledge { observed: &observed, under_way: &[], decision: 20 })
            .expect("there is always another");
        assert!(configuration.names().eq(space().keys().map(String::as_str)));
    }
}

#[test]
fn the_picks_are_the_same_bits_on_every_processor() {
    let last = search(&space(), 7, 24, 3, None).pop().unwrap();
    assert_eq!(last.to_string(), "activation=relu layers=5 rate=0.012192950496216055 units=43");
}

#[test]
fn a_unit_point_stands_for_the_point_that_it_was_made_of() {
    let tried = TriedConfigurations::new(1, &space(), 0);
    for number in 0..100 {
        let point = tried.even_point(number).unwrap();
        let unit = unit_point(&tried.coordinates, &point);
        assert!(unit.iter().zip(&tried.coordinates).all(|(place, coordinate)| {
            matches!(coordinate.kind, PlaceKind::Choices(_)) || (0.0..=1.0).contains(place)
        }));
        assert_eq!(point_at(&tried.coordinates, &unit), point);
    }
}

#[test]
fn of_many_results_the_best_and_the_last_are_looked_at() {
    let result = |number: u32| Levelled {
        number: number as usize,
        loss: if number == 900 { f64::NAN } else { f64::from(number) },
    };
    let looked_at = chosen((0..1000).map(result).collect());
    let others = RESULTS_MAX - BEST_RESULTS_MAX;
    let numbers = looked_at.iter().map(|known| known.number);
    assert!(numbers.eq((0..BEST_RESULTS_MAX).chain(1000 - others..1000)), "{looked_at:?}");
    assert_eq!(chosen((0..250).map(result).collect()).len(), 250);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_search_that_is_told_what_it_picked_goes_on_where_it_stood(seed: u64, lag in 1_usize..9, stop in 0_usize..30) {
        let all = search(&space(), seed, 30, lag, None);
        prop_assert_eq!(search(&space(), seed, 30, lag, Some(stop)), all);
    }

    #[test]
    fn a_space_that_has_an_end_is_taken_in_full_and_nothing_twice(seed: u64, lag in 1_usize..9, large: bool) {
        let size = if large { 30 } else { 4 };
        let space = Space::from([
            ("layers".to_owned(), Domain::Integers { min: 1, max: size, log: true, count: None }),
            ("momentum".to_owned(), Domain::Values([5, 9].map(Value::Integer).into())),
        ]);
        let picked = search(&space, seed, 1000, lag, None);
        let different: BTreeSet<_> = picked.iter().map(Configuration::digest).collect();
        prop_assert_eq!((picked.len(), different.len()), (2 * size as usize, 2 * size as usize));
    }
}
