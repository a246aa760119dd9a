//! A second, simple model of tasks and executors that judges every answer of the scheduler.
//!
//! It scans where the scheduler indexes, and shares no code with it. An event is judged before the scheduler sees it,
//! then taken in: each command that must follow is `expected`. What the scheduler alone decides, which is where to
//! place what and what hangs, is judged in `judge`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::seen::{Exclusion, Node, Seen, Taken, Where};
use crate::{CancelReason, Command, Event, Moment, Outcome, SLOTS_MAX, SchedulingConfig, Verdict};

/// The model.
#[derive(Clone, Debug)]
pub(super) struct Oracle {
    pub(super) config: SchedulingConfig,
    pub(super) tasks: Vec<Seen>,
    pub(super) nodes: BTreeMap<ExecutorId, Node>,
    /// Who completed something or made an epoch, and when.
    progress: Vec<(Moment, ExecutorId)>,
    adding_ended: bool,
    pub(super) placing_ended: bool,
    /// When the last event came.
    latest: Moment,
    /// What the scheduler has to say, in any order.
    pub(super) expected: Vec<Command>,
}

impl Oracle {
    pub(super) fn new(config: SchedulingConfig) -> Self {
        Self {
            config,
            tasks: Vec::new(),
            nodes: BTreeMap::new(),
            progress: Vec::new(),
            adding_ended: false,
            placing_ended: false,
            latest: Moment::default(),
            expected: Vec::new(),
        }
    }

    /// Whether the scheduler must accept the event: only what takes a slot may be believed.
    pub(super) fn accepts(&self, event: &Event) -> bool {
        let known = |executor: &ExecutorId| self.nodes.get(executor).filter(|node| node.is_known());
        let here = |executor| known(executor).is_some_and(|node| node.place == Where::Here);
        match event {
            Event::TaskAdded { task, forecast, .. } => {
                !self.adding_ended
                    && task.0 as usize == self.tasks.len()
                    && forecast.until_epoch > forecast.from_epoch
            }
            Event::AddingEnded | Event::Awaited(_) | Event::PlacingEnded | Event::StoodStill | Event::Deadline => {
                true
            }
            Event::TasksDropped(tasks) => tasks.iter().all(|task| {
                let seen = self.tasks.get(task.0 as usize);
                seen.is_some_and(|seen| seen.attempts == 0 && seen.verdict.is_none())
            }),
            Event::ExecutorReady { executor, slots, .. } => !here(executor) && (1..=SLOTS_MAX).contains(slots),
            Event::ExecutorAway(executor) => here(executor),
            Event::ExecutorDraining(executor) | Event::ExecutorLost(executor) => known(executor).is_some(),
            Event::EpochEnded { executor, attempt, .. } | Event::AttemptEnding { executor, attempt } => {
                self.is_live(*executor, *attempt)
            }
            Event::Checkpointed { task, .. } => (task.0 as usize) < self.tasks.len(),
            Event::AttemptEnded { executor, attempt, .. } => {
                known(executor).is_some_and(|node| node.taken.contains_key(attempt))
            }
        }
    }

    pub(super) fn is_live(&self, executor: ExecutorId, attempt: AttemptId) -> bool {
        let seen = self.tasks.get(attempt.task.0 as usize);
        seen.is_some_and(|seen| seen.live.get(&attempt.number) == Some(&executor))
    }

    pub(super) fn is_done(&self) -> bool {
        self.adding_ended && self.tasks.iter().all(|seen| seen.verdict.is_some())
    }

    /// Waiting, running and finished tasks.
    pub(super) fn counts(&self) -> [usize; 3] {
        let running = self.tasks.iter().filter(|seen| !seen.live.is_empty()).count();
        let finished = self.tasks.iter().filter(|seen| seen.verdict.is_some()).count();
        [self.tasks.len() - running - finished, running, finished]
    }

