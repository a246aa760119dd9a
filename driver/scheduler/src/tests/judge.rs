//! What the scheduler decides, judged by the oracle: placements, copies, hung attempts, deadlines.

use std::time::Duration;

use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

use super::oracle::Oracle;
use super::seen::{Node, Seen, Taken, Where};
use crate::{CancelReason, Command, Event, GivenUp, Moment, Verdict};

impl Oracle {
    /// Takes in an accepted event, then judges what the scheduler answered.
    pub(super) fn judge(&mut self, now: Moment, event: &Event, commands: &[Command]) {
        self.take_in(now, event);
        for &command in commands {
            if let Some(index) = self.expected.iter().position(|expected| *expected == command) {
                self.expected.remove(index);
                continue;
            }
            match command {
                Command::Launch(executor, attempt) => self.judge_launch(now, executor, attempt),
                Command::Cancel(executor, attempt, CancelReason::Hung { silent }) => {
                    self.judge_hang(now, executor, attempt, silent);
                }
                Command::Finish(task, Verdict::GivenUp { reason: GivenUp::FitsNowhere, attempts }) => {
                    assert!(self.fits_nowhere(&self.tasks[task.0 as usize]), "{task} may fit somewhere");
                    let seen = &mut self.tasks[task.0 as usize];
                    assert_eq!(attempts, seen.attempts);
                    seen.verdict = Some(Verdict::GivenUp { reason: GivenUp::FitsNowhere, attempts });
                }
                other => panic!("{other:?} is not among {:?}", self.expected),
            }
        }
        self.judge_end(now);
    }

    fn judge_end(&mut self, now: Moment) {
        assert_eq!(self.expected, [], "not said");
        assert_eq!(self.misfit(now), None, "a task that fits nowhere still waits");
        assert_eq!(self.idle(now), None, "a task waits although a slot that it may take is free");
    }

    fn judge_hang(&mut self, now: Moment, executor: ExecutorId, attempt: AttemptId, silent: Duration) {
        assert!(self.is_live(executor, attempt), "{attempt} hangs and is not live");
        let patience = Duration::from_millis(self.config.hang_ms_min);
        let node = self.node(executor);
        let probed = node.is_probed_by(attempt);
        assert_eq!(node.place, Where::Here, "{attempt} hangs while {executor} is out of reach");
        let taken = node.taken.get_mut(&attempt).unwrap();
        assert!(!taken.is_ending, "{attempt} hangs although it has ended");
        assert!(now.since(taken.watched_from) >= patience, "{attempt} hangs too early");
        assert_eq!(silent, now.since(taken.since));
        taken.told = Some(CancelReason::Hung { silent });
        self.fail_attempt(executor, attempt, probed, now);
    }

    fn judge_launch(&mut self, now: Moment, executor: ExecutorId, attempt: AttemptId) {
        assert_eq!(self.expected, [], "{attempt} is launched before all was said");
        assert_eq!(self.misfit(now), None, "{attempt} is launched before a task that fits nowhere is given up");
        assert!(!self.placing_ended, "{attempt} is launched after the end of placing");
        let seen = &self.tasks[attempt.task.0 as usize];
        assert!(self.nodes.contains_key(&executor), "{attempt} is launched on {executor}, which was never there");
        assert!(self.room(executor) > 0, "{attempt} is launched on {executor}, which takes nothing");
        assert!(seen.verdict.is_none(), "{attempt} is launched after the end of its task");
        let taken = &self.nodes[&executor].taken;
        let skipped = (seen.attempts + 1..attempt.number).map(|number| AttemptId { number, ..attempt });
        assert!(attempt.number > seen.attempts, "{attempt} is launched again");
        assert!(skipped.into_iter().all(|held| taken.contains_key(&held)), "attempt numbers grow by one");
        assert!(self.suits(seen, executor), "{attempt} is launched where its task had better not go");
        if seen.live.is_empty() {
            self.judge_placement(now, executor, attempt);
        } else {
            self.judge_copy(now, executor, attempt);
        }
        let seen = &mut self.tasks[attempt.task.0 as usize];
        seen.attempts = attempt.number;
        seen.live.insert(attempt.number, executor);
        self.node(executor).take(attempt, Taken::new(now, None));
    }

    fn judge_placement(&self, now: Moment, executor: ExecutorId, attempt: AttemptId) {
        let seen = &self.tasks[attempt.task.0 as usize];
        assert!(seen.not_before <= now, "{attempt} is launched before its wait ends");
        for &other in self.nodes.keys().filter(|&&other| self.suits(seen, other)) {
            let [here, there] = [executor, other].map(|executor| self.room(executor));
            assert!(there <= here && (there < here || executor <= other), "{other} suits {attempt} better");
        }
        for (task, other) in (0..).map(TaskId).zip(&self.tasks) {
            let first = other.priority > seen.priority || (other.priority == seen.priority && task < attempt.task);
            let could = first && self.nodes.keys().any(|&executor| self.fits(now, other, executor));
            assert!(!could, "{attempt} is launched before {task}, which comes first");
        }
    }

