//! Loops over neighbouring channels, of a length that the compiler knows.

use crate::kernel::Kernel;
use crate::layout::Layout;
use crate::simd::Work;

/// `LANES` neighbours from `place` on.
#[inline(always)]
pub(super) fn values<const LANES: usize>(all: &[f32], place: usize) -> [f32; LANES] {
    let mut values = [0.0; LANES];
    values.copy_from_slice(&all[place..][..LANES]);
    values
}

/// What goes by groups of neighbouring channels.
pub(super) trait ByLanes {
    /// Does it, `LANES` channels at a time, which divide the lanes of a block. Implementations, and what they call, are `#[inline(always)]`.
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
        // Of those that divide the layout's lanes, the widest.
        match self.layout.lanes() {
            lanes if lanes % 16 == 0 => self.work.run::<16>(),
            lanes if lanes % 8 == 0 => self.work.run::<8>(),
            lanes if lanes % 4 == 0 => self.work.run::<4>(),
            _ => self.work.run::<1>(),
        }
    }
}
