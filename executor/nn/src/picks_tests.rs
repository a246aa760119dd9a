//! Sums over picks against f64 arithmetic.

use proptest::prelude::*;

use super::*;
use crate::simd::Portable;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::tests::wave;

/// Items with so many picks, and an image of rows with so many vectors.
#[derive(Clone, Debug)]
struct Case {
    /// Of each item, which numbers it picks; every third factor is zero.
    items: Vec<Vec<usize>>,
    rows: usize,
    vectors: usize,
}

fn case() -> impl Strategy<Value = Case> {
    let items = prop::collection::vec(prop::collection::vec(0..9_usize, 0..7), 1..12);
    (items, 1..11_usize, 1..30_usize).prop_map(|(items, rows, vectors)| Case { items, rows, vectors })
}

fn factor(item: usize, number: usize) -> f32 {
    if (item + number).is_multiple_of(3) { 0.0 } else { wave(item * 100 + number) }
}

/// A step from one place of the image to the next that overlaps its rows.
fn place(number: usize, lanes: usize) -> usize {
    number * lanes / 2
}

fn check<S: Simd>(simd: S, case: &Case, direction: Direction) {
    let Case { items, rows, vectors } = case;
    let line = vectors * S::LANES + 3;
    let lines: Vec<_> = (0..*rows).map(|row| row * line).collect();
    let capacity = items.iter().map(Vec::len).max().unwrap_or(0);
    let at = |number: usize| if direction == Direction::FromImage { place(number, S::LANES) } else { number };
    let item_at = |item: usize| if direction == Direction::ToImage { place(item, S::LANES) } else { item };
    let mut picks = Picks::new((0..items.len()).map(item_at).collect(), capacity, at(8));
    for (item, numbers) in items.iter().enumerate() {
        numbers.iter().enumerate().for_each(|(order, number)| {
            picks.add(item, at(*number) as u32, factor(item, order));
        });
    }
    let image_len = place(12, S::LANES) + rows * line;
    let mut values = 0;
    for bundle in Bundle::all::<S>(&lines, *vectors) {
        let (sources, targets) = match direction {
            Direction::FromImage => (image_len, bundle.len() * items.len()),
            Direction::ToImage => (bundle.len() * 9, image_len),
        };
        let source: Vec<f32> = (0..sources).map(|index| wave(index + 31)).collect();
        let before: Vec<f32> = (0..targets).map(|index| wave(index + 777)).collect();
        let mut target = before.clone();
        bundle.run(simd, &picks, direction, &source, &mut target);
        let mut wanted: Vec<[f64; 2]> =
            before.iter().map(|value| [f64::from(*value), f64::from(value.abs())]).collect();
        for (item, numbers) in items.iter().enumerate() {
            for (order, number) in numbers.iter().enumerate() {
                for (row, line) in bundle.rows().iter().enumerate() {
                    for value in 0..bundle.row_len() {
                        let together = |number| number * bundle.len() + row * bundle.row_len() + value;
                        let (from, to) = match direction {
                            Direction::FromImage => (at(*number) + line + value, together(item)),
                            Direction::ToImage => (together(*number), item_at(item) + line + value),
                        };
                        let product = f64::from(factor(item, order)) * f64::from(source[from]);
                        wanted[to][0] += product;
                        wanted[to][1] += product.abs();
                    }
                }
            }
        }
        for (place, (got, [sum, size])) in target.iter().zip(wanted).enumerate() {
            let bound = (capacity * items.len() + 1) as f64 * f64::from(f32::EPSILON) * size;
            assert!((f64::from(*got) - sum).abs() <= bound, "{case:?}, {direction:?}, {place}: {got}, not {sum}");
        }
        values += bundle.len();
    }
    assert_eq!(values, rows * vectors * S::LANES, "{case:?}: every value is in one bundle");
}

proptest! {
    #[test]
    fn every_kind_of_vectors_sums_what_was_picked(case in case()) {
        for direction in [Direction::FromImage, Direction::ToImage] {
            check(Portable, &case, direction);
            #[cfg(target_arch = "x86_64")]
            {
                if let Some(simd) = Avx2::detect() {
                    check(simd, &case, direction);
                }
                if let Some(simd) = Avx512::detect() {
                    check(simd, &case, direction);
                }
            }
        }
    }
}

fn two_rows() -> (Picks, Bundle) {
    let mut picks = Picks::new(vec![0, 3], 2, 5);
    picks.add(1, 5, 1.0);
    let [bundle] = Bundle::all::<Portable>(&[0, 20], 3).try_into().unwrap();
    (picks, bundle)
}

#[test]
fn a_slice_that_is_too_short_never_reaches_the_inner_loops() {
    let ends_well = |direction, [source, target]: [usize; 2]| {
        let (source, mut target) = (vec![0.0; source], vec![0.0; target]);
        let (picks, bundle) = two_rows();
        let run = move || bundle.run(Portable, &picks, direction, &source, &mut target);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok()
    };
    let (row, bundle) = (3 * Portable::LANES, 6 * Portable::LANES);
    for (direction, [source, target]) in [
        (Direction::FromImage, [5 + 20 + row, 3 * bundle + bundle]),
        (Direction::ToImage, [5 * bundle + bundle, 3 + 20 + row]),
    ] {
        assert!(ends_well(direction, [source, target]), "{direction:?}");
        assert!(!ends_well(direction, [source - 1, target]), "{direction:?}");
        assert!(!ends_well(direction, [source, target - 1]), "{direction:?}");
    }
}

#[test]
#[should_panic(expected = "a pick beyond what was agreed on")]
fn a_pick_beyond_the_last_place_is_refused() {
    two_rows().0.add(0, 6, 1.0);
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn an_item_with_more_picks_than_there_is_room_for_is_refused() {
    let (mut picks, _) = two_rows();
    (0..4).for_each(|_| picks.add(0, 0, 1.0));
}
