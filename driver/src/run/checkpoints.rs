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
    /// When what was fetched so far, and what is being fetched, is paid for.
    paid: Option<Instant>,
    /// Bytes of the largest one so far: another one is expected to take as many.
    largest: Option<u64>,
}

/// The checkpoints of one task.
#[derive(Debug, Default)]
struct OfTask {
    /// Is being fetched, and for so many bytes it was paid.
    fetching: Option<(Offered, u64)>,
    /// A newer one.
    waiting: Option<Offered>,
    /// All that is left of attempts that stopped: fetched whatever it costs.
    lasts: Vec<Offered>,
    /// When the last one was asked for.
    asked: Option<Instant>,
}

impl Checkpoints {
    pub(super) fn new(budget: CheckpointSettings) -> Self {
        Self { budget, tasks: BTreeMap::new(), paid: None, largest: None }
    }

    /// An executor has a newer checkpoint. Returns it if it is to be fetched now; otherwise its time [comes](Self::due), or
    /// that of a newer one.
    pub(super) fn offered(&mut self, offered: Offered, now: Instant) -> Option<Offered> {
        self.tasks.entry(offered.attempt.task).or_default().waiting = Some(offered);
        self.fetch_if_due(offered.attempt.task, now)
    }

    /// What is to be fetched by now: first what is left of attempts that stopped, then that of the tasks that have waited
    /// for longest.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Offered> {
        let waits = |(task, known): (&TaskId, &OfTask)| {
            known.has_more().then_some((known.lasts.is_empty(), known.asked, *task))
        };
        let mut waiting: Vec<_> = self.tasks.iter().filter_map(waits).collect();
        waiting.sort_unstable();
        waiting.into_iter().filter_map(|(.., task)| self.fetch_if_due(task, now)).collect()
    }

    /// A fetch of so many bytes is over. Returns what was fetched, if its session lasted.
    pub(super) fn fetched(
        &mut self,
        (attempt, epoch): (AttemptId, u32),
        bytes: u64,
        now: Instant,
    ) -> Option<Offered> {
        let known = self.tasks.get_mut(&attempt.task)?;
        let is_it = |(offered, _): &mut (Offered, u64)| (offered.attempt, offered.epoch) == (attempt, epoch);
        let (offered, paid_bytes) = known.fetching.take_if(is_it)?;
        self.largest = self.largest.max(Some(bytes).filter(|bytes| *bytes > 0));
        self.pay(bytes.saturating_sub(paid_bytes), now);
        Some(offered)
    }

    /// An attempt stopped: its last checkpoint is all that is left of it. Says whether one is on its way, or will be
    /// [due](Self::due) at once.
    pub(super) fn want_last_of(&mut self, attempt: AttemptId) -> bool {
        let Some(known) = self.tasks.get_mut(&attempt.task) else { return false };
        known.lasts.extend(known.waiting.take_if(|offered| offered.attempt == attempt));
        let fetching = known.fetching.iter().map(|(offered, _)| offered);
        fetching.chain(&known.lasts).any(|offered| offered.attempt == attempt)
    }

    /// An attempt is over, and its checkpoints are worth nothing. Returns the one that its executor still keeps.
    pub(super) fn forget(&mut self, attempt: AttemptId) -> Option<Offered> {
        let known = self.tasks.get_mut(&attempt.task)?;
        let last = known.lasts.iter().position(|offered| offered.attempt == attempt);
        let last = last.map(|place| known.lasts.remove(place));
        let waiting = known.waiting.take_if(|offered| offered.attempt == attempt).or(last);
        if known.fetching.is_none() && !known.has_more() {
            self.tasks.remove(&attempt.task);
        }
        waiting
    }

    /// A session is over, and with it what was being fetched.
    pub(super) fn session_ended(&mut self, executor: ExecutorId) {
        for known in self.tasks.values_mut() {
            known.fetching.take_if(|(offered, _)| offered.executor == executor);
            known.waiting.take_if(|offered| offered.executor == executor);
            known.lasts.retain(|offered| offered.executor != executor);
        }
        self.tasks.retain(|_, known| known.fetching.is_some() || known.has_more() || known.asked.is_some());
    }

    /// Begins to fetch what waits of a task, if it is its turn.
    fn fetch_if_due(&mut self, task: TaskId, now: Instant) -> Option<Offered> {
        // Until one has come nobody knows what they take: the first one comes alone.
        let is_measured = self.largest.is_some() || self.tasks.values().all(|known| known.fetching.is_none());
        let is_paid = self.paid.is_none_or(|paid| paid <= now) && self.budget.bytes_per_s > 0 && is_measured;
        let interval = Duration::from_millis(self.budget.interval_ms);
        let known = self.tasks.get_mut(&task).filter(|known| known.fetching.is_none())?;
        let is_due = known.asked.is_none_or(|asked| now.duration_since(asked) >= interval);
        let last = (!known.lasts.is_empty()).then(|| known.lasts.remove(0));
        let offered = last.or_else(|| known.waiting.take_if(|_| is_due && is_paid))?;
        let expected_bytes = self.largest.unwrap_or_default();
        known.fetching = Some((offered, expected_bytes));
        known.asked = Some(now);
        self.pay(expected_bytes, now);
        Some(offered)
    }

    fn pay(&mut self, bytes: u64, now: Instant) {
        if self.budget.bytes_per_s > 0 && bytes > 0 {
            let cost = Duration::from_secs_f64(bytes as f64 / self.budget.bytes_per_s as f64);
            self.paid = Some(self.paid.unwrap_or(now).max(now) + cost);
        }
    }
}

