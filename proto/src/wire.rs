//! Between the messages of `proto` and checked types.
//!
//! Everything that a peer sends passes here once: what is missing, too long or of the wrong length is a
//! [`WireError`], never a panic, and nothing behind this module sees a message.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::session::{self as proto, attempt_ended, driver_item, executor_item, parameter};
use crate::{blocks, bulk, session};

use broadsweep_common::attempt::{Durations, Ended, Launch, News, Report, SLOTS_MAX};
use broadsweep_common::blob::{Manifest, ManifestError};
use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::encoding::{Encoded, Encoding};
use broadsweep_common::ids::{AttemptId, BadDigest, Digest, TaskId, TrialId};
use broadsweep_common::metrics::{EpochReport, Score};
use broadsweep_common::task::Task;

/// Searched parameters that one configuration may have.
pub const PARAMETERS_MAX: usize = 1024;
/// Bytes of a reason in words; longer ones are cut.
pub const REASON_BYTES_MAX: usize = 4096;

/// A message that is not what the protocol says.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WireError {
    /// A part is not there.
    #[error("a message without its {0}")]
    Missing(&'static str),
    /// A name of the wrong length.
    #[error(transparent)]
    Digest(#[from] BadDigest),
    /// A manifest that describes no blob.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// More parts than there can be.
    #[error("{got} {what}; at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many came.
        got: usize,
        /// How many may come.
        max: usize,
    },
    /// A block in a way that nobody here knows.
    #[error("an encoding with number {0}, which is none")]
    Encoding(i32),
}

/// The message that starts an attempt.
#[must_use]
pub fn launch_item(launch: Launch) -> driver_item::Item {
    let (trial, configuration, weights) = match launch.task {
        Task::Train { trial, configuration } => (trial, configuration, bytes_of(None)),
        Task::Measure { trial, configuration, weights } => (trial, configuration, bytes_of(Some(&weights))),
    };
    driver_item::Item::Launch(session::Launch {
        attempt: Some(attempt_message(launch.attempt)),
        trial: trial.0,
        configuration: configuration.0.into_iter().map(|(name, value)| parameter_message(name, value)).collect(),
        weights,
        checkpoint: bytes_of(launch.checkpoint.as_ref()),
    })
}

/// The attempt that a message starts.
///
/// # Errors
/// [`WireError`], if a part is missing or too long.
pub fn launch(message: session::Launch) -> Result<Launch, WireError> {
    let attempt = attempt(message.attempt)?;
    let trial = TrialId(message.trial);
    let configuration = configuration(message.configuration)?;
    let task = if message.weights.is_empty() {
        Task::Train { trial, configuration }
    } else {
        Task::Measure { trial, configuration, weights: Digest::try_from(&message.weights[..])? }
    };
    Ok(Launch { attempt, task, checkpoint: optional_digest(&message.checkpoint)? })
}

/// The message of a report.
#[must_use]
pub fn report_item(report: &Report) -> executor_item::Item {
    let attempt = Some(attempt_message(report.attempt));
    let durations = Some(proto::Durations {
        training_us: microseconds(report.durations.training),
        evaluation_us: microseconds(report.durations.evaluation),
    });
    match &report.news {
        News::Epoch { report, checkpoint } => executor_item::Item::EpochEnded(session::EpochEnded {
            attempt,
            report: Some(epoch_message(report)),
            durations,
            checkpoint: bytes_of(checkpoint.as_ref()),
        }),
        News::Ended(ended) => executor_item::Item::AttemptEnded(session::AttemptEnded {
            attempt,
            durations,
            outcome: Some(outcome_message(ended)),
        }),
    }
}

/// The report of an epoch.
///
/// # Errors
/// [`WireError::Missing`].
pub fn epoch_ended(message: &session::EpochEnded) -> Result<Report, WireError> {
    Ok(Report {
        attempt: attempt(message.attempt)?,
        durations: durations(message.durations),
        news: News::Epoch {
            report: epoch(message.report.as_ref())?,
            checkpoint: optional_digest(&message.checkpoint)?,
        },
    })
}

