//! Why an event is rejected.

pub use broadsweep_common::attempt::SLOTS_MAX;
use broadsweep_common::ids::{AttemptId, ExecutorId, TaskId};

/// An event that does not fit the state. The state is unchanged; the sender is at fault, not the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The task was added before, or others have to come first.
    #[error("{task} is out of order; the next is {next}")]
    TaskOutOfOrder {
        /// What was added.
        task: TaskId,
        /// What has to be.
        next: TaskId,
    },
    /// A task came after the end of adding.
    #[error("{0} was added after the last task was announced")]
    AddedTooLate(TaskId),
    /// The forecast ends where it begins, or before.
    #[error("{0} has no epochs")]
    NoEpochs(TaskId),
    /// The task was never added.
    #[error("{0} is unknown")]
    UnknownTask(TaskId),
    /// Something of the task was launched, or it is over.
    #[error("{0} has begun")]
    TaskBegun(TaskId),
    /// The executor is connected already.
    #[error("{0} is connected already")]
    ExecutorConnected(ExecutorId),
    /// The executor never connected, was lost, or is away where it would have to be connected.
    #[error("{0} is not connected")]
    UnknownExecutor(ExecutorId),
    /// No slots, or absurdly many.
    #[error("{executor} offers {slots} slots; 1 to {max} are possible", max = SLOTS_MAX)]
    BadSlots {
        /// Who says so.
        executor: ExecutorId,
        /// What it says.
        slots: u32,
    },
    /// The attempt does not run there: it ended, was lost, runs elsewhere or never started.
    #[error("{attempt} is not running on {executor}")]
    StaleAttempt {
        /// Who reports it.
        executor: ExecutorId,
        /// What is reported.
        attempt: AttemptId,
    },
}
