//! One task: its history and its state.

use std::cmp::Reverse;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::cost::Cost;
use super::moment::Moment;
use super::policy::SchedulingPolicy;
use super::priority::Priority;
use super::protocol::{Forecast, GivenUp, History, Verdict};
use super::queue::QueueKey;

// A million of these are kept.
const _: () = assert!(size_of::<TaskRecord>() <= 64);

/// A live attempt, within its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) executor: ExecutorId,
    pub(super) number: u32,
}

impl Live {
    pub(super) fn attempt(self, task: TaskId) -> AttemptId {
        AttemptId { task, number: self.number }
    }
}

/// Where a task stands. All of it is here: queue, timers and slots only index it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskState {
    /// Not placed before `until`; in the queue from then on.
    Waiting { until: Moment },
    /// One attempt is live, or two while a slow one and its copy race.
    Running { first: Live, second: Option<Live> },
    /// Over.
    Finished(Verdict),
}

/// Where a task cannot go, or had better not. Most tasks have none of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Where the program failed, a row a failure, sorted.
    failures: Vec<ExecutorId>,
    /// Where what it told was doubted, a row a time, sorted.
    doubts: Vec<ExecutorId>,
    /// Which executors cannot do it at all, sorted.
    refusals: Vec<ExecutorId>,
    /// Which executors it is about: it goes to none of them, ever. Sorted, and each once.
    parties: Vec<ExecutorId>,
    /// Which executors were lost with it since its newest checkpoint, a row a loss, sorted.
    losses: Vec<ExecutorId>,
}

/// The executors that a task keeps off, which changes with what it may still lose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shunned<'t> {
    trouble: &'t Trouble,
    /// Whether it was lost, and one more loss gives it up. Then those that were lost with it may be what is wrong.
    has_last_try: bool,
}

/// A task and what it went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TaskRecord {
    priority: Priority,
    /// Of the epochs behind `from_epoch`, up to `until_epoch`.
    cost: Cost,
    from_epoch: u32,
    until_epoch: u32,
    /// Attempts launched so far: the newest has this number.
    pub(super) attempts: u32,
    /// The epoch that the next attempt begins after: that of the newest checkpoint, else `from_epoch`.
    pub(super) checkpoint: u32,
    pub(super) trouble: Option<Box<Trouble>>,
    pub(super) state: TaskState,
}

impl TaskRecord {
    /// A task that waits until `held_until`, or not at all.
    pub(super) fn new(priority: Priority, forecast: Forecast, history: History, now: Moment) -> Self {
        let (mut failures, mut refusals, mut losses) = (history.failed_on, history.refused_on, history.lost_on);
        failures.sort_unstable();
        refusals.sort_unstable();
        refusals.dedup();
        losses.sort_unstable();
        let (mut doubts, mut parties) = (history.doubted_on, history.parties);
        doubts.sort_unstable();
        parties.sort_unstable();
        parties.dedup();
        let trouble = Trouble { failures, doubts, refusals, parties, losses };
        Self {
            priority,
            cost: forecast.cost,
            from_epoch: forecast.from_epoch,
            until_epoch: forecast.until_epoch,
            attempts: history.attempts,
            checkpoint: history.checkpoint.max(forecast.from_epoch),
            trouble: (trouble != Trouble::default()).then(|| Box::new(trouble)),
            state: TaskState::Waiting { until: history.held_until.unwrap_or(now) },
        }
    }

    /// A task that had its verdict under an earlier driver.
    pub(super) fn finished(priority: Priority, forecast: Forecast, history: History, now: Moment) -> Self {
        let verdict = Verdict::Completed { attempts: history.attempts };
        // Nobody asks any more where it failed.
        Self { state: TaskState::Finished(verdict), trouble: None, ..Self::new(priority, forecast, history, now) }
    }

    pub(super) fn queue_key(&self, task: TaskId) -> QueueKey {
        (self.priority, Reverse(task))
    }

    /// Whether nothing was ever tried, so that it fits everywhere.
    pub(super) fn is_fresh(&self) -> bool {
        self.attempts == 0 && self.trouble.is_none()
    }

    /// Its own epochs, those behind `from_epoch`: at least one.
    pub(super) fn epochs(&self) -> u32 {
        self.until_epoch - self.from_epoch
    }

    /// The cost of one epoch; never zero, so that it can divide.
    pub(super) fn epoch_cost(&self) -> f64 {
        self.cost.0.max(1) as f64 / f64::from(self.epochs())
    }

    /// How many epochs are behind this one: more than its own, if that lies before `from_epoch`.
    pub(super) fn epochs_after(&self, epoch: u32) -> u32 {
        self.until_epoch.saturating_sub(epoch)
    }

    /// The cost behind the newest checkpoint: what an attempt that is launched now has to do.
    pub(super) fn cost_left(&self) -> f64 {
        self.epoch_cost() * f64::from(self.epochs_after(self.checkpoint))
    }

    /// The live attempts: none, one or two.
    pub(super) fn live(&self) -> impl Iterator<Item = Live> + use<> {
        let (first, second) = match self.state {
            TaskState::Running { first, second } => (Some(first), second),
            TaskState::Waiting { .. } | TaskState::Finished(_) => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Whether exactly one attempt is live.
    pub(super) fn is_single(&self) -> bool {
        matches!(self.state, TaskState::Running { second: None, .. })
    }

    pub(super) fn is_finished(&self) -> bool {
        matches!(self.state, TaskState::Finished(_))
    }

    /// The state with one more live attempt.
    pub(super) fn with_live(&self, added: Live) -> TaskState {
        match self.state {
            TaskState::Running { first, .. } => TaskState::Running { first, second: Some(added) },
            TaskState::Waiting { .. } | TaskState::Finished(_) => TaskState::Running { first: added, second: None },
        }
    }

    /// The state in which the other attempt goes on alone; none if there is no other.
    pub(super) fn without_live(&self, attempt: AttemptId) -> Option<TaskState> {
        let other = self.live().find(|live| live.number != attempt.number)?;
        Some(TaskState::Running { first: other, second: None })
    }

    pub(super) fn failures(&self) -> u32 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.failures.len() as u32)
    }

