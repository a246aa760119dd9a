//! Forecasts against what they forecast: runs that are played to their end, and bounds that are known.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use broadsweep_common::ids::{AttemptId, TrialId};
use broadsweep_search::VirtualTime;

use super::*;
use crate::records::attempt::{AttemptEnd, AttemptRecord};
use crate::records::run::{RunRecord, Stage, TrialOutcome, TrialRecord};
use crate::records::searched::{SearchAct, SearchRecord, SearchStep};
use crate::records::standing::{Standing, StandingSince};
use crate::results::fixtures::{self, finished, not_run};
use broadsweep_scheduler::{Command, Event, History, Outcome, Scheduler, SchedulingConfig};

/// FLOPs of one image, there and back, in TensorFlow's MNIST tutorial network with a first dense layer of `width`.
fn convnet_flops(width: u64) -> u64 {
    let conv1 = 28 * 28 * 32 * (5 * 5);
    let conv2 = 14 * 14 * 64 * (5 * 5 * 32);
    let dense = 7 * 7 * 64 * width + width * 10;
    2 * 3 * (conv1 + conv2 + dense)
}

/// The fifty configurations of January 2016 in their order, at 600 s of one slot in all.
fn original() -> Basis {
    let costs: Vec<_> = (0..10).flat_map(|_| [64, 128, 256, 512, 1024].map(convnet_flops)).collect();
    let all: u64 = costs.iter().sum();
    let took_us = |cost: u64| (600e6 * cost as f64 / all as f64) as u64;
    with_tasks(costs.iter().map(|cost| (*cost, took_us(*cost))))
}

fn with_tasks(tasks: impl Iterator<Item = (u64, u64)>) -> Basis {
    let mut basis = Basis::of(&fixtures::run(Vec::new())).unwrap();
    (basis.start_us, basis.broadcast_us, basis.close_us, basis.overhead_us) = (0, 0, 0, 0);
    basis.tasks = tasks.map(|(cost, took_us)| TaskTime { cost, took_us }).collect();
    basis
}

fn nodes(executors: u32) -> Cluster {
    Cluster { executors, slots: 1 }
}

#[test]
fn the_static_cut_of_the_original_gives_thirteen_nodes_eight_and_a_half_and_a_queue_more_than_twelve() {
    let basis = original();
    let chunked = basis.forecast(nodes(13), Schedule::Chunked);
    assert!((8.0..9.0).contains(&chunked.speedup), "{chunked:?}");
    let queued = basis.forecast(nodes(13), Schedule::Queue);
    assert!((12.0..13.0).contains(&queued.speedup), "{queued:?}");
    for schedule in [Schedule::Chunked, Schedule::Queue] {
        let alone = basis.forecast(nodes(1), schedule);
        assert!((alone.wall_us as f64 / 600e6 - 1.0).abs() < 1e-6, "{alone:?}");
        assert!((alone.speedup - 1.0).abs() < 1e-12 && (alone.utilisation - 1.0).abs() < 1e-6, "{alone:?}");
    }
    let as_slots = basis.forecast(Cluster { executors: 1, slots: 13 }, Schedule::Queue);
    assert_eq!(as_slots.wall_us, queued.wall_us, "slots of one executor are as good");
}

#[test]
fn nodes_beyond_the_longest_trial_are_idle() {
    let longest = with_tasks([(100, 100_000), (50, 50_000), (50, 50_000), (25, 25_000)].into_iter());
    assert_eq!(longest.enough(1, Schedule::Queue), 3);
    assert_eq!(longest.enough(2, Schedule::Queue), 2);
    let equal = with_tasks((0..64).map(|_| (10, 10_000)));
    assert_eq!(equal.enough(1, Schedule::Queue), 64);
    assert_eq!(with_tasks(std::iter::empty()).enough(1, Schedule::Queue), 1);
    let thousand = equal.forecast(nodes(1000), Schedule::Queue);
    assert!((thousand.speedup - 64.0).abs() < 1e-9 && thousand.utilisation < 0.065, "{thousand:?}");
}

