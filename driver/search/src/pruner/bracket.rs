//! The rungs of some trials, and what was seen at each.

use broadsweep_common::ids::TrialId;

use crate::sampler::IN_FULL;

/// What a trial brought to a rung.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RungResult {
    /// Which trial.
    pub trial: TrialId,
    /// What is minimised; infinite where nothing finite was measured.
    pub loss: f64,
    /// Whether it is paused here. One that is not was continued, or has ended: by its last epoch, early, or without a
    /// result.
    pub is_paused: bool,
}

/// A rung.
#[derive(Clone, Debug, Default)]
pub struct Rung {
    /// The best first, and of equal ones the lower trial.
    results: Vec<RungResult>,
    awaited: usize,
}

impl Rung {
    /// What was seen here, the best first, and of equal ones the lower trial first.
    #[must_use]
    pub fn results(&self) -> &[RungResult] {
        &self.results
    }

    /// Trials that are under way to this rung.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.awaited
    }

    /// The best of the paused trials among the best `places` results.
    #[must_use]
    pub fn best_paused(&self, places: usize) -> Option<TrialId> {
        self.results.iter().take(places).find(|result| result.is_paused).map(|result| result.trial)
    }
}

/// The rungs of the trials that pause after the same epochs. Beyond the last rung there is one more, where the trials are
/// that have passed all others: nothing pauses there.
#[derive(Clone, Debug)]
pub struct Bracket {
    epochs: Vec<u32>,
    rungs: Vec<Rung>,
}

impl Bracket {
    /// Trials pause after these epochs, which ascend.
    #[must_use]
    pub fn new(epochs: Vec<u32>) -> Self {
        let rungs = vec![Rung::default(); epochs.len() + 1];
        Self { epochs, rungs }
    }

    /// From the lowest on.
    #[must_use]
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
    }

    /// Where a trial pauses that is trained for `epochs` epochs so far and has `epochs_max`; `None` if it does not pause
    /// before its last one.
    #[must_use]
    pub fn next_pause(&self, epochs: u32, epochs_max: u32) -> Option<u32> {
        let next = self.epochs.get(self.epochs.partition_point(|rung| *rung <= epochs)).copied();
        next.filter(|epoch| *epoch < epochs_max)
    }

    /// The epochs of the rung in which a segment up to `until_epoch` ends; [`IN_FULL`] beyond the last rung.
    #[must_use]
    pub fn rung_epochs(&self, until_epoch: u32) -> u32 {
        self.epochs.get(self.place(until_epoch)).copied().unwrap_or(IN_FULL)
    }

    fn place(&self, until_epoch: u32) -> usize {
        self.epochs.partition_point(|rung| *rung < until_epoch)
    }

    /// A trial is under way to `until_epoch`.
    pub fn expect(&mut self, until_epoch: u32) {
        let place = self.place(until_epoch);
        self.rungs[place].awaited += 1;
    }

    /// A trial that was under way to `until_epoch` has got there, or ended on the way.
    pub fn note(&mut self, until_epoch: u32, result: RungResult) {
        let place = self.place(until_epoch);
        let rung = &mut self.rungs[place];
        rung.awaited = rung.awaited.saturating_sub(1);
        let order = |known: &RungResult| known.loss.total_cmp(&result.loss).then(known.trial.cmp(&result.trial));
        let at = rung.results.partition_point(|known| order(known).is_lt());
        rung.results.insert(at, result);
    }

    /// A trial that paused after `epoch` goes on.
    pub fn promote(&mut self, epoch: u32, trial: TrialId) {
        let place = self.place(epoch);
        if let Some(result) = self.rungs[place].results.iter_mut().find(|result| result.trial == trial) {
            result.is_paused = false;
        }
    }
}
