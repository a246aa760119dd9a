//! Two-dimensional cross-correlation by our own kernels, and the max pool behind it.
//!
//! Nothing is copied out of the images. A tile's rows are neighbouring pixels of one line of outputs, its steps run
//! along a line of the kernel: since the image's pixels lie in blocks of channels, line by line, and the border holds
//! the padding's zeros, both are runs through memory. Images are worked on one by one, so that what lies between the
//! convolution, its activation and its pool, and between their gradients, never leaves the second cache. Where the pool
//! picks few of the outputs, `conv_picked` has the gradients, else `conv_gradient`.

use super::conv_gradient::{InputGradient, WeightGradient, turned_len};
use super::conv_picked::{self, PickedGradients};
use super::conv_sizes::Sizes;
use super::pool::Windowed;
use super::{AddRows, Backward, Mode, Operation, Tensors};
use crate::activation::Applied;
use crate::buffer::Buffer;
use crate::kernel::Kernel;
use crate::layout::Layout;
use crate::optimizer::Descent;
use crate::pass::{Columns, Pass, Segment, Start, Tile, Walk};
use crate::simd::Simd;
use crate::tensor::Role;

/// A convolution. Its weights are `W (kernel, kernel, channels, filters)`, then `b (filters)`, both in blocks of filters.
pub(crate) struct Conv<S> {
    simd: S,
    kernel: Kernel,
    sizes: Sizes,
    activation: Applied,
    forward: Pass<S>,
    pool: Option<Windowed>,
    /// Outputs of one image on their way to the pool.
    unpooled: Buffer,
    gradients: Gradients<S>,
    gradient: Vec<f32>,
    d_bias: Vec<f32>,
}

/// Where gradients come from.
enum Gradients<S> {
    /// From all pixels.
    All(AllGradients<S>),
    /// From those that the pool picked.
    Picked(PickedGradients<S>),
}

/// The gradients from the derivative by all outputs.
struct AllGradients<S> {
    sizes: Sizes,
    kernel: Kernel,
    /// The derivative by the outputs of one image, before the pool.
    d_outputs: Buffer,
    by_weights: WeightGradient<S>,
    by_inputs: Option<InputGradient<S>>,
}

impl Sizes {
    /// Values of the work buffers for batches of so many rows.
    pub(crate) fn buffer_len(&self, rows: u64) -> u64 {
        let biases = self.blocks() * self.lanes();
        let (unpooled, origins) = match self.pool {
            Some(_) => (self.unpooled().row_len(), rows.saturating_mul(self.output.values_with_lanes() as u64)),
            None => (0, 0),
        };
        let turned = if self.passes_on { turned_len(self) } else { 0 };
        let gradients = if conv_picked::is_worth_it(self) {
            conv_picked::buffer_len(self)
        } else {
            self.d_outputs().row_len() + turned
        };
        let fixed = unpooled + gradients + self.packing.len() + biases;
        origins.saturating_add(fixed as u64)
    }
}

impl<S: Simd> Conv<S> {
    pub(crate) fn new(simd: S, kernel: Kernel, sizes: &Sizes, rows_max: usize) -> Self {
        let target = if sizes.pool.is_some() { sizes.unpooled() } else { sizes.output };
        Self {
            simd,
            kernel,
            activation: Applied { kernel, activation: sizes.activation, layout: sizes.output },
            forward: forward(simd, sizes, &target),
            pool: sizes.pool.map(|windows| Windowed::new(windows, rows_max, sizes.unpooled(), sizes.output)),
            unpooled: Buffer::zeroed(if sizes.pool.is_some() { sizes.unpooled().row_len() } else { 0 }),
            gradients: match &sizes.pool {
                Some(pool) if conv_picked::is_worth_it(sizes) => {
                    Gradients::Picked(PickedGradients::new(simd, sizes, pool))
                }
                _ => Gradients::All(AllGradients::new(simd, kernel, sizes)),
            },
            gradient: vec![0.0; sizes.packing.len()],
            d_bias: vec![0.0; sizes.blocks() * sizes.lanes()],
            sizes: *sizes,
        }
    }
}

impl<S: Simd> AllGradients<S> {
    fn new(simd: S, kernel: Kernel, sizes: &Sizes) -> Self {
        Self {
            sizes: *sizes,
            kernel,
            d_outputs: Buffer::zeroed(sizes.d_outputs().row_len()),
            by_weights: WeightGradient::new(simd, sizes),
            by_inputs: sizes.passes_on.then(|| InputGradient::new(simd, sizes)),
        }
    }

    /// Before the first image of a batch.
    fn begin(&mut self, weight: &[f32]) {
        if let Some(by_inputs) = &mut self.by_inputs {
            by_inputs.turn(&self.sizes, weight);
        }
    }

