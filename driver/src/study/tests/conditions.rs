//! Steps, ordered values, conditions, constraints, layers that may be there, and starting points.

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::model::Layer;
use broadsweep_common::setting::Setting;
use broadsweep_common::training::Optimizer;
use broadsweep_search::{Domain, Origin};

use super::{PROGRAM, configurations, network, resolves};
use crate::study::{Study, Trainer, parse};

/// A second layer that may be there, and a momentum that goes with SGD.
pub(super) const LAYERED: &str = "name = 'layered'
[data]
format = 'idx'
train_features = 'x'
train_labels = 'y'
validation_rows = 1
[model]
layers = [
  { kind = 'dense', units = '$units_1' },
  { kind = 'dense', units = '$units_2', if = '$second' },
  { kind = 'dense', units = 10 },
]
[training]
optimizer = '$optimizer'
momentum = '$momentum'
learning_rate = 0.1
epochs = 1
[search]
sampler = 'grid'
constraints = ['units_2 <= units_1', 'momentum < 0.9 or second == true']
initial = [
  { second = true, units_1 = 64, units_2 = 48, optimizer = 'adam' },
  { second = false, units_1 = 32, optimizer = 'sgd', momentum = 0.5 },
]
[search.space]
second = { values = [false, true] }
units_1 = { range = [16, 32], step = 16 }
units_2 = { values = [16, 32], when = { second = true } }
optimizer = { values = ['adam', 'sgd'] }
momentum = { range = [0.0, 0.9], step = 0.45, when = { optimizer = ['sgd'] } }
[control]
second = false
units_1 = 16
optimizer = 'adam'
";

fn layered(from: &str, to: &str) -> Study {
    assert_eq!(LAYERED.matches(from).count(), 1, "{from}");
    parse(&LAYERED.replace(from, to), "s.toml").unwrap_or_else(|error| panic!("{error}"))
}

fn shown(configurations: &[Configuration]) -> Vec<String> {
    configurations.iter().map(ToString::to_string).collect()
}

fn real(value: &Value) -> f64 {
    if let Value::Real(real) = value { *real } else { panic!("{value:?}") }
}

#[test]
fn steps_are_the_numbers_that_people_count() {
    let with = |space: &str| {
        let study = layered("momentum = { range = [0.0, 0.9], step = 0.45", &format!("momentum = {{ {space}"));
        study.search.space["momentum"].clone()
    };
    let twentieths = with("range = [0.0, 0.5], step = 0.05");
    let points: Vec<_> = twentieths.points().unwrap().iter().map(real).collect();
    assert_eq!(points, [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]);
    assert_eq!(with("range = [0.1, 0.7], step = 0.2"), with("range = [0.1, 0.7], count = 4"));
    let units = layered("{ range = [16, 32], step = 16 }", "{ range = [16, 256], step = 16 }");
    assert_eq!(units.search.space["units_1"], Domain::Integers { min: 16, max: 256, log: false, count: Some(16) });
}

#[test]
fn a_study_starts_with_the_control_and_its_starting_points_and_trains_nothing_twice() {
    let study = layered("'layered'", "'layered'");
    let drawn = study.drawn().unwrap();
    let origins: Vec<_> = drawn.iter().take(4).map(|(_, origin)| *origin).collect();
    assert_eq!(origins[..3], [Origin::Control, Origin::Initial(0), Origin::Initial(1)]);
    let all: Vec<_> = drawn.iter().map(|(configuration, _)| configuration.clone()).collect();
    let expected = [
        "optimizer=adam second=false units_1=16",
        // Not among the grid's values: a starting point may be any that the settings admit.
        "optimizer=adam second=true units_1=64 units_2=48",
        "momentum=0.5 optimizer=sgd second=false units_1=32",
        "optimizer=adam second=false units_1=32",
        "optimizer=adam second=true units_1=16 units_2=16",
        "optimizer=adam second=true units_1=32 units_2=16",
        "optimizer=adam second=true units_1=32 units_2=32",
        "momentum=0 optimizer=sgd second=false units_1=16",
    ];
    assert_eq!(shown(&all)[..8], expected);
    // Adam has 4 others, SGD 2 momenta at 5 places and the third one at the 3 of a second layer.
    assert_eq!(all.len(), 3 + 4 + 2 * 5 + 3);
    assert_eq!(study.trials_max(), 3 + 24);
    assert!(all.iter().all(|configuration| resolves(&study, configuration)));
}

