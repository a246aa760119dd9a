//! Rows of a data set on their way into a network: their order, and the gathering of a batch.

use broadsweep_common::dataset::{Dataset, Features, Part, Scaling, TargetKind, Targets};
use broadsweep_common::seeds::{self, Rng};
use ndarray::ArrayView2;
use rand_chacha::rand_core::Rng as _;

use super::buffer::Buffer;
use super::kernel::Kernel;
use super::layout::{Layout, Piece};
use super::loss::Wanted;
use super::simd::Work;

/// Rows that are asked for before they are gathered.
const AHEAD: usize = 4;

/// A batch: scaled features and targets, in buffers made for the largest one.
pub(super) struct Batch {
    kernel: Kernel,
    /// Of the features.
    layout: Layout,
    rows: usize,
    /// Of the first row in batches of `rows` rows.
    pieces: Vec<Piece>,
    features: Buffer,
    targets: Wants,
}

/// Targets in their own type.
enum Wants {
    Classes(Vec<u32>),
    Values { width: usize, values: Vec<f32> },
}

impl Batch {
    pub(super) fn new(targets: TargetKind, kernel: Kernel, layout: Layout, rows_max: usize) -> Self {
        let targets = match targets {
            TargetKind::Classes { .. } => Wants::Classes(vec![0; rows_max]),
            TargetKind::Values { width } => {
                Wants::Values { width: width as usize, values: vec![0.0; rows_max * width as usize] }
            }
        };
        let pieces = layout.pieces(1, 0).collect();
        Self { kernel, layout, rows: 1, pieces, features: Buffer::zeroed(layout.len(rows_max)), targets }
    }

    /// Takes these rows of `part`, widened to f32 and scaled.
    pub(super) fn gather(&mut self, data: &Dataset, part: Part, rows: impl ExactSizeIterator<Item = usize> + Clone) {
        if self.rows != rows.len() {
            self.rows = rows.len();
            self.pieces.clear();
            self.pieces.extend(self.layout.pieces(self.rows, 0));
        }
        match data.features(part) {
            Features::U8(all) => self.gather_features(contiguous(&all), &data.header().scaling, rows.clone()),
            Features::F32(all) => self.gather_features(contiguous(&all), &data.header().scaling, rows.clone()),
        }
        match (&mut self.targets, data.targets(part)) {
            (Wants::Classes(classes), Targets::Classes(source)) => {
                classes.iter_mut().zip(rows).for_each(|(class, row)| *class = source[row]);
            }
            (Wants::Values { width, values }, Targets::Values(source)) => {
                let source = contiguous(&source);
                for (slots, row) in values.chunks_exact_mut(*width).zip(rows) {
                    slots.copy_from_slice(&source[row * *width..][..*width]);
                }
            }
            (Wants::Classes(_), Targets::Values(_)) | (Wants::Values { .. }, Targets::Classes(_)) => {
                unreachable!("the batch was made for this data set's kind of targets")
            }
        }
    }

    /// `all` are the features of all rows.
    fn gather_features<T: Copy + Into<f32>>(
        &mut self,
        all: &[T],
        scaling: &Scaling,
        rows: impl Iterator<Item = usize> + Clone,
    ) {
        let values = self.layout.values();
        let row_of = |row: usize| &all[row * values..][..values];
        let mut ahead = rows.clone();
        for (number, row) in rows.enumerate() {
            // Rows come in any order, so no processor guesses which is next.
            let next = if number == 0 { AHEAD } else { 1 };
            ahead.by_ref().take(next).for_each(|row| self.kernel.prefetch(row_of(row)));
            let features = &mut self.features[number * self.layout.row_step()..];
            self.kernel.vectorize(CopyScaled { source: row_of(row), scaling, pieces: &self.pieces, features });
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// In their layout.
    pub(super) fn features(&self) -> &[f32] {
        &self.features[..self.layout.len(self.rows)]
    }

    pub(super) fn wanted(&self) -> Wanted<'_> {
        match &self.targets {
            Wants::Classes(classes) => Wanted::Classes(&classes[..self.rows]),
            Wants::Values { width, values } => Wanted::Values(&values[..self.rows * width]),
        }
    }

    /// Bytes of all buffers.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let targets = match &self.targets {
            Wants::Classes(classes) => classes.len(),
            Wants::Values { values, .. } => values.len(),
        };
        4 * (self.features.len() + targets)
    }
}

