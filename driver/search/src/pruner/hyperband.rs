//! Hyperband (Li, Jamieson and others, 2018), each bracket by asynchronous successive halving.

use broadsweep_common::ids::TrialId;

use super::asha::best_part;
use super::{Bracket, Pruner, RungSpacing};
use crate::space::below;

/// 2^64 over the golden ratio: multiples of it fill the numbers below 2^64 evenly, however many are taken (Knuth, The Art
/// of Computer Programming 3, 6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Brackets that begin at the first rung, at the second and so on, and one without any: where the first epochs say little,
/// the later brackets find what the earlier ones lose. Of the trials, each bracket gets the share that it has in the paper:
/// in proportion to `ceil((brackets / (s + 1)) * eta^s)`, with `s` rungs in the bracket.
#[derive(Clone, Debug)]
pub struct Hyperband {
    spacing: RungSpacing,
    rungs: Vec<u32>,
    pub(super) shares: Vec<u64>,
}

impl Hyperband {
    /// With the rungs of `spacing`.
    #[must_use]
    pub fn new(spacing: RungSpacing) -> Self {
        let rungs = spacing.rungs();
        let brackets = rungs.len() as f64 + 1.0;
        let power = |s: u32| (0..s).fold(1.0, |power, _| power * spacing.eta());
        let share = |s: u32| (brackets * power(s) / f64::from(s + 1)).ceil() as u64;
        let shares = (0..=rungs.len() as u32).rev().map(share).collect();
        Self { spacing, rungs, shares }
    }
}

impl Pruner for Hyperband {
    fn rungs(&self) -> Vec<Vec<u32>> {
        (0..=self.rungs.len()).map(|first| self.rungs[first..].to_vec()).collect()
    }

    fn bracket_of(&self, trial: TrialId) -> usize {
        let total = self.shares.iter().fold(0_u64, |total, share| total.saturating_add(*share));
        let mut left = below(total, u64::from(trial.0).wrapping_mul(GOLDEN));
        for (bracket, share) in self.shares.iter().enumerate() {
            match left.checked_sub(*share) {
                Some(rest) => left = rest,
                None => return bracket,
            }
        }
        0
    }

    fn promoted(&self, bracket: &Bracket, all_started: bool) -> Option<TrialId> {
        best_part(bracket, self.spacing, all_started)
    }
}
