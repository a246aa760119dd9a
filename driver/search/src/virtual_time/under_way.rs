//! A segment that is under way, and what has been reported of it: when its slot is free, when its result is seen, and
//! until when more has to be known of it.

use std::num::NonZeroU64;

use broadsweep_common::task::Segment;

use crate::decision::{SegmentEnd, VirtualTime};

/// What follows the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochEnd {
    /// The training goes on after it, or it is the segment's last one. Whoever learns only afterwards whether a training
    /// goes on tells of an epoch once the next one is reported.
    GoesOn,
    /// Its loss was NaN or infinite.
    Diverged,
    /// The training stops after it, before the segment's last epoch.
    StoppedEarly,
}

/// What has been reported of a segment: the first copy of each report counts.
#[derive(Clone, Debug)]
pub(super) struct Reports {
    /// The newest epoch after which the training goes on; where the segment begins until one is reported.
    goes_on_after: u32,
    /// The epoch in which it diverged, or after which it stopped early.
    cut: Option<u32>,
    pub(super) result: Option<SegmentEnd>,
}

impl Reports {
    pub(super) fn none_of(segment: Segment) -> Self {
        Self { goes_on_after: segment.from_epoch, cut: None, result: None }
    }

    pub(super) fn told(&mut self, epoch: u32, end: EpochEnd) {
        if self.result.is_some() {
            return;
        }
        match end {
            EpochEnd::GoesOn if self.cut.is_none_or(|cut| epoch < cut) => {
                self.goes_on_after = self.goes_on_after.max(epoch);
            }
            EpochEnd::Diverged | EpochEnd::StoppedEarly if self.cut.is_none() && epoch > self.goes_on_after => {
                self.cut = Some(epoch);
            }
            // Told before, or against what was: what came first stands, since it may have been acted upon.
            EpochEnd::GoesOn | EpochEnd::Diverged | EpochEnd::StoppedEarly => {}
        }
    }

    /// Whether this is the first end that is reported.
    pub(super) fn ended(&mut self, end: SegmentEnd) -> bool {
        let is_first = self.result.is_none();
        self.result.get_or_insert(end);
        is_first
    }

    /// The epoch in which the segment is cut, as far as that is known. One that is given up runs to its planned end.
    fn cut_in(&self) -> Option<u32> {
        let cut = match &self.result {
            Some(SegmentEnd::GivenUp) => None,
            Some(SegmentEnd::Diverged { epoch }) => self.cut.or(Some(*epoch)),
            Some(SegmentEnd::Finished { .. } | SegmentEnd::Paused { .. }) | None => self.cut,
        };
        cut.filter(|epoch| *epoch > self.goes_on_after)
    }
}

/// A segment that was decided and whose result is not seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnderWay {
    pub(super) segment: Segment,
    pub(super) start: VirtualTime,
    pub(super) cost: NonZeroU64,
    pub(super) holds_slot: bool,
}

/// What a segment does in virtual time, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outlook {
    /// Its slot is free.
    pub(super) free_at: VirtualTime,
    /// Its result is seen.
    pub(super) seen_at: VirtualTime,
    /// Nobody knows what happens at this moment or later before more is reported; `None` once its end is known.
    pub(super) known_until: Option<VirtualTime>,
}

impl UnderWay {
    /// The virtual end of an epoch: the start and the epoch's share of the planned cost, in proportion to the epochs of
    /// the segment up to it and rounded up, so that no epoch takes no time and the last one ends at the planned end.
    fn end_of(&self, epoch: u32) -> VirtualTime {
        let Segment { from_epoch, until_epoch, .. } = self.segment;
        let epochs = u128::from(until_epoch.saturating_sub(from_epoch).max(1));
        let done = u128::from(epoch.saturating_sub(from_epoch)).min(epochs);
        let share = (u128::from(self.cost.get()) * done).div_ceil(epochs);
        VirtualTime(self.start.0.saturating_add(share as u64))
    }

