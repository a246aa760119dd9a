//! What a free slot was free for: what else went on in the run, and how its executor stood.

use std::iter;

use crate::records::attempt::AttemptRecord;
use crate::records::run::{RunRecord, TrialOutcome};
use crate::records::standing::{Standing, StandingSince};
use broadsweep_scheduler::SLOTS_MAX;

use super::{Line, Lines, microseconds};

/// What went on in a run, whatever the executor.
pub(super) struct Calendar {
    /// When some task had no slot and no verdict: disjoint, in order.
    waiting: Vec<(u64, u64)>,
    /// When data was on its way to some executor: likewise.
    answering: Vec<(u64, u64)>,
    first_launch: u64,
    last_end: u64,
    /// Until then, a search that saw results decided what to train; 0 of others.
    decided_until: u64,
    /// Every moment at which any of that changes.
    cuts: Vec<u64>,
}

/// How one executor stood.
pub(super) struct StandingHistory {
    changes: Vec<(u64, Standing)>,
    /// After each of them: the most slots that it had under the driver of that time.
    ready: Vec<u32>,
}

impl StandingHistory {
    /// Times that go back, and those after the end, are moved to where they can be.
    pub(super) fn of(standings: &[StandingSince], wall_us: u64) -> Self {
        let mut latest = 0;
        let change = |stood: &StandingSince| {
            latest = microseconds(stood.at_s).clamp(latest, wall_us.max(latest));
            (latest, stood.standing)
        };
        let changes: Vec<_> = standings.iter().map(change).collect();
        let ready = changes.iter().scan(0, |ready, (_, standing)| {
            *ready = match standing {
                // No executor is let in with more: this bounds what a record can ask for.
                Standing::Ready { slots } => (*slots).min(SLOTS_MAX).max(*ready),
                Standing::Gone | Standing::Answering => *ready,
                Standing::Unasked => 0,
            };
            Some(*ready)
        });
        Self { ready: ready.collect(), changes }
    }

    /// The most that it ever had.
    pub(super) fn slots(&self) -> u32 {
        self.ready.iter().copied().max().unwrap_or(0)
    }

    /// How one of its slots stands at a moment, whether it was ready before under the same driver, and when that changes
    /// next.
    fn at(&self, lane: u32, now: u64) -> (Standing, bool, u64) {
        let known = self.changes.partition_point(|(at, _)| *at <= now);
        let was_ready = known > 0 && self.ready[known - 1] > lane;
        let standing = match self.changes[..known].last() {
            Some((_, Standing::Ready { slots })) if *slots <= lane => Standing::Gone,
            Some((_, standing)) => *standing,
            None => Standing::Gone,
        };
        (standing, was_ready, self.changes.get(known).map_or(u64::MAX, |(at, _)| *at))
    }
}

impl Calendar {
    pub(super) fn of(run: &RunRecord, wall_us: u64) -> Self {
        let starts = run.attempts.iter().map(|attempt| microseconds(attempt.started_s));
        let first_launch = starts.min().unwrap_or(wall_us).min(wall_us);
        let ends = run.attempts.iter().map(|attempt| end_of(attempt, wall_us));
        let is_open = run.trials.iter().any(|trial| trial.outcome == TrialOutcome::NotRun);
        let last_end = if is_open { wall_us } else { ends.max().unwrap_or(wall_us) };
        let waiting = merged(waits(run, wall_us));
        let stays = run.standings.iter().map(|standings| StandingHistory::of(standings, wall_us));
        let answering = merged(stays.flat_map(|stay| answers(&stay, wall_us)).collect());
        let ends = |spans: &[(u64, u64)]| spans.iter().flat_map(|&(start, end)| [start, end]).collect::<Vec<_>>();
        let decided_until = decided_until(run).min(wall_us);
        let mut cuts = [ends(&waiting), ends(&answering), vec![first_launch, last_end, decided_until]].concat();
        cuts.sort_unstable();
        cuts.dedup();
        Self { waiting, answering, first_launch, last_end, decided_until, cuts }
    }

    /// From the start to the first launch, and from the last end to the end.
    pub(super) fn edges(&self, wall_us: u64) -> (u64, u64) {
        (self.first_launch, wall_us.saturating_sub(self.last_end))
    }

    /// For how long before the first launch data was on its way.
    pub(super) fn broadcast_us(&self) -> u64 {
        self.answering.iter().map(|&(start, end)| end.min(self.first_launch).saturating_sub(start)).sum()
    }

    /// Books the time from `start` to `end`, in which nothing ran on this slot.
    pub(super) fn book_free(&self, lines: &mut Lines, (stay, lane): (&StandingHistory, u32), start: u64, end: u64) {
        let mut now = start;
        while now < end {
            let (standing, was_ready, changes) = stay.at(lane, now);
            let cut = self.cuts[self.cuts.partition_point(|cut| *cut <= now)..].first().copied();
            let next = end.min(changes).min(cut.unwrap_or(u64::MAX));
            lines.book(self.line(standing, was_ready, now), next - now);
            now = next;
        }
    }

