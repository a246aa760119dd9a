//! The time that is left of a run which goes on: its scheduler, as it stands, is played to its end at the pace so far.

use std::time::Duration;

use broadsweep_common::ids::{ExecutorId, TaskId};
use broadsweep_scheduler::{Cost, Counts, Forecast, Moment, Paces, Priority, Scheduler};

use super::play::{Joining, Play, TaskSource};

/// Where more tasks wait, they are not placed one by one: the time of all of them, shared by the slots, is as good.
const TASKS_MAX: u64 = 10_000;

/// The trials that a search has not started yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StillToCome {
    /// How many there are at most.
    pub trials: u64,
    /// What each of them costs, on the mean of those that were started.
    pub cost: u64,
    /// How many trainings it has under way at a time.
    pub at_once: u32,
}

/// How long a run will take from `now` on; `None` before anything was measured, or if nobody is there.
///
/// Of each running attempt what is left of it at its own pace, of each waiting task its cost at the pace of the executor
/// that takes it; then the trials that are still to come, each as soon as fewer are under way than the search has at a
/// time. Nothing goes wrong from now on, and no executor comes that is not there.
#[must_use]
pub fn time_left(scheduler: &Scheduler, still_to_come: StillToCome, now: Moment) -> Option<Duration> {
    let pace = scheduler.paces()?;
    let StillToCome { trials, cost, at_once } = still_to_come;
    if trials.saturating_add(scheduler.counts().waiting as u64) > TASKS_MAX {
        let slots = if trials > 0 { scheduler.slots_here().min(at_once) } else { scheduler.slots_here() };
        let running_us: f64 = scheduler.remaining(now).map(|(_, _, us)| us).sum();
        let waiting_cost = scheduler.waiting_cost() + trials as f64 * cost as f64;
        let us = (waiting_cost * pace.of_all() + running_us) / f64::from(slots);
        return (slots > 0).then(|| Duration::from_micros(us as u64));
    }
    let counts = scheduler.counts();
    let known = counts.waiting + counts.running + counts.finished;
    let rest = Rest { scheduler, pace, known: known as u32, still_to_come };
    Play::from(scheduler, now, rest).play_out().map(|(end, _)| end.since(now))
}

/// The tasks of a scheduler, and those that are still to come.
struct Rest<'a> {
    scheduler: &'a Scheduler,
    pace: Paces,
    /// Tasks that the scheduler has.
    known: u32,
    still_to_come: StillToCome,
}

impl TaskSource for Rest<'_> {
    fn joining(&mut self, _: Moment, under_way: Counts) -> Vec<Joining> {
        let StillToCome { trials, cost, at_once } = &mut self.still_to_come;
        let room = u64::from(*at_once).saturating_sub((under_way.waiting + under_way.running) as u64);
        let joining = room.min(*trials);
        *trials -= joining;
        let forecast = Forecast { cost: Cost(*cost), from_epoch: 0, until_epoch: 1 };
        // Whatever was decided before goes first.
        (0..joining).map(|_| (Priority::in_order(u64::MAX), forecast)).collect()
    }

    fn took_us(&self, executor: ExecutorId, task: TaskId) -> f64 {
        let is_known = task.0 < self.known;
        let cost = if is_known { self.scheduler.cost_left(task) } else { self.still_to_come.cost as f64 };
        self.pace.of(executor) * cost
    }
}
