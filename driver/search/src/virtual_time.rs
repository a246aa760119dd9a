//! When a search is asked, and what it has seen by then: the order in virtual time, in which reports change no decision
//! by when they come. It knows no executors and no measured times; whoever drives a run tells it what is reported, and
//! writes down what it decides.
//!
//! A segment that starts at S and is planned to cost c ends at P = S + c. One that diverges or stops early in an epoch
//! whose virtual end is E < P is cut there. With the lag L, its slot is free at P, or at min(P, E + L) if it was cut, and
//! its result is seen at P + L, or E + L. One that is given up is free at P and seen at P + L. At each moment first the
//! results that are due are seen, in the order of their segments; then the slots that are due become free; then the
//! search is asked until it has no free slot or waits. Nothing happens at a moment before all is known of each epoch
//! that ends a lag earlier: the segment of which that is missing is the blocker.
//!
//! Moments stop at the largest whole number. A study that gets there goes on one round after the other.

mod advancing;
mod arrivals;
mod lag;
#[cfg(test)]
mod tests;
mod under_way;

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::task::Segment;

use crate::decision::{Decision, Search, Seen, SegmentEnd, VirtualTime};
use under_way::{Reports, UnderWay};

pub use lag::{LAG_DRAWS, lag};
pub use under_way::EpochEnd;

/// What trials are planned to take, from the study alone: never measured, and the same under every driver of a run.
pub trait PlannedCosts: Send {
    /// Epochs of a trial that is trained to its end.
    fn epochs(&self, configuration: &Configuration) -> NonZeroU32;

    /// The cost of training from the epoch after `epochs.start` up to `epochs.end`, in any unit that is the same for all
    /// trials of the study.
    fn cost(&self, configuration: &Configuration, epochs: Range<u32>) -> NonZeroU64;
}

/// By what the moments of a search are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchClock {
    /// By planned costs: the same decisions on any cluster.
    Virtual {
        /// From the end of a segment to the moment at which its result is seen, in the unit of the costs.
        lag: NonZeroU64,
    },
    /// By results, in the order in which they come: each is seen at once, and its slot is free at once.
    Arrivals,
}

/// A decision that was not made before.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDecision {
    /// Its number; decisions count from 0, waiting is none.
    pub index: u32,
    /// When it was made.
    pub v: VirtualTime,
    /// What was decided; never [`Decision::Wait`].
    pub decision: Decision,
    /// What is to be trained because of it: the first repeat and fold of its trial.
    pub segment: Option<Segment>,
}

/// A recorded decision whose moment is another one now: something that the order rests on has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strayed {
    /// Its number.
    pub index: u32,
    /// When it was made.
    pub recorded: VirtualTime,
    /// When it would be made now.
    pub now: VirtualTime,
}

/// A trial that was started.
struct StartedTrial {
    configuration: Configuration,
    epochs: NonZeroU32,
    newest: Segment,
    /// Whether it was seen to have paused, and nobody has continued it since.
    is_paused: bool,
}

/// Whether the search is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    /// As soon as a slot is free.
    Due,
    /// Once the next result is seen.
    Waits,
    /// Not any more.
    Ended,
}

/// What was decided when, and what is known of it: asks a search as the rule above has it.
pub struct Timeline<'a> {
    clock: SearchClock,
    slots: NonZeroU32,
    costs: Box<dyn PlannedCosts + 'a>,
    v: VirtualTime,
    /// Decisions of earlier drivers whose moment has not come.
    recorded: VecDeque<(Decision, VirtualTime)>,
    /// How many decisions have been made, recorded ones among them.
    decided: u32,
    trials: Vec<StartedTrial>,
    /// In the order in which they were decided.
    under_way: Vec<UnderWay>,
    /// Of segments that are under way, or that recorded decisions will start.
    reports: BTreeMap<Segment, Reports>,
    /// Segments that have ended and count by the order of arrival, in that order.
    arrived: VecDeque<Segment>,
    /// What the search has to be shown at the next question.
    unshown: Vec<Seen>,
    asking: Asking,
    /// Nothing happens before something of it is reported, whatever is reported of others.
    blocker: Option<Segment>,
    strayed: Option<Strayed>,
}

impl<'a> Timeline<'a> {
    /// A timeline on which nothing is decided, with so many virtual slots: the study's `parallel`.
    #[must_use]
    pub fn new(clock: SearchClock, slots: NonZeroU32, costs: Box<dyn PlannedCosts + 'a>) -> Self {
        Self {
            clock,
            slots,
            costs,
            v: VirtualTime::default(),
            recorded: VecDeque::new(),
            decided: 0,
            trials: Vec::new(),
            under_way: Vec::new(),
            reports: BTreeMap::new(),
            arrived: VecDeque::new(),
            unshown: Vec::new(),
            asking: Asking::Due,
            blocker: None,
            strayed: None,
        }
    }

