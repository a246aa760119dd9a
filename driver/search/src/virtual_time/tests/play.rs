//! A play of real executors, for tests: they report in any order, some things twice, and their driver is killed now and
//! then.

use std::collections::{BTreeMap, VecDeque};

use broadsweep_common::task::Segment;

use super::toy::{Reported, Toy, ToySearch, drawn};
use crate::virtual_time::{NewDecision, SearchClock, Timeline};

/// How the real world goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) real_slots: usize,
    /// Of 100 reports, after so many the driver is killed.
    pub(super) kills: u64,
    /// Of 100 reports, so many are followed by one that was told before.
    pub(super) repeats: u64,
}

/// A run: a driver, its journal, and executors at work.
pub(super) struct Play {
    toy: Toy,
    world: World,
    clock: SearchClock,
    /// How often chance was asked.
    throws: u64,
    pub(super) timeline: Timeline<'static>,
    search: ToySearch,
    /// The journal: what was decided, and what was reported.
    pub(super) decisions: Vec<NewDecision>,
    reports: Vec<(Segment, Reported)>,
    /// How much of each segment was reported.
    progress: BTreeMap<Segment, usize>,
    /// What the real slots are at work on.
    held: Vec<Segment>,
}

impl Play {
    pub(super) fn new(toy: Toy, clock: SearchClock, world: World) -> Self {
        Self {
            toy,
            world,
            clock,
            throws: 0,
            timeline: toy.timeline(clock),
            search: toy.search(),
            decisions: Vec::new(),
            reports: Vec::new(),
            progress: BTreeMap::new(),
            held: Vec::new(),
        }
    }

    fn chance(&mut self, below: u64) -> u64 {
        self.throws += 1;
        drawn((self.world.seed, self.throws)) % below.max(1)
    }

    pub(super) fn advance(&mut self) {
        self.decisions.extend(self.timeline.advance(&mut self.search));
        if matches!(self.clock, SearchClock::Virtual { .. }) && !self.timeline.has_ended() {
            let blocker = self.timeline.blocker().expect("nothing is decided, and nobody is waited for");
            assert!(self.timeline.open().any(|open| open == blocker), "{blocker:?} has ended");
        }
    }

    pub(super) fn tell(&mut self, segment: Segment, report: Reported) {
        match report {
            Reported::Epoch(epoch, end) => self.timeline.told(segment, epoch, end),
            Reported::End(end) => self.timeline.ended(segment, end),
        }
    }

    /// The next report of a segment, if it has one left; says whether it had.
    pub(super) fn report(&mut self, segment: Segment) -> bool {
        let done = self.progress.entry(segment).or_default();
        let Some(report) = self.toy.reports(segment).get(*done).cloned() else { return false };
        *done += 1;
        self.reports.push((segment, report.clone()));
        self.tell(segment, report);
        true
    }

    /// Goes on until all is over; returns what was decided.
    pub(super) fn decide_all(mut self) -> Vec<NewDecision> {
        self.advance();
        while !self.timeline.is_over() {
            let open: Vec<_> = self.timeline.open().collect();
            let new: Vec<_> = open.iter().filter(|open| !self.held.contains(open)).copied().collect();
            let idle = self.world.real_slots.saturating_sub(self.held.len());
            self.held.extend(new.into_iter().take(idle));
            assert!(!self.held.is_empty(), "nothing is left to do, and yet it is not over");
            let place = self.chance(self.held.len() as u64) as usize;
            let segment = self.held[place];
            if !self.report(segment) {
                self.held.remove(place);
            }
            if self.chance(100) < self.world.repeats {
                self.repeat_a_report();
            }
            if self.held.is_empty() || self.chance(2) == 0 {
                self.advance();
            }
            if self.chance(100) < self.world.kills {
                self.kill_and_resume();
            }
        }
        self.decisions
    }

    fn repeat_a_report(&mut self) {
        let place = self.chance(self.reports.len() as u64) as usize;
        if let Some((segment, report)) = self.reports.get(place).cloned() {
            self.tell(segment, report);
        }
    }

    /// Another driver: it is told the decisions, perhaps without the last ones, and all reports in another order.
    fn kill_and_resume(&mut self) {
        self.timeline = self.toy.timeline(self.clock);
        self.search = self.toy.search();
        if self.chance(2) == 0 && matches!(self.clock, SearchClock::Virtual { .. }) {
            let kept = self.chance(self.decisions.len() as u64 + 1) as usize;
            self.decisions.truncate(kept);
        }
        for NewDecision { decision, v, .. } in &self.decisions {
            self.timeline.recall(decision.clone(), *v);
        }
        let is_in_order = matches!(self.clock, SearchClock::Arrivals);
        let reports = if is_in_order { self.reports.clone() } else { self.shuffled_reports() };
        for (segment, report) in reports {
            self.tell(segment, report);
            if self.chance(8) == 0 && matches!(self.clock, SearchClock::Virtual { .. }) {
                self.advance();
            }
        }
        self.advance();
        assert_eq!(self.timeline.strayed(), None);
    }

    /// All that was reported, in another order: only that of each segment is kept.
    fn shuffled_reports(&mut self) -> Vec<(Segment, Reported)> {
        let mut of_segment: BTreeMap<Segment, VecDeque<Reported>> = BTreeMap::new();
        for (segment, report) in &self.reports {
            of_segment.entry(*segment).or_default().push_back(report.clone());
        }
        let mut turns: Vec<_> = self.reports.iter().map(|(segment, _)| *segment).zip(0..).collect();
        let order = self.chance(u64::MAX);
        turns.sort_by_key(|turn| drawn((order, turn)));
        let next = |(segment, _)| Some((segment, of_segment.get_mut(&segment)?.pop_front()?));
        turns.into_iter().filter_map(next).collect()
    }
}
