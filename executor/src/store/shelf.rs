//! The store as the attempts of one run see it, for as long as the run stays here.

use std::sync::{Arc, MutexGuard};

use broadsweep_common::blob::{Blob, Manifest};
use broadsweep_common::ids::Digest;

use super::{BlobStore, Content, Made, Medium, State, StoreError, Stored};

/// What one run has here. Its attempts may end an epoch after the run has gone: what they make then is nobody's, and
/// what they let go may be another run's.
#[derive(Clone)]
pub(crate) struct Shelf {
    store: Arc<BlobStore>,
    /// Which of the runs that were here it belongs to.
    stay: u64,
}

impl BlobStore {
    /// For an attempt of the run that is here now.
    pub(crate) fn shelf(self: &Arc<Self>) -> Shelf {
        Shelf { store: Arc::clone(self), stay: self.state().stay }
    }
}

impl Shelf {
    /// Keeps bytes that were made here, in memory until they are released. Checkpoints make room for a result.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`], [`StoreError::Manifest`] and [`StoreError::RunOver`].
    pub(crate) fn keep(&self, content: Vec<u8>, made: Made) -> Result<Digest, StoreError> {
        let manifest = Manifest::of(&content)?;
        let (digest, bytes) = (manifest.digest(), manifest.bytes());
        let mut state = self.state().ok_or(StoreError::RunOver)?;
        if let Some(known) = state.whole.get_mut(&digest) {
            known.made = known.made.max(Some(made));
            return Ok(digest);
        }
        let memory_bytes_max = self.store.memory_bytes_max;
        if made == Made::Result && bytes <= memory_bytes_max {
            state.drop_checkpoints_until(memory_bytes_max - bytes);
        }
        self.store.room_for(&state, bytes)?;
        let blob = Blob { manifest, content: Arc::new(content) as Content };
        state.whole.insert(digest, Stored { medium: Medium::Memory, made: Some(made), inputs: 0, blob });
        Ok(digest)
    }

    /// Drops a blob that was made here, unless it was offered for an attempt as well.
    pub(crate) fn release(&self, blob: Digest) {
        if let Some(mut state) = self.state() {
            state.release(blob);
        }
    }

    /// A whole blob that was offered for several attempts.
    pub(crate) fn get(&self, blob: Digest) -> Option<Content> {
        Some(self.state()?.whole.get(&blob)?.blob.content.clone())
    }

    /// A whole blob that was offered for one attempt: it is dropped once nothing else needs it.
    pub(crate) fn take_in(&self, blob: Digest) -> Option<Content> {
        let mut state = self.state()?;
        let content = state.whole.get(&blob)?.blob.content.clone();
        state.change(blob, |stored| stored.inputs = stored.inputs.saturating_sub(1));
        Some(content)
    }

    /// What there is, unless the run has gone.
    fn state(&self) -> Option<MutexGuard<'_, State>> {
        Some(self.store.state()).filter(|state| state.stay == self.stay)
    }
}
