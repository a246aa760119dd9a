//! The one kernel of the trainer: sums of products over tiles that stay in registers.
//!
//! Every product that a layer needs has the form
//!
//! ```text
//! c[row][column] = start + Σ over segments, Σ over steps  a[row, step] × b[step][column]
//! ```
//!
//! and differs in where `row` and `step` lead in memory alone. A [`Pass`] holds that as tables, which are made when
//! a network is built: tiles say where rows begin, segments where runs of steps begin, [`Walk`] how far it is from
//! one to the next. Columns come in blocks of two vectors, as every layout here has them:
//!
//! ```text
//! b: [block][step][lane]     c: [block][row][lane]     a: single values, each multiplied with whole vectors
//! ```
//!
//! A tile is one block wide, and has so many rows that all its sums stay in registers. Segments are taken in groups whose part of `b` stays in the first cache while all
//! tiles pass over it; between groups the sums wait in `c`. So the order of every sum is fixed by the tables.

#![expect(unsafe_code, reason = "the inner loops read through pointers; bounds are checked once for a whole pass")]

use super::simd::{Simd, Work};

/// Values of `b` that stay in the first cache (32 KiB and more) beside what passes through it.
const GROUP_VALUES: usize = 5 * 1024;

/// How far it is in `a` from a row to the next, and from a step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// Rows are a block apart, steps are neighbours: pixels of a blocked image, features of a blocked row.
    Blocks,
    /// Rows are so far apart, steps are neighbours.
    Strided(usize),
    /// Rows are neighbours, steps are so far apart: what multiplies is transposed.
    Transposed(usize),
}

/// A run of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its first step's place in `a`, from the row.
    pub(super) a: usize,
    /// Its first step's place in the first block of `b`.
    pub(super) b: usize,
    /// Steps.
    pub(super) steps: usize,
}

/// Rows that are summed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// The first row's place in `a`.
    pub(super) a: usize,
    /// The first row's place in the first block of `c`.
    pub(super) c: usize,
    /// Rows.
    pub(super) rows: usize,
}

/// Where blocks of columns lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// How many there are. Where the last block has no more than one vector of them, only that is summed, and the other
    /// becomes 0.
    pub(super) count: usize,
    /// From a block of `b` to the next.
    pub(super) b_block: usize,
    /// From a block of `c` to the next.
    pub(super) c_block: usize,
    /// From a row of `c` to the next.
    pub(super) c_row: usize,
}

/// What sums begin with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start<'a> {
    /// Zero.
    Zero,
    /// A value for each column, `[block][lane]`.
    Bias(&'a [f32]),
    /// What stands in `c`.
    Sums,
}

/// The tables of one product, for one kind of vectors.
#[derive(Clone, Debug)]
pub(super) struct Pass<S> {
    simd: S,
    walk: Walk,
    segments: Vec<Segment>,
    /// Segments that are taken together.
    group: usize,
    tiles: Vec<Tile>,
    columns: Columns,
    /// Values that `a`, `b` and `c` have to have.
    reach: [usize; 3],
}

impl<S: Simd> Pass<S> {
    /// `rows` are runs of rows, which are cut into tiles here.
    pub(super) fn new(simd: S, walk: Walk, segments: Vec<Segment>, rows: &[Tile], columns: Columns) -> Self {
        let (row, step) = walk.strides(S::BLOCK);
        let tiles: Vec<Tile> = rows.iter().flat_map(|run| cut(*run, S::TILE_ROWS, row, columns.c_row)).collect();
        // The place `start + (count - 1) × stride`; all that is read or written rests on these sums.
        let last = |start: usize, count: usize, stride: usize| {
            let end = count.saturating_sub(1).checked_mul(stride).and_then(|way| way.checked_add(start));
            end.unwrap_or(usize::MAX)
        };
        let a_row = tiles.iter().map(|tile| last(tile.a, tile.rows, row)).max().unwrap_or(0);
        let a_step = segments.iter().map(|segment| last(segment.a, segment.steps, step)).max().unwrap_or(0);
        let b_step = segments.iter().map(|segment| last(segment.b, segment.steps, S::BLOCK)).max().unwrap_or(0);
        let c_row = tiles.iter().map(|tile| last(tile.c, tile.rows, columns.c_row)).max().unwrap_or(0);
        let blocks = columns.count.div_ceil(S::BLOCK);
        let reach = [
            a_row.saturating_add(a_step).saturating_add(1),
            last(b_step, blocks, columns.b_block).saturating_add(S::BLOCK),
            last(c_row, blocks, columns.c_block).saturating_add(S::BLOCK),
        ];
        let longest = segments.iter().map(|segment| segment.steps).max().unwrap_or(1).max(1);
        let group = (GROUP_VALUES / longest.saturating_mul(S::BLOCK)).max(1);
        Self { simd, walk, segments, group, tiles, columns, reach }
    }

