//! `broadsweep apply`: the model of a run, or a program, applied to as many rows as there are.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use broadsweep_common::application::{OutputFormat, Wanted};
use broadsweep_objects::{ObjectAddress, ObjectError};
use clap::Args;

use super::Failure;
use super::application::{name_of, prepare};
use super::drive::{Drive, DriveFlags, ShownProgress, drive};
use super::executors::{Choice, ExecutorFlags};
use super::mapped::{self, ProgramFlags};
use super::predict::of_model;
use super::tune::{RUNS, kernel};
use crate::cluster::roster::Roster;
use crate::model::{folder, foreign};
use crate::results::folder::RunFolder;
use crate::study::{self, ApplySettings, ForeignSettings, Mapping, Onto, PARTITION_ROWS, PARTITION_ROWS_MAX};
use crate::time_span::TimeSpan;

/// Above the flags for models of other programs.
const FOREIGN: &str = "For ONNX files";

const EXAMPLES: &str = "\
Examples:
  broadsweep apply runs/mine-20261122T194953Z --input new.parquet --output predicted
  broadsweep apply best --input 'data/**/*.csv' --output predicted --keep id --format csv
  broadsweep apply net.onnx --input images.npy --output predicted --divide-by 255
  broadsweep apply best --input /shared/rows --output /shared/predicted --nodes 'n[01-13]'
  broadsweep apply --program 'python3 map.py' --input new.parquet --output mapped --keep id

The input is cut into partitions, and each is a task of its own: executors read their rows themselves where they \
see the same files (their lengths and times too) under the same names, below a folder that `broadsweep executor --allow-files` \
names there; to others this driver sends what each task needs of them. The output is a \
folder with a file for each partition and manifest.json; it appears once all rows are written, and not before. Each row is \
there once, whatever happens on the way, and the bytes are the same on any number of executors: of a program, if its answer to \
a row depends on nothing else.

An ONNX file (of Keras by tf2onnx, of scikit-learn by skl2onnx) is applied alike, by a program that was built with \
--features onnx. Its one input takes the columns of a table in their order, without those of --keep and --labels, or arrays \
and pictures, bytes as 0 to 255 unless --divide-by says otherwise; of several inputs, each takes the column of its name. \
What a softmax answers, or a classifier beside its label, is of classes, called as the file calls them; other numbers are \
values, unless --class-names makes them scores of classes. Its bytes are the same on processors of one kind only.

On a store the files of the output have names of their own, and manifest.json, which is put last, says which of them count. \
The endpoint and credentials are those of the environment, of each process its own: AWS_ACCESS_KEY_ID, \
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL. Executors read objects that `broadsweep executor --allow-stores` names; \
the driver sends them the rows of others.

Ctrl-C stops it; `broadsweep resume` goes on, as it does after a crash.

Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct ApplyArgs {
    /// The model: the folder of a run, its `best/`, or a model.toml; or another program's, as an ONNX file
    #[arg(value_name = "MODEL", required_unless_present = "program", conflicts_with = "program")]
    model: Option<PathBuf>,

    /// The rows: tables, arrays or pictures as the model was trained on, folders of them, or quoted patterns such as
    /// 'data/*.parquet' (with `*`, `?`, `[a-z]`, and `**` for any folders); also `s3://bucket/key`, prefixes and
    /// patterns of keys, and `https://` or `http://` for single files. May be given several times
    #[arg(long, value_name = "FILE|DIR|PATTERN|URL", required = true, num_args = 1..)]
    input: Vec<PathBuf>,

    /// The folder that gets the answers, or `s3://bucket/prefix`
    #[arg(long, value_name = "DIR|URL")]
    output: PathBuf,

    /// Replace what is there, once all rows are written
    #[arg(long, conflicts_with = "append")]
    overwrite: bool,

    /// Add the rows to those that are there
    #[arg(long)]
    append: bool,

    /// Write the answers as parquet, csv or jsonl
    #[arg(long, value_name = "FORMAT", default_value = "parquet", value_parser = format_of)]
    format: OutputFormat,

    /// Columns of the input that are passed through: id,name
    #[arg(long, value_name = "COLUMN,..", value_delimiter = ',')]
    keep: Vec<String>,

    /// Compare the answers with this column of the input
    #[arg(long, value_name = "COLUMN")]
    labels: Option<String>,

    /// Write the class alone, without the probability of each
    #[arg(long)]
    no_probabilities: bool,

    /// Go on in spite of so many rows that cannot be read; they are left out, and listed in the run's folder
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=i64::MAX as u64))]
    bad_rows_max: u64,

    /// Rows of a partition, where the input can be cut so
    #[arg(long, value_name = "N", default_value_t = PARTITION_ROWS, value_parser = clap::value_parser!(u64).range(1..=PARTITION_ROWS_MAX))]
    partition_rows: u64,

    /// What the classes of an ONNX file are called, in their order; what it answers are scores then
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', help_heading = FOREIGN)]
    class_names: Vec<String>,

    /// Divide the values of a row by this before an ONNX file gets them, as 255 for pixels [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = divisor, help_heading = FOREIGN)]
    divide_by: Option<f64>,

    #[command(flatten)]
    program: ProgramFlags,

    #[command(flatten)]
    executors: ExecutorFlags,

    /// Folder of this run, missing or empty [default: runs/<study>-applied-<time>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// What executors multiply with: avx512, avx2, portable or gemm [default: what the model was trained with]
    #[arg(long, value_name = "NAME", value_parser = kernel)]
    kernel: Option<&'static str>,

    /// End in order after so long, as 90s, 30min or 2h; `broadsweep resume` goes on
    #[arg(long, value_name = "TIME")]
    max_time: Option<TimeSpan>,

    /// Say nothing of how far it is: only results, warnings and errors
    #[arg(short, long)]
    quiet: bool,

    /// Print the summary as JSON instead of text
    #[arg(long)]
    json: bool,
}

