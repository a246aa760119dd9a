//! Batch normalisation (Ioffe and Szegedy, 2015).
//!
//! Sums over the batch are taken in f64, one channel beside the other, row after row: of what each value differs from
//! the channel's first one, and of the squares of that. So one pass gives mean and variance, and values far from 0 lose no
//! digits. Running variances are the biased ones, as Keras keeps them.

use super::lanes::{ByLanes, by_lanes, values};
use super::{Backward, Mode, Operation, Tensors};
use crate::kernel::Kernel;
use crate::layout::Layout;
use crate::tensor::Role;

/// A batch norm layer. Its weights are `scale (channels)`, then `shift (channels)`; its statistics are
/// `mean (channels)`, then `variance (channels)`; all filled up to whole blocks.
pub(crate) struct BatchNorm {
    kernel: Kernel,
    pixels: Pixels,
    momentum: f64,
    epsilon: f64,
    /// `1 / √(variance + epsilon)`; as all that goes by channels, with those that fill up the last block.
    inverse_deviation: Vec<f32>,
    /// Of the batch, which is normalised once more on the way back; in evaluation the running ones.
    means: Vec<f64>,
    variances: Vec<f64>,
    gradient: Vec<f32>,
}

/// Where the pixels of each channel lie. A value of a flat row is one.
#[derive(Clone, Copy)]
struct Pixels {
    input: Layout,
    output: Layout,
}

/// The places of one pixel's neighbouring channels.
struct PixelStarts {
    input: usize,
    output: usize,
}

impl Pixels {
    /// Of each channel of so many rows.
    fn count(&self, rows: usize) -> usize {
        rows * self.input.values() / self.input.channels()
    }

    /// Where the channels from `first` on have their first pixel in an input of so many rows.
    fn first(&self, rows: usize, first: usize) -> usize {
        let lanes = self.input.lanes();
        let mut lines = self.input.block_lines(rows, first / lanes);
        lines.next().map_or(0, |line| line.start) + first % lanes
    }

    /// Calls `each` with every pixel of so many rows, where its channels from `first` on lie.
    #[inline(always)]
    fn each(&self, rows: usize, first: usize, mut each: impl FnMut(PixelStarts)) {
        let lanes = self.input.lanes();
        let (block, lane) = (first / lanes, first % lanes);
        for (input, output) in self.input.block_lines(rows, block).zip(self.output.block_lines(rows, block)) {
            for pixel in (lane..input.len()).step_by(lanes) {
                each(PixelStarts { input: input.start + pixel, output: output.start + pixel });
            }
        }
    }
}

impl BatchNorm {
    pub(crate) fn new(kernel: Kernel, (momentum, epsilon): (f64, f64), (input, output): (Layout, Layout)) -> Self {
        let channels = input.blocks() * input.lanes();
        Self {
            kernel,
            pixels: Pixels { input, output },
            momentum,
            epsilon,
            inverse_deviation: vec![0.0; channels],
            means: vec![0.0; channels],
            variances: vec![0.0; channels],
            gradient: vec![0.0; 2 * channels],
        }
    }

    /// f32 values of the work buffers: sums are twice as wide.
    pub(crate) fn buffer_len(input: &Layout) -> usize {
        7 * input.blocks() * input.lanes()
    }

    /// Takes means and variances from the batch, and moves the running ones towards them.
    fn measure(&mut self, rows: usize, statistics: &mut [f32], input: &[f32]) {
        let Self { kernel, pixels, means, variances, .. } = self;
        let (pixels, channels) = (*pixels, pixels.input.channels());
        by_lanes(*kernel, pixels.input, Measure { pixels, rows, input, means, variances });
        // What fills up the last block is whatever an earlier batch left there.
        means[channels..].fill(0.0);
        variances[channels..].fill(0.0);
        let (past, now) = (self.momentum, 1.0 - self.momentum);
        for (running, measured) in statistics.iter_mut().zip(means.iter().chain(&*variances)) {
            *running = (past * f64::from(*running) + now * measured) as f32;
        }
    }

    /// Takes the running means and variances.
    fn recall(&mut self, statistics: &[f32]) {
        let slots = self.means.iter_mut().chain(&mut self.variances);
        slots.zip(statistics).for_each(|(slot, running)| *slot = f64::from(*running));
    }
}

/// With `d = x - x₀`, the first value: `x₀ + Σ d / n` and `Σ d² / n - (Σ d / n)²` of each channel.
struct Measure<'a> {
    pixels: Pixels,
    rows: usize,
    input: &'a [f32],
    means: &'a mut [f64],
    variances: &'a mut [f64],
}

