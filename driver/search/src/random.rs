//! Random draws, each configuration once; and how much of a space its constraints admit.

use std::collections::BTreeSet;
use std::sync::Arc;

use broadsweep_common::configuration::{Configuration, ConfigurationDigest};
use broadsweep_common::seeds::sampler_rng;

use super::decision::Origin;
use super::sampler::{Knowledge, Sampler};
use super::space::{Domain, Space};

/// Draws for each wanted trial before a space counts as exhausted: small spaces repeat themselves.
const DRAWS_PER_TRIAL_MAX: u64 = 100;
/// The same where constraints refuse some of them.
const CONSTRAINED_DRAWS_PER_TRIAL_MAX: u64 = 1000;

/// Draws from the space, or from the `count` values of a range where it has one. Draw `i` comes from a generator of its
/// own, parameters in the order of their names, those that will be absent, too; a repeat is skipped, and so is what breaks
/// a constraint.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    space: Space,
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
        Self { seed, space: space.clone(), parameters, wanted: trials, next: 0, drawn: BTreeSet::new() }
    }

    /// The draw of this number; `None` if it breaks a constraint.
    fn draw(&self, number: u64) -> Option<Configuration> {
        let mut rng = sampler_rng(self.seed, number);
        let all = self.parameters.iter().map(|(name, domain)| (Arc::clone(name), domain.draw(&mut rng)));
        self.space.admitted(all.collect())
    }
}

/// How many of the first `draws` draws from `space` break none of its constraints.
#[must_use]
pub fn admitted_draws(seed: u64, space: &Space, draws: u64) -> u64 {
    let random = Random::new(seed, space, 0);
    (0..draws).filter(|number| random.draw(*number).is_some()).count() as u64
}

/// Draws, or points, that are looked at for so many wanted trials before a space counts as exhausted.
pub(super) fn draws_max(space: &Space, wanted: u32) -> u64 {
    let is_constrained = !space.constraints().is_empty();
    let each = if is_constrained { CONSTRAINED_DRAWS_PER_TRIAL_MAX } else { DRAWS_PER_TRIAL_MAX };
    u64::from(wanted).saturating_mul(each)
}

impl Sampler for Random {
    fn next(&mut self, _: Knowledge<'_>) -> Option<(Configuration, Origin)> {
        let draws_max = draws_max(&self.space, self.wanted);
        while self.drawn.len() < self.wanted as usize && self.next < draws_max {
            let number = self.next;
            self.next += 1;
            let Some(configuration) = self.draw(number) else { continue };
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
            self.drawn.extend(self.draw(skipped).map(|configuration| configuration.digest()));
        }
        self.drawn.insert(configuration.digest());
        self.next = number.saturating_add(1);
    }
}
