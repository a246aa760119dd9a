//! The files of a run beside its journal, by name.

use std::collections::BTreeSet;

use broadsweep_common::ids::{TaskId, TrialId};

use super::book::Book;
use super::record::Input;

/// The folder of weights.
pub(super) const WEIGHTS: &str = "weights";
/// The folder of checkpoints.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// The folder of what came out of partitions.
pub(super) const OUTPUTS: &str = "outputs";

/// The weights of a trial.
pub(super) fn weights(trial: TrialId) -> String {
    format!("{WEIGHTS}/{}", trial.0)
}

/// The state of a task after an epoch.
pub(super) fn checkpoint(task: TaskId, epoch: u32) -> String {
    format!("{CHECKPOINTS}/{task}-{epoch}")
}

/// What came out of a task.
pub(super) fn output(task: TaskId) -> String {
    format!("{OUTPUTS}/{task}")
}

/// What a task needs before it starts.
pub(super) fn input(input: &Input) -> String {
    match input {
        Input::Weights { trial, .. } => weights(*trial),
        Input::Checkpoint { task, checkpoint: safe } => checkpoint(*task, safe.epoch),
    }
}

/// All that a run still needs.
pub(super) fn needed(book: &Book) -> BTreeSet<String> {
    let weights = book.weights_needed().into_keys().map(weights);
    let checkpoints = book.checkpoints().map(|(task, safe)| checkpoint(task, safe.epoch));
    weights.chain(checkpoints).chain(book.outputs().map(output)).collect()
}
