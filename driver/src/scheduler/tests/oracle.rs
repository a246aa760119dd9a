//! A second, simple model of tasks and executors that judges every answer of the scheduler.
//!
//! It scans where the scheduler indexes, and shares no code with it. An event is judged before the scheduler sees
//! it; then each command is checked against the rules and carried into the model.

use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use crate::scheduler::{Command, Cost, Event, GivenUp, Outcome, RetryConfig, SLOTS_MAX, Time, Verdict};

/// What the model knows of a task.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    cost: u64,
    attempts: u32,
    failed_on: Vec<ExecutorId>,
    losses: u32,
    not_before: Time,
    live: Option<ExecutorId>,
    completed: bool,
    pub(super) verdict: Option<Verdict>,
}

/// The model.
#[derive(Clone, Debug)]
pub(super) struct Oracle {
    config: RetryConfig,
    pub(super) tasks: BTreeMap<TaskId, Seen>,
    executors: BTreeMap<ExecutorId, u32>,
    adding_ended: bool,
}

impl Oracle {
    pub(super) fn new(config: RetryConfig) -> Self {
        Self { config, tasks: BTreeMap::new(), executors: BTreeMap::new(), adding_ended: false }
    }

    /// Whether the scheduler must accept the event: only a live attempt may be believed.
    pub(super) fn accepts(&self, event: Event) -> bool {
        match event {
            Event::TaskAdded { task, .. } => !self.adding_ended && !self.tasks.contains_key(&task),
            Event::AddingEnded | Event::Deadline => true,
            Event::ExecutorReady { executor, slots } => {
                !self.executors.contains_key(&executor) && slots > 0 && slots <= SLOTS_MAX
            }
            Event::ExecutorLost(executor) => self.executors.contains_key(&executor),
            Event::AttemptEnded { executor, attempt, .. } => self.is_live(executor, attempt),
        }
    }

    pub(super) fn is_live(&self, executor: ExecutorId, attempt: AttemptId) -> bool {
        self.tasks
            .get(&attempt.task)
            .is_some_and(|seen| seen.live == Some(executor) && seen.attempts == attempt.number)
    }

    pub(super) fn is_done(&self) -> bool {
        self.adding_ended && self.tasks.values().all(|seen| seen.verdict.is_some())
    }

    /// Waiting, running and finished tasks.
    pub(super) fn counts(&self) -> [usize; 3] {
        let running = self.tasks.values().filter(|seen| seen.live.is_some()).count();
        let finished = self.tasks.values().filter(|seen| seen.verdict.is_some()).count();
        [self.tasks.len() - running - finished, running, finished]
    }

    /// The earliest time after `now` at which some task may be placed that may not be placed yet.
    pub(super) fn next_deadline(&self, now: Time) -> Option<Time> {
        let waiting = self.tasks.values().filter(|seen| seen.verdict.is_none() && seen.live.is_none());
        waiting.map(|seen| seen.not_before).filter(|&time| time > now).min()
    }

    /// Takes in an accepted event, then judges what the scheduler answered.
    pub(super) fn judge(&mut self, now: Time, event: Event, commands: &[Command]) {
        self.take_in(now, event);
        for &command in commands {
            match command {
                Command::Finish(task, verdict) => self.finish(task, verdict),
                Command::Launch(executor, attempt) => self.launch(now, executor, attempt),
            }
        }
        for (task, seen) in &self.tasks {
            let over = self.expected_verdict(seen);
            assert_eq!(seen.verdict, over, "{task} should be finished, or should not");
        }
        let idle =
            self.tasks.keys().find(|&&task| self.executors.keys().any(|&executor| self.fits(now, task, executor)));
        assert_eq!(idle, None, "a task waits although a slot that it may take is free");
    }

