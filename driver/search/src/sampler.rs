//! What a sampler is, and what it may see.

use std::cmp::Ordering;

use broadsweep_common::configuration::Configuration;

use super::decision::Origin;

/// What came of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Its values.
    pub configuration: Configuration,
    /// The rung at which that was, by its epochs; [`IN_FULL`] for a trial that passed all rungs, or that has none. Losses at
    /// different rungs are not to be compared.
    pub rung_epochs: u32,
    /// What is minimised; infinite for a trial that diverged or was given up.
    pub loss: f64,
}

impl Observation {
    pub(crate) fn promise(&self) -> Promise {
        Promise { rung_epochs: self.rung_epochs, loss: self.loss }
    }

    /// The better one is less.
    pub(crate) fn by_promise(&self, other: &Self) -> Ordering {
        self.promise().cmp(&other.promise())
    }
}

/// How good an observation is, whatever its configuration. The better one is less: a finite loss before none, then what got
/// to a higher rung, then the smaller loss.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    rung_epochs: u32,
    loss: f64,
}

impl Promise {
    /// Whether there is a loss at all.
    pub(crate) fn is_finite(&self) -> bool {
        self.loss.is_finite()
    }
}

impl Ord for Promise {
    fn cmp(&self, other: &Self) -> Ordering {
        let finite_first = other.is_finite().cmp(&self.is_finite());
        let by_rung = || other.rung_epochs.cmp(&self.rung_epochs);
        finite_first.then_with(by_rung).then_with(|| self.loss.total_cmp(&other.loss))
    }
}

impl PartialOrd for Promise {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Promise {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Promise {}

/// The rung beyond all others.
pub const IN_FULL: u32 = u32::MAX;

/// What a sampler may see when it picks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Knowledge<'a> {
    /// What came of the trials that are seen to have ended or paused, in that order: from one decision to the next this
    /// grows at its end only. Of a trial that pauses there is one at each of its rungs; the last one counts. Empty for a
    /// sampler that does not learn.
    pub observed: &'a [Observation],
    /// The configurations under way of which nothing is observed, in the order in which they were decided. Empty for a
    /// sampler that does not learn.
    pub under_way: &'a [Configuration],
    /// Configurations that the search has started before.
    pub decision: u64,
}

/// Picks configurations. What it picks depends on the study's seed, the space, what it is shown and what it picked before,
/// and on nothing else: a later driver tells it what was picked, shows it the same, and gets the same.
pub trait Sampler: Send {
    /// The next one, and how it was found; `None` if there are no more.
    fn next(&mut self, knowledge: Knowledge<'_>) -> Option<(Configuration, Origin)>;

    /// A configuration that it picked under an earlier driver. All of them come first, in order.
    fn recall(&mut self, configuration: &Configuration, origin: Origin);

    /// Whether it looks at results. One that does not is shown none.
    fn learns(&self) -> bool {
        false
    }
}
