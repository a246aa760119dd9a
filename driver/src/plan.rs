//! What a study will take: its trials, each with its forecast cost, size and memory.

use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{Header, Part};
use broadsweep_common::ids::TrialId;
use broadsweep_common::model::ModelDescription;
use broadsweep_common::program::ProgramDescription;
use broadsweep_common::replay::ReplayDescription;
use broadsweep_common::task::{Select, TrainerDescription};
use broadsweep_common::training::TrainingDescription;
use broadsweep_nn as nn;
use broadsweep_search::virtual_time::lag;
use broadsweep_search::{Origin, PlannedCosts};

use crate::results::show::printable;
use crate::study::{Cost, Diagnostic, ProgramSettings, ReplaySettings, Study, Trainer};

/// Classes that an error lists, and characters of each.
const CLASSES_LISTED_MAX: usize = 10;
const NAME_CHARACTERS_MAX: usize = 24;
/// Parts of a declared cost that are told apart.
const COST_PARTS: f64 = 1e6;

/// Plans the trials of a study, one configuration after the other, for its trainer and for data of the given shapes.
#[derive(Clone, Copy, Debug)]
pub struct Planner<'a> {
    study: &'a Study,
    trainer: &'a TrainerDescription,
    header: &'a Header,
}

/// One trial, before it is trained.
#[derive(Clone, Debug)]
pub struct TrialPlan {
    /// Its values.
    pub configuration: Configuration,
    /// Where they are from.
    pub origin: Origin,
    /// Epochs, at most.
    pub epochs: u32,
    /// Trained parameters; a replay has none, and those of a program are its own.
    pub parameters: u64,
    /// FLOPs of all epochs, with the measuring after each. Of a program, the millionths of its declared cost, and so of a
    /// replay that has one; of others, the microseconds that they wait: costs are compared within one study only.
    pub flops: u64,
    /// What a replay waits, in microseconds; of others nobody knows.
    pub wait_us: u64,
    /// FLOPs of measuring the test rows once; only a network does.
    pub test_flops: u64,
    /// Memory that its slot takes; of a program what the study declares, or 0.
    pub memory_bytes: u64,
    /// Rows of a batch; 0 of all but a network.
    pub batch_size: usize,
}

impl<'a> Planner<'a> {
    /// A planner for `study`, whose trainer is described by `trainer`, and data with this `header`.
    #[must_use]
    pub fn new(study: &'a Study, trainer: &'a TrainerDescription, header: &'a Header) -> Self {
        Self { study, trainer, header }
    }

    /// Plans one trial.
    ///
    /// # Errors
    /// [`Diagnostic`] at the layer whose shape does not fit, naming the configuration where it depends on one.
    pub fn plan(
        &self,
        trial: TrialId,
        configuration: Configuration,
        origin: Origin,
    ) -> Result<TrialPlan, Diagnostic> {
        match self.trainer {
            TrainerDescription::Network { model, training } => {
                plan_network(self.study, (model, training), self.header, configuration, origin)
            }
            TrainerDescription::Replay(replay) => plan_replay(self.study, replay, trial, configuration, origin),
            TrainerDescription::Program(program) => plan_program(self.study, program, configuration, origin),
            TrainerDescription::Model(_) | TrainerDescription::Mapper(_) => {
                Err(self.study.at("apply", "what is applied to rows has no trials"))
            }
        }
    }

    /// Plans what trials of a search that sees results may be: those of the study's examples that can be trained, and
    /// why the first of the others cannot.
    ///
    /// # Errors
    /// [`Diagnostic`], if the control cannot be trained, or nothing can.
    pub fn examples(&self) -> Result<(Vec<TrialPlan>, Option<Diagnostic>), Diagnostic> {
        let (mut plans, mut refused) = (Vec::new(), None);
        for (trial, configuration) in (0..).map(TrialId).zip(self.study.examples()) {
            let is_control = self.study.control.is_some() && trial == TrialId(0);
            match self.plan(trial, configuration, if is_control { Origin::Control } else { Origin::Draw(0) }) {
                Ok(plan) => plans.push(plan),
                Err(error) if is_control => return Err(error),
                Err(error) => drop(refused.get_or_insert(error)),
            }
        }
        if plans.is_empty() { refused.map_or(Ok((plans, None)), Err) } else { Ok((plans, refused)) }
    }

