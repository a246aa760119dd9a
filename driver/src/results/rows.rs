//! `trials.csv` (one row a trial), `epochs.csv` (one row an epoch) and `attempts.csv` (one row an attempt).
//!
//! Numbers parse back to the same bits; what is absent is an empty cell. In `trials.csv` a parameter's column has
//! the parameter's name. Where that is the name of a column that every table has (a study may well search
//! `epochs`), or starts with `parameter.`, the column is called `parameter.NAME`.

use std::collections::BTreeSet;
use std::io;

use broadsweep_common::configuration::Value;
use broadsweep_common::metrics::Score;

use crate::records::attempt::AttemptEnd;
use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};

/// The first column; the parameters' follow.
pub(super) const TRIAL: &str = "trial";
/// The columns after the parameters'.
pub(super) const MEASURED: [&str; 15] = [
    "outcome",
    "counted_epoch",
    "epochs",
    "training_loss",
    "validation_loss",
    "validation_error",
    "test_loss",
    "test_error",
    "attempts",
    "executor",
    "started_s",
    "ended_s",
    "training_s",
    "evaluation_s",
    "reason",
];
const EPOCH_COLUMNS: [&str; 8] = [
    TRIAL,
    "epoch",
    "learning_rate",
    "training_loss",
    "validation_loss",
    "validation_error",
    "test_loss",
    "test_error",
];
const ATTEMPT_COLUMNS: [&str; 12] = [
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
    "end",
    "reason",
];
const PARAMETER_PREFIX: &str = "parameter.";

/// One row a trial: its configuration, its result and what it took. Losses and errors are those of the epoch
/// that counts (`counted_epoch`); `epochs` says how many were trained.
///
/// # Errors
/// None in practice: the bytes go to memory.
pub fn trials_csv(run: &RunRecord) -> io::Result<Vec<u8>> {
    let parameters: BTreeSet<&str> =
        run.trials.iter().flat_map(|trial| trial.configuration.0.keys().map(String::as_str)).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = std::iter::once(TRIAL.to_owned())
        .chain(parameters.iter().map(|name| parameter_column(name)))
        .chain(MEASURED.map(str::to_owned));
    writer.write_record(header)?;
    for trial in &run.trials {
        let values = parameters.iter().map(|name| trial.configuration.get(name).map(value_cell).unwrap_or_default());
        let row = std::iter::once(trial.trial.0.to_string()).chain(values).chain(measured_cells(trial));
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|full| io::Error::other(full.to_string()))
}

/// One row an attempt, whatever became of it: where it ran, from which epoch to which, how it ended and why. The tasks
/// after the trials' measure the test error of the best and the control.
///
/// # Errors
/// None in practice: the bytes go to memory.
pub fn attempts_csv(run: &RunRecord) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(ATTEMPT_COLUMNS)?;
    for attempt in &run.attempts {
        let end = attempt.end.as_ref();
        writer.write_record([
            attempt.attempt.to_string(),
            attempt.attempt.task.0.to_string(),
            attempt.attempt.number.to_string(),
            run.executor_name(attempt.executor).to_owned(),
            attempt.from_epoch.to_string(),
            attempt.epoch.to_string(),
            attempt.started_s.to_string(),
            attempt.ended_s.to_string(),
            attempt.training_s.to_string(),
            attempt.evaluation_s.to_string(),
            end.map_or("", AttemptEnd::word).to_owned(),
            end.map(AttemptEnd::reason).unwrap_or_default(),
        ])?;
    }
    writer.into_inner().map_err(|full| io::Error::other(full.to_string()))
}

/// One row an epoch of every trial.
///
/// # Errors
/// None in practice: the bytes go to memory.
pub fn epochs_csv(run: &RunRecord) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(EPOCH_COLUMNS)?;
    for trial in &run.trials {
        for report in &trial.epochs {
            let [validation_loss, validation_error] = score_cells(report.validation);
            let [test_loss, test_error] = score_cells(report.test);
            writer.write_record([
                trial.trial.0.to_string(),
                report.epoch.to_string(),
                number_cell(report.learning_rate),
                number_cell(report.training_loss),
                validation_loss,
                validation_error,
                test_loss,
                test_error,
            ])?;
        }
    }
    writer.into_inner().map_err(|full| io::Error::other(full.to_string()))
}

