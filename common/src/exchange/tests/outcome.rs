//! What came of a plan: what the bounds are about.

use std::collections::BTreeMap;
use std::time::Duration;

/// What an executor saw until the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// When it had every block.
    pub(super) complete: Option<Duration>,
    /// Blocks that came although they were here.
    pub(super) duplicates: u32,
    /// Corrupt blocks that came from each peer.
    pub(super) lies: BTreeMap<usize, u32>,
    /// Blocks that the driver sent it, and those of them that it fed.
    pub(super) pushed: u32,
    pub(super) fed: u32,
    /// The most others that it watched at a time.
    pub(super) watched: usize,
}

/// What came of a plan.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Whether every executor that stays has every block.
    pub(super) ended: bool,
    pub(super) nodes: Vec<Seen>,
    /// Pushes that failed, or whose node died.
    pub(super) failed_pushes: u64,
    /// Blocks that died with their only holder.
    pub(super) died: u64,
}

impl Outcome {
    /// When the last executor had every block.
    pub(super) fn seconds(&self) -> f64 {
        self.nodes.iter().filter_map(|node| node.complete).max().unwrap_or_default().as_secs_f64()
    }

    /// Pushes ever begun, failed ones included.
    pub(super) fn sends(&self) -> u64 {
        self.nodes.iter().map(|node| u64::from(node.pushed)).sum()
    }

    pub(super) fn duplicates(&self) -> u32 {
        self.nodes.iter().map(|node| node.duplicates).sum()
    }

    pub(super) fn fed(&self) -> u32 {
        self.nodes.iter().map(|node| node.fed).sum()
    }
}