impl OfTask {
    fn has_more(&self) -> bool {
        self.waiting.is_some() || !self.lasts.is_empty()
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

    fn of(task: u32) -> Offered {
        Offered { attempt: AttemptId { task: TaskId(task), number: 1 }, ..offered(1) }
    }

    #[test]
    fn one_checkpoint_of_a_task_is_fetched_at_a_time_and_then_the_newest() {
        let (mut checkpoints, now) = (checkpoints(0, 1 << 30), Instant::now());
        assert_eq!(checkpoints.offered(offered(1), now), Some(offered(1)));
        assert_eq!(checkpoints.offered(offered(2), now), None);
        assert_eq!(checkpoints.offered(offered(3), now), None);
        assert_eq!(checkpoints.fetched((ATTEMPT, 1), 0, now), Some(offered(1)));
        assert_eq!(checkpoints.due(now), [offered(3)]);
        assert_eq!(checkpoints.due(now), []);
    }

    #[test]
    fn the_last_checkpoint_of_a_stopped_attempt_is_fetched_whatever_it_costs() {
        let (mut checkpoints, now) = (checkpoints(3600, 1), Instant::now());
        assert_eq!(checkpoints.offered(offered(1), now), Some(offered(1)));
        assert!(checkpoints.want_last_of(ATTEMPT), "it is on its way");
        checkpoints.fetched((ATTEMPT, 1), 1000, now);
        assert_eq!(checkpoints.offered(offered(2), now), None);
        assert_eq!(checkpoints.due(now), []);
        assert!(checkpoints.want_last_of(ATTEMPT));
        assert_eq!(checkpoints.due(now), [offered(2)]);
        checkpoints.fetched((ATTEMPT, 2), 0, now);
        assert!(!checkpoints.want_last_of(ATTEMPT));
    }

    #[test]
    fn the_last_checkpoints_of_two_attempts_of_a_task_are_not_mistaken_for_each_other() {
        let (mut checkpoints, now) = (checkpoints(0, 1 << 30), Instant::now());
        let copy = AttemptId { number: 2, ..ATTEMPT };
        checkpoints.offered(offered(4), now);
        checkpoints.offered(offered(5), now);
        assert!(checkpoints.want_last_of(ATTEMPT));
        assert!(!checkpoints.want_last_of(copy), "nothing of the copy is on its way");
        let of_copy = Offered { attempt: copy, ..offered(3) };
        assert_eq!(checkpoints.offered(of_copy, now), None);
        assert!(checkpoints.want_last_of(copy));
        checkpoints.fetched((ATTEMPT, 4), 0, now);
        assert_eq!(checkpoints.due(now), [offered(5)], "what the copy offers takes no other one's place");
        checkpoints.fetched((ATTEMPT, 5), 0, now);
        assert!(!checkpoints.want_last_of(ATTEMPT));
        assert_eq!(checkpoints.due(now), [of_copy]);
    }

    #[test]
    fn the_budget_spaces_checkpoints_by_time_and_by_bytes_and_what_it_skipped_comes_later() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut by_time = checkpoints(10, 1 << 30);
        by_time.offered(offered(1), now);
        by_time.fetched((ATTEMPT, 1), 0, now);
        assert_eq!(by_time.offered(offered(2), later(9)), None);
        assert_eq!(by_time.due(later(9)), []);
        assert_eq!(by_time.due(later(10)), [offered(2)]);
        let mut by_bytes = checkpoints(0, 100);
        by_bytes.offered(offered(1), now);
        by_bytes.fetched((ATTEMPT, 1), 1000, now);
        assert_eq!(by_bytes.offered(offered(2), later(9)), None);
        assert_eq!(by_bytes.due(later(9)), []);
        assert_eq!(by_bytes.due(later(10)), [offered(2)]);
        assert_eq!(checkpoints(0, 0).offered(offered(1), now), None);
    }

