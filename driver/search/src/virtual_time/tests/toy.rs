//! A study for tests: a search whose every decision depends on all that it decided, saw and was shown, and trainings
//! whose ends depend on nothing but their segments.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::task::Segment;

use crate::decision::{Decision, Origin, Running, Search, Seen, SegmentEnd, VirtualTime};
use crate::virtual_time::{EpochEnd, PlannedCosts, SearchClock, Timeline};

/// Some number that depends on all of `parts`.
pub(super) fn drawn(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// What a study is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Toy {
    pub(super) seed: u64,
    pub(super) trials: u32,
    pub(super) slots: u32,
    pub(super) lag: u64,
    pub(super) epochs_max: u32,
    pub(super) cost_max: u64,
    /// Of 100 segments, so many diverge or stop early.
    pub(super) cut: u64,
    /// And so many are given up.
    pub(super) given_up: u64,
}

/// What an executor reports.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reported {
    Epoch(u32, EpochEnd),
    End(SegmentEnd),
}

impl Toy {
    pub(super) fn timeline(self, clock: SearchClock) -> Timeline<'static> {
        Timeline::new(clock, NonZeroU32::new(self.slots).unwrap(), Box::new(self))
    }

    pub(super) fn clock(self) -> SearchClock {
        SearchClock::Virtual { lag: NonZeroU64::new(self.lag).unwrap() }
    }

    pub(super) fn search(self) -> ToySearch {
        ToySearch { toy: self, decided: 0, seen: 0, started: 0, paused: BTreeMap::new() }
    }

    /// All that is reported of a segment, in order.
    pub(super) fn reports(self, segment: Segment) -> Vec<Reported> {
        let Segment { from_epoch, until_epoch, replicate } = segment;
        let fate = drawn((self.seed, "fate", segment));
        let last = from_epoch + 1 + (fate >> 32) as u32 % (until_epoch - from_epoch);
        let value = (drawn((self.seed, "value", segment)) % 1000) as f64;
        let metrics = Metrics::from_iter([(MetricName::VALIDATION_ERROR, value)]);
        let goes_on = |epoch| Reported::Epoch(epoch, EpochEnd::GoesOn);
        let finished = SegmentEnd::Finished { epoch: from_epoch + 1, metrics: metrics.clone() };
        let is_cut = fate % 100 < self.cut;
        let (end_of_last, end) = match (fate >> 8) % 2 {
            _ if fate % 100 >= self.cut + self.given_up => {
                let paused = SegmentEnd::Paused { epoch: until_epoch, metrics };
                (EpochEnd::GoesOn, if drawn((replicate, self.seed)) % 4 == 0 { finished } else { paused })
            }
            _ if !is_cut => (EpochEnd::GoesOn, SegmentEnd::GivenUp),
            0 => (EpochEnd::Diverged, SegmentEnd::Diverged { epoch: last }),
            _ => (EpochEnd::StoppedEarly, finished),
        };
        let last = if is_cut || end == SegmentEnd::GivenUp { last } else { until_epoch };
        (from_epoch + 1..last).map(goes_on).chain([Reported::Epoch(last, end_of_last), Reported::End(end)]).collect()
    }
}

impl PlannedCosts for Toy {
    fn epochs(&self, configuration: &Configuration) -> NonZeroU32 {
        let epochs = drawn((self.seed, configuration.to_string())) as u32 % self.epochs_max;
        NonZeroU32::new(1 + epochs).unwrap()
    }

    fn cost(&self, configuration: &Configuration, epochs: Range<u32>) -> NonZeroU64 {
        let cost = drawn((self.seed, configuration.to_string(), epochs.start, epochs.end)) % self.cost_max;
        NonZeroU64::new(1 + cost).unwrap()
    }
}

/// Decides by chance, out of all that it knows.
pub(super) struct ToySearch {
    toy: Toy,
    /// All that it decided, in order.
    decided: u64,
    /// All that it saw, in order.
    seen: u64,
    started: u32,
    /// Of each trial, how often it was seen to pause less how often it was continued.
    paused: BTreeMap<TrialId, i32>,
}

impl ToySearch {
    fn note(&mut self, decision: Decision) -> Decision {
        self.recall(&decision);
        decision
    }
}

impl Search for ToySearch {
    fn next(&mut self, v: VirtualTime, seen: &[Seen], running: &dyn Running) -> Decision {
        for seen in seen {
            self.seen = drawn((self.seen, format!("{seen:?}")));
            if matches!(seen.end, SegmentEnd::Paused { .. }) {
                *self.paused.entry(seen.segment.replicate.trial).or_default() += 1;
            }
        }
        let running: Vec<_> = running.trials().map(|trial| format!("{trial:?}")).collect();
        let dice = drawn((self.toy.seed, self.decided, self.seen, v.0, &running));
        let paused: Vec<_> = self.paused.iter().filter(|(_, pauses)| **pauses > 0).map(|(trial, _)| *trial).collect();
        let may_start = self.started < self.toy.trials;
        let until_epoch = 1 + (dice >> 16) as u32 % 7;
        match dice % 8 {
            0..=2 if !paused.is_empty() => {
                let trial = paused[(dice >> 8) as usize % paused.len()];
                self.note(Decision::Continue { trial, until_epoch })
            }
            0..=5 if may_start => {
                let configuration = Configuration::from_iter([("n", Value::Integer((dice >> 24) as i64))]);
                let until_epoch = Some(until_epoch).filter(|epoch| *epoch < 6);
                self.note(Decision::Start { configuration, origin: Origin::Draw(dice), until_epoch })
            }
            _ if running.is_empty() && (!may_start || dice % 8 == 7) => self.note(Decision::Ended),
            _ if running.is_empty() => {
                let configuration = Configuration::from_iter([("n", Value::Integer(1))]);
                self.note(Decision::Start { configuration, origin: Origin::Draw(dice), until_epoch: None })
            }
            _ => Decision::Wait,
        }
    }

    fn recall(&mut self, decision: &Decision) {
        self.decided = drawn((self.decided, format!("{decision:?}")));
        match decision {
            Decision::Start { .. } => self.started += 1,
            Decision::Continue { trial, .. } => *self.paused.entry(*trial).or_default() -= 1,
            Decision::Wait | Decision::Ended => {}
        }
    }
}
