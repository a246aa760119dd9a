//! Places attempts on slots, nothing else. Pure: every time is an argument, every decision a command.
//!
//! | module | holds |
//! |---|---|
//! | `moment` | the time that every event comes with |
//! | `protocol` | the events that come in and the commands that go out |
//! | `cost` | what a task is forecast to cost |
//! | `priority` | what is placed first |
//! | `rejected` | why an event is rejected |
//! | `policy` | how patient the scheduler is |
//! | `step` | [`Scheduler::handle`]: one event in, commands out |
//! | `session` | executors that come, go, come back with what they hold, and drain |
//! | `outcome` | what becomes of a task whose attempt makes an epoch, ends, hangs or is lost |
//! | `health` | executors that fail what others complete |
//! | `evidence` | what they are judged by |
//! | `copies` | second copies of slow attempts |
//! | `copy_watch` | when slow attempts are looked for |
//! | `task` | one task: its history and its state |
//! | `queue` | the tasks that may be placed now, by priority |
//! | `timers` | what waits for its time |
//! | `executor` | one executor and its slots |
//! | `fleet` | the executors, and which of them have room |
//! | `pace` | how long cost takes |
//! | `rehearsal` | what a forecast asks: paces, what is left, a copy to play with |
//! | `invariant` | recounts every index from the states |
//!
//! A free slot takes the waiting task of the highest priority, on the executor with the most free slots. Whoever adds a
//! task says its priority: the longest first (LPT; Graham, "Bounds on multiprocessing timing anomalies", 1969), or an
//! order of decisions that must not depend on who is fast. A task keeps off the executors where it failed for as long
//! as any other is connected, and off those that refused it for good. One that the next loss would end also keeps off
//! the executors that were lost with it, and waits for another one that is away.

mod copies;
mod copy_watch;
mod cost;
mod evidence;
mod executor;
mod fleet;
mod health;
mod invariant;
mod moment;
mod outcome;
mod pace;
mod policy;
mod priority;
mod protocol;
mod queue;
mod rehearsal;
mod rejected;
mod session;
mod step;
mod task;
#[cfg(test)]
mod tests;
mod timers;

pub use self::cost::Cost;
pub use self::moment::Moment;
pub use self::policy::{ConfigError, SchedulingConfig, SchedulingPolicy};
pub use self::priority::Priority;
pub use self::protocol::{CancelReason, Command, Event, Forecast, GivenUp, History, Outcome, Verdict};
pub use self::rehearsal::Paces;
pub use self::rejected::{Rejected, SLOTS_MAX};
pub use self::step::{Counts, Scheduler};