    /// Attempts that ended with the loss of their executor, since the newest checkpoint.
    pub(super) fn losses(&self) -> u32 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.losses.len() as u32)
    }

    pub(super) fn failed_on(&mut self, executor: ExecutorId) {
        insert(&mut self.trouble.get_or_insert_default().failures, executor);
    }

    pub(super) fn doubted_on(&mut self, executor: ExecutorId) {
        insert(&mut self.trouble.get_or_insert_default().doubts, executor);
    }

    pub(super) fn lost_on(&mut self, executor: ExecutorId) {
        insert(&mut self.trouble.get_or_insert_default().losses, executor);
    }

    /// The executors that it keeps off; none, if nothing ever went wrong.
    pub(super) fn shunned(&self, policy: &SchedulingPolicy) -> Option<Shunned<'_>> {
        let trouble = self.trouble.as_deref()?;
        let has_last_try = !trouble.losses.is_empty() && self.losses() + 1 >= policy.losses_max();
        Some(Shunned { trouble, has_last_try })
    }

    /// A newer checkpoint: what was lost before it is forgiven.
    pub(super) fn reach(&mut self, checkpoint: u32) {
        self.checkpoint = checkpoint;
        if let Some(trouble) = &mut self.trouble {
            trouble.losses.clear();
        }
    }

    pub(super) fn refused_on(&mut self, executor: ExecutorId) {
        let refused_on = &mut self.trouble.get_or_insert_default().refusals;
        if let Err(index) = refused_on.binary_search(&executor) {
            refused_on.insert(index, executor);
        }
    }

    /// Whether some executor cannot do it, or may not.
    pub(super) fn is_refused(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.is_refused())
    }

    /// An executor is another process now, which may have more memory. Returns whether nobody refuses the task any more.
    pub(super) fn forget_refusal(&mut self, executor: ExecutorId) -> bool {
        let Some(trouble) = &mut self.trouble else { return true };
        trouble.refusals.retain(|&refused| refused != executor);
        !trouble.is_refused()
    }

    /// Why it is not to be tried again, if so.
    pub(super) fn exhausted(&self, policy: &SchedulingPolicy) -> Option<GivenUp> {
        let (failures, losses) = (self.failures(), self.losses());
        if failures >= policy.failures_max() {
            Some(GivenUp::FailedTooOften { failures })
        } else if losses >= policy.losses_max() {
            Some(GivenUp::LostTooOften { losses })
        } else {
            None
        }
    }
}

impl Trouble {
    fn is_refused(&self) -> bool {
        !(self.refusals.is_empty() && self.parties.is_empty())
    }

    /// Whether the executor cannot do it, or may not.
    pub(super) fn has_refused(&self, executor: ExecutorId) -> bool {
        self.refusals.binary_search(&executor).is_ok() || self.parties.binary_search(&executor).is_ok()
    }

    fn has_failed(&self, executor: ExecutorId) -> bool {
        self.failures.binary_search(&executor).is_ok() || self.doubts.binary_search(&executor).is_ok()
    }

    /// Whether nobody but those that it is about may do it: then it has to be done soon, or never.
    pub(super) fn has_parties(&self) -> bool {
        !self.parties.is_empty()
    }
}

impl<'t> Shunned<'t> {
    /// Whether the executor may take the task: never if it refused it, and if it is shunned only as `last_resort`.
    pub(super) fn allows(self, executor: ExecutorId, last_resort: bool) -> bool {
        let has_lost = || self.for_losses().binary_search(&executor).is_ok();
        !self.trouble.has_refused(executor) && (last_resort || !(self.trouble.has_failed(executor) || has_lost()))
    }

    /// Each of them once.
    pub(super) fn executors(self) -> impl Iterator<Item = ExecutorId> + use<'t> {
        let trouble = self.trouble;
        let refused =
            each_once(&trouble.refusals).filter(|executor| trouble.parties.binary_search(executor).is_err());
        let failed = each_once(&trouble.failures);
        let doubted = each_once(&trouble.doubts).filter(|executor| trouble.failures.binary_search(executor).is_err());
        let failed = failed.chain(doubted).filter(|&executor| !trouble.has_refused(executor));
        let lost = each_once(self.for_losses());
        let lost = lost.filter(|&executor| !trouble.has_refused(executor) && !trouble.has_failed(executor));
        trouble.parties.iter().copied().chain(refused).chain(failed).chain(lost)
    }

    /// Whether the next loss is its end, so that it had better wait for an executor that is away.
    pub(super) fn has_last_try(self) -> bool {
        self.has_last_try
    }

    fn for_losses(self) -> &'t [ExecutorId] {
        if self.has_last_try { &self.trouble.losses } else { &[] }
    }
}

fn insert(sorted: &mut Vec<ExecutorId>, executor: ExecutorId) {
    sorted.insert(sorted.partition_point(|&other| other < executor), executor);
}

fn each_once(sorted: &[ExecutorId]) -> impl Iterator<Item = ExecutorId> {
    sorted.chunk_by(|one, next| one == next).map(|same| same[0])
}
