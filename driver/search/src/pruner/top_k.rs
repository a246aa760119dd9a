//! One epoch, then the top few in full (Egele, Guyon, Sun, Balaprakash, "Is one epoch all you need for multi-fidelity
//! hyperparameter optimization?", 2023).

use std::num::NonZeroU32;

use broadsweep_common::ids::TrialId;

use super::{Bracket, Pruner};

/// All trials pause at one rung; once all are there, the best `k` are trained to their end.
#[derive(Clone, Copy, Debug)]
pub struct TopK {
    rung: NonZeroU32,
    k: NonZeroU32,
}

impl TopK {
    /// `k` trials go on after the epoch `rung`: the first, in the paper.
    #[must_use]
    pub fn new(rung: NonZeroU32, k: NonZeroU32) -> Self {
        Self { rung, k }
    }
}

impl Pruner for TopK {
    fn rungs(&self) -> Vec<Vec<u32>> {
        vec![vec![self.rung.get()]]
    }

    fn promoted(&self, bracket: &Bracket, all_started: bool) -> Option<TrialId> {
        let rung = bracket.rungs().first().filter(|rung| all_started && rung.awaited() == 0)?;
        rung.best_paused(self.k.get() as usize)
    }
}
