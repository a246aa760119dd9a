//! The gradients of a convolution behind which a max pool picks one pixel of each window.
//!
//! The derivative by the convolution's outputs is then zero but for those pixels: at most a quarter of them where windows
//! are 2x2, and half of these once a `relu` has dropped its own. So it is never written down: lists say which pixels each
//! filter has, and which filters each pixel has, and only those are multiplied (see `picks`).
//!
//! ```text
//! by weights: for each filter,  Σ over its pixels   derivative × inputs below the pixel's window
//! by inputs:  for each pixel,   Σ over its filters  derivative × the filter's weights, onto the inputs below
//! ```
//!
//! Both go through the kernel line by line, with vectors of channels: so weights are turned around once a batch, from
//! vectors of filters, and their gradient back.

use super::conv_sizes::Sizes;
use super::pool::Windowed;
use crate::buffer::Buffer;
use crate::picks::{Bundle, Direction, Picks};
use crate::shape::{Axis, Windows};
use crate::simd::Simd;

/// The gradients by weights and inputs.
pub(super) struct PickedGradients<S> {
    simd: S,
    sizes: Sizes,
    /// Lines of the kernel, over each block of channels.
    bundles: Vec<Bundle>,
    /// Which pixel each place of each of the pool's windows is: `[window][place]`.
    pixels: Vec<usize>,
    /// Where the input below each pixel's window starts.
    starts: Vec<u32>,
    by_filter: Picks,
    /// If the gradient by the inputs is needed.
    by_pixel: Option<Picks>,
    /// The gradient by the weights, `[bundle][filter][line][value: tap, channel]`.
    sums: Buffer,
    /// The weights in the same order, if the gradient by the inputs is needed.
    turned: Buffer,
}

/// Whether picks are worth summing by themselves: every window of the pool has pixels of its own, so that each pixel is
/// picked at most once, and what fills up the last block of channels does not cost more than what is left out saves.
pub(super) fn is_worth_it(sizes: &Sizes) -> bool {
    let Some(Windows { vertical, horizontal, .. }) = sizes.pool else { return false };
    let is_apart = |axis: Axis| axis.window <= axis.stride;
    let padded = sizes.input.blocks() * sizes.input.lanes();
    is_apart(vertical)
        && is_apart(horizontal)
        && sizes.input.lanes() == sizes.output.lanes()
        // Seven tenths: sums over picks reach not quite as much of the processor's peak as those over everything.
        && 10 * padded <= 7 * sizes.windows.channels * vertical.window * horizontal.window
}

/// Values of the buffers and lists.
pub(super) fn buffer_len(sizes: &Sizes) -> usize {
    let [by_filter, by_pixel] = [(sizes.filters, picks_of_filter(sizes)), (sizes.windows.count(), sizes.filters)]
        .map(|(items, capacity)| Picks::len(items, capacity));
    let kernel = kernel_len(sizes);
    if sizes.passes_on { 2 * kernel + by_filter + by_pixel } else { kernel + by_filter }
}

/// How many pixels are picked for one filter.
fn picks_of_filter(sizes: &Sizes) -> usize {
    sizes.pool.map_or(0, |pool| pool.count())
}

/// Values of the kernel with its blocks of channels filled up.
fn kernel_len(sizes: &Sizes) -> usize {
    let taps = sizes.windows.vertical.window * sizes.windows.horizontal.window;
    sizes.filters * taps * sizes.input.blocks() * sizes.input.lanes()
}

impl<S: Simd> PickedGradients<S> {
    /// For a convolution for which that [`is_worth_it`].
    pub(super) fn new(simd: S, sizes: &Sizes, pool: &Windows) -> Self {
        let input = sizes.input;
        let lines = (0..input.blocks()).flat_map(|block| {
            (0..sizes.windows.vertical.window).map(move |y| block * input.plane() + y * input.pitch())
        });
        let vectors = sizes.windows.horizontal.window * input.lanes() / S::LANES;
        let (first, step) = sizes.window_start();
        let Windows { vertical, horizontal, .. } = sizes.windows;
        let pixels = (0..vertical.output).flat_map(|y| (0..horizontal.output).map(move |x| (y, x)));
        let starts: Vec<_> = pixels.map(|(y, x)| first + y * vertical.stride * input.pitch() + x * step).collect();
        let start_max = starts.last().copied().unwrap_or(0);
        let by_pixel = || Picks::new(starts.clone(), sizes.filters, sizes.filters - 1);
        Self {
            simd,
            sizes: *sizes,
            bundles: Bundle::all::<S>(&lines.collect::<Vec<_>>(), vectors),
            pixels: pixels_below(pool),
            by_filter: Picks::new((0..sizes.filters).collect(), picks_of_filter(sizes), start_max),
            by_pixel: sizes.passes_on.then(by_pixel),
            starts: starts.iter().map(|start| *start as u32).collect(),
            sums: Buffer::zeroed(kernel_len(sizes)),
            turned: Buffer::zeroed(if sizes.passes_on { kernel_len(sizes) } else { 0 }),
        }
    }

