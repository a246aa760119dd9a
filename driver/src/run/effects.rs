//! What people are told, and which files go, once the journal has what led to it.

use broadsweep_common::ids::TrialId;

use super::chronicle::Safe;

/// Something that waits for the journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A line for people.
    Say(String),
    /// A trial is over: the display of progress counts it.
    TrialEnded(TrialId),
    /// A partition is over: likewise.
    PartitionEnded(u32),
    /// A file of the run is worth nothing any more.
    Drop(String),
}

/// All that waits, in order.
#[derive(Debug, Default)]
pub(super) struct Effects(Vec<Effect>);

impl Effects {
    /// Lets something wait.
    pub(super) fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    /// What may happen now.
    pub(super) fn take(&mut self, _: &Safe) -> Vec<Effect> {
        std::mem::take(&mut self.0)
    }

    /// What led to it could not be written down: nothing of it happens.
    pub(super) fn discard(&mut self) {
        self.0.clear();
    }
}

impl Extend<Effect> for Effects {
    fn extend<I: IntoIterator<Item = Effect>>(&mut self, effects: I) {
        self.0.extend(effects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_happens_once_in_its_order_and_not_at_all_where_the_journal_failed() {
        let mut effects = Effects::default();
        effects.push(Effect::TrialEnded(TrialId(1)));
        effects.extend([Effect::Drop("old".to_owned())]);
        let expected = [Effect::TrialEnded(TrialId(1)), Effect::Drop("old".to_owned())];
        assert_eq!(effects.take(&Safe::IN_TEST), expected);
        assert_eq!(effects.take(&Safe::IN_TEST), []);
        effects.push(Effect::TrialEnded(TrialId(2)));
        effects.discard();
        assert_eq!(effects.take(&Safe::IN_TEST), []);
    }
}
