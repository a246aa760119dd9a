//! The folder of a comparison: what is asked for, and which of its runs are there. Each run has a folder in it of its
//! own, an ordinary one: `13-2` is the second run on 13 executors.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use broadsweep_common::ids::Digest;
use broadsweep_proto::secret::Secret;
use serde::{Deserialize, Serialize};

use super::executors::{Choice, MadeFolders, cold_cache, drop_cold_cache};
use super::hint;
use super::sizes::Sizes;
use crate::cluster::local::{EXECUTORS_MAX, LocalShape};
use crate::cluster::roster::{Introduction, LocalCrew, Roster};
use crate::path_text;
use crate::records::searched::SearchRecord;
use crate::results::comparison::{FirstContact, Member};
use crate::results::folder::{RunFolder, is_held};
use crate::results::show::counted;
use crate::results::spread::Sameness;
use crate::run::read;
use crate::study::{self, Diagnostic, Study};

/// What the folder says of the comparison.
pub(super) const SERIES: &str = "series.json";
/// The run that brings the data to all executors before anything is measured.
pub(super) const WARM: &str = "warm";
/// Stands there if that run was broken off once: executors may have data that no record tells of.
pub(super) const BROKEN_OFF: &str = "warm-broken-off";
/// Bytes that this file may have: a line for each of ten thousand nodes.
const SERIES_BYTES_MAX: u64 = 16 << 20;
/// Runs of each size.
pub(super) const REPEATS_MAX: u32 = 100;

/// What is compared, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// The digest of the study's text: all runs are of the same.
    pub(super) study: String,
    /// Where the paths in the study start from.
    #[serde(with = "path_text")]
    pub(super) study_folder: PathBuf,
    /// In ascending order.
    pub(super) sizes: Vec<u32>,
    pub(super) repeats: u32,
    /// Whether each run begins with an empty cache.
    pub(super) cold: bool,
    pub(super) connect_timeout_s: u64,
    pub(super) kernel: Option<String>,
    /// Who the driver is to nodes.
    #[serde(default)]
    pub(super) introduction: Introduction,
    pub(super) crew: SeriesCrew,
}

/// Whose executors they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SeriesCrew {
    /// Of these nodes the first ones.
    Nodes(Vec<String>),
    /// This machine's.
    Local {
        /// Of each executor.
        slots: u32,
        #[serde(with = "path_text")]
        cache: PathBuf,
        cache_bytes: Option<u64>,
        orphan_timeout_s: u64,
    },
}

impl Series {
    /// What the folder at `path` says.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = path.join(SERIES);
        let shown = file.display();
        let length = fs::metadata(&file).with_context(|| {
            format!(
                "{} is no folder of a comparison: it has no {SERIES}; name one that `broadsweep scale` wrote",
                path.display()
            )
        })?;
        if length.len() > SERIES_BYTES_MAX {
            bail!("{shown} has {} bytes, more than such a file has", length.len());
        }
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {shown}"))?;
        Self::parse(&text).map_err(|error| anyhow!("{shown} is damaged: {error}; start a new comparison"))
    }

    /// What the text of such a file says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let series: Self = serde_json::from_str(text)?;
        series.check()?;
        Ok(series)
    }

    /// Whether these clusters and runs can be.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let sizes = self.sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let known: Sizes = sizes.parse().map_err(|error: String| anyhow!(error))?;
        if known.0 != self.sizes || !(1..=REPEATS_MAX).contains(&self.repeats) {
            bail!("no such sizes or repeats were asked for");
        }
        let largest = self.largest();
        match &self.crew {
            SeriesCrew::Nodes(_) if self.cold => bail!(
                "--cold is for local executors: nodes keep what they have. Empty each one's cache with `broadsweep \
                 cache clear` before the first run; every comparison says what its first contact took"
            ),
            SeriesCrew::Nodes(nodes) if (largest as usize) > nodes.len() => {
                bail!("--sizes {largest} of {}: there are too few", counted(nodes.len() as u64, "node"))
            }
            SeriesCrew::Local { .. } if largest > EXECUTORS_MAX => bail!(
                "--sizes {largest}: this machine lends {EXECUTORS_MAX} executors at most; name smaller sizes, or \
                 executors that run elsewhere with --nodes"
            ),
            SeriesCrew::Local { slots, .. } => {
                // As if it had been written: what is possible is known there.
                let _: LocalShape = format!("{largest}x{slots}").parse().map_err(|error: String| anyhow!(error))?;
            }
            SeriesCrew::Nodes(_) => {}
        }
        Ok(())
    }

    /// Whether the study in the comparison's folder is still the one that it began with.
    pub(super) fn check_study(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join("study.toml");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if study_digest(&text) != self.study {
            bail!(
                "{} is not what the comparison began with, and its runs could not be compared; put it back, or start a \
                 new comparison",
                path.display()
            );
        }
        Ok(())
    }

    /// What the runs of the study in the comparison's folder have to have in common.
    pub(super) fn sameness(folder: &Path) -> anyhow::Result<Sameness> {
        let path = folder.join("study.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Sameness::of(&study::parse(&text, &path.display().to_string())?))
    }

    /// The runs that are not over, or cannot be read back, by their names.
    pub(super) fn missing(&self, members: &[Member]) -> Vec<String> {
        let is_there = |run: &(u32, u32)| members.iter().any(|member| (member.size, member.repeat) == *run);
        self.runs().filter(|run| !is_there(run)).map(|(size, repeat)| run_name(size, repeat)).collect()
    }

    /// As a file.
    pub(super) fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The runs in the order in which they are made: each size once, then each size again, so that what goes on beside
    /// them hits all sizes.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u32, u32)> {
        (1..=self.repeats).flat_map(|repeat| self.sizes.iter().map(move |size| (*size, repeat)))
    }

    /// The largest cluster.
    pub(super) fn largest(&self) -> u32 {
        self.sizes.last().copied().unwrap_or(1)
    }

    /// Refuses a search that keeps fewer slots busy than the largest size has: it would be no faster there.
    pub(super) fn check_parallel(&self, study: &Study) -> Result<(), Box<Diagnostic>> {
        let Some(SearchRecord { parallel, is_asynchronous, .. }) = study.search_record() else { return Ok(()) };
        if is_asynchronous {
            let message = "runs whose results count as they come decide otherwise each time, and cannot be compared";
            return Err(Box::new(study.at("search.asynchronous", message).with_note("leave `asynchronous` out")));
        }
        let slots_of_each = match self.crew {
            SeriesCrew::Local { slots, .. } => slots,
            SeriesCrew::Nodes(_) => 1, // at least
        };
        let slots = self.largest().saturating_mul(slots_of_each);
        if parallel >= slots {
            return Ok(());
        }
        let (largest, all) = (counted(self.largest().into(), "executor"), counted(slots.into(), "slot"));
        let message = format!("`parallel` is {parallel}, and {largest} have {all}: some would be idle");
        let error = study.at("search.parallel", message);
        Err(Box::new(error.with_note(format!("write parallel = {slots} in [search], for all sizes"))))
    }

    /// The first `size` executors.
    pub(super) fn choice(&self, size: u32) -> anyhow::Result<Choice> {
        match &self.crew {
            SeriesCrew::Nodes(nodes) => {
                let argument = nodes.iter().take(size as usize).cloned().collect::<Vec<_>>().join(",");
                Choice::nodes(argument.as_ref(), self.introduction.clone())
            }
            SeriesCrew::Local { slots, cache, cache_bytes, orphan_timeout_s } => {
                let shape = LocalShape { executors: size, slots: Some(*slots) };
                let crew = LocalCrew {
                    shape: shape.to_string(),
                    cache: if self.cold { cold_cache() } else { cache.clone() },
                    cache_bytes: *cache_bytes,
                    cold: self.cold,
                    orphan_timeout_s: *orphan_timeout_s,
                    secret: Secret::draw()?,
                    children: vec![None; size as usize],
                };
                Ok(Choice::Local { shape, crew, made: MadeFolders::default() })
            }
        }
    }
}

