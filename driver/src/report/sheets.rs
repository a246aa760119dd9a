//! The tables of a report, as text: a page, Markdown and the terminal show the same ones.

use std::borrow::Cow;
use std::collections::BTreeMap;

use broadsweep_common::ids::ExecutorId;
use broadsweep_common::metrics::MetricName;

use super::view::View;
use super::{Report, answers, belief, closer, rungs};
use crate::records::attempt::AttemptEnd;
use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};
use crate::results::comparison::{Comparison, SizeRow};
use crate::results::measured::{further, is_error, metric_text, title};
use crate::results::remarks::{LEFT_OUT, without_an_end};
use crate::results::show::{configuration_pairs, printable};

/// Trials in the table of the best, besides the control.
const BEST_MAX: usize = 20;
/// Columns for what not every trainer measures.
const METRICS_MAX: usize = 6;
/// Trials that were given up and are told of.
const GIVEN_UP_MAX: usize = 20;
/// Sizes of clusters in their table.
const SIZES_MAX: usize = 50;
/// Executors in their table.
const EXECUTORS_MAX: usize = 100;
/// Reasons of failed attempts.
const REASONS_MAX: usize = 10;
/// Characters of a reason: it may hold what a failing program wrote.
const REASON_CHARACTERS_MAX: usize = 300;
/// Characters of a configuration.
const CONFIGURATION_CHARACTERS_MAX: usize = 300;
/// Characters of an executor's name.
const NAME_CHARACTERS_MAX: usize = 80;

/// A table: what its columns are called, and its cells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sheet {
    /// What it shows.
    pub(super) title: &'static str,
    /// Its columns.
    pub(super) columns: Vec<Column>,
    /// As many cells a row as there are columns.
    pub(super) rows: Vec<Vec<String>>,
    /// What was left out.
    pub(super) note: Option<String>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its heading.
    pub(super) name: Cow<'static, str>,
    /// Whether its cells are numbers, which end at the same place.
    pub(super) is_number: bool,
}

pub(super) const fn text(name: &'static str) -> Column {
    Column { name: Cow::Borrowed(name), is_number: false }
}

pub(super) const fn number(name: &'static str) -> Column {
    Column { name: Cow::Borrowed(name), is_number: true }
}

/// What the study took on clusters of several sizes.
pub(super) fn sizes(comparison: &Comparison) -> Sheet {
    let row = |size: &SizeRow| {
        vec![
            size.executors.to_string(),
            size.slots.to_string(),
            format!("{:.2}", size.wall_s),
            format!("{:.2}", size.speedup),
            format!("{:.1} %", size.efficiency * 100.0),
            size.forecast_wall_s.map(|wall_s| format!("{wall_s:.2}")).unwrap_or_default(),
            format!("{:.2}", size.broadcast_s),
            format!("{:.1} %", size.utilisation * 100.0),
            size.attempts_lost.to_string(),
            size.runs.len().to_string(),
        ]
    };
    let names =
        ["executors", "slots", "seconds", "speedup", "efficiency", "forecast s", "broadcast s", "utilisation"];
    Sheet {
        title: "By size",
        columns: names.into_iter().chain(["attempts lost", "runs"]).map(number).collect(),
        rows: comparison.sizes.iter().take(SIZES_MAX).map(row).collect(),
        note: left_out(comparison.sizes.len(), SIZES_MAX, "sizes are in scale.csv"),
    }
}

/// The best trials and the control.
pub(super) fn best(run: &RunRecord) -> Sheet {
    let ranking = run.ranking();
    let control = run.control_trial();
    let metrics = shown_metrics(run);
    let row = |(place, trial): (Option<usize>, &TrialRecord)| {
        let is_control = Some(trial.trial) == run.control;
        let values = metrics.iter().enumerate().map(|(column, name)| match trial.metric(name) {
            Some(value) => metric_text(run.loss, name, value),
            // Why there is no result stands in the first of them.
            None if column == 0 => outcome_word(run, trial).to_owned(),
            None => String::new(),
        });
        let name = if is_control { "control".to_owned() } else { trial.trial.0.to_string() };
        let took = [
            trial.curves.epochs().to_string(),
            format!("{:.1}", trial.training_s + trial.evaluation_s),
            trial.attempts.to_string(),
            configuration_cell(trial),
        ];
        let first = [place.map(|place| (place + 1).to_string()).unwrap_or_default(), name];
        first.into_iter().chain(values).chain(took).collect()
    };
    let shown = ranking.iter().take(BEST_MAX).enumerate().map(|(place, trial)| (Some(place), *trial));
    let place_of = |control: &TrialRecord| ranking.iter().position(|trial| trial.trial == control.trial);
    let beyond = control.map(|control| (place_of(control), control));
    let beyond = beyond.filter(|(place, _)| place.is_none_or(|place| place >= BEST_MAX));
    let named = metrics.iter().map(|name| Column { name: Cow::Owned(title(run.loss, name)), is_number: true });
    let took = ["epochs", "seconds", "attempts"].map(number);
    let columns = ["place", "trial"].map(number).into_iter().chain(named).chain(took);
    Sheet {
        title: "Best trials",
        columns: columns.chain([text("configuration")]).collect(),
        rows: shown.chain(beyond).map(row).collect(),
        note: left_out(ranking.len(), BEST_MAX, "trials with a result are in trials.csv"),
    }
}

