//! What a pruner stopped: of each rung the trials that were judged there, which of them went on, and what came between
//! them; and the epochs that this took.
//!
//! All of it follows from what trials measured and where they paused. A trial is judged at a rung if it paused there, whether
//! it was continued or not; the control, which does not pause, is judged at none.

use std::collections::BTreeMap;

use super::sheets::{Sheet, number};
use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};
use crate::results::measured::metric_text;
use crate::results::show::counted;

/// Rungs in their table.
const ROWS_MAX: usize = 50;

/// The rungs of a run with a pruner.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rungs {
    /// What the pruner is called.
    pub(super) pruner: &'static str,
    /// Rung by rung, those of a bracket together.
    pub(super) judged: Vec<JudgedRung>,
    /// Whether trials were judged in several brackets, each by itself.
    pub(super) has_brackets: bool,
    /// Trials that were begun.
    pub(super) begun: usize,
    /// Trials that were trained to their end.
    pub(super) in_full: usize,
    /// Epochs that were trained.
    pub(super) epochs: u64,
    /// Epochs that all trials together would have had without a pruner.
    pub(super) epochs_in_full: u64,
}

/// What happened at a rung.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JudgedRung {
    /// The bracket, from 0.
    pub(super) bracket: usize,
    /// The epoch, from 1.
    pub(super) epoch: u32,
    /// Who was judged, the best first.
    pub(super) trials: Vec<JudgedTrial>,
}

/// A trial at a rung.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct JudgedTrial {
    /// Its place among the run's trials.
    pub(super) place: usize,
    /// The objective's value there, if it has a finite one.
    pub(super) value: Option<f64>,
    /// Whether it was continued.
    pub(super) went_on: bool,
}

impl JudgedRung {
    /// How many were continued.
    pub(super) fn count_on(&self) -> usize {
        self.trials.iter().filter(|trial| trial.went_on).count()
    }

    /// The worst value that was continued.
    pub(super) fn worst_on(&self) -> Option<f64> {
        self.trials.iter().rev().filter(|trial| trial.went_on).find_map(|trial| trial.value)
    }

    /// The threshold in effect, and how many trials are on its wrong side: the value with which as few as possible stopped
    /// although they are no worse, or went on although they are. Where a pruner judged all at once, none is; where it judged
    /// each by what was known by then, some are. `None` where nobody went on.
    pub(super) fn threshold(&self) -> Option<(f64, usize)> {
        let mut wrong = self.count_on();
        let mut best: Option<(f64, usize)> = None;
        for trial in &self.trials {
            let Some(value) = trial.value else { break };
            wrong = if trial.went_on { wrong - 1 } else { wrong + 1 };
            // A line below a trial that stopped divides no better than one above it.
            if trial.went_on && best.is_none_or(|(_, fewest)| wrong < fewest) {
                best = Some((value, wrong));
            }
        }
        best
    }

    /// The best value that was not.
    pub(super) fn best_stopped(&self) -> Option<f64> {
        self.trials.iter().filter(|trial| !trial.went_on).find_map(|trial| trial.value)
    }
}

/// The rungs of a run; `None` where no pruner was at work, or no trial got to a rung.
pub(super) fn rungs(run: &RunRecord) -> Option<Rungs> {
    let kind = run.search.as_ref()?.pruner;
    let pruner = kind.pruner();
    let mut judged: BTreeMap<(usize, u32), Vec<JudgedTrial>> = BTreeMap::new();
    for (place, trial) in run.trials.iter().enumerate() {
        let bracket = pruner.bracket_of(trial.trial);
        for (epoch, went_on) in pauses(trial) {
            let value = trial.curves.get(epoch, &run.objective().metric).filter(|value| value.is_finite());
            judged.entry((bracket, epoch)).or_default().push(JudgedTrial { place, value, went_on });
        }
    }
    if judged.is_empty() {
        return None;
    }
    let rung = |((bracket, epoch), mut trials): ((usize, u32), Vec<JudgedTrial>)| {
        let value = |trial: &JudgedTrial| trial.value.unwrap_or(f64::NAN);
        trials.sort_by(|one, other| run.objective().direction.order(value(one), value(other)));
        JudgedRung { bracket, epoch, trials }
    };
    let judged: Vec<_> = judged.into_iter().map(rung).collect();
    let has_brackets = judged.iter().any(|rung| rung.bracket != judged[0].bracket);
    let begun = run.trials.iter().filter(|trial| trial.attempts > 0);
    Some(Rungs {
        pruner: kind.word(),
        judged,
        has_brackets,
        begun: begun.clone().count(),
        in_full: run.counts().finished,
        epochs: begun.clone().map(|trial| u64::from(trial.curves.epochs())).sum(),
        epochs_in_full: begun.map(epochs_in_full).sum(),
    })
}

