//! A line a trial, as CSV and as JSON. The names of columns and keys stand in the module above.

use std::collections::BTreeMap;
use std::io;

use broadsweep_common::attempt::Used;
use broadsweep_common::configuration::Value;
use serde::Serialize;

use super::Export;
use super::facts::{TrialFacts, facts, metrics};
use crate::results::rows::{METRIC_PREFIX, PARAMETER_PREFIX, Rows, parameters};

/// The columns before the parameters'.
const BEFORE: [&str; 4] = ["trial", "state", "origin", "origin_number"];
/// The columns behind the metrics'.
const BEHIND: [&str; 12] = [
    "counted_epoch",
    "epochs",
    "attempts",
    "executors",
    "executor",
    "started_s",
    "ended_s",
    "training_s",
    "evaluation_s",
    "cpu_s",
    "memory_peak_bytes",
    "reason",
];

pub(super) fn csv(export: &Export<'_>) -> io::Result<Vec<u8>> {
    let (parameters, metrics) = (parameters(export.run), metrics(export.run));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = BEFORE
        .map(str::to_owned)
        .into_iter()
        .chain(parameters.iter().map(|name| format!("{PARAMETER_PREFIX}{name}")))
        .chain(metrics.iter().map(|name| format!("{METRIC_PREFIX}{name}")))
        .chain(BEHIND.map(str::to_owned));
    writer.write_record(header)?;
    let mut rows = Rows::after(writer);
    for told in facts(export) {
        let trial = told.trial;
        rows.whole(trial.trial.0)?;
        rows.text(told.state.word())?;
        rows.text(told.origin.unwrap_or_default())?;
        match told.origin_number {
            Some(number) => rows.shown(&number)?,
            None => rows.text("")?,
        }
        for name in &parameters {
            rows.value(trial.configuration.get(name))?;
        }
        for name in &metrics {
            rows.real(trial.told_metric(name))?;
        }
        rows.whole(trial.told_epoch())?;
        for count in [trial.curves.epochs(), trial.attempts, told.executors] {
            rows.whole(count)?;
        }
        rows.text(told.executor.unwrap_or_default())?;
        for seconds in [told.started_s, told.ended_s, Some(trial.training_s), Some(trial.evaluation_s)] {
            rows.real(seconds)?;
        }
        rows.used(trial.used)?;
        rows.text(&told.reason)?;
        rows.end()?;
    }
    rows.into_bytes()
}

pub(super) fn jsonl(export: &Export<'_>) -> io::Result<Vec<u8>> {
    let metrics = metrics(export.run);
    let mut bytes = Vec::new();
    for told in facts(export) {
        let trial = told.trial;
        let measured = metrics.iter().filter_map(|name| Some((name.as_str(), trial.told_metric(name)?)));
        serde_json::to_writer(&mut bytes, &Line::of(&told, measured.collect()))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// One JSON object, with its keys in the order of the columns.
#[derive(Serialize)]
struct Line<'a> {
    trial: u32,
    state: &'static str,
    origin: Option<&'static str>,
    origin_number: Option<u64>,
    parameters: BTreeMap<&'a str, Plain<'a>>,
    metrics: BTreeMap<&'a str, f64>,
    counted_epoch: Option<u32>,
    epochs: u32,
    attempts: u32,
    executors: u32,
    executor: Option<&'a str>,
    started_s: Option<f64>,
    ended_s: Option<f64>,
    training_s: f64,
    evaluation_s: f64,
    cpu_s: Option<f64>,
    memory_peak_bytes: Option<u64>,
    reason: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn of(told: &'a TrialFacts<'a>, metrics: BTreeMap<&'a str, f64>) -> Self {
        let trial = told.trial;
        Self {
            trial: trial.trial.0,
            state: told.state.word(),
            origin: told.origin,
            origin_number: told.origin_number,
            parameters: trial.configuration.iter().map(|(name, value)| (name, Plain::of(value))).collect(),
            metrics,
            counted_epoch: trial.told_epoch(),
            epochs: trial.curves.epochs(),
            attempts: trial.attempts,
            executors: told.executors,
            executor: told.executor,
            started_s: told.started_s,
            ended_s: told.ended_s,
            training_s: trial.training_s,
            evaluation_s: trial.evaluation_s,
            cpu_s: trial.used.map(Used::cpu_s),
            memory_peak_bytes: trial.used.map(|used| used.memory_peak_bytes),
            reason: Some(told.reason.as_str()).filter(|reason| !reason.is_empty()),
        }
    }
}

/// A value as JSON has it, without the name of its kind.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Plain<'a> {
    Integer(i64),
    Real(f64),
    Choice(&'a str),
    Flag(bool),
}

impl<'a> Plain<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Integer(integer) => Self::Integer(*integer),
            Value::Real(real) => Self::Real(*real),
            Value::Choice(word) => Self::Choice(word),
            Value::Flag(flag) => Self::Flag(*flag),
        }
    }
}
