//! A run in each of its forms, read as others read them.

use broadsweep_common::configuration::Value as Parameter;
use broadsweep_common::metrics::{Direction, MetricName, Objective};
use broadsweep_search::Domain;
use serde_json::{Value, json};

use super::distributions::Distribution;
use super::*;
use crate::records::run::{Stage, TrialOutcome, TrialRecord};
use crate::results::fixtures::{
    at, configuration, diverged, finished, given_up, not_run, run, tested, with_attempts, with_own,
};

fn space() -> Space {
    Space::from([
        ("fc1".to_owned(), Domain::Values(vec![Parameter::Integer(64), Parameter::Integer(128)])),
        ("learning_rate".to_owned(), Domain::Reals { min: 0.001, max: 0.1, log: true, count: None }),
    ])
}

fn paused(trial: u32, epoch: u32) -> TrialRecord {
    TrialRecord { outcome: TrialOutcome::Paused { epoch }, ..finished(trial, 0.3) }
}

/// A run of each kind of trial, of which the last one but one is under way and the last one was not begun.
fn mixed() -> RunRecord {
    let first = with_own(tested(finished(0, 0.1), 0.2), "accuracy", 0.9);
    let begun = TrialRecord { attempts: 1, ..not_run(4) };
    RunRecord {
        stage: Stage::GoingOn,
        ..run(vec![first, diverged(1, 2), given_up(2, "no \"room\""), paused(3, 2), begun, not_run(5)])
    }
}

const ORIGINS: [Origin; 3] = [Origin::Control, Origin::Point(7), Origin::Draw(9)];

fn export<'a>(run: &'a RunRecord, space: &'a Space) -> Export<'a> {
    let begun = Some(Duration::from_micros(1_795_366_862_000_250));
    Export { run, space, origins: &ORIGINS, folder: "quick-20261122T170102Z", begun }
}

/// The lines of a journal, as far as they are plain JSON.
fn journal(run: &RunRecord) -> Vec<Value> {
    let space = space();
    let text = String::from_utf8(export(run, &space).optuna()).unwrap();
    assert!(text.ends_with('\n'), "Optuna reads whole lines");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line))).collect()
}

/// The lines of its trials.
fn trials(run: &RunRecord) -> Vec<Value> {
    journal(run).into_iter().filter(|line| line["op_code"] == 4 || line.is_string()).collect()
}

#[test]
fn every_trial_has_a_row_and_columns_that_no_study_renames() {
    let (record, space) = (mixed(), space());
    let bytes = export(&record, &space).csv().unwrap();
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let header: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let expected = "trial state origin origin_number parameter.fc1 parameter.learning_rate metric.learning_rate \
                    metric.training_loss metric.validation_loss metric.validation_error metric.test_loss \
                    metric.test_error metric.accuracy counted_epoch epochs attempts executors executor \
                    started_s ended_s training_s evaluation_s cpu_s memory_peak_bytes reason";
    assert_eq!(header, expected.split_whitespace().collect::<Vec<_>>());
    let rows: Vec<Vec<String>> = reader.deserialize().collect::<Result<_, _>>().unwrap();
    let cell = |row: usize, column: &str| rows[row][header.iter().position(|name| name == column).unwrap()].as_str();
    let states: Vec<_> = (0..rows.len()).map(|row| cell(row, "state")).collect();
    assert_eq!(states, ["finished", "diverged", "given_up", "paused", "running", "waiting"]);
    let origins: Vec<_> = (0..4).map(|row| (cell(row, "origin"), cell(row, "origin_number"))).collect();
    assert_eq!(origins, [("control", ""), ("point", "7"), ("draw", "9"), ("", "")]);
    assert_eq!((cell(0, "metric.test_error"), cell(0, "metric.validation_error")), ("0.2", "0.1"));
    assert_eq!((cell(0, "counted_epoch"), cell(0, "executors"), cell(0, "executor")), ("2", "1", "127.0.0.1:7070"));
    assert_eq!((cell(2, "reason"), cell(2, "metric.validation_error")), ("no \"room\"", ""));
    assert_eq!((cell(3, "counted_epoch"), cell(3, "metric.validation_error")), ("2", "0.3"), "what it measured last");
    assert_eq!((cell(4, "started_s"), cell(4, "ended_s"), cell(5, "started_s")), ("0.5", "", ""));
}

