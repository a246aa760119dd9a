//! What the commands of the scheduler lead to.

use std::time::Duration;

use broadsweep_common::attempt::ArtifactName;
use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::ids::TrialId;
use broadsweep_scheduler::Event;
use broadsweep_search::{Decision, Origin};

use super::*;
use crate::cluster::Cargo;
use crate::run::bench::{Bench, EPOCHS, attempt, content, epoch, epoch_with, failed, release, stopped, trained};

const FIRST: AttemptId = AttemptId { task: TaskId(0), number: 1 };

#[tokio::test(start_paused = true)]
async fn the_number_of_an_attempt_that_was_never_launched_is_taken() {
    let mut bench = Bench::new(1, &["a"]);
    bench.slots = 2;
    assert_eq!(bench.is_ready(0, 1, &[FIRST]), ["0: stop t0.1", "0: launch t0.2"]);
    let ends = [FIRST, attempt(0, 2)].map(|attempt| bench.end(attempt));
    assert_eq!(ends, [Some(AttemptEnd::NeverArrived), None]);
    bench.tells(0, FIRST, stopped());
    assert_eq!(bench.end(FIRST), Some(AttemptEnd::NeverArrived), "nobody made it");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_nobody_comes_back_with_is_an_orphan_once_its_task_is_launched_again() {
    let mut former = Bench::new(1, &["a", "b"]);
    former.is_ready(0, 1, &[]);
    let mut bench = former.resumed(&["a", "b"]);
    assert_eq!(bench.is_ready(1, 1, &[]), [""; 0], "the first may still come back with it");
    assert_eq!(bench.end(FIRST), None);
    tokio::time::advance(Duration::from_secs(11)).await;
    bench.run.feed(Event::Deadline);
    assert_eq!(bench.turn(), ["1: launch t0.2"]);
    assert_eq!(bench.end(FIRST), Some(AttemptEnd::Orphaned));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_given_up_says_why_and_what_was_wrong_last() {
    let mut bench = Bench::new(1, &["a"]);
    bench.is_ready(0, 1, &[]);
    for number in 1..=4 {
        bench.tells(0, attempt(0, number), failed());
    }
    let said = bench.said();
    let expected = "trial 0 is given up: its program failed 4 times; the last time: it is broken";
    assert!(said.contains(expected), "{said}");
    let reason = bench.run.why_given_up(TaskId(0), GivenUp::FitsNowhere);
    assert_eq!(reason, "no executor that is there can do it; the last time: it is broken");
    let reason = bench.run.why_given_up(TaskId(1), GivenUp::FitsNowhere);
    assert_eq!(reason, "no executor that is there can do it", "nothing was wrong before");
}

#[tokio::test(start_paused = true)]
async fn people_hear_of_an_attempt_that_hangs_and_of_an_executor_that_is_left_alone() {
    let mut bench = Bench::new(1, &["a"]);
    bench.is_ready(0, 1, &[]);
    let (executor, silent) = (ExecutorId(0), Duration::from_secs(70));
    bench.run.on_command(Command::Cancel(executor, FIRST, CancelReason::Hung { silent }));
    bench.run.on_command(Command::Exclude { executor, until: Moment(9_000_000), failures: 3 });
    assert_eq!(bench.turn(), ["0: stop t0.1"]);
    assert_eq!(bench.end(FIRST), Some(AttemptEnd::Hung { silent_s: 70 }));
    let said = bench.said();
    assert!(said.contains("t0.1 on a reported no epoch for") && said.contains("it is made again"), "{said}");
    assert!(said.contains("a: 3 attempts in a row failed there"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_comes_back_goes_on_and_stops_after_its_epoch_where_all_is_to_end() {
    let mut former = Bench::new(1, &["a"]);
    former.is_ready(0, 1, &[]);
    let mut bench = former.resumed(&["a"]);
    assert_eq!(bench.is_ready(0, 1, &[FIRST]), [""; 0]);
    assert!(bench.said().contains("t0.1 goes on at a"));
    let mut stopping = bench.resumed(&["a"]);
    stopping.run.stopping = true;
    let told = stopping.is_ready(0, 1, &[FIRST]);
    assert!(told.contains(&"0: stop t0.1 after its epoch".to_owned()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_state_of_a_trial_that_is_trained_goes() {
    let (mut bench, blob) = (Bench::new(1, &["a"]), content(1));
    bench.is_ready(0, 1, &[]);
    bench.tells(0, FIRST, epoch_with(1, 0.5, &blob));
    bench.brings_state(0, FIRST, 1, &blob);
    assert_eq!(bench.states(), ["t0-1"]);
    bench.tells(0, FIRST, trained(1, ArtifactName::Weights, &blob));
    assert_eq!(bench.states(), ["t0-1"], "its result is not safe yet");
    bench.brings(0, FIRST, (Cargo::Weights, "weights/0"), &blob);
    assert_eq!(bench.states(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_paused_goes_on_from_its_state_which_goes_when_it_is_trained() {
    let configuration = Configuration::from_iter([("n", Value::Integer(i64::from(EPOCHS)))]);
    let start = Decision::Start { configuration, origin: Origin::Point(0), until_epoch: Some(1) };
    let further = Decision::Continue { trial: TrialId(0), until_epoch: EPOCHS };
    let mut bench = Bench::scripted(vec![start, Decision::Wait, further, Decision::Wait], &["a"]);
    let (second, state) = (attempt(1, 1), content(1));
    assert_eq!(bench.is_ready(0, 1, &[]), ["0: launch t0.1"]);
    // The same state comes twice: as a checkpoint, and as what the trial pauses with.
    let told = bench.tells(0, FIRST, epoch_with(1, 0.5, &state));
    assert_eq!(told, ["0: pull checkpoints/t0-1 of t0.1, 64 MiB at most"]);
    let told = bench.tells(0, FIRST, trained(1, ArtifactName::Checkpoint, &state));
    assert_eq!(told, ["0: pull checkpoints/t0-1 of t0.1, 64 MiB at most"]);
    let told = bench.brings_state(0, FIRST, 1, &state);
    assert_eq!(told, [release(0, FIRST, &state), "0: launch t1.1 with checkpoints/t0-1".to_owned()]);
    assert_eq!(bench.brings_state(0, FIRST, 1, &state), [""; 0]);
    assert_eq!(bench.states(), ["t0-1"]);
    bench.tells(0, second, epoch(2, 0.4));
    bench.tells(0, second, epoch(3, 0.3));
    let ended = broadsweep_common::attempt::Ended::Trained { epoch: 3, artifacts: Vec::new() };
    bench.tells(0, second, broadsweep_common::attempt::AttemptEvent::Ended(ended));
    assert_eq!((bench.end(second), bench.states()), (Some(AttemptEnd::Completed), Vec::new()));
    assert!(bench.run.scheduler.is_done());
}
