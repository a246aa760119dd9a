//! What a search answers, and what it is shown.

use broadsweep_common::configuration::Configuration;
use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::Metrics;
use broadsweep_common::task::Segment;
use serde::{Deserialize, Serialize};

/// The moment at which a decision is made, by the search's own clock: a whole number that never goes back. What is
/// decided before any result is seen is decided at 0; a search that goes by the order of arrival counts the results
/// that it was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VirtualTime(pub u64);

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Train a new trial. Trials are numbered in the order in which they are started.
    Start {
        /// Its values.
        configuration: Configuration,
        /// Where they are from.
        origin: Origin,
        /// The epoch at which it pauses; `None` to train it to its end.
        until_epoch: Option<u32>,
    },
    /// Train on a trial that has paused.
    Continue {
        /// Which one.
        trial: TrialId,
        /// Where it pauses next; its last epoch, or one beyond it, to train it to its end.
        until_epoch: u32,
    },
    /// Nothing, until another result is seen.
    Wait,
    /// Nothing any more.
    Ended,
}

/// Where a configuration is from. A sampler that is told of it knows where it stood. The journal keeps these by their
/// order here: a new one is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The study gives it: the default that the search is compared with.
    Control,
    /// The grid's point of this number, counted from 0.
    Point(u64),
    /// The draw of this number, counted from 0: draws that repeat an earlier one are skipped. Where the sampler learns from
    /// results, how many trials were started before.
    Draw(u64),
    /// The study's starting point of this number, counted from 0.
    Initial(u64),
}

impl Origin {
    /// Whether the study gives the configuration, and no sampler picks it.
    #[must_use]
    pub fn is_given(self) -> bool {
        match self {
            Self::Control | Self::Initial(_) => true,
            Self::Point(_) | Self::Draw(_) => false,
        }
    }
}

/// A segment that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Which one.
    pub segment: Segment,
    /// How.
    pub end: SegmentEnd,
}

/// How a segment ended.
#[derive(Clone, Debug, PartialEq)]
pub enum SegmentEnd {
    /// The trial is trained to its end, or as far as early stop allowed.
    Finished {
        /// The epoch that counts.
        epoch: u32,
        /// What was measured at it.
        metrics: Metrics,
    },
    /// The trial has paused, and can be continued.
    Paused {
        /// The epoch after which it did.
        epoch: u32,
        /// What was measured at it.
        metrics: Metrics,
    },
    /// A loss was NaN or infinite.
    Diverged {
        /// In this epoch.
        epoch: u32,
    },
    /// It has no result: its program failed, or its executors were lost, too often.
    GivenUp,
}

/// A trial that is under way.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningTrial<'a> {
    /// What is trained of it.
    pub segment: Segment,
    /// Its values.
    pub configuration: &'a Configuration,
}

/// The trials that are under way: decided, and not seen to have ended.
pub trait Running {
    /// Each of them, in the order in which they were decided.
    fn trials(&self) -> Box<dyn Iterator<Item = RunningTrial<'_>> + '_>;
}

/// Nothing is under way.
impl Running for () {
    fn trials(&self) -> Box<dyn Iterator<Item = RunningTrial<'_>> + '_> {
        Box::new(std::iter::empty())
    }
}

/// Decides what is trained, one decision at a time.
pub trait Search: Send {
    /// What is to be done at `v`. `seen` holds what was not shown before, in the order in which it counts; `running` is
    /// what else is known. After [`Decision::Ended`] it answers that again.
    fn next(&mut self, v: VirtualTime, seen: &[Seen], running: &dyn Running) -> Decision;

    /// A decision that was made under an earlier driver. All of them come first, in order; the first question after them
    /// shows every result so far, those on which these decisions rest among them.
    fn recall(&mut self, decision: &Decision);
}
