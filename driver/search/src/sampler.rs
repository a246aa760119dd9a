//! What a sampler is.

use broadsweep_common::configuration::Configuration;

use super::decision::Origin;

/// Picks configurations.
pub trait Sampler: Send {
    /// The next one, and how it was found; `None` if there are no more.
    fn next(&mut self) -> Option<(Configuration, Origin)>;

    /// A configuration that it picked under an earlier driver. All of them come first, in order.
    fn recall(&mut self, configuration: &Configuration, origin: Origin);
}
