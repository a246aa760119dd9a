//! The gradients of a convolution, as passes over one image.

use super::conv_sizes::Sizes;
use super::conv_taps::{Taps, gradient_border};
use crate::pass::{Columns, Pass, Segment, Start, Tile, Walk};
use crate::simd::Simd;

/// By the weights: for every line of the kernel, inputs times the derivative by outputs, summed over all windows.
pub(super) struct WeightGradient<S>(Pass<S>);

/// By the inputs: the derivative by the outputs, correlated with the kernel turned around.
///
/// With a stride, inputs fall into phases by their place within it. Those of one phase see every stride-th tap of the
/// kernel, and their gradient is a convolution with stride 1 by these taps alone: nothing is multiplied with zeros
/// between the windows.
pub(super) struct InputGradient<S> {
    phases: Vec<Phase<S>>,
    /// The kernel as the phases read it.
    turned: Vec<f32>,
    /// Whether some inputs lie below no window.
    has_gaps: bool,
}

struct Phase<S> {
    pass: Pass<S>,
    vertical: Taps,
    horizontal: Taps,
    /// Where its weights lie in `turned`.
    start: usize,
}

impl<S: Simd> WeightGradient<S> {
    pub(super) fn new(simd: S, sizes: &Sizes) -> Self {
        let (start, step) = sizes.window_start();
        let lanes = S::BLOCK;
        let d_outputs = sizes.d_outputs();
        let vertical = sizes.windows.vertical;
        let lines = (0..vertical.output).map(|y| Segment {
            a: start + y * vertical.stride * sizes.input.pitch(),
            b: d_outputs.pixel(y, 0),
            steps: sizes.windows.horizontal.output,
        });
        let rows = sizes.kernel_lines().into_iter().map(|(a, row, rows)| Tile { a, c: row * lanes, rows });
        let columns = Columns {
            count: sizes.filters,
            b_block: d_outputs.plane(),
            c_block: sizes.packing.block(),
            c_row: lanes,
        };
        Self(Pass::new(simd, Walk::Transposed(step), lines.collect(), &rows.collect::<Vec<_>>(), columns))
    }

    /// Adds one image's share to `gradient`.
    pub(super) fn run(&self, input: &[f32], d_outputs: &[f32], gradient: &mut [f32]) {
        self.0.run(input, d_outputs, Start::Sums, gradient);
    }
}

impl<S: Simd> InputGradient<S> {
    pub(super) fn new(simd: S, sizes: &Sizes) -> Self {
        let (vertical, horizontal) = (sizes.windows.vertical, sizes.windows.horizontal);
        let is_gap = |taps: &Taps| taps.count == 0;
        let mut start = 0;
        let mut phases = Vec::new();
        for rows in Taps::of(vertical).filter(|taps| taps.count > 0 && taps.inputs > 0) {
            for columns in Taps::of(horizontal).filter(|taps| taps.count > 0 && taps.inputs > 0) {
                let pass = phase(simd, sizes, rows, columns);
                phases.push(Phase { pass, vertical: rows, horizontal: columns, start });
                start += rows.count * columns.count * sizes.filters * sizes.input.blocks() * S::BLOCK;
            }
        }
        Self {
            phases,
            turned: vec![0.0; turned_len(sizes)],
            has_gaps: Taps::of(vertical).chain(Taps::of(horizontal)).any(|taps| is_gap(&taps)),
        }
    }

    /// Takes over the kernel: for every phase `[block of channels][block of filters][tap][filter][lane: channel]`, the
    /// last tap first.
    pub(super) fn turn(&mut self, sizes: &Sizes, weight: &[f32]) {
        let (lanes, width) = (sizes.input.lanes(), sizes.windows.horizontal.window);
        for phase in &self.phases {
            let Phase { vertical, horizontal, start, .. } = phase;
            let taps = || {
                let rows = (0..vertical.count).rev().map(|tap| vertical.first + tap * vertical.stride);
                rows.flat_map(|y| {
                    let columns = (0..horizontal.count).rev();
                    columns.map(move |tap| y * width + horizontal.first + tap * horizontal.stride)
                })
            };
            let mut vectors = self.turned[*start..].chunks_exact_mut(lanes);
            for block in 0..sizes.input.blocks() {
                let channels = block * lanes..sizes.windows.channels.min((block + 1) * lanes);
                for filters in (0..sizes.filters).step_by(lanes) {
                    for tap in taps() {
                        let source = &weight[filters / lanes * sizes.packing.block()..];
                        for filter in 0..lanes.min(sizes.filters - filters) {
                            let Some(vector) = vectors.next() else { return };
                            let row = sizes.packing.row(tap, channels.start);
                            let column =
                                source[row * lanes..][..channels.len() * lanes].iter().skip(filter).step_by(lanes);
                            vector.iter_mut().zip(column).for_each(|(slot, value)| *slot = *value);
                        }
                    }
                }
            }
        }
    }

    /// Replaces the derivative by one image's inputs.
    pub(super) fn run(&self, sizes: &Sizes, d_outputs: &[f32], d_input: &mut [f32]) {
        if self.has_gaps {
            sizes.input.lines(1).for_each(|line| d_input[line].fill(0.0));
        }
        for phase in &self.phases {
            phase.pass.run(d_outputs, &self.turned[phase.start..], Start::Zero, d_input);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.turned.len()
    }
}

/// Values of the turned kernel.
pub(super) fn turned_len(sizes: &Sizes) -> usize {
    let taps = sizes.windows.vertical.window * sizes.windows.horizontal.window;
    sizes.input.blocks() * sizes.input.lanes() * taps * sizes.filters
}

/// The pass of one phase. Output pixels are rows, and lie a stride apart in the image.
fn phase<S: Simd>(simd: S, sizes: &Sizes, vertical: Taps, horizontal: Taps) -> Pass<S> {
    let lanes = S::BLOCK;
    let d_outputs = sizes.d_outputs();
    let border = gradient_border(&sizes.windows);
    // From an input's own window, its last tap lies `count - 1` windows back.
    let line = |y: usize| (vertical.window + y + border.top + 1 - vertical.count) * d_outputs.pitch();
    let left = (horizontal.window + border.left + 1 - horizontal.count) * lanes;
    let rows = (0..vertical.inputs).map(|y| Tile {
        a: line(y) + left,
        c: sizes.input.pixel(vertical.input + y * vertical.stride, horizontal.input),
        rows: horizontal.inputs,
    });
    let mut segments = Vec::new();
    let mut b = 0;
    for block in 0..sizes.blocks() {
        let filters = lanes.min(sizes.filters - block * lanes);
        let (pieces, steps) =
            if filters == lanes { (1, horizontal.count * lanes) } else { (horizontal.count, filters) };
        for y in 0..vertical.count {
            for x in 0..pieces {
                let a = block * d_outputs.plane() + y * d_outputs.pitch() + x * lanes;
                segments.push(Segment { a, b, steps });
                b += steps * lanes;
            }
        }
    }
    let columns = Columns {
        count: sizes.windows.channels,
        b_block: b,
        c_block: sizes.input.plane(),
        c_row: horizontal.stride * lanes,
    };
    Pass::new(simd, Walk::Blocks, segments, &rows.collect::<Vec<_>>(), columns)
}
