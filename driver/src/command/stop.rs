//! `broadsweep stop`: ends a run early. And how whoever asks something of a run waits for its driver.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;

use super::report::read_run;
use super::say::{print, say};
use super::{Failure, hint};
use crate::journal::{FolderStorage, Storage};
use crate::records::run::Stage;
use crate::results::folder::is_held;
use crate::wishes::{Wish, Wished};

const AFTER_HELP: &str = "\
A trial that is trained right now is trained to its end, or to where it would pause; of the others nothing is begun. Then the \
best is measured, and the results are written, as at the end of any run. `broadsweep extend` adds trials again. (Ctrl-C, \
where the run was started, interrupts it: `broadsweep resume` goes on with all of it.)

Exit codes: 0 done, 1 failed, 2 wrong use: no such run, or it is over";

/// How often the folder is looked at.
const POLL: Duration = Duration::from_millis(100);
/// After so long, people are told what they wait for.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct StopArgs {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
}

pub(super) fn run(args: &StopArgs) -> Result<ExitCode, Failure> {
    let (run, shown) = (&args.run, args.run.display());
    let record = read_run(run)?;
    let wished = Wished::now(Wish::Stop);
    if !record.trains() && record.stage != Stage::Over {
        return Err(Failure::wrong_use(anyhow!(
            "the run in {shown} applies a model, and would leave rows out; interrupt it with Ctrl-C, and go on with\n{}",
            hint::resume(run)
        )));
    }
    match record.stage {
        Stage::Over => {
            return Err(Failure::wrong_use(anyhow!("the run in {shown} is over: there is nothing to stop")));
        }
        Stage::Interrupted => return for_the_next_driver(run, wished),
        Stage::GoingOn => {}
    }
    let told = match asked_of_driver(run, wished)? {
        Answer::Granted => format!(
            "{}: what is under way is trained to its end, and nothing more is begun\nto see how far it is: {}\n",
            record.study,
            hint::status(run)
        ),
        Answer::NobodyDrives if read_run(run)?.stage == Stage::Interrupted => {
            return for_the_next_driver(run, wished);
        }
        Answer::NobodyDrives => format!("the run in {shown} has ended meanwhile\n"),
    };
    print(told)?;
    Ok(ExitCode::SUCCESS)
}

/// A run that nobody drives is stopped by whoever resumes it.
fn for_the_next_driver(run: &Path, wished: Wished) -> Result<ExitCode, Failure> {
    wished.leave_in(&FolderStorage::new(run))?;
    print(format!(
        "nobody drives the run in {}: what had begun is trained to its end, and nothing else, with\n{}\n",
        run.display(),
        hint::resume(run)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// What became of what was asked.
pub(super) enum Answer {
    /// The driver has written it down.
    Granted,
    /// There is no driver, or none any more: nothing is left of the question.
    NobodyDrives,
}

/// Asks something of the driver of a run, and waits until it has written that down or ends.
pub(super) fn asked_of_driver(run: &Path, wished: Wished) -> Result<Answer, Failure> {
    let storage = FolderStorage::new(run);
    if !is_held(run) {
        return Ok(Answer::NobodyDrives);
    }
    wished.leave_in(&storage)?;
    let (asked, mut is_told) = (Instant::now(), false);
    loop {
        // Looked at first: what a driver takes before it ends is granted.
        let is_driven = is_held(run);
        if !wished.is_in(&storage)? {
            return Ok(Answer::Granted);
        }
        if !is_driven {
            storage.remove(&wished.name())?;
            return Ok(Answer::NobodyDrives);
        }
        if asked.elapsed() > PATIENCE && !std::mem::replace(&mut is_told, true) {
            say(
                "waiting for the run's driver, which measures the best, is busy, or stands still; Ctrl-C ends the wait, and the run is still asked",
            );
        }
        std::thread::sleep(POLL);
    }
}
