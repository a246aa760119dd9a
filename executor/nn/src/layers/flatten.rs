//! Images to flat values: the same numbers in the order of pixels, where they lie in blocks.

use super::{Backward, Mode, Operation, Tensors};
use crate::layout::{Layout, Piece};

/// The way from an image's layout to a flat one. On plain memory there is nothing to do, and no such layer.
pub(crate) struct Flatten {
    image: Layout,
    flat: Layout,
    /// Whether images have lanes that nobody reads.
    has_filling: bool,
}

impl Flatten {
    pub(crate) fn new(image: Layout, flat: Layout) -> Self {
        Self { image, flat, has_filling: image.values() != image.values_with_lanes() }
    }

    /// Calls `copy` with the place in the images, the place among the flat values, and the length of every run of
    /// values that lies together in both.
    #[inline(always)]
    fn walk(&self, rows: usize, mut copy: impl FnMut(usize, usize, usize)) {
        let lanes = self.flat.lanes();
        for row in 0..rows {
            for Piece { from: start, to: place, length } in self.image.pieces(rows, row) {
                // A piece of an image may end within a block of flat values.
                let mut done = 0;
                while done < length {
                    let index = start + done;
                    let run = (lanes - index % lanes).min(length - done);
                    copy(place + done, self.flat.place(rows, row, index), run);
                    done += run;
                }
            }
        }
    }
}

impl Operation for Flatten {
    fn forward(&mut self, _mode: Mode, rows: usize, _tensors: Tensors<'_>, input: &[f32], output: &mut [f32]) {
        self.walk(rows, |from, to, length| output[to..to + length].copy_from_slice(&input[from..from + length]));
    }

    fn backward(&mut self, pass: Backward<'_>) {
        let Some(d_input) = pass.d_input else { return };
        if self.has_filling {
            d_input.fill(0.0);
        }
        let d_output = pass.d_output;
        self.walk(pass.rows, |to, from, length| {
            d_input[to..to + length].copy_from_slice(&d_output[from..from + length]);
        });
    }

    #[cfg(test)]
    fn buffer_bytes(&self) -> usize {
        0
    }
}
