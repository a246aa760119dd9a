//! What each kind of layer computes, before its activation.
//!
//! A layer holds its sizes and its work buffers. Weights, statistics and gradients belong to the network, so that
//! all of them lie in one run of memory each, and a checkpoint is a copy of a few vectors.

mod batch_norm;
mod conv;
mod dense;
mod dropout;
mod pool;

pub(super) use batch_norm::BatchNorm;
pub(super) use conv::{Conv, tile_positions};
pub(super) use dense::Dense;
pub(super) use dropout::Dropout;
pub(super) use pool::{AveragePool, MaxPool};

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
    /// Weights that gradients reach.
    pub(super) trained: &'a [f32],
    /// What the layer was given, `(rows, inputs)`.
    pub(super) input: &'a [f32],
    /// The derivative by the layer's outputs, before the activation, `(rows, outputs)`.
    pub(super) d_output: &'a [f32],
    /// The derivative by the trained weights: replaced.
    pub(super) d_trained: &'a mut [f32],
    /// The derivative by the inputs: replaced. `None` for the first trained layer, where nothing needs it.
    pub(super) d_input: Option<&'a mut [f32]>,
}

/// One layer. Slices hold `(rows, values)`; how many rows follows from their lengths.
pub(super) trait Operation {
    /// Before the first batch of an epoch (counted from 1).
    fn begin_epoch(&mut self, _trial_seed: u64, _epoch: u32) {}

    /// Fills `output`.
    fn forward(&mut self, mode: Mode, tensors: Tensors<'_>, input: &[f32], output: &mut [f32]);

    /// The gradient, after a [`Self::forward`] in training mode on the same rows.
    fn backward(&mut self, pass: Backward<'_>);

    /// Bytes of the work buffers.
    #[cfg(test)]
    fn buffer_bytes(&self) -> usize;
}

/// An activation that stands alone: its values pass through, and the network applies the function.
pub(super) struct PassThrough;

impl Operation for PassThrough {
    fn forward(&mut self, _mode: Mode, _tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        output.copy_from_slice(input);
    }

    fn backward(&mut self, pass: Backward<'_>) {
        if let Some(d_input) = pass.d_input {
            d_input.copy_from_slice(pass.d_output);
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

/// Adds every row of `rows` to `sums`, row after row.
fn add_rows(sums: &mut [f32], rows: &[f32]) {
    for row in rows.chunks_exact(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
}
