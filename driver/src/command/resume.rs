//! `broadsweep resume`: takes up a run whose driver was killed, interrupted, or ran out of disk.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use broadsweep_common::size::ByteSize;
use clap::Args;

use super::Failure;
use super::drive::{Drive, DriveFlags, drive};
use super::executors::{CONNECT_TIMEOUT_S, Choice, drop_cold_cache};
use super::load::load_begun;
use crate::cluster::roster::{ROSTER, Roster};
use crate::results::folder::RunFolder;

const AFTER_HELP: &str = "\
Nothing that was reported is trained again: what still runs on the executors is adopted, what was interrupted goes on \
from its last checkpoint. The results are those of an undisturbed run, to the last bit.

Exit codes: as of `broadsweep tune`";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ResumeArgs {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Use these executors beside the nodes that the run knows, and local ones no longer: a list or a file, as for
    /// `broadsweep tune`
    #[arg(long, value_name = "LIST|FILE")]
    nodes: Option<String>,

    /// Seconds to wait for nodes to answer; those that answer later join the run
    #[arg(long, value_name = "SECONDS", default_value_t = CONNECT_TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    connect_timeout: u64,

    /// Nodes that have to be ready before anything is trained
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    nodes_min: u32,

    /// Take nodes over that another run holds, and end its hold
    #[arg(long)]
    take_over: bool,

    /// What the cache folder of local executors may have from now on, as 20GB or 512MiB [default: as before]
    #[arg(long, value_name = "SIZE", conflicts_with = "nodes")]
    cache_bytes: Option<ByteSize>,

    /// Print the summary as JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ResumeArgs, verbose: bool) -> Result<ExitCode, Failure> {
    let shown = args.run.display();
    let folder = RunFolder::open(&args.run).map_err(Failure::of_folder)?;
    let roster = Roster::open(folder.path())
        .with_context(|| format!("cannot read {shown}/{ROSTER}, which says who executes the run"))
        .map_err(Failure::wrong_use)?;
    let choice = match &args.nodes {
        Some(nodes) => Choice::nodes(nodes),
        None => Choice::again(roster.crew(), args.cache_bytes),
    };
    let choice = choice.map_err(Failure::wrong_use)?;
    choice.check(args.nodes_min).map_err(Failure::wrong_use)?;
    let job = load_begun(&folder.path().join("study.toml"), &roster.study_folder())?;
    choice.prepare()?;
    if matches!(choice, Choice::Nodes { .. }) {
        // Local executors of an earlier driver would go on for nobody.
        roster.kill_children();
        drop_cold_cache(&roster.crew());
    }
    roster.change_crew(choice.crew()).with_context(|| format!("cannot write {shown}/{ROSTER}"))?;
    let flags = DriveFlags {
        connect_timeout: Duration::from_secs(args.connect_timeout),
        nodes_min: args.nodes_min,
        take_over: args.take_over,
        kernel: None, // the run's
        verbose,
        json: args.json,
    };
    let policy = job.study.scheduling.validate().map_err(Failure::wrong_use)?;
    drive(Drive { job, policy, folder, roster, choice, flags, resumes: true })
}
