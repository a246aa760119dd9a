//! The time that is left, for people who wait: forecast now and then, since that takes time of the run loop.

use std::time::Duration;

use tokio::time::Instant;

use crate::forecast::{StillToCome, time_left};
use broadsweep_scheduler::{Moment, Scheduler};

/// Of the run loop's time, forecasts take one part in so many.
const PART: u32 = 250;

/// The newest forecast.
#[derive(Debug, Default)]
pub(super) struct TimeLeft {
    /// When the run will end by it.
    end: Option<Moment>,
    /// When there may be the next one.
    next: Option<Instant>,
}

impl TimeLeft {
    /// What is left at `now`, by a new forecast or by the last one.
    pub(super) fn at(
        &mut self,
        now: Moment,
        scheduler: &Scheduler,
        still_to_come: impl FnOnce() -> StillToCome,
    ) -> Option<Duration> {
        let began = Instant::now();
        if self.next.is_none_or(|next| next <= began) {
            self.end = time_left(scheduler, still_to_come(), now).map(|left| now.after(left));
            self.next = Some(began + began.elapsed() * PART);
        }
        self.end.map(|end| end.since(now))
    }
}
