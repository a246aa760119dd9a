//! The files of a model together: made, and opened again.

use std::fs;
use std::path::{Path, PathBuf};

use broadsweep_nn::Weights;
use toml::Table;

use super::error::ModelError;
use super::{TrainedModel, digest, onnx, read, written};
use crate::text_file;

/// Describes the model.
pub const DESCRIPTION: &str = "model.toml";
/// Its numbers.
pub const WEIGHTS: &str = "weights.safetensors";
/// Both, for other programs.
pub const ONNX: &str = "model.onnx";
/// Where a run keeps its best model.
pub const BEST: &str = "best";

/// Bytes that a description may have: a line for each of some million columns.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 30;

/// The contents of a model's files. The same model gives the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    /// `model.toml`.
    pub description: Vec<u8>,
    /// `weights.safetensors`.
    pub weights: Vec<u8>,
    /// `model.onnx`; `None` of a model that is too large for the format.
    pub onnx: Option<Vec<u8>>,
}

/// A model that was opened.
#[derive(Debug)]
pub struct Opened {
    /// All but its weights.
    pub model: TrainedModel,
    /// Its weights.
    pub weights: Weights,
    /// What its files know each other by.
    pub digest: String,
}

impl ModelFiles {
    /// The files of a model with these weights.
    ///
    /// # Errors
    /// [`ModelError`], if layers, schema and weights do not fit.
    pub fn of(model: &TrainedModel, weights: &Weights) -> Result<Self, ModelError> {
        let mut text = written::text(model);
        let wrong = |error: toml::de::Error| ModelError::Wrong { path: DESCRIPTION.into(), what: error.to_string() };
        let digest = digest::of_description(&toml::from_str::<Table>(&text).map_err(wrong)?);
        let weights_bytes = weights.to_safetensors_of(&digest).map_err(ModelError::Weights)?;
        let onnx = onnx::model(model, weights, &digest)?;
        let mut digests = vec![(WEIGHTS, digest::of_file(&weights_bytes))];
        digests.extend(onnx.as_deref().map(|bytes| (ONNX, digest::of_file(bytes))));
        text += &written::digests(&digests);
        Ok(Self { description: text.into_bytes(), weights: weights_bytes, onnx })
    }
}

/// Opens the model at `path`: a `best/` folder, the folder of a run that has one, or a `model.toml`.
///
/// # Errors
/// [`ModelError`], if there is none, or if its files are damaged or do not belong together.
pub fn open(path: &Path) -> Result<Opened, ModelError> {
    let (described, file) = read_description(path)?;
    let beside = file.with_file_name(WEIGHTS);
    let bytes = fs::read(&beside).map_err(|source| ModelError::Read { path: beside.clone(), source })?;
    let says = Weights::model_of(&bytes).ok().flatten();
    if says.as_ref().is_some_and(|says| *says != described.digest) {
        return Err(ModelError::Foreign { path: beside, model: file });
    }
    if described.files.get(WEIGHTS) != Some(&digest::of_file(&bytes)) || says.is_none() {
        return Err(ModelError::Changed { path: beside, model: file });
    }
    let weights = described.model.weights(&bytes)?;
    Ok(Opened { model: described.model, weights, digest: described.digest })
}

/// What the model at `path` is, without its weights.
///
/// # Errors
/// [`ModelError`], if there is none, or if its description is damaged.
pub fn describe(path: &Path) -> Result<TrainedModel, ModelError> {
    Ok(read_description(path)?.0.model)
}

/// The description that `path` means, and where it is.
fn read_description(path: &Path) -> Result<(read::Described, PathBuf), ModelError> {
    let file = description_at(path)?;
    let failed = |source| ModelError::Read { path: file.clone(), source };
    let text = text_file::read(&file, DESCRIPTION_BYTES_MAX).map_err(failed)?;
    Ok((read::parse(&text, &file)?, file))
}

/// The description that `path` means.
fn description_at(path: &Path) -> Result<PathBuf, ModelError> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if !path.is_dir() {
        return Err(ModelError::NoSuchPlace(path.to_owned()));
    }
    let places = [path.join(DESCRIPTION), path.join(BEST).join(DESCRIPTION)];
    places.into_iter().find(|place| place.is_file()).ok_or_else(|| ModelError::NoModel(path.to_owned()))
}
