//! A simulated cluster: an agenda of events, the scheduler under test, and the oracle that judges it.
//!
//! Everything follows from the [`Scenario`], so a bug is a scenario, and proptest shrinks it. Reports of attempts
//! whose executor was lost stay on the agenda: they arrive stale, as they do from a cut connection that mends.

use std::collections::BTreeMap;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::oracle::Oracle;
use crate::scheduler::{Command, Cost, Event, Outcome, Rejected, RetryConfig, Scheduler, Time};

/// Far more events than any scenario has: one that goes on longer never ends.
const STEPS_MAX: usize = 100_000;

/// What will happen, but for what the scheduler decides.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) config: RetryConfig,
    /// Task `n` is the `n`th.
    pub(super) tasks: Vec<TaskPlan>,
    /// Executor `n` is the `n`th.
    pub(super) executors: Vec<ExecutorPlan>,
    /// When each report of an attempt arrives a second time, after the first.
    pub(super) echo_ms: Option<u64>,
    /// Events out of nowhere.
    pub(super) forged: Vec<(u64, Event)>,
}

#[derive(Clone, Debug)]
pub(super) struct TaskPlan {
    pub(super) added_ms: u64,
    pub(super) cost: u64,
    /// How the first attempts end; those after them complete.
    pub(super) outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug)]
pub(super) struct ExecutorPlan {
    pub(super) ready_ms: u64,
    pub(super) slots: u32,
    /// Cost that an attempt works off in a millisecond.
    pub(super) speed: u64,
    /// Whether every attempt fails here.
    pub(super) sick: bool,
    /// Times of a loss, and how much later the executor is back.
    pub(super) outages: Vec<(u64, u64)>,
}

/// One event and what the scheduler answered.
pub(super) type Entry = (Time, Event, Result<Vec<Command>, Rejected>);

/// The cluster.
pub(super) struct World {
    scenario: Scenario,
    pub(super) scheduler: Scheduler,
    pub(super) oracle: Oracle,
    agenda: BTreeMap<(Time, usize), Event>,
    planned: usize,
    pub(super) log: Vec<Entry>,
    /// When the last task finished.
    pub(super) last_finish: Time,
}

impl World {
    pub(super) fn new(scenario: Scenario) -> Self {
        let scheduler = Scheduler::new(scenario.config.validate().unwrap());
        let oracle = Oracle::new(scenario.config.clone());
        let mut world = Self {
            scenario,
            scheduler,
            oracle,
            agenda: BTreeMap::new(),
            planned: 0,
            log: Vec::new(),
            last_finish: Time::default(),
        };
        world.write_agenda();
        world
    }

    /// Plays the scenario to its end, which must be reached with every task finished.
    pub(super) fn run(mut self) -> Self {
        for _ in 0..STEPS_MAX {
            let planned = self.agenda.keys().next().map(|&(time, _)| time);
            match (planned, self.scheduler.next_deadline()) {
                (Some(time), deadline) if deadline.is_none_or(|deadline| time <= deadline) => {
                    let (_, event) = self.agenda.pop_first().unwrap();
                    self.deliver(time, event);
                }
                (_, Some(deadline)) => self.deliver(deadline, Event::Deadline),
                (_, None) => {
                    assert!(self.scheduler.is_done(), "nothing will happen any more, and tasks are unfinished");
                    return self;
                }
            }
        }
        panic!("no end after {STEPS_MAX} events");
    }

    /// One event: the oracle says whether it may be believed, then judges the answer.
    pub(super) fn deliver(&mut self, now: Time, event: Event) {
        let acceptable = self.oracle.accepts(event);
        let before = self.scheduler.clone();
        let answer = self.scheduler.handle(now, event);
        match &answer {
            Ok(commands) => {
                assert!(acceptable, "believed: {event:?}");
                self.oracle.judge(now, event, commands);
                for &command in commands {
                    self.obey(now, command);
                }
            }
            Err(rejected) => {
                assert!(!acceptable, "{event:?} is rejected: {rejected}");
                assert_eq!(self.scheduler, before, "a rejected event changed the state");
            }
        }
        self.compare(now, answer.is_ok());
        self.log.push((now, event, answer));
    }

    /// The views say what the oracle counts.
    fn compare(&self, now: Time, accepted: bool) {
        assert_eq!(self.scheduler.broken_invariant(), None);
        assert_eq!(self.scheduler.is_done(), self.oracle.is_done());
        let counts = self.scheduler.counts();
        assert_eq!([counts.waiting, counts.running, counts.finished], self.oracle.counts());
        if accepted {
            assert_eq!(self.scheduler.next_deadline(), self.oracle.next_deadline(now));
        }
        for executor in (0..self.scenario.executors.len() as u32).map(ExecutorId) {
            for attempt in self.scheduler.running_on(executor) {
                assert!(self.oracle.is_live(executor, attempt), "{attempt} does not run on {executor}");
                assert_eq!(self.scheduler.executor_of(attempt), Some(executor));
            }
        }
    }

    fn obey(&mut self, now: Time, command: Command) {
        match command {
            Command::Finish(..) => self.last_finish = now,
            Command::Launch(executor, attempt) => self.start(now, executor, attempt),
        }
    }

    fn start(&mut self, now: Time, executor: ExecutorId, attempt: AttemptId) {
        let host = self.scenario.executors.get(executor.0 as usize);
        let plan = self.scenario.tasks.get(attempt.task.0 as usize);
        let planned = plan.and_then(|plan| plan.outcomes.get(attempt.number as usize - 1)).copied();
        let (sick, speed) = host.map_or((false, 1), |host| (host.sick, host.speed));
        let outcome = if sick { Outcome::Failed } else { planned.unwrap_or(Outcome::Completed) };
        let end = Time(now.0 + plan.map_or(1, |plan| plan.cost) * 1000 / speed);
        let report = Event::AttemptEnded { executor, attempt, outcome };
        self.plan(end, report);
        if let Some(echo_ms) = self.scenario.echo_ms {
            self.plan(Time(end.0 + echo_ms * 1000), report);
        }
    }

    fn write_agenda(&mut self) {
        let Scenario { tasks, executors, forged, .. } = self.scenario.clone();
        for (task, plan) in (0..).map(TaskId).zip(&tasks) {
            self.plan(ms(plan.added_ms), Event::TaskAdded { task, cost: Cost(plan.cost) });
        }
        for (executor, plan) in (0..).map(ExecutorId).zip(&executors) {
            let ready = Event::ExecutorReady { executor, slots: plan.slots };
            self.plan(ms(plan.ready_ms), ready);
            for &(lost_ms, back_ms) in &plan.outages {
                self.plan(ms(lost_ms), Event::ExecutorLost(executor));
                self.plan(ms(lost_ms + back_ms), ready);
            }
        }
        for (at_ms, event) in forged {
            self.plan(ms(at_ms), event);
        }
        let last_added_ms = tasks.iter().map(|plan| plan.added_ms).max().unwrap_or(0);
        self.plan(ms(last_added_ms), Event::AddingEnded);
    }

    fn plan(&mut self, time: Time, event: Event) {
        // The number keeps events of one moment in the order in which they were planned.
        self.agenda.insert((time, self.planned), event);
        self.planned += 1;
    }
}

fn ms(ms: u64) -> Time {
    Time(ms * 1000)
}
