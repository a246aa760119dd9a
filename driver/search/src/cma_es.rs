//! Picks from a Gaussian that follows the better results: the covariance matrix adaptation evolution strategy (Hansen, "The
//! CMA evolution strategy: a tutorial", arXiv:1604.00772).
//!
//! Each generation moves the mean to its better half, and learns from the way there how far and in which directions the
//! next one is to be drawn. It needs no model of losses, only their order, and a decision costs the same however many
//! results there are: it is for hundreds of trials and more, of parameters with an order.
//!
//! | file | holds |
//! |---|---|
//! | `cma_es/run.rs` | a run: which results make a generation, and when it has converged |
//! | `cma_es/evolution.rs`, `cma_es/weights.rs` | the equations |
//! | `cma_es/distribution.rs` | what is drawn from: all kinds of parameters |
//!
//! What is special here:
//! - Nobody waits for the end of a generation. One ends after so many results, of which a part was drawn from it and the
//!   others, late, from those before; these count from where the mean is now, and steps that are too long are cut (Hansen,
//!   arXiv:1110.4181). With 13 under way this was better than Optuna's sampler, which leaves late results out, and
//!   than to count each from the mean that it was drawn around.
//! - Which draw a result comes from is not written down: it is drawn again, from the number of its decision. So the state
//!   depends on the results in their order and on the picks alone, and a later driver comes to the same. What it did not
//!   draw itself, as the control, it does not learn from.
//! - Values that are apart, as whole numbers, keep a least deviation, so that their neighbours are still drawn (in place of
//!   the margin of Hamano, Saito, Nomura, Shirakawa, arXiv:2205.13482, as Hansen, 2011, "A CMA-ES for mixed-integer
//!   nonlinear optimization"). Choices without an order have odds that follow the better half: a part of what
//!   Hamano, Saito, Nomura, Uchida, Shirakawa do (arXiv:2405.09962), with a fixed rate.
//! - No configuration is drawn twice: if one is not new, the next draw is wider.
//! - A run that has converged is followed by one elsewhere, with twice as many members (IPOP: Auger and Hansen, 2005).

mod distribution;
mod evolution;
mod run;
mod weights;

use std::collections::BTreeMap;

use broadsweep_common::configuration::{Configuration, ConfigurationDigest};
use broadsweep_common::seeds::{Rng, sampler_rng};

use super::decision::Origin;
use super::sampler::{Knowledge, Observation, Sampler};
use super::space::Space;
use super::tried::{Learner, TriedConfigurations, next_of};
use super::unit_point::unit_point;
use distribution::{Deviates, Genotype, point_of};
use run::{OwnResult, Run, ordered_places};

/// Draws looked at for each decision, until one is new.
const DRAWS_MAX: u32 = 32;
/// Each is so much wider than the one before: the last one falls almost anywhere.
const WIDENING: f64 = 1.2;
/// Members double from run to run up to so often.
const DOUBLINGS_MAX: u32 = 10;

/// The sampler.
#[derive(Clone, Debug)]
pub struct CmaEs {
    tried: TriedConfigurations,
    /// Of each pick, the decision that it came of.
    decisions: BTreeMap<ConfigurationDigest, u64>,
    /// Observations that were looked at.
    seen: usize,
    /// Runs before this one.
    restarts: u32,
    /// `None` if there is nothing to be drawn from.
    run: Option<Run>,
}

impl CmaEs {
    /// `trials` different configurations, or as many as `space` has.
    #[must_use]
    pub fn new(seed: u64, space: &Space, trials: u32) -> Self {
        let tried = TriedConfigurations::new(seed, space, trials);
        let run = start(&tried, 0);
        Self { tried, decisions: BTreeMap::new(), seen: 0, restarts: 0, run }
    }

    fn learn(&mut self, observed: &[Observation]) {
        for (number, observation) in observed.iter().enumerate().skip(self.seen) {
            self.seen = number + 1;
            let Some(member) = self.member(number, &observation.configuration) else { continue };
            let Some(run) = &mut self.run else { continue };
            if !run.take(member) {
                continue;
            }
            let known = self.tried.levelled(&observed[..=number]);
            if run.end_generation(&self.tried.coordinates, &known) {
                self.restarts += 1;
                self.run = start(&self.tried, self.restarts);
            }
        }
    }

    /// What the run that is under way drew to come to this configuration; `None` if it did not, or too long ago.
    fn member(&self, number: usize, configuration: &Configuration) -> Option<OwnResult> {
        let digest = configuration.digest();
        let mut rng = sampler_rng(self.tried.seed, *self.decisions.get(&digest)?);
        for draw in 0..DRAWS_MAX {
            let chance = Deviates::new(&self.tried.coordinates, &mut rng);
            for (age, distribution) in self.run.as_ref()?.distributions().enumerate() {
                let genotype = distribution.draw(&self.tried.coordinates, &chance, width(draw));
                if self.tried.admitted_at(&self.point(&genotype)).as_ref() == Some(configuration) {
                    return Some(OwnResult { number, configuration: digest, genotype, age });
                }
            }
        }
        None
    }

    fn note_decision(&mut self, configuration: &Configuration, origin: Origin) {
        if let Origin::Draw(decision) = origin {
            self.decisions.insert(configuration.digest(), decision);
        }
    }

    fn point(&self, genotype: &Genotype) -> Vec<f64> {
        point_of(&self.tried.coordinates, genotype)
    }
}

/// The first run starts in the middle; the others at points that fill the space evenly.
fn start(tried: &TriedConfigurations, restarts: u32) -> Option<Run> {
    let unit = match restarts {
        0 => vec![0.5; tried.coordinates.len()],
        _ => unit_point(&tried.coordinates, &tried.even_point(u64::from(restarts))?),
    };
    let mean = ordered_places(&tried.coordinates, &unit);
    let parameters = tried.coordinates.len().max(1) as f64;
    let members = (4.0 + 3.0 * libm::log(parameters)) as usize;
    Run::new(&tried.coordinates, mean, members << restarts.min(DOUBLINGS_MAX))
}

/// How much wider than its distribution draw number `draw` is.
fn width(draw: u32) -> f64 {
    libm::pow(WIDENING, f64::from(draw))
}

impl Learner for CmaEs {
    const RESULTS_MIN: usize = 0;

    fn tried(&mut self) -> &mut TriedConfigurations {
        &mut self.tried
    }

    fn most_promising(&mut self, knowledge: Knowledge<'_>, rng: &mut Rng) -> Option<Configuration> {
        self.learn(knowledge.observed);
        let distribution = self.run.as_ref()?.current();
        (0..DRAWS_MAX).find_map(|draw| {
            let chance = Deviates::new(&self.tried.coordinates, rng);
            let genotype = distribution.draw(&self.tried.coordinates, &chance, width(draw));
            self.tried.new_at(&self.point(&genotype))
        })
    }
}

impl Sampler for CmaEs {
    fn next(&mut self, knowledge: Knowledge<'_>) -> Option<(Configuration, Origin)> {
        let (configuration, origin) = next_of(self, knowledge)?;
        self.note_decision(&configuration, origin);
        Some((configuration, origin))
    }

    fn recall(&mut self, configuration: &Configuration, origin: Origin) {
        self.note_decision(configuration, origin);
        self.tried.note_start(configuration, origin);
    }

    fn learns(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
