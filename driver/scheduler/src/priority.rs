//! What is placed first: the order that whoever adds a task gives it.

use serde::{Deserialize, Serialize};

use super::cost::Cost;

/// Set where tasks go in an order of their own.
const IN_ORDER: u64 = 1 << 63;

/// What is placed first: of two tasks that wait, the one of the greater priority; of equal ones, the one that was
/// added first.
///
/// A run uses one kind. Where kinds are mixed, every task in order goes before every task by its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Priority(u64);

impl Priority {
    /// By what it costs, the costliest first, so that nothing long is left for the end. Costs of 2^63 and more are
    /// equal.
    #[must_use]
    pub fn longest_first(cost: Cost) -> Self {
        Self(cost.0.min(!IN_ORDER))
    }

    /// By the virtual moment `v` at which it was decided, the earliest first. Tasks of one moment are added in the
    /// order of their trials, repeats and folds, which is therefore theirs. Moments of 2^63 and more are equal.
    #[must_use]
    pub fn in_order(v: u64) -> Self {
        Self(!v.min(!IN_ORDER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_costlier_task_and_the_earlier_moment_come_first_and_any_moment_before_any_cost() {
        let in_their_order = [
            Priority::in_order(0),
            Priority::in_order(1),
            Priority::in_order(u64::MAX / 2),
            Priority::longest_first(Cost(u64::MAX)),
            Priority::longest_first(Cost(2)),
            Priority::longest_first(Cost(1)),
            Priority::longest_first(Cost(0)),
        ];
        assert!(in_their_order.is_sorted_by(|first, next| first > next));
        assert_eq!(Priority::in_order(u64::MAX / 2), Priority::in_order(u64::MAX));
        assert_eq!(Priority::longest_first(Cost(u64::MAX / 2)), Priority::longest_first(Cost(u64::MAX)));
    }
}
