//! Batch normalisation (Ioffe and Szegedy, 2015).
//!
//! Sums over the batch are taken in f64, one channel beside the other, row after row: with 50,000 values a channel,
//! f32 sums would lose digits that the variance needs. Running variances are the biased ones, as Keras keeps them.

use std::ops::Range;

use super::{Backward, Mode, Operation, Tensors};
use crate::nn::layout::Layout;
use crate::nn::plan::Role;

/// A batch norm layer. Its weights are `scale (channels)`, then `shift (channels)`; its statistics are
/// `mean (channels)`, then `variance (channels)`; all filled up to whole blocks.
pub(crate) struct BatchNorm {
    input: Layout,
    output: Layout,
    momentum: f64,
    epsilon: f64,
    /// `1 / √(variance + epsilon)` of the batch.
    inverse_deviation: Vec<f32>,
    /// Two sums a channel.
    sums: [Vec<f64>; 2],
    /// The batch after normalisation, before scale and shift: line by line, without a border.
    normalized: Vec<f32>,
    gradient: Vec<f32>,
}

impl BatchNorm {
    pub(crate) fn new((momentum, epsilon): (f64, f64), (input, output): (Layout, Layout), rows_max: usize) -> Self {
        let channels = input.blocks() * input.lanes();
        Self {
            momentum,
            epsilon,
            inverse_deviation: vec![0.0; channels],
            sums: [vec![0.0; channels], vec![0.0; channels]],
            normalized: vec![0.0; rows_max * input.values_with_lanes()],
            gradient: vec![0.0; 2 * channels],
            input,
            output,
        }
    }

    /// f32 values of the work buffers that do not grow with the batch: sums are twice as wide.
    pub(crate) fn buffer_len(input: &Layout) -> usize {
        7 * input.blocks() * input.lanes()
    }

    fn channels(&self) -> usize {
        self.inverse_deviation.len()
    }

