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
//! What they lose and save, by `tests/rivals/curves.sh`, with 100 trials, 13 at a time, on the half of the curves that nothing was
//! chosen by: 17 data sets of `LCBench` with 52 epochs, ten seeds (two of TPE, five of the process). How much larger the winner's
//! validation error is, in points with the standard error, than that of the winner of 100 full trainings by the same sampler, and
//! by a random search; and the epochs, in % of those.
//!
//! | | same sampler in full | random search in full | epochs |
//! |---|---|---|---|
//! | random, ASHA | 0.07 (0.03) | 0.07 (0.03) | 19 |
//! | Sobol, ASHA | 0.14 (0.05) | -0.13 (0.26) | 19 |
//! | Sobol, median from 2 by 2 | 0.37 (0.11) | 0.11 (0.26) | 17 |
//! | Sobol, the top 18 after 1 | 5.15 (0.64) | 4.89 (0.68) | 20 |
//! | TPE, ASHA | 1.34 (0.37) | -0.29 (0.28) | 19 |
//! | Gaussian process, ASHA | 2.70 (0.48) | -3.20 (0.57) | 19 |
//!
//! On the four held tables of `TaskSet`, random and Sobol with ASHA miss nothing in ten seeds. A Gaussian process finds better
//! trials where it learns from full trainings than where it learns from first epochs, and still far better ones than a random
//! search of full trainings does.

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
pub use bracket::{Bracket, Rung, RungArrival, RungResult};
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
    /// [`Hyperband`]; these are the rungs of its first bracket.
    Hyperband(RungSpacing),
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
            Self::Hyperband(_) => "hyperband",
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
            Self::Hyperband(spacing) => Box::new(Hyperband::new(spacing)),
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
    /// How many times the epochs each further rung comes after, in percent; less than [`ETA_PERCENT_MIN`] counts as that.
    pub eta_percent: NonZeroU32,
    /// The most epochs that a trial has.
    pub epochs_max: NonZeroU32,
}

/// What `eta_percent` is at least.
pub const ETA_PERCENT_MIN: u32 = 110;
/// No rung comes after more than so much of the most epochs: it would save next to nothing.
const LAST_RUNG_PERCENT: f64 = 75.0;
/// Of the most epochs, so many for one before the first rung, rounded down, where a study does not say which that is.
const EPOCHS_PER_MIN: u32 = 16;

impl RungSpacing {
    /// With the first rung after a sixteenth of the epochs, rounded down and one at least, and each further one after half as many again: [`Asha`] takes a
    /// fifth of the epochs with them, of which each rung has about as many as each other one. Of fewer than 24 epochs it
    /// takes more, since the first one is more than a sixteenth.
    #[must_use]
    pub fn even(epochs_max: NonZeroU32) -> Self {
        let [min_epochs, eta_percent] =
            [epochs_max.get() / EPOCHS_PER_MIN, 150].map(|number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN));
        Self { min_epochs, eta_percent, epochs_max }
    }

    /// The epochs of all rungs: `min_epochs * eta^k`, rounded, up to 75 % of the most epochs; the first one is there if it is
    /// not the last epoch.
    #[must_use]
    pub fn rungs(self) -> Vec<u32> {
        let (first, epochs_max) = (self.min_epochs.get(), self.epochs_max.get());
        let last = f64::from(epochs_max) * LAST_RUNG_PERCENT / 100.0;
        let exact = std::iter::successors(Some(f64::from(first) * self.eta()), |epoch| Some(epoch * self.eta()));
        let further = exact.map(f64::round).take_while(|epoch| *epoch <= last).map(|epoch| epoch as u32);
        let mut rungs: Vec<u32> = [first].into_iter().filter(|first| *first < epochs_max).chain(further).collect();
        rungs.dedup();
        rungs
    }

    /// How many of so many trials go on: one of `eta`, rounded down.
    pub(crate) fn part(self, trials: usize) -> usize {
        (trials as u64 * 100 / u64::from(self.percent())) as usize
    }

    pub(crate) fn eta(self) -> f64 {
        f64::from(self.percent()) / 100.0
    }

    fn percent(self) -> u32 {
        self.eta_percent.get().max(ETA_PERCENT_MIN)
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