    /// Before the first image of a batch.
    pub(super) fn begin(&mut self, weight: &[f32]) {
        self.sums.fill(0.0);
        if self.by_pixel.is_some() {
            let turned = &mut self.turned;
            each_weight(&self.sizes, &self.bundles, |here, packed| turned[here] = weight[packed]);
        }
    }

    /// Adds one image's share to the gradient by the weights, and replaces the derivative by its inputs. `d_output` is
    /// behind the pool.
    pub(super) fn run(
        &mut self,
        (pool, image): (&Windowed, usize),
        d_output: &[f32],
        input: &[f32],
        d_input: Option<&mut [f32]>,
    ) {
        self.pick(pool.origins_of(image), d_output);
        let mut start = 0;
        for bundle in &self.bundles {
            let sums = &mut self.sums[start..];
            bundle.run(self.simd, &self.by_filter, Direction::FromImage, input, sums);
            start += bundle.len() * self.sizes.filters;
        }
        let (Some(by_pixel), Some(d_input)) = (&self.by_pixel, d_input) else { return };
        d_input.fill(0.0);
        let mut start = 0;
        for bundle in &self.bundles {
            bundle.run(self.simd, by_pixel, Direction::ToImage, &self.turned[start..], d_input);
            start += bundle.len() * self.sizes.filters;
        }
    }

    /// Lists what is not zero.
    fn pick(&mut self, origins: &[u32], d_output: &[f32]) {
        let Self { sizes, pixels, starts, by_filter, by_pixel, .. } = self;
        by_filter.clear();
        if let Some(by_pixel) = by_pixel {
            by_pixel.clear();
        }
        let (layout, lanes) = (sizes.output, sizes.output.lanes());
        let windows = picks_of_filter(sizes);
        let places = pixels.len() / windows;
        let mut origins = origins.chunks_exact(lanes);
        for block in 0..layout.blocks() {
            let filters = lanes.min(sizes.filters - block * lanes);
            let lines = layout.block_lines(1, block).flat_map(|line| d_output[line].chunks_exact(lanes));
            for (pixels, d_outputs) in pixels.chunks_exact(places).zip(lines) {
                let Some(origins) = origins.next() else { return };
                for (lane, (factor, origin)) in d_outputs.iter().zip(origins).take(filters).enumerate() {
                    let (filter, pixel) = (block * lanes + lane, pixels[*origin as usize]);
                    by_filter.add(filter, starts[pixel], *factor);
                    if let Some(by_pixel) = by_pixel {
                        by_pixel.add(pixel, filter as u32, *factor);
                    }
                }
            }
        }
    }

    /// Adds the gradient by the weights of all images since [`Self::begin`] to `gradient`, which is packed as the weights.
    pub(super) fn finish(&self, gradient: &mut [f32]) {
        each_weight(&self.sizes, &self.bundles, |here, packed| gradient[packed] += self.sums[here]);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let lists = self.by_filter.values() + self.by_pixel.as_ref().map_or(0, Picks::values);
        self.sums.len() + self.turned.len() + lists
    }
}

/// For each window of the pool, the pixels below it, row-major, as numbers among all; 0 for those outside the image, which
/// are never picked.
fn pixels_below(pool: &Windows) -> Vec<usize> {
    let Windows { vertical, horizontal, .. } = pool;
    let mut pixels = Vec::new();
    for (y, x) in (0..vertical.output).flat_map(|y| (0..horizontal.output).map(move |x| (y, x))) {
        let (rows, columns) = (vertical.inside(y), horizontal.inside(x));
        for (down, right) in
            (0..vertical.window).flat_map(|down| (0..horizontal.window).map(move |right| (down, right)))
        {
            let is_inside = rows.contains(&down) && columns.contains(&right);
            let pixel = || vertical.pixel(y, down) * horizontal.input + horizontal.pixel(x, right);
            pixels.push(if is_inside { pixel() } else { 0 });
        }
    }
    pixels
}

/// Calls `each` with the place of every weight among the bundles, and where it is packed.
fn each_weight(sizes: &Sizes, bundles: &[Bundle], mut each: impl FnMut(usize, usize)) {
    let (input, lanes) = (sizes.input, sizes.input.lanes());
    let mut start = 0;
    for bundle in bundles {
        for filter in 0..sizes.filters {
            let column = filter / lanes * sizes.packing.block() + filter % lanes;
            for place in bundle.rows() {
                let (block, place) = (place / input.plane(), place % input.plane());
                let (y, first) = (place / input.pitch(), place % input.pitch());
                let channels = sizes.windows.channels - block * lanes;
                for value in 0..bundle.row_len() {
                    let (x, channel) = ((first + value) / lanes, (first + value) % lanes);
                    if channel < channels {
                        let tap = y * sizes.windows.horizontal.window + x;
                        let row = sizes.packing.row(tap, block * lanes + channel);
                        each(start + value, column + row * lanes);
                    }
                }
                start += bundle.row_len();
            }
        }
    }
}
