//! Max pooling.

use std::ops::Range;

use crate::kernel::Kernel;
use crate::layers::lanes::{ByLanes, by_lanes, values};
use crate::layers::{Backward, Mode, Operation, Tensors};
use crate::layout::Layout;
use crate::shape::Windows;

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

impl Windowed {
    /// `input` and `output` have the same lanes.
    pub(crate) fn new(windows: Windows, rows_max: usize, input: Layout, output: Layout) -> Self {
        Self { windows, input, output, origins: vec![0; rows_max * output.values_with_lanes()] }
    }

    /// For each output of an image, `[block][window][lane]`, the maximum's place among the window's pixels.
    pub(crate) fn origins_of(&self, image: usize) -> &[u32] {
        let per_image = self.output.values_with_lanes();
        &self.origins[image * per_image..][..per_image]
    }

    /// Pools one image, which has this number in the batch. Of equal values, the first is the largest; where the first is
    /// NaN, it stays.
    pub(crate) fn take_largest(&mut self, kernel: Kernel, image: usize, input: &[f32], output: &mut [f32]) {
        by_lanes(kernel, self.output, TakeLargest { pool: self, image, input, output });
    }

    /// Hands the derivative by one image's outputs back to where they came from, and replaces that by its inputs, which
    /// lie as in `target`: as the pool's input, perhaps with another border.
    pub(crate) fn spread(
        &self,
        kernel: Kernel,
        image: usize,
        d_output: &[f32],
        (d_input, target): (&mut [f32], &Layout),
    ) {
        by_lanes(kernel, self.output, Spread { pool: self, image, d_output, d_input, target });
    }

    #[cfg(test)]
    pub(crate) fn origins_len(&self) -> usize {
        self.origins.len()
    }

    #[inline(always)]
    fn largest<const LANES: usize>(&mut self, image: usize, input: &[f32], output: &mut [f32]) {
        let Self { windows, input: from, output: to, origins } = self;
        let lanes = to.lanes();
        let per_image = to.values_with_lanes();
        let origins = &mut origins[image * per_image..][..per_image];
        let (plane, pitch) = (from.plane(), from.pitch());
        let Windows { vertical, horizontal, .. } = *windows;
        for block in 0..to.blocks() {
            for lane in (0..lanes).step_by(LANES) {
                for y in 0..vertical.output {
                    let rows = vertical.inside(y);
                    for x in 0..horizontal.output {
                        let columns = horizontal.inside(x);
                        let first = block * plane + lane + from.pixel(vertical.pixel(y, rows.start), 0);
                        let first = first + horizontal.pixel(x, columns.start) * lanes;
                        let mut largest = values::<LANES>(input, first);
                        let mut origin = [origin_of(horizontal.window, (&rows, &columns), (0, 0)); LANES];
                        for down in 0..rows.len() {
                            for right in 0..columns.len() {
                                // The first one is compared with itself, and is not larger.
                                let pixel = values::<LANES>(input, first + down * pitch + right * lanes);
                                let number = origin_of(horizontal.window, (&rows, &columns), (down, right));
                                let mut larger = [0; LANES];
                                (0..LANES).for_each(|lane| larger[lane] = mask(pixel[lane] > largest[lane]));
                                (0..LANES).for_each(|lane| {
                                    let [pixel, before] = [pixel[lane], largest[lane]].map(f32::to_bits);
                                    largest[lane] = f32::from_bits(choose(larger[lane], pixel, before));
                                    origin[lane] = choose(larger[lane], number, origin[lane]);
                                });
                            }
                        }
                        output[block * to.plane() + lane + to.pixel(y, x)..][..LANES].copy_from_slice(&largest);
                        let place = ((block * vertical.output + y) * horizontal.output + x) * lanes + lane;
                        origins[place..][..LANES].copy_from_slice(&origin);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn hand_back<const LANES: usize>(&self, image: usize, d_output: &[f32], d_input: &mut [f32], target: &Layout) {
        let Self { windows, output: from, .. } = self;
        target.lines(1).for_each(|line| d_input[line].fill(0.0));
        let origins = self.origins_of(image);
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

/// All bits, or none.
#[inline(always)]
fn mask(is_set: bool) -> u32 {
    u32::from(is_set).wrapping_neg()
}

/// The bits of `one` where the mask has some, else those of `other`: without a branch.
#[inline(always)]
fn choose(mask: u32, one: u32, other: u32) -> u32 {
    other ^ ((one ^ other) & mask)
}

/// The number of a pixel of the window, row-major, from its place among those inside the image.
#[inline(always)]
fn origin_of(window: usize, (rows, columns): (&Range<usize>, &Range<usize>), (down, right): (usize, usize)) -> u32 {
    ((rows.start + down) * window + columns.start + right) as u32
}

/// [`Windowed::take_largest`].
struct TakeLargest<'a> {
    pool: &'a mut Windowed,
    image: usize,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl ByLanes for TakeLargest<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let Self { pool, image, input, output } = self;
        pool.largest::<LANES>(image, input, output);
    }
}

/// [`Windowed::spread`].
struct Spread<'a> {
    pool: &'a Windowed,
    image: usize,
    d_output: &'a [f32],
    d_input: &'a mut [f32],
    target: &'a Layout,
}

impl ByLanes for Spread<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let Self { pool, image, d_output, d_input, target } = self;
        pool.hand_back::<LANES>(image, d_output, d_input, target);
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
            self.windowed.take_largest(self.kernel, image, input, output);
        }
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let pool = &self.windowed;
        let images = pass.d_output.chunks_exact(pool.output.row_len());
        for (image, (d_output, d_input)) in images.zip(d_input.chunks_exact_mut(pool.input.row_len())).enumerate() {
            pool.spread(self.kernel, image, d_output, (d_input, &pool.input));
        }
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        4 * self.windowed.origins_len()
    }
}
