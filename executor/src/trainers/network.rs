//! The built-in networks.

use broadsweep_common::attempt::{ArtifactName, Ended};
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Dataset, Part};
use broadsweep_common::measure::{Measure, Reported, Watched};
use broadsweep_common::model::{Model, ModelDescription};
use broadsweep_common::refusal::Refusal;
use broadsweep_common::seeds;
use broadsweep_common::task::{Replicate, Segment, Select};
use broadsweep_common::training::TrainingDescription;
use broadsweep_nn::{self as nn, Checkpoint, Control as _, Phase, TrainTask, Trained, TrainingEnd, Weights};

use super::trainer::{Means, Trainer, checkpoint_of, in_words};
use crate::control::SlotControl;
use broadsweep_store::Content;

/// The networks of a study.
pub(super) struct NetworkTrainer {
    pub(super) seed: u64,
    pub(super) model: ModelDescription,
    pub(super) training: TrainingDescription,
    pub(super) select: Select,
    pub(super) watched: Watched,
    pub(super) measures: Vec<Reported>,
    pub(super) test_every_trial: bool,
    pub(super) data: Dataset,
    pub(super) means: Means,
}

impl NetworkTrainer {
    /// The same trainer, if the data has the rows that it needs.
    pub(super) fn checked(self) -> Result<Self, Refusal> {
        let checked = nn::check_rows(self.data.header(), self.training.early_stop.is_some(), self.select);
        let checked = checked.and_then(|()| nn::check_measures(self.data.header(), &self.measures()));
        checked.map_err(|error| Refusal::Trainer { reason: error.to_string() })?;
        Ok(self)
    }

    fn measures(&self) -> Vec<Measure> {
        self.measures.iter().map(|reported| reported.measure).collect()
    }

    fn try_train(
        &self,
        Segment { replicate, until_epoch, .. }: Segment,
        configuration: &Configuration,
        checkpoint: Option<Content>,
        control: &mut SlotControl,
    ) -> Result<Ended, String> {
        has_rows(replicate)?;
        let model = self.model.resolve(configuration).map_err(in_words)?;
        let training = self.training.resolve(configuration).map_err(in_words)?;
        let (header, &Means { kernel, memory_bytes, .. }) = (self.data.header(), &self.means);
        let plan = nn::plan(&model, &header.shape, header.targets).map_err(in_words)?;
        let measures = self.measures();
        let needed_bytes = nn::memory_bytes(&model, &plan, &training, kernel).saturating_add(nn::measures_bytes(
            &measures,
            header,
            &[Part::Validation, Part::Test],
        ));
        if needed_bytes > memory_bytes {
            return Ok(Ended::Refused { needed_bytes, available_bytes: memory_bytes });
        }
        let task = TrainTask {
            model: &model,
            training: &training,
            study_seed: self.seed,
            trial_seed: seeds::trial_seed(self.seed, configuration.digest(), replicate.repeat),
            repeat: replicate.repeat,
            select: self.select,
            watched: self.watched,
            measures: &measures,
            test_every_trial: self.test_every_trial,
            kernel,
        };
        control.measures(&self.measures);
        let from = checkpoint_of(checkpoint, |bytes| Checkpoint::from_bytes(bytes, &task, header));
        let trained = nn::train_until(&task, &self.data, from, until_epoch, control).map_err(in_words)?;
        ended(trained, control)
    }

    fn try_measure(
        &self,
        replicate: Replicate,
        configuration: &Configuration,
        (weights, part): (Content, Part),
        control: &mut SlotControl,
    ) -> Result<Ended, String> {
        let (model, weights) = self.trained(replicate, configuration, &weights)?;
        control.phase(Phase::Evaluation);
        let by = (self.means.kernel, &self.measures()[..]);
        let score = nn::measure(&model, &weights, &self.data, part, by);
        Ok(Ended::Measured(score.map_err(in_words)?.metrics(part, &self.measures)))
    }

    fn try_examine(
        &self,
        replicate: Replicate,
        configuration: &Configuration,
        (weights, part): (Content, Part),
        control: &mut SlotControl,
    ) -> Result<Ended, String> {
        let (model, weights) = self.trained(replicate, configuration, &weights)?;
        control.phase(Phase::Evaluation);
        let by = (self.means.kernel, &self.measures[..]);
        let details = nn::examine(&model, &weights, &self.data, part, by);
        Ok(Ended::Examined(details.map_err(in_words)?))
    }

    /// A configuration's model, with finished weights.
    fn trained(
        &self,
        replicate: Replicate,
        configuration: &Configuration,
        weights: &Content,
    ) -> Result<(Model, Weights), String> {
        has_rows(replicate)?;
        let model = self.model.resolve(configuration).map_err(in_words)?;
        let header = self.data.header();
        let weights = Weights::from_safetensors((**weights).as_ref(), &model, &header.shape, header.targets);
        Ok((model, weights.map_err(in_words)?))
    }
}

impl Trainer for NetworkTrainer {
    fn train(
        &self,
        segment: Segment,
        configuration: &Configuration,
        checkpoint: Option<Content>,
        control: &mut SlotControl,
    ) -> Ended {
        self.try_train(segment, configuration, checkpoint, control).unwrap_or_else(Ended::failed)
    }

    fn measure(
        &self,
        replicate: Replicate,
        configuration: &Configuration,
        on: (Content, Part),
        control: &mut SlotControl,
    ) -> Ended {
        self.try_measure(replicate, configuration, on, control).unwrap_or_else(Ended::failed)
    }

    fn examine(
        &self,
        replicate: Replicate,
        configuration: &Configuration,
        on: (Content, Part),
        control: &mut SlotControl,
    ) -> Ended {
        self.try_examine(replicate, configuration, on, control).unwrap_or_else(Ended::failed)
    }
}

/// Whether the rows that a replicate holds out are those that the data has apart.
fn has_rows(Replicate { fold, .. }: Replicate) -> Result<(), String> {
    if fold == 0 { Ok(()) } else { Err(format!("this executor cannot hold out the rows of fold {fold}")) }
}

fn ended(trained: Trained, control: &SlotControl) -> Result<Ended, String> {
    match (trained.training, trained.weights, trained.checkpoint) {
        (TrainingEnd::Complete(report), Some(weights), _) => {
            let bytes = weights.to_safetensors().map_err(in_words)?;
            Ok(control.trained(report.epoch, ArtifactName::Weights, bytes))
        }
        (TrainingEnd::Paused(report), _, Some(checkpoint)) => {
            Ok(control.trained(report.epoch, ArtifactName::Checkpoint, checkpoint.to_bytes()))
        }
        (TrainingEnd::Complete(_), None, _) => Err("training ended without weights".to_owned()),
        (TrainingEnd::Paused(_), _, None) => Err("training paused without a checkpoint".to_owned()),
        (TrainingEnd::Stopped(_), ..) => Ok(Ended::Stopped),
        (TrainingEnd::Diverged { epoch }, ..) => Ok(Ended::Diverged { epoch }),
    }
}
