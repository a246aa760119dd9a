//! What a run that applies a model or a program starts from, and what it leaves: the files of its output, all at once.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use broadsweep_common::application::{
    Application, Applied, COMPARED_CLASSES_MAX, FinishedModel, FinishedNetwork, InputFile, KeptColumn, KeptKind,
    Partition, Portion,
};
use broadsweep_common::blob::{Blob, Manifest as BlockManifest};
use broadsweep_common::codec::{self, DECODED_BYTES_MAX};
use broadsweep_common::schema::{Inputs, Outputs, Schema};
use broadsweep_common::task::{StudyDescription, TrainerDescription};
use broadsweep_data as data;
use broadsweep_data::destination::Destination;
use broadsweep_data::output::{check, columns_of};
use broadsweep_data::partition::cut_with;
use broadsweep_objects::input::ObjectInput;
use bytes::Bytes;
use serde_json::Value;

use super::applied::{Sum, bad_rows_of, record as answers_of, text};
use super::drive::{DriveFlags, Ended, say_how_to_go_on_with, say_if_missing};
use super::load::Job;
use super::mapped::{self, Answered, UnlikeAnswers};
use super::predict::of_model;
use super::say::{print, print_json, say};
use super::{FAILED, Failure, INTERRUPTED, hint};
use crate::apply::manifest::VERSION;
use crate::apply::{InputHere, Manifest, Output, OutputError, OutputFile, Runner};
use crate::cluster::PartitionSource;
use crate::model::folder::{self, Opened};
use crate::model::foreign::{self, ForeignModel};
use crate::records::answers::APPLIED;
use crate::records::run::RunRecord;
use crate::report::Report;
use crate::results::folder::{RunFolder, write_whole};
use crate::results::show::{counted, duration_text};
use crate::run::{PartitionOutcome, RunError};
use crate::study::{ApplySettings, Mapping, Study};

/// The file of the run's folder that lists rows that could not be read.
pub(super) const BAD_ROWS: &str = "bad_rows.csv";
/// The file of the run's folder that has the input as it was cut.
pub(super) const CUT: &str = "cut";
/// Bytes that the answers of a partition may take, as far as they can be told before.
const PARTITION_BYTES_MAX: u64 = 16 << 20;
/// Bytes that a number takes in a text.
const NUMBER_BYTES: u64 = 24;
/// Characters of a run's name that a study gives it.
const NAME_CHARACTERS_MAX: usize = 56;

/// What a run needs to know that applies a model or a program.
pub(super) struct ToApply {
    pub(super) settings: ApplySettings,
    pub(super) application: Application,
    pub(super) schema: Schema,
    /// What the model's files know each other by.
    pub(super) model: String,
    /// The input as it was cut, as the run keeps it.
    pub(super) cut: Vec<u8>,
    /// What stands beside the answers of a program, which has columns of its own; nothing of a model.
    pub(super) beside: Option<Vec<KeptColumn>>,
    /// Whether the answers become an output; where clusters are compared, they stay in each run's folder.
    pub(super) has_output: bool,
}

impl ToApply {
    /// The columns of the output, where they are known before it is there.
    fn columns(&self) -> Option<Vec<KeptColumn>> {
        let Application { kept, with_probabilities, .. } = &self.application;
        self.beside.is_none().then(|| columns_of(&self.schema, kept, *with_probabilities))
    }

    /// What each partition costs.
    pub(super) fn costs(&self) -> Vec<u64> {
        self.application.partitions.iter().map(|partition| partition.cost).collect()
    }

    /// Rows of each partition, as far as they are known.
    pub(super) fn rows(&self) -> Vec<u64> {
        self.application.partitions.iter().map(|partition| partition.rows.unwrap_or_default()).collect()
    }