fn divisor(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "it has to be a number above 0".to_owned())
}

/// One of the formats that there are.
fn format_of(word: &str) -> Result<OutputFormat, String> {
    let known = OutputFormat::WORDS;
    let found = known.iter().find(|(name, _)| *name == word);
    let names = || known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    found.map(|(_, format)| *format).ok_or_else(|| format!("the formats are {}", names()))
}

/// A path that means the same wherever a later driver starts, and that a text can hold.
fn from_the_root(path: &Path) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(path).with_context(|| format!("cannot tell where {} is", path.display()))?;
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(Failure::wrong_use(anyhow!("{} is no UTF-8 text; name it otherwise", path.display()))),
    }
}

/// The same of what may be on a store too.
fn place_of(path: &Path) -> Result<PathBuf, Failure> {
    if !ObjectAddress::is_meant(path) {
        return from_the_root(path);
    }
    let address = ObjectAddress::parse(&path.to_string_lossy()).map_err(Failure::wrong_use)?;
    if !broadsweep_objects::is_built() {
        return Err(Failure::wrong_use(ObjectError::NotBuilt));
    }
    Ok(PathBuf::from(address.to_string()))
}

impl ApplyArgs {
    fn mapping(&self) -> Result<Mapping, Failure> {
        match (self.program.settings()?, &self.model) {
            (Some(program), _) => Ok(Mapping::Program(program)),
            (None, Some(model)) => Ok(Mapping::Model(from_the_root(model)?)),
            (None, None) => Err(Failure::wrong_use(anyhow!("name a model, or a program with --program"))),
        }
    }

    fn settings(&self) -> Result<ApplySettings, Failure> {
        Ok(ApplySettings {
            mapping: self.mapping()?,
            input: self.input.iter().map(|path| place_of(path)).collect::<Result<_, _>>()?,
            output: place_of(&self.output)?,
            onto: match (self.overwrite, self.append) {
                (true, _) => Onto::Overwrite,
                (_, true) => Onto::Append,
                _ => Onto::New,
            },
            wanted: Wanted { keep: self.keep.clone(), labels: self.labels.clone() },
            format: self.format,
            with_probabilities: !self.no_probabilities,
            partition_rows: self.partition_rows,
            bad_rows_max: self.bad_rows_max,
            foreign: ForeignSettings { class_names: self.class_names.clone(), divide_by: self.divide_by },
        })
    }
}

pub(super) fn run(args: &ApplyArgs, verbose: bool) -> Result<ExitCode, Failure> {
    // What can be wrong with flags, model and input is said before anything of the run is made.
    let mut choice = Choice::of(&args.executors).map_err(Failure::wrong_use)?;
    let settings = args.settings()?;
    if !settings.is_foreign() && settings.foreign != ForeignSettings::default() {
        return Err(Failure::wrong_use(anyhow!(
            "--class-names and --divide-by are for ONNX files; a model of ours and a program know both"
        )));
    }
    let (name, kernel) = match &settings.mapping {
        Mapping::Model(model) if settings.is_foreign() => (foreign::name(model), None),
        Mapping::Model(model) => {
            let about = folder::describe(model).map_err(of_model)?.about;
            (about.study, broadsweep_nn::KERNELS.into_iter().find(|known| *known == about.kernel))
        }
        Mapping::Program(program) => (mapped::name_of(program), None),
    };
    let name = name_of(&name);
    let study = study::parse(&settings.text(&name), "the run's study.toml").map_err(Failure::wrong_use)?;
    let job = prepare(study, &settings, (Path::new(""), None), &choice.destination())?;
    let policy = job.study.scheduling.validate().map_err(Failure::wrong_use)?;
    let out = args.out.as_deref();
    let folder = RunFolder::create(out, Path::new(RUNS), &name, SystemTime::now())
        .map_err(|error| Failure::of_out(&error, out))?;
    choice.prepare().map_err(Failure::wrong_use)?;
    folder.write_study(job.study.text())?;
    let study_folder = std::env::current_dir().context("cannot tell where this command was started")?;
    let roster = Roster::create(folder.path(), study_folder, choice.crew())
        .with_context(|| format!("cannot write into {}", folder.path().display()))?;
    let flags = DriveFlags {
        connect_timeout: Duration::from_secs(args.executors.connect_timeout),
        nodes_min: args.executors.nodes_min,
        take_over: args.executors.take_over,
        kernel: args.kernel.or(kernel),
        shown: ShownProgress::of(verbose, args.quiet),
        time_max: args.max_time.map(|span| span.0),
        json: args.json,
    };
    drive(Drive { job, policy, folder, roster, choice, flags, resumes: None, wish: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_as_it_is_and_without_stores_it_is_said_how_to_build_them() {
        let place = place_of(Path::new("s3://bucket/prefix/"));
        if broadsweep_objects::is_built() {
            assert_eq!(place.ok().unwrap().to_str(), Some("s3://bucket/prefix"));
        } else {
            let error = place.err().unwrap().error.to_string();
            assert!(error.contains("--features stores"), "{error}");
        }
        let secret = place_of(Path::new("https://me:word@host/rows.csv")).err().unwrap().error.to_string();
        assert!(secret.contains("leave them out") && !secret.contains("word@"), "{secret}");
        assert!(place_of(Path::new("rows.csv")).ok().unwrap().is_absolute());
    }
}
