//! `broadsweep status`: how far a run is, from its folder alone.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::logs::hints;
use super::report::read_run;
use super::say::{print, print_json, say};
use super::{Failure, hint};
use crate::records::run::Stage;
use crate::results::status::{status, status_json};

const AFTER_HELP: &str = "\
Only the folder is read: it can be asked for at any time, also from another machine that sees the folder.

Exit codes: 0 done, 1 failed: the run cannot be read, 2 wrong use: no such run";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct StatusArgs {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let record = read_run(&args.run)?;
    let (why, next) = match record.stage {
        Stage::GoingOn => ("to see more", hint::report(&args.run)),
        Stage::Interrupted => ("to go on", hint::resume(&args.run)),
        Stage::Over => ("to see all", hint::report(&args.run)),
    };
    if args.json {
        print_json(status_json(&record, &next))?;
    } else {
        print(status(&record, &format!("{why}: {next}")))?;
        hints(&args.run, &record).into_iter().for_each(say);
    }
    Ok(ExitCode::SUCCESS)
}
