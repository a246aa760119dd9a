//! `broadsweep extend`: more trials for a run.

use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::anyhow;
use broadsweep_search::TRIALS_MAX;
use clap::Args;

use super::report::{read_run, read_whole};
use super::resume::{self, ResumeArgs};
use super::say::print;
use super::stop::{Answer, asked_of_driver};
use super::{Failure, hint};
use crate::records::change::{ChangeRecord, stopped_by};
use crate::results::show::counted;
use crate::wishes::{Wish, Wished};

pub(super) const AFTER_HELP: &str = "\
Of a run that goes on, its driver is told, and all other flags are for nothing. A run that is over, or was interrupted, \
is gone on with here, as by `broadsweep resume`, with the same flags.

The search goes on as if the study had asked for so many from the beginning, unless it has a pruner, which has decided with \
fewer; what `stop` in [search] says does not end it \
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
    // What was left out can be begun after all.
    let has_more = stopped_by(&reading.record.changes).is_some() || reading.record.counts().left_out > 0;
    if let Some(reason) = reading.unextendable.filter(|_| !has_more) {
        return Err(Failure::wrong_use(anyhow!("the run in {} cannot get more trials: {reason}", run.display())));
    }
    let trials = NonZeroU32::new(args.trials).unwrap_or(NonZeroU32::MIN);
    let wished = Wished::now(Wish::Extend(trials));
    match asked_of_driver(run, wished)? {
        Answer::NobodyDrives => resume::go_on(&args.resume, verbose, Some(wished)),
        Answer::Granted => {
            let now = read_run(run)?;
            let added = match now.changes.last() {
                Some(ChangeRecord::Extended { trials, .. }) if now.changes.len() > reading.record.changes.len() => {
                    *trials
                }
                _ => {
                    return Err(Failure::wrong_use(anyhow!(
                        "the driver of {} added no trials, and says why",
                        run.display()
                    )));
                }
            };
            let (study, more) = (&now.study, counted(added.into(), "trial"));
            print(format!("{study}: its driver adds {more}\nto see how far it is: {}\n", hint::status(run)))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
