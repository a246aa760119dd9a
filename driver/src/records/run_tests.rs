//! Of the record of a run: what is best, how trials are ranked and counted.

use super::*;
use crate::records::counts::Counts;
use crate::results::fixtures::{at, diverged, finished, given_up, not_run, run, tested};
use broadsweep_common::metrics::Direction;
use broadsweep_common::task::Select;

#[test]
fn the_best_has_the_least_selected_error() {
    let record = run(vec![finished(0, 0.03), finished(1, 0.01), finished(2, 0.02)]);
    assert_eq!(record.best().unwrap().trial, TrialId(1));
    let order: Vec<u32> = record.ranking().iter().map(|trial| trial.trial.0).collect();
    assert_eq!(order, [1, 2, 0]);
}

#[test]
fn of_equal_errors_the_lower_trial_is_best_even_with_a_negative_zero() {
    let record = run(vec![finished(0, 0.2), finished(1, 0.0), finished(2, -0.0), finished(3, 0.0)]);
    assert_eq!(record.best().unwrap().trial, TrialId(1));
}

#[test]
fn neither_a_nan_nor_an_unfinished_trial_is_ever_best() {
    let record = run(vec![finished(0, f64::NAN), diverged(1, 1), given_up(2, "lost"), not_run(3), finished(4, 0.9)]);
    assert_eq!(record.best().unwrap().trial, TrialId(4));
    let record = run(vec![finished(0, f64::NAN), diverged(1, 1), given_up(2, "lost"), not_run(3)]);
    assert_eq!(record.best(), None);
}

#[test]
fn a_nan_trial_is_ranked_behind_all_others_and_one_without_a_value_not_at_all() {
    let mut record = run(vec![finished(0, f64::NAN), finished(1, 0.3), not_run(2), finished(3, 0.2)]);
    let ranked = |record: &RunRecord| record.ranking().iter().map(|trial| trial.trial.0).collect::<Vec<_>>();
    assert_eq!(ranked(&record), [3, 1, 0]);
    let direction = Direction::Maximize;
    record.objectives = Objective { direction, ..record.objective().clone() }.into();
    assert_eq!((ranked(&record), record.best().map(|best| best.trial.0)), (vec![1, 3, 0], Some(1)));
}

#[test]
fn the_last_look_stands_before_the_counted_epoch_but_ranks_nobody() {
    let trial = at(finished(0, 0.25), 2, &MetricName::TEST_ERROR, Some(0.5));
    assert_eq!(trial.metric(&MetricName::TEST_ERROR), Some(0.5));
    let record = RunRecord {
        objectives: Objective { metric: MetricName::TEST_ERROR, direction: Direction::Minimize }.into(),
        ..run(vec![tested(trial, 0.75)])
    };
    assert_eq!(record.trials[0].metric(&MetricName::TEST_ERROR), Some(0.75));
    assert_eq!(record.value_of(&record.trials[0]), Some(0.5));
}

#[test]
fn the_test_error_chooses_only_where_the_study_says_so() {
    let mut trials = vec![finished(0, 0.1), finished(1, 0.2)];
    for (trial, error) in trials.iter_mut().zip([0.5, 0.4]) {
        *trial = at(trial.clone(), 2, &MetricName::TEST_ERROR, Some(error));
    }
    let mut record = run(trials);
    assert_eq!(record.best().unwrap().trial, TrialId(0));
    record.objectives = Select::Test.objective().into();
    assert_eq!(record.best().unwrap().trial, TrialId(1));
}

#[test]
fn the_reduction_is_a_fraction_of_the_controls_test_error() {
    let mut record = run(vec![tested(finished(0, 0.04), 0.04), tested(finished(1, 0.02), 0.03)]);
    record.control = Some(TrialId(0));
    assert!((record.error_reduction().unwrap() - 0.25).abs() < 1e-12);
    record.trials[1] = tested(record.trials[1].clone(), 0.05);
    assert!((record.error_reduction().unwrap() + 0.25).abs() < 1e-12);
}

#[test]
fn there_is_no_reduction_without_a_control_that_was_tested_and_erred() {
    let trials = vec![tested(finished(0, 0.04), 0.04), tested(finished(1, 0.02), 0.03)];
    assert_eq!(run(trials.clone()).error_reduction(), None, "no control");
    let with_control = |trials| RunRecord { control: Some(TrialId(0)), ..run(trials) };
    assert_eq!(with_control(vec![finished(0, 0.04), trials[1].clone()]).error_reduction(), None, "control");
    assert_eq!(with_control(vec![trials[0].clone(), finished(1, 0.02)]).error_reduction(), None, "best");
    for error in [0.0, f64::NAN] {
        let control = tested(finished(0, 0.04), error);
        assert_eq!(with_control(vec![control, trials[1].clone()]).error_reduction(), None, "{error}");
    }
    let perfect = vec![tested(finished(0, 0.0), 0.0)];
    assert_eq!(with_control(perfect).error_reduction(), None, "0 of 0");
}

#[test]
fn every_trial_is_counted_once() {
    let record = run(vec![
        finished(0, 0.1),
        finished(1, 0.1),
        diverged(2, 1),
        given_up(3, "x"),
        not_run(4),
        TrialRecord { outcome: TrialOutcome::Paused { epoch: 1 }, ..not_run(5) },
    ]);
    let counts = Counts { planned: 6, finished: 2, failed: 1, diverged: 1, paused: 1, not_run: 1, left_out: 0 };
    assert_eq!(record.counts(), counts);
}
