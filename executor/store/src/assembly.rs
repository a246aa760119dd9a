//! A blob that is still arriving: every block is checked before it is written, and written once.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use broadsweep_common::blob::{BLOCK_BYTES, Manifest};
use broadsweep_common::dataset::AlignedBytes;
use broadsweep_common::ids::Digest;
use bytes::Bytes;

use super::StoreError;
use super::part::PartFile;

/// Blocks that stay in memory after they were written: what comes is asked for by peers at once, and need not be read
/// again for that.
const FRESH_BLOCKS_MAX: usize = 8;

/// A blob that is still arriving.
pub(super) struct Assembly {
    pub(super) manifest: Manifest,
    /// How often it was offered: for so many attempts.
    pub(super) offers: u32,
    arrived: Vec<bool>,
    target: Target,
}

enum Target {
    /// Blocks as they arrive: memory is taken for what came, not for what a manifest claims.
    Memory(Vec<Bytes>),
    File(PartFile, Fresh),
}

/// The blocks that were written last, up to [`FRESH_BLOCKS_MAX`], the oldest first.
#[derive(Default)]
struct Fresh(VecDeque<(usize, Bytes)>);

/// A complete blob, before it is sealed.
pub(super) enum Assembled {
    Memory(AlignedBytes),
    File(PartFile),
}

/// Where the bytes of a block are that has arrived.
pub(super) enum BlockPlace {
    Memory(Bytes),
    File { file: Arc<File>, path: PathBuf, start: u64, bytes: usize },
}

impl Assembly {
    pub(super) fn in_memory(manifest: Manifest) -> Self {
        let target = Target::Memory(vec![Bytes::new(); manifest.blocks().len()]);
        Self { arrived: vec![false; manifest.blocks().len()], manifest, offers: 1, target }
    }

    /// Goes on with a file of the blob's length that we have locked: what is right in it has arrived.
    pub(super) async fn in_file(manifest: Manifest, part: PartFile) -> Self {
        let mut part = part;
        let arrived =
            if part.stays { right_blocks(&part.file, &manifest).await } else { vec![false; manifest.blocks().len()] };
        part.stays = arrived.contains(&true);
        Self { arrived, manifest, offers: 1, target: Target::File(part, Fresh::default()) }
    }

    /// Indices of the blocks that have not arrived.
    pub(super) fn missing(&self) -> Vec<u32> {
        let places = self.arrived.iter().enumerate();
        places.filter(|(_, arrived)| !**arrived).map(|(index, _)| index as u32).collect()
    }

    /// Checks and writes one block, whose digest is `got`. A block that is here already is not written again.
    pub(super) fn write(&mut self, index: u32, content: Bytes, got: Digest) -> Result<(), StoreError> {
        let index = index as usize;
        let Some(range) = self.manifest.range(index) else {
            return Err(StoreError::NoSuchBlock { index, blocks: self.arrived.len() });
        };
        let want = self.manifest.blocks()[index];
        if want != got {
            return Err(StoreError::Corrupt { index, want, got });
        }
        // A forged manifest may name bytes that do not fit where it puts them.
        let want = range.end - range.start;
        if content.len() as u64 != want {
            return Err(StoreError::Length { index, want, got: content.len() });
        }
        if self.arrived[index] {
            return Ok(());
        }
        match &mut self.target {
            // Copied: it may be a part of a larger buffer.
            Target::Memory(blocks) => blocks[index] = Bytes::copy_from_slice(&content),
            Target::File(part, fresh) => {
                let written = part.file.write_all_at(&content, range.start);
                written.map_err(|source| StoreError::File { path: part.path.clone(), source })?;
                part.stays = true;
                fresh.keep(index, content);
            }
        }
        self.arrived[index] = true;
        Ok(())
    }

    /// Where a block is, if it has arrived.
    pub(super) fn block(&self, index: u32) -> Option<BlockPlace> {
        let index = index as usize;
        let range = self.manifest.range(index).filter(|_| self.arrived[index])?;
        Some(match &self.target {
            Target::Memory(blocks) => BlockPlace::Memory(blocks[index].clone()),
            Target::File(part, fresh) => match fresh.block(index) {
                Some(block) => BlockPlace::Memory(block),
                None => BlockPlace::File {
                    file: Arc::clone(&part.file),
                    path: part.path.clone(),
                    start: range.start,
                    bytes: (range.end - range.start) as usize,
                },
            },
        })
    }

    pub(super) fn is_complete(&self) -> bool {
        self.arrived.iter().all(|arrived| *arrived)
    }

    /// Puts a complete blob together.
    pub(super) fn finish(self) -> Assembled {
        match self.target {
            Target::Memory(blocks) => {
                let mut bytes = AlignedBytes::zeroed(self.manifest.bytes() as usize);
                for (index, block) in blocks.into_iter().enumerate() {
                    if let Some(range) = self.manifest.range(index) {
                        bytes.as_mut()[range.start as usize..range.end as usize].copy_from_slice(&block);
                    }
                }
                Assembled::Memory(bytes)
            }
            Target::File(part, _) => Assembled::File(part),
        }
    }

    /// Gives an unfinished blob up, and its file's room back.
    pub(super) fn discard(mut self) {
        if let Target::File(part, _) = &mut self.target {
            part.stays = false;
        }
    }
}

impl Fresh {
    fn keep(&mut self, index: usize, block: Bytes) {
        if self.0.len() == FRESH_BLOCKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((index, block));
    }

    fn block(&self, index: usize) -> Option<Bytes> {
        self.0.iter().find(|(kept, _)| *kept == index).map(|(_, block)| block.clone())
    }
}

impl BlockPlace {
    /// The block's bytes. A file is read without the store's lock: its bytes do not change once they have arrived.
    pub(super) fn read(self) -> Result<Bytes, StoreError> {
        match self {
            Self::Memory(block) => Ok(block),
            Self::File { file, path, start, bytes } => {
                let mut block = vec![0; bytes];
                file.read_exact_at(&mut block, start).map_err(|source| StoreError::File { path, source })?;
                Ok(block.into())
            }
        }
    }
}

/// Which blocks of `file` are those of the manifest. Holes read as zeros; what the disk cannot read is wrong.
///
/// Reads and not a map: an unreadable sector is an error here, and would be a signal there. Others get their turn
/// after each block, so that a large file keeps no thread of the network from its connections.
async fn right_blocks(file: &File, manifest: &Manifest) -> Vec<bool> {
    let mut buffer = vec![0; BLOCK_BYTES.min(manifest.bytes() as usize)];
    let mut right = Vec::with_capacity(manifest.blocks().len());
    for (index, digest) in manifest.blocks().iter().enumerate() {
        let range = manifest.range(index).unwrap_or_default();
        let block = &mut buffer[..(range.end - range.start) as usize];
        right.push(file.read_exact_at(block, range.start).is_ok() && Digest::of(block) == *digest);
        tokio::task::yield_now().await;
    }
    right
}

/// Whether `file` is the blob of the manifest, to the last byte.
pub(super) async fn is_whole(file: &File, manifest: &Manifest) -> bool {
    let has_its_length = file.metadata().is_ok_and(|found| found.len() == manifest.bytes());
    has_its_length && right_blocks(file, manifest).await.iter().all(|right| *right)
}
