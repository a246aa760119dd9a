//! Why a blob or block cannot be stored. What a person can mend says how.

use std::io;
use std::path::PathBuf;

use broadsweep_common::blob::{ARRIVING_MAX, ManifestError};
use broadsweep_common::encoding::Undecodable;
use broadsweep_common::ids::Digest;
use broadsweep_common::room;
use broadsweep_common::size::ByteSize;

/// Why a blob or block cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The cache folder or a file in it cannot be used: no permission, no folder, no room after all.
    #[error("the cache file {}: {source}{}", path.display(), advice(source))]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cache may not have as much, even if all goes that nobody uses.
    #[error(
        "{bytes} of data do not fit into its cache, which may have {bytes_max}{}; start the executor with a larger \
         --cache-bytes",
        other_use(*in_use)
    )]
    CacheFull {
        /// What has to fit.
        bytes: ByteSize,
        /// The limit.
        bytes_max: ByteSize,
        /// What is in use, and stays.
        in_use: ByteSize,
    },
    /// The disk has no room, even if all goes that nobody uses.
    #[error(
        "{bytes} of data do not fit on the disk of the cache folder {}, where {free} are free; free some space, or \
         name a folder on another disk with --cache-dir",
        path.display()
    )]
    DiskFull {
        /// The cache folder.
        path: PathBuf,
        /// What has to fit.
        bytes: ByteSize,
        /// What is free there, or can be made so.
        free: ByteSize,
    },
    /// A block of a blob that was not offered.
    #[error("blob {0} was not offered")]
    NotOffered(Digest),
    /// A block beyond the manifest's end.
    #[error("block {index} of a blob of {blocks} blocks")]
    NoSuchBlock {
        /// Counted from 0.
        index: usize,
        /// What the manifest lists.
        blocks: usize,
    },
    /// The bytes are not those of the manifest.
    #[error("block {index}: digest {got}, the manifest says {want}")]
    Corrupt {
        /// Counted from 0.
        index: usize,
        /// What the manifest says.
        want: Digest,
        /// What arrived.
        got: Digest,
    },
    /// The encoding of a block is damaged, or of something else.
    #[error("block {index}: {source}")]
    Encoding {
        /// Counted from 0.
        index: usize,
        /// What it does not decode to.
        source: Undecodable,
    },
    /// The bytes are those of the manifest, but not as many as its block has.
    #[error("block {index}: {got} bytes, its place has {want}")]
    Length {
        /// Counted from 0.
        index: usize,
        /// Bytes from the block's start to its end.
        want: u64,
        /// Bytes that arrived.
        got: usize,
    },
    /// Blobs in memory would take too much.
    #[error(
        "no memory for {bytes} more: descriptions, weights and checkpoints may take {bytes_max} here; start the \
         executor with fewer --slots, or where there is more memory"
    )]
    NoRoom {
        /// What was asked for.
        bytes: ByteSize,
        /// What blobs in memory may take together.
        bytes_max: ByteSize,
    },
    /// An attempt made it whose run has gone.
    #[error("the run that it was made for is over here")]
    RunOver,
    /// Too many blobs are arriving.
    #[error("more than {ARRIVING_MAX} blobs arriving at the same time")]
    TooMany,
    /// The blob is larger than any may be.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl StoreError {
    /// Whether there may be room in a moment: what is in use is let go when its run ends.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::CacheFull { bytes, bytes_max, .. } if bytes <= bytes_max)
    }

    /// Whether the disk is full: what is half written is better given up.
    pub(super) fn is_disk_full(&self) -> bool {
        match self {
            Self::DiskFull { .. } => true,
            Self::File { source, .. } => room::is_full(source),
            Self::CacheFull { .. }
            | Self::NotOffered(_)
            | Self::NoSuchBlock { .. }
            | Self::Corrupt { .. }
            | Self::Encoding { .. }
            | Self::Length { .. }
            | Self::NoRoom { .. }
            | Self::RunOver
            | Self::TooMany
            | Self::Manifest(_) => false,
        }
    }
}

/// What to do about an error of the system.
fn advice(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::FileTooLarge => return by_another_disk(error, ""),
        _ if room::is_full(error) => {
            return by_another_disk(error, " (`broadsweep cache clear` drops what nobody uses)");
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; let the executor's user write there, or name another folder with --cache-dir"
        }
        io::ErrorKind::OutOfMemory => {
            "; it cannot be mapped: raise the memory or address space that the executor may have"
        }
        _ => "",
    };
    advice.to_owned()
}

fn by_another_disk(error: &io::Error, how: &str) -> String {
    format!("; {}{how}, or name a folder on another disk with --cache-dir", room::advice(error))
}

fn other_use(in_use: ByteSize) -> String {
    if in_use.0 == 0 { String::new() } else { format!(", with {in_use} in use") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_can_mend_says_how() {
        let (path, size) = (PathBuf::from("/cache/blobs"), ByteSize);
        let file = |kind: io::ErrorKind| StoreError::File { path: path.clone(), source: kind.into() };
        let (bytes, bytes_max) = (size(3 << 20), size(2 << 20));
        for (error, fragments) in [
            (
                StoreError::CacheFull { bytes, bytes_max, in_use: size(0) },
                ["3.0 MiB", "have 2.0 MiB;", "--cache-bytes"],
            ),
            (
                StoreError::CacheFull { bytes, bytes_max, in_use: size(9) },
                ["3.0 MiB", "with 9 B in use", "--cache-bytes"],
            ),
            (
                StoreError::DiskFull { path: path.clone(), bytes, free: size(9) },
                ["3.0 MiB", "9 B are free", "--cache-dir"],
            ),
            (StoreError::NoRoom { bytes, bytes_max }, ["3.0 MiB more", "2.0 MiB here", "fewer --slots"]),
            (file(io::ErrorKind::StorageFull), ["/cache/blobs", "free some space", "--cache-dir"]),
            (file(io::ErrorKind::FileTooLarge), ["/cache/blobs", "(ulimit -f), or use", "this size, or name"]),
            (file(io::ErrorKind::PermissionDenied), ["/cache/blobs", "permission denied; let", "--cache-dir"]),
            (file(io::ErrorKind::OutOfMemory), ["/cache/blobs", "out of memory; it", "address space"]),
        ] {
            for fragment in fragments {
                assert!(error.to_string().contains(fragment), "{fragment}: {error}");
            }
        }
    }
}
