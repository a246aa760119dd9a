//! The search of a run, and what was changed about it, as `summary.json` tells them.

use serde::Serialize;

use crate::records::change::{ChangeRecord, StoppedBy};
use crate::records::run::RunRecord;
use crate::records::searched::SearchRecord;

/// A search that saw results, and whether another cluster would decide the same.
#[derive(Serialize)]
pub(super) struct SearchSummary<'a> {
    sampler: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_chosen: Option<&'a str>,
    pruner: &'static str,
    parallel: u32,
    asynchronous: bool,
    reproducible: bool,
    /// Trials that were given up for what their executors did.
    disturbed_by: Vec<u32>,
}

impl<'a> SearchSummary<'a> {
    pub(super) fn of(run: &RunRecord, search: &'a SearchRecord) -> Self {
        Self {
            sampler: search.sampler.word(),
            why_chosen: search.why_chosen.as_deref(),
            pruner: search.pruner.word(),
            parallel: search.parallel,
            asynchronous: search.is_asynchronous,
            reproducible: run.is_reproducible().unwrap_or(true),
            disturbed_by: run.disturbed_by().into_iter().map(|trial| trial.0).collect(),
        }
    }
}

/// What somebody, or the study's `max_time`, changed about the run.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChangeSummary {
    Stopped { by_max_time: bool, at_s: f64 },
    Extended { trials: u32, at_s: f64 },
}

impl ChangeSummary {
    pub(super) fn of(change: &ChangeRecord) -> Self {
        match *change {
            ChangeRecord::Stopped { by, at_s } => Self::Stopped { by_max_time: by == StoppedBy::MaxTime, at_s },
            ChangeRecord::Extended { trials, at_s, .. } => Self::Extended { trials, at_s },
        }
    }
}
