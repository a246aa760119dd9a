//! What every trainer is.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use broadsweep_common::attempt::Ended;
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::Part;
use broadsweep_common::replay::ReplayDescription;
use broadsweep_common::task::{Replicate, Segment};
use broadsweep_nn::Kernel;
use tokio_util::sync::CancellationToken;

use super::program::Programs;
use crate::control::SlotControl;
use crate::files::AllowedFiles;
use broadsweep_objects::AllowedStores;
use broadsweep_store::Content;

/// Trains and measures for all attempts of a study.
pub(crate) trait Trainer: Send + Sync {
    /// Trains a segment with these values of its trial, from `checkpoint` where there is one. Reports epochs to
    /// `control`, which may end it.
    fn train(
        &self,
        segment: Segment,
        configuration: &Configuration,
        checkpoint: Option<Content>,
        control: &mut SlotControl,
    ) -> Ended;

    /// Measures the weights of a replicate on one part of the data.
    fn measure(
        &self,
        replicate: Replicate,
        configuration: &Configuration,
        on: (Content, Part),
        control: &mut SlotControl,
    ) -> Ended;

    /// Looks closely at what the weights of a replicate answer to one part of the data.
    fn examine(
        &self,
        _replicate: Replicate,
        _configuration: &Configuration,
        _on: (Content, Part),
        _control: &mut SlotControl,
    ) -> Ended {
        Ended::failed("this trainer has no weights to look at")
    }

    /// Applies the model to a partition of the input. `rows` is what that needs of its files, where it was sent.
    fn apply(&self, _partition: u32, _rows: Option<Content>, _control: &mut SlotControl) -> Ended {
        Ended::failed("this executor applies no models")
    }

    /// Where the program is that attempts start, if that is known before them.
    fn program(&self) -> Option<&Path> {
        None
    }

    /// Why the files of the input cannot be read here, in words; nothing if they can, or if there are none.
    fn lacks(&self) -> Option<&str> {
        None
    }

    /// What is replayed, where that is all: it can be simulated.
    fn replays(&self) -> Option<&ReplayDescription> {
        None
    }
}

/// What a slot gives a trainer.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) kernel: Kernel,
    /// Of one slot.
    pub(crate) memory_bytes: u64,
    /// How many there are of them: attempts of the study at the same time.
    pub(crate) slots: u32,
    /// Threads that it may use: its share of the cores, at least one.
    pub(crate) threads: u32,
    /// What programs need, where they are allowed.
    pub(crate) programs: Option<Arc<Programs>>,
    /// Which files of this machine may be read, where some may.
    pub(crate) files: Option<AllowedFiles>,
    /// Which objects of stores may be read, where some may.
    pub(crate) stores: Option<AllowedStores>,
    /// Cancelled once nobody waits for the study to be prepared.
    pub(crate) given_up: CancellationToken,
}

/// The state to go on from. One that does not fit costs time, not the trial: the attempt starts at the beginning.
pub(super) fn checkpoint_of<C, E: Display>(
    content: Option<Content>,
    read: impl FnOnce(&[u8]) -> Result<C, E>,
) -> Option<C> {
    let read = read((*content?).as_ref());
    read.inspect_err(|error| tracing::warn!(%error, "the checkpoint does not fit; starting at the beginning")).ok()
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
pub(super) fn in_words(error: impl ToString) -> String {
    error.to_string()
}
