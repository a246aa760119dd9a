//! The journal of an Optuna study, as `optuna.storages.journal.JournalFileBackend` of Optuna 4 and 5 writes it: a line an
//! operation, each a JSON object as Python has it, where numbers that are not finite have names.
//!
//! Each trial is one operation, as `study.add_trial` writes it. Who reads the file takes lines of other writers as they
//! are, so `worker_id` may be any text that no worker has.

use std::collections::BTreeMap;
use std::time::Duration;

use broadsweep_common::attempt::Used;
use broadsweep_common::metrics::{Direction, MetricName};
use serde::Serialize;

use super::Export;
use super::distributions::Distribution;
use super::facts::{ExportedState, TrialFacts, facts, metrics};
use crate::records::run::RunRecord;
use crate::results::calendar::exact_utc;
use crate::results::rows::{METRIC_PREFIX, parameters};

/// Operations, by Optuna's numbers.
const CREATE_STUDY: u32 = 0;
const SET_STUDY_USER_ATTR: u32 = 2;
const SET_STUDY_SYSTEM_ATTR: u32 = 3;
const CREATE_TRIAL: u32 = 4;

/// Where Optuna keeps what values are called.
const METRIC_NAMES: &str = "study:metric_names";

/// A trial's state, by Optuna's numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TrialCode {
    Running = 0,
    Complete = 1,
    Pruned = 2,
    Fail = 3,
    Waiting = 4,
}

pub(super) fn journal(export: &Export<'_>) -> Vec<u8> {
    let run = export.run;
    let mut lines = study(export);
    let domains: BTreeMap<&str, ParameterDomain> = parameters(run)
        .into_iter()
        .map(|name| {
            let seen = run.trials.iter().filter_map(|trial| trial.configuration.get(name));
            let distribution = Distribution::of(export.space.get(name), seen);
            (name, ParameterDomain { written: json(&distribution.json()), distribution })
        })
        .collect();
    let metrics: Vec<_> = metrics(run).into_iter().filter(|name| *name != run.objective().metric).collect();
    for told in facts(export) {
        lines.push(trial(export, &told, &domains, &metrics));
    }
    (lines.join("\n") + "\n").into_bytes()
}

/// What is known of a parameter, and how it is written in each trial.
struct ParameterDomain {
    distribution: Distribution,
    written: String,
}

/// The lines that make a study.
fn study(export: &Export<'_>) -> Vec<String> {
    let run = export.run;
    let objective = run.objective();
    let direction = |direction| match direction {
        Direction::Minimize => (1, "minimize"),
        Direction::Maximize => (2, "maximize"),
    };
    let mut made = Object::operation(CREATE_STUDY);
    made.field("study_name", &json(&run.study));
    made.field("directions", &json(&[direction(objective.direction).0]));
    let set = |operation, field: &str, name: &str, value: &str| {
        let mut attribute = Object::default();
        attribute.field(name, value);
        let mut line = Object::operation(operation);
        line.field("study_id", "0");
        line.field(field, &attribute.closed());
        line.closed()
    };
    let objectives: Vec<_> =
        run.objectives.iter().map(|one| format!("{} {}", direction(one.direction).1, one.metric)).collect();
    let own = |name, value: &str| set(SET_STUDY_USER_ATTR, "user_attr", name, value);
    vec![
        made.closed(),
        set(SET_STUDY_SYSTEM_ATTR, "system_attr", METRIC_NAMES, &json(&[objective.metric.as_str()])),
        own("run", &json(export.folder)),
        own("seed", &json(&run.seed)),
        own("objectives", &json(&objectives)),
    ]
}

