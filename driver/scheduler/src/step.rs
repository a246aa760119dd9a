//! The step: one event in, commands out. What each kind of event does is beside it.

use std::collections::BTreeSet;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::copy_watch::CopyWatch;
use super::evidence::Evidence;
use super::executor::Slot;
use super::fleet::Fleet;
use super::moment::Moment;
use super::policy::SchedulingPolicy;
use super::priority::Priority;
use super::protocol::{Command, Event, Forecast, History};
use super::queue::Queue;
use super::rejected::Rejected;
use super::task::{Live, TaskRecord, TaskState};
use super::timers::{Timer, Timers};

/// Debug builds recount every index after each event up to this many tasks and executors together. Above it the
/// recount would make a test quadratic; the property tests, which find such bugs, stay far below it.
const RECOUNT_MAX: usize = 256;

/// Where the tasks stand, for a display of progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that wait for a slot, or for the end of a backoff.
    pub waiting: usize,
    /// Tasks with one or two live attempts.
    pub running: usize,
    /// Tasks that completed or were given up.
    pub finished: usize,
}

/// Which task is tried where. See the module for the rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduler {
    pub(super) policy: SchedulingPolicy,
    /// Every task that was ever added, by its number: a finished one stays, so that late reports about it are known
    /// as such.
    pub(super) tasks: Vec<TaskRecord>,
    pub(super) counts: Counts,
    /// Running tasks with one live attempt.
    pub(super) singles: usize,
    pub(super) queue: Queue,
    pub(super) fleet: Fleet,
    pub(super) timers: Timers,
    /// Unfinished tasks that some executor refused.
    pub(super) refused: BTreeSet<TaskId>,
    /// Whether one of them may fit nowhere now: looked at before anything is placed.
    pub(super) refused_changed: bool,
    pub(super) evidence: Evidence,
    pub(super) copy_watch: CopyWatch,
    adding_ended: bool,
    pub(super) placing_ended: bool,
    /// What whoever adds tasks waits for.
    pub(super) awaited: Option<TaskId>,
}

impl Scheduler {
    /// A scheduler without tasks or executors.
    #[must_use]
    pub fn new(policy: SchedulingPolicy) -> Self {
        Self {
            policy,
            tasks: Vec::new(),
            counts: Counts::default(),
            singles: 0,
            queue: Queue::default(),
            fleet: Fleet::default(),
            timers: Timers::default(),
            refused: BTreeSet::new(),
            refused_changed: false,
            evidence: Evidence::default(),
            copy_watch: CopyWatch::default(),
            adding_ended: false,
            placing_ended: false,
            awaited: None,
        }
    }

    /// Takes in what happened at `now`, and appends to `commands` what to do, in order. Times never go back from
    /// event to event.
    ///
    /// # Errors
    /// [`Rejected`] if the event does not fit the state: a stale, duplicated or forged report. Nothing has changed,
    /// and `commands` is as it was.
    ///
    /// # Panics
    /// In debug builds, if an index does not match the states: a bug in here, never a fault of the sender.
    pub fn handle(&mut self, now: Moment, event: Event, commands: &mut Vec<Command>) -> Result<(), Rejected> {
        // What a deadline and progress bring was forecast.
        let changed = !matches!(event, Event::Deadline | Event::EpochEnded { .. } | Event::Checkpointed { .. });
        match event {
            Event::TaskAdded { task, priority, forecast, history } => {
                self.on_task_added(task, priority, forecast, history, now, commands)?;
            }
            Event::AddingEnded => self.adding_ended = true,
            Event::TasksDropped(tasks) => self.on_tasks_dropped(&tasks, commands)?,
            Event::Awaited(task) => self.awaited = task,
            Event::ExecutorReady { executor, slots, held, restarted } => {
                self.on_executor_ready(executor, slots, &held, restarted, now, commands)?;
            }
            Event::ExecutorDraining(executor) => self.on_executor_draining(executor)?,
            Event::ExecutorAway(executor) => self.on_executor_away(executor, now)?,
            Event::ExecutorLost(executor) => self.on_executor_lost(executor, now, commands)?,
            Event::EpochEnded { executor, attempt, epoch } => {
                self.on_epoch_ended(executor, attempt, epoch, now, commands)?;
            }
            Event::Checkpointed { task, epoch } => self.on_checkpointed(task, epoch)?,
            Event::AttemptEnding { executor, attempt } => self.on_attempt_ending(executor, attempt)?,
            Event::StoodStill => self.on_stood_still(now),
            Event::AttemptEnded { executor, attempt, outcome } => {
                self.on_attempt_ended(executor, attempt, outcome, now, commands)?;
            }
            Event::PlacingEnded => self.placing_ended = true,
            Event::Deadline => {}
        }
        self.fire_due_timers(now, commands);
        self.give_up_misfits(now, commands);
        self.place_waiting(now, commands);
        self.look_for_slow_attempts(changed, now, commands);
        if cfg!(debug_assertions) && self.tasks.len() + self.fleet.len() <= RECOUNT_MAX {
            assert_eq!(self.broken_invariant(), None);
        }
        Ok(())
    }