    /// Fills `sums` with the batch's means and variances.
    fn measure(&mut self, rows: usize, input: &[f32]) {
        let count = (rows * self.input.values() / self.input.channels()) as f64;
        let lanes = self.input.lanes();
        let channels = self.input.channels();
        let [means, variances] = &mut self.sums;
        let blocks = means.chunks_exact_mut(lanes).zip(variances.chunks_exact_mut(lanes));
        for (block, (means, variances)) in blocks.enumerate() {
            let pixels = || self.input.block_lines(rows, block).flat_map(|line| input[line].chunks_exact(lanes));
            means.fill(0.0);
            variances.fill(0.0);
            for pixel in pixels() {
                means.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            for sum in means.iter_mut() {
                *sum /= count;
            }
            for pixel in pixels() {
                for ((sum, mean), &value) in variances.iter_mut().zip(means.iter()).zip(pixel) {
                    let difference = f64::from(value) - mean;
                    *sum += difference * difference;
                }
            }
            for sum in variances {
                *sum /= count;
            }
        }
        // What fills up the last block is whatever an earlier batch left there.
        means[channels..].fill(0.0);
        variances[channels..].fill(0.0);
    }

    fn train(&mut self, rows: usize, trained: &[f32], statistics: &mut [f32], input: &[f32], output: &mut [f32]) {
        self.measure(rows, input);
        let (scale, shift) = trained.split_at(self.channels());
        let (past, now) = (self.momentum, 1.0 - self.momentum);
        for (running, measured) in statistics.iter_mut().zip(self.sums.iter().flatten()) {
            *running = (past * f64::from(*running) + now * measured) as f32;
        }
        for (slot, variance) in self.inverse_deviation.iter_mut().zip(&self.sums[1]) {
            *slot = (1.0 / (variance + self.epsilon).sqrt()) as f32;
        }
        self.inverse_deviation[self.input.channels()..].fill(0.0);
        let means = &self.sums[0];
        let mut kept = self.normalized.as_mut_slice();
        for (channels, from, to) in lines((&self.input, &self.output), rows) {
            let (normalized, rest) = std::mem::take(&mut kept).split_at_mut(from.len());
            kept = rest;
            let lanes = channels.len();
            let pixels = input[from].chunks_exact(lanes).zip(output[to].chunks_exact_mut(lanes));
            let (means, inverse) = (&means[channels.clone()], &self.inverse_deviation[channels.clone()]);
            let (scale, shift) = (&scale[channels.clone()], &shift[channels]);
            for ((pixel, output), normalized) in pixels.zip(normalized.chunks_exact_mut(lanes)) {
                for lane in 0..lanes {
                    let centred = (f64::from(pixel[lane]) - means[lane]) as f32;
                    normalized[lane] = centred * inverse[lane];
                    output[lane] = scale[lane] * normalized[lane] + shift[lane];
                }
            }
        }
    }

    fn evaluate(&mut self, rows: usize, trained: &[f32], statistics: &[f32], input: &[f32], output: &mut [f32]) {
        let (scale, shift) = trained.split_at(self.channels());
        let (mean, variance) = statistics.split_at(self.channels());
        for (slot, &variance) in self.inverse_deviation.iter_mut().zip(variance) {
            *slot = (1.0 / (f64::from(variance) + self.epsilon).sqrt()) as f32;
        }
        self.inverse_deviation[self.input.channels()..].fill(0.0);
        for (channels, from, to) in lines((&self.input, &self.output), rows) {
            let lanes = channels.len();
            let (mean, inverse) = (&mean[channels.clone()], &self.inverse_deviation[channels.clone()]);
            let (scale, shift) = (&scale[channels.clone()], &shift[channels]);
            for (pixel, output) in input[from].chunks_exact(lanes).zip(output[to].chunks_exact_mut(lanes)) {
                for lane in 0..lanes {
                    let normalized = (pixel[lane] - mean[lane]) * inverse[lane];
                    output[lane] = scale[lane] * normalized + shift[lane];
                }
            }
        }
    }

    /// With `n` values a channel and x̂ the normalised values: `dshift = Σ dy`, `dscale = Σ dy x̂`.
    fn sum_gradients(&mut self, rows: usize, d_output: &[f32]) {
        let [d_scale, d_shift] = &mut self.sums;
        d_scale.fill(0.0);
        d_shift.fill(0.0);
        let mut kept = self.normalized.as_slice();
        for (channels, _, from) in lines((&self.input, &self.output), rows) {
            let (normalized, rest) = kept.split_at(from.len());
            kept = rest;
            let lanes = channels.len();
            let (d_scale, d_shift) = (&mut d_scale[channels.clone()], &mut d_shift[channels]);
            for (d_pixel, pixel) in d_output[from].chunks_exact(lanes).zip(normalized.chunks_exact(lanes)) {
                for lane in 0..lanes {
                    let d_output = f64::from(d_pixel[lane]);
                    d_scale[lane] += d_output * f64::from(pixel[lane]);
                    d_shift[lane] += d_output;
                }
            }
        }
        for (slot, sum) in self.gradient.iter_mut().zip(d_scale.iter().chain(d_shift.iter())) {
            *slot = *sum as f32;
        }
    }

    /// `dx = scale / deviation × (dy - (dshift + x̂ dscale) / n)`.
    fn pass_on(&self, rows: usize, scale: &[f32], d_output: &[f32], d_input: &mut [f32]) {
        let share = 1.0 / (rows * self.input.values() / self.input.channels()) as f32;
        let (d_scale, d_shift) = self.gradient.split_at(self.channels());
        let mut kept = self.normalized.as_slice();
        for (channels, to, from) in lines((&self.input, &self.output), rows) {
            let (normalized, rest) = kept.split_at(from.len());
            kept = rest;
            let lanes = channels.len();
            let (d_scale, d_shift) = (&d_scale[channels.clone()], &d_shift[channels.clone()]);
            let (scale, inverse) = (&scale[channels.clone()], &self.inverse_deviation[channels]);
            let pixels = d_output[from].chunks_exact(lanes).zip(normalized.chunks_exact(lanes));
            for (d_input, (d_output, normalized)) in d_input[to].chunks_exact_mut(lanes).zip(pixels) {
                for lane in 0..lanes {
                    let common = share * (d_shift[lane] + normalized[lane] * d_scale[lane]);
                    d_input[lane] = scale[lane] * inverse[lane] * (d_output[lane] - common);
                }
            }
        }
    }
}

/// Every line of pixels: the channels of its block, and its places in either layout.
fn lines<'a>(
    (input, output): (&'a Layout, &'a Layout),
    rows: usize,
) -> impl Iterator<Item = (Range<usize>, Range<usize>, Range<usize>)> + 'a {
    (0..input.blocks()).flat_map(move |block| {
        let channels = block * input.lanes()..(block + 1) * input.lanes();
        let both = input.block_lines(rows, block).zip(output.block_lines(rows, block));
        both.map(move |(input, output)| (channels.clone(), input, output))
    })
}

