//! The grid, the random draws and the points of a sequence.

use std::collections::BTreeSet;

use broadsweep_common::configuration::{Configuration, Value};
use proptest::prelude::*;

use super::{configurations, resolves};
use crate::study::{Study, parse};

/// A study whose `real`, `whole` and `word` are searched as `space` says.
fn study(search: &str) -> Study {
    let text = format!(
        "name = 'a'\nseed = 3\n[data]\nformat = 'idx'\ntrain_features = 'x'\ntrain_labels = 'y'\nvalidation_rows = 1\n\
         [model]\nlayers = [{{ kind = 'dense', units = {whole}, activation = {word} }}]\n\
         [training]\nlearning_rate = {real}\nepochs = 1\n{search}",
        whole = if search.contains("whole") { "'$whole'" } else { "1" },
        word = if search.contains("word") { "'$word'" } else { "'relu'" },
        real = if search.contains("real") { "'$real'" } else { "1" },
    );
    parse(&text, "s.toml").unwrap_or_else(|error| panic!("{error}"))
}

fn shown(configurations: &[Configuration]) -> Vec<String> {
    configurations.iter().map(ToString::to_string).collect()
}

fn grid(space: &str) -> Vec<Configuration> {
    configurations(&study(&format!("[search]\nsampler = 'grid'\n[search.space]\n{space}"))).unwrap()
}

fn random(trials: u32, space: &str) -> Vec<Configuration> {
    let search = format!("[search]\nsampler = 'random'\ntrials = {trials}\n[search.space]\n{space}");
    configurations(&study(&search)).unwrap()
}

fn sobol(trials: u32, space: &str) -> Vec<Configuration> {
    let search = format!("[search]\nsampler = 'sobol'\ntrials = {trials}\n[search.space]\n{space}");
    configurations(&study(&search)).unwrap()
}

fn reals(configurations: &[Configuration]) -> Vec<f64> {
    let real = |configuration: &Configuration| match configuration.get("real") {
        Some(Value::Real(real)) => *real,
        other => panic!("not a real: {other:?}"),
    };
    configurations.iter().map(real).collect()
}

fn wholes(configurations: &[Configuration]) -> Vec<i64> {
    let whole = |configuration: &Configuration| match configuration.get("whole") {
        Some(Value::Integer(whole)) => *whole,
        other => panic!("not whole: {other:?}"),
    };
    configurations.iter().map(whole).collect()
}

#[test]
fn points_of_a_sequence_fill_each_range_evenly() {
    let drawn = sobol(16, "whole = { range = [1, 16] }\nreal = { log_range = [0.0001, 1] }");
    let mut each = wholes(&drawn);
    each.sort_unstable();
    assert_eq!(each, (1..=16).collect::<Vec<_>>());
    let mut decades = reals(&drawn).iter().map(|real| (real.log10() + 4.0).floor() as i64).collect::<Vec<_>>();
    decades.sort_unstable();
    assert_eq!(decades, [0, 1, 2, 3].map(|decade| [decade; 4]).concat());
    assert_eq!(shown(&drawn), shown(&sobol(16, "whole = { range = [1, 16] }\nreal = { log_range = [0.0001, 1] }")));
}

#[test]
fn a_grid_goes_through_the_last_name_fastest_and_keeps_the_order_of_values() {
    let configurations = grid("word = { values = ['tanh', 'relu'] }\nreal = { values = [0.5, 0.1, 2] }");
    let expected = [
        "real=0.5 word=tanh",
        "real=0.5 word=relu",
        "real=0.1 word=tanh",
        "real=0.1 word=relu",
        "real=2 word=tanh",
        "real=2 word=relu",
    ];
    assert_eq!(shown(&configurations), expected);
}

#[test]
fn a_logarithmic_range_has_exact_ends_and_the_steps_of_logspace() {
    let values = reals(&grid("real = { log_range = [0.001, 0.1], count = 10 }"));
    // numpy.logspace(-3, -1, 10)
    let logspace = [
        0.001,
        0.001_668_100_537_200_06,
        0.002_782_559_402_207_13,
        0.004_641_588_833_612_78,
        0.007_742_636_826_811_27,
        0.012_915_496_650_148_8,
        0.021_544_346_900_318_8,
        0.035_938_136_638_046_3,
        0.059_948_425_031_894_1,
        0.1,
    ];
    assert_eq!((values[0].to_bits(), values[9].to_bits()), (0.001_f64.to_bits(), 0.1_f64.to_bits()));
    for (value, expected) in values.iter().zip(logspace) {
        assert!((value / expected - 1.0).abs() < 1e-14, "{value} {expected}");
    }
}

#[test]
fn values_between_the_ends_are_as_a_person_would_write_them() {
    assert_eq!(reals(&grid("real = { range = [0.1, 0.5], count = 5 }")), [0.1, 0.2, 0.3, 0.4, 0.5]);
    assert_eq!(reals(&grid("real = { log_range = [1e-4, 1], count = 5 }")), [0.0001, 0.001, 0.01, 0.1, 1.0]);
}

#[test]
fn ranges_of_whole_numbers_have_whole_values() {
    assert_eq!(wholes(&grid("whole = { range = [16, 64], count = 4 }")), [16, 32, 48, 64]);
    assert_eq!(wholes(&grid("whole = { range = [1, 4], count = 4 }")), [1, 2, 3, 4]);
    assert_eq!(wholes(&grid("whole = { log_range = [16, 1024], count = 7 }")), [16, 32, 64, 128, 256, 512, 1024]);
}

