//! The digest by which runs on 1, 2 and 13 nodes are compared: equal digests mean equal results, bit for bit.
//!
//! Version 2. Numbers are little-endian, and each list and each name has its length before it, so that no two results
//! share an encoding:
//!
//! | of each trial, by its number | as |
//! |---|---|
//! | number | u32 |
//! | digest of the configuration | 32 bytes |
//! | outcome: `f` with the epoch that counts, `d` with that of the divergence, `p` with that of the pause, `g`, `n`, `l` | a letter, u32 where there is one |
//! | replicates, where the outcome is `f`, `d` or `p` | a list |
//! | what was measured after the search, likewise | metrics |
//!
//! A replicate is its repeat and its fold (u32 each), the epochs at which its segments ended before the last one (a list
//! of u32), and the metrics of its epochs (a list). Metrics are a list of names (bytes) and canonical bits (u64). A trial
//! has one replicate today.

use broadsweep_common::metrics::{MetricName, canonical_bits};
use sha2::{Digest, Sha256};

use crate::records::curves::Curves;
use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};

/// The SHA-256, in hex, of every trial's number, configuration and the exact bits of its metrics, in trial order.
///
/// Nothing that depends on time or place goes in: no attempts, executors, durations or reasons. Of a trial that
/// was given up or not run only that fact goes in, since how many epochs it got to is a matter of time.
/// Every NaN counts as the same one.
#[must_use]
pub fn results_sha256(trials: &[TrialRecord]) -> String {
    let mut ordered: Vec<&TrialRecord> = trials.iter().collect();
    ordered.sort_by_key(|record| record.trial);
    let mut hasher = Sha256::new();
    hasher.update(b"broadsweep results v2");
    for record in ordered {
        add_trial(&mut hasher, record);
    }
    in_hex(hasher)
}

impl RunRecord {
    /// The digest of its results: those of its trials, or, where it applies a model, what came out of all partitions.
    #[must_use]
    pub fn results_sha256(&self) -> String {
        if self.trains() {
            return results_sha256(&self.trials);
        }
        let mut hasher = Sha256::new();
        hasher.update(b"broadsweep answers v1");
        hasher.update(self.partitions.outputs.map_or([0; 32], |outputs| outputs.0));
        in_hex(hasher)
    }
}

fn in_hex(hasher: Sha256) -> String {
    hasher.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn add_trial(hasher: &mut Sha256, record: &TrialRecord) {
    add_number(hasher, record.trial.0);
    hasher.update(record.configuration.digest().0.0);
    let (letter, epoch) = match &record.outcome {
        TrialOutcome::Finished { epoch } => (b"f", *epoch),
        TrialOutcome::Diverged { epoch } => (b"d", *epoch),
        TrialOutcome::Paused { epoch } => (b"p", *epoch),
        TrialOutcome::GivenUp { .. } => return hasher.update(b"g"),
        TrialOutcome::NotRun => return hasher.update(b"n"),
        TrialOutcome::LeftOut => return hasher.update(b"l"),
    };
    hasher.update(letter);
    add_number(hasher, epoch);
    add_number(hasher, 1);
    add_replicate(hasher, (0, 0), &record.rungs, &record.curves);
    add_metrics(hasher, record.measured.iter());
}

/// One repeat and fold of a trial.
fn add_replicate(hasher: &mut Sha256, (repeat, fold): (u32, u32), segment_ends: &[u32], curves: &Curves) {
    add_number(hasher, repeat);
    add_number(hasher, fold);
    add_number(hasher, segment_ends.len() as u32);
    for end in segment_ends {
        add_number(hasher, *end);
    }
    add_number(hasher, curves.epochs());
    for epoch in 1..=curves.epochs() {
        add_metrics(hasher, curves.row(epoch));
    }
}

fn add_metrics<'a>(hasher: &mut Sha256, metrics: impl Iterator<Item = (&'a MetricName, f64)> + Clone) {
    add_number(hasher, metrics.clone().count() as u32);
    for (name, value) in metrics {
        add_number(hasher, name.as_str().len() as u32);
        hasher.update(name.as_str());
        hasher.update(canonical_bits(value).to_le_bytes());
    }
}

