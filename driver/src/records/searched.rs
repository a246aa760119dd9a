//! How the search of a run was asked, if it saw results.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use broadsweep_common::ids::TrialId;
use broadsweep_search::{PrunerKind, SamplerKind, Space, VirtualTime};

use super::attempt::{AttemptEnd, Blame};
use super::run::{RunRecord, TrialOutcome};

/// A search that saw results, and when it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchRecord {
    /// What picked configurations.
    pub sampler: SamplerKind,
    /// From what it picked them.
    pub space: Space,
    /// Why it suits, in words, where the study left it open.
    pub why_chosen: Option<String>,
    /// What kept epochs from some of them.
    pub pruner: PrunerKind,
    /// Segments of trials that were under way at a time.
    pub parallel: u32,
    /// Trials that it starts at most, the control and starting points among them.
    pub trials_max: u64,
    /// Whether it may end before, by the study's `stop`.
    pub may_stop: bool,
    /// Whether results counted as they came.
    pub is_asynchronous: bool,
    /// Whether a trial gives the same numbers wherever and however often it is trained.
    pub is_deterministic: bool,
    /// From the end of a segment to the moment at which its result was seen, in the unit of the trials' costs; `None` of a
    /// study that has not run, and of runs that did not write it down.
    pub lag: Option<NonZeroU64>,
    /// What it decided so far, in order; nothing of a study that has not run.
    pub steps: Vec<SearchStep>,
}

/// A decision of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchStep {
    /// When, by the search's own clock.
    pub v: VirtualTime,
    /// What.
    pub act: SearchAct,
}

/// What a search decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchAct {
    /// A new trial.
    Start {
        /// Its number.
        trial: TrialId,
        /// The epoch at which it pauses, if it does.
        until_epoch: Option<u32>,
    },
    /// A trial that had paused is trained on.
    Continue {
        /// Which one.
        trial: TrialId,
        /// Where it pauses next.
        until_epoch: u32,
    },
    /// Nothing more is decided.
    Ended,
}

impl SearchStep {
    /// The trial that is trained because of it, and the epoch at which it pauses, if it does.
    #[must_use]
    pub fn trains(&self) -> Option<(TrialId, Option<u32>)> {
        match self.act {
            SearchAct::Start { trial, until_epoch } => Some((trial, until_epoch)),
            SearchAct::Continue { trial, until_epoch } => Some((trial, Some(until_epoch))),
            SearchAct::Ended => None,
        }
    }
}

impl SearchRecord {
    /// Whether it decides nothing more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.steps.last().is_some_and(|step| step.act == SearchAct::Ended)
    }
}

impl RunRecord {
    /// The trials that were given up for what their executors did, or for time that passed: on another cluster they may
    /// have had a result, and the search would have seen it.
    #[must_use]
    pub fn disturbed_by(&self) -> Vec<TrialId> {
        // Of each trial, whether its last attempt ended so, or any of them hung: a program is blamed for that, but the time
        // is the machine's.
        let mut ended: BTreeMap<TrialId, (bool, bool)> = BTreeMap::new();
        for attempt in &self.attempts {
            let Some((trial, end)) = self.trained_by(attempt.attempt.task).zip(attempt.end.as_ref()) else {
                continue;
            };
            let (is_last, has_hung) = ended.entry(trial.trial).or_default();
            *is_last = end.blames() != Blame::Program;
            *has_hung |= matches!(end, AttemptEnd::Hung { .. });
        }
        let given_up = self.trials.iter().filter(|trial| matches!(trial.outcome, TrialOutcome::GivenUp { .. }));
        // One that was never launched could not be trained anywhere.
        let is_disturbed =
            |trial: &TrialId| ended.get(trial).is_some_and(|(is_last, has_hung)| *is_last || *has_hung);
        given_up.map(|trial| trial.trial).filter(is_disturbed).collect()
    }

    /// Whether the same study makes the same decisions on any cluster; `None` of a search that sees no results, which
    /// does so whatever happens, unless somebody stops it or asks for more.
    #[must_use]
    pub fn is_reproducible(&self) -> Option<bool> {
        if !self.changes.is_empty() {
            return Some(false); // somebody, or a clock, decided something
        }
        let search = self.search.as_ref()?;
        let is_as_decided = !self.is_suspect() && self.disturbed_by().is_empty();
        Some(!search.is_asynchronous && search.is_deterministic && is_as_decided)
    }
}
