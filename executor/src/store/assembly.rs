//! A blob that is still arriving: every block is checked before it is written, and written once.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use broadsweep_common::blob::Manifest;
use broadsweep_common::dataset::AlignedBytes;
use broadsweep_common::ids::Digest;

use super::StoreError;

/// A blob that is still arriving.
pub(super) struct Assembly {
    pub(super) manifest: Manifest,
    arrived: Vec<bool>,
    target: Target,
}

enum Target {
    /// Blocks as they arrive: memory is taken for what came, not for what a manifest claims.
    Memory(Vec<Vec<u8>>),
    /// A locked file under a temporary name: the lock says that its writer is alive.
    File { file: File, path: PathBuf },
}

/// What became of a complete blob.
pub(super) enum Assembled {
    Memory(AlignedBytes),
    File(PathBuf),
}

impl Assembly {
    pub(super) fn in_memory(manifest: Manifest) -> Self {
        let target = Target::Memory(vec![Vec::new(); manifest.blocks().len()]);
        Self { arrived: vec![false; manifest.blocks().len()], manifest, target }
    }

    /// Starts a file at `path`; `None` if another living process is writing it.
    pub(super) fn in_file(manifest: Manifest, path: &Path) -> Result<Option<Self>, StoreError> {
        let unusable = |source| StoreError::File { path: path.to_owned(), source };
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        // Between opening and locking, the last writer may have sealed the file under its final name.
        if !is_at(&file, path).map_err(unusable)? {
            return Ok(None);
        }
        file.set_len(0).map_err(unusable)?;
        file.set_len(manifest.bytes()).map_err(unusable)?;
        let target = Target::File { file, path: path.to_owned() };
        Ok(Some(Self { arrived: vec![false; manifest.blocks().len()], manifest, target }))
    }

    /// Indices of the blocks that have not arrived.
    pub(super) fn missing(&self) -> Vec<u32> {
        let places = self.arrived.iter().enumerate();
        places.filter(|(_, arrived)| !**arrived).map(|(index, _)| index as u32).collect()
    }

    /// Checks and writes one block. A block that is here already is not written again.
    pub(super) fn write(&mut self, index: u32, content: &[u8]) -> Result<(), StoreError> {
        let index = index as usize;
        let Some(range) = self.manifest.range(index) else {
            return Err(StoreError::NoSuchBlock { index, blocks: self.arrived.len() });
        };
        let (want, got) = (self.manifest.blocks()[index], Digest::of(content));
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
            Target::Memory(blocks) => blocks[index] = content.to_vec(),
            Target::File { file, path } => file
                .write_all_at(content, range.start)
                .map_err(|source| StoreError::File { path: path.clone(), source })?,
        }
        self.arrived[index] = true;
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.arrived.iter().all(|arrived| *arrived)
    }

    /// Seals a complete blob, under the name `sealed` if it is a file.
    ///
    /// No sync before the rename: a file that a power failure left with holes fails its check when it is next used.
    pub(super) fn seal(self, sealed: &Path) -> Result<Assembled, StoreError> {
        match self.target {
            Target::Memory(blocks) => {
                let mut bytes = AlignedBytes::zeroed(self.manifest.bytes() as usize);
                for (index, block) in blocks.into_iter().enumerate() {
                    if let Some(range) = self.manifest.range(index) {
                        bytes.as_mut()[range.start as usize..range.end as usize].copy_from_slice(&block);
                    }
                }
                Ok(Assembled::Memory(bytes))
            }
            Target::File { path, .. } => {
                fs::rename(&path, sealed).map_err(|source| StoreError::File { path: sealed.to_owned(), source })?;
                Ok(Assembled::File(sealed.to_owned()))
            }
        }
    }

    /// Gives an unfinished blob up, and its file's room back.
    pub(super) fn discard(self) {
        if let Target::File { path, .. } = self.target
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "an unfinished cache file could not be removed");
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
