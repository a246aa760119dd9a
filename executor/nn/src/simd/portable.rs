//! Vectors for any processor: what the compiler makes of arrays.
//!
//! Products and sums are rounded one by one, so that processors with and without fused instructions agree on bits.

#![expect(unsafe_code, reason = "vectors are read and written through raw pointers")]

use super::{Simd, Work};

/// Four lanes: the width that every 64-bit processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portable;

/// Aligned, so that the compiler keeps it in one register.
#[derive(Clone, Copy)]
#[repr(align(16))]
pub(crate) struct Four([f32; 4]);

impl Simd for Portable {
    const LANES: usize = 4;
    const TILE_ROWS: usize = 6;
    const HALF_TILE_ROWS: usize = 12;
    type Vector = Four;

    #[inline(always)]
    fn vectorize(self, work: impl Work) {
        work.run();
    }

    #[inline(always)]
    fn prefetch(self, _place: *const f32) {}

    #[inline(always)]
    fn splat(self, value: f32) -> Four {
        Four([value; 4])
    }

    #[inline(always)]
    fn mul_add(self, Four(a): Four, Four(b): Four, Four(c): Four) -> Four {
        Four([a[0] * b[0] + c[0], a[1] * b[1] + c[1], a[2] * b[2] + c[2], a[3] * b[3] + c[3]])
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Four {
        // SAFETY: the caller vouches for four readable values; `read_unaligned` asks for no more.
        Four(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, Four(vector): Four) {
        // SAFETY: the caller vouches for four writable values; `write_unaligned` asks for no more.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(vector) }
    }
}
