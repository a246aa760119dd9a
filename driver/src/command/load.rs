//! A study file and its data, read and checked.

use std::fs;
use std::path::Path;

use broadsweep_common::blob::Blob;
use broadsweep_common::dataset::{Header, Part};
use broadsweep_common::replay::{RECORDED_MAX, Replay};
use broadsweep_common::schema::Schema;
use broadsweep_common::task::StudyDescription;
use broadsweep_search::TRIALS_MAX;
use bytes::Bytes;
use clap::Args;

use super::Failure;
use super::application::{self, ToApply};
use super::say::say;
use crate::model::ModelSource;
use crate::plan::{Planner, TrialPlan};
use crate::results::show::counted;
use crate::run::read;
use crate::study::changes::{self, Change, starting_from};
use crate::study::{self, INITIAL_MAX, InitialFrom, ReplaySettings, Study, Trainer};
use crate::text_file;
use broadsweep_data::destination::Destination;
use broadsweep_data::files::{Archive, FileError};
use broadsweep_data::{self as data, DataError, Loaded, recording};

/// Bytes that a study file may have.
const STUDY_BYTES_MAX: u64 = 16 << 20;

/// Configurations of an earlier run that are looked at for each starting point that is wanted.
const TRIES_PER_POINT: usize = 20;

/// All that a run starts from.
pub(super) struct Job {
    pub(super) study: Study,
    pub(super) description: StudyDescription,
    /// What its search starts before it sees a result; nothing where it sees results, nor where the run is resumed, since
    /// it was written down.
    pub(super) trials: Vec<TrialPlan>,
    pub(super) header: Header,
    pub(super) data: Blob<Bytes>,
    /// How rows of the files became rows of the data, if there are any.
    pub(super) prepared: Option<Box<Prepared>>,
    /// A finished model and its rows, where that is all.
    pub(super) to_apply: Option<Box<ToApply>>,
    /// How many files of a program are among the data.
    pub(super) files: usize,
}

/// How rows of files became those of a data set.
pub(super) struct Prepared {
    pub(super) schema: Schema,
    /// Training rows that were drawn for validation and for the test, by their number in the files, from 0.
    pub(super) held_out: [Vec<u32>; 2],
}

impl Prepared {
    /// A line for each row that was held out, in the order of the files; nothing where none was.
    pub(super) fn held_out_csv(&self) -> Option<String> {
        let [validation, test] = &self.held_out;
        let of = |rows: &[u32], part: Part| rows.iter().map(move |&row| (row, part)).collect::<Vec<_>>();
        let mut rows = [of(validation, Part::Validation), of(test, Part::Test)].concat();
        rows.sort_by_key(|(row, _)| *row);
        let lines = rows.iter().map(|(row, part)| format!("{row},{part}\n"));
        (!rows.is_empty()).then(|| std::iter::once("row,part\n".to_owned()).chain(lines).collect())
    }
}

/// The flags that change a study before it is checked.
#[derive(Args)]
pub(super) struct StudyFlags {
    /// Draw so many configurations, instead of the study's `trials`: for every sampler but the grid
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(TRIALS_MAX)))]
    trials: Option<u32>,

    /// Take all random numbers from this seed, instead of the study's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,

    /// Change a value of the study, as training.epochs=3; values are as in the study, and a word needs no quotes. May be
    /// given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Change>,
}

impl StudyFlags {
    /// What they change, in this order.
    fn changes(&self) -> Vec<Change> {
        let short = [self.seed.map(Change::seed), self.trials.map(Change::trials)];
        self.set.iter().cloned().chain(short.into_iter().flatten()).collect()
    }
}

/// Reads the study at `path`, with what the flags change of it, and the files that it names, and plans the trials that
/// its search starts with.
pub(super) fn load(path: &Path, flags: &StudyFlags, destination: &Destination) -> Result<Job, Failure> {
    let (mut text, mut name) = (read_text(path).map_err(Failure::wrong_use)?, path.display().to_string());
    let changes = flags.changes();
    if !changes.is_empty() {
        text = changes::change(&text, &changes).map_err(Failure::wrong_use)?;
        name += " (with what the flags change)";
    }
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    if let Some(with_points) = with_starting_points(&text, &name, folder)? {
        text = with_points;
        name += " (with the starting points of the earlier run)";
    }
    plan(take_up(&text, &name, (folder, None), destination)?, folder)
}

