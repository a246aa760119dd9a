//! The kernel for products of everything: sums over tiles that stay in registers. (`picks` has the other one.)
//!
//! Every such product that a layer needs has the form
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
//! A tile is one block wide, and has so many rows that all its sums stay in registers: more of them where a last block is
//! but one vector wide, or too few sums would be under way to hide how long each takes. Segments are taken in groups
//! whose part of `b` stays in the first cache while all tiles pass over it; between groups the sums wait in `c`. So the order of every sum is fixed by the tables.

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
    /// For whole blocks of columns, and for a last one of a single vector; empty where there is none.
    tiles: [Vec<Tile>; 2],
    columns: Columns,
    /// Values that `a`, `b` and `c` have to have.
    reach: [usize; 3],
}

impl<S: Simd> Pass<S> {
    /// `rows` are runs of rows, which are cut into tiles here.
    pub(super) fn new(simd: S, walk: Walk, segments: Vec<Segment>, rows: &[Tile], columns: Columns) -> Self {
        let (row, step) = walk.strides(S::BLOCK);
        let is_half = (1..=S::LANES).contains(&(columns.count % S::BLOCK));
        let has_whole = columns.count > S::LANES;
        let tiles = [(has_whole, S::TILE_ROWS), (is_half, S::HALF_TILE_ROWS)].map(|(is_needed, max)| {
            let runs = if is_needed { rows } else { &[] };
            runs.iter().flat_map(|run| cut(*run, max, row, columns.c_row)).collect::<Vec<_>>()
        });
        // The place `start + (count - 1) × stride`; all that is read or written rests on these sums.
        let last = |start: usize, count: usize, stride: usize| {
            let end = count.saturating_sub(1).checked_mul(stride).and_then(|way| way.checked_add(start));
            end.unwrap_or(usize::MAX)
        };
        let all_tiles = || tiles.iter().flatten();
        let a_row = all_tiles().map(|tile| last(tile.a, tile.rows, row)).max().unwrap_or(0);
        let a_step = segments.iter().map(|segment| last(segment.a, segment.steps, step)).max().unwrap_or(0);
        let b_step = segments.iter().map(|segment| last(segment.b, segment.steps, S::BLOCK)).max().unwrap_or(0);
        let c_row = all_tiles().map(|tile| last(tile.c, tile.rows, columns.c_row)).max().unwrap_or(0);
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
                for tile in &self.tiles[usize::from(is_half)] {
                    // SAFETY: `reach` was taken over all tiles, segments and blocks, and the slices are that long; the
                    // bias too. `c` is borrowed mutably, and so overlaps nothing that is read.
                    unsafe {
                        let place = TilePointers {
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
    unsafe fn tile(&self, rows: usize, is_half: bool, segments: &[Segment], place: TilePointers) {
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
struct TilePointers {
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
    place: TilePointers,
) {
    let rows_max = if VECTORS == 1 { S::HALF_TILE_ROWS } else { S::TILE_ROWS };
    macro_rules! choose {
        ($($count:literal)*) => {
            match rows {
                $($count if $count <= rows_max => {
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
    place: TilePointers,
}

impl<'a, S: Simd, const ROWS: usize, const VECTORS: usize, const WALK: u8> Sum<'a, S, ROWS, VECTORS, WALK> {
    /// # Safety
    /// As long as it lives, all that segments and strides reach from `place` has to be there, whole blocks of it, and
    /// nothing else may use `c`.
    unsafe fn new(simd: S, stride: usize, segments: &'a [Segment], place: TilePointers) -> Self {
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
#[path = "pass_tests.rs"]
mod tests;
