//! `broadsweep export`: what a run found, written for other programs.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;

use super::Failure;
use super::drive::told_by_run_id;
use super::report::{is_needed, read_whole};
use super::say::{print, print_bytes, say, unless_closed};
use crate::export::Export;
use crate::results::folder::write_whole;

const AFTER_HELP: &str = "\
Examples:
  broadsweep export runs/mine-20261122T194953Z --optuna mine.log     then, for example: optuna-dashboard mine.log
  broadsweep export runs/mine-20261122T194953Z --csv mine.csv --jsonl mine.jsonl
  broadsweep export runs/mine-20261122T194953Z --csv - | head -n 3

In Python, `optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(\"mine.log\")))` opens the study, \
which is called as the run's study. A run can be exported while it goes on.

Columns and keys: trial, state, origin, origin_number, the parameters, the metrics at the epoch that counts (of a paused \
trial at its last one), counted_epoch, epochs, attempts, executors, executor, started_s, ended_s, training_s, evaluation_s, \
cpu_s, memory_peak_bytes, reason. \
JSON has the parameters and the metrics in objects of their own; the columns of the CSV are parameter.NAME and metric.NAME.

Exit codes: 0 done, 1 failed, 2 wrong use: no such run, or a file that is there already";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ExportArgs {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,

    #[command(flatten)]
    forms: FormFlags,

    /// Write over files that are there already
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct FormFlags {
    /// Write the journal of an Optuna study, as its storage in files and its dashboard open it; - is the standard output
    #[arg(long, value_name = "JOURNAL.log")]
    optuna: Option<PathBuf>,

    /// Write a table with a row a trial; - is the standard output
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Write a JSON object a trial, each in a line; - is the standard output
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
}

/// A form in which a run is exported.
#[derive(Clone, Copy)]
enum Form {
    Optuna,
    Csv,
    JsonLines,
}

pub(super) fn run(args: &ExportArgs) -> Result<ExitCode, Failure> {
    let FormFlags { optuna, csv, jsonl } = &args.forms;
    let asked = [(Form::Optuna, optuna), (Form::Csv, csv), (Form::JsonLines, jsonl)];
    let asked: Vec<_> = asked.into_iter().filter_map(|(form, path)| Some((form, path.as_deref()?))).collect();
    check(&asked, args.force)?;
    let reading = read_whole(&args.run)?;
    let told = told_by_run_id(&reading.run);
    let export = Export {
        run: &reading.record,
        space: &reading.space,
        origins: &reading.origins,
        folder: told.map_or(&reading.run, |(folder, _)| folder),
        begun: told.map(|(_, begun)| begun),
    };
    for (form, path) in asked {
        let bytes = match form {
            Form::Optuna => export.optuna(),
            Form::Csv => export.csv()?,
            Form::JsonLines => export.jsonl()?,
        };
        if is_stdout(path) { show(&bytes)? } else { write(path, &bytes)? }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Looks at all files before the first one is written.
fn check(asked: &[(Form, &Path)], force: bool) -> Result<(), Failure> {
    let mut places = Vec::new();
    for (_, path) in asked {
        let shown = path.display();
        let place = if is_stdout(path) { (*path).to_owned() } else { place(path) };
        if places.contains(&place) {
            let twice = if is_stdout(path) { "the standard output" } else { &*path.to_string_lossy() };
            return Err(Failure::wrong_use(anyhow!("{twice} is named twice, and takes one form: name another file")));
        }
        places.push(place);
        if is_stdout(path) {
            continue;
        }
        if path.is_dir() {
            return Err(Failure::wrong_use(anyhow!("cannot write {shown}: it is a folder; name a file")));
        }
        if is_needed(path) {
            return Err(Failure::wrong_use(anyhow!("{shown} is a file that a run needs; name another one")));
        }
        let is_there = fs::symlink_metadata(path).is_ok_and(|found| found.is_file() || found.is_symlink());
        if is_there && is_file(path) && !force {
            return Err(Failure::wrong_use(anyhow!(
                "{shown} is there already; name another file, or write over it with --force"
            )));
        }
    }
    Ok(())
}

/// Where a file is, however it is written.
fn place(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// Whether bytes can stand there, now or once it is made: a pipe or a terminal takes them and keeps nothing.
fn is_file(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |found| found.is_file())
}

fn show(bytes: &[u8]) -> Result<(), Failure> {
    // Programs get the bytes as they are.
    let printed = if io::stdout().is_terminal() { print(String::from_utf8_lossy(bytes)) } else { print_bytes(bytes) };
    Ok(printed?)
}

/// Whole or not at all. What is no file, as `/dev/stderr`, is written to.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let shown = path.display();
    if !is_file(path) {
        return Ok(unless_closed(fs::write(path, bytes)).with_context(|| format!("cannot write {shown}"))?);
    }
    write_whole(path, bytes).map_err(|error| match error {
        error if error.is_full() => error.into(),
        error => Failure::wrong_use(anyhow!("{error}; name another file")),
    })?;
    say(format_args!("written: {shown}"));
    Ok(())
}