/// The comparison in a folder, as far as it is made: its runs, and how they began. None where no comparison was begun.
pub(super) fn members(path: &Path) -> anyhow::Result<Option<(Series, Vec<Member>)>> {
    if !path.join(SERIES).is_file() {
        return Ok(None);
    }
    let series = Series::read(path)?;
    let members: Vec<_> = series.runs().filter_map(|(size, repeat)| finished(path, size, repeat)).collect();
    if members.is_empty() {
        let shown = path.display();
        if is_held(path) {
            bail!("no run of the comparison in {shown} is over yet: it goes on, look again later");
        }
        bail!("no run of the comparison in {shown} is over; make them with `{}`", hint::resume_scale(path));
    }
    Ok(Some((series, members)))
}

/// By which a study's text is known again.
pub(super) fn study_digest(text: &[u8]) -> String {
    Digest::of(text).to_string()
}

/// The name of a run's folder.
pub(super) fn run_name(size: u32, repeat: u32) -> String {
    format!("{size}-{repeat}")
}

/// A run that is over, results and all; `None` if it has to be made.
pub(super) fn finished(folder: &Path, size: u32, repeat: u32) -> Option<Member> {
    let name = run_name(size, repeat);
    let path = folder.join(&name);
    let is_written = path.join("summary.json").is_file();
    let record = read(&path).ok()?.record;
    // What somebody stopped or extended is not the study.
    if !is_written || !record.is_over() || !record.changes.is_empty() {
        return None;
    }
    Some(Member { size, repeat, folder: name, record })
}

/// What it took to bring the data to all executors the first time.
pub(super) fn first_contact(folder: &Path) -> Option<FirstContact> {
    let record = read(&folder.join(WARM)).ok()?.record;
    record.is_over().then(|| FirstContact::of(&record, folder.join(BROKEN_OFF).exists()))
}

/// Removes what there is of a run that did not end, with the cache folder that was its own: a run that was disturbed
/// measures the disturbance. Returns whether there was anything.
pub(super) fn clear(path: &Path) -> anyhow::Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    // Locked, if it can be, so that nobody goes on with it in this moment.
    let lock = if path.join("journal").is_file() { Some(RunFolder::open(path)?) } else { None };
    if let Ok(roster) = Roster::open(path) {
        roster.kill_children();
        drop_cold_cache(&roster.crew());
    }
    fs::remove_dir_all(path).with_context(|| format!("cannot remove {}, which did not end", path.display()))?;
    drop(lock);
    Ok(true)
}
