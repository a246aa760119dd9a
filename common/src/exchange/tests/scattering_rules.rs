//! The rules of the driver's side in plain form: lists that are searched, no index, nothing kept that can be counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::{
    NodeId, PATIENCE_FACTOR, PATIENCE_MIN, PUSHES_PER_NODE, Push, RETRY, RETRY_MAX, SCATTERED_MAX, SCATTERED_MIN,
    Scatter, Why,
};
use super::set_of;

/// What happens to a scatter. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Joins(u32, Vec<u32>),
    Leaves(u32),
    /// The node got the block from another, or says so.
    Has(u32, u32),
    /// A push that is under way ends.
    Ends(usize, bool),
    /// The node has what is being pushed to it, and says so before the push ends.
    Hastens(usize),
    /// News of a push that may never have begun.
    Stray(u32, u32, bool),
    Passes(Duration),
}

#[derive(Debug)]
struct PlainNode {
    have: BTreeSet<u32>,
    pushed: usize,
    failures: u32,
    waits_until: Duration,
    /// Since when it gained nothing though it could.
    dry_since: Option<Duration>,
    fed: bool,
}

/// A scatter, and beside it all that happened to it.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) scatter: Scatter,
    len: u32,
    nodes: BTreeMap<NodeId, PlainNode>,
    under_way: Vec<(Push, Duration)>,
    /// Those of them that were under way for too long at some time.
    slow: BTreeSet<(NodeId, u32)>,
    failed_at: BTreeMap<u32, NodeId>,
    ever_fed: BTreeSet<u32>,
    took: Vec<Duration>,
    pub(super) now: Duration,
}

impl Checked {
    pub(super) fn new(len: u32) -> Self {
        Self {
            scatter: Scatter::new(len),
            len,
            nodes: BTreeMap::new(),
            under_way: Vec::new(),
            slow: BTreeSet::new(),
            failed_at: BTreeMap::new(),
            ever_fed: BTreeSet::new(),
            took: Vec::new(),
            now: Duration::ZERO,
        }
    }

    pub(super) fn take(&mut self, step: &Step) {
        match *step {
            Step::Joins(node, ref have) => self.join(NodeId(node), have),
            Step::Leaves(node) => {
                self.scatter.left(NodeId(node));
                self.drop_node(NodeId(node));
            }
            Step::Has(node, index) => self.has(NodeId(node), index),
            Step::Ends(which, ok) if !self.under_way.is_empty() => {
                let (Push { node, index, .. }, _) = self.under_way[which % self.under_way.len()];
                self.end(node, index, ok);
            }
            Step::Hastens(which) if !self.under_way.is_empty() => {
                let (Push { node, index, .. }, _) = self.under_way[which % self.under_way.len()];
                self.has(node, index);
            }
            Step::Stray(node, index, ok) => self.end(NodeId(node), index, ok),
            Step::Passes(time) => self.now += time,
            Step::Ends(..) | Step::Hastens(_) => {}
        }
        self.drain();
    }

    fn join(&mut self, node: NodeId, have: &[u32]) {
        let set = set_of(self.len, have.iter().copied());
        let plain = PlainNode {
            have: set.present().collect(),
            pushed: 0,
            failures: 0,
            waits_until: Duration::ZERO,
            dry_since: None,
            fed: false,
        };
        self.scatter.joined(node, set);
        self.drop_node(node);
        self.nodes.insert(node, plain);
    }

    fn drop_node(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.under_way.retain(|(push, _)| push.node != node);
        self.slow.retain(|(slow, _)| *slow != node);
        self.failed_at.retain(|_, failed_at| *failed_at != node);
    }

    fn has(&mut self, node: NodeId, index: u32) {
        self.scatter.has(node, index, self.now);
        let pushed = self.is_pushed(node, index) || self.failed_at.get(&index) == Some(&node);
        self.add_block(node, index, pushed);
    }

    fn add_block(&mut self, node: NodeId, index: u32, pushed: bool) {
        let Some(found) = self.nodes.get_mut(&node).filter(|_| index < self.len) else { return };
        if found.have.insert(index) {
            found.dry_since = Some(self.now);
            found.fed &= pushed || self.ever_fed.contains(&index);
            self.failed_at.remove(&index);
        }
    }

    fn end(&mut self, node: NodeId, index: u32, ok: bool) {
        self.scatter.pushed(node, index, ok, self.now);
        let Some(at) = self.under_way.iter().position(|(push, _)| push.node == node && push.index == index) else {
            return;
        };
        let (_, since) = self.under_way.remove(at);
        self.slow.remove(&(node, index));
        let Some(found) = self.nodes.get_mut(&node) else { return };
        if ok {
            (found.failures, found.waits_until) = (0, Duration::ZERO);
            self.took.push(self.now.saturating_sub(since));
            self.add_block(node, index, true);
        } else {
            if found.waits_until <= self.now {
                found.waits_until = self.now + RETRY_MAX.min(RETRY * 2_u32.pow(found.failures.min(10)));
                found.failures += 1;
            }
            if !found.have.contains(&index) {
                self.failed_at.insert(index, node);
            }
        }
    }

    /// Takes every push that the scatter begins now, and looks whether each is the right one.
    fn drain(&mut self) {
        self.update_supplies();
        while let Some(push) = self.scatter.next(self.now) {
            self.check(push);
            self.under_way.push((push, self.now));
            self.nodes.get_mut(&push.node).into_iter().for_each(|node| node.pushed += 1);
            if push.why == Why::Fed {
                self.ever_fed.insert(push.index);
            }
            self.update_supplies();
        }
        let best = self.possible().next();
        assert_eq!(best, None, "something could be pushed at {:?}", self.now);
        assert_eq!(self.scatter.deadline(), self.deadline(), "the deadline at {:?}", self.now);
        assert!(self.scatter.deadline().is_none_or(|deadline| deadline > self.now));
        let whole = |node: &PlainNode| node.have.len() == self.len as usize;
        assert!(self.nodes.iter().all(|(&id, node)| self.scatter.is_whole(id) == whole(node)));
        assert_eq!(self.scatter.broken_invariant(), None);
    }

