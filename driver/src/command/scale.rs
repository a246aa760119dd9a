//! `broadsweep scale`: one study on clusters of several sizes, and what the nodes bought.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use broadsweep_common::size::ByteSize;
use broadsweep_executor::command::{MAX_S, ORPHAN_TIMEOUT_S};
use broadsweep_executor::machine::cores;
use clap::Args;

use super::drive::{Drive, DriveFlags, Ended, ShownProgress, run as drive_run, say_if_missing, write};
use super::executors::{CONNECT_TIMEOUT_S, IdentityFlags, cache_folder, user_cache};
use super::hint;
use super::interrupts::Interrupts;
use super::load::{Job, load_from};
use super::say::{print, print_json, safe_in, say};
use super::series::{
    BROKEN_OFF, REPEATS_MAX, SERIES, Series, SeriesCrew, WARM, clear, finished, first_contact, run_name, study_digest,
};
use super::sizes::Sizes;
use super::tune::{RUNS, kernel, study_folder};
use super::{Failure, GIVEN_UP, INTERRUPTED};
use crate::cluster::local::LocalShape;
use crate::cluster::nodes::read_nodes;
use crate::cluster::roster::Roster;
use crate::report::Report;
use crate::results::comparison::{Comparison, FirstContact, Member};
use crate::results::folder::RunFolder;
use crate::results::show::counted;
use crate::run::RunError;
use crate::study;
use broadsweep_data::destination::Destination;

/// As [`WARM`], when the comparison goes on.
const WARM_AGAIN: &str = "warm-again";
/// One trial that takes no time.
const WARM_STUDY: &str = "name = 'warm'\n[trainer]\nkind = 'replay'\nseconds = 0\nerror = 0.5\n";

const AFTER_HELP: &str = "\
Examples:
  broadsweep scale study.toml --sizes 1,2 --local 2x1                     this machine's cores
  broadsweep scale study.toml --sizes 1,2,13 --nodes nodes.txt --out cmp  the first 1, 2 and 13 nodes of a list
  broadsweep scale runs/mine-applied/study.toml --sizes 1,2 --local 2x1   a model applied to the same rows once more

All nodes of a size take part, or the run fails. Sizes take turns, so that what goes on beside them hits all. Before the \
first run that is measured, all executors get the data once; with --cold none of them has it when a run begins. If the \
results are not the same on all sizes, to the last bit, the command fails and names the runs. What a model answers stays in the runs' folders. Of a \
program that is not deterministic, the same configurations have to have a result on all sizes, and how far their numbers are apart is told.

