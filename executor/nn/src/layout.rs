//! Where the values of a batch lie between two layers.
//!
//! Vectors need neighbours that are worked on alike: values of one row, or channels of one pixel. So both come in
//! blocks of as many as a vector has lanes, and a last block is filled up with lanes that nobody reads:
//!
//! ```text
//! flat:   [block of values][row of the batch][lane]
//! image:  [row of the batch][block of channels][y, with a border][x, with a border][lane]
//! ```
//!
//! The border belongs to the layer that reads the image: a convolution that pads finds its zeros there. With as many
//! lanes as there are values or channels, and no border, this is the plain row-major order.

use std::ops::Range;

use super::shape::{Shape, Windows};

/// Pixels of zeros around an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Border {
    pub(super) top: usize,
    pub(super) bottom: usize,
    pub(super) left: usize,
    pub(super) right: usize,
}

/// Where the values of a batch lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Values without a place in an image.
    Flat {
        /// Of one row.
        values: usize,
        /// Of one block.
        lanes: usize,
    },
    /// Images.
    Image {
        /// Rows of pixels, without the border.
        height: usize,
        /// Pixels in a row, without the border.
        width: usize,
        /// Of one pixel.
        channels: usize,
        /// Of one block.
        lanes: usize,
        /// Around each block's image.
        border: Border,
    },
}

/// A part of a row whose values lie together in the plain order and in a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it begins in the plain row.
    pub(super) from: usize,
    /// Where it begins in the layout.
    pub(super) to: usize,
    /// Values.
    pub(super) length: usize,
}

impl Border {
    /// What windows reach beyond the image.
    pub(super) fn of(windows: &Windows) -> Self {
        let (vertical, horizontal) = (windows.vertical, windows.horizontal);
        Self { top: vertical.before, bottom: vertical.after(), left: horizontal.before, right: horizontal.after() }
    }
}

impl Layout {
    pub(super) fn new(shape: Shape, lanes: usize) -> Self {
        match shape {
            Shape::Flat(values) => Self::Flat { values, lanes },
            Shape::Image { height, width, channels } => {
                Self::Image { height, width, channels, lanes, border: Border::default() }
            }
        }
    }

    /// The same image with this border; flat values have none.
    pub(super) fn with_border(self, border: Border) -> Self {
        match self {
            Self::Flat { .. } => self,
            Self::Image { height, width, channels, lanes, .. } => {
                Self::Image { height, width, channels, lanes, border }
            }
        }
    }

    pub(super) fn lanes(&self) -> usize {
        match *self {
            Self::Flat { lanes, .. } | Self::Image { lanes, .. } => lanes,
        }
    }

    /// What batch norm normalises one by one: the channels of an image, or each value of a flat row.
    pub(super) fn channels(&self) -> usize {
        match *self {
            Self::Flat { values, .. } => values,
            Self::Image { channels, .. } => channels,
        }
    }

    /// Blocks of channels.
    pub(super) fn blocks(&self) -> usize {
        self.channels().div_ceil(self.lanes())
    }

    /// Values of one row of pixels of one block, with the border.
    pub(super) fn pitch(&self) -> usize {
        match *self {
            Self::Flat { lanes, .. } => lanes,
            Self::Image { width, lanes, border, .. } => (border.left + width + border.right) * lanes,
        }
    }

    /// Values of one block of one image, with the border.
    pub(super) fn plane(&self) -> usize {
        match *self {
            Self::Flat { lanes, .. } => lanes,
            Self::Image { height, border, .. } => (border.top + height + border.bottom) * self.pitch(),
        }
    }

    /// Values that one row of the batch takes.
    pub(super) fn row_len(&self) -> usize {
        self.blocks() * self.plane()
    }

    /// Values that so many rows take.
    pub(super) fn len(&self, rows: usize) -> usize {
        rows * self.row_len()
    }

    /// Where pixel `(y, x)` starts in its block's image.
    pub(super) fn pixel(&self, y: usize, x: usize) -> usize {
        match *self {
            Self::Flat { .. } => 0,
            Self::Image { lanes, border, .. } => (y + border.top) * self.pitch() + (x + border.left) * lanes,
        }
    }

    /// The values of block `block` of each row, line by line of pixels, without the border.
    pub(super) fn block_lines(&self, rows: usize, block: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let layout = *self;
        let (height, length) = match layout {
            Self::Flat { lanes, .. } => (1, rows * lanes),
            Self::Image { height, width, lanes, .. } => (height, width * lanes),
        };
        let count = if let Self::Flat { .. } = layout { 1 } else { rows };
        (0..count).flat_map(move |row| {
            (0..height).map(move |y| {
                let start = match layout {
                    Self::Flat { .. } => block * length,
                    Self::Image { .. } => row * layout.row_len() + block * layout.plane() + layout.pixel(y, 0),
                };
                start..start + length
            })
        })
    }

    /// All values, line by line of pixels, without the border: as many lines as any layout of this shape has.
    pub(super) fn lines(&self, rows: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let layout = *self;
        (0..layout.blocks()).flat_map(move |block| layout.block_lines(rows, block))
    }

    /// All values without the border, in runs that are as long as can be.
    pub(super) fn runs(&self, rows: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let layout = *self;
        let has_border = matches!(layout, Self::Image { border, .. } if border != Border::default());
        let whole = (!has_border).then_some(0..layout.len(rows));
        let blocks = if has_border { layout.blocks() } else { 0 };
        let lines = (0..blocks).flat_map(move |block| layout.block_lines(rows, block));
        whole.into_iter().chain(lines)
    }

