//! How many trials, or partitions of an input, ended in which way.

use broadsweep_common::ids::Digest;

use super::run::{RunRecord, TrialOutcome};

/// How many trials ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All trials.
    pub planned: usize,
    /// With a result.
    pub finished: usize,
    /// Given up.
    pub failed: usize,
    /// With a loss that was NaN or infinite.
    pub diverged: usize,
    /// Trained in part, and not continued, at least so far.
    pub paused: usize,
    /// Not ended: the run was interrupted before, or goes on.
    pub not_run: usize,
    /// Not begun, since the run was stopped.
    pub left_out: usize,
}

impl Counts {
    /// Those that something came of, if only that they were given up.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.planned - self.not_run - self.left_out
    }
}

/// Partitions of an input that a model is applied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionCounts {
    /// All of them.
    pub planned: usize,
    /// Whose answers are safe.
    pub applied: usize,
    /// That were tried as often as they may be.
    pub given_up: usize,
    /// Names what came out of all of them, in their order, once all are applied.
    pub outputs: Option<Digest>,
}

impl PartitionCounts {
    fn as_counts(self) -> Counts {
        let Self { planned, applied, given_up, outputs: _ } = self;
        Counts {
            planned,
            finished: applied,
            failed: given_up,
            not_run: planned - applied - given_up,
            ..Counts::default()
        }
    }
}

impl RunRecord {
    /// Whether it trains trials; otherwise it applies a model to partitions.
    #[must_use]
    pub fn trains(&self) -> bool {
        self.partitions.planned == 0 || !self.trials.is_empty()
    }

    /// What it counts.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        if self.trains() { "trial" } else { "partition" }
    }

    /// How many trials ended in which way; of a run that applies a model, how many partitions.
    #[must_use]
    pub fn counts(&self) -> Counts {
        if !self.trains() {
            return self.partitions.as_counts();
        }
        let mut counts = Counts { planned: self.trials.len(), ..Counts::default() };
        for trial in &self.trials {
            match trial.outcome {
                TrialOutcome::Finished { .. } => counts.finished += 1,
                TrialOutcome::Diverged { .. } => counts.diverged += 1,
                TrialOutcome::GivenUp { .. } => counts.failed += 1,
                TrialOutcome::Paused { .. } => counts.paused += 1,
                TrialOutcome::NotRun => counts.not_run += 1,
                TrialOutcome::LeftOut => counts.left_out += 1,
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixtures::{not_run, run};

    #[test]
    fn a_run_counts_its_trials_unless_it_has_partitions_alone() {
        let partitions = PartitionCounts { planned: 7, applied: 4, given_up: 1, outputs: None };
        let applying = RunRecord { partitions, ..run(Vec::new()) };
        let counts = applying.counts();
        assert_eq!((counts.planned, counts.finished, counts.failed, counts.not_run, counts.ended()), (7, 4, 1, 2, 5));
        assert_eq!((applying.trains(), applying.noun()), (false, "partition"));
        let both = RunRecord { partitions, ..run(vec![not_run(0)]) };
        assert_eq!((both.counts().planned, both.noun(), run(Vec::new()).noun()), (1, "trial", "trial"));
    }
}
