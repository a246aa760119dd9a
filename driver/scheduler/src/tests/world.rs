//! A simulated cluster: an agenda, processes that work and report, the scheduler under test, and the oracle that
//! judges it.
//!
//! Everything follows from the [`Scenario`], so a bug is a scenario, and proptest shrinks it. A process goes on while
//! its connection is cut, and reports what it has when that is mended; an order that a cut overtakes never arrives.

use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::oracle::Oracle;
use super::scenario::{ExecutorPlan, Fate, Outage, OutageKind, Scenario, TaskPlan, plain_executor};
use crate::{Command, Cost, Event, Forecast, Moment, Outcome, Rejected, Scheduler};

/// Far more events than any scenario has: one that goes on longer never ends.
const STEPS_MAX: usize = 100_000;

/// One event and what the scheduler answered.
pub(super) type Entry = (Moment, Event, Result<Vec<Command>, Rejected>);

/// What stands on the agenda.
#[derive(Clone, Debug)]
enum Item {
    Tell(Event),
    Connect { executor: ExecutorId, restarted: bool },
    Fall { executor: ExecutorId, outage: Outage },
    Launch { executor: ExecutorId, session: u32, attempt: AttemptId, checkpoint: u32 },
    Stop { executor: ExecutorId, session: u32, attempt: AttemptId },
    Report { executor: ExecutorId, process: u32, event: Event },
}

/// An executor's process.
#[derive(Clone, Debug, Default)]
struct Process {
    /// How many there were before it.
    number: u32,
    /// How often its connection came and went.
    session: u32,
    cut: bool,
    running: BTreeSet<AttemptId>,
    unsent: Vec<Event>,
}

/// The cluster.
pub(super) struct World {
    scenario: Scenario,
    pub(super) scheduler: Scheduler,
    pub(super) oracle: Oracle,
    processes: BTreeMap<ExecutorId, Process>,
    agenda: BTreeMap<(Moment, usize), Item>,
    planned: usize,
    pub(super) log: Vec<Entry>,
    /// When the last task finished.
    pub(super) last_finish: Moment,
}