#[test]
fn a_line_of_json_has_what_the_row_has() {
    let (record, space) = (mixed(), space());
    let text = String::from_utf8(export(&record, &space).jsonl().unwrap()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), record.trials.len());
    assert!(text.starts_with("{\"trial\":0,\"state\":\"finished\",\"origin\":\"control\",\"origin_number\":null,"));
    assert_eq!(lines[0]["parameters"], json!({ "fc1": 64, "learning_rate": 0.1 / 3.0 }));
    assert_eq!(lines[0]["metrics"]["accuracy"], json!(0.9));
    assert_eq!((&lines[1]["metrics"], &lines[1]["reason"]), (&json!({}), &json!("a loss was not finite in epoch 2")));
    assert_eq!((&lines[3]["metrics"]["validation_error"], &lines[3]["counted_epoch"]), (&json!(0.3), &json!(2)));
    assert_eq!((&lines[5]["state"], &lines[5]["started_s"]), (&json!("waiting"), &Value::Null));
}

#[test]
fn a_trial_that_moved_counts_each_executor_once() {
    let mut record = run(vec![given_up(0, "x")]);
    let mut attempts = record.attempts.clone();
    attempts[1].executor = broadsweep_common::ids::ExecutorId(1);
    record = with_attempts(record, attempts);
    let space = space();
    let line: Value = serde_json::from_slice(&export(&record, &space).jsonl().unwrap()).unwrap();
    assert_eq!((&line["attempts"], &line["executors"]), (&json!(4), &json!(2)));
}

#[test]
fn a_study_of_optunas_has_the_runs_name_direction_and_attributes() {
    let mut record = mixed();
    let lines = journal(&record);
    let (codes, others): (Vec<_>, Vec<_>) = lines.iter().map(|line| (&line["op_code"], &line["worker_id"])).unzip();
    assert_eq!(codes[..5], [&json!(0), &json!(3), &json!(2), &json!(2), &json!(2)]);
    assert!(others.iter().all(|worker| **worker == json!("broadsweep")));
    assert_eq!((&lines[0]["study_name"], &lines[0]["directions"]), (&json!("quick"), &json!([1])));
    assert_eq!(lines[1]["system_attr"], json!({ "study:metric_names": ["validation_error"] }));
    assert_eq!(lines[2]["user_attr"], json!({ "run": "quick-20261122T170102Z" }));
    assert_eq!(lines[4]["user_attr"], json!({ "objectives": ["minimize validation_error"] }));
    let metric = MetricName::new("accuracy").unwrap();
    record.objectives = Objective { metric, direction: Direction::Maximize }.into();
    assert_eq!(journal(&record)[0]["directions"], json!([2]));
}

#[test]
fn a_trial_of_optunas_has_its_values_its_curve_and_its_times() {
    let trial = &trials(&mixed())[0];
    assert_eq!((&trial["state"], &trial["value"], &trial["values"]), (&json!(1), &json!(0.1), &Value::Null));
    assert_eq!(trial["params"], json!({ "fc1": 0.0, "learning_rate": 0.1 / 3.0 }));
    let distribution = |name: &str| -> Value {
        serde_json::from_str(trial["distributions"][name].as_str().expect("a text, as Optuna has it")).unwrap()
    };
    // The later trials lie beside the space, which is widened for them.
    let choices = json!({ "choices": [64, 128, 256, 512, 1024, 2048] });
    assert_eq!(distribution("fc1"), json!({ "name": "CategoricalDistribution", "attributes": choices }));
    let range = json!({ "low": 0.001, "high": 0.1, "log": true, "step": null });
    assert_eq!(distribution("learning_rate"), json!({ "name": "FloatDistribution", "attributes": range }));
    assert_eq!(trial["intermediate_values"], json!({ "1": 0.5, "2": 0.1 }));
    assert_eq!(trial["datetime_start"], json!("2026-11-22T17:01:02.500250+00:00"));
    assert_eq!(trial["datetime_complete"], json!("2026-11-22T17:01:04.500250+00:00"));
    let attributes = &trial["user_attrs"];
    assert_eq!((&attributes["origin"], &attributes["metric.test_error"]), (&json!("control"), &json!(0.2)));
    assert_eq!(attributes.get("metric.validation_error"), None, "it is the value");
}

