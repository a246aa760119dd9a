//! What decides at the rungs which trials are worth more epochs.
//!
//! A rung is an epoch after which trials pause. What a trial measured there stands beside what all others did, and the
//! pruner says which of the paused ones go on; nothing is forgotten of the rest, which may go on later. Rungs are the same
//! epochs for all trials, however many each of them has: a trial whose last epoch comes before that of a rung is in it
//! with what it ended with.
//!
//! | file | holds |
//! |---|---|
//! | `bracket.rs` | [`Bracket`]: the rungs of some trials, and what was seen at each |
//! | `asha.rs` | [`Asha`]: the best part of each rung goes on, as results come |
//! | `hyperband.rs` | [`Hyperband`]: the same from several first rungs |
//! | `median.rs` | [`Median`]: whoever is no worse than the median goes on |
//! | `top_k.rs` | [`TopK`]: one rung for all, then the best few to their end |
//!
//! What they lose and save, of 100 trials of 50 epochs, 13 at a time, on the half of the curves of `examples/prune.rs` that
//! nothing was chosen by (four files, ten seeds): how much larger the winner's loss is than without a pruner, with its
//! standard error, and the epochs, both in %.
//!
//! | | random | epochs | TPE | epochs |
//! |---|---|---|---|---|
//! | ASHA from 2 by 2 | 0.22 (0.13) | 16 | 0.86 (1.07) | 25 |
//! | ASHA from 2 by 3 | 0.25 (0.14) | 14 | 2.04 (1.02) | 18 |
//! | Hyperband from 1 by 3 | 0.31 (0.14) | 20 | 1.52 (1.83) | 23 |
//! | the top 15 after 1 | 0.22 (0.13) | 18 | 7.77 (2.44) | 18 |
//!
//! The median rule from 2 by 2 loses 0.19 (0.13) of a random search, at 26 % of the epochs.

mod asha;
mod bracket;
mod hyperband;
mod median;
#[cfg(test)]
mod tests;
mod top_k;

use std::num::NonZeroU32;

use broadsweep_common::ids::TrialId;

pub use asha::Asha;
pub use bracket::{Bracket, Rung, RungResult};
pub use hyperband::Hyperband;
pub use median::Median;
pub use top_k::TopK;

/// Says which of the trials that have paused go on. What it says depends on what it is shown, and on nothing else: a later
/// driver shows it the same, and gets the same.
pub trait Pruner: Send {
    /// Of each bracket, the epochs after which its trials pause, from the first on. There is one bracket at least.
    fn rungs(&self) -> Vec<Vec<u32>>;

    /// The bracket of a trial, by its place in [`Self::rungs`].
    fn bracket_of(&self, trial: TrialId) -> usize {
        let _ = trial;
        0
    }

    /// The paused trial of a bracket that goes on next, if one does. `all_started` says that no trial will come after those
    /// that the bracket knows.
    fn promoted(&self, bracket: &Bracket, all_started: bool) -> Option<TrialId>;
}

/// How epochs are kept from trials that are not worth them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrunerKind {
    /// Every trial is trained to its end.
    None,
    /// [`Asha`].
    Asha(RungSpacing),
    /// [`Hyperband`].
    Hyperband {
        /// The rungs of its first bracket.
        spacing: RungSpacing,
        /// The most epochs that a trial has.
        epochs_max: NonZeroU32,
    },
    /// [`Median`].
    Median {
        /// Its rungs.
        spacing: RungSpacing,
        /// Results that a rung has before trials are judged there.
        results_min: NonZeroU32,
    },
    /// [`TopK`].
    TopK {
        /// The epoch after which all trials pause.
        rung: NonZeroU32,
        /// How many of them go on.
        k: NonZeroU32,
    },
}

impl PrunerKind {
    /// Its word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Asha(_) => "asha",
            Self::Hyperband { .. } => "hyperband",
            Self::Median { .. } => "median",
            Self::TopK { .. } => "top_k",
        }
    }

    /// A pruner of this kind.
    #[must_use]
    pub fn pruner(self) -> Box<dyn Pruner> {
        match self {
            Self::None => Box::new(Unpruned),
            Self::Asha(spacing) => Box::new(Asha::new(spacing)),
            Self::Hyperband { spacing, epochs_max } => Box::new(Hyperband::new(spacing, epochs_max)),
            Self::Median { spacing, results_min } => Box::new(Median::new(spacing, results_min)),
            Self::TopK { rung, k } => Box::new(TopK::new(rung, k)),
        }
    }
}

/// Where rungs stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RungSpacing {
    /// The epoch of the first rung.
    pub min_epochs: NonZeroU32,
    /// Each further rung comes after so many times the epochs; 1 counts as 2.
    pub eta: NonZeroU32,
}

impl RungSpacing {
    /// The epochs of all rungs: `min_epochs * eta^k`, as far as a `u32` goes.
    #[must_use]
    pub fn rungs(self) -> Vec<u32> {
        let next = |epoch: &u32| epoch.checked_mul(self.factor());
        std::iter::successors(Some(self.min_epochs.get()), next).collect()
    }

    /// `eta`, at least 2.
    pub(crate) fn factor(self) -> u32 {
        self.eta.get().max(2)
    }
}

/// Nothing pauses.
#[derive(Clone, Copy, Debug)]
struct Unpruned;

impl Pruner for Unpruned {
    fn rungs(&self) -> Vec<Vec<u32>> {
        vec![Vec::new()]
    }

    fn promoted(&self, _: &Bracket, _: bool) -> Option<TrialId> {
        None
    }
}
