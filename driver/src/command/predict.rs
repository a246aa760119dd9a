//! `broadsweep predict`: what a model says of raw rows.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use broadsweep_common::metrics::MetricName;
use broadsweep_common::schema::Schema;
use broadsweep_nn::{Kernel, Predictor};
use clap::Args;

use super::Failure;
use super::predictions::{Audience, Stopped, write_table};
use super::report::is_needed;
use super::say::say;
use crate::model::error::ModelError;
use crate::model::folder::{self, Opened};
use crate::results::folder::write_whole_by;
use crate::results::measured::title;
use crate::results::show::{counted, error_text};
use broadsweep_data::input::InputRows;

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
    if let (Some(input), Some(output)) = (&args.rows.input, &args.output)
        && is_same_file(input, output)
    {
        let output = output.display();
        return Err(Failure::wrong_use(anyhow!("{output} is the input, and would be lost; name another --output")));
    }
    let mut rows = match (&args.rows.input, &args.rows.row) {
        (Some(input), _) => InputRows::open(schema, input).map_err(Failure::wrong_use)?,
        (None, row) => {
            let row = row.as_deref().unwrap_or_default();
            InputRows::of_row(schema, row).map_err(|what| Failure::wrong_use(anyhow!("--row: {what}")))?
        }
    };
    rows.remarks().iter().for_each(|remark| say(format_args!("note: {remark}")));
    let of_run = &opened.model.about.kernel;
    let kernel = kernel_for(of_run);
    if kernel.name() != of_run {
        say(format_args!("this machine lacks the run's kernel, {of_run}; with {kernel} the last digits may differ"));
    }
    let Opened { model, weights, .. } = &opened;
    let predictor = Predictor::new((&model.layers, weights), rows.header(), &schema.outputs, kernel);
    let mut predictor = predictor.map_err(anyhow::Error::from)?;
    let predicted = match &args.output {
        Some(output) if output != Path::new("/dev/stdout") => into_file(output, &mut rows, &mut predictor, schema)?,
        _ => onto_stdout(&mut rows, &mut predictor, schema)?,
    };
    // Whoever stopped reading wants no more of it.
    let Some(predicted) = predicted else { return Ok(ExitCode::SUCCESS) };
    if let Some(score) = predictor.score().filter(|_| rows.has_targets()) {
        let (rows, loss) = (counted(predicted, "row"), model.layers.loss);
        let called = title(loss, &MetricName::TEST_ERROR);
        let called = called.trim_start_matches("test ");
        say(format_args!("{called} {} on {rows}", error_text(loss, score.error)));
    }
    if rows.lacks_some_targets() {
        say("note: some rows have nothing in the column that is predicted, so that there is no error to be told");
    }
    Ok(ExitCode::SUCCESS)
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// A place without a model, or of a newer version, is wrong use; damaged files are a failure.
pub(super) fn of_model(error: ModelError) -> Failure {
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
pub(super) fn kernel_for(of_run: &str) -> Kernel {
    let known = Kernel::detect();
    let own = known.iter().find(|kernel| kernel.name() == of_run);
    own.or(known.first()).copied().unwrap_or(Kernel::PORTABLE)
}

/// Over what is there, whole or not at all. What is no file, as a terminal, is written to. Tells how many rows there were;
/// `None` where somebody stopped reading them.
fn into_file(
    output: &Path,
    rows: &mut InputRows<'_>,
    predictor: &mut Predictor<'_>,
    schema: &Schema,
) -> Result<Option<u64>, Failure> {
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
        let is_terminal = device.is_terminal();
        let written = write_table(Audience::new(device, is_terminal), is_terminal, rows, predictor, schema);
        return heard(written, &shown.to_string());
    }
    // What stops it otherwise than by the file has its own words.
    let (mut predicted, mut not_of_file) = (0, None);
    let written = write_whole_by(output, |file| {
        match write_table(file, false, rows, predictor, schema) {
            Ok(rows) => predicted = rows,
            Err(Stopped::Output(error)) => return Err(error),
            Err(stopped) => {
                not_of_file = Some(stopped);
                return Err(io::Error::other("the rows or the model"));
            }
        }
        Ok(())
    });
    if let Some(stopped) = not_of_file {
        return Err(of_stopped(stopped, &shown.to_string()));
    }
    written.map_err(|error| match error {
        error if error.is_full() => error.into(),
        error => Failure::wrong_use(anyhow!("{error}; --output can name another file")),
    })?;
    say(format_args!("written: {shown}"));
    Ok(Some(predicted))
}

fn onto_stdout(
    rows: &mut InputRows<'_>,
    predictor: &mut Predictor<'_>,
    schema: &Schema,
) -> Result<Option<u64>, Failure> {
    let stdout = io::stdout();
    let is_terminal = stdout.is_terminal();
    let written = write_table(Audience::new(stdout.lock(), is_terminal), is_terminal, rows, predictor, schema);
    heard(written, "to the standard output")
}

/// How many rows somebody got to read; `None` where nobody reads further, as behind `head`.
fn heard(written: Result<u64, Stopped>, output: &str) -> Result<Option<u64>, Failure> {
    match written {
        Ok(rows) => Ok(Some(rows)),
        Err(Stopped::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        Err(stopped) => Err(of_stopped(stopped, output)),
    }
}

/// What ended the writing of a table to `output` early.
fn of_stopped(stopped: Stopped, output: &str) -> Failure {
    match stopped {
        Stopped::Input(error) => Failure::wrong_use(error),
        Stopped::Output(error) => anyhow::Error::from(error).context(format!("cannot write {output}")).into(),
    }
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
