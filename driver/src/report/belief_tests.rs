//! What is believed of runs that are known.

use std::num::NonZeroU32;

use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{MetricName, Objective};
use broadsweep_search::sampler::IN_FULL;
use broadsweep_search::{Domain, PrunerKind, RungSpacing, SamplerKind};

use super::super::rungs::tests::climbed;
use super::*;
use crate::results::fixtures::{configuration, diverged, finished, run, searched_by};

/// So many trials whose error is least at a rate of 0.01, and does not depend on the word.
pub(crate) fn searched(sampler: SamplerKind, trials: u32) -> RunRecord {
    let trial = |number: u32| {
        let rate = libm::pow(10.0, -4.0 + 4.0 * f64::from(number * 7 % 24) / 23.0);
        let error = 0.02 + libm::log10(rate / 0.01).abs() / 8.0;
        let word = ["relu", "tanh"][number as usize % 2];
        let values = [("rate", Value::Real(rate)), ("word", Value::Choice(word.into()))];
        TrialRecord { configuration: configuration(&values), ..finished(number, error) }
    };
    let words = ["relu", "tanh"].map(|word| Value::Choice(word.to_owned()));
    let space = [
        ("rate", Domain::Reals { min: 1e-4, max: 1.0, log: true, count: None }),
        ("word", Domain::Values(words.into())),
    ];
    let space = space.map(|(name, domain)| (name.to_owned(), domain)).into();
    let search = SearchRecord { sampler, space, ..searched_by(PrunerKind::None) };
    RunRecord { search: Some(search), ..run((0..trials).map(trial).collect()) }
}

const GAUSSIAN: SamplerKind = SamplerKind::Gaussian { trials: 24 };
const TPE: SamplerKind = SamplerKind::Tpe { trials: 24 };

#[test]
fn the_process_expects_what_was_measured_in_the_units_of_the_objective() {
    let record = searched(GAUSSIAN, 24);
    let beliefs = beliefs(&record, &["rate", "word"]).unwrap();
    assert_eq!((beliefs.trials, beliefs.all.len()), (24, 2));
    let Believed::Losses(losses) = &beliefs.all[0].believed else { panic!("{beliefs:?}") };
    let [best, worst] = ends_of_losses(&record, losses).unwrap();
    let Value::Real(rate) = best.value else { panic!("{best:?}") };
    assert!((0.005..0.02).contains(&rate), "{best:?}");
    assert!((best.median - 0.02).abs() < 0.02 && (worst.median - 0.27).abs() < 0.05, "{best:?} {worst:?}");
    assert!(losses.iter().all(|one| one.low <= one.median && one.median <= one.high && one.low >= 0.0));
}

#[test]
fn an_objective_that_is_to_be_large_is_believed_to_be_large() {
    let mut record = searched(GAUSSIAN, 24);
    record.objectives = Objective { metric: MetricName::VALIDATION_LOSS, direction: Direction::Maximize }.into();
    let beliefs = beliefs(&record, &["rate"]).unwrap();
    let Believed::Losses(losses) = &beliefs.all[0].believed else { panic!("{beliefs:?}") };
    let [best, _] = ends_of_losses(&record, losses).unwrap();
    assert!(best.median > 0.5 && best.low > best.median && best.high < best.median, "{best:?}");
}

#[test]
fn the_estimator_has_its_good_trials_where_the_error_is_small() {
    let record = searched(TPE, 24);
    let beliefs = beliefs(&record, &["rate", "word"]).unwrap();
    let Believed::Densities(pairs) = &beliefs.all[0].believed else { panic!("{beliefs:?}") };
    let [most, least] = ends_of_densities(pairs).unwrap();
    let Value::Real(rate) = most.value else { panic!("{most:?}") };
    assert!((0.003..0.03).contains(&rate) && most.ratio() > 1.5 && least.ratio() < 0.8, "{most:?} {least:?}");
}

#[test]
fn a_search_that_does_not_learn_or_has_seen_too_little_believes_nothing() {
    for record in [
        searched(SamplerKind::Random { trials: 24 }, 24),
        searched(SamplerKind::CmaEs { trials: 24 }, 24),
        searched(GAUSSIAN, 7),
        RunRecord { search: None, ..searched(GAUSSIAN, 24) },
    ] {
        assert_eq!(beliefs(&record, &["rate"]), None);
    }
    assert_eq!(beliefs(&searched(TPE, 24), &[]), None);
}

#[test]
fn a_trial_is_observed_at_each_rung_as_the_search_saw_it() {
    let [eta_percent, epochs_max] = [400, 8].map(|number| NonZeroU32::new(number).unwrap());
    let spacing = RungSpacing { min_epochs: NonZeroU32::MIN, eta_percent, epochs_max };
    let search = searched_by(PrunerKind::Asha(spacing));
    let record = run(Vec::new());
    let seen = |trial: &TrialRecord| -> Vec<_> {
        observations(&record, &search, trial)
            .iter()
            .map(|one| (one.rung_epochs, (one.loss * 1e9).round() / 1e9))
            .collect()
    };
    // From 1 to 4 epochs it fell by 0.3, and from 4 to 8 it is expected to fall by 0.05.
    assert_eq!(seen(&climbed(1, &[0.5, 0.4, 0.3, 0.2], &[1, 4], true)), [(1, 0.5), (4, 0.15)]);
    let whole = climbed(2, &[0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.05], &[1, 4], false);
    // Behind the last rung is the end.
    assert_eq!(seen(&whole), [(1, 0.5), (4, 0.15), (IN_FULL, 0.05)]);
    assert_eq!(seen(&TrialRecord { epochs_max: 8, ..diverged(3, 1) }), [(1, f64::INFINITY)]);
    let unpruned = searched_by(PrunerKind::None);
    assert_eq!(observations(&record, &unpruned, &finished(4, f64::NAN))[0].rung_epochs, IN_FULL);
    let control = RunRecord { control: Some(TrialId(5)), ..run(Vec::new()) };
    let of_control = observations(&control, &search, &TrialRecord { epochs_max: 8, ..diverged(5, 1) });
    assert_eq!(of_control[0].rung_epochs, IN_FULL);
}

#[test]
fn the_table_tells_the_ends_of_each_parameter() {
    for (sampler, columns) in [(GAUSSIAN, "best at"), (TPE, "looked for at")] {
        let record = searched(sampler, 24);
        let sheet = sheet(&record, &beliefs(&record, &["rate", "word"]).unwrap());
        assert_eq!((&*sheet.columns[1].name, sheet.rows.len()), (columns, 2));
        assert!(sheet.rows.iter().all(|row| row.len() == sheet.columns.len()), "{sheet:?}");
        assert!(sheet.note.unwrap().contains("24 trials"));
    }
}
