//! How a running attempt is told to end: between two batches, or after the epoch under way.

use std::sync::atomic::{AtomicU8, Ordering};

const GO_ON: u8 = 0;
const AT_EPOCH_END: u8 = 1;
const NOW: u8 = 2;

/// One attempt's flag: set by its session, read by its slot. It only ever gets more urgent.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicU8);

impl Stop {
    /// After the epoch under way, so that its checkpoint loses nothing.
    pub(crate) fn at_epoch_end(&self) {
        self.0.fetch_max(AT_EPOCH_END, Ordering::Relaxed);
    }

    /// Between two batches: the epoch under way is lost.
    pub(crate) fn now(&self) {
        self.0.fetch_max(NOW, Ordering::Relaxed);
    }

    /// Whether the attempt may go on within its epoch.
    pub(crate) fn allows_a_batch(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NOW
    }

    /// Whether the attempt may begin another epoch.
    pub(crate) fn allows_an_epoch(&self) -> bool {
        self.0.load(Ordering::Relaxed) == GO_ON
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_gets_more_urgent() {
        let stop = Stop::default();
        assert!(stop.allows_a_batch() && stop.allows_an_epoch());
        stop.at_epoch_end();
        assert!(stop.allows_a_batch() && !stop.allows_an_epoch());
        stop.now();
        stop.at_epoch_end();
        assert!(!stop.allows_a_batch() && !stop.allows_an_epoch());
    }
}
