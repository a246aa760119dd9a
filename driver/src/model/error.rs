//! What can be wrong with the files of a model, each with the file and with what to do about it.

use std::io;
use std::path::PathBuf;

use broadsweep_common::setting::SettingError;
use broadsweep_nn::{ShapeError, WeightsError};

use super::FORMAT;
use crate::study::Diagnostic;

/// A model that cannot be written or used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages name")]
pub enum ModelError {
    /// Name another place.
    #[error("there is no {}; name the folder of a run, its `best/`, or a model.toml", .0.display())]
    NoSuchPlace(PathBuf),
    /// A folder without a model.
    #[error(
        "{} has no model.toml, nor has {}/best: name the folder of a run that trained a network, or its `best/`",
        .0.display(), .0.display()
    )]
    NoModel(PathBuf),
    /// A file that belongs there is missing, or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// Not TOML, or keys are missing.
    #[error("{} is no description of a model: {what}", path.display())]
    Wrong { path: PathBuf, what: String },
    /// Of a later version.
    #[error(
        "{} has format {format}, and this version of broadsweep reads {FORMAT} at most: use a newer one", path.display()
    )]
    Newer { path: PathBuf, format: i64 },
    /// Layers that no study could have.
    #[error(transparent)]
    Layers(Diagnostic),
    /// A configuration that is not the study's.
    #[error("the layers have no fixed values: {0}")]
    Setting(SettingError),
    /// Layers that fit neither each other nor the rows.
    #[error("the layers do not fit the rows: {0}")]
    Shape(ShapeError),
    /// Weights that are not the layers'.
    #[error(transparent)]
    Weights(WeightsError),
    /// A file of another model.
    #[error(
        "{} does not belong to {}: their layers or columns differ; copy the whole folder again", path.display(),
        model.display()
    )]
    Foreign { path: PathBuf, model: PathBuf },
    /// A file that is not as it was written.
    #[error(
        "{} is not the file that {} was written with: it is damaged, or of another trial; copy the whole folder again",
        path.display(), model.display()
    )]
    Changed { path: PathBuf, model: PathBuf },
}