/// One row on its way into a batch, piece by piece.
struct CopyScaled<'a, T> {
    source: &'a [T],
    scaling: &'a Scaling,
    pieces: &'a [Piece],
    /// From where the pieces' places count.
    features: &'a mut [f32],
}

impl<T: Copy + Into<f32>> Work for CopyScaled<'_, T> {
    #[inline(always)]
    fn run(self) {
        for &Piece { from, to, length } in self.pieces {
            let values = self.features[to..to + length].iter_mut().zip(&self.source[from..from + length]);
            match self.scaling {
                Scaling::Uniform { factor, offset } => {
                    for (target, &value) in values {
                        *target = value.into() * factor + offset;
                    }
                }
                Scaling::PerFeature { factors, offsets } => {
                    for ((target, &value), (factor, offset)) in
                        values.zip(factors[from..].iter().zip(&offsets[from..]))
                    {
                        *target = value.into() * factor + offset;
                    }
                }
            }
        }
    }
}

#[expect(clippy::expect_used, reason = "a data set lays its rows out one after another")]
fn contiguous<'a, T>(rows: &ArrayView2<'a, T>) -> &'a [T] {
    rows.to_slice().expect("rows lie one after another")
}

/// Fills `order` with every row once, in the order of this epoch (Fisher and Yates, as Durstenfeld wrote it, 1964).
pub(super) fn shuffle(order: &mut [u32], study_seed: u64, repeat: u32, epoch: u32) {
    let mut rng = seeds::shuffle_rng(study_seed, repeat, epoch);
    order.iter_mut().zip(0..).for_each(|(slot, row)| *slot = row);
    for last in (1..order.len()).rev() {
        order.swap(last, below(&mut rng, last as u32 + 1) as usize);
    }
}

