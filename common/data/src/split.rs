//! Which training rows are held out for validation, and for the test.

use broadsweep_common::dataset::Part;
use broadsweep_common::seeds;
use rand_chacha::rand_core::Rng as _;

/// How rows are held out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way<'r> {
    /// All rows alike.
    Plain,
    /// Each class in its share: the class of each row.
    Stratified(&'r [u32]),
    /// Rows of one group together: the group of each row.
    Grouped(&'r [u32]),
}

/// The part of each of `rows` rows: `validation` and `test` of them are drawn without replacement.
///
/// A mark a row instead of lists of rows: all parts keep the file's order, so equal studies give equal bytes. Of groups,
/// as many rows are drawn as whole groups allow, at most so many, and at least one group.
///
/// # Panics
/// If there are fewer rows.
pub(super) fn parts(study_seed: u64, rows: usize, [validation, test]: [usize; 2], way: Way<'_>) -> Vec<Part> {
    assert!(validation + test <= rows, "{validation} and {test} of {rows} rows cannot be held out");
    match way {
        Way::Plain => plain(study_seed, rows, validation, test),
        Way::Stratified(classes) => stratified(study_seed, classes, [validation, test]),
        Way::Grouped(groups) => grouped(study_seed, groups, [validation, test]),
    }
}

/// The first `count` of `rows` rows in an order that the seed gives (Fisher and Yates, 1938; Durstenfeld, 1964).
fn drawn(study_seed: u64, rows: usize, count: usize) -> Vec<u32> {
    let mut rng = seeds::split_rng(study_seed);
    let mut order: Vec<u32> = (0..rows as u32).collect();
    for place in 0..count {
        // The high half of a 128-bit product; its bias is below 2^-32, and no library can change what it draws.
        let left = (rows - place) as u128;
        let drawn = place + ((u128::from(rng.next_u64()) * left) >> 64) as usize;
        order.swap(place, drawn);
    }
    order.truncate(count);
    order
}

/// Validation rows are drawn first, so that they are the same whether there are test rows or not.
fn plain(study_seed: u64, rows: usize, validation: usize, test: usize) -> Vec<Part> {
    let mut parts = vec![Part::Train; rows];
    for (place, row) in drawn(study_seed, rows, validation + test).into_iter().enumerate() {
        parts[row as usize] = if place < validation { Part::Validation } else { Part::Test };
    }
    parts
}

fn stratified(study_seed: u64, classes: &[u32], counts: [usize; 2]) -> Vec<Part> {
    let mut sizes = vec![0_usize; classes.iter().max().map_or(0, |largest| *largest as usize + 1)];
    for &class in classes {
        sizes[class as usize] += 1;
    }
    // A row of each class stays, as long as there is one.
    let mut left: Vec<usize> = sizes.iter().map(|size| size.saturating_sub(1)).collect();
    let mut quotas = counts.map(|count| {
        let quota = shares(&sizes, &left, count);
        left.iter_mut().zip(&quota).for_each(|(left, taken)| *left -= taken);
        quota
    });
    let mut parts = vec![Part::Train; classes.len()];
    for row in drawn(study_seed, classes.len(), classes.len()) {
        let class = classes[row as usize] as usize;
        for (quota, part) in quotas.iter_mut().zip([Part::Validation, Part::Test]) {
            if quota[class] > 0 {
                quota[class] -= 1;
                parts[row as usize] = part;
                break;
            }
        }
    }
    parts
}

/// `count` rows over classes in proportion to their sizes, at most as many as are left of each: whole parts first, then
/// the largest remainders (Hamilton, 1792), of equal ones the first.
fn shares(sizes: &[usize], left: &[usize], count: usize) -> Vec<usize> {
    let rows: usize = sizes.iter().sum();
    let mut quota: Vec<usize> = sizes.iter().zip(left).map(|(size, left)| (count * size / rows).min(*left)).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&class| std::cmp::Reverse(count * sizes[class] % rows));
    let mut missing = count - quota.iter().sum::<usize>();
    while missing > 0 {
        let before = missing;
        for &class in &order {
            if missing > 0 && quota[class] < left[class] {
                quota[class] += 1;
                missing -= 1;
            }
        }
        if missing == before {
            break; // every class is down to its last row
        }
    }
    quota
}

