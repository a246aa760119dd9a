//! The lag between the end of a segment and the moment at which its result is seen.

use std::num::NonZeroU64;

/// Draws from the space whose planned costs a lag is the median of.
pub const LAG_DRAWS: u64 = 256;

/// The lag of a study whose draws have these planned costs, in the unit of the costs: their median, and the lower one of
/// the two in the middle where their number is even, since a mean of the two need not be whole. 1 for no costs at all.
#[must_use]
pub fn lag(costs: impl IntoIterator<Item = NonZeroU64>) -> NonZeroU64 {
    let mut costs: Vec<_> = costs.into_iter().collect();
    let middle = costs.len().saturating_sub(1) / 2;
    costs.sort_unstable();
    costs.get(middle).copied().unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_the_lower_median() {
        let lag_of = |costs: &[u64]| lag(costs.iter().map(|cost| NonZeroU64::new(*cost).unwrap())).get();
        for (costs, expected) in [(&[][..], 1), (&[7], 7), (&[9, 2], 2), (&[9, 2, 4], 4), (&[8, 1, 6, 3], 3)] {
            assert_eq!(lag_of(costs), expected, "{costs:?}");
        }
    }
}