impl World {
    pub(super) fn new(scenario: Scenario) -> Self {
        let scheduler = Scheduler::new(scenario.config.validate().unwrap());
        let oracle = Oracle::new(scenario.config);
        let mut world = Self {
            scenario,
            scheduler,
            oracle,
            processes: BTreeMap::new(),
            agenda: BTreeMap::new(),
            planned: 0,
            log: Vec::new(),
            last_finish: Moment::default(),
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
                    let (_, item) = self.agenda.pop_first().unwrap();
                    self.happen(time, item);
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
    pub(super) fn deliver(&mut self, now: Moment, event: Event) {
        let acceptable = self.oracle.accepts(&event);
        if let Event::ExecutorReady { executor, held, .. } = &event
            && acceptable
        {
            // Even a forged one connects: what it says to hold can be told to stop.
            let process = self.process(*executor);
            process.cut = false;
            process.session += 1;
            process.running.extend(held);
        }
        let before = self.scheduler.clone();
        let mut commands = Vec::new();
        let answer = self.scheduler.handle(now, event.clone(), &mut commands);
        match answer {
            Ok(()) => {
                assert!(acceptable, "believed: {event:?}");
                self.oracle.judge(now, &event, &commands);
                self.oracle.judge_deadline(now, self.scheduler.next_deadline());
                for &command in &commands {
                    self.obey(now, command);
                }
            }
            Err(rejected) => {
                assert!(!acceptable, "{event:?} is rejected: {rejected}");
                assert_eq!(self.scheduler, before, "a rejected event changed the state");
                assert_eq!(commands, [], "a rejected event has commands");
            }
        }
        self.compare();
        self.log.push((now, event, answer.map(|()| commands)));
    }

    /// The views say what the oracle counts.
    fn compare(&self) {
        assert_eq!(self.scheduler.broken_invariant(), None);
        assert_eq!(self.scheduler.is_done(), self.oracle.is_done());
        let counts = self.scheduler.counts();
        assert_eq!([counts.waiting, counts.running, counts.finished], self.oracle.counts());
        assert_eq!(self.scheduler.is_idle(), counts.running == 0);
        for (&executor, node) in &self.oracle.nodes {
            let running: Vec<_> = self.scheduler.running_on(executor).collect();
            assert_eq!(running, node.taken.keys().copied().collect::<Vec<_>>());
            for (&attempt, taken) in &node.taken {
                let live = self.scheduler.executor_of(attempt) == Some(executor);
                assert_eq!(live, taken.told.is_none(), "{attempt} is live, or not");
            }
        }
        for (task, seen) in (0..).map(TaskId).zip(&self.oracle.tasks) {
            let live: BTreeMap<_, _> =
                self.scheduler.live_attempts(task).map(|(executor, attempt)| (attempt.number, executor)).collect();
            assert_eq!(live, seen.live);
            assert_eq!(self.scheduler.checkpoint_of(task), seen.checkpoint);
            let left = self.scheduler.cost_left(task);
            assert!((left - seen.cost_left()).abs() < 1e-9 * (left + 1.0), "{left} is left of {task}");
        }
    }

    fn obey(&mut self, now: Moment, command: Command) {
        match command {
            Command::Finish(..) => self.last_finish = now,
            Command::Launch(executor, attempt) => {
                let checkpoint = self.scheduler.checkpoint_of(attempt.task);
                let session = self.process(executor).session;
                self.order(now, executor, Item::Launch { executor, session, attempt, checkpoint });
            }
            Command::Cancel(executor, attempt, _) => {
                let session = self.process(executor).session;
                self.order(now, executor, Item::Stop { executor, session, attempt });
            }
            Command::Adopt(..) | Command::Lost { .. } | Command::Exclude { .. } | Command::Reinstate(_) => {}
        }
    }

    fn order(&mut self, now: Moment, executor: ExecutorId, item: Item) {
        if !self.process(executor).cut {
            let latency_ms = self.host(executor).latency_ms;
            self.plan(later(now, latency_ms), item);
        }
    }

    fn happen(&mut self, now: Moment, item: Item) {
        match item {
            Item::Tell(event) => self.deliver(now, event),
            Item::Connect { executor, restarted } => self.connect(now, executor, restarted),
            // One outage at a time.
            Item::Fall { executor, .. } if self.process(executor).cut => self.plan(later(now, 1), item),
            Item::Fall { executor, outage } => self.fall(now, executor, outage),
            Item::Launch { executor, session, attempt, checkpoint } if self.process(executor).session == session => {
                self.start(now, executor, attempt, checkpoint);
            }
            Item::Stop { executor, session, attempt } if self.process(executor).session == session => {
                self.plan_end(later(now, 1), executor, attempt, Outcome::Stopped);
            }
            Item::Report { executor, process, event } => self.report(now, executor, process, event),
            Item::Launch { .. } | Item::Stop { .. } => {}
        }
    }

    fn connect(&mut self, now: Moment, executor: ExecutorId, restarted: bool) {
        let slots = self.host(executor).slots;
        let process = self.process(executor);
        let unsent = std::mem::take(&mut process.unsent);
        let ended = unsent.iter().filter_map(|event| match event {
            Event::AttemptEnded { attempt, .. } => Some(*attempt),
            _ => None,
        });
        let held = process.running.iter().copied().chain(ended).collect();
        self.deliver(now, Event::ExecutorReady { executor, slots, held, restarted });
        for event in unsent {
            self.deliver(now, event);
        }
    }

    fn fall(&mut self, now: Moment, executor: ExecutorId, outage: Outage) {
        let process = self.process(executor);
        let crashes = matches!(outage.kind, OutageKind::Crash | OutageKind::HiddenCrash);
        let event = match outage.kind {
            OutageKind::Drain => {
                let running = process.running.clone();
                for attempt in running {
                    self.plan_end(later(now, 2), executor, attempt, Outcome::Stopped);
                }
                let end = Outage { kind: OutageKind::Crash, ..outage };
                self.plan(later(now, outage.back_ms), Item::Fall { executor, outage: end });
                return self.deliver(now, Event::ExecutorDraining(executor));
            }
            OutageKind::Crash | OutageKind::TakenForLost => Event::ExecutorLost(executor),
            OutageKind::HiddenCrash | OutageKind::Cut => Event::ExecutorAway(executor),
        };
        process.cut = true;
        process.session += 1;
        if crashes {
            process.number += 1;
            process.running.clear();
        }
        self.plan(later(now, outage.back_ms), Item::Connect { executor, restarted: crashes });
        self.deliver(now, event);
    }

    fn start(&mut self, now: Moment, executor: ExecutorId, attempt: AttemptId, checkpoint: u32) {
        let ExecutorPlan { sick, speed, .. } = self.host(executor);
        self.process(executor).running.insert(attempt);
        let plan = self.scenario.tasks.get(attempt.task.0 as usize);
        let one = Forecast { cost: Cost(1), from_epoch: 0, until_epoch: 1 };
        let Forecast { cost, from_epoch, until_epoch } = plan.map_or(one, |plan| plan.forecast);
        let planned = plan.and_then(|plan| plan.fates.get((attempt.number as usize).saturating_sub(1))).copied();
        let outcome = match planned {
            Some(Fate::Hangs) => return,
            _ if sick => Outcome::Failed,
            Some(Fate::Ends(outcome)) => outcome,
            None => Outcome::Completed,
        };
        let epoch_us = cost.0 * 1000 / speed / u64::from(until_epoch - from_epoch);
        let mut time = now;
        for epoch in checkpoint.min(until_epoch) + 1..=until_epoch {
            time = Moment(time.0 + epoch_us);
            if outcome == Outcome::Completed || epoch < until_epoch {
                self.plan_report(time, executor, Event::EpochEnded { executor, attempt, epoch });
            }
        }
        self.plan_end(time, executor, attempt, outcome);
    }

    /// Something comes out of a process: it is told now, when the connection is mended, or never.
    fn report(&mut self, now: Moment, executor: ExecutorId, number: u32, event: Event) {
        let (Event::EpochEnded { attempt, .. } | Event::AttemptEnded { attempt, .. }) = event else { return };
        let echo_ms = self.scenario.echo_ms;
        let process = self.process(executor);
        let alive = process.number == number && process.running.contains(&attempt);
        if !alive && echo_ms.is_none() {
            return;
        }
        if matches!(event, Event::AttemptEnded { .. }) {
            process.running.remove(&attempt);
        }
        if process.cut && alive {
            process.unsent.push(event);
            return;
        }
        let believed = self.oracle.accepts(&event);
        self.deliver(now, event.clone());
        if let Some(echo_ms) = echo_ms.filter(|_| alive) {
            self.plan(later(now, echo_ms), Item::Tell(event.clone()));
        }
        let safe = self.scenario.tasks.get(attempt.task.0 as usize).is_some_and(|plan| plan.checkpoints);
        if let Event::EpochEnded { epoch, .. } = event
            && safe
            && believed
        {
            self.deliver(now, Event::Checkpointed { task: attempt.task, epoch });
        }
    }

    fn write_agenda(&mut self) {
        let Scenario { tasks, executors, forged, .. } = self.scenario.clone();
        for (task, plan) in (0..).map(TaskId).zip(tasks) {
            let TaskPlan { priority, forecast, history, .. } = plan;
            self.plan(Moment(0), Item::Tell(Event::TaskAdded { task, priority, forecast, history }));
        }
        for (executor, plan) in (0..).map(ExecutorId).zip(&executors) {
            for &attempt in &plan.holds {
                self.start(ms(plan.ready_ms), executor, attempt, 0);
            }
            self.plan(ms(plan.ready_ms), Item::Connect { executor, restarted: false });
            for &outage in &plan.outages {
                self.plan(ms(outage.at_ms), Item::Fall { executor, outage });
            }
        }
        let last_forged_ms = forged.iter().map(|&(at_ms, _)| at_ms).max().unwrap_or(0);
        for (at_ms, event) in forged {
            self.plan(ms(at_ms), Item::Tell(event));
        }
        self.plan(ms(last_forged_ms), Item::Tell(Event::AddingEnded));
    }

    fn host(&self, executor: ExecutorId) -> ExecutorPlan {
        let planned = self.scenario.executors.get(executor.0 as usize).cloned();
        planned.unwrap_or_else(|| plain_executor(1, 1))
    }

    fn process(&mut self, executor: ExecutorId) -> &mut Process {
        self.processes.entry(executor).or_default()
    }

    fn plan_end(&mut self, time: Moment, executor: ExecutorId, attempt: AttemptId, outcome: Outcome) {
        self.plan_report(time, executor, Event::AttemptEnded { executor, attempt, outcome });
    }

    fn plan_report(&mut self, time: Moment, executor: ExecutorId, event: Event) {
        let process = self.process(executor).number;
        self.plan(time, Item::Report { executor, process, event });
    }

    fn plan(&mut self, time: Moment, item: Item) {
        // The number keeps items of one moment in the order in which they were planned.
        self.agenda.insert((time, self.planned), item);
        self.planned += 1;
    }
}

fn ms(ms: u64) -> Moment {
    later(Moment::default(), ms)
}

fn later(now: Moment, ms: u64) -> Moment {
    Moment(now.0 + ms * 1000)
}
