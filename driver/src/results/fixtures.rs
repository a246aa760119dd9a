//! Small records that the tests of this folder start from.

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId, TrialId};
use broadsweep_common::metrics::{EpochReport, Score};
use broadsweep_common::model::Loss;
use broadsweep_common::task::Select;

use crate::records::attempt::{AttemptEnd, AttemptRecord};
use crate::records::run::{Broadcast, RunRecord, Stage, TrialOutcome, TrialRecord};
use crate::records::standing::{Standing, StandingSince};

pub(crate) fn configuration(values: &[(&str, Value)]) -> Configuration {
    Configuration(values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

pub(crate) fn score(error: f64) -> Score {
    Score { loss: error * 3.0, error }
}

pub(crate) fn report(epoch: u32, error: f64) -> EpochReport {
    EpochReport { epoch, learning_rate: 0.1, training_loss: 0.3, validation: Some(score(error)), test: None }
}

/// Two epochs, of which the second counts.
pub(crate) fn finished(trial: u32, error: f64) -> TrialRecord {
    let values = [("fc1", Value::Integer(64 << trial.min(20))), ("learning_rate", Value::Real(0.1 / 3.0))];
    TrialRecord {
        trial: TrialId(trial),
        configuration: configuration(&values),
        cost: 1_000_000,
        epochs_max: 2,
        outcome: TrialOutcome::Finished(report(2, error)),
        epochs: vec![report(1, 0.5), report(2, error)],
        attempts: 1,
        executor: Some("127.0.0.1:7070".to_owned()),
        training_s: 1.5,
        evaluation_s: 0.25,
        started_s: 0.5,
        ended_s: 2.5,
        test: None,
    }
}

pub(crate) fn tested(trial: TrialRecord, error: f64) -> TrialRecord {
    TrialRecord { test: Some(score(error)), ..trial }
}

pub(crate) fn diverged(trial: u32, epoch: u32) -> TrialRecord {
    TrialRecord { outcome: TrialOutcome::Diverged { epoch }, epochs: Vec::new(), ..finished(trial, 0.5) }
}

pub(crate) fn given_up(trial: u32, reason: &str) -> TrialRecord {
    let outcome = TrialOutcome::GivenUp { reason: reason.to_owned() };
    TrialRecord { outcome, epochs: vec![report(1, 0.5)], attempts: 4, ..finished(trial, 0.5) }
}

pub(crate) fn not_run(trial: u32) -> TrialRecord {
    let record = finished(trial, 0.5);
    TrialRecord { outcome: TrialOutcome::NotRun, epochs: Vec::new(), attempts: 0, executor: None, ..record }
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
        end: Some(if number == count {
            AttemptEnd::Completed
        } else {
            AttemptEnd::Failed { reason: "out of luck".to_owned() }
        }),
    })
}

pub(crate) fn run(trials: Vec<TrialRecord>) -> RunRecord {
    RunRecord {
        study: "quick".to_owned(),
        seed: 7,
        select: Select::Validation,
        loss: Loss::CrossEntropy,
        kernel: "avx2".to_owned(),
        build: "0.1.0".to_owned(),
        executors: 2,
        slots: 4,
        stage: Stage::Over,
        attempts: trials.iter().flat_map(attempts).collect(),
        executor_names: vec!["127.0.0.1:7070".to_owned(), "127.0.0.1:7071".to_owned()],
        presence: vec![
            vec![
                StandingSince { at_s: 0.125, standing: Standing::Answering },
                StandingSince { at_s: 0.25, standing: Standing::Ready { slots: 2 } },
            ];
            2
        ],
        epochs_repeated: 0,
        trials,
        control: None,
        wall_s: 12.5,
        broadcast: Broadcast {
            data_bytes: 1000,
            data_raw_bytes: 1000,
            sent_bytes: 2000,
            from_peers_bytes: 4096,
            from_cache_bytes: 0,
            wall_s: 0.25,
        },
    }
}
