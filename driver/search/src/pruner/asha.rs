//! Asynchronous successive halving (Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar, "A system for
//! massively parallel hyperparameter tuning", 2020).

use broadsweep_common::ids::TrialId;

use super::{Bracket, Pruner, RungSpacing};

/// Of each rung, the best `1 / eta` go on, rounded down, as results come: nobody waits for a rung to fill, once there
/// are enough trials to compare (a search whose sampler does not learn compares a hundred first). A trial that
/// was not among them goes on later if it is then.
///
/// No more than `1 / eta` of a rung's results go on in all. In the paper, a trial that was among the best when it came went
/// on whatever had gone on before; where a sampler learns, nearly each new trial is, and the search took 38 % of the epochs
/// where it was to take 18 %. Of a rung that gets no more results, one trial goes on at least, so that some trial is tried
/// to its end however few there are; the paper leaves that open.
#[derive(Clone, Debug)]
pub struct Asha {
    spacing: RungSpacing,
}

impl Asha {
    /// With these rungs, and their `eta`.
    #[must_use]
    pub fn new(spacing: RungSpacing) -> Self {
        Self { spacing }
    }
}

impl Pruner for Asha {
    fn rungs(&self) -> Vec<Vec<u32>> {
        vec![self.spacing.rungs()]
    }

    fn promoted(&self, bracket: &Bracket, all_started: bool) -> Option<TrialId> {
        best_part(bracket, self.spacing, all_started)
    }
}

/// The next one among the best `1 / eta` of each rung; of several the one in the highest rung, as in the paper.
pub(super) fn best_part(bracket: &Bracket, spacing: RungSpacing, all_started: bool) -> Option<TrialId> {
    let mut highest = None;
    let mut is_complete = all_started;
    for rung in bracket.rungs() {
        is_complete &= rung.awaited() == 0;
        let part = spacing.part(rung.results().len()).max(usize::from(is_complete));
        let found = if rung.promoted() < part { rung.best_paused(part) } else { None };
        is_complete &= found.is_none();
        highest = found.or(highest);
    }
    highest
}
