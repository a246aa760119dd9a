//! What of an attempt's work counted: all of one that completed, and of one before it what it went on from. And how
//! slow each executor was, by what the same work took on the others.

use std::collections::BTreeMap;

use broadsweep_common::ids::ExecutorId;

use crate::records::attempt::{AttemptRecord, Yield};
use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};

use super::microseconds;

/// An executor counts as slow where work takes so many times as long as on the others: less is what neighbours on a
/// machine, caches and clocks do.
const SLOW: f64 = 1.1;
/// Attempts on other executors that one is compared with: those of the nearest cost, since small networks reach another
/// share of a processor's peak than large ones.
const PEERS: usize = 5;
/// How far they are looked for in the list of all, to either side.
const SCAN_MAX: usize = 64;

/// Of every attempt.
pub(super) struct Worth {
    parts: Vec<AttemptWork>,
    slowness: BTreeMap<ExecutorId, f64>,
}

/// The measured work of an attempt, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AttemptWork {
    /// All of it.
    pub(super) work_us: u64,
    /// What counted.
    pub(super) counted_us: u64,
    /// What that took longer than it would have elsewhere.
    pub(super) excess_us: u64,
    /// Whether its executor is slow.
    pub(super) on_slow: bool,
}

impl AttemptWork {
    /// What counted, as the other executors would have done it.
    pub(super) fn at_pace_us(self) -> u64 {
        self.counted_us - self.excess_us
    }
}

/// What a unit of cost took in an attempt.
struct Sample {
    /// Of the whole trial: trials of nearly the same cost are much alike.
    cost: f64,
    number: usize,
    executor: ExecutorId,
    /// The attempt's work by its cost.
    pace: f64,
}

impl Worth {
    pub(super) fn of(run: &RunRecord) -> Self {
        let mut parts: Vec<AttemptWork> = Vec::with_capacity(run.attempts.len());
        for attempts in run.attempts.chunk_by(|one, other| one.attempt.task == other.attempt.task) {
            let trial = run.trained_by(attempts[0].attempt.task);
            let is_check = run.is_check(attempts[0].attempt.task);
            let kept = if is_check { vec![0.0; attempts.len()] } else { kept_shares(attempts, trial) };
            parts.extend(attempts.iter().zip(kept).map(|(attempt, kept)| {
                let work_us = microseconds(attempt.training_s + attempt.evaluation_s);
                AttemptWork {
                    work_us,
                    counted_us: ((work_us as f64 * kept) as u64).min(work_us),
                    ..AttemptWork::default()
                }
            }));
        }
        let samples = samples(run);
        let ratios = ratios(&samples);
        let slowness = slowness(&samples, &ratios);
        for (sample, ratio) in samples.iter().zip(ratios) {
            let is_slow = slowness.get(&sample.executor).is_some_and(|slowness| *slowness >= SLOW);
            if let Some(ratio) = ratio.filter(|ratio| is_slow && *ratio > 1.0) {
                let part = &mut parts[sample.number];
                part.excess_us = ((part.counted_us as f64 * (1.0 - 1.0 / ratio)) as u64).min(part.counted_us);
            }
        }
        for (part, attempt) in parts.iter_mut().zip(&run.attempts) {
            part.on_slow = slowness.get(&attempt.executor).is_some_and(|slowness| *slowness >= SLOW);
        }
        Self { parts, slowness }
    }

    pub(super) fn parts(&self, number: usize) -> AttemptWork {
        self.parts[number]
    }

    /// How many times as long as on the others work took there.
    pub(super) fn slowness(&self, executor: ExecutorId) -> Option<f64> {
        self.slowness.get(&executor).copied()
    }
}

