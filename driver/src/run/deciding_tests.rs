//! What is asked of a search, and which tasks follow.

use std::time::Duration;

use broadsweep_common::attempt::{ArtifactName, AttemptEvent, Ended};
use broadsweep_common::configuration::Value;
use broadsweep_common::details::{Confusion, Details};
use broadsweep_common::ids::AttemptId;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_search::{Seen, SegmentEnd};

use super::*;
use crate::cluster::Cargo;
use crate::records::run::DetailsRecord;
use crate::run::bench::{Bench, EPOCHS, attempt, content, epoch, epoch_with, failed, metrics, release, trained};
use crate::run::record::{SafeCheckpoint, Spent};

const NEEDS: TrialNeeds = TrialNeeds { epochs: 3, cost: 300, test_cost: 10, memory_bytes: 7, makes_weights: true };
const FIRST: AttemptId = AttemptId { task: TaskId(0), number: 1 };

fn start(until_epoch: Option<u32>) -> Decision {
    let configuration = Configuration::from_iter([("n", Value::Integer(i64::from(EPOCHS)))]);
    Decision::Start { configuration, origin: Origin::Point(0), until_epoch }
}

fn segment(trial: u32) -> Segment {
    Segment { replicate: Replicate::first(TrialId(trial)), from_epoch: 0, until_epoch: EPOCHS }
}

/// A training came to its end, and leaves no weights.
fn ended(epoch: u32) -> AttemptEvent {
    AttemptEvent::Ended(Ended::Trained { epoch, artifacts: Vec::new() })
}

#[test]
fn a_trial_has_an_epoch_at_least_and_leaves_weights_if_it_has_parameters() {
    for (epochs, parameters, needs) in
        [(3, 1, NEEDS), (0, 0, TrialNeeds { epochs: 1, makes_weights: false, ..NEEDS })]
    {
        let plan = TrialPlan {
            configuration: Configuration::default(),
            origin: Origin::Point(0),
            epochs,
            parameters,
            flops: 300,
            wait_us: 0,
            test_flops: 10,
            memory_bytes: 7,
            batch_size: 1,
        };
        assert_eq!(TrialNeeds::of(&plan), needs);
    }
}

