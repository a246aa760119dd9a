//! Average pooling.

use std::ops::Range;

use crate::kernel::Kernel;
use crate::layers::lanes::{ByLanes, by_lanes, values};
use crate::layers::{Backward, Mode, Operation, Tensors};
use crate::layout::Layout;
use crate::shape::Windows;

/// Average pooling; padding does not count.
pub(crate) struct AveragePool {
    kernel: Kernel,
    windows: Windows,
    input: Layout,
    output: Layout,
}

impl AveragePool {
    pub(crate) fn new(kernel: Kernel, windows: Windows, input: Layout, output: Layout) -> Self {
        Self { kernel, windows, input, output }
    }

    /// The mean of each window of one image.
    #[inline(always)]
    fn average<const LANES: usize>(&self, input: &[f32], output: &mut [f32]) {
        let (lanes, pitch) = (self.output.lanes(), self.input.pitch());
        let Windows { vertical, horizontal, .. } = self.windows;
        for block in 0..self.output.blocks() {
            for lane in (0..lanes).step_by(LANES) {
                for y in 0..vertical.output {
                    let rows = vertical.inside(y);
                    for x in 0..horizontal.output {
                        let columns = horizontal.inside(x);
                        let first = block * self.input.plane() + lane + self.pixel((&rows, y), (&columns, x));
                        let mut sums = [0.0; LANES];
                        for down in 0..rows.len() {
                            let line = &input[first + down * pitch..];
                            for right in 0..columns.len() {
                                let pixel = values::<LANES>(line, right * lanes);
                                (0..LANES).for_each(|lane| sums[lane] += pixel[lane]);
                            }
                        }
                        let share = share(&rows, &columns);
                        let mean = &mut output[block * self.output.plane() + lane + self.output.pixel(y, x)..];
                        (0..LANES).for_each(|lane| mean[lane] = sums[lane] * share);
                    }
                }
            }
        }
    }

    /// Each pixel's part of the derivatives by the means above it, for one image.
    #[inline(always)]
    fn share_out<const LANES: usize>(&self, d_output: &[f32], d_input: &mut [f32]) {
        let (lanes, pitch) = (self.output.lanes(), self.input.pitch());
        let Windows { vertical, horizontal, .. } = self.windows;
        self.input.lines(1).for_each(|line| d_input[line].fill(0.0));
        for block in 0..self.output.blocks() {
            for lane in (0..lanes).step_by(LANES) {
                for y in 0..vertical.output {
                    let rows = vertical.inside(y);
                    for x in 0..horizontal.output {
                        let columns = horizontal.inside(x);
                        let first = block * self.input.plane() + lane + self.pixel((&rows, y), (&columns, x));
                        let share = share(&rows, &columns);
                        let place = block * self.output.plane() + lane + self.output.pixel(y, x);
                        let d_mean = values::<LANES>(d_output, place).map(|d_mean| share * d_mean);
                        for down in 0..rows.len() {
                            let line = &mut d_input[first + down * pitch..];
                            for right in 0..columns.len() {
                                let pixel = &mut line[right * lanes..][..LANES];
                                (0..LANES).for_each(|lane| pixel[lane] += d_mean[lane]);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Where the first pixel below the window at `(y, x)` starts in a block's image.
    #[inline(always)]
    fn pixel(&self, (rows, y): (&Range<usize>, usize), (columns, x): (&Range<usize>, usize)) -> usize {
        let Windows { vertical, horizontal, .. } = self.windows;
        self.input.pixel(vertical.pixel(y, rows.start), horizontal.pixel(x, columns.start))
    }
}

/// One by the number of pixels below a window.
#[inline(always)]
fn share(rows: &Range<usize>, columns: &Range<usize>) -> f32 {
    1.0 / (rows.len() * columns.len()) as f32
}

/// [`AveragePool::average`].
struct Average<'a> {
    pool: &'a AveragePool,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl ByLanes for Average<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let Self { pool, input, output } = self;
        pool.average::<LANES>(input, output);
    }
}

/// [`AveragePool::share_out`], likewise.
struct ShareOut<'a> {
    pool: &'a AveragePool,
    d_output: &'a [f32],
    d_input: &'a mut [f32],
}

impl ByLanes for ShareOut<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        let Self { pool, d_output, d_input } = self;
        pool.share_out::<LANES>(d_output, d_input);
    }
}

impl Operation for AveragePool {
    fn forward(&mut self, _mode: Mode, _rows: usize, _tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let images = input.chunks_exact(self.input.row_len()).zip(output.chunks_exact_mut(self.output.row_len()));
        for (input, output) in images {
            by_lanes(self.kernel, self.output, Average { pool: self, input, output });
        }
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        let images = pass.d_output.chunks_exact(self.output.row_len());
        for (d_output, d_input) in images.zip(d_input.chunks_exact_mut(self.input.row_len())) {
            by_lanes(self.kernel, self.output, ShareOut { pool: self, d_output, d_input });
        }
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        0
    }
}
