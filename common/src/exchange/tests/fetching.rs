//! A fetcher by itself: whatever happens, its requests are those that the plain rules ask for.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{BlockSet, DOUBT, Failure, Fetcher, PeerId, REQUESTS_MAX, Request, SLOW_MIN};
use super::fetching_rules::{Checked, Step};
use super::set_of;

const PEERS: u32 = 7;

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![6 => Just(Failure::Refused), 1 => Just(Failure::Corrupt)]
}

fn step(len: u32) -> impl Strategy<Value = Step> {
    let peer = || 0..PEERS;
    let index = move || 0..len + 2;
    prop_oneof![
        2 => peer().prop_map(Step::Joins),
        12 => (peer(), index()).prop_map(|(peer, index)| Step::Has(peer, index)),
        1 => peer().prop_map(Step::HasAll),
        1 => peer().prop_map(Step::Leaves),
        8 => any::<usize>().prop_map(Step::Answered),
        2 => index().prop_map(Step::Pushed),
        4 => (any::<usize>(), failure()).prop_map(|(which, failure)| Step::Failed(which, failure)),
        1 => (peer(), index(), failure()).prop_map(|(peer, index, failure)| Step::Stray(peer, index, failure)),
        6 => (0_u64..3000).prop_map(|ms| Step::Passes(Duration::from_millis(ms))),
    ]
}

fn scene() -> impl Strategy<Value = (u32, Vec<u32>, u64, Vec<Step>)> {
    // Few blocks, so that the end is reached; more, so that the windows are full.
    prop_oneof![1_u32..8, 20_u32..70].prop_flat_map(|len| {
        let have = prop::collection::vec(0..len, 0..4);
        (Just(len), have, any::<u64>(), prop::collection::vec(step(len), 1..160))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_request_is_one_that_the_rules_ask_for((len, have, seed, steps) in scene()) {
        let mut checked = Checked::new(len, set_of(len, have), seed);
        (0..PEERS).for_each(|peer| checked.take(&Step::Joins(peer)));
        for step in &steps {
            checked.take(step);
        }
    }
}

const NOW: Duration = Duration::from_secs(100);

fn at_peers(len: u32, peers: u32, seed: u64) -> Fetcher {
    let mut fetcher = Fetcher::new(len, BlockSet::empty(len), seed);
    for peer in (0..peers).map(PeerId) {
        fetcher.peer_joined(peer);
        (0..len).for_each(|index| fetcher.peer_has(peer, index));
    }
    fetcher
}

fn drain(fetcher: &mut Fetcher, now: Duration) -> Vec<Request> {
    std::iter::from_fn(|| fetcher.next(now)).collect()
}

#[test]
fn executors_of_different_seeds_begin_with_different_blocks_at_different_peers() {
    let firsts: Vec<Request> = (0..12).filter_map(|seed| at_peers(300, 12, seed).next(NOW)).collect();
    let mut indexes: Vec<u32> = firsts.iter().map(|first| first.index).collect();
    let mut peers: Vec<PeerId> = firsts.iter().map(|first| first.peer).collect();
    indexes.sort_unstable();
    indexes.dedup();
    peers.sort_unstable();
    peers.dedup();
    assert!(indexes.len() >= 10, "blocks {indexes:?}");
    assert!(peers.len() >= 6, "peers {peers:?}");
}

#[test]
fn requests_are_spread_over_the_peers() {
    let mut fetcher = at_peers(300, 8, 1);
    let requests = drain(&mut fetcher, NOW);
    assert_eq!(requests.len(), REQUESTS_MAX);
    for peer in (0..8).map(PeerId) {
        assert_eq!(requests.iter().filter(|request| request.peer == peer).count(), 2);
    }
}

#[test]
fn a_slow_last_request_is_made_a_second_time_elsewhere_and_the_loser_is_in_vain() {
    let mut fetcher = at_peers(1, 3, 1);
    let [first] = drain(&mut fetcher, NOW)[..] else { panic!("one request is made") };
    assert_eq!(fetcher.deadline(), Some(NOW + SLOW_MIN));
    assert_eq!(fetcher.next(NOW + SLOW_MIN / 2), None);
    let [second] = drain(&mut fetcher, NOW + SLOW_MIN)[..] else { panic!("a second request is made") };
    assert_ne!(first.peer, second.peer);
    assert_eq!(fetcher.deadline(), None, "there is no third");
    assert_eq!(fetcher.arrived(0, Some(second.peer), NOW + SLOW_MIN * 2), [first]);
    assert!(fetcher.is_complete());
    assert_eq!(fetcher.arrived(0, Some(first.peer), NOW + SLOW_MIN * 2), []);
}

#[test]
fn a_banned_peer_is_not_asked_although_it_comes_back() {
    let mut fetcher = at_peers(30, 1, 1);
    for request in drain(&mut fetcher, NOW).into_iter().take(2) {
        assert!(!fetcher.is_banned(PeerId(0)));
        fetcher.failed(request.peer, request.index, Failure::Corrupt, NOW);
    }
    assert!(fetcher.is_banned(PeerId(0)));
    fetcher.peer_joined(PeerId(0));
    (0..30).for_each(|index| fetcher.peer_has(PeerId(0), index));
    assert_eq!(fetcher.next(NOW), None);
    assert_eq!(fetcher.deadline(), None);
}

#[test]
fn the_only_holder_of_a_block_is_asked_again_after_it_refused_it() {
    let mut fetcher = at_peers(1, 1, 1);
    let [request] = drain(&mut fetcher, NOW)[..] else { panic!("one request is made") };
    fetcher.failed(request.peer, request.index, Failure::Refused, NOW);
    assert_eq!(fetcher.next(NOW), None);
    assert_eq!(fetcher.deadline(), Some(NOW + DOUBT));
    assert_eq!(drain(&mut fetcher, NOW + DOUBT), [request]);
    fetcher.failed(request.peer, request.index, Failure::Corrupt, NOW + DOUBT);
    assert_eq!(fetcher.deadline(), None, "what it gave was wrong: it does not have it");
}