/// The share of each attempt's work that its task's result rests on: from the attempt that has it, or may have it yet,
/// back over the checkpoints that each one went on from. Epochs of one attempt count as equal.
fn kept_shares(attempts: &[AttemptRecord], trial: Option<&TrialRecord>) -> Vec<f64> {
    let mut kept = vec![0.0; attempts.len()];
    if trial.is_some_and(|trial| matches!(trial.outcome, TrialOutcome::GivenUp { .. })) {
        return kept;
    }
    let last = |wanted: fn(&AttemptRecord) -> bool| attempts.iter().rposition(wanted);
    let may_have_it = |attempt: &AttemptRecord| {
        attempt.end.as_ref().is_none_or(|end| matches!(end.yields(), Yield::Result | Yield::Checkpoint))
    };
    let head = last(AttemptRecord::has_result).or_else(|| last(may_have_it));
    let Some(head) = head else { return kept };
    kept[head] = 1.0;
    let mut from = attempts[head].from_epoch;
    while from > 0 {
        let made = |number: &usize| {
            let attempt = &attempts[*number];
            *number != head && attempt.from_epoch < from && from <= attempt.epoch
        };
        let Some(maker) = (0..attempts.len()).rev().find(made) else { break };
        let attempt = &attempts[maker];
        kept[maker] = f64::from(from - attempt.from_epoch) / f64::from(attempt.epoch - attempt.from_epoch);
        from = attempt.from_epoch;
    }
    kept
}

/// What is known of paces, in order of cost. Only attempts that completed: of others the last epoch is not whole.
fn samples(run: &RunRecord) -> Vec<Sample> {
    let sample = |(number, attempt): (usize, &AttemptRecord)| {
        let trial = run.trained_by(attempt.attempt.task)?;
        let epochs = attempt.epoch.saturating_sub(attempt.from_epoch);
        let is_whole = attempt.has_result() && matches!(trial.outcome, TrialOutcome::Finished { .. });
        let done = trial.cost as f64 * f64::from(epochs) / f64::from(trial.epochs_max.max(1));
        let pace = (attempt.training_s + attempt.evaluation_s) / done;
        let is_some = is_whole && pace.is_finite() && pace > 0.0;
        is_some.then_some(Sample { cost: trial.cost as f64, number, executor: attempt.executor, pace })
    };
    let mut samples: Vec<_> = run.attempts.iter().enumerate().filter_map(sample).collect();
    samples.sort_by(|one, other| one.cost.total_cmp(&other.cost).then(one.number.cmp(&other.number)));
    samples
}

/// Each sample's pace by the median of those of its peers, where it has any.
fn ratios(samples: &[Sample]) -> Vec<Option<f64>> {
    if samples.iter().all(|sample| sample.executor == samples[0].executor) {
        return vec![None; samples.len()];
    }
    let ratio = |place: usize| {
        let sample = &samples[place];
        let mut below = samples[..place].iter().rev().take(SCAN_MAX).filter(|peer| peer.executor != sample.executor);
        let mut above = samples[place + 1..].iter().take(SCAN_MAX).filter(|peer| peer.executor != sample.executor);
        let mut peers = Vec::with_capacity(PEERS);
        let (mut under, mut over) = (below.next(), above.next());
        while peers.len() < PEERS {
            // Of two as near, the cheaper one: costs are compared by their ratio.
            let is_under = match (under, over) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(under), Some(over)) => sample.cost * sample.cost <= under.cost * over.cost,
            };
            if is_under {
                peers.extend(under.map(|peer| peer.pace));
                under = below.next();
            } else {
                peers.extend(over.map(|peer| peer.pace));
                over = above.next();
            }
        }
        median(&mut peers).map(|median| sample.pace / median)
    };
    (0..samples.len()).map(ratio).collect()
}

/// What each executor's work took, by what it would have taken at the pace of its peers.
fn slowness(samples: &[Sample], ratios: &[Option<f64>]) -> BTreeMap<ExecutorId, f64> {
    let mut sums: BTreeMap<ExecutorId, (f64, f64)> = BTreeMap::new();
    for (sample, ratio) in samples.iter().zip(ratios) {
        if let Some(ratio) = ratio {
            let took = sample.pace * sample.cost;
            let (sum, expected) = sums.entry(sample.executor).or_default();
            (*sum, *expected) = (*sum + took, *expected + took / ratio);
        }
    }
    sums.into_iter().map(|(executor, (took, expected))| (executor, took / expected)).collect()
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().saturating_sub(1) / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}
