//! Recounts every index from the states of the tasks: what the scheduler keeps twice for speed must agree.

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::step::Scheduler;
use super::task::{TaskRecord, TaskState};

impl Scheduler {
    /// What is wrong inside, in words; `None` if all is well. Looks at every task: for tests and debug builds.
    #[must_use]
    pub fn broken_invariant(&self) -> Option<String> {
        self.tasks
            .iter()
            .find_map(|(&task, record)| self.broken_task(task, record))
            .or_else(|| self.fleet.broken_invariant())
            .or_else(|| self.fleet.running().find_map(|(executor, attempt)| self.broken_slot(executor, attempt)))
            .or_else(|| self.broken_count())
    }

    fn broken_task(&self, task: TaskId, record: &TaskRecord) -> Option<String> {
        let tries_ended = record.losses as usize + record.failed_on.len();
        let agrees = match record.state {
            TaskState::Waiting { until } => {
                self.queue.holds(task, record.cost, until) && record.attempts as usize == tries_ended
            }
            TaskState::Running { executor } => {
                let live = AttemptId { task, number: record.attempts };
                self.fleet.running_on(executor).any(|attempt| attempt == live)
                    && record.attempts as usize == tries_ended + 1
            }
            TaskState::Finished(_) => record.attempts as usize - tries_ended <= 1,
        };
        let spent =
            record.failed_on.len() > self.policy.failures_max as usize || record.losses > self.policy.losses_max;
        (!agrees || spent).then(|| format!("{task} is nowhere, or miscounted: {record:?}"))
    }

    fn broken_slot(&self, executor: ExecutorId, attempt: AttemptId) -> Option<String> {
        let live = self.executor_of(attempt) == Some(executor);
        (!live).then(|| format!("{attempt} takes a slot of {executor} without running there"))
    }

    fn broken_count(&self) -> Option<String> {
        let waiting = self.count(|state| matches!(state, TaskState::Waiting { .. }));
        let finished = self.count(|state| matches!(state, TaskState::Finished(_)));
        if waiting != self.queue.len() {
            return Some(format!("{} tasks in the queue, {waiting} waiting", self.queue.len()));
        }
        (finished != self.finished).then(|| format!("{} tasks counted as finished, {finished} are", self.finished))
    }

    fn count(&self, wanted: impl Fn(&TaskState) -> bool) -> usize {
        self.tasks.values().filter(|record| wanted(&record.state)).count()
    }
}
