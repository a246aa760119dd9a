//! Sums over the few factors that are not zero.
//!
//! A max pool hands the derivative by each output to one pixel, and a `relu` behind it drops half of them: of what stands
//! before the pool, an eighth is not zero. Where [`super::pass`] multiplies everything, this adds up what was picked:
//!
//! ```text
//! target[item + row][value] += Σ over the item's picks  factor × source[pick + row][value]
//! ```
//!
//! Rows are runs of whole vectors, the same few for all items: lines of a convolution's kernel, over one block of
//! channels. Either side may be the image, below whose windows rows lie a line apart, and the other is then a buffer in
//! which they lie together. A bundle of rows has as many vectors as there are registers for their sums; an item's picks
//! pass over them, each read once, and multiply what is read from the source. The order of every sum is that of the picks.

#![expect(unsafe_code, reason = "the inner loops read through pointers; bounds are checked once for a whole list")]

use super::simd::{Simd, Work};

/// Vectors of a bundle: more than the steps that a sum is under way, twice over, and with a factor within the sixteen
/// registers of AVX2.
const VECTORS_MAX: usize = 12;
/// Rows of a bundle: each takes a register for its place.
const ROWS_MAX: usize = 4;

/// A factor, and what it multiplies.
#[derive(Clone, Copy, Debug, Default)]
struct Pick {
    place: u32,
    factor: f32,
}

/// The picks of each item, in the order in which they came.
#[derive(Clone, Debug)]
pub(super) struct Picks {
    /// Where each item's sums lie.
    items: Vec<usize>,
    /// How many picks each item has.
    counts: Vec<usize>,
    /// `[item][pick]`, with room for one more than there can be.
    lists: Vec<Pick>,
    capacity: usize,
    /// No item and no pick lies beyond these.
    item_max: usize,
    place_max: usize,
}

/// Which side is the image, and how places are counted on the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Picks are places of the image; items are numbered, and lie together in bundles.
    FromImage,
    /// Items are places of the image; picks are numbers.
    ToImage,
}

/// Rows that are summed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bundle {
    /// Each row's place in the image, from that of its item or pick.
    rows: Vec<usize>,
    /// Vectors of a row.
    run: usize,
    /// Values of a row.
    row_len: usize,
}

impl Picks {
    /// No picks yet, of items that lie at these places. An item has `capacity` picks at most, none of them beyond
    /// `place_max`.
    pub(super) fn new(items: Vec<usize>, capacity: usize, place_max: usize) -> Self {
        let capacity = capacity + 1;
        Self {
            counts: vec![0; items.len()],
            lists: vec![Pick::default(); items.len() * capacity],
            capacity,
            item_max: items.iter().copied().max().unwrap_or(0),
            place_max,
            items,
        }
    }

    /// Values of the list for so many items.
    pub(super) fn len(items: usize, capacity: usize) -> usize {
        items * (capacity + 1) * (size_of::<Pick>() / size_of::<f32>())
    }

    /// Values of this one.
    #[cfg(test)]
    pub(super) fn values(&self) -> usize {
        size_of_val(&*self.lists) / size_of::<f32>()
    }

    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
    }

    /// Adds a pick to an item's, unless its factor is zero: without a branch, since nobody guesses which are.
    #[inline(always)]
    pub(super) fn add(&mut self, item: usize, place: u32, factor: f32) {
        assert!(place as usize <= self.place_max, "a pick beyond what was agreed on");
        let count = &mut self.counts[item];
        self.lists[item * self.capacity..][..self.capacity][*count] = Pick { place, factor };
        *count += usize::from(factor != 0.0);
    }
}

impl Bundle {
    /// The bundles of rows that have so many vectors each, and lie at these places of the image.
    pub(super) fn all<S: Simd>(rows: &[usize], vectors: usize) -> Vec<Self> {
        let pieces = vectors.div_ceil(VECTORS_MAX);
        let cut = |piece: usize| piece * vectors / pieces;
        let mut bundles = Vec::new();
        for piece in 0..pieces {
            let run = cut(piece + 1) - cut(piece);
            for rows in rows.chunks(ROWS_MAX.min(VECTORS_MAX / run)) {
                let rows = rows.iter().map(|place| place + cut(piece) * S::LANES).collect();
                bundles.push(Self { rows, run, row_len: run * S::LANES });
            }
        }
        bundles
    }

    /// Each row's place in the image.
    pub(super) fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Values of a row.
    pub(super) fn row_len(&self) -> usize {
        self.row_len
    }

