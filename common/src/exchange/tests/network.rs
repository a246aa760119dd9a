//! A driver and executors in virtual time: the real [`Scatter`] and [`Fetcher`]s over links with speed and delay.
//!
//! It obeys every decision, counts what is sent, and holds each decision against what no decision may be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::{
    BlockSet, Failure, Fetcher, LIES_MAX, Mesh, NodeId, PUSHES_PER_NODE, PeerId, REQUESTS_MAX, REQUESTS_PER_PEER,
    Scatter, Why,
};
use super::outcome::{Outcome, Seen};
use super::plan::{Dice, NodePlan, Plan};
use super::set_of;
use super::wire::{Host, Wire};

/// No scenario needs more; one that does is stuck in a circle.
const EVENTS_MAX: u64 = 20_000_000;

/// What happens next, and where.
#[derive(Debug)]
enum Item {
    NodeUp(usize),
    NodeDown(usize),
    /// A message reaches the driver.
    Driver {
        node: usize,
        news: NodeNews,
    },
    /// A message of a peer reaches a node.
    Peer {
        at: usize,
        peer: usize,
        news: NodeNews,
    },
    /// A request, or the first byte of a push, reaches a node.
    Called(u64),
    /// The other side gave the call up, or refused it.
    Cancelled(u64),
    Refused(u64),
    TimedOut(u64),
    Wakes(Host),
}

#[derive(Clone, Debug)]
enum NodeNews {
    Joined(BlockSet),
    Has(u32),
    Pushed(u32, bool),
    Left,
}

/// A request, which `from` answers, or a push. It is open until the one that gets the block knows its end.
#[derive(Clone, Copy, Debug)]
struct Call {
    from: Host,
    to: usize,
    index: u32,
}

/// One executor.
#[derive(Debug)]
struct Executor {
    up: bool,
    fetcher: Fetcher,
    /// Whom it was told to watch.
    watched: BTreeSet<usize>,
    seen: Seen,
}

pub(super) struct Network {
    plan: Plan,
    now: Duration,
    agenda: BTreeMap<(Duration, u64), Item>,
    planned: u64,
    wire: Wire,
    hosts: Vec<Executor>,
    scatter: Scatter,
    mesh: Mesh,
    wakes: BTreeMap<Host, Duration>,
    calls: BTreeMap<u64, Call>,
    dice: Dice,
    failed_pushes: u64,
    died: u64,
}

impl Network {
    /// Runs the plan until every executor that stays has every block, or until nothing more happens.
    pub(super) fn run(plan: Plan) -> Outcome {
        let mut network = Self::new(plan);
        let mut events = 0;
        while !network.is_done() && network.now < network.plan.limit && network.step() {
            events += 1;
            assert!(events < EVENTS_MAX, "it goes round in circles");
        }
        Outcome {
            ended: network.is_done(),
            nodes: network.hosts.into_iter().map(|host| host.seen).collect(),
            failed_pushes: network.failed_pushes,
            died: network.died,
        }
    }

    fn new(plan: Plan) -> Self {
        let host = |(at, node): (u64, &NodePlan)| {
            let have = set_of(plan.len, node.have.iter().copied());
            let fetcher = Fetcher::new(plan.len, have, plan.seed ^ at);
            Executor { up: false, fetcher, watched: BTreeSet::new(), seen: Seen::default() }
        };
        let mut network = Self {
            now: Duration::ZERO,
            agenda: BTreeMap::new(),
            planned: 0,
            wire: Wire::new(plan.driver_rate, plan.nodes.iter().map(|node| node.rate).collect()),
            hosts: (0..).zip(&plan.nodes).map(host).collect(),
            scatter: Scatter::new(plan.len),
            mesh: Mesh::default(),
            wakes: BTreeMap::new(),
            calls: BTreeMap::new(),
            dice: Dice(plan.seed),
            failed_pushes: 0,
            died: 0,
            plan,
        };
        for (at, node) in network.plan.nodes.clone().into_iter().enumerate() {
            network.add(node.joins, Item::NodeUp(at));
            node.dies.into_iter().for_each(|dies| network.add(dies, Item::NodeDown(at)));
        }
        network
    }

