//! Rungs of trials whose pauses are known.

use std::num::NonZeroU32;

use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{Direction, MetricName, Objective};
use broadsweep_search::{PrunerKind, RungSpacing};

use super::*;
use crate::results::fixtures::{curves, diverged, epoch, finished, run, searched_by};

/// Rungs after 1 and 4 epochs of 8.
const EVERY_FOUR: RungSpacing = RungSpacing {
    min_epochs: NonZeroU32::MIN,
    eta_percent: NonZeroU32::new(400).unwrap(),
    epochs_max: NonZeroU32::new(8).unwrap(),
};

/// A trial with these errors, epoch by epoch, of eight that it may have; it paused after each epoch of `rungs`, and was not
/// continued after the last of them if it `stays`.
pub(crate) fn climbed(trial: u32, errors: &[f64], rungs: &[u32], stays: bool) -> TrialRecord {
    let last = errors.len() as u32;
    let outcome = if stays { TrialOutcome::Paused { epoch: last } } else { TrialOutcome::Finished { epoch: last } };
    let rungs = rungs.iter().copied().filter(|rung| !stays || *rung < last).collect();
    let curves = curves(errors.iter().copied().map(epoch));
    TrialRecord { epochs_max: 8, outcome, rungs, curves, ..finished(trial, 0.5) }
}

/// Six trials: rungs after epochs 1 and 4, and one that diverges.
pub(crate) fn pruned() -> RunRecord {
    let early = [0.5, 0.2, 0.3, 0.6];
    let mut trials: Vec<_> = (0..4).map(|trial| climbed(trial, &early[trial as usize..][..1], &[1], true)).collect();
    trials[1] = climbed(1, &[0.2, 0.2, 0.2, 0.15], &[1, 4], true);
    trials[2] = climbed(2, &[0.3, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05], &[1, 4], false);
    trials.extend([diverged(4, 1), climbed(5, &[0.25], &[1], true)]);
    RunRecord { search: Some(searched_by(PrunerKind::Asha(EVERY_FOUR))), ..run(trials) }
}

#[test]
fn a_rung_tells_who_went_on_and_what_came_between() {
    let rungs = rungs(&pruned()).unwrap();
    assert_eq!((rungs.pruner, rungs.has_brackets, rungs.judged.len()), ("asha", false, 2));
    let [first, second] = &rungs.judged[..] else { panic!("{rungs:?}") };
    let places: Vec<_> = first.trials.iter().map(|trial| (trial.place, trial.went_on)).collect();
    assert_eq!(places, [(1, true), (5, false), (2, true), (0, false), (3, false)], "the best first");
    assert_eq!((first.epoch, first.count_on(), first.worst_on()), (1, 2, Some(0.3)));
    assert_eq!((first.best_stopped(), first.threshold()), (Some(0.25), Some((0.2, 1))));
    assert_eq!((second.epoch, second.trials.len(), second.worst_on()), (4, 2, Some(0.1)));
    assert_eq!((second.best_stopped(), second.threshold()), (Some(0.15), Some((0.1, 0))));
}

#[test]
fn the_threshold_leaves_as_few_as_possible_on_its_wrong_side() {
    let threshold = |on: &[bool]| {
        let trial =
            |(place, went_on): (usize, &bool)| JudgedTrial { place, value: Some(place as f64), went_on: *went_on };
        JudgedRung { bracket: 0, epoch: 1, trials: on.iter().enumerate().map(trial).collect() }.threshold()
    };
    assert_eq!(threshold(&[true, true, false, false]), Some((1.0, 0)));
    assert_eq!(threshold(&[true, false, true, true, false, false, true]), Some((3.0, 2)));
    assert_eq!(threshold(&[false, true, false]), Some((1.0, 1)));
    assert_eq!((threshold(&[false, false]), threshold(&[])), (None, None));
}

#[test]
fn epochs_are_compared_with_what_all_trials_would_have_taken() {
    let rungs = rungs(&pruned()).unwrap();
    // One epoch each of three that stopped at once, four, all eight, and none of the one that diverged.
    assert_eq!((rungs.epochs, rungs.epochs_in_full), (3 + 4 + 8, 5 * 8));
    let said = "asha trained 6 configurations with 38 % of the epochs that all of them would have taken (15 of 40); one was \
                trained to the end.";
    assert_eq!(rungs.sentence(true), said);
    assert_eq!(rungs.sentence(false), format!("So far, {said}"));
}

#[test]
fn values_that_are_to_be_large_are_the_other_way_round_and_what_is_none_is_the_worst() {
    let mut record = pruned();
    record.objectives = Objective { metric: MetricName::VALIDATION_ERROR, direction: Direction::Maximize }.into();
    let first = &rungs(&record).unwrap().judged[0];
    assert_eq!(first.trials.iter().map(|trial| trial.place).collect::<Vec<_>>(), [3, 0, 2, 5, 1]);
    assert_eq!((first.worst_on(), first.best_stopped()), (Some(0.2), Some(0.6)));
    let mut record = pruned();
    record.trials[1] = climbed(1, &[f64::NAN, 0.2], &[1], true);
    record.trials[1].rungs = vec![1];
    let first = &rungs(&record).unwrap().judged[0];
    let last = first.trials.last().unwrap();
    assert_eq!((last.place, last.value, last.went_on, first.threshold()), (1, None, true, Some((0.3, 2))));
}

#[test]
fn the_rungs_of_a_bracket_stand_together() {
    let kind = PrunerKind::Hyperband(EVERY_FOUR);
    let pruner = kind.pruner();
    let first_of = |bracket| (0..40).find(|trial| pruner.bracket_of(TrialId(*trial)) == bracket).unwrap();
    let mut trials = vec![climbed(first_of(0), &[0.5], &[1], true), climbed(first_of(1), &[0.5; 4], &[4], true)];
    trials.push(climbed(first_of(0), &[0.4; 4], &[1, 4], true));
    let record = RunRecord { search: Some(searched_by(kind)), ..run(trials) };
    let rungs = rungs(&record).unwrap();
    let found: Vec<_> = rungs.judged.iter().map(|rung| (rung.bracket, rung.epoch, rung.trials.len())).collect();
    assert_eq!((found, rungs.has_brackets), (vec![(0, 1, 2), (0, 4, 1), (1, 4, 1)], true));
    assert_eq!(sheet(&record, &rungs).columns[0].name, "bracket");
}

#[test]
fn a_run_without_a_pruner_has_no_rungs() {
    assert_eq!(rungs(&run(vec![finished(0, 0.5)])), None);
    let unpruned = RunRecord { search: Some(searched_by(PrunerKind::None)), ..run(vec![finished(0, 0.5)]) };
    assert_eq!(rungs(&unpruned), None);
}

#[test]
fn the_table_has_a_row_a_rung() {
    let record = pruned();
    let sheet = sheet(&record, &rungs(&record).unwrap());
    assert!(sheet.rows.iter().all(|row| row.len() == sheet.columns.len()), "{sheet:?}");
    assert_eq!(sheet.rows[0], ["1", "5", "2", "3", "20.00 %", "20.00 %", "30.00 %", "25.00 %"]);
    assert_eq!(sheet.rows[1], ["4", "2", "1", "1", "10.00 %", "10.00 %", "10.00 %", "15.00 %"]);
}
