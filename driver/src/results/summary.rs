//! `summary.json`: what a program wants to know of a run. What is absent is `null`; so is a number that JSON
//! cannot hold (NaN, infinity).

use std::collections::BTreeMap;

use broadsweep_common::configuration::Value;
use broadsweep_common::metrics::{Direction, MetricName, Objective};
use serde::Serialize;

use super::measured::is_usual;
use super::summary_search::{ChangeSummary, SearchSummary};
use crate::ledger::{Account, Ledger, Line, Lines};
use crate::records::difference::{DifferenceRecord, Odd};
use crate::records::run::{RunRecord, Stage, TrialRecord};

#[derive(Serialize)]
struct Summary<'a> {
    study: &'a str,
    seed: u64,
    #[serde(flatten)]
    ranked_by: RankedBy<'a>,
    /// The further objectives, which decide where those before them tie.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    then: Vec<Named<'a>>,
    loss: String,
    kernel: &'a str,
    build: &'a str,
    executors: u32,
    slots: u32,
    interrupted: bool,
    going_on: bool,
    trials: TrialCounts,
    attempts: u64,
    attempts_by_end: BTreeMap<&'static str, u64>,
    epochs_repeated: u64,
    /// Whether numbers that stand are wrong, or may be.
    suspect: bool,
    differences: Vec<DifferenceSummary<'a>>,
    wall_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<SearchSummary<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<ChangeSummary>,
    best: Option<TrialSummary<'a>>,
    control: Option<TrialSummary<'a>>,
    error_reduction: Option<f64>,
    broadcast: BroadcastSummary,
    ledger: LedgerSummary<'a>,
    results_sha256: String,
}

/// What trials are ranked by: the part of the data whose error it is, or any metric.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum RankedBy<'a> {
    Select(&'static str),
    Objective(Named<'a>),
}

/// An objective.
#[derive(Serialize)]
struct Named<'a> {
    metric: &'a MetricName,
    direction: &'static str,
}

impl<'a> Named<'a> {
    fn of(objective: &'a Objective) -> Self {
        let direction = match objective.direction {
            Direction::Minimize => "minimize",
            Direction::Maximize => "maximize",
        };
        Self { metric: &objective.metric, direction }
    }
}

impl<'a> RankedBy<'a> {
    fn of(objective: &'a Objective) -> Self {
        let select = [(MetricName::VALIDATION_ERROR, "validation"), (MetricName::TEST_ERROR, "test")];
        let short = select.into_iter().find(|(metric, _)| *metric == objective.metric);
        match short.filter(|_| objective.direction == Direction::Minimize) {
            Some((_, part)) => Self::Select(part),
            None => Self::Objective(Named::of(objective)),
        }
    }
}

#[derive(Serialize)]
struct TrialCounts {
    planned: usize,
    finished: usize,
    failed: usize,
    diverged: usize,
    paused: usize,
    not_run: usize,
    /// Where somebody stopped the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<usize>,
}

#[derive(Serialize)]
struct TrialSummary<'a> {
    trial: u32,
    configuration: BTreeMap<&'a str, PlainValue<'a>>,
    validation_error: Option<f64>,
    test_error: Option<f64>,
    /// What its trainer measured besides.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metrics: BTreeMap<String, Option<f64>>,
}

/// A value without its kind: `512`, `0.01`, `"relu"`, `true`.
#[derive(Serialize)]
#[serde(untagged)]
enum PlainValue<'a> {
    Integer(i64),
    Real(f64),
    Choice(&'a str),
    Flag(bool),
}

#[derive(Serialize)]
struct BroadcastSummary {
    data_bytes: u64,
    data_raw_bytes: u64,
    sent_bytes: u64,
    from_peers_bytes: u64,
    from_cache_bytes: u64,
    wall_s: f64,
}

/// Seconds of slots: the lines add up to `slot_s`, of all executors and of each.
#[derive(Serialize)]
struct LedgerSummary<'a> {
    slots: u32,
    slot_s: f64,
    #[serde(flatten)]
    lines: BTreeMap<&'static str, f64>,
    utilisation: f64,
    by_executor: Vec<AccountSummary<'a>>,
}

#[derive(Serialize)]
struct AccountSummary<'a> {
    executor: &'a str,
    slots: u32,
    slot_s: f64,
    #[serde(flatten)]
    lines: BTreeMap<&'static str, f64>,
    slowness: Option<f64>,
}

fn ledger_summary<'a>(run: &'a RunRecord, ledger: &Ledger) -> LedgerSummary<'a> {
    let account = |account: &Account| AccountSummary {
        executor: run.executor_name(account.executor),
        slots: account.slots,
        slot_s: seconds(account.lines.sum()),
        lines: lines_by_key(&account.lines),
        slowness: account.slowness,
    };
    let total = ledger.total();
    LedgerSummary {
        slots: ledger.slots(),
        slot_s: seconds(total.sum()),
        lines: lines_by_key(&total),
        utilisation: ledger.utilisation(),
        by_executor: ledger.accounts.iter().map(account).collect(),
    }
}