    /// Where value `index` of row `row` lies, counted as in the plain order: `(y, x, channel)`, the channel fastest.
    pub(super) fn place(&self, rows: usize, row: usize, index: usize) -> usize {
        match *self {
            Self::Flat { lanes, .. } => (index / lanes * rows + row) * lanes + index % lanes,
            Self::Image { width, channels, lanes, .. } => {
                let (pixel, channel) = (index / channels, index % channels);
                let start = row * self.row_len() + channel / lanes * self.plane();
                start + self.pixel(pixel / width, pixel % width) + channel % lanes
            }
        }
    }

    /// Values of one row in the plain order.
    pub(super) fn values(&self) -> usize {
        match *self {
            Self::Flat { values, .. } => values,
            Self::Image { height, width, channels, .. } => height * width * channels,
        }
    }

    /// Values of one row with those that fill up its last block, but without a border.
    pub(super) fn values_with_lanes(&self) -> usize {
        self.values() / self.channels() * self.blocks() * self.lanes()
    }

    /// How far it is from a row of the batch to the next.
    pub(super) fn row_step(&self) -> usize {
        match *self {
            Self::Flat { lanes, .. } => lanes,
            Self::Image { .. } => self.row_len(),
        }
    }

    /// The parts of a plain row that stay together, and where they lie for row `row` of so many.
    pub(super) fn pieces(&self, rows: usize, row: usize) -> impl Iterator<Item = Piece> + use<> {
        let layout = *self;
        let values = layout.values();
        let length = match layout {
            Self::Flat { lanes, .. } => lanes,
            Self::Image { width, channels, lanes, .. } if lanes == channels => width * channels,
            Self::Image { .. } => 0,
        };
        let (even, pixels) = if length > 0 { (values.div_ceil(length), 0) } else { (0, values / layout.channels()) };
        let runs = (0..even).map(move |piece| {
            let start = piece * length;
            Piece { from: start, to: layout.place(rows, row, start), length: length.min(values - start) }
        });
        let (channels, lanes) = (layout.channels(), layout.lanes());
        let blocks = layout.blocks();
        let by_block = (0..pixels * blocks).map(move |piece| {
            let (pixel, block) = (piece / blocks, piece % blocks);
            let start = pixel * channels + block * lanes;
            let length = lanes.min(channels - block * lanes);
            Piece { from: start, to: layout.place(rows, row, start), length }
        });
        runs.chain(by_block)
    }

    /// Copies `plain`, `(rows, values)`, into this layout.
    pub(super) fn pack(&self, rows: usize, plain: &[f32], packed: &mut [f32]) {
        for (row, plain) in plain.chunks_exact(self.values()).take(rows).enumerate() {
            for Piece { from, to, length } in self.pieces(rows, row) {
                packed[to..to + length].copy_from_slice(&plain[from..from + length]);
            }
        }
    }

    /// Copies out of this layout into `plain`, `(rows, values)`.
    pub(super) fn unpack(&self, rows: usize, packed: &[f32], plain: &mut [f32]) {
        for (row, plain) in plain.chunks_exact_mut(self.values()).take(rows).enumerate() {
            for Piece { from, to, length } in self.pieces(rows, row) {
                plain[from..from + length].copy_from_slice(&packed[to..to + length]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layouts() -> Vec<Layout> {
        let border = Border { top: 1, bottom: 2, left: 3, right: 0 };
        let image = Shape::Image { height: 3, width: 4, channels: 5 };
        let flat = [3, 4, 7].map(|lanes| Layout::new(Shape::Flat(7), lanes));
        let images = [2, 5, 8].map(|lanes| Layout::new(image, lanes));
        let bordered = images.map(|layout| layout.with_border(border));
        flat.into_iter().chain(images).chain(bordered).collect()
    }

    #[test]
    fn what_is_packed_comes_back_and_lies_where_its_place_says() {
        let rows = 3;
        for layout in layouts() {
            let plain: Vec<f32> = (0..rows * layout.values()).map(|value| value as f32 + 1.0).collect();
            let mut packed = vec![0.0; layout.len(rows)];
            layout.pack(rows, &plain, &mut packed);
            let mut back = vec![0.0; plain.len()];
            layout.unpack(rows, &packed, &mut back);
            assert_eq!(back, plain, "{layout:?}");
            for (index, value) in plain.iter().enumerate() {
                let place = layout.place(rows, index / layout.values(), index % layout.values());
                assert_eq!(packed[place], *value, "{layout:?}");
            }
        }
    }

    #[test]
    fn runs_hold_every_value_once_and_no_border() {
        let rows = 2;
        for layout in layouts() {
            let mut seen = vec![0; layout.len(rows)];
            let by_block: Vec<_> = layout.lines(rows).collect();
            for runs in [layout.runs(rows).collect(), by_block] {
                let runs: Vec<Range<usize>> = runs;
                runs.into_iter().flatten().for_each(|place| seen[place] += 1);
            }
            let mut places = vec![0; seen.len()];
            for row in 0..rows {
                (0..layout.values()).for_each(|index| places[layout.place(rows, row, index)] = 2);
            }
            let padding = layout.blocks() * layout.lanes() - layout.channels();
            let pixels = layout.values() / layout.channels();
            assert!(seen.iter().zip(&places).all(|(seen, place)| seen >= place), "{layout:?}");
            assert_eq!(
                seen.iter().sum::<i32>() as usize,
                2 * rows * (layout.values() + padding * pixels),
                "{layout:?}"
            );
        }
    }
}
