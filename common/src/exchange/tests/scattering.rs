//! The driver's side by itself: whatever happens, its pushes are those that the plain rules ask for.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{BlockSet, NodeId, PATIENCE_MIN, Push, RETRY, SCATTERED_MAX, Scatter, Why};
use super::scattering_rules::{Checked, Step};

const NODES: u32 = 5;

fn step(len: u32) -> impl Strategy<Value = Step> {
    let node = || 0..NODES;
    let index = move || 0..len + 2;
    prop_oneof![
        1 => (node(), prop::collection::vec(0..len, 0..6)).prop_map(|(node, have)| Step::Joins(node, have)),
        1 => node().prop_map(Step::Leaves),
        6 => (node(), index()).prop_map(|(node, index)| Step::Has(node, index)),
        12 => any::<usize>().prop_map(|which| Step::Ends(which, true)),
        4 => any::<usize>().prop_map(|which| Step::Ends(which, false)),
        2 => any::<usize>().prop_map(Step::Hastens),
        1 => (node(), index(), any::<bool>()).prop_map(|(node, index, ok)| Step::Stray(node, index, ok)),
        7 => (0_u64..2500).prop_map(|ms| Step::Passes(Duration::from_millis(ms))),
    ]
}

fn scene() -> impl Strategy<Value = (u32, Vec<Step>)> {
    prop_oneof![1_u32..6, 10_u32..70].prop_flat_map(|len| (Just(len), prop::collection::vec(step(len), 1..160)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_push_is_one_that_the_rules_ask_for((len, steps) in scene()) {
        let mut checked = Checked::new(len);
        (0..NODES - 1).for_each(|node| checked.take(&Step::Joins(node, Vec::new())));
        for step in &steps {
            checked.take(step);
        }
    }
}

const NOW: Duration = Duration::from_secs(100);
const MS: Duration = Duration::from_millis(1);

fn drain(scatter: &mut Scatter, now: Duration) -> Vec<Push> {
    std::iter::from_fn(|| scatter.next(now)).collect()
}

fn indexes(pushes: &[Push]) -> Vec<u32> {
    pushes.iter().map(|push| push.index).collect()
}

#[test]
fn a_single_node_is_sent_every_block_once_in_order() {
    let mut scatter = Scatter::new(9);
    scatter.joined(NodeId(0), BlockSet::empty(9));
    let mut sent = Vec::new();
    while let Some(push) = scatter.next(NOW) {
        assert_eq!(push.why, Why::Scattered);
        sent.push(push.index);
        scatter.pushed(push.node, push.index, true, NOW);
    }
    assert_eq!(sent, (0..9).collect::<Vec<_>>());
    assert!(scatter.is_whole(NodeId(0)));
    assert_eq!(scatter.deadline(), None);
}

#[test]
fn a_node_that_takes_blocks_faster_gets_more() {
    let mut scatter = Scatter::new(100);
    (0..2).for_each(|node| scatter.joined(NodeId(node), BlockSet::empty(100)));
    let first = drain(&mut scatter, NOW);
    assert_eq!(first.iter().filter(|push| push.node == NodeId(0)).count(), 2);
    let mut busy = first.into_iter().find(|push| push.node == NodeId(1)).unwrap();
    for _ in 0..10 {
        scatter.pushed(busy.node, busy.index, true, NOW);
        let next = drain(&mut scatter, NOW);
        assert_eq!(next.len(), 1);
        busy = next[0];
        assert_eq!(busy.node, NodeId(1));
    }
}

#[test]
fn a_block_whose_push_failed_goes_to_another_node_or_waits() {
    let mut scatter = Scatter::new(2);
    scatter.joined(NodeId(0), BlockSet::empty(2));
    assert_eq!(indexes(&drain(&mut scatter, NOW)), [0, 1]);
    scatter.pushed(NodeId(0), 0, false, NOW);
    assert_eq!(drain(&mut scatter, NOW), []);
    assert_eq!(scatter.deadline(), Some(NOW + RETRY));
    scatter.joined(NodeId(1), BlockSet::empty(2));
    assert_eq!(drain(&mut scatter, NOW), [Push { node: NodeId(1), index: 0, why: Why::Scattered }]);
    scatter.left(NodeId(1));
    assert_eq!(drain(&mut scatter, NOW + RETRY), [Push { node: NodeId(0), index: 0, why: Why::Scattered }]);
}

#[test]
fn a_node_that_gains_nothing_is_fed_until_a_peer_gives_it_what_the_driver_did_not() {
    let mut scatter = Scatter::new(20);
    scatter.joined(NodeId(0), BlockSet::full(20));
    scatter.joined(NodeId(1), BlockSet::empty(20));
    assert_eq!(drain(&mut scatter, NOW), []);
    assert_eq!(scatter.deadline(), Some(NOW + PATIENCE_MIN));
    assert_eq!(drain(&mut scatter, NOW + PATIENCE_MIN.saturating_sub(MS)), []);
    let later = NOW + PATIENCE_MIN;
    let fed = drain(&mut scatter, later);
    assert_eq!(fed, [0, 1].map(|index| Push { node: NodeId(1), index, why: Why::Fed }));
    scatter.pushed(NodeId(1), 0, true, later);
    assert_eq!(indexes(&drain(&mut scatter, later)), [2], "a block that was pushed to it ends nothing");
    scatter.has(NodeId(1), 1, later);
    scatter.pushed(NodeId(1), 1, true, later);
    assert_eq!(indexes(&drain(&mut scatter, later)), [3]);
    scatter.has(NodeId(1), 19, later);
    scatter.pushed(NodeId(1), 2, true, later);
    assert_eq!(drain(&mut scatter, later), [], "a peer gave it a block");
    assert_eq!(drain(&mut scatter, later + PATIENCE_MIN).len(), 1, "it is dry again; block 3 is still under way");
}

#[test]
fn nodes_that_hang_do_not_keep_others_waiting_for_ever() {
    let mut scatter = Scatter::new(100);
    (0..30).for_each(|node| scatter.joined(NodeId(node), BlockSet::empty(100)));
    let hanging = drain(&mut scatter, NOW);
    assert_eq!(hanging.len(), SCATTERED_MAX);
    assert_eq!(scatter.deadline(), Some(NOW + PATIENCE_MIN));
    let later = NOW + PATIENCE_MIN;
    let next = drain(&mut scatter, later);
    assert_eq!(next.len(), SCATTERED_MAX);
    let is_other = |push: &&Push| hanging.iter().all(|other| other.node != push.node);
    assert_eq!(next.iter().filter(is_other).count(), SCATTERED_MAX);
    let ended = next[0];
    scatter.pushed(ended.node, ended.index, true, later);
    let more = drain(&mut scatter, later).into_iter().filter(|push| push.why == Why::Scattered);
    assert_eq!(more.count(), 1, "one more for each that ends");
}