#[test]
fn the_control_is_trial_0_and_is_not_run_twice() {
    let search =
        "[search]\nsampler = 'grid'\n[search.space]\nreal = { values = [0.1, 0.2, 0.3] }\n[control]\nreal = ";
    let with = |control: &str| shown(&configurations(&study(&format!("{search}{control}"))).unwrap());
    assert_eq!(with("0.2"), ["real=0.2", "real=0.1", "real=0.3"]);
    assert_eq!(with("7"), ["real=7", "real=0.1", "real=0.2", "real=0.3"]);
}

#[test]
fn a_small_space_can_be_drawn_to_its_end() {
    let drawn: BTreeSet<_> = wholes(&random(20, "whole = { range = [1, 20] }")).into_iter().collect();
    assert_eq!(drawn, (1..=20).collect());
    let drawn: BTreeSet<_> = wholes(&random(8, "whole = { log_range = [1, 8] }")).into_iter().collect();
    assert_eq!(drawn, (1..=8).collect());
}

#[test]
fn a_random_search_draws_from_the_counted_values_of_a_range() {
    let mut drawn = reals(&random(5, "real = { range = [0.1, 0.5], count = 5 }"));
    drawn.sort_by(f64::total_cmp);
    assert_eq!(drawn, [0.1, 0.2, 0.3, 0.4, 0.5]);
}

#[test]
fn logarithmic_draws_fall_evenly_into_decades() {
    let drawn = reals(&random(3000, "real = { log_range = [0.001, 1] }"));
    for decade in [0.001, 0.01, 0.1] {
        let inside = drawn.iter().filter(|value| (decade..decade * 10.0).contains(*value)).count();
        assert!((900..1100).contains(&inside), "{inside} draws from {decade} up");
    }
}

#[test]
fn fewer_draws_are_the_first_of_more() {
    let space =
        "real = { range = [0.1, 1] }\nwhole = { log_range = [1, 1000] }\nword = { values = ['relu', 'tanh'] }";
    assert_eq!(random(10, space)[..], random(50, space)[..10]);
}

#[test]
fn the_draws_are_fixed_for_all_platforms() {
    let drawn = shown(&random(3, "real = { log_range = [0.001, 0.1] }\nwhole = { range = [1, 100] }"));
    let expected = [
        "real=0.0013226992552148012 whole=56",
        "real=0.001663889430888665 whole=34",
        "real=0.012834098350645426 whole=80",
    ];
    assert_eq!(drawn, expected);
}

proptest! {
    #[test]
    fn random_configurations_repeat_exactly_lie_in_bounds_and_differ(
        seed in 0_u32.., trials in 1_u32..40, low in 1_i64..50, wide in 50_i64..100, log: bool,
    ) {
        let range = if log { "log_range" } else { "range" };
        let high = low + wide;
        let text = format!(
            "name = 'a'\nseed = {seed}\n[data]\nformat = 'idx'\ntrain_features = 'x'\ntrain_labels = 'y'\n\
             validation_rows = 1\n[model]\nlayers = [{{ kind = 'dense', units = '$whole' }}]\n\
             [training]\nlearning_rate = '$real'\nepochs = 1\n[search]\nsampler = 'random'\ntrials = {trials}\n\
             [search.space]\nwhole = {{ {range} = [{low}, {high}] }}\nreal = {{ {range} = [{low}, {high}] }}\n"
        );
        let study = parse(&text, "s.toml").unwrap();
        let again = configurations(&study).unwrap();
        let configurations = configurations(&study).unwrap();
        prop_assert_eq!(&configurations, &again);
        prop_assert!(wholes(&configurations).iter().all(|whole| (low..=high).contains(whole)));
        prop_assert!(reals(&configurations).iter().all(|real| (low as f64..=high as f64).contains(real)));
        let digests: BTreeSet<_> = configurations.iter().map(Configuration::digest).collect();
        prop_assert_eq!((configurations.len(), digests.len()), (trials as usize, trials as usize));
        for configuration in &configurations {
            prop_assert!(resolves(&study, configuration));
        }
    }

    #[test]
    fn a_grid_has_the_product_of_its_counts_and_no_repeats(
        values in 1_usize..5, whole in 2_u32..9, real in 2_u32..9, log: bool,
    ) {
        let range = if log { "log_range" } else { "range" };
        let words = &["'relu'", "'tanh'", "'gelu'", "'linear'"][..values];
        let configurations = grid(&format!(
            "word = {{ values = [{}] }}\nwhole = {{ {range} = [10, 90], count = {whole} }}\n\
             real = {{ {range} = [0.5, 1.5], count = {real} }}",
            words.join(", ")
        ));
        let digests: BTreeSet<_> = configurations.iter().map(Configuration::digest).collect();
        let product = values * whole as usize * real as usize;
        prop_assert_eq!((configurations.len(), digests.len()), (product, product));
    }
}

#[test]
fn what_was_picked_for_so_many_trials_counts_what_the_study_gives_as_well() {
    let text = |sampler: &str| {
        format!(
            "name = 'a'\ntrainer = {{ kind = 'replay', seconds = 1, epochs = 1, error = '$e' }}\n[search]\n\
             sampler = '{sampler}'\ntrials = 4\nstop = {{ no_progress = 99 }}\n\
             initial = [{{ e = 0.0 }}, {{ e = 0.25 }}, {{ e = 0.5 }}]\n[search.space]\n\
             e = {{ values = [0.0, 0.25, 0.5, 0.75, 1.0] }}\n[control]\ne = 1.0\n"
        )
    };
    // Of five values the study gives four: among all five that it picks, one is new.
    let study = parse(&text("random"), "s.toml").unwrap();
    assert!((2..=5).contains(&study.picked_for(1)) && study.picked_for(0) == 0, "{}", study.picked_for(1));
    assert_eq!(study.picked_for(9), 5, "there are no more");
    assert_eq!(parse(&text("tpe"), "s.toml").unwrap().picked_for(3), 3);
}
