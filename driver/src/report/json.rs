//! A run as one JSON object, for programs: the summary, every trial with its epochs, and every attempt. What is absent
//! is `null`; so is a number that JSON cannot hold.

use broadsweep_common::attempt::Used;
use broadsweep_common::configuration::Value as Plain;
use broadsweep_common::details::{Answer, Details};
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_search::{Believed, DensityPair, ExpectedLoss};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::Report;
use super::rungs::JudgedRung;
use super::view::View;
use crate::records::attempt::{AttemptEnd, AttemptRecord};
use crate::records::run::{DetailsRecord, RunRecord, TrialOutcome, TrialRecord};
use crate::results::measured::is_usual;
use crate::results::summary::{own_metrics, summary_json};

const VALIDATION: [MetricName; 2] = [MetricName::VALIDATION_LOSS, MetricName::VALIDATION_ERROR];
const TEST: [MetricName; 2] = [MetricName::TEST_LOSS, MetricName::TEST_ERROR];

/// Without a newline at its end.
pub(super) fn json(report: &Report<'_>) -> String {
    let run = report.run;
    let view = View::of(run);
    let summary: Value = serde_json::from_str(&summary_json(run)).unwrap_or_default();
    let whole = Whole {
        attempts: Each(&run.attempts, |one: &AttemptRecord| attempt(run, one)),
        beliefs: beliefs(&view),
        comparison: json!(report.comparison),
        details: run.details.iter().map(details).collect(),
        importance: importance(&view),
        importance_among_best: importance_among_best(&view),
        rungs: rungs(&view),
        summary,
        trials: Each(&run.trials, |one: &TrialRecord| trial(run, one)),
    };
    serde_json::to_string_pretty(&whole).unwrap_or_else(|error| unreachable!("a report is plain data: {error}"))
}

/// The object, with its keys in the order of their letters, as within it.
#[derive(Serialize)]
struct Whole<A, T> {
    attempts: A,
    beliefs: Value,
    comparison: Value,
    details: Value,
    importance: Value,
    importance_among_best: Value,
    rungs: Value,
    summary: Value,
    trials: T,
}

/// A list whose elements are made one at a time: as one value, a million of them would take gigabytes.
struct Each<'a, T, F>(&'a [T], F);

impl<T, F: Fn(&T) -> Value> Serialize for Each<'_, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(&self.1))
    }
}

/// What a closer look at the best told of a part.
fn details(record: &DetailsRecord) -> Value {
    let Details { guess, confusions, worst } = &record.details;
    let guess: Map<_, _> = guess.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    let worst = worst.iter().map(|worst| match &worst.answer {
        Answer::Class { wanted, predicted } => {
            json!({ "row": worst.row, "loss": worst.loss, "wanted": wanted, "predicted": predicted })
        }
        Answer::Values { wanted, predicted } => {
            json!({ "row": worst.row, "loss": worst.loss, "wanted": wanted, "predicted": predicted })
        }
    });
    json!({
        "trial": record.trial.0, "part": record.part.to_string(), "constant_guess": guess, "confusions": confusions,
        "worst_rows": worst.collect::<Vec<_>>(),
    })
}

/// The share that each parameter explains alone; `null` where that is not known.
fn importance(view: &View<'_>) -> Value {
    let Some(importance) = &view.importance else { return Value::Null };
    let alone =
        importance.ranked.iter().map(|(place, share)| (view.parameters[*place].name.to_owned(), json!(share)));
    json!({
        "alone": alone.collect::<Map<_, _>>(), "together": importance.together, "explained": importance.explained,
        "trials": importance.trials,
    })
}

/// How much each parameter counts for being among the best, the most first; `null` where that is not known.
fn importance_among_best(view: &View<'_>) -> Value {
    let Some(among_best) = &view.among_best else { return Value::Null };
    let parameters = among_best
        .ranked
        .iter()
        .map(|one| json!({ "name": view.parameters[one.place].name, "share": one.share, "interval": one.interval }));
    json!({
        "parameters": parameters.collect::<Vec<_>>(), "best": among_best.best, "trials": among_best.trials,
    })
}

