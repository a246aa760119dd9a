//! What executors are judged by: who made progress lately, and whose last attempts all failed.

use std::collections::BTreeSet;

use broadsweep_common::ids::ExecutorId;

use super::moment::Moment;

/// Who made progress lately, and who is only not excluded because nobody else did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// The last executor that completed something or made an epoch.
    last: Option<(ExecutorId, Moment)>,
    /// The last one before it that is another.
    last_other: Option<(ExecutorId, Moment)>,
    /// Executors whose last attempts all failed.
    pub(super) suspects: BTreeSet<ExecutorId>,
}

impl Evidence {
    /// An executor completed something or made an epoch.
    pub(super) fn add_progress(&mut self, executor: ExecutorId, now: Moment) {
        if self.last.is_some_and(|(last, _)| last != executor) {
            self.last_other = self.last;
        }
        self.last = Some((executor, now));
    }

    /// Whether another executor made progress at `since` or later.
    pub(super) fn has_progress_elsewhere(&self, executor: ExecutorId, since: Moment) -> bool {
        let others = [self.last, self.last_other].into_iter().flatten().filter(|&(other, _)| other != executor);
        others.into_iter().any(|(_, time)| time >= since)
    }

    pub(super) fn forget_suspect(&mut self, executor: ExecutorId) {
        self.suspects.remove(&executor);
    }
}