/// What ranks, if it is no error; both errors; and what else trainers measured.
fn shown_metrics(run: &RunRecord) -> Vec<MetricName> {
    let objective = &run.objective().metric;
    let apart = (!is_error(objective)).then(|| objective.clone());
    let errors = [MetricName::VALIDATION_ERROR, MetricName::TEST_ERROR];
    let further = further(run).into_iter().filter(|name| name != objective).take(METRICS_MAX);
    apart.into_iter().chain(errors).chain(further).collect()
}

/// Why a trial has no result.
fn outcome_word(run: &RunRecord, trial: &TrialRecord) -> &'static str {
    match trial.outcome {
        TrialOutcome::Finished { .. } => "",
        TrialOutcome::Diverged { .. } => "diverged",
        TrialOutcome::GivenUp { .. } => "given up",
        TrialOutcome::Paused { .. } => "paused",
        TrialOutcome::NotRun => without_an_end(run),
        TrialOutcome::LeftOut => LEFT_OUT,
    }
}

fn configuration_cell(trial: &TrialRecord) -> String {
    let pairs: Vec<_> = configuration_pairs(&trial.configuration).collect();
    printable(&pairs.join(" "), CONFIGURATION_CHARACTERS_MAX)
}

/// Trials that were given up, each with its reason.
pub(super) fn given_up(run: &RunRecord) -> Sheet {
    let reason = |trial: &TrialRecord| match &trial.outcome {
        TrialOutcome::GivenUp { reason } => Some(reason.clone()),
        TrialOutcome::Finished { .. }
        | TrialOutcome::Diverged { .. }
        | TrialOutcome::Paused { .. }
        | TrialOutcome::NotRun
        | TrialOutcome::LeftOut => None,
    };
    let all: Vec<_> = run.trials.iter().filter_map(|trial| Some((trial, reason(trial)?))).collect();
    let row = |(trial, reason): &(&TrialRecord, String)| {
        let reason = printable(reason, REASON_CHARACTERS_MAX);
        vec![trial.trial.0.to_string(), trial.attempts.to_string(), reason, configuration_cell(trial)]
    };
    Sheet {
        title: "Given up",
        columns: vec![number("trial"), number("attempts"), text("reason"), text("configuration")],
        rows: all.iter().take(GIVEN_UP_MAX).map(row).collect(),
        note: left_out(all.len(), GIVEN_UP_MAX, "given up, with their reasons, are in trials.csv"),
    }
}

/// All tables of a report, in the order of a page, without the empty ones.
pub(super) fn of_report(report: &Report<'_>, view: &View<'_>) -> Vec<Sheet> {
    let run = report.run;
    let compared = report.comparison.map(sizes);
    let found = [best(run)].into_iter().chain(searched(view)).chain(closer::sheets(run));
    let found = found.chain(answers::sheets(run));
    let sheets = found.chain([given_up(run), executors(run), attempts(run), reasons(run)]);
    compared.into_iter().chain(sheets).filter(|sheet| !sheet.rows.is_empty()).collect()
}

/// What the sampler believes, and what the pruner stopped.
pub(super) fn searched(view: &View<'_>) -> impl Iterator<Item = Sheet> {
    let believed = view.beliefs.as_ref().map(|beliefs| belief::sheet(view.run, beliefs));
    let stopped = view.rungs.as_ref().map(|found| rungs::sheet(view.run, found));
    believed.into_iter().chain(stopped)
}

/// What each executor did.
pub(super) fn executors(run: &RunRecord) -> Sheet {
    #[derive(Default)]
    struct Done {
        attempts: u64,
        completed: u64,
        epochs: u64,
        training_s: f64,
        evaluation_s: f64,
    }
    let mut by_executor: BTreeMap<ExecutorId, Done> = BTreeMap::new();
    for attempt in &run.attempts {
        let done = by_executor.entry(attempt.executor).or_default();
        done.attempts += 1;
        done.completed += u64::from(attempt.has_result());
        done.epochs += u64::from(attempt.epoch.saturating_sub(attempt.from_epoch));
        done.training_s += attempt.training_s;
        done.evaluation_s += attempt.evaluation_s;
    }
    let row = |(executor, done): (&ExecutorId, &Done)| {
        vec![
            printable(run.executor_name(*executor), NAME_CHARACTERS_MAX),
            done.attempts.to_string(),
            done.completed.to_string(),
            done.epochs.to_string(),
            format!("{:.1}", done.training_s),
            format!("{:.1}", done.evaluation_s),
        ]
    };
    let numbers = ["attempts", "completed", "epochs", "training s", "measuring s"].map(number);
    Sheet {
        title: "By executor",
        columns: [text("executor")].into_iter().chain(numbers).collect(),
        rows: by_executor.iter().take(EXECUTORS_MAX).map(row).collect(),
        note: left_out(by_executor.len(), EXECUTORS_MAX, "executors are in attempts.csv"),
    }
}

