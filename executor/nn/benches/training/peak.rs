//! The most multiply-adds that this processor does: the yardstick of the bench.
//!
//! A burst is a loop of fused multiply-adds on registers alone, in as many chains as hide their latency. Beside trainings
//! its time is the thread's CPU time, so that what others do on the machine counts little; a row of bursts on its own goes
//! by the wall, so that loops on several cores tell what those cores give together.

use std::fmt;

use super::clock::Start;

/// A width of vector registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// 8 numbers, with AVX2 and FMA.
    Avx2,
    /// 16 numbers.
    Avx512,
}

impl Width {
    /// The widths that this processor has, the widest first.
    pub(crate) fn detected() -> Vec<Self> {
        [Self::Avx512, Self::Avx2].into_iter().filter(|width| width.is_detected()).collect()
    }

    /// GFLOP/s of one burst, by the thread's CPU time.
    pub(crate) fn burst(self) -> f64 {
        let start = Start::now();
        self.work() / start.elapsed().cpu_s
    }

    /// GFLOP/s of bursts for about so many seconds, by the wall.
    pub(crate) fn sustained(self, seconds: f64) -> f64 {
        let start = Start::now();
        let mut done = 0.0;
        loop {
            done += self.work();
            let wall_s = start.elapsed().wall_s;
            if wall_s >= seconds {
                return done / wall_s;
            }
        }
    }

    /// The name in the bench's JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
        })
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions")]
mod bursts {
    use std::arch::x86_64::{__m256, __m512};
    use std::arch::x86_64::{_mm256_add_ps, _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps};
    use std::arch::x86_64::{_mm512_add_ps, _mm512_cvtss_f32, _mm512_fmadd_ps, _mm512_set1_ps};
    use std::hint::black_box;

    use super::Width;

    /// Rounds of a burst: some hundredths of a second.
    const ROUNDS: u32 = 8_000_000;
    /// Chains of multiply-adds: 8 hide a latency of 4 cycles on two units, and 12 leave room for the two factors in 16
    /// registers. With AVX-512 there are 32, but with 16 chains the compiler kept some of them in memory.
    const CHAINS: usize = 12;

    impl Width {
        pub(super) fn is_detected(self) -> bool {
            match self {
                Self::Avx2 => std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma"),
                Self::Avx512 => std::is_x86_feature_detected!("avx512f"),
            }
        }

        /// GFLOP of one burst; a multiply-add is two.
        ///
        /// # Panics
        /// If the processor has no such registers.
        pub(super) fn work(self) -> f64 {
            assert!(self.is_detected(), "this processor has no {self}");
            let values = match self {
                // SAFETY: the processor has AVX2 and FMA, as was just asserted.
                Self::Avx2 => black_box(unsafe { avx2() }).1,
                // SAFETY: the processor has AVX-512F, as was just asserted.
                Self::Avx512 => black_box(unsafe { avx512() }).1,
            };
            f64::from(ROUNDS) * (2 * CHAINS * values) as f64 / 1e9
        }
    }

    /// The sum of all chains, so that none is left out, and the values in a register.
    #[target_feature(enable = "avx2,fma")]
    fn avx2() -> (f32, usize) {
        let mut chains: [__m256; CHAINS] = [_mm256_set1_ps(0.5); CHAINS];
        let (factor, term) = (black_box(_mm256_set1_ps(0.999)), black_box(_mm256_set1_ps(0.001)));
        for _ in 0..ROUNDS {
            for chain in &mut chains {
                *chain = _mm256_fmadd_ps(*chain, factor, term);
            }
        }
        let sum = chains.into_iter().reduce(|a, b| _mm256_add_ps(a, b)).map(|sum| _mm256_cvtss_f32(sum));
        (sum.unwrap_or_default(), 8)
    }

    /// As [`avx2`], with registers of twice the width.
    #[target_feature(enable = "avx512f")]
    fn avx512() -> (f32, usize) {
        let mut chains: [__m512; CHAINS] = [_mm512_set1_ps(0.5); CHAINS];
        let (factor, term) = (black_box(_mm512_set1_ps(0.999)), black_box(_mm512_set1_ps(0.001)));
        for _ in 0..ROUNDS {
            for chain in &mut chains {
                *chain = _mm512_fmadd_ps(*chain, factor, term);
            }
        }
        let sum = chains.into_iter().reduce(|a, b| _mm512_add_ps(a, b)).map(|sum| _mm512_cvtss_f32(sum));
        (sum.unwrap_or_default(), 16)
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Width {
    /// No loop is written for other processors: the bench gives no fractions there.
    fn is_detected(self) -> bool {
        false
    }

    fn work(self) -> f64 {
        f64::NAN
    }
}
