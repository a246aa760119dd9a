//! How a timeline goes on: from moment to moment, and at each of them from question to question.

use std::num::NonZeroU64;

use broadsweep_common::ids::TrialId;
use broadsweep_common::task::{Replicate, Segment};

use super::under_way::{Outlook, Reports, UnderWay};
use super::{Asking, NewDecision, StartedTrial, Strayed, Timeline};
use crate::decision::{Decision, Running, RunningTrial, Search, Seen, SegmentEnd, VirtualTime};

/// What the search is shown of the segments that are under way.
struct StillUnseen<'a> {
    trials: &'a [StartedTrial],
    under_way: &'a [UnderWay],
}

impl Running for StillUnseen<'_> {
    fn trials(&self) -> Box<dyn Iterator<Item = RunningTrial<'_>> + '_> {
        Box::new(self.under_way.iter().map(|UnderWay { segment, .. }| {
            let configuration = &self.trials[segment.replicate.trial.0 as usize].configuration;
            RunningTrial { segment: *segment, configuration }
        }))
    }
}

impl Timeline<'_> {
    pub(super) fn advance_virtually(&mut self, lag: NonZeroU64, search: &mut dyn Search) -> Vec<NewDecision> {
        let mut new = Vec::new();
        self.end_where_it_was_stopped(search);
        if self.blocker.is_some() {
            return new; // most reports end here, of however many segments that are under way
        }
        while let Some(next) = self.next_moment(lag) {
            self.blocker = self.missing_at(next, lag);
            if self.blocker.is_some() {
                return new;
            }
            self.v = next;
            self.see_what_is_due(lag);
            self.free_what_is_due(lag);
            self.ask(search, &mut new);
            self.end_where_it_was_stopped(search);
        }
        self.blocker = None;
        new
    }

    fn outlook(&self, under_way: &UnderWay, lag: NonZeroU64) -> Outlook {
        under_way.outlook(self.reports.get(&under_way.segment), lag)
    }

    /// The earliest moment at which something happens; this one while a free slot is undecided.
    fn next_moment(&self, lag: NonZeroU64) -> Option<VirtualTime> {
        if self.asking == Asking::Due && self.free_slots() > 0 {
            return Some(self.v);
        }
        let moments = self.under_way.iter().map(|under_way| {
            let outlook = self.outlook(under_way, lag);
            if under_way.holds_slot { outlook.free_at } else { outlook.seen_at }
        });
        moments.min()
    }

    /// The segment of which something is missing that has to be known at this moment.
    fn missing_at(&self, moment: VirtualTime, lag: NonZeroU64) -> Option<Segment> {
        let missing = self.under_way.iter().filter_map(|under_way| {
            let known_until = self.outlook(under_way, lag).known_until?;
            (known_until <= moment).then_some((known_until, under_way.segment))
        });
        missing.min().map(|(_, segment)| segment)
    }

    fn see_what_is_due(&mut self, lag: NonZeroU64) {
        let is_due = |under_way: &&UnderWay| self.outlook(under_way, lag).seen_at <= self.v;
        let mut due: Vec<_> = self.under_way.iter().filter(is_due).map(|under_way| under_way.segment).collect();
        due.sort_unstable();
        for segment in due {
            self.see(segment);
        }
    }

    fn free_what_is_due(&mut self, lag: NonZeroU64) {
        let reports = &self.reports;
        for under_way in self.under_way.iter_mut().filter(|under_way| under_way.holds_slot) {
            let outlook = under_way.outlook(reports.get(&under_way.segment), lag);
            under_way.holds_slot = outlook.free_at > self.v;
        }
    }

    /// The result of a segment that is under way is seen, and its slot is free.
    pub(super) fn see(&mut self, segment: Segment) {
        let Some(end) = self.reports.remove(&segment).and_then(|reports| reports.result) else { return };
        self.under_way.retain(|under_way| under_way.segment != segment);
        if let Some(trial) = self.trials.get_mut(segment.replicate.trial.0 as usize)
            && trial.newest == segment
        {
            trial.is_paused = matches!(end, SegmentEnd::Paused { .. });
        }
        if self.asking != Asking::Ended {
            self.unshown.push(Seen { segment, end });
            self.asking = Asking::Due;
        }
    }

    /// Asks until no slot is free, or the search waits or has ended. What is recorded comes first: it waited where the
    /// next recorded decision is a later one.
    pub(super) fn ask(&mut self, search: &mut dyn Search, new: &mut Vec<NewDecision>) {
        while self.asking == Asking::Due && self.free_slots() > 0 {
            match self.recorded.front() {
                Some((_, at)) if *at > self.v && !self.under_way.is_empty() => self.asking = Asking::Waits,
                Some(_) => self.repeat_recorded(search),
                None => new.extend(self.decide(search)),
            }
        }
    }

    /// A search that was stopped ends at that moment, whether a slot is free or not.
    fn end_where_it_was_stopped(&mut self, search: &mut dyn Search) {
        if self.recorded.front().is_some_and(|(decision, at)| *decision == Decision::Ended && *at == self.v) {
            self.repeat_recorded(search);
        }
    }

    /// Does once more what the next recorded decision did.
    pub(super) fn repeat_recorded(&mut self, search: &mut dyn Search) {
        let Some((decision, recorded)) = self.recorded.pop_front() else { return };
        if recorded != self.v {
            self.strayed.get_or_insert(Strayed { index: self.decided, recorded, now: self.v });
        }
        search.recall(&decision);
        self.carry_out(&decision);
    }

    fn decide(&mut self, search: &mut dyn Search) -> Option<NewDecision> {
        let seen = std::mem::take(&mut self.unshown);
        let running = StillUnseen { trials: &self.trials, under_way: &self.under_way };
        let mut decision = search.next(self.v, &seen, &running);
        match &decision {
            Decision::Wait if !self.under_way.is_empty() => {
                self.asking = Asking::Waits;
                return None;
            }
            Decision::Wait => {
                debug_assert!(!self.under_way.is_empty(), "the search waits, and nothing is under way");
                decision = Decision::Ended;
            }
            Decision::Continue { trial, .. } if !self.is_paused(*trial) => decision = Decision::Ended,
            Decision::Continue { .. } | Decision::Start { .. } | Decision::Ended => {}
        }
        let (index, v) = (self.decided, self.v);
        let segment = self.carry_out(&decision);
        Some(NewDecision { index, v, decision, segment })
    }

    fn is_paused(&self, trial: TrialId) -> bool {
        self.trials.get(trial.0 as usize).is_some_and(|trial| trial.is_paused)
    }

    /// Counts a decision, and starts the segment that follows from it.
    fn carry_out(&mut self, decision: &Decision) -> Option<Segment> {
        self.decided += 1;
        match decision {
            Decision::Start { configuration, until_epoch, .. } => {
                let epochs = self.costs.epochs(configuration);
                let until_epoch = until_epoch.map_or(epochs.get(), |until_epoch| until_epoch.clamp(1, epochs.get()));
                let replicate = Replicate::first(TrialId(self.trials.len() as u32));
                let newest = Segment { replicate, from_epoch: 0, until_epoch };
                let configuration = configuration.clone();
                self.trials.push(StartedTrial { configuration, epochs, newest, is_paused: false });
                self.begin(newest)
            }
            Decision::Continue { trial, until_epoch } => {
                let started = self.trials.get_mut(trial.0 as usize)?;
                let from_epoch = started.newest.until_epoch;
                let earliest = from_epoch.saturating_add(1);
                let until_epoch = (*until_epoch).clamp(earliest, started.epochs.get().max(earliest));
                started.newest = Segment { from_epoch, until_epoch, ..started.newest };
                started.is_paused = false;
                let newest = started.newest;
                self.begin(newest)
            }
            Decision::Wait => None,
            Decision::Ended => {
                self.asking = Asking::Ended;
                None
            }
        }
    }

    fn begin(&mut self, segment: Segment) -> Option<Segment> {
        let trial = self.trials.get(segment.replicate.trial.0 as usize)?;
        let cost = self.costs.cost(&trial.configuration, segment.from_epoch..segment.until_epoch);
        self.under_way.push(UnderWay { segment, start: self.v, cost, holds_slot: true });
        Some(segment)
    }

    /// Where reports of a segment belong; `None` if its result is seen, or if it will never be decided.
    pub(super) fn reports_of(&mut self, segment: Segment) -> Option<&mut Reports> {
        let Segment { replicate, from_epoch, until_epoch } = segment;
        let is_under_way = self.under_way.iter().any(|under_way| under_way.segment == segment);
        let started = self.trials.get(replicate.trial.0 as usize);
        let is_to_come = started.is_none_or(|trial| from_epoch >= trial.newest.until_epoch);
        let is_possible = replicate == Replicate::first(replicate.trial) && from_epoch < until_epoch;
        let is_awaited = is_possible && (is_under_way || is_to_come);
        self.blocker = self.blocker.filter(|blocker| *blocker != segment);
        is_awaited.then(|| self.reports.entry(segment).or_insert_with(|| Reports::none_of(segment)))
    }
}
