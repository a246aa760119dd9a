//! A run from its folder to its results: what `tune` and `resume` have in common.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use broadsweep_common::blob::Blob;
use broadsweep_common::codec;
use broadsweep_common::model::Loss;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::application::{self, ToApply};
use super::executors::Choice;
use super::hint;
use super::interrupts::{Interrupts, end_at_once};
use super::load::{Job, Prepared};
use super::logs;
use super::say::{print, print_json, safe_in, say};
use super::{FAILED, Failure, GIVEN_UP, INTERRUPTED};

use crate::apply::Output;
use crate::cluster::roster::Roster;
use crate::cluster::{BlockingVault, Cluster, KernelChoice, PartitionSource, Payload, Tcp, World};
use crate::journal::{FolderStorage, Storage};
use crate::logs::{LogFiles, LogKeeper};
use crate::model::ModelSource;
use crate::plan::Planner;
use crate::records::change::is_extended;
use crate::records::run::RunRecord;
use crate::report::Report;
use crate::results::best::Made;
use crate::results::folder::{FolderError, HELD_OUT, RunFolder};
use crate::results::progress::Progress;
use crate::results::remarks::trials_text;
use crate::results::show::{counted, duration_text};
use crate::results::table::table;
use crate::run::{Chronicle, ChronicleError, OngoingSearch, Run, RunError, RunOutcome, RunSettings, Signals, Start};
use crate::study::{Study, Trainer};
use crate::wishes::{self, Wished};
use broadsweep_scheduler::SchedulingPolicy;
use broadsweep_search::ranking::Objectives;

/// Everything that a run starts from.
pub(super) struct Drive {
    pub(super) job: Job,
    pub(super) policy: SchedulingPolicy,
    pub(super) folder: RunFolder,
    pub(super) roster: Roster,
    pub(super) choice: Choice,
    /// Who the driver is to its nodes.
    pub(super) flags: DriveFlags,
    /// Where the study's paths start from now, if an earlier driver began the run.
    pub(super) resumes: Option<PathBuf>,
    /// What is asked of the run beside what waits in its folder.
    pub(super) wish: Option<Wished>,
}

/// What the command line says of how a run goes.
#[derive(Clone, Copy)]
pub(super) struct DriveFlags {
    pub(super) connect_timeout: Duration,
    pub(super) nodes_min: u32,
    pub(super) take_over: bool,
    /// What executors multiply with; `None` for what all of them have.
    pub(super) kernel: Option<&'static str>,
    pub(super) shown: ShownProgress,
    /// When the run ends early.
    pub(super) time_max: Option<Duration>,
    pub(super) json: bool,
}

/// What people see of how far a run is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ShownProgress {
    /// A bar, if there is a terminal.
    Bar,
    /// Lines: those of a log would tear a bar apart.
    Lines,
    Nothing,
}

impl ShownProgress {
    /// As the flags say.
    pub(super) fn of(verbose: bool, quiet: bool) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Nothing,
            (false, true) => Self::Lines,
            (false, false) => Self::Bar,
        }
    }

    fn of_run(self, trials: u32, loss: Loss, objectives: Objectives) -> Progress {
        match self {
            Self::Bar => Progress::on_stderr(trials, loss, objectives),
            Self::Lines => Progress::in_lines(trials, loss, objectives, Box::new(io::stderr())),
            Self::Nothing => Progress::quiet(trials, loss, objectives),
        }
    }
}

/// Drives a run to its end, writes the results, prints them, and says how it went.
pub(super) fn drive(drive: Drive) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the network's threads")?;
    let (study, flags, resumes) = (drive.job.study.clone(), drive.flags, drive.resumes.is_some());
    let model = drive.job.model_source();
    let stays = match drive.choice {
        Choice::Local { .. } => "its executors end with it, and what was safe stays",
        Choice::Nodes { .. } => "nodes keep what they have of the run for the next driver",
    };
    let what_stays = format!("{stays}\nto go on: {}", hint::resume(drive.folder.path()));
    let mut ended = runtime.block_on(async { Box::pin(run(drive, &Interrupts::listen(what_stays)?)).await })?;
    if let Some(to_apply) = ended.to_apply.take() {
        // Between any two steps of it the process may end.
        runtime.spawn(end_at_once(hint::resume(ended.folder.path())));
        return application::conclude(&to_apply, flags, ended, resumes);
    }
    drop(runtime);
    conclude(&study, flags, ended, (resumes, model.as_deref()))
}

