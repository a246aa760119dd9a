//! Batch normalisation (Ioffe and Szegedy, 2015).
//!
//! Sums over the batch are taken in f64, one channel beside the other, row after row: with 50,000 values a channel,
//! f32 sums would lose digits that the variance needs. Running variances are the biased ones, as Keras keeps them.

use super::{Backward, Mode, Operation, Tensors};

/// A batch norm layer. Its weights are `scale (channels)`, then `shift (channels)`; its statistics are
/// `mean (channels)`, then `variance (channels)`.
pub(crate) struct BatchNorm {
    channels: usize,
    momentum: f64,
    epsilon: f64,
    /// `1 / √(variance + epsilon)` of the batch.
    inverse_deviation: Vec<f32>,
    /// Two sums a channel.
    sums: [Vec<f64>; 2],
    /// The batch after normalisation, before scale and shift.
    normalized: Vec<f32>,
}

impl BatchNorm {
    /// `values` is the number of values of the largest batch.
    pub(crate) fn new(channels: usize, momentum: f64, epsilon: f64, values: usize) -> Self {
        Self {
            channels,
            momentum,
            epsilon,
            inverse_deviation: vec![0.0; channels],
            sums: [vec![0.0; channels], vec![0.0; channels]],
            normalized: vec![0.0; values],
        }
    }

    /// Fills `sums` with the batch's means and variances.
    fn measure(&mut self, input: &[f32]) {
        let count = (input.len() / self.channels) as f64;
        let [means, variances] = &mut self.sums;
        means.fill(0.0);
        variances.fill(0.0);
        for row in input.chunks_exact(self.channels) {
            means.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        for sum in means.iter_mut() {
            *sum /= count;
        }
        for row in input.chunks_exact(self.channels) {
            for ((sum, mean), &value) in variances.iter_mut().zip(means.iter()).zip(row) {
                let difference = f64::from(value) - mean;
                *sum += difference * difference;
            }
        }
        for sum in variances {
            *sum /= count;
        }
    }

    fn train(&mut self, trained: &[f32], statistics: &mut [f32], input: &[f32], output: &mut [f32]) {
        self.measure(input);
        let (scale, shift) = trained.split_at(self.channels);
        let (past, now) = (self.momentum, 1.0 - self.momentum);
        for (running, measured) in statistics.iter_mut().zip(self.sums.iter().flatten()) {
            *running = (past * f64::from(*running) + now * measured) as f32;
        }
        for (slot, variance) in self.inverse_deviation.iter_mut().zip(&self.sums[1]) {
            *slot = (1.0 / (variance + self.epsilon).sqrt()) as f32;
        }
        let rows = input.chunks_exact(self.channels).zip(output.chunks_exact_mut(self.channels));
        for ((row, output), normalized) in rows.zip(self.normalized.chunks_exact_mut(self.channels)) {
            for channel in 0..self.channels {
                let centred = (f64::from(row[channel]) - self.sums[0][channel]) as f32;
                normalized[channel] = centred * self.inverse_deviation[channel];
                output[channel] = scale[channel] * normalized[channel] + shift[channel];
            }
        }
    }

    fn evaluate(&mut self, trained: &[f32], statistics: &[f32], input: &[f32], output: &mut [f32]) {
        let (scale, shift) = trained.split_at(self.channels);
        let (mean, variance) = statistics.split_at(self.channels);
        for (slot, &variance) in self.inverse_deviation.iter_mut().zip(variance) {
            *slot = (1.0 / (f64::from(variance) + self.epsilon).sqrt()) as f32;
        }
        for (row, output) in input.chunks_exact(self.channels).zip(output.chunks_exact_mut(self.channels)) {
            for channel in 0..self.channels {
                let normalized = (row[channel] - mean[channel]) * self.inverse_deviation[channel];
                output[channel] = scale[channel] * normalized + shift[channel];
            }
        }
    }
}

impl Operation for BatchNorm {
    fn forward(&mut self, mode: Mode, tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        match mode {
            Mode::Training => self.train(tensors.trained, tensors.statistics, input, output),
            Mode::Evaluation => self.evaluate(tensors.trained, tensors.statistics, input, output),
        }
    }

