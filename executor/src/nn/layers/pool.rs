//! Max and average pooling.

use super::{Backward, Mode, Operation, Tensors};
use crate::nn::shape::Windows;

/// Max pooling. Remembers where each maximum was: the gradient goes there alone.
pub(crate) struct MaxPool {
    windows: Windows,
    /// For each output, the maximum's index in its image.
    origins: Vec<u32>,
}

/// Average pooling; padding does not count.
pub(crate) struct AveragePool {
    windows: Windows,
}

impl MaxPool {
    pub(crate) fn new(windows: Windows, rows: usize) -> Self {
        Self { windows, origins: vec![0; rows * windows.count() * windows.channels] }
    }
}

impl AveragePool {
    pub(crate) fn new(windows: Windows) -> Self {
        Self { windows }
    }
}

/// The windows of one image in row-major order: `(y, x)` of each.
fn places(windows: &Windows) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (height, width) = (windows.vertical.output, windows.horizontal.output);
    (0..height).flat_map(move |y| (0..width).map(move |x| (y, x)))
}

/// The pixels under the window at `(y, x)`, row-major: where each starts in the image's values.
fn pixels(windows: &Windows, y: usize, x: usize) -> impl Iterator<Item = usize> + use<> {
    let windows = *windows;
    windows.vertical.inside(y).flat_map(move |ky| {
        windows
            .horizontal
            .inside(x)
            .map(move |kx| windows.start(windows.vertical.pixel(y, ky), windows.horizontal.pixel(x, kx)))
    })
}

impl Operation for MaxPool {
    fn forward(&mut self, _mode: Mode, _tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let channels = self.windows.channels;
        let images = input.chunks_exact(self.windows.image_values());
        let image_outputs = self.windows.count() * channels;
        let outputs = output.chunks_exact_mut(image_outputs).zip(self.origins.chunks_exact_mut(image_outputs));
        for (image, (outputs, origins)) in images.zip(outputs) {
            let slots = outputs.chunks_exact_mut(channels).zip(origins.chunks_exact_mut(channels));
            for ((y, x), (largest, origins)) in places(&self.windows).zip(slots) {
                take_largest(&self.windows, image, (y, x), largest, origins);
            }
        }
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        d_input.fill(0.0);
        let image_outputs = self.windows.count() * self.windows.channels;
        let d_outputs = pass.d_output.chunks_exact(image_outputs).zip(self.origins.chunks_exact(image_outputs));
        for (d_image, (d_outputs, origins)) in d_input.chunks_exact_mut(self.windows.image_values()).zip(d_outputs) {
            for (d_output, &origin) in d_outputs.iter().zip(origins) {
                d_image[origin as usize] += d_output;
            }
        }
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        4 * self.origins.len()
    }
}

/// The maximum of each channel under one window; of equal ones, the first.
fn take_largest(windows: &Windows, image: &[f32], (y, x): (usize, usize), largest: &mut [f32], origins: &mut [u32]) {
    for (nth, start) in pixels(windows, y, x).enumerate() {
        let pixel = &image[start..][..largest.len()];
        for (channel, ((largest, origin), &value)) in
            largest.iter_mut().zip(origins.iter_mut()).zip(pixel).enumerate()
        {
            let replace = nth == 0 || value > *largest;
            *largest = if replace { value } else { *largest };
            *origin = if replace { (start + channel) as u32 } else { *origin };
        }
    }
}

impl Operation for AveragePool {
    fn forward(&mut self, _mode: Mode, _tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let channels = self.windows.channels;
        let images = input.chunks_exact(self.windows.image_values());
        for (image, outputs) in images.zip(output.chunks_exact_mut(self.windows.count() * channels)) {
            for ((y, x), mean) in places(&self.windows).zip(outputs.chunks_exact_mut(channels)) {
                mean.fill(0.0);
                for start in pixels(&self.windows, y, x) {
                    mean.iter_mut().zip(&image[start..]).for_each(|(sum, value)| *sum += value);
                }
                let share = self.share(y, x);
                for sum in mean {
                    *sum *= share;
                }
            }
        }
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        d_input.fill(0.0);
        let channels = self.windows.channels;
        let d_outputs = pass.d_output.chunks_exact(self.windows.count() * channels);
        for (d_image, d_outputs) in d_input.chunks_exact_mut(self.windows.image_values()).zip(d_outputs) {
            for ((y, x), d_mean) in places(&self.windows).zip(d_outputs.chunks_exact(channels)) {
                let share = self.share(y, x);
                for start in pixels(&self.windows, y, x) {
                    d_image[start..].iter_mut().zip(d_mean).for_each(|(sum, d_mean)| *sum += share * d_mean);
                }
            }
        }
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        0
    }
}

impl AveragePool {
    /// One by the number of pixels under the window.
    fn share(&self, y: usize, x: usize) -> f32 {
        1.0 / (self.windows.vertical.inside(y).len() * self.windows.horizontal.inside(x).len()) as f32
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::model::Padding;

    use super::*;
    use crate::nn::shape::Axis;

    fn windows(side: usize, window: usize, stride: usize, padding: Padding) -> Windows {
        let axis = Axis::new(side, window, stride, padding).unwrap();
        Windows { vertical: axis, horizontal: axis, channels: 1 }
    }

    fn run(operation: &mut dyn Operation, input: &[f32], d_output: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut output, mut d_input) = (vec![0.0; d_output.len()], vec![f32::NAN; input.len()]);
        let tensors = Tensors { trained: &[], statistics: &mut [] };
        operation.forward(Mode::Training, tensors, input, &mut output);
        let d_input_slot = Some(d_input.as_mut_slice());
        operation.backward(Backward { trained: &[], input, d_output, d_trained: &mut [], d_input: d_input_slot });
        (output, d_input)
    }

    #[test]
    fn of_equal_values_the_first_is_the_maximum() {
        let mut pool = MaxPool::new(windows(2, 2, 2, Padding::Valid), 1);
        let (output, d_input) = run(&mut pool, &[1.0, 3.0, 3.0, 3.0], &[5.0]);
        assert_eq!(output, [3.0]);
        assert_eq!(d_input, [0.0, 5.0, 0.0, 0.0]);
    }

    #[test]
    fn overlapping_windows_add_their_gradients() {
        let mut pool = MaxPool::new(windows(3, 2, 1, Padding::Valid), 1);
        let input = [0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0];
        let (output, d_input) = run(&mut pool, &input, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(output, [9.0; 4]);
        assert!((d_input[4] - 10.0).abs() < 1e-6);
    }

    #[test]
    fn padding_neither_wins_nor_counts() {
        let input = [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -9.0];
        let same = windows(3, 2, 2, Padding::Same);
        let (largest, _) = run(&mut MaxPool::new(same, 1), &input, &[0.0; 4]);
        assert_eq!(largest, [-1.0, -3.0, -7.0, -9.0]);
        let (mean, d_input) = run(&mut AveragePool::new(same), &input, &[4.0; 4]);
        assert_eq!(mean, [-3.0, -4.5, -7.5, -9.0]);
        assert_eq!(d_input, [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 2.0, 2.0, 4.0]);
    }
}
