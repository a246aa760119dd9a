//! What a convolution is made for: its windows, filters and layouts, and where its kernel's lines lie.

use broadsweep_common::model::Activation;

use super::conv_taps::gradient_border;
use crate::blueprint::Packing;
use crate::layout::Layout;
use crate::shape::{Shape, Windows};

/// What a convolution is made for.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) windows: Windows,
    pub(crate) filters: usize,
    pub(crate) input: Layout,
    /// The node's outputs: after the pool, if it has one.
    pub(crate) output: Layout,
    /// Of the kernel's weights.
    pub(crate) packing: Packing,
    pub(crate) pool: Option<Windows>,
    /// Behind the pool. Not one whose derivative needs its inputs.
    pub(crate) activation: Activation,
    /// Whether the gradient by the inputs is needed.
    pub(crate) passes_on: bool,
}

impl Sizes {
    pub(super) fn lanes(&self) -> usize {
        self.output.lanes()
    }

    /// Blocks of filters.
    pub(crate) fn blocks(&self) -> usize {
        self.filters.div_ceil(self.lanes())
    }

    /// Of the convolution itself, without a border.
    pub(super) fn unpooled(&self) -> Layout {
        let (height, width) = (self.windows.vertical.output, self.windows.horizontal.output);
        Layout::new(Shape::Image { height, width, channels: self.filters }, self.lanes())
    }

    /// Of the derivative by them: with the border that the gradient by the inputs reaches into.
    pub(crate) fn d_outputs(&self) -> Layout {
        if self.passes_on { self.unpooled().with_border(gradient_border(&self.windows)) } else { self.unpooled() }
    }

    /// Where the first window starts in an image, and how far it is from a window to the next.
    pub(crate) fn window_start(&self) -> (usize, usize) {
        let (vertical, horizontal) = (self.windows.vertical, self.windows.horizontal);
        let back = vertical.before * self.input.pitch() + horizontal.before * self.input.lanes();
        (self.input.pixel(0, 0) - back, horizontal.stride * self.input.lanes())
    }

    /// The kernel's lines over blocks of channels, each with its place in an image from the window's start, its first
    /// row among the weights, and its values. Where a block of channels is not full, each tap is a line.
    pub(crate) fn kernel_lines(&self) -> Vec<(usize, usize, usize)> {
        let (lanes, pitch) = (self.input.lanes(), self.input.pitch());
        let (height, width) = (self.windows.vertical.window, self.windows.horizontal.window);
        let mut lines = Vec::new();
        for block in 0..self.input.blocks() {
            let channel = block * lanes;
            let channels = lanes.min(self.windows.channels - channel);
            let (taps, length) = if channels == lanes { (1, width * lanes) } else { (width, channels) };
            for y in 0..height {
                for x in 0..taps {
                    let place = block * self.input.plane() + y * pitch + x * lanes;
                    lines.push((place, self.packing.row(y * width + x, channel), length));
                }
            }
        }
        lines
    }
}
