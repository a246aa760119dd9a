//! Spaces with conditions and constraints, and what samplers make of them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::decision::Origin;
use crate::sampled::SamplerKind;
use crate::sampler::{IN_FULL, Knowledge, Observation};

fn word(word: &str) -> Value {
    Value::Choice(word.to_owned())
}

fn condition(parent: &str, values: Vec<Value>) -> Condition {
    Condition { parent: parent.to_owned(), values }
}

/// A flag says whether there is a second layer, the optimizer whether there is a momentum, and the momentum whether there
/// is Nesterov's: 5 without a second layer and 15 with one.
fn layered() -> Space {
    let values = |values: &[f64]| Domain::Values(values.iter().copied().map(Value::Real).collect());
    let flag = Domain::Values(vec![Value::Flag(false), Value::Flag(true)]);
    let mut space = Space::from(
        [
            ("second", flag.clone()),
            ("units_2", Domain::Integers { min: 1, max: 3, log: false, count: Some(3) }),
            ("optimizer", Domain::Values(vec![word("adam"), word("sgd")])),
            ("momentum", values(&[0.0, 0.5, 0.9])),
            ("nesterov", flag),
        ]
        .map(|(name, domain)| (name.to_owned(), domain)),
    );
    let conditions = [
        ("units_2", vec![condition("second", vec![Value::Flag(true)])]),
        ("momentum", vec![condition("optimizer", vec![word("sgd")])]),
        ("nesterov", vec![condition("momentum", vec![Value::Real(0.9)])]),
    ];
    space.set_conditions(conditions.map(|(name, conditions)| (name.to_owned(), conditions)).into()).unwrap();
    space
}

fn constrained() -> Space {
    let mut space = layered();
    space.constrain(Constraint::parse("units_2 != 2 or optimizer == 'adam'").unwrap());
    space.constrain(Constraint::parse("momentum < 0.9 or second == true").unwrap());
    space
}

/// All that a sampler of this kind picks; each of its picks has the loss that `loss` tells. After `stop` picks it is told of
/// them anew, as by a later driver.
fn picked(
    kind: SamplerKind,
    space: &Space,
    seed: u64,
    stop: Option<usize>,
    loss: impl Fn(&Configuration) -> f64,
) -> Vec<(Configuration, Origin)> {
    let mut sampler = kind.sampler(seed, space);
    let (mut picked, mut observed): (Vec<(Configuration, Origin)>, Vec<_>) = (Vec::new(), Vec::new());
    loop {
        if stop == Some(picked.len()) {
            sampler = kind.sampler(seed, space);
            for (configuration, origin) in &picked {
                sampler.recall(configuration, *origin);
            }
        }
        let knowledge = Knowledge { observed: &observed, under_way: &[], decision: picked.len() as u64 };
        let Some((configuration, origin)) = sampler.next(knowledge) else { return picked };
        let loss = loss(&configuration);
        observed.push(Observation { configuration: configuration.clone(), rung_epochs: IN_FULL, loss });
        picked.push((configuration, origin));
    }
}

fn shown(picked: &[(Configuration, Origin)]) -> Vec<String> {
    picked.iter().map(|(configuration, _)| configuration.to_string()).collect()
}

fn kinds(trials: u32) -> [SamplerKind; 5] {
    [
        SamplerKind::Grid,
        SamplerKind::Random { trials },
        SamplerKind::Sobol { trials },
        SamplerKind::Tpe { trials },
        SamplerKind::Gaussian { trials },
    ]
}

#[test]
fn a_grid_takes_each_configuration_once_and_nothing_that_is_absent() {
    let grid = picked(SamplerKind::Grid, &layered(), 0, None, |_| 0.0);
    let expected = [
        "optimizer=adam second=false",
        "optimizer=adam second=true units_2=1",
        "optimizer=adam second=true units_2=2",
        "optimizer=adam second=true units_2=3",
        "momentum=0 optimizer=sgd second=false",
    ];
    assert_eq!(shown(&grid)[..5], expected);
    let last = "momentum=0.9 nesterov=true optimizer=sgd second=true units_2=3";
    assert_eq!((grid.len(), shown(&grid)[19].as_str()), (20, last));
    assert_eq!(size(&layered()), Some(20));
}

#[test]
fn points_of_a_grid_that_break_a_constraint_are_counted_and_skipped() {
    let grid = picked(SamplerKind::Grid, &constrained(), 0, None, |_| 0.0);
    let whole = picked(SamplerKind::Grid, &layered(), 0, None, |_| 0.0);
    let kept: Vec<_> = whole
        .iter()
        .filter(|(configuration, _)| {
            let shown = configuration.to_string();
            let breaks_first = shown.contains("units_2=2") && shown.contains("sgd");
            let breaks_second = shown.contains("momentum=0.9") && shown.contains("second=false");
            !breaks_first && !breaks_second
        })
        .cloned()
        .collect();
    assert_eq!((grid.len(), &grid), (14, &kept));
}

#[test]
fn every_sampler_takes_all_that_there_is_and_nothing_else_and_nothing_twice() {
    for (space, count) in [(layered(), 20), (constrained(), 14)] {
        let all: BTreeSet<_> = shown(&picked(SamplerKind::Grid, &space, 0, None, |_| 0.0)).into_iter().collect();
        for kind in kinds(count) {
            let taken = picked(kind, &space, 3, None, |configuration| configuration.len() as f64);
            let different: BTreeSet<_> = shown(&taken).into_iter().collect();
            assert_eq!((taken.len() as u32, &different), (count, &all), "{kind:?}");
        }
    }
}