/// The report of an attempt's end.
///
/// # Errors
/// [`WireError`], if a part is missing or of the wrong length.
pub fn attempt_ended(message: session::AttemptEnded) -> Result<Report, WireError> {
    use attempt_ended::Outcome;
    let ended = match message.outcome.ok_or(WireError::Missing("outcome"))? {
        Outcome::Complete(complete) => {
            Ended::Complete { report: epoch(complete.report.as_ref())?, weights: optional_digest(&complete.weights)? }
        }
        Outcome::Stopped(_) => Ended::Stopped,
        Outcome::Diverged(diverged) => Ended::Diverged { epoch: diverged.epoch },
        Outcome::Failed(failed) => Ended::Failed { reason: bounded(&failed.reason).to_owned() },
        Outcome::Measured(measured) => Ended::Measured(score(&measured)),
        Outcome::Refused(proto::Refused { needed_bytes, available_bytes }) => {
            Ended::Refused { needed_bytes, available_bytes }
        }
    };
    Ok(Report {
        attempt: attempt(message.attempt)?,
        durations: durations(message.durations),
        news: News::Ended(ended),
    })
}

/// An attempt's identity as a message.
#[must_use]
pub fn attempt_message(attempt: AttemptId) -> proto::Attempt {
    proto::Attempt { task: attempt.task.0, number: attempt.number }
}

/// The attempt that a message names.
///
/// # Errors
/// [`WireError::Missing`].
pub fn attempt(message: Option<proto::Attempt>) -> Result<AttemptId, WireError> {
    let message = message.ok_or(WireError::Missing("attempt"))?;
    Ok(AttemptId { task: TaskId(message.task), number: message.number })
}

/// The attempts that a welcome names as held.
///
/// # Errors
/// [`WireError::TooMany`]: an executor has at most [`SLOTS_MAX`] attempts that run, and as many that have just ended.
pub fn held(messages: &[proto::Attempt]) -> Result<Vec<AttemptId>, WireError> {
    let max = 2 * SLOTS_MAX as usize;
    if messages.len() > max {
        return Err(WireError::TooMany { what: "held attempts", got: messages.len(), max });
    }
    Ok(messages.iter().map(|message| AttemptId { task: TaskId(message.task), number: message.number }).collect())
}

/// A manifest as a message.
#[must_use]
pub fn manifest_message(manifest: &Manifest) -> blocks::Manifest {
    blocks::Manifest {
        bytes: manifest.bytes(),
        blocks: manifest.blocks().iter().map(|digest| bytes_of(Some(digest))).collect(),
    }
}

/// The manifest of a message.
///
/// # Errors
/// [`WireError`], if it describes no blob.
pub fn manifest(message: Option<blocks::Manifest>) -> Result<Manifest, WireError> {
    let message = message.ok_or(WireError::Missing("manifest"))?;
    let digests = message.blocks.iter().map(|digest| Digest::try_from(&digest[..]));
    Ok(Manifest::checked(message.bytes, digests.collect::<Result<_, _>>()?)?)
}

/// The number of an encoding in a message.
#[must_use]
pub fn encoding_number(encoding: Encoding) -> i32 {
    match encoding {
        Encoding::Raw => bulk::Encoding::Raw.into(),
        Encoding::Lz4 => bulk::Encoding::Lz4.into(),
    }
}

/// The encoding that a message names by its number.
///
/// # Errors
/// [`WireError::Encoding`].
pub fn encoding(number: i32) -> Result<Encoding, WireError> {
    match bulk::Encoding::try_from(number) {
        Ok(bulk::Encoding::Raw) => Ok(Encoding::Raw),
        Ok(bulk::Encoding::Lz4) => Ok(Encoding::Lz4),
        Err(_) => Err(WireError::Encoding(number)),
    }
}

/// The block of a message, as it is on the wire.
///
/// # Errors
/// [`WireError::Encoding`].
pub fn encoded(content: bytes::Bytes, number: i32) -> Result<Encoded, WireError> {
    Ok(Encoded { encoding: encoding(number)?, content })
}