Ctrl-C ends it; the same command with --out, or --resume, makes the runs that are missing. If the driver was killed, its nodes stay held for a while: add --take-over.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 done with trials given up or results in doubt, 130 interrupted";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct ScaleArgs {
    /// The study file
    #[arg(value_name = "STUDY.toml", required_unless_present = "resume")]
    study: Option<PathBuf>,

    /// Go on with the comparison in this folder, as it was asked for
    #[arg(long, value_name = "DIR", conflicts_with_all = ["study", "sizes", "local", "nodes", "repeats", "cold", "rehash", "out",
        "connect_timeout", "kernel", "cache_dir", "cache_bytes", "orphan_timeout"])]
    resume: Option<PathBuf>,

    /// Executors of the clusters that are compared
    #[arg(long, value_name = "N,N,..", default_value = "1,2")]
    sizes: Sizes,

    /// Use this machine: E executors, or `ExS` for E executors of S slots each [default: as many as the largest size, of
    /// one slot]
    #[arg(long, value_name = "E|ExS", conflicts_with = "nodes")]
    local: Option<LocalShape>,

    /// Use executors that run elsewhere: host,host:port,node[01-04] or a file with a line a node
    #[arg(long, value_name = "LIST|FILE")]
    nodes: Option<OsString>,

    #[command(flatten)]
    identity: IdentityFlags,

    /// Runs of each size; the table has their medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(REPEATS_MAX)))]
    repeats: u32,

    /// Let every run begin without the data: a fresh cache folder for local executors
    #[arg(long, conflicts_with = "cache_dir")]
    cold: bool,

    /// Folder of the comparison: missing, empty, or one to go on with [default: runs/<study>-scale-<time>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Seconds to wait for the nodes to answer
    #[arg(long, value_name = "SECONDS", default_value_t = CONNECT_TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    connect_timeout: u64,

    /// What executors multiply with: avx512, avx2, portable, or gemm
    #[arg(long, value_name = "NAME", value_parser = kernel)]
    kernel: Option<&'static str>,

    /// Folder in which local executors keep data sets across runs [default: broadsweep in the user's cache folder]
    #[arg(long, value_name = "DIR", conflicts_with = "nodes")]
    cache_dir: Option<PathBuf>,

    /// What that folder may have, as 20GB or 512MiB
    #[arg(long, value_name = "SIZE", conflicts_with = "nodes")]
    cache_bytes: Option<ByteSize>,

    /// Seconds that local executors outlive this driver if it is killed
    #[arg(long, value_name = "SECONDS", conflicts_with = "nodes", default_value_t = ORPHAN_TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..=MAX_S))]
    orphan_timeout: u64,

    /// Take nodes over that another run holds, and end its hold: also one of a comparison whose driver was killed
    #[arg(long)]
    take_over: bool,

    /// Read and hash all data files anew, also if they did not change since they were read
    #[arg(long)]
    rehash: bool,

    /// Say nothing of how far it is: only results, warnings and errors
    #[arg(short, long)]
    quiet: bool,

    /// Print the comparison as JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ScaleArgs, verbose: bool) -> Result<ExitCode, Failure> {
    let (folder, series) = match (&args.resume, &args.study) {
        (Some(path), _) => {
            let series = Series::read(path).map_err(Failure::wrong_use)?;
            (RunFolder::open_with(path, SERIES).map_err(Failure::of_folder)?, series)
        }
        (None, Some(study)) => begin(args, study)?,
        (None, None) => return Err(Failure::wrong_use(anyhow!("name a study, or a folder with --resume"))),
    };
    series.check_study(folder.path()).map_err(Failure::wrong_use)?;
    let shown = ShownProgress::of(verbose, args.quiet);
    let introduction = args.identity.introduction().unwrap_or_else(|| series.introduction.clone());
    let series = Series { introduction, ..series };
    let work = Work { folder, series, take_over: args.take_over, shown };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the network's threads")?;
    let ended = runtime.block_on(work.make_all());
    drop(runtime);
    let Some(members) = ended? else {
        let (there, all) = (work.finished().count(), work.series.runs().count());
        say(format_args!("interrupted: {there} of {all} runs are there"));
        say(format_args!("to go on: {}", hint::resume_scale(work.folder.path())));
        return Ok(ExitCode::from(INTERRUPTED));
    };
    work.conclude(members, args.json)
}

/// What the flags ask for, in a new folder or in the one that was begun with them.
fn begin(args: &ScaleArgs, study: &Path) -> Result<(RunFolder, Series), Failure> {
    let destination = destination(args).map_err(Failure::wrong_use)?;
    let job = load_from(study, study.parent().unwrap_or_else(|| Path::new("")), &destination)?;
    let series = asked_for(args, study, job.study.text()).map_err(Failure::wrong_use)?;
    series.check_parallel(&job.study).map_err(|error| Failure::wrong_use(*error))?;
    if job.study.search.max_time.is_some() {
        let message = "a clock would end small clusters before large ones, and they could not be compared";
        let error = job.study.at("search.stop.max_time", message).with_note("leave `max_time` out");
        return Err(Failure::wrong_use(error));
    }
    let path = args.out.as_deref().filter(|out| out.join(SERIES).is_file());
    if let Some(path) = path {
        let folder = RunFolder::open_with(path, SERIES).map_err(Failure::of_folder)?;
        if !path.join("study.toml").exists() {
            folder.write_study(job.study.text())?;
        }
        let known = Series::read(path).map_err(Failure::wrong_use)?;
        if known != series {
            let what = if known.study == series.study { "other flags" } else { "another study" };
            let shown = path.display();
            return Err(Failure::wrong_use(anyhow!(
                "{shown} holds a comparison that was begun with {what}; name a new folder with --out, or go on with \
                 `{}`",
                hint::resume_scale(path)
            )));
        }
        return Ok((folder, series));
    }
    let name = format!("{}-scale", job.study.name);
    let out = args.out.as_deref();
    let mut folder = RunFolder::create(out, Path::new(RUNS), &name, SystemTime::now())
        .map_err(|error| Failure::of_out(&error, out))?;
    if !series.cold {
        series.choice(series.largest()).and_then(|mut choice| choice.prepare()).map_err(Failure::wrong_use)?;
    }
    // First what makes the folder one of a comparison: after a kill in between, the same command goes on.
    folder.write_file(SERIES, series.to_json()?.as_bytes())?;
    folder.write_study(job.study.text())?;
    folder.begin();
    Ok((folder, series))
}

/// Where the data set is put that its runs share.
fn destination(args: &ScaleArgs) -> anyhow::Result<Destination> {
    let destination = match &args.nodes {
        Some(_) => user_cache(),
        None if args.cold => Destination::Temporary,
        None => {
            let (folder, bytes_max) = (cache_folder(args.cache_dir.as_deref())?, args.cache_bytes.map(|size| size.0));
            Destination::LocalCache { folder, bytes_max, rehash: false }
        }
    };
    Ok(destination.rehashing(args.rehash))
}