    /// What a slot is free for; nothing that this asks about changes between two cuts.
    fn line(&self, standing: Standing, was_ready: bool, now: u64) -> Line {
        match standing {
            _ if now >= self.last_end => Line::StartUp,
            Standing::Answering if !was_ready => Line::Broadcast,
            Standing::Gone | Standing::Unasked if !was_ready => Line::StartUp,
            Standing::Answering | Standing::Gone | Standing::Unasked => Line::Lost,
            Standing::Ready { .. } if now < self.first_launch && holds(&self.answering, now) => Line::Broadcast,
            Standing::Ready { .. } if now < self.first_launch => Line::StartUp,
            Standing::Ready { .. } if holds(&self.waiting, now) => Line::Waiting,
            Standing::Ready { .. } if now < self.decided_until => Line::Order,
            Standing::Ready { .. } => Line::Tail,
        }
    }
}

fn end_of(attempt: &AttemptRecord, wall_us: u64) -> u64 {
    if attempt.end.is_none() { wall_us } else { microseconds(attempt.ended_s).min(wall_us) }
}

/// When data was on its way to an executor.
fn answers(stay: &StandingHistory, wall_us: u64) -> Vec<(u64, u64)> {
    let ends = stay.changes.iter().skip(1).map(|(at, _)| *at).chain(iter::once(wall_us));
    let spans = stay.changes.iter().zip(ends).filter(|((_, standing), _)| *standing == Standing::Answering);
    spans.map(|((start, _), end)| (*start, end)).collect()
}

/// The last launch of a training that was decided while others were under way.
fn decided_until(run: &RunRecord) -> u64 {
    // A copy or a second try was decided long ago.
    let trains =
        |attempt: &&AttemptRecord| attempt.attempt.number == 1 && run.trained_by(attempt.attempt.task).is_some();
    let starts = run.attempts.iter().filter(trains).map(|attempt| microseconds(attempt.started_s));
    if run.search.is_some() { starts.max().unwrap_or_default() } else { 0 }
}

/// When each task waited: it was there, had no verdict, and no attempt of it ran. So did a trial between two segments;
/// where the search saw results, nobody had decided on it yet, or that it goes on.
fn waits(run: &RunRecord, wall_us: u64) -> Vec<(u64, u64)> {
    let (mut trainings, mut others) = (Vec::with_capacity(run.attempts.len()), Vec::new());
    for attempt in &run.attempts {
        match run.trained_by(attempt.attempt.task) {
            Some(trial) => trainings.push((trial.trial, attempt)),
            None if run.is_check(attempt.attempt.task) => {} // no result waits for it
            None => others.push(attempt),
        }
    }
    // Stable, and in order already where a trial is one segment.
    trainings.sort_by_key(|(trial, _)| *trial);
    let mut by_trial = trainings.chunk_by(|one, other| one.0 == other.0).peekable();
    let (mut waits, mut searched) = (Vec::new(), 0);
    for trial in &run.trials {
        let attempts = by_trial.next_if(|attempts| attempts[0].0 == trial.trial).unwrap_or_default();
        let is_open = trial.outcome == TrialOutcome::NotRun;
        let over = if is_open { wall_us } else { microseconds(trial.ended_s).min(wall_us) };
        searched = searched.max(over);
        if run.search.is_none() {
            wait(&mut waits, attempts.iter().map(|(_, attempt)| *attempt), 0, over, wall_us);
            continue;
        }
        for tries in attempts.chunk_by(|(_, one), (_, other)| one.attempt.task == other.attempt.task) {
            let tries = || tries.iter().map(|(_, attempt)| *attempt);
            let launched = tries().map(|attempt| microseconds(attempt.started_s)).min().unwrap_or(over);
            let ended = tries().map(|attempt| end_of(attempt, wall_us)).max().unwrap_or(over);
            wait(&mut waits, tries(), launched, ended, wall_us);
        }
    }
    // The measurements: planned once all trials were over.
    for attempts in others.chunk_by(|one, other| one.attempt.task == other.attempt.task) {
        let is_over = attempts.iter().any(|attempt| attempt.has_result());
        let last = attempts.iter().map(|attempt| end_of(attempt, wall_us)).max().unwrap_or(searched);
        let over = if is_over || run.is_over() { last } else { wall_us };
        wait(&mut waits, attempts.iter().copied(), searched, over, wall_us);
    }
    waits
}

fn wait<'a>(
    waits: &mut Vec<(u64, u64)>,
    attempts: impl Iterator<Item = &'a AttemptRecord>,
    planned: u64,
    over: u64,
    wall_us: u64,
) {
    let mut idle = planned;
    for attempt in attempts {
        let start = microseconds(attempt.started_s).min(over);
        if idle < start {
            waits.push((idle, start));
        }
        idle = idle.max(end_of(attempt, wall_us));
    }
    if idle < over {
        waits.push((idle, over));
    }
}

/// The same moments as disjoint spans, in order.
fn merged(mut spans: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    spans.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (start, end) in spans {
        match merged.last_mut() {
            Some((_, last)) if start <= *last => *last = end.max(*last),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Whether one of these spans holds a moment.
fn holds(spans: &[(u64, u64)], now: u64) -> bool {
    let before = spans.partition_point(|(start, _)| *start <= now);
    spans[..before].last().is_some_and(|(_, end)| now < *end)
}
