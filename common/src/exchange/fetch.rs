//! An executor's side of the exchange of one blob: which block it asks of which peer.
//!
//! Rarest first (Cohen, "Incentives Build Robustness in `BitTorrent`", 2003): the block that the fewest peers have is the
//! one whose only holder may die, or be busy, next. What is equally rare is asked for in an order of this executor's
//! own, so that executors that know the same do not all ask one peer for one block.

use std::collections::BTreeMap;
use std::time::Duration;

use super::blocks::BlockSet;
use super::flight::{Ask, Flight, RequestTimes};
#[cfg(doc)]
use super::peer::DOUBT;
use super::peer::{LIES_MAX, Peer, PeerId};
use super::rarity::Rarity;

/// Requests under way at all peers together at most: 16 MiB, what a link of 10 Gbit/s carries in 13 ms.
pub const REQUESTS_MAX: usize = 16;

/// One block to ask of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Whom.
    pub peer: PeerId,
    /// For which block.
    pub index: u32,
}

/// Why a request gave no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer does not have it, did not answer in time, or cannot be reached.
    Refused,
    /// What came is not what the manifest names.
    Corrupt,
}

/// What one executor has of one blob, what its peers have, and what it asked for.
///
/// Every time is since one fixed origin, the caller's choice, and never runs back.
#[derive(Clone, Debug)]
pub struct Fetcher {
    seed: u64,
    pub(super) have: BlockSet,
    /// `order[place]` is a block's index: the order in which equally rare blocks are asked for.
    order: Vec<u32>,
    /// `places[index]` is the block's place in `order`.
    places: Vec<u32>,
    /// By place. Open is what is missing and not under way; a holder is a connected peer.
    rarity: Rarity,
    /// Those that are connected and not banned.
    peers: BTreeMap<PeerId, Peer>,
    /// Corrupt blocks of each peer that sent one, connected or not.
    lies: BTreeMap<PeerId, u32>,
    /// By index: at most [`REQUESTS_MAX`] requests.
    flights: BTreeMap<u32, Flight>,
    times: RequestTimes,
}

impl Fetcher {
    /// For a blob of `len` blocks of which `have` are here. `seed` makes this executor's order differ from others'.
    ///
    /// # Panics
    /// If `have` is a set of another length.
    #[must_use]
    pub fn new(len: u32, have: BlockSet, seed: u64) -> Self {
        assert_eq!(have.len(), len, "what is here is of another blob");
        let mut order: Vec<u32> = (0..len).collect();
        order.sort_by_cached_key(|&index| mix(seed, u64::from(index)));
        let mut places = vec![0; len as usize];
        for (place, &index) in (0..).zip(&order) {
            places[index as usize] = place;
        }
        let mut rarity = Rarity::new(len);
        for index in have.present() {
            rarity.close(places[index as usize]);
        }
        Self {
            seed,
            have,
            order,
            places,
            rarity,
            peers: BTreeMap::new(),
            lies: BTreeMap::new(),
            flights: BTreeMap::new(),
            times: RequestTimes::default(),
        }
    }

    /// A peer is connected; it has nothing until it says so. One that is banned is not listened to.
    pub fn peer_joined(&mut self, peer: PeerId) {
        self.peer_left(peer);
        if !self.is_banned(peer) {
            self.peers.insert(peer, Peer::new(self.have.len()));
        }
    }

    /// A connected peer has the block. Without effect if there is no such block or no such peer.
    pub fn peer_has(&mut self, peer: PeerId, index: u32) {
        let Some(found) = self.peers.get_mut(&peer) else { return };
        if index < self.have.len() && found.add_claim(self.places[index as usize]) {
            self.rarity.add(self.places[index as usize]);
        }
    }

