//! Where two executors told different numbers: executors of one run have to agree on bits.

use broadsweep_common::ids::{ExecutorId, TrialId};
use serde::{Deserialize, Serialize};

/// Two executors told different numbers of one epoch of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceRecord {
    /// Of which trial.
    pub trial: TrialId,
    /// Of which epoch, counted from 1.
    pub epoch: u32,
    /// Whose numbers came first. They stand.
    pub first: ExecutorId,
    /// Who told others.
    pub other: ExecutorId,
    /// Who of them is wrong.
    pub odd: Odd,
}

/// Who of two executors that told different numbers is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Odd {
    /// A third one is asked.
    Sought,
    /// The first one, as a third told the other's numbers.
    First,
    /// The other one, as a third told the first one's numbers.
    Other,
    /// There was no third, or it told numbers of its own.
    Unknown,
}
