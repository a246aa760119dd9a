//! Which taps of a convolution's kernel the gradient by its inputs sees, and how far it reaches.

use crate::layout::Border;
use crate::shape::{Axis, Windows};

/// The taps of one phase along one side.
#[derive(Clone, Copy)]
pub(super) struct Taps {
    /// The phase: its taps are this one and every stride-th after it.
    pub(super) first: usize,
    pub(super) stride: usize,
    /// How many there are.
    pub(super) count: usize,
    /// The first window, counted as if windows went on before the image, that an input of this phase is the first
    /// pixel of but for `first`.
    pub(super) window: usize,
    /// The input that it is.
    pub(super) input: usize,
    /// Inputs of this phase.
    pub(super) inputs: usize,
}

impl Taps {
    /// Of every phase along one side.
    pub(super) fn of(axis: Axis) -> impl Iterator<Item = Self> {
        (0..axis.stride).map(move |first| {
            // Inputs counted from the first window's first pixel: `axis.before` is the image's first one.
            let window = axis.before.saturating_sub(first).div_ceil(axis.stride);
            let input = window * axis.stride + first - axis.before;
            Self {
                first,
                stride: axis.stride,
                count: axis.window.saturating_sub(first).div_ceil(axis.stride),
                window,
                input,
                inputs: axis.input.saturating_sub(input).div_ceil(axis.stride),
            }
        })
    }

    /// How far the phases reach before the first window and behind the last one.
    fn reach(axis: Axis) -> (usize, usize) {
        let with_taps = || Self::of(axis).filter(|taps| taps.count > 0 && taps.inputs > 0);
        let before = with_taps().map(|taps| (taps.count - 1).saturating_sub(taps.window)).max().unwrap_or(0);
        let behind =
            with_taps().map(|taps| (taps.window + taps.inputs).saturating_sub(axis.output)).max().unwrap_or(0);
        (before, behind)
    }
}

/// What is read around the derivative by the outputs.
pub(super) fn gradient_border(windows: &Windows) -> Border {
    let ((top, bottom), (left, right)) = (Taps::reach(windows.vertical), Taps::reach(windows.horizontal));
    Border { top, bottom, left, right }
}
