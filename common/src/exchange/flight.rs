//! Requests under way, and how long they usually take.

use std::collections::VecDeque;
use std::time::Duration;

use super::peer::PeerId;

/// A request is slow after this many times the usual duration...
pub const SLOW_FACTOR: u32 = 4;
/// ...and not before this, since on a fast network a pause of the scheduler's or the disk's is longer than any block.
pub const SLOW_MIN: Duration = Duration::from_secs(2);
/// Requests that the usual duration is the median of: the newest ones.
const DURATIONS_KEPT: usize = 32;

/// One request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) peer: PeerId,
    pub(super) since: Duration,
}

/// A block on its way: from one peer, or from two where the first one is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) first: Ask,
    pub(super) second: Option<Ask>,
}

impl Flight {
    pub(super) fn asks(self) -> impl Iterator<Item = Ask> {
        std::iter::once(self.first).chain(self.second)
    }

    pub(super) fn ask_of(self, peer: PeerId) -> Option<Ask> {
        self.asks().find(|ask| ask.peer == peer)
    }

    /// What is left without the peer's request.
    pub(super) fn without(self, peer: PeerId) -> Option<Self> {
        let first = self.asks().find(|ask| ask.peer != peer)?;
        Some(Self { first, second: self.second.filter(|second| second.peer != peer && *second != first) })
    }
}

/// How long the newest requests took.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestTimes(VecDeque<Duration>);

impl RequestTimes {
    pub(super) fn add(&mut self, took: Duration) {
        if self.0.len() == DURATIONS_KEPT {
            self.0.pop_front();
        }
        self.0.push_back(took);
    }

    /// The age at which a request is slow.
    pub(super) fn slow_after(&self) -> Duration {
        let mut sorted: Vec<Duration> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        (median * SLOW_FACTOR).max(SLOW_MIN)
    }
}
