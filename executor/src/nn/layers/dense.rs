//! `y = x W + b`.

use super::{Backward, Mode, Operation, Tensors, add_rows, fill_rows};
use crate::nn::product::{Write, matrix, matrix_mut, multiply};

/// A dense layer. Its weights are `W (inputs, units)`, then `b (units)`.
pub(crate) struct Dense {
    inputs: usize,
    units: usize,
}

impl Dense {
    pub(crate) fn new(inputs: usize, units: usize) -> Self {
        Self { inputs, units }
    }
}

impl Operation for Dense {
    fn forward(&mut self, _mode: Mode, tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let rows = input.len() / self.inputs;
        let (weight, bias) = tensors.trained.split_at(self.inputs * self.units);
        fill_rows(output, bias);
        multiply(
            &matrix(input, rows, self.inputs),
            &matrix(weight, self.inputs, self.units),
            Write::Add,
            &mut matrix_mut(output, rows, self.units),
        );
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let rows = pass.input.len() / self.inputs;
        let d_output = matrix(pass.d_output, rows, self.units);
        let (d_weight, d_bias) = pass.d_trained.split_at_mut(self.inputs * self.units);
        let input = matrix(pass.input, rows, self.inputs);
        multiply(&input.t(), &d_output, Write::Replace, &mut matrix_mut(d_weight, self.inputs, self.units));
        d_bias.fill(0.0);
        add_rows(d_bias, pass.d_output);
        if let Some(d_input) = pass.d_input {
            let weight = matrix(&pass.trained[..self.inputs * self.units], self.inputs, self.units);
            multiply(&d_output, &weight.t(), Write::Replace, &mut matrix_mut(d_input, rows, self.inputs));
        }
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        0
    }
}
