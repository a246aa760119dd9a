//! What waits on the way from and to each executor: reports that nobody has taken in, messages that are not safe yet,
//! and orders that the journal has to know first.

use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::attempt::Report;
use broadsweep_common::ids::ExecutorId;

use super::acks::Acks;
use super::chronicle::Safe;
use crate::cluster::{Order, SessionId};

/// Reports of one executor that wait before anything is placed. What it held while no driver was there is less, or is asked
/// for again.
const EARLY_MAX: usize = 16_384;

/// A message that came early: whose, its number, and what it tells.
type EarlyMessage = (ExecutorId, u64, Vec<Report>);

/// Messages that came before the scheduler counts on their executor, as too few executors are ready.
enum Early {
    Kept(Vec<(u64, Vec<Report>)>),
    /// There were too many: the executor tells them again in its next session.
    Overflowed,
}

/// The mail of one executor.
#[derive(Default)]
struct Mailbox {
    /// Which of its messages may be acknowledged.
    acks: Acks,
    early: Early,
    /// What it is to be told, and in which session.
    orders: Vec<(SessionId, Order)>,
}

impl Default for Early {
    fn default() -> Self {
        Self::Kept(Vec::new())
    }
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

    /// The messages that can be acknowledged now, as orders that wait for the journal like all others.
    pub(super) fn acknowledgeable(&mut self) -> Vec<(ExecutorId, Order)> {
        let settled = std::mem::take(&mut self.settled);
        let next = |executor| {
            let (through, settled) = self.boxes.get_mut(&executor)?.acks.next()?;
            Some((executor, Order::Acknowledge { through, settled }))
        };
        settled.into_iter().filter_map(next).collect()
    }

    /// A message came before anything is placed: it waits.
    pub(super) fn keep_early(&mut self, executor: ExecutorId, sequence: u64, reports: Vec<Report>) {
        let early = &mut self.mailbox(executor).early;
        if let Early::Kept(messages) = early {
            let waiting: usize = messages.iter().map(|(_, reports)| reports.len()).sum();
            if waiting + reports.len() > EARLY_MAX {
                *early = Early::Overflowed;
            } else {
                messages.push((sequence, reports));
            }
        }
    }

    /// The messages that waited, of each executor in their order; and the executors that had too many, so that they have to
    /// tell them again.
    pub(super) fn take_early(&mut self) -> (Vec<EarlyMessage>, Vec<ExecutorId>) {
        let (mut taken, mut overflowed) = (Vec::new(), Vec::new());
        for (executor, mailbox) in &mut self.boxes {
            match &mut mailbox.early {
                Early::Kept(messages) => {
                    taken.extend(messages.drain(..).map(|(sequence, reports)| (*executor, sequence, reports)));
                }
                Early::Overflowed => overflowed.push(*executor),
            }
        }
        (taken, overflowed)
    }

    /// Whether messages of this session were dropped: those that follow them mean nothing.
    pub(super) fn has_overflowed(&self, executor: ExecutorId) -> bool {
        self.boxes.get(&executor).is_some_and(|mailbox| matches!(mailbox.early, Early::Overflowed))
    }

    /// A session begins: its messages are numbered anew. What came early, and in it, stays.
    pub(super) fn session_began(&mut self, executor: ExecutorId) {
        self.mailbox(executor).acks = Acks::default();
    }

    /// A session is over: what was not acknowledged is told again in the next one.
    pub(super) fn session_ended(&mut self, executor: ExecutorId) {
        let mailbox = self.mailbox(executor);
        mailbox.acks = Acks::default();
        mailbox.early = Early::default();
    }

    /// An order waits until the journal has what led to it.
    pub(super) fn order(&mut self, executor: ExecutorId, session: SessionId, order: Order) {
        self.mailbox(executor).orders.push((session, order));
        self.addressed.insert(executor);
    }

    /// The orders that waited, by executor and session, each in their order.
    pub(super) fn take_orders(&mut self, _: &Safe) -> BTreeMap<(ExecutorId, SessionId), Vec<Order>> {
        let mut orders: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for executor in std::mem::take(&mut self.addressed) {
            for (session, order) in self.mailbox(executor).orders.drain(..) {
                orders.entry((executor, session)).or_default().push(order);
            }
        }
        orders
    }

    /// What led to the orders that wait could not be written down: nobody hears of them.
    pub(super) fn discard_orders(&mut self) {
        self.addressed.clear();
        self.boxes.values_mut().for_each(|mailbox| mailbox.orders.clear());
    }

