//! What a run that applies a model starts from, and what it leaves: the files of its output, all at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use broadsweep_common::application::{
    Application, Applied, BadRow, FAR_ROWS_MAX, FarRow, FinishedModel, KeptColumn, LabelTally,
};
use broadsweep_common::blob::Blob;
use broadsweep_common::schema::{Outputs, Schema};
use broadsweep_common::task::{StudyDescription, TrainerDescription};
use broadsweep_data::output::{check, columns_of};
use broadsweep_data::partition::cut;
use broadsweep_data::{self as data};
use bytes::Bytes;
use serde_json::{Value, json};

use super::drive::{DriveFlags, Ended, say_how_to_go_on_with};
use super::load::Job;
use super::predict::of_model;
use super::say::{print, print_json, say};
use super::{FAILED, Failure, INTERRUPTED};
use crate::apply::manifest::VERSION;
use crate::apply::{Claim, Manifest, OutputFile, Runner, claim};
use crate::model::folder::{self, Opened};
use crate::results::folder::RunFolder;
use crate::results::show::counted;
use crate::run::{PartitionOutcome, RunError};
use crate::study::{ApplySettings, Study};

/// The file of the run's folder that lists rows that could not be read.
const BAD_ROWS: &str = "bad_rows.csv";
/// Bytes that the answers of a partition may take, as far as they can be told before.
const PARTITION_BYTES_MAX: u64 = 16 << 20;
/// Bytes that a number takes in a text.
const NUMBER_BYTES: u64 = 24;
/// Characters of a run's name that a study gives it.
const NAME_CHARACTERS_MAX: usize = 56;

/// What a run needs to know that applies a model.
pub(super) struct ToApply {
    pub(super) settings: ApplySettings,
    pub(super) application: Application,
    pub(super) schema: Schema,
    /// What the model's files know each other by.
    model: String,
}

impl ToApply {
    /// The columns of the output.
    fn columns(&self) -> Vec<KeptColumn> {
        columns_of(&self.schema, &self.application.kept, self.application.with_probabilities)
    }

    /// What each partition costs.
    pub(super) fn costs(&self) -> Vec<u64> {
        self.application.partitions.iter().map(|partition| partition.cost).collect()
    }

    /// Rows of each partition, as far as they are known.
    pub(super) fn rows(&self) -> Vec<u64> {
        self.application.partitions.iter().map(|partition| partition.rows.unwrap_or_default()).collect()
    }
}

impl ToApply {
    /// What is applied to what, for people who check it.
    pub(super) fn description(&self) -> String {
        let (files, partitions) = (self.application.files.len() as u64, self.application.partitions.len() as u64);
        let known = self.rows().iter().sum();
        format!(
            "{} applied to {} of {} in {}\n",
            self.settings.model.display(),
            counted(known, "row"),
            counted(files, "file"),
            counted(partitions, "partition")
        )
    }
}

/// What a run is called that applies a model of this study.
pub(super) fn name_of(study: &str) -> String {
    let name: String = study.chars().take(NAME_CHARACTERS_MAX).collect();
    format!("{name}-applied")
}