impl ByLanes for Measure<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let Self { pixels, rows, input, means, variances } = self;
        let count = pixels.count(rows) as f64;
        let groups = means.chunks_exact_mut(LANES).zip(variances.chunks_exact_mut(LANES));
        for (group, (means, variances)) in groups.enumerate() {
            let origin = values::<LANES>(input, pixels.first(rows, group * LANES)).map(f64::from);
            let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
            pixels.each(rows, group * LANES, |place| {
                let pixel = values::<LANES>(input, place.input).map(f64::from);
                (0..LANES).for_each(|lane| {
                    let difference = pixel[lane] - origin[lane];
                    sums[lane] += difference;
                    squares[lane] += difference * difference;
                });
            });
            (0..LANES).for_each(|lane| {
                let mean = sums[lane] / count;
                let variance = squares[lane] / count - mean * mean;
                // Rounding may take more than there is. NaN stays NaN.
                variances[lane] = if variance < 0.0 { 0.0 } else { variance };
                means[lane] = origin[lane] + mean;
            });
        }
    }
}

/// What normalises neighbouring channels: `x̂ = (x - mean) / deviation`.
struct Norm<const LANES: usize> {
    /// The means as f32, and what these leave of them: of values far from 0, their difference is all that counts.
    means: [[f32; LANES]; 2],
    inverse: [f32; LANES],
}

impl<const LANES: usize> Norm<LANES> {
    /// Of the channels from `first` on.
    #[inline(always)]
    fn new(means: &[f64], inverse: &[f32], first: usize) -> Self {
        let mut parts = [[0.0; LANES]; 2];
        for (lane, mean) in means[first..][..LANES].iter().enumerate() {
            parts[0][lane] = *mean as f32;
            parts[1][lane] = (mean - f64::from(parts[0][lane])) as f32;
        }
        Self { means: parts, inverse: values(inverse, first) }
    }

    #[inline(always)]
    fn apply(&self, mut values: [f32; LANES]) -> [f32; LANES] {
        for (lane, value) in values.iter_mut().enumerate() {
            *value = (*value - self.means[0][lane] - self.means[1][lane]) * self.inverse[lane];
        }
        values
    }
}

/// `y = scale x̂ + shift`.
struct Normalize<'a> {
    pixels: Pixels,
    rows: usize,
    means: &'a [f64],
    inverse: &'a [f32],
    trained: &'a [f32],
    input: &'a [f32],
    output: &'a mut [f32],
}

impl ByLanes for Normalize<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let Self { pixels, rows, means, inverse, trained, input, output } = self;
        let (scale, shift) = trained.split_at(inverse.len());
        for first in (0..inverse.len()).step_by(LANES) {
            let norm = Norm::<LANES>::new(means, inverse, first);
            let [scale, shift] = [scale, shift].map(|all| values::<LANES>(all, first));
            pixels.each(rows, first, |place| {
                let pixel = norm.apply(values(input, place.input));
                let output = &mut output[place.output..][..LANES];
                (0..LANES).for_each(|lane| output[lane] = scale[lane] * pixel[lane] + shift[lane]);
            });
        }
    }
}

/// `dscale = Σ dy x̂ = (Σ dy x - mean Σ dy) / deviation` and `dshift = Σ dy`.
struct SumGradients<'a> {
    pixels: Pixels,
    rows: usize,
    means: &'a [f64],
    inverse: &'a [f32],
    input: &'a [f32],
    d_output: &'a [f32],
    d_scale: &'a mut [f32],
    d_shift: &'a mut [f32],
}

impl ByLanes for SumGradients<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let Self { pixels, rows, means, inverse, input, d_output, d_scale, d_shift } = self;
        for first in (0..inverse.len()).step_by(LANES) {
            let (mut products, mut sums) = ([0.0; LANES], [0.0; LANES]);
            pixels.each(rows, first, |place| {
                let pixel = values::<LANES>(input, place.input).map(f64::from);
                let d_output = values::<LANES>(d_output, place.output).map(f64::from);
                (0..LANES).for_each(|lane| products[lane] += d_output[lane] * pixel[lane]);
                (0..LANES).for_each(|lane| sums[lane] += d_output[lane]);
            });
            for (lane, channel) in (first..first + LANES).enumerate() {
                let product = products[lane] - means[channel] * sums[lane];
                d_scale[channel] = (product * f64::from(inverse[channel])) as f32;
                d_shift[channel] = sums[lane] as f32;
            }
        }
    }
}

/// `dx = scale / deviation × (dy - (dshift + x̂ dscale) / n)`.
struct PassOn<'a> {
    pixels: Pixels,
    rows: usize,
    means: &'a [f64],
    inverse: &'a [f32],
    scale: &'a [f32],
    d_scale: &'a [f32],
    d_shift: &'a [f32],
    input: &'a [f32],
    d_output: &'a [f32],
    d_input: &'a mut [f32],
}

