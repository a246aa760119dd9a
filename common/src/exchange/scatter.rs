//! The driver's side of the exchange of one blob: which block it pushes to which executor.
//!
//! Each block goes to one node, and the nodes do the rest: so 13 nodes cost the driver what one costs. Where that does
//! not work, because peers cannot reach each other, the driver feeds: slower, never wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use super::blocks::BlockSet;
use super::node::{Node, Outstanding, Supply};
use super::push::{NodeId, Push, Why};
use super::rarity::Rarity;

/// A node is fed when it gained nothing for this long...
pub const PATIENCE_MIN: Duration = Duration::from_secs(3);
/// ...and for this many times what a push takes on average, or as many times as there are nodes if they are more: on a
/// slow network everything is slow, and the only holder of a block gives it to all others at the same time.
pub const PATIENCE_FACTOR: u32 = 8;

/// Scattered pushes under way to all nodes together: one for each node, but no fewer than this...
pub const SCATTERED_MIN: usize = 4;
/// ...and no more than this. A link that carries few blocks at a time has the first ones over soon, and while it carries
/// the next, executors hand those on: in the simulated network 13 nodes then have 52 blocks after 1.57 times what one link
/// needs, after 1.76 times without a limit, and more nodes fare best with a limit of about this.
///
/// A push that takes longer than a node may be dry does not count: its node is slow, or hangs. Fed blocks are not limited:
/// nobody waits to hand them on.
pub const SCATTERED_MAX: usize = 13;

/// What the driver knows of one blob's blocks, and what it pushed.
///
/// Every time is since one fixed origin, the caller's choice, and never runs back.
#[derive(Clone, Debug)]
pub struct Scatter {
    len: u32,
    nodes: BTreeMap<NodeId, Node>,
    /// All blocks are open; holders are the nodes that have the block and the pushes of it that are under way.
    rarity: Rarity,
    /// Blocks that were ever fed to a node.
    fed: BlockSet,
    /// Where the newest push of a block failed, while no node gained it since.
    failed_at: BTreeMap<u32, NodeId>,
    /// Pushes that succeeded, and how long all of them took together.
    succeeded: u32,
    took: Duration,
}

impl Scatter {
    /// For a blob of `len` blocks.
    #[must_use]
    pub fn new(len: u32) -> Self {
        Self {
            len,
            nodes: BTreeMap::new(),
            rarity: Rarity::new(len),
            fed: BlockSet::empty(len),
            failed_at: BTreeMap::new(),
            succeeded: 0,
            took: Duration::ZERO,
        }
    }

    /// A node is connected, has these blocks, and takes others.
    ///
    /// # Panics
    /// If `have` is a set of another length.
    pub fn joined(&mut self, node: NodeId, have: BlockSet) {
        assert_eq!(have.len(), self.len, "what {node:?} has is of another blob");
        self.left(node);
        have.present().for_each(|index| self.rarity.add(index));
        self.nodes.insert(node, Node::new(have));
    }

    /// The node has the block, from wherever. Without effect if there is no such block or no such node.
    pub fn has(&mut self, node: NodeId, index: u32, now: Duration) {
        // The answer to a push may be lost, or come later than this.
        let pushed = self.nodes.get(&node).is_some_and(|found| found.is_being_pushed(index));
        self.add_block(node, index, pushed || self.failed_at.get(&index) == Some(&node), now);
    }

    /// The node is connected no more; what was being pushed to it was not.
    pub fn left(&mut self, node: NodeId) {
        let Some(gone) = self.nodes.remove(&node) else { return };
        gone.have.present().for_each(|index| self.rarity.drop_one(index));
        gone.pushes.iter().for_each(|push| self.rarity.drop_one(push.index));
        self.failed_at.retain(|_, failed_at| *failed_at != node);
    }