/// How a run ended.
pub(super) struct Ended {
    pub(super) folder: RunFolder,
    pub(super) outcome: RunOutcome,
    /// Why early, if it failed.
    pub(super) error: Option<RunError>,
    /// What names it to executors.
    pub(super) run: String,
    /// The output that it has taken, where it applied a model.
    pub(super) claimed: Option<Output>,
    /// Where it applied a model.
    to_apply: Option<Box<ToApply>>,
    /// Whether it was told to end since its time was over.
    pub(super) is_time_over: bool,
}

/// Drives a run to its end; writes nothing but its journal and its weights.
pub(super) async fn run(drive: Drive, interrupts: &Interrupts) -> Result<Ended, Failure> {
    let Drive { job, policy, mut folder, roster, choice, flags, resumes, wish } = drive;
    let Job { study, description, trials, header, data, prepared, to_apply, .. } = job;
    let interrupted = interrupts.during(roster.clone(), flags.time_max);
    let described = Blob::new(Bytes::from(codec::encode(&description)?))?;
    let start = Start {
        run: run_id(&folder),
        kernel: flags.kernel.map(ToOwned::to_owned),
        data: data.manifest.digest(),
        study: described.manifest.digest(),
        search: study.search_digest(),
        partitions: to_apply.as_ref().map_or_else(Vec::new, |to_apply| to_apply.costs()),
    };
    let storage: Arc<dyn Storage> = Arc::new(FolderStorage::new(folder.path()));
    let begins = resumes.is_none();
    let chronicle = if let Some(study_folder) = resumes {
        let chronicle = take_up(&storage, &study, start, flags.shown)?;
        // Only now: a study or data that the run did not begin with changes nothing.
        choice.end_others(&roster);
        roster.change(study_folder, choice.crew()).context("cannot write down who executes the run")?;
        chronicle
    } else {
        write_held_out(&folder, prepared.as_deref())?;
        to_apply.as_ref().map_or(Ok(()), |to_apply| to_apply.leave_in(&folder))?;
        Chronicle::begin(Arc::clone(&storage), trials, study.objectives().clone(), start)?
    };
    let claimed = claim_of(to_apply.as_deref(), &folder, (chronicle.run(), begins))?;
    folder.begin();
    let run_name = chronicle.run().to_owned();
    let payload = Arc::new(payload(&chronicle, flags, (data, described)));
    let vault = Arc::new(BlockingVault::new(storage));
    let log_files = Arc::new(LogFiles::start(folder.path()).context("cannot start the thread that keeps logs")?);
    let kept = Arc::clone(&log_files) as Arc<dyn LogKeeper>;
    let connect = Arc::new(Tcp { proof: choice.proof() });
    let rows =
        to_apply.as_ref().map_or_else(|| Arc::new(()) as Arc<dyn PartitionSource>, |applied| applied.rows_here());
    let world = World { connect, vault, rows, logs: kept, witness: Arc::new(()) };
    let settings = RunSettings {
        nodes_min: flags.nodes_min,
        connect_timeout: flags.connect_timeout,
        scheduling: policy,
        checkpoints: study.checkpoints,
    };
    let study = chronicle.study_now(&study).into_owned();
    let progress = progress_of(&study, &chronicle, flags.shown, to_apply.as_deref());
    let mut waiting = wishes::read(&FolderStorage::for_reading(folder.path()));
    waiting.extend(wish);
    let is_over = chronicle.is_over_despite(&waiting);
    let wishes = wishes::told(folder.path().to_owned(), waiting);
    let cluster = Cluster::new(Arc::clone(&payload), world);
    let planner = Planner::new(&study, &description.trainer, &header);
    let decides = (OngoingSearch::of(&study, planner), planner);
    let run = Run::new(&study, settings, payload, cluster, chronicle, decides, progress);
    let (outcome, error) = if is_over {
        // Only the results have to be written again. Executors of this machine may wait for a driver that does so.
        roster.kill_children();
        let (_, newcomers) = mpsc::channel(1);
        run.drive(Signals { interrupted, members: Vec::new(), newcomers, wishes }).await
    } else {
        let executors = choice.start(folder.path(), &roster, run.known_executors())?;
        let (members, newcomers) = (executors.members.clone(), executors.newcomers);
        let signals = Signals { interrupted, members, newcomers, wishes };
        let ended = run.drive(signals).await;
        drop(executors.local);
        ended
    };
    if let Some(error) = log_files.close() {
        say(format_args!("warning: some of what programs printed was not kept: {error}"));
    }
    Ok(Ended { folder, outcome, error, run: run_name, claimed, to_apply, is_time_over: interrupts.is_time_over() })
}

