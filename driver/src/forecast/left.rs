//! The time that is left of a run which goes on: its scheduler, as it stands, is played to its end at the pace so far.

use std::cmp::Reverse;
use std::time::Duration;

use super::play;
use broadsweep_scheduler::{Moment, Scheduler};

/// Where more tasks wait, they are not placed one by one: the time of all of them, shared by the slots, is as good.
const TASKS_MAX: usize = 10_000;

/// How long a run will take from `now` on; `None` before anything was measured, or if nobody is there.
///
/// Of each running attempt what is left of it at its own pace, of each waiting task its cost at the pace of the executor
/// that takes it. Nothing goes wrong from now on, and no executor comes that is not there.
#[must_use]
pub fn time_left(scheduler: &Scheduler, now: Moment) -> Option<Duration> {
    let pace = scheduler.paces()?;
    if scheduler.counts().waiting > TASKS_MAX {
        let slots = scheduler.slots_here();
        let running_us: f64 = scheduler.remaining(now).map(|(_, _, us)| us).sum();
        let us = (scheduler.waiting_cost() * pace.of_all() + running_us) / f64::from(slots);
        return (slots > 0).then(|| Duration::from_micros(us as u64));
    }
    let remaining =
        scheduler.remaining(now).map(|(executor, attempt, us)| Reverse((play::after(now, us), executor, attempt)));
    let running = remaining.collect();
    let took = |executor, task| pace.of(executor) * scheduler.cost_left(task);
    play::to_the_end(scheduler.rehearsal(), now, running, took).map(|end| end.since(now))
}
