//! What a forecast asks of a scheduler: how fast executors are, what is left to do, and a copy to play with.

use std::collections::BTreeMap;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::copy_watch::CopyWatch;
use super::executor::{Connection, Executor};
use super::moment::Moment;
use super::step::Scheduler;
use super::task::{TaskRecord, TaskState};

/// What a unit of cost takes on each executor, in microseconds of a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Paces {
    of_all: f64,
    by_executor: BTreeMap<ExecutorId, f64>,
}

impl Paces {
    /// On the mean of all.
    #[must_use]
    pub fn of_all(&self) -> f64 {
        self.of_all
    }

    /// On one executor; the mean where nothing was measured there.
    #[must_use]
    pub fn of(&self, executor: ExecutorId) -> f64 {
        self.by_executor.get(&executor).copied().unwrap_or(self.of_all)
    }
}

impl Scheduler {
    /// A copy that places as this one does, in a world where nothing hangs and nothing needs a second copy: nobody
    /// reports epochs there.
    #[must_use]
    pub fn rehearsal(&self) -> Self {
        let mut rehearsal = self.clone();
        rehearsal.policy = self.policy.unhurried();
        rehearsal.copy_watch = CopyWatch::default();
        let executors: Vec<_> = rehearsal.fleet.all().map(|(executor, _)| executor).collect();
        for executor in executors {
            for attempt in rehearsal.running_on(executor).collect::<Vec<_>>() {
                if rehearsal.executor_of(attempt) == Some(executor) {
                    rehearsal.watch_for_hang(executor, attempt, Moment(0));
                }
            }
        }
        rehearsal
    }

    /// How fast executors are; `None` before anything was measured.
    #[must_use]
    pub fn paces(&self) -> Option<Paces> {
        let of_all = self.fleet.pace.forecast_us(1.0)?;
        let of_one = |(executor, found): (ExecutorId, &Executor)| Some((executor, found.pace.forecast_us(1.0)?));
        Some(Paces { of_all, by_executor: self.fleet.all().filter_map(of_one).collect() })
    }

    /// Slots of the executors that are connected.
    #[must_use]
    pub fn slots_here(&self) -> u32 {
        self.fleet
            .iter()
            .filter(|(_, found)| found.connection == Connection::Open)
            .map(|(_, found)| found.slots)
            .sum()
    }

    /// The cost of a task behind its newest checkpoint.
    #[must_use]
    pub fn cost_left(&self, task: TaskId) -> f64 {
        self.task(task).map_or(0.0, TaskRecord::cost_left)
    }

    /// The same of all tasks that wait.
    #[must_use]
    pub fn waiting_cost(&self) -> f64 {
        let waiting = self.tasks.iter().filter(|record| matches!(record.state, TaskState::Waiting { .. }));
        waiting.map(TaskRecord::cost_left).sum()
    }

    /// The attempts that take slots of executors which are connected, each with what it will still take at its own pace,
    /// in microseconds: nothing for one that was told to stop.
    pub fn remaining(&self, now: Moment) -> impl Iterator<Item = (ExecutorId, AttemptId, f64)> {
        let here = self.fleet.iter().filter(|(_, found)| found.connection == Connection::Open);
        here.flat_map(move |(executor, found)| {
            found.running().iter().map(move |(attempt, slot)| {
                let record = self.task(attempt.task).filter(|_| slot.told.is_none());
                let left = record.map_or(0.0, |record| slot.left_us(record, found.pace.or(self.fleet.pace), now));
                (executor, *attempt, left)
            })
        })
    }
}