/// What the sampler believes of each parameter, value by value; `null` where it believes nothing.
fn beliefs(view: &View<'_>) -> Value {
    let Some(beliefs) = &view.beliefs else { return Value::Null };
    let of_loss = |one: &ExpectedLoss| {
        json!({
            "value": plain(&one.value), "median": one.median, "better_by_one_deviation": one.low,
            "worse_by_one_deviation": one.high,
        })
    };
    let of_pair =
        |pair: &DensityPair| json!({ "value": plain(&pair.value), "good": pair.good, "others": pair.others });
    let parameters = beliefs.all.iter().map(|belief| match &belief.believed {
        Believed::Losses(losses) => {
            json!({ "name": *belief.parameter, "expected": losses.iter().map(of_loss).collect::<Vec<_>>() })
        }
        Believed::Densities(pairs) => {
            json!({ "name": *belief.parameter, "densities": pairs.iter().map(of_pair).collect::<Vec<_>>() })
        }
    });
    json!({ "parameters": parameters.collect::<Vec<_>>(), "trials": beliefs.trials })
}

/// What the pruner stopped, rung by rung; `null` where there was none.
fn rungs(view: &View<'_>) -> Value {
    let Some(rungs) = &view.rungs else { return Value::Null };
    let of_rung = |rung: &JudgedRung| {
        let trials = |went_on: bool| {
            let own = rung.trials.iter().filter(move |trial| trial.went_on == went_on);
            own.map(|trial| view.run.trials[trial.place].trial.0).collect::<Vec<_>>()
        };
        json!({
            "bracket": rung.bracket, "epoch": rung.epoch, "went_on": trials(true), "stopped": trials(false),
            "threshold": rung.threshold().map(|(line, _)| line), "worst_that_went_on": rung.worst_on(),
            "best_that_stopped": rung.best_stopped(),
        })
    };
    json!({
        "pruner": rungs.pruner, "rungs": rungs.judged.iter().map(of_rung).collect::<Vec<_>>(), "begun": rungs.begun,
        "in_full": rungs.in_full, "epochs": rungs.epochs, "epochs_in_full": rungs.epochs_in_full,
    })
}

fn plain(value: &Plain) -> Value {
    match value {
        Plain::Integer(integer) => json!(integer),
        Plain::Real(real) => json!(real),
        Plain::Choice(word) => json!(word),
        Plain::Flag(flag) => json!(flag),
    }
}

fn trial(run: &RunRecord, trial: &TrialRecord) -> Value {
    let configuration = trial.configuration.iter().map(|(name, given)| (name.to_owned(), plain(given)));
    let (outcome, reason) = match &trial.outcome {
        TrialOutcome::Finished { .. } => ("finished", None),
        TrialOutcome::Diverged { .. } => ("diverged", None),
        TrialOutcome::GivenUp { reason } => ("given_up", Some(reason)),
        TrialOutcome::Paused { .. } => ("paused", None),
        TrialOutcome::NotRun => ("not_run", None),
        TrialOutcome::LeftOut => ("left_out", None),
    };
    let mut told = json!({
        "trial": trial.trial.0, "configuration": configuration.collect::<Map<_, _>>(), "outcome": outcome,
        "reason": reason, "counted_epoch": trial.counted(),
        "validation": score(|name| trial.metric(name), &VALIDATION), "test": score(|name| trial.metric(name), &TEST),
        "epochs": trial.curves.iter().map(|(number, metrics)| epoch(number, &metrics)).collect::<Vec<_>>(),
        "attempts": trial.attempts, "executor": trial.executor.map(|executor| run.executor_name(executor)),
        "started_s": trial.started_s, "ended_s": trial.ended_s, "training_s": trial.training_s, "evaluation_s": trial.evaluation_s,
        "cpu_s": trial.used.map(Used::cpu_s), "memory_peak_bytes": trial.used.map(|used| used.memory_peak_bytes),
    });
    let own = own_metrics(trial);
    if !own.is_empty() {
        told["metrics"] = json!(own);
    }
    told
}