#[test]
fn a_thousand_executors_wait_for_the_last_block_and_for_the_driver() {
    let mut basis = with_tasks((0..100_000).map(|_| (1, 1000)));
    let thousand = basis.forecast(nodes(1000), Schedule::Queue);
    assert_eq!(thousand.wall_us, 100_000 * DRIVER_US, "it launches no faster, and the trials alone took 0.1 s");
    assert_eq!(basis.forecast(nodes(1), Schedule::Queue).wall_us, 100_000 * 1000);
    basis.tasks.truncate(1000);
    (basis.broadcast_us, basis.blocks, basis.executors) = (1_600_000, 16, 2);
    let search_us = |executors| basis.forecast(nodes(executors), Schedule::Queue).wall_us;
    assert_eq!(search_us(1), 1_600_000 + 1_000_000, "fewer executors take no less");
    assert_eq!(search_us(2), 1_600_000 + 500_000);
    assert_eq!(search_us(1000), 1_600_000 + 9 * 100_000 + 1000 * DRIVER_US);
}

#[test]
fn a_forecast_has_what_the_run_had_beside_its_work() {
    let ready = [
        StandingSince { at_s: 1.0, standing: Standing::Answering },
        StandingSince { at_s: 3.0, standing: Standing::Ready { slots: 1 } },
    ];
    let attempt = |task: u32, started_s: f64| AttemptRecord {
        attempt: AttemptId { task: TaskId(task), number: 1 },
        executor: ExecutorId(0),
        from_epoch: 0,
        epoch: 2,
        started_s,
        ended_s: started_s + 2.5,
        training_s: 2.0,
        evaluation_s: 0.0,
        used: None,
        end: Some(AttemptEnd::Completed),
    };
    let trial =
        |number| TrialRecord { ended_s: 4.0 + 2.5 * f64::from(number + 1), ..fixtures::finished(number, 0.1) };
    let run = RunRecord {
        wall_s: 10.0,
        standings: vec![ready.to_vec()],
        attempts: vec![attempt(0, 4.0), attempt(1, 6.5)],
        ..fixtures::run(vec![trial(0), trial(1)])
    };
    let basis = Basis::of(&run).unwrap();
    let parts = (basis.start_us, basis.broadcast_us, basis.overhead_us, basis.close_us, basis.work_us());
    assert_eq!(parts, (2_000_000, 2_000_000, 500_000, 1_000_000, 4_000_000));
    assert_eq!(basis.forecast(nodes(1), Schedule::Queue).wall_us, 10_000_000, "the run itself");
    let two = basis.forecast(nodes(2), Schedule::Queue);
    assert_eq!(two.wall_us, 9_500_000, "all of the data is one block, and the second one waits for it");
    assert!((two.speedup - 10.0 / 9.5).abs() < 1e-9, "{two:?}");
    let mut open = run.clone();
    open.trials[1].outcome = TrialOutcome::NotRun;
    let trials = Open::Trials { open: 1, trials: 2, may_be_more: false };
    assert_eq!(Basis::of(&open), Err(NotOver { open: trials, goes_on: false }));
}

#[test]
fn a_run_that_is_not_over_is_told_what_is_open_and_what_to_do() {
    let rows = [
        (
            vec![not_run(0), finished(1, 0.1)],
            Stage::Interrupted,
            "1 of 2 trials has not ended, so nobody knows what \
            the rest takes: end the run first, with `broadsweep resume`",
        ),
        (
            vec![not_run(0), not_run(1)],
            Stage::GoingOn,
            "2 of 2 trials have not ended, so nobody knows what the rest \
            takes: the run goes on, wait for its end",
        ),
        (
            vec![finished(0, 0.1)],
            Stage::GoingOn,
            "all trials have ended, but not the looks at the test rows after \
            them, so nobody knows what these take: the run goes on, wait for its end",
        ),
    ];
    for (trials, stage, expected) in rows {
        let record = RunRecord { stage, ..fixtures::run(trials) };
        assert_eq!(Basis::of(&record).unwrap_err().to_string(), expected);
    }
    let steps =
        vec![SearchStep { v: VirtualTime(0), act: SearchAct::Start { trial: TrialId(0), until_epoch: None } }];
    let search = Some(SearchRecord { steps, ..searched_tests::search(4, false) });
    for (trials, expected) in [
        (
            vec![not_run(0), finished(1, 0.1)],
            "1 of 2 trials so far has not ended, so nobody knows what the rest takes",
        ),
        (
            vec![finished(0, 0.1)],
            "the search has not ended, so nobody knows what the trials take that it has not started",
        ),
    ] {
        let record = RunRecord { stage: Stage::Interrupted, search: search.clone(), ..fixtures::run(trials) };
        let said = Basis::of(&record).unwrap_err().to_string();
        assert_eq!(said, format!("{expected}: end the run first, with `broadsweep resume`"));
    }
}

