//! Which checkpoints are fetched: the newest of each running task, one at a time, as far as the budget goes.

use std::collections::BTreeMap;
use std::time::Duration;

use broadsweep_common::ids::{AttemptId, Digest, ExecutorId, TaskId};
use tokio::time::Instant;

use crate::cluster::SessionId;
use crate::study::CheckpointSettings;

/// A checkpoint that an executor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) attempt: AttemptId,
    pub(super) executor: ExecutorId,
    pub(super) session: SessionId,
    pub(super) epoch: u32,
    pub(super) blob: Digest,
}

/// The checkpoints that are on their way, or could be.
#[derive(Debug)]
pub(super) struct Checkpoints {
    budget: CheckpointSettings,
    tasks: BTreeMap<TaskId, OfTask>,
    /// When what was fetched so far is paid for.
    paid: Option<Instant>,
}

/// The checkpoints of one task.
#[derive(Debug, Default)]
struct OfTask {
    /// Is being fetched.
    fetching: Option<Offered>,
    /// A newer one.
    waiting: Option<Offered>,
    /// When the last one was asked for.
    asked: Option<Instant>,
}

impl Checkpoints {
    pub(super) fn new(budget: CheckpointSettings) -> Self {
        Self { budget, tasks: BTreeMap::new(), paid: None }
    }

    /// An executor has a newer checkpoint. Returns it if it is to be fetched now.
    pub(super) fn offered(&mut self, offered: Offered, now: Instant) -> Option<Offered> {
        let is_paid = self.paid.is_none_or(|paid| paid <= now) && self.budget.bytes_per_s > 0;
        let known = self.tasks.entry(offered.attempt.task).or_default();
        let is_due = known
            .asked
            .is_none_or(|asked| now.duration_since(asked) >= Duration::from_millis(self.budget.interval_ms));
        if known.fetching.is_some() || !is_due || !is_paid {
            known.waiting = Some(offered);
            return None;
        }
        Some(known.fetch(offered, now))
    }

    /// A fetch of so many bytes is over. Returns what was fetched, if its session lasted.
    pub(super) fn fetched(&mut self, attempt: AttemptId, epoch: u32, bytes: u64, now: Instant) -> Option<Offered> {
        let known = self.tasks.get_mut(&attempt.task)?;
        let offered = known.fetching.take_if(|offered| (offered.attempt, offered.epoch) == (attempt, epoch))?;
        if self.budget.bytes_per_s > 0 {
            let cost = Duration::from_secs_f64(bytes as f64 / self.budget.bytes_per_s as f64);
            self.paid = Some(self.paid.unwrap_or(now).max(now) + cost);
        }
        Some(offered)
    }

    /// An attempt stopped: its last checkpoint is all that is left of it. Returns it if it is to be fetched now; the
    /// second value says whether one is on its way, now or already.
    pub(super) fn last_of(&mut self, attempt: AttemptId, now: Instant) -> (Option<Offered>, bool) {
        let Some(known) = self.tasks.get_mut(&attempt.task) else { return (None, false) };
        if known.fetching.is_some_and(|offered| offered.attempt == attempt) {
            return (None, true);
        }
        match known.waiting.take_if(|offered| offered.attempt == attempt) {
            Some(offered) => (Some(known.fetch(offered, now)), true),
            None => (None, false),
        }
    }

    /// An attempt is over, and its checkpoints are worth nothing. Returns the one that its executor still keeps.
    pub(super) fn forget(&mut self, attempt: AttemptId) -> Option<Offered> {
        let known = self.tasks.get_mut(&attempt.task)?;
        let waiting = known.waiting.take_if(|offered| offered.attempt == attempt);
        if known.fetching.is_none() && known.waiting.is_none() {
            self.tasks.remove(&attempt.task);
        }
        waiting
    }

