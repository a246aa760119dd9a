//! What a run waits for, whom it spares, what people see of it, and how it comes to its end.

use std::collections::BTreeSet;

use broadsweep_common::attempt::ArtifactName;
use broadsweep_common::ids::AttemptId;

use super::*;
use crate::cluster::{Cargo, LinkEvent};
use crate::run::bench::{Bench, CONNECT_TIMEOUT, content, epoch, session_end, stopped, trained};

const FIRST: AttemptId = AttemptId { task: TaskId(0), number: 1 };

#[tokio::test(start_paused = true)]
async fn a_run_knows_the_executors_of_its_earlier_drivers() {
    let mut bench = Bench::new(1, &["a"]).resumed(&[]);
    assert_eq!(bench.run.known_executors(), ["a"]);
    bench.run.join(Member::former("a"));
    bench.run.join(Member::node("b"));
    bench.turn();
    assert_eq!(bench.resumed(&[]).run.known_executors(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_to_end_early_is_over_when_nothing_runs_any_more_where_somebody_listens() {
    for event in [None, Some(session_end())] {
        let mut bench = Bench::new(1, &["a"]);
        bench.is_ready(0, 1, &[]);
        assert!(!bench.run.is_over());
        bench.run.stop();
        assert!(!bench.run.is_over(), "something runs");
        match event {
            None => drop(bench.tells(0, FIRST, stopped())),
            Some(event) => drop(bench.hear(0, event)),
        }
        assert!(bench.run.is_over());
        assert!(!bench.run.scheduler.is_done());
    }
}

#[tokio::test(start_paused = true)]
async fn people_hear_once_for_how_many_attempts_an_end_waits_if_for_any() {
    for (trials, line) in
        [(0, ""), (1, "stopping: one attempt ends the epoch"), (2, "stopping: attempts end the epochs")]
    {
        let mut bench = Bench::new(trials, &["a"]);
        bench.slots = 2;
        bench.is_ready(0, 1, &[]);
        bench.said();
        bench.run.stop();
        assert_eq!(bench.turn().len(), trials);
        let said = bench.said();
        assert!(said.starts_with(line) && said.is_empty() == line.is_empty(), "{trials}: {said}");
        bench.run.stop();
        assert_eq!((bench.turn(), bench.said()), (Vec::new(), String::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn executors_are_spared_where_something_of_the_run_may_go_on_and_none_is_once_it_is_done() {
    let (mut bench, weights) = (Bench::new(1, &["runs", "idle", "silent"]), content(1));
    bench.is_ready(0, 1, &[]);
    bench.is_ready(1, 1, &[]);
    assert_eq!(bench.run.spared(), BTreeSet::from([0, 2].map(ExecutorId)));
    bench.tells(0, FIRST, epoch(1, 0.5));
    bench.tells(0, FIRST, trained(1, ArtifactName::Weights, &weights));
    bench.brings(0, FIRST, (Cargo::Weights, "weights/0"), &weights);
    assert!(bench.run.scheduler.is_done());
    assert_eq!(bench.run.spared(), BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn a_run_looks_again_when_its_patience_ends_or_its_scheduler_wants_to_and_in_an_hour_at_last() {
    let mut former = Bench::new(1, &["a", "b"]);
    assert_eq!(former.run.next_deadline(), Instant::now() + CONNECT_TIMEOUT);
    tokio::time::advance(CONNECT_TIMEOUT).await;
    assert_eq!(former.run.next_deadline(), Instant::now() + Duration::from_hours(1), "it has had its say");
    former.is_ready(0, 1, &[]);
    let mut bench = former.resumed(&["a", "b"]);
    bench.is_ready(1, 1, &[]);
    let began = Instant::now();
    tokio::time::sleep_until(bench.run.next_deadline()).await;
    assert_ne!(Instant::now(), began);
    bench.run.feed(Event::Deadline);
    assert_eq!(bench.turn(), ["1: launch t0.2"], "nobody came back with the first");
}

#[tokio::test(start_paused = true)]
async fn people_see_who_answers_then_how_fast_the_data_comes_and_then_the_trials() {
    let mut bench = Bench::new(1, &["a", "b"]);
    bench.run.show();
    assert_eq!(bench.said(), "connecting: 0 of 2 nodes answer\n");
    bench.hear(0, LinkEvent::Connected);
    tokio::time::advance(Duration::from_secs(3)).await;
    bench.run.payload.traffic.arrived.store(6 << 20, std::sync::atomic::Ordering::Relaxed);
    bench.run.show();
    assert_eq!(bench.said(), "broadcasting: 0 of 2 nodes ready, 6.0 MiB there (2.0 MiB/s), 0 B sent from here\n");
    bench.is_ready(0, 1, &[]);
    bench.said();
    bench.run.show();
    assert_eq!(bench.said(), "0/4 trials, 1 running\n");
}

#[tokio::test(start_paused = true)]
async fn the_next_driver_goes_on_in_time_where_the_last_one_closed() {
    let mut bench = Bench::new(1, &["a"]);
    tokio::time::advance(Duration::from_secs(7)).await;
    bench.run.close();
    assert_eq!(bench.resumed(&["a"]).run.before, Moment(7_000_000));
}

/// Drives a run on which nobody ever answers. What it took, and why it ended early.
async fn driven(is_interrupted: bool) -> (Duration, Option<RunError>) {
    let bench = Bench::new(1, &["a"]);
    let ((interrupt, interrupted), (_newcomer, newcomers)) = (mpsc::channel(1), mpsc::channel(1));
    let (_wisher, wishes) = mpsc::channel(1);
    if is_interrupted {
        interrupt.send(()).await.unwrap();
    }
    let began = Instant::now();
    let (_, error) = bench.run.drive(Signals { interrupted, members: Vec::new(), newcomers, wishes }).await;
    (began.elapsed(), error)
}

#[tokio::test(start_paused = true)]
async fn a_run_waits_for_its_nodes_as_long_as_it_is_told_and_no_longer() {
    let (took, error) = driven(false).await;
    assert!(matches!(error, Some(RunError::TooFewNodes { answered: 0, nodes: 1, needed: 1, .. })), "{error:?}");
    assert!(took >= CONNECT_TIMEOUT && took < 2 * CONNECT_TIMEOUT, "{took:?}");
    let (took, error) = driven(true).await;
    assert!(error.is_none() && took < CONNECT_TIMEOUT, "interrupted, it waits for nobody: {error:?}");
}
