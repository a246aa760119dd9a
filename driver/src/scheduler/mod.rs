//! Places attempts on slots, nothing else. Pure: every time is an argument, every decision a returned command.
//!
//! | module | holds |
//! |---|---|
//! | `protocol` | the events that come in, the commands that go out, why an event is rejected |
//! | `retry` | how often a task is tried again, and after what wait |
//! | `step` | [`Scheduler::handle`]: one event in, commands out |
//! | `task` | one task: its history and its state |
//! | `queue` | the waiting tasks, longest first |
//! | `fleet` | the connected executors and their free slots |
//! | `invariant` | recounts every index from the states |
//!
//! Placement is longest first (LPT; Graham, "Bounds on multiprocessing timing anomalies", 1969): a free slot takes
//! the waiting task of the highest forecast cost, on the executor with the most free slots. A task keeps off the
//! executors where it failed for as long as any other is connected.

mod fleet;
mod invariant;
mod protocol;
mod queue;
mod retry;
mod step;
mod task;
#[cfg(test)]
mod tests;

pub use self::protocol::{Command, Cost, Event, GivenUp, Outcome, Rejected, SLOTS_MAX, Time, Verdict};
pub use self::retry::{ConfigError, RetryConfig, RetryPolicy};
pub use self::step::{Counts, Scheduler};
