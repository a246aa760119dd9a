//! Where a simulation's random numbers come from: its seed.

use std::time::Duration;

/// Numbers that look random and are a function of the seed: Steele, Lea and Flood's `SplitMix` (2014).
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 on, below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// `first` to `last`, both possible.
    pub(super) fn whole(&mut self, first: u64, last: u64) -> u64 {
        first + self.next() % (last - first + 1)
    }

    /// From 0 on, below 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// As often below the middle of the magnitudes as above it.
    pub(super) fn log_range(&mut self, low: f64, high: f64) -> f64 {
        (low.ln() + self.share() * (high.ln() - low.ln())).exp()
    }

    pub(super) fn seconds(&mut self, low: f64, high: f64) -> Duration {
        Duration::from_millis(((low + self.share() * (high - low)) * 1e3) as u64)
    }

    /// Once in so many times.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }
}
