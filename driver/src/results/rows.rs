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
use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};

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
const ATTEMPT_COLUMNS: [&str; 14] = [
    "attempt",
    "task",
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
/// (`counted_epoch`), but where the test rows were looked at after the search; `epochs` says how many were trained.
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
        rows.whole(trial.counted())?;
        rows.whole(trial.curves.epochs())?;
        for name in &metrics {
            rows.real(trial.metric(name))?;
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

/// One row an attempt, whatever became of it: where it ran, from which epoch to which, how it ended and why. The tasks
/// after the trials' measure the test error of the best and the control.
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
mod tests {
    use std::collections::HashMap;

    use broadsweep_common::ids::TrialId;
    use broadsweep_common::metrics::Metrics;
    use proptest::prelude::*;

    use super::*;
    use crate::results::fixtures::{
        at, configuration, curves, diverged, finished, given_up, loss, not_run, run, tested, with_own,
    };

    /// Each row as its cells by column.
    fn parse(bytes: &[u8]) -> Vec<HashMap<String, String>> {
        csv::Reader::from_reader(bytes).deserialize().collect::<Result<_, _>>().unwrap()
    }

    fn header(bytes: &[u8]) -> Vec<String> {
        csv::Reader::from_reader(bytes).headers().unwrap().iter().map(str::to_owned).collect()
    }

    fn bits(row: &HashMap<String, String>, column: &str) -> u64 {
        row[column].parse::<f64>().unwrap().to_bits()
    }

    #[test]
    fn a_trials_row_holds_its_configuration_its_result_and_what_it_took() {
        let bytes = trials_csv(&run(vec![tested(finished(3, 0.1), 0.2)])).unwrap();
        let columns = header(&bytes);
        assert_eq!(columns[..3], ["trial", "fc1", "learning_rate"]);
        let usual = USUAL.map(|name| name.to_string());
        assert_eq!(columns[3..], [&ENDED.map(str::to_owned)[..], &usual, &TOOK.map(str::to_owned)].concat());
        let row = &parse(&bytes)[0];
        for (column, cell) in [
            ("trial", "3"),
            ("fc1", "512"),
            ("outcome", "finished"),
            ("counted_epoch", "2"),
            ("epochs", "2"),
            ("validation_error", "0.1"),
            ("test_error", "0.2"),
            ("attempts", "1"),
            ("executor", "127.0.0.1:7070"),
            ("started_s", "0.5"),
            ("ended_s", "2.5"),
            ("training_s", "1.5"),
            ("evaluation_s", "0.25"),
            ("cpu_s", ""),
            ("reason", ""),
        ] {
            assert_eq!(row[column], cell, "{column}");
        }
        assert_eq!(bits(row, "learning_rate"), (0.1_f64 / 3.0).to_bits());
        assert_eq!(bits(row, "training_loss"), 0.3_f64.to_bits());
        assert_eq!(bits(row, "validation_loss"), loss(0.1).to_bits());
        assert_eq!(bits(row, "test_loss"), loss(0.2).to_bits());
    }

    #[test]
    fn a_trial_without_a_result_has_empty_cells_and_its_reason() {
        let reason = "its program failed:\n\"no\", said \u{1f980}";
        let rows = parse(&trials_csv(&run(vec![diverged(0, 2), given_up(1, reason), not_run(2)])).unwrap());
        for (row, outcome) in rows.iter().zip(["diverged", "given_up", "not_run"]) {
            assert_eq!(row["outcome"], outcome);
            for column in ["counted_epoch", "training_loss", "validation_loss", "validation_error", "test_error"] {
                assert_eq!(row[column], "", "{column}");
            }
        }
        assert_eq!(rows[0]["reason"], "a loss was not finite in epoch 2");
        assert_eq!(rows[1]["reason"], reason);
        assert_eq!((rows[2]["executor"].as_str(), rows[2]["attempts"].as_str()), ("", "0"));
    }

    #[test]
    fn a_parameter_never_takes_another_columns_place() {
        let names = ["epochs", "parameter.epochs", "trial", "reason", "rate", "parameter."];
        let mut trial = finished(0, 0.1);
        trial.configuration = configuration(&names.map(|name| (name, Value::Choice(format!("value of {name}")))));
        let bytes = trials_csv(&run(vec![trial])).unwrap();
        let columns = header(&bytes);
        assert_eq!(columns.iter().collect::<BTreeSet<_>>().len(), columns.len(), "{columns:?}");
        let row = &parse(&bytes)[0];
        assert_eq!(row["rate"], "value of rate");
        assert_eq!(row["epochs"], "2");
        for name in names.into_iter().filter(|name| *name != "rate") {
            assert_eq!(row[&format!("parameter.{name}")], format!("value of {name}"));
        }
    }

    #[test]
    fn what_else_a_trainer_measures_has_columns_behind_the_usual_ones_and_takes_no_others_place() {
        let names = ["accuracy", "attempts", "epoch", "fc1", "metric.fc1", "f1 score"];
        let trial = names
            .into_iter()
            .zip(1..)
            .fold(finished(0, 0.1), |trial, (name, value)| with_own(trial, name, f64::from(value)));
        let record = run(vec![trial, finished(1, 0.2)]);
        let own = ["accuracy", "metric.attempts", "metric.epoch", "f1 score", "metric.fc1", "metric.metric.fc1"];
        for (bytes, first) in [(trials_csv(&record).unwrap(), 11), (epochs_csv(&record).unwrap(), 8)] {
            let columns = header(&bytes);
            assert_eq!(columns[first..first + own.len()], own);
            assert_eq!(columns.iter().collect::<BTreeSet<_>>().len(), columns.len(), "{columns:?}");
            let told: Vec<_> = parse(&bytes).iter().map(|row| row["metric.fc1"].clone()).collect();
            assert!(told.contains(&"4.0".to_owned()) && told.contains(&String::new()), "{told:?}");
        }
    }

    #[test]
    fn a_parameter_that_a_configuration_lacks_is_an_empty_cell() {
        let mut control = finished(0, 0.1);
        control.configuration = configuration(&[("momentum", Value::Real(0.9))]);
        let rows = parse(&trials_csv(&run(vec![control, finished(1, 0.1)])).unwrap());
        assert_eq!((rows[0]["momentum"].as_str(), rows[0]["fc1"].as_str()), ("0.9", ""));
        assert_eq!((rows[1]["momentum"].as_str(), rows[1]["fc1"].as_str()), ("", "128"));
    }

    #[test]
    fn every_attempt_has_a_row_with_the_reason_of_its_end() {
        let mut trial = finished(4, 0.1);
        trial.attempts = 2;
        let mut record = run(vec![trial, not_run(5)]);
        record.attempts[1].used = Some(Used { cpu_us: 2_500_000, memory_peak_bytes: 4096 });
        let bytes = attempts_csv(&record).unwrap();
        assert_eq!(header(&bytes), ATTEMPT_COLUMNS);
        let shown: Vec<_> = parse(&bytes)
            .iter()
            .map(|row| ["attempt", "cpu_s", "memory_peak_bytes", "end", "reason"].map(|name| row[name].clone()))
            .collect();
        assert_eq!(shown, [["t4.1", "", "", "failed", "out of luck"], ["t4.2", "2.5", "4096", "completed", ""]]);
    }

    #[test]
    fn every_epoch_has_a_row() {
        let trial = at(finished(4, 0.1), 2, &MetricName::VALIDATION_ERROR, None);
        let trial = at(trial, 2, &MetricName::TEST_ERROR, Some(0.7));
        let bytes = epochs_csv(&run(vec![trial, not_run(5), given_up(6, "lost")])).unwrap();
        let usual = "trial,epoch,learning_rate,training_loss,validation_loss,validation_error,test_loss,test_error";
        assert_eq!(header(&bytes), usual.split(',').collect::<Vec<_>>());
        let rows = parse(&bytes);
        let shown: Vec<_> = rows.iter().map(|row| (row["trial"].as_str(), row["epoch"].as_str())).collect();
        assert_eq!(shown, [("4", "1"), ("4", "2"), ("6", "1")]);
        assert_eq!((rows[0]["validation_error"].as_str(), rows[0]["test_error"].as_str()), ("0.5", ""));
        assert_eq!((rows[1]["validation_error"].as_str(), rows[1]["test_error"].as_str()), ("", "0.7"));
    }

    proptest! {
        #[test]
        fn numbers_parse_back_to_the_same_bits(bits_of in proptest::array::uniform4(any::<u64>())) {
            let [rate, training_loss, loss, error] = bits_of.map(f64::from_bits);
            let metrics = Metrics::from_iter([
                (MetricName::LEARNING_RATE, rate), (MetricName::TRAINING_LOSS, training_loss),
                (MetricName::VALIDATION_LOSS, loss), (MetricName::VALIDATION_ERROR, error),
            ]);
            let mut trial = finished(0, 0.1);
            trial.configuration = configuration(&[("rate", Value::Real(rate))]);
            trial.outcome = TrialOutcome::Finished { epoch: 1 };
            trial.curves = curves([metrics]);
            let run = run(vec![trial]);
            let same = |cell: &str, number: f64| {
                let parsed: f64 = cell.parse().unwrap();
                parsed.to_bits() == number.to_bits() || (parsed.is_nan() && number.is_nan())
            };
            for row in [&parse(&trials_csv(&run).unwrap())[0], &parse(&epochs_csv(&run).unwrap())[0]] {
                prop_assert!(same(&row["training_loss"], training_loss));
                prop_assert!(same(&row["validation_loss"], loss));
                prop_assert!(same(&row["validation_error"], error));
            }
            prop_assert!(same(&parse(&trials_csv(&run).unwrap())[0]["rate"], rate));
            prop_assert!(same(&parse(&epochs_csv(&run).unwrap())[0]["learning_rate"], rate));
        }

        #[test]
        fn any_name_and_any_choice_reads_back(name in "[a-z,\"\n\r' ]{1,12}", word in any::<String>()) {
            let mut first = finished(0, 0.1);
            first.configuration = configuration(&[(name.as_str(), Value::Choice(word.clone()))]);
            let rows = parse(&trials_csv(&run(vec![first, finished(1, 0.1)])).unwrap());
            prop_assert_eq!(rows.len(), 2);
            prop_assert_eq!(&rows[0][&parameter_column(&name)], &word);
            prop_assert_eq!(rows[1]["trial"].parse::<u32>().map(TrialId), Ok(TrialId(1)));
        }
    }
}
