//! A study file and its data, read and checked.

use std::fs;
use std::path::Path;

use broadsweep_common::dataset::{AlignedBytes, Header};
use broadsweep_common::replay::{RECORDED_MAX, Replay};
use broadsweep_common::task::StudyDescription;

use super::Failure;
use crate::data::{self, recording};
use crate::plan::{self, StudyPlan};
use crate::results::show::counted;
use crate::study::{self, ReplaySettings, Study, Trainer};

/// Bytes that a study file may have.
const STUDY_BYTES_MAX: u64 = 16 << 20;

/// All that a run starts from.
pub(super) struct Job {
    pub(super) study: Study,
    pub(super) description: StudyDescription,
    pub(super) plan: StudyPlan,
    pub(super) header: Header,
    pub(super) data: AlignedBytes,
}

/// Reads the study at `path` and the files that it names, and plans its trials.
pub(super) fn load(path: &Path) -> Result<Job, Failure> {
    load_again(path, path.parent().unwrap_or_else(|| Path::new("")))
}

/// As [`load`], where relative paths in the study start from `folder`.
pub(super) fn load_again(path: &Path, folder: &Path) -> Result<Job, Failure> {
    let text = read(path).map_err(Failure::wrong_use)?;
    let study = study::parse(&text, &path.display().to_string()).map_err(Failure::wrong_use)?;
    let loaded = match &study.data {
        Some(settings) => data::load(settings, study.loss(), study.seed, folder).map_err(Failure::wrong_use)?,
        None => data::without_rows()?,
    };
    let configurations = study.configurations().map_err(Failure::wrong_use)?;
    let recording = read_recording(&study, configurations.len(), folder)?;
    let description = study.description(recording);
    let plan =
        StudyPlan::new(&study, &description.trainer, configurations, &loaded.header).map_err(Failure::wrong_use)?;
    plan::check_select(&study, &loaded.header).map_err(Failure::wrong_use)?;
    Ok(Job { study, description, plan, header: loaded.header, data: loaded.bytes })
}

/// The recorded trials that the study replays: none, unless it says so.
fn read_recording(study: &Study, trials: usize, folder: &Path) -> Result<Vec<Replay>, Failure> {
    let Trainer::Replay(ReplaySettings::Recorded { file, speed }) = &study.trainer else { return Ok(Vec::new()) };
    let at_recorded = |message: String| Failure::wrong_use(study.at("trainer.recorded", message));
    let wanted = counted(trials as u64, "trial");
    if trials > RECORDED_MAX {
        return Err(at_recorded(format!("the study has {wanted}; of a recording, {RECORDED_MAX} can be replayed")));
    }
    let path = folder.join(file);
    let recording = recording::read(&path, *speed, study.search.select, trials).map_err(Failure::wrong_use)?;
    if recording.len() < trials {
        let rows = counted(recording.len() as u64, "row");
        return Err(at_recorded(format!("the study has {wanted}, but {} has only {rows}", path.display())));
    }
    Ok(recording)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let about = fs::metadata(path).map_err(|error| anyhow::anyhow!("cannot read the study {shown}: {error}"))?;
    if about.is_dir() {
        anyhow::bail!("{shown} is a folder; name the study file in it");
    }
    if about.len() > STUDY_BYTES_MAX {
        anyhow::bail!("{shown} has {} bytes; a study is a text of a few lines", about.len());
    }
    let bytes = fs::read(path).map_err(|error| anyhow::anyhow!("cannot read the study {shown}: {error}"))?;
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{shown} is not UTF-8 text, so it is no study"))
}
