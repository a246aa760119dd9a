//! What a study will take: its trials, each with its forecast cost, size and memory.

use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Header, Part};
use broadsweep_common::ids::TrialId;
use broadsweep_common::model::ModelDescription;
use broadsweep_common::replay::ReplayDescription;
use broadsweep_common::task::{Select, TrainerDescription};
use broadsweep_common::training::TrainingDescription;
use broadsweep_nn as nn;

use crate::study::{Diagnostic, Study, Trainer};

/// A study whose every configuration fits its data.
#[derive(Clone, Debug)]
pub struct StudyPlan {
    /// In trial order.
    pub trials: Vec<TrialPlan>,
    /// Which of them is the control.
    pub control: Option<TrialId>,
}

/// One trial, before it is trained.
#[derive(Clone, Debug)]
pub struct TrialPlan {
    /// Its values.
    pub configuration: Configuration,
    /// Epochs, at most.
    pub epochs: u32,
    /// Trained parameters; a replay has none.
    pub parameters: u64,
    /// FLOPs of all epochs, with the measuring after each. Of a replay, the microseconds that it waits: costs are
    /// compared within one study only.
    pub flops: u64,
    /// FLOPs of measuring the test rows once; a replay does not.
    pub test_flops: u64,
    /// Memory that its slot takes.
    pub memory_bytes: u64,
    /// Rows of a batch; 0 of a replay.
    pub batch_size: usize,
}

impl StudyPlan {
    /// Plans the configurations of `study`, in trial order, for its trainer and for data of the given shapes.
    ///
    /// # Errors
    /// [`Diagnostic`] at the layer whose shape does not fit, naming the configuration where it depends on one.
    pub fn new(
        study: &Study,
        trainer: &TrainerDescription,
        configurations: Vec<Configuration>,
        header: &Header,
    ) -> Result<Self, Diagnostic> {
        let trials = (0..).map(TrialId).zip(configurations).map(|(trial, configuration)| match trainer {
            TrainerDescription::Network { model, training } => {
                plan_network(study, model, training, header, configuration)
            }
            TrainerDescription::Replay(replay) => plan_replay(study, replay, trial, configuration),
        });
        let trials: Vec<_> = trials.collect::<Result<_, _>>()?;
        Ok(Self { trials, control: Self::control(study) })
    }

    /// Which trial of a study is the control.
    #[must_use]
    pub fn control(study: &Study) -> Option<TrialId> {
        study.control.is_some().then_some(TrialId(0))
    }
}

/// The study's check resolved every configuration, so a setting that has no value is about the study as a whole.
fn plan_network(
    study: &Study,
    model: &ModelDescription,
    training: &TrainingDescription,
    header: &Header,
    configuration: Configuration,
) -> Result<TrialPlan, Diagnostic> {
    let model = model.resolve(&configuration).map_err(|error| study.at("model", error.to_string()))?;
    let training = training.resolve(&configuration).map_err(|error| study.at("training", error.to_string()))?;
    let plan = nn::plan(&model, &header.shape, header.targets).map_err(|error| {
        let under = if configuration.0.is_empty() {
            String::new()
        } else {
            format!(" (in the configuration {configuration})")
        };
        match error.layer {
            Some(layer) => study.at_layer(layer, format!("{error}{under}")),
            None => study.at("model", format!("{error}{under}")),
        }
    })?;
    let rows = |part| header.rows(part) as u64;
    let watches_test = study.watches_test();
    let measured = rows(Part::Validation) + if watches_test { rows(Part::Test) } else { 0 };
    let epoch = plan
        .training_flops
        .saturating_mul(rows(Part::Train))
        .saturating_add(plan.forward_flops.saturating_mul(measured));
    Ok(TrialPlan {
        epochs: training.epochs,
        parameters: plan.parameters,
        flops: epoch.saturating_mul(u64::from(training.epochs)),
        test_flops: plan.forward_flops.saturating_mul(rows(Part::Test)),
        memory_bytes: nn::memory_bytes_max(&model, &plan, &training),
        batch_size: training.batch_size,
        configuration,
    })
}

fn plan_replay(
    study: &Study,
    replay: &ReplayDescription,
    trial: TrialId,
    configuration: Configuration,
) -> Result<TrialPlan, Diagnostic> {
    let replay = replay.resolve(trial, &configuration).map_err(|error| study.at("trainer", error.to_string()))?;
    Ok(TrialPlan {
        epochs: replay.epochs_begun(),
        parameters: 0,
        flops: u64::try_from(replay.wait.as_micros()).unwrap_or(u64::MAX),
        test_flops: 0,
        memory_bytes: 0,
        batch_size: 0,
        configuration,
    })
}

/// Refuses a study that would choose by rows that its data does not have. A replay looks at none.
///
/// # Errors
/// [`Diagnostic`] at `select`.
pub fn check_select(study: &Study, header: &Header) -> Result<(), Diagnostic> {
    if matches!(study.trainer, Trainer::Replay(_)) {
        return Ok(());
    }
    let part = match study.search.select {
        Select::Validation => Part::Validation,
        Select::Test => Part::Test,
    };
    match header.rows(part) {
        0 => Err(study.at("search.select", format!("trials are compared by {part} rows, but there are none"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::study::parse;

    #[test]
    fn a_replays_cost_is_the_time_of_all_its_epochs_in_microseconds() {
        let text = "name = 'a'\ntrainer = { kind = 'replay', seconds = 0.1, epochs = '$n', error = 0.5 }\n\
                    [search]\nsampler = 'grid'\n[search.space]\nn = { values = [1, 7] }\n";
        let study = parse(text, "s.toml").unwrap();
        let (trainer, header) = (study.description(Vec::new()).trainer, data::without_rows().unwrap().header);
        let plan = StudyPlan::new(&study, &trainer, study.configurations().unwrap(), &header).unwrap();
        let costs: Vec<_> = plan.trials.iter().map(|trial| (trial.epochs, trial.flops, trial.memory_bytes)).collect();
        assert_eq!(costs, [(1, 100_000, 0), (7, 700_000, 0)]);
        assert!(check_select(&study, &header).is_ok(), "a replay needs no rows to be compared by");
    }
}
