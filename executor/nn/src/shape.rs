//! Shapes of one row between two layers, where windows lie on an image, and the error for layers that do not fit.

use std::fmt;
use std::ops::Range;

use broadsweep_common::model::Padding;

/// What one row looks like between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many values in a row.
    Flat(usize),
    /// An image, stored row by row, the channels of a pixel together.
    Image {
        /// Rows of pixels.
        height: usize,
        /// Pixels in a row.
        width: usize,
        /// Values of a pixel.
        channels: usize,
    },
}

impl Shape {
    /// Values of one row. The plan has bounded them, so that the product fits.
    #[must_use]
    pub fn values(self) -> usize {
        match self {
            Self::Flat(values) => values,
            Self::Image { height, width, channels } => height * width * channels,
        }
    }

    /// What batch norm normalises one by one: the channels of an image, or each value of a flat row.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Self::Flat(values) => values,
            Self::Image { channels, .. } => channels,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat(1) => f.write_str("1 value"),
            Self::Flat(values) => write!(f, "{values} values"),
            Self::Image { height, width, channels } => write!(f, "{height}x{width}x{channels}"),
        }
    }
}

/// Layers, data and targets that do not fit each other. Only the study's author can help, so it says how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// Index into the model's layers, from 0; `None` if the model as a whole is at fault.
    pub layer: Option<usize>,
    /// That layer's name in study files.
    pub kind: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether it is the data's targets that the last layer does not fit.
    pub is_of_targets: bool,
}

impl ShapeError {
    pub(super) fn model(message: impl Into<String>) -> Self {
        Self { layer: None, kind: "model", message: message.into(), is_of_targets: false }
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "layer {} ({}): {}", layer + 1, self.kind, self.message),
            None => write!(f, "model: {}", self.message),
        }
    }
}

impl std::error::Error for ShapeError {}

/// Where windows lie along one side of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Pixels of the input.
    pub(super) input: usize,
    /// Windows.
    pub(super) output: usize,
    /// Pixels of a window.
    pub(super) window: usize,
    /// Pixels between two windows.
    pub(super) stride: usize,
    /// Padding before the first pixel.
    pub(super) before: usize,
}

impl Axis {
    /// `None` if a valid window is larger than the image. As in TensorFlow, an odd rest of `same` padding goes to
    /// the end.
    pub(super) fn new(input: usize, window: usize, stride: usize, padding: Padding) -> Option<Self> {
        let (output, before) = match padding {
            Padding::Valid => (input.checked_sub(window)? / stride + 1, 0),
            Padding::Same => {
                let output = input.div_ceil(stride);
                (output, ((output - 1) * stride + window).saturating_sub(input) / 2)
            }
        };
        Some(Self { input, output, window, stride, before })
    }

    /// Padding after the last pixel.
    pub(super) fn after(&self) -> usize {
        ((self.output - 1) * self.stride + self.window).saturating_sub(self.before + self.input)
    }

    /// Which of the window's pixels lie inside the image, for output `place`. Never empty.
    pub(super) fn inside(&self, place: usize) -> Range<usize> {
        let start = place * self.stride;
        self.before.saturating_sub(start)..self.window.min(self.input + self.before - start)
    }

    /// The input pixel below pixel `offset` of the window at `place`; `offset` has to be [`Self::inside`].
    pub(super) fn pixel(&self, place: usize, offset: usize) -> usize {
        place * self.stride + offset - self.before
    }
}

/// Where square windows lie on an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    pub(super) vertical: Axis,
    pub(super) horizontal: Axis,
    pub(super) channels: usize,
}

impl Windows {
    /// Windows on one image.
    pub(super) fn count(&self) -> usize {
        self.vertical.output * self.horizontal.output
    }

    /// Values of one image.
    pub(super) fn image_values(&self) -> usize {
        self.vertical.input * self.horizontal.input * self.channels
    }

    /// Values under one window.
    pub(super) fn patch_values(&self) -> usize {
        self.vertical.window * self.horizontal.window * self.channels
    }

    /// The pixels' place in the image's values: pixel `(y, x)` starts here.
    pub(super) fn start(&self, y: usize, x: usize) -> usize {
        (y * self.horizontal.input + x) * self.channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_lie_where_tensorflow_puts_them() {
        // input, window, stride, padding -> outputs, padding before
        let table = [
            (28, 5, 1, Padding::Same, 28, 2),
            (28, 5, 1, Padding::Valid, 24, 0),
            (28, 2, 2, Padding::Same, 14, 0),
            (5, 2, 2, Padding::Same, 3, 0),
            (5, 2, 2, Padding::Valid, 2, 0),
            (6, 3, 2, Padding::Same, 3, 0),
            (7, 4, 3, Padding::Same, 3, 1),
            (3, 1, 2, Padding::Same, 2, 0),
        ];
        for (input, window, stride, padding, output, before) in table {
            let axis = Axis::new(input, window, stride, padding).unwrap();
            assert_eq!((axis.output, axis.before), (output, before), "{input} {window} {stride} {padding}");
        }
        assert_eq!(Axis::new(4, 5, 1, Padding::Valid), None);
    }

    #[test]
    fn every_window_covers_pixels_of_the_image_and_no_others() {
        for (input, window, stride) in (1..9).flat_map(|i| (1..7).flat_map(move |w| (1..5).map(move |s| (i, w, s)))) {
            for padding in [Padding::Same, Padding::Valid] {
                let Some(axis) = Axis::new(input, window, stride, padding) else { continue };
                for place in 0..axis.output {
                    let inside = axis.inside(place);
                    assert!(!inside.is_empty(), "{axis:?} at {place}");
                    assert!(axis.pixel(place, inside.start) < axis.pixel(place, inside.end - 1) + 1);
                    assert!(axis.pixel(place, inside.end - 1) < input, "{axis:?} at {place}");
                }
            }
        }
    }
}
