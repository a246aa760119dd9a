//! The step: one event in, commands out. Placement and bookkeeping meet here; what each of them keeps is beside it.

use std::collections::BTreeMap;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::fleet::Fleet;
use super::protocol::{Command, Cost, Event, Outcome, Rejected, SLOTS_MAX, Time};
use super::queue::Queue;
use super::retry::RetryPolicy;
use super::task::{TaskRecord, TaskState};

/// Debug builds recount every index after each event up to this many tasks and executors together. Above it the
/// recount would make a test quadratic; the property tests, which find such bugs, stay far below it.
const RECOUNT_MAX: usize = 256;

/// Where the tasks stand, for a display of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that wait for a slot, or for the end of a backoff.
    pub waiting: usize,
    /// Tasks with a live attempt.
    pub running: usize,
    /// Tasks that completed or were given up.
    pub finished: usize,
}

/// Which task is tried where. See the module for the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduler {
    pub(super) policy: RetryPolicy,
    /// Every task that was ever added: a finished one stays, so that late reports about it are known as such.
    pub(super) tasks: BTreeMap<TaskId, TaskRecord>,
    pub(super) queue: Queue,
    pub(super) fleet: Fleet,
    pub(super) finished: usize,
    adding_ended: bool,
}

impl Scheduler {
    /// A scheduler without tasks or executors.
    #[must_use]
    pub fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            tasks: BTreeMap::new(),
            queue: Queue::default(),
            fleet: Fleet::default(),
            finished: 0,
            adding_ended: false,
        }
    }

    /// Takes in what happened at `now`, and answers what to do, in order. Times never go back from event to event.
    ///
    /// # Errors
    /// [`Rejected`] if the event does not fit the state: a stale, duplicated or forged report. Nothing has changed.
    ///
    /// # Panics
    /// In debug builds, if an index does not match the states: a bug in here, never a fault of the sender.
    pub fn handle(&mut self, now: Time, event: Event) -> Result<Vec<Command>, Rejected> {
        let mut commands = match event {
            Event::TaskAdded { task, cost } => self.add_task(task, cost, now)?,
            Event::AddingEnded => {
                self.adding_ended = true;
                Vec::new()
            }
            Event::ExecutorReady { executor, slots } => self.add_executor(executor, slots)?,
            Event::ExecutorLost(executor) => self.lose_executor(executor, now)?,
            Event::AttemptEnded { executor, attempt, outcome } => {
                self.end_attempt(executor, attempt, outcome, now)?
            }
            Event::Deadline => Vec::new(),
        };
        self.queue.release(now);
        commands.extend(self.place());
        if cfg!(debug_assertions) && self.tasks.len() + self.fleet.len() <= RECOUNT_MAX {
            assert_eq!(self.broken_invariant(), None);
        }
        Ok(commands)
    }

    /// When to send [`Event::Deadline`], unless another event comes first.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.queue.next_release()
    }

    /// Whether every task is finished and none will come.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.adding_ended && self.finished == self.tasks.len()
    }

    /// Where the tasks stand.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let waiting = self.queue.len();
        Counts { waiting, running: self.tasks.len() - waiting - self.finished, finished: self.finished }
    }

    /// The attempts that run on `executor`, in the order of their tasks; none if it is not connected.
    pub fn running_on(&self, executor: ExecutorId) -> impl Iterator<Item = AttemptId> {
        self.fleet.running_on(executor)
    }

    /// Where `attempt` runs, if it is live.
    #[must_use]
    pub fn executor_of(&self, attempt: AttemptId) -> Option<ExecutorId> {
        let record = self.tasks.get(&attempt.task)?;
        match record.state {
            TaskState::Running { executor } if record.attempts == attempt.number => Some(executor),
            TaskState::Running { .. } | TaskState::Waiting { .. } | TaskState::Finished(_) => None,
        }
    }

    fn add_task(&mut self, task: TaskId, cost: Cost, now: Time) -> Result<Vec<Command>, Rejected> {
        if self.tasks.contains_key(&task) {
            return Err(Rejected::TaskKnown(task));
        }
        if self.adding_ended {
            return Err(Rejected::AddedTooLate(task));
        }
        self.tasks.insert(task, TaskRecord::new(cost, now));
        self.queue.push(task, cost, now, now);
        Ok(Vec::new())
    }

    fn add_executor(&mut self, executor: ExecutorId, slots: u32) -> Result<Vec<Command>, Rejected> {
        if self.fleet.is_connected(executor) {
            return Err(Rejected::ExecutorConnected(executor));
        }
        if !(1..=SLOTS_MAX).contains(&slots) {
            return Err(Rejected::BadSlots { executor, slots });
        }
        self.fleet.join(executor, slots);
        Ok(Vec::new())
    }

    fn lose_executor(&mut self, executor: ExecutorId, now: Time) -> Result<Vec<Command>, Rejected> {
        let lost = self.fleet.leave(executor).ok_or(Rejected::UnknownExecutor(executor))?;
        let mut commands = Vec::new();
        for attempt in lost {
            if let Some(record) = self.tasks.get_mut(&attempt.task) {
                record.lose(now, &self.policy);
                commands.extend(self.settle(attempt.task, now));
            }
        }
        Ok(commands)
    }

    fn end_attempt(
        &mut self,
        executor: ExecutorId,
        attempt: AttemptId,
        outcome: Outcome,
        now: Time,
    ) -> Result<Vec<Command>, Rejected> {
        if !self.fleet.is_connected(executor) {
            return Err(Rejected::UnknownExecutor(executor));
        }
        let stale = Rejected::StaleAttempt { executor, attempt };
        let record = self.tasks.get_mut(&attempt.task).ok_or(stale)?;
        if !record.is_live(executor, attempt.number) {
            return Err(stale);
        }
        match outcome {
            Outcome::Completed => record.complete(),
            Outcome::Failed => record.fail(executor, now, &self.policy),
        }
        self.fleet.vacate(executor, attempt);
        Ok(self.settle(attempt.task, now).into_iter().collect())
    }

    /// Follows the new state of a task whose attempt ended: back into the queue, or its verdict is announced.
    fn settle(&mut self, task: TaskId, now: Time) -> Option<Command> {
        let record = self.tasks.get(&task)?;
        match record.state {
            TaskState::Waiting { until } => {
                self.queue.push(task, record.cost, until, now);
                None
            }
            TaskState::Finished(verdict) => {
                self.finished += 1;
                Some(Command::Finish(task, verdict))
            }
            TaskState::Running { .. } => None,
        }
    }

    /// Gives the free slots to the ready tasks, longest first, in one pass: slots only become fewer on the way, so a
    /// task that found no place among them finds none later. Looks at as many tasks as it launches, and at those
    /// that keep off every executor with a free slot.
    fn place(&mut self) -> Vec<Command> {
        let mut launches = Vec::new();
        let mut last = None;
        while self.fleet.has_room()
            && let Some(place) = self.queue.ready_after(last)
        {
            last = Some(place);
            let (_, task) = place;
            let Some(record) = self.tasks.get_mut(&task) else { continue };
            let Some(executor) = self.fleet.roomiest(&record.failed_on) else { continue };
            let attempt = record.start(task, executor);
            self.queue.remove_ready(place);
            self.fleet.occupy(executor, attempt);
            launches.push(Command::Launch(executor, attempt));
        }
        launches
    }
}
