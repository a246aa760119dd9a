//! What a driver asks of a slot, as a message.

use broadsweep_common::attempt::Launch;
use broadsweep_common::configuration::{Configuration, PARAMETERS_MAX, TEXT_BYTES_MAX, Value};
use broadsweep_common::dataset::Part;
use broadsweep_common::ids::{Digest, TrialId};
use broadsweep_common::task::{Replicate, Segment, TaskKind};

use super::{WireError, at_most, attempt, attempt_message, bytes_of, optional_digest};
use crate::session::{self, driver_item, launch, parameter};

/// The message that starts an attempt.
#[must_use]
pub fn launch_item(launch: Launch) -> driver_item::Item {
    let parameters = launch.configuration.iter().map(|(name, value)| parameter_message(name, value));
    driver_item::Item::Launch(session::Launch {
        attempt: Some(attempt_message(launch.attempt)),
        kind: Some(kind_message(launch.kind)),
        configuration: parameters.collect(),
        input: bytes_of(launch.input.as_ref()),
    })
}

/// The attempt that a message starts.
///
/// # Errors
/// [`WireError`], if a part is missing, too long or unknown.
pub fn launch(message: session::Launch) -> Result<Launch, WireError> {
    Ok(Launch {
        attempt: attempt(message.attempt)?,
        kind: kind(message.kind.ok_or(WireError::Missing("kind of task"))?)?,
        configuration: configuration(message.configuration)?,
        input: optional_digest(&message.input)?,
    })
}

fn kind_message(kind: TaskKind) -> launch::Kind {
    match kind {
        TaskKind::Train(segment) | TaskKind::Check(segment) => {
            let Segment { replicate, from_epoch, until_epoch } = segment;
            let replicate = Some(replicate_message(replicate));
            launch::Kind::Train(session::Train { replicate, from_epoch, until_epoch })
        }
        TaskKind::Measure { replicate, weights, part } => launch::Kind::Measure(session::Measure {
            replicate: Some(replicate_message(replicate)),
            weights: bytes_of(Some(&weights)),
            part: part_message(part).into(),
        }),
        TaskKind::Examine { replicate, weights, part } => launch::Kind::Examine(session::Examine {
            replicate: Some(replicate_message(replicate)),
            weights: bytes_of(Some(&weights)),
            part: part_message(part).into(),
        }),
        TaskKind::Apply { partition } => launch::Kind::Apply(session::Apply { partition }),
    }
}

fn kind(message: launch::Kind) -> Result<TaskKind, WireError> {
    Ok(match message {
        launch::Kind::Train(session::Train { replicate: of, from_epoch, until_epoch }) => {
            TaskKind::Train(Segment { replicate: replicate(of)?, from_epoch, until_epoch })
        }
        launch::Kind::Measure(session::Measure { replicate: of, weights, part: number }) => TaskKind::Measure {
            replicate: replicate(of)?,
            weights: Digest::try_from(&weights[..])?,
            part: part(number)?,
        },
        launch::Kind::Examine(session::Examine { replicate: of, weights, part: number }) => TaskKind::Examine {
            replicate: replicate(of)?,
            weights: Digest::try_from(&weights[..])?,
            part: part(number)?,
        },
        launch::Kind::Apply(session::Apply { partition }) => TaskKind::Apply { partition },
    })
}

fn replicate_message(replicate: Replicate) -> session::Replicate {
    session::Replicate { trial: replicate.trial.0, repeat: replicate.repeat, fold: replicate.fold }
}

fn replicate(message: Option<session::Replicate>) -> Result<Replicate, WireError> {
    let session::Replicate { trial, repeat, fold } = message.ok_or(WireError::Missing("replicate"))?;
    Ok(Replicate { trial: TrialId(trial), repeat, fold })
}

fn part_message(part: Part) -> session::Part {
    match part {
        Part::Train => session::Part::Train,
        Part::Validation => session::Part::Validation,
        Part::Test => session::Part::Test,
    }
}

fn part(number: i32) -> Result<Part, WireError> {
    match session::Part::try_from(number) {
        Ok(session::Part::Train) => Ok(Part::Train),
        Ok(session::Part::Validation) => Ok(Part::Validation),
        Ok(session::Part::Test) => Ok(Part::Test),
        Err(_) => Err(WireError::Unknown { what: "part of the data", number }),
    }
}

fn parameter_message(name: &str, value: &Value) -> session::Parameter {
    let value = match value {
        Value::Integer(integer) => parameter::Value::Integer(*integer),
        Value::Real(real) => parameter::Value::Real(*real),
        Value::Choice(word) => parameter::Value::Choice(word.clone()),
        Value::Flag(flag) => parameter::Value::Flag(*flag),
    };
    session::Parameter { name: name.to_owned(), value: Some(value) }
}

fn configuration(parameters: Vec<session::Parameter>) -> Result<Configuration, WireError> {
    at_most("parameters", parameters.len(), PARAMETERS_MAX)?;
    let checked = |parameter: session::Parameter| {
        let value = match parameter.value.ok_or(WireError::Missing("parameter's value"))? {
            parameter::Value::Integer(integer) => Value::Integer(integer),
            parameter::Value::Real(real) => Value::Real(real),
            parameter::Value::Choice(word) => Value::Choice(word),
            parameter::Value::Flag(flag) => Value::Flag(flag),
        };
        Ok::<_, WireError>((parameter.name, value))
    };
    let configuration: Configuration = parameters.into_iter().map(checked).collect::<Result<_, _>>()?;
    at_most("bytes of names and words", configuration.text_bytes(), TEXT_BYTES_MAX)?;
    Ok(configuration)
}
