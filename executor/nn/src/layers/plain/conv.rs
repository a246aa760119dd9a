//! Two-dimensional cross-correlation, as one product of patches and kernels.
//!
//! The patches under the windows are copied out beside each other (im2col) for one tile of positions at a time, so
//! that they stay in the cache, and so that memory does not grow with batch or image. Tiles run over the positions
//! of all rows without regard to where a row ends: a small image does not make small products.

use std::ops::Range;

use crate::layers::{AddRows, Backward, Mode, Operation, Tensors, fill_rows};
use crate::product::{Write, matrix, matrix_mut, multiply};
use crate::shape::Windows;
use crate::simd::Work as _;
use crate::tensor::Role;

/// Values of a tile of patches: half a megabyte.
const TILE_VALUES: usize = 1 << 17;

/// Positions of a tile whose patches have `patch` values.
pub(crate) fn tile_positions(patch: usize) -> usize {
    match TILE_VALUES / patch {
        0 => 1,
        positions @ 1..16 => positions,
        positions => positions / 16 * 16,
    }
}

/// A convolution. Its weights are `W (kernel, kernel, channels, filters)`, then `b (filters)`.
pub(crate) struct Conv {
    windows: Windows,
    filters: usize,
    patches: Vec<f32>,
    /// Of all weights.
    gradient: Vec<f32>,
}

impl Conv {
    pub(crate) fn new(windows: Windows, filters: usize) -> Self {
        let patch = windows.patch_values();
        let (patches, gradient) = (vec![0.0; tile_positions(patch) * patch], vec![0.0; (patch + 1) * filters]);
        Self { windows, filters, patches, gradient }
    }

    /// Values of the work buffers.
    pub(crate) fn buffer_len(windows: &Windows, filters: usize) -> usize {
        let patch = windows.patch_values();
        tile_positions(patch) * patch + (patch + 1) * filters
    }

    /// The tiles of `rows` images, as ranges of positions.
    fn tiles(&self, rows: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let end = rows * self.windows.count();
        let tile = tile_positions(self.windows.patch_values());
        (0..end).step_by(tile).map(move |start| start..end.min(start + tile))
    }
}

/// Where one kernel row of one position lies in the images.
struct KernelRow {
    /// The part of the kernel row, in values, that is inside the image. Empty for a row in the padding.
    inside: Range<usize>,
    /// Where that part starts in the images' values.
    image: usize,
}

/// Calls `visit` with the place of every kernel row of every position, in order.
fn walk(windows: &Windows, positions: Range<usize>, mut visit: impl FnMut(KernelRow)) {
    let (count, channels) = (windows.count(), windows.channels);
    for position in positions {
        let (row, place) = (position / count, position % count);
        let (y, x) = (place / windows.horizontal.output, place % windows.horizontal.output);
        let columns = windows.horizontal.inside(x);
        let left = windows.horizontal.pixel(x, columns.start);
        let rows = windows.vertical.inside(y);
        for kernel_y in 0..windows.vertical.window {
            visit(if rows.contains(&kernel_y) {
                let top = windows.vertical.pixel(y, kernel_y);
                KernelRow {
                    inside: columns.start * channels..columns.end * channels,
                    image: row * windows.image_values() + windows.start(top, left),
                }
            } else {
                KernelRow { inside: 0..0, image: 0 }
            });
        }
    }
}

/// Copies the patches of `positions` out of the images.
fn gather(windows: &Windows, images: &[f32], positions: Range<usize>, patches: &mut [f32]) {
    let mut rows = patches.chunks_exact_mut(windows.horizontal.window * windows.channels);
    walk(windows, positions, |place| {
        let Some(row) = rows.next() else { return };
        let source = &images[place.image..][..place.inside.len()];
        row[..place.inside.start].fill(0.0);
        row[place.inside.end..].fill(0.0);
        row[place.inside].copy_from_slice(source);
    });
}

/// Adds patches to where they came from.
fn scatter(windows: &Windows, patches: &[f32], positions: Range<usize>, images: &mut [f32]) {
    let mut rows = patches.chunks_exact(windows.horizontal.window * windows.channels);
    walk(windows, positions, |place| {
        let Some(row) = rows.next() else { return };
        let target = &mut images[place.image..][..place.inside.len()];
        for (sum, value) in target.iter_mut().zip(&row[place.inside]) {
            *sum += value;
        }
    });
}

impl Operation for Conv {
    fn forward(&mut self, _mode: Mode, rows: usize, tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        let (patch, filters) = (self.windows.patch_values(), self.filters);
        let (weight, bias) = tensors.trained.split_at(patch * filters);
        fill_rows(output, bias);
        for tile in self.tiles(rows) {
            let patches = &mut self.patches[..tile.len() * patch];
            gather(&self.windows, input, tile.clone(), patches);
            multiply(
                &matrix(patches, tile.len(), patch),
                &matrix(weight, patch, filters),
                Write::Add,
                &mut matrix_mut(&mut output[tile.start * filters..tile.end * filters], tile.len(), filters),
            );
        }
    }

