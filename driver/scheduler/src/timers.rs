//! What waits for its time: one index for all of it, so that the next deadline is its first entry.

use std::collections::BTreeSet;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::moment::Moment;

/// What is to be done when a time has come. Those of one time are done in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The executor stayed away too long: it is lost.
    Away(ExecutorId),
    /// The excluded executor may be probed.
    Probe(ExecutorId),
    /// The attempt reported no epoch in time: it hangs.
    Hang(ExecutorId, AttemptId),
    /// The task waited long enough: it joins the queue.
    Release(TaskId),
}

/// All that waits for its time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Timers(BTreeSet<(Moment, Timer)>);

impl Timers {
    pub(super) fn set(&mut self, time: Moment, timer: Timer) {
        self.0.insert((time, timer));
    }

    pub(super) fn clear(&mut self, time: Moment, timer: Timer) {
        self.0.remove(&(time, timer));
    }

    /// Takes the next timer whose time has come.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Timer> {
        let &(time, timer) = self.0.first()?;
        if time > now {
            return None;
        }
        self.0.pop_first();
        Some(timer)
    }

    /// Takes the tasks whose wait is over.
    pub(super) fn due_releases(&mut self, now: Moment) -> Vec<TaskId> {
        let due = self.0.iter().take_while(|(time, _)| *time <= now);
        let releases: Vec<_> = due.filter(|(_, timer)| matches!(timer, Timer::Release(_))).copied().collect();
        for release in &releases {
            self.0.remove(release);
        }
        releases
            .into_iter()
            .filter_map(|(_, timer)| match timer {
                Timer::Release(task) => Some(task),
                Timer::Away(_) | Timer::Probe(_) | Timer::Hang(..) => None,
            })
            .collect()
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.0.first().map(|&(time, _)| time)
    }

    pub(super) fn holds(&self, time: Moment, timer: Timer) -> bool {
        self.0.contains(&(time, timer))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