/// Takes the output of a run that applies a model: once the run is written down, so that whoever finds the output taken can
/// go on with it.
fn claim_of(
    to_apply: Option<&ToApply>,
    folder: &RunFolder,
    (run, begins): (&str, bool),
) -> Result<Option<Output>, Failure> {
    let Some(to_apply) = to_apply.filter(|to_apply| to_apply.has_output) else { return Ok(None) };
    let claimed = application::take_output(to_apply, folder, run);
    if claimed.is_err() && begins {
        folder.withdraw()?;
    }
    claimed.map(Some)
}

/// What people see of it.
fn progress_of(study: &Study, chronicle: &Chronicle, shown: ShownProgress, to_apply: Option<&ToApply>) -> Progress {
    let begun = if study.sees_results() { study.trials_max() } else { chronicle.trials().0 as u64 };
    let trials = u32::try_from(begun).unwrap_or(u32::MAX);
    let progress = shown.of_run(trials, study.loss(), study.objectives().clone());
    match to_apply {
        Some(to_apply) => progress.of_rows(to_apply.rows()),
        None => progress,
    }
}

/// What the executors of a run are given.
fn payload(chronicle: &Chronicle, flags: DriveFlags, (data, study): (Blob<Bytes>, Blob<Bytes>)) -> Payload {
    Payload {
        run: chronicle.run().to_owned(),
        generation: chronicle.generation(),
        take_over: flags.take_over,
        data,
        study,
        kernel: match chronicle.kernel() {
            Some(kernel) => KernelChoice::fixed(kernel),
            None => KernelChoice::of_all(flags.connect_timeout),
        },
        traffic: Arc::default(),
    }
}

/// The journal of a run that an earlier driver began.
fn take_up(
    storage: &Arc<dyn Storage>,
    study: &Study,
    start: Start,
    shown: ShownProgress,
) -> Result<Chronicle, Failure> {
    let resumed = Chronicle::resume(Arc::clone(storage), study.objectives().clone(), start);
    let (chronicle, torn) = resumed.map_err(|error| in_words_of(study, error))?;
    if let Some(torn) = torn {
        say(torn);
    }
    if let (partitions @ 1.., over) = chronicle.partitions()
        && shown != ShownProgress::Nothing
    {
        say(format_args!("resuming: {over} of {} are over", counted(partitions as u64, "partition")));
    } else if shown != ShownProgress::Nothing {
        let (trials, over) = chronicle.trials();
        let goes_on = study.sees_results() && !chronicle.search_has_ended();
        let trials = if goes_on { study.trials_max().max(trials as u64) } else { trials as u64 };
        let up_to = if goes_on { "up to " } else { "" };
        say(format_args!("resuming: {over} of {up_to}{} are over", counted(trials, "trial")));
    }
    Ok(chronicle)
}

/// What changed since the run began, in words of what it does.
fn in_words_of(study: &Study, error: ChronicleError) -> Failure {
    let what = match (&study.trainer, &error) {
        (Trainer::Model(settings), ChronicleError::Changed { what: "the data set" }) => settings.mapping.noun(),
        (Trainer::Model(_), ChronicleError::Changed { what: "the study" }) => "input, or what is asked of it,",
        _ => return error.into(),
    };
    anyhow!(
        "the {what} is not what it was when the run began, and answers of both must not be mixed: put it back, or apply it \
         again, in a new run"
    )
    .into()
}

/// Leaves in the run which training rows were held out.
fn write_held_out(folder: &RunFolder, prepared: Option<&Prepared>) -> Result<(), FolderError> {
    let text = prepared.and_then(Prepared::held_out_csv);
    text.map_or(Ok(()), |text| folder.write_file(HELD_OUT, text.as_bytes()))
}

/// Names a run among all that could ask for the same executor: its folder, and when and by which process it began.
fn run_id(folder: &RunFolder) -> String {
    let name = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{name}-{}-{}", std::process::id(), since_1970.as_millis())
}

/// What a run's folder was called when it began, and when that was, from 1970 on: as [`run_id`] has it.
pub(super) fn told_by_run_id(run: &str) -> Option<(&str, Duration)> {
    let (begun_by, millis) = run.rsplit_once('-')?;
    let (folder, _process) = begun_by.rsplit_once('-')?;
    Some((folder, Duration::from_millis(millis.parse().ok()?)))
}

