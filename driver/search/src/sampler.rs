//! What a sampler is, and what it may see.

use broadsweep_common::configuration::Configuration;

use super::belief::Belief;
use super::decision::Origin;

/// What came of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Its values.
    pub configuration: Configuration,
    /// The rung at which that was, by its epochs; [`IN_FULL`] for a trial that passed all rungs, or that has none. Losses at
    /// different rungs are not to be compared as they are.
    pub rung_epochs: u32,
    /// What is minimised, as it is expected to be in the end; infinite for a trial that diverged or was given up.
    pub loss: f64,
}

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

    /// What it believes of each of these parameters whatever the others are, given what it is shown: for people to look at,
    /// in the order of `parameters`. What it picks stays the same. A sampler that has no such belief leaves all of them out;
    /// any leaves out those that are not of its space, and has none before it has seen enough results to learn.
    fn beliefs(&self, parameters: &[&str], knowledge: Knowledge<'_>) -> Vec<Belief> {
        let _ = (parameters, knowledge);
        Vec::new()
    }
}
