//! What follows from each blob that has come, or has not.

use broadsweep_common::attempt::ArtifactName;
use broadsweep_common::ids::TaskId;

use super::*;
use crate::cluster::LinkEvent;
use crate::run::bench::{Bench, attempt, content, epoch, epoch_with, release, session_end, trained};

const FIRST: AttemptId = AttemptId { task: TaskId(0), number: 1 };
const WEIGHTS: (Cargo, &str) = (Cargo::Weights, "weights/0");

/// One trial, which trains on the first of these executors and has done an epoch.
fn training(executors: &[&str]) -> Bench {
    let mut bench = Bench::new(1, executors);
    for executor in 0..executors.len() as u32 {
        bench.is_ready(executor, 1, &[]);
    }
    bench.tells(0, FIRST, epoch(1, 0.5));
    bench
}

#[tokio::test(start_paused = true)]
async fn what_comes_damaged_is_asked_for_three_times_before_its_attempt_has_failed() {
    let (mut bench, [weights, others]) = (training(&["a"]), [1, 2].map(content));
    let pull = ["0: pull weights/0 of t0.1, 65 MiB at most"];
    assert_eq!(bench.tells(0, FIRST, trained(1, ArtifactName::Weights, &weights)), pull);
    bench.acknowledged();
    for _ in 0..2 {
        assert_eq!(bench.brings(0, FIRST, WEIGHTS, &others), pull);
    }
    assert_eq!(bench.acknowledged(), [""; 0]);
    let told = bench.brings(0, FIRST, WEIGHTS, &others);
    assert_eq!(told, [release(0, FIRST, &weights), "0: launch t0.2".to_owned()], "nobody wants it any more");
    assert_eq!(bench.acknowledged(), ["0: 2 []"]);
    assert!(matches!(bench.end(FIRST), Some(AttemptEnd::Failed { reason }) if reason.contains("another blob")));
}

#[tokio::test(start_paused = true)]
async fn a_result_counts_once_it_comes_from_the_executor_that_has_it() {
    let (mut bench, weights) = (training(&["a", "b"]), content(1));
    bench.tells(0, FIRST, trained(1, ArtifactName::Weights, &weights));
    assert_eq!(bench.brings(1, FIRST, WEIGHTS, &weights), [""; 0]);
    assert_eq!(bench.end(FIRST), None);
    assert_eq!(bench.brings(0, FIRST, WEIGHTS, &weights), [release(0, FIRST, &weights)]);
    assert_eq!(bench.end(FIRST), Some(AttemptEnd::Completed));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_comes_after_another_attempts_is_released_and_beaten() {
    let (mut bench, second, [weights, others]) = (training(&["a", "b"]), attempt(0, 2), [1, 2].map(content));
    // The first is lost, comes back, and trains beside the one that took its place.
    bench.hear(0, session_end());
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    bench.run.feed(Event::Deadline);
    assert_eq!(bench.turn(), ["1: launch t0.2"]);
    assert_eq!(bench.is_ready(0, 1, &[FIRST]), [""; 0]);
    bench.tells(1, second, epoch(1, 0.5));
    for (executor, attempt, blob) in [(0, FIRST, &weights), (1, second, &others)] {
        let told = bench.tells(executor, attempt, trained(1, ArtifactName::Weights, blob));
        assert_eq!(told, [format!("{executor}: pull weights/0 of {attempt}, 65 MiB at most")]);
    }
    bench.acknowledged();
    let told = bench.brings(1, second, WEIGHTS, &others);
    assert_eq!(told, ["0: stop t0.1".to_owned(), release(1, second, &others)]);
    assert_eq!(bench.brings(0, FIRST, WEIGHTS, &weights), [release(0, FIRST, &weights)]);
    let ends = [FIRST, second].map(|attempt| bench.end(attempt));
    assert_eq!(ends, [Some(AttemptEnd::Beaten), Some(AttemptEnd::Completed)]);
    assert_eq!(bench.acknowledged().len(), 2, "nobody waits for either any more");
}

#[tokio::test(start_paused = true)]
async fn only_a_newer_state_takes_the_place_of_one_that_is_safe() {
    let (mut bench, states) = (training(&["a"]), [1, 2].map(content));
    bench.tells(0, FIRST, epoch_with(2, 0.5, &states[1]));
    bench.brings_state(0, FIRST, 2, &states[1]);
    for number in [1, 2] {
        bench.brings_state(0, FIRST, number, &states[number as usize - 1]);
        assert_eq!(bench.safe_epoch(), Some(2), "epoch {number}");
        assert!(bench.states().contains(&"t0-2".to_owned()), "epoch {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_that_comes_after_the_end_of_its_task_goes_again() {
    let (mut bench, [state, weights]) = (Bench::new(2, &["a"]), [1, 2].map(content));
    bench.is_ready(0, 1, &[]);
    bench.tells(0, FIRST, epoch_with(1, 0.5, &state));
    bench.tells(0, FIRST, trained(1, ArtifactName::Weights, &weights));
    bench.brings(0, FIRST, WEIGHTS, &weights);
    assert_eq!(bench.end(FIRST), Some(AttemptEnd::Completed));
    bench.brings_state(0, FIRST, 1, &state);
    assert_eq!((bench.states(), bench.safe_epoch()), (Vec::new(), None));
}

#[tokio::test(start_paused = true)]
async fn a_state_that_comes_while_weights_are_waited_for_is_not_taken_for_them() {
    let (mut bench, [state, weights]) = (training(&["a"]), [1, 2].map(content));
    bench.tells(0, FIRST, epoch_with(2, 0.5, &state));
    bench.tells(0, FIRST, trained(2, ArtifactName::Weights, &weights));
    assert_eq!(bench.brings_state(0, FIRST, 2, &state), [""; 0]);
    assert_eq!((bench.safe_epoch(), bench.end(FIRST)), (Some(2), None));
}

#[tokio::test(start_paused = true)]
async fn a_state_of_an_attempt_that_is_doubted_is_not_gone_on_from() {
    let (mut bench, state) = (training(&["a"]), content(1));
    bench.tells(0, FIRST, epoch_with(2, 0.5, &state));
    bench.tells(0, FIRST, epoch(9, 0.5));
    bench.brings_state(0, FIRST, 2, &state);
    assert_eq!(bench.safe_epoch(), None);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_does_not_come_is_not_waited_for() {
    let (mut bench, states) = (training(&["a"]), [1, 2].map(content));
    bench.tells(0, FIRST, epoch_with(2, 0.5, &states[0]));
    bench.tells(0, FIRST, epoch_with(3, 0.5, &states[1]));
    let (address, reason) = ("a".to_owned(), "cut".to_owned());
    let content = Err(PullError::Link(crate::cluster::LinkError::Broken { address, reason }));
    let cargo = Cargo::Checkpoint { epoch: 2 };
    let told = bench.hear(0, LinkEvent::Pulled { attempt: FIRST, cargo, content });
    assert_eq!(told, ["0: pull checkpoints/t0-3 of t0.1, 65 MiB at most"]);
    assert_eq!(bench.safe_epoch(), None);
}
