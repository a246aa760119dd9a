//! `broadsweep tune`: a whole run, from study file to results.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use broadsweep_common::blob::Blob;
use broadsweep_common::codec;
use broadsweep_executor::nn;
use bytes::Bytes;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::executors::{Choice, ExecutorFlags, Executors};
use super::load::{Job, load};
use super::{FAILED, Failure, GIVEN_UP, INTERRUPTED};
use crate::cluster::{Cluster, Payload};
use crate::results::folder::RunFolder;
use crate::results::progress::Progress;
use crate::results::summary::summary_json;
use crate::results::table::table;
use crate::run::{Run, RunError, RunOutcome, RunSettings};
use crate::scheduler::{RetryConfig, RetryPolicy};
use crate::study::Study;

/// Where runs are kept, unless `--out` names a folder.
const RUNS: &str = "runs";

const EXAMPLES: &str = "\
Examples:
  broadsweep tune study.toml                        this machine, a slot for each core
  broadsweep tune study.toml --local 13x1           this machine, thirteen executors of one slot
  broadsweep tune study.toml --nodes a:7717,b:7717  executors that run on the machines a and b
  broadsweep tune study.toml --nodes nodes.txt      the same from a file: a line a node, # comments

The results are the same to the last bit, however many executors there are. Tables go to \
standard output, progress and errors to standard error.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 done with trials given up, 130 interrupted";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TuneArgs {
    /// The study file
    #[arg(value_name = "STUDY.toml")]
    study: PathBuf,

    #[command(flatten)]
    executors: ExecutorFlags,

    /// Folder of this run, missing or empty [default: runs/<study>-<time>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print the summary as JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TuneArgs, verbose: bool) -> Result<ExitCode, Failure> {
    // What can be wrong with flags, study and data is said before anything of the run is made.
    let choice = Choice::of(&args.executors).map_err(Failure::wrong_use)?;
    let job = load(&args.study)?;
    let policy = policy(&job.study).map_err(Failure::wrong_use)?;
    let folder = RunFolder::create(args.out.as_deref(), Path::new(RUNS), &job.study.name, SystemTime::now())?;
    choice.prepare()?;
    folder.write_study(job.study.text())?;

    let runtime = tokio::runtime::Runtime::new().context("cannot start the network's threads")?;
    let study = job.study.clone();
    let (outcome, error) = runtime.block_on(async {
        let mut interrupted = interruptions()?;
        let executors = choice.start(folder.path())?;
        drive(args, job, policy, &folder, executors, verbose, &mut interrupted).await
    })?;
    drop(runtime);
    conclude(args, &study, &folder, &outcome, error)
}

/// Says when Ctrl-C or SIGTERM comes. The second one ends the process at once.
fn interruptions() -> anyhow::Result<mpsc::Receiver<()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (told, heard) = mpsc::channel(1);
    tokio::spawn(async move {
        for press in 1.. {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if press > 1 {
                std::process::exit(i32::from(INTERRUPTED));
            }
            let _ = told.send(()).await; // the run may just have ended
        }
    });
    Ok(heard)
}

fn policy(study: &Study) -> anyhow::Result<RetryPolicy> {
    let scheduling = study.scheduling;
    let config = RetryConfig {
        failures_max: scheduling.failures_max,
        losses_max: scheduling.losses_max,
        backoff_ms: scheduling.backoff_ms,
    };
    Ok(config.validate()?)
}

async fn drive(
    args: &TuneArgs,
    job: Job,
    policy: RetryPolicy,
    folder: &RunFolder,
    executors: Executors,
    verbose: bool,
    interrupted: &mut mpsc::Receiver<()>,
) -> anyhow::Result<(RunOutcome, Option<RunError>)> {
    let Job { study, plan, data, .. } = job;
    let payload = Arc::new(Payload {
        run: run_id(folder),
        take_over: args.executors.take_over,
        data: Blob::new(Bytes::from_owner(data))?,
        study: Blob::new(Bytes::from(codec::encode(&study.description())?))?,
        kernel: nn::KERNEL.to_owned(),
        sent_bytes: Arc::new(AtomicU64::new(0)),
    });
    let cluster = Cluster::dial(&executors.members, &payload);
    let settings = RunSettings {
        nodes_min: args.executors.nodes_min,
        connect_timeout: Duration::from_secs(args.executors.connect_timeout),
    };
    let (trials, loss) = (plan.trials.len() as u32, study.model.loss);
    let progress = if verbose {
        Progress::in_lines(trials, loss, Box::new(io::stderr())) // log lines would tear a bar apart
    } else {
        Progress::on_stderr(trials, loss)
    };
    let ended = Run::new(&study, plan, policy, settings, payload, cluster, progress).drive(interrupted).await;
    drop(executors);
    Ok(ended)
}

/// Names this run among all that could ask for the same executor: its folder, and when and by which process.
fn run_id(folder: &RunFolder) -> String {
    let name = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{name}-{}-{}", std::process::id(), since_1970.as_millis())
}

/// Writes the results, prints them, and says how it went.
fn conclude(
    args: &TuneArgs,
    study: &Study,
    folder: &RunFolder,
    outcome: &RunOutcome,
    error: Option<RunError>,
) -> Result<ExitCode, Failure> {
    let record = &outcome.record;
    if let Some(error @ RunError::TooFewNodes { .. }) = error {
        // Nothing began. The folder is free for the next try; logs of local executors say what was wrong with them.
        folder.withdraw_study()?;
        return Err(error.into());
    }
    if let Some((trial, weights)) = &outcome.best {
        folder.write_best(&record.trials[trial.0 as usize].configuration, weights)?;
    }
    folder.write_results(record)?;
    let counts = record.counts();
    let path = folder.path().display();
    let mut stderr = io::stderr();
    if let Some(error) = error {
        let ended = counts.planned - counts.not_run;
        writeln!(stderr, "{ended} of {} trials ended before; what they gave is in {path}", counts.planned)?;
        return Err(Failure { code: FAILED, error: error.into() });
    }
    if args.json {
        writeln!(io::stdout(), "{}", summary_json(record))?;
    } else {
        writeln!(io::stdout(), "{}\nresults in {path}", table(record, false).trim_end())?;
    }
    if record.interrupted {
        let ended = counts.planned - counts.not_run;
        writeln!(stderr, "interrupted: {ended} of {} trials of {} had ended", counts.planned, study.name)?;
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(if counts.failed > 0 || outcome.unmeasured > 0 { ExitCode::from(GIVEN_UP) } else { ExitCode::SUCCESS })
}