    fn is_done(&self) -> bool {
        let mut staying = self.hosts.iter().zip(&self.plan.nodes).filter(|(_, plan)| plan.dies.is_none());
        staying.all(|(host, _)| host.up && host.fetcher.is_complete())
    }

    /// The next thing happens; `false` if there is none.
    fn step(&mut self) -> bool {
        let arrival = self.wire.next();
        let planned = self.agenda.first_key_value().map(|((time, _), _)| time.as_secs_f64());
        match arrival {
            Some((time_s, call)) if planned.is_none_or(|planned_s| time_s < planned_s) => {
                self.now = self.now.max(Duration::from_secs_f64(time_s));
                self.wire.stop(time_s, call);
                self.deliver_block(call);
            }
            _ => {
                let Some(((time, _), item)) = self.agenda.pop_first() else { return false };
                self.now = self.now.max(time);
                self.handle_item(item);
            }
        }
        true
    }

    fn handle_item(&mut self, item: Item) {
        match item {
            Item::NodeUp(node) => self.on_node_up(node),
            Item::NodeDown(node) => self.on_node_down(node),
            Item::Driver { node, news } => {
                self.tell_driver(node, news);
                self.drain_driver();
            }
            Item::Peer { at, peer, news } if self.hosts[at].up => {
                self.tell_node(at, peer, news);
                self.drain_node(at);
            }
            Item::Called(call) => self.answer(call),
            Item::Cancelled(call) => self.drop_call(call),
            Item::Refused(call) | Item::TimedOut(call) => self.fail_call(call, Failure::Refused),
            Item::Wakes(host) => {
                self.wakes.remove(&host);
                match host {
                    None => self.drain_driver(),
                    Some(node) => self.drain_node(node),
                }
            }
            Item::Peer { .. } => {}
        }
    }

    fn on_node_up(&mut self, node: usize) {
        self.hosts[node].up = true;
        let have = self.hosts[node].fetcher.have.clone();
        self.send_driver(node, NodeNews::Joined(have));
        self.change_mesh(|mesh| mesh.join(NodeId(node as u32)));
        self.note_complete(node);
    }

    fn on_node_down(&mut self, node: usize) {
        let others = |index: u32| {
            let mut up = self.hosts.iter().enumerate().filter(|(at, host)| host.up && *at != node);
            up.any(|(_, host)| host.fetcher.have.contains(index))
        };
        self.died += self.hosts[node].fetcher.have.present().filter(|&index| !others(index)).count() as u64;
        self.hosts[node].up = false;
        let involved = |call: &Call| call.to == node || call.from == Some(node);
        let calls: Vec<u64> = self.calls.iter().filter(|(_, call)| involved(call)).map(|(&id, _)| id).collect();
        for id in calls {
            let Call { from, to, .. } = self.calls[&id];
            self.wire.stop(self.now.as_secs_f64(), id);
            match from {
                None => self.failed_pushes += 1,
                Some(peer) if to != node => self.later(Some(peer), Some(to), Item::Refused(id)),
                Some(_) => drop(self.calls.remove(&id)),
            }
        }
        self.send_driver(node, NodeNews::Left);
        self.change_mesh(|mesh| mesh.leave(NodeId(node as u32)));
    }

    /// Nodes begin to watch who is new among their peers, and let go whoever is not among them any more.
    fn change_mesh(&mut self, change: impl FnOnce(&mut Mesh) -> BTreeSet<NodeId>) {
        for changed in change(&mut self.mesh) {
            let at = changed.0 as usize;
            let peers = self.mesh.peers(changed).map(|peer| peer.0 as usize);
            let peers: BTreeSet<usize> = peers.filter(|peer| self.plan.reach(at, *peer)).collect();
            let host = &mut self.hosts[at];
            host.seen.watched = host.seen.watched.max(peers.len());
            let before = std::mem::replace(&mut host.watched, peers.clone());
            for &gone in before.difference(&peers) {
                self.send_peer(at, gone, NodeNews::Left);
            }
            for &peer in peers.difference(&before) {
                let theirs = self.hosts[peer].fetcher.have.clone();
                self.send_peer(at, peer, NodeNews::Joined(theirs));
            }
        }
    }