    fn mailbox(&mut self, executor: ExecutorId) -> &mut Mailbox {
        self.boxes.entry(executor).or_default()
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::attempt::{AttemptEvent, Durations, Ended};
    use broadsweep_common::ids::{AttemptId, TaskId};

    use super::*;

    fn reports(count: usize) -> Vec<Report> {
        let attempt = AttemptId { task: TaskId(0), number: 1 };
        let event = AttemptEvent::Ended(Ended::Stopped);
        vec![Report { attempt, durations: Durations::default(), event }; count]
    }

    /// What the orders that wait acknowledge.
    fn acknowledged(mail: &mut Mailboxes) -> Vec<(u64, Vec<u64>)> {
        for (executor, order) in mail.acknowledgeable() {
            mail.order(executor, SessionId(1), order);
        }
        let orders = mail.take_orders(&Safe::IN_TEST).into_values().flatten();
        orders
            .map(|order| match order {
                Order::Acknowledge { through, settled } => (through, settled),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn an_end_that_waits_for_its_weights_does_not_hold_back_later_acknowledgements() {
        let (mut mail, executor) = (Mailboxes::default(), ExecutorId(0));
        for sequence in 2..=4 {
            mail.received(executor, sequence, 1);
        }
        mail.settle(executor, 3);
        assert_eq!(acknowledged(&mut mail), [(1, vec![3])]);
        mail.settle(executor, 4);
        assert_eq!(acknowledged(&mut mail), [(1, vec![4])], "and 3 only once");
        mail.settle(executor, 2);
        assert_eq!(acknowledged(&mut mail), [(4, vec![])]);
        mail.received(executor, 5, 1);
        mail.received(executor, 6, 1);
        mail.settle(executor, 6);
        mail.session_began(executor);
        assert_eq!(acknowledged(&mut mail), [], "a new session numbers its messages anew");
    }

    #[test]
    fn what_comes_too_early_is_bounded_and_asked_for_again() {
        let mut mail = Mailboxes::default();
        let (sound, flood) = (ExecutorId(0), ExecutorId(1));
        mail.keep_early(sound, 1, reports(2));
        for sequence in 1..=EARLY_MAX as u64 {
            mail.keep_early(flood, sequence, reports(2));
        }
        let (taken, overflowed) = mail.take_early();
        let taken: Vec<_> = taken.iter().map(|(executor, sequence, _)| (*executor, *sequence)).collect();
        assert_eq!((taken, overflowed), (vec![(sound, 1)], vec![flood]));
        assert!(mail.has_overflowed(flood) && !mail.has_overflowed(sound), "what follows what was dropped is no use");
        mail.session_ended(flood);
        mail.keep_early(flood, 1, reports(1));
        assert_eq!((mail.has_overflowed(flood), mail.take_early().0.len()), (false, 1));
    }

    #[test]
    fn early_reports_wait_up_to_the_limit_whatever_messages_they_come_in() {
        let (mut mail, executor) = (Mailboxes::default(), ExecutorId(0));
        mail.keep_early(executor, 1, reports(EARLY_MAX - 1));
        mail.keep_early(executor, 2, reports(1));
        assert!(!mail.has_overflowed(executor));
        assert!(mail.take_early().0.iter().map(|(_, _, reports)| reports.len()).eq([EARLY_MAX - 1, 1]));
        mail.keep_early(executor, 3, reports(EARLY_MAX));
        mail.keep_early(executor, 4, reports(1));
        assert!(mail.has_overflowed(executor));
    }

    #[test]
    fn a_message_may_be_acknowledged_in_its_session_once_its_reports_are_settled() {
        let (mut mail, [first, second]) = (Mailboxes::default(), [0, 1].map(ExecutorId));
        let told = |mail: &mut Mailboxes| {
            let orders = mail.acknowledgeable().into_iter().map(|(executor, order)| match order {
                Order::Acknowledge { through, .. } => (executor, through),
                other => panic!("{other:?}"),
            });
            orders.collect::<Vec<_>>()
        };
        mail.received(first, 1, 2);
        mail.received(second, 1, 1);
        mail.settle(first, 1);
        assert_eq!(told(&mut mail), []);
        mail.settle(first, 1);
        mail.settle(second, 1);
        assert_eq!(told(&mut mail), [(first, 1), (second, 1)]);
        assert_eq!(told(&mut mail), []);
        // Numbers begin anew with a session; what is settled of an earlier one is nobody's.
        mail.session_began(first);
        mail.session_ended(second);
        for executor in [first, second] {
            mail.received(executor, 1, 1);
            mail.settle(executor, 1);
        }
        assert_eq!(told(&mut mail), [(first, 1), (second, 1)]);
    }

    #[test]
    fn what_came_early_stays_when_its_session_is_found_ready() {
        let (mut mail, executor) = (Mailboxes::default(), ExecutorId(0));
        mail.keep_early(executor, 1, reports(1));
        mail.session_began(executor);
        assert_eq!(mail.take_early().0.len(), 1);
    }

    #[test]
    fn orders_wait_for_the_journal_by_executor_and_session_and_are_dropped_where_it_failed() {
        let (mut mail, acknowledge) =
            (Mailboxes::default(), |through| Order::Acknowledge { through, settled: Vec::new() });
        for (executor, session, sequence) in [(1, 1, 1), (0, 1, 2), (1, 2, 3), (1, 1, 4)] {
            mail.order(ExecutorId(executor), SessionId(session), acknowledge(sequence));
        }
        let words = |orders| format!("{orders:?}");
        let expected: BTreeMap<_, _> = [((0, 1), vec![2]), ((1, 1), vec![1, 4]), ((1, 2), vec![3])]
            .into_iter()
            .map(|((executor, session), sequences)| {
                let orders = sequences.into_iter().map(acknowledge).collect::<Vec<_>>();
                ((ExecutorId(executor), SessionId(session)), orders)
            })
            .collect();
        assert_eq!(words(mail.take_orders(&Safe::IN_TEST)), words(expected));
        assert!(mail.take_orders(&Safe::IN_TEST).is_empty());
        mail.order(ExecutorId(0), SessionId(1), acknowledge(5));
        mail.discard_orders();
        mail.order(ExecutorId(0), SessionId(1), acknowledge(6));
        let taken = mail.take_orders(&Safe::IN_TEST);
        assert_eq!(
            words(taken),
            words([((ExecutorId(0), SessionId(1)), vec![acknowledge(6)])].into_iter().collect())
        );
    }
}
