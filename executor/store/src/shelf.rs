//! The store as one attempt of a run sees it, for as long as the run stays here.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use broadsweep_common::blob::{Blob, Manifest};
#[cfg(test)]
use broadsweep_common::ids::TaskId;
use broadsweep_common::ids::{AttemptId, Digest};

use super::state::{State, Stored};
use super::{BlobStore, Content, Made, Medium, StoreError};

/// What one attempt has here. It may end an epoch after its run has gone: what it makes then is nobody's, and what it lets
/// go may be another run's.
#[derive(Clone)]
pub struct Shelf {
    store: Arc<BlobStore>,
    /// Which of the runs that were here it belongs to.
    stay: u64,
    attempt: AttemptId,
}

impl BlobStore {
    /// For this attempt of the run that is here now.
    pub fn shelf_of(self: &Arc<Self>, attempt: AttemptId) -> Shelf {
        Shelf { store: Arc::clone(self), stay: self.state().stay, attempt }
    }
}

impl Shelf {
    /// Keeps bytes that were made here, in memory until they are released. Checkpoints make room for a result.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`], [`StoreError::Manifest`] and [`StoreError::RunOver`].
    pub fn keep(&self, content: Vec<u8>, made: Made) -> Result<Digest, StoreError> {
        let manifest = Manifest::of(&content)?;
        let (digest, bytes) = (manifest.digest(), manifest.bytes());
        let mut state = self.state().ok_or(StoreError::RunOver)?;
        if let Some(known) = state.whole.get_mut(&digest) {
            let known = known.makers.entry(self.attempt).or_insert(made);
            *known = made.max(*known);
            return Ok(digest);
        }
        // What comes of the same bytes need not come any more; who it was offered for has it here.
        let arriving = state.arriving.remove(&digest);
        let offers = arriving.map_or(0, |(_, assembly)| assembly.offers);
        let memory_bytes_max = self.store.memory_bytes_max;
        if made == Made::Result && bytes <= memory_bytes_max {
            state.drop_checkpoints_until(memory_bytes_max - bytes);
        }
        self.store.room_for(&state, bytes)?;
        let blob = Blob { manifest, content: Arc::new(content) as Content };
        let makers = BTreeMap::from([(self.attempt, made)]);
        state.whole.insert(digest, Stored { makers, ..Stored::new(Medium::Memory, blob, offers) });
        Ok(digest)
    }

    /// Drops a blob that the attempt made here, unless another one needs it.
    pub fn release(&self, blob: Digest) {
        if let Some(mut state) = self.state() {
            state.release(self.attempt, blob);
        }
    }

    /// A blob was offered for this attempt, which is launched now: it stays until the attempt has taken it in, whatever
    /// becomes of the session that had it sent.
    pub fn claim(&self, blob: Digest) {
        let Some(mut state) = self.state() else { return };
        state.change(blob, |stored| {
            stored.offers = stored.offers.saturating_sub(1);
            stored.takers.insert(self.attempt);
        });
    }

    /// A blob that was claimed: it is dropped once nothing else needs it. `None` if it did not get here.
    #[must_use]
    pub fn take_in(&self, blob: Digest) -> Option<Content> {
        let content = self.state()?.whole.get(&blob)?.blob.content.clone();
        self.disclaim(blob);
        Some(content)
    }

    /// A blob that was claimed is not needed after all, or was taken in.
    pub fn disclaim(&self, blob: Digest) {
        let Some(mut state) = self.state() else { return };
        state.change(blob, |stored| {
            stored.takers.remove(&self.attempt);
        });
    }

    /// What there is, unless the run has gone.
    fn state(&self) -> Option<MutexGuard<'_, State>> {
        Some(self.store.state()).filter(|state| state.stay == self.stay)
    }
}

#[cfg(test)]
impl BlobStore {
    const MAKER: AttemptId = AttemptId { task: TaskId(0), number: 1 };

    /// For the attempt of a test that has one.
    pub(super) fn shelf(self: &Arc<Self>) -> Shelf {
        self.shelf_of(Self::MAKER)
    }

    /// As if that attempt's blob were needed no longer.
    pub(super) fn let_go(&self, blob: Digest) {
        self.release(Self::MAKER, blob);
    }
}