/// The epochs after which a trial paused, each with whether it was continued.
fn pauses(trial: &TrialRecord) -> impl Iterator<Item = (u32, bool)> {
    let last = match trial.outcome {
        TrialOutcome::Paused { epoch } => Some((epoch, false)),
        TrialOutcome::Finished { .. }
        | TrialOutcome::Diverged { .. }
        | TrialOutcome::GivenUp { .. }
        | TrialOutcome::NotRun
        | TrialOutcome::LeftOut => None,
    };
    trial.rungs.iter().map(|epoch| (*epoch, true)).chain(last)
}

/// What a trial would have had without a pruner: one that failed would have failed as well, and one that ended early, too.
fn epochs_in_full(trial: &TrialRecord) -> u64 {
    u64::from(match trial.outcome {
        TrialOutcome::Paused { .. } | TrialOutcome::NotRun | TrialOutcome::LeftOut => trial.epochs_max,
        TrialOutcome::Finished { .. } | TrialOutcome::Diverged { .. } | TrialOutcome::GivenUp { .. } => {
            trial.curves.epochs()
        }
    })
}

impl Rungs {
    /// What it came to, in a sentence.
    pub(super) fn sentence(&self, is_over: bool) -> String {
        let share = 100.0 * self.epochs as f64 / self.epochs_in_full.max(1) as f64;
        format!(
            "{}{} trained {} with {share:.0} % of the epochs that all of them would have taken ({} of {}); {} trained to \
             the end.",
            if is_over { "" } else { "So far, " },
            self.pruner,
            counted(self.begun as u64, "configuration"),
            self.epochs,
            self.epochs_in_full,
            match self.in_full {
                0 => "none was".to_owned(),
                1 => "one was".to_owned(),
                more => format!("{more} were"),
            },
        )
    }
}

/// The rungs as a table.
pub(super) fn sheet(run: &RunRecord, rungs: &Rungs) -> Sheet {
    let shown = |value: Option<f64>| {
        value.map(|value| metric_text(run.loss, &run.objective().metric, value)).unwrap_or_default()
    };
    let row = |rung: &JudgedRung| {
        let on = rung.count_on();
        let bracket = rungs.has_brackets.then(|| (rung.bracket + 1).to_string());
        let cells = [
            rung.epoch.to_string(),
            rung.trials.len().to_string(),
            on.to_string(),
            (rung.trials.len() - on).to_string(),
            shown(rung.trials.first().and_then(|trial| trial.value)),
            shown(rung.threshold().map(|(line, _)| line)),
            shown(rung.worst_on()),
            shown(rung.best_stopped()),
        ];
        bracket.into_iter().chain(cells).collect()
    };
    let columns =
        ["epoch", "trials", "went on", "stopped", "best", "threshold", "worst that went on", "best that stopped"];
    let columns = columns.map(number);
    let more = rungs.judged.len().saturating_sub(ROWS_MAX);
    Sheet {
        title: "What the pruner stopped",
        columns: rungs.has_brackets.then(|| number("bracket")).into_iter().chain(columns).collect(),
        rows: rungs.judged.iter().take(ROWS_MAX).map(row).collect(),
        note: Some(match more {
            0 => rungs.sentence(run.is_over()),
            _ => format!("{} {more} more rungs are in the JSON report", rungs.sentence(run.is_over())),
        }),
    }
}

#[cfg(test)]
#[path = "rungs_tests.rs"]
pub(super) mod tests;
