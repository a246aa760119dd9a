//! Random draws, each configuration once.

use std::collections::BTreeSet;
use std::sync::Arc;

use broadsweep_common::configuration::{Configuration, ConfigurationDigest};
use broadsweep_common::seeds::sampler_rng;

use super::decision::Origin;
use super::sampler::{Knowledge, Sampler};
use super::space::{Domain, Space};

/// Draws for each wanted trial before a space counts as exhausted: small spaces repeat themselves.
const DRAWS_PER_TRIAL_MAX: u64 = 100;

/// Draws from the space, or from the `count` values of a range where it has one. Draw `i` comes from a generator of its
/// own, parameters in the order of their names; a repeat is skipped.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    parameters: Vec<(Arc<str>, Domain)>,
    wanted: u32,
    /// The next draw.
    next: u64,
    drawn: BTreeSet<ConfigurationDigest>,
}

impl Random {
    /// `trials` different draws, or as many as come out before the space seems exhausted.
    #[must_use]
    pub fn new(seed: u64, space: &Space, trials: u32) -> Self {
        let source = |domain: &Domain| domain.points().map_or_else(|| domain.clone(), Domain::Values);
        let parameters = space.iter().map(|(name, domain)| (name.as_str().into(), source(domain))).collect();
        Self { seed, parameters, wanted: trials, next: 0, drawn: BTreeSet::new() }
    }

    fn draw(&self, number: u64) -> Configuration {
        let mut rng = sampler_rng(self.seed, number);
        self.parameters.iter().map(|(name, domain)| (Arc::clone(name), domain.draw(&mut rng))).collect()
    }
}

impl Sampler for Random {
    fn next(&mut self, _: Knowledge<'_>) -> Option<(Configuration, Origin)> {
        let draws_max = u64::from(self.wanted).saturating_mul(DRAWS_PER_TRIAL_MAX);
        while self.drawn.len() < self.wanted as usize && self.next < draws_max {
            let number = self.next;
            self.next += 1;
            let configuration = self.draw(number);
            if self.drawn.insert(configuration.digest()) {
                return Some((configuration, Origin::Draw(number)));
            }
        }
        None
    }

    fn recall(&mut self, configuration: &Configuration, origin: Origin) {
        let Origin::Draw(number) = origin else { return };
        // What was skipped in between repeats an earlier draw, or is the control: one that counts, too.
        for skipped in self.next..number {
            self.drawn.insert(self.draw(skipped).digest());
        }
        self.drawn.insert(configuration.digest());
        self.next = number.saturating_add(1);
    }
}
