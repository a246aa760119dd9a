//! Whom each node is told of: a few others, whatever the cluster's size, and news only where something changes.
//!
//! Up to [`PEERS_MAX`] others, everybody knows everybody. In a larger cluster a node that joins is put into the middle
//! of as many ways of blocks, chosen as if at random, which replaces one peer of one node each: so nobody ever has more,
//! and whoever was reached before is reached still. That is how random regular graphs are grown; blocks spread in them in
//! a number of steps that grows with the logarithm of the nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::fetch::mix;
use super::push::NodeId;

/// Peers that one node is told of, and nodes that are told of it: enough for blocks to spread in few steps, whatever the
/// cluster's size.
pub const PEERS_MAX: usize = 32;

/// Who may fetch from whom.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    nodes: BTreeMap<NodeId, Ways>,
    /// Nodes that ever joined: each is placed by other chances.
    joined: u64,
}

/// The ways of blocks to and from one node; at most [`PEERS_MAX`] of each.
#[derive(Clone, Debug, Default)]
struct Ways {
    sources: BTreeSet<NodeId>,
    sinks: BTreeSet<NodeId>,
}

impl Mesh {
    /// A node joins. Returns those whose peers are others now, itself among them. Costs a few steps a node.
    pub fn join(&mut self, node: NodeId) -> BTreeSet<NodeId> {
        let mut changed = self.leave(node);
        let mut others: Vec<NodeId> = self.nodes.keys().copied().collect();
        others.sort_by_cached_key(|other| mix(self.joined, u64::from(other.0)));
        self.joined += 1;
        self.nodes.insert(node, Ways::default());
        changed.insert(node);
        for &other in &others {
            self.connect(other, node);
            changed.extend(self.connect(node, other).then_some(other));
        }
        for other in others {
            changed.extend(self.interpose(node, other).then_some(other));
        }
        changed
    }

    /// A node leaves, if it is there. Returns those whose peers are others now: those that fetched from it fetch from
    /// those that it fetched from.
    pub fn leave(&mut self, node: NodeId) -> BTreeSet<NodeId> {
        let Some(Ways { sources, sinks }) = self.nodes.remove(&node) else { return BTreeSet::new() };
        for source in &sources {
            self.nodes.get_mut(source).map(|ways| ways.sinks.remove(&node));
        }
        for &sink in &sinks {
            self.nodes.get_mut(&sink).map(|ways| ways.sources.remove(&node));
            sources.iter().any(|&source| self.connect(source, sink));
        }
        sinks
    }

    /// The peers of a node.
    pub fn peers(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.nodes.get(&node).into_iter().flat_map(|ways| ways.sources.iter().copied())
    }

    /// The nodes whose peer a node is.
    pub fn watchers(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.nodes.get(&node).into_iter().flat_map(|ways| ways.sinks.iter().copied())
    }

    /// Lets `sink` fetch from `source`, if that is new and both have room.
    fn connect(&mut self, source: NodeId, sink: NodeId) -> bool {
        let has_room = |ways: Option<&Ways>, of: fn(&Ways) -> &BTreeSet<NodeId>, other: &NodeId| {
            ways.is_some_and(|ways| of(ways).len() < PEERS_MAX && !of(ways).contains(other))
        };
        let fits = source != sink
            && has_room(self.nodes.get(&source), |ways| &ways.sinks, &sink)
            && has_room(self.nodes.get(&sink), |ways| &ways.sources, &source);
        if fits {
            self.nodes.get_mut(&source).map(|ways| ways.sinks.insert(sink));
            self.nodes.get_mut(&sink).map(|ways| ways.sources.insert(source));
        }
        fits
    }

    /// Puts `node` between `sink` and one of its sources, if both of them are new to it and it has room.
    fn interpose(&mut self, node: NodeId, sink: NodeId) -> bool {
        let (Some(new), Some(ways)) = (self.nodes.get(&node), self.nodes.get(&sink)) else { return false };
        let has_room = new.sources.len() < PEERS_MAX && new.sinks.len() < PEERS_MAX;
        if !has_room || new.sinks.contains(&sink) {
            return false;
        }
        let fresh = ways.sources.iter().filter(|source| !new.sources.contains(source));
        let chosen = fresh.min_by_key(|source| mix(mix(self.joined, u64::from(sink.0)), u64::from(source.0)));
        let Some(&source) = chosen else { return false };
        self.nodes.get_mut(&source).map(|ways| ways.sinks.remove(&sink));
        self.nodes.get_mut(&sink).map(|ways| ways.sources.remove(&source));
        self.connect(source, node) && self.connect(node, sink)
    }
}
