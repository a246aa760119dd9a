//! `y = x W + b`, by our own kernels.
//!
//! | product | rows | sums over | columns |
//! |---|---|---|---|
//! | `y = x W + b` | of the batch | inputs | units |
//! | `dxᵀ = W dyᵀ` | inputs | units | of the batch |
//! | `dW = xᵀ dy` | inputs | of the batch | units |
//!
//! `W` lies in blocks of units, `[block][input][lane]`, so it is read as columns in the first and as rows in the second
//! product, and never turned; what is turned for that, `dy` and `dx`, is small. `dW` is made in parts of a few blocks
//! of inputs, and the step of its weights is taken while a part is in the first cache.

use std::marker::PhantomData;

use super::{AddRows, Backward, Mode, Operation, Tensors};
use crate::layout::Layout;
use crate::optimizer::Descent;
use crate::pass::{Columns, Pass, Segment, Start, Tile, Walk};
use crate::simd::{Simd, Work};
use crate::tensor::Role;

/// Values of a part of the gradient, about.
const PART_VALUES: usize = 2048;

/// A dense layer. Its weights are `W (inputs, units)`, then `b (units)`, both in blocks of units.
pub(crate) struct Dense<S> {
    simd: S,
    sizes: Sizes,
    /// For every number of rows that was seen: a training's batch, its last one, and those of evaluation.
    tables: Vec<Tables<S>>,
    /// `dyᵀ`, `[block of rows][unit][lane]`.
    d_output: Vec<f32>,
    /// `dxᵀ`, `[block of rows][input][lane]`.
    d_input: Vec<f32>,
    gradient: Vec<f32>,
    d_bias: Vec<f32>,
}

#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    inputs: usize,
    units: usize,
    lanes: usize,
}

/// The products of a batch of so many rows.
struct Tables<S> {
    rows: usize,
    forward: Pass<S>,
    backward: Pass<S>,
    /// For a whole part and for the last one, over a whole block of units and over the last one.
    parts: [[Pass<S>; 2]; 2],
}

impl Sizes {
    pub(crate) fn new(input: &Layout, output: &Layout) -> Self {
        Self { inputs: input.values(), units: output.values(), lanes: output.lanes() }
    }

    fn input_blocks(self) -> usize {
        self.inputs.div_ceil(self.lanes)
    }

    fn unit_blocks(self) -> usize {
        self.units.div_ceil(self.lanes)
    }

    /// Inputs of a part of the gradient.
    fn part(self) -> usize {
        (PART_VALUES / self.lanes / self.lanes).max(1) * self.lanes
    }

    /// Values of the work buffers for batches of so many rows: what grows with them, and what does not.
    pub(crate) fn buffer_len(self, rows: u64) -> u64 {
        let lanes = self.lanes as u64;
        let turned = rows.div_ceil(lanes).saturating_mul(lanes).saturating_mul((self.inputs + self.units) as u64);
        turned.saturating_add((self.part() * self.lanes + self.unit_blocks() * self.lanes) as u64)
    }
}

impl<S: Simd> Dense<S> {
    pub(crate) fn new(simd: S, sizes: Sizes, rows_max: usize) -> Self {
        let rows = rows_max.next_multiple_of(sizes.lanes);
        Self {
            simd,
            tables: Vec::new(),
            d_output: vec![0.0; rows * sizes.units],
            d_input: vec![0.0; rows * sizes.inputs],
            gradient: vec![0.0; sizes.part() * sizes.lanes],
            d_bias: vec![0.0; sizes.unit_blocks() * sizes.lanes],
            sizes,
        }
    }

    /// The index of the tables for so many rows.
    fn tables(&mut self, rows: usize) -> usize {
        let known = self.tables.iter().position(|tables| tables.rows == rows);
        known.unwrap_or_else(|| {
            self.tables.push(Tables::new(self.simd, self.sizes, rows));
            self.tables.len() - 1
        })
    }
}

impl<S: Simd> Tables<S> {
    fn new(simd: S, sizes: Sizes, rows: usize) -> Self {
        let Sizes { inputs, units, lanes } = sizes;
        let block = |number: usize, all: usize| lanes.min(all - number * lanes);
        let over_inputs = (0..sizes.input_blocks()).map(|number| Segment {
            a: number * rows * lanes,
            b: number * lanes * lanes,
            steps: block(number, inputs),
        });
        let over_units = (0..sizes.unit_blocks()).map(|number| Segment {
            a: number * inputs * lanes,
            b: number * lanes * lanes,
            steps: block(number, units),
        });
        let forward_columns = Columns { count: units, b_block: inputs * lanes, c_block: rows * lanes, c_row: lanes };
        let backward_columns = Columns { count: rows, b_block: units * lanes, c_block: inputs * lanes, c_row: lanes };
        let part = |part: usize, units: usize| {
            let runs = (0..part.div_ceil(lanes)).map(|number| Tile {
                a: number * rows * lanes,
                c: number * lanes * lanes,
                rows: block(number, part),
            });
            let over_rows = vec![Segment { a: 0, b: 0, steps: rows }];
            let columns = Columns { count: units, b_block: rows * lanes, c_block: part * lanes, c_row: lanes };
            Pass::new(simd, Walk::Transposed(lanes), over_rows, &runs.collect::<Vec<_>>(), columns)
        };
        let last = (inputs - 1) % sizes.part() + 1;
        let all = |rows| [Tile { a: 0, c: 0, rows }];
        Self {
            rows,
            forward: Pass::new(simd, Walk::Blocks, over_inputs.collect(), &all(rows), forward_columns),
            backward: Pass::new(simd, Walk::Blocks, over_units.collect(), &all(inputs), backward_columns),
            parts: [sizes.part().min(inputs), last]
                .map(|inputs| [lanes.min(units), (units - 1) % lanes + 1].map(|units| part(inputs, units))),
        }
    }
}

