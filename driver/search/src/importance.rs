//! How much each parameter has to do with which trials are among the best.
//!
//! PED-ANOVA (Watanabe, Bansal, Hutter, 2023, arXiv:2304.10255): where a parameter's values are spread among the best trials
//! as among all, it had nothing to do with their being the best. What it counts for is the Pearson divergence of the two
//! densities, `Σ p_all (p_best / p_all - 1)²`. Of a parameter that only some configurations have, the divergence is of those
//! that do, times the square of their share of the best over their share of all (Baba, Ozaki, Watanabe, arXiv:2601.20800,
//! theorem 4.2): which configurations have it is counted for the parameters that decide it.
//!
//! | file | holds |
//! |---|---|
//! | `importance/density.rs` | densities from counts, and how far they are apart |
//! | `importance/table.rs` | the cells in which trials stand, counted |
//!
//! Three things are not in the papers. Few trials differ from all by chance, also where a parameter does nothing: what is to
//! be expected from that is taken off. The interval comes from trials drawn again with replacement (Efron, 1979), for which
//! only cells are counted anew. And what matters is told as a share of all parameters' sum.

mod density;
mod table;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::seeds::resampling_rng;
use rand_chacha::rand_core::Rng as _;

use super::space::Space;
use density::Comparison;
use table::{Counted, Table};

/// Fewer of the best trials than this tell nothing.
const BEST_MIN: usize = 3;
/// How often trials are drawn again.
const RESAMPLES: usize = 200;
/// Of so many shares from trials drawn again, one is below the interval and one above it.
const SHARES_PER_TAIL: usize = 20;

/// How much one parameter counts.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterImportance {
    /// Its name.
    pub name: String,
    /// Its share of what all parameters have to do with it, from 0 to 1; all shares are 0 where nothing can be told.
    pub share: f64,
    /// Where the shares of trials drawn again are, but for the least 5 % and the largest 5 %.
    pub interval: [f64; 2],
}

/// The importance of each parameter of `space` for being among the best `top` of the trials (0.1 is a tenth), the largest
/// first, and of equal ones by name. Each trial is a configuration with its loss, in any scale: only its order counts. One
/// whose loss is infinite or NaN has failed, and is never among the best.
///
/// `None` where fewer than three trials are the best, or all are, or nothing can be told from them apart from chance.
#[must_use]
pub fn importances(
    space: &Space,
    trials: &[(&Configuration, f64)],
    top: f64,
    seed: u64,
) -> Option<Vec<ParameterImportance>> {
    let table = Table::new(space, trials);
    let once = vec![1; trials.len()];
    let counted = table.count(&once, best_of(trials.len(), top));
    if counted.best < BEST_MIN || counted.best >= trials.len() {
        return None;
    }
    let comparisons = table.comparisons(&counted);
    let found = shares(&comparisons, &counted, 1.0)?;
    let resampled = resampled_shares(&table, &comparisons, top, seed);
    let names = space.keys().zip(found).zip(resampled);
    let mut importances: Vec<_> = names
        .map(|((name, share), mut shares)| {
            shares.sort_by(f64::total_cmp);
            let tail = shares.len() / SHARES_PER_TAIL;
            let interval = [shares[tail].min(share), shares[shares.len() - 1 - tail].max(share)];
            ParameterImportance { name: name.clone(), share, interval }
        })
        .collect();
    importances.sort_by(|one, other| other.share.total_cmp(&one.share));
    Some(importances)
}

/// How many of so many trials are the best.
fn best_of(trials: usize, top: f64) -> usize {
    libm::ceil(trials as f64 * top.clamp(0.0, 1.0)) as usize
}

/// Each parameter's share; `None` if no parameter's densities are further apart than by chance. `chances` is how often
/// chance was at work.
fn shares(comparisons: &[Comparison], counted: &Counted, chances: f64) -> Option<Vec<f64>> {
    let found: Vec<_> = comparisons.iter().map(|comparison| comparison.importance(counted, chances)).collect();
    let total: f64 = found.iter().sum();
    (total > 0.0).then(|| found.into_iter().map(|found| found / total).collect())
}

/// Of each parameter, its shares from trials that were drawn again. These are apart by chance twice: once as all trials
/// are, and once more by being drawn again.
fn resampled_shares(table: &Table, comparisons: &[Comparison], top: f64, seed: u64) -> Vec<Vec<f64>> {
    let trials = table.trials();
    let mut rng = resampling_rng(seed);
    let mut of_parameters = vec![Vec::with_capacity(RESAMPLES); comparisons.len()];
    let mut times = vec![0_u32; trials];
    for _ in 0..RESAMPLES {
        times.fill(0);
        for _ in 0..trials {
            times[((u64::from(rng.next_u32()) * trials as u64) >> 32) as usize] += 1;
        }
        let counted = table.count(&times, best_of(trials, top));
        let shares = shares(comparisons, &counted, 2.0).unwrap_or_else(|| vec![0.0; comparisons.len()]);
        for (of_parameter, share) in of_parameters.iter_mut().zip(shares) {
            of_parameter.push(share);
        }
    }
    of_parameters
}

#[cfg(test)]
mod tests;