impl ByLanes for PassOn<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let Self { pixels, rows, means, inverse, scale, d_scale, d_shift, input, d_output, d_input } = self;
        let share = 1.0 / pixels.count(rows) as f32;
        for first in (0..inverse.len()).step_by(LANES) {
            let norm = Norm::<LANES>::new(means, inverse, first);
            let [scale, inverse, d_scale, d_shift] =
                [scale, inverse, d_scale, d_shift].map(|all| values::<LANES>(all, first));
            pixels.each(rows, first, |place| {
                let pixel = norm.apply(values(input, place.input));
                let d_output = values::<LANES>(d_output, place.output);
                let d_input = &mut d_input[place.input..][..LANES];
                (0..LANES).for_each(|lane| {
                    let common = share * (d_shift[lane] + pixel[lane] * d_scale[lane]);
                    d_input[lane] = scale[lane] * inverse[lane] * (d_output[lane] - common);
                });
            });
        }
    }
}

impl Operation for BatchNorm {
    fn forward(&mut self, mode: Mode, rows: usize, tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let Tensors { trained, statistics } = tensors;
        match mode {
            Mode::Training => self.measure(rows, statistics, input),
            Mode::Evaluation => self.recall(statistics),
        }
        let Self { kernel, pixels, means, variances, inverse_deviation: inverse, .. } = self;
        let pixels = *pixels;
        for (slot, variance) in inverse.iter_mut().zip(variances) {
            *slot = (1.0 / (*variance + self.epsilon).sqrt()) as f32;
        }
        inverse[pixels.input.channels()..].fill(0.0);
        by_lanes(*kernel, pixels.input, Normalize { pixels, rows, means, inverse, trained, input, output });
    }

    fn backward(&mut self, mut pass: Backward<'_>) {
        let Self { kernel, pixels, means, inverse_deviation: inverse, gradient, .. } = self;
        let Backward { rows, input, .. } = pass;
        let (pixels, channels, d_output) = (*pixels, inverse.len(), &*pass.d_output);
        let (d_scale, d_shift) = gradient.split_at_mut(channels);
        let sums = SumGradients { pixels, rows, means, inverse, input, d_output, d_scale, d_shift };
        by_lanes(*kernel, pixels.input, sums);
        let (d_scale, d_shift) = gradient.split_at(channels);
        if let Some(d_input) = pass.d_input {
            let scale = &pass.step.trained()[..channels];
            let pass_on = PassOn { pixels, rows, means, inverse, scale, d_scale, d_shift, input, d_output, d_input };
            by_lanes(*kernel, pixels.input, pass_on);
        }
        pass.step.descend(Role::Scale, 0, d_scale);
        pass.step.descend(Role::Bias, channels, d_shift);
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        4 * (self.inverse_deviation.len() + self.gradient.len()) + 8 * (self.means.len() + self.variances.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm_of(values: usize) -> BatchNorm {
        let layout = Layout::Flat { values, lanes: values };
        BatchNorm::new(Kernel::PORTABLE, (0.9, 1e-9), (layout, layout))
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

    #[test]
    fn many_values_far_from_zero_have_their_own_variance_and_equal_ones_become_the_shift() {
        // Two blocks of one lane: the second channel is far from the first.
        let layout = Layout::Flat { values: 2, lanes: 1 };
        let mut norm = BatchNorm::new(Kernel::PORTABLE, (0.9, 1e-9), (layout, layout));
        let mut normalise = |column: &[f32]| {
            let input = [vec![0.0; column.len()], column.to_vec()].concat();
            let (mut statistics, mut output) = ([0.0, 0.0, 1.0, 1.0], vec![0.0; input.len()]);
            let tensors = Tensors { trained: &[2.0, 2.0, 1.0, 1.0], statistics: &mut statistics };
            norm.forward(Mode::Training, column.len(), tensors, &input, &mut output);
            (output.split_off(column.len()), statistics)
        };
        // A mean of a million and 3.5, a variance of (64 - 1) / 12: whole numbers, which f32 has.
        let far: Vec<f32> = (0..50_000).map(|row| 1_000_000.0 + (row * 5 % 8) as f32).collect();
        let (output, statistics) = normalise(&far);
        let (variance, root) = (63.0 / 12.0, (63.0_f64 / 12.0).sqrt());
        assert!((f64::from(statistics[3]) - 0.9 - 0.1 * variance).abs() < 1e-6, "{statistics:?}");
        for (row, value) in output.iter().enumerate().take(100) {
            let expected = 1.0 + 2.0 * ((row * 5 % 8) as f64 - 3.5) / root;
            assert!((f64::from(*value) - expected).abs() < 1e-6, "{value}, not {expected}");
        }
        assert!(normalise(&[100_003.1; 777]).0.iter().all(|value| *value == 1.0));
        assert!(normalise(&[1.0, f32::NAN, 1.0, 1.0]).0[0].is_nan(), "what diverged looks healthy");
    }
}
