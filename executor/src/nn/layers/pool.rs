//! Max and average pooling.

use std::ops::Range;

use super::{Backward, Mode, Operation, Tensors};
use crate::nn::kernel::Kernel;
use crate::nn::layout::Layout;
use crate::nn::shape::Windows;
use crate::nn::simd::Work;

/// The largest value below each window, and where it was: the gradient goes there alone.
pub(crate) struct Windowed {
    windows: Windows,
    input: Layout,
    output: Layout,
    /// For each output of each row, `[row][block][window][lane]`, the maximum's place among the window's pixels.
    origins: Vec<u32>,
}

/// Max pooling.
pub(crate) struct MaxPool {
    kernel: Kernel,
    windowed: Windowed,
}

/// Average pooling; padding does not count.
pub(crate) struct AveragePool {
    windows: Windows,
    input: Layout,
    output: Layout,
}

/// Calls `$body` with `$lanes` as a constant that divides the layout's lanes: the wider, the faster.
macro_rules! with_lanes {
    ($layout:expr, $lanes:ident, $body:expr) => {
        match $layout.lanes() {
            lanes if lanes % 16 == 0 => {
                const $lanes: usize = 16;
                $body
            }
            lanes if lanes % 8 == 0 => {
                const $lanes: usize = 8;
                $body
            }
            lanes if lanes % 4 == 0 => {
                const $lanes: usize = 4;
                $body
            }
            _ => {
                const $lanes: usize = 1;
                $body
            }
        }
    };
}

/// The windows of one image: in which block, where each begins in the output, and `(y, x)`.
fn places<'a>(windows: &'a Windows, output: &'a Layout) -> impl Iterator<Item = (usize, usize, (usize, usize))> + 'a {
    let (height, width) = (windows.vertical.output, windows.horizontal.output);
    (0..output.blocks()).flat_map(move |block| {
        (0..height * width).map(move |place| {
            let (y, x) = (place / width, place % width);
            (block, block * output.plane() + output.pixel(y, x), (y, x))
        })
    })
}

#[inline(always)]
fn values<const LANES: usize>(all: &[f32], place: usize) -> [f32; LANES] {
    let mut values = [0.0; LANES];
    values.copy_from_slice(&all[place..][..LANES]);
    values
}

impl Windowed {
    /// `input` and `output` have the same lanes.
    pub(crate) fn new(windows: Windows, rows_max: usize, input: Layout, output: Layout) -> Self {
        Self { windows, input, output, origins: vec![0; rows_max * output.values_with_lanes()] }
    }

    #[cfg(test)]
    pub(crate) fn origins_len(&self) -> usize {
        self.origins.len()
    }

