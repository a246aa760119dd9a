//! What a slot reports, as a message.

use std::time::Duration;

use broadsweep_common::attempt::{
    ARTIFACTS_MAX, Artifact, ArtifactName, AttemptEvent, Durations, Ended, Report, Used,
};
use broadsweep_common::codec;
use broadsweep_common::details::Details;
use broadsweep_common::ids::Digest;
use broadsweep_common::metrics::{METRICS_MAX, MetricName, Metrics};

use super::{WireError, at_most, attempt, attempt_message, bounded, bytes_of, optional_digest};
use crate::session::{self, attempt_ended::Outcome, executor_item};

/// The message of a report.
#[must_use]
pub fn report_item(report: &Report) -> executor_item::Item {
    let attempt = Some(attempt_message(report.attempt));
    let durations = Some(session::Durations {
        training_us: microseconds(report.durations.training),
        evaluation_us: microseconds(report.durations.evaluation),
        used: report
            .durations
            .used
            .map(|Used { cpu_us, memory_peak_bytes }| session::Used { cpu_us, memory_peak_bytes }),
    });
    match &report.event {
        AttemptEvent::Epoch { epoch, metrics, checkpoint } => executor_item::Item::EpochEnded(session::EpochEnded {
            attempt,
            epoch: *epoch,
            metrics: metrics_message(metrics),
            durations,
            checkpoint: bytes_of(checkpoint.as_ref()),
        }),
        AttemptEvent::Ended(ended) => executor_item::Item::AttemptEnded(session::AttemptEnded {
            attempt,
            durations,
            outcome: Some(outcome_message(ended)),
        }),
    }
}

/// The report of an epoch.
///
/// # Errors
/// [`WireError`], if a part is missing, of the wrong length or too much.
pub fn epoch_ended(message: session::EpochEnded) -> Result<Report, WireError> {
    Ok(Report {
        attempt: attempt(message.attempt)?,
        durations: durations(message.durations),
        event: AttemptEvent::Epoch {
            epoch: message.epoch,
            metrics: some_metrics(&message.metrics)?,
            checkpoint: optional_digest(&message.checkpoint)?,
        },
    })
}

/// The report of an attempt's end.
///
/// # Errors
/// [`WireError`], if a part is missing, of the wrong length or too much.
pub fn attempt_ended(message: session::AttemptEnded) -> Result<Report, WireError> {
    let ended = match message.outcome.ok_or(WireError::Missing("outcome"))? {
        Outcome::Trained(session::Trained { epoch, artifacts: made }) => {
            Ended::Trained { epoch, artifacts: artifacts(&made)? }
        }
        Outcome::Measured(measured) => Ended::Measured(metrics(&measured.metrics)?),
        Outcome::Examined(session::Examined { details }) => Ended::Examined(read_details(&details)?),
        Outcome::Applied(applied) => Ended::Applied { artifacts: artifacts(&applied.artifacts)? },
        Outcome::Stopped(_) => Ended::Stopped,
        Outcome::Refused(session::Refused { needed_bytes, available_bytes }) => {
            Ended::Refused { needed_bytes, available_bytes }
        }
        Outcome::Diverged(diverged) => Ended::Diverged { epoch: diverged.epoch },
        Outcome::Failed(failed) => Ended::Failed { reason: bounded(&failed.reason).to_owned() },
    };
    Ok(Report {
        attempt: attempt(message.attempt)?,
        durations: durations(message.durations),
        event: AttemptEvent::Ended(ended),
    })
}

fn outcome_message(ended: &Ended) -> Outcome {
    match ended {
        Ended::Trained { epoch, artifacts } => {
            Outcome::Trained(session::Trained { epoch: *epoch, artifacts: artifacts_message(artifacts) })
        }
        Ended::Measured(metrics) => Outcome::Measured(session::Measured { metrics: metrics_message(metrics) }),
        Ended::Examined(details) => Outcome::Examined(session::Examined { details: details_bytes(details).into() }),
        Ended::Applied { artifacts } => {
            Outcome::Applied(session::Applied { artifacts: artifacts_message(artifacts) })
        }
        Ended::Stopped => Outcome::Stopped(session::Stopped {}),
        Ended::Refused { needed_bytes, available_bytes } => {
            Outcome::Refused(session::Refused { needed_bytes: *needed_bytes, available_bytes: *available_bytes })
        }
        Ended::Diverged { epoch } => Outcome::Diverged(session::Diverged { epoch: *epoch }),
        Ended::Failed { reason } => Outcome::Failed(session::Failed { reason: bounded(reason).to_owned() }),
    }
}

