//! How many connections there may be, in all and from one address, and how fast they may come.
//!
//! The table is plain data; the clock is an argument. Nobody is asked to wait: who has no place is gone, and may dial
//! again.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{
    COMING_BURST, COMING_RATE, FLOOD_COSTS, PEERS_MAX, PEERS_OF_ONE_MAX, STRANGERS_MAX, STRANGERS_OF_ONE_MAX, Share,
};

/// Addresses that are remembered before those of no interest are forgotten.
const REMEMBERED_MAX: usize = 1024;
/// How often they are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// An address that floods has to wait this long at most, in seconds.
const DEBT_MAX_S: u32 = 10;

/// Why a connection has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Too many came from its address in a short time.
    TooFast,
    /// Its address has as many connections as one may have.
    OfOne,
    /// There are as many as there may be.
    InAll,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFast => write!(f, "too many connections came from its address in a short time"),
            Self::OfOne => write!(f, "its address has {PEERS_OF_ONE_MAX} connections, and none may have more"),
            Self::InAll => write!(f, "there are {PEERS_MAX} connections, and no more are taken"),
        }
    }
}

/// Where a connection comes from: an address, or, of IPv6, the network of a house or a machine, which has as many
/// addresses as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Origin(IpAddr);

impl Origin {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            other => Self(other),
        }
    }
}

/// What is known of one origin.
#[derive(Debug)]
struct Neighbour {
    /// Connections that have not shown who they are, the oldest first. Who drops the sender pushes one out.
    strangers: VecDeque<(u64, oneshot::Sender<()>)>,
    peers: usize,
    /// Connections that may still come now: below zero after a flood.
    may_come: f64,
    counted_at: Instant,
    share: Arc<Share>,
}

impl Neighbour {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted_at).as_secs_f64();
        self.may_come = (self.may_come + passed * f64::from(COMING_RATE)).min(f64::from(COMING_BURST));
        self.counted_at = now;
    }

    fn is_of_no_interest(&self) -> bool {
        self.strangers.is_empty() && self.peers == 0 && self.may_come >= f64::from(COMING_BURST)
    }
}

/// The table of places.
#[derive(Debug)]
struct Table {
    neighbours: HashMap<Origin, Neighbour>,
    strangers: usize,
    peers: usize,
    next_number: u64,
    swept_at: Instant,
    /// What unfinished messages of all origins hold.
    all: Arc<Share>,
}

impl Table {
    fn new(now: Instant) -> Self {
        let (neighbours, all) = (HashMap::new(), Arc::new(Share::default()));
        Self { neighbours, strangers: 0, peers: 0, next_number: 0, swept_at: now, all }
    }

    fn enter(&mut self, origin: Origin, now: Instant) -> Result<(u64, oneshot::Receiver<()>, Arc<Share>), Full> {
        self.sweep(now);
        let all = Arc::clone(&self.all);
        let neighbour = self.neighbours.entry(origin).or_insert_with(|| Neighbour {
            strangers: VecDeque::new(),
            peers: 0,
            may_come: f64::from(COMING_BURST),
            counted_at: now,
            share: Arc::new(Share::within(all)),
        });
        neighbour.refill(now);
        if neighbour.may_come < 1.0 {
            return Err(Full::TooFast);
        }
        neighbour.may_come -= 1.0;
        self.next_number += 1;
        let (keep, pushed_out) = oneshot::channel();
        neighbour.strangers.push_back((self.next_number, keep));
        let (is_crowded, share) = (neighbour.strangers.len() > STRANGERS_OF_ONE_MAX, Arc::clone(&neighbour.share));
        self.strangers += 1;
        if is_crowded {
            self.push_out(origin);
        } else if self.strangers > STRANGERS_MAX {
            let most = self.neighbours.iter().max_by_key(|(_, neighbour)| neighbour.strangers.len());
            if let Some((&crowded, _)) = most {
                self.push_out(crowded);
            }
        }
        Ok((self.next_number, pushed_out, share))
    }

    fn push_out(&mut self, origin: Origin) {
        let oldest = self.neighbours.get_mut(&origin).and_then(|neighbour| neighbour.strangers.pop_front());
        self.strangers -= usize::from(oldest.is_some());
    }

    /// Makes a stranger a peer. One that was pushed out just now is one all the same.
    fn admit(&mut self, origin: Origin, number: u64) -> Result<(), Full> {
        self.forget_stranger(origin, number);
        if self.peers >= PEERS_MAX {
            return Err(Full::InAll);
        }
        let neighbour = self.neighbours.get_mut(&origin).ok_or(Full::InAll)?;
        if neighbour.peers >= PEERS_OF_ONE_MAX {
            return Err(Full::OfOne);
        }
        neighbour.peers += 1;
        self.peers += 1;
        Ok(())
    }

    fn forget_stranger(&mut self, origin: Origin, number: u64) {
        let Some(neighbour) = self.neighbours.get_mut(&origin) else { return };
        let before = neighbour.strangers.len();
        neighbour.strangers.retain(|(known, _)| *known != number);
        self.strangers -= before - neighbour.strangers.len();
    }

    fn forget_peer(&mut self, origin: Origin) {
        if let Some(neighbour) = self.neighbours.get_mut(&origin) {
            neighbour.peers -= 1;
            self.peers -= 1;
        }
    }

