//! AVX2 with fused multiply-add: eight lanes, sixteen registers.

#![expect(unsafe_code, reason = "intrinsics")]

use std::arch::x86_64::{
    __m256, _MM_HINT_T0, _mm_prefetch, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps,
};

use super::{Simd, Work};

/// The proof that this processor has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// `None` if this processor lacks them.
    pub(crate) fn detect() -> Option<Self> {
        let has_all = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        has_all.then_some(Self(()))
    }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    const HALF_TILE_ROWS: usize = 12;
    type Vector = __m256;

    #[inline(always)]
    fn vectorize(self, work: impl Work) {
        #[target_feature(enable = "avx2,fma")]
        fn with_features(work: impl Work) {
            work.run();
        }
        // SAFETY: whoever made `self` found the features.
        unsafe { with_features(work) }
    }

    #[inline(always)]
    fn prefetch(self, place: *const f32) {
        // SAFETY: a hint that reads nothing; every processor with these vectors has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: `self` proves the feature, and the caller vouches for the values.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: __m256) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(to, vector) }
    }
}
