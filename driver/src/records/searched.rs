//! How the search of a run was asked, if it saw results.

use broadsweep_common::ids::TrialId;

use super::attempt::{AttemptEnd, Blame};
use super::run::{RunRecord, TrialOutcome};

/// A search that saw results, and when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchRecord {
    /// What picked configurations.
    pub sampler: &'static str,
    /// Why it suits, in words, where the study left it open.
    pub why_chosen: Option<String>,
    /// What kept epochs from some of them.
    pub pruner: &'static str,
    /// Segments of trials that were under way at a time.
    pub parallel: u32,
    /// Whether results counted as they came.
    pub is_asynchronous: bool,
    /// Whether a trial gives the same numbers wherever and however often it is trained.
    pub is_deterministic: bool,
}

impl RunRecord {
    /// The trials that were given up for what their executors did: on another cluster they may have had a result, and
    /// the search would have seen it.
    #[must_use]
    pub fn disturbed_by(&self) -> Vec<TrialId> {
        let given_up = self.trials.iter().filter(|trial| matches!(trial.outcome, TrialOutcome::GivenUp { .. }));
        let is_of_cluster = |trial: &TrialId| {
            let is_its = |task| self.trained_by(task).is_some_and(|trained| trained.trial == *trial);
            let last = self.attempts.iter().rfind(|attempt| is_its(attempt.attempt.task));
            // One that was never launched could not be trained anywhere.
            let end = last.and_then(|attempt| attempt.end.as_ref());
            end.is_some_and(|end: &AttemptEnd| end.blames() != Blame::Program)
        };
        given_up.map(|trial| trial.trial).filter(is_of_cluster).collect()
    }

    /// Whether the same study makes the same decisions on any cluster; `None` of a search that sees no results, which
    /// does so whatever happens.
    #[must_use]
    pub fn is_reproducible(&self) -> Option<bool> {
        let search = self.search.as_ref()?;
        Some(!search.is_asynchronous && search.is_deterministic && self.disturbed_by().is_empty())
    }
}
