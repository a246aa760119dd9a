//! The median rule (Golovin, Solnik, Moitra, Kochanski, Karro, Sculley, "Google Vizier", 2017, with the values at a rung
//! in place of running averages).

use std::num::NonZeroU32;

use broadsweep_common::ids::TrialId;

use super::{Bracket, Pruner, Rung, RungResult, RungSpacing};

/// A trial goes on if its outlook is no worse than the median of those of the others at that rung. The first results of a rung are
/// not judged. One that was worse goes on later if it is not any more.
#[derive(Clone, Debug)]
pub struct Median {
    spacing: RungSpacing,
    results_min: NonZeroU32,
}

impl Median {
    /// With these rungs; trials are judged where there are `results_min` results.
    #[must_use]
    pub fn new(spacing: RungSpacing, results_min: NonZeroU32) -> Self {
        Self { spacing, results_min }
    }

    /// The best of the paused trials of a rung, if it goes on: where it does not, no other one does.
    fn promoted_of(&self, rung: &Rung) -> Option<TrialId> {
        let results = rung.results();
        let place = results.iter().position(|result| result.is_paused)?;
        let is_judged = results.len() >= self.results_min.get() as usize;
        let goes_on = !is_judged || results[place].outlook <= median_of_others(results, place);
        goes_on.then_some(results[place].trial)
    }
}

impl Pruner for Median {
    fn rungs(&self) -> Vec<Vec<u32>> {
        vec![self.spacing.rungs()]
    }

    fn promoted(&self, bracket: &Bracket, _: bool) -> Option<TrialId> {
        bracket.rungs().iter().rev().find_map(|rung| self.promoted_of(rung))
    }
}

/// The median of all outlooks but that at `place`: the mean of the two in the middle where their number is even, infinite
/// if there are none.
fn median_of_others(results: &[RungResult], place: usize) -> f64 {
    let Some(others) = results.len().checked_sub(1).filter(|others| *others > 0) else { return f64::INFINITY };
    let other = |number: usize| results[number + usize::from(number >= place)].outlook;
    f64::midpoint(other((others - 1) / 2), other(others / 2))
}
