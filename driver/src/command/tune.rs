//! `broadsweep tune`: a whole run, from study file to results.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use broadsweep_nn as nn;
use clap::Args;

use super::Failure;
use super::drive::{Drive, DriveFlags, ShownProgress, drive};
use super::executors::{Choice, ExecutorFlags};
use super::load::{StudyFlags, load};
use super::say::say;
use crate::cluster::roster::Roster;
use crate::results::folder::RunFolder;
use crate::time_span::TimeSpan;

/// Where runs are kept, unless `--out` names a folder.
pub(super) const RUNS: &str = "runs";

const EXAMPLES: &str = "\
Examples:
  broadsweep tune study.toml                        this machine, a slot for each core
  broadsweep tune study.toml --local 13x1           this machine, thirteen executors of one slot
  broadsweep tune study.toml --nodes a:7717,b:7717  executors that run on the machines a and b
  broadsweep tune study.toml --nodes 'n[01-13]'     those on thirteen machines, as Slurm names them
  broadsweep tune study.toml --nodes nodes.txt      the same from a file: a line a node, # comments
  broadsweep tune study.toml --trials 5 --set training.epochs=1 --max-time 10min

The run's folder keeps the study as it was run, with what --trials, --seed and --set changed of it.

The results are the same to the last bit, however many executors there are. Tables go to \
standard output, progress and errors to standard error.

Ctrl-C stops the run after the epochs under way, a second one at once; `broadsweep resume` goes on, as it does after \
a crash. `broadsweep status RUN` and `broadsweep report RUN` look at a run while it goes on.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 done with trials given up, 130 interrupted";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TuneArgs {
    /// The study file
    #[arg(value_name = "STUDY.toml")]
    study: PathBuf,

    #[command(flatten)]
    changes: StudyFlags,

    #[command(flatten)]
    executors: ExecutorFlags,

    /// Folder of this run, missing or empty [default: runs/<study>-<time>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// What executors multiply with: avx512, avx2, portable, or gemm, whose bits may differ between unlike processors
    /// [default: the fastest of the first three that all executors have]
    #[arg(long, value_name = "NAME", value_parser = kernel)]
    kernel: Option<&'static str>,

    /// End the run in order after so long, as 90s, 30min or 2h; `broadsweep resume` goes on
    #[arg(long, value_name = "TIME")]
    max_time: Option<TimeSpan>,

    /// Read and hash all data files anew, also if they did not change since they were read
    #[arg(long)]
    rehash: bool,

    /// Say nothing of how far the run is: only results, warnings and errors
    #[arg(short, long)]
    quiet: bool,

    /// Print the summary as JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// One of the kernels that there are.
pub(super) fn kernel(name: &str) -> Result<&'static str, String> {
    let known = nn::KERNELS.into_iter().find(|known| *known == name);
    known.ok_or_else(|| format!("the kernels are {}", nn::KERNELS.join(", ")))
}

/// Where the relative paths in a study start from.
pub(super) fn study_folder(study: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(study.parent().unwrap_or_else(|| Path::new("")))
        .or_else(|_| std::env::current_dir())
        .context("cannot find the folder of the study")
}

pub(super) fn run(args: &TuneArgs, verbose: bool) -> Result<ExitCode, Failure> {
    // What can be wrong with flags, study and data is said before anything of the run is made.
    let mut choice = Choice::of(&args.executors).map_err(Failure::wrong_use)?;
    let job = load(&args.study, &args.changes, &choice.destination().rehashing(args.rehash))?;
    if let Some(why) = job.study.search.why_chosen.as_ref().filter(|_| !args.quiet) {
        say(format_args!("sampler {why}"));
    }
    let policy = job.study.scheduling.validate().map_err(Failure::wrong_use)?;
    let study_folder = study_folder(&args.study)?;
    let out = args.out.as_deref();
    let folder = RunFolder::create(out, Path::new(RUNS), &job.study.name, SystemTime::now())
        .map_err(|error| Failure::of_out(&error, out))?;
    choice.prepare().map_err(Failure::wrong_use)?;
    folder.write_study(job.study.text())?;
    let roster = Roster::create(folder.path(), study_folder, choice.crew())
        .with_context(|| format!("cannot write into {}", folder.path().display()))?;
    let flags = DriveFlags {
        connect_timeout: Duration::from_secs(args.executors.connect_timeout),
        nodes_min: args.executors.nodes_min,
        take_over: args.executors.take_over,
        kernel: args.kernel,
        shown: ShownProgress::of(verbose, args.quiet),
        time_max: args.max_time.map(|span| span.0),
        json: args.json,
    };
    drive(Drive { job, policy, folder, roster, choice, flags, resumes: None, wish: None })
}