fn epoch(number: u32, metrics: &Metrics) -> Value {
    let get = |name: &MetricName| metrics.get(name);
    let mut told = json!({
        "epoch": number, "learning_rate": get(&MetricName::LEARNING_RATE),
        "training_loss": get(&MetricName::TRAINING_LOSS), "validation": score(get, &VALIDATION),
        "test": score(get, &TEST),
    });
    let own: Map<_, _> = metrics
        .iter()
        .filter(|(name, _)| !is_usual(name))
        .map(|(name, value)| (name.to_string(), json!(value)))
        .collect();
    if !own.is_empty() {
        told["metrics"] = own.into();
    }
    told
}

/// Loss and error over a part of the data; `null` where neither was measured.
fn score(get: impl Fn(&MetricName) -> Option<f64>, [loss, error]: &[MetricName; 2]) -> Value {
    match (get(loss), get(error)) {
        (None, None) => Value::Null,
        (loss, error) => json!({ "loss": loss, "error": error }),
    }
}

fn attempt(run: &RunRecord, attempt: &AttemptRecord) -> Value {
    let end = attempt.end.as_ref();
    json!({
        "attempt": attempt.attempt.to_string(), "task": attempt.attempt.task.0, "number": attempt.attempt.number,
        "executor": run.executor_name(attempt.executor), "from_epoch": attempt.from_epoch, "epoch": attempt.epoch,
        "started_s": attempt.started_s, "ended_s": attempt.ended_s, "training_s": attempt.training_s,
        "evaluation_s": attempt.evaluation_s, "cpu_s": attempt.used.map(Used::cpu_s),
        "memory_peak_bytes": attempt.used.map(|used| used.memory_peak_bytes), "end": end.map(AttemptEnd::word),
        "reason": end.map(AttemptEnd::reason).filter(|reason| !reason.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixtures::{configuration, diverged, finished, given_up, run, tested, with_own};

    #[test]
    fn every_trial_and_every_attempt_is_told() {
        let first = with_own(tested(finished(0, 0.1), 0.2), "accuracy", 0.9);
        let record = run(vec![first, diverged(1, 2), given_up(2, "no \"room\"")]);
        let read: Value = serde_json::from_str(&json(&Report::of(&record))).unwrap();
        let trials = &read["trials"];
        assert_eq!((&trials[0]["validation"]["error"], &trials[0]["test"]["error"]), (&json!(0.1), &json!(0.2)));
        assert_eq!((&trials[0]["configuration"]["fc1"], &trials[0]["counted_epoch"]), (&json!(64), &json!(2)));
        assert_eq!(trials[0]["epochs"][1]["epoch"], json!(2));
        let own = json!({ "accuracy": 0.9 });
        assert_eq!((&trials[0]["metrics"], &trials[0]["epochs"][1]["metrics"]), (&own, &own));
        assert_eq!((trials[1].get("metrics"), trials[0]["epochs"][0].get("metrics")), (None, None));
        assert_eq!((&trials[1]["outcome"], trials[1].get("test")), (&json!("diverged"), Some(&Value::Null)));
        assert_eq!(trials[2]["reason"], json!("no \"room\""));
        assert_eq!(read["attempts"].as_array().unwrap().len(), record.attempts.len());
        assert_eq!(read["attempts"][0]["executor"], json!("127.0.0.1:7070"));
        assert_eq!(read["summary"]["trials"]["planned"], json!(3));
        assert_eq!((&read["importance"], &read["importance_among_best"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn what_counts_for_being_among_the_best_has_a_name_a_share_and_an_interval() {
        let trials = (0..40).map(|trial| TrialRecord {
            configuration: configuration(&[
                ("idle", Plain::Flag(trial % 3 == 0)),
                ("rate", Plain::Real(f64::from(trial))),
            ]),
            ..finished(trial, f64::from(trial) / 100.0)
        });
        let record = run(trials.collect());
        let read: Value = serde_json::from_str(&json(&Report::of(&record))).unwrap();
        let told = &read["importance_among_best"];
        assert_eq!((&told["best"], &told["trials"]), (&json!(5), &json!(40)));
        let parameters = told["parameters"].as_array().unwrap();
        let names: Vec<_> = parameters.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["rate", "idle"]);
        let [share, low, high] =
            ["/share", "/interval/0", "/interval/1"].map(|key| parameters[0].pointer(key).unwrap().as_f64().unwrap());
        assert!(0.5 < share && low <= share && share <= high && high <= 1.0, "{told}");
    }
}
