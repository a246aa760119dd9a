//! What people, or the clock, changed about a run after it began.

use serde::{Deserialize, Serialize};

/// A change: what a run of the study would not have done by itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ChangeRecord {
    /// Nothing more was begun from then on; what was under way was trained on.
    Stopped {
        /// Who ended it.
        by: StoppedBy,
        /// Seconds from the run's start.
        at_s: f64,
    },
    /// More trials were asked for than the study has.
    Extended {
        /// How many more.
        trials: u32,
        /// What `trials` of the study's sampler is from then on, if it picks more for them.
        picks: Option<u32>,
        /// Seconds from the run's start.
        at_s: f64,
    },
}

/// Who ended a run before its search did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoppedBy {
    /// Somebody, with `broadsweep stop`.
    Somebody,
    /// The study's `max_time`.
    MaxTime,
}

/// What `trials` of the study's sampler is after these changes, if that is another number than the study says.
#[must_use]
pub fn picks_after(changes: &[ChangeRecord]) -> Option<u32> {
    changes.iter().rev().find_map(|change| match change {
        ChangeRecord::Extended { picks, .. } => *picks,
        ChangeRecord::Stopped { .. } => None,
    })
}

/// Who ended the run, unless it was extended after that.
#[must_use]
pub fn stopped_by(changes: &[ChangeRecord]) -> Option<StoppedBy> {
    match changes.last()? {
        ChangeRecord::Stopped { by, .. } => Some(*by),
        ChangeRecord::Extended { .. } => None,
    }
}

/// Whether somebody asked for more trials.
#[must_use]
pub fn is_extended(changes: &[ChangeRecord]) -> bool {
    changes.iter().any(|change| matches!(change, ChangeRecord::Extended { .. }))
}
