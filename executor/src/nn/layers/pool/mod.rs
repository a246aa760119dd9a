//! Max and average pooling.

mod average;
mod max;
#[cfg(test)]
mod tests;

pub(crate) use self::average::AveragePool;
pub(crate) use self::max::{MaxPool, Spread, TakeLargest, Windowed};

/// Calls `$body` with `$lanes` as a constant that divides the layout's lanes: the wider, the faster.
macro_rules! with_lanes {
    ($layout:expr, $lanes:ident, $body:expr) => {
        match $layout.lanes() {
            lanes if lanes % 16 == 0 => {
                const $lanes: usize = 16;
                $body
            }
            lanes if lanes % 8 == 0 => {
                const $lanes: usize = 8;
                $body
            }
            lanes if lanes % 4 == 0 => {
                const $lanes: usize = 4;
                $body
            }
            _ => {
                const $lanes: usize = 1;
                $body
            }
        }
    };
}

use with_lanes;

#[inline(always)]
fn values<const LANES: usize>(all: &[f32], place: usize) -> [f32; LANES] {
    let mut values = [0.0; LANES];
    values.copy_from_slice(&all[place..][..LANES]);
    values
}