    /// A session is over, and with it what was being fetched.
    pub(super) fn session_ended(&mut self, executor: ExecutorId) {
        for known in self.tasks.values_mut() {
            known.fetching.take_if(|offered| offered.executor == executor);
            known.waiting.take_if(|offered| offered.executor == executor);
        }
        self.tasks.retain(|_, known| known.fetching.is_some() || known.waiting.is_some() || known.asked.is_some());
    }
}

impl OfTask {
    fn fetch(&mut self, offered: Offered, now: Instant) -> Offered {
        self.fetching = Some(offered);
        self.waiting = None;
        self.asked = Some(now);
        offered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: AttemptId = AttemptId { task: TaskId(7), number: 1 };

    fn offered(epoch: u32) -> Offered {
        let blob = Digest::of(&epoch.to_le_bytes());
        Offered { attempt: ATTEMPT, executor: ExecutorId(0), session: SessionId(1), epoch, blob }
    }

    fn checkpoints(interval_s: u64, bytes_per_s: u64) -> Checkpoints {
        Checkpoints::new(CheckpointSettings { interval_ms: interval_s * 1000, bytes_per_s })
    }

    #[test]
    fn one_checkpoint_of_a_task_is_fetched_at_a_time() {
        let (mut checkpoints, now) = (checkpoints(0, 1 << 30), Instant::now());
        assert_eq!(checkpoints.offered(offered(1), now), Some(offered(1)));
        assert_eq!(checkpoints.offered(offered(2), now), None);
        assert_eq!(checkpoints.fetched(ATTEMPT, 1, 0, now), Some(offered(1)));
        assert_eq!(checkpoints.offered(offered(3), now), Some(offered(3)));
    }

    #[test]
    fn the_last_checkpoint_of_a_stopped_attempt_is_fetched_whatever_it_costs() {
        let (mut checkpoints, now) = (checkpoints(3600, 1), Instant::now());
        assert_eq!(checkpoints.offered(offered(1), now), Some(offered(1)));
        assert_eq!(checkpoints.last_of(ATTEMPT, now), (None, true));
        checkpoints.fetched(ATTEMPT, 1, 1000, now);
        assert_eq!(checkpoints.offered(offered(2), now), None);
        assert_eq!(checkpoints.last_of(ATTEMPT, now), (Some(offered(2)), true));
        checkpoints.fetched(ATTEMPT, 2, 0, now);
        assert_eq!(checkpoints.last_of(ATTEMPT, now), (None, false));
    }

    #[test]
    fn the_budget_spaces_checkpoints_by_time_and_by_bytes() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut by_time = checkpoints(10, 1 << 30);
        by_time.offered(offered(1), now);
        by_time.fetched(ATTEMPT, 1, 0, now);
        assert_eq!(by_time.offered(offered(2), later(9)), None);
        assert_eq!(by_time.offered(offered(3), later(10)), Some(offered(3)));
        let mut by_bytes = checkpoints(0, 100);
        by_bytes.offered(offered(1), now);
        by_bytes.fetched(ATTEMPT, 1, 1000, now);
        assert_eq!(by_bytes.offered(offered(2), later(9)), None);
        assert_eq!(by_bytes.offered(offered(3), later(10)), Some(offered(3)));
        assert_eq!(checkpoints(0, 0).offered(offered(1), now), None);
    }

    #[test]
    fn what_a_session_was_giving_is_forgotten_with_it() {
        let (mut checkpoints, now) = (checkpoints(0, 1 << 30), Instant::now());
        checkpoints.offered(offered(1), now);
        checkpoints.session_ended(ExecutorId(1));
        assert_eq!(checkpoints.last_of(ATTEMPT, now), (None, true));
        checkpoints.session_ended(ExecutorId(0));
        assert_eq!(checkpoints.last_of(ATTEMPT, now), (None, false));
        assert_eq!(checkpoints.fetched(ATTEMPT, 1, 0, now), None);
        assert_eq!(checkpoints.forget(ATTEMPT), None);
    }
}