    pub(super) fn outlook(&self, reports: Option<&Reports>, lag: NonZeroU64) -> Outlook {
        let seen = |end: VirtualTime| VirtualTime(end.0.saturating_add(lag.get()));
        let until_epoch = self.segment.until_epoch;
        let cut = reports.and_then(Reports::cut_in);
        let planned_end = self.end_of(until_epoch);
        let seen_at = seen(self.end_of(cut.unwrap_or(until_epoch)));
        let known_until = match (reports, cut) {
            (Some(Reports { result: Some(_), .. }), _) => None,
            (_, Some(_)) => Some(seen_at),
            (reports, None) => {
                let known = reports.map_or(self.segment.from_epoch, |reports| reports.goes_on_after);
                // After its last epoch, the result alone is missing.
                Some(seen(self.end_of(known.saturating_add(1).min(until_epoch))))
            }
        };
        Outlook { free_at: planned_end.min(seen_at), seen_at, known_until }
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TrialId;
    use broadsweep_common::metrics::Metrics;
    use broadsweep_common::task::Replicate;

    use super::*;

    const SEGMENT: Segment =
        Segment { replicate: Replicate { trial: TrialId(0), repeat: 0, fold: 0 }, from_epoch: 2, until_epoch: 6 };

    /// Four epochs from 100 on.
    fn under_way(cost: u64) -> UnderWay {
        let cost = NonZeroU64::new(cost).unwrap();
        UnderWay { segment: SEGMENT, start: VirtualTime(100), cost, holds_slot: true }
    }

    fn outlook(cost: u64, lag: u64, reports: &Reports) -> (u64, u64, Option<u64>) {
        let Outlook { free_at, seen_at, known_until } =
            under_way(cost).outlook(Some(reports), NonZeroU64::new(lag).unwrap());
        (free_at.0, seen_at.0, known_until.map(|moment| moment.0))
    }

    /// What it is called, the lag, what is told of epochs, the end, and the outlook that follows.
    type Row<'a> = (&'a str, u64, &'a [(u32, EpochEnd)], Option<SegmentEnd>, (u64, u64, Option<u64>));

    fn finished() -> SegmentEnd {
        SegmentEnd::Finished { epoch: 3, metrics: Metrics::default() }
    }

    #[test]
    fn an_epoch_takes_its_share_of_the_cost_rounded_up() {
        for (cost, ends) in
            [(8, [102, 104, 106, 108]), (10, [103, 105, 108, 110]), (1, [101; 4]), (4, [101, 102, 103, 104])]
        {
            assert_eq!([3, 4, 5, 6].map(|epoch| under_way(cost).end_of(epoch).0), ends, "cost {cost}");
        }
    }

    #[test]
    fn moments_stop_at_the_largest_whole_number() {
        let last = UnderWay { start: VirtualTime(u64::MAX - 1), ..under_way(u64::MAX) };
        assert_eq!(last.end_of(3), VirtualTime(u64::MAX));
        let outlook = last.outlook(None, NonZeroU64::MAX);
        let end = VirtualTime(u64::MAX);
        assert_eq!(outlook, Outlook { free_at: end, seen_at: end, known_until: Some(end) });
    }

    #[test]
    fn slot_and_result_are_due_as_the_rule_has_it() {
        use EpochEnd::{Diverged, GoesOn, StoppedEarly};
        let (given_up, diverged) = (Some(SegmentEnd::GivenUp), Some(SegmentEnd::Diverged { epoch: 4 }));
        // Cost 8: the epochs end at 102, 104, 106 and 108. Each row: lag; reports; free, seen, known until.
        let rows: [Row<'_>; 14] = [
            ("nothing is known", 3, &[], None, (108, 111, Some(105))),
            ("two epochs", 3, &[(3, GoesOn), (4, GoesOn)], None, (108, 111, Some(109))),
            ("the later of two stands for both", 3, &[(4, GoesOn), (3, GoesOn)], None, (108, 111, Some(109))),
            ("all epochs, no result", 3, &[(6, GoesOn)], None, (108, 111, Some(111))),
            ("trained to its end", 3, &[(6, GoesOn)], Some(finished()), (108, 111, None)),
            ("cut, the slot after a lag", 3, &[(4, StoppedEarly)], Some(finished()), (107, 107, None)),
            ("cut, the slot at the planned end", 5, &[(4, StoppedEarly)], Some(finished()), (108, 109, None)),
            ("cut, without its result", 3, &[(4, StoppedEarly)], None, (107, 107, Some(107))),
            ("diverged, told at the end only", 3, &[(3, GoesOn)], diverged.clone(), (107, 107, None)),
            ("diverged in its last epoch", 3, &[(6, Diverged)], None, (108, 111, Some(111))),
            ("given up", 3, &[(3, GoesOn)], given_up.clone(), (108, 111, None)),
            ("given up after a cut", 3, &[(4, StoppedEarly)], given_up, (108, 111, None)),
            ("a cut of what went on", 3, &[(5, GoesOn), (4, StoppedEarly)], diverged, (108, 111, None)),
            ("an epoch after the cut", 3, &[(4, Diverged), (5, GoesOn)], None, (107, 107, Some(107))),
        ];
        for (name, lag, told, end, expected) in rows {
            let mut reports = Reports::none_of(SEGMENT);
            for (epoch, end) in told {
                reports.told(*epoch, *end);
            }
            reports.result = end;
            assert_eq!(outlook(8, lag, &reports), expected, "{name}");
        }
    }

    #[test]
    fn the_first_end_that_is_reported_stands() {
        let mut reports = Reports::none_of(SEGMENT);
        assert!(reports.ended(SegmentEnd::GivenUp) && !reports.ended(finished()));
        reports.told(3, EpochEnd::Diverged);
        assert_eq!(outlook(8, 3, &reports), (108, 111, None));
        assert_eq!(reports.result, Some(SegmentEnd::GivenUp));
    }
}
