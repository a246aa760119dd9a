//! A study file and its data, read and checked.

use std::fs;
use std::path::Path;

use broadsweep_common::dataset::{AlignedBytes, Header};

use super::Failure;
use crate::data;
use crate::plan::{self, StudyPlan};
use crate::study::{self, Study};

/// Bytes that a study file may have.
const STUDY_BYTES_MAX: u64 = 16 << 20;

/// All that a run starts from.
pub(super) struct Job {
    pub(super) study: Study,
    pub(super) plan: StudyPlan,
    pub(super) header: Header,
    pub(super) data: AlignedBytes,
}

/// Reads the study at `path` and the data that it names, and plans its trials.
pub(super) fn load(path: &Path) -> Result<Job, Failure> {
    let text = read(path).map_err(Failure::wrong_use)?;
    let study = study::parse(&text, &path.display().to_string()).map_err(Failure::wrong_use)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let loaded = data::load(&study.data, study.model.loss, study.seed, folder).map_err(Failure::wrong_use)?;
    let plan = StudyPlan::new(&study, &loaded.header).map_err(Failure::wrong_use)?;
    plan::check_select(&study, &loaded.header).map_err(Failure::wrong_use)?;
    Ok(Job { study, plan, header: loaded.header, data: loaded.bytes })
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