    /// A peer is connected no more: what was asked of it is asked of others.
    pub fn peer_left(&mut self, peer: PeerId) {
        self.forget_holdings(peer);
        let asked: Vec<u32> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.ask_of(peer).is_some())
            .map(|(&index, _)| index)
            .collect();
        for index in asked {
            self.end_request(peer, index);
        }
        self.peers.remove(&peer);
    }

    /// The block is here and checked: from that peer, or from the driver if `from` is none. Returns the requests for
    /// it that are under way elsewhere and now in vain: one that is let go on brings a block twice.
    pub fn arrived(&mut self, index: u32, from: Option<PeerId>, now: Duration) -> Vec<Request> {
        if !self.have.insert(index) {
            return Vec::new();
        }
        self.rarity.close(self.places[index as usize]);
        let mut in_vain = Vec::new();
        let asks = self.flights.remove(&index).into_iter().flat_map(Flight::asks);
        for Ask { peer, since } in asks {
            let Some(found) = self.peers.get_mut(&peer) else { continue };
            found.in_flight -= 1;
            if from == Some(peer) {
                found.on_given();
                self.times.add(now.saturating_sub(since));
            } else {
                in_vain.push(Request { peer, index });
            }
        }
        in_vain
    }

    /// A request gave no block. The peer is taken not to have it until it says so again, or for [`DOUBT`](super::DOUBT) where it only
    /// refused. One that is banned by this is taken to have left: what is still under way there is asked of others.
    pub fn failed(&mut self, peer: PeerId, index: u32, failure: Failure, now: Duration) {
        let was_under_way = self.end_request(peer, index);
        let was_held = self.forget_block(peer, index);
        match (failure, self.peers.get_mut(&peer)) {
            (Failure::Corrupt, _) => self.count_lie(peer),
            (Failure::Refused, Some(found)) => {
                if let Some(place) = was_held {
                    found.doubt(place, now);
                }
                // One that was given up before its answer came tells nothing of the peer.
                if was_under_way {
                    found.on_refused(now);
                }
            }
            (Failure::Refused, None) => {}
        }
    }

    /// The next request to make now, if there is one; to be called until there is none, after every event and at the
    /// [`deadline`](Self::deadline).
    ///
    /// Costs at worst `len / 64` steps for each number of holders that a missing block has, and one step a peer with room
    /// for each 64 blocks with a missing one among them; in the common case the first few words decide.
    pub fn next(&mut self, now: Duration) -> Option<Request> {
        for peer in self.peers.values_mut() {
            peer.end_rest_if_due(now);
            peer.trust_again(now).into_iter().for_each(|place| self.rarity.add(place));
        }
        if self.requests() >= REQUESTS_MAX {
            return None;
        }
        let request = self.next_rarest().or_else(|| self.next_repeated(now))?;
        let ask = Ask { peer: request.peer, since: now };
        self.flights
            .entry(request.index)
            .and_modify(|flight| flight.second = Some(ask))
            .or_insert(Flight { first: ask, second: None });
        self.rarity.close(self.places[request.index as usize]);
        self.peers.get_mut(&request.peer).into_iter().for_each(|peer| peer.in_flight += 1);
        Some(request)
    }

    /// When [`next`](Self::next) may answer differently although nothing happens: a peer's rest ends, a refused block is
    /// believed to be there again, or a request becomes slow that another peer could answer. To be asked after `next`
    /// returned none.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let rests = self.peers.values().filter_map(Peer::rests_until);
        let slow_after = self.times.slow_after();
        let slow = self.repeatable().map(|(_, flight, _)| flight.first.since + slow_after);
        let doubts = self.peers.values().flat_map(Peer::doubts);
        let missing = doubts.filter(|(place, _)| !self.have.contains(self.order[*place as usize]));
        rests.chain(slow).chain(missing.map(|(_, until)| until)).min()
    }

    /// Whether every block is here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    /// Whether the peer lied too often to be asked again.
    #[must_use]
    pub fn is_banned(&self, peer: PeerId) -> bool {
        self.lies.get(&peer).is_some_and(|&lies| lies >= LIES_MAX)
    }

    /// The rarest block that a peer with room has, from the least busy of those.
    fn next_rarest(&self) -> Option<Request> {
        let roomy: Vec<&Peer> = self.peers.values().filter(|peer| peer.has_room() && peer.has.count() > 0).collect();
        if roomy.is_empty() {
            return None;
        }
        let any_has = |word: usize| roomy.iter().fold(0, |bits, peer| bits | peer.has.words()[word]);
        let index = self.order[self.rarity.rarest(any_has)? as usize];
        self.least_busy(index).map(|peer| Request { peer, index })
    }

    /// A second request for a block whose only one is slow, once there is nothing else to ask for.
    fn next_repeated(&self, now: Duration) -> Option<Request> {
        let slow_after = self.times.slow_after();
        let slow = |flight: &Flight| now.saturating_sub(flight.first.since) >= slow_after;
        let oldest =
            self.repeatable().filter(|(_, flight, _)| slow(flight)).min_by_key(|(_, flight, _)| flight.first.since);
        oldest.map(|(index, _, peer)| Request { peer, index })
    }

    /// The requests that may be repeated when they are slow, and at whom: only where every missing block is under way,
    /// since before there is better use for a link.
    fn repeatable(&self) -> impl Iterator<Item = (u32, Flight, PeerId)> {
        let room = self.rarity.open_count() == 0 && self.requests() < REQUESTS_MAX;
        let alone = self.flights.iter().filter(move |(_, flight)| room && flight.second.is_none());
        alone.filter_map(|(&index, &flight)| self.least_busy(index).map(|peer| (index, flight, peer)))
    }

    /// Who with room has the block, and is not asked for it: one with the fewest requests under way. Those that are
    /// equal are told apart by this executor's seed; by their ids, every executor would begin at the same one. Mixed
    /// twice, since the block was chosen by its number: the same number again would choose the same peer each time.
    fn least_busy(&self, index: u32) -> Option<PeerId> {
        let place = self.places[index as usize];
        let asked = |peer: PeerId| self.flights.get(&index).is_some_and(|flight| flight.ask_of(peer).is_some());
        let holders =
            self.peers.iter().filter(|(id, peer)| peer.has_room() && peer.has.contains(place) && !asked(**id));
        let choice =
            holders.min_by_key(|(id, peer)| (peer.in_flight, mix(mix(self.seed, u64::from(id.0)), u64::from(index))));
        choice.map(|(&id, _)| id)
    }

    /// Requests under way.
    fn requests(&self) -> usize {
        self.flights.values().map(|flight| flight.asks().count()).sum()
    }

    /// Ends a request without a block; whether it was under way.
    fn end_request(&mut self, peer: PeerId, index: u32) -> bool {
        let Some(&flight) = self.flights.get(&index).filter(|flight| flight.ask_of(peer).is_some()) else {
            return false;
        };
        if let Some(rest) = flight.without(peer) {
            self.flights.insert(index, rest);
        } else {
            self.flights.remove(&index);
            self.rarity.open(self.places[index as usize]);
        }
        self.peers.get_mut(&peer).into_iter().for_each(|found| found.in_flight -= 1);
        true
    }

    /// The peer does not have the block. Returns its place if it said that it had.
    fn forget_block(&mut self, peer: PeerId, index: u32) -> Option<u32> {
        let &place = self.places.get(index as usize)?;
        let was_held = self.peers.get_mut(&peer).is_some_and(|found| found.has.remove(place));
        was_held.then(|| self.rarity.drop_one(place)).map(|()| place)
    }

    /// The peer has nothing.
    fn forget_holdings(&mut self, peer: PeerId) {
        let Some(found) = self.peers.get_mut(&peer) else { return };
        let has = std::mem::replace(&mut found.has, BlockSet::empty(self.have.len()));
        has.present().for_each(|place| self.rarity.drop_one(place));
    }

    fn count_lie(&mut self, peer: PeerId) {
        let lies = self.lies.entry(peer).or_default();
        *lies = lies.saturating_add(1);
        if self.is_banned(peer) {
            self.peer_left(peer);
        }
    }

    /// What is wrong inside, in words; recounts the holders of every block and the requests at every peer.
    #[cfg(test)]
    pub(super) fn broken_invariant(&self) -> Option<String> {
        let holders = |place: u32| self.peers.values().filter(|peer| peer.has.contains(place)).count();
        let counted = (0..self.have.len()).all(|place| usize::from(self.rarity.holders(place)) == holders(place));
        let is_open = |place: u32| {
            let index = self.order[place as usize];
            !self.have.contains(index) && !self.flights.contains_key(&index)
        };
        let busy = |id: PeerId| self.flights.values().filter(|flight| flight.ask_of(id).is_some()).count();
        let busy_as_said =
            self.peers.iter().all(|(&id, peer)| peer.in_flight as usize == busy(id) && !self.is_banned(id));
        let wanted = self.flights.keys().all(|&index| !self.have.contains(index));
        let sound = counted && busy_as_said && wanted && self.rarity.is_sound(is_open);
        (!sound).then(|| format!("something is miscounted: {self:?}"))
    }
}

/// A number that looks drawn, of a seed and a number (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014). Here and not from [`seeds`](crate::seeds): no result depends on it, and there are many.
pub(super) fn mix(seed: u64, number: u64) -> u64 {
    let mut mixed = (seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
