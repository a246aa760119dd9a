//! Plays a scheduler to its end, in simulated time: every attempt completes after the time that it is said to take.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use broadsweep_scheduler::{Command, Event, Moment, Outcome, Scheduler};

/// Attempts by when they end, the next one first.
pub(super) type Running = BinaryHeap<Reverse<(Moment, ExecutorId, AttemptId)>>;

/// Events that a play may take for each task: what is not over by then never will be.
const EVENTS_PER_TASK_MAX: usize = 8;

/// The attempts that these commands launch.
pub(super) fn launched(commands: &[Command], now: Moment, took_us: impl Fn(ExecutorId, TaskId) -> f64) -> Running {
    let mut running = Running::new();
    for command in commands {
        add_launch(command, now, &mut running, &took_us);
    }
    running
}

/// Goes on from `now`, with what runs, until every task is over: when that is. `None` if it never is: nothing runs, and
/// nobody can be waited for.
pub(super) fn to_the_end(
    mut scheduler: Scheduler,
    now: Moment,
    mut running: Running,
    took_us: impl Fn(ExecutorId, TaskId) -> f64,
) -> Option<Moment> {
    let (mut now, mut commands) = (now, Vec::new());
    let counts = scheduler.counts();
    let events_max = (counts.waiting + counts.running + running.len() + 1) * EVENTS_PER_TASK_MAX;
    for _ in 0..events_max {
        let counts = scheduler.counts();
        if counts.waiting + counts.running == 0 {
            return Some(now);
        }
        let deadline = scheduler.next_deadline().filter(|deadline| *deadline < Moment(u64::MAX));
        let next = running.peek().map(|Reverse((end, ..))| *end);
        let event = match (deadline, next) {
            (None, None) => return None,
            (Some(deadline), next) if next.is_none_or(|next| deadline < next) => {
                now = now.max(deadline);
                Event::Deadline
            }
            _ => {
                let Reverse((end, executor, attempt)) = running.pop()?;
                now = now.max(end);
                Event::AttemptEnded { executor, attempt, outcome: Outcome::Completed }
            }
        };
        // A rejected end is one of an attempt that is not there any more: there is nothing to do about it.
        if scheduler.handle(now, event, &mut commands).is_ok() {
            for command in &commands {
                add_launch(command, now, &mut running, &took_us);
            }
        }
        commands.clear();
    }
    None
}

fn add_launch(command: &Command, now: Moment, running: &mut Running, took_us: &impl Fn(ExecutorId, TaskId) -> f64) {
    if let Command::Launch(executor, attempt) = *command {
        running.push(Reverse((after(now, took_us(executor, attempt.task)), executor, attempt)));
    }
}

/// The moment so many microseconds after `now`.
pub(super) fn after(now: Moment, us: f64) -> Moment {
    Moment(now.0.saturating_add(us as u64))
}
