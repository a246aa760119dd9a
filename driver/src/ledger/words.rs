//! The ledger in sentences: what cost how much, and what would help.

use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::ids::{AttemptId, TrialId};

use crate::records::attempt::AttemptRecord;
use crate::records::run::{RunRecord, TrialRecord};

use super::{Ledger, Line, Lines, microseconds};

/// A line that cost less of the whole is not worth a sentence of its own.
const SHARE_MIN: f64 = 0.02;
/// Lines that have a sentence of their own: the dearest.
const SENTENCES_MAX: usize = 3;

/// Where the slots' time went; then, for each line that cost much, why and what would help. None for a run on which no
/// executor was ever ready.
#[must_use]
pub fn sentences(ledger: &Ledger, run: &RunRecord) -> Vec<String> {
    let total = ledger.total();
    if total.sum() == 0 {
        return Vec::new();
    }
    let mut dear: Vec<_> = Line::ALL.into_iter().filter(|line| *line != Line::Training).collect();
    dear.retain(|line| total.share(*line) >= SHARE_MIN);
    dear.sort_by_key(|line| std::cmp::Reverse(total[*line]));
    dear.truncate(SENTENCES_MAX);
    let told = dear.into_iter().map(|line| {
        let (why, help) = reason(ledger, run, line);
        format!("{} cost {}: {why}; {help}", line.name(), percent(total.share(line)))
    });
    std::iter::once(shares_sentence(&total, ledger.slots(), ledger.wall_us)).chain(told).collect()
}

/// `of 13 slots x 51.2 s: training 92.3 %, tail idle 4.1 %, waiting 3.6 %`.
fn shares_sentence(total: &Lines, slots: u32, wall_us: u64) -> String {
    let mut shares: Vec<_> = Line::ALL.into_iter().map(|line| (total.share(line), line)).collect();
    shares.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let shown = shares.into_iter().enumerate().filter(|(place, (share, _))| *place == 0 || *share >= 0.0005);
    let shown: Vec<_> = shown.map(|(_, (share, line))| format!("{} {}", line.name(), percent(share))).collect();
    let plural = if slots == 1 { "" } else { "s" };
    format!("of {slots} slot{plural} x {}: {}", seconds(wall_us), shown.join(", "))
}

/// Why a line cost what it did, and what would help.
fn reason(ledger: &Ledger, run: &RunRecord, line: Line) -> (String, String) {
    let slots = u64::from(ledger.slots()).max(1);
    let on_each = |line| seconds(ledger.total()[line] / slots);
    match line {
        Line::Training => (String::new(), String::new()), // it is no cost
        Line::Broadcast
            if run.broadcast.sent_bytes + run.broadcast.from_peers_bytes < run.broadcast.data_bytes / 2 =>
        {
            (
                format!(
                    "executors had the data, and a slot waited {} while it was checked, on the mean",
                    on_each(line)
                ),
                "it is the same for a longer study".to_owned(),
            )
        }
        Line::Broadcast => (
            format!("a slot waited {} for the data, on the mean", on_each(line)),
            "executors that keep it from an earlier run begin at once".to_owned(),
        ),
        Line::StartUp => {
            let (before, after) = ledger.edges_us();
            (
                format!(
                    "the first launch came after {}, and the end {} after the last result",
                    seconds(before),
                    seconds(after)
                ),
                "it is the same for a longer study".to_owned(),
            )
        }
        Line::Waiting => (
            format!("launches, checkpoints and messages took {} an attempt", seconds(ledger.overhead_us())),
            "trials of more work, or fewer epochs with checkpoints, have less of it".to_owned(),
        ),
        Line::Order => order_words(ledger, run),
        Line::Lost => (lost_words(run), "an attempt that has a checkpoint loses less".to_owned()),
        Line::Slow => (slow_words(ledger, run), "find out what slows it down, or leave it out".to_owned()),
        Line::Tail => (tail_words(run), "shorter trials, or fewer slots, leave less of it".to_owned()),
    }
}