#[test]
fn a_sampler_that_learns_looks_for_more_where_constraints_leave_little() {
    let unit = Domain::Reals { min: 0.0, max: 1.0, log: false, count: None };
    let mut space = Space::from(["a", "b"].map(|name| (name.to_owned(), unit.clone())));
    space.constrain(Constraint::parse("a + b < 0.2").unwrap()); // one in fifty
    for kind in kinds(30).into_iter().skip(1) {
        let taken = picked(kind, &space, 5, None, |configuration| match configuration.get("a") {
            Some(Value::Real(a)) => -*a,
            other => panic!("{other:?}"),
        });
        assert!(taken.iter().all(|(configuration, _)| space.broken_constraint(configuration).is_none()));
        assert_eq!(taken.len(), 30, "{kind:?}");
    }
    let admitted = crate::random::admitted_draws(1, &space, 10_000);
    assert!((150..250).contains(&admitted), "{admitted}");
}

/// Least, and 0, with Adam at a rate of 0.01; of SGD the best is 0.2, at a momentum of 0.9.
fn branched_loss(configuration: &Configuration) -> f64 {
    let real = |name| match configuration.get(name) {
        Some(Value::Real(real)) => *real,
        other => panic!("{name}: {other:?}"),
    };
    let rate = (libm::log10(real("rate")) + 2.0).powi(2);
    if configuration.get("optimizer") == Some(&word("adam")) {
        return rate + (real("beta") - 0.8).powi(2);
    }
    rate + 0.2 + (real("momentum") - 0.9).powi(2)
}

#[test]
fn samplers_that_learn_find_the_branch_that_is_better_and_what_is_good_in_it() {
    let unit = Domain::Reals { min: 0.0, max: 1.0, log: false, count: None };
    let mut space = Space::from(
        [
            ("rate", Domain::Reals { min: 1e-5, max: 1.0, log: true, count: None }),
            ("optimizer", Domain::Values(vec![word("adam"), word("sgd")])),
            ("momentum", unit.clone()),
            ("beta", unit),
        ]
        .map(|(name, domain)| (name.to_owned(), domain)),
    );
    let conditions = [
        ("momentum", vec![condition("optimizer", vec![word("sgd")])]),
        ("beta", vec![condition("optimizer", vec![word("adam")])]),
    ];
    space.set_conditions(conditions.map(|(name, conditions)| (name.to_owned(), conditions)).into()).unwrap();
    let trials = 60;
    let mean_best = |kind: SamplerKind| {
        let best = |seed| {
            let picked = picked(kind, &space, seed, None, branched_loss);
            picked.iter().map(|(configuration, _)| branched_loss(configuration)).fold(f64::INFINITY, f64::min)
        };
        (0..6).map(best).sum::<f64>() / 6.0
    };
    let by_chance = mean_best(SamplerKind::Random { trials });
    for kind in [SamplerKind::Tpe { trials }, SamplerKind::Gaussian { trials }] {
        let learned = mean_best(kind);
        assert!(learned < by_chance / 2.0, "{kind:?}: {learned}, and {by_chance} by chance");
    }
}

#[test]
fn a_space_without_conditions_and_constraints_prints_as_its_domains() {
    // Runs from before there were any go on by the digest of this.
    let domain = Domain::Integers { min: 1, max: 3, log: false, count: None };
    let map: BTreeMap<_, _> = [("n".to_owned(), domain)].into();
    let mut space: Space = map.clone().into_iter().collect();
    assert_eq!(format!("{space:?}"), format!("{map:?}"));
    assert_eq!(format!("{map:?}"), "{\"n\": Integers { min: 1, max: 3, log: false, count: None }}");
    let plain = format!("{space:?}");
    space.constrain(Constraint::parse("n < 3").unwrap());
    let constrained = format!("{space:?}");
    space.set_conditions([("n".to_owned(), vec![condition("m", vec![word("x")])])].into()).unwrap();
    assert_eq!(BTreeSet::from([plain, constrained, format!("{space:?}")]).len(), 3);
}

#[test]
fn what_has_no_end_has_no_size_and_what_has_many_is_counted_to_a_bound() {
    let mut space = Space::from([
        ("n".to_owned(), Domain::Integers { min: 1, max: 1 << 40, log: false, count: None }),
        ("flag".to_owned(), Domain::Values(vec![Value::Flag(false), Value::Flag(true)])),
    ]);
    space.set_conditions([("n".to_owned(), vec![condition("flag", vec![Value::Flag(true)])])].into()).unwrap();
    assert_eq!(size(&space), Some(COUNTED_MAX));
    space.insert("r".to_owned(), Domain::Reals { min: 0.0, max: 1.0, log: false, count: None });
    assert_eq!(size(&space), None);
}

proptest! {
    #[test]
    fn a_search_of_conditions_goes_on_where_it_stood(seed: u64, kind in 0_usize..5, stop in 0_usize..15, constrain: bool) {
        let (space, kind) = (if constrain { constrained() } else { layered() }, kinds(14)[kind]);
        let loss = |configuration: &Configuration| configuration.len() as f64;
        prop_assert_eq!(picked(kind, &space, seed, Some(stop), loss), picked(kind, &space, seed, None, loss));
    }

    #[test]
    fn mixed_lists_can_be_searched_by_all(seed: u64, ordered: bool) {
        let values = vec![word("auto"), Value::Integer(10), Value::Real(2.5), Value::Flag(true)];
        let domain = if ordered { Domain::Ordered(values) } else { Domain::Values(values) };
        let space = Space::from([("it".to_owned(), domain)]);
        for kind in kinds(4) {
            let taken: BTreeSet<_> = shown(&picked(kind, &space, seed, None, |_| 0.0)).into_iter().collect();
            prop_assert_eq!(taken.len(), 4);
        }
    }
}
