//! What every executor of a run gets once, and what it took to get it there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broadsweep_common::blob::Blob;
use bytes::Bytes;

use super::KernelChoice;

/// What every executor of a run gets once.
#[derive(Debug)]
pub struct Payload {
    /// The run that holds the executors.
    pub run: String,
    /// Which driver of the run this is, counted from 1: executors believe the newest.
    pub generation: u64,
    /// Ends the hold of another run.
    pub take_over: bool,
    /// The data set.
    pub data: Blob<Bytes>,
    /// The encoded description of the study.
    pub study: Blob<Bytes>,
    /// The kernel that all of them train with.
    pub kernel: KernelChoice,
    /// What it took to get data and description there.
    pub traffic: Arc<Traffic>,
}

/// Block bytes by where executors had them from.
#[derive(Debug, Default)]
pub struct Traffic {
    /// What this driver put on the wire, for data and description: encoded, where that pays.
    pub sent: AtomicU64,
    /// The same blocks before they were encoded.
    pub sent_raw: AtomicU64,
    /// Blocks of the data that have come to executors, from wherever.
    pub arrived: AtomicU64,
    /// What executors say that they fetched from each other, as it was on the wire.
    pub from_peers: AtomicU64,
    /// What they say that they had, as it is in their caches.
    pub from_cache: AtomicU64,
}

impl Payload {
    /// Bytes of one copy of the data set.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data.manifest.bytes()
    }
}

impl Traffic {
    /// One of its counts.
    #[must_use]
    pub fn read(count: &AtomicU64) -> u64 {
        count.load(Ordering::Relaxed)
    }

    /// What one copy of `raw_bytes` takes on the wire: as the blocks that were sent took it. If none was, nobody knows,
    /// and it is what it is without an encoding.
    #[must_use]
    pub fn encoded(&self, raw_bytes: u64) -> u64 {
        let (sent, sent_raw) = (Self::read(&self.sent), Self::read(&self.sent_raw));
        let encoded = u128::from(raw_bytes) * u128::from(sent) / u128::from(sent_raw.max(1));
        if sent_raw == 0 { raw_bytes } else { u64::try_from(encoded).unwrap_or(raw_bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_on_the_wire_what_the_blocks_took_that_were_sent() {
        for (sent, sent_raw, raw_bytes, wanted) in [
            (0, 0, 100, 100), // nobody knows
            (50, 200, 100, 25),
            (200, 200, 100, 100),
            (1, 3, 2, 0),
            (1 << 40, 1 << 40, u64::MAX, u64::MAX),
            (0, 200, 100, 0),
        ] {
            let traffic =
                Traffic { sent: AtomicU64::new(sent), sent_raw: AtomicU64::new(sent_raw), ..Traffic::default() };
            assert_eq!(traffic.encoded(raw_bytes), wanted, "{sent} for {sent_raw}");
            assert_eq!(Traffic::read(&traffic.sent), sent);
        }
    }

    #[test]
    fn the_bytes_of_a_copy_are_those_of_the_data() {
        let blob = |content: &'static [u8]| Blob::new(Bytes::from_static(content)).unwrap();
        let payload = Payload {
            run: "run".to_owned(),
            generation: 1,
            take_over: false,
            data: blob(b"data"),
            study: blob(b"the study"),
            kernel: KernelChoice::fixed("portable"),
            traffic: Arc::default(),
        };
        assert_eq!(payload.data_bytes(), 4);
    }
}
