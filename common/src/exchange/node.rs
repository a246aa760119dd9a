//! What the driver knows of one executor that takes part in the exchange of a blob.

use std::time::Duration;

use super::blocks::{BlockSet, WORD_BITS};
use super::push::Why;

/// Pushes under way to one node at most: while one is on the wire, the other is being checked and written.
pub const PUSHES_PER_NODE: usize = 2;
/// How long nothing is pushed to a node after a push to it failed; doubles at each further one.
pub const RETRY: Duration = Duration::from_millis(500);
/// The longest such wait.
pub const RETRY_MAX: Duration = Duration::from_secs(8);

/// A push under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outstanding {
    pub(super) index: u32,
    pub(super) since: Duration,
    pub(super) why: Why,
    /// It takes so long that it cannot be what fills the driver's link.
    pub(super) is_slow: bool,
}

impl Outstanding {
    /// Whether it is one of those of which there may be [`SCATTERED_MAX`](super::SCATTERED_MAX).
    pub(super) fn is_limited(&self) -> bool {
        self.why == Why::Scattered && !self.is_slow
    }
}

/// Where a node's blocks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supply {
    /// It gains blocks, or there is nothing that it could gain.
    Flowing,
    /// It gained nothing since then, though there is something.
    Dry { since: Duration },
    /// It was dry for too long: the driver pushes to it what others have.
    Fed,
}

/// One connected executor.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) have: BlockSet,
    pub(super) pushes: Vec<Outstanding>,
    /// Pushes ever begun.
    pub(super) pushed: u64,
    pub(super) supply: Supply,
    /// Failed pushes since the last good one.
    failures: u32,
    /// When it may be pushed to again, if a push failed.
    waits_until: Option<Duration>,
}

impl Node {
    pub(super) fn new(have: BlockSet) -> Self {
        Self { have, pushes: Vec::new(), pushed: 0, supply: Supply::Flowing, failures: 0, waits_until: None }
    }

    /// Whether blocks are pushed to it, now or as soon as one under way ends.
    pub(super) fn is_ready(&self) -> bool {
        self.waits_until.is_none()
    }

    /// Whether one more push may begin.
    pub(super) fn has_room(&self) -> bool {
        self.is_ready() && self.pushes.len() < PUSHES_PER_NODE
    }

    /// Ends the push of the block, if one is under way.
    pub(super) fn end_push(&mut self, index: u32) -> Option<Outstanding> {
        let at = self.pushes.iter().position(|push| push.index == index)?;
        Some(self.pushes.swap_remove(at))
    }

    pub(super) fn is_being_pushed(&self, index: u32) -> bool {
        self.pushes.iter().any(|push| push.index == index)
    }

    /// Of the 64 blocks of a word, those that it lacks and that are not being pushed to it.
    pub(super) fn lacks(&self, word: usize) -> u64 {
        let pushed = self.pushes.iter().filter(|push| push.index / WORD_BITS == word as u32);
        pushed.fold(!self.have.words()[word], |bits, push| bits & !(1 << (push.index % WORD_BITS)))
    }

    /// Blocks that it has, or is being pushed.
    pub(super) fn provided(&self) -> u32 {
        let pushed = self.pushes.iter().filter(|push| !self.have.contains(push.index));
        self.have.count() + pushed.count() as u32
    }

    pub(super) fn push_failed(&mut self, now: Duration) {
        // What else was under way when the wait began tells nothing new.
        if self.waits_until.is_none() {
            self.waits_until = Some(now + (RETRY * (1 << self.failures.min(8))).min(RETRY_MAX));
            self.failures = self.failures.saturating_add(1);
        }
    }

    pub(super) fn push_succeeded(&mut self) {
        self.failures = 0;
        self.waits_until = None;
    }

    /// Its wait is over if its time has come.
    pub(super) fn end_wait_if_due(&mut self, now: Duration) {
        self.waits_until = self.waits_until.filter(|&until| until > now);
    }

    /// When [`next`](super::Scatter::next) may answer differently because of this node.
    pub(super) fn deadline(&self, patience: Option<Duration>) -> Option<Duration> {
        let fed = match self.supply {
            Supply::Dry { since } => patience.map(|patience| since + patience),
            Supply::Flowing | Supply::Fed => None,
        };
        fed.into_iter().chain(self.waits_until).min()
    }
}
