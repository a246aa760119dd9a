//! `broadsweep predict`: what a model says of raw rows.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::metrics::MetricName;
use broadsweep_common::schema::{Outputs, Schema};
use broadsweep_nn::{Kernel, Prediction, Score, predict};
use clap::Args;

use super::Failure;
use super::report::is_needed;
use super::say::{print, say, unless_closed};
use crate::data::DataError;
use crate::data::input::{InputRows, read_row, read_rows};
use crate::model::error::ModelError;
use crate::model::folder::{self, Opened};
use crate::results::folder::write_whole_by;
use crate::results::measured::title;
use crate::results::show::{counted, error_text};

const AFTER_HELP: &str = "\
Examples:
  broadsweep predict runs/mine-20261122T194953Z --input new.csv --output predicted.csv
  broadsweep predict best --row age=31,color=red

It prints CSV: the row's number, counted from 0, the predicted class and the probability of each class, or the predicted \
values in the units of the files. If the input has the column that is predicted, the error is printed as well.

Exit codes: 0 done, 1 failed, 2 wrong use";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct PredictArgs {
    /// The model: the folder of a run, its `best/`, or a model.toml
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    #[command(flatten)]
    rows: RowFlags,

    /// Write to this file, and over what is there [default: the standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct RowFlags {
    /// Predict the rows of this file, as the study's data files are: a table with the same columns, or an array
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Predict one row: age=31,color=red; of a model whose columns have no names, its numbers in order
    #[arg(long, value_name = "ROW")]
    row: Option<String>,
}

pub(super) fn run(args: &PredictArgs) -> Result<ExitCode, Failure> {
    let opened = folder::open(&args.model).map_err(of_model)?;
    let schema = &opened.model.schema;
    let InputRows { data, has_targets, remarks } = match (&args.rows.input, &args.rows.row) {
        (Some(input), _) => read_rows(schema, input).map_err(of_input)?,
        (None, row) => {
            let row = row.as_deref().unwrap_or_default();
            read_row(schema, row).map_err(|what| Failure::wrong_use(anyhow!("--row: {what}")))?
        }
    };
    remarks.into_iter().for_each(say);
    let of_run = &opened.model.about.kernel;
    let kernel = kernel_for(of_run);
    if kernel.name() != of_run {
        say(format_args!("this machine lacks the run's kernel, {of_run}; with {kernel} the last digits may differ"));
    }
    let score = match &args.output {
        Some(output) => into_file(output, &opened, &data, kernel)?,
        None => onto_stdout(&opened, &data, kernel)?,
    };
    if has_targets {
        let (rows, loss) = (counted(data.rows(Part::Test) as u64, "row"), opened.model.layers.loss);
        let called = title(loss, &MetricName::TEST_ERROR);
        let called = called.trim_start_matches("test ");
        say(format_args!("{called} {} on {rows}", error_text(loss, score.error)));
    }
    Ok(ExitCode::SUCCESS)
}

/// The words of studies' files, but for where relative paths start.
fn of_input(error: DataError) -> Failure {
    match error {
        DataError::NoSuchFile { file } => Failure::wrong_use(anyhow!("{file}: no such file")),
        error => Failure::wrong_use(error),
    }
}

/// A place without a model, or of a newer version, is wrong use; damaged files are a failure.
fn of_model(error: ModelError) -> Failure {
    match error {
        ModelError::NoSuchPlace(_)
        | ModelError::NoModel(_)
        | ModelError::Newer { .. }
        | ModelError::Foreign { .. }
        | ModelError::Wrong { .. }
        | ModelError::Layers(_) => Failure::wrong_use(error),
        ModelError::Read { .. }
        | ModelError::Setting(_)
        | ModelError::Shape(_)
        | ModelError::Weights(_)
        | ModelError::Changed { .. } => error.into(),
    }
}

/// The run's own kernel, so that the bits are the run's; the fastest where this machine does not have it.
fn kernel_for(of_run: &str) -> Kernel {
    let known = Kernel::detect();
    let own = known.iter().find(|kernel| kernel.name() == of_run);
    own.or(known.first()).copied().unwrap_or(Kernel::PORTABLE)
}

