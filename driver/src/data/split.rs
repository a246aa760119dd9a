//! Which training rows are held out for validation.

use broadsweep_common::seeds;
use rand_chacha::rand_core::Rng as _;

/// Marks `count` of `rows` rows, drawn without replacement (Fisher and Yates, 1938; Durstenfeld, 1964).
///
/// A mark a row instead of a list of rows: both parts keep the file's order, so equal studies give equal bytes.
///
/// # Panics
/// If `count` is above `rows`.
pub(super) fn held_out(study_seed: u64, rows: usize, count: usize) -> Vec<bool> {
    assert!(count <= rows, "{count} of {rows} rows cannot be held out");
    let mut rng = seeds::split_rng(study_seed);
    let mut order: Vec<u32> = (0..rows as u32).collect();
    let mut held_out = vec![false; rows];
    for place in 0..count {
        // The high half of a 128-bit product; its bias is below 2^-32, and no library can change what it draws.
        let left = (rows - place) as u128;
        let drawn = place + ((u128::from(rng.next_u64()) * left) >> 64) as usize;
        order.swap(place, drawn);
        held_out[order[place] as usize] = true;
    }
    held_out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_so_many_rows_are_held_out(seed in any::<u64>(), rows in 0_usize..300, share in 0.0_f64..=1.0) {
            let count = (rows as f64 * share) as usize;
            let held_out = held_out(seed, rows, count);
            prop_assert_eq!(held_out.len(), rows);
            prop_assert_eq!(held_out.iter().filter(|&&held| held).count(), count);
        }
    }

    #[test]
    fn a_seed_always_holds_the_same_rows_out_and_another_seed_others() {
        let rows = |seed| {
            let held_out = held_out(seed, 20, 5);
            (0..20).filter(|&row| held_out[row]).collect::<Vec<_>>()
        };
        assert_eq!(rows(7), [8, 9, 11, 12, 14]);
        assert_ne!(rows(7), rows(8));
    }

    #[test]
    fn every_row_is_held_out_equally_often() {
        let mut counts = [0_u32; 10];
        for seed in 0..5_000 {
            for (count, held) in counts.iter_mut().zip(held_out(seed, 10, 3)) {
                *count += u32::from(held);
            }
        }
        // 1,500 expected; the deviation of a count is 32.4, and 5 of them are allowed.
        assert!(counts.iter().all(|count| count.abs_diff(1_500) < 162), "{counts:?}");
    }
}