/// They are bounded, far below the codec's limit: what cannot be encoded there is not, and is told as nothing.
fn details_bytes(details: &Details) -> Vec<u8> {
    codec::encode(details).unwrap_or_default()
}

fn read_details(bytes: &[u8]) -> Result<Details, WireError> {
    let details: Details = codec::decode(bytes).map_err(|error| WireError::Details(error.to_string()))?;
    details.check()?;
    Ok(details)
}

fn metrics_message(metrics: &Metrics) -> Vec<session::Metric> {
    let message = |(name, value): (&MetricName, f64)| match name.built_in() {
        Some(place) => session::Metric { name: String::new(), value, built_in: u32::from(place) + 1 },
        None => session::Metric { name: name.to_string(), value, built_in: 0 },
    };
    metrics.iter().map(message).collect()
}

fn metrics(messages: &[session::Metric]) -> Result<Metrics, WireError> {
    at_most("metrics", messages.len(), METRICS_MAX)?;
    let mut metrics = Metrics::default();
    for message in messages {
        let name = metric_name(message)?;
        if metrics.get(&name).is_some() {
            return Err(WireError::Twice(format!("metric {name}")));
        }
        metrics.set(name, message.value);
    }
    Ok(metrics)
}

fn metric_name(message: &session::Metric) -> Result<MetricName, WireError> {
    match message.built_in.checked_sub(1) {
        None => Ok(MetricName::new(&message.name)?),
        Some(place) => {
            let known = u8::try_from(place).ok().and_then(MetricName::of_built_in);
            known.ok_or(WireError::Unknown { what: "metric", number: message.built_in.cast_signed() })
        }
    }
}

/// What was measured at an epoch: something was, or the report tells nothing.
fn some_metrics(messages: &[session::Metric]) -> Result<Metrics, WireError> {
    if messages.is_empty() {
        return Err(WireError::Missing("metrics"));
    }
    metrics(messages)
}

fn artifacts_message(artifacts: &[Artifact]) -> Vec<session::Artifact> {
    let message = |artifact: &Artifact| session::Artifact {
        name: name_message(artifact.name).into(),
        blob: bytes_of(Some(&artifact.blob)),
    };
    artifacts.iter().map(message).collect()
}

fn artifacts(messages: &[session::Artifact]) -> Result<Vec<Artifact>, WireError> {
    at_most("artifacts", messages.len(), ARTIFACTS_MAX)?;
    let mut artifacts: Vec<Artifact> = Vec::new();
    for message in messages {
        let name = name(message.name)?;
        if artifacts.iter().any(|other| other.name == name) {
            return Err(WireError::Twice(format!("artifact {name:?}")));
        }
        artifacts.push(Artifact { name, blob: Digest::try_from(&message.blob[..])? });
    }
    Ok(artifacts)
}

fn name_message(name: ArtifactName) -> session::ArtifactName {
    match name {
        ArtifactName::Weights => session::ArtifactName::Weights,
        ArtifactName::Checkpoint => session::ArtifactName::Checkpoint,
        ArtifactName::Output => session::ArtifactName::Output,
    }
}

fn name(number: i32) -> Result<ArtifactName, WireError> {
    match session::ArtifactName::try_from(number) {
        Ok(session::ArtifactName::Weights) => Ok(ArtifactName::Weights),
        Ok(session::ArtifactName::Checkpoint) => Ok(ArtifactName::Checkpoint),
        Ok(session::ArtifactName::Output) => Ok(ArtifactName::Output),
        Err(_) => Err(WireError::Unknown { what: "artifact", number }),
    }
}

fn durations(message: Option<session::Durations>) -> Durations {
    let message = message.unwrap_or_default();
    Durations {
        training: Duration::from_micros(message.training_us),
        evaluation: Duration::from_micros(message.evaluation_us),
        used: message.used.map(|session::Used { cpu_us, memory_peak_bytes }| Used { cpu_us, memory_peak_bytes }),
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
