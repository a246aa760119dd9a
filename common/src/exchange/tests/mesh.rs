//! The mesh as it grows and shrinks: nobody has more peers than it may, everybody is reached, and few hear of it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{Mesh, NodeId, PEERS_MAX};

/// How many steps it takes from the first of `nodes` to all others, along the ways of blocks.
fn steps(mesh: &Mesh, nodes: &BTreeSet<NodeId>) -> u32 {
    let mut reached: BTreeSet<NodeId> = nodes.first().copied().into_iter().collect();
    for step in 0.. {
        if reached == *nodes {
            return step;
        }
        let next: BTreeSet<NodeId> = reached.iter().flat_map(|node| mesh.watchers(*node)).collect();
        let before = reached.len();
        reached.extend(next);
        assert!(reached.len() > before, "{} of {} nodes are reached", before, nodes.len());
    }
    unreachable!("it ends with all nodes, or where no new one is reached")
}

fn check(mesh: &Mesh, nodes: &BTreeSet<NodeId>) {
    for &node in nodes {
        let (peers, watchers) = (mesh.peers(node).count(), mesh.watchers(node).count());
        assert!(peers <= PEERS_MAX && watchers <= PEERS_MAX, "{node:?} has {peers} peers and {watchers} watchers");
        assert!(mesh.peers(node).all(|peer| peer != node && nodes.contains(&peer)), "{node:?} has a false peer");
        assert!(mesh.peers(node).all(|peer| mesh.watchers(peer).any(|watcher| watcher == node)));
    }
}

#[test]
fn a_few_nodes_all_know_each_other() {
    let (mut mesh, mut nodes) = (Mesh::default(), BTreeSet::new());
    for number in 0..=PEERS_MAX as u32 {
        let changed = mesh.join(NodeId(number));
        nodes.insert(NodeId(number));
        assert_eq!(changed, nodes);
    }
    assert!(nodes.iter().all(|node| mesh.peers(*node).count() == PEERS_MAX));
}

#[test]
fn of_a_thousand_nodes_each_has_few_peers_and_few_hear_of_each_join() {
    let (mut mesh, mut nodes, mut told) = (Mesh::default(), BTreeSet::new(), 0);
    for number in 0..1000 {
        let changed = mesh.join(NodeId(number));
        assert!(changed.len() <= PEERS_MAX + 1, "{} nodes hear of one", changed.len());
        told += changed.len();
        nodes.insert(NodeId(number));
    }
    check(&mesh, &nodes);
    assert!(told <= 1000 * (PEERS_MAX + 1), "{told} lists");
    assert!(nodes.iter().all(|node| mesh.peers(*node).count() == PEERS_MAX), "somebody has too few peers");
    assert!(steps(&mesh, &nodes) <= 4, "it takes {} steps", steps(&mesh, &nodes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whoever_comes_and_goes_everybody_is_reached(moves in prop::collection::vec((0_u32..120, any::<bool>()), 1..400)) {
        let (mut mesh, mut nodes) = (Mesh::default(), BTreeSet::new());
        for (number, joins) in moves {
            let node = NodeId(number);
            let lists = |mesh: &Mesh| nodes.iter().map(|node| (*node, mesh.peers(*node).collect())).collect();
            let before: Vec<(NodeId, Vec<NodeId>)> = lists(&mesh);
            let changed = if joins { mesh.join(node) } else { mesh.leave(node) };
            for (other, peers) in before {
                let differs = mesh.peers(other).collect::<Vec<_>>() != peers;
                prop_assert!(!differs || other == node || changed.contains(&other), "{:?} was not told", other);
            }
            if joins { nodes.insert(node) } else { nodes.remove(&node) };
            check(&mesh, &nodes);
            if !nodes.is_empty() {
                steps(&mesh, &nodes);
            }
        }
    }
}