    /// A push ended; `ok` says whether the node has the block now. Every push that begins must end so, by a time-out if
    /// by nothing else, or its node must leave.
    pub fn pushed(&mut self, node: NodeId, index: u32, ok: bool, now: Duration) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        let Some(push) = found.end_push(index) else { return };
        self.rarity.drop_one(index);
        if ok {
            found.push_succeeded();
            self.succeeded += 1;
            self.took += now.saturating_sub(push.since);
            self.add_block(node, index, true, now);
        } else {
            found.push_failed(now);
            if !found.have.contains(index) {
                self.failed_at.insert(index, node);
            }
        }
    }

    /// The next push to begin now, if there is one; to be called until there is none, after every event and at the
    /// [`deadline`](Self::deadline).
    ///
    /// Costs a few steps a node; to feed, at worst `len / 64` steps for each number of holders that a block has.
    pub fn next(&mut self, now: Duration) -> Option<Push> {
        self.update_supplies(now);
        let push = self.next_scattered().or_else(|| self.next_fed())?;
        self.rarity.add(push.index);
        if push.why == Why::Fed {
            self.fed.insert(push.index);
        }
        let node = self.nodes.get_mut(&push.node)?;
        node.pushed += 1;
        node.pushes.push(Outstanding { index: push.index, since: now, why: push.why, is_slow: false });
        Some(push)
    }

    /// When [`next`](Self::next) may answer differently although nothing happens: a wait after a failed push ends, or
    /// patience with a node or with a push. To be asked after `next` returned none.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let patience = self.patience();
        let nodes = self.nodes.values().filter_map(|node| node.deadline(patience));
        nodes.chain(self.limit_ends()).min()
    }

    /// Whether the node is connected and has every block.
    #[must_use]
    pub fn is_whole(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|found| found.have.is_full())
    }

    /// The node has one block more.
    fn add_block(&mut self, node: NodeId, index: u32, pushed: bool, now: Duration) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        if !found.have.insert(index) {
            return;
        }
        self.rarity.add(index);
        self.failed_at.remove(&index);
        // A block that was fed to another may come from that one. It shows that the two reach each other, not that this
        // one reaches those that have the rest: on an island, feeding would stop at each block and wait again.
        let fed = pushed || self.fed.contains(index);
        if found.supply != Supply::Fed || !fed {
            found.supply = Supply::Dry { since: now };
        }
    }

    /// Brings every node's waits and supply up to now.
    fn update_supplies(&mut self, now: Duration) {
        let patience = self.patience();
        let slow_after = self.slow_after();
        let held = self.len - self.rarity.unheld().count();
        for node in self.nodes.values_mut() {
            node.end_wait_if_due(now);
            let slow = node.pushes.iter_mut().filter(|push| now.saturating_sub(push.since) >= slow_after);
            slow.for_each(|push| push.is_slow = true);
            let could_gain = node.provided() < held;
            node.supply = match node.supply {
                // Until it has all, not until all is on its way: it would have to run dry again for the next block.
                Supply::Fed if node.have.count() < held => Supply::Fed,
                _ if !could_gain => Supply::Flowing,
                Supply::Flowing => Supply::Dry { since: now },
                Supply::Dry { since } if patience.is_some_and(|patience| now.saturating_sub(since) >= patience) => {
                    Supply::Fed
                }
                unchanged => unchanged,
            };
        }
    }

    /// The first block that nobody has, to the node that is least busy, then the one that had least: different blocks go
    /// to different nodes, and a node that takes them faster gets more.
    fn next_scattered(&self) -> Option<Push> {
        if self.rarity.unheld().count() == 0 || self.limited().count() >= self.scattered_max() {
            return None;
        }
        self.roomy().into_iter().find_map(|(node, _)| {
            let mut unheld = self.rarity.unheld().present();
            let index = unheld.find(|&index| !self.belongs_elsewhere(index, node))?;
            Some(Push { node, index, why: Why::Scattered })
        })
    }

    /// Whether the block's last push failed here and there is another node to try.
    fn belongs_elsewhere(&self, index: u32, node: NodeId) -> bool {
        self.failed_at.get(&index) == Some(&node)
            && self.nodes.iter().any(|(&id, other)| id != node && other.is_ready())
    }

    /// To a node that is fed, the rarest block that it lacks. Pushes under way count as holders: nodes that are fed at
    /// the same time get different blocks first, and may give them to each other.
    fn next_fed(&self) -> Option<Push> {
        let mut roomy = self.roomy();
        roomy.retain(|(_, node)| node.supply == Supply::Fed);
        roomy.into_iter().find_map(|(node, found)| {
            let index = self.rarity.rarest(|word| found.lacks(word))?;
            Some(Push { node, index, why: Why::Fed })
        })
    }

    /// The nodes that take one more push: those with the fewest under way first, then the fewest so far.
    fn roomy(&self) -> Vec<(NodeId, &Node)> {
        let roomy = self.nodes.iter().filter(|(_, node)| node.has_room());
        let mut sorted: Vec<_> = roomy.map(|(&id, node)| (id, node)).collect();
        sorted.sort_by_key(|(_, node)| (node.pushes.len(), node.pushed));
        sorted
    }

    /// How long a node may be dry. None while the first pushes are under way: nobody knows yet how slow the network is.
    fn patience(&self) -> Option<Duration> {
        let mean = match self.took.checked_div(self.succeeded) {
            Some(mean) => mean,
            None if self.nodes.values().any(|node| !node.pushes.is_empty()) => return None,
            None => Duration::ZERO,
        };
        let factor = PATIENCE_FACTOR.max(self.nodes.len() as u32);
        Some((mean * factor).max(PATIENCE_MIN))
    }

    /// The age at which a push is slow: the first ones too, however slow the network is, so that no node holds up others.
    fn slow_after(&self) -> Duration {
        self.patience().unwrap_or(PATIENCE_MIN)
    }

    fn scattered_max(&self) -> usize {
        self.nodes.len().clamp(SCATTERED_MIN, SCATTERED_MAX)
    }

    fn limited(&self) -> impl Iterator<Item = &Outstanding> {
        self.nodes.values().flat_map(|node| &node.pushes).filter(|push| push.is_limited())
    }

    /// When one of the pushes that keep others waiting becomes slow.
    fn limit_ends(&self) -> Option<Duration> {
        let keep_waiting = self.rarity.unheld().count() > 0 && self.limited().count() >= self.scattered_max();
        let oldest = self.limited().map(|push| push.since).min().filter(|_| keep_waiting)?;
        Some(oldest + self.slow_after())
    }

    /// What is wrong inside, in words; recounts the holders of every block.
    #[cfg(test)]
    pub(super) fn broken_invariant(&self) -> Option<String> {
        let holders = |index: u32| {
            let of = |node: &Node| u16::from(node.have.contains(index)) + u16::from(node.is_being_pushed(index));
            self.nodes.values().map(of).sum::<u16>()
        };
        let counted = (0..self.len).all(|index| self.rarity.holders(index) == holders(index));
        let lacks = |id: NodeId, index| self.nodes.get(&id).is_some_and(|node| !node.have.contains(index));
        let failed = self.failed_at.iter().all(|(&index, &node)| lacks(node, index));
        let sound = counted && failed && self.rarity.is_sound(|_| true);
        (!sound).then(|| format!("the holders are miscounted: {self:?}"))
    }
}
