//! One task: its history and its state.

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::protocol::{Cost, GivenUp, Time, Verdict};
use super::retry::RetryPolicy;

/// Where a task stands. All of it is here: queue and fleet only index it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskState {
    /// In the queue; not placed before `until`.
    Waiting { until: Time },
    /// Its newest attempt is live on `executor`.
    Running { executor: ExecutorId },
    /// Over.
    Finished(Verdict),
}

/// A task and what it went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TaskRecord {
    pub(super) cost: Cost,
    /// Attempts launched so far: the newest has this number.
    pub(super) attempts: u32,
    /// Attempts that ended with the loss of their executor.
    pub(super) losses: u32,
    /// Where the program failed, a row a failure: how many there are is how often it failed.
    pub(super) failed_on: Vec<ExecutorId>,
    pub(super) state: TaskState,
}

impl TaskRecord {
    /// A new task that may be placed at once.
    pub(super) fn new(cost: Cost, now: Time) -> Self {
        Self { cost, attempts: 0, losses: 0, failed_on: Vec::new(), state: TaskState::Waiting { until: now } }
    }

    /// Whether this attempt is the live one, and lives there.
    pub(super) fn is_live(&self, executor: ExecutorId, number: u32) -> bool {
        self.state == TaskState::Running { executor } && self.attempts == number
    }

    /// Counts the next attempt and returns its name.
    pub(super) fn start(&mut self, task: TaskId, executor: ExecutorId) -> AttemptId {
        self.attempts += 1;
        self.state = TaskState::Running { executor };
        AttemptId { task, number: self.attempts }
    }

    /// The live attempt has a result.
    pub(super) fn complete(&mut self) {
        self.state = TaskState::Finished(Verdict::Completed { attempts: self.attempts });
    }

    /// The program failed on `executor`: waits before the next attempt, or is given up.
    pub(super) fn fail(&mut self, executor: ExecutorId, now: Time, policy: &RetryPolicy) {
        self.failed_on.push(executor);
        let failures = self.failed_on.len() as u32;
        self.state = if failures >= policy.failures_max {
            self.given_up(GivenUp::FailedTooOften { failures })
        } else {
            TaskState::Waiting { until: now.after(policy.backoff(failures)) }
        };
    }

    /// The executor is gone, which is not the task's fault: placed again at once, or given up.
    pub(super) fn lose(&mut self, now: Time, policy: &RetryPolicy) {
        self.losses += 1;
        self.state = if self.losses >= policy.losses_max {
            self.given_up(GivenUp::LostTooOften { losses: self.losses })
        } else {
            TaskState::Waiting { until: now }
        };
    }

    fn given_up(&self, reason: GivenUp) -> TaskState {
        TaskState::Finished(Verdict::GivenUp { reason, attempts: self.attempts })
    }
}
