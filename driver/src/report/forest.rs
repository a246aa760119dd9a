//! A forest of regression trees over levels, and what each factor has to do with the differences between its leaves.
//!
//! The trees are those of Breiman ("Random Forests", 2001), grown on bootstrap samples with all factors at each split.
//! The shares are those of a functional analysis of variance (Hutter, Hoos and Leyton-Brown, "An Efficient Approach for
//! Assessing Hyperparameter Importance", 2014): a tree cuts the space into boxes, so that the mean over all factors but
//! one is a finite sum, without sampling. Here a factor's levels weigh what they weigh among the rows, so the space is
//! the one that was searched, whatever the scale of its axes.

use broadsweep_common::seeds::Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Trees: more change the shares by less than a percent.
const TREES: usize = 64;
/// Splits from a root to a leaf.
const DEPTH_MAX: u32 = 12;
/// Rows of a leaf, at least: a leaf of one row would take its noise for an effect.
const LEAF_ROWS_MIN: usize = 3;
/// Where the bootstrap samples come from: the same rows give the same shares.
const SEED: u64 = 2014;

/// The rows that a forest learns from.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// How many levels each factor has.
    pub(super) levels: Vec<usize>,
    /// The level of each factor, one list a row.
    pub(super) at: Vec<Vec<usize>>,
    /// What is to be explained, one number a row.
    pub(super) targets: Vec<f64>,
}

/// What the factors have to do with the target.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shares {
    /// For each factor, the share of the variance that it explains alone, from 0 to 1.
    pub(super) alone: Vec<f64>,
    /// The share of the variance that rows explain whose bootstrap samples left them out: 1 is all, 0 or below nothing.
    pub(super) explained: f64,
}

impl Shares {
    /// The share that only combinations of factors explain.
    pub(super) fn together(&self) -> f64 {
        (1.0 - self.alone.iter().sum::<f64>()).max(0.0)
    }
}

/// A box of levels, from the first to before the last of each factor, and the mean target there.
struct Leaf {
    range: Vec<(usize, usize)>,
    mean: f64,
}

/// The shares of each factor; `None` if no tree finds a difference.
pub(super) fn shares(rows: &Rows) -> Option<Shares> {
    let weights = weights(rows);
    let mut rng = Rng::seed_from_u64(SEED);
    let mut sums = vec![0.0; rows.levels.len()];
    let mut trees = 0;
    let mut left_out = vec![(0.0, 0_u32); rows.at.len()];
    for _ in 0..TREES {
        let sample = bootstrap(rows.at.len(), &mut rng);
        let leaves = grow(rows, sample.clone());
        for (row, (sum, count)) in left_out.iter_mut().enumerate() {
            if sample.binary_search(&row).is_err() {
                *sum += leaf_of(&leaves, &rows.at[row]);
                *count += 1;
            }
        }
        if let Some(shares) = tree_shares(&leaves, &weights) {
            sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
            trees += 1;
        }
    }
    let alone = sums.into_iter().map(|sum| sum / f64::from(trees)).collect();
    (trees > 0).then(|| Shares { alone, explained: explained(rows, &left_out) })
}

/// What share of the rows has each level of each factor.
fn weights(rows: &Rows) -> Vec<Vec<f64>> {
    let mut weights: Vec<_> = rows.levels.iter().map(|levels| vec![0.0; *levels]).collect();
    for row in &rows.at {
        for (weights, level) in weights.iter_mut().zip(row) {
            weights[*level] += 1.0 / rows.at.len() as f64;
        }
    }
    weights
}

/// As many rows as there are, drawn with replacement, in order.
fn bootstrap(count: usize, rng: &mut Rng) -> Vec<usize> {
    let mut sample: Vec<_> =
        (0..count).map(|_| ((u64::from(rng.next_u32()) * count as u64) >> 32) as usize).collect();
    sample.sort_unstable();
    sample
}

fn grow(rows: &Rows, sample: Vec<usize>) -> Vec<Leaf> {
    let range: Vec<(usize, usize)> = rows.levels.iter().map(|levels| (0, *levels)).collect();
    let mut open = vec![(range, sample, 0)];
    let mut leaves = Vec::new();
    while let Some((range, members, depth)) = open.pop() {
        let split = if depth < DEPTH_MAX { best_split(rows, &range, &members) } else { None };
        let Some((factor, level)) = split else {
            let mean = members.iter().map(|row| rows.targets[*row]).sum::<f64>() / members.len().max(1) as f64;
            leaves.push(Leaf { range, mean });
            continue;
        };
        let (below, above) = members.into_iter().partition(|row| rows.at[*row][factor] < level);
        let (mut lower, mut upper) = (range.clone(), range);
        lower[factor].1 = level;
        upper[factor].0 = level;
        open.extend([(lower, below, depth + 1), (upper, above, depth + 1)]);
    }
    leaves
}

/// The factor and the level before which a cut leaves the least variance; `None` where no cut leaves less.
fn best_split(rows: &Rows, range: &[(usize, usize)], members: &[usize]) -> Option<(usize, usize)> {
    let total: f64 = members.iter().map(|row| rows.targets[*row]).sum();
    let count = members.len() as f64;
    // The variance left is the sum of squares less this; so this is to be large.
    let mut best = (total * total / count + 1e-12, None);
    for (factor, (first, end)) in range.iter().copied().enumerate() {
        let mut at_level = vec![(0.0, 0_usize); end - first];
        for row in members {
            let (sum, count) = &mut at_level[rows.at[*row][factor] - first];
            *sum += rows.targets[*row];
            *count += 1;
        }
        let (mut sum, mut below) = (0.0, 0);
        for (place, (level_sum, level_count)) in at_level.iter().enumerate().take(end - first - 1) {
            sum += level_sum;
            below += level_count;
            let above = members.len() - below;
            if below < LEAF_ROWS_MIN || above < LEAF_ROWS_MIN {
                continue;
            }
            let kept = sum * sum / below as f64 + (total - sum) * (total - sum) / above as f64;
            if kept > best.0 {
                best = (kept, Some((factor, first + place + 1)));
            }
        }
    }
    best.1
}

