//! What an event costs the scheduler, and what a task keeps: `cargo bench --bench scheduler`.
//!
//! 10,000 executors of one slot work off 10,000, 100,000 and 1,000,000 tasks of two epochs, on a clock of their own.
//! The time of an event must not depend on the number of tasks: the last column is what it takes compared with the
//! smallest study. The agenda of the simulated executors is in it, since reading the clock would cost as much.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};
use broadsweep_scheduler::{
    Command, Cost, Event, Forecast, History, Moment, Outcome, Priority, Scheduler, SchedulingConfig,
};

const EXECUTORS: u32 = 10_000;
const EPOCHS: u32 = 2;
/// Of one slot.
const COST_PER_US: u64 = 1_000;

/// An event of the simulated executors: when, of whom, about what; epoch 3 is the end.
type Planned = Reverse<(u64, u32, u32, u32, u32)>;

struct Bench {
    scheduler: Scheduler,
    commands: Vec<Command>,
    agenda: BinaryHeap<Planned>,
    events: u32,
    launches: u32,
}

struct Row {
    tasks: u32,
    add_us: f64,
    event_us: f64,
    bytes: f64,
    copies: u32,
}

fn main() {
    // The first study warms up the processor. Its memory is used again, so that the bytes of the next one say little.
    let _ = measure(10_000);
    let rows: Vec<Row> = [10_000, 100_000, 1_000_000].into_iter().map(measure).collect();
    eprintln!("    tasks  us an adding  us an event  bytes a task  copies  ratio");
    for Row { tasks, add_us, event_us, bytes, copies } in &rows {
        let ratio = event_us / rows[0].event_us;
        eprintln!("{tasks:>9} {add_us:>13.3} {event_us:>12.3} {bytes:>13.0} {copies:>7} {ratio:>6.2}");
    }
}

fn measure(tasks: u32) -> Row {
    let policy = SchedulingConfig::default().validate().unwrap_or_else(|error| panic!("{error}"));
    let mut bench = Bench {
        scheduler: Scheduler::new(policy),
        commands: Vec::new(),
        agenda: BinaryHeap::with_capacity(EXECUTORS as usize + 1),
        events: 0,
        launches: 0,
    };
    let resident = resident_bytes();
    let adding = bench.add(tasks);
    let bytes = (resident_bytes() - resident) / f64::from(tasks);
    bench.events = 0;
    let running = bench.run();
    assert!(bench.scheduler.is_done(), "tasks are unfinished");
    Row {
        tasks,
        add_us: adding.as_secs_f64() * 1e6 / f64::from(tasks),
        event_us: running.as_secs_f64() * 1e6 / f64::from(bench.events),
        bytes,
        copies: bench.launches - tasks,
    }
}

impl Bench {
    fn add(&mut self, tasks: u32) -> Duration {
        let started = Instant::now();
        for task in (0..tasks).map(TaskId) {
            let forecast = Forecast { cost: Cost(cost(task)), from_epoch: 0, until_epoch: EPOCHS };
            let priority = Priority::longest_first(forecast.cost);
            self.handle(0, Event::TaskAdded { task, priority, forecast, history: History::default() });
        }
        self.handle(0, Event::AddingEnded);
        started.elapsed()
    }

    /// Connects the executors, and lets them work until nothing is left.
    fn run(&mut self) -> Duration {
        let started = Instant::now();
        for executor in (0..EXECUTORS).map(ExecutorId) {
            self.handle(0, Event::ExecutorReady { executor, slots: 1, held: vec![], restarted: false });
            self.obey(0);
        }
        while !self.scheduler.is_done() {
            let Some(Reverse(next)) = self.agenda.peek().copied() else { break };
            match self.scheduler.next_deadline() {
                Some(Moment(due)) if due < next.0 => self.handle(due, Event::Deadline),
                _ => self.report(),
            }
        }
        started.elapsed()
    }

    fn report(&mut self) {
        let Some(Reverse((now, executor, task, number, epoch))) = self.agenda.pop() else { return };
        let (executor, attempt) = (ExecutorId(executor), AttemptId { task: TaskId(task), number });
        let event = if epoch > EPOCHS {
            Event::AttemptEnded { executor, attempt, outcome: Outcome::Completed }
        } else {
            let after = if epoch == EPOCHS { 0 } else { epoch_us(attempt.task) };
            self.agenda.push(Reverse((now + after, executor.0, task, number, epoch + 1)));
            Event::EpochEnded { executor, attempt, epoch }
        };
        self.handle(now, event);
        self.obey(now);
    }

    /// Carries out what the last event brought.
    fn obey(&mut self, now: u64) {
        for command in self.commands.drain(..) {
            if let Command::Launch(executor, attempt) = command {
                self.launches += 1;
                let end = now + epoch_us(attempt.task);
                self.agenda.push(Reverse((end, executor.0, attempt.task.0, attempt.number, 1)));
            }
        }
    }

    fn handle(&mut self, now: u64, event: Event) {
        self.events += 1;
        if let Err(rejected) = self.scheduler.handle(Moment(now), event, &mut self.commands) {
            // A copy that lost still reports its epoch.
            assert!(matches!(rejected, broadsweep_scheduler::Rejected::StaleAttempt { .. }), "{rejected}");
        }
    }
}

/// Half a minute to a minute and a half of work, in no order.
fn cost(task: TaskId) -> u64 {
    let scattered = u64::from(task.0.wrapping_mul(2_654_435_761));
    COST_PER_US * (30_000_000 + scattered % 60_000_000)
}

fn epoch_us(task: TaskId) -> u64 {
    cost(task) / COST_PER_US / u64::from(EPOCHS)
}

/// Memory that this process has in use; nothing where the system does not tell.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) * 1024.0
}
