//! `broadsweep resume`: takes up a run whose driver was killed, interrupted, or ran out of disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use broadsweep_common::size::ByteSize;
use clap::Args;

use super::Failure;
use super::application;
use super::drive::{Drive, DriveFlags, ShownProgress, drive};
use super::executors::{CONNECT_TIMEOUT_S, Choice, IdentityFlags, LocalChanges};
use super::load::load_begun;
use crate::cluster::local::LocalShape;
use crate::cluster::roster::{Crew, Introduction, ROSTER, Roster};
use crate::results::folder::RunFolder;
use crate::run::read;
use crate::time_span::TimeSpan;
use crate::wishes::Wished;
use broadsweep_data::DataError;

pub(super) const AFTER_HELP: &str = "\
Nothing that was reported is trained again: what still runs on the executors is adopted, what was interrupted goes on \
from its last checkpoint. The results are those of an undisturbed run, to the last bit.

What --nodes, --identity, --insecure, --local, --cache-dir, --cache-bytes and --data-dir say, the run remembers for the next time.

Exit codes: as of `broadsweep tune`";

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct ResumeArgs {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    pub(super) run: PathBuf,

    /// Use these executors beside the nodes that the run knows, and local ones no longer: a list or a file, as for
    /// `broadsweep tune`
    #[arg(long, value_name = "LIST|FILE")]
    nodes: Option<OsString>,

    /// Go on with this machine instead: E executors that share its cores, or `ExS` for E executors of S slots each
    /// [default: as before]
    #[arg(long, value_name = "E|ExS", conflicts_with = "nodes")]
    local: Option<LocalShape>,

    /// Folder that the relative paths in the study start from, if its data was moved [default: as before]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    identity: IdentityFlags,

    /// Seconds to wait for nodes to answer; those that answer later join the run
    #[arg(long, value_name = "SECONDS", default_value_t = CONNECT_TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    connect_timeout: u64,

    /// Nodes that have to be ready before anything is trained
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    nodes_min: u32,

    /// Take nodes over that another run holds, and end its hold
    #[arg(long)]
    take_over: bool,

    /// Folder in which local executors keep data sets from now on [default: as before]
    #[arg(long, value_name = "DIR", conflicts_with = "nodes")]
    cache_dir: Option<PathBuf>,

    /// What the cache folder of local executors that start now may have, as 20GB or 512MiB; those that still run keep
    /// their limit [default: as before]
    #[arg(long, value_name = "SIZE", conflicts_with = "nodes")]
    cache_bytes: Option<ByteSize>,

    /// End in order after so long, as 90s, 30min or 2h; `broadsweep resume` goes on
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

impl ResumeArgs {
    fn changes(&self) -> LocalChanges {
        LocalChanges { shape: self.local, cache_dir: self.cache_dir.clone(), cache_bytes: self.cache_bytes }
    }
}

/// A folder that is there, from the root.
fn checked_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    if !folder.is_dir() {
        bail!("{} is no folder; name the one where the study's data is with --data-dir", folder.display());
    }
    std::path::absolute(folder).with_context(|| format!("cannot tell where {} is", folder.display()))
}

/// What the study names is not where it was when the run began.
fn of_moved_data(failure: Failure) -> Failure {
    match failure.error.downcast_ref::<DataError>() {
        Some(DataError::NoSuchFile { file }) => Failure::wrong_use(anyhow!(
            "{file}: no such file; if the data was moved, name the folder that the study's paths start from with \
             --data-dir"
        )),
        _ => failure,
    }
}

/// Whether there can be as many executors as are needed. The nodes that the run knows are dialled too, and only its journal
/// tells them: it is asked where those that are named are too few. Where it cannot be read, that is said later.
fn check_nodes_min(choice: &Choice, nodes_min: u32, folder: &Path) -> anyhow::Result<()> {
    choice.check(nodes_min, &[]).or_else(|_| match read(folder) {
        Ok(reading) => choice.check(nodes_min, &reading.record.executor_names),
        Err(_) => Ok(()),
    })
}

/// Who the drivers of the run were to its nodes until now.
fn known_introduction(roster: &Roster) -> Introduction {
    match roster.crew() {
        Crew::Nodes(crew) => crew.introduction,
        Crew::Local(_) => Introduction::default(),
    }
}

pub(super) fn run(args: &ResumeArgs, verbose: bool) -> Result<ExitCode, Failure> {
    go_on(args, verbose, None)
}

/// The same, with what somebody asks of the run.
pub(super) fn go_on(args: &ResumeArgs, verbose: bool, wish: Option<Wished>) -> Result<ExitCode, Failure> {
    let shown = args.run.display();
    let folder = RunFolder::open(&args.run).map_err(Failure::of_folder)?;
    if let Some(code) = application::concluded(&folder, args.json)? {
        return Ok(code);
    }
    let roster = Roster::open(folder.path())
        .with_context(|| format!("cannot read {shown}/{ROSTER}, which says who executes the run"))
        .map_err(Failure::wrong_use)?;
    let introduction = args.identity.introduction();
    let choice = match &args.nodes {
        Some(nodes) => Choice::nodes(nodes, introduction.unwrap_or_else(|| known_introduction(&roster))),
        None => Choice::again(roster.crew(), &args.changes(), introduction),
    };
    let mut choice = choice.map_err(Failure::wrong_use)?;
    check_nodes_min(&choice, args.nodes_min, folder.path()).map_err(Failure::wrong_use)?;
    let study_folder = match &args.data_dir {
        Some(folder) => checked_folder(folder).map_err(Failure::wrong_use)?,
        None => roster.study_folder(),
    };
    let study = folder.path().join("study.toml");
    let job =
        load_begun(&study, &study_folder, &choice.destination().rehashing(args.rehash)).map_err(of_moved_data)?;
    choice.prepare()?;
    let flags = DriveFlags {
        connect_timeout: Duration::from_secs(args.connect_timeout),
        nodes_min: args.nodes_min,
        take_over: args.take_over,
        kernel: None, // the run's
        shown: ShownProgress::of(verbose, args.quiet),
        time_max: args.max_time.map(|span| span.0),
        json: args.json,
    };
    let policy = job.study.scheduling.validate().map_err(Failure::wrong_use)?;
    drive(Drive { job, policy, folder, roster, choice, flags, resumes: Some(study_folder), wish })
}
