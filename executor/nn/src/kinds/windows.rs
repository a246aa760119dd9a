//! Where the windows of a convolution or a pool lie on what they get.

use broadsweep_common::model::{Padding, WINDOW, Window};

use crate::shape::{Axis, Shape, Windows};

/// The windows of a pool.
pub(super) fn below(input: Shape, Window { size, stride, padding }: Window) -> Result<Windows, String> {
    on(input, size, stride, padding)
}

/// Square windows of side `window`.
pub(super) fn on(input: Shape, window: usize, stride: usize, padding: Padding) -> Result<Windows, String> {
    let Shape::Image { height, width, channels } = input else {
        return Err(format!(
            "needs an image (height, width, channels), but gets {input}; put it before the flatten layer, or give \
             the data a shape of an image"
        ));
    };
    let fits = |side: usize| u32::try_from(side).is_ok_and(|side| WINDOW.hold(side));
    if !fits(window) || !fits(stride) {
        return Err(format!("needs a window and a stride {}", WINDOW.in_words()));
    }
    let axis = |side| Axis::new(side, window, stride, padding);
    match (axis(height), axis(width)) {
        (Some(vertical), Some(horizontal)) => Ok(Windows { vertical, horizontal, channels }),
        _ => Err(format!(
            "a window of {window}x{window} does not fit into {input}; use a smaller one, or padding = \"same\""
        )),
    }
}
