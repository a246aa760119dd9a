//! What a study will take: its trials, each with its forecast cost, size and memory.

use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Header, Part};
use broadsweep_common::ids::TrialId;
use broadsweep_common::model::Model;
use broadsweep_common::task::Select;
use broadsweep_common::training::Training;
use broadsweep_executor::nn;

use crate::study::{Diagnostic, Study};

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
    /// Trained parameters.
    pub parameters: u64,
    /// FLOPs of all epochs, with the measuring after each.
    pub flops: u64,
    /// FLOPs of measuring the test rows once.
    pub test_flops: u64,
    /// Memory that its slot takes.
    pub memory_bytes: u64,
}

impl StudyPlan {
    /// Plans every configuration of `study` for data of the given shapes.
    ///
    /// # Errors
    /// [`Diagnostic`] at the layer whose shape does not fit, naming the configuration where it depends on one.
    pub fn new(study: &Study, header: &Header) -> Result<Self, Diagnostic> {
        let configurations = study.configurations()?;
        let trials = configurations.into_iter().map(|configuration| plan_trial(study, header, configuration));
        let trials: Vec<_> = trials.collect::<Result<_, _>>()?;
        Ok(Self { trials, control: study.control.is_some().then_some(TrialId(0)) })
    }
}

fn plan_trial(study: &Study, header: &Header, configuration: Configuration) -> Result<TrialPlan, Diagnostic> {
    let (model, training) = resolve(study, &configuration)?;
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
    let watches_test = study.description().test_every_trial;
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
        memory_bytes: plan.memory_bytes(&training),
        configuration,
    })
}

/// The study's check resolved every configuration, so an error here is about the study as a whole.
fn resolve(study: &Study, configuration: &Configuration) -> Result<(Model, Training), Diagnostic> {
    let model = study.model.resolve(configuration).map_err(|error| study.at("model", error.to_string()))?;
    let training = study.training.resolve(configuration).map_err(|error| study.at("training", error.to_string()))?;
    Ok((model, training))
}

/// Refuses a study that would choose by rows that its data does not have.
///
/// # Errors
/// [`Diagnostic`] at `select`.
pub fn check_select(study: &Study, header: &Header) -> Result<(), Diagnostic> {
    let part = match study.search.select {
        Select::Validation => Part::Validation,
        Select::Test => Part::Test,
    };
    match header.rows(part) {
        0 => Err(study.at("search.select", format!("trials are compared by {part} rows, but there are none"))),
        _ => Ok(()),
    }
}
