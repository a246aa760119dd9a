//! What multiplies: one of a few kernels, the same for all trials of a run.
//!
//! | name | runs on | bits |
//! |---|---|---|
//! | `avx512` | x86-64 with AVX-512 | the same on all of these |
//! | `avx2` | x86-64 with AVX2 and FMA | the same on all of these |
//! | `gemm` | any processor; the crate chooses by processor and cache size | the same on equal processors |
//! | `portable` | any processor | the same everywhere |
//!
//! A kernel decides how memory is laid out too (see `layout`), so checkpoints belong to one.

use std::fmt;

use super::simd::Portable;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Simd as _, Work};

/// A kernel that this processor can run: only [`Kernel::detect`] and the constants give one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kernel(pub(super) Kind);

/// The kernels, each with the proof that it runs here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    Gemm,
    Portable(Portable),
}

/// The names of all kernels, also of those that this processor cannot run, the fastest first.
pub const KERNELS: [&str; 4] = ["avx512", "avx2", "gemm", "portable"];

/// Bytes that come into the cache together.
const CACHE_LINE: usize = 64;

/// How values are put together for a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocking {
    /// Row-major, as everybody has it.
    Plain,
    /// In blocks of so many lanes.
    Lanes(usize),
}

/// Of all kernels, also of those that this processor cannot run.
pub(super) const BLOCKINGS: [Blocking; 4] =
    [Blocking::Plain, Blocking::Lanes(8), Blocking::Lanes(16), Blocking::Lanes(32)];

impl Kernel {
    /// The `gemm` crate.
    pub const GEMM: Self = Self(Kind::Gemm);
    /// Our own loops without any special instructions.
    pub const PORTABLE: Self = Self(Kind::Portable(Portable));

    /// The kernels that this processor can run, the fastest first. Asks the processor: for `main`, which passes the
    /// answer down.
    #[must_use]
    pub fn detect() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(Avx512::detect().map(|simd| Self(Kind::Avx512(simd))));
            kernels.extend(Avx2::detect().map(|simd| Self(Kind::Avx2(simd))));
        }
        kernels.extend([Self::GEMM, Self::PORTABLE]);
        kernels
    }

    /// Its name, in studies' results, flags and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            Kind::Gemm => "gemm",
            Kind::Portable(_) => "portable",
        }
    }

    pub(super) fn blocking(self) -> Blocking {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => Blocking::Lanes(Avx512::BLOCK),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => Blocking::Lanes(Avx2::BLOCK),
            Kind::Gemm => Blocking::Plain,
            Kind::Portable(_) => Blocking::Lanes(Portable::BLOCK),
        }
    }

    /// Runs `work`, which goes value by value, compiled for this kernel's registers. The bits are the same with every
    /// kernel.
    #[inline(always)]
    pub(super) fn vectorize(self, work: impl Work) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(simd) => simd.vectorize(work),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => simd.vectorize(work),
            Kind::Gemm | Kind::Portable(_) => work.run(),
        }
    }
}

impl Kernel {
    /// Asks for these values to be brought into the cache. Does nothing where only special instructions could.
    pub(super) fn prefetch<T>(self, values: &[T]) {
        let lines = values.chunks((CACHE_LINE / size_of::<T>().max(1)).max(1));
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(simd) => lines.for_each(|line| simd.prefetch(line.as_ptr().cast())),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => lines.for_each(|line| simd.prefetch(line.as_ptr().cast())),
            Kind::Gemm | Kind::Portable(_) => {}
        }
    }
}

impl Blocking {
    /// Lanes of a block of so many values or channels.
    pub(super) fn lanes(self, channels: usize) -> usize {
        match self {
            Self::Plain => channels,
            Self::Lanes(lanes) => lanes,
        }
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_processor_has_the_kernels_without_special_instructions_and_each_name_once() {
        let names: Vec<_> = Kernel::detect().into_iter().map(Kernel::name).collect();
        assert!(names.ends_with(&["gemm", "portable"]), "{names:?}");
        assert!(names.iter().all(|name| KERNELS.contains(name)), "{names:?}");
        assert!(names.iter().enumerate().all(|(place, name)| !names[..place].contains(name)), "{names:?}");
    }

    #[test]
    fn every_blocking_of_a_kernel_is_among_those_that_memory_is_planned_for() {
        assert!(Kernel::detect().into_iter().all(|kernel| BLOCKINGS.contains(&kernel.blocking())));
    }
}