    /// What is applied to what, for people who check it.
    pub(super) fn description(&self) -> String {
        let (files, partitions) = (self.application.files.len() as u64, self.application.partitions.len() as u64);
        let known = self.rows();
        let rows = if known.contains(&0) { "rows".to_owned() } else { counted(known.iter().sum(), "row") };
        let mapping = self.settings.mapping.shown();
        format!("{mapping} applied to {rows} of {} in {}\n", counted(files, "file"), counted(partitions, "partition"))
    }

    /// The input, for executors that cannot read it.
    pub(super) fn rows_here(&self) -> Arc<dyn PartitionSource> {
        Arc::new(InputHere::new(self.schema.clone(), self.application.clone()))
    }

    /// Leaves the cut input in the run's folder: whoever goes on works on what the run began with.
    pub(super) fn leave_in(&self, folder: &RunFolder) -> Result<(), Failure> {
        Ok(write_whole(&folder.path().join(CUT), &self.cut)?)
    }

    /// The file that errors name for a partition.
    fn file_of(&self, partition: usize) -> &str {
        let place = self.application.partitions.get(partition).map_or(0, |partition| partition.file);
        self.application.files.get(place as usize).map_or("the input", |file| &file.path)
    }
}

/// What a run is called that applies a model of this study.
pub(super) fn name_of(study: &str) -> String {
    let name: String = study.chars().take(NAME_CHARACTERS_MAX).collect();
    format!("{name}-applied")
}

/// Opens the model or packs the program, and cuts the input, unless the run in `begun` has done so. A program's files start
/// at `folder`.
pub(super) fn prepare(
    study: Study,
    settings: &ApplySettings,
    (folder, begun): (&Path, Option<&Path>),
    destination: &Destination,
) -> Result<Job, Failure> {
    match &settings.mapping {
        Mapping::Model(model) => prepare_model(study, (settings, model), begun),
        Mapping::Program(program) => mapped::prepare(study, (settings, program), (folder, begun), destination),
    }
}

fn prepare_model(
    study: Study,
    (settings, model): (&ApplySettings, &Path),
    begun: Option<&Path>,
) -> Result<Job, Failure> {
    let (model, behind, digest) = model_of(settings, model)?;
    let application = match begun.map(|run| fs::read(run.join(CUT))) {
        Some(Ok(bytes)) => codec::decode(&bytes).context("the file `cut` of the run is damaged; start it again")?,
        Some(Err(_)) | None => cut_input(&model.schema, settings)?,
    };
    let blob = Blob::new(Bytes::from(model.to_blob(&behind).context("the model is too large to be sent")?))?;
    let description =
        StudyDescription { trainer: TrainerDescription::Model(application.clone()), ..study.description(Vec::new()) };
    check_size(&description, settings)?;
    let cut = codec::encode(&application)?;
    let (settings, schema) = (settings.clone(), model.schema);
    let to_apply = ToApply { settings, application, schema, model: digest, cut, beside: None, has_output: true };
    Ok(Job {
        study,
        description,
        trials: Vec::new(),
        header: data::without_rows().map_err(anyhow::Error::from)?.header,
        data: blob,
        prepared: None,
        to_apply: Some(Box::new(to_apply)),
        files: 0,
    })
}

/// The model as executors know it, what stands behind it in its blob, and what a manifest calls it.
fn model_of(settings: &ApplySettings, model: &Path) -> Result<(FinishedModel, Vec<u8>, String), Failure> {
    if settings.is_foreign() {
        let ForeignModel { model, graph, digest } = foreign::open(settings, model).map_err(Failure::wrong_use)?;
        return Ok((model, graph, digest));
    }
    let Opened { model, weights, digest } = folder::open(model).map_err(of_model)?;
    let network = FinishedNetwork::Layers(model.layers.description());
    let weights = weights.to_safetensors().context("the weights of the model cannot be sent")?;
    Ok((FinishedModel { schema: model.schema, network }, weights, digest))
}