    fn take_in(&mut self, now: Time, event: Event) {
        match event {
            Event::TaskAdded { task, cost: Cost(cost) } => {
                self.tasks.insert(task, Seen { cost, not_before: now, ..Seen::default() });
            }
            Event::AddingEnded => self.adding_ended = true,
            Event::ExecutorReady { executor, slots } => {
                self.executors.insert(executor, slots);
            }
            Event::ExecutorLost(executor) => {
                self.executors.remove(&executor);
                for seen in self.tasks.values_mut().filter(|seen| seen.live == Some(executor)) {
                    seen.live = None;
                    seen.losses += 1;
                    seen.not_before = now;
                }
            }
            Event::AttemptEnded { executor, attempt, outcome } => {
                let seen = self.tasks.get_mut(&attempt.task).unwrap();
                seen.live = None;
                match outcome {
                    Outcome::Completed => seen.completed = true,
                    Outcome::Failed => {
                        let wait_ms = (self.config.backoff_ms << seen.failed_on.len()).min(60_000);
                        seen.failed_on.push(executor);
                        seen.not_before = Time(now.0 + wait_ms * 1000);
                    }
                }
            }
            Event::Deadline => {}
        }
    }

    fn expected_verdict(&self, seen: &Seen) -> Option<Verdict> {
        let failures = seen.failed_on.len() as u32;
        let given_up = |reason| Some(Verdict::GivenUp { reason, attempts: seen.attempts });
        if seen.completed {
            Some(Verdict::Completed { attempts: seen.attempts })
        } else if failures == self.config.failures_max {
            given_up(GivenUp::FailedTooOften { failures })
        } else if seen.losses == self.config.losses_max {
            given_up(GivenUp::LostTooOften { losses: seen.losses })
        } else {
            None
        }
    }

    fn finish(&mut self, task: TaskId, verdict: Verdict) {
        let seen = self.tasks.get_mut(&task).expect("a task that was never added is finished");
        assert_eq!(seen.verdict, None, "{task} is finished twice");
        assert_eq!(seen.live, None, "{task} is finished while an attempt is live");
        seen.verdict = Some(verdict);
        assert!(seen.attempts < self.config.failures_max + self.config.losses_max, "{task} is tried too often");
    }

    fn launch(&mut self, now: Time, executor: ExecutorId, attempt: AttemptId) {
        assert!(self.executors.contains_key(&executor), "{attempt} is launched on {executor}, which is not there");
        assert!(self.free_slots(executor) > 0, "{attempt} is launched on {executor}, which is full");
        let seen = &self.tasks[&attempt.task];
        assert_eq!(seen.live, None, "{attempt} is launched beside a live attempt");
        assert!(seen.verdict.is_none(), "{attempt} is launched after the end of its task");
        assert!(seen.not_before <= now, "{attempt} is launched before its backoff ends");
        assert_eq!(attempt.number, seen.attempts + 1, "attempt numbers grow by one");
        assert!(self.suits(seen, executor), "{attempt} is launched where it failed, and others are connected");
        for &other in self.executors.keys().filter(|&&other| self.suits(seen, other)) {
            let [here, there] = [executor, other].map(|executor| self.free_slots(executor));
            assert!(there <= here && (there < here || executor <= other), "{other} suits {attempt} better");
        }
        for (&task, other) in &self.tasks {
            let first = other.cost > seen.cost || (other.cost == seen.cost && task < attempt.task);
            let could = self.executors.keys().any(|&executor| self.fits(now, task, executor));
            assert!(!(first && could), "{attempt} is launched before {task}, which is longer");
        }
        let seen = self.tasks.get_mut(&attempt.task).unwrap();
        seen.attempts = attempt.number;
        seen.live = Some(executor);
    }

    /// Whether the task waits, is due, and could go on this executor now.
    fn fits(&self, now: Time, task: TaskId, executor: ExecutorId) -> bool {
        let seen = &self.tasks[&task];
        let waits = seen.live.is_none() && self.expected_verdict(seen).is_none() && seen.not_before <= now;
        waits && self.free_slots(executor) > 0 && self.suits(seen, executor)
    }

    /// Whether the task did not fail there, or failed everywhere.
    fn suits(&self, seen: &Seen, executor: ExecutorId) -> bool {
        let tried: BTreeSet<_> = seen.failed_on.iter().copied().collect();
        !tried.contains(&executor) || self.executors.keys().all(|executor| tried.contains(executor))
    }

    pub(super) fn free_slots(&self, executor: ExecutorId) -> u32 {
        let running = self.tasks.values().filter(|seen| seen.live == Some(executor)).count() as u32;
        let slots = self.executors.get(&executor).copied().unwrap_or(0);
        slots.checked_sub(running).expect("more attempts than slots")
    }
}