    /// Adds one image's share to `gradient`, and replaces the derivative by its inputs. `d_output` is that by the node's
    /// outputs.
    fn run(
        &mut self,
        (pool, image): (Option<&Windowed>, usize),
        d_output: &[f32],
        input: &[f32],
        d_input: Option<&mut [f32]>,
        gradient: &mut [f32],
    ) {
        let (sizes, target) = (&self.sizes, self.sizes.d_outputs());
        match pool {
            Some(pool) => {
                pool.spread(self.kernel, image, d_output, (&mut self.d_outputs, &target));
            }
            None => {
                for (from, to) in sizes.output.lines(1).zip(target.lines(1)) {
                    self.d_outputs[to].copy_from_slice(&d_output[from]);
                }
            }
        }
        self.by_weights.run(input, &self.d_outputs, gradient);
        if let (Some(by_inputs), Some(d_input)) = (&self.by_inputs, d_input) {
            by_inputs.run(sizes, &self.d_outputs, d_input);
        }
    }
}

/// Where images and weights lie for `y = W x + b` of one image, written to `target`.
fn forward<S: Simd>(simd: S, sizes: &Sizes, target: &Layout) -> Pass<S> {
    let (start, step) = sizes.window_start();
    let lanes = S::BLOCK;
    let segments = sizes.kernel_lines().into_iter().map(|(a, row, steps)| Segment { a, b: row * lanes, steps });
    let vertical = sizes.windows.vertical;
    let lines = (0..vertical.output).map(|y| Tile {
        a: start + y * vertical.stride * sizes.input.pitch(),
        c: target.pixel(y, 0),
        rows: sizes.windows.horizontal.output,
    });
    let walk = match step {
        1 => Walk::Transposed(1),
        step if step == lanes => Walk::Blocks,
        step => Walk::Strided(step),
    };
    let columns =
        Columns { count: sizes.filters, b_block: sizes.packing.block(), c_block: target.plane(), c_row: lanes };
    Pass::new(simd, walk, segments.collect(), &lines.collect::<Vec<_>>(), columns)
}

impl<S: Simd> Operation for Conv<S> {
    fn forward(&mut self, _mode: Mode, _rows: usize, tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let (weight, bias) = tensors.trained.split_at(self.sizes.packing.len());
        let images = input.chunks_exact(self.sizes.input.row_len());
        for (image, (input, output)) in images.zip(output.chunks_exact_mut(self.sizes.output.row_len())).enumerate() {
            match &mut self.pool {
                None => self.forward.run(input, weight, Start::Bias(bias), output),
                Some(pool) => {
                    self.forward.run(input, weight, Start::Bias(bias), &mut self.unpooled);
                    pool.take_largest(self.kernel, image, &self.unpooled, output);
                }
            }
            self.activation.apply(1, output);
        }
    }

    fn backward(&mut self, mut pass: Backward<'_>) {
        let (simd, sizes) = (self.simd, self.sizes);
        let lanes = sizes.lanes();
        match &mut self.gradients {
            Gradients::All(gradients) => gradients.begin(pass.step.trained()),
            Gradients::Picked(gradients) => gradients.begin(pass.step.trained()),
        }
        self.gradient.fill(0.0);
        self.d_bias.fill(0.0);
        let (inputs, outputs) = (sizes.input.row_len(), sizes.output.row_len());
        for (image, d_output) in pass.d_output.chunks_exact_mut(outputs).enumerate() {
            self.activation.differentiate(1, &[], &pass.output[image * outputs..][..outputs], d_output);
            // A pool hands each value on to one pixel: their sums are the same on either side of it.
            for block in 0..sizes.blocks() {
                let sums = &mut self.d_bias[block * lanes..][..lanes];
                for line in sizes.output.block_lines(1, block) {
                    simd.vectorize(AddRows { sums, rows: &d_output[line] });
                }
            }
            let input = &pass.input[image * inputs..][..inputs];
            let d_input = pass.d_input.as_deref_mut().map(|d_inputs| &mut d_inputs[image * inputs..][..inputs]);
            match (&mut self.gradients, &self.pool) {
                (Gradients::Picked(gradients), Some(pool)) => gradients.run((pool, image), d_output, input, d_input),
                (Gradients::All(gradients), pool) => {
                    gradients.run((pool.as_ref(), image), d_output, input, d_input, &mut self.gradient);
                }
                (Gradients::Picked(_), None) => unreachable!("it is the pool that picks"),
            }
        }
        if let Gradients::Picked(gradients) = &self.gradients {
            gradients.finish(&mut self.gradient);
        }
        simd.vectorize(Descent { step: &mut pass.step, role: Role::Weight, from: 0, gradient: &self.gradient });
        pass.step.descend(Role::Bias, self.gradient.len(), &self.d_bias);
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        let pool = self.pool.as_ref().map_or(0, Windowed::origins_len);
        let gradients = match &self.gradients {
            Gradients::All(AllGradients { d_outputs, by_inputs, .. }) => {
                d_outputs.len() + by_inputs.as_ref().map_or(0, InputGradient::len)
            }
            Gradients::Picked(gradients) => gradients.len(),
        };
        let own = self.unpooled.len() + self.gradient.len() + self.d_bias.len();
        4 * (own + pool + gradients)
    }
}