    #[test]
    fn what_is_under_way_is_paid_for_before_it_comes() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut checkpoints = checkpoints(0, 100);
        assert_eq!(checkpoints.offered(of(0), now), Some(of(0)));
        assert_eq!(checkpoints.offered(of(1), now), None, "nobody knows what one takes");
        checkpoints.fetched((of(0).attempt, 1), 500, now);
        for task in 2..9 {
            assert_eq!(checkpoints.offered(of(task), now), None);
        }
        assert_eq!(checkpoints.due(later(5)), [of(1)], "five seconds each, whether they have come or not");
        assert_eq!(checkpoints.due(later(9)), []);
        assert_eq!(checkpoints.due(later(10)), [of(2)]);
        checkpoints.fetched((of(1).attempt, 1), 1500, later(10));
        assert_eq!(checkpoints.due(later(24)), [], "it was larger than expected");
        assert_eq!(checkpoints.due(later(25)), [of(3)]);
    }

    #[test]
    fn what_a_session_was_giving_is_forgotten_with_it() {
        let (mut checkpoints, now) = (checkpoints(0, 1 << 30), Instant::now());
        checkpoints.offered(offered(1), now);
        checkpoints.session_ended(ExecutorId(1));
        assert!(checkpoints.want_last_of(ATTEMPT));
        checkpoints.session_ended(ExecutorId(0));
        assert!(!checkpoints.want_last_of(ATTEMPT));
        assert_eq!(checkpoints.fetched((ATTEMPT, 1), 0, now), None);
        assert_eq!(checkpoints.forget(ATTEMPT), None);
    }

    #[test]
    fn a_fetch_that_brought_nothing_tells_nobody_what_one_takes() {
        let (mut checkpoints, now) = (checkpoints(0, 100), Instant::now());
        checkpoints.offered(of(0), now);
        checkpoints.fetched((of(0).attempt, 1), 0, now);
        assert_eq!(checkpoints.offered(of(1), now), Some(of(1)));
        assert_eq!(checkpoints.offered(of(2), now), None, "the next one comes alone, too");
    }

    #[test]
    fn what_an_executor_keeps_of_an_attempt_that_is_over_is_named_and_no_other_ones() {
        let (mut checkpoints, now) = (checkpoints(0, 1 << 30), Instant::now());
        let copy = AttemptId { number: 2, ..ATTEMPT };
        let of_copy = Offered { attempt: copy, ..offered(3) };
        checkpoints.offered(offered(1), now);
        checkpoints.offered(offered(2), now);
        assert_eq!(checkpoints.forget(copy), None);
        assert_eq!(checkpoints.forget(ATTEMPT), Some(offered(2)), "one waited");
        assert_eq!(checkpoints.forget(ATTEMPT), None);
        checkpoints.offered(of_copy, now);
        assert!(checkpoints.want_last_of(copy));
        assert_eq!(checkpoints.forget(ATTEMPT), None);
        assert_eq!(checkpoints.forget(copy), Some(of_copy), "it would have been the last one");
        assert_eq!(checkpoints.fetched((ATTEMPT, 1), 1, now), Some(offered(1)), "it was on its way all the same");
    }

    #[test]
    fn an_attempt_that_is_over_takes_nothing_from_another_one_of_its_task() {
        let (mut checkpoints, now) = (checkpoints(0, 1 << 30), Instant::now());
        let copy = AttemptId { number: 2, ..ATTEMPT };
        checkpoints.offered(offered(1), now);
        checkpoints.offered(offered(2), now);
        checkpoints.fetched((ATTEMPT, 1), 1, now);
        assert_eq!(checkpoints.forget(copy), None);
        assert_eq!(checkpoints.due(now + Duration::from_secs(1)), [offered(2)]);
    }

    #[test]
    fn nothing_is_remembered_of_a_task_of_which_nothing_is_left() {
        let (mut checkpoints, now) = (checkpoints(3600, 1 << 30), Instant::now());
        checkpoints.offered(offered(1), now);
        checkpoints.fetched((ATTEMPT, 1), 0, now);
        checkpoints.forget(ATTEMPT);
        assert!(checkpoints.tasks.is_empty());
        let next = Offered { attempt: AttemptId { number: 2, ..ATTEMPT }, ..offered(2) };
        assert_eq!(checkpoints.offered(next, now), Some(next));
    }

    #[test]
    fn a_session_that_ends_takes_what_waits_of_its_executor_and_leaves_that_of_others() {
        let (mut checkpoints, now) = (checkpoints(0, 1 << 30), Instant::now());
        let on_other = |task| Offered { executor: ExecutorId(1), ..of(task) };
        checkpoints.offered(of(0), now);
        for offered in [of(1), on_other(2), of(3), on_other(4)] {
            assert_eq!(checkpoints.offered(offered, now), None);
        }
        assert!(checkpoints.want_last_of(of(3).attempt) && checkpoints.want_last_of(of(4).attempt));
        checkpoints.session_ended(ExecutorId(1));
        for (task, is_left) in [(1, true), (2, false), (3, true), (4, false)] {
            assert_eq!(checkpoints.want_last_of(of(task).attempt), is_left, "task {task}");
        }
        checkpoints.fetched((of(0).attempt, 1), 0, now);
        assert_eq!(checkpoints.due(now), [of(1), of(3)]);
    }

    #[test]
    fn a_last_checkpoint_is_fetched_where_the_budget_is_nothing() {
        let (mut checkpoints, now) = (checkpoints(0, 0), Instant::now());
        assert_eq!(checkpoints.offered(offered(1), now), None);
        assert!(checkpoints.want_last_of(ATTEMPT));
        assert_eq!(checkpoints.due(now), [offered(1)]);
        assert_eq!(checkpoints.fetched((ATTEMPT, 1), 1000, now), Some(offered(1)));
    }
}