    /// Refuses starting points that cannot be trained, and a budget that is too small for the first trial.
    ///
    /// # Errors
    /// [`Diagnostic`] at `stop`, or as [`Self::plan`].
    pub fn check_budget(&self) -> Result<(), Diagnostic> {
        for (number, configuration) in (0..).zip(&self.study.initial) {
            self.plan(TrialId(0), configuration.clone(), Origin::Initial(number))?;
        }
        let rules = self.study.search.stop;
        let first = self.study.control.iter().chain(&self.study.initial).next().cloned();
        let Some(configuration) = first.or_else(|| self.study.examples().into_iter().next()) else { return Ok(()) };
        let Ok(plan) = self.plan(TrialId(0), configuration, Origin::Control) else { return Ok(()) };
        let epochs = match (&self.study.control, NonZeroU32::new(plan.epochs)) {
            (None, Some(epochs)) => self.study.first_segment(epochs).get(),
            _ => plan.epochs, // the control does not pause
        };
        let cost = plan.cost_of(0..epochs).get();
        let (needed, unit) = match (rules.epochs, rules.cost) {
            (Some(budget), _) if budget.get() < u64::from(epochs) => (u64::from(epochs), "epochs"),
            (_, Some(budget)) if budget.get() < cost => (cost, "FLOPs"),
            _ => return Ok(()),
        };
        let message = format!("the first trial takes {needed} {unit}: with this budget nothing would be trained");
        Err(self.study.at("search.stop", message).with_note("write a larger budget, or leave it out"))
    }

    /// From the end of a segment to the moment at which a search that sees results is shown it: what the first segment of
    /// a trial is planned to cost, in the middle.
    #[must_use]
    pub fn lag(&self) -> NonZeroU64 {
        let examples = self.examples().map(|(plans, _)| plans).unwrap_or_default();
        lag(examples.iter().filter_map(|plan| {
            let epochs = NonZeroU32::new(plan.epochs)?;
            Some(plan.cost_of(0..self.study.first_segment(epochs).get()))
        }))
    }

    /// Plans all that a search has drawn, in trial order.
    ///
    /// # Errors
    /// As [`Self::plan`], of the first that does not fit.
    pub fn plan_all(&self, drawn: Vec<(Configuration, Origin)>) -> Result<Vec<TrialPlan>, Diagnostic> {
        let trials = (0..).map(TrialId).zip(drawn);
        trials.map(|(trial, (configuration, origin))| self.plan(trial, configuration, origin)).collect()
    }
}

/// What virtual time is counted in; a configuration that cannot be trained has one epoch, and costs as little as can be. The
/// unit is that of [`TrialPlan::flops`].
impl PlannedCosts for Planner<'_> {
    fn epochs(&self, configuration: &Configuration) -> NonZeroU32 {
        let plan = self.plan(TrialId(0), configuration.clone(), Origin::Control);
        plan.ok().and_then(|plan| NonZeroU32::new(plan.epochs)).unwrap_or(NonZeroU32::MIN)
    }

    fn cost(&self, configuration: &Configuration, epochs: Range<u32>) -> NonZeroU64 {
        let plan = self.plan(TrialId(0), configuration.clone(), Origin::Control);
        plan.map_or(NonZeroU64::MIN, |plan| plan.cost_of(epochs))
    }
}

impl TrialPlan {
    /// What some of its epochs cost: their share.
    #[must_use]
    pub fn cost_of(&self, epochs: Range<u32>) -> NonZeroU64 {
        cost_of_epochs(self.flops, self.epochs, epochs)
    }
}

/// What some epochs of a trial cost that costs so much and has so many: their share, and at least 1.
#[must_use]
pub fn cost_of_epochs(cost: u64, epochs_max: u32, epochs: Range<u32>) -> NonZeroU64 {
    let share = u128::from(cost) * u128::from(epochs.end.saturating_sub(epochs.start));
    let cost = u64::try_from(share / u128::from(epochs_max.max(1))).unwrap_or(u64::MAX);
    NonZeroU64::new(cost).unwrap_or(NonZeroU64::MIN)
}