    fn backward(&mut self, mut pass: Backward<'_>) {
        let (patch, filters) = (self.windows.patch_values(), self.filters);
        let tiles = self.tiles(pass.rows);
        let weight = matrix(&pass.step.trained()[..patch * filters], patch, filters);
        let (d_weight, d_bias) = self.gradient.split_at_mut(patch * filters);
        d_bias.fill(0.0);
        let mut d_input = pass.d_input;
        if let Some(d_input) = d_input.as_deref_mut() {
            d_input.fill(0.0);
        }
        let mut write = Write::Replace;
        for tile in tiles {
            let patches = &mut self.patches[..tile.len() * patch];
            let d_rows = &pass.d_output[tile.start * filters..tile.end * filters];
            let d_output = matrix(d_rows, tile.len(), filters);
            gather(&self.windows, pass.input, tile.clone(), patches);
            multiply(
                &matrix(patches, tile.len(), patch).t(),
                &d_output,
                write,
                &mut matrix_mut(d_weight, patch, filters),
            );
            write = Write::Add;
            AddRows { sums: d_bias, rows: d_rows }.run();
            if let Some(d_input) = d_input.as_deref_mut() {
                // The patches have served: their place takes the gradient by them.
                multiply(&d_output, &weight.t(), Write::Replace, &mut matrix_mut(patches, tile.len(), patch));
                scatter(&self.windows, patches, tile, d_input);
            }
        }
        pass.step.descend(Role::Weight, 0, d_weight);
        pass.step.descend(Role::Bias, patch * filters, d_bias);
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        4 * (self.patches.len() + self.gradient.len())
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::model::Padding;

    use super::*;
    use crate::shape::Axis;

    /// Cross-correlation by its definition.
    fn by_definition(windows: &Windows, filters: usize, trained: &[f32], image: &[f32]) -> Vec<f32> {
        let (weight, bias) = trained.split_at(windows.patch_values() * filters);
        let mut output = Vec::new();
        for (y, x) in (0..windows.vertical.output).flat_map(|y| (0..windows.horizontal.output).map(move |x| (y, x))) {
            for filter in 0..filters {
                let mut sum = bias[filter];
                for (ky, kx) in
                    (0..windows.vertical.window).flat_map(|ky| (0..windows.horizontal.window).map(move |kx| (ky, kx)))
                {
                    let iy = (y * windows.vertical.stride + ky).checked_sub(windows.vertical.before);
                    let ix = (x * windows.horizontal.stride + kx).checked_sub(windows.horizontal.before);
                    let (Some(iy), Some(ix)) = (iy, ix) else { continue };
                    if iy >= windows.vertical.input || ix >= windows.horizontal.input {
                        continue;
                    }
                    for channel in 0..windows.channels {
                        let place = (ky * windows.horizontal.window + kx) * windows.channels + channel;
                        sum += weight[place * filters + filter] * image[windows.start(iy, ix) + channel];
                    }
                }
                output.push(sum);
            }
        }
        output
    }

    #[test]
    fn tiles_of_patches_compute_what_the_definition_says() {
        for (height, width, window, stride, padding) in [
            (5, 7, 3, 1, Padding::Same),
            (5, 7, 3, 2, Padding::Same),
            (6, 4, 2, 2, Padding::Valid),
            (7, 5, 4, 3, Padding::Same),
            (4, 4, 4, 1, Padding::Valid),
            (2, 2, 5, 1, Padding::Same),
        ] {
            let windows = Windows {
                vertical: Axis::new(height, window, stride, padding).unwrap(),
                horizontal: Axis::new(width, window, stride, padding).unwrap(),
                channels: 2,
            };
            let filters = 3;
            let wave = |count: usize| (0..count).map(|i| (i as f32 * 1.7).sin()).collect::<Vec<_>>();
            let trained = wave(windows.patch_values() * filters + filters);
            let images = wave(2 * windows.image_values());
            let mut output = vec![f32::NAN; 2 * windows.count() * filters];
            let tensors = Tensors { trained: &trained, statistics: &mut [] };
            Conv::new(windows, filters).forward(Mode::Training, 2, tensors, &images, &mut output);
            let expected = images
                .chunks_exact(windows.image_values())
                .flat_map(|image| by_definition(&windows, filters, &trained, image));
            for (value, expected) in output.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-4, "{windows:?}: {value}, not {expected}");
            }
        }
    }

    #[test]
    fn a_tile_has_at_least_one_position_and_bounded_memory() {
        assert_eq!(tile_positions(25), 5232);
        assert_eq!(tile_positions(800), 160);
        assert_eq!(tile_positions(usize::MAX), 1);
    }
}