#[test]
fn what_is_absent_is_as_if_it_were_not_written() {
    let study = layered("'layered'", "'layered'");
    let (model, training) = network(&study);
    let momentum = Setting::Conditional { parameter: "momentum".to_owned(), default: 0.0 };
    assert_eq!(training.momentum, momentum);
    for configuration in configurations(&study).unwrap() {
        let layers = model.resolve(&configuration).unwrap().layers;
        let units: Vec<_> = layers
            .iter()
            .map(|layer| if let Layer::Dense { units, .. } = layer { *units as i64 } else { 0 })
            .collect();
        let given = |name: &str| match configuration.get(name) {
            Some(Value::Integer(units)) => Some(*units),
            _ => None,
        };
        let expected: Vec<_> = [given("units_1"), given("units_2"), Some(10)].into_iter().flatten().collect();
        assert_eq!(units, expected, "{configuration}");
        let is_sgd = matches!(training.resolve(&configuration).unwrap().optimizer, Optimizer::Sgd { .. });
        assert_eq!(is_sgd, configuration.get("momentum").is_some(), "{configuration}");
    }
}

#[test]
fn a_setting_is_safe_where_its_layer_is_there_only_with_its_parameter() {
    // The third layer is there only with the second, and so are its units; they say so by another parameter each.
    let with_third = |when: &str| {
        let third = "{ kind = 'dense', units = '$units_3', if = '$third' },\n  { kind = 'dense', units = 10 },";
        let space = format!(
            "[search.space]\nthird = {{ values = [true, false], when = {{ second = true }} }}\n\
             units_3 = {{ values = [1, 2], when = {{ {when} }} }}"
        );
        let study = LAYERED.replace("{ kind = 'dense', units = 10 },", third).replace("[search.space]", &space);
        let (before, initial) = study.split_once("initial = [").unwrap();
        let (_, after) = initial.split_once("]\n").unwrap();
        parse(&format!("{before}{after}"), "s.toml")
    };
    for when in ["third = true", "second = true", "second = true, third = true"] {
        let study = with_third(when).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert!(
            configurations(&study).unwrap().iter().all(|configuration| resolves(&study, configuration)),
            "{when}"
        );
    }
    let error = with_third("optimizer = 'sgd'").unwrap_err();
    assert_eq!(
        error.message(),
        "layer 3 (dense): units is \"$units_3\", which is there only when optimizer is \"sgd\""
    );
}

#[test]
fn words_are_ordered_and_lists_mixed_where_a_program_takes_any() {
    let space = "act = { values = ['relu', 'a b'] }";
    let study = |act: &str| {
        let text = PROGRAM.replace(space, &format!("act = {act}"));
        parse(&text, "s.toml").unwrap_or_else(|error| panic!("{error}"))
    };
    let ordered = study("{ values = ['small', 'medium', 'large'], ordered = true }");
    let words = ["small", "medium", "large"].map(|word| Value::Choice(word.to_owned()));
    assert_eq!(ordered.search.space["act"], Domain::Ordered(words.clone().into()));
    let plain = study("{ values = ['small', 'medium', 'large'], ordered = false }");
    assert_eq!(plain.search.space["act"], Domain::Values(words.into()));
    let mixed = study("{ values = ['auto', 10, 2.5, true] }");
    assert_eq!(configurations(&mixed).unwrap().len(), 4 * 4);
    // What a program is told, and what it costs, is of what there is.
    let conditional =
        PROGRAM.replace("units = { values = [16, 32] }", "units = { values = [16, 32], when = { act = 'relu' } }");
    let conditional = parse(&conditional, "s.toml").unwrap_or_else(|error| panic!("{error}"));
    let Trainer::Program(program) = &conditional.trainer else { panic!("a program") };
    let costs = configurations(&conditional).unwrap();
    let costs: Vec<_> =
        costs.iter().map(|configuration| program.cost.as_ref().unwrap().of(configuration, 2).unwrap()).collect();
    assert_eq!(costs, [32.0, 64.0, 32.0, 64.0, 0.0, 0.0]);
}

#[test]
fn a_run_goes_on_only_with_the_space_that_it_began_with() {
    let digest = |from: &str, to: &str| layered(from, to).search_digest();
    let own = digest("'layered'", "'other'");
    let changes = [
        ("'units_2 <= units_1', ", ""),
        (", when = { optimizer = ['sgd'] }", ", when = { optimizer = ['sgd'], units_1 = 32 }"),
        ("units_1 = 64, units_2 = 48", "units_1 = 64, units_2 = 47"),
    ];
    for (from, to) in changes {
        assert_ne!(own, digest(from, to), "{from}");
    }
    assert_eq!(own, digest("step = 0.45", "count = 3"));
}

#[test]
fn a_random_search_takes_only_what_its_constraints_admit() {
    let study = layered("sampler = 'grid'", "sampler = 'random'\ntrials = 8");
    let drawn = configurations(&study).unwrap();
    assert_eq!(drawn.len(), 3 + 8);
    assert!(drawn.iter().all(|configuration| study.search.space.broken_constraint(configuration).is_none()));
    let share = study.admitted_share().unwrap();
    assert!((0.6..0.9).contains(&share), "{share}");
    let plain = layered("constraints = ['units_2 <= units_1', 'momentum < 0.9 or second == true']", "");
    assert_eq!(plain.admitted_share(), None);
}
