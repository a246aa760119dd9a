//! Which messages of a session are safe: an executor keeps what a message told until it is acknowledged.

use std::collections::{BTreeMap, BTreeSet};

/// The messages of one session whose reports are not all settled yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Acks {
    /// Reports of a message that are not settled, by the message's number.
    open: BTreeMap<u64, usize>,
    /// Those that were settled since the last acknowledgement.
    settled: BTreeSet<u64>,
    /// The highest message seen.
    seen: u64,
    /// What was acknowledged.
    told: u64,
}

impl Acks {
    /// A message with so many reports has come.
    pub(super) fn received(&mut self, sequence: u64, reports: usize) {
        self.seen = self.seen.max(sequence);
        self.open.insert(sequence, reports);
    }

    /// One report of a message is journaled, or needs no record.
    pub(super) fn settle(&mut self, sequence: u64) {
        if let Some(open) = self.open.get_mut(&sequence) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.open.remove(&sequence);
                self.settled.insert(sequence);
            }
        }
    }

    /// What to acknowledge now, if that is more than before: the number up to which all messages are settled, and those
    /// that are settled after it, each told once.
    pub(super) fn next(&mut self) -> Option<(u64, Vec<u64>)> {
        let through = self.open.keys().next().map_or(self.seen, |first| first - 1);
        let mut settled = std::mem::take(&mut self.settled);
        settled.retain(|sequence| *sequence > through);
        let is_new = through > self.told || !settled.is_empty();
        self.told = through;
        is_new.then(|| (through, settled.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_acknowledged_once_all_its_reports_are_settled() {
        let mut acks = Acks::default();
        acks.received(3, 2);
        acks.settle(3);
        assert_eq!(acks.next(), Some((2, vec![])), "what came before told nothing");
        acks.settle(3);
        assert_eq!((acks.next(), acks.next()), (Some((3, vec![])), None));
        acks.settle(9);
        assert_eq!(acks.next(), None);
    }

    #[test]
    fn messages_after_one_that_waits_are_acknowledged_by_their_own_numbers_once() {
        let mut acks = Acks::default();
        for sequence in 2..=6 {
            acks.received(sequence, 1);
        }
        for sequence in [2, 6, 4] {
            acks.settle(sequence);
        }
        assert_eq!((acks.next(), acks.next()), (Some((2, vec![4, 6])), None));
        acks.settle(5);
        assert_eq!(acks.next(), Some((2, vec![5])));
        acks.settle(3);
        assert_eq!((acks.next(), acks.next()), (Some((6, vec![])), None));
        assert!(acks.open.is_empty() && acks.settled.is_empty(), "nothing is kept of what is told: {acks:?}");
    }
}