#[test]
fn optuna_is_told_how_each_trial_stands_and_why_it_failed() {
    let states = |record: &RunRecord| trials(record).iter().map(|trial| trial["state"].clone()).collect::<Vec<_>>();
    let mut record = mixed();
    assert_eq!(states(&record), [1, 3, 3, 0, 0, 4].map(Value::from));
    let told = trials(&record);
    assert_eq!(told[1]["user_attrs"]["reason"], json!("a loss was not finite in epoch 2"));
    assert_eq!(told[2]["user_attrs"]["reason"], json!("no \"room\""));
    assert_eq!((told[3].get("datetime_complete"), told[4].get("datetime_complete")), (None, None));
    assert_eq!((&told[5]["datetime_start"], &told[5]["intermediate_values"]), (&Value::Null, &json!({})));
    record.stage = Stage::Over;
    let pruned = &trials(&record)[3];
    assert_eq!((&pruned["state"], &pruned["value"]), (&json!(2), &json!(0.3)));
}

#[test]
fn numbers_that_are_not_finite_are_called_as_python_calls_them() {
    let error = &MetricName::VALIDATION_ERROR;
    let nan = at(finished(0, 0.1), 2, error, Some(f64::NAN));
    let infinite = at(finished(1, 0.1), 1, error, Some(f64::NEG_INFINITY));
    let lines = trials(&run(vec![nan, infinite]));
    let text = |line: usize| lines[line].as_str().expect("no JSON of others").to_owned();
    assert!(text(0).ends_with(",\"intermediate_values\":{\"1\":0.5,\"2\":NaN}}"), "{}", text(0));
    assert!(text(0).contains("\"state\":3,\"value\":null,"), "{}", text(0));
    assert!(text(0).contains("\"reason\":\"its validation_error is not a number\""), "{}", text(0));
    assert!(text(1).ends_with(",\"intermediate_values\":{\"1\":-Infinity,\"2\":0.1}}"), "{}", text(1));
}

#[test]
fn a_run_whose_start_is_unknown_has_no_times() {
    let (record, space) = (run(vec![finished(0, 0.1)]), space());
    let bytes = Export { begun: None, ..export(&record, &space) }.optuna();
    let line: Value = serde_json::from_str(str::from_utf8(&bytes).unwrap().lines().last().unwrap()).unwrap();
    assert_eq!((&line["datetime_start"], line.get("datetime_complete")), (&Value::Null, None));
}

#[test]
fn a_distribution_holds_its_domain_and_whatever_trials_have() {
    let (integer, real, word) = (Parameter::Integer, Parameter::Real, || Parameter::Choice("a".to_owned()));
    let integers = |log| Domain::Integers { min: 1, max: 8, log, count: None };
    let reals = Domain::Reals { min: 0.5, max: 2.0, log: true, count: Some(3) };
    let rows = [
        (Some(integers(true)), vec![integer(3)], Distribution::Integers { low: 1, high: 8, log: true }),
        (Some(integers(true)), vec![integer(-2)], Distribution::Integers { low: -2, high: 8, log: false }),
        (Some(integers(false)), vec![real(9.5)], Distribution::Reals { low: 1.0, high: 9.5, log: false }),
        (Some(reals.clone()), vec![integer(3)], Distribution::Reals { low: 0.5, high: 3.0, log: true }),
        (Some(reals.clone()), vec![real(0.0)], Distribution::Reals { low: 0.0, high: 2.0, log: false }),
        (Some(reals), vec![real(1.0), word()], Distribution::Categories(vec![real(1.0), word()])),
        (
            Some(Domain::Values(vec![word(), Parameter::Flag(true)])),
            vec![integer(1)],
            Distribution::Categories(vec![word(), Parameter::Flag(true), integer(1)]),
        ),
        (None, vec![integer(1), integer(1)], Distribution::Categories(vec![integer(1)])),
    ];
    for (domain, seen, expected) in rows {
        let distribution = Distribution::of(domain.as_ref(), seen.iter());
        assert_eq!(distribution, expected, "{domain:?} {seen:?}");
        let places: Vec<_> = seen.iter().map(|value| distribution.internal(value)).collect();
        assert!(places.iter().all(|place| !place.is_nan()), "{domain:?} {seen:?}: {places:?}");
    }
}

#[test]
fn words_in_a_parameter_are_written_by_their_place() {
    let space = Space::from([(
        "activation".to_owned(),
        Domain::Values(vec![Parameter::Choice("relu".to_owned()), Parameter::Choice("gelu".to_owned())]),
    )]);
    let mut trial = finished(0, 0.1);
    trial.configuration = configuration(&[("activation", Parameter::Choice("gelu".to_owned()))]);
    let record = run(vec![trial]);
    let bytes = export(&record, &space).optuna();
    let line: Value = serde_json::from_str(str::from_utf8(&bytes).unwrap().lines().last().unwrap()).unwrap();
    assert_eq!(line["params"], json!({ "activation": 1.0 }));
}
