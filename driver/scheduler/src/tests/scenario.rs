//! What will happen in a world, and how such plans are drawn.

use std::ops::Range;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Cost, Event, Forecast, History, Outcome, Priority, SchedulingConfig};

/// What will happen, but for what the scheduler decides.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) config: SchedulingConfig,
    /// Task `n` is the `n`th.
    pub(super) tasks: Vec<TaskPlan>,
    /// Executor `n` is the `n`th.
    pub(super) executors: Vec<ExecutorPlan>,
    /// When each report of an attempt arrives a second time, after the first; then those of ended processes arrive,
    /// too.
    pub(super) echo_ms: Option<u64>,
    /// Events out of nowhere.
    pub(super) forged: Vec<(u64, Event)>,
}

#[derive(Clone, Debug)]
pub(super) struct TaskPlan {
    pub(super) priority: Priority,
    pub(super) forecast: Forecast,
    /// What becomes of the first attempts; those after them complete.
    pub(super) fates: Vec<Fate>,
    /// Whether each epoch is made safe.
    pub(super) checkpoints: bool,
    pub(super) history: History,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Ends(Outcome),
    /// It never reports anything.
    Hangs,
}

#[derive(Clone, Debug)]
pub(super) struct ExecutorPlan {
    pub(super) ready_ms: u64,
    pub(super) slots: u32,
    /// Cost that an attempt works off in a millisecond.
    pub(super) speed: u64,
    /// Whether every attempt fails here.
    pub(super) sick: bool,
    /// How long an order is on its way.
    pub(super) latency_ms: u64,
    /// What an earlier driver left running.
    pub(super) holds: Vec<AttemptId>,
    pub(super) outages: Vec<Outage>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    pub(super) at_ms: u64,
    pub(super) kind: OutageKind,
    /// How much later the executor is back.
    pub(super) back_ms: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum OutageKind {
    /// The process ends, and the driver knows.
    Crash,
    /// The process ends, and the driver only sees that the connection did.
    HiddenCrash,
    /// The connection ends, and is mended.
    Cut,
    /// The same, and the driver takes the executor for lost.
    TakenForLost,
    /// The executor drains, then ends.
    Drain,
}

/// One task of equal epochs, nothing special.
pub(super) fn plain_task(cost: u64, epochs: u32) -> TaskPlan {
    let forecast = Forecast { cost: Cost(cost), from_epoch: 0, until_epoch: epochs };
    let priority = Priority::longest_first(forecast.cost);
    TaskPlan { priority, forecast, fates: vec![], checkpoints: false, history: History::default() }
}

/// One executor, nothing special.
pub(super) fn plain_executor(slots: u32, speed: u64) -> ExecutorPlan {
    ExecutorPlan { ready_ms: 0, slots, speed, sick: false, latency_ms: 0, holds: vec![], outages: vec![] }
}

pub(super) fn scenario() -> impl Strategy<Value = Scenario> {
    let echo_ms = proptest::option::of(0_u64..100);
    let forged = vec((0_u64..600, forged_event()), 0..12);
    (config(), vec(task_plan(), 1..16), vec(executor_plan(), 1..5), echo_ms, forged).prop_map(
        |(config, tasks, executors, echo_ms, forged)| Scenario { config, tasks, executors, echo_ms, forged },
    )
}

pub(super) fn config() -> impl Strategy<Value = SchedulingConfig> {
    let tries = (1_u32..8, 1_u32..6, 0_u64..200);
    let exclusion = (1_u32..4, 1_u64..500);
    let patience = (1_u64..300, 1_u32..12, 50_u64..2000);
    (tries, exclusion, patience, any::<bool>()).prop_map(
        |((failures_max, losses_max, backoff_ms), (exclude_after, probe_ms), patience, copies)| {
            let (reconnect_ms, hang_factor, hang_ms_min) = patience;
            SchedulingConfig {
                failures_max,
                losses_max,
                backoff_ms,
                exclude_after,
                probe_ms,
                reconnect_ms,
                hang_factor: f64::from(hang_factor),
                hang_ms_min,
                copies,
            }
        },
    )
}

fn task_plan() -> impl Strategy<Value = TaskPlan> {
    let history = prop_oneof![3 => Just(History::default()), 1 => history()];
    (priority(), forecast(1..400, 1..5), vec(fate(), 0..4), any::<bool>(), history).prop_map(
        |(priority, forecast, fates, checkpoints, history)| TaskPlan {
            priority,
            forecast,
            fates,
            checkpoints,
            history,
        },
    )
}

/// Few of each kind, so that some are equal.
pub(super) fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![
        (0_u64..6).prop_map(Priority::in_order),
        (0_u64..6).prop_map(|cost| Priority::longest_first(Cost(cost))),
    ]
}

/// Of a segment that begins anywhere.
pub(super) fn forecast(costs: Range<u64>, epochs: Range<u32>) -> impl Strategy<Value = Forecast> {
    let from_epoch = prop_oneof![2 => Just(0_u32), 1 => 1_u32..5];
    (costs, from_epoch, epochs).prop_map(|(cost, from_epoch, epochs)| Forecast {
        cost: Cost(cost),
        from_epoch,
        until_epoch: from_epoch + epochs,
    })
}