/// How attempts ended, and how long they were at it.
pub(super) fn attempts(run: &RunRecord) -> Sheet {
    let mut by_end: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
    for attempt in &run.attempts {
        let (count, seconds) = by_end.entry(attempt.end.as_ref().map_or("running", AttemptEnd::word)).or_default();
        *count += 1;
        *seconds += attempt.training_s + attempt.evaluation_s;
    }
    let mut ends: Vec<_> = by_end.into_iter().collect();
    ends.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let row = |(end, (count, seconds)): (&str, (u64, f64))| {
        vec![end.to_owned(), count.to_string(), format!("{seconds:.1}")]
    };
    Sheet {
        title: "Attempts by end",
        columns: vec![text("end"), number("attempts"), number("seconds of work")],
        rows: ends.into_iter().map(row).collect(),
        note: None,
    }
}

/// Why attempts came to nothing, the most frequent reason first.
pub(super) fn reasons(run: &RunRecord) -> Sheet {
    let mut counts: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for end in run.attempts.iter().filter_map(|attempt| attempt.end.as_ref()) {
        let reason = printable(&end.reason(), REASON_CHARACTERS_MAX);
        if !reason.is_empty() {
            *counts.entry((end.word(), reason)).or_default() += 1;
        }
    }
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let total = all.len();
    let row = |((end, reason), count): ((&str, String), u64)| vec![count.to_string(), end.to_owned(), reason];
    Sheet {
        title: "What went wrong",
        columns: vec![number("attempts"), text("end"), text("reason")],
        rows: all.into_iter().take(REASONS_MAX).map(row).collect(),
        note: left_out(total, REASONS_MAX, "reasons are in attempts.csv"),
    }
}

fn left_out(count: usize, shown: usize, what: &str) -> Option<String> {
    (count > shown).then(|| format!("{} more {what}", count - shown))
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TrialId;

    use super::*;
    use crate::results::fixtures::{diverged, finished, given_up as failed, run, tested};

    fn columns(sheet: &Sheet, wanted: &[&str]) -> Vec<Vec<String>> {
        let place = |name: &&str| sheet.columns.iter().position(|column| column.name == *name).unwrap();
        let places: Vec<_> = wanted.iter().map(place).collect();
        sheet.rows.iter().map(|row| places.iter().map(|place| row[*place].clone()).collect()).collect()
    }

    #[test]
    fn the_control_stands_below_the_best_where_it_is_not_among_them() {
        let mut trials: Vec<_> = (1..=30).map(|trial| finished(trial, f64::from(trial) / 100.0)).collect();
        trials.push(tested(finished(0, 0.9), 0.8));
        let mut record = run(trials);
        record.control = Some(TrialId(0));
        let sheet = best(&record);
        let rows = columns(&sheet, &["place", "trial", "validation error", "test error"]);
        assert_eq!((rows.len(), &rows[0][..]), (21, &["1", "1", "1.00 %", ""].map(str::to_owned)[..]));
        assert_eq!(rows[20], ["31", "control", "90.00 %", "80.00 %"]);
        assert_eq!(sheet.note.as_deref(), Some("11 more trials with a result are in trials.csv"));
    }

    #[test]
    fn a_control_without_a_result_says_why() {
        let mut record = run(vec![diverged(0, 1), finished(1, 0.1)]);
        record.control = Some(TrialId(0));
        assert_eq!(columns(&best(&record), &["place", "validation error"])[1], ["", "diverged"]);
    }

    #[test]
    fn what_went_wrong_is_counted_with_its_reasons() {
        let record = run(vec![finished(0, 0.1), failed(1, "no\nroom"), failed(2, &"x".repeat(1000))]);
        let given_up = given_up(&record);
        assert_eq!(columns(&given_up, &["trial", "reason"])[0], ["1", "no\\nroom"]);
        assert_eq!(given_up.rows[1][2].chars().count(), REASON_CHARACTERS_MAX + 1);
        assert_eq!(columns(&attempts(&record), &["end", "attempts"]), [["failed", "6"], ["completed", "3"]]);
        assert_eq!(columns(&reasons(&record), &["attempts", "reason"]), [["6", "out of luck"]]);
        let executors = columns(&executors(&record), &["executor", "attempts", "completed", "training s"]);
        assert_eq!(executors, [["127.0.0.1:7070", "9", "3", "13.5"]]);
    }

    #[test]
    fn every_row_has_a_cell_a_column() {
        let record = run(vec![finished(0, 0.1), failed(1, "x"), diverged(2, 1)]);
        for sheet in [best(&record), given_up(&record), executors(&record), attempts(&record), reasons(&record)] {
            assert!(
                !sheet.rows.is_empty() && sheet.rows.iter().all(|row| row.len() == sheet.columns.len()),
                "{sheet:?}"
            );
        }
    }
}
