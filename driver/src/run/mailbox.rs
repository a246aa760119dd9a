//! What waits on the way from and to each executor: reports that nobody has taken in, messages that are not safe yet,
//! and orders that the journal has to know first.

use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::attempt::Report;
use broadsweep_common::ids::ExecutorId;

use super::acks::Acks;
use crate::cluster::{Order, SessionId};

/// The mail of one executor.
#[derive(Default)]
struct Mailbox {
    /// Which of its messages may be acknowledged.
    acks: Acks,
    /// Its messages that came before the scheduler counts on it, as too few executors are ready.
    early: Vec<(u64, Vec<Report>)>,
    /// What it is to be told, and in which session.
    orders: Vec<(SessionId, Order)>,
}

/// The mail of all executors.
#[derive(Default)]
pub(super) struct Mailboxes {
    boxes: BTreeMap<ExecutorId, Mailbox>,
    /// Those of whose messages one more may have become safe.
    settled: BTreeSet<ExecutorId>,
    /// Those for which orders wait.
    addressed: BTreeSet<ExecutorId>,
}

impl Mailboxes {
    /// A message with so many reports has come.
    pub(super) fn received(&mut self, executor: ExecutorId, sequence: u64, reports: usize) {
        self.mailbox(executor).acks.received(sequence, reports);
    }

    /// One report of a message is journaled, or needs no record.
    pub(super) fn settle(&mut self, executor: ExecutorId, sequence: u64) {
        self.mailbox(executor).acks.settle(sequence);
        self.settled.insert(executor);
    }

    /// The messages that can be acknowledged now.
    pub(super) fn acknowledgeable(&mut self) -> Vec<(ExecutorId, u64)> {
        let settled = std::mem::take(&mut self.settled);
        let next = |executor| Some((executor, self.boxes.get_mut(&executor)?.acks.next()?));
        settled.into_iter().filter_map(next).collect()
    }

    /// A message came before anything is placed: it waits.
    pub(super) fn keep_early(&mut self, executor: ExecutorId, sequence: u64, reports: Vec<Report>) {
        self.mailbox(executor).early.push((sequence, reports));
    }

    /// The messages that waited, of each executor in their order.
    pub(super) fn take_early(&mut self) -> Vec<(ExecutorId, u64, Vec<Report>)> {
        let boxes = self.boxes.iter_mut();
        let early = boxes.flat_map(|(executor, mailbox)| {
            let messages = std::mem::take(&mut mailbox.early);
            messages.into_iter().map(|(sequence, reports)| (*executor, sequence, reports))
        });
        early.collect()
    }

    /// A session begins: its messages are numbered anew. What came early, and in it, stays.
    pub(super) fn session_began(&mut self, executor: ExecutorId) {
        self.mailbox(executor).acks = Acks::default();
    }

    /// A session is over: what was not acknowledged is told again in the next one.
    pub(super) fn session_ended(&mut self, executor: ExecutorId) {
        let mailbox = self.mailbox(executor);
        mailbox.acks = Acks::default();
        mailbox.early.clear();
    }

    /// An order waits until the journal has what led to it.
    pub(super) fn order(&mut self, executor: ExecutorId, session: SessionId, order: Order) {
        self.mailbox(executor).orders.push((session, order));
        self.addressed.insert(executor);
    }

    /// The orders that waited, by executor and session, each in their order.
    pub(super) fn take_orders(&mut self) -> BTreeMap<(ExecutorId, SessionId), Vec<Order>> {
        let mut orders: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for executor in std::mem::take(&mut self.addressed) {
            for (session, order) in self.mailbox(executor).orders.drain(..) {
                orders.entry((executor, session)).or_default().push(order);
            }
        }
        orders
    }

    fn mailbox(&mut self, executor: ExecutorId) -> &mut Mailbox {
        self.boxes.entry(executor).or_default()
    }
}
