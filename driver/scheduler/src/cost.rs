//! What a task is forecast to cost.

/// What a task is forecast to cost, in FLOPs. Divided by what executors were seen to do in a second, it says how long
/// a task will take. What is placed first is said by [`Priority`](super::Priority).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(pub u64);
