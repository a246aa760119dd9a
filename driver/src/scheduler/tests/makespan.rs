//! Longest first against the lower bound, on the grid of 50 convnets (TensorFlow's MNIST tutorial network).

use broadsweep_common::ids::{ExecutorId, TaskId};

use super::world::{ExecutorPlan, Scenario, TaskPlan, World};
use crate::scheduler::{Command, Cost, Event, RetryConfig, Scheduler, Time};

/// FLOPs of one image, there and back, in the tutorial's network with a first dense layer of `width`: a
/// multiplication and an addition a weight and position, three times (forward, gradient of inputs, of weights).
fn convnet_flops(width: u64) -> u64 {
    let conv1 = 28 * 28 * 32 * (5 * 5);
    let conv2 = 14 * 14 * 64 * (5 * 5 * 32);
    let dense = 7 * 7 * 64 * width + width * 10;
    2 * 3 * (conv1 + conv2 + dense)
}

fn grid() -> Vec<u64> {
    // Ten learning rates of each width, in the order of the grid; two epochs of 55,000 images, in MFLOPs.
    let widths = [64, 128, 256, 512, 1024];
    (0..10).flat_map(|_| widths.map(|width| 2 * 55_000 * convnet_flops(width) / 1_000_000)).collect()
}

#[test]
fn fifty_convnets_on_thirteen_slots_end_within_six_percent_of_the_lower_bound() {
    let costs = grid();
    let executor = ExecutorPlan { ready_ms: 0, slots: 1, speed: 1, sick: false, outages: vec![] };
    let plan = |&cost: &u64| TaskPlan { added_ms: 0, cost, outcomes: vec![] };
    let world = World::new(Scenario {
        config: RetryConfig::default(),
        tasks: costs.iter().map(plan).collect(),
        executors: vec![executor; 13],
        echo_ms: None,
        forged: vec![],
    })
    .run();
    let longest = *costs.iter().max().unwrap() as f64;
    let lower_bound_ms = (costs.iter().sum::<u64>() as f64 / 13.0).max(longest);
    let ratio = world.last_finish.0 as f64 / 1000.0 / lower_bound_ms;
    assert!((1.0..=1.06).contains(&ratio), "makespan / lower bound = {ratio}");
}

#[test]
fn thousands_of_tasks_on_hundreds_of_executors_are_all_launched_in_the_order_of_their_cost() {
    let mut scheduler = Scheduler::new(RetryConfig::default().validate().unwrap());
    let mut launched = Vec::new();
    for task in 0..20_000_u32 {
        let cost = Cost(u64::from(task.wrapping_mul(2_654_435_761)));
        scheduler.handle(Time(0), Event::TaskAdded { task: TaskId(task), cost }).unwrap();
    }
    for executor in 0..500 {
        let ready = Event::ExecutorReady { executor: ExecutorId(executor), slots: 40 };
        launched.extend(scheduler.handle(Time(1), ready).unwrap());
    }
    let costs: Vec<u32> = launched
        .iter()
        .map(|command| match command {
            Command::Launch(_, attempt) => attempt.task.0.wrapping_mul(2_654_435_761),
            Command::Finish(..) => panic!("nothing has ended"),
        })
        .collect();
    assert_eq!(costs.len(), 20_000);
    assert!(costs.is_sorted_by(|earlier, later| earlier >= later));
    assert_eq!(scheduler.broken_invariant(), None);
}