fn asked_for(args: &ScaleArgs, study: &Path, text: &str) -> anyhow::Result<Series> {
    let sizes = args.sizes.0.clone();
    let largest = sizes.last().copied().unwrap_or(1);
    let crew = if let Some(nodes) = &args.nodes {
        SeriesCrew::Nodes(read_nodes(nodes)?.iter().map(ToString::to_string).collect())
    } else {
        let shape = args.local.unwrap_or(LocalShape { executors: largest, slots: Some(1) });
        if largest > shape.executors {
            bail!("--sizes {largest} of --local {shape}: there are too few executors; write --local {largest}x1");
        }
        SeriesCrew::Local {
            // The same for each executor, whatever the size: otherwise sizes could not be compared.
            slots: shape.slots.unwrap_or((cores() / shape.executors).max(1)),
            cache: cache_folder(args.cache_dir.as_deref())?,
            cache_bytes: args.cache_bytes.map(|size| size.0),
            orphan_timeout_s: args.orphan_timeout,
        }
    };
    let series = Series {
        study: study_digest(text.as_bytes()),
        study_folder: study_folder(study)?,
        sizes,
        repeats: args.repeats,
        cold: args.cold,
        connect_timeout_s: args.connect_timeout,
        kernel: args.kernel.map(ToOwned::to_owned),
        introduction: args.identity.introduction().unwrap_or_default(),
        crew,
    };
    series.check()?;
    Ok(series)
}

/// A comparison that goes on.
struct Work {
    folder: RunFolder,
    series: Series,
    take_over: bool,
    shown: ShownProgress,
}

impl Work {
    fn say_unless_quiet(&self, line: impl Display) {
        if self.shown != ShownProgress::Nothing {
            say(line);
        }
    }

    /// The runs that are over.
    fn finished(&self) -> impl Iterator<Item = Member> {
        self.series.runs().filter_map(|(size, repeat)| finished(self.folder.path(), size, repeat))
    }

    /// Makes the runs that are missing; `None` if that was interrupted.
    async fn make_all(&self) -> Result<Option<Vec<Member>>, Failure> {
        let folder = self.folder.path();
        let interrupts = Interrupts::listen(match self.series.crew {
            SeriesCrew::Local { .. } => format!(
                "its executors end with it, and the run under way is made anew\nto go on: {}",
                hint::resume_scale(folder)
            ),
            SeriesCrew::Nodes(_) => format!(
                "the run under way is made anew, and its nodes stay held until then\nto go on: {}",
                hint::resume_scale_and_take_over(folder)
            ),
        })?;
        // A model that is applied is small beside its rows, which nobody keeps.
        let is_warmed = !self.series.cold && self.load()?.to_apply.is_none();
        let is_there = |(size, repeat): &(u32, u32)| finished(self.folder.path(), *size, *repeat).is_some();
        let missing: Vec<_> = self.series.runs().filter(|run| !is_there(run)).collect();
        if !missing.is_empty() && is_warmed && !Box::pin(self.warm(&interrupts)).await? {
            return Ok(None);
        }
        for (size, repeat) in missing {
            let of = format!("run {repeat} of {}", self.series.repeats);
            self.say_unless_quiet(format_args!("{}, {of}", counted(size.into(), "executor")));
            let job = self.load()?;
            if !Box::pin(self.make(&run_name(size, repeat), size, job, &interrupts)).await? {
                return Ok(None);
            }
        }
        Ok(Some(self.finished().collect()))
    }

    /// Brings the data to all executors, with one trial of no time: nothing of it is measured. Also without data it
    /// shows that all of them are there, before hours are spent on the small sizes.
    ///
    /// The first time stays for the record; when the comparison goes on later, it is only made sure of.
    async fn warm(&self, interrupts: &Interrupts) -> Result<bool, Failure> {
        let size = self.series.largest();
        let name = if self.first_contact().is_some() { WARM_AGAIN } else { WARM };
        let executors = counted(size.into(), "executor");
        self.say_unless_quiet(format_args!("{executors}, for the data only: this run is not measured"));
        let job = self.load()?.with_study(study::parse(WARM_STUDY, WARM)?)?;
        let is_over = Box::pin(self.make(name, size, job, interrupts)).await?;
        clear(&self.folder.path().join(WARM_AGAIN))?;
        Ok(is_over)
    }

    /// What it took to bring the data to all executors the first time.
    fn first_contact(&self) -> Option<FirstContact> {
        first_contact(self.folder.path())
    }

