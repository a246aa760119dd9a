//! How a model's values lie in memory for one kernel: decided once, before anything is allocated.

use std::ops::Range;

use broadsweep_common::model::{Activation, Layer, Model};

use super::kernel::Blocking;
use super::layout::{Border, Layout};
use super::plan::Plan;
use super::shape::Shape;
use super::tensor::{Role, TensorPlan};

/// The layouts of a model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blueprint {
    pub(super) blocking: Blocking,
    /// Of the batch.
    pub(super) input: Layout,
    /// One for each of the model's layers.
    pub(super) layers: Vec<LayerBlueprint>,
}

/// The layouts of one layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LayerBlueprint {
    pub(super) input: Layout,
    pub(super) output: Layout,
    /// One for each of its tensors.
    pub(super) tensors: Vec<Packing>,
}

/// How a tensor is stored: its last side in blocks of lanes, as columns of a product.
///
/// ```text
/// [block of columns][block of rows][tap][row of the block][lane]
/// ```
///
/// Rows are what is summed over: the inputs of a dense layer, or the channels below one tap of a convolution's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packing {
    pub(super) role: Role,
    taps: usize,
    rows: usize,
    row_block: usize,
    columns: usize,
    lanes: usize,
}

/// A tensor's place in its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackedRange {
    pub(super) packing: Packing,
    pub(super) range: Range<usize>,
}

impl Blueprint {
    /// `plan` has to be the model's.
    pub(super) fn new(model: &Model, plan: &Plan, blocking: Blocking) -> Self {
        // Rows that are flattened before anything else lie flat from the start.
        let is_flat = matches!(model.layers[0], Layer::Flatten);
        let shape = if is_flat { plan.layers[0].output } else { plan.input };
        let channels = shape.channels();
        // A few channels are not spread over a block where no convolution needs a gradient by them.
        let is_thin = matches!(shape, Shape::Image { .. })
            && !matches!(model.layers[plan.first_trained], Layer::BatchNorm { .. })
            && channels < blocking.lanes(channels);
        let input = Layout::new(shape, if is_thin { channels } else { blocking.lanes(channels) });
        let mut border = Border::default();
        let mut borders: Vec<Border> = (model.layers.iter().zip(&plan.layers).rev())
            .map(|(layer, planned)| {
                let after = border;
                border = match (layer, &planned.windows) {
                    (Layer::Conv2d { .. }, Some(windows)) if blocking != Blocking::Plain => Border::of(windows),
                    _ => Border::default(),
                };
                after
            })
            .collect();
        let input = input.with_border(border);
        borders.reverse();
        let mut before = input;
        let layers = (model.layers.iter().zip(&plan.layers).zip(borders)).map(|((layer, planned), border)| {
            let lanes = match layer {
                Layer::Dense { .. } | Layer::Conv2d { .. } | Layer::Flatten => {
                    blocking.lanes(planned.output.channels())
                }
                Layer::MaxPool(_)
                | Layer::AveragePool(_)
                | Layer::Dropout { .. }
                | Layer::BatchNorm { .. }
                | Layer::Activation(_) => before.lanes(),
            };
            let output = Layout::new(planned.output, lanes).with_border(border);
            let tensors = planned.tensors.iter().map(|tensor| Packing::new(tensor, before.lanes(), lanes));
            let layer = LayerBlueprint { input: before, output, tensors: tensors.collect() };
            before = output;
            layer
        });
        Self { blocking, input, layers: layers.collect() }
    }

    /// The place of every tensor in its run, in the order of the plan.
    pub(super) fn places(&self) -> impl Iterator<Item = PackedRange> + '_ {
        let (mut trained, mut statistics) = (0, 0);
        self.layers.iter().flat_map(|layer| &layer.tensors).map(move |&packing| {
            let end = if packing.role.is_statistic() { &mut statistics } else { &mut trained };
            let start = *end;
            *end += packing.len();
            PackedRange { packing, range: start..*end }
        })
    }

    /// Values of all that is trained, and of all statistics.
    pub(super) fn run_lengths(&self) -> [usize; 2] {
        let mut lengths = [0, 0];
        for place in self.places() {
            lengths[usize::from(place.packing.role.is_statistic())] = place.range.end;
        }
        lengths
    }

    /// Layer `index`, if it is a max pool that its convolution can take over: the function between them has to keep
    /// the order of values, so that the largest stays the largest (but for rounding: leaky relu may make two values one).
    pub(super) fn pools_with_its_convolution(&self, model: &Model, index: usize) -> bool {
        let keeps_order = |activation| match activation {
            Activation::Linear | Activation::Relu | Activation::LeakyRelu => true,
            Activation::Tanh | Activation::Sigmoid | Activation::Gelu => false,
        };
        let before = index.checked_sub(1).and_then(|before| model.layers.get(before));
        self.blocking != Blocking::Plain
            && matches!(model.layers.get(index), Some(Layer::MaxPool(_)))
            && matches!(before, Some(Layer::Conv2d { activation, .. }) if keeps_order(*activation))
    }
}

impl Packing {
    fn new(tensor: &TensorPlan, row_block: usize, lanes: usize) -> Self {
        let (taps, rows, columns) = match tensor.shape[..] {
            [height, width, rows, columns] => (height * width, rows, columns),
            [rows, columns] => (1, rows, columns),
            _ => (1, 1, tensor.values()),
        };
        Self { role: tensor.role, taps, rows, row_block, columns, lanes }
    }

    /// Values, with those that fill up the last block.
    pub(super) fn len(&self) -> usize {
        self.columns.div_ceil(self.lanes) * self.block()
    }

    /// Values of the tensor itself.
    #[cfg(test)]
    pub(super) fn values(&self) -> usize {
        self.taps * self.rows * self.columns
    }

    /// Values of a block of columns.
    pub(super) fn block(&self) -> usize {
        self.taps * self.rows * self.lanes
    }

    /// Where the value lies that comes at `index` in the plain order, `(tap, row, column)`.
    pub(super) fn place(&self, index: usize) -> usize {
        let (place, column) = (index / self.columns, index % self.columns);
        let (tap, row) = (place / self.rows, place % self.rows);
        column / self.lanes * self.block() + self.row(tap, row) * self.lanes + column % self.lanes
    }

    /// The place of a row below a tap among all rows of a block of columns.
    pub(super) fn row(&self, tap: usize, row: usize) -> usize {
        let before = row / self.row_block * self.row_block;
        let in_block = self.row_block.min(self.rows - before);
        before * self.taps + tap * in_block + row - before
    }
}