    /// A decision that was made under an earlier driver, and when. All of them come in order, before the first
    /// [`Self::advance`]; reports come before or after, in any order that keeps those of one segment.
    pub fn recall(&mut self, decision: Decision, at: VirtualTime) {
        self.recorded.push_back((decision, at));
    }

    /// An epoch of a segment has ended, counted from 1. Earlier ones that were not told of have ended, too. What was told
    /// before changes nothing, nor does what contradicts it.
    pub fn told(&mut self, segment: Segment, epoch: u32, end: EpochEnd) {
        if epoch > segment.from_epoch
            && epoch <= segment.until_epoch
            && let Some(reports) = self.reports_of(segment)
        {
            reports.told(epoch, end);
        }
    }

    /// A segment has its result, the first one that is told of. One that stopped early was told of with [`Self::told`]
    /// before: otherwise it counts as trained to its last epoch.
    pub fn ended(&mut self, segment: Segment, end: SegmentEnd) {
        let is_first = self.reports_of(segment).is_some_and(|reports| reports.ended(end));
        if is_first && self.clock == SearchClock::Arrivals {
            self.arrived.push_back(segment);
        }
    }

    /// A segment will have no result.
    pub fn gave_up(&mut self, segment: Segment) {
        self.ended(segment, SegmentEnd::GivenUp);
    }

    /// Goes on as far as the reports allow. Returns what was decided on the way, in order; what was recalled is not
    /// among it.
    ///
    /// A search that continues a trial that has not paused has ended: it would answer the same again, and for ever.
    ///
    /// # Panics
    /// With debug assertions, if the search waits while nothing is under way; without, it has ended then.
    pub fn advance(&mut self, search: &mut dyn Search) -> Vec<NewDecision> {
        match self.clock {
            SearchClock::Virtual { lag } => self.advance_virtually(lag, search),
            SearchClock::Arrivals => self.advance_by_arrivals(search),
        }
    }

    /// Somebody ends the search where it stands, once the recorded decisions are done: from the next [`Self::advance`] on
    /// nothing more is decided. Returns what is to be written down, so that a later driver ends there, too; nothing if the
    /// search has ended by itself.
    pub fn stop(&mut self) -> Option<NewDecision> {
        let last = self.recorded.back();
        let is_ended = self.has_ended() || last.is_some_and(|(decision, _)| *decision == Decision::Ended);
        if is_ended {
            return None;
        }
        let v = last.map_or(self.v, |(_, at)| *at);
        let index = self.decided + self.recorded.len() as u32;
        self.recorded.push_back((Decision::Ended, v));
        Some(NewDecision { index, v, decision: Decision::Ended, segment: None })
    }

    /// The segment of which more has to be reported before the search decides anything else: of several the one that
    /// is needed first. Nobody once the search has ended, and nobody where results count as they come. It is known after
    /// [`Self::advance`], until something is reported of it.
    #[must_use]
    pub fn blocker(&self) -> Option<Segment> {
        self.blocker.filter(|_| !self.has_ended())
    }

    /// The moment up to which all is decided.
    #[must_use]
    pub fn v(&self) -> VirtualTime {
        self.v
    }

    /// Whether the search decides nothing more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.asking == Asking::Ended
    }

    /// Whether the search has ended and everything that it decided is seen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.has_ended() && self.under_way.is_empty()
    }

    /// The first recorded decision that did not come at its recorded moment: then the journal is of another study, or of
    /// another version of the search.
    #[must_use]
    pub fn strayed(&self) -> Option<Strayed> {
        self.strayed
    }

    /// Segments that can be worked on, in the order in which they were decided: their end was not told of.
    pub fn open(&self) -> impl Iterator<Item = Segment> {
        let is_open = |segment: &Segment| self.reports.get(segment).is_none_or(|reports| reports.result.is_none());
        self.under_way.iter().map(|under_way| under_way.segment).filter(is_open)
    }

    /// How many of `real_slots` slots have nothing to do, since no more is decided yet. It is 0 after the search has
    /// ended: a higher `parallel` would not help then.
    #[must_use]
    pub fn idle_slots(&self, real_slots: u32) -> u32 {
        let open = u32::try_from(self.open().count()).unwrap_or(u32::MAX);
        if self.has_ended() { 0 } else { real_slots.saturating_sub(open) }
    }

    /// By what its moments are counted.
    #[must_use]
    pub fn clock(&self) -> SearchClock {
        self.clock
    }

    /// Its virtual slots: what was begun with.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots.get()
    }

    /// Virtual slots that hold nothing, for the search waits or has ended.
    #[must_use]
    pub fn free_slots(&self) -> u32 {
        let held = self.under_way.iter().filter(|under_way| under_way.holds_slot).count();
        self.slots.get().saturating_sub(u32::try_from(held).unwrap_or(u32::MAX))
    }
}
