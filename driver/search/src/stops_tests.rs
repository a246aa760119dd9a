//! Where a search ends by a rule.

use std::ops::Range;

use broadsweep_common::configuration::Value;
use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::task::{Replicate, Segment};

use super::*;
use crate::decision::Origin;

/// Starts a trial whenever it is asked; each pauses after two epochs, and the first is continued by every third decision.
struct Endless(u32);

impl Search for Endless {
    fn next(&mut self, _: VirtualTime, _: &[Seen], _: &dyn Running) -> Decision {
        self.0 += 1;
        if self.0.is_multiple_of(3) {
            return Decision::Continue { trial: TrialId(0), until_epoch: self.0 };
        }
        let configuration = Configuration::from_iter([("n", Value::Integer(i64::from(self.0)))]);
        Decision::Start { configuration, origin: Origin::Draw(u64::from(self.0)), until_epoch: Some(2) }
    }

    fn recall(&mut self, _: &Decision) {
        self.0 += 1;
    }
}

/// Trials of six epochs, of ten each.
struct Six;

impl PlannedCosts for Six {
    fn epochs(&self, _: &Configuration) -> NonZeroU32 {
        NonZeroU32::new(6).unwrap()
    }

    fn cost(&self, _: &Configuration, epochs: Range<u32>) -> NonZeroU64 {
        NonZeroU64::new(u64::from(epochs.end - epochs.start) * 10).unwrap_or(NonZeroU64::MIN)
    }
}

fn stopping(rules: StopRules, direction: Direction) -> Stopping<'static> {
    let objective = Objective { metric: MetricName::VALIDATION_ERROR, direction };
    Stopping::new(Box::new(Endless(0)), rules, objective, Box::new(Six))
}

fn ended(trial: u32, end: SegmentEnd) -> Seen {
    let segment = Segment { replicate: Replicate::first(TrialId(trial)), from_epoch: 0, until_epoch: 6 };
    Seen { segment, end }
}

fn finished(trial: u32, value: f64) -> Seen {
    let metrics: Metrics = [(MetricName::VALIDATION_ERROR, value)].into_iter().collect();
    ended(trial, SegmentEnd::Finished { epoch: 6, metrics })
}

/// How many decisions there are before the end, where decision `n` is shown what `seen` has there.
fn decisions(mut search: Stopping<'_>, seen: &[Vec<Seen>]) -> Option<usize> {
    let next = |search: &mut Stopping<'_>, shown: &[Seen]| search.next(VirtualTime::default(), shown, &());
    let place = (0..40)
        .find(|place| next(&mut search, seen.get(*place).map_or(&[][..], Vec::as_slice)) == Decision::Ended)?;
    assert_eq!(next(&mut search, &[]), Decision::Ended, "an end is one");
    Some(place)
}

#[test]
fn without_rules_nothing_ends() {
    assert!(!StopRules::default().is_any());
    assert_eq!(decisions(stopping(StopRules::default(), Direction::Minimize), &[]), None);
}

#[test]
fn a_target_ends_it_once_a_result_is_seen_that_is_as_good() {
    let rules = |target| StopRules { target: Some(target), ..StopRules::default() };
    let seen = [vec![], vec![finished(0, 0.5)], vec![finished(1, 0.3)], vec![finished(2, 0.2)]];
    for (target, direction, expected) in [
        (0.3, Direction::Minimize, Some(2)),
        (0.25, Direction::Minimize, Some(3)),
        (0.1, Direction::Minimize, None),
        (0.4, Direction::Maximize, Some(1)),
        (0.6, Direction::Maximize, None),
    ] {
        assert_eq!(decisions(stopping(rules(target), direction), &seen), expected, "{target} {direction:?}");
    }
    let paused = ended(0, SegmentEnd::Paused { epoch: 2, metrics: Metrics::default() });
    let nothing = [vec![paused], vec![ended(1, SegmentEnd::GivenUp)], vec![finished(2, f64::NAN)]];
    assert_eq!(decisions(stopping(rules(1e9), Direction::Minimize), &nothing), None, "none of these has a result");
}

#[test]
fn no_progress_ends_it_after_so_many_trials_that_are_not_better() {
    let rules = StopRules { no_progress: NonZeroU32::new(2), ..StopRules::default() };
    let diverged = || ended(9, SegmentEnd::Diverged { epoch: 1 });
    let paused = || ended(9, SegmentEnd::Paused { epoch: 2, metrics: Metrics::default() });
    for (seen, expected) in [
        (vec![vec![finished(0, 0.5)], vec![finished(1, 0.5)], vec![finished(2, 0.6)]], Some(2)),
        (vec![vec![finished(0, 0.5)], vec![finished(1, 0.6)], vec![finished(2, 0.4)], vec![diverged()]], None),
        (vec![vec![finished(0, 0.5), diverged()], vec![paused(), paused()], vec![diverged()]], Some(2)),
    ] {
        assert_eq!(decisions(stopping(rules, Direction::Minimize), &seen), expected, "{seen:?}");
    }
}

#[test]
fn a_budget_ends_it_before_what_would_exceed_it_is_started() {
    // Epochs of the decisions: 2, 2, then trial 0 from 2 to 3, then 2, 2, and trial 0 from 3 to 6.
    for (budget, expected) in [(1, 0), (4, 2), (5, 3), (8, 4), (9, 5), (11, 5), (12, 6)] {
        let epochs = StopRules { epochs: NonZeroU64::new(budget), ..StopRules::default() };
        assert_eq!(decisions(stopping(epochs, Direction::Minimize), &[]), Some(expected), "{budget} epochs");
        let cost = StopRules { cost: NonZeroU64::new(budget * 10), ..StopRules::default() };
        assert_eq!(decisions(stopping(cost, Direction::Minimize), &[]), Some(expected), "{budget} epochs in costs");
    }
}

#[test]
fn a_later_driver_ends_where_the_first_one_would_have() {
    let rules = StopRules { epochs: NonZeroU64::new(12), ..StopRules::default() };
    for told in 0..6 {
        let (mut first, mut later) = (stopping(rules, Direction::Minimize), stopping(rules, Direction::Minimize));
        for _ in 0..told {
            let decision = first.next(VirtualTime::default(), &[], &());
            later.recall(&decision);
        }
        assert_eq!(decisions(later, &[]), Some(6 - told), "after {told}");
    }
}