/// The text of a study whose `initial_from` is replaced by the best configurations of that run, as far as they fit; `None` of
/// a study without.
fn with_starting_points(text: &str, name: &str, folder: &Path) -> Result<Option<String>, Failure> {
    let study = study::parse(text, name).map_err(Failure::wrong_use)?;
    let Some(InitialFrom { run, best }) = &study.initial_from else { return Ok(None) };
    let at = |message: String| Failure::wrong_use(study.at("search.initial_from", message));
    let record = read(&folder.join(run)).map_err(|error| at(error.to_string()))?.record;
    let (mut points, mut misfit) = (Vec::new(), None);
    let most = (*best).min(INITIAL_MAX.saturating_sub(study.initial.len()));
    for trial in record.ranking().into_iter().take(TRIES_PER_POINT * best) {
        if points.len() == most {
            break;
        }
        let configuration = &trial.configuration;
        let is_known = study.control.as_ref() == Some(configuration) || study.initial.contains(configuration);
        // The reader says what does not fit, of this one alone.
        match study::parse(&starting_from(text, std::slice::from_ref(configuration)), name) {
            _ if is_known || points.contains(configuration) => {}
            Ok(_) => points.push(configuration.clone()),
            Err(error) => drop(misfit.get_or_insert((trial.trial, error))),
        }
    }
    match misfit {
        Some((trial, error)) if points.is_empty() => {
            return Err(at(format!("no configuration of {run} fits this study; of {trial}: {}", error.message())));
        }
        Some((trial, error)) => say(format_args!(
            "note: some configurations of {run} do not fit this study, and are left out; {trial}: {}",
            error.message()
        )),
        None if points.is_empty() => {
            return Err(at(format!("{run} has no result that this study does not try anyway")));
        }
        None => {}
    }
    say(format_args!("note: {} of {run}, the best first", counted(points.len() as u64, "starting point")));
    Ok(Some(starting_from(text, &points)))
}

/// Reads the study at `path` as it is; relative paths in it start from `folder`.
pub(super) fn load_from(path: &Path, folder: &Path, destination: &Destination) -> Result<Job, Failure> {
    plan(load_begun(path, folder, destination)?, folder)
}

fn plan(mut job: Job, folder: &Path) -> Result<Job, Failure> {
    let drawn = job.study.drawn().map_err(Failure::wrong_use)?;
    check_recording(&job, drawn.len(), folder)?;
    job.trials = job.planner().plan_all(drawn).map_err(Failure::wrong_use)?;
    if job.study.sees_results() {
        let (_, refused) = job.planner().examples().map_err(Failure::wrong_use)?;
        job.planner().check_budget().map_err(Failure::wrong_use)?;
        if let Some(refused) = refused {
            say(format_args!(
                "note: some configurations of the space cannot be trained, and are given up: {refused}"
            ));
        }
    }
    Ok(job)
}

/// As [`load_from`], for a run that has begun: what its search has decided is written down, and it is not asked here.
pub(super) fn load_begun(path: &Path, folder: &Path, destination: &Destination) -> Result<Job, Failure> {
    let text = read_text(path).map_err(Failure::wrong_use)?;
    take_up(&text, &path.display().to_string(), (folder, path.parent()), destination)
}

/// What the text of a study says, which errors call `name`, and the files that it names; `begun` is the folder of the run
/// that has it, if there is one.
fn take_up(
    text: &str,
    name: &str,
    (folder, begun): (&Path, Option<&Path>),
    destination: &Destination,
) -> Result<Job, Failure> {
    let mut study = study::parse(text, name).map_err(Failure::wrong_use)?;
    if let Trainer::Model(settings) = &study.trainer {
        let settings = settings.below(folder);
        return application::prepare(study, &settings, (folder, begun), destination);
    }
    let files = Archive::of(&study.files, folder).map_err(|error| of_file(&study, &error))?;
    let loaded = match &study.data {
        Some(settings) => data::load_into(destination, settings, &files, study.seed, folder),
        None => data::of_files(&files, destination),
    };
    let loaded = loaded.map_err(|error| match error {
        DataError::File(error) => of_file(&study, &error),
        error => Failure::wrong_use(error),
    })?;
    study.find_classes(loaded.class_names()).map_err(Failure::wrong_use)?;
    crate::plan::check_select(&study, &loaded.header).map_err(Failure::wrong_use)?;
    let description = study.description(read_recording(&study, folder)?);
    let Loaded { header, data, schema, held_out, remarks } = loaded;
    for remark in &remarks {
        say(format_args!("note: {remark}"));
    }
    let prepared = schema.map(|schema| Box::new(Prepared { schema, held_out }));
    Ok(Job { study, description, trials: Vec::new(), header, data, prepared, to_apply: None, files: files.files() })
}