/// Refuses more files and partitions than an executor can be told of.
pub(super) fn check_size(description: &StudyDescription, settings: &ApplySettings) -> Result<(), Failure> {
    if codec::encode(description).is_ok_and(|bytes| bytes.len() > DECODED_BYTES_MAX) {
        return Err(Failure::wrong_use(anyhow!(
            "the input has too many files and partitions to be told to executors: make them larger with \
             --partition-rows, or apply the {} to some of the files at a time, with --append",
            settings.mapping.noun()
        )));
    }
    Ok(())
}

/// What tells rows by where they are that have no columns.
pub(super) fn placed_columns(files: &[InputFile], partitions: &[Partition]) -> Vec<KeptColumn> {
    let pictures = |portion: &Portion| matches!(portion, Portion::Pictures { .. });
    let are_pictures = partitions.iter().any(|partition| pictures(&partition.portion));
    let column = |name: &str, kind| KeptColumn { name: name.to_owned(), kind };
    let file = (files.len() > 1).then(|| column("file", KeptKind::Text));
    file.into_iter().chain((!are_pictures).then(|| column("row", KeptKind::Integer))).collect()
}

fn cut_input(schema: &Schema, settings: &ApplySettings) -> Result<Application, Failure> {
    let numbers = match &schema.outputs {
        Outputs::Classes { names, .. } | Outputs::Values { names, .. } => names.len(),
    };
    if settings.wanted.labels.is_some() && numbers > COMPARED_CLASSES_MAX && !schema.class_names().is_empty() {
        return Err(Failure::wrong_use(anyhow!(
            "the model knows {numbers} classes, and labels are compared with {COMPARED_CLASSES_MAX} at most; leave --labels out"
        )));
    }
    let rows_max = PARTITION_BYTES_MAX / (NUMBER_BYTES * numbers.max(1) as u64);
    let rows_max = settings.partition_rows.min(rows_max).max(1);
    let tell = |what: &str| say(format_args!("{what}"));
    let stores = ObjectInput::new(&tell);
    let cut = cut_with(schema, &settings.input, &settings.wanted, rows_max, &stores).map_err(Failure::wrong_use)?;
    cut.remarks.iter().for_each(|remark| say(format_args!("note: {remark}")));
    let kept = match &schema.inputs {
        Inputs::Columns(_) => cut.kept,
        // Rows without columns are known by their places.
        Inputs::Array { .. } => placed_columns(&cut.files, &cut.partitions),
    };
    check(schema, &kept, settings.with_probabilities).map_err(Failure::wrong_use)?;
    Ok(Application { files: cut.files, partitions: cut.partitions, kept, ..settings.uncut() })
}

/// Takes the output for a run, or goes on with what the run took before.
pub(super) fn take_output(to_apply: &ToApply, folder: &RunFolder, run: &str) -> Result<Output, Failure> {
    let ApplySettings { output, onto, .. } = &to_apply.settings;
    // A later command may be told of it from elsewhere.
    let path = std::path::absolute(folder.path()).context("cannot tell where the run's folder is")?;
    let claimed = Output::take(output, *onto, Runner { id: run, folder: &path }).map_err(Failure::of_output)?;
    let columns = to_apply.columns();
    let fits = columns.map_or(Ok(()), |columns| claimed.check_like(to_apply.application.format, &columns));
    if let Err(unlike) = fits {
        release(claimed);
        return Err(Failure::of_output(unlike));
    }
    Ok(claimed)
}

/// Gives the place of an output back: nothing was written there.
pub(super) fn release(claimed: Output) {
    if let Err(error) = claimed.release() {
        say(format_args!("warning: the place of the output was not given back: {error}"));
    }
}

/// What a run says that has committed its output before, if it has.
pub(super) fn concluded(folder: &RunFolder, as_json: bool) -> Result<Option<ExitCode>, Failure> {
    let Ok(text) = fs::read_to_string(folder.path().join(APPLIED)) else { return Ok(None) };
    if as_json {
        print_json(text)?;
    } else {
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        let output = told["output"].as_str().unwrap_or_default();
        print(format!(
            "it is over: {} written to {output}\n",
            counted(told["rows"].as_u64().unwrap_or_default(), "row")
        ))?;
    }
    Ok(Some(ExitCode::SUCCESS))
}