    /// Fills `c`, or adds to it.
    ///
    /// # Panics
    /// If the tables lead beyond a slice.
    pub(super) fn run(&self, a: &[f32], b: &[f32], start: Start<'_>, c: &mut [f32]) {
        let [a_reach, b_reach, c_reach] = self.reach;
        assert!(a.len() >= a_reach && b.len() >= b_reach && c.len() >= c_reach, "the tables lead beyond a slice");
        let Columns { count, b_block, c_block, .. } = self.columns;
        if let Start::Bias(bias) = start {
            assert!(bias.len() >= count.next_multiple_of(S::BLOCK), "a bias for each column");
        }
        for block in 0..count.div_ceil(S::BLOCK) {
            let is_half = count - block * S::BLOCK <= S::LANES;
            let mut start = start;
            for segments in self.segments.chunks(self.group) {
                for tile in &self.tiles {
                    // SAFETY: `reach` was taken over all tiles, segments and blocks, and the slices are that long; the
                    // bias too. `c` is borrowed mutably, and so overlaps nothing that is read.
                    unsafe {
                        let place = Place {
                            a: a.as_ptr().add(tile.a),
                            b: b.as_ptr().add(block * b_block),
                            c: c.as_mut_ptr().add(tile.c + block * c_block),
                            c_row: self.columns.c_row,
                            begin: match start {
                                Start::Zero => Begin::Zero,
                                Start::Bias(bias) => Begin::Bias(bias.as_ptr().add(block * S::BLOCK)),
                                Start::Sums => Begin::Sums,
                            },
                        };
                        self.tile(tile.rows, is_half, segments, place);
                    }
                }
                start = Start::Sums;
            }
        }
    }

    /// # Safety
    /// See [`Sum::new`].
    unsafe fn tile(&self, rows: usize, is_half: bool, segments: &[Segment], place: Place) {
        let simd = self.simd;
        // SAFETY: the caller's.
        unsafe {
            match (self.walk, is_half) {
                (Walk::Blocks, false) => by_rows::<S, 2, BLOCKS>(simd, rows, 0, segments, place),
                (Walk::Blocks, true) => by_rows::<S, 1, BLOCKS>(simd, rows, 0, segments, place),
                (Walk::Strided(row), false) => by_rows::<S, 2, STRIDED>(simd, rows, row, segments, place),
                (Walk::Strided(row), true) => by_rows::<S, 1, STRIDED>(simd, rows, row, segments, place),
                (Walk::Transposed(step), false) => by_rows::<S, 2, TRANSPOSED>(simd, rows, step, segments, place),
                (Walk::Transposed(step), true) => by_rows::<S, 1, TRANSPOSED>(simd, rows, step, segments, place),
            }
        }
    }
}

impl Walk {
    /// From a row to the next, and from a step to the next.
    fn strides(self, block: usize) -> (usize, usize) {
        match self {
            Self::Blocks => (block, 1),
            Self::Strided(row) => (row, 1),
            Self::Transposed(step) => (1, step),
        }
    }
}

/// Cuts a run of rows into tiles of `max` rows at most, as even as can be.
fn cut(run: Tile, max: usize, a_row: usize, c_row: usize) -> impl Iterator<Item = Tile> {
    let tiles = run.rows.div_ceil(max);
    (0..tiles).map(move |tile| {
        let (begin, end) = (tile * run.rows / tiles, (tile + 1) * run.rows / tiles);
        // A place that cannot be counted is beyond every slice.
        let place = |start: usize, row: usize| start.saturating_add(begin.saturating_mul(row));
        Tile { a: place(run.a, a_row), c: place(run.c, c_row), rows: end - begin }
    })
}

/// Where one tile reads and writes.
#[derive(Clone, Copy)]
struct Place {
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    c_row: usize,
    begin: Begin,
}

#[derive(Clone, Copy)]
enum Begin {
    Zero,
    Bias(*const f32),
    Sums,
}

/// The kinds of [`Walk`], as constants that code is generated for.
const BLOCKS: u8 = 0;
const STRIDED: u8 = 1;
const TRANSPOSED: u8 = 2;