    /// An accepted event, and what is due at its time.
    pub(super) fn take_in(&mut self, now: Moment, event: &Event) {
        match event {
            Event::TaskAdded { task, priority, forecast, history } => {
                self.tasks.push(Seen::new(*priority, *forecast, history, now));
                self.finish_if_due(*task);
            }
            Event::AddingEnded => self.adding_ended = true,
            Event::PlacingEnded => self.placing_ended = true,
            Event::ExecutorReady { executor, slots, held, restarted } => {
                let held: BTreeSet<_> = held.iter().copied().collect();
                self.on_executor_ready(*executor, *slots, &held, *restarted, now);
            }
            Event::ExecutorDraining(executor) => self.node(*executor).draining = true,
            Event::ExecutorAway(executor) => {
                let until = now.after(Duration::from_millis(self.config.reconnect_ms));
                self.node(*executor).place = Where::Away { until };
                self.node(*executor).taken.values_mut().for_each(|taken| taken.is_ending = false);
            }
            Event::StoodStill => self.on_stood_still(now),
            Event::AttemptEnding { executor, attempt } => {
                self.node(*executor).taken.get_mut(attempt).unwrap().is_ending = true;
            }
            Event::ExecutorLost(executor) => self.lose_executor(*executor, now),
            Event::EpochEnded { executor, attempt, epoch } => self.on_epoch_ended(*executor, *attempt, *epoch, now),
            Event::Checkpointed { task, epoch } => {
                let seen = &mut self.tasks[task.0 as usize];
                if *epoch > seen.checkpoint && seen.verdict.is_none() {
                    seen.checkpoint = *epoch;
                    seen.lost_on.clear();
                }
            }
            Event::AttemptEnded { executor, attempt, outcome } => {
                self.on_attempt_ended(*executor, *attempt, *outcome, now);
            }
            Event::TasksDropped(tasks) => {
                for task in tasks.iter().copied().collect::<BTreeSet<_>>() {
                    self.tasks[task.0 as usize].verdict = Some(Verdict::Dropped);
                    self.expected.push(Command::Finish(task, Verdict::Dropped));
                }
            }
            Event::Awaited(_) | Event::Deadline => {}
        }
        self.latest = now;
        self.expire_due(now);
    }

    fn on_stood_still(&mut self, now: Moment) {
        let reconnect = Duration::from_millis(self.config.reconnect_ms);
        let latest = self.latest;
        let is_due = |seen: &&mut Seen| seen.waits() && latest < seen.not_before && seen.not_before <= now;
        for seen in self.tasks.iter_mut().filter(is_due) {
            seen.not_before = now.after(reconnect);
        }
        for node in self.nodes.values_mut() {
            if let Where::Away { until } = &mut node.place {
                *until = now.after(reconnect);
            }
            for taken in node.taken.values_mut().filter(|taken| taken.told.is_none()) {
                (taken.since, taken.watched_from) = (now, now);
            }
        }
    }

    fn expire_due(&mut self, now: Moment) {
        for executor in self.nodes.keys().copied().collect::<Vec<_>>() {
            if matches!(self.node(executor).place, Where::Away { until } if until <= now) {
                self.lose_executor(executor, now);
            }
            if let Some(exclusion) = &mut self.node(executor).exclusion
                && exclusion.until <= now
            {
                exclusion.due = true;
            }
        }
    }

    fn on_executor_ready(
        &mut self,
        executor: ExecutorId,
        slots: u32,
        held: &BTreeSet<AttemptId>,
        restarted: bool,
        now: Moment,
    ) {
        self.nodes.entry(executor).or_insert_with(Node::new);
        if restarted {
            self.judge_end_of_process(executor, held, now);
        }
        let node = self.node(executor);
        node.slots = slots;
        node.place = Where::Here;
        if restarted {
            node.draining = false;
            if !node.has_died {
                node.exclusion = None;
                node.failed_at.clear();
            }
            for seen in &mut self.tasks {
                seen.refused_on.remove(&executor);
            }
        }
        let node = self.node(executor);
        let ours: BTreeSet<AttemptId> = node.taken.keys().copied().collect();
        for &attempt in ours.difference(held) {
            let taken = self.node(executor).vacate(attempt);
            if taken.told.is_none() {
                self.lose_attempt(executor, attempt, restarted, now);
            }
        }
        for &attempt in held {
            match self.node(executor).taken.get_mut(&attempt) {
                Some(Taken { told: Some(reason), .. }) => {
                    let again = Command::Cancel(executor, attempt, *reason);
                    self.expected.push(again);
                }
                Some(taken) => taken.watched_from = now,
                None => self.on_newly_held(executor, attempt, now),
            }
        }
    }

