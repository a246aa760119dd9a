//! A model that can be used: weights with all that is needed to predict from raw rows, in the folder `best/`.
//!
//! | module | holds |
//! |---|---|
//! | `written` | `model.toml`, as it is written |
//! | `read` | the same, read back and checked |
//! | `digest` | what the files of one model know each other by |
//! | [`folder`] | the three files together: made, and opened again |
//! | `onnx` | `model.onnx`, for other programs |
//! | [`foreign`] | models of other programs, which are applied as ours are |
//! | [`error`] | what can be wrong with the files |
//!
//! `model.toml` describes the model; `weights.safetensors` and `model.onnx` name the digest of that description, and
//! `model.toml` has the SHA-256 of both. So files of two models that were mixed up are told apart.

pub mod error;
pub mod folder;
pub mod foreign;

mod digest;
mod onnx;
mod read;
#[cfg(test)]
mod tests;
mod written;

use std::ops::RangeInclusive;
use std::path::Path;

use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::model::{Model, ModelDescription};
use broadsweep_common::schema::Schema;
use broadsweep_nn::Weights;

use crate::records::run::{RunRecord, TrialRecord};
use crate::results::rows::trial_metrics;
use error::ModelError;
use folder::ModelFiles;

/// The newest form of `model.toml` that is read here, and the one that is written. Form 1 says nothing of how tables are
/// written, and is read as a model whose study said nothing of it.
pub const FORMAT: i64 = 2;

/// All that is known of a model beside its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedModel {
    /// Layers, every value fixed.
    pub layers: Model,
    /// How raw rows become rows of the network, and its outputs answers.
    pub schema: Schema,
    /// Where it is from.
    pub about: About,
}

/// Where a model is from, and how good it was there.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    /// The study's name.
    pub study: String,
    /// The trial that made it.
    pub trial: TrialId,
    /// The epoch whose weights these are, from 1.
    pub epoch: Option<u32>,
    /// What the run multiplied with: the same kernel predicts the same bits.
    pub kernel: String,
    /// The version of broadsweep that drove the run.
    pub build: String,
    /// What the trial measured at that epoch.
    pub metrics: Metrics,
    /// Rows of the training file that were held out for validation: runs of them, counted from 0, ascending.
    pub held_out: Vec<RangeInclusive<u64>>,
}

/// What a run knows of its models before any is trained.
#[derive(Clone, Debug)]
pub struct ModelSource {
    /// Layers as the study writes them, searched settings open.
    pub description: ModelDescription,
    /// How raw rows become rows of the network.
    pub schema: Schema,
    /// Rows of the training file that are held out, counted from 0, ascending.
    pub held_out: Vec<u64>,
}

impl ModelSource {
    /// The files of the model that `trial` made.
    ///
    /// # Errors
    /// [`ModelError`], if these are no weights of that trial's network.
    pub fn files(&self, run: &RunRecord, trial: &TrialRecord, weights: &[u8]) -> Result<ModelFiles, ModelError> {
        let layers = self.description.resolve(&trial.configuration).map_err(ModelError::Setting)?;
        let valued = |name: MetricName| trial.metric(&name).map(|value| (name, value));
        let about = About {
            study: run.study.clone(),
            trial: trial.trial,
            epoch: trial.counted(),
            kernel: run.kernel.clone(),
            build: run.build.clone(),
            metrics: trial_metrics(run).into_iter().filter_map(valued).collect(),
            held_out: runs_of(&self.held_out),
        };
        let model = TrainedModel { layers, schema: self.schema.clone(), about };
        let weights = model.weights(weights)?;
        ModelFiles::of(&model, &weights)
    }
}

/// Reads the text of a `model.toml`, which errors call `path`.
///
/// # Errors
/// [`ModelError`], for the first thing that is wrong; what is returned can be used.
pub fn parse(text: &str, path: &Path) -> Result<TrainedModel, ModelError> {
    Ok(read::parse(text, path)?.model)
}

impl TrainedModel {
    /// These bytes as the model's weights.
    fn weights(&self, bytes: &[u8]) -> Result<Weights, ModelError> {
        let Schema { shape, outputs, .. } = &self.schema;
        Weights::from_safetensors(bytes, &self.layers, shape, outputs.targets()).map_err(ModelError::Weights)
    }
}

/// Ascending numbers, those that follow each other together.
fn runs_of(rows: &[u64]) -> Vec<RangeInclusive<u64>> {
    rows.chunk_by(|row, next| row.checked_add(1) == Some(*next)).map(|run| run[0]..=run[run.len() - 1]).collect()
}
