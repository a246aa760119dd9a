//! Vectors of f32 values, as wide as the processor has them.
//!
//! A [`Simd`] is a proof: whoever has one runs on a processor that has its instructions. Kernels are written once, over
//! this trait, and compiled for each kind. What works value by value needs no intrinsics: plain loops inside of
//! [`Simd::vectorize`] are compiled for the wide registers too, and give the same bits as anywhere else, since
//! nothing is contracted or reordered.

#![expect(unsafe_code, reason = "vectors are read and written through raw pointers")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
pub(super) use portable::Portable;

/// What is compiled for wide registers. A trait and not a closure, since nothing makes the compiler inline closures,
/// and what is not inlined has none of the instructions.
pub(super) trait Work {
    /// Does it. Implementations, and what they call, are `#[inline(always)]`.
    fn run(self);
}

/// One kind of vectors.
pub(super) trait Simd: Copy + Send + 'static {
    /// Values of a vector.
    const LANES: usize;
    /// Values of two vectors. Layouts are cut into blocks of so many, and tiles are so wide.
    const BLOCK: usize = 2 * Self::LANES;
    /// Rows of the largest register tile: its sums, two vectors and a factor fill the registers.
    const TILE_ROWS: usize;
    /// Rows of the largest tile that is one vector wide.
    const HALF_TILE_ROWS: usize;
    /// A vector.
    type Vector: Copy;

    /// Runs `work`, compiled for these instructions.
    fn vectorize(self, work: impl Work);

    /// Asks for the cache line at `place`, which may be anywhere.
    fn prefetch(self, place: *const f32);

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::Vector;

    /// `a × b + c`. Rounded once where the processor can, twice in [`Portable`].
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// The vector at `from`, of any alignment.
    ///
    /// # Safety
    /// `LANES` values have to be readable there.
    unsafe fn load(self, from: *const f32) -> Self::Vector;

    /// Writes the vector to `to`, of any alignment.
    ///
    /// # Safety
    /// `LANES` values have to be writable there.
    unsafe fn store(self, to: *mut f32, vector: Self::Vector);
}
