//! `trials.parquet`: what `trials.csv` holds, with a type for each column, for tools that read tables by columns.
//!
//! Columns have the names of `trials.csv`, in its order. Every one is optional: what is absent is null. A parameter that
//! is whole in every trial is a 64-bit integer, one with other numbers a double, one of flags a boolean, all else text.

use std::sync::Arc;

use broadsweep_common::attempt::Used;
use broadsweep_common::configuration::Value;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::rows::{ENDED, TOOK, TRIAL, metric_column, outcome_cells, parameter_column, parameters, trial_metrics};
use crate::records::run::{RunRecord, TrialRecord};

/// A column: a cell a trial.
#[derive(Clone, Debug, PartialEq)]
enum Column {
    Integers(Vec<Option<i64>>),
    Reals(Vec<Option<f64>>),
    Flags(Vec<Option<bool>>),
    Texts(Vec<Option<String>>),
}

/// One row a trial, as `trials.csv` has it.
///
/// # Errors
/// None in practice: the bytes go to memory.
pub fn trials_parquet(run: &RunRecord) -> Result<Vec<u8>, ParquetError> {
    let columns = columns(run);
    let fields: Vec<_> =
        columns.iter().map(|(name, column)| column.field(name).map(Arc::new)).collect::<Result<_, _>>()?;
    let schema = Type::group_type_builder("trials").with_fields(fields).build()?;
    let made_by = format!("broadsweep {}", run.build);
    let properties = WriterProperties::builder().set_created_by(made_by).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for (_, column) in columns {
        column.write(&mut group)?;
    }
    group.close()?;
    writer.close()?;
    Ok(bytes)
}

fn columns(run: &RunRecord) -> Vec<(String, Column)> {
    let names = parameters(run);
    let trials = Column::integers(run, |trial| Some(u64::from(trial.trial.0)));
    let values = names.iter().map(|name| (parameter_column(name), Column::of_parameter(run, name)));
    let fixed = |name: &'static str| (name.to_owned(), Column::fixed(run, name));
    let metrics = trial_metrics(run);
    let metrics = metrics
        .iter()
        .map(|name| (metric_column(name, &names), Column::reals(run, |trial: &TrialRecord| trial.told_metric(name))));
    let first = [(TRIAL.to_owned(), trials)].into_iter().chain(values);
    first.chain(ENDED.map(fixed)).chain(metrics).chain(TOOK.map(fixed)).collect()
}

impl Column {
    fn integers(run: &RunRecord, cell: impl Fn(&TrialRecord) -> Option<u64>) -> Self {
        Self::Integers(
            run.trials
                .iter()
                .map(|trial| cell(trial).map(|integer| i64::try_from(integer).unwrap_or(i64::MAX)))
                .collect(),
        )
    }

    fn reals(run: &RunRecord, cell: impl Fn(&TrialRecord) -> Option<f64>) -> Self {
        Self::Reals(run.trials.iter().map(cell).collect())
    }

    fn texts(run: &RunRecord, cell: impl Fn(&TrialRecord) -> Option<String>) -> Self {
        Self::Texts(run.trials.iter().map(cell).collect())
    }

    fn of_parameter(run: &RunRecord, name: &str) -> Self {
        let values = || run.trials.iter().map(|trial| trial.configuration.get(name));
        let all = |fits: fn(&Value) -> bool| values().flatten().all(fits);
        if all(|value| matches!(value, Value::Integer(_))) {
            return Self::Integers(values().map(|value| value.and_then(whole)).collect());
        }
        if all(|value| matches!(value, Value::Integer(_) | Value::Real(_))) {
            return Self::Reals(values().map(|value| value.and_then(number)).collect());
        }
        if all(|value| matches!(value, Value::Flag(_))) {
            return Self::Flags(values().map(|value| value.map(|value| *value == Value::Flag(true))).collect());
        }
        Self::Texts(values().map(|value| value.map(ToString::to_string)).collect())
    }

    /// One of [`ENDED`] and [`TOOK`].
    fn fixed(run: &RunRecord, name: &str) -> Self {
        match name {
            "outcome" => Self::texts(run, |trial| Some(outcome_cells(trial).0.to_owned())),
            "counted_epoch" => Self::integers(run, |trial| trial.told_epoch().map(u64::from)),
            "epochs" => Self::integers(run, |trial| Some(u64::from(trial.curves.epochs()))),
            "attempts" => Self::integers(run, |trial| Some(u64::from(trial.attempts))),
            "executor" => Self::texts(run, |trial| Some(run.executor_name(trial.executor?).to_owned())),
            "started_s" => Self::reals(run, |trial| Some(trial.started_s)),
            "ended_s" => Self::reals(run, |trial| Some(trial.ended_s)),
            "training_s" => Self::reals(run, |trial| Some(trial.training_s)),
            "evaluation_s" => Self::reals(run, |trial| Some(trial.evaluation_s)),
            "cpu_s" => Self::reals(run, |trial| trial.used.map(Used::cpu_s)),
            "memory_peak_bytes" => Self::integers(run, |trial| trial.used.map(|used| used.memory_peak_bytes)),
            _ => Self::texts(run, |trial| Some(outcome_cells(trial).1).filter(|reason| !reason.is_empty())),
        }
    }

