//! `broadsweep report`: what a run found, or what a comparison showed, read from its folder. A run may be over,
//! interrupted, or going on.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::Failure;
use super::series::{first_contact, members};
use crate::report::Report;
use crate::results::columns::trials_parquet;
use crate::results::comparison::Comparison;
use crate::results::folder::write_whole;
use crate::results::record::RunRecord;
use crate::run::{self, ReadError, Reading};

const EXAMPLES: &str = "\
Examples:
  broadsweep report runs/mine-20261122T194953Z                   tables for the terminal
  broadsweep report runs/mine-20261122T194953Z --format html     writes report.html into that folder again
  broadsweep report runs/mine-20261122T194953Z --format markdown --out mine.md

The page is one file, which needs no network: send it to whom you like.

Exit codes: 0 done, 1 failed, 2 wrong use";

/// The files that a page and the trials are written to, in the folder of the run, unless `--out` names another one.
const PAGE: &str = "report.html";
const TRIALS: &str = "trials.parquet";

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
            write(&out, &bytes)?;
            writeln!(io::stderr(), "written: {}", out.display())?;
        }
        None => io::stdout().write_all(&bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Over what is there. What is no file, as `/dev/stdout`, is written to.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()));
    }
    Ok(write_whole(path, bytes)?)
}

/// The run in a folder; or a comparison, and its run on the smallest cluster.
fn read(path: &Path) -> Result<(RunRecord, Option<Comparison>), Failure> {
    let Some((series, members)) = members(path).map_err(Failure::wrong_use)? else {
        return Ok((read_run(path)?, None));
    };
    let missing = series.missing(&members);
    if !missing.is_empty() {
        let missing = missing.join(", ");
        writeln!(io::stderr(), "warning: not over, or not to be read back, and left out: {missing}")?;
    }
    let smallest = members.iter().min_by_key(|member| member.size).map(|member| member.record.clone());
    let record = smallest.context("a comparison has a run")?;
    let comparison = Comparison::of(&record.study, series.cold, first_contact(path), members);
    Ok((record, Some(comparison)))
}

/// The run in a folder. What its record lacks is said.
pub(super) fn read_run(path: &Path) -> Result<RunRecord, Failure> {
    let Reading { record, torn } = run::read(path).map_err(of_read)?;
    if let Some(torn) = torn {
        writeln!(io::stderr(), "{}", torn.left_out())?;
    }
    Ok(record)
}

/// A folder that is no run's is wrong use; one that cannot be read, or is damaged, is a failure.
fn of_read(error: ReadError) -> Failure {
    match error {
        ReadError::NoRun { .. } | ReadError::NotBegun(_) | ReadError::JustBegun(_) => Failure::wrong_use(error),
        ReadError::NoText { .. } | ReadError::Study(_) | ReadError::Chronicle(_) | ReadError::Storage(_) => {
            error.into()
        }
    }
}
