//! `broadsweep report`: what a run found, or what a comparison showed, read from its folder. A run may be over,
//! interrupted, or going on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};

use super::Failure;
use super::say::{print, print_bytes, print_json, say, unless_closed};
use super::series::{SERIES, Series, first_contact, members};
use crate::cluster::roster::ROSTER;
use crate::records::run::RunRecord;
use crate::report::Report;
use crate::results::columns::trials_parquet;
use crate::results::comparison::Comparison;
use crate::results::folder::write_whole;
use crate::run::{self, ReadError, Reading};

const EXAMPLES: &str = "\
Examples:
  broadsweep report runs/mine-20261122T194953Z                   tables for the terminal
  broadsweep report runs/mine-20261122T194953Z --format html     writes report.html into that folder again
  broadsweep report runs/mine-20261122T194953Z --format markdown --out mine.md

A run can be looked at while it goes on: what is not there yet is left out. `broadsweep status RUN` says in a few lines \
how far it is.

The page is one file, which needs no network: send it to whom you like.

Exit codes: 0 done, 1 failed, 2 wrong use";

/// The files that a page and the trials are written to, in the folder of the run, unless `--out` names another one.
const PAGE: &str = "report.html";
const TRIALS: &str = "trials.parquet";

/// What a run's folder has from its beginning to its end.
const JOURNAL: &str = "journal";
/// What a run, or a comparison, needs of its folder: to be read, to go on, to count as over.
const NEEDED: [&str; 6] = [JOURNAL, SERIES, ROSTER, "study.toml", "summary.json", "lock"];
/// Folders in it of which it needs every file.
const NEEDED_FOLDERS: [&str; 4] = ["weights", "checkpoints", "outputs", "best"];

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReportArgs {
    /// The folder of the run, or that of a comparison
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// How it is told
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Write to this file, and over what is there; - is the standard output
    /// [default: the standard output; of a page and of parquet, report.html and trials.parquet in the folder of the run]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for the terminal
    Table,
    /// The same as Markdown
    Markdown,
    /// Every trial, epoch and attempt, for programs
    Json,
    /// A page with pictures
    Html,
    /// The table of the trials, for programs that read tables by columns
    Parquet,
}

pub(super) fn run(args: &ReportArgs) -> Result<ExitCode, Failure> {
    let (record, comparison) = read(&args.run)?;
    let report = Report { run: &record, comparison: comparison.as_ref() };
    let bytes = match args.format {
        Format::Table => report.plain().into_bytes(),
        Format::Markdown => report.markdown().into_bytes(),
        Format::Json => (report.json() + "\n").into_bytes(),
        Format::Html => report.html().into_bytes(),
        Format::Parquet => trials_parquet(&record)?,
    };
    let usual = || match args.format {
        Format::Table | Format::Markdown | Format::Json => None,
        Format::Html => Some(args.run.join(PAGE)),
        Format::Parquet => Some(args.run.join(TRIALS)),
    };
    match args.out.clone().or_else(usual).filter(|out| out.as_os_str() != "-") {
        Some(out) => {
            write(&out, args.out.as_deref(), &bytes)?;
            say(format_args!("written: {}", out.display()));
        }
        None => match args.format {
            Format::Table | Format::Markdown => print(String::from_utf8_lossy(&bytes))?,
            Format::Json => print_json(String::from_utf8_lossy(&bytes))?,
            Format::Html | Format::Parquet => print_bytes(&bytes)?,
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Over what is there. What is no file, as `/dev/stdout`, is written to.
fn write(path: &Path, out: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    let shown = path.display();
    if path.is_dir() {
        let error = anyhow!("cannot write {shown}: it is a folder; name a file with --out");
        return Err(if out.is_some() { Failure::wrong_use(error) } else { error.into() });
    }
    if out.is_some() && is_needed(path) {
        return Err(Failure::wrong_use(anyhow!("{shown} is a file that a run needs; name another one with --out")));
    }
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Ok(unless_closed(fs::write(path, bytes)).with_context(|| format!("cannot write {shown}"))?);
    }
    write_whole(path, bytes).map_err(|error| Failure::of_out(&error, out))
}

/// Whether a run, or a comparison, cannot be read back or gone on with when other bytes stand in this file.
pub(super) fn is_needed(path: &Path) -> bool {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(folder), Some(name)) = (fs::canonicalize(parent), path.file_name()) else { return false };
    let begun = |folder: &Path| [JOURNAL, SERIES].iter().any(|file| folder.join(file).is_file());
    let inner = |folder: &Path| folder.file_name().is_some_and(|name| NEEDED_FOLDERS.iter().any(|one| name == *one));
    let is_of_a_run = begun(&folder) && NEEDED.iter().any(|needed| name == *needed);
    is_of_a_run || (inner(&folder) && folder.parent().is_some_and(begun))
}

/// The run in a folder; or a comparison, and its run on the smallest cluster.
fn read(path: &Path) -> Result<(RunRecord, Option<Comparison>), Failure> {
    let Some((series, members)) = members(path).map_err(Failure::wrong_use)? else {
        return Ok((read_run(path)?, None));
    };
    let missing = series.missing(&members);
    if !missing.is_empty() {
        let missing = missing.join(", ");
        say(format_args!("warning: not over, or not to be read back, and left out: {missing}"));
    }
    let smallest = members.iter().min_by_key(|member| member.size).map(|member| member.record.clone());
    let record = smallest.context("a comparison has a run")?;
    let sameness = Series::sameness(path).map_err(Failure::wrong_use)?;
    let comparison = Comparison::of(&record.study, sameness, series.cold, first_contact(path), members);
    Ok((record, Some(comparison)))
}

/// The run in a folder. What its record lacks is said.
pub(super) fn read_run(path: &Path) -> Result<RunRecord, Failure> {
    read_whole(path).map(|reading| reading.record)
}

/// The same, with all that its folder tells.
pub(super) fn read_whole(path: &Path) -> Result<Reading, Failure> {
    let mut reading = run::read(path).map_err(of_read)?;
    reading.record.class_names = class_names(path);
    if let Some(torn) = &reading.torn {
        say(torn.left_out());
    }
    Ok(reading)
}

/// What the data of a run calls its classes, as its best model has them: a run without one has looked at none closely.
fn class_names(path: &Path) -> Vec<String> {
    crate::model::folder::describe(&path.join("best"))
        .map_or_else(|_| Vec::new(), |model| model.schema.class_names().to_vec())
}

/// A folder that is no run's is wrong use; one that cannot be read, or is damaged, is a failure.
fn of_read(error: ReadError) -> Failure {
    match error {
        ReadError::NoRun { .. } | ReadError::AFile(_) | ReadError::NotBegun(_) | ReadError::JustBegun(_) => {
            Failure::wrong_use(error)
        }
        ReadError::NoText { .. } | ReadError::Study(_) | ReadError::Chronicle(_) | ReadError::Storage(_) => {
            error.into()
        }
    }
}