/// The seconds of each line, by its name in files.
#[must_use]
pub fn lines_by_key(lines: &Lines) -> BTreeMap<&'static str, f64> {
    Line::ALL.into_iter().map(|line| (line.key(), seconds(lines[line]))).collect()
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// The summary of a run as JSON, without a newline at its end.
///
/// # Panics
/// Never: all keys are text, and numbers that JSON lacks become `null`.
#[must_use]
pub fn summary_json(run: &RunRecord) -> String {
    let counts = run.counts();
    let summary = Summary {
        study: &run.study,
        seed: run.seed,
        ranked_by: RankedBy::of(run.objective()),
        then: run.objectives.iter().skip(1).map(Named::of).collect(),
        loss: run.loss.to_string(),
        kernel: &run.kernel,
        build: &run.build,
        executors: run.executors,
        slots: run.slots,
        interrupted: run.stage == Stage::Interrupted,
        going_on: run.stage == Stage::GoingOn,
        trials: TrialCounts {
            planned: counts.planned,
            finished: counts.finished,
            failed: counts.failed,
            diverged: counts.diverged,
            paused: counts.paused,
            not_run: counts.not_run,
            left_out: Some(counts.left_out).filter(|count| *count > 0),
        },
        attempts: run.attempts.len() as u64,
        attempts_by_end: by_end(run),
        epochs_repeated: run.epochs_repeated,
        suspect: run.is_suspect(),
        differences: run.differences.iter().map(|difference| difference_summary(run, difference)).collect(),
        wall_s: run.wall_s,
        search: run.search.as_ref().map(|search| SearchSummary::of(run, search)),
        changes: run.changes.iter().map(ChangeSummary::of).collect(),
        best: run.best().map(trial_summary),
        control: run.control_trial().map(trial_summary),
        error_reduction: run.error_reduction(),
        broadcast: BroadcastSummary {
            data_bytes: run.broadcast.data_bytes,
            data_raw_bytes: run.broadcast.data_raw_bytes,
            sent_bytes: run.broadcast.sent_bytes,
            from_peers_bytes: run.broadcast.from_peers_bytes,
            from_cache_bytes: run.broadcast.from_cache_bytes,
            wall_s: run.broadcast.wall_s,
        },
        ledger: ledger_summary(run, &Ledger::of(run)),
        results_sha256: run.results_sha256(),
    };
    serde_json::to_string_pretty(&summary).unwrap_or_else(|error| unreachable!("a summary is plain data: {error}"))
}

/// Where two executors told different numbers, and which of them is wrong, if that is known.
#[derive(Serialize)]
struct DifferenceSummary<'a> {
    trial: u32,
    epoch: u32,
    first: &'a str,
    other: &'a str,
    odd: Option<&'a str>,
}

fn difference_summary<'a>(run: &'a RunRecord, difference: &DifferenceRecord) -> DifferenceSummary<'a> {
    let (first, other) = (run.executor_name(difference.first), run.executor_name(difference.other));
    let odd = match difference.odd {
        Odd::First => Some(first),
        Odd::Other => Some(other),
        Odd::Sought | Odd::Unknown => None,
    };
    DifferenceSummary { trial: difference.trial.0, epoch: difference.epoch, first, other, odd }
}

/// How many attempts ended in which way; those that no driver saw end are left out.
fn by_end(run: &RunRecord) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for end in run.attempts.iter().filter_map(|attempt| attempt.end.as_ref()) {
        *counts.entry(end.word()).or_default() += 1;
    }
    counts
}

/// What a trial's trainer measured beside the usual, at the epoch that counts.
pub(crate) fn own_metrics(trial: &TrialRecord) -> BTreeMap<String, Option<f64>> {
    let names = trial.curves.names().iter().chain(trial.measured.iter().map(|(name, _)| name));
    let own = names.filter(|name| !is_usual(name));
    own.filter_map(|name| Some((name.to_string(), Some(trial.metric(name)?)))).collect()
}