    fn judge_copy(&self, now: Moment, executor: ExecutorId, attempt: AttemptId) {
        assert!(self.config.copies, "{attempt} is a copy, and those are off");
        assert_eq!(self.idle(now), None, "{attempt} is a copy, and a task waits that could have its slot");
        let seen = &self.tasks[attempt.task.0 as usize];
        assert_eq!(seen.live.len(), 1, "{attempt} is a third one");
        assert!(seen.live.values().all(|&other| other != executor), "{attempt} runs beside its original");
        let probes = self.nodes[&executor].exclusion.is_some() && !self.all_excluded();
        assert!(!probes, "{attempt} is a copy and probes {executor}");
        let away = seen.live.values().all(|original| self.nodes[original].place != Where::Here);
        assert!(away || self.anything_measured(), "{attempt} is a copy, and nobody knows how long anything takes");
    }

    /// A task that waits although there is room for it.
    fn idle(&self, now: Moment) -> Option<TaskId> {
        let fits = |seen: &Seen| self.nodes.keys().any(|&executor| self.fits(now, seen, executor));
        (0..).map(TaskId).zip(&self.tasks).find(|(_, seen)| fits(seen)).map(|(task, _)| task)
    }

    /// Whether the task waits, is due, and could go on this executor now.
    fn fits(&self, now: Moment, seen: &Seen, executor: ExecutorId) -> bool {
        let due = !self.placing_ended && seen.waits() && seen.not_before <= now;
        due && self.room(executor) > 0 && self.suits(seen, executor)
    }

    /// Whether the task was not refused there, and has no other choice where it failed, or where it was lost and the
    /// next loss is its end.
    fn suits(&self, seen: &Seen, executor: ExecutorId) -> bool {
        let is_last = seen.lost_on.len() as u32 + 1 == self.config.losses_max;
        let failed = |executor: &ExecutorId| seen.failed_on.contains(executor) || seen.doubted_on.contains(executor);
        let bad = |executor: ExecutorId| failed(&executor) || is_last && seen.lost_on.contains(&executor);
        let choice = |(other, node): (&ExecutorId, &Node)| {
            let awaited = is_last && !seen.lost_on.is_empty() && node.is_away() && !node.draining;
            (self.accepts_tasks(node) || awaited) && !bad(*other) && !seen.refused_on.contains(other)
        };
        !seen.refused_on.contains(&executor) && (!bad(executor) || !self.nodes.iter().any(choice))
    }

    fn misfit(&self, now: Moment) -> Option<TaskId> {
        let tasks = (0..).map(TaskId).zip(&self.tasks);
        tasks.into_iter().find(|(_, seen)| seen.not_before <= now && self.fits_nowhere(seen)).map(|(task, _)| task)
    }

    fn fits_nowhere(&self, seen: &Seen) -> bool {
        let mut staying = self.nodes.iter().filter(|(_, node)| node.is_known() && !node.draining);
        let here = self.nodes.values().any(Node::is_open);
        seen.waits() && here && staying.all(|(executor, _)| seen.refused_on.contains(executor))
    }

    fn all_excluded(&self) -> bool {
        !self.nodes.values().any(|node| node.is_open() && !node.is_stuck() && node.exclusion.is_none())
    }

    fn accepts_tasks(&self, node: &Node) -> bool {
        node.is_open() && !node.is_stuck() && (node.exclusion.is_none() || self.all_excluded())
    }

    fn room(&self, executor: ExecutorId) -> u32 {
        self.nodes.get(&executor).map_or(0, |node| node.room(self.all_excluded()))
    }

    /// The scheduler must wake for what is due at a known time, may wake earlier for an attempt that hangs or to look
    /// for slow ones, and never for nothing.
    pub(super) fn judge_deadline(&self, now: Moment, deadline: Option<Moment>) {
        let waiting = self.tasks.iter().filter(|seen| seen.waits()).map(|seen| seen.not_before);
        let nodes = self.nodes.values().flat_map(|node| {
            let away = match node.place {
                Where::Away { until } => Some(until),
                Where::Here | Where::Gone => None,
            };
            let excluded = node.exclusion.as_ref().filter(|exclusion| !exclusion.due);
            away.into_iter().chain(excluded.map(|exclusion| exclusion.until))
        });
        let known = waiting.filter(|&time| time > now).chain(nodes).min();
        let live = self.nodes.values().filter(|node| node.place == Where::Here).flat_map(|node| node.taken.values());
        let patience = Duration::from_millis(self.config.hang_ms_min);
        let watched = live.filter(|taken| taken.told.is_none() && !taken.is_ending);
        let hangs = watched.map(|taken| taken.watched_from.after(patience)).min();

        let Some(deadline) = deadline else {
            assert_eq!((known, hangs), (None, None), "the scheduler would sleep for good");
            return;
        };
        assert!(deadline > now, "the deadline has passed");
        assert!(known.is_none_or(|known| deadline <= known), "the scheduler oversleeps");
        let hanging = hangs.is_some_and(|hangs| deadline >= hangs);
        let single = self.tasks.iter().any(|seen| seen.live.len() == 1);
        let all_excluded = self.all_excluded();
        let host = |node: &Node| node.room(all_excluded) > 0 && (node.exclusion.is_none() || all_excluded);
        let looking = self.config.copies && !self.placing_ended && single && self.nodes.values().any(host);
        assert!(known == Some(deadline) || hanging || looking, "the scheduler wakes at {deadline:?} for nothing");
    }
}
