//! Bytes on their way: a blob is cut into blocks, each named by its digest; the manifest lists them.
//!
//! Data sets, descriptions and weights all travel as blobs. A blob's name is the digest of its manifest, so equal
//! bytes have one name wherever they were made.

use std::ops::Range;
use std::sync::Arc;

use crate::ids::Digest;

/// Bytes of every block but the last: fixed, whatever the cluster's size, and far below gRPC's limit of 4 MiB.
pub const BLOCK_BYTES: usize = 1 << 20;
/// Blocks that one manifest may list: 96 GiB of data, and a manifest of 3 MiB, which fits one message.
pub const BLOCKS_MAX: usize = 96 << 10;
/// Blobs that may be on their way to one executor at the same time: it refuses more.
pub const ARRIVING_MAX: usize = 64;

/// The list of a blob's blocks. Cloning shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    bytes: u64,
    blocks: Arc<[Digest]>,
    /// The blob's name: it goes with every block, and hashing the list takes a tenth of what hashing a block does.
    digest: Digest,
}

/// A manifest that describes no blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than [`BLOCKS_MAX`] blocks hold.
    #[error("{bytes} bytes are more than one blob may have ({} GiB)", (BLOCKS_MAX * BLOCK_BYTES) >> 30)]
    TooLarge {
        /// What the blob has.
        bytes: u64,
    },
    /// The number of blocks does not follow from the number of bytes.
    #[error("{bytes} bytes make {want} blocks; the manifest lists {got}")]
    Count {
        /// What the manifest says of the blob's length.
        bytes: u64,
        /// Blocks that this length makes.
        want: u64,
        /// Blocks that the manifest lists.
        got: usize,
    },
}

impl Manifest {
    /// The manifest of `content`.
    ///
    /// # Errors
    /// [`ManifestError::TooLarge`].
    pub fn of(content: &[u8]) -> Result<Self, ManifestError> {
        let blocks = content.chunks(BLOCK_BYTES).map(Digest::of).collect();
        Self::checked(content.len() as u64, blocks)
    }

    /// A manifest that came from elsewhere.
    ///
    /// # Errors
    /// [`ManifestError`], if the length and the list do not fit.
    pub fn checked(bytes: u64, blocks: Vec<Digest>) -> Result<Self, ManifestError> {
        let want = bytes.div_ceil(BLOCK_BYTES as u64);
        if want > BLOCKS_MAX as u64 {
            return Err(ManifestError::TooLarge { bytes });
        }
        if want != blocks.len() as u64 {
            return Err(ManifestError::Count { bytes, want, got: blocks.len() });
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"broadsweep manifest v1").update(&bytes.to_le_bytes());
        for block in &blocks {
            hasher.update(&block.0);
        }
        Ok(Self { bytes, blocks: blocks.into(), digest: Digest(*hasher.finalize().as_bytes()) })
    }

    /// The blob's name.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Length of the blob.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of each block, in order.
    #[must_use]
    pub fn blocks(&self) -> &[Digest] {
        &self.blocks
    }

    /// Where block `index` lies in the blob; `None` if there is no such block.
    #[must_use]
    pub fn range(&self, index: usize) -> Option<Range<u64>> {
        if index >= self.blocks.len() {
            return None;
        }
        let start = (index * BLOCK_BYTES) as u64;
        Some(start..self.bytes.min(start + BLOCK_BYTES as u64))
    }
}

/// A blob whose bytes are in memory.
#[derive(Clone, Debug)]
pub struct Blob<B = Vec<u8>> {
    /// Its blocks.
    pub manifest: Manifest,
    /// Its bytes.
    pub content: B,
}

impl<B: AsRef<[u8]>> Blob<B> {
    /// Cuts `content` into blocks and names them.
    ///
    /// # Errors
    /// [`ManifestError::TooLarge`].
    pub fn new(content: B) -> Result<Self, ManifestError> {
        Ok(Self { manifest: Manifest::of(content.as_ref())?, content })
    }

    /// The bytes of block `index`; `None` if there is no such block.
    pub fn block(&self, index: usize) -> Option<&[u8]> {
        let range = self.manifest.range(index)?;
        self.content.as_ref().get(range.start as usize..range.end as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn blocks_put_together_are_the_blob(bytes in 0_usize..(3 * BLOCK_BYTES), fill in any::<u8>()) {
            let content: Vec<u8> = (0..bytes).map(|place| (place / 1000) as u8 ^ fill).collect();
            let blob = Blob::new(content.clone()).unwrap();
            let mut together = Vec::new();
            for index in 0..blob.manifest.blocks().len() {
                let block = blob.block(index).unwrap();
                prop_assert!(!block.is_empty() && block.len() <= BLOCK_BYTES);
                prop_assert_eq!(Digest::of(block), blob.manifest.blocks()[index]);
                together.extend_from_slice(block);
            }
            prop_assert_eq!(together, content);
            prop_assert_eq!(blob.block(blob.manifest.blocks().len()), None);
        }

        #[test]
        fn a_manifest_with_a_wrong_count_is_refused(bytes in any::<u64>(), count in 0_usize..8) {
            let checked = Manifest::checked(bytes, vec![Digest([0; 32]); count]);
            prop_assert_eq!(checked.is_ok(), bytes.div_ceil(BLOCK_BYTES as u64) == count as u64);
        }
    }

    #[test]
    fn the_name_depends_on_length_and_blocks() {
        let names = [&b""[..], b"a", b"b", b"aa"].map(|content| Manifest::of(content).unwrap().digest());
        let mut distinct = names.to_vec();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len());
    }
}