/// No two parameters share a column: bare names never start with the prefix.
pub(super) fn parameter_column(name: &str) -> String {
    let reserved = name == TRIAL || MEASURED.contains(&name) || name.starts_with(PARAMETER_PREFIX);
    if reserved { format!("{PARAMETER_PREFIX}{name}") } else { name.to_owned() }
}

fn measured_cells(trial: &TrialRecord) -> [String; MEASURED.len()] {
    let counted = trial.counted();
    let [validation_loss, validation_error] = score_cells(counted.and_then(|report| report.validation));
    let [test_loss, test_error] = score_cells(trial.tested());
    let (outcome, reason) = outcome_cells(trial);
    [
        outcome.to_owned(),
        counted.map(|report| report.epoch.to_string()).unwrap_or_default(),
        trial.epochs.len().to_string(),
        counted.map(|report| number_cell(report.training_loss)).unwrap_or_default(),
        validation_loss,
        validation_error,
        test_loss,
        test_error,
        trial.attempts.to_string(),
        trial.executor.clone().unwrap_or_default(),
        number_cell(trial.started_s),
        number_cell(trial.ended_s),
        number_cell(trial.training_s),
        number_cell(trial.evaluation_s),
        reason,
    ]
}

/// How a trial ended, in one word, and why, where there is something to say.
pub(super) fn outcome_cells(trial: &TrialRecord) -> (&'static str, String) {
    match &trial.outcome {
        TrialOutcome::Finished(_) => ("finished", String::new()),
        TrialOutcome::Diverged { epoch } => ("diverged", format!("a loss was not finite in epoch {epoch}")),
        TrialOutcome::GivenUp { reason } => ("given_up", reason.clone()),
        TrialOutcome::NotRun => ("not_run", String::new()),
    }
}

fn score_cells(score: Option<Score>) -> [String; 2] {
    score.map(|score| [number_cell(score.loss), number_cell(score.error)]).unwrap_or_default()
}

fn value_cell(value: &Value) -> String {
    match value {
        Value::Real(real) => number_cell(*real),
        Value::Integer(_) | Value::Choice(_) | Value::Flag(_) => value.to_string(),
    }
}

/// The shortest digits that parse back to the same bits. `{:?}` over `{}`: it writes 1e-30 and 1e300 with an
/// exponent, and a whole real as `1.0`, so that a reader takes the column for reals.
fn number_cell(number: f64) -> String {
    format!("{number:?}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use broadsweep_common::ids::TrialId;
    use broadsweep_common::metrics::EpochReport;
    use proptest::prelude::*;

    use super::*;
    use crate::results::fixtures::{configuration, diverged, finished, given_up, not_run, run, score, tested};

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
        assert_eq!(columns[3..], MEASURED);
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
            ("reason", ""),
        ] {
            assert_eq!(row[column], cell, "{column}");
        }
        assert_eq!(bits(row, "learning_rate"), (0.1_f64 / 3.0).to_bits());
        assert_eq!(bits(row, "training_loss"), 0.3_f64.to_bits());
        assert_eq!(bits(row, "validation_loss"), score(0.1).loss.to_bits());
        assert_eq!(bits(row, "test_loss"), score(0.2).loss.to_bits());
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
        let bytes = attempts_csv(&run(vec![trial, not_run(5)])).unwrap();
        assert_eq!(header(&bytes), ATTEMPT_COLUMNS);
        let shown: Vec<_> = parse(&bytes)
            .iter()
            .map(|row| [&row["attempt"], &row["end"], &row["reason"]].map(String::clone))
            .collect();
        assert_eq!(shown, [["t4.1", "failed", "out of luck"], ["t4.2", "completed", ""]]);
    }

    #[test]
    fn every_epoch_has_a_row() {
        let mut trial = finished(4, 0.1);
        trial.epochs[1].validation = None;
        trial.epochs[1].test = Some(score(0.7));
        let bytes = epochs_csv(&run(vec![trial, not_run(5), given_up(6, "lost")])).unwrap();
        assert_eq!(header(&bytes), EPOCH_COLUMNS);
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
            let report = EpochReport {
                epoch: 1, learning_rate: rate, training_loss, validation: Some(Score { loss, error }), test: None,
            };
            let mut trial = finished(0, 0.1);
            trial.configuration = configuration(&[("rate", Value::Real(rate))]);
            trial.outcome = TrialOutcome::Finished(report);
            trial.epochs = vec![report];
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
