//! Which messages of a session are safe: an executor keeps what a message told until it is acknowledged.

use std::collections::BTreeMap;

/// The messages of one session whose reports are not all settled yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Acks {
    /// Reports of a message that are not settled, by the message's number.
    open: BTreeMap<u64, usize>,
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
            }
        }
    }

    /// The number to acknowledge now, if it is higher than the last one: that message and all before it are settled.
    pub(super) fn next(&mut self) -> Option<u64> {
        let safe = self.open.keys().next().map_or(self.seen, |first| first - 1);
        (safe > self.told).then(|| {
            self.told = safe;
            safe
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_acknowledged_once_all_reports_up_to_it_are_settled() {
        let mut acks = Acks::default();
        acks.received(3, 2);
        acks.received(4, 1);
        acks.settle(4);
        acks.settle(3);
        assert_eq!(acks.next(), Some(2), "what came before these told nothing");
        acks.settle(3);
        assert_eq!((acks.next(), acks.next()), (Some(4), None));
        acks.settle(9);
        assert_eq!(acks.next(), None);
    }
}