/// Opens the model and cuts the input.
pub(super) fn prepare(study: Study, settings: &ApplySettings) -> Result<Job, Failure> {
    let Opened { model, weights, digest } = folder::open(&settings.model).map_err(of_model)?;
    let numbers = match &model.schema.outputs {
        Outputs::Classes { names, .. } | Outputs::Values { names, .. } => names.len() as u64,
    };
    let rows_max = settings.partition_rows.min(PARTITION_BYTES_MAX / (NUMBER_BYTES * numbers.max(1))).max(1);
    let cut = cut(&model.schema, &settings.input, &settings.wanted, rows_max).map_err(Failure::wrong_use)?;
    cut.remarks.iter().for_each(|remark| say(format_args!("note: {remark}")));
    check(&model.schema, &cut.kept, settings.with_probabilities).map_err(Failure::wrong_use)?;
    let application =
        Application { files: cut.files, partitions: cut.partitions, kept: cut.kept, ..settings.uncut() };
    let finished = FinishedModel { schema: model.schema.clone(), layers: model.layers.description() };
    let weights = weights.to_safetensors().context("the weights of the model cannot be sent")?;
    let blob = Blob::new(Bytes::from(finished.to_blob(&weights).context("the model is too large to be sent")?))?;
    let description =
        StudyDescription { trainer: TrainerDescription::Model(application.clone()), ..study.description(Vec::new()) };
    let to_apply = ToApply { settings: settings.clone(), application, schema: model.schema, model: digest };
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

/// All that came of the partitions beside their answers.
#[derive(Default)]
struct Sum {
    rows: u64,
    bad_rows: u64,
    bad: Vec<(u32, BadRow)>,
    tally: Option<LabelTally>,
    far: Vec<FarRow>,
}

impl Sum {
    fn add(&mut self, file: u32, applied: Applied) {
        self.rows += applied.rows;
        self.bad_rows += applied.bad_rows;
        self.bad.extend(applied.bad.into_iter().map(|row| (file, row)));
        match (&mut self.tally, applied.tally) {
            (Some(tally), Some(more)) => tally.add(&more),
            (tally @ None, more) => *tally = more,
            (Some(_), None) => {}
        }
        self.far.extend(applied.far);
        self.far.sort_by(|one, other| other.distance.total_cmp(&one.distance));
        self.far.truncate(FAR_ROWS_MAX);
    }
}

/// Puts what came of the partitions into the output, all at once, and says how it went.
pub(super) fn conclude(to_apply: &ToApply, flags: DriveFlags, ended: Ended) -> Result<ExitCode, Failure> {
    let Ended { folder, outcome, error, run, claimed, .. } = ended;
    let Some(claimed) = claimed else { return Err(anyhow!("the output was not taken").into()) };
    let settings = &to_apply.settings;
    if let Some(error) = error {
        if matches!(error, RunError::TooFewNodes { .. }) && outcome.record.attempts.is_empty() {
            // Nothing was applied. Logs of local executors say what was wrong with them.
            claimed.release().map_err(Failure::of_output)?;
            folder.withdraw()?;
        } else {
            say_how_to_go_on_with(&folder, &progress_text(&outcome.partitions));
        }
        return Err(Failure { code: FAILED, error: error.into() });
    }
    if let Some((partition, reason)) = given_up(&outcome.partitions) {
        claimed.release().map_err(Failure::of_output)?;
        let file = to_apply.application.partitions.get(partition).map_or(0, |partition| partition.file);
        let path = to_apply.application.files.get(file as usize).map_or("the input", |file| &file.path);
        return Err(anyhow!(
            "nothing was written to {}: partition {partition}, of {path}, was given up: {reason}",
            settings.output.display()
        )
        .into());
    }
    if outcome.partitions.contains(&PartitionOutcome::Open) {
        say(format_args!("interrupted: {}", outcome.record.study));
        say_how_to_go_on_with(&folder, &progress_text(&outcome.partitions));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let record = &outcome.record;
    let (sum, files) = gather(to_apply, &folder, &outcome.partitions, &claimed, &run)?;
    write_bad_rows(to_apply, &folder, &sum)?;
    if sum.bad_rows > settings.bad_rows_max {
        claimed.release().map_err(Failure::of_output)?;
        return Err(too_many_bad_rows(settings, &folder, &sum));
    }
    let manifest = Manifest {
        version: VERSION,
        run,
        model: to_apply.model.clone(),
        kernel: record.kernel.clone(),
        format: settings.format,
        columns: to_apply.columns(),
        rows: sum.rows,
        bad_rows: sum.bad_rows,
        files,
        earlier: Vec::new(),
    };
    claimed.commit(&manifest).map_err(Failure::of_output)?;
    let summary = summary(to_apply, &sum, record.wall_s);
    folder.write_file("summary.json", format!("{summary:#}\n").as_bytes())?;
    if flags.json {
        print_json(format!("{summary:#}\n"))?;
    } else {
        let (executors, slots) = (counted(record.executors.into(), "executor"), counted(record.slots.into(), "slot"));
        let on = format!("{:.1} s on {executors} with {slots}", record.wall_s);
        print(text(to_apply, &folder, &sum, &on, record.wall_s))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The first partition that was given up, and why.
fn given_up(partitions: &[PartitionOutcome]) -> Option<(usize, &str)> {
    partitions.iter().enumerate().find_map(|(partition, outcome)| match outcome {
        PartitionOutcome::GivenUp { reason } => Some((partition, reason.as_str())),
        PartitionOutcome::Made(_) | PartitionOutcome::Open => None,
    })
}

fn progress_text(partitions: &[PartitionOutcome]) -> String {
    let made = partitions.iter().filter(|outcome| matches!(outcome, PartitionOutcome::Made(_))).count();
    format!("{made} of {} are over", counted(partitions.len() as u64, "partition"))
}

/// Takes the output for a run, or goes on with what the run took before.
pub(super) fn take_output(to_apply: &ToApply, folder: &RunFolder, run: &str) -> Result<Claim, Failure> {
    let ApplySettings { output, onto, .. } = &to_apply.settings;
    // A later command may be told of it from elsewhere.
    let path = std::path::absolute(folder.path()).context("cannot tell where the run's folder is")?;
    let claimed = claim(output, *onto, Runner { id: run, folder: &path }).map_err(Failure::of_output)?;
    let fits = claimed.check_like(to_apply.application.format, &to_apply.columns());
    if let Err(unlike) = fits {
        claimed.release().map_err(Failure::of_output)?;
        return Err(Failure::of_output(unlike));
    }
    Ok(claimed)
}

/// Puts the answers of each partition where they belong, one after the other, and adds up the rest.
fn gather(
    to_apply: &ToApply,
    folder: &RunFolder,
    partitions: &[PartitionOutcome],
    claimed: &Claim,
    run: &str,
) -> Result<(Sum, Vec<OutputFile>), Failure> {
    let (mut sum, mut files) = (Sum::default(), Vec::new());
    for (place, (outcome, partition)) in partitions.iter().zip(&to_apply.application.partitions).enumerate() {
        let PartitionOutcome::Made(name) = outcome else { continue };
        let path = folder.path().join(name);
        let artifact = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (applied, table) = Applied::of_artifact(&artifact)
            .with_context(|| format!("{} is damaged; start again, into a new folder", path.display()))?;
        let name = format!("part-{place:05}.{}", to_apply.settings.format);
        claimed.put(&name, table).map_err(Failure::of_output)?;
        files.push(OutputFile::of(&name, applied.rows, table, run));
        sum.add(partition.file, applied);
    }
    Ok((sum, files))
}

/// Leaves the rows that could not be read in the run's folder, each with its place and what is wrong with it.
fn write_bad_rows(to_apply: &ToApply, folder: &RunFolder, sum: &Sum) -> Result<(), Failure> {
    if sum.bad.is_empty() {
        return Ok(());
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["file", "row", "place", "reason"])?;
    for (file, BadRow { row, place, reason }) in &sum.bad {
        let path = to_apply.application.files.get(*file as usize).map_or("", |file| &file.path);
        writer.write_record([path, &row.to_string(), place, reason])?;
    }
    let bytes = writer.into_inner().map_err(|error| anyhow!("cannot list the rows: {error}"))?;
    Ok(folder.write_file(BAD_ROWS, &bytes)?)
}

fn too_many_bad_rows(settings: &ApplySettings, folder: &RunFolder, sum: &Sum) -> Failure {
    let (rows, most) = (counted(sum.bad_rows, "row"), settings.bad_rows_max);
    let first =
        sum.bad.first().map_or_else(String::new, |(_, row)| format!("; the first: {}: {}", row.place, row.reason));
    let list = folder.path().join(BAD_ROWS);
    anyhow!(
        "nothing was written to {}: {rows} cannot be read, and {most} may be{first}\nall of them are in {}; mend them, or \
         leave them out with --bad-rows-max {}",
        settings.output.display(),
        list.display(),
        sum.bad_rows
    )
    .into()
}

/// What came of it, for programs.
fn summary(to_apply: &ToApply, sum: &Sum, wall_s: f64) -> Value {
    let ToApply { settings, application, schema, .. } = to_apply;
    let mut summary = json!({
        "output": settings.output.display().to_string(),
        "rows": sum.rows,
        "bad_rows": sum.bad_rows,
        "files": application.files.len(),
        "partitions": application.partitions.len(),
        "wall_s": wall_s,
        "rows_per_s": rate(sum.rows, wall_s),
    });
    if let (Some(tally), Some(fields)) = (&sum.tally, summary.as_object_mut()) {
        fields.insert("labelled_rows".to_owned(), tally.rows().into());
        fields.insert("labels".to_owned(), labels_json(schema, tally));
        fields.insert("worst".to_owned(), sum.far.iter().map(|row| far_json(to_apply, row)).collect());
    }
    summary
}

fn rate(rows: u64, wall_s: f64) -> u64 {
    (rows as f64 / wall_s.max(1e-3)) as u64
}

/// The metrics of a tally.
fn labels_json(schema: &Schema, tally: &LabelTally) -> Value {
    let rows = tally.rows() as f64;
    match tally {
        LabelTally::Classes { loss, .. } => {
            let classes: Vec<_> = by_class(schema, tally)
                .into_iter()
                .map(|(name, ClassMeasures { rows, precision, recall, f1 })| {
                    json!({ "class": name, "rows": rows, "precision": precision, "recall": recall, "f1": f1 })
                })
                .collect();
            json!({ "error": error_of(tally), "loss": loss / rows, "classes": classes, "confusion": confusion(tally) })
        }
        LabelTally::Values { squared, absolute, .. } => {
            let each = squared.iter().zip(absolute).enumerate().map(|(output, (squared, absolute))| {
                let name = schema.output_name(output).unwrap_or_default();
                json!({ "output": name, "rmse": (squared / rows).sqrt(), "mae": absolute / rows })
            });
            json!({ "error": error_of(tally), "outputs": each.collect::<Vec<_>>() })
        }
    }
}

/// Rows by what was wanted, then by what was answered.
fn confusion(tally: &LabelTally) -> Vec<&[u64]> {
    match tally {
        LabelTally::Classes { classes, counts, .. } => counts.chunks_exact((*classes).max(1) as usize).collect(),
        LabelTally::Values { .. } => Vec::new(),
    }
}

/// The fraction of labelled rows that was answered wrongly, or the root mean square error over all outputs.
fn error_of(tally: &LabelTally) -> f64 {
    let rows = tally.rows() as f64;
    match tally {
        LabelTally::Classes { .. } => {
            let right: u64 = confusion(tally).iter().enumerate().map(|(wanted, answered)| answered[wanted]).sum();
            1.0 - right as f64 / rows
        }
        LabelTally::Values { squared, .. } => (squared.iter().sum::<f64>() / (rows * squared.len() as f64)).sqrt(),
    }
}

/// How one class was answered.
struct ClassMeasures {
    rows: u64,
    precision: f64,
    recall: f64,
    f1: f64,
}

fn by_class<'s>(schema: &'s Schema, tally: &LabelTally) -> BTreeMap<&'s str, ClassMeasures> {
    let confusion = confusion(tally);
    let share = |part: u64, whole: u64| if whole == 0 { f64::NAN } else { part as f64 / whole as f64 };
    let measures = |class: usize| {
        let right = confusion[class][class];
        let rows = confusion[class].iter().sum();
        let answered = confusion.iter().map(|wanted| wanted[class]).sum::<u64>();
        let (precision, recall) = (share(right, answered), share(right, rows));
        ClassMeasures { rows, precision, recall, f1: share(2 * right, rows + answered) }
    };
    let names = schema.class_names().iter().take(confusion.len()).enumerate();
    names.map(|(class, name)| (name.as_str(), measures(class))).collect()
}

fn far_json(to_apply: &ToApply, FarRow { file, row, wanted, answered, distance }: &FarRow) -> Value {
    let path = to_apply.application.files.get(*file as usize).map_or("", |file| &file.path);
    let shown = |value: f64| match to_apply.schema.class_names().get(value as usize) {
        Some(name) => json!(name),
        None => json!(value),
    };
    json!({ "file": path, "row": row, "wanted": shown(*wanted), "answered": shown(*answered), "distance": distance })
}

/// What came of it, for people.
fn text(to_apply: &ToApply, folder: &RunFolder, sum: &Sum, on: &str, wall_s: f64) -> String {
    let ToApply { settings, application, schema, .. } = to_apply;
    let (files, partitions) = (application.files.len() as u64, application.partitions.len() as u64);
    let mut text = format!(
        "{} of {} in {}; {} a second\n{on}\n",
        counted(sum.rows, "row"),
        counted(files, "file"),
        counted(partitions, "partition"),
        counted(rate(sum.rows, wall_s), "row"),
    );
    if sum.bad_rows > 0 {
        let list = folder.path().join(BAD_ROWS);
        let _ = writeln!(
            text,
            "{} could not be read and {} left out: {}",
            counted(sum.bad_rows, "row"),
            if sum.bad_rows == 1 { "was" } else { "were" },
            list.display()
        );
    }
    if let Some(tally) = &sum.tally {
        let rows = counted(tally.rows(), "row");
        let _ = match tally {
            LabelTally::Classes { .. } => {
                writeln!(text, "error {:.2} % on {rows} with labels", 100.0 * error_of(tally))
            }
            LabelTally::Values { .. } => {
                writeln!(text, "root mean square error {:.4} on {rows} with labels", error_of(tally))
            }
        };
        for (name, ClassMeasures { rows, precision, recall, f1 }) in by_class(schema, tally) {
            let _ = writeln!(
                text,
                "  {name}: {}, precision {:.2} %, recall {:.2} %, F1 {:.2} %",
                counted(rows, "row"),
                100.0 * precision,
                100.0 * recall,
                100.0 * f1
            );
        }
    }
    let _ = writeln!(text, "written: {}", settings.output.display());
    text
}