/// Writes the results, prints them, and says how it went.
fn conclude(
    study: &Study,
    flags: DriveFlags,
    ended: Ended,
    (resumes, model): (bool, Option<&ModelSource>),
) -> Result<ExitCode, Failure> {
    let Ended { folder, mut outcome, error, is_time_over, .. } = ended;
    outcome.record.class_names = model.map_or_else(Vec::new, |model| model.schema.class_names().to_vec());
    let record = &outcome.record;
    if let Some(error @ RunError::TooFewNodes { .. }) = error {
        if !resumes {
            // Nothing was trained. Logs of local executors say what was wrong with them.
            folder.withdraw()?;
        } else if is_extended(&record.changes) {
            say("the trials that were asked for are written down, and need not be asked for again");
            say_how_to_go_on(&folder, record);
        }
        return Err(error.into());
    }
    if let Some(error @ (RunError::Chronicle(_) | RunError::Storage(_))) = error {
        // What cannot take the journal cannot take the results. All that was journaled is there for `resume`.
        say_how_to_go_on(&folder, record);
        return Err(Failure { code: FAILED, error: error.into() });
    }
    let summary = match write(&folder, &outcome, model) {
        Ok(summary) => summary,
        Err(unwritten) => {
            // The journal has all of it, and people see what there is to see.
            if !flags.json {
                print(table(record, false))?;
            }
            say_how_to_go_on(&folder, record);
            return Err(unwritten.into());
        }
    };
    if let Some(error) = error {
        say_how_to_go_on(&folder, record);
        return Err(Failure { code: FAILED, error: error.into() });
    }
    let printed = if flags.json {
        print_json(summary)
    } else {
        let path = folder.path().display();
        print(format!("{}\nresults in {path}\n", table(record, false).trim_end()))
    };
    logs::hints(folder.path(), record).into_iter().for_each(say);
    if !record.is_over() {
        let time = flags.time_max.filter(|_| is_time_over).map(duration_text);
        match time {
            Some(time) => say(format_args!("ended since the time is over ({time}): {}", study.name)),
            None => say(format_args!("interrupted: {}", study.name)),
        }
        say_how_to_go_on(&folder, record);
    }
    printed.map_err(|error| safe_in(folder.path(), &error))?;
    if !record.is_over() {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let counts = record.counts();
    let has_none = counts.planned > 0 && record.best().is_none();
    Ok(if counts.failed > 0 || has_none || outcome.unmeasured > 0 || record.is_suspect() {
        ExitCode::from(GIVEN_UP)
    } else {
        ExitCode::SUCCESS
    })
}

/// Writes the results of a run into its folder, and returns their summary.
pub(super) fn write(
    folder: &RunFolder,
    outcome: &RunOutcome,
    model: Option<&ModelSource>,
) -> Result<String, FolderError> {
    let record = &outcome.record;
    if let Some(best) = record.best() {
        // A trial that trains nothing has none.
        let of_best = outcome.best.as_ref().filter(|(trial, _)| *trial == best.trial);
        let of_best = of_best.map(|(_, made)| made.as_slice());
        let files = model.zip(of_best).and_then(|(model, weights)| {
            let unusable =
                |error| say(format_args!("warning: best/ has weights, but no model that can be used: {error}"));
            model.files(record, best, weights).map_err(unusable).ok()
        });
        let made = match (of_best, &files) {
            _ if outcome.are_outputs => Made::Outputs { best: of_best, control: outcome.control.as_deref() },
            (_, Some(files)) => Made::Model(files),
            (Some(weights), None) => Made::Weights(weights),
            (None, None) => Made::Nothing,
        };
        folder.write_best(&best.configuration, &made)?;
    }
    let summary = folder.write_results(record)?;
    say_if_missing(folder.write_report(&Report::of(record).html()), folder.path());
    Ok(summary)
}

/// A run without a report has not failed: its results are safe.
pub(super) fn say_if_missing(written: Result<(), FolderError>, folder: &Path) {
    if let Err(error) = written {
        let again = hint::report_page(folder);
        say(format_args!("warning: there is no report: {error}\nto try again: {again}"));
    }
}

fn say_how_to_go_on(folder: &RunFolder, record: &RunRecord) {
    let counts = record.counts();
    let (ended, path) = (counts.ended(), folder.path().display());
    let trials = format!("{ended} of {} are over; what they gave is in {path}", trials_text(record));
    say_how_to_go_on_with(folder, &trials);
}

/// Says how far a run is, and how to go on.
pub(super) fn say_how_to_go_on_with(folder: &RunFolder, how_far: &str) {
    say(format_args!("{how_far}\nto go on: {}", hint::resume(folder.path())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_run_tells_its_folder_and_its_beginning() {
        let home = tempfile::tempdir().unwrap();
        let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let folder =
            RunFolder::create(Some(&home.path().join("mine-2")), Path::new("runs"), "mine", SystemTime::now());
        let id = run_id(&folder.unwrap());
        let (folder, begun) = told_by_run_id(&id).unwrap();
        assert_eq!(folder, "mine-2");
        assert!(begun.abs_diff(before) < Duration::from_mins(10), "{id}");
        assert_eq!([told_by_run_id("r"), told_by_run_id("a-b-c")], [None, None]);
    }
}