    fn load(&self) -> Result<Job, Failure> {
        let destination = self.series.choice(self.series.largest())?.destination();
        let mut job = load_from(&self.folder.path().join("study.toml"), &self.series.study_folder, &destination)?;
        if let Some(to_apply) = &mut job.to_apply {
            to_apply.has_output = false;
        }
        Ok(job)
    }

    /// Makes one run; `false` if it was interrupted.
    async fn make(&self, name: &str, size: u32, job: Job, interrupts: &Interrupts) -> Result<bool, Failure> {
        if interrupts.has_come() {
            return Ok(false);
        }
        let path = self.folder.path().join(name);
        if clear(&path)? {
            if name == WARM {
                self.folder.write_file(BROKEN_OFF, b"")?;
            }
            say(format_args!("{name} did not end, or cannot be read back: it is made anew"));
        }
        let mut choice = self.series.choice(size)?;
        choice.prepare()?;
        let folder = RunFolder::create(Some(&path), Path::new(RUNS), &job.study.name, SystemTime::now())?;
        folder.write_study(job.study.text())?;
        let roster = Roster::create(folder.path(), self.series.study_folder.clone(), choice.crew())
            .with_context(|| format!("cannot write into {}", path.display()))?;
        let flags = DriveFlags {
            connect_timeout: Duration::from_secs(self.series.connect_timeout_s),
            nodes_min: size,
            take_over: self.take_over && matches!(self.series.crew, SeriesCrew::Nodes(_)),
            kernel: self.series.kernel.as_deref().map(kernel).transpose().map_err(|error| anyhow!(error))?,
            shown: self.shown,
            time_max: None,
            json: true,
        };
        let policy = job.study.scheduling.validate().map_err(Failure::wrong_use)?;
        let model = job.model_source();
        let drive = Drive { job, policy, folder, roster, choice, flags, resumes: None, wish: None };
        let Ended { folder, outcome, error, .. } = Box::pin(drive_run(drive, interrupts)).await?;
        match error {
            Some(error @ RunError::TooFewNodes { .. }) => {
                folder.withdraw()?;
                return Err(self.failed(name, error));
            }
            Some(error) => return Err(self.failed(name, error)),
            None => {}
        }
        write(&folder, &outcome, model.as_deref())?;
        Ok(outcome.record.is_over())
    }

    /// A run that cannot be made ends the comparison; what is there stays.
    fn failed(&self, name: &str, error: RunError) -> Failure {
        let again = hint::resume_scale(self.folder.path());
        let error = anyhow::Error::from(error);
        anyhow!("the run {name} failed: {error}\nto go on: {again}").into()
    }

    /// Writes the comparison, prints it, and says how it went.
    fn conclude(&self, members: Vec<Member>, json: bool) -> Result<ExitCode, Failure> {
        let path = self.folder.path().display();
        let unread = self.series.missing(&members);
        if !unread.is_empty() {
            let runs = unread.join(", ");
            let again = hint::resume_scale(self.folder.path());
            return Err(anyhow!("{runs}: cannot be read back\nto make them again: {again}").into());
        }
        let failed: usize = members.iter().map(|member| member.record.counts().failed).sum();
        let unmeasured: usize = members.iter().map(|member| member.record.unmeasured()).sum();
        let is_suspect = members.iter().any(|member| member.record.is_suspect());
        let has_none = members.iter().any(|member| member.record.trains() && member.record.best().is_none());
        let study = members.first().map(|member| member.record.study.clone()).unwrap_or_default();
        let smallest = members.iter().min_by_key(|member| member.size).map(|member| member.record.clone());
        let sameness = Series::sameness(self.folder.path())?;
        let comparison = Comparison::of(&study, sameness, self.series.cold, self.first_contact(), members);
        self.folder.write_file("scale.csv", comparison.csv().as_bytes())?;
        self.folder.write_file("scale.json", (comparison.json() + "\n").as_bytes())?;
        if let Some(run) = &smallest {
            let page = Report { run, comparison: Some(&comparison) }.html();
            say_if_missing(self.folder.write_report(&page), self.folder.path());
        }
        let printed = if json {
            print_json(comparison.json() + "\n")
        } else {
            print(format!("{}\nresults in {path}\n", comparison.text()))
        };
        printed.map_err(|error| safe_in(self.folder.path(), &error))?;
        if let Some(disagreement) = comparison.disagreement() {
            return Err(anyhow!("{disagreement}").into());
        }
        Ok(if failed + unmeasured > 0 || has_none || is_suspect {
            ExitCode::from(GIVEN_UP)
        } else {
            ExitCode::SUCCESS
        })
    }
}
