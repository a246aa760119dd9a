//! How one number is scaled, in 64 bits.

use serde::{Deserialize, Serialize};

/// `(x - center) / spread`, or 0 where the spread is 0.
///
/// Where a data set keeps 32-bit numbers, this is computed in 64 bits before they are narrowed, and what lies in the
/// data set is scaled. Where it keeps bytes, they lie there as they are, and each is scaled on its way into a batch, in
/// 32 bits as [`Scaling`](super::Scaling) says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Becomes 0.
    pub center: f64,
    /// Becomes 1, from the center on. Never negative.
    pub spread: f64,
}

impl Scale {
    /// Leaves a value as it is.
    pub const NONE: Self = Self { center: 0.0, spread: 1.0 };

    /// The scaled value, not narrowed yet.
    #[must_use]
    pub fn apply(self, value: f64) -> f64 {
        if self.spread > 0.0 { (value - self.center) / self.spread } else { 0.0 }
    }

    /// What has this scaled value.
    #[must_use]
    pub fn undo(self, scaled: f64) -> f64 {
        scaled * self.spread + self.center
    }

    /// Factor and offset that do the same to a byte, in 32 bits.
    #[must_use]
    pub fn narrow(self) -> (f32, f32) {
        if self.spread > 0.0 { ((1.0 / self.spread) as f32, (-self.center / self.spread) as f32) } else { (0.0, 0.0) }
    }

    /// Whether it can be undone: a target that lies in a data set is told in the file's units again.
    pub(super) fn is_usable(&self) -> bool {
        self.center.is_finite() && self.spread.is_finite() && self.spread > 0.0
    }
}
