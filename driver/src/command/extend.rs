//! `broadsweep extend`: more trials for a run.

use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::anyhow;
use broadsweep_search::TRIALS_MAX;
use clap::Args;

use super::report::read_whole;
use super::resume::{self, ResumeArgs};
use super::say::print;
use super::stop::{Answer, asked_of_driver};
use super::{Failure, hint};
use crate::wishes::{Wish, Wished};

pub(super) const AFTER_HELP: &str = "\
Of a run that goes on, its driver is told, and all other flags are for nothing. A run that is over, or was interrupted, \
is gone on with here, as by `broadsweep resume`, with the same flags.

The search goes on as if the study had asked for so many from the beginning; what `stop` in [search] says does not end it \
any more. Trials that `broadsweep stop` left out come first. A trial that had paused when the run ended begins anew if it is \
continued.

Exit codes: as of `broadsweep tune`";

#[derive(Args)]
pub(super) struct ExtendArgs {
    /// How many trials more
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(TRIALS_MAX)))]
    trials: u32,

    #[command(flatten)]
    resume: ResumeArgs,
}

pub(super) fn run(args: &ExtendArgs, verbose: bool) -> Result<ExitCode, Failure> {
    let run = &args.resume.run;
    let reading = read_whole(run)?;
    if let Some(reason) = reading.unextendable {
        return Err(Failure::wrong_use(anyhow!("the run in {} cannot get more trials: {reason}", run.display())));
    }
    let trials = NonZeroU32::new(args.trials).unwrap_or(NonZeroU32::MIN);
    let wished = Wished::now(Wish::Extend(trials));
    match asked_of_driver(run, wished)? {
        Answer::NobodyDrives => resume::go_on(&args.resume, verbose, Some(wished)),
        Answer::Granted => {
            let (study, status) = (&reading.record.study, hint::status(run));
            print(format!("{study}: its driver goes on for {trials} more\nto see how far it is: {status}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