/// Chooses the code for so many rows. `stride` is what the walk does not know.
///
/// # Safety
/// See [`Sum::new`].
unsafe fn by_rows<S: Simd, const VECTORS: usize, const WALK: u8>(
    simd: S,
    rows: usize,
    stride: usize,
    segments: &[Segment],
    place: Place,
) {
    macro_rules! choose {
        ($($count:literal)*) => {
            match rows {
                $($count if $count <= S::TILE_ROWS => {
                    // SAFETY: the caller's.
                    let sum = unsafe { Sum::<S, $count, VECTORS, WALK>::new(simd, stride, segments, place) };
                    simd.vectorize(sum);
                })*
                _ => unreachable!("tiles are cut to fit the registers"),
            }
        };
    }
    choose!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// The inner loops: `ROWS × VECTORS` sums in registers.
struct Sum<'a, S, const ROWS: usize, const VECTORS: usize, const WALK: u8> {
    simd: S,
    stride: usize,
    segments: &'a [Segment],
    place: Place,
}

impl<'a, S: Simd, const ROWS: usize, const VECTORS: usize, const WALK: u8> Sum<'a, S, ROWS, VECTORS, WALK> {
    /// # Safety
    /// As long as it lives, all that segments and strides reach from `place` has to be there, whole blocks of it, and
    /// nothing else may use `c`.
    unsafe fn new(simd: S, stride: usize, segments: &'a [Segment], place: Place) -> Self {
        Self { simd, stride, segments, place }
    }

    #[inline(always)]
    fn begin(&self) -> [[S::Vector; VECTORS]; ROWS] {
        let (simd, place) = (self.simd, self.place);
        let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
        match place.begin {
            Begin::Zero => {}
            Begin::Bias(bias) => {
                for column in 0..VECTORS {
                    // SAFETY: see `new`; `Pass::run` checked that there is a bias for each column.
                    let bias = unsafe { simd.load(bias.add(column * S::LANES)) };
                    for sums in &mut sums {
                        sums[column] = bias;
                    }
                }
            }
            Begin::Sums => {
                for (number, sums) in sums.iter_mut().enumerate() {
                    for (column, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: see `new`.
                        *sum = unsafe { simd.load(place.c.add(number * place.c_row + column * S::LANES)) };
                    }
                }
            }
        }
        sums
    }
}

impl<S: Simd, const ROWS: usize, const VECTORS: usize, const WALK: u8> Work for Sum<'_, S, ROWS, VECTORS, WALK> {
    #[inline(always)]
    fn run(self) {
        let Self { simd, stride, segments, place } = self;
        let (row, step) = match WALK {
            BLOCKS => (S::BLOCK, 1),
            STRIDED => (stride, 1),
            _ => (1, stride),
        };
        let mut sums = self.begin();
        for (number, segment) in segments.iter().enumerate() {
            if WALK == BLOCKS {
                // The next segment is elsewhere, and no processor guesses where.
                let next = segments.get(number + 1).unwrap_or(segment).a;
                (0..ROWS).for_each(|number| simd.prefetch(place.a.wrapping_add(next + number * row)));
            }
            // SAFETY: see `new`.
            unsafe {
                // `wrapping_add`: the checks of `add` in builds with debug assertions would take longer than the sums.
                let (mut a, mut b) = (place.a.add(segment.a), place.b.add(segment.b));
                for _ in 0..segment.steps {
                    let mut vectors = [simd.splat(0.0); VECTORS];
                    for (column, vector) in vectors.iter_mut().enumerate() {
                        *vector = simd.load(b.wrapping_add(column * S::LANES));
                    }
                    for (number, sums) in sums.iter_mut().enumerate() {
                        let factor = simd.splat(a.wrapping_add(number.wrapping_mul(row)).read_unaligned());
                        for (sum, vector) in sums.iter_mut().zip(&vectors) {
                            *sum = simd.mul_add(factor, *vector, *sum);
                        }
                    }
                    a = a.wrapping_add(step);
                    b = b.wrapping_add(S::BLOCK);
                }
            }
        }
        for (number, sums) in sums.iter().enumerate() {
            for (column, sum) in sums.iter().enumerate() {
                // SAFETY: see `new`.
                unsafe { simd.store(place.c.add(number * place.c_row + column * S::LANES), *sum) };
            }
            if VECTORS == 1 {
                // SAFETY: see `new`.
                unsafe { simd.store(place.c.add(number * place.c_row + S::LANES), simd.splat(0.0)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::nn::simd::Portable;
    #[cfg(target_arch = "x86_64")]
    use crate::nn::simd::{Avx2, Avx512};
    use crate::nn::tests::wave;

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
}