    /// Values of all rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len() * self.row_len
    }

    /// Adds every item's sums to `target`. Whatever is numbered lies in its buffer bundle by bundle, and the buffer
    /// starts with this one.
    ///
    /// # Panics
    /// If items, picks or rows lead beyond a slice.
    pub(super) fn run<S: Simd>(
        &self,
        simd: S,
        picks: &Picks,
        direction: Direction,
        source: &[f32],
        target: &mut [f32],
    ) {
        let (mut image, mut together) = ([0; ROWS_MAX], [0; ROWS_MAX]);
        for (number, place) in self.rows.iter().enumerate() {
            (image[number], together[number]) = (*place, number * self.row_len);
        }
        let (scales, rows) = match direction {
            Direction::FromImage => ([1, self.len()], [image, together]),
            Direction::ToImage => ([self.len(), 1], [together, image]),
        };
        let reach = |place: usize, scale: usize, rows: [usize; ROWS_MAX]| {
            let row = rows.into_iter().max().unwrap_or(0);
            place.checked_mul(scale).and_then(|place| place.checked_add(row)?.checked_add(self.row_len))
        };
        let fits = |reach: Option<usize>, len: usize| reach.is_some_and(|reach| reach <= len);
        assert!(
            fits(reach(picks.place_max, scales[0], rows[0]), source.len())
                && fits(reach(picks.item_max, scales[1], rows[1]), target.len()),
            "the picks lead beyond a slice"
        );
        let (source, target) = (source.as_ptr(), target.as_mut_ptr());
        let place = SumPointers { source, target, scales, rows };
        // SAFETY: the slices are as long as the last item and the last pick with the last row need, and `Picks` keeps
        // all others before them. The target is borrowed mutably, and so overlaps nothing that is read.
        unsafe { by_size(simd, (self.rows.len(), self.run), picks, place) }
    }
}

/// Where sums lead.
#[derive(Clone, Copy)]
struct SumPointers {
    source: *const f32,
    target: *mut f32,
    /// What places are multiplied with, of picks and of items.
    scales: [usize; 2],
    /// Of the source and of the target.
    rows: [[usize; ROWS_MAX]; 2],
}

/// Chooses the code for a bundle of so many rows of so many vectors.
///
/// # Safety
/// See [`Sum::new`].
unsafe fn by_size<S: Simd>(simd: S, size: (usize, usize), picks: &Picks, place: SumPointers) {
    macro_rules! choose {
        ($($rows:literal x $($run:literal)*;)*) => {
            match size {
                $($(($rows, $run) => {
                    // SAFETY: the caller's.
                    let sum = unsafe { Sum::<S, $rows, $run>::new(simd, picks, place) };
                    simd.vectorize(sum);
                })*)*
                _ => unreachable!("bundles are cut to fit the registers"),
            }
        };
    }
    choose! {
        1 x 1 2 3 4 5 6 7 8 9 10 11 12;
        2 x 1 2 3 4 5 6;
        3 x 1 2 3 4;
        4 x 1 2 3;
    }
}

/// The inner loops: `ROWS × RUN` sums in registers.
struct Sum<'a, S, const ROWS: usize, const RUN: usize> {
    simd: S,
    picks: &'a Picks,
    place: SumPointers,
}

impl<'a, S: Simd, const ROWS: usize, const RUN: usize> Sum<'a, S, ROWS, RUN> {
    /// # Safety
    /// For every item, its place times the second scale, and for every pick, its place times the first one, `RUN`
    /// vectors have to follow at each of the first `ROWS` rows, to be written in the target and read in the source;
    /// nothing else may use the target meanwhile.
    unsafe fn new(simd: S, picks: &'a Picks, place: SumPointers) -> Self {
        Self { simd, picks, place }
    }
}

impl<S: Simd, const ROWS: usize, const RUN: usize> Work for Sum<'_, S, ROWS, RUN> {
    #[inline(always)]
    fn run(self) {
        let Self { simd, picks, place: SumPointers { source, target, scales, rows: [from_rows, to_rows] } } = self;
        let lists = picks.lists.chunks_exact(picks.capacity);
        for ((item, count), list) in picks.items.iter().zip(&picks.counts).zip(lists) {
            if *count == 0 {
                continue;
            }
            // `wrapping_add`: the checks of `add` in builds with debug assertions would take longer than the sums.
            let to = target.wrapping_add(item * scales[1]);
            let mut sums = [[simd.splat(0.0); RUN]; ROWS];
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: see `new`.
                    *sum = unsafe { simd.load(to.wrapping_add(to_rows[row] + vector * S::LANES)) };
                }
            }
            for pick in &list[..*count] {
                let factor = simd.splat(pick.factor);
                let from = source.wrapping_add(pick.place as usize * scales[0]);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let from = from.wrapping_add(from_rows[row]);
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: see `new`.
                        let values = unsafe { simd.load(from.wrapping_add(vector * S::LANES)) };
                        *sum = simd.mul_add(factor, values, *sum);
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (vector, sum) in sums.iter().enumerate() {
                    // SAFETY: see `new`.
                    unsafe { simd.store(to.wrapping_add(to_rows[row] + vector * S::LANES), *sum) };
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "picks_tests.rs"]
mod tests;