    /// When to send [`Event::Deadline`], unless another event comes first.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.next().into_iter().chain(self.copy_watch.next()).min()
    }

    /// Whether every task is finished and none will come. Attempts that were told to stop may still do so.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.adding_ended && self.counts.finished == self.tasks.len()
    }

    /// Whether no attempt is live anywhere.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.counts.running == 0
    }

    /// Where the tasks stand.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Every attempt that takes a slot of `executor`, in the order of their tasks: those that were told to stop, too.
    /// None if it is not connected; if it is away, those that ran there.
    pub fn running_on(&self, executor: ExecutorId) -> impl Iterator<Item = AttemptId> {
        let found = self.fleet.get(executor);
        found.into_iter().flat_map(|found| found.running().iter().map(|&(attempt, _)| attempt))
    }

    /// Where `attempt` runs, if it is live.
    #[must_use]
    pub fn executor_of(&self, attempt: AttemptId) -> Option<ExecutorId> {
        let live = self.task(attempt.task)?.live().find(|live| live.number == attempt.number)?;
        Some(live.executor)
    }

    /// The live attempts of a task and where they run: at most two, the older one first.
    pub fn live_attempts(&self, task: TaskId) -> impl Iterator<Item = (ExecutorId, AttemptId)> {
        let record = self.task(task).into_iter();
        record.flat_map(move |record| record.live().map(move |live| (live.executor, live.attempt(task))))
    }

    /// The epoch that the task's next attempt begins after: that of its newest checkpoint, else that of its input.
    #[must_use]
    pub fn checkpoint_of(&self, task: TaskId) -> u32 {
        self.task(task).map_or(0, |record| record.checkpoint)
    }

    pub(super) fn task(&self, task: TaskId) -> Option<&TaskRecord> {
        self.tasks.get(task.0 as usize)
    }

    pub(super) fn task_mut(&mut self, task: TaskId) -> Option<&mut TaskRecord> {
        self.tasks.get_mut(task.0 as usize)
    }

    fn on_task_added(
        &mut self,
        task: TaskId,
        priority: Priority,
        forecast: Forecast,
        history: History,
        now: Moment,
        commands: &mut Vec<Command>,
    ) -> Result<(), Rejected> {
        let next = TaskId(self.tasks.len() as u32);
        if task != next {
            return Err(Rejected::TaskOutOfOrder { task, next });
        }
        if self.adding_ended {
            return Err(Rejected::AddedTooLate(task));
        }
        if forecast.until_epoch <= forecast.from_epoch {
            return Err(Rejected::NoEpochs(task));
        }
        if history.finished {
            self.tasks.push(TaskRecord::finished(priority, forecast, history, now));
            self.counts.finished += 1;
            return Ok(());
        }
        let record = TaskRecord::new(priority, forecast, history, now);
        let exhausted = record.exhausted(&self.policy);
        let state = record.state;
        if record.is_refused() {
            self.refused.insert(task);
            self.refused_changed = true;
        }
        self.tasks.push(record);
        self.counts.waiting += 1;
        match exhausted {
            None => self.enqueue(task, state, now),
            // The driver before ended between the last failure and the verdict.
            Some(reason) => self.give_up(task, reason, commands),
        }
        Ok(())
    }

    /// Does what is due.
    fn fire_due_timers(&mut self, now: Moment, commands: &mut Vec<Command>) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Away(executor) => self.lose_executor(executor, now, commands),
                Timer::Probe(executor) => self.on_probe_due(executor),
                Timer::Hang(executor, attempt) => self.on_hang(executor, attempt, now, commands),
                Timer::Release(task) => self.join_queue(task),
            }
        }
    }

    /// Gives the free slots to the waiting tasks, by priority, in one pass: slots only become fewer on the way, so a
    /// task that found no place among them finds none later. Looks at as many tasks as it launches, and at those
    /// that keep off every executor with a free slot.
    fn place_waiting(&mut self, now: Moment, commands: &mut Vec<Command>) {
        let mut passed = None;
        while !self.placing_ended
            && self.fleet.has_room()
            && let Some(front) = self.queue.front(passed)
        {
            let (_, std::cmp::Reverse(task)) = front;
            let shunned = self.task(task).and_then(|record| record.shunned(&self.policy));
            match self.fleet.roomiest(shunned) {
                Some(executor) => {
                    self.queue.take(front);
                    self.launch(task, executor, now, commands);
                }
                None => passed = Some(front),
            }
        }
    }

    /// Starts the next attempt of a task, which has left the queue.
    pub(super) fn launch(&mut self, task: TaskId, executor: ExecutorId, now: Moment, commands: &mut Vec<Command>) {
        let Some(record) = self.tasks.get_mut(task.0 as usize) else { return };
        let takes_slot = |number| {
            let attempt = AttemptId { task, number };
            self.fleet.get(executor).is_some_and(|found| found.slot(attempt).is_some())
        };
        record.attempts += 1;
        while takes_slot(record.attempts) {
            record.attempts += 1; // it came holding one that was never launched, and has not stopped it yet
        }
        let live = Live { executor, number: record.attempts };
        let slot = Slot::launched(now, record.checkpoint);
        self.go_live(task, live, slot, now);
        commands.push(Command::Launch(executor, live.attempt(task)));
    }

    /// An attempt is live from now on.
    pub(super) fn go_live(&mut self, task: TaskId, live: Live, slot: Slot, now: Moment) {
        if let Some(record) = self.task(task) {
            let state = record.with_live(live);
            self.change_state(task, state);
            self.fleet.occupy(live.executor, live.attempt(task), slot);
            self.watch_for_hang(live.executor, live.attempt(task), now);
        }
    }

    /// Gives a task its next state, and counts it there.
    pub(super) fn change_state(&mut self, task: TaskId, state: TaskState) {
        let Some(record) = self.tasks.get_mut(task.0 as usize) else { return };
        let single_before = record.is_single();
        let before = std::mem::replace(&mut record.state, state);
        self.singles = self.singles + usize::from(record.is_single()) - usize::from(single_before);
        *self.counts.of(before) -= 1;
        *self.counts.of(state) += 1;
    }

    /// The task waits: it joins the queue, or does so later.
    pub(super) fn enqueue(&mut self, task: TaskId, state: TaskState, now: Moment) {
        match state {
            TaskState::Waiting { until } if until > now => self.timers.set(until, Timer::Release(task)),
            TaskState::Waiting { .. } => self.join_queue(task),
            TaskState::Running { .. } | TaskState::Finished(_) => {}
        }
    }

    fn join_queue(&mut self, task: TaskId) {
        self.refused_changed |= self.refused.contains(&task);
        let Some(record) = self.tasks.get(task.0 as usize) else { return };
        if record.is_fresh() {
            self.queue.push_fresh(record.queue_key(task));
        } else {
            self.queue.push_tried(record.queue_key(task));
        }
    }
}

impl Counts {
    /// How many are in this state.
    fn of(&mut self, state: TaskState) -> &mut usize {
        match state {
            TaskState::Waiting { .. } => &mut self.waiting,
            TaskState::Running { .. } => &mut self.running,
            TaskState::Finished(_) => &mut self.finished,
        }
    }
}
