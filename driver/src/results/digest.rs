//! The digest by which runs on 1, 2 and 13 nodes are compared: equal digests mean equal results, bit for bit.

use broadsweep_common::metrics::{EpochReport, Score, canonical_bits};
use sha2::{Digest, Sha256};

use crate::records::run::{TrialOutcome, TrialRecord};

/// The SHA-256, in hex, of every trial's id, configuration and the exact bits of its metrics, in trial order.
///
/// Nothing that depends on time or place goes in: no attempts, executors, durations or reasons. Of a trial that
/// was given up or not run only that fact goes in, since how many epochs it got to is a matter of time.
/// Every NaN counts as the same one.
#[must_use]
pub fn results_sha256(trials: &[TrialRecord]) -> String {
    let mut ordered: Vec<&TrialRecord> = trials.iter().collect();
    ordered.sort_by_key(|record| record.trial);
    let mut hasher = Sha256::new();
    hasher.update(b"broadsweep results v1");
    for record in ordered {
        add_trial(&mut hasher, record);
    }
    hasher.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Each part has a fixed length, or its length stands before it, so that no two results share an encoding.
fn add_trial(hasher: &mut Sha256, record: &TrialRecord) {
    hasher.update(record.trial.0.to_le_bytes());
    hasher.update(record.configuration.digest().0.0);
    match &record.outcome {
        TrialOutcome::Finished(counted) => {
            hasher.update(b"f");
            add_report(hasher, counted);
        }
        TrialOutcome::Diverged { epoch } => {
            hasher.update(b"d");
            hasher.update(epoch.to_le_bytes());
        }
        TrialOutcome::GivenUp { .. } => return hasher.update(b"g"),
        TrialOutcome::NotRun => return hasher.update(b"n"),
    }
    hasher.update((record.epochs.len() as u64).to_le_bytes());
    for report in &record.epochs {
        add_report(hasher, report);
    }
    add_score(hasher, record.test);
}

fn add_report(hasher: &mut Sha256, report: &EpochReport) {
    hasher.update(report.epoch.to_le_bytes());
    add_number(hasher, report.learning_rate);
    add_number(hasher, report.training_loss);
    add_score(hasher, report.validation);
    add_score(hasher, report.test);
}

fn add_score(hasher: &mut Sha256, score: Option<Score>) {
    let Some(Score { loss, error }) = score else { return hasher.update([0]) };
    hasher.update([1]);
    add_number(hasher, loss);
    add_number(hasher, error);
}

fn add_number(hasher: &mut Sha256, number: f64) {
    hasher.update(canonical_bits(number).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use broadsweep_common::configuration::Value;
    use broadsweep_common::ids::TrialId;

    use super::*;
    use crate::results::fixtures::{configuration, diverged, finished, given_up, not_run, report, score};

    fn of(record: &TrialRecord) -> String {
        results_sha256(std::slice::from_ref(record))
    }

    fn changed(change: impl FnOnce(&mut TrialRecord)) -> String {
        let mut record = finished(3, 0.25);
        change(&mut record);
        of(&record)
    }

    #[test]
    fn it_is_sixty_four_hex_digits() {
        let digest = results_sha256(&[]);
        assert_eq!(digest.len(), 64);
        assert!(digest.chars().all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase()));
    }

    #[test]
    fn every_part_of_a_result_changes_it() {
        let counted = |change: fn(&mut EpochReport)| {
            changed(|record| {
                let TrialOutcome::Finished(report) = &mut record.outcome else { panic!("not finished") };
                change(report);
            })
        };
        let other = configuration(&[("fc1", Value::Integer(1))]);
        let mut digests = vec![
            of(&finished(3, 0.25)),
            changed(|record| record.trial = TrialId(4)),
            changed(|record| record.configuration = other),
            changed(|record| record.outcome = TrialOutcome::NotRun),
            changed(|record| record.outcome = TrialOutcome::Diverged { epoch: 2 }),
            changed(|record| record.outcome = TrialOutcome::Diverged { epoch: 3 }),
            changed(|record| record.outcome = TrialOutcome::GivenUp { reason: String::new() }),
            changed(|record| record.epochs.truncate(1)),
            changed(|record| record.epochs.reverse()),
            changed(|record| record.epochs[0].epoch = 9),
            changed(|record| record.epochs[0].learning_rate = 0.125),
            changed(|record| record.epochs[0].training_loss = 0.125),
            changed(|record| record.epochs[0].validation = None),
            changed(|record| record.epochs[0].validation = Some(score(0.125))),
            changed(|record| record.epochs[0].validation = Some(Score { error: 0.5, loss: 0.125 })),
            changed(|record| record.epochs[0].test = Some(score(0.5))),
            changed(|record| record.test = Some(score(0.5))),
            changed(|record| record.test = Some(score(0.125))),
            counted(|report| report.epoch = 1),
            counted(|report| report.learning_rate = 0.125),
            counted(|report| report.training_loss = f64::from_bits(0.3_f64.to_bits() + 1)),
            counted(|report| report.validation = None),
            counted(|report| report.test = Some(score(0.5))),
            results_sha256(&[]),
            results_sha256(&[finished(3, 0.25), finished(3, 0.25)]),
        ];
        let rows = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), rows);
    }

    #[test]
    fn nothing_of_time_or_place_changes_it() {
        let expected = of(&finished(3, 0.25));
        assert_eq!(changed(|record| record.attempts = 3), expected, "attempts");
        assert_eq!(changed(|record| record.executor = None), expected, "executor");
        assert_eq!(changed(|record| record.training_s = 9.0), expected, "training_s");
        assert_eq!(changed(|record| record.evaluation_s = 9.0), expected, "evaluation_s");
        assert_eq!(changed(|record| record.started_s = 9.0), expected, "started_s");
        assert_eq!(changed(|record| record.ended_s = 9.0), expected, "ended_s");
    }

    #[test]
    fn how_far_an_unfinished_trial_got_does_not_change_it() {
        let further = |record: &TrialRecord| {
            let mut record = record.clone();
            record.epochs.push(report(2, 0.4));
            record
        };
        for record in [given_up(1, "lost"), not_run(1)] {
            assert_eq!(of(&further(&record)), of(&record));
        }
        assert_eq!(of(&given_up(1, "lost on a:1")), of(&given_up(1, "lost on b:2")));
        assert_ne!(of(&further(&diverged(1, 2))), of(&diverged(1, 2)));
    }

    #[test]
    fn every_nan_is_the_same_one_and_zeros_differ_by_sign() {
        let loss = |value: f64| changed(|record| record.epochs[0].training_loss = value);
        assert_eq!(loss(f64::NAN), loss(-f64::NAN));
        assert_eq!(loss(f64::NAN), loss(f64::from_bits(f64::NAN.to_bits() | 1)));
        assert_ne!(loss(0.0), loss(-0.0));
    }

    #[test]
    fn the_order_of_arrival_does_not_change_it() {
        let (first, second) = (finished(0, 0.1), finished(1, 0.2));
        assert_eq!(results_sha256(&[first.clone(), second.clone()]), results_sha256(&[second, first]));
    }
}
