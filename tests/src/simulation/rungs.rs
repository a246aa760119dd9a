//! A search that is decided while its run goes on: trials pause at rungs, and most of them are continued, wherever there
//! is a slot by then. What each trial ends with does not depend on the order in which that happens.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, Mutex};

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::ids::TrialId;
use broadsweep_common::task::Segment;
use broadsweep_search::{
    Decision, Origin, PlannedCosts, Running, Search, SearchClock, Seen, SegmentEnd, Timeline, VirtualTime,
};

/// Where the trials of a world pause.
#[derive(Clone, Debug, Default)]
pub(super) struct Ladder {
    /// Of each trial, the epochs after which it pauses, in order. Empty if the world's search sees nothing.
    pub(super) rungs: Vec<Vec<u32>>,
    /// Of each trial, whether nobody continues it.
    pub(super) abandoned: Vec<bool>,
    /// Trials that are under way at a time.
    pub(super) open_max: usize,
    /// Whether the first trial is the control.
    pub(super) has_control: bool,
    /// From the end of a segment to the moment at which it is seen, where moments are virtual; `None` where results count
    /// as they come.
    pub(super) lag: Option<NonZeroU64>,
}

impl Ladder {
    /// The last epoch that a trial is trained to, if it is not its own last one.
    pub(super) fn last_epoch(&self, trial: usize) -> Option<u32> {
        let is_abandoned = self.abandoned.get(trial).copied().unwrap_or_default();
        self.rungs.get(trial).and_then(|rungs| rungs.first().copied()).filter(|_| is_abandoned)
    }

    /// The epochs after which a trial pauses and is continued.
    pub(super) fn continued_at(&self, trial: usize) -> Vec<u32> {
        let is_abandoned = self.abandoned.get(trial).copied().unwrap_or_default();
        self.rungs.get(trial).filter(|_| !is_abandoned).cloned().unwrap_or_default()
    }

    /// When its search is asked.
    pub(super) fn timeline<'a>(&self, costs: Box<dyn PlannedCosts + 'a>) -> Timeline<'a> {
        match self.lag {
            None => Timeline::new(SearchClock::Arrivals, NonZeroU32::MAX, costs),
            Some(lag) => {
                let slots = NonZeroU32::new(self.open_max as u32).unwrap_or(NonZeroU32::MIN);
                Timeline::new(SearchClock::Virtual { lag }, slots, costs)
            }
        }
    }

    /// What is decided where each segment ends like this: at each moment all ends are told, the last one first.
    pub(super) fn undisturbed(
        self: &Arc<Self>,
        costs: Box<dyn PlannedCosts + '_>,
        end: impl Fn(Segment) -> SegmentEnd,
    ) -> Vec<(VirtualTime, Decision)> {
        let (log, mut timeline) = (Arc::new(DecisionLog::default()), self.timeline(costs));
        let mut search = Rungs::new(Arc::clone(self), Arc::clone(&log));
        while !timeline.is_over() {
            timeline.advance(&mut search);
            let open: Vec<_> = timeline.open().collect();
            open.into_iter().rev().for_each(|segment| timeline.ended(segment, end(segment)));
        }
        log.made()
    }

    /// Whether trials pause here.
    pub(super) fn is_used(&self) -> bool {
        !self.rungs.is_empty()
    }
}

/// What the drivers of a run decided. Where moments are virtual, what is decided anew, since it was not safe when a driver
/// ended, has to be the same.
#[derive(Default)]
pub(super) struct DecisionLog {
    made: Mutex<Vec<(VirtualTime, Decision)>>,
    strayed: Mutex<Vec<String>>,
}

impl DecisionLog {
    fn note(&self, index: usize, v: VirtualTime, decision: &Decision) {
        let mut made = self.made.lock().unwrap();
        match made.get(index) {
            None => made.push((v, decision.clone())),
            Some(before) if *before == (v, decision.clone()) => {}
            Some(before) => {
                let strayed = format!("decision {index} was {before:?}, and now it is {decision:?} at {v:?}");
                self.strayed.lock().unwrap().push(strayed);
            }
        }
    }

    /// In order, each with its moment.
    pub(super) fn made(&self) -> Vec<(VirtualTime, Decision)> {
        self.made.lock().unwrap().clone()
    }

    /// What was decided otherwise by a later driver.
    pub(super) fn strayed(&self) -> Vec<String> {
        self.strayed.lock().unwrap().clone()
    }
}

/// The search of one driver.
pub(super) struct Rungs {
    ladder: Arc<Ladder>,
    log: Arc<DecisionLog>,
    /// Decisions so far, those of earlier drivers among them.
    decided: usize,
    started: usize,
    open: usize,
    /// How often each trial was continued.
    continued: Vec<usize>,
    /// Trials that have paused, in the order in which they did.
    paused: VecDeque<usize>,
}

impl Rungs {
    pub(super) fn new(ladder: Arc<Ladder>, log: Arc<DecisionLog>) -> Self {
        let continued = vec![0; ladder.rungs.len()];
        Self { ladder, log, decided: 0, started: 0, open: 0, continued, paused: VecDeque::new() }
    }

    fn answer(&mut self) -> Decision {
        if let Some(trial) = self.paused.pop_front() {
            self.continued[trial] += 1;
            let until_epoch = self.ladder.rungs[trial].get(self.continued[trial]).copied().unwrap_or(u32::MAX);
            return Decision::Continue { trial: TrialId(trial as u32), until_epoch };
        }
        if self.started < self.ladder.rungs.len() && self.open < self.ladder.open_max {
            let number = self.started;
            self.started += 1;
            self.open += 1;
            let configuration = Configuration::from_iter([("n", Value::Integer(number as i64))]);
            let until_epoch = self.ladder.rungs[number].first().copied();
            let is_control = number == 0 && self.ladder.has_control;
            let origin = if is_control { Origin::Control } else { Origin::Point(number as u64) };
            return Decision::Start { configuration, origin, until_epoch };
        }
        if self.open == 0 { Decision::Ended } else { Decision::Wait }
    }

    fn see(&mut self, seen: &Seen) {
        let trial = seen.segment.replicate.trial.0 as usize;
        match seen.end {
            SegmentEnd::Paused { .. } => {
                let rungs = &self.ladder.rungs[trial];
                let rung = rungs.iter().position(|rung| *rung == seen.segment.until_epoch).unwrap();
                if self.ladder.abandoned[trial] {
                    self.open -= 1;
                } else if self.continued[trial] == rung {
                    self.paused.push_back(trial);
                }
            }
            SegmentEnd::Finished { .. } | SegmentEnd::Diverged { .. } | SegmentEnd::GivenUp => self.open -= 1,
        }
    }
}

impl Search for Rungs {
    fn next(&mut self, v: VirtualTime, seen: &[Seen], _: &dyn Running) -> Decision {
        for seen in seen {
            self.see(seen);
        }
        let decision = self.answer();
        if decision != Decision::Wait {
            self.log.note(self.decided, v, &decision);
            self.decided += 1;
        }
        decision
    }

    fn recall(&mut self, decision: &Decision) {
        self.decided += 1;
        match decision {
            Decision::Start { .. } => {
                self.started += 1;
                self.open += 1;
            }
            Decision::Continue { trial, .. } => self.continued[trial.0 as usize] += 1,
            Decision::Wait | Decision::Ended => {}
        }
    }
}