fn add_number(hasher: &mut Sha256, number: u32) {
    hasher.update(number.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use broadsweep_common::attempt::Used;
    use broadsweep_common::configuration::Value;
    use broadsweep_common::ids::TrialId;

    use super::*;
    use crate::results::fixtures::{
        at, configuration, curves, diverged, epoch, finished, given_up, not_run, tested, with_own,
    };

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
        let set = |epoch: u32, name: MetricName, value| of(&at(finished(3, 0.25), epoch, &name, value));
        let other = configuration(&[("fc1", Value::Integer(1))]);
        let next_up = f64::from_bits(0.3_f64.to_bits() + 1);
        let mut digests = vec![
            of(&finished(3, 0.25)),
            changed(|record| record.trial = TrialId(4)),
            changed(|record| record.configuration = other),
            changed(|record| record.outcome = TrialOutcome::Paused { epoch: 2 }),
            changed(|record| record.rungs = vec![1]),
            changed(|record| record.outcome = TrialOutcome::NotRun),
            changed(|record| record.outcome = TrialOutcome::LeftOut),
            changed(|record| record.outcome = TrialOutcome::Finished { epoch: 1 }),
            changed(|record| record.outcome = TrialOutcome::Diverged { epoch: 2 }),
            changed(|record| record.outcome = TrialOutcome::Diverged { epoch: 3 }),
            changed(|record| record.outcome = TrialOutcome::GivenUp { reason: String::new() }),
            changed(|record| record.curves.truncate(1)),
            changed(|record| record.curves = curves([epoch(0.25), epoch(0.5)])),
            set(1, MetricName::LEARNING_RATE, Some(0.125)),
            set(1, MetricName::TRAINING_LOSS, Some(0.125)),
            set(2, MetricName::TRAINING_LOSS, Some(0.125)),
            set(2, MetricName::TRAINING_LOSS, Some(next_up)),
            set(1, MetricName::VALIDATION_ERROR, None),
            set(1, MetricName::VALIDATION_LOSS, None),
            set(1, MetricName::VALIDATION_ERROR, Some(0.125)),
            set(1, MetricName::TEST_ERROR, Some(0.5)),
            set(2, MetricName::TEST_ERROR, Some(0.5)),
            of(&with_own(finished(3, 0.25), "accuracy", 0.5)),
            of(&with_own(finished(3, 0.25), "accuracz", 0.5)),
            of(&tested(finished(3, 0.25), 0.5)),
            of(&tested(finished(3, 0.25), 0.125)),
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
        assert_eq!(changed(|record| record.used = Some(Used::default())), expected, "used");
        assert_eq!(changed(|record| record.started_s = 9.0), expected, "started_s");
        assert_eq!(changed(|record| record.ended_s = 9.0), expected, "ended_s");
    }

    #[test]
    fn how_far_an_unfinished_trial_got_does_not_change_it() {
        let further = |record: &TrialRecord| {
            let epochs = record.curves.iter().map(|(_, metrics)| metrics).chain([epoch(0.4)]);
            TrialRecord { curves: curves(epochs), ..record.clone() }
        };
        for record in [given_up(1, "lost"), not_run(1)] {
            assert_eq!(of(&further(&record)), of(&record));
        }
        assert_eq!(of(&given_up(1, "lost on a:1")), of(&given_up(1, "lost on b:2")));
        assert_ne!(of(&further(&diverged(1, 2))), of(&diverged(1, 2)));
    }

    #[test]
    fn every_nan_is_the_same_one_and_zeros_differ_by_sign() {
        let loss = |value: f64| of(&at(finished(3, 0.25), 1, &MetricName::TRAINING_LOSS, Some(value)));
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
