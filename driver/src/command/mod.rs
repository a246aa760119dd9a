//! The command line.
//!
//! | module | holds |
//! |---|---|
//! | `tune` | `broadsweep tune`: a whole run |
//! | `resume` | `broadsweep resume`: the rest of a run |
//! | `drive` | what these two have in common |
//! | `stop` | `broadsweep stop`: ends a run early |
//! | `extend` | `broadsweep extend`: more trials for a run |
//! | `interrupts` | Ctrl-C, once and twice |
//! | `scale` | `broadsweep scale`: one study on clusters of several sizes |
//! | `series` | the folder of such a comparison, and what is asked for |
//! | `forecast` | `broadsweep forecast`: what a run would take elsewhere |
//! | `sizes` | sizes of clusters |
//! | `report` | `broadsweep report`: tables, or a page, of a run that was begun |
//! | `export` | `broadsweep export`: what a run found, for other programs |
//! | `status` | `broadsweep status`: how far a run is |
//! | `predict` | `broadsweep predict`: what a model says of raw rows |
//! | `predictions` | the table that it prints |
//! | `logs` | `broadsweep logs`: what programs printed |
//! | `check` | `broadsweep check`: what a study would take |
//! | `cache` | `broadsweep cache`: what executors keep on this machine |
//! | `cluster` | `broadsweep cluster`: the identities of a driver and its nodes |
//! | `executors` | the executors of a run: nodes, or local ones |
//! | `node_file` | a node file that people edit while the run goes on |
//! | `load` | a study file and its data, read and checked |
//! | `say` | what commands say, and to whom |
//! | `hint` | the commands that they tell people to type |
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use, 3 done with trials given up or results in doubt, 130 interrupted.

mod application;
mod applied;
mod apply;
mod cache;
mod check;
mod cluster;
mod drive;
mod estimate;
mod executors;
mod export;
mod extend;
mod forecast;
mod hint;
mod import;
mod interrupts;
mod load;
mod logs;
mod mapped;
mod node_file;
mod predict;
mod predictions;
mod program;
mod report;
mod resume;
mod say;
mod scale;
pub mod series;
mod sizes;
mod status;
mod stop;
mod tune;

use std::io::{self, IsTerminal};
use std::path::Path;
#[cfg(feature = "onnx")]
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use broadsweep_common::heap;
use broadsweep_executor::command::{self as executor, ExecutorArgs, supervise_if_asked};
use broadsweep_executor::signals::survive_large_files;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tracing_subscriber::EnvFilter;

use crate::apply::OutputError;
#[cfg(feature = "onnx")]
use crate::model::foreign::reading as foreign;
use crate::results::folder::FolderError;

/// Failed: something outside the study.
const FAILED: u8 = 1;
/// The study, its data or the flags are wrong.
const WRONG_USE: u8 = 2;
/// Done, but trials were given up, or none has a usable result.
const GIVEN_UP: u8 = 3;
/// Interrupted by the user.
const INTERRUPTED: u8 = 130;

