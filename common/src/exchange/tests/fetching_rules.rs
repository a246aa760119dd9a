//! The rules of a fetcher in plain form: lists that are searched, no index, nothing kept that can be counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::{
    BlockSet, DOUBT, Failure, Fetcher, LIES_MAX, PeerId, REFUSALS_MAX, REQUESTS_MAX, REQUESTS_PER_PEER, REST,
    REST_MAX, Request, SLOW_FACTOR, SLOW_MIN,
};

/// What happens to a fetcher. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Joins(u32),
    Has(u32, u32),
    HasAll(u32),
    Leaves(u32),
    /// A request that is under way ends with its block.
    Answered(usize),
    /// The driver pushes a block.
    Pushed(u32),
    /// A request that is under way ends without its block.
    Failed(usize, Failure),
    /// News of a request that may never have been made.
    Stray(u32, u32, Failure),
    Passes(Duration),
}

#[derive(Debug, Default)]
struct PlainPeer {
    has: BTreeSet<u32>,
    doubted: BTreeMap<u32, Duration>,
    refusals: u32,
    rests_until: Duration,
}

/// A fetcher, and beside it all that happened to it.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) fetcher: Fetcher,
    len: u32,
    have: BTreeSet<u32>,
    peers: BTreeMap<PeerId, PlainPeer>,
    lies: BTreeMap<PeerId, u32>,
    pub(super) asked: Vec<(Request, Duration)>,
    took: Vec<Duration>,
    pub(super) now: Duration,
}

impl Checked {
    pub(super) fn new(len: u32, have: BlockSet, seed: u64) -> Self {
        Self {
            len,
            have: have.present().collect(),
            fetcher: Fetcher::new(len, have, seed),
            peers: BTreeMap::new(),
            lies: BTreeMap::new(),
            asked: Vec::new(),
            took: Vec::new(),
            now: Duration::ZERO,
        }
    }

    pub(super) fn take(&mut self, step: &Step) {
        match *step {
            Step::Joins(peer) => self.join(PeerId(peer)),
            Step::Has(peer, index) => self.peer_has(PeerId(peer), index),
            Step::HasAll(peer) => {
                (0..self.len).for_each(|index| self.fetcher.peer_has(PeerId(peer), index));
                if let Some(found) = self.peers.get_mut(&PeerId(peer)) {
                    found.has.extend(0..self.len);
                    found.doubted.clear();
                }
            }
            Step::Leaves(peer) => {
                self.fetcher.peer_left(PeerId(peer));
                self.drop_peer(PeerId(peer));
            }
            Step::Answered(which) if !self.asked.is_empty() => {
                let (request, since) = self.asked[which % self.asked.len()];
                self.took.push(self.now.saturating_sub(since));
                let found = self.peers.get_mut(&request.peer).expect("only connected peers are asked");
                (found.refusals, found.rests_until) = (0, Duration::ZERO);
                self.arrive(request.index, Some(request.peer));
            }
            Step::Pushed(index) => self.arrive(index, None),
            Step::Failed(which, failure) if !self.asked.is_empty() => {
                let (Request { peer, index }, _) = self.asked[which % self.asked.len()];
                self.fail(peer, index, failure);
            }
            Step::Stray(peer, index, failure) => self.fail(PeerId(peer), index, failure),
            Step::Passes(time) => self.now += time,
            Step::Answered(_) | Step::Failed(..) => {}
        }
        self.drain();
    }

    fn join(&mut self, peer: PeerId) {
        self.fetcher.peer_joined(peer);
        self.drop_peer(peer);
        if !self.is_banned(peer) {
            self.peers.insert(peer, PlainPeer::default());
        }
    }

    fn peer_has(&mut self, peer: PeerId, index: u32) {
        self.fetcher.peer_has(peer, index);
        if index < self.len
            && let Some(found) = self.peers.get_mut(&peer)
        {
            found.has.insert(index);
            found.doubted.remove(&index);
        }
    }

    fn arrive(&mut self, index: u32, from: Option<PeerId>) {
        let mut in_vain = self.fetcher.arrived(index, from, self.now);
        in_vain.sort_unstable();
        if index >= self.len {
            assert_eq!(in_vain, []);
            return;
        }
        self.have.insert(index);
        let (ended, left) = self.asked.iter().partition(|(request, _)| request.index == index);
        let ended: Vec<(Request, Duration)> = ended;
        self.asked = left;
        let others = ended.into_iter().map(|(request, _)| request).filter(|request| Some(request.peer) != from);
        let others: BTreeSet<Request> = others.collect();
        assert_eq!(in_vain, others.into_iter().collect::<Vec<_>>(), "what is in vain");
    }

    fn fail(&mut self, peer: PeerId, index: u32, failure: Failure) {
        self.fetcher.failed(peer, index, failure, self.now);
        let before = self.asked.len();
        self.asked.retain(|(request, _)| *request != Request { peer, index });
        let was_under_way = self.asked.len() < before;
        if let Some(found) = self.peers.get_mut(&peer) {
            if found.has.remove(&index) && failure == Failure::Refused {
                found.doubted.insert(index, self.now + DOUBT);
            }
            if failure == Failure::Refused && was_under_way && found.rests_until <= self.now {
                found.refusals += 1;
                if let Some(more) = found.refusals.checked_sub(REFUSALS_MAX) {
                    found.rests_until = self.now + REST_MAX.min(REST * 2_u32.pow(more.min(10)));
                }
            }
        }
        if failure == Failure::Corrupt {
            *self.lies.entry(peer).or_default() += 1;
            if self.is_banned(peer) {
                self.drop_peer(peer);
            }
        }
    }

