//! Small records that the tests of this folder start from.

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::model::Loss;
use broadsweep_common::task::Select;
use broadsweep_search::{PrunerKind, SamplerKind, Space};

use crate::records::attempt::{AttemptEnd, AttemptRecord};
use crate::records::counts::PartitionCounts;
use crate::records::curves::{Columns, Curves};
use crate::records::run::{BroadcastRecord, Purpose, RunRecord, Stage, TrialOutcome, TrialRecord};
use crate::records::searched::SearchRecord;
use crate::records::standing::{Standing, StandingSince};

pub(crate) fn configuration(values: &[(&str, Value)]) -> Configuration {
    values.iter().map(|(name, value)| (*name, value.clone())).collect()
}

/// The loss that goes with an error.
pub(crate) fn loss(error: f64) -> f64 {
    error * 3.0
}

/// What an epoch measured.
pub(crate) fn epoch(error: f64) -> Metrics {
    Metrics::from_iter([
        (MetricName::LEARNING_RATE, 0.1),
        (MetricName::TRAINING_LOSS, 0.3),
        (MetricName::VALIDATION_LOSS, loss(error)),
        (MetricName::VALIDATION_ERROR, error),
    ])
}

/// One epoch after the other.
pub(crate) fn curves(epochs: impl IntoIterator<Item = Metrics>) -> Curves {
    let (mut curves, mut columns) = (Curves::default(), Columns::default());
    epochs.into_iter().for_each(|metrics| curves.push(&metrics, &mut columns));
    curves
}

/// The trial with another value of a metric at an epoch, or with none.
pub(crate) fn at(trial: TrialRecord, epoch: u32, name: &MetricName, value: Option<f64>) -> TrialRecord {
    let rows = trial.curves.iter().map(|(number, metrics)| {
        let others = metrics.iter().filter(|(known, _)| number != epoch || *known != name);
        let changed = value.filter(|_| number == epoch).map(|value| (name.clone(), value));
        others.map(|(known, value)| (known.clone(), value)).chain(changed).collect()
    });
    TrialRecord { curves: curves(rows), ..trial }
}

/// The trial with a metric of a trainer's own at its last epoch.
pub(crate) fn with_own(trial: TrialRecord, name: &str, value: f64) -> TrialRecord {
    let last = trial.curves.epochs();
    at(trial, last, &MetricName::new(name).unwrap(), Some(value))
}

/// Two epochs, of which the second counts.
pub(crate) fn finished(trial: u32, error: f64) -> TrialRecord {
    let values = [("fc1", Value::Integer(64 << trial.min(20))), ("learning_rate", Value::Real(0.1 / 3.0))];
    TrialRecord {
        trial: TrialId(trial),
        configuration: configuration(&values),
        cost: 1_000_000,
        epochs_max: 2,
        outcome: TrialOutcome::Finished { epoch: 2 },
        rungs: Vec::new(),
        curves: curves([epoch(0.5), epoch(error)]),
        attempts: 1,
        executor: Some(ExecutorId(0)),
        training_s: 1.5,
        evaluation_s: 0.25,
        used: None,
        started_s: 0.5,
        ended_s: 2.5,
        measured: Metrics::default(),
    }
}

pub(crate) fn tested(trial: TrialRecord, error: f64) -> TrialRecord {
    let measured = Metrics::from_iter([(MetricName::TEST_LOSS, loss(error)), (MetricName::TEST_ERROR, error)]);
    TrialRecord { measured, ..trial }
}

pub(crate) fn diverged(trial: u32, epoch: u32) -> TrialRecord {
    TrialRecord { outcome: TrialOutcome::Diverged { epoch }, curves: Curves::default(), ..finished(trial, 0.5) }
}

pub(crate) fn given_up(trial: u32, reason: &str) -> TrialRecord {
    let outcome = TrialOutcome::GivenUp { reason: reason.to_owned() };
    TrialRecord { outcome, curves: curves([epoch(0.5)]), attempts: 4, ..finished(trial, 0.5) }
}

pub(crate) fn not_run(trial: u32) -> TrialRecord {
    let record = finished(trial, 0.5);
    TrialRecord { outcome: TrialOutcome::NotRun, curves: Curves::default(), attempts: 0, executor: None, ..record }
}

/// The attempts of a trial: all but the last one failed.
fn attempts(trial: &TrialRecord) -> impl Iterator<Item = AttemptRecord> {
    let (task, count, started_s, ended_s) = (TaskId(trial.trial.0), trial.attempts, trial.started_s, trial.ended_s);
    (1..=count).map(move |number| AttemptRecord {
        attempt: AttemptId { task, number },
        executor: ExecutorId(0),
        from_epoch: 0,
        epoch: 2,
        started_s,
        ended_s,
        training_s: 1.5,
        evaluation_s: 0.25,
        used: None,
        end: Some(if number == count {
            AttemptEnd::Completed
        } else {
            AttemptEnd::Failed { reason: "out of luck".to_owned() }
        }),
    })
}

/// A search by TPE in no space at all, in order, with this pruner.
pub(crate) fn searched_by(pruner: PrunerKind) -> SearchRecord {
    SearchRecord {
        sampler: SamplerKind::Tpe { trials: 100 },
        space: Space::new(),
        why_chosen: None,
        pruner,
        parallel: 13,
        trials_max: 100,
        may_stop: false,
        is_asynchronous: false,
        is_deterministic: true,
        lag: None,
        steps: Vec::new(),
    }
}

/// The same run with other attempts: those of tasks after the trainings look at the test rows.
pub(crate) fn with_attempts(run: RunRecord, attempts: Vec<AttemptRecord>) -> RunRecord {
    let last = attempts.iter().map(|attempt| attempt.attempt.task.0 + 1).max().unwrap_or_default();
    let measured = (run.tasks.len() as u32..last).map(|task| Purpose::Measurement(TrialId(task)));
    let tasks = run.tasks.iter().copied().chain(measured).collect();
    RunRecord { tasks, attempts, ..run }
}

/// A run in which task `n` trained trial `n`.
pub(crate) fn run(trials: Vec<TrialRecord>) -> RunRecord {
    let count = trials.iter().map(|trial| trial.trial.0 + 1).max().unwrap_or_default();
    RunRecord {
        changes: Vec::new(),
        study: "quick".to_owned(),
        seed: 7,
        details: Vec::new(),
        learning_rates: Vec::new(),
        class_names: Vec::new(),
        search: None,
        objectives: Select::Validation.objective().into(),
        loss: Loss::CrossEntropy,
        kernel: "avx2".to_owned(),
        build: "0.1.0".to_owned(),
        executors: 2,
        slots: 4,
        stage: Stage::Over,
        tasks: (0..count).map(|number| Purpose::Training(TrialId(number))).collect(),
        partitions: PartitionCounts::default(),
        answers: None,
        attempts: trials.iter().flat_map(attempts).collect(),
        executor_names: vec!["127.0.0.1:7070".to_owned(), "127.0.0.1:7071".to_owned()],
        standings: vec![
            vec![
                StandingSince { at_s: 0.125, standing: Standing::Answering },
                StandingSince { at_s: 0.25, standing: Standing::Ready { slots: 2 } },
            ];
            2
        ],
        epochs_repeated: 0,
        differences: Vec::new(),
        trials,
        control: None,
        wall_s: 12.5,
        broadcast: BroadcastRecord {
            data_bytes: 1000,
            data_raw_bytes: 1000,
            sent_bytes: 2000,
            from_peers_bytes: 4096,
            from_cache_bytes: 0,
            wall_s: 0.25,
        },
    }
}