/// A fair number below `bound` (Lemire, 2019): the few words that would favour some numbers are drawn again.
fn below(rng: &mut Rng, bound: u32) -> u32 {
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(bound);
        if product as u32 >= bound.wrapping_neg() % bound {
            return (product >> 32) as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use broadsweep_common::dataset::{DatasetBuilder, Element, Header};

    use super::*;
    use crate::layout::Border;
    use crate::shape::Shape;

    const ROWS: u32 = 12;
    /// Of a row: an image of 2 x 2 pixels with 3 channels.
    const VALUES: usize = 12;
    /// Of a target.
    const WIDTH: usize = 2;

    /// No two values of the data are the same.
    fn raw(row: usize, index: usize) -> u8 {
        (row * VALUES + index) as u8
    }

    fn data(element: Element, targets: TargetKind, scaling: Scaling) -> Dataset {
        let header = Header {
            shape: vec![2, 2, 3],
            element,
            targets,
            rows: [ROWS.into(), 0, 0],
            scaling,
            files_bytes: 0,
            target_scaling: Vec::new(),
        };
        let mut builder = DatasetBuilder::new(header).unwrap();
        for row in 0..ROWS as usize {
            let values = (0..VALUES).map(|index| raw(row, index));
            let features: Vec<u8> = match element {
                Element::U8 => values.collect(),
                Element::F32 => values.flat_map(|value| f32::from(value).to_ne_bytes()).collect(),
            };
            builder.feature_row(Part::Train, row).copy_from_slice(&features);
            let target = match targets {
                TargetKind::Classes { .. } => (row as u32).to_ne_bytes().to_vec(),
                TargetKind::Values { .. } => [row as f32, -(row as f32)].map(f32::to_ne_bytes).concat(),
            };
            builder.target_row(Part::Train, row).copy_from_slice(&target);
        }
        Dataset::open(Arc::new(builder.finish())).unwrap()
    }

    fn per_feature() -> Scaling {
        let factors = (0..VALUES).map(|index| 2.0 + index as f32).collect();
        Scaling::PerFeature { factors, offsets: (0..VALUES).map(|index| 100.0 - index as f32).collect() }
    }

    fn layouts() -> [Layout; 4] {
        let image = Layout::new(Shape::Image { height: 2, width: 2, channels: 3 }, 2);
        let border = Border { top: 1, bottom: 0, left: 2, right: 1 };
        let flat = |lanes| Layout::new(Shape::Flat(VALUES), lanes);
        [flat(VALUES), flat(8), image, image.with_border(border)]
    }

    #[test]
    fn rows_are_gathered_in_the_order_asked_for_scaled_and_where_the_layout_has_them() {
        let uniform = Scaling::Uniform { factor: 0.5, offset: 3.0 };
        for (element, scaling) in
            [Element::U8, Element::F32].into_iter().flat_map(|it| [(it, uniform.clone()), (it, per_feature())])
        {
            let data = data(element, TargetKind::Classes { count: ROWS }, scaling.clone());
            for (layout, kernel) in
                layouts().into_iter().flat_map(|it| Kernel::detect().into_iter().map(move |k| (it, k)))
            {
                let mut batch = Batch::new(data.header().targets, kernel, layout, 7);
                // More rows than are asked for ahead, then a smaller batch, as at the end of an epoch.
                for rows in [vec![11, 3, 0, 7, 3, 5, 9], vec![4, 2]] {
                    batch.gather(&data, Part::Train, rows.iter().copied());
                    assert_eq!(batch.rows(), rows.len());
                    assert_eq!(batch.features().len(), layout.len(rows.len()));
                    for (number, index) in (0..rows.len()).flat_map(|row| (0..VALUES).map(move |index| (row, index)))
                    {
                        let (factor, offset) = match &scaling {
                            Scaling::Uniform { factor, offset } => (*factor, *offset),
                            Scaling::PerFeature { factors, offsets } => (factors[index], offsets[index]),
                        };
                        let expected = f32::from(raw(rows[number], index)) * factor + offset;
                        assert_eq!(batch.features()[layout.place(rows.len(), number, index)], expected, "{layout:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_row_comes_with_its_target() {
        let [layout, ..] = layouts();
        for targets in [TargetKind::Classes { count: ROWS }, TargetKind::Values { width: WIDTH as u32 }] {
            let data = data(Element::U8, targets, per_feature());
            let mut batch = Batch::new(data.header().targets, Kernel::PORTABLE, layout, 3);
            for rows in [vec![11, 3, 7], vec![4]] {
                batch.gather(&data, Part::Train, rows.iter().copied());
                match batch.wanted() {
                    Wanted::Classes(classes) => assert!(classes.iter().map(|class| *class as usize).eq(rows)),
                    Wanted::Values(values) => {
                        let expected: Vec<f32> = rows.iter().flat_map(|row| [*row as f32, -(*row as f32)]).collect();
                        assert_eq!(values, expected);
                    }
                }
            }
        }
    }

    #[test]
    fn an_epoch_sees_every_row_once_and_trials_share_its_order() {
        let order = |seed, repeat, epoch| {
            let mut order = vec![0; 1000];
            shuffle(&mut order, seed, repeat, epoch);
            order
        };
        let first = order(1, 0, 1);
        assert_eq!(first, order(1, 0, 1));
        for other in [order(2, 0, 1), order(1, 1, 1), order(1, 0, 2)] {
            assert_ne!(first, other);
        }
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
    }

    #[test]
    fn every_order_of_three_rows_is_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6000 {
            let mut order = [0; 3];
            shuffle(&mut order, seed, 0, 1);
            *counts.entry(order).or_insert(0) += 1;
        }
        // 1,000 expected of each; the standard deviation is 29.
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (880..1120).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_bound_that_divides_all_words_costs_one_word_and_another_one_favours_no_number() {
        let mut rng = seeds::shuffle_rng(1, 0, 1);
        for bound in [1, 2, 1 << 10, 1 << 31] {
            for _ in 0..20 {
                let mut twin = rng.clone();
                let expected = (u64::from(twin.next_u32()) * u64::from(bound)) >> 32;
                assert_eq!(u64::from(below(&mut rng, bound)), expected);
                assert_eq!(rng.next_u32(), twin.next_u32());
            }
        }
        // Of all words below 2^32, two made every third number and one each other, if none were drawn again.
        let thirds = (0..6000).filter(|_| below(&mut rng, 3 << 30).is_multiple_of(3)).count();
        // 2,000 expected; the standard deviation is 37.
        assert!((1850..2150).contains(&thirds), "{thirds}");
    }
}