    fn update_supplies(&mut self) {
        let patience = self.patience();
        let old = self.under_way.iter().filter(|(_, since)| self.now >= *since + self.slow_after());
        self.slow.extend(old.map(|(push, _)| (push.node, push.index)).collect::<Vec<_>>());
        let held: BTreeSet<u32> = (0..self.len).filter(|&index| self.holders(index) > 0).collect();
        for (&id, node) in &mut self.nodes {
            let lacks: Vec<u32> = held.iter().filter(|index| !node.have.contains(index)).copied().collect();
            let of_others =
                |index: &u32| !self.under_way.iter().any(|(push, _)| push.node == id && push.index == *index);
            if node.fed && !lacks.is_empty() {
                continue;
            }
            node.fed = false;
            let could_gain = lacks.iter().any(of_others);
            let since = node.dry_since.unwrap_or(self.now);
            node.dry_since = could_gain.then_some(since);
            node.fed = could_gain && patience.is_some_and(|patience| self.now >= since + patience);
        }
    }

    fn check(&self, push: Push) {
        let possible: Vec<Push> = self.possible().collect();
        assert!(possible.contains(&push), "{push:?} must not begin at {:?}", self.now);
        let kinds: BTreeSet<Why> = possible.iter().map(|push| push.why).collect();
        assert_eq!(kinds.first(), Some(&push.why), "{push:?}: what nobody has comes first");
        let load = |node: NodeId| (self.pushes(node), self.nodes[&node].pushed);
        let others = possible.iter().filter(|other| other.why == push.why);
        let least = others.clone().map(|other| load(other.node)).min();
        assert_eq!(Some(load(push.node)), least, "{push:?} is not to the least busy");
        if push.why == Why::Fed {
            let here = others.filter(|other| other.node == push.node);
            let rarest = here.map(|other| self.holders(other.index)).min();
            assert_eq!(Some(self.holders(push.index)), rarest, "{push:?} is not the rarest");
        }
    }

    /// Every push that the rules allow now.
    fn possible(&self) -> impl Iterator<Item = Push> {
        let ready = self.nodes.iter().filter(|(_, node)| self.is_ready(node));
        let roomy = ready.filter(|(id, _)| self.pushes(**id) < PUSHES_PER_NODE);
        roomy.flat_map(move |(&id, node)| (0..self.len).filter_map(move |index| self.allowed(id, node, index)))
    }

    fn allowed(&self, id: NodeId, node: &PlainNode, index: u32) -> Option<Push> {
        if node.have.contains(&index) || self.is_pushed(id, index) {
            return None;
        }
        if self.holders(index) > 0 {
            return node.fed.then_some(Push { node: id, index, why: Why::Fed });
        }
        let mut others = self.nodes.iter().filter(|(other, _)| **other != id);
        let elsewhere = self.failed_at.get(&index) == Some(&id) && others.any(|(_, other)| self.is_ready(other));
        let waits = elsewhere || self.limited().count() >= self.scattered_max();
        (!waits).then_some(Push { node: id, index, why: Why::Scattered })
    }

    fn deadline(&self) -> Option<Duration> {
        let waits = self.nodes.values().map(|node| node.waits_until).filter(|&until| until > self.now);
        let dry = self.nodes.values().filter(|node| !node.fed).filter_map(|node| node.dry_since);
        let is_unheld = (0..self.len).any(|index| self.holders(index) == 0);
        let limit = is_unheld && self.limited().count() >= self.scattered_max();
        let limited = self.limited().filter(|_| limit).map(|since| since + self.slow_after());
        waits.chain(dry.filter_map(|since| Some(since + self.patience()?))).chain(limited).min()
    }

    fn patience(&self) -> Option<Duration> {
        if self.took.is_empty() && !self.under_way.is_empty() {
            return None;
        }
        let all: Duration = self.took.iter().sum();
        let mean = all.checked_div(self.took.len() as u32).unwrap_or_default();
        Some(PATIENCE_MIN.max(mean * PATIENCE_FACTOR.max(self.nodes.len() as u32)))
    }

    fn slow_after(&self) -> Duration {
        self.patience().unwrap_or(PATIENCE_MIN)
    }

    fn scattered_max(&self) -> usize {
        self.nodes.len().clamp(SCATTERED_MIN, SCATTERED_MAX)
    }

    /// Since when those pushes are under way of which there may be so many.
    fn limited(&self) -> impl Iterator<Item = Duration> {
        let scattered = self.under_way.iter().filter(|(push, _)| push.why == Why::Scattered);
        scattered.filter(|(push, _)| !self.slow.contains(&(push.node, push.index))).map(|(_, since)| *since)
    }

    fn is_ready(&self, node: &PlainNode) -> bool {
        node.waits_until <= self.now
    }

    /// Nodes that have the block, and pushes of it that are under way.
    fn holders(&self, index: u32) -> usize {
        let have = self.nodes.values().filter(|node| node.have.contains(&index)).count();
        have + self.under_way.iter().filter(|(push, _)| push.index == index).count()
    }

    fn is_pushed(&self, node: NodeId, index: u32) -> bool {
        self.under_way.iter().any(|(push, _)| push.node == node && push.index == index)
    }

    fn pushes(&self, node: NodeId) -> usize {
        self.under_way.iter().filter(|(push, _)| push.node == node).count()
    }
}
