//! Plays a scheduler to its end, in simulated time: every attempt completes after the time that it is said to take, and
//! further tasks come when their source has some.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use broadsweep_scheduler::{
    Command, Counts, Event, Forecast, History, Moment, Outcome, Priority, Scheduler, SchedulingConfig,
};

use super::Cluster;

/// Attempts by when they end, the next one first.
type Running = BinaryHeap<Reverse<(Moment, ExecutorId, AttemptId)>>;

/// Events that a play may take for each task: what is not over by then never will be.
const EVENTS_PER_TASK_MAX: usize = 8;

/// A task that joins the scheduler.
pub(super) type Joining = (Priority, Forecast);

/// Where the tasks of a play come from, and what they take.
pub(super) trait TaskSource {
    /// Tasks that there are from `now` on, while so many are under way. It is asked at the start and after everything that
    /// happens.
    fn joining(&mut self, now: Moment, under_way: Counts) -> Vec<Joining>;

    /// What an attempt at a task takes of its slot, in microseconds.
    fn took_us(&self, executor: ExecutorId, task: TaskId) -> f64;

    /// A task was launched.
    fn on_launch(&mut self, _task: TaskId, _now: Moment) {}

    /// A task is over.
    fn on_end(&mut self, _task: TaskId) {}

    /// When it wants to be asked, if nothing ends before; later than when it was asked last.
    fn wakes_at(&self) -> Option<Moment> {
        None
    }
}

/// How a play went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// From its start to the end of the last task, in microseconds.
    pub wall_us: u64,
    /// Time of slots that had nothing to do before the last launch, for nothing more was decided: in microseconds.
    pub order_us: u64,
    /// Tasks.
    pub tasks: u64,
}

/// A scheduler that is played.
pub(super) struct Play<S> {
    scheduler: Scheduler,
    source: S,
    now: Moment,
    running: Running,
    slots: u64,
    tasks: usize,
    /// Of all slots that had nothing to do so far, and up to the last launch.
    idle_us: u64,
    idle_before_launch_us: u64,
}

impl<S: TaskSource> Play<S> {
    /// A cluster of which every executor is there from the start, and no task yet. Beyond a slot for each of `at_once`
    /// tasks there is nothing to place: what is there besides is idle.
    pub(super) fn on(cluster: Cluster, at_once: u32, source: S) -> Self {
        // A study's patience is about what goes wrong, and nothing does here: its defaults are as good.
        let policy = SchedulingConfig::default().validate();
        let mut play = Self {
            scheduler: Scheduler::new(policy.unwrap_or_else(|_| unreachable!("the defaults are valid"))).rehearsal(),
            source,
            now: Moment(0),
            running: Running::new(),
            slots: cluster.all_slots(),
            tasks: 0,
            idle_us: 0,
            idle_before_launch_us: 0,
        };
        play.join();
        for number in 0..cluster.executors.min(at_once) {
            let (executor, slots) = (ExecutorId(number), cluster.slots);
            play.feed(Event::ExecutorReady { executor, slots, held: Vec::new(), restarted: false });
        }
        play
    }

    /// A scheduler as it stands at `now`, with what is left of each attempt.
    pub(super) fn from(scheduler: &Scheduler, now: Moment, source: S) -> Self {
        let remaining = scheduler.remaining(now).map(|(executor, attempt, us)| (after(now, us), executor, attempt));
        let counts = scheduler.counts();
        Self {
            running: remaining.map(Reverse).collect(),
            scheduler: scheduler.rehearsal(),
            source,
            now,
            slots: u64::from(scheduler.slots_here()),
            tasks: counts.waiting + counts.running + counts.finished,
            idle_us: 0,
            idle_before_launch_us: 0,
        }
    }

    /// Goes on until every task is over, and says when that is and how it went. `None` if it never is: nothing runs, and
    /// nobody can be waited for.
    pub(super) fn play_out(mut self) -> Option<(Moment, Played)> {
        let (began, mut events) = (self.now, 0);
        self.join();
        loop {
            let counts = self.scheduler.counts();
            if counts.waiting + counts.running == 0 {
                let wall_us = self.now.0 - began.0;
                let order_us = self.idle_before_launch_us;
                return Some((self.now, Played { wall_us, order_us, tasks: self.tasks as u64 }));
            }
            let deadline = self.scheduler.next_deadline().filter(|deadline| *deadline < Moment(u64::MAX));
            let end = self.running.peek().map(|Reverse((end, ..))| *end);
            let wakes_at = self.source.wakes_at();
            let next = [deadline, end, wakes_at].into_iter().flatten().min()?;
            self.pass(next);
            if end == Some(next) {
                self.end_next();
                events += 1;
            } else if deadline == Some(next) {
                self.feed(Event::Deadline);
                events += 1;
            }
            self.join();
            if events > (self.tasks + 1) * EVENTS_PER_TASK_MAX {
                return None;
            }
        }
    }

    fn pass(&mut self, to: Moment) {
        let passed = to.0.saturating_sub(self.now.0);
        let idle = self.slots.saturating_sub(self.running.len() as u64);
        self.idle_us = self.idle_us.saturating_add(idle.saturating_mul(passed));
        self.now = self.now.max(to);
    }

    /// The attempt that ends next completes.
    fn end_next(&mut self) {
        let Some(Reverse((_, executor, attempt))) = self.running.pop() else { return };
        // Rejected is the end of an attempt that is not there any more: there is nothing to do about it.
        if self.feed(Event::AttemptEnded { executor, attempt, outcome: Outcome::Completed }) {
            self.source.on_end(attempt.task);
        }
    }

    /// Adds the tasks that there are by now.
    fn join(&mut self) {
        for (priority, forecast) in self.source.joining(self.now, self.scheduler.counts()) {
            let task = TaskId(self.tasks as u32);
            if self.feed(Event::TaskAdded { task, priority, forecast, history: History::default() }) {
                self.tasks += 1;
            }
        }
    }

    /// Whether the scheduler takes it.
    fn feed(&mut self, event: Event) -> bool {
        let mut commands = Vec::new();
        let is_taken = self.scheduler.handle(self.now, event, &mut commands).is_ok();
        for command in commands {
            if let Command::Launch(executor, attempt) = command {
                self.idle_before_launch_us = self.idle_us;
                self.source.on_launch(attempt.task, self.now);
                let took_us = self.source.took_us(executor, attempt.task);
                self.running.push(Reverse((after(self.now, took_us), executor, attempt)));
            }
        }
        is_taken
    }
}

/// The moment so many microseconds after `now`.
fn after(now: Moment, us: f64) -> Moment {
    Moment(now.0.saturating_add(us as u64))
}