fn leaf_of(leaves: &[Leaf], row: &[usize]) -> f64 {
    let holds = |leaf: &&Leaf| leaf.range.iter().zip(row).all(|((first, end), level)| (first..end).contains(&level));
    leaves.iter().find(holds).map_or(0.0, |leaf| leaf.mean)
}

/// How much of the variance of a tree's leaves the mean over all other factors has, for each factor.
fn tree_shares(leaves: &[Leaf], weights: &[Vec<f64>]) -> Option<Vec<f64>> {
    let widths: Vec<Vec<f64>> = leaves
        .iter()
        .map(|leaf| {
            let ranges = leaf.range.iter().zip(weights);
            ranges.map(|((first, end), weights)| weights[*first..*end].iter().sum()).collect()
        })
        .collect();
    let sizes: Vec<f64> = widths.iter().map(|widths| widths.iter().product()).collect();
    let mean: f64 = leaves.iter().zip(&sizes).map(|(leaf, size)| leaf.mean * size).sum();
    let total: f64 = leaves.iter().zip(&sizes).map(|(leaf, size)| size * (leaf.mean - mean).powi(2)).sum();
    if total <= 1e-12 {
        return None;
    }
    let share = |(factor, weights): (usize, &Vec<f64>)| {
        let mut marginal = vec![0.0; weights.len()];
        for ((leaf, widths), size) in leaves.iter().zip(&widths).zip(&sizes) {
            // A box whose levels no row has weighs nothing anywhere.
            let others = if widths[factor] > 0.0 { size / widths[factor] } else { 0.0 };
            let (first, end) = leaf.range[factor];
            marginal[first..end].iter_mut().for_each(|mean| *mean += leaf.mean * others);
        }
        let variance: f64 = weights.iter().zip(&marginal).map(|(weight, at)| weight * (at - mean).powi(2)).sum();
        variance / total
    };
    Some(weights.iter().enumerate().map(share).collect())
}

/// One less the share of the squared differences that is left, over the rows that some tree had not seen.
fn explained(rows: &Rows, left_out: &[(f64, u32)]) -> f64 {
    let seen: Vec<_> = rows.targets.iter().zip(left_out).filter(|(_, (_, count))| *count > 0).collect();
    let mean = seen.iter().map(|(target, _)| **target).sum::<f64>() / seen.len().max(1) as f64;
    let squares = |of: &dyn Fn(f64, &(f64, u32)) -> f64| -> f64 {
        seen.iter().map(|(target, sums)| of(**target, sums).powi(2)).sum()
    };
    let left = squares(&|target, (sum, count)| target - sum / f64::from(*count));
    1.0 - left / squares(&|target, _| target - mean).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full grid over factors of so many levels.
    fn grid(levels: &[usize], target: impl Fn(&[usize]) -> f64) -> Rows {
        let mut rows = vec![Vec::new()];
        for count in levels {
            let longer = |row: &Vec<usize>| {
                let row = row.clone();
                (0..*count).map(move |level| [row.clone(), vec![level]].concat())
            };
            rows = rows.iter().flat_map(longer).collect();
        }
        Rows { levels: levels.to_vec(), targets: rows.iter().map(|row| target(row)).collect(), at: rows }
    }

    #[test]
    fn a_sum_is_shared_as_its_parts_vary() {
        // Variances of 0 ..= 9 times 1, and times 2: one to four.
        let shares = shares(&grid(&[10, 10, 10], |row| row[0] as f64 + 2.0 * row[1] as f64)).unwrap();
        for (share, expected) in shares.alone.iter().zip([0.2, 0.8, 0.0]) {
            assert!((share - expected).abs() < 0.02, "{shares:?}");
        }
        assert!(shares.together() < 0.02 && shares.explained > 0.95, "{shares:?}");
    }

    #[test]
    fn what_only_two_together_do_is_no_ones_alone() {
        let odd = |row: &[usize]| f64::from((row[0] < 4) != (row[1] < 4));
        let shares = shares(&grid(&[8, 8], odd)).unwrap();
        assert!(shares.alone.iter().all(|share| *share < 0.1) && shares.together() > 0.85, "{shares:?}");
    }

    #[test]
    fn noise_is_not_explained() {
        let mut rng = Rng::seed_from_u64(1);
        let mut rows = grid(&[16, 16], |_| 0.0);
        rows.targets.iter_mut().for_each(|target| *target = f64::from(rng.next_u32()));
        assert!(shares(&rows).unwrap().explained < 0.1);
    }

    #[test]
    fn without_a_difference_there_are_no_shares() {
        assert_eq!(shares(&grid(&[4, 4], |_| 1.0)), None);
        assert_eq!(shares(&Rows { levels: vec![3], at: Vec::new(), targets: Vec::new() }), None);
        assert_eq!(shares(&Rows { levels: Vec::new(), at: vec![vec![]; 9], targets: vec![1.0; 9] }), None);
    }

    #[test]
    fn the_same_rows_give_the_same_shares() {
        let rows = grid(&[6, 5], |row| (row[0] * row[1]) as f64);
        assert_eq!(shares(&rows), shares(&rows));
    }
}