/// Over what is there, whole or not at all. What is no file, as `/dev/stdout`, is written to.
fn into_file(output: &Path, opened: &Opened, data: &Dataset, kernel: Kernel) -> Result<Score, Failure> {
    let shown = output.display();
    if output.is_dir() {
        return Err(Failure::wrong_use(anyhow!("cannot write {shown}: it is a folder; name a file with --output")));
    }
    if is_needed(output) {
        return Err(Failure::wrong_use(anyhow!(
            "{shown} is a file that a run needs; name another one with --output"
        )));
    }
    if fs::metadata(output).is_ok_and(|found| !found.is_file()) {
        let device = File::options().write(true).open(output).with_context(|| format!("cannot write {shown}"))?;
        return Ok(
            write_table(Unheard(device), opened, data, kernel).with_context(|| format!("cannot write {shown}"))?
        );
    }
    let mut score = None;
    let written = write_whole_by(output, |file| {
        score = Some(write_table(file, opened, data, kernel)?);
        Ok(())
    });
    written.map_err(|error| match error {
        error if error.is_full() => error.into(),
        error => Failure::wrong_use(anyhow!("{error}; --output can name another file")),
    })?;
    say(format_args!("written: {shown}"));
    Ok(score.context("nothing was predicted")?)
}

fn onto_stdout(opened: &Opened, data: &Dataset, kernel: Kernel) -> Result<Score, Failure> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        // Names of classes could move a cursor.
        let mut table = Vec::new();
        let score = write_table(&mut table, opened, data, kernel)?;
        print(String::from_utf8_lossy(&table))?;
        return Ok(score);
    }
    let mut buffered = BufWriter::new(Unheard(stdout.lock()));
    let score = write_table(&mut buffered, opened, data, kernel)?;
    buffered.flush().context("cannot write to the standard output")?;
    Ok(score)
}

/// Writes what somebody reads; where nobody reads further, as behind `head`, the rest goes nowhere.
struct Unheard<W>(W);

impl<W: Write> Write for Unheard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_closed(self.0.write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_closed(self.0.flush())
    }
}

/// Writes a header line and a line a row, while they are predicted.
fn write_table(to: impl Write, opened: &Opened, data: &Dataset, kernel: Kernel) -> io::Result<Score> {
    let Opened { model, weights } = opened;
    let mut writer = csv::Writer::from_writer(to);
    writer.write_record(header(&model.schema))?;
    let (mut row, mut failed) = (0_u64, None);
    let of_rows = (data, Part::Test);
    let score = predict((&model.layers, weights), of_rows, &model.schema.outputs, kernel, |prediction| {
        if failed.is_none() {
            failed = write_row(&mut writer, row, &model.schema, prediction).err();
        }
        row += 1;
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    writer.flush()?;
    score.map_err(io::Error::other)
}

/// What stands in each column.
fn header(schema: &Schema) -> Vec<String> {
    let mut header = vec!["row".to_owned()];
    match &schema.outputs {
        Outputs::Classes { names, .. } => {
            header.push("predicted".to_owned());
            header.extend(names.iter().map(|name| format!("probability.{name}")));
        }
        Outputs::Values { names, .. } => header.extend(names.iter().map(|name| format!("predicted.{name}"))),
    }
    header
}

/// Numbers as they parse back to the same bits.
fn write_row(
    writer: &mut csv::Writer<impl Write>,
    row: u64,
    schema: &Schema,
    prediction: Prediction<'_>,
) -> csv::Result<()> {
    writer.write_field(row.to_string())?;
    let numbers = match prediction {
        Prediction::Class { class, probabilities } => {
            writer.write_field(schema.output_name(class).unwrap_or_default())?;
            probabilities
        }
        Prediction::Values(values) => values,
    };
    numbers.iter().try_for_each(|number| writer.write_field(format!("{number:?}")))?;
    writer.write_record(None::<&[u8]>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_own_kernel_predicts_where_there_is_one() {
        assert_eq!(kernel_for("portable"), Kernel::PORTABLE);
        assert_eq!(kernel_for("a kernel of tomorrow"), Kernel::detect()[0]);
    }
}