fn grouped(study_seed: u64, groups: &[u32], counts: [usize; 2]) -> Vec<Part> {
    let mut sizes = vec![0_usize; groups.iter().max().map_or(0, |largest| *largest as usize + 1)];
    for &group in groups {
        sizes[group as usize] += 1;
    }
    let order = drawn(study_seed, sizes.len(), sizes.len());
    let mut part_of = vec![Part::Train; sizes.len()];
    for (count, part) in counts.into_iter().zip([Part::Validation, Part::Test]) {
        let mut held = 0;
        for &group in &order {
            let size = sizes[group as usize];
            if part_of[group as usize] == Part::Train && held + size <= count {
                part_of[group as usize] = part;
                held += size;
            }
        }
        // No group is small enough: the smallest one that is left.
        let rest = order.iter().filter(|&&group| part_of[group as usize] == Part::Train);
        if let Some(&group) = rest.min_by_key(|&&group| sizes[group as usize]).filter(|_| held == 0 && count > 0) {
            part_of[group as usize] = part;
        }
    }
    groups.iter().map(|&group| part_of[group as usize]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held_out(seed: u64, rows: usize, count: usize) -> Vec<bool> {
        parts(seed, rows, [count, 0], Way::Plain).into_iter().map(|part| part == Part::Validation).collect()
    }

    fn count(parts: &[Part], part: Part) -> usize {
        parts.iter().filter(|&&other| other == part).count()
    }

    proptest! {
        #[test]
        fn exactly_so_many_rows_are_held_out(
            seed in any::<u64>(),
            classes in proptest::collection::vec(0_u32..5, 1..200),
            share in 0.0_f64..0.5,
            test_share in 0.0_f64..0.5,
        ) {
            let rows = classes.len();
            let counts = [(rows as f64 * share) as usize, (rows as f64 * test_share) as usize];
            let plain = parts(seed, rows, counts, Way::Plain);
            prop_assert_eq!([Part::Validation, Part::Test].map(|part| count(&plain, part)), counts);
            // Of a class, at most one row more or fewer than its share, and one stays.
            let stratified = parts(seed, rows, counts, Way::Stratified(&classes));
            for class in 0..5 {
                let of_class: Vec<_> =
                    stratified.iter().zip(&classes).filter(|(_, of)| **of == class).map(|(part, _)| *part).collect();
                prop_assert!(of_class.is_empty() || of_class.contains(&Part::Train));
            }
            let grouped = parts(seed, rows, counts, Way::Grouped(&classes));
            for group in 0..5 {
                let mut of_group = grouped.iter().zip(&classes).filter(|(_, of)| **of == group).map(|(part, _)| part);
                if let Some(first) = of_group.next() {
                    prop_assert!(of_group.all(|part| part == first));
                }
            }
        }
    }

    #[test]
    fn classes_are_held_out_in_their_shares() {
        let classes: Vec<u32> = (0..100).map(|row| u32::from(row % 10 == 0)).collect();
        let parts = parts(7, 100, [20, 30], Way::Stratified(&classes));
        let of = |part, class| (0..100).filter(|&row| parts[row] == part && classes[row] == class).count();
        assert_eq!([of(Part::Validation, 1), of(Part::Test, 1), of(Part::Train, 1)], [2, 3, 5]);
        assert_eq!([of(Part::Validation, 0), of(Part::Test, 0), of(Part::Train, 0)], [18, 27, 45]);
    }

    #[test]
    fn validation_rows_are_the_same_with_test_rows_and_without() {
        let with = parts(7, 20, [5, 4], Way::Plain);
        let rows = |parts: &[Part]| (0..20).filter(|&row| parts[row] == Part::Validation).collect::<Vec<_>>();
        assert_eq!(rows(&with), rows(&parts(7, 20, [5, 0], Way::Plain)));
        assert_eq!(count(&with, Part::Test), 4);
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