    fn field(&self, name: &str) -> Result<Type, ParquetError> {
        let (physical, logical) = match self {
            Self::Integers(_) => (Physical::INT64, None),
            Self::Reals(_) => (Physical::DOUBLE, None),
            Self::Flags(_) => (Physical::BOOLEAN, None),
            Self::Texts(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let builder = Type::primitive_type_builder(name, physical);
        builder.with_repetition(Repetition::OPTIONAL).with_logical_type(logical).build()
    }

    fn write<W: std::io::Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        match self {
            Self::Integers(cells) => write::<Int64Type, _>(group, cells),
            Self::Reals(cells) => write::<DoubleType, _>(group, cells),
            Self::Flags(cells) => write::<BoolType, _>(group, cells),
            Self::Texts(cells) => {
                let bytes = cells.into_iter().map(|cell| cell.map(|text| ByteArray::from(text.into_bytes())));
                write::<ByteArrayType, _>(group, bytes.collect())
            }
        }
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(integer) => Some(*integer),
        Value::Real(_) | Value::Choice(_) | Value::Flag(_) => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(integer) => Some(*integer as f64),
        Value::Real(real) => Some(*real),
        Value::Choice(_) | Value::Flag(_) => None,
    }
}

/// The next column of a group: a level of 1 where there is a value, which then follows the one before it.
fn write<T: DataType, W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    cells: Vec<Option<T::T>>,
) -> Result<(), ParquetError> {
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    let mut column =
        group.next_column()?.ok_or_else(|| ParquetError::General("a column without a field".to_owned()))?;
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row};

    use super::*;
    use crate::records::run::TrialOutcome;
    use crate::results::fixtures::{configuration, diverged, finished, given_up, not_run, run, tested, with_own};
    use crate::results::rows::trials_csv;

    fn read(run: &RunRecord) -> Vec<Row> {
        let reader = SerializedFileReader::new(Bytes::from(trials_parquet(run).unwrap())).unwrap();
        reader.get_row_iter(None).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn cell(row: &Row, column: &str) -> Field {
        row.get_column_iter().find(|(name, _)| *name == column).unwrap_or_else(|| panic!("no {column}")).1.clone()
    }

    #[test]
    fn it_holds_what_the_csv_holds() {
        let reason = "no\n\"room\" \u{1f980}";
        let measured = with_own(tested(finished(0, 0.1), 0.2), "accuracy", 0.9);
        let paused = TrialRecord { outcome: TrialOutcome::Paused { epoch: 1 }, ..finished(4, 0.3) };
        let record = run(vec![measured, diverged(1, 2), given_up(2, reason), not_run(3), paused]);
        let csv = trials_csv(&record).unwrap();
        let mut csv = csv::Reader::from_reader(&csv[..]);
        let header: Vec<_> = csv.headers().unwrap().iter().map(str::to_owned).collect();
        let rows = read(&record);
        assert_eq!(rows.len(), 5);
        for (row, expected) in rows.iter().zip(csv.records()) {
            let columns: Vec<_> = row.get_column_iter().map(|(name, _)| name.clone()).collect();
            assert_eq!(columns, header);
            for ((name, field), expected) in row.get_column_iter().zip(&expected.unwrap()) {
                let shown = match field {
                    Field::Null => String::new(),
                    Field::Str(text) => text.clone(),
                    Field::Long(integer) => integer.to_string(),
                    Field::Double(real) => format!("{real:?}"),
                    other => panic!("{name} is {other}"),
                };
                assert_eq!(shown, expected, "{name}");
            }
        }
        assert_eq!(cell(&rows[2], "reason"), Field::Str(reason.to_owned()));
        assert_eq!(cell(&rows[4], "validation_error"), Field::Double(0.5), "that of the epoch after which it paused");
    }

    #[test]
    fn a_parameter_has_the_type_that_holds_all_of_its_values() {
        let values = |whole: i64, mixed: Value, flag: bool, word: Value| {
            configuration(&[
                ("flag", Value::Flag(flag)),
                ("mixed", mixed),
                ("outcome", Value::Integer(whole)),
                ("word", word),
            ])
        };
        let mut trials = vec![finished(0, 0.1), finished(1, 0.1), finished(2, 0.1)];
        trials[0].configuration = values(7, Value::Integer(2), true, Value::Choice("a".into()));
        trials[1].configuration = values(-8, Value::Real(0.1), false, Value::Integer(3));
        trials[2].configuration = configuration(&[]);
        let rows = read(&run(trials));
        let column = |name: &str| rows.iter().map(|row| cell(row, name)).collect::<Vec<_>>();
        assert_eq!(column("parameter.outcome"), [Field::Long(7), Field::Long(-8), Field::Null]);
        assert_eq!(column("mixed"), [Field::Double(2.0), Field::Double(0.1), Field::Null]);
        assert_eq!(column("flag"), [Field::Bool(true), Field::Bool(false), Field::Null]);
        assert_eq!(column("word"), [Field::Str("a".into()), Field::Str("3".into()), Field::Null]);
    }

    #[test]
    fn a_run_without_trials_is_a_table_without_rows() {
        assert_eq!(read(&run(Vec::new())).len(), 0);
    }
}
