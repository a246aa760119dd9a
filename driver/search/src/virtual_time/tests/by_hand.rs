//! The rule once more, as plainly as it can be said: for tests, to compare with.

use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::TrialId;
use broadsweep_common::task::{Replicate, Segment};

use super::toy::{Reported, Toy};
use crate::decision::{Decision, Running, RunningTrial, Search, Seen, SegmentEnd, VirtualTime};
use crate::virtual_time::PlannedCosts;

/// The rule as it reads, played from one whole number to the next by somebody who knows the end of every segment.
pub(super) struct ByHand {
    toy: Toy,
    configurations: Vec<Configuration>,
    /// What is decided and not seen: how it ends, when its slot is free, when it is seen.
    under_way: Vec<(Segment, SegmentEnd, u64, u64)>,
}

impl ByHand {
    fn start(&mut self, v: u64, segment: Segment) {
        let Segment { replicate, from_epoch, until_epoch } = segment;
        let configuration = &self.configurations[replicate.trial.0 as usize];
        let cost = self.toy.cost(configuration, from_epoch..until_epoch).get();
        let mut reports = self.toy.reports(segment);
        let Some(Reported::End(end)) = reports.pop() else { panic!("no end") };
        let Some(Reported::Epoch(last, _)) = reports.pop() else { panic!("no epoch") };
        let last = if end == SegmentEnd::GivenUp { until_epoch } else { last };
        let share = (cost * u64::from(last - from_epoch)).div_ceil(u64::from(until_epoch - from_epoch));
        let (planned_end, seen_at) = (v + cost, v + share + self.toy.lag);
        self.under_way.push((segment, end, planned_end.min(seen_at), seen_at));
    }

    /// What is decided, each with its moment.
    pub(super) fn decisions(toy: Toy) -> Vec<(u64, Decision)> {
        let mut search = toy.search();
        let mut by_hand = Self { toy, configurations: Vec::new(), under_way: Vec::new() };
        let (mut decisions, mut unshown, mut waits) = (Vec::new(), Vec::new(), false);
        let mut newest: Vec<Segment> = Vec::new();
        for v in 0.. {
            let (mut due, rest): (Vec<_>, Vec<_>) =
                by_hand.under_way.drain(..).partition(|(.., seen_at)| *seen_at == v);
            by_hand.under_way = rest;
            due.sort_by_key(|(segment, ..)| *segment);
            waits &= due.is_empty();
            unshown.extend(due.into_iter().map(|(segment, end, ..)| Seen { segment, end }));
            while !waits
                && by_hand.under_way.iter().filter(|(.., free_at, _)| *free_at > v).count() < toy.slots as usize
            {
                let decision = search.next(VirtualTime(v), &std::mem::take(&mut unshown), &by_hand);
                match &decision {
                    Decision::Start { configuration, until_epoch, .. } => {
                        let epochs = toy.epochs(configuration).get();
                        let until_epoch = until_epoch.unwrap_or(epochs).clamp(1, epochs);
                        let replicate = Replicate::first(TrialId(newest.len() as u32));
                        newest.push(Segment { replicate, from_epoch: 0, until_epoch });
                        by_hand.configurations.push(configuration.clone());
                        by_hand.start(v, newest[newest.len() - 1]);
                    }
                    Decision::Continue { trial, until_epoch } => {
                        let last = &mut newest[trial.0 as usize];
                        let epochs = toy.epochs(&by_hand.configurations[trial.0 as usize]).get();
                        let from_epoch = last.until_epoch;
                        let until_epoch = (*until_epoch).min(epochs).max(from_epoch + 1);
                        *last = Segment { from_epoch, until_epoch, ..*last };
                        let segment = *last;
                        by_hand.start(v, segment);
                    }
                    Decision::Wait => waits = true,
                    Decision::Ended => {}
                }
                if decision != Decision::Wait {
                    decisions.push((v, decision.clone()));
                }
                if decision == Decision::Ended {
                    return decisions;
                }
            }
        }
        unreachable!("the search has not ended")
    }
}

impl Running for ByHand {
    fn trials(&self) -> Box<dyn Iterator<Item = RunningTrial<'_>> + '_> {
        Box::new(self.under_way.iter().map(|(segment, ..)| {
            let configuration = &self.configurations[segment.replicate.trial.0 as usize];
            RunningTrial { segment: *segment, configuration }
        }))
    }
}
