//! Shares of functions of which it is known what matters.

use std::sync::Arc;

use broadsweep_common::configuration::Value;
use broadsweep_common::seeds::sampler_rng;
use proptest::prelude::*;

use super::*;
use crate::space::Domain;

fn reals(names: &[&str]) -> Space {
    let domain = Domain::Reals { min: 0.0, max: 1.0, log: false, count: None };
    names.iter().map(|name| ((*name).to_owned(), domain.clone())).collect()
}

/// So many configurations, drawn at random.
fn drawn(space: &Space, trials: u64) -> Vec<Configuration> {
    let draw = |number| {
        let mut rng = sampler_rng(11, number);
        space.iter().map(|(name, domain)| (Arc::from(name.as_str()), domain.draw(&mut rng))).collect()
    };
    (0..trials).map(draw).collect()
}

fn real(configuration: &Configuration, name: &str) -> f64 {
    if let Some(Value::Real(real)) = configuration.get(name) { *real } else { f64::NAN }
}

fn found(space: &Space, trials: &[Configuration], loss: impl Fn(&Configuration) -> f64) -> Vec<ParameterImportance> {
    let trials: Vec<_> = trials.iter().map(|configuration| (configuration, loss(configuration))).collect();
    importances(space, &trials, 0.1, 7).expect("enough trials")
}

fn share_of<'a>(found: &'a [ParameterImportance], name: &str) -> &'a ParameterImportance {
    found.iter().find(|one| one.name == name).expect("it is of the space")
}

#[test]
fn one_parameter_that_matters_has_nearly_all() {
    let space = reals(&["a", "b", "c", "d"]);
    for trials in [100, 1000] {
        let found = found(&space, &drawn(&space, trials), |one| (real(one, "c") - 0.3).powi(2));
        assert_eq!(found[0].name, "c");
        assert!(found[0].share > 0.9 && found[0].interval[0] > 0.7, "{found:?}");
        assert!(found[1..].iter().all(|one| one.interval[0] < 0.01), "{found:?}");
    }
}

#[test]
fn parameters_that_matter_alike_have_like_shares_and_intervals_hold_them() {
    let space = reals(&["a", "b", "none"]);
    let square = |one: &Configuration, name| (real(one, name) - 0.6).powi(2);
    let found = found(&space, &drawn(&space, 2000), |one| square(one, "a") + square(one, "b"));
    for name in ["a", "b"] {
        let one = share_of(&found, name);
        assert!((one.share - 0.5).abs() < 0.1 && one.interval[0] < 0.5 && one.interval[1] > 0.5, "{one:?}");
    }
    assert!(share_of(&found, "none").share < 0.02, "{found:?}");
}

#[test]
fn what_only_some_configurations_have_counts_by_how_many_of_the_best_have_it() {
    let mut space = reals(&["of_elu", "of_relu"]);
    let words = ["elu", "relu"].map(|word| Value::Choice(word.to_owned()));
    space.insert("activation".to_owned(), Domain::Values(words.into()));
    let of_word = |configuration: &Configuration| {
        let activation = configuration.get("activation").cloned();
        let kept = configuration.iter().filter(|(name, _)| match &activation {
            Some(Value::Choice(word)) => *name == "activation" || *name == format!("of_{word}"),
            _ => false,
        });
        kept.map(|(name, value)| (Arc::from(name), value.clone())).collect::<Configuration>()
    };
    let trials: Vec<_> = drawn(&space, 2000).iter().map(of_word).collect();
    let is_relu = |one: &Configuration| one.get("of_relu").is_some();
    let worse = |one: &Configuration| f64::from(u8::from(!is_relu(one)));
    let by_activation = found(&space, &trials, worse);
    assert!(share_of(&by_activation, "activation").share > 0.9, "{by_activation:?}");
    let by_relu = found(&space, &trials, |one| if is_relu(one) { (real(one, "of_relu") - 0.5).abs() } else { 1.0 });
    assert_eq!(by_relu[0].name, "of_relu", "{by_relu:?}");
    assert!(share_of(&by_relu, "of_elu").share <= 0.0, "{by_relu:?}");
}

#[test]
fn choices_whole_numbers_and_failures_count_too() {
    let words = ["elu", "gelu", "relu"].map(|word| Value::Choice(word.to_owned()));
    let space: Space = [
        ("activation", Domain::Values(words.into())),
        ("layers", Domain::Integers { min: 1, max: 5, log: false, count: None }),
        ("units", Domain::Integers { min: 8, max: 512, log: true, count: None }),
    ]
    .map(|(name, domain)| (name.to_owned(), domain))
    .into();
    let is = |one: &Configuration, name: &str, value: &Value| one.get(name) == Some(value);
    let relu = Value::Choice("relu".to_owned());
    let trials = drawn(&space, 600);
    let by_word = found(&space, &trials, |one| if is(one, "activation", &relu) { 0.0 } else { f64::INFINITY });
    assert!(by_word[0].name == "activation" && by_word[0].share > 0.9, "{by_word:?}");
    let by_layers = found(&space, &trials, |one| if is(one, "layers", &Value::Integer(3)) { 0.0 } else { f64::NAN });
    assert!(by_layers[0].name == "layers" && by_layers[0].share > 0.9, "{by_layers:?}");
}

#[test]
fn nothing_is_told_of_too_few_trials_or_of_chance_alone() {
    let space = reals(&["a"]);
    let trials = drawn(&space, 50);
    let told = |of: usize, loss: f64, top: f64| {
        let trials: Vec<_> = trials[..of].iter().map(|configuration| (configuration, loss)).collect();
        importances(&space, &trials, top, 1).is_some()
    };
    assert!(!told(0, 1.0, 0.1) && !told(20, 1.0, 0.1) && !told(50, f64::INFINITY, 0.1) && !told(50, 1.0, 1.0));
    assert!(importances(&Space::new(), &[(&Configuration::default(), 0.0); 50], 0.1, 1).is_none());
}

#[test]
fn shares_are_the_same_bits_on_every_processor() {
    let space = reals(&["a", "b", "c"]);
    let found = found(&space, &drawn(&space, 300), |one| real(one, "a") + real(one, "b").powi(2) / 2.0);
    let bits: Vec<_> = found.iter().map(|one| format!("{} {:?} {:?}", one.name, one.share, one.interval)).collect();
    let expected = [
        "a 0.8713923232366544 [0.7670289742673194, 0.9539244743726514]",
        "b 0.12860767676334567 [0.044660940617057755, 0.2321054777954572]",
        "c 0.0 [0.0, 0.018114205578286968]",
    ];
    assert_eq!(bits, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn shares_add_up_to_one_inside_their_intervals(losses in prop::collection::vec(any::<f64>(), 0..200), seed: u64) {
        let space = reals(&["a", "b"]);
        let configurations = drawn(&space, losses.len() as u64);
        let trials: Vec<_> = configurations.iter().zip(losses).collect();
        if let Some(found) = importances(&space, &trials, 0.2, seed) {
            prop_assert!((found.iter().map(|one| one.share).sum::<f64>() - 1.0).abs() < 1e-9);
            for one in found {
                prop_assert!((one.interval[0]..=one.interval[1]).contains(&one.share) && one.interval[1] <= 1.0);
            }
        }
    }
}
