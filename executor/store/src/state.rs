//! What the store knows of the blobs of a run: which are whole, which arrive, and who needs them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use broadsweep_common::blob::Blob;
use broadsweep_common::ids::{AttemptId, Digest};

use super::assembly::Assembly;
use super::{Content, Made, Medium, Offer};

/// The blobs of the run that is here.
#[derive(Default)]
pub(super) struct State {
    pub(super) whole: HashMap<Digest, Stored>,
    pub(super) arriving: HashMap<Digest, (Medium, Assembly)>,
    /// Offered, and being looked for in the cache folder.
    pub(super) sought: HashSet<Digest>,
    /// How often a run's blobs were forgotten: what was looked for before that is not wanted any more.
    pub(super) forgotten: u64,
    /// How many runs have gone.
    pub(super) stay: u64,
}

/// A blob that is whole.
pub(super) struct Stored {
    pub(super) medium: Medium,
    /// Who made it here, and as what: attempts at one task make the same bytes, and each is released by itself.
    pub(super) makers: BTreeMap<AttemptId, Made>,
    /// How often it was offered for an attempt that was not launched yet. The same bytes may be a result as well: the
    /// checkpoint that an attempt left here, and that the next one goes on from.
    pub(super) offers: u32,
    /// Attempts that were launched with it, and have not taken it in.
    pub(super) takers: BTreeSet<AttemptId>,
    pub(super) blob: Blob<Content>,
}

impl Stored {
    /// One that was offered so often, and that nobody made here yet.
    pub(super) fn new(medium: Medium, blob: Blob<Content>, offers: u32) -> Self {
        Self { medium, makers: BTreeMap::new(), offers, takers: BTreeSet::new(), blob }
    }

    /// Whether anybody needs it here.
    pub(super) fn is_needed(&self) -> bool {
        self.is_made_here() || self.is_input()
    }

    fn is_input(&self) -> bool {
        self.offers > 0 || !self.takers.is_empty()
    }

    pub(super) fn is_made_here(&self) -> bool {
        !self.makers.is_empty()
    }

    /// Whether it is a checkpoint and nothing else, that no attempt here goes on from.
    pub(super) fn is_spare(&self) -> bool {
        let is_checkpoint = self.makers.values().all(|made| *made == Made::Checkpoint);
        self.is_made_here() && is_checkpoint && !self.is_input()
    }
}

impl State {
    /// Changes who needs a blob in memory, and drops it if nobody does.
    pub(super) fn change(&mut self, blob: Digest, change: impl FnOnce(&mut Stored)) {
        let Some(stored) = self.whole.get_mut(&blob).filter(|stored| stored.medium == Medium::Memory) else { return };
        change(stored);
        if !stored.is_needed() {
            self.whole.remove(&blob);
        }
    }

    /// A blob that an attempt made here is needed no longer.
    pub(super) fn release(&mut self, attempt: AttemptId, blob: Digest) {
        self.change(blob, |stored| {
            stored.makers.remove(&attempt);
        });
    }

    /// What is known of a blob that is offered once more.
    pub(super) fn known(&mut self, digest: Digest) -> Option<Offer> {
        if let Some(stored) = self.whole.get_mut(&digest) {
            stored.offers = stored.offers.saturating_add(1);
            return Some(Offer::Missing(Vec::new()));
        }
        let (_, assembly) = self.arriving.get_mut(&digest)?;
        assembly.offers = assembly.offers.saturating_add(1);
        Some(Offer::Missing(assembly.missing()))
    }

    /// Drops checkpoints that nothing else needs, the largest first, until blobs in memory take no more than this, or none
    /// is left.
    pub(super) fn drop_checkpoints_until(&mut self, bytes_max: u64) {
        while self.bytes_in_memory() > bytes_max {
            let spare = |(_, stored): &(&Digest, &Stored)| stored.is_spare();
            let bytes = |(digest, stored): &(&Digest, &Stored)| (stored.blob.manifest.bytes(), **digest);
            let Some(largest) = self.whole.iter().filter(spare).max_by_key(bytes).map(|(digest, _)| *digest) else {
                return;
            };
            tracing::warn!(checkpoint = %largest, "dropped for a result, which needs its room");
            self.whole.remove(&largest);
        }
    }

    pub(super) fn forget_arriving(&mut self) {
        self.arriving.clear();
        self.forgotten += 1;
    }

    pub(super) fn bytes_in_memory(&self) -> u64 {
        let in_memory = self.whole.values().filter(|stored| stored.medium == Medium::Memory);
        let arriving = self.arriving.values().filter(|(medium, _)| *medium == Medium::Memory);
        in_memory
            .map(|stored| stored.blob.manifest.bytes())
            .chain(arriving.map(|(_, assembly)| assembly.manifest.bytes()))
            .sum()
    }
}