/// A file that a program is given, and that cannot be read: the study names it, or a folder around it.
fn of_file(study: &Study, error: &FileError) -> Failure {
    Failure::wrong_use(study.at(&format!("data.files.{}", error.place), error.to_string()))
}

impl Job {
    /// A study that needs no files, with the data of this job: its search is asked for what it starts with.
    pub(super) fn with_study(self, study: Study) -> Result<Self, Failure> {
        let Self { header, data, prepared, .. } = self;
        let description = study.description(Vec::new());
        let drawn = study.drawn().map_err(Failure::wrong_use)?;
        let trials =
            Planner::new(&study, &description.trainer, &header).plan_all(drawn).map_err(Failure::wrong_use)?;
        Ok(Self { study, description, trials, header, data, prepared, to_apply: None, files: 0 })
    }

    /// What a network that the study trains needs to be used.
    pub(super) fn model_source(&self) -> Option<Box<ModelSource>> {
        let Trainer::Network { model, .. } = &self.study.trainer else { return None };
        let Prepared { schema, held_out: [validation, _] } = &**self.prepared.as_ref()?;
        let held_out = validation.iter().map(|&row| u64::from(row)).collect();
        Some(Box::new(ModelSource { description: model.clone(), schema: schema.clone(), held_out }))
    }

    /// Plans the trials of the study.
    pub(super) fn planner(&self) -> Planner<'_> {
        Planner::new(&self.study, &self.description.trainer, &self.header)
    }
}

/// The recorded trials that the study replays, as far as it can have trials: none, unless it says so.
fn read_recording(study: &Study, folder: &Path) -> Result<Vec<Replay>, Failure> {
    let Trainer::Replay(ReplaySettings::Recorded { file, speed }) = &study.trainer else { return Ok(Vec::new()) };
    let wanted = usize::try_from(study.trials_max()).unwrap_or(usize::MAX);
    let path = folder.join(file);
    recording::read(&path, *speed, study.search.select, wanted.min(RECORDED_MAX)).map_err(Failure::wrong_use)
}

/// Refuses a study that has more trials than its recording.
fn check_recording(job: &Job, trials: usize, folder: &Path) -> Result<(), Failure> {
    let Trainer::Replay(ReplaySettings::Recorded { file, .. }) = &job.study.trainer else { return Ok(()) };
    let at_recorded = |message: String| Failure::wrong_use(job.study.at("trainer.recorded", message));
    let wanted = counted(trials as u64, "trial");
    if trials > RECORDED_MAX {
        return Err(at_recorded(format!("the study has {wanted}; of a recording, {RECORDED_MAX} can be replayed")));
    }
    let recorded = job.description.trainer.recorded();
    if recorded < trials {
        let (rows, path) = (counted(recorded as u64, "row"), folder.join(file));
        return Err(at_recorded(format!("the study has {wanted}, but {} has only {rows}", path.display())));
    }
    Ok(())
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let about = fs::metadata(path).map_err(|error| anyhow::anyhow!("cannot read the study {shown}: {error}"))?;
    if about.is_dir() {
        anyhow::bail!("{shown} is a folder; name the study file in it");
    }
    if about.len() > STUDY_BYTES_MAX {
        anyhow::bail!("{shown} has {} bytes; a study is a text of a few lines", about.len());
    }
    text_file::read(path, STUDY_BYTES_MAX).map_err(|error| anyhow::anyhow!("cannot read the study {shown}: {error}"))
}