    /// A request or a push reaches the node that is to answer it, or to take it.
    fn answer(&mut self, id: u64) {
        let Some(&Call { from, to, index }) = self.calls.get(&id) else { return };
        let lost = self.dice.falls(if from.is_some() { self.plan.lost_requests } else { self.plan.lost_pushes });
        let gives = from.is_none_or(|peer| self.hosts[peer].up && self.hosts[peer].fetcher.have.contains(index));
        if lost || !gives || !self.hosts[to].up {
            return self.later(from, Some(to), Item::Refused(id));
        }
        if from.is_none_or(|peer| !self.plan.nodes[peer].hangs) {
            self.wire.start(self.now.as_secs_f64(), id, from, to);
        }
    }

    /// The last byte of a block is here.
    fn deliver_block(&mut self, id: u64) {
        let Some(Call { from, to, index }) = self.calls.get(&id).copied() else { return };
        if from.is_some_and(|peer| self.plan.nodes[peer].lies) {
            return self.fail_call(id, Failure::Corrupt);
        }
        self.calls.remove(&id);
        let host = &mut self.hosts[to];
        host.seen.duplicates += u32::from(host.fetcher.have.contains(index));
        let new = !host.fetcher.have.contains(index);
        let in_vain = host.fetcher.arrived(index, from.map(|peer| PeerId(peer as u32)), self.now);
        for request in in_vain {
            let peer = request.peer.0 as usize;
            let call =
                self.calls.iter().find(|(_, call)| (call.from, call.to, call.index) == (Some(peer), to, index));
            let id = *call.expect("what is in vain is under way").0;
            self.later(Some(to), Some(peer), Item::Cancelled(id));
        }
        if new {
            self.send_driver(to, NodeNews::Has(index));
            for watcher in self.watchers(to) {
                self.send_peer(watcher, to, NodeNews::Has(index));
            }
        }
        if from.is_none() {
            let ok = !self.dice.falls(self.plan.lost_pushes);
            self.send_driver(to, NodeNews::Pushed(index, ok));
        }
        self.note_complete(to);
        self.drain_node(to);
    }

    /// The call ends without a good block.
    fn fail_call(&mut self, id: u64, failure: Failure) {
        let Some(Call { from, to, index }) = self.calls.get(&id).copied() else { return };
        self.drop_call(id);
        let Some(peer) = from else {
            self.tell_driver(to, NodeNews::Pushed(index, false));
            return self.drain_driver();
        };
        let host = &mut self.hosts[to];
        host.fetcher.failed(PeerId(peer as u32), index, failure, self.now);
        if failure == Failure::Corrupt {
            *host.seen.lies.entry(peer).or_default() += 1;
        }
        if host.fetcher.is_banned(PeerId(peer as u32)) {
            // It hangs up.
            let ids = self.calls_between(peer, to);
            for id in ids {
                self.drop_call(id);
            }
        }
        self.drain_node(to);
    }

    fn calls_between(&self, from: usize, to: usize) -> Vec<u64> {
        let between = self.calls.iter().filter(|(_, call)| (call.from, call.to) == (Some(from), to));
        between.map(|(&id, _)| id).collect()
    }

    fn drop_call(&mut self, id: u64) {
        self.calls.remove(&id);
        self.wire.stop(self.now.as_secs_f64(), id);
    }

    fn tell_driver(&mut self, node: usize, news: NodeNews) {
        let id = NodeId(node as u32);
        match news {
            NodeNews::Joined(have) => self.scatter.joined(id, have),
            NodeNews::Has(index) => self.scatter.has(id, index, self.now),
            NodeNews::Pushed(index, ok) => {
                self.failed_pushes += u64::from(!ok);
                self.scatter.pushed(id, index, ok, self.now);
            }
            NodeNews::Left => {
                self.scatter.left(id);
                self.calls.retain(|_, call| call.from.is_some() || call.to != node);
            }
        }
    }