    fn on_newly_held(&mut self, executor: ExecutorId, attempt: AttemptId, now: Moment) {
        let has_room = self.node(executor).free_slots() > 0;
        let seen = self.tasks.get_mut(attempt.task.0 as usize);
        let adopting = seen.filter(|seen| {
            let apart = !seen.live.contains_key(&attempt.number) && seen.live.values().all(|&at| at != executor);
            let launched = attempt.number >= 1 && attempt.number <= seen.attempts;
            seen.verdict.is_none() && seen.live.len() < 2 && launched && apart && has_room
        });
        if let Some(seen) = adopting {
            seen.live.insert(attempt.number, executor);
            self.node(executor).take(attempt, Taken::new(now, None));
            self.expected.push(Command::Adopt(executor, attempt));
        } else {
            self.node(executor).take(attempt, Taken::new(now, Some(CancelReason::Unwanted)));
            self.expected.push(Command::Cancel(executor, attempt, CancelReason::Unwanted));
        }
    }

    /// A process ended, with all but these attempts.
    fn judge_end_of_process(&mut self, executor: ExecutorId, held: &BTreeSet<AttemptId>, now: Moment) {
        let node = self.node(executor);
        let lost = node.taken.iter().filter(|(attempt, taken)| taken.told.is_none() && !held.contains(attempt));
        let has_died = lost.count() > 0 && !node.has_worked;
        let lost_probe = node.taken.keys().any(|attempt| !held.contains(attempt) && node.is_probed_by(*attempt));
        (node.has_worked, node.has_died) = (false, node.has_died || has_died);
        if has_died {
            self.blame(executor, lost_probe, now);
        } else if !node.has_died {
            node.failed_at.clear();
        }
    }

    fn lose_executor(&mut self, executor: ExecutorId, now: Moment) {
        self.judge_end_of_process(executor, &BTreeSet::new(), now);
        let node = self.node(executor);
        node.place = Where::Gone;
        node.draining = false;
        let running: Vec<AttemptId> = node.taken.keys().copied().collect();
        for attempt in running {
            // A verdict on one task tells no other attempt of the same executor to stop.
            let taken = self.node(executor).vacate(attempt);
            if taken.told.is_none() {
                self.lose_attempt(executor, attempt, true, now);
            }
        }
    }

    fn lose_attempt(&mut self, executor: ExecutorId, attempt: AttemptId, arrived: bool, now: Moment) {
        self.expected.push(Command::Lost { executor, attempt, arrived });
        let seen = &mut self.tasks[attempt.task.0 as usize];
        let wait_us = (self.config.backoff_ms << seen.lost_on.len()).min(60_000) * 1000;
        seen.lost_on.push(executor);
        let now = if arrived { now } else { Moment(now.0 + wait_us + wait_us * u64::from(attempt.task.0 % 16) / 16) };
        seen.release(attempt.number, now);
        self.finish_if_due(attempt.task);
    }

    fn on_epoch_ended(&mut self, executor: ExecutorId, attempt: AttemptId, epoch: u32, now: Moment) {
        let taken = self.node(executor).taken.get_mut(&attempt).unwrap();
        if epoch <= taken.reported.unwrap_or(0) {
            return;
        }
        *taken = Taken { reported: Some(epoch), is_ending: taken.is_ending, ..Taken::new(now, None) };
        if self.node(executor).is_probed_by(attempt) {
            self.reinstate(executor);
        }
        (self.node(executor).has_worked, self.node(executor).has_died) = (true, false);
        self.progress.push((now, executor));
        self.exclude_suspects(now);
    }

