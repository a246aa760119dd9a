//! Version 1 of the digest of results, as it was before metrics had names: by it, numbers can be compared with those of
//! drivers from before. An implementation of its own: it shares no code with today's.

use broadsweep_common::metrics::MetricName;
use broadsweep_driver::records::run::{TrialOutcome, TrialRecord};
use sha2::{Digest, Sha256};

/// The SHA-256, in hex, of trials that report what the built-in trainers did then.
#[must_use]
pub fn results_v1_sha256(trials: &[TrialRecord]) -> String {
    let mut ordered: Vec<&TrialRecord> = trials.iter().collect();
    ordered.sort_by_key(|record| record.trial);
    let mut bytes = b"broadsweep results v1".to_vec();
    for record in ordered {
        add_trial(&mut bytes, record);
    }
    Sha256::digest(&bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn add_trial(bytes: &mut Vec<u8>, record: &TrialRecord) {
    bytes.extend(record.trial.0.to_le_bytes());
    bytes.extend(record.configuration.digest().0.0);
    match record.outcome {
        TrialOutcome::Finished { epoch } => {
            bytes.push(b'f');
            add_report(bytes, record, epoch);
        }
        TrialOutcome::Diverged { epoch } => {
            bytes.push(b'd');
            bytes.extend(epoch.to_le_bytes());
        }
        TrialOutcome::GivenUp { .. } => return bytes.push(b'g'),
        // There was none of this.
        TrialOutcome::Paused { .. } | TrialOutcome::NotRun | TrialOutcome::LeftOut => return bytes.push(b'n'),
    }
    bytes.extend(u64::from(record.curves.epochs()).to_le_bytes());
    for epoch in 1..=record.curves.epochs() {
        add_report(bytes, record, epoch);
    }
    add_score(bytes, [MetricName::TEST_LOSS, MetricName::TEST_ERROR].map(|name| record.metric(&name)));
}

fn add_report(bytes: &mut Vec<u8>, record: &TrialRecord, epoch: u32) {
    let get = |name: MetricName| record.curves.get(epoch, &name);
    bytes.extend(epoch.to_le_bytes());
    for name in [MetricName::LEARNING_RATE, MetricName::TRAINING_LOSS] {
        add_number(bytes, get(name).unwrap_or(f64::NAN));
    }
    add_score(bytes, [MetricName::VALIDATION_LOSS, MetricName::VALIDATION_ERROR].map(get));
    add_score(bytes, [MetricName::TEST_LOSS, MetricName::TEST_ERROR].map(get));
}

/// Loss and error over a part of the data.
fn add_score(bytes: &mut Vec<u8>, score: [Option<f64>; 2]) {
    let [Some(loss), Some(error)] = score else { return bytes.push(0) };
    bytes.push(1);
    add_number(bytes, loss);
    add_number(bytes, error);
}

/// Every NaN is the same one.
fn add_number(bytes: &mut Vec<u8>, number: f64) {
    let number = if number.is_nan() { f64::NAN } else { number };
    bytes.extend(number.to_bits().to_le_bytes());
}
