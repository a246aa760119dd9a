//! What is told of a trial, the same in every form.

use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::ids::{ExecutorId, TrialId};
use broadsweep_common::metrics::MetricName;
use broadsweep_search::Origin;

use super::Export;
use crate::records::run::{Purpose, RunRecord, TrialOutcome, TrialRecord};
use crate::results::measured::USUAL;
use crate::results::rows::outcome_cells;

/// Where a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExportedState {
    Finished,
    Diverged,
    GivenUp,
    Paused,
    /// Begun, and not over.
    Running,
    /// Not begun.
    Waiting,
    /// Not begun, and it will not be.
    LeftOut,
}

impl ExportedState {
    fn of(trial: &TrialRecord) -> Self {
        match trial.outcome {
            TrialOutcome::Finished { .. } => Self::Finished,
            TrialOutcome::Diverged { .. } => Self::Diverged,
            TrialOutcome::GivenUp { .. } => Self::GivenUp,
            TrialOutcome::Paused { .. } => Self::Paused,
            TrialOutcome::NotRun if trial.attempts > 0 => Self::Running,
            TrialOutcome::NotRun => Self::Waiting,
            TrialOutcome::LeftOut => Self::LeftOut,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Diverged => "diverged",
            Self::GivenUp => "given_up",
            Self::Paused => "paused",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::LeftOut => "left_out",
        }
    }

    fn has_ended(self) -> bool {
        match self {
            Self::Finished | Self::Diverged | Self::GivenUp | Self::Paused => true,
            Self::Running | Self::Waiting | Self::LeftOut => false,
        }
    }
}

/// What is told of a trial beside its record.
pub(super) struct TrialFacts<'a> {
    pub(super) trial: &'a TrialRecord,
    pub(super) state: ExportedState,
    pub(super) origin: Option<&'static str>,
    pub(super) origin_number: Option<u64>,
    /// On how many executors it ran.
    pub(super) executors: u32,
    pub(super) executor: Option<&'a str>,
    pub(super) started_s: Option<f64>,
    pub(super) ended_s: Option<f64>,
    /// Empty where there is nothing to explain.
    pub(super) reason: String,
}

/// The facts of all trials, in order.
pub(super) fn facts<'a>(export: &Export<'a>) -> impl Iterator<Item = TrialFacts<'a>> {
    let Export { run, origins, .. } = *export;
    let executors = executors(run);
    run.trials.iter().zip(0..).map(move |(trial, place): (_, usize)| {
        let state = ExportedState::of(trial);
        let (origin, origin_number) = match origins.get(place) {
            Some(Origin::Control) => (Some("control"), None),
            Some(Origin::Point(number)) => (Some("point"), Some(*number)),
            Some(Origin::Draw(number)) => (Some("draw"), Some(*number)),
            Some(Origin::Initial(number)) => (Some("initial"), Some(*number)),
            None => (None, None),
        };
        TrialFacts {
            trial,
            state,
            origin,
            origin_number,
            executors: executors.get(&trial.trial).map_or(0, BTreeSet::len) as u32,
            executor: trial.executor.map(|executor| run.executor_name(executor)),
            started_s: (trial.attempts > 0).then_some(trial.started_s),
            ended_s: state.has_ended().then_some(trial.ended_s),
            reason: outcome_cells(trial).1,
        }
    })
}

/// Where each trial was trained.
fn executors(run: &RunRecord) -> BTreeMap<TrialId, BTreeSet<ExecutorId>> {
    let mut executors: BTreeMap<TrialId, BTreeSet<ExecutorId>> = BTreeMap::new();
    for attempt in &run.attempts {
        if let Some(Purpose::Training(trial)) = run.purpose_of(attempt.attempt.task) {
            executors.entry(trial).or_default().insert(attempt.executor);
        }
    }
    executors
}

/// The metrics that have columns, in the order of their names.
pub(super) fn metrics(run: &RunRecord) -> BTreeSet<MetricName> {
    run.metric_names().into_iter().chain(USUAL).collect()
}