/// A whole training, longest first.
fn added(number: u32, cost: u64, until_epoch: u32) -> Event {
    Event::TaskAdded {
        task: TaskId(number),
        priority: Priority::longest_first(Cost(cost)),
        forecast: broadsweep_scheduler::Forecast { cost: Cost(cost), from_epoch: 0, until_epoch },
        history: History::default(),
    }
}

/// A cluster in which executors have speeds of their own, and report epochs: the real thing, but for its time. Returns
/// the end of the run, and at each tenth of it what was said to be left.
fn lived(costs: &[u64], speeds: &[f64], epochs: u32) -> (Moment, Vec<(Moment, Duration)>) {
    let mut scheduler = Scheduler::new(SchedulingConfig::default().validate().unwrap());
    let mut commands = Vec::new();
    for (cost, number) in costs.iter().zip(0..) {
        scheduler.handle(Moment(0), added(number, *cost, epochs), &mut commands).unwrap();
    }
    scheduler.handle(Moment(0), Event::AddingEnded, &mut commands).unwrap();
    for number in 0..speeds.len() as u32 {
        let ready = Event::ExecutorReady { executor: ExecutorId(number), slots: 1, held: vec![], restarted: false };
        scheduler.handle(Moment(0), ready, &mut commands).unwrap();
    }
    let mut agenda = BinaryHeap::new();
    let (mut now, mut said) = (Moment(0), Vec::new());
    loop {
        for command in commands.drain(..) {
            if let Command::Launch(executor, attempt) = command {
                let epoch_us =
                    costs[attempt.task.0 as usize] as f64 / f64::from(epochs) / speeds[executor.0 as usize];
                for epoch in 1..=epochs {
                    agenda.push(Reverse((now.0 + (epoch_us * f64::from(epoch)) as u64, executor, attempt, epoch)));
                }
            }
        }
        let Some(Reverse((at, executor, attempt, epoch))) = agenda.pop() else { return (now, said) };
        now = Moment(at);
        // An attempt that was beaten by its copy reports on, and is not believed.
        let _ = scheduler.handle(now, Event::EpochEnded { executor, attempt, epoch }, &mut commands);
        said.extend(time_left(&scheduler, StillToCome::default(), now).map(|left| (now, left)));
        if epoch == epochs {
            let outcome = Outcome::Completed;
            let _ = scheduler.handle(now, Event::AttemptEnded { executor, attempt, outcome }, &mut commands);
        }
    }
}

#[test]
fn the_time_left_is_right_within_a_tenth_once_a_quarter_is_done() {
    let grid: Vec<_> =
        (0..10).flat_map(|_| [64, 128, 256, 512, 1024].map(convnet_flops)).map(|flops| flops / 1000).collect();
    let rows = [
        ("one node", grid.clone(), vec![0.5]),
        ("thirteen nodes", grid.clone(), vec![0.5; 13]),
        ("a slow one among them", grid.clone(), vec![1.0, 1.0, 1.0, 0.6]),
        ("one long trial", [vec![700_000], grid].concat(), vec![1.0; 8]),
    ];
    for (name, costs, speeds) in rows {
        let (end, said) = lived(&costs, &speeds, 4);
        let late = said.into_iter().filter(|(at, _)| at.0 * 4 >= end.0 && at.0 * 10 < end.0 * 9);
        let mut looked_at = 0;
        for (at, left) in late {
            let really = end.since(at).as_secs_f64();
            let off = (left.as_secs_f64() - really).abs() / really;
            assert!(off < 0.1, "{name}: at {at:?} of {end:?}, {left:?} were said to be left: {off}");
            looked_at += 1;
        }
        assert!(looked_at > 10, "{name}");
    }
}

