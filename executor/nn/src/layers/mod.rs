//! What each kind of layer computes, before its activation.
//!
//! A layer holds its sizes, layouts and work buffers. Weights and statistics belong to the network, so that all of them
//! lie in one run of memory each, and a checkpoint is a copy of a few vectors. Values lie as `layout` says. Layers
//! with weights are there twice: for our own kernels here, and on plain memory in `plain`. The others read any layout.
//! What a layer will need before that, whatever the kernel, is in `kinds`.

mod batch_norm;
mod conv;
mod conv_gradient;
mod conv_picked;
mod conv_sizes;
mod conv_taps;
mod dense;
mod dropout;
mod flatten;
mod lanes;
mod plain;
mod pool;

pub(super) use batch_norm::BatchNorm;
pub(super) use conv::Conv;
pub(super) use conv_sizes::Sizes as ConvSizes;
pub(super) use dense::{Dense, Sizes as DenseSizes};
pub(super) use dropout::Dropout;
pub(super) use flatten::Flatten;
#[cfg(test)]
pub(super) use plain::tile_positions;
pub(super) use plain::{Conv as PlainConv, Dense as PlainDense};
pub(super) use pool::{AveragePool, MaxPool, Windowed};

use super::layout::Layout;
use super::optimizer::Step;
use super::simd::Work;

/// Whether weights are being fitted, or only used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Dropout drops; batch norm uses the batch's statistics and updates the running ones.
    Training,
    /// The same rows give the same outputs, whatever else is in the batch.
    Evaluation,
}

/// What a layer reads and keeps up to date besides its inputs.
pub(super) struct Tensors<'a> {
    /// Weights that gradients reach.
    pub(super) trained: &'a [f32],
    /// Running statistics: written in training mode only.
    pub(super) statistics: &'a mut [f32],
}

/// What the gradient of a layer is computed from, and where it goes.
pub(super) struct Backward<'a> {
    /// Rows of the batch.
    pub(super) rows: usize,
    /// What the layer was given.
    pub(super) input: &'a [f32],
    /// What it gave, after the activation.
    pub(super) output: &'a [f32],
    /// The derivative by the layer's outputs, before the activation that the network applies, in the outputs' layout.
    /// Nobody reads it afterwards.
    pub(super) d_output: &'a mut [f32],
    /// The derivative by the inputs, in their layout: replaced but for the border, which nobody reads. `None` for the
    /// first trained layer, where nothing needs it.
    pub(super) d_input: Option<&'a mut [f32]>,
    /// Takes the gradients by the weights.
    pub(super) step: Step<'a>,
}

/// One layer. Slices hold so many rows as their layout says.
pub(super) trait Operation {
    /// Batches of so many rows will come: makes what they need, so that none of them has to.
    fn expect(&mut self, _rows: usize) {}

    /// Before the first batch of an epoch (counted from 1).
    fn begin_epoch(&mut self, _trial_seed: u64, _epoch: u32) {}

    /// Fills `output`, but for the border. A convolution applies the activation itself where it can, image by image.
    fn forward(&mut self, mode: Mode, rows: usize, tensors: Tensors<'_>, input: &[f32], output: &mut [f32]);

    /// The gradient, after a [`Self::forward`] in training mode on the same rows; takes the step of the weights.
    fn backward(&mut self, pass: Backward<'_>);

    /// Bytes of the work buffers.
    #[cfg(test)]
    fn buffer_bytes(&self) -> usize;
}

/// An activation that stands alone: its values pass through, and the network applies the function.
pub(super) struct PassThrough {
    pub(super) input: Layout,
    pub(super) output: Layout,
}

impl Operation for PassThrough {
    fn forward(&mut self, _mode: Mode, rows: usize, _tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        for (from, to) in self.input.lines(rows).zip(self.output.lines(rows)) {
            output[to].copy_from_slice(&input[from]);
        }
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        for (to, from) in self.input.lines(pass.rows).zip(self.output.lines(pass.rows)) {
            d_input[to].copy_from_slice(&pass.d_output[from]);
        }
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        0
    }
}

/// Puts `bias` into every row of `output`, for a product to be added to.
fn fill_rows(output: &mut [f32], bias: &[f32]) {
    for row in output.chunks_exact_mut(bias.len()) {
        row.copy_from_slice(bias);
    }
}

/// Adds every row of `rows` to `sums`. Every fourth row goes to the same partial sums, so that an addition need not wait
/// for the one before it.
struct AddRows<'a> {
    sums: &'a mut [f32],
    rows: &'a [f32],
}

impl Work for AddRows<'_> {
    #[inline(always)]
    fn run(self) {
        /// Columns whose partial sums fit the registers of every processor.
        const COLUMNS: usize = 8;
        let width = self.sums.len();
        let (columns, rest) = self.sums.as_chunks_mut::<COLUMNS>();
        for (number, sums) in columns.iter_mut().enumerate() {
            let mut partial = [[0.0; COLUMNS]; 4];
            for rows in self.rows.chunks(4 * width) {
                for (partial, row) in partial.iter_mut().zip(rows.chunks_exact(width)) {
                    let row = &row[number * COLUMNS..][..COLUMNS];
                    partial.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
            }
            let [a, b, c, d] = partial;
            for (column, sum) in sums.iter_mut().enumerate() {
                *sum += (a[column] + b[column]) + (c[column] + d[column]);
            }
        }
        let first = width - rest.len();
        for row in self.rows.chunks_exact(width) {
            rest.iter_mut().zip(&row[first..]).for_each(|(sum, value)| *sum += value);
        }
    }
}