/// Puts what came of the partitions into the output, all at once, and says how it went.
pub(super) fn conclude(
    to_apply: &ToApply,
    flags: DriveFlags,
    mut ended: Ended,
    resumes: bool,
) -> Result<ExitCode, Failure> {
    let Some(claimed) = ended.claimed.take() else { return Err(anyhow!("the output was not taken").into()) };
    let (folder, partitions) = (&ended.folder, &ended.outcome.partitions);
    if let Some(error) = ended.error {
        if matches!(error, RunError::TooFewNodes { .. }) && !resumes {
            // Nothing was applied. Logs of local executors say what was wrong with them.
            release(claimed);
            folder.withdraw()?;
        } else {
            say_how_to_go_on_with(folder, &progress_text(partitions));
        }
        return Err(Failure { code: FAILED, error: error.into() });
    }
    let given_up = given_up(partitions);
    if let Some((partition, reason)) = given_up.first() {
        release(claimed);
        return Err(anyhow!(
            "nothing was written to {}: {} given up; partition {partition}, of {}: {reason}\nmend what it names, and apply \
             the {} again",
            to_apply.settings.output.display(),
            if given_up.len() == 1 { "1 partition was".to_owned() } else { format!("{} partitions were", given_up.len()) },
            to_apply.file_of(*partition),
            to_apply.settings.mapping.noun()
        )
        .into());
    }
    if partitions.contains(&PartitionOutcome::Open) {
        let time = flags.time_max.filter(|_| ended.is_time_over).map(duration_text);
        say(time.map_or("interrupted".to_owned(), |time| format!("ended since the time is over ({time})")));
        say_how_to_go_on_with(folder, &progress_text(partitions));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    commit(to_apply, flags, &ended, claimed).map_err(|failure| {
        if !is_final(&failure) {
            say_how_to_go_on_with(folder, "all answers are in the run's folder");
        }
        Failure { code: FAILED, ..failure }
    })
}

/// Whether to go on would end in the same way.
fn is_final(failure: &Failure) -> bool {
    failure.error.is::<UnlikeAnswers>() || failure.error.downcast_ref().is_some_and(OutputError::is_final)
}

/// The partitions that were given up, each with the reason.
fn given_up(partitions: &[PartitionOutcome]) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (place, outcome) in partitions.iter().enumerate() {
        if let PartitionOutcome::GivenUp { reason } = outcome {
            found.push((place, reason.as_str()));
        }
    }
    found
}

fn progress_text(partitions: &[PartitionOutcome]) -> String {
    let made = partitions.iter().filter(|outcome| matches!(outcome, PartitionOutcome::Made { .. })).count();
    format!("{made} of {} are over", counted(partitions.len() as u64, "partition"))
}

