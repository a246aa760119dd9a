//! What of a blob has come, and from where: for those who watch, and for the count.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broadsweep_common::ids::Digest;
use tokio::sync::broadcast::{Receiver, Sender};

/// Blocks that a watcher may lag behind before it has to look at the whole again.
const LAG_MAX: usize = 1024;
/// Blobs that are counted at the same time. A run asks for the count of one, its data set; a driver that offers more and
/// never asks takes no memory with it.
const COUNTED_MAX: usize = 64;

/// Tells of each block that comes.
pub(crate) struct Arrivals {
    watchers: Sender<Arrival>,
    sources: Mutex<HashMap<Digest, Sources>>,
}

/// What is told of a blob.
#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    /// This block of it is here now.
    Came(Digest, u32),
    /// No more of it can be kept.
    Failed(Digest, Arc<str>),
}

/// Bytes of a blob by where they came from, since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) peers: u64,
    pub(crate) cache: u64,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { watchers: Sender::new(LAG_MAX), sources: Mutex::default() }
    }
}

impl Arrivals {
    /// Tells all that arrives from now on.
    pub(crate) fn listen(&self) -> Receiver<Arrival> {
        self.watchers.subscribe()
    }

    /// A block is here; a peer gave this many bytes of it.
    pub(crate) fn came(&self, blob: Digest, index: u32, from_peers: u64) {
        self.count(blob, |sources| sources.peers += from_peers, from_peers);
        let _ = self.watchers.send(Arrival::Came(blob, index)); // nobody may be listening
    }

    /// No more of a blob can be kept, for a reason in words.
    pub(crate) fn failed(&self, blob: Digest, reason: &str) {
        let _ = self.watchers.send(Arrival::Failed(blob, reason.into())); // as above
    }

    /// So much of a blob was here when it was first offered.
    pub(crate) fn was_cached(&self, blob: Digest, bytes: u64) {
        self.count(blob, |sources| sources.cache += bytes, bytes);
    }

    fn count(&self, blob: Digest, add: impl FnOnce(&mut Sources), bytes: u64) {
        let mut sources = self.sources();
        let has_room = sources.len() < COUNTED_MAX || sources.contains_key(&blob);
        if bytes > 0 && has_room {
            add(sources.entry(blob).or_default());
        }
    }

    /// What was not told yet.
    pub(crate) fn take_sources(&self, blob: Digest) -> Sources {
        self.sources().remove(&blob).unwrap_or_default()
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<Digest, Sources>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asks_for_is_counted_for_a_bounded_number_of_blobs() {
        let (arrivals, data) = (Arrivals::default(), Digest::of(b"data"));
        for checkpoint in 0..1000_u32 {
            arrivals.was_cached(Digest::of(&checkpoint.to_le_bytes()), 0);
        }
        arrivals.was_cached(data, 5);
        assert_eq!(arrivals.sources().len(), 1, "of the others there is nothing to tell");
        for other in 0..1000_u32 {
            arrivals.came(Digest::of(&other.to_le_bytes()), 0, 1);
        }
        arrivals.came(data, 0, 7);
        assert_eq!(arrivals.sources().len(), COUNTED_MAX);
        assert_eq!(arrivals.take_sources(data), Sources { peers: 7, cache: 5 });
        assert_eq!(arrivals.take_sources(data), Sources::default());
    }
}
