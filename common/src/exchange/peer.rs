//! What a fetcher thinks of one peer: what it has, how busy it is, whether it may be asked.

use std::collections::BTreeMap;
use std::time::Duration;

use super::blocks::BlockSet;

/// Requests under way at one peer at most. Several, so that its link is not idle for a round trip after each block;
/// few, so that a slow peer does not sit on much.
pub const REQUESTS_PER_PEER: u32 = 4;
/// Refusals in a row after which a peer is left alone for a while.
pub const REFUSALS_MAX: u32 = 3;
/// Corrupt blocks after which a peer is never asked again: one may be a bad cable's fault.
pub const LIES_MAX: u32 = 2;
/// How long a peer that refused a block is taken not to have it: what kept it from giving it may be over by then.
pub const DOUBT: Duration = Duration::from_secs(5);
/// The first rest of a peer; each further one is twice as long.
pub const REST: Duration = Duration::from_millis(500);
/// The longest rest of a peer.
pub const REST_MAX: Duration = Duration::from_secs(16);

/// Another executor, by a number that the caller gives it. One that comes back must get its old number, or a banned
/// one is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerId(pub u32);

/// One connected peer that is not banned.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The blocks that it has, by their place in the fetcher's order.
    pub(super) has: BlockSet,
    /// Blocks that it refused, by their place, and until when it is taken not to have them.
    doubted: BTreeMap<u32, Duration>,
    /// Requests under way there.
    pub(super) in_flight: u32,
    /// Refusals since it last gave a block.
    refusals: u32,
    /// When it may be asked again, if it rests.
    rests_until: Option<Duration>,
}

impl Peer {
    pub(super) fn new(len: u32) -> Self {
        Self { has: BlockSet::empty(len), doubted: BTreeMap::new(), in_flight: 0, refusals: 0, rests_until: None }
    }

    /// It says that it has the block; whether that is news.
    pub(super) fn add_claim(&mut self, place: u32) -> bool {
        self.doubted.remove(&place);
        self.has.insert(place)
    }

    /// It refused a block that it said it had.
    pub(super) fn doubt(&mut self, place: u32, now: Duration) {
        self.doubted.insert(place, now + DOUBT);
    }

    /// The blocks that it refused long enough ago, which it is taken to have again.
    pub(super) fn trust_again(&mut self, now: Duration) -> Vec<u32> {
        let due: Vec<u32> =
            self.doubted.iter().filter(|(_, until)| **until <= now).map(|(place, _)| *place).collect();
        for place in &due {
            self.doubted.remove(place);
            self.has.insert(*place);
        }
        due
    }

    /// The blocks that it refused, and until when that counts.
    pub(super) fn doubts(&self) -> impl Iterator<Item = (u32, Duration)> {
        self.doubted.iter().map(|(place, until)| (*place, *until))
    }

    /// Whether it takes one more request.
    pub(super) fn has_room(&self) -> bool {
        self.rests_until.is_none() && self.in_flight < REQUESTS_PER_PEER
    }

    /// When its rest ends.
    pub(super) fn rests_until(&self) -> Option<Duration> {
        self.rests_until
    }

    /// It gave a block.
    pub(super) fn on_given(&mut self) {
        self.refusals = 0;
        self.rests_until = None;
    }

    /// It did not give a block. What else was under way when its rest began tells nothing new.
    pub(super) fn on_refused(&mut self, now: Duration) {
        if self.rests_until.is_some() {
            return;
        }
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals >= REFUSALS_MAX {
            let doublings = (self.refusals - REFUSALS_MAX).min(8);
            self.rests_until = Some(now + (REST * (1 << doublings)).min(REST_MAX));
        }
    }

    /// Its rest is over if its time has come. One refusal more sends it back, for twice as long.
    pub(super) fn end_rest_if_due(&mut self, now: Duration) {
        self.rests_until = self.rests_until.filter(|&until| until > now);
    }
}