impl Operation for BatchNorm {
    fn forward(&mut self, mode: Mode, rows: usize, tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let Tensors { trained, statistics } = tensors;
        match mode {
            Mode::Training => self.train(rows, trained, statistics, input, output),
            Mode::Evaluation => self.evaluate(rows, trained, statistics, input, output),
        }
    }

    fn backward(&mut self, mut pass: Backward<'_>) {
        self.sum_gradients(pass.rows, pass.d_output);
        if let Some(d_input) = pass.d_input {
            self.pass_on(pass.rows, pass.step.trained(), pass.d_output, d_input);
        }
        let (d_scale, d_shift) = self.gradient.split_at(self.channels());
        pass.step.descend(Role::Scale, 0, d_scale);
        pass.step.descend(Role::Bias, d_scale.len(), d_shift);
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        4 * (self.inverse_deviation.len() + self.normalized.len() + self.gradient.len()) + 16 * self.channels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm_of(values: usize) -> BatchNorm {
        let layout = Layout::Flat { values, lanes: values };
        BatchNorm::new((0.9, 1e-9), (layout, layout), 4)
    }

    #[test]
    fn a_batch_is_normalised_and_remembered() {
        let mut norm = norm_of(1);
        let (trained, mut statistics) = ([2.0, 1.0], [0.0, 1.0]);
        let mut output = [0.0; 4];
        // Mean 5, variance (9 + 1 + 1 + 9) / 4 = 5.
        let input = [2.0, 4.0, 6.0, 8.0];
        let tensors = Tensors { trained: &trained, statistics: &mut statistics };
        norm.forward(Mode::Training, 4, tensors, &input, &mut output);
        let root = 5.0_f32.sqrt();
        for (value, expected) in output.iter().zip([-3.0, -1.0, 1.0, 3.0]) {
            assert!((value - (2.0 * expected / root + 1.0)).abs() < 1e-5, "{output:?}");
        }
        // 0.9 × 0 + 0.1 × 5, and 0.9 × 1 + 0.1 × 5.
        assert!((statistics[0] - 0.5).abs() < 1e-6 && (statistics[1] - 1.4).abs() < 1e-6, "{statistics:?}");
    }

    #[test]
    fn evaluation_uses_the_running_statistics_and_leaves_them() {
        let mut norm = norm_of(2);
        let mut statistics = [1.0, -1.0, 4.0, 0.25];
        let mut output = [0.0; 2];
        let tensors = Tensors { trained: &[1.0, 3.0, 0.0, 10.0], statistics: &mut statistics };
        norm.forward(Mode::Evaluation, 1, tensors, &[5.0, 0.0], &mut output);
        // (5 - 1) / 2, and 3 × (0 + 1) / 0.5 + 10.
        assert!((output[0] - 2.0).abs() < 1e-5 && (output[1] - 16.0).abs() < 1e-5, "{output:?}");
        assert_eq!(statistics, [1.0, -1.0, 4.0, 0.25]);
    }
}