/// The study's check resolved every configuration, so a setting that has no value is about the study as a whole.
fn plan_network(
    study: &Study,
    (model, training): (&ModelDescription, &TrainingDescription),
    header: &Header,
    configuration: Configuration,
    origin: Origin,
) -> Result<TrialPlan, Diagnostic> {
    let described = model;
    let model = described.resolve(&configuration).map_err(|error| study.at("model", error.to_string()))?;
    let training = training.resolve(&configuration).map_err(|error| study.at("training", error.to_string()))?;
    let plan = nn::plan(&model, &header.shape, header.targets).map_err(|mut error| {
        // Layers that this configuration lacks are counted in the study.
        let present = described.present(&configuration).unwrap_or_default();
        error.layer = error.layer.map(|layer| present.get(layer).map_or(layer, |(number, _)| number - 1));
        let under =
            if configuration.is_empty() { String::new() } else { format!(" (in the configuration {configuration})") };
        let classes = if error.is_of_targets { classes_text(study.class_names()) } else { String::new() };
        match error.layer {
            Some(layer) => study.at_layer(layer, format!("{error}{classes}{under}")),
            None => study.at("model", format!("{error}{under}")),
        }
    })?;
    let rows = |part| header.rows(part) as u64;
    let watches_test = study.watches_test();
    let measured = rows(Part::Validation) + if watches_test { rows(Part::Test) } else { 0 };
    let measures: Vec<_> = study.search.measures.iter().map(|reported| reported.measure).collect();
    let measured_bytes = nn::measures_bytes(&measures, header, &[Part::Validation, Part::Test]);
    let epoch = plan
        .training_flops
        .saturating_mul(rows(Part::Train))
        .saturating_add(plan.forward_flops.saturating_mul(measured));
    Ok(TrialPlan {
        epochs: training.epochs,
        parameters: plan.parameters,
        flops: epoch.saturating_mul(u64::from(training.epochs)),
        wait_us: 0,
        test_flops: plan.forward_flops.saturating_mul(rows(Part::Test)),
        memory_bytes: nn::memory_bytes_max(&model, &plan, &training).saturating_add(measured_bytes),
        batch_size: training.batch_size,
        configuration,
        origin,
    })
}

/// Which classes there are, where they are more than numbers in a row: a label that is misspelled is seen at once.
fn classes_text(names: &[String]) -> String {
    if names.iter().zip(0..).all(|(name, number): (_, u32)| *name == number.to_string()) {
        return String::new();
    }
    let listed = names.iter().take(CLASSES_LISTED_MAX).map(|name| printable(name, NAME_CHARACTERS_MAX));
    let more = if names.len() > CLASSES_LISTED_MAX { ", …" } else { "" };
    format!("; the classes are {}{more}", listed.collect::<Vec<_>>().join(", "))
}

fn plan_replay(
    study: &Study,
    replay: &ReplayDescription,
    trial: TrialId,
    configuration: Configuration,
    origin: Origin,
) -> Result<TrialPlan, Diagnostic> {
    let replay = replay.resolve(trial, &configuration).map_err(|error| study.at("trainer", error.to_string()))?;
    let (epochs, wait_us) = (replay.epochs_begun(), u64::try_from(replay.wait.as_micros()).unwrap_or(u64::MAX));
    let declared = match &study.trainer {
        Trainer::Replay(ReplaySettings::Given { cost, .. }) => cost.as_ref(),
        Trainer::Network { .. }
        | Trainer::Program(_)
        | Trainer::Replay(ReplaySettings::Recorded { .. })
        | Trainer::Model(_) => None,
    };
    let declared = declared.map(|cost| declared_cost(study, cost, &configuration, epochs)).transpose()?;
    Ok(TrialPlan {
        epochs,
        parameters: 0,
        flops: declared.unwrap_or(wait_us),
        wait_us,
        test_flops: 0,
        memory_bytes: 0,
        batch_size: 0,
        configuration,
        origin,
    })
}

/// Its costs are those that the study declares: what a program does cannot be foreseen.
fn plan_program(
    study: &Study,
    program: &ProgramDescription,
    configuration: Configuration,
    origin: Origin,
) -> Result<TrialPlan, Diagnostic> {
    let epochs = program.epochs.resolve(&configuration, "[trainer] epochs");
    let epochs = epochs.map_err(|error| study.at("trainer.epochs", error.to_string()))?;
    let declared = match &study.trainer {
        Trainer::Program(ProgramSettings { cost, .. }) => cost.as_ref(),
        Trainer::Network { .. } | Trainer::Replay(_) | Trainer::Model(_) => None,
    };
    let declared = declared.map(|cost| declared_cost(study, cost, &configuration, epochs)).transpose()?;
    Ok(TrialPlan {
        epochs,
        parameters: 0,
        flops: declared.unwrap_or((f64::from(epochs) * COST_PARTS) as u64),
        wait_us: 0,
        test_flops: 0,
        memory_bytes: program.memory_bytes.unwrap_or(0),
        batch_size: 0,
        configuration,
        origin,
    })
}