pub(super) fn history() -> impl Strategy<Value = History> {
    let held_until = proptest::option::of((0_u64..400).prop_map(|ms| crate::Moment(ms * 1000)));
    let executors = || vec((0_u32..4).prop_map(ExecutorId), 0..3);
    let seldom = || prop_oneof![3 => Just(vec![]), 1 => executors()];
    (0_u32..4, executors(), executors(), (seldom(), seldom()), 0_u32..3, held_until).prop_map(
        |(attempts, lost_on, failed_on, (refused_on, doubted_on), checkpoint, held_until)| History {
            attempts,
            lost_on,
            failed_on,
            doubted_on,
            refused_on,
            parties: Vec::new(),
            checkpoint,
            held_until,
            finished: false,
        },
    )
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![8 => outcome().prop_map(Fate::Ends), 1 => Just(Fate::Hangs)]
}

fn executor_plan() -> impl Strategy<Value = ExecutorPlan> {
    let holds = prop_oneof![2 => Just(vec![]), 1 => vec(attempt(), 0..4)];
    let speed = prop_oneof![3 => 2_u64..6, 1 => Just(1_u64)];
    (0_u64..100, 1_u32..4, speed, prop::bool::weighted(0.2), 0_u64..20, holds, vec(outage(), 0..4)).prop_map(
        |(ready_ms, slots, speed, sick, latency_ms, holds, outages)| ExecutorPlan {
            ready_ms,
            slots,
            speed,
            sick,
            latency_ms,
            holds,
            outages,
        },
    )
}

fn outage() -> impl Strategy<Value = Outage> {
    let kind = prop_oneof![
        Just(OutageKind::Crash),
        Just(OutageKind::HiddenCrash),
        Just(OutageKind::Cut),
        Just(OutageKind::TakenForLost),
        Just(OutageKind::Drain),
    ];
    (0_u64..600, kind, 1_u64..300).prop_map(|(at_ms, kind, back_ms)| Outage { at_ms, kind, back_ms })
}

pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Completed),
        3 => Just(Outcome::Failed),
        1 => Just(Outcome::Doubted),
        1 => Just(Outcome::Refused),
        1 => Just(Outcome::Stopped),
    ]
}

/// Of few tasks: some are forged, some happen to be live.
pub(super) fn attempt() -> impl Strategy<Value = AttemptId> {
    (0_u32..5, 0_u32..5).prop_map(|(task, number)| AttemptId { task: TaskId(task), number })
}

pub(super) fn executor() -> impl Strategy<Value = ExecutorId> {
    (0_u32..4).prop_map(ExecutorId)
}

/// Reports about attempts of few tasks on few executors.
pub(super) fn report() -> impl Strategy<Value = Event> {
    let ended = (executor(), attempt(), outcome()).prop_map(|(executor, attempt, outcome)| Event::AttemptEnded {
        executor,
        attempt,
        outcome,
    });
    let epoch = (executor(), attempt(), 0_u32..4).prop_map(|(executor, attempt, epoch)| Event::EpochEnded {
        executor,
        attempt,
        epoch,
    });
    let safe = (0_u32..6, 0_u32..4).prop_map(|(task, epoch)| Event::Checkpointed { task: TaskId(task), epoch });
    prop_oneof![4 => ended, 2 => epoch, 1 => safe]
}

/// Events out of nowhere that leave every scenario an end: a real executor is not lost for good.
fn forged_event() -> impl Strategy<Value = Event> {
    let stranger = ExecutorId(99);
    prop_oneof![
        8 => report(),
        1 => task_added(),
        1 => executor_ready(),
        1 => Just(Event::ExecutorLost(stranger)),
        1 => Just(Event::ExecutorAway(stranger)),
        1 => Just(Event::ExecutorDraining(stranger)),
        1 => Just(Event::StoodStill),
        1 => Just(Event::Deadline),
        1 => proptest::option::of((0_u32..12).prop_map(TaskId)).prop_map(Event::Awaited),
        1 => vec((0_u32..12).prop_map(TaskId), 0..3).prop_map(Event::TasksDropped),
    ]
}

pub(super) fn task_added() -> impl Strategy<Value = Event> {
    (0_u32..12, priority(), forecast(1..4, 0..3)).prop_map(|(task, priority, forecast)| Event::TaskAdded {
        task: TaskId(task),
        priority,
        forecast,
        history: History::default(),
    })
}

pub(super) fn executor_ready() -> impl Strategy<Value = Event> {
    let slots = prop_oneof![8 => 1_u32..4, 1 => Just(0_u32), 1 => Just(4097_u32)];
    (executor(), slots, vec(attempt(), 0..3), any::<bool>())
        .prop_map(|(executor, slots, held, restarted)| Event::ExecutorReady { executor, slots, held, restarted })
}
