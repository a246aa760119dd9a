//! `trials.csv` (one row a trial), `epochs.csv` (one row an epoch) and `attempts.csv` (one row an attempt).
//!
//! Numbers parse back to the same bits; what is absent is an empty cell. In `trials.csv` a parameter's column has
//! the parameter's name. Where that is the name of a column that every table has (a study may well search
//! `epochs`), or starts with `parameter.` or `metric.`, the column is called `parameter.NAME`.
//!
//! A metric's column has the metric's name. Those of the built-in trainers stand in every table; what else a trainer
//! reports stands behind them, and is called `metric.NAME` where its name is that of another column.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write};
use std::io;

use broadsweep_common::attempt::Used;
use broadsweep_common::configuration::Value;
use broadsweep_common::metrics::MetricName;

use super::measured::{USUAL, further, is_usual};
use crate::records::attempt::AttemptEnd;
use crate::records::run::{Purpose, RunRecord, TrialOutcome, TrialRecord};

/// The first column; the parameters' follow.
pub(super) const TRIAL: &str = "trial";
/// The columns between the parameters' and the metrics'.
pub(super) const ENDED: [&str; 3] = ["outcome", "counted_epoch", "epochs"];
/// The columns after the metrics'.
pub(super) const TOOK: [&str; 9] = [
    "attempts",
    "executor",
    "started_s",
    "ended_s",
    "training_s",
    "evaluation_s",
    "cpu_s",
    "memory_peak_bytes",
    "reason",
];
/// The second column of epochs.
const EPOCH: &str = "epoch";
const ATTEMPT_COLUMNS: [&str; 15] = [
    "attempt",
    "task",
    "trial",
    "number",
    "executor",
    "from_epoch",
    "epoch",
    "started_s",
    "ended_s",
    "training_s",
    "evaluation_s",
    "cpu_s",
    "memory_peak_bytes",
    "end",
    "reason",
];
/// What the columns of parameters, and of metrics, begin with where their names alone would not do.
pub(crate) const PARAMETER_PREFIX: &str = "parameter.";
pub(crate) const METRIC_PREFIX: &str = "metric.";

/// One row a trial: its configuration, its result and what it took. Metrics are those of the epoch that counts
/// (`counted_epoch`), but where the test rows were looked at after the search; of a trial that paused, those of its last
/// epoch, which that column names as well. `epochs` says how many were trained.
///
/// # Errors
/// None in practice: the bytes go to memory.
pub fn trials_csv(run: &RunRecord) -> io::Result<Vec<u8>> {
    let (parameters, metrics) = (parameters(run), trial_metrics(run));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = std::iter::once(TRIAL.to_owned())
        .chain(parameters.iter().map(|name| parameter_column(name)))
        .chain(ENDED.map(str::to_owned))
        .chain(metrics.iter().map(|name| metric_column(name, &parameters)))
        .chain(TOOK.map(str::to_owned));
    writer.write_record(header)?;
    let mut rows = Rows::after(writer);
    for trial in &run.trials {
        rows.whole(trial.trial.0)?;
        for name in &parameters {
            rows.value(trial.configuration.get(name))?;
        }
        let (outcome, reason) = outcome_cells(trial);
        rows.text(outcome)?;
        rows.whole(trial.told_epoch())?;
        rows.whole(trial.curves.epochs())?;
        for name in &metrics {
            rows.real(trial.told_metric(name))?;
        }
        rows.whole(trial.attempts)?;
        rows.text(trial.executor.map_or("", |executor| run.executor_name(executor)))?;
        for seconds in [trial.started_s, trial.ended_s, trial.training_s, trial.evaluation_s] {
            rows.real(seconds)?;
        }
        rows.used(trial.used)?;
        rows.text(&reason)?;
        rows.end()?;
    }
    rows.into_bytes()
}

/// The parameters that some trial has.
pub(crate) fn parameters(run: &RunRecord) -> BTreeSet<&str> {
    run.trials.iter().flat_map(|trial| trial.configuration.names()).collect()
}

/// The metrics that the table of trials has columns for.
pub(crate) fn trial_metrics(run: &RunRecord) -> Vec<MetricName> {
    USUAL.into_iter().chain(further(run)).collect()
}

/// One row an attempt, whatever became of it: of which task and which trial, where it ran, from which epoch to which, how
/// it ended and why. A trial has a task for each of its segments, and one more where it is measured or looked at; a task that
/// applies the model is of no trial.
///
/// # Errors
/// None in practice: the bytes go to memory.
pub fn attempts_csv(run: &RunRecord) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(ATTEMPT_COLUMNS)?;
    let mut rows = Rows::after(writer);
    for attempt in &run.attempts {
        rows.shown(&attempt.attempt)?;
        rows.whole(attempt.attempt.task.0)?;
        let purpose = run.purpose_of(attempt.attempt.task);
        rows.whole(purpose.and_then(Purpose::trial).map(|trial| trial.0))?;
        rows.whole(attempt.attempt.number)?;
        rows.text(run.executor_name(attempt.executor))?;
        rows.whole(attempt.from_epoch)?;
        rows.whole(attempt.epoch)?;
        for seconds in [attempt.started_s, attempt.ended_s, attempt.training_s, attempt.evaluation_s] {
            rows.shown(&seconds)?;
        }
        rows.used(attempt.used)?;
        let end = attempt.end.as_ref();
        rows.text(end.map_or("", AttemptEnd::word))?;
        rows.text(&end.map(AttemptEnd::reason).unwrap_or_default())?;
        rows.end()?;
    }
    rows.into_bytes()
}