/// Gathers the answers, and makes them visible.
fn commit(to_apply: &ToApply, flags: DriveFlags, ended: &Ended, claimed: Output) -> Result<ExitCode, Failure> {
    let (settings, record, folder) = (&to_apply.settings, &ended.outcome.record, &ended.folder);
    let (sum, files, columns) = match gather(to_apply, ended, &claimed) {
        Ok(gathered) => gathered,
        Err(failure) => {
            if is_final(&failure) {
                release(claimed);
            }
            return Err(failure);
        }
    };
    if let Some(bytes) = bad_rows_of(to_apply, &sum)? {
        folder.write_file(BAD_ROWS, &bytes)?;
    }
    if sum.bad_rows() > settings.bad_rows_max {
        return Err(too_many_bad_rows(settings, folder, &sum));
    }
    claimed.check_like(settings.format, &columns).map_err(Failure::of_output)?;
    let manifest = Manifest {
        version: VERSION,
        run: ended.run.clone(),
        model: to_apply.model.clone(),
        kernel: record.kernel.clone(),
        format: settings.format,
        columns,
        rows: sum.rows(),
        bad_rows: sum.bad_rows(),
        files,
        earlier: Vec::new(),
    };
    claimed.commit(&manifest).map_err(Failure::of_output)?;
    let answers = answers_of(to_apply, &sum, record.wall_s);
    let told = answers.to_json()?;
    let (executors, slots) = (counted(record.executors.into(), "executor"), counted(record.slots.into(), "slot"));
    let on = format!("{:.1} s on {executors} with {slots}", record.wall_s);
    let shown = text(&answers, folder, sum.listed(), &on);
    let record = RunRecord { answers: Some(answers), ..record.clone() };
    folder.write_results(&record)?;
    say_if_missing(folder.write_report(&Report::of(&record).html()), folder.path());
    folder.write_file(APPLIED, told.as_bytes())?;
    if flags.json {
        print_json(told)?;
    } else {
        print(shown)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts the answers of each partition where they belong, one after the other, and adds up the rest.
fn gather(
    to_apply: &ToApply,
    ended: &Ended,
    claimed: &Output,
) -> Result<(Sum, Vec<OutputFile>, Vec<KeptColumn>), Failure> {
    let ToApply { settings, application, schema, .. } = to_apply;
    let mut answered = Answered::default();
    let mut sum = Sum::new(settings.wanted.labels.is_some().then_some(&schema.outputs));
    let mut files = Vec::new();
    for (place, (outcome, partition)) in ended.outcome.partitions.iter().zip(&application.partitions).enumerate() {
        let PartitionOutcome::Made { name, blob } = outcome else { continue };
        let path = ended.folder.path().join(name);
        let damaged = || anyhow!("{} is damaged; apply the model again, in a new run", path.display());
        let artifact = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if BlockManifest::of(&artifact).map_err(|_| damaged())?.digest() != *blob {
            return Err(damaged().into());
        }
        let (applied, table) = Applied::of_artifact(&artifact).map_err(|_| damaged())?;
        let (told, of) = (applied.rows.saturating_add(applied.bad_rows), to_apply.file_of(place));
        if let Some(rows) = partition.rows.filter(|rows| *rows != told) {
            return Err(anyhow!(
                "partition {place}, of {of}, has {rows} rows, and its executor told of {told}; apply the model again"
            )
            .into());
        }
        answered.add(place, of, &applied).map_err(anyhow::Error::from)?;
        // Seven digits: in the order of their names, files are in that of their rows.
        let name = format!("part-{place:07}.{}", settings.format);
        claimed.put(&name, table).map_err(Failure::of_output)?;
        files.push(OutputFile::of(&name, applied.rows, table, &ended.run));
        sum.add(partition, applied);
    }
    let beside = to_apply.beside.as_deref();
    let columns = to_apply.columns().unwrap_or_else(|| answered.behind(beside.unwrap_or_default()));
    Ok((sum, files, columns))
}

fn too_many_bad_rows(settings: &ApplySettings, folder: &RunFolder, sum: &Sum) -> Failure {
    let (rows, most) = (counted(sum.bad_rows(), "row"), settings.bad_rows_max);
    let first = sum.first_bad().map_or_else(String::new, |row| format!("; the first: {}: {}", row.place, row.reason));
    let (list, study) = (folder.path().join(BAD_ROWS), folder.path().join("study.toml"));
    anyhow!(
        "nothing was written to {}: {rows} cannot be read, and {most} may be{first}\nthey are in {}; to leave them out, \
         write bad_rows_max = {} in {}, and go on with `{}`",
        settings.output.display(),
        list.display(),
        sum.bad_rows(),
        study.display(),
        hint::resume(folder.path())
    )
    .into()
}