    /// A connection of this origin was cut off: others of it have to wait.
    fn charge(&mut self, origin: Origin, now: Instant) {
        if let Some(neighbour) = self.neighbours.get_mut(&origin) {
            neighbour.refill(now);
            let least = -f64::from(COMING_RATE * DEBT_MAX_S);
            neighbour.may_come = (neighbour.may_come - f64::from(FLOOD_COSTS)).max(least);
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.neighbours.len() > REMEMBERED_MAX && now >= self.swept_at + SWEEP_INTERVAL {
            self.swept_at = now;
            self.neighbours.retain(|_, neighbour| {
                neighbour.refill(now);
                !neighbour.is_of_no_interest()
            });
        }
    }
}

/// The places of one door.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Mutex<Table>>);

/// The place of one connection. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Visit {
    places: Places,
    origin: Origin,
    number: u64,
    is_peer: bool,
    pushed_out: oneshot::Receiver<()>,
    share: Arc<Share>,
}

impl Places {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Table::new(now))))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a stranger. Where there is none, another stranger is pushed out for it.
    ///
    /// # Errors
    /// [`Full::TooFast`].
    pub(crate) fn enter(&self, address: IpAddr, now: Instant) -> Result<Visit, Full> {
        let origin = Origin::of(address);
        let (number, pushed_out, share) = self.table().enter(origin, now)?;
        Ok(Visit { places: self.clone(), origin, number, is_peer: false, pushed_out, share })
    }
}

impl Visit {
    /// Resolves when another stranger needs the place.
    pub(crate) async fn pushed_out(&mut self) {
        // Nobody sends: the other end is dropped.
        let _ = (&mut self.pushed_out).await;
    }

    /// The stranger has shown who it is, or need not.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn admit(&mut self) -> Result<(), Full> {
        self.places.table().admit(self.origin, self.number)?;
        self.is_peer = true;
        Ok(())
    }

    /// The connection floods.
    pub(crate) fn charge(&self, now: Instant) {
        self.places.table().charge(self.origin, now);
    }

    /// What calls from its address share.
    pub(crate) fn share(&self) -> Arc<Share> {
        Arc::clone(&self.share)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut table = self.places.table();
        if self.is_peer {
            table.forget_peer(self.origin);
        } else {
            table.forget_stranger(self.origin, self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn is_in(visit: &mut Visit) -> bool {
        matches!(visit.pushed_out.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    #[test]
    fn who_fills_the_places_pushes_out_its_own_oldest_and_nobody_elses() {
        let now = Instant::now();
        let places = Places::new(now);
        let mut other = places.enter(address(1), now).unwrap();
        let mut flood: Vec<_> = (0..400).map(|_| places.enter(address(2), now).unwrap()).collect();
        let left: Vec<_> = flood.iter_mut().map(is_in).collect();
        assert_eq!(left.iter().filter(|is_in| **is_in).count(), STRANGERS_OF_ONE_MAX);
        assert!(left.ends_with(&[true; STRANGERS_OF_ONE_MAX]));
        assert!(is_in(&mut other));
    }

    #[test]
    fn where_many_addresses_fill_all_places_the_one_with_most_makes_room() {
        let now = Instant::now();
        let places = Places::new(now);
        let mut flood = Vec::new();
        for from in 10..30 {
            flood.extend((0..30).map(|_| places.enter(address(from), now).unwrap()));
        }
        let mut late = places.enter(address(1), now).unwrap();
        flood.extend((0..200).map(|number| places.enter(address(10 + number % 20), now).unwrap()));
        assert!(is_in(&mut late));
        assert_eq!(places.table().strangers, STRANGERS_MAX);
        assert_eq!(flood.iter_mut().map(is_in).filter(|is_in| *is_in).count(), STRANGERS_MAX - 1);
        late.admit().unwrap();
        drop((late, flood));
        let table = places.table();
        assert_eq!((table.strangers, table.peers), (0, 0));
    }

    #[test]
    fn connections_of_one_address_come_no_faster_than_they_may_and_a_flood_costs_many() {
        let now = Instant::now();
        let places = Places::new(now);
        let come = |from, now| (0..1000).map_while(|_| places.enter(address(from), now).ok()).count();
        assert_eq!(come(1, now), COMING_BURST as usize);
        assert_eq!(places.enter(address(1), now).err(), Some(Full::TooFast));
        assert_eq!(come(2, now), COMING_BURST as usize, "another address has its own");
        let now = now + Duration::from_secs(1);
        let visit = places.enter(address(1), now).unwrap();
        assert_eq!(come(1, now), COMING_RATE as usize - 1);
        for _ in 0..1000 {
            visit.charge(now);
        }
        let now = now + Duration::from_secs(u64::from(DEBT_MAX_S));
        assert_eq!(come(1, now), 0);
        let now = now + Duration::from_secs(1);
        assert_eq!(come(1, now), COMING_RATE as usize);
    }

    #[test]
    fn peers_have_places_of_their_own_so_many_an_address() {
        let now = Instant::now();
        let places = Places::new(now);
        let mut peers: Vec<_> = (0..PEERS_OF_ONE_MAX).map(|_| places.enter(address(1), now).unwrap()).collect();
        peers.iter_mut().for_each(|peer| peer.admit().unwrap());
        assert_eq!(places.enter(address(1), now).unwrap().admit(), Err(Full::OfOne));
        peers.pop();
        places.enter(address(1), now).unwrap().admit().unwrap();
        places.enter(address(2), now).unwrap().admit().unwrap();
    }

    #[test]
    fn addresses_are_forgotten_once_nothing_of_them_counts() {
        let now = Instant::now();
        let places = Places::new(now);
        for number in 0..REMEMBERED_MAX as u32 + 1 {
            drop(places.enter(IpAddr::from(number.to_be_bytes()), now));
        }
        let now = now + SWEEP_INTERVAL;
        drop(places.enter(address(1), now));
        assert_eq!(places.table().neighbours.len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_origin_and_a_mapped_address_is_itself() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("fd00:1:2:3::1"), of("fd00:1:2:3:ffff::9"));
        assert_ne!(of("fd00:1:2:3::1"), of("fd00:1:2:4::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("::1"), of("::2"));
    }
}