    /// With `n` values a channel and x̂ the normalised values: `dshift = Σ dy`, `dscale = Σ dy x̂`,
    /// `dx = scale / deviation × (dy - (dshift + x̂ dscale) / n)`.
    fn backward(&mut self, pass: Backward<'_>) {
        let channels = self.channels;
        let [d_scale, d_shift] = &mut self.sums;
        d_scale.fill(0.0);
        d_shift.fill(0.0);
        for (d_row, row) in pass.d_output.chunks_exact(channels).zip(self.normalized.chunks_exact(channels)) {
            for channel in 0..channels {
                let d_output = f64::from(d_row[channel]);
                d_scale[channel] += d_output * f64::from(row[channel]);
                d_shift[channel] += d_output;
            }
        }
        for (slot, sum) in pass.d_trained.iter_mut().zip(d_scale.iter().chain(d_shift.iter())) {
            *slot = *sum as f32;
        }
        let Some(d_input) = pass.d_input else { return };
        let share = 1.0 / (pass.input.len() / channels) as f32;
        let (d_scale, d_shift) = pass.d_trained.split_at(channels);
        let rows = pass.d_output.chunks_exact(channels).zip(self.normalized.chunks_exact(channels));
        for (d_input, (d_row, row)) in d_input.chunks_exact_mut(channels).zip(rows) {
            for channel in 0..channels {
                let common = share * (d_shift[channel] + row[channel] * d_scale[channel]);
                let factor = pass.trained[channel] * self.inverse_deviation[channel];
                d_input[channel] = factor * (d_row[channel] - common);
            }
        }
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        4 * (self.inverse_deviation.len() + self.normalized.len()) + 16 * self.channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_normalised_and_remembered() {
        let mut norm = BatchNorm::new(1, 0.9, 1e-9, 4);
        let (trained, mut statistics) = ([2.0, 1.0], [0.0, 1.0]);
        let mut output = [0.0; 4];
        // Mean 5, variance (9 + 1 + 1 + 9) / 4 = 5.
        let input = [2.0, 4.0, 6.0, 8.0];
        let tensors = Tensors { trained: &trained, statistics: &mut statistics };
        norm.forward(Mode::Training, tensors, &input, &mut output);
        let root = 5.0_f32.sqrt();
        for (value, expected) in output.iter().zip([-3.0, -1.0, 1.0, 3.0]) {
            assert!((value - (2.0 * expected / root + 1.0)).abs() < 1e-5, "{output:?}");
        }
        // 0.9 × 0 + 0.1 × 5, and 0.9 × 1 + 0.1 × 5.
        assert!((statistics[0] - 0.5).abs() < 1e-6 && (statistics[1] - 1.4).abs() < 1e-6, "{statistics:?}");
    }

    #[test]
    fn evaluation_uses_the_running_statistics_and_leaves_them() {
        let mut norm = BatchNorm::new(2, 0.9, 1e-9, 2);
        let mut statistics = [1.0, -1.0, 4.0, 0.25];
        let mut output = [0.0; 2];
        let tensors = Tensors { trained: &[1.0, 3.0, 0.0, 10.0], statistics: &mut statistics };
        norm.forward(Mode::Evaluation, tensors, &[5.0, 0.0], &mut output);
        // (5 - 1) / 2, and 3 × (0 + 1) / 0.5 + 10.
        assert!((output[0] - 2.0).abs() < 1e-5 && (output[1] - 16.0).abs() < 1e-5, "{output:?}");
        assert_eq!(statistics, [1.0, -1.0, 4.0, 0.25]);
    }
}