/// Which trial a search in order waited for longest, and how it waits less.
fn order_words(ledger: &Ledger, run: &RunRecord) -> (String, String) {
    let parallel = run.search.as_ref().map_or(0, |search| search.parallel);
    let why = match blockers(run, ledger.slots()).into_iter().max_by_key(|(_, us)| *us) {
        Some((trial, us)) => format!("the search went on only after {trial}, for {} of it", seconds(us)),
        None => "the search waited for results".to_owned(),
    };
    let help = if ledger.slots() > parallel {
        format!("`parallel` is {parallel}: one of at least {} keeps all slots busy", ledger.slots())
    } else {
        "a larger `parallel`, or costs that forecast better, leave less of it".to_owned()
    };
    (why, help)
}

/// For how long each trial was the earliest that was decided, of those under way while fewer than `slots` were.
fn blockers(run: &RunRecord, slots: u32) -> BTreeMap<TrialId, u64> {
    let mut changes = Vec::new();
    for attempt in &run.attempts {
        if run.trained_by(attempt.attempt.task).is_some() {
            changes.push((microseconds(attempt.started_s), true, attempt.attempt));
            changes.push((microseconds(attempt.ended_s), false, attempt.attempt));
        }
    }
    changes.sort_unstable_by_key(|(at, begins, attempt)| (*at, *begins, *attempt));
    let decided_until = changes
        .iter()
        .filter(|(_, begins, attempt)| *begins && attempt.number == 1)
        .map(|(at, ..)| *at)
        .max()
        .unwrap_or_default();
    let (mut running, mut blocked, mut now) = (BTreeSet::new(), BTreeMap::new(), 0);
    for (at, begins, attempt) in changes {
        let earliest = running.first().and_then(|first: &AttemptId| run.trained_by(first.task));
        if let Some(trial) = earliest.filter(|_| running.len() < slots as usize && at <= decided_until) {
            *blocked.entry(trial.trial).or_default() += at - now;
        }
        now = at;
        if begins {
            running.insert(attempt)
        } else {
            running.remove(&attempt)
        };
    }
    blocked
}

fn lost_words(run: &RunRecord) -> String {
    let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
    let known = run.attempts.iter().filter_map(|attempt| attempt.end.as_ref());
    for end in known.filter(|end| end.is_wasted()) {
        *ends.entry(end.word()).or_default() += 1;
    }
    let counted = |(word, count): (&str, u32)| match count {
        1 => format!("1 attempt {word}"),
        count => format!("{count} attempts {word}"),
    };
    let told: Vec<_> = ends.into_iter().map(counted).collect();
    if told.is_empty() { "an executor was gone for a while".to_owned() } else { told.join(", ") }
}

fn slow_words(ledger: &Ledger, run: &RunRecord) -> String {
    let slow = ledger.accounts.iter().filter(|account| account.lines[Line::Slow] > 0);
    let mut slow: Vec<_> = slow.filter_map(|account| Some((account.slowness?, account.executor))).collect();
    slow.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let more = slow.len().saturating_sub(1);
    let Some((slowness, executor)) = slow.first() else { return "an executor was slow".to_owned() };
    let others = if more > 0 { format!(", and {more} more were slow") } else { String::new() };
    format!(
        "{} took {slowness:.1} times as long as the others for the same work{others}",
        run.executor_name(*executor)
    )
}

/// The newest attempt at a trial's training.
fn last_attempt_at<'r>(run: &'r RunRecord, trial: &TrialRecord) -> Option<&'r AttemptRecord> {
    let trains_it = |attempt: &&AttemptRecord| {
        run.trained_by(attempt.attempt.task).is_some_and(|trained| trained.trial == trial.trial)
    };
    run.attempts.iter().rfind(trains_it)
}

/// Which trial the others waited for.
fn tail_words(run: &RunRecord) -> String {
    let last = run.trials.iter().max_by(|one, other| one.ended_s.total_cmp(&other.ended_s));
    let attempt = last.and_then(|trial| last_attempt_at(run, trial));
    match last.zip(attempt) {
        Some((trial, attempt)) => {
            let took = ((trial.ended_s - attempt.started_s).max(0.0) * 1e6) as u64;
            format!("{} ended last, {} after it began, and nothing was left to place", trial.trial, seconds(took))
        }
        None => "nothing was left to place".to_owned(),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// With as many digits as tell something.
fn seconds(us: u64) -> String {
    match us as f64 / 1e6 {
        s if s < 0.001 => "less than a millisecond".to_owned(),
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 100.0 => format!("{s:.1} s"),
        s => format!("{s:.0} s"),
    }
}