#[test]
fn a_segment_has_its_share_of_the_cost_and_a_check_comes_before_all_others() {
    let replicate = Replicate::first(TrialId(4));
    let segment = Segment { replicate, from_epoch: 1, until_epoch: 3 };
    let task = training(&NEEDS, segment, None);
    assert_eq!((task.kind, task.cost), (TaskKind::Train(segment), 200));
    for (until_epoch, last) in [(None, 3), (Some(2), 2), (Some(9), 3), (Some(0), 1)] {
        let segment = Segment { replicate, from_epoch: 0, until_epoch: last };
        assert_eq!(first_training(TrialId(4), &NEEDS, until_epoch).kind, TaskKind::Train(segment));
    }
    let again = check(&NEEDS, replicate, 2);
    let checked = Segment { replicate, from_epoch: 0, until_epoch: 2 };
    assert_eq!((again.kind, again.cost), (TaskKind::Check(checked), 200));
    assert_eq!(again.priority, Priority::longest_first(Cost(u64::MAX)));
    let last = application(5, 7);
    assert_eq!((last.kind, last.cost, last.inputs), (TaskKind::Apply { partition: 5 }, 7, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn the_search_is_shown_how_each_trial_ended_and_its_next_driver_tells_it_all_of_that_again() {
    let decisions = vec![start(None), start(None), start(None), Decision::Wait, Decision::Wait, Decision::Wait];
    let mut bench = Bench::scripted(decisions, &["a"]);
    assert_eq!((bench.recalled(), bench.shown()), (Vec::new(), Vec::new()));
    bench.slots = 3;
    bench.is_ready(0, 1, &[]);
    let diverged = Seen { segment: segment(1), end: SegmentEnd::Diverged { epoch: 1 } };
    bench.tells(0, attempt(1, 1), AttemptEvent::Ended(Ended::Diverged { epoch: 1 }));
    assert_eq!(bench.shown(), [(1, vec![diverged.clone()])]);
    tokio::time::advance(Duration::from_secs(1)).await;
    let finished = Seen { segment: segment(0), end: SegmentEnd::Finished { epoch: 1, metrics: metrics(0.5) } };
    bench.tells(0, FIRST, epoch(1, 0.5));
    bench.tells(0, FIRST, ended(1));
    assert_eq!(bench.shown(), [(2, vec![finished.clone()])]);
    let mut bench = bench.resumed(&["a"]);
    assert_eq!(bench.recalled(), [start(None), start(None), start(None)]);
    assert_eq!(bench.shown(), [(2, vec![diverged, finished])], "in the order in which they came");
}

#[tokio::test(start_paused = true)]
async fn a_decision_has_its_moment_by_what_epochs_were_planned_to_take_and_one_that_stops_early_cuts_it() {
    // A second an epoch, and three of them.
    for (name, events, v, decided_before) in [
        ("trained to its end", vec![epoch(1, 0.5), epoch(2, 0.5), epoch(3, 0.5), ended(3)], 3_000_000, 2),
        ("stopped early", vec![epoch(1, 0.5), epoch(2, 0.5), ended(2)], 2_000_001, 1),
        ("diverged", vec![epoch(1, 0.5), AttemptEvent::Ended(Ended::Diverged { epoch: 2 })], 2_000_001, 1),
    ] {
        let mut bench = Bench::in_order(vec![start(None), start(None), Decision::Wait], &["a"]);
        bench.is_ready(0, 1, &[]);
        let (last, others) = events.split_last().unwrap();
        for event in others {
            assert_eq!(bench.tells(0, FIRST, event.clone()), [""; 0], "{name}");
        }
        assert_eq!(bench.run.chronicle.book().trials.len(), decided_before, "{name}");
        assert_eq!(bench.tells(0, FIRST, last.clone()), ["0: launch t1.1"], "{name}");
        assert_eq!(bench.run.chronicle.book().moments.last(), Some(&(1, VirtualTime(v))), "{name}");
        let priority = bench.run.chronicle.book().task(TaskId(1)).unwrap().task.priority;
        assert_eq!(priority, Priority::in_order(v), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_search_is_shown_what_was_given_up_and_what_paused() {
    let mut bench = Bench::scripted(vec![start(Some(1)), start(None), Decision::Wait, Decision::Wait], &["a"]);
    bench.slots = 2;
    bench.is_ready(0, 1, &[]);
    let state = content(1);
    bench.tells(0, FIRST, epoch(1, 0.5));
    bench.tells(0, FIRST, trained(1, ArtifactName::Checkpoint, &state));
    bench.brings_state(0, FIRST, 1, &state);
    let segment_of_first = Segment { until_epoch: 1, ..segment(0) };
    let paused = Seen { segment: segment_of_first, end: SegmentEnd::Paused { epoch: 1, metrics: metrics(0.5) } };
    assert_eq!(bench.shown(), [(1, vec![paused])]);
    (1..=4).for_each(|number| drop(bench.tells(0, attempt(1, number), failed())));
    assert_eq!(bench.shown(), [(2, vec![Seen { segment: segment(1), end: SegmentEnd::GivenUp }])]);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_cannot_be_trained_says_so_and_is_over_before_it_begins() {
    let unfit =
        Decision::Start { configuration: Configuration::default(), origin: Origin::Point(0), until_epoch: None };
    let mut bench = Bench::scripted(vec![unfit, Decision::Wait], &["a"]);
    assert!(bench.said().contains("trial 0 cannot be trained"));
    assert_eq!(bench.run.chronicle.book().trial(TrialId(0)).unwrap().needs.epochs, 1);
    assert_eq!(bench.shown().len(), 1);
    assert_eq!(bench.is_ready(0, 1, &[]), [""; 0]);
    assert!(bench.run.scheduler.is_done());
}

#[tokio::test(start_paused = true)]
async fn a_search_that_has_ended_is_not_asked_again_under_the_next_driver() {
    let mut former = Bench::scripted(vec![start(None), start(None)], &["a"]);
    former.is_ready(0, 1, &[]);
    former.tells(0, FIRST, epoch(1, 0.5));
    let mut bench = former.resumed_deciding(vec![start(None), start(None)], &["a"]);
    bench.is_ready(0, 1, &[FIRST]);
    bench.tells(0, FIRST, epoch(2, 0.5));
    bench.tells(0, FIRST, epoch(3, 0.5));
    assert_eq!(bench.tells(0, FIRST, ended(3)), ["0: launch t1.1"]);
    bench.tells(0, attempt(1, 1), epoch(1, 0.25));
    bench.tells(0, attempt(1, 1), ended(1));
    let book = bench.run.chronicle.book();
    assert_eq!((book.trials.len(), book.decisions.len()), (2, 3));
    assert!(bench.run.scheduler.is_done());
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_decided_once_all_is_to_end_early() {
    let mut bench = Bench::scripted(vec![start(None), Decision::Wait, start(None)], &["a"]);
    bench.is_ready(0, 1, &[]);
    bench.run.stop();
    bench.tells(0, FIRST, epoch(1, 0.5));
    bench.tells(0, FIRST, ended(1));
    assert_eq!(bench.shown(), []);
    let book = bench.run.chronicle.book();
    assert_eq!((book.trials.len(), book.adding_ended), (1, false));
}

#[tokio::test(start_paused = true)]
async fn the_best_trial_is_measured_and_looked_at_in_the_end_and_then_nothing_more_is_written() {
    let (mut bench, weights) = (Bench::measuring(2, &["a"]), content(1));
    bench.is_ready(0, 1, &[]);
    bench.tells(0, FIRST, epoch(1, 0.25));
    bench.tells(0, FIRST, trained(1, ArtifactName::Weights, &weights));
    let told = bench.brings(0, FIRST, (Cargo::Weights, "weights/0"), &weights);
    assert_eq!(told, [release(0, FIRST, &weights), "0: launch t1.1".to_owned()], "another may become the best");
    bench.tells(0, attempt(1, 1), epoch(1, 0.5));
    let told = bench.tells(0, attempt(1, 1), trained(1, ArtifactName::Weights, &weights));
    assert_eq!(told, [release(0, attempt(1, 1), &weights), "0: launch t2.1 with weights".to_owned()]);
    let measured = Metrics::from_iter([(MetricName::TEST_LOSS, 1.0), (MetricName::TEST_ERROR, 0.3)]);
    let told = bench.tells(0, attempt(2, 1), AttemptEvent::Ended(Ended::Measured(measured)));
    assert_eq!(told, ["0: launch t3.1 with weights"]);
    let details = |rows| {
        let confusions = vec![Confusion { wanted: 0, predicted: 1, rows }];
        Details { confusions, ..Details::default() }
    };
    let told = bench.tells(0, attempt(3, 1), AttemptEvent::Ended(Ended::Examined(details(1))));
    assert_eq!(told, ["0: launch t4.1 with weights"]);
    bench.tells(0, attempt(4, 1), AttemptEvent::Ended(Ended::Examined(details(2))));
    let looked: Vec<_> = bench.run.chronicle.book().details().collect();
    let expected = [(Part::Validation, 1), (Part::Test, 2)];
    let trial = TrialId(0);
    assert_eq!(looked, expected.map(|(part, rows)| DetailsRecord { trial, part, details: details(rows) }));
    assert!(bench.run.scheduler.is_done());
    let operations = bench.storage.operations();
    assert_eq!((bench.turn(), bench.storage.operations()), (Vec::new(), operations));
}

/// A trial that has paused after its first epoch, while another one trains.
fn paused() -> Bench {
    let mut bench = Bench::scripted(vec![start(Some(1)), start(None), Decision::Wait, Decision::Wait], &["a"]);
    bench.slots = 2;
    bench.is_ready(0, 1, &[]);
    let state = content(1);
    bench.tells(0, FIRST, epoch_with(1, 0.5, &state));
    bench.tells(0, FIRST, trained(1, ArtifactName::Checkpoint, &state));
    bench.brings_state(0, FIRST, 1, &state);
    bench
}

#[tokio::test(start_paused = true)]
async fn a_trial_goes_on_after_its_pause_by_an_epoch_at_least_and_up_to_its_last() {
    let mut bench = paused();
    let last_epoch = |bench: &Bench, until_epoch| {
        let task = continuation(bench.run.chronicle.book(), TrialId(0), until_epoch)?;
        let TaskKind::Train(segment) = task.kind else { unreachable!() };
        Some((segment.from_epoch, segment.until_epoch))
    };
    for (until_epoch, last) in [(0, 2), (1, 2), (2, 2), (3, 3), (9, 3)] {
        assert_eq!(last_epoch(&bench, until_epoch), Some((1, last)), "up to {until_epoch}");
    }
    let checkpoint = SafeCheckpoint { epoch: EPOCHS, blob: content(2).manifest.digest() };
    let (finish, at) = (Finish::Paused { epoch: 1, checkpoint }, bench.run.now());
    bench.run.note(&Record::Completed { attempt: FIRST, spent: Spent::default(), finish, at });
    assert_eq!(last_epoch(&bench, 1), Some((EPOCHS, EPOCHS + 1)), "nothing is left, and it is no reason to panic");
    assert!(continuation(bench.run.chronicle.book(), TrialId(1), 2).is_none(), "it has not paused");
}

#[tokio::test(start_paused = true)]
async fn the_task_of_a_decision_whose_driver_ended_is_added_by_the_next_one() {
    let needs = TrialNeeds { makes_weights: false, ..NEEDS };
    let Decision::Start { configuration, origin, until_epoch } = start(None) else { unreachable!() };
    let another = Decided::Start { configuration, origin, until_epoch, needs };
    for (decided, launched) in [
        (Decided::Continue { trial: TrialId(0), until_epoch: 2 }, Some("0: launch t2.1 with checkpoints/t0-1")),
        (Decided::Continue { trial: TrialId(0), until_epoch: 1 }, None),
        (another, Some("0: launch t2.1")),
    ] {
        let mut bench = paused();
        let first = bench.run.chronicle.book().decisions.len() as u32;
        bench.run.note(&Record::Decided { first, v: VirtualTime(1), decisions: vec![decided.clone()] });
        bench.run.commit().unwrap();
        let mut bench = bench.resumed(&["a"]);
        bench.slots = 2;
        let told = bench.is_ready(0, 1, &[attempt(1, 1)]);
        assert_eq!(told, launched.into_iter().collect::<Vec<_>>(), "{decided:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_never_launched_is_placed_at_once_under_the_next_driver() {
    let mut former = Bench::new(2, &["a", "b"]);
    former.is_ready(0, 1, &[]);
    let mut bench = former.resumed(&["a", "b"]);
    assert_eq!(bench.is_ready(1, 1, &[]), ["1: launch t1.1"], "the other one may still run");
}