/// `reason`, cut to [`REASON_BYTES_MAX`].
#[must_use]
pub fn bounded(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

fn optional_digest(bytes: &[u8]) -> Result<Option<Digest>, BadDigest> {
    if bytes.is_empty() { Ok(None) } else { Digest::try_from(bytes).map(Some) }
}

fn bytes_of(digest: Option<&Digest>) -> bytes::Bytes {
    digest.map_or_else(Default::default, |digest| bytes::Bytes::copy_from_slice(&digest.0))
}

fn parameter_message(name: String, value: Value) -> proto::Parameter {
    let value = match value {
        Value::Integer(integer) => parameter::Value::Integer(integer),
        Value::Real(real) => parameter::Value::Real(real),
        Value::Choice(word) => parameter::Value::Choice(word),
        Value::Flag(flag) => parameter::Value::Flag(flag),
    };
    proto::Parameter { name, value: Some(value) }
}

fn configuration(parameters: Vec<proto::Parameter>) -> Result<Configuration, WireError> {
    if parameters.len() > PARAMETERS_MAX {
        return Err(WireError::TooMany { what: "parameters", got: parameters.len(), max: PARAMETERS_MAX });
    }
    let mut values = BTreeMap::new();
    for parameter in parameters {
        let value = match parameter.value.ok_or(WireError::Missing("parameter's value"))? {
            parameter::Value::Integer(integer) => Value::Integer(integer),
            parameter::Value::Real(real) => Value::Real(real),
            parameter::Value::Choice(word) => Value::Choice(word),
            parameter::Value::Flag(flag) => Value::Flag(flag),
        };
        values.insert(parameter.name, value);
    }
    Ok(Configuration(values))
}

fn outcome_message(ended: &Ended) -> attempt_ended::Outcome {
    use attempt_ended::Outcome;
    match ended {
        Ended::Complete { report, weights } => Outcome::Complete(proto::Complete {
            report: Some(epoch_message(report)),
            weights: bytes_of(weights.as_ref()),
        }),
        Ended::Stopped => Outcome::Stopped(proto::Stopped {}),
        Ended::Diverged { epoch } => Outcome::Diverged(proto::Diverged { epoch: *epoch }),
        Ended::Failed { reason } => Outcome::Failed(proto::Failed { reason: bounded(reason).to_owned() }),
        Ended::Measured(measured) => Outcome::Measured(score_message(measured)),
        Ended::Refused { needed_bytes, available_bytes } => {
            Outcome::Refused(proto::Refused { needed_bytes: *needed_bytes, available_bytes: *available_bytes })
        }
    }
}

fn epoch_message(report: &EpochReport) -> proto::EpochReport {
    proto::EpochReport {
        epoch: report.epoch,
        learning_rate: report.learning_rate,
        training_loss: report.training_loss,
        validation: report.validation.as_ref().map(score_message),
        test: report.test.as_ref().map(score_message),
    }
}

fn epoch(message: Option<&proto::EpochReport>) -> Result<EpochReport, WireError> {
    let message = message.ok_or(WireError::Missing("epoch report"))?;
    Ok(EpochReport {
        epoch: message.epoch,
        learning_rate: message.learning_rate,
        training_loss: message.training_loss,
        validation: message.validation.as_ref().map(score),
        test: message.test.as_ref().map(score),
    })
}

fn score_message(score: &Score) -> proto::Score {
    proto::Score { loss: score.loss, error: score.error }
}

fn score(message: &proto::Score) -> Score {
    Score { loss: message.loss, error: message.error }
}

fn durations(message: Option<proto::Durations>) -> Durations {
    let message = message.unwrap_or_default();
    Durations {
        training: Duration::from_micros(message.training_us),
        evaluation: Duration::from_micros(message.evaluation_us),
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn epoch_report() -> EpochReport {
        EpochReport {
            epoch: 2,
            learning_rate: 0.01,
            training_loss: 0.5,
            validation: Some(Score { loss: 0.25, error: 0.125 }),
            test: None,
        }
    }

    fn attempt_id() -> AttemptId {
        AttemptId { task: TaskId(7), number: 2 }
    }

    #[test]
    fn a_launch_is_the_same_after_the_wire() {
        let values = [
            ("fc1", Value::Integer(-3)),
            ("rate", Value::Real(0.1)),
            ("optimizer", Value::Choice("adam".into())),
            ("nesterov", Value::Flag(false)),
        ];
        let configuration = Configuration(values.map(|(name, value)| (name.to_owned(), value)).into());
        let train = Task::Train { trial: TrialId(7), configuration: configuration.clone() };
        let measure = Task::Measure { trial: TrialId(0), configuration, weights: Digest::of(b"weights") };
        for task in [train, measure] {
            let checkpoint = matches!(task, Task::Train { .. }).then(|| Digest::of(b"state"));
            let sent = Launch { attempt: attempt_id(), task, checkpoint };
            let driver_item::Item::Launch(message) = launch_item(sent.clone()) else { panic!("another item") };
            let message = session::Launch::decode(&message.encode_to_vec()[..]).unwrap();
            assert_eq!(launch(message), Ok(sent));
        }
    }

    #[test]
    fn a_report_is_the_same_after_the_wire() {
        let durations = Durations { training: Duration::from_micros(5), evaluation: Duration::from_micros(6) };
        let ends = [
            Ended::Complete { report: epoch_report(), weights: Some(Digest::of(b"weights")) },
            Ended::Complete { report: epoch_report(), weights: None },
            Ended::Stopped,
            Ended::Diverged { epoch: 3 },
            Ended::Failed { reason: "out of luck".into() },
            Ended::Measured(Score { loss: 1.0, error: 0.5 }),
            Ended::Refused { needed_bytes: 2, available_bytes: 1 },
        ];
        let epochs = [None, Some(Digest::of(b"state"))];
        let epochs = epochs.map(|checkpoint| News::Epoch { report: epoch_report(), checkpoint });
        let news = ends.into_iter().map(News::Ended).chain(epochs);
        for news in news {
            let sent = Report { attempt: attempt_id(), durations, news };
            let received = match report_item(&sent) {
                executor_item::Item::EpochEnded(message) => epoch_ended(&message),
                executor_item::Item::AttemptEnded(message) => attempt_ended(message),
                other => panic!("a report became {other:?}"),
            };
            assert_eq!(received, Ok(sent));
        }
    }

    #[test]
    fn a_message_without_a_part_names_it() {
        assert_eq!(launch(session::Launch::default()), Err(WireError::Missing("attempt")));
        let without_outcome =
            session::AttemptEnded { attempt: Some(attempt_message(attempt_id())), ..Default::default() };
        assert_eq!(attempt_ended(without_outcome), Err(WireError::Missing("outcome")));
        assert_eq!(manifest(None), Err(WireError::Missing("manifest")));
    }

    #[test]
    fn an_encoding_that_nobody_knows_is_refused() {
        for known in [Encoding::Raw, Encoding::Lz4] {
            assert_eq!(encoding(encoding_number(known)), Ok(known));
        }
        for number in [-1, 2, i32::MAX] {
            assert_eq!(encoding(number), Err(WireError::Encoding(number)));
        }
    }

    #[test]
    fn too_many_parameters_are_refused() {
        let parameters = vec![proto::Parameter::default(); PARAMETERS_MAX + 1];
        let message = session::Launch {
            attempt: Some(attempt_message(attempt_id())),
            configuration: parameters,
            ..Default::default()
        };
        assert!(matches!(launch(message), Err(WireError::TooMany { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = session::Launch::decode(&bytes[..]) { let _ = launch(message); }
            if let Ok(message) = session::AttemptEnded::decode(&bytes[..]) { let _ = attempt_ended(message); }
            if let Ok(message) = session::EpochEnded::decode(&bytes[..]) { let _ = epoch_ended(&message); }
            if let Ok(message) = blocks::Manifest::decode(&bytes[..]) { let _ = manifest(Some(message)); }
        }
    }
}
