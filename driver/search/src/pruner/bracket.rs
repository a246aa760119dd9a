//! The rungs of some trials, and what was seen at each.

use broadsweep_common::ids::TrialId;

use crate::sampler::IN_FULL;

/// What a trial brings to a rung.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RungArrival {
    /// Which trial.
    pub trial: TrialId,
    /// What is minimised; infinite where nothing finite was measured.
    pub loss: f64,
    /// The last epoch of its training, if that has not ended here: by its last epoch, early, or without a result.
    pub epochs_max: Option<u32>,
    /// Whether it is paused here. One that is not has ended, or was continued.
    pub is_paused: bool,
}

/// What was seen of a trial at a rung.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RungResult {
    /// Which trial.
    pub trial: TrialId,
    /// What is minimised; infinite where nothing finite was measured.
    pub loss: f64,
    /// The loss that is expected of it in the end, by which trials are ranked ([`Bracket::note`]).
    pub outlook: f64,
    /// Whether it is paused here.
    pub is_paused: bool,
}

/// A rung.
#[derive(Clone, Debug, Default)]
pub struct Rung {
    /// The best outlook first, and of equal ones the lower trial.
    results: Vec<RungResult>,
    awaited: usize,
    promoted: usize,
}

impl Rung {
    /// What was seen here, the best outlook first, and of equal ones the lower trial first.
    #[must_use]
    pub fn results(&self) -> &[RungResult] {
        &self.results
    }

    /// Trials that are under way to this rung.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.awaited
    }

    /// Trials that went on from here.
    #[must_use]
    pub fn promoted(&self) -> usize {
        self.promoted
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

    /// A trial that was under way to `until_epoch` has got there, or ended on the way. Returns its outlook.
    ///
    /// It is ranked by that: what it will have after its last epoch, if from the rung before its loss falls towards a
    /// limit as one over the epochs does. Learning curves follow power laws (Domhan, Springenberg, Hutter, 2015; Hestness and
    /// others, 2017); of their exponents, one is a plain guess that leaves two results enough. In its first rung, where it
    /// did not fall, and where it has ended, the loss counts. With the rungs that `RungSpacing::even` makes of 52 epochs, ranks by
    /// the loss itself lost half as much again on the developed half of the curves of `tests/rivals/curves.py`.
    pub fn note(&mut self, until_epoch: u32, arrival: RungArrival) -> f64 {
        let RungArrival { trial, loss, epochs_max, is_paused } = arrival;
        let place = self.place(until_epoch);
        let outlook = loss - epochs_max.map_or(0.0, |last| self.expected_fall(place, trial, loss, last));
        let outlook = if outlook.is_finite() { outlook } else { loss };
        let rung = &mut self.rungs[place];
        rung.awaited = rung.awaited.saturating_sub(1);
        let order = |known: &RungResult| known.outlook.total_cmp(&outlook).then(known.trial.cmp(&trial));
        let at = rung.results.partition_point(|known| order(known).is_lt());
        rung.results.insert(at, RungResult { trial, loss, outlook, is_paused });
        outlook
    }

    /// How far the loss of a trial that has come to the rung at `place` is expected to fall until its last epoch.
    fn expected_fall(&self, place: usize, trial: TrialId, loss: f64, last_epoch: u32) -> f64 {
        let (Some(before), Some(&epoch)) = (place.checked_sub(1), self.epochs.get(place)) else { return 0.0 };
        let Some(earlier) = self.rungs[before].results.iter().find(|result| result.trial == trial) else {
            return 0.0;
        };
        let fall = earlier.loss - loss;
        if !fall.is_finite() || fall <= 0.0 || epoch >= last_epoch {
            return 0.0;
        }
        let [before, epoch, last] = [self.epochs[before], epoch, last_epoch].map(|epochs| 1.0 / f64::from(epochs));
        fall * (epoch - last) / (before - epoch)
    }

    /// A trial that paused after `epoch` goes on.
    pub fn promote(&mut self, epoch: u32, trial: TrialId) {
        let place = self.place(epoch);
        self.rungs[place].promoted += 1;
        for result in self.rungs[place].results.iter_mut().filter(|result| result.trial == trial) {
            result.is_paused = false;
        }
    }
}
