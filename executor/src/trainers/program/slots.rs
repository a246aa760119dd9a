//! What an executor has for programs: a leash, GPUs, a folder; and slots, where attempts run one at a time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broadsweep_common::program::ProgramDescription;
use broadsweep_common::refusal::Refusal;
use broadsweep_leash::{Allowed, Leash, Slot};

use super::super::trainer::in_words;
use super::folders::{InnerFolder, UsedFolder, sweep};
use super::gpus::{GpuName, GpuPool, Lent};
use super::worker::Worker;

/// What an executor that runs programs has for them.
#[derive(Debug)]
pub struct Programs {
    leash: Leash,
    pub(super) gpus: Arc<GpuPool>,
    /// Where their folders lie.
    pub(super) base: PathBuf,
    /// Names that no other executor gives.
    instance: u64,
    made: AtomicU64,
}

impl Programs {
    /// Programs whose folders lie in the cache folder, and that are lent these GPUs; `instance` is a number that no other
    /// process has. What an executor left there that was killed is removed.
    ///
    /// # Errors
    /// If nothing can hold them on this machine, in words.
    pub fn new(cache_dir: &Path, gpus: Vec<GpuName>, instance: u64) -> Result<Self, String> {
        let leash = Leash::new(Allowed::default());
        let isolation = leash.probe().map_err(in_words)?;
        tracing::info!("programs run here: {isolation}");
        let base = cache_dir.join("programs");
        sweep(&base);
        Ok(Self { leash, gpus: Arc::new(GpuPool::new(gpus)), base, instance, made: AtomicU64::new(0) })
    }

    /// How many GPUs it lends.
    #[must_use]
    pub fn gpus(&self) -> usize {
        self.gpus.len()
    }

    /// How many attempts of a program run at the same time on an executor of so many slots.
    ///
    /// # Errors
    /// [`Refusal`], if there are not as many GPUs as one needs.
    pub(crate) fn slots(&self, program: &ProgramDescription, slots: u32) -> Result<u32, Refusal> {
        self.gpus.slots(program.gpus, slots).map_err(|reason| Refusal::Trainer { reason })
    }

    /// A place for attempts, one at a time, in a folder that nobody else has.
    pub(super) fn slot(&self) -> io::Result<ProgramSlot> {
        let name = format!("slot-{:016x}-{}", self.instance, self.next_number());
        Ok(ProgramSlot {
            worker: None,
            lent: None,
            leash: self.leash.slot(),
            home: UsedFolder::new(&self.base, &name)?,
        })
    }

    /// A folder on this slot that nothing else had.
    pub(super) fn folder_on(&self, slot: &ProgramSlot, kind: &str) -> Result<InnerFolder, String> {
        InnerFolder::new(&slot.home, &format!("{kind}-{}", self.next_number())).map_err(unusable)
    }

    fn next_number(&self) -> u64 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
pub(super) fn unusable(error: io::Error) -> String {
    format!("its folder cannot be used: {error}")
}

/// Where attempts run, one at a time. What it has ends in this order.
#[derive(Debug)]
pub(super) struct ProgramSlot {
    /// Waits for the next attempt, if the study's program is one.
    pub(super) worker: Option<Worker>,
    /// The GPUs that the attempt here sees, or the worker that waits.
    pub(super) lent: Option<Lent>,
    /// Its supervisor waits for the next program.
    pub(super) leash: Slot,
    pub(super) home: UsedFolder,
}
