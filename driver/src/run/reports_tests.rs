//! What follows from each report.

use broadsweep_common::attempt::{ArtifactName, Durations};
use broadsweep_common::ids::{TaskId, TrialId};
use broadsweep_common::metrics::MetricName;
use broadsweep_common::task::Replicate;

use super::*;
use crate::cluster::LinkEvent;
use crate::records::difference::{DifferenceRecord, Odd};
use crate::run::bench::{Bench, attempt, content, epoch, epoch_with, failed, release, session_end, stopped, trained};
use crate::run::record::Difference;

const FIRST: AttemptId = AttemptId { task: TaskId(0), number: 1 };

/// One trial, which trains on the first of these executors.
fn training(executors: &[&str]) -> Bench {
    let mut bench = Bench::new(1, executors);
    assert_eq!(bench.is_ready(0, 1, &[]), ["0: launch t0.1"]);
    for executor in 1..executors.len() as u32 {
        assert_eq!(bench.is_ready(executor, 1, &[]), [""; 0]);
    }
    bench.said();
    bench
}

fn diverged(epoch: u32) -> AttemptEvent {
    AttemptEvent::Ended(Ended::Diverged { epoch })
}

#[tokio::test(start_paused = true)]
async fn an_epoch_is_written_down_and_acknowledged_and_the_newest_state_is_fetched() {
    let (mut bench, states) = (training(&["a"]), [1, 2, 3].map(content));
    let told = bench.tells(0, FIRST, epoch_with(1, 0.5, &states[0]));
    assert_eq!(told, ["0: pull checkpoints/t0-1 of t0.1, 65 MiB at most"]);
    assert_eq!((bench.epochs(0), bench.acknowledged()), (1, vec!["0: 1 []".to_owned()]));
    for (number, state) in (2..).zip(&states[1..]) {
        assert_eq!(bench.tells(0, FIRST, epoch_with(number, 0.5, state)), [""; 0], "one is on its way");
    }
    let told = bench.brings_state(0, FIRST, 1, &states[0]);
    assert_eq!(told, ["0: pull checkpoints/t0-3 of t0.1, 65 MiB at most"]);
    assert_eq!(bench.safe_epoch(), Some(1));
    bench.brings_state(0, FIRST, 3, &states[2]);
    assert_eq!((bench.safe_epoch(), bench.states()), (Some(3), vec!["t0-3".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_an_executor_tells_of_anothers_attempt_is_released_and_not_believed() {
    let (mut bench, state) = (training(&["a", "b"]), content(1));
    assert_eq!(bench.tells(1, FIRST, epoch_with(1, 0.5, &state)), [release(1, FIRST, &state)]);
    assert_eq!((bench.epochs(0), bench.acknowledged()), (0, vec!["1: 1 []".to_owned()]));
    assert_eq!(bench.tells(1, FIRST, failed()), [""; 0]);
    assert_eq!(bench.end(FIRST), None);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_holds_what_nobody_wants_is_free_once_that_has_ended() {
    let (mut bench, unwanted) = (Bench::new(1, &["a"]), attempt(0, 5));
    assert_eq!(bench.is_ready(0, 1, &[unwanted]), ["0: stop t0.5"]);
    assert_eq!(bench.tells(0, unwanted, epoch(1, 0.5)), [""; 0]);
    assert_eq!(bench.tells(0, unwanted, stopped()), ["0: launch t0.1"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_tells_what_cannot_be_is_stopped_and_not_believed_any_more() {
    let (mut bench, blob) = (training(&["a"]), content(1));
    assert_eq!(bench.tells(0, FIRST, epoch(2, 0.5)), ["0: stop t0.1"]);
    assert!(bench.said().contains("a: trial 0 reported epoch 2 out of turn"));
    assert_eq!(bench.tells(0, FIRST, epoch_with(1, 0.5, &blob)), [release(0, FIRST, &blob)]);
    assert_eq!(bench.epochs(0), 0);
    let told = bench.tells(0, FIRST, trained(1, ArtifactName::Weights, &blob));
    assert_eq!(told, [release(0, FIRST, &blob), "0: launch t0.2".to_owned()]);
    assert!(matches!(bench.end(FIRST), Some(AttemptEnd::Failed { reason }) if reason.contains("epoch 2")));
}

#[tokio::test(start_paused = true)]
async fn each_executor_has_its_own_share_of_lists_of_metrics() {
    let mut bench = training(&["a", "b"]);
    let of = |number: u32| Metrics::from_iter([(MetricName::new(&format!("metric {number}")).unwrap(), 0.5)]);
    let [first, second] = [0, 1].map(ExecutorId);
    for number in 0..NAME_LISTS_OF_EXECUTOR_MAX {
        assert!(bench.run.row_of(first, &of(number)).is_some(), "list {number}");
    }
    assert_eq!(bench.run.row_of(first, &of(1000)), None);
    assert!(bench.run.row_of(first, &of(0)).is_some(), "one that is known");
    assert!(bench.run.row_of(second, &of(1000)).is_some());
    let event = AttemptEvent::Epoch { epoch: 1, metrics: of(2000), checkpoint: None };
    assert_eq!(bench.tells(0, FIRST, event), ["0: stop t0.1"]);
    assert!(bench.said().contains("a: it reports other metrics at each epoch"));
    assert_eq!(bench.epochs(0), 0);
}

#[tokio::test(start_paused = true)]
async fn where_two_executors_differ_a_third_one_says_who_is_right() {
    for (error, line, odd) in [
        (0.5, "c computed the same as a: b is the odd one", Odd::Other),
        (0.75, "c computed the same as b: a is the odd one", Odd::First),
        (0.1, "c computed others again: nobody can say who is right", Odd::Unknown),
    ] {
        let mut bench = training(&["a", "b", "c"]);
        bench.tells(0, FIRST, epoch(1, 0.5));
        assert_eq!(bench.is_lost(0), ["1: launch t0.2"]);
        let told = bench.tells(1, attempt(0, 2), epoch(1, 0.75));
        assert_eq!(told, ["1: stop t0.2", "2: launch t1.1"]);
        let said = bench.said();
        assert!(said.contains("trial 0, epoch 1: b computed other numbers than a did before"), "{said}");
        bench.tells(2, attempt(1, 1), epoch(1, error));
        let said = bench.said();
        assert!(said.contains(line), "{said}");
        let differences = &bench.run.chronicle.book().differences;
        assert_eq!(differences.values().map(|known| known.told.odd).collect::<Vec<_>>(), [odd]);
        // What it was told to stop for is its fault only where it is the odd one.
        bench.tells(1, attempt(0, 2), stopped());
        let end = bench.end(attempt(0, 2)).unwrap();
        assert_eq!(matches!(end, AttemptEnd::Failed { .. }), odd == Odd::Other, "{end:?}");
        assert_eq!(matches!(end, AttemptEnd::Doubted { .. }), odd != Odd::Other, "{end:?}");
        assert_eq!(bench.epochs(0), 1, "what stands, stands");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_ends_without_having_told_leaves_the_run_in_doubt() {
    let mut bench = training(&["a", "b", "c"]);
    bench.tells(0, FIRST, epoch(1, 0.5));
    bench.is_lost(0);
    bench.tells(1, attempt(0, 2), epoch(1, 0.75));
    bench.tells(2, attempt(1, 1), AttemptEvent::Ended(Ended::Trained { epoch: 1, artifacts: Vec::new() }));
    let said = bench.said();
    assert!(said.contains("no third executor could tell whether a or b is right"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_diverges_agrees_with_whoever_diverged_there() {
    let mut bench = training(&["a", "b", "c"]);
    bench.tells(0, FIRST, epoch(1, 0.5));
    bench.is_lost(0);
    bench.tells(1, attempt(0, 2), diverged(1));
    bench.tells(2, attempt(1, 1), diverged(1));
    let said = bench.said();
    assert!(said.contains("c computed the same as b: a is the odd one"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn where_two_have_told_the_same_before_nobody_else_is_asked() {
    let mut bench = training(&["a", "b", "c"]);
    for (executor, next) in [(0, "1: launch t0.2"), (1, "2: launch t0.3")] {
        bench.tells(executor, attempt(0, executor + 1), epoch(1, 0.5));
        assert_eq!(bench.is_lost(executor), [next]);
    }
    assert_eq!(bench.tells(2, attempt(0, 3), epoch(1, 0.75)), ["2: stop t0.3"]);
    let said = bench.said();
    assert!(said.contains("b computed the same as a: c is the odd one"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_executor_may_differ_from_itself() {
    let mut bench = training(&["a"]);
    bench.tells(0, FIRST, epoch(1, 0.5));
    bench.hear(0, session_end());
    assert_eq!(bench.is_ready(0, 2, &[]), ["0: launch t0.2"]);
    bench.tells(0, attempt(0, 2), epoch(1, 0.75));
    let said = bench.said();
    assert!(said.contains("a computed other numbers than it did before"), "{said}");
}

/// Three executors, the second of which tells other numbers than the first did; the third is busy with another trial.
fn doubtful() -> Bench {
    let mut bench = Bench::new(2, &["a", "b", "c"]);
    assert_eq!(bench.is_ready(0, 1, &[]), ["0: launch t0.1"]);
    assert_eq!(bench.is_ready(2, 1, &[]), ["2: launch t1.1"]);
    bench.tells(0, FIRST, epoch(1, 0.5));
    assert_eq!(bench.is_lost(0), [""; 0]);
    assert_eq!(bench.is_ready(1, 1, &[]), ["1: launch t0.2"]);
    bench
}

#[tokio::test(start_paused = true)]
async fn the_next_driver_goes_on_with_a_check_and_waits_for_those_who_can_do_it() {
    let mut bench = doubtful();
    assert_eq!(bench.tells(1, attempt(0, 2), epoch(1, 0.75)), ["1: stop t0.2"]);
    let mut bench = bench.resumed(&["a", "b", "c"]);
    bench.is_ready(1, 1, &[attempt(0, 2)]);
    assert_eq!(bench.is_ready(2, 1, &[attempt(1, 1)]), [""; 0]);
    let said = bench.said();
    assert!(!said.contains("no third executor"), "the third one was not there yet: {said}");
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    let weights = content(1);
    bench.tells(2, attempt(1, 1), epoch(1, 0.5));
    bench.tells(2, attempt(1, 1), trained(1, ArtifactName::Weights, &weights));
    let told = bench.brings(2, attempt(1, 1), (Cargo::Weights, "weights/1"), &weights);
    assert_eq!(told, [release(2, attempt(1, 1), &weights), "2: launch t2.1".to_owned()]);
    let mut bench = bench.resumed(&["a", "b", "c"]);
    bench.is_ready(2, 1, &[attempt(2, 1)]);
    let said = bench.said();
    assert!(!said.contains("no third executor"), "it is under way: {said}");
    bench.tells(2, attempt(2, 1), epoch(1, 0.5));
    assert!(bench.said().contains("c computed the same as a: b is the odd one"));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_its_driver_had_no_time_to_add_is_added_by_the_next_one() {
    let mut bench = doubtful();
    let replicate = Replicate::first(TrialId(0));
    let (first, other) = (ExecutorId(0), ExecutorId(1));
    let told = DifferenceRecord { trial: TrialId(0), epoch: 1, first, other, odd: Odd::Sought };
    let difference = Difference { told, attempt: attempt(0, 2), row: None };
    bench.run.note(&Record::Differs { replicate, difference });
    bench.run.commit().unwrap();
    let mut bench = bench.resumed(&["a", "b", "c"]);
    bench.slots = 2;
    assert_eq!(bench.is_ready(2, 1, &[attempt(1, 1)]), [""; 0], "others may come back with something");
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    bench.run.feed(Event::Deadline);
    assert_eq!(bench.turn(), ["2: launch t2.1"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_begins_anew_says_so_and_its_older_states_are_not_wanted() {
    let states = [1, 2, 3].map(content);
    let lost_after_two = || {
        let mut bench = training(&["a", "b"]);
        bench.tells(0, FIRST, epoch(1, 0.5));
        bench.tells(0, FIRST, epoch_with(2, 0.5, &states[1]));
        bench.brings_state(0, FIRST, 2, &states[1]);
        assert!(!bench.said().contains("could not use"));
        assert_eq!(bench.is_lost(0), ["1: launch t0.2 with checkpoints/t0-2"]);
        bench
    };
    let (mut goes_on, second) = (lost_after_two(), attempt(0, 2));
    goes_on.tells(1, second, epoch(3, 0.5));
    let said = goes_on.said();
    assert!(!said.contains("could not use"), "{said}");
    let mut begins_anew = lost_after_two();
    for (number, state) in (1..).zip(&states[..2]) {
        let told = begins_anew.tells(1, second, epoch_with(number, 0.5, state));
        assert_eq!(told, [release(1, second, state)], "epoch {number}");
    }
    let said = begins_anew.said();
    assert!(said.contains("could not use its checkpoint of epoch 2; it trains from the beginning"), "{said}");
    let told = begins_anew.tells(1, second, epoch_with(3, 0.5, &states[2]));
    assert_eq!(told, ["1: pull checkpoints/t0-3 of t0.2, 65 MiB at most"]);
}

#[tokio::test(start_paused = true)]
async fn a_training_that_diverges_has_its_result_unless_another_attempt_came_further() {
    let mut alone = training(&["a"]);
    alone.tells(0, FIRST, epoch(1, 0.5));
    alone.tells(0, FIRST, diverged(2));
    assert_eq!(alone.end(FIRST), Some(AttemptEnd::Completed));
    let mut second = training(&["a", "b", "c"]);
    second.tells(0, FIRST, epoch(1, 0.5));
    second.is_lost(0);
    second.said();
    second.tells(1, attempt(0, 2), diverged(1));
    assert!(second.said().contains("b computed other numbers than a did before"));
    assert!(matches!(second.end(attempt(0, 2)), Some(AttemptEnd::Doubted { .. })));
}

#[tokio::test(start_paused = true)]
async fn weights_are_fetched_of_the_best_trial_only() {
    let (mut bench, second, weights) = (Bench::new(2, &["a"]), attempt(1, 1), content(1));
    bench.is_ready(0, 1, &[]);
    bench.tells(0, FIRST, epoch(1, 0.25));
    let told = bench.tells(0, FIRST, trained(1, ArtifactName::Weights, &weights));
    assert_eq!(told, ["0: pull weights/0 of t0.1, 65 MiB at most"]);
    let told = bench.brings(0, FIRST, (Cargo::Weights, "weights/0"), &weights);
    assert_eq!(told, [release(0, FIRST, &weights), "0: launch t1.1".to_owned()]);
    bench.tells(0, second, epoch(1, 0.5));
    let told = bench.tells(0, second, trained(1, ArtifactName::Weights, &weights));
    assert_eq!(told, [release(0, second, &weights)]);
    assert_eq!(bench.end(second), Some(AttemptEnd::Completed));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_may_stop_where_it_was_told_to_or_its_executor_leaves_or_nobody_was_there() {
    let mut unasked = training(&["a"]);
    assert_eq!(unasked.tells(0, FIRST, stopped()), ["0: launch t0.2"]);
    assert!(matches!(unasked.end(FIRST), Some(AttemptEnd::Failed { reason }) if reason.contains("being asked")));
    let mut interrupted = training(&["a"]);
    interrupted.run.stop();
    assert_eq!(interrupted.turn(), ["0: stop t0.1 after its epoch"]);
    let mut leaving = training(&["a"]);
    leaving.hear(0, LinkEvent::Draining);
    let mut was_alone = training(&["a"]);
    was_alone.hear(0, session_end());
    was_alone.is_ready(0, 1, &[FIRST]);
    for (what, mut bench) in [("interrupted", interrupted), ("leaving", leaving), ("was alone", was_alone)] {
        bench.tells(0, FIRST, stopped());
        assert_eq!(bench.end(FIRST), Some(AttemptEnd::Stopped), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_attempt_that_stopped_waits_for_its_last_state() {
    let (mut bench, states) = (training(&["a"]), [1, 2].map(content));
    bench.hear(0, LinkEvent::Draining);
    bench.tells(0, FIRST, epoch_with(1, 0.5, &states[0]));
    bench.tells(0, FIRST, epoch_with(2, 0.5, &states[1]));
    bench.acknowledged();
    assert_eq!(bench.tells(0, FIRST, stopped()), [""; 0]);
    let told = bench.brings_state(0, FIRST, 1, &states[0]);
    assert_eq!(told, ["0: pull checkpoints/t0-2 of t0.1, 65 MiB at most"]);
    assert_eq!((bench.end(FIRST), bench.acknowledged()), (None, Vec::new()));
    assert_eq!(bench.brings_state(0, FIRST, 2, &states[1]), [release(0, FIRST, &states[1])]);
    let told = bench.acknowledged();
    assert_eq!((bench.end(FIRST), told), (Some(AttemptEnd::Stopped), vec!["0: 3 []".to_owned()]));
    assert_eq!(bench.safe_epoch(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_state_that_waits_to_be_fetched_is_released_when_its_attempt_is_over() {
    let (mut bench, states) = (training(&["a"]), [1, 2].map(content));
    bench.tells(0, FIRST, epoch_with(1, 0.5, &states[0]));
    bench.tells(0, FIRST, epoch_with(2, 0.5, &states[1]));
    let told = bench.tells(0, FIRST, failed());
    assert_eq!(told, [release(0, FIRST, &states[1]), "0: launch t0.2".to_owned()]);
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_spent_is_written_down_by_phase() {
    let mut bench = training(&["a"]);
    let seconds = std::time::Duration::from_secs;
    let durations = Durations { training: seconds(3), evaluation: seconds(2), ..Durations::default() };
    bench.hear(
        0,
        LinkEvent::Reports { sequence: 1, reports: vec![Report { attempt: FIRST, durations, event: failed() }] },
    );
    let known = bench.run.chronicle.book().attempt(FIRST).unwrap();
    assert_eq!((known.training_s, known.evaluation_s), (3.0, 2.0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_due_from_an_attempt_while_its_result_is_fetched() {
    let (mut bench, weights) = (training(&["a"]), content(1));
    bench.tells(0, FIRST, epoch(1, 0.5));
    bench.tells(0, FIRST, trained(1, ArtifactName::Weights, &weights));
    tokio::time::advance(std::time::Duration::from_hours(1)).await;
    bench.run.feed(Event::Deadline);
    assert_eq!((bench.turn(), bench.said()), (Vec::new(), String::new()));
    let told_again = bench.tells(0, FIRST, trained(1, ArtifactName::Weights, &weights));
    assert!(!told_again.iter().any(|order| order.contains("pull")), "it is fetched twice: {told_again:?}");
    bench.brings(0, FIRST, (Cargo::Weights, "weights/0"), &weights);
    assert_eq!(bench.end(FIRST), Some(AttemptEnd::Completed));
    assert_eq!(bench.run.chronicle.book().value_of(TrialId(0)), Some(0.5.into()));
}
