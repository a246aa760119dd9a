//! A search with a sampler that learns, on losses that are known: for tests.

use broadsweep_common::configuration::Configuration;

use super::decision::Origin;
use super::sampler::{IN_FULL, Knowledge, Observation, Sampler};

/// What a search with `lag` under way picks until there is no more; after `stop` decisions a new sampler is told of them, as
/// by a later driver.
pub(crate) fn picks(
    sampler: &dyn Fn() -> Box<dyn Sampler>,
    loss: &dyn Fn(&Configuration) -> f64,
    lag: usize,
    stop: Option<usize>,
) -> Vec<Configuration> {
    let mut asked = sampler();
    let (mut picked, mut origins): (Vec<Configuration>, Vec<Origin>) = (Vec::new(), Vec::new());
    let mut observed = Vec::new();
    loop {
        if stop == Some(picked.len()) {
            asked = sampler();
            picked.iter().zip(&origins).for_each(|(configuration, origin)| asked.recall(configuration, *origin));
        }
        let (ended, under_way) = picked.split_at(picked.len().saturating_sub(lag - 1));
        observed.extend(ended.iter().skip(observed.len()).map(|configuration| Observation {
            configuration: configuration.clone(),
            rung_epochs: IN_FULL,
            loss: loss(configuration),
        }));
        let decision = picked.len() as u64;
        let Some((configuration, origin)) = asked.next(Knowledge { observed: &observed, under_way, decision }) else {
            return picked;
        };
        picked.push(configuration);
        origins.push(origin);
    }
}