/// The line of a trial.
fn trial(
    export: &Export<'_>,
    told: &TrialFacts<'_>,
    domains: &BTreeMap<&str, ParameterDomain>,
    metrics: &[MetricName],
) -> String {
    let (run, trial) = (export.run, told.trial);
    let (code, value, unfit) = judged(run, told);
    let at = |seconds: Option<f64>| {
        let at = export.begun?.saturating_add(Duration::try_from_secs_f64(seconds?).ok()?);
        Some(json(&exact_utc(at)))
    };
    let mut line = Object::operation(CREATE_TRIAL);
    line.field("study_id", "0");
    line.field("state", &(code as u32).to_string());
    line.field("value", &value.map_or_else(|| "null".to_owned(), number));
    line.field("values", "null");
    line.field("datetime_start", &at(told.started_s).unwrap_or_else(|| "null".to_owned()));
    let is_over = matches!(code, TrialCode::Complete | TrialCode::Pruned | TrialCode::Fail);
    if let Some(ended) = at(told.ended_s).filter(|_| is_over) {
        line.field("datetime_complete", &ended);
    }
    let (mut distributions, mut parameters) = (Object::default(), Object::default());
    for (name, given) in trial.configuration.iter() {
        if let Some(domain) = domains.get(name) {
            distributions.field(name, &domain.written);
            parameters.field(name, &number(domain.distribution.internal(given)));
        }
    }
    line.field("distributions", &distributions.closed());
    line.field("params", &parameters.closed());
    line.field("user_attrs", &attributes(told, metrics, unfit));
    line.field("system_attrs", "{}");
    let mut curve = Object::default();
    for (epoch, value) in trial.curves.of(&run.objective().metric) {
        curve.field(&epoch.to_string(), &number(value));
    }
    line.field("intermediate_values", &curve.closed());
    line.closed()
}

/// A trial's state and value, and why it has no value although it has finished. Optuna takes no NaN for a value.
fn judged(run: &RunRecord, told: &TrialFacts<'_>) -> (TrialCode, Option<f64>, Option<String>) {
    let (trial, metric) = (told.trial, &run.objective().metric);
    match told.state {
        ExportedState::Finished => match run.value_of(trial).filter(|value| !value.is_nan()) {
            Some(value) => (TrialCode::Complete, Some(value), None),
            None => (TrialCode::Fail, None, Some(format!("its {metric} is not a number"))),
        },
        ExportedState::Diverged | ExportedState::GivenUp => (TrialCode::Fail, None, None),
        ExportedState::Paused if run.is_over() => {
            let last = trial.curves.of(metric).last().map(|(_, value)| value);
            (TrialCode::Pruned, last.filter(|value| !value.is_nan()), None)
        }
        ExportedState::Paused | ExportedState::Running => (TrialCode::Running, None, None),
        ExportedState::Waiting | ExportedState::LeftOut => (TrialCode::Waiting, None, None),
    }
}

/// What a trial is told to be beside its values.
fn attributes(told: &TrialFacts<'_>, metrics: &[MetricName], unfit: Option<String>) -> String {
    let trial = told.trial;
    let mut attributes = Object::default();
    let whole = |number: Option<u64>| number.map(|number| number.to_string());
    let seconds = |seconds: f64| Some(number(seconds));
    let reason = unfit.or_else(|| Some(told.reason.clone()).filter(|reason| !reason.is_empty()));
    let told = [
        ("state", Some(json(told.state.word()))),
        ("origin", told.origin.map(json)),
        ("origin_number", whole(told.origin_number)),
        ("counted_epoch", whole(trial.told_epoch().map(u64::from))),
        ("epochs", whole(Some(trial.curves.epochs().into()))),
        ("attempts", whole(Some(trial.attempts.into()))),
        ("executors", whole(Some(told.executors.into()))),
        ("executor", told.executor.map(json)),
        ("training_s", seconds(trial.training_s)),
        ("evaluation_s", seconds(trial.evaluation_s)),
        ("cpu_s", trial.used.map(Used::cpu_s).and_then(seconds)),
        ("memory_peak_bytes", whole(trial.used.map(|used| used.memory_peak_bytes))),
        ("reason", reason.as_ref().map(json)),
    ];
    for (name, value) in told {
        if let Some(value) = value {
            attributes.field(name, &value);
        }
    }
    for name in metrics {
        if let Some(value) = trial.told_metric(name) {
            attributes.field(&format!("{METRIC_PREFIX}{name}"), &number(value));
        }
    }
    attributes.closed()
}

/// A JSON object in the making. By hand, since Python's JSON has numbers that others lack.
#[derive(Default)]
struct Object(String);

impl Object {
    /// A line of the journal.
    fn operation(code: u32) -> Self {
        let mut line = Self::default();
        line.field("op_code", &code.to_string());
        line.field("worker_id", "\"broadsweep\"");
        line
    }

    /// Adds a field, whose value is JSON.
    fn field(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&json(name));
        self.0.push(':');
        self.0.push_str(value);
    }

    fn closed(self) -> String {
        if self.0.is_empty() { "{}".to_owned() } else { self.0 + "}" }
    }
}

/// A number as Python's JSON has it.
fn number(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        json(&number)
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| unreachable!("it is plain data: {error}"))
}