/// One row an epoch of every trial.
///
/// # Errors
/// None in practice: the bytes go to memory.
pub fn epochs_csv(run: &RunRecord) -> io::Result<Vec<u8>> {
    let parameters = parameters(run);
    let metrics: Vec<_> = std::iter::once(MetricName::LEARNING_RATE).chain(trial_metrics(run)).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let columns = metrics.iter().map(|name| metric_column(name, &parameters));
    writer.write_record([TRIAL, EPOCH].map(str::to_owned).into_iter().chain(columns))?;
    let mut rows = Rows::after(writer);
    for trial in &run.trials {
        for epoch in 1..=trial.curves.epochs() {
            rows.whole(trial.trial.0)?;
            rows.whole(epoch)?;
            for name in &metrics {
                rows.real(trial.curves.get(epoch, name))?;
            }
            rows.end()?;
        }
    }
    rows.into_bytes()
}

/// Rows of a table, written cell by cell; what is absent is empty. Each cell is formed in one buffer: a run may have a million rows in each table.
pub(crate) struct Rows {
    writer: csv::Writer<Vec<u8>>,
    cell: String,
}

impl Rows {
    /// Those after the header.
    pub(crate) fn after(header: csv::Writer<Vec<u8>>) -> Self {
        Self { writer: header, cell: String::new() }
    }

    pub(crate) fn text(&mut self, text: &str) -> csv::Result<()> {
        self.writer.write_field(text)
    }

    pub(crate) fn shown(&mut self, shown: &impl Display) -> csv::Result<()> {
        self.formed(format_args!("{shown}"))
    }

    pub(crate) fn whole(&mut self, number: impl Into<Option<u32>>) -> csv::Result<()> {
        match number.into() {
            Some(number) => self.shown(&number),
            None => self.text(""),
        }
    }

    /// The shortest digits that parse back to the same bits. `{:?}` over `{}`: it writes 1e-30 and 1e300 with an
    /// exponent, and a whole real as `1.0`, so that a reader takes the column for reals.
    pub(crate) fn real(&mut self, number: impl Into<Option<f64>>) -> csv::Result<()> {
        match number.into() {
            Some(number) => self.formed(format_args!("{number:?}")),
            None => self.text(""),
        }
    }

    pub(crate) fn value(&mut self, value: Option<&Value>) -> csv::Result<()> {
        match value {
            Some(Value::Real(real)) => self.real(*real),
            Some(Value::Choice(word)) => self.text(word),
            Some(other @ (Value::Integer(_) | Value::Flag(_))) => self.shown(other),
            None => self.text(""),
        }
    }

    /// The cells of what programs used.
    pub(crate) fn used(&mut self, used: Option<Used>) -> csv::Result<()> {
        self.real(used.map(Used::cpu_s))?;
        match used {
            Some(used) => self.shown(&used.memory_peak_bytes),
            None => self.text(""),
        }
    }

    pub(crate) fn end(&mut self) -> csv::Result<()> {
        self.writer.write_record(None::<&[u8]>)
    }

    fn formed(&mut self, cell: fmt::Arguments<'_>) -> csv::Result<()> {
        self.cell.clear();
        // To write to memory does not fail.
        let _ = self.cell.write_fmt(cell);
        self.writer.write_field(&self.cell)
    }

    pub(crate) fn into_bytes(self) -> io::Result<Vec<u8>> {
        self.writer.into_inner().map_err(|full| io::Error::other(full.to_string()))
    }
}

/// No two parameters share a column: bare names never start with the prefix.
pub(super) fn parameter_column(name: &str) -> String {
    let is_metrics = USUAL.iter().any(|metric| metric.as_str() == name);
    if is_reserved(name) || is_metrics { format!("{PARAMETER_PREFIX}{name}") } else { name.to_owned() }
}

/// No metric shares a column with another one, or with a parameter.
pub(super) fn metric_column(name: &MetricName, parameters: &BTreeSet<&str>) -> String {
    let is_taken = is_reserved(name.as_str()) || name.as_str() == EPOCH || parameters.contains(name.as_str());
    // Parameters give way to the usual ones; a step size stands where no parameter does.
    if is_taken && !is_usual(name) { format!("{METRIC_PREFIX}{name}") } else { name.as_str().to_owned() }
}

/// Whether a column of the table of trials has that name, or might get it.
fn is_reserved(name: &str) -> bool {
    let is_fixed = name == TRIAL || ENDED.contains(&name) || TOOK.contains(&name);
    is_fixed || name.starts_with(PARAMETER_PREFIX) || name.starts_with(METRIC_PREFIX)
}

/// How a trial ended, in one word, and why, where there is something to say.
pub(crate) fn outcome_cells(trial: &TrialRecord) -> (&'static str, String) {
    match &trial.outcome {
        TrialOutcome::Finished { .. } => ("finished", String::new()),
        TrialOutcome::Diverged { epoch } => ("diverged", format!("a loss was not finite in epoch {epoch}")),
        TrialOutcome::GivenUp { reason } => ("given_up", reason.clone()),
        TrialOutcome::Paused { epoch } => ("paused", format!("not continued after epoch {epoch}")),
        TrialOutcome::NotRun => ("not_run", String::new()),
        TrialOutcome::LeftOut => ("left_out", "the run was stopped before it began".to_owned()),
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