    fn drop_peer(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
        self.asked.retain(|(request, _)| request.peer != peer);
    }

    /// Takes every request that the fetcher makes now, and looks whether each is the right one.
    fn drain(&mut self) {
        for found in self.peers.values_mut() {
            let due = found.doubted.extract_if(.., |_, until| *until <= self.now);
            found.has.extend(due.map(|(index, _)| index));
        }
        while let Some(request) = self.fetcher.next(self.now) {
            self.check(request);
            self.asked.push((request, self.now));
        }
        let best = self.best();
        assert_eq!(best, None, "something could be asked for at {:?}", self.now);
        assert_eq!(self.fetcher.deadline(), self.deadline(), "the deadline at {:?}", self.now);
        assert!(self.fetcher.deadline().is_none_or(|deadline| deadline > self.now));
        assert_eq!(self.fetcher.is_complete(), self.have.len() == self.len as usize);
        assert_eq!(self.fetcher.have.present().collect::<BTreeSet<_>>(), self.have);
        assert!(self.lies.keys().all(|&peer| self.fetcher.is_banned(peer) == self.is_banned(peer)));
        assert_eq!(self.fetcher.broken_invariant(), None);
    }

    fn check(&self, request: Request) {
        let (holders, busy) = self.best().expect("nothing is to be asked for");
        assert!(self.could_ask(request), "{request:?} must not be made at {:?}", self.now);
        let made = (self.worth(request.index), self.busy(request.peer));
        assert!(made.0 == holders, "{request:?} is not the rarest: {made:?}, not {holders:?}");
        let least = self.peers.keys().filter(|&&peer| self.could_ask(Request { peer, ..request }));
        let least = least.map(|&peer| self.busy(peer)).min();
        assert_eq!(Some(made.1), least, "{request:?} is not to the least busy ({busy})");
    }

    /// The least worth of all requests that could be made, and how busy the peer is.
    fn best(&self) -> Option<((bool, Duration, usize), usize)> {
        let all = (0..self.len).flat_map(|index| self.peers.keys().map(move |&peer| Request { peer, index }));
        let possible = all.filter(|&request| self.could_ask(request));
        possible.map(|request| (self.worth(request.index), self.busy(request.peer))).min()
    }

    /// Requests of least worth are made first: no second ones, then the oldest; and first ones rarest first.
    fn worth(&self, index: u32) -> (bool, Duration, usize) {
        match self.under_way(index)[..] {
            [] => (false, Duration::ZERO, self.peers.values().filter(|peer| peer.has.contains(&index)).count()),
            [(_, since), ..] => (true, since, 0),
        }
    }

    fn could_ask(&self, Request { peer, index }: Request) -> bool {
        let Some(found) = self.peers.get(&peer) else { return false };
        let room = self.asked.len() < REQUESTS_MAX && self.busy(peer) < REQUESTS_PER_PEER as usize;
        let wanted = match self.under_way(index)[..] {
            [] => true,
            [(first, since)] => first.peer != peer && self.at_the_end() && self.now >= since + self.slow_after(),
            _ => false,
        };
        room && wanted && found.rests_until <= self.now && found.has.contains(&index) && !self.have.contains(&index)
    }

    fn deadline(&self) -> Option<Duration> {
        let rests = self.peers.values().map(|peer| peer.rests_until).filter(|&until| until > self.now);
        let slow = self.asked.iter().filter(|(first, _)| {
            let mut holders = self.peers.iter().filter(|(_, peer)| peer.has.contains(&first.index));
            let other = holders.any(|(&peer, found)| {
                let room = found.rests_until <= self.now && self.busy(peer) < REQUESTS_PER_PEER as usize;
                room && peer != first.peer
            });
            other && self.under_way(first.index).len() == 1 && self.at_the_end() && self.asked.len() < REQUESTS_MAX
        });
        let doubts = self.peers.values().flat_map(|peer| &peer.doubted);
        let doubts = doubts.filter(|(index, _)| !self.have.contains(index)).map(|(_, &until)| until);
        rests.chain(slow.map(|(_, since)| *since + self.slow_after())).chain(doubts).min()
    }

    fn at_the_end(&self) -> bool {
        (0..self.len).all(|index| self.have.contains(&index) || !self.under_way(index).is_empty())
    }

    fn slow_after(&self) -> Duration {
        let mut newest: Vec<Duration> = self.took.iter().rev().take(32).copied().collect();
        newest.sort_unstable();
        let median = newest.get(newest.len() / 2).copied().unwrap_or_default();
        SLOW_MIN.max(median * SLOW_FACTOR)
    }

    fn under_way(&self, index: u32) -> Vec<(Request, Duration)> {
        self.asked.iter().filter(|(request, _)| request.index == index).copied().collect()
    }

    fn busy(&self, peer: PeerId) -> usize {
        self.asked.iter().filter(|(request, _)| request.peer == peer).count()
    }

    fn is_banned(&self, peer: PeerId) -> bool {
        self.lies.get(&peer).is_some_and(|&lies| lies >= LIES_MAX)
    }
}
