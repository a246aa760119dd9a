//! `y = x W + b`.

use crate::layers::{AddRows, Backward, Mode, Operation, Tensors, fill_rows};
use crate::product::{Write, matrix, matrix_mut, multiply};
use crate::simd::Work as _;
use crate::tensor::Role;

/// A dense layer. Its weights are `W (inputs, units)`, then `b (units)`.
pub(crate) struct Dense {
    inputs: usize,
    units: usize,
    /// Of all weights.
    gradient: Vec<f32>,
}

impl Dense {
    pub(crate) fn new(inputs: usize, units: usize) -> Self {
        Self { inputs, units, gradient: vec![0.0; Self::buffer_len(inputs, units)] }
    }

    /// Values of the work buffers.
    pub(crate) fn buffer_len(inputs: usize, units: usize) -> usize {
        (inputs + 1) * units
    }
}

impl Operation for Dense {
    fn forward(&mut self, _mode: Mode, rows: usize, tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let (weight, bias) = tensors.trained.split_at(self.inputs * self.units);
        fill_rows(output, bias);
        multiply(
            &matrix(input, rows, self.inputs),
            &matrix(weight, self.inputs, self.units),
            Write::Add,
            &mut matrix_mut(output, rows, self.units),
        );
    }

    fn backward(&mut self, mut pass: Backward<'_>) {
        let (rows, weights) = (pass.rows, self.inputs * self.units);
        let d_output = matrix(pass.d_output, rows, self.units);
        if let Some(d_input) = pass.d_input {
            let weight = matrix(&pass.step.trained()[..weights], self.inputs, self.units);
            multiply(&d_output, &weight.t(), Write::Replace, &mut matrix_mut(d_input, rows, self.inputs));
        }
        let (d_weight, d_bias) = self.gradient.split_at_mut(weights);
        let input = matrix(pass.input, rows, self.inputs);
        multiply(&input.t(), &d_output, Write::Replace, &mut matrix_mut(d_weight, self.inputs, self.units));
        d_bias.fill(0.0);
        AddRows { sums: d_bias, rows: pass.d_output }.run();
        pass.step.descend(Role::Weight, 0, d_weight);
        pass.step.descend(Role::Bias, weights, d_bias);
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        4 * self.gradient.len()
    }
}