/// What a study declares that a trial costs, in millionths.
fn declared_cost(study: &Study, cost: &Cost, configuration: &Configuration, epochs: u32) -> Result<u64, Diagnostic> {
    let cost = cost.of(configuration, epochs).map_err(|reason| {
        let under =
            if configuration.is_empty() { String::new() } else { format!(" (in the configuration {configuration})") };
        study.at("trainer.cost", format!("{reason}{under}"))
    })?;
    Ok((cost * COST_PARTS).round() as u64) // saturates
}

/// Refuses a study that would choose by rows, or measure classes, that its data does not have. A replay looks at none, and a program at none
/// of ours.
///
/// # Errors
/// [`Diagnostic`] at `select`, or at `[search]`.
pub fn check_select(study: &Study, header: &Header) -> Result<(), Diagnostic> {
    if !matches!(study.trainer, Trainer::Network { .. }) {
        return Ok(());
    }
    let part = match study.search.select {
        Select::Validation => Part::Validation,
        Select::Test => Part::Test,
    };
    if header.rows(part) == 0 {
        return Err(study.at("search.select", format!("trials are compared by {part} rows, but there are none")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use broadsweep_common::dataset::TargetKind;

    use super::*;
    use crate::study::parse;
    use broadsweep_data as data;

    #[test]
    fn classes_are_listed_where_they_are_more_than_numbers_in_a_row() {
        let text = |names: &[&str]| classes_text(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(text(&["cat", "dgo", "dog"]), "; the classes are cat, dgo, dog");
        assert_eq!(text(&["0", "1", "11"]), "; the classes are 0, 1, 11");
        assert_eq!([text(&["0", "1", "2"]), text(&[])], ["", ""]);
        let many: Vec<_> = (1..=12).map(|number| number.to_string()).collect();
        assert_eq!(classes_text(&many), "; the classes are 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …");
    }

    #[test]
    fn a_last_layer_that_does_not_fit_names_the_classes() {
        let text = "name = 'a'\ndata = { format = 'csv', train_file = 'x.csv', label_column = 'y', validation_rows = 1 }\n\
                    [model]\nlayers = [{ kind = 'dense', units = 2 }]\n[training]\nlearning_rate = 0.1\nbatch_size = 1\n\
                    epochs = 1\n";
        let mut study = parse(text, "s.toml").unwrap();
        study.find_classes(&["cat", "dgo", "dog"].map(str::to_owned)).unwrap();
        let trainer = study.description(Vec::new()).trainer;
        let mut header = data::without_rows().unwrap().header;
        header.shape = vec![3];
        header.targets = TargetKind::Classes { count: 3 };
        let drawn = study.drawn().unwrap();
        let error = Planner::new(&study, &trainer, &header).plan_all(drawn).unwrap_err().to_string();
        let expected = "makes 2 values, but the data has 3 classes; the last layer has to make 3, as a dense layer with \
                        units = 3 does; the classes are cat, dgo, dog";
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_replays_cost_is_the_time_of_all_its_epochs_in_microseconds() {
        let text = "name = 'a'\ntrainer = { kind = 'replay', seconds = 0.1, epochs = '$n', error = 0.5 }\n\
                    [search]\nsampler = 'grid'\n[search.space]\nn = { values = [1, 7] }\n";
        let study = parse(text, "s.toml").unwrap();
        let (trainer, header) = (study.description(Vec::new()).trainer, data::without_rows().unwrap().header);
        let drawn = study.drawn().unwrap();
        let plan = Planner::new(&study, &trainer, &header).plan_all(drawn).unwrap();
        let costs: Vec<_> = plan.iter().map(|trial| (trial.epochs, trial.flops, trial.memory_bytes)).collect();
        assert_eq!(costs, [(1, 100_000, 0), (7, 700_000, 0)]);
        assert!(check_select(&study, &header).is_ok(), "a replay needs no rows to be compared by");
    }

    #[test]
    fn a_replay_costs_what_its_study_says_and_waits_as_long_all_the_same() {
        let text = "name = 'a'\ntrainer = { kind = 'replay', seconds = 0.1, epochs = '$n', error = 0.5, cost = 'n * off' }\n\
                    [search]\nsampler = 'grid'\n[search.space]\nn = { values = [1, 7] }\noff = { values = [0.5] }\n";
        let study = parse(text, "s.toml").unwrap();
        let (trainer, header) = (study.description(Vec::new()).trainer, data::without_rows().unwrap().header);
        let drawn = study.drawn().unwrap();
        let plan = Planner::new(&study, &trainer, &header).plan_all(drawn).unwrap();
        let told: Vec<_> = plan.iter().map(|trial| (trial.flops, trial.wait_us)).collect();
        assert_eq!(told, [(500_000, 100_000), (3_500_000, 700_000)]);
    }
}
