//! Longest first against the lower bound, on the grid of 50 convnets (TensorFlow's MNIST tutorial network).

use std::cmp::Reverse;

use broadsweep_common::ids::{ExecutorId, TaskId};

use super::scenario::{Scenario, plain_executor, plain_task};
use super::world::World;
use crate::{Command, Cost, Event, Forecast, History, Moment, Priority, Scheduler, SchedulingConfig};

/// FLOPs in a millisecond on one slot, each.
const SPEED: u64 = 1_000_000_000;

/// FLOPs of one image, there and back, in the tutorial's network with a first dense layer of `width`: a
/// multiplication and an addition a weight and position, three times (forward, gradient of inputs, of weights).
fn convnet_flops(width: u64) -> u64 {
    let conv1 = 28 * 28 * 32 * (5 * 5);
    let conv2 = 14 * 14 * 64 * (5 * 5 * 32);
    let dense = 7 * 7 * 64 * width + width * 10;
    2 * 3 * (conv1 + conv2 + dense)
}

/// Ten learning rates of each width, in the order of the grid; two epochs of 55,000 images.
fn grid() -> Vec<u64> {
    let widths = [64, 128, 256, 512, 1024];
    (0..10).flat_map(|_| widths.map(|width| 2 * 55_000 * convnet_flops(width))).collect()
}

#[test]
fn fifty_convnets_on_thirteen_slots_end_within_five_percent_of_the_lower_bound() {
    let costs = grid();
    let world = World::new(Scenario {
        config: SchedulingConfig::default(),
        tasks: costs.iter().map(|&cost| plain_task(cost, 2)).collect(),
        executors: vec![plain_executor(1, SPEED); 13],
        echo_ms: None,
        forged: vec![],
    })
    .run();
    let longest = *costs.iter().max().unwrap() as f64;
    let lower_bound = (costs.iter().sum::<u64>() as f64 / 13.0).max(longest);
    let ratio = world.last_finish.0 as f64 / 1000.0 * SPEED as f64 / lower_bound;
    assert!((1.0..=1.05).contains(&ratio), "makespan / lower bound = {ratio}");
    let copies = world.oracle.tasks.iter().filter(|seen| seen.attempts > 1).count();
    assert_eq!(copies, 0, "executors of equal speed need no copies");
}

#[test]
fn one_slow_executor_of_thirteen_costs_no_more_than_a_copy() {
    let costs = grid();
    let mut executors = vec![plain_executor(1, SPEED); 13];
    executors[7].speed = SPEED / 10;
    let run = |copies: bool| {
        let config = SchedulingConfig { copies, ..SchedulingConfig::default() };
        let tasks = costs.iter().map(|&cost| plain_task(cost, 2)).collect();
        let scenario = Scenario { config, tasks, executors: executors.clone(), echo_ms: None, forged: vec![] };
        World::new(scenario).run().last_finish.0
    };
    let longest_us = costs.iter().max().unwrap() * 1000 / SPEED;
    let lower_bound_us = costs.iter().sum::<u64>() * 1000 / SPEED / 12;
    let (with, without) = (run(true), run(false));
    assert!(with <= lower_bound_us + 2 * longest_us, "{with} us, the lower bound is {lower_bound_us}");
    assert!(with * 3 < without * 2, "{with} us with copies, {without} us without");
}

#[test]
fn thousands_of_tasks_on_hundreds_of_executors_are_all_launched_in_the_order_of_their_cost() {
    let mut scheduler = Scheduler::new(SchedulingConfig::default().validate().unwrap());
    let mut commands = Vec::new();
    let cost = |task: u32| task.wrapping_mul(2_654_435_761);
    for task in 0..20_000_u32 {
        let forecast = Forecast { cost: Cost(u64::from(cost(task))), from_epoch: 0, until_epoch: 1 };
        let priority = Priority::longest_first(forecast.cost);
        let added = Event::TaskAdded { task: TaskId(task), priority, forecast, history: History::default() };
        scheduler.handle(Moment(0), added, &mut commands).unwrap();
    }
    for executor in (0..500).map(ExecutorId) {
        let ready = Event::ExecutorReady { executor, slots: 40, held: vec![], restarted: false };
        scheduler.handle(Moment(1), ready, &mut commands).unwrap();
    }
    let costs: Vec<u32> = commands
        .iter()
        .map(|command| match command {
            Command::Launch(_, attempt) => cost(attempt.task.0),
            other => panic!("nothing has ended, and {other:?}"),
        })
        .collect();
    assert_eq!(costs.len(), 20_000);
    assert!(costs.is_sorted_by_key(|&cost| Reverse(cost)));
    assert_eq!(scheduler.broken_invariant(), None);
}
