//! Recounts every index from the states of the tasks: what the scheduler keeps twice for speed must agree.

use std::collections::BTreeSet;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::executor::{Connection, Executor, Health, Slot};
use super::moment::Moment;
use super::queue::QueueKey;
use super::step::{Counts, Scheduler};
use super::task::{TaskRecord, TaskState};
use super::timers::Timer;

impl Scheduler {
    /// What is wrong inside, in words; `None` if all is well. Looks at every task: for tests and debug builds.
    #[must_use]
    pub fn broken_invariant(&self) -> Option<String> {
        let queued: BTreeSet<QueueKey> = self.queue.keys().collect();
        let mut tasks = (0..).map(TaskId).zip(&self.tasks);
        tasks
            .find_map(|(task, record)| self.broken_task(task, record, &queued))
            .or_else(|| self.fleet.broken_invariant())
            .or_else(|| self.fleet.iter().find_map(|(id, executor)| self.broken_executor(id, executor)))
            .or_else(|| self.broken_counts(queued.len()))
            .or_else(|| self.broken_timers())
    }

    fn broken_task(&self, task: TaskId, record: &TaskRecord, queued: &BTreeSet<QueueKey>) -> Option<String> {
        let in_queue = queued.contains(&record.queue_key(task));
        let in_order = match record.state {
            TaskState::Waiting { until } => in_queue != self.timers.holds(until, Timer::Release(task)),
            TaskState::Running { first, second } => {
                let apart =
                    second.is_none_or(|second| second.executor != first.executor && second.number != first.number);
                !in_queue && apart && record.live().all(|live| self.takes_slot(live.executor, live.attempt(task)))
            }
            TaskState::Finished(_) => !in_queue && record.trouble.is_none(),
        };
        let counted = record.live().all(|live| live.number <= record.attempts);
        let over = !record.is_finished() && record.exhausted(&self.policy).is_some();
        let listed = record.is_refused() == self.refused.contains(&task);
        (!in_order || !counted || over || !listed).then(|| format!("{task} is nowhere, or miscounted: {record:?}"))
    }

    /// Whether the attempt is live there as far as its executor knows.
    fn takes_slot(&self, executor: ExecutorId, attempt: AttemptId) -> bool {
        let found = self.fleet.get(executor).and_then(|found| found.slot(attempt));
        found.is_some_and(|slot| slot.told.is_none())
    }

    fn broken_executor(&self, id: ExecutorId, executor: &Executor) -> Option<String> {
        let wrong = executor.running().iter().find(|(attempt, slot)| {
            let live = self.executor_of(*attempt) == Some(id);
            live != slot.told.is_none() || !self.is_watched(id, executor, *attempt, slot)
        });
        wrong.map(|(attempt, slot)| format!("{attempt} takes a slot of {id} and should not: {slot:?}"))
    }

    /// A live attempt on a connected executor has a deadline, unless it has ended there; any other has none.
    fn is_watched(&self, id: ExecutorId, executor: &Executor, attempt: AttemptId, slot: &Slot) -> bool {
        let live_here = slot.told.is_none() && !slot.is_ending && executor.connection == Connection::Open;
        let timed = slot.hangs.is_none_or(|hangs| self.timers.holds(hangs, Timer::Hang(id, attempt)));
        live_here == slot.hangs.is_some() && timed
    }

    fn broken_counts(&self, queued: usize) -> Option<String> {
        let count = |wanted: fn(&TaskRecord) -> bool| self.tasks.iter().filter(|record| wanted(record)).count();
        let recounted = Counts {
            waiting: count(|record| matches!(record.state, TaskState::Waiting { .. })),
            running: count(|record| record.live().count() > 0),
            finished: count(TaskRecord::is_finished),
        };
        let singles = count(TaskRecord::is_single);
        let agrees = (recounted, singles, queued) == (self.counts, self.singles, self.queue.len());
        (!agrees).then(|| format!("{:?} and {}, recounted {recounted:?} and {singles}", self.counts, self.singles))
    }

    /// Each timer belongs to something.
    fn broken_timers(&self) -> Option<String> {
        let delayed = self.counts.waiting - self.queue.len();
        let mut expected = delayed;
        let mut missing = None;
        for (id, executor) in self.fleet.all() {
            expected += executor.running().iter().filter(|(_, slot)| slot.hangs.is_some()).count();
            let mut wants = |time: Moment, timer: Timer| {
                expected += 1;
                if !self.timers.holds(time, timer) {
                    missing = Some(format!("{timer:?} is missing"));
                }
            };
            if let Connection::Away { until } = executor.connection {
                wants(until, Timer::Away(id));
            }
            if let Health::Excluded { until, .. } = executor.health {
                wants(until, Timer::Probe(id));
            }
        }
        let agrees = expected == self.timers.len();
        missing.or_else(|| (!agrees).then(|| format!("{expected} timers wanted: {:?}", self.timers)))
    }
}