    #[inline(always)]
    fn largest(&mut self, image: usize, input: &[f32], output: &mut [f32]) {
        let Self { windows, input: from, output: to, origins } = self;
        let lanes = to.lanes();
        let per_image = to.values_with_lanes();
        let mut origins = origins[image * per_image..][..per_image].chunks_exact_mut(lanes);
        let (plane, pitch) = (from.plane(), from.pitch());
        let Windows { vertical, horizontal, .. } = *windows;
        for block in 0..to.blocks() {
            for y in 0..vertical.output {
                let rows = vertical.inside(y);
                for x in 0..horizontal.output {
                    let columns = horizontal.inside(x);
                    let first = block * plane + from.pixel(vertical.pixel(y, rows.start), 0);
                    let first = first + horizontal.pixel(x, columns.start) * lanes;
                    let largest = &mut output[block * to.plane() + to.pixel(y, x)..][..lanes];
                    let Some(origin) = origins.next() else { return };
                    largest.copy_from_slice(&input[first..][..lanes]);
                    origin.fill(origin_of(horizontal.window, (&rows, &columns), (0, 0)));
                    for down in 0..rows.len() {
                        for right in 0..columns.len() {
                            // The first one is compared with itself, and is not larger.
                            let pixel = &input[first + down * pitch + right * lanes..][..lanes];
                            let number = origin_of(horizontal.window, (&rows, &columns), (down, right));
                            for ((largest, origin), value) in largest.iter_mut().zip(&mut *origin).zip(pixel) {
                                let is_larger = *value > *largest;
                                *largest = if is_larger { *value } else { *largest };
                                *origin = if is_larger { number } else { *origin };
                            }
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn hand_back<const LANES: usize>(&self, image: usize, d_output: &[f32], d_input: &mut [f32], target: &Layout) {
        let Self { windows, output: from, origins, .. } = self;
        target.lines(1).for_each(|line| d_input[line].fill(0.0));
        let per_image = from.values_with_lanes();
        let origins = &origins[image * per_image..][..per_image];
        let (plane, pitch, pixel) = (target.plane(), target.pitch(), target.lanes());
        let Windows { vertical, horizontal, .. } = *windows;
        for block in 0..from.blocks() {
            for lane in (0..from.lanes()).step_by(LANES) {
                for y in 0..vertical.output {
                    let rows = vertical.inside(y);
                    for x in 0..horizontal.output {
                        let columns = horizontal.inside(x);
                        let first = block * plane + lane + target.pixel(vertical.pixel(y, rows.start), 0);
                        let first = first + horizontal.pixel(x, columns.start) * pixel;
                        let gradient = values::<LANES>(d_output, block * from.plane() + lane + from.pixel(y, x));
                        let place = ((block * vertical.output + y) * horizontal.output + x) * from.lanes() + lane;
                        let mut origin = [0; LANES];
                        origin.copy_from_slice(&origins[place..][..LANES]);
                        for down in 0..rows.len() {
                            for right in 0..columns.len() {
                                let slots = &mut d_input[first + down * pitch + right * pixel..][..LANES];
                                let number = origin_of(horizontal.window, (&rows, &columns), (down, right));
                                for lane in 0..LANES {
                                    slots[lane] += if origin[lane] == number { gradient[lane] } else { 0.0 };
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The number of a pixel of the window, row-major, from its place among those inside the image.
#[inline(always)]
fn origin_of(window: usize, (rows, columns): (&Range<usize>, &Range<usize>), (down, right): (usize, usize)) -> u32 {
    ((rows.start + down) * window + columns.start + right) as u32
}

/// Pools one image. Of equal values, the first is the largest; where the first is NaN, it stays.
pub(crate) struct TakeLargest<'a> {
    pub(crate) pool: &'a mut Windowed,
    /// Its number in the batch.
    pub(crate) image: usize,
    pub(crate) input: &'a [f32],
    pub(crate) output: &'a mut [f32],
}

impl Work for TakeLargest<'_> {
    #[inline(always)]
    fn run(self) {
        self.pool.largest(self.image, self.input, self.output);
    }
}

/// Hands the derivative by one image's outputs back to where they came from.
pub(crate) struct Spread<'a> {
    pub(crate) pool: &'a Windowed,
    /// Its number in the batch.
    pub(crate) image: usize,
    pub(crate) d_output: &'a [f32],
    /// Replaced.
    pub(crate) d_input: &'a mut [f32],
    /// The layout of `d_input`: the pool's input, perhaps with another border.
    pub(crate) target: &'a Layout,
}

impl Work for Spread<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { pool, image, d_output, d_input, target } = self;
        with_lanes!(pool.output, LANES, pool.hand_back::<LANES>(image, d_output, d_input, target));
    }
}

impl MaxPool {
    pub(crate) fn new(kernel: Kernel, windowed: Windowed) -> Self {
        Self { kernel, windowed }
    }
}

impl Operation for MaxPool {
    fn forward(&mut self, _mode: Mode, _rows: usize, _tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let images = input.chunks_exact(self.windowed.input.row_len());
        let outputs = output.chunks_exact_mut(self.windowed.output.row_len());
        for (image, (input, output)) in images.zip(outputs).enumerate() {
            self.kernel.vectorize(TakeLargest { pool: &mut self.windowed, image, input, output });
        }
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let pool = &self.windowed;
        let images = pass.d_output.chunks_exact(pool.output.row_len());
        for (image, (d_output, d_input)) in images.zip(d_input.chunks_exact_mut(pool.input.row_len())).enumerate() {
            self.kernel.vectorize(Spread { pool, image, d_output, d_input, target: &pool.input });
        }
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        4 * self.windowed.origins_len()
    }
}

impl AveragePool {
    pub(crate) fn new(windows: Windows, input: Layout, output: Layout) -> Self {
        Self { windows, input, output }
    }

    /// One by the number of pixels under the window.
    fn share(windows: &Windows, (y, x): (usize, usize)) -> f32 {
        1.0 / (windows.vertical.inside(y).len() * windows.horizontal.inside(x).len()) as f32
    }

    fn average(&self, input: &[f32], output: &mut [f32]) {
        let (windows, lanes) = (&self.windows, self.output.lanes());
        for (block, at, window) in places(windows, &self.output) {
            let mean = &mut output[at..][..lanes];
            mean.fill(0.0);
            for start in pixels(windows, &self.input, window) {
                let pixel = &input[block * self.input.plane() + start..][..lanes];
                mean.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
            }
            let share = Self::share(windows, window);
            for sum in mean {
                *sum *= share;
            }
        }
    }

    fn share_out(&self, d_output: &[f32], d_input: &mut [f32]) {
        let (windows, lanes) = (&self.windows, self.output.lanes());
        self.input.lines(1).for_each(|line| d_input[line].fill(0.0));
        for (block, at, window) in places(windows, &self.output) {
            let share = Self::share(windows, window);
            for start in pixels(windows, &self.input, window) {
                let pixel = &mut d_input[block * self.input.plane() + start..][..lanes];
                pixel.iter_mut().zip(&d_output[at..]).for_each(|(sum, d_mean)| *sum += share * d_mean);
            }
        }
    }
}

/// The pixels under the window at `(y, x)`, row-major: where each starts in a block's image.
fn pixels(windows: &Windows, layout: &Layout, (y, x): (usize, usize)) -> impl Iterator<Item = usize> + use<> {
    let (windows, layout) = (*windows, *layout);
    windows.vertical.inside(y).flat_map(move |down| {
        let line = windows.vertical.pixel(y, down);
        windows.horizontal.inside(x).map(move |right| layout.pixel(line, windows.horizontal.pixel(x, right)))
    })
}

impl Operation for AveragePool {
    fn forward(&mut self, _mode: Mode, _rows: usize, _tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let images = input.chunks_exact(self.input.row_len()).zip(output.chunks_exact_mut(self.output.row_len()));
        for (input, output) in images {
            self.average(input, output);
        }
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let images = pass.d_output.chunks_exact(self.output.row_len());
        for (d_output, d_input) in images.zip(d_input.chunks_exact_mut(self.input.row_len())) {
            self.share_out(d_output, d_input);
        }
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::model::Padding;

    use super::*;
    use crate::nn::optimizer::{OptimizerState, Rule};
    use crate::nn::shape::{Axis, Shape};

    fn windows(side: usize, window: usize, stride: usize, padding: Padding) -> Windows {
        let axis = Axis::new(side, window, stride, padding).unwrap();
        Windows { vertical: axis, horizontal: axis, channels: 1 }
    }

    fn layouts(windows: &Windows) -> [Layout; 2] {
        let image = |height, width| Shape::Image { height, width, channels: 1 };
        let (vertical, horizontal) = (windows.vertical, windows.horizontal);
        let shapes = [image(vertical.input, horizontal.input), image(vertical.output, horizontal.output)];
        shapes.map(|shape| Layout::new(shape, 1))
    }

    fn max(windows: Windows) -> MaxPool {
        let [input, output] = layouts(&windows);
        MaxPool::new(Kernel::PORTABLE, Windowed::new(windows, 1, input, output))
    }

    fn average(windows: Windows) -> AveragePool {
        let [input, output] = layouts(&windows);
        AveragePool::new(windows, input, output)
    }

    fn run(operation: &mut dyn Operation, input: &[f32], d_output: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut output, mut d_input) = (vec![0.0; d_output.len()], vec![f32::NAN; input.len()]);
        let tensors = Tensors { trained: &[], statistics: &mut [] };
        operation.forward(Mode::Training, 1, tensors, input, &mut output);
        let mut state = OptimizerState::keeping(0);
        let step = state.step(Rule::KEEP, &mut [], 0..0);
        operation.backward(Backward { rows: 1, input, d_output, d_input: Some(&mut d_input), step });
        (output, d_input)
    }

    #[test]
    fn of_equal_values_the_first_is_the_maximum() {
        let mut pool = max(windows(2, 2, 2, Padding::Valid));
        let (output, d_input) = run(&mut pool, &[1.0, 3.0, 3.0, 3.0], &[5.0]);
        assert_eq!(output, [3.0]);
        assert_eq!(d_input, [0.0, 5.0, 0.0, 0.0]);
    }

    #[test]
    fn overlapping_windows_add_their_gradients() {
        let mut pool = max(windows(3, 2, 1, Padding::Valid));
        let input = [0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0];
        let (output, d_input) = run(&mut pool, &input, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(output, [9.0; 4]);
        assert!((d_input[4] - 10.0).abs() < 1e-6);
    }

    #[test]
    fn padding_neither_wins_nor_counts() {
        let input = [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -9.0];
        let same = windows(3, 2, 2, Padding::Same);
        let (largest, _) = run(&mut max(same), &input, &[0.0; 4]);
        assert_eq!(largest, [-1.0, -3.0, -7.0, -9.0]);
        let (mean, d_input) = run(&mut average(same), &input, &[4.0; 4]);
        assert_eq!(mean, [-3.0, -4.5, -7.5, -9.0]);
        assert_eq!(d_input, [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 2.0, 2.0, 4.0]);
    }
}