impl<S: Simd> Operation for Dense<S> {
    fn expect(&mut self, rows: usize) {
        self.tables(rows);
    }

    fn forward(&mut self, _mode: Mode, rows: usize, tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let tables = self.tables(rows);
        let (weight, bias) = tensors.trained.split_at(tensors.trained.len() - self.d_bias.len());
        self.tables[tables].forward.run(input, weight, Start::Bias(bias), output);
    }

    fn backward(&mut self, mut pass: Backward<'_>) {
        let (rows, lanes) = (pass.rows, self.sizes.lanes);
        let Sizes { inputs, units, .. } = self.sizes;
        let tables = self.tables(rows);
        let tables = &self.tables[tables];
        let simd = self.simd;
        if let Some(d_input) = pass.d_input {
            simd.vectorize(Turn::<S> {
                blocks: pass.d_output,
                rows,
                turned: &mut self.d_output,
                values: units,
                _simd: PhantomData,
            });
            tables.backward.run(pass.step.trained(), &self.d_output, Start::Zero, &mut self.d_input);
            simd.vectorize(TurnBack::<S> {
                turned: &self.d_input,
                values: inputs,
                blocks: d_input,
                rows,
                _simd: PhantomData,
            });
        }
        let weights = pass.step.trained().len() - self.d_bias.len();
        let part = self.sizes.part();
        for block in 0..self.sizes.unit_blocks() {
            let is_last = usize::from(block + 1 == self.sizes.unit_blocks());
            let d_output = &pass.d_output[block * rows * lanes..];
            for from in (0..inputs).step_by(part) {
                let count = part.min(inputs - from);
                let product = &tables.parts[usize::from(count < part)][is_last];
                let gradient = &mut self.gradient[..count * lanes];
                product.run(&pass.input[from * rows..], d_output, Start::Zero, gradient);
                let from = block * inputs * lanes + from * lanes;
                simd.vectorize(Descent { step: &mut pass.step, role: Role::Weight, from, gradient });
            }
        }
        for (sums, d_rows) in self.d_bias.chunks_exact_mut(lanes).zip(pass.d_output.chunks_exact(rows * lanes)) {
            sums.fill(0.0);
            simd.vectorize(AddRows { sums, rows: d_rows });
        }
        pass.step.descend(Role::Bias, weights, &self.d_bias);
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        4 * (self.d_output.len() + self.d_input.len() + self.gradient.len() + self.d_bias.len())
    }
}

/// `[block of values][row][lane]` to `[block of rows][value][lane]`. What fills up the last block of rows stays.
struct Turn<'a, S> {
    _simd: PhantomData<S>,
    blocks: &'a [f32],
    rows: usize,
    turned: &'a mut [f32],
    values: usize,
}

impl<S: Simd> Work for Turn<'_, S> {
    #[inline(always)]
    fn run(self) {
        let (lanes, rows, values) = (S::BLOCK, self.rows, self.values);
        for (block, source) in self.blocks.chunks_exact(rows * lanes).enumerate() {
            let width = lanes.min(values - block * lanes);
            for (row_block, source) in source.chunks(lanes * lanes).enumerate() {
                let target = &mut self.turned[(row_block * values + block * lanes) * lanes..][..width * lanes];
                for (row, source) in source.chunks_exact(lanes).enumerate() {
                    for (value, target) in source.iter().zip(target.chunks_exact_mut(lanes)) {
                        target[row] = *value;
                    }
                }
            }
        }
    }
}

/// `[block of rows][value][lane]` to `[block of values][row][lane]`. What fills up the last block of values becomes 0.
struct TurnBack<'a, S> {
    _simd: PhantomData<S>,
    turned: &'a [f32],
    values: usize,
    blocks: &'a mut [f32],
    rows: usize,
}

impl<S: Simd> Work for TurnBack<'_, S> {
    #[inline(always)]
    fn run(self) {
        let (lanes, rows, values) = (S::BLOCK, self.rows, self.values);
        for (block, target) in self.blocks.chunks_exact_mut(rows * lanes).enumerate() {
            let width = lanes.min(values - block * lanes);
            for (row_block, target) in target.chunks_mut(lanes * lanes).enumerate() {
                let source = &self.turned[(row_block * values + block * lanes) * lanes..][..width * lanes];
                for (row, target) in target.chunks_exact_mut(lanes).enumerate() {
                    target[width..].fill(0.0);
                    for (source, value) in source.chunks_exact(lanes).zip(target) {
                        *value = source[row];
                    }
                }
            }
        }
    }
}
