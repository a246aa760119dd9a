//! What holds in every world: the oracle judges each answer, and the end is reached.

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{ExecutorPlan, Scenario, TaskPlan, World};
use crate::scheduler::{Cost, Event, Outcome, RetryConfig, Scheduler, Time};

proptest! {
    #[test]
    fn every_task_of_every_scenario_finishes_once_by_the_rules(scenario in scenario()) {
        let tasks = scenario.tasks.len();
        let world = World::new(scenario).run();
        prop_assert!(world.oracle.tasks.len() >= tasks);
        prop_assert!(world.oracle.tasks.values().all(|seen| seen.verdict.is_some()));
    }

    #[test]
    fn no_sequence_of_events_is_answered_against_the_rules(config in config(), events in vec((0_u64..30, event()), 1..150)) {
        let scenario = Scenario { config, tasks: vec![], executors: vec![], echo_ms: None, forged: vec![] };
        let mut world = World::new(scenario);
        let mut now = Time::default();
        for (gap_ms, event) in events {
            now = Time(now.0 + gap_ms * 1000);
            world.deliver(now, event);
        }
    }

    #[test]
    fn the_same_events_give_the_same_commands(scenario in scenario()) {
        let policy = scenario.config.validate().unwrap();
        let world = World::new(scenario).run();
        let mut again = Scheduler::new(policy);
        for (now, event, answer) in world.log {
            prop_assert_eq!(again.handle(now, event), answer);
        }
        prop_assert_eq!(again, world.scheduler);
    }
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let echo_ms = proptest::option::of(0_u64..20);
    let forged = vec((0_u64..80, forged_event()), 0..12);
    (config(), vec(task_plan(), 1..12), vec(executor_plan(), 1..5), echo_ms, forged).prop_map(
        |(config, tasks, executors, echo_ms, forged)| Scenario { config, tasks, executors, echo_ms, forged },
    )
}

fn config() -> impl Strategy<Value = RetryConfig> {
    (1_u32..5, 1_u32..4, 0_u64..40).prop_map(|(failures_max, losses_max, backoff_ms)| RetryConfig {
        failures_max,
        losses_max,
        backoff_ms,
    })
}

fn task_plan() -> impl Strategy<Value = TaskPlan> {
    let added_ms = prop_oneof![3 => Just(0_u64), 1 => 0_u64..40];
    (added_ms, 1_u64..8, vec(outcome(), 0..5)).prop_map(|(added_ms, cost, outcomes)| TaskPlan {
        added_ms,
        cost,
        outcomes,
    })
}

fn executor_plan() -> impl Strategy<Value = ExecutorPlan> {
    (0_u64..10, 1_u32..4, 1_u64..3, prop::bool::weighted(0.2), vec((0_u64..60, 1_u64..30), 0..4))
        .prop_map(|(ready_ms, slots, speed, sick, outages)| ExecutorPlan { ready_ms, slots, speed, sick, outages })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Completed), Just(Outcome::Failed)]
}

/// Reports about attempts of few tasks on few executors: some are forged, some happen to be live.
fn report() -> impl Strategy<Value = Event> {
    (0_u32..4, 0_u32..5, 0_u32..5, outcome()).prop_map(|(executor, task, number, outcome)| Event::AttemptEnded {
        executor: ExecutorId(executor),
        attempt: AttemptId { task: TaskId(task), number },
        outcome,
    })
}

/// Events out of nowhere that leave every scenario an end: a real executor is not lost for good.
fn forged_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => report(),
        1 => task_added(),
        1 => executor_ready(),
        1 => Just(Event::ExecutorLost(ExecutorId(99))),
        1 => Just(Event::Deadline),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => report(),
        3 => task_added(),
        3 => executor_ready(),
        2 => (0_u32..4).prop_map(|executor| Event::ExecutorLost(ExecutorId(executor))),
        2 => Just(Event::Deadline),
        1 => prop::bool::weighted(0.1).prop_map(|end| if end { Event::AddingEnded } else { Event::Deadline }),
    ]
}

fn task_added() -> impl Strategy<Value = Event> {
    (0_u32..5, 1_u64..4).prop_map(|(task, cost)| Event::TaskAdded { task: TaskId(task), cost: Cost(cost) })
}

fn executor_ready() -> impl Strategy<Value = Event> {
    let slots = prop_oneof![8 => 1_u32..4, 1 => Just(0_u32), 1 => Just(4097_u32)];
    (0_u32..4, slots).prop_map(|(executor, slots)| Event::ExecutorReady { executor: ExecutorId(executor), slots })
}