fn trial_summary(trial: &TrialRecord) -> TrialSummary<'_> {
    let plain = |value| match value {
        &Value::Integer(integer) => PlainValue::Integer(integer),
        &Value::Real(real) => PlainValue::Real(real),
        Value::Choice(word) => PlainValue::Choice(word),
        &Value::Flag(flag) => PlainValue::Flag(flag),
    };
    TrialSummary {
        trial: trial.trial.0,
        configuration: trial.configuration.iter().map(|(name, value)| (name, plain(value))).collect(),
        validation_error: trial.metric(&MetricName::VALIDATION_ERROR),
        test_error: trial.metric(&MetricName::TEST_ERROR),
        metrics: own_metrics(trial),
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TrialId;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::results::fixtures::{configuration, diverged, finished, given_up, not_run, run, tested, with_own};

    fn parse(run: &RunRecord) -> Json {
        serde_json::from_str(&summary_json(run)).unwrap()
    }

    #[test]
    fn the_summary_tells_all_of_a_run() {
        let mut best = tested(finished(1, 0.125), 0.25);
        best.configuration = configuration(&[
            ("activation", Value::Choice("re\"lu\n".into())),
            ("fc1", Value::Integer(512)),
            ("nesterov", Value::Flag(true)),
            ("rate", Value::Real(1.0)),
        ]);
        let control = tested(finished(0, 0.25), 0.5);
        let mut record = run(vec![control, best, diverged(2, 1), given_up(3, "lost"), not_run(4)]);
        record.control = Some(TrialId(0));
        record.stage = Stage::Interrupted;
        let control_values = json!({ "fc1": 64, "learning_rate": 0.1 / 3.0 });
        let best_values = json!({ "activation": "re\"lu\n", "fc1": 512, "nesterov": true, "rate": 1.0 });
        let expected = json!({
            "study": "quick",
            "seed": 7,
            "select": "validation",
            "loss": "cross_entropy",
            "kernel": "avx2",
            "build": "0.1.0",
            "executors": 2,
            "slots": 4,
            "interrupted": true,
            "going_on": false,
            "trials": { "planned": 5, "finished": 2, "failed": 1, "diverged": 1, "paused": 0, "not_run": 1 },
            "attempts": 7,
            "attempts_by_end": { "completed": 4, "failed": 3 },
            "epochs_repeated": 0,
            "suspect": false,
            "differences": [],
            "wall_s": 12.5,
            "best": { "trial": 1, "configuration": best_values, "validation_error": 0.125, "test_error": 0.25 },
            "control": { "trial": 0, "configuration": control_values, "validation_error": 0.25, "test_error": 0.5 },
            "error_reduction": 0.5,
            "broadcast": {
                "data_bytes": 1000, "data_raw_bytes": 1000, "sent_bytes": 2000, "from_peers_bytes": 4096, "from_cache_bytes": 0, "wall_s": 0.25
            },
            "results_sha256": record.results_sha256(),
        });
        let mut summary = parse(&record);
        summary.as_object_mut().unwrap().remove("ledger");
        assert_eq!(summary, expected);
    }

    #[test]
    fn the_ledger_stands_there_in_seconds_and_by_executor() {
        let ledger = &parse(&run(vec![finished(0, 0.5)]))["ledger"];
        // One attempt of 1.75 s of work from 0.5 s to 2.5 s, on one of two slots of the first of two executors.
        let account = |name: &str, training_s: f64, waiting_s: f64, tail_s: f64| {
            json!({
                "executor": name, "slots": 2, "slot_s": 25.0, "training_s": training_s, "broadcast_s": 0.25,
                "start_up_s": 20.75, "waiting_s": waiting_s, "order_s": 0.0, "lost_s": 0.0, "slow_s": 0.0, "tail_s": tail_s,
                "slowness": null
            })
        };
        let expected = json!({
            "slots": 4, "slot_s": 50.0, "training_s": 1.75, "broadcast_s": 0.5, "start_up_s": 41.5, "waiting_s": 0.25,
            "order_s": 0.0, "lost_s": 0.0, "slow_s": 0.0, "tail_s": 6.0, "utilisation": 0.035,
            "by_executor": [account("127.0.0.1:7070", 1.75, 0.25, 2.0), account("127.0.0.1:7071", 0.0, 0.0, 4.0)],
        });
        assert_eq!(ledger, &expected);
    }

    #[test]
    fn what_a_trainer_measures_besides_is_told_and_so_is_what_ranks() {
        let accuracy = MetricName::new("accuracy").unwrap();
        let mut record =
            run(vec![with_own(finished(0, 0.1), "accuracy", 0.75), with_own(finished(1, 0.2), "accuracy", 0.875)]);
        record.objectives = Objective { metric: accuracy, direction: Direction::Maximize }.into();
        let summary = parse(&record);
        assert_eq!(summary["objective"], json!({ "metric": "accuracy", "direction": "maximize" }));
        assert_eq!(summary.get("select"), None);
        assert_eq!(
            (&summary["best"]["trial"], &summary["best"]["metrics"]),
            (&json!(1), &json!({ "accuracy": 0.875 }))
        );
    }

    #[test]
    fn what_is_absent_is_null() {
        let summary = parse(&run(vec![diverged(0, 1)]));
        for field in ["best", "control", "error_reduction"] {
            assert_eq!(summary.get(field), Some(&Json::Null), "{field}");
        }
        let summary = parse(&run(vec![finished(0, 0.5)]));
        assert_eq!(summary["best"]["validation_error"], json!(0.5));
        assert_eq!(summary["best"].get("test_error"), Some(&Json::Null));
    }

    #[test]
    fn a_number_that_json_lacks_is_null() {
        let mut record = run(vec![tested(finished(0, 0.5), f64::NAN)]);
        record.control = Some(TrialId(0));
        let summary = parse(&record);
        assert_eq!(summary["control"].get("test_error"), Some(&Json::Null));
        assert_eq!(summary.get("error_reduction"), Some(&Json::Null));
    }

    #[test]
    fn a_control_that_has_no_result_is_still_named() {
        let mut record = run(vec![diverged(0, 1), finished(1, 0.5)]);
        record.control = Some(TrialId(0));
        let control = &parse(&record)["control"];
        assert_eq!((&control["trial"], control.get("validation_error")), (&json!(0), Some(&Json::Null)));
    }
}