    fn tell_node(&mut self, at: usize, peer: usize, news: NodeNews) {
        let fetcher = &mut self.hosts[at].fetcher;
        let id = PeerId(peer as u32);
        match news {
            NodeNews::Joined(have) => {
                fetcher.peer_joined(id);
                have.present().for_each(|index| fetcher.peer_has(id, index));
            }
            NodeNews::Has(index) => fetcher.peer_has(id, index),
            NodeNews::Left => {
                fetcher.peer_left(id);
                let ids = self.calls_between(peer, at);
                for id in ids {
                    self.drop_call(id);
                }
            }
            NodeNews::Pushed(..) => {}
        }
    }

    fn drain_driver(&mut self) {
        while let Some(push) = self.scatter.next(self.now) {
            let to = push.node.0 as usize;
            let under_way = self.calls.values().filter(|call| call.from.is_none() && call.to == to);
            let under_way: Vec<u32> = under_way.map(|call| call.index).collect();
            assert!(under_way.len() < PUSHES_PER_NODE && !under_way.contains(&push.index), "{push:?}: {under_way:?}");
            let seen = &mut self.hosts[to].seen;
            seen.pushed += 1;
            seen.fed += u32::from(push.why == Why::Fed);
            self.call(None, to, push.index);
        }
        self.wake_at(None, self.scatter.deadline());
    }

    fn drain_node(&mut self, at: usize) {
        if !self.hosts[at].up {
            return;
        }
        while let Some(request) = self.hosts[at].fetcher.next(self.now) {
            let (peer, index) = (request.peer.0 as usize, request.index);
            let host = &self.hosts[at];
            let asked: Vec<&Call> = self.calls.values().filter(|call| call.from.is_some() && call.to == at).collect();
            // A call that was given up stays until the other side hears of it.
            let open: BTreeSet<(Host, u32)> = asked.iter().map(|call| (call.from, call.index)).collect();
            let open: Vec<_> = open.into_iter().filter(|(_, index)| !host.fetcher.have.contains(*index)).collect();
            assert!(open.len() < REQUESTS_MAX, "{at} asks for too much at a time");
            let busy = open.iter().filter(|(from, _)| *from == Some(peer)).count();
            assert!(busy < REQUESTS_PER_PEER as usize, "{at} asks {peer} for too much at a time");
            assert!(!host.fetcher.have.contains(index), "{at} asks for what it has");
            let lies = host.seen.lies.get(&peer).copied().unwrap_or(0);
            assert!(lies < LIES_MAX, "{at} asks {peer} after {lies} lies");
            self.call(Some(peer), at, index);
        }
        self.wake_at(Some(at), self.hosts[at].fetcher.deadline());
    }

    fn call(&mut self, from: Host, to: usize, index: u32) {
        let id = self.planned;
        self.calls.insert(id, Call { from, to, index });
        self.later(from, Some(to), Item::Called(id));
        self.add(self.now + self.plan.time_out, Item::TimedOut(id));
    }

    fn wake_at(&mut self, host: Host, deadline: Option<Duration>) {
        let Some(deadline) = deadline else { return };
        assert!(deadline > self.now, "{host:?} waits for what is past");
        if self.wakes.get(&host).is_none_or(|&planned| planned > deadline) {
            self.wakes.insert(host, deadline);
            self.add(deadline, Item::Wakes(host));
        }
    }

    fn note_complete(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if host.fetcher.is_complete() && host.seen.complete.is_none() {
            host.seen.complete = Some(self.now);
        }
    }

    /// Who hears what the node has.
    fn watchers(&self, node: usize) -> Vec<usize> {
        let watchers = self.mesh.watchers(NodeId(node as u32)).map(|watcher| watcher.0 as usize);
        watchers.filter(|&watcher| self.hosts[watcher].up && self.plan.reach(node, watcher)).collect()
    }

    fn send_driver(&mut self, node: usize, news: NodeNews) {
        self.later(Some(node), None, Item::Driver { node, news });
    }

    fn send_peer(&mut self, at: usize, peer: usize, news: NodeNews) {
        self.later(Some(peer), Some(at), Item::Peer { at, peer, news });
    }

    fn later(&mut self, from: Host, to: Host, item: Item) {
        self.add(self.now + self.plan.delay(from, to), item);
    }

    fn add(&mut self, time: Duration, item: Item) {
        // The number keeps items of one moment in the order in which they were planned.
        self.agenda.insert((time, self.planned), item);
        self.planned += 1;
    }
}
