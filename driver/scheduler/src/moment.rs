//! A moment of a run: the one type of time that scheduler, journal and results share.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of a run, in microseconds of driven time since its start: while no driver lives, it stands still. The
/// scheduler has no clock: the run loop stamps each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment that lies `elapsed` after the run's start.
    #[must_use]
    pub fn since_start(elapsed: Duration) -> Self {
        Self::default().after(elapsed)
    }

    /// The moment that lies `wait` after this one. Saturates: a run does not last 584,000 years.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let wait_us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(wait_us))
    }

    /// How long `earlier` lies back; nothing if it does not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since the run's start.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}
