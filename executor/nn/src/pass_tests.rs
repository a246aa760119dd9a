//! Passes against f64 arithmetic, on tables of every kind.

use proptest::prelude::*;

use super::*;
use crate::simd::Portable;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::tests::wave;

/// A product `(rows, steps) × (steps, columns)`, its steps in segments of so many.
#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    steps: usize,
    segment: usize,
    columns: usize,
    /// 0: blocks, 1: strided, 2: transposed.
    walk: u8,
}

fn case() -> impl Strategy<Value = Case> {
    (1..40_usize, 1..90_usize, 1..30_usize, 1..70_usize, 0..3_u8)
        .prop_map(|(rows, steps, segment, columns, walk)| Case { rows, steps, segment, columns, walk })
}

/// The pass of a case, and where it looks for `a[row, step]`.
fn pass<S: Simd>(simd: S, case: Case) -> (Pass<S>, impl Fn(usize, usize) -> usize) {
    let Case { rows, steps, segment, columns, walk } = case;
    let lanes = S::BLOCK;
    // Every segment has its own matrix `a`, of as many steps as the longest segment has.
    let (walk, matrix) = match walk {
        0 => (Walk::Blocks, rows * lanes),
        1 => (Walk::Strided(segment + 2), rows * (segment + 2)),
        _ => (Walk::Transposed(rows + 1), segment * (rows + 1)),
    };
    let segment = if walk == Walk::Blocks { segment.min(lanes) } else { segment };
    let segments = (0..steps.div_ceil(segment)).map(|number| Segment {
        a: number * matrix,
        b: number * segment * lanes,
        steps: segment.min(steps - number * segment),
    });
    let columns =
        Columns { count: columns, b_block: steps * lanes + 3, c_block: rows * (lanes + 1) + 2, c_row: lanes + 1 };
    let all = [Tile { a: 0, c: 0, rows }];
    let (row, step) = walk.strides(lanes);
    let place = move |r: usize, s: usize| s / segment * matrix + r * row + s % segment * step;
    (Pass::new(simd, walk, segments.collect(), &all, columns), place)
}

/// Runs a case and compares every sum with f64 arithmetic: it may be off by a rounding of each step.
fn check<S: Simd>(simd: S, case: Case) {
    let lanes = S::BLOCK;
    let blocks = case.columns.div_ceil(lanes);
    let (pass, place) = pass(simd, case);
    let a: Vec<f32> = (0..pass.reach[0]).map(wave).collect();
    let b: Vec<f32> = (0..pass.reach[1]).map(|index| wave(index + 7777)).collect();
    let bias: Vec<f32> = (0..blocks * lanes).map(|index| wave(index + 99)).collect();
    let before: Vec<f32> = (0..pass.reach[2]).map(|index| wave(index + 555)).collect();
    let Columns { b_block, c_block, c_row, .. } = pass.columns;
    for start in [Start::Zero, Start::Bias(&bias), Start::Sums] {
        let mut c = before.clone();
        pass.run(&a, &b, start, &mut c);
        let mut touched = vec![false; c.len()];
        for (row, block) in (0..case.rows).flat_map(|row| (0..blocks).map(move |block| (row, block))) {
            let is_half = case.columns - block * lanes <= S::LANES;
            for lane in 0..lanes {
                let at = block * c_block + row * c_row + lane;
                touched[at] = true;
                if is_half && lane >= S::LANES {
                    assert_eq!(c[at], 0.0, "{case:?}: the second vector of half a block");
                    continue;
                }
                let begin = match start {
                    Start::Zero => 0.0,
                    Start::Bias(bias) => bias[block * lanes + lane],
                    Start::Sums => before[at],
                };
                let (mut sum, mut size) = (f64::from(begin), f64::from(begin).abs());
                for step in 0..case.steps {
                    let product =
                        f64::from(a[place(row, step)]) * f64::from(b[block * b_block + step * lanes + lane]);
                    sum += product;
                    size += product.abs();
                }
                let bound = (case.steps + 1) as f64 * f64::from(f32::EPSILON) * size;
                let distance = (f64::from(c[at]) - sum).abs();
                assert!(distance <= bound, "{case:?}, {start:?}, row {row}, block {block}: {}, not {sum}", c[at]);
            }
        }
        let kept = c.iter().zip(&before).zip(&touched).all(|((now, before), touched)| *touched || now == before);
        assert!(kept, "{case:?}: wrote between the rows");
    }
}

proptest! {
    #[test]
    fn every_kind_of_vectors_sums_what_the_tables_say(case in case()) {
        check(Portable, case);
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(simd) = Avx2::detect() {
                check(simd, case);
            }
            if let Some(simd) = Avx512::detect() {
                check(simd, case);
            }
        }
    }
}

#[test]
fn sums_have_the_order_of_the_tables_and_two_roundings_a_step_in_portable() {
    let case = Case { rows: 9, steps: 700, segment: 30, columns: 20, walk: 1 };
    let (pass, place) = pass(Portable, case);
    assert!(pass.group < pass.segments.len(), "one group would not show that sums wait in memory");
    let a: Vec<f32> = (0..pass.reach[0]).map(wave).collect();
    let b: Vec<f32> = (0..pass.reach[1]).map(|index| wave(index + 7777)).collect();
    let mut c = vec![0.0; pass.reach[2]];
    pass.run(&a, &b, Start::Zero, &mut c);
    let lanes = Portable::BLOCK;
    for (row, block) in
        (0..case.rows).flat_map(|row| (0..case.columns.div_ceil(lanes)).map(move |block| (row, block)))
    {
        let place_b = |step| block * pass.columns.b_block + step * lanes;
        let sum = (0..case.steps).fold(0.0, |sum, step| a[place(row, step)] * b[place_b(step)] + sum);
        assert_eq!(c[block * pass.columns.c_block + row * pass.columns.c_row].to_bits(), f32::to_bits(sum));
    }
}

#[test]
#[should_panic(expected = "the tables lead beyond a slice")]
fn a_slice_that_is_too_short_never_reaches_the_inner_loops() {
    let (pass, _) = pass(Portable, Case { rows: 5, steps: 5, segment: 5, columns: 16, walk: 0 });
    let (a, b) = (vec![0.0; pass.reach[0]], vec![0.0; pass.reach[1] - 1]);
    pass.run(&a, &b, Start::Zero, &mut vec![0.0; pass.reach[2]]);
}

#[test]
#[should_panic(expected = "the tables lead beyond a slice")]
fn tables_that_lead_beyond_what_can_be_counted_are_beyond_every_slice() {
    let columns = Columns { count: 16, b_block: usize::MAX, c_block: 0, c_row: 8 };
    let rows = [Tile { a: 8, c: 0, rows: 30 }];
    let segments = vec![Segment { a: 0, b: 0, steps: 3 }];
    let pass = Pass::new(Portable, Walk::Strided(usize::MAX / 2), segments, &rows, columns);
    pass.run(&[0.0; 64], &[0.0; 64], Start::Zero, &mut [0.0; 512]);
}