#[test]
fn nobody_knows_what_is_left_before_anything_was_measured_or_when_nobody_is_there() {
    let mut scheduler = Scheduler::new(SchedulingConfig::default().validate().unwrap());
    assert_eq!(time_left(&scheduler, StillToCome::default(), Moment(0)), None);
    let mut commands = Vec::new();
    for number in 0..2 {
        scheduler.handle(Moment(0), added(number, 100, 1), &mut commands).unwrap();
    }
    let executor = ExecutorId(0);
    let ready = Event::ExecutorReady { executor, slots: 1, held: vec![], restarted: false };
    scheduler.handle(Moment(0), ready, &mut commands).unwrap();
    assert_eq!(time_left(&scheduler, StillToCome::default(), Moment(5)), None);
    let attempt = AttemptId { task: TaskId(0), number: 1 };
    let ended = Event::AttemptEnded { executor, attempt, outcome: Outcome::Completed };
    scheduler.handle(Moment(1000), ended, &mut commands).unwrap();
    assert_eq!(time_left(&scheduler, StillToCome::default(), Moment(1400)), Some(Duration::from_micros(600)));
    scheduler.handle(Moment(1500), Event::ExecutorLost(executor), &mut commands).unwrap();
    assert_eq!(time_left(&scheduler, StillToCome::default(), Moment(1600)), None);
}

#[test]
fn what_waits_in_thousands_is_shared_out_and_the_answer_is_the_same() {
    let play = |tasks: u32| {
        let mut scheduler = Scheduler::new(SchedulingConfig::default().validate().unwrap());
        let mut commands = Vec::new();
        for number in 0..tasks {
            scheduler.handle(Moment(0), added(number, 100, 1), &mut commands).unwrap();
        }
        let executor = ExecutorId(0);
        let ready = Event::ExecutorReady { executor, slots: 4, held: vec![], restarted: false };
        scheduler.handle(Moment(0), ready, &mut commands).unwrap();
        let attempt = AttemptId { task: TaskId(0), number: 1 };
        let ended = Event::AttemptEnded { executor, attempt, outcome: Outcome::Completed };
        scheduler.handle(Moment(1000), ended, &mut commands).unwrap();
        time_left(&scheduler, StillToCome::default(), Moment(1000)).unwrap().as_secs_f64() / f64::from(tasks)
    };
    let [few, many] = [8_000, 80_000].map(play);
    assert!((few / many - 1.0).abs() < 0.01, "{few} s and {many} s a task");
}

#[test]
fn trials_that_a_search_has_not_started_are_among_what_is_left_and_no_more_of_them_than_it_has_at_a_time() {
    let left_s = |still_to_come| {
        let mut scheduler = Scheduler::new(SchedulingConfig::default().validate().unwrap());
        let mut commands = Vec::new();
        for number in 0..2 {
            scheduler.handle(Moment(0), added(number, 100, 1), &mut commands).unwrap();
        }
        let executor = ExecutorId(0);
        let ready = Event::ExecutorReady { executor, slots: 4, held: vec![], restarted: false };
        scheduler.handle(Moment(0), ready, &mut commands).unwrap();
        let attempt = AttemptId { task: TaskId(0), number: 1 };
        let ended = Event::AttemptEnded { executor, attempt, outcome: Outcome::Completed };
        scheduler.handle(Moment(1_000_000), ended, &mut commands).unwrap();
        time_left(&scheduler, still_to_come, Moment(1_000_000)).unwrap().as_secs_f64()
    };
    // The second one is over at this moment, too, and a trial takes a second.
    let rows = [(0, 4, 0.0), (3, 4, 1.0), (4, 4, 1.0), (4, 2, 2.0), (9, 4, 3.0), (9, 1, 9.0), (20_000, 2, 10_000.0)];
    for (trials, at_once, expected) in rows {
        let left = left_s(StillToCome { trials, cost: 100, at_once });
        assert!((left - expected).abs() < 1e-3, "{trials} trials, {at_once} at once: {left} s");
    }
}
