//! Loops over neighbouring channels, of a length that the compiler knows.

use crate::nn::kernel::Kernel;
use crate::nn::layout::Layout;
use crate::nn::simd::Work;

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

pub(super) use with_lanes;

/// `LANES` neighbours from `place` on.
#[inline(always)]
pub(super) fn values<const LANES: usize>(all: &[f32], place: usize) -> [f32; LANES] {
    let mut values = [0.0; LANES];
    values.copy_from_slice(&all[place..][..LANES]);
    values
}

/// What goes by groups of neighbouring channels.
pub(super) trait ByLanes {
    /// Does it, `LANES` channels at a time. Implementations, and what they call, are `#[inline(always)]`.
    fn run<const LANES: usize>(self);
}

/// Runs `work` on channels that lie as in `layout`, compiled for the kernel's registers.
#[inline(always)]
pub(super) fn by_lanes(kernel: Kernel, layout: Layout, work: impl ByLanes) {
    kernel.vectorize(Grouped { layout, work });
}

struct Grouped<W> {
    layout: Layout,
    work: W,
}

impl<W: ByLanes> Work for Grouped<W> {
    #[inline(always)]
    fn run(self) {
        with_lanes!(self.layout, LANES, self.work.run::<LANES>());
    }
}