    fn on_attempt_ended(&mut self, executor: ExecutorId, attempt: AttemptId, outcome: Outcome, now: Moment) {
        let probed = self.node(executor).is_probed_by(attempt);
        if self.node(executor).vacate(attempt).told.is_some() {
            return;
        }
        let seen = &mut self.tasks[attempt.task.0 as usize];
        match outcome {
            Outcome::Completed => {
                seen.completed = true;
                seen.release(attempt.number, now);
                self.finish_if_due(attempt.task);
                if self.node(executor).exclusion.is_some() {
                    self.reinstate(executor);
                }
                self.node(executor).failed_at.clear();
                (self.node(executor).has_worked, self.node(executor).has_died) = (true, false);
                self.progress.push((now, executor));
                self.exclude_suspects(now);
            }
            Outcome::Failed => self.fail_attempt(executor, attempt, probed, now),
            Outcome::Doubted => {
                seen.doubted_on.insert(executor);
                seen.release(attempt.number, Moment(now.0 + self.config.backoff_ms.min(60_000) * 1000));
            }
            Outcome::Refused => {
                seen.refused_on.insert(executor);
                seen.release(attempt.number, now);
            }
            Outcome::Stopped => seen.release(attempt.number, now),
        }
    }

    /// The program failed, or hangs.
    pub(super) fn fail_attempt(&mut self, executor: ExecutorId, attempt: AttemptId, probed: bool, now: Moment) {
        let seen = &mut self.tasks[attempt.task.0 as usize];
        let wait_ms = (self.config.backoff_ms << seen.failed_on.len()).min(60_000);
        seen.failed_on.push(executor);
        seen.release(attempt.number, Moment(now.0 + wait_ms * 1000));
        self.finish_if_due(attempt.task);
        self.blame(executor, probed, now);
    }

    /// Something failed there.
    fn blame(&mut self, executor: ExecutorId, probed: bool, now: Moment) {
        match self.node(executor).exclusion.clone() {
            None => self.node(executor).failed_at.push(now),
            Some(Exclusion { failures, probes, .. }) if probed => {
                self.exclude(executor, failures + 1, probes + 1, now);
            }
            Some(_) => {}
        }
        self.exclude_suspects(now);
    }

    /// Excludes whoever only failed while another worked.
    fn exclude_suspects(&mut self, now: Moment) {
        let suspicious = |(executor, node): (&ExecutorId, &Node)| {
            let failures = node.failed_at.len() as u32;
            let suspect = node.exclusion.is_none() && failures >= self.config.exclude_after;
            let others = |&(time, other): &(Moment, ExecutorId)| other != *executor && time >= node.failed_at[0];
            (suspect && self.progress.iter().any(others)).then_some((*executor, failures))
        };
        for (executor, failures) in self.nodes.iter().filter_map(suspicious).collect::<Vec<_>>() {
            self.exclude(executor, failures, 0, now);
        }
    }

    fn exclude(&mut self, executor: ExecutorId, failures: u32, probes: u32, now: Moment) {
        let until = Moment(now.0 + (self.config.probe_ms << probes.min(4)) * 1000);
        let node = self.node(executor);
        node.exclusion = Some(Exclusion { until, failures, probes, due: false, probe: None });
        node.failed_at.clear();
        self.expected.push(Command::Exclude { executor, until, failures });
    }

    fn reinstate(&mut self, executor: ExecutorId) {
        self.node(executor).exclusion = None;
        self.expected.push(Command::Reinstate(executor));
    }

    /// Finishes the task if it is time to; what is left of it has to be told to stop.
    fn finish_if_due(&mut self, task: TaskId) {
        let seen = &mut self.tasks[task.0 as usize];
        let Some(verdict) = seen.due_verdict(&self.config).filter(|_| seen.verdict.is_none()) else { return };
        seen.verdict = Some(verdict);
        let rest = std::mem::take(&mut seen.live);
        self.expected.push(Command::Finish(task, verdict));
        for (number, executor) in rest {
            let attempt = AttemptId { task, number };
            self.node(executor).taken.get_mut(&attempt).unwrap().told = Some(CancelReason::Beaten);
            self.expected.push(Command::Cancel(executor, attempt, CancelReason::Beaten));
        }
    }

    pub(super) fn anything_measured(&self) -> bool {
        !self.progress.is_empty()
    }

    pub(super) fn node(&mut self, executor: ExecutorId) -> &mut Node {
        self.nodes.get_mut(&executor).expect("an executor that was never ready")
    }
}