/// Tunes the hyperparameters of models on a cluster: broadcast once, sweep everywhere
///
/// A study file describes data, model, training and search. `broadsweep tune` broadcasts the data once to its
/// executors, trains one network per configuration on them, retries what fails, and writes down which configuration
/// is best.
#[derive(Parser)]
#[command(
    version,
    name = "broadsweep",
    after_help = "Start with:\n  broadsweep check examples/mnist/quick.toml\n  broadsweep tune examples/mnist/quick.toml\n\n\
                  Executors listen on port 7717 unless `broadsweep executor --listen` names another. RUST_LOG sets what is logged, in \
                  place of -v, as in RUST_LOG=broadsweep_driver=debug.\n\n\
                  Exit codes: 0 done, 1 failed, 2 wrong use, 3 done with trials given up or results in doubt, 130 interrupted"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Say more: -v for every attempt and epoch, -vv for everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// Train every configuration of a study and say which is best
    Tune(tune::TuneArgs),
    /// Go on with a run that was interrupted or whose driver was killed
    #[command(after_help = resume::AFTER_HELP)]
    Resume(resume::ResumeArgs),
    /// End a run early: what is under way is trained to its end, and nothing more is begun
    Stop(stop::StopArgs),
    /// Add trials to a run, whether it is over, was interrupted or goes on
    #[command(after_help = extend::AFTER_HELP)]
    Extend(extend::ExtendArgs),
    /// Run a study on clusters of several sizes, and say what the nodes bought and where the rest went
    Scale(scale::ScaleArgs),
    /// Say what a finished run would take on clusters of other sizes
    Forecast(forecast::ForecastArgs),
    /// Show what a run found: tables, Markdown, JSON, or a page with pictures
    Report(report::ReportArgs),
    /// Write what a run found for other programs: a study for Optuna, CSV, or JSON lines
    Export(export::ExportArgs),
    /// Say how far a run is: going on, interrupted or over, and what is best so far
    Status(status::StatusArgs),
    /// Predict with the best model of a run: classes and their probabilities, or values
    Predict(predict::PredictArgs),
    /// Apply the best model of a run to as many rows as there are, on executors: each row once
    Apply(Box<apply::ApplyArgs>),
    /// Show what the programs of a run printed, attempt by attempt
    Logs(logs::LogsArgs),
    /// Check a study and its data, and say what it will take
    Check(check::CheckArgs),
    /// Turn a sweep file of W&B's into a study, and say what is left out
    Import(import::ImportArgs),
    /// Lend this machine to drivers: train what they send
    Executor(ExecutorArgs),
    /// Show or clear the data sets that executors keep on this machine
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Close a cluster: make and end the identities of its driver and its nodes
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Read an ONNX file for another process of this program
    #[cfg(feature = "onnx")]
    #[command(hide = true, name = foreign::COMMAND)]
    ReadOnnx {
        /// The file
        path: PathBuf,
    },
    /// Print completions for a shell
    #[command(
        after_help = "For bash:\n  broadsweep completions bash > ~/.local/share/bash-completion/completions/broadsweep"
    )]
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// Why a command ends early, and with which code.
struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// The study, its data or the flags are wrong.
    fn wrong_use(error: impl Into<anyhow::Error>) -> Self {
        Self { code: WRONG_USE, error: error.into() }
    }

    /// A folder that an argument names, and that has to be this one.
    fn of_folder(error: FolderError) -> Self {
        if error.is_full() { error.into() } else { Self::wrong_use(error) }
    }

    /// The output of an application: a full disk is nobody's mistake.
    fn of_output(error: OutputError) -> Self {
        if error.is_passing() { error.into() } else { Self::wrong_use(error) }
    }

    /// A folder, or a file, that `--out` names; without it, one in the usual place.
    fn of_out(error: &FolderError, out: Option<&Path>) -> Self {
        let code = if out.is_none() || error.is_full() { FAILED } else { WRONG_USE };
        Self { code, error: anyhow!("{error}; --out can name another place") }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { code: FAILED, error: error.into() }
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    supervise_if_asked();
    let cli = Cli::parse();
    start_log(&cli);
    survive_large_files();
    heap::keep_what_is_freed();
    let ended = match &cli.command {
        Command::Tune(args) => tune::run(args, cli.verbose > 0),
        Command::Resume(args) => resume::run(args, cli.verbose > 0),
        Command::Stop(args) => stop::run(args),
        Command::Extend(args) => extend::run(args, cli.verbose > 0),
        Command::Scale(args) => scale::run(args, cli.verbose > 0),
        Command::Forecast(args) => forecast::run(args),
        Command::Report(args) => report::run(args),
        Command::Export(args) => export::run(args),
        Command::Status(args) => status::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Apply(args) => apply::run(args, cli.verbose > 0),
        Command::Logs(args) => logs::run(args),
        Command::Check(args) => check::run(args),
        Command::Import(args) => import::run(args),
        Command::Executor(args) => execute(args),
        Command::Cache(command) => cache::run(command),
        Command::Cluster(command) => cluster::run(command),
        #[cfg(feature = "onnx")]
        Command::ReadOnnx { path } => foreign::answer(path).map(|()| ExitCode::SUCCESS).map_err(Failure::from),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "broadsweep", &mut script);
            say::print_bytes(&script).map(|()| ExitCode::SUCCESS).map_err(Failure::from)
        }
    };
    ended.unwrap_or_else(|failure| {
        say::say(format_args!("error: {}", in_words(&failure.error)));
        ExitCode::from(failure.code)
    })
}

/// An error with its causes; one that the words before it tell already is left out.
fn in_words(error: &anyhow::Error) -> String {
    let mut words = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

fn execute(args: &ExecutorArgs) -> Result<ExitCode, Failure> {
    args.check().map_err(Failure::wrong_use)?;
    executor::run(args)?;
    Ok(ExitCode::SUCCESS)
}

/// Logs go to stderr: an executor's life by default, of the other commands only what goes wrong.
fn start_log(cli: &Cli) {
    let level = match (&cli.command, cli.verbose) {
        (Command::Executor(_), 0) => "info",
        (Command::Executor(_), _) => "debug",
        (_, 0) => "error",
        (_, 1) => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // Without colours in a file: local executors log to one.
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).init();
}

#[cfg(test)]
#[path = "flags_tests.rs"]
mod flags_tests;
