//! The cache folder: which entries it has, who uses them, and which go when there is no room. It knows no blocks.
//!
//! Several executors may share a folder. Whoever uses an entry holds a lock on its file, which dies with the process: a
//! shared one while a sealed file is mapped, an exclusive one while a `.part` file is written. Entries come, are taken
//! into use, change their names and go under the folder's own lock only; it is held for moments, and never across an
//! `await`. So what is found unused under that lock stays so until it has gone.
//!
//! People remove cache folders, and systems clean theirs up. An executor that stands makes its folder again; a file that
//! it has open serves on without a name, and what has taken its name is not ours.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use broadsweep_common::size::ByteSize;

use super::map::{SealedMap, mark_used};
use super::part::{PartFile, is_at, reserve};
use super::{Content, StoreError};

/// What a cache has at most unless it is told otherwise.
pub const CACHE_BYTES_MAX: u64 = 64 << 30;
/// Bytes of the units in which the system counts what a file takes.
const SECTOR_BYTES: u64 = 512;
/// What a file that is being written is called beyond the name of its blob.
const PART: &str = ".part";
/// The file with the folder's lock; it says the limit that an executor was last started with.
const LOCK: &str = "lock";

/// The cache folder of one or more executors.
#[derive(Clone, Debug)]
pub struct CacheFolder {
    blobs: PathBuf,
    bytes_max: u64,
}

/// One file of a cache folder.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name of its blob: 64 hexadecimal digits.
    pub blob: String,
    /// What it takes, or will take once it is written.
    pub bytes: u64,
    /// When it was last taken into use or let go.
    pub last_used: SystemTime,
    /// Whether a living process has it open.
    pub is_in_use: bool,
    /// Whether blocks of it are missing.
    pub is_half_written: bool,
    /// What it takes of the disk now.
    disk_bytes: u64,
    path: PathBuf,
}

/// What [`CacheFolder::clear`] did.
#[derive(Debug, Default)]
pub struct Cleared {
    /// Entries that are gone.
    pub gone: Vec<Entry>,
    /// Entries that stay: they are in use.
    pub kept: Vec<Entry>,
}

/// What becomes of a file that is to be written.
pub(super) enum Begun {
    /// Ours to write.
    Ours(PartFile),
    /// Another process writes it.
    Busy,
    /// Another process has just sealed it.
    Sealed,
}

impl CacheFolder {
    /// The cache in `folder`, which is made if it is missing. Without a limit it may have half of what it has and
    /// what is free on its disk, and [`CACHE_BYTES_MAX`] at most. If it has more than it may, what was not used for
    /// longest goes.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn open(folder: &Path, bytes_max: Option<u64>) -> Result<Self, StoreError> {
        let blobs = folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(|source| StoreError::File { path: blobs.clone(), source })?;
        let mut cache = Self { blobs, bytes_max: 0 };
        let mut lock = cache.lock()?;
        let entries = cache.scan()?;
        cache.bytes_max = match bytes_max {
            Some(bytes_max) => bytes_max,
            None => cache.default_bytes_max(&entries)?,
        };
        cache.note_limit(&mut lock);
        let _ = cache.evict(&entries, 0, 0); // what is in use may be more than the limit, and stays
        Ok(cache)
    }

    /// The cache in `folder` as executors left it, with the limit of the last one; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn find(folder: &Path) -> Result<Option<Self>, StoreError> {
        let mut cache = Self { blobs: folder.join("blobs"), bytes_max: 0 };
        if !cache.blobs.is_dir() {
            return Ok(None);
        }
        let mut lock = cache.lock()?;
        let mut noted = String::new();
        let noted = lock.read_to_string(&mut noted).ok().and_then(|_| noted.trim().parse().ok());
        cache.bytes_max = match noted {
            Some(bytes_max) => bytes_max,
            None => cache.default_bytes_max(&cache.scan()?)?,
        };
        Ok(Some(cache))
    }

    /// What the cache may have.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// All entries, the last used first.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let _lock = self.lock()?;
        let mut entries = self.scan()?;
        entries.sort_by(|one, other| other.last_used.cmp(&one.last_used).then_with(|| one.path.cmp(&other.path)));
        Ok(entries)
    }

    /// Removes every entry that nobody uses.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn clear(&self) -> Result<Cleared, StoreError> {
        let _lock = self.lock()?;
        let mut cleared = Cleared::default();
        for entry in self.scan()? {
            if entry.is_in_use {
                cleared.kept.push(entry);
            } else {
                fs::remove_file(&entry.path)
                    .map_err(|source| StoreError::File { path: entry.path.clone(), source })?;
                cleared.gone.push(entry);
            }
        }
        Ok(cleared)
    }

    /// Takes a sealed file into use; `None` if there is none.
    pub(super) fn take(&self, blob: &str) -> Result<Option<Arc<File>>, StoreError> {
        let _lock = self.lock_to_use()?;
        let path = self.sealed(blob);
        let taken = File::open(&path).and_then(|file| {
            file.try_lock_shared()?;
            Ok(file)
        });
        match taken {
            Ok(file) => {
                mark_used(&file);
                Ok(Some(Arc::new(file)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::File { path, source }),
        }
    }

    /// Removes a sealed file whose content is wrong, unless another one has taken its place.
    pub(super) fn drop_damaged(&self, blob: &str, damaged: &File) -> Result<(), StoreError> {
        let _lock = self.lock_to_use()?;
        let path = self.sealed(blob);
        tracing::warn!(path = %path.display(), "a damaged cache file is dropped and fetched again");
        let removed = match is_at(damaged, &path) {
            Ok(true) => fs::remove_file(&path),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(|source| StoreError::File { path, source })
    }

    /// Begins to write a blob of so many bytes, or goes on with what a writer that is gone has left. Before that, what
    /// was not used for longest goes until the blob fits; if it cannot fit, nothing does.
    pub(super) fn begin(&self, blob: &str, bytes: u64) -> Result<Begun, StoreError> {
        let _lock = self.lock_to_use()?;
        if self.sealed(blob).exists() {
            return Ok(Begun::Sealed);
        }
        Ok(self.part(blob, bytes)?.map_or(Begun::Busy, Begun::Ours))
    }

    /// Begins to write so many bytes whose blob is not known yet; `None` if somebody has taken `name` for that.
    pub(super) fn begin_unnamed(&self, name: &str, bytes: u64) -> Result<Option<PartFile>, StoreError> {
        let _lock = self.lock_to_use()?;
        self.part(name, bytes)
    }

    /// The file under a temporary name, with room for all of it; `None` if another process writes it. The folder is
    /// locked.
    fn part(&self, blob: &str, bytes: u64) -> Result<Option<PartFile>, StoreError> {
        let path = self.blobs.join(format!("{blob}{PART}"));
        let unusable = |source| StoreError::File { path: path.clone(), source };
        let options = File::options().read(true).write(true).create(true).truncate(false).clone();
        let file = options.open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let found = file.metadata().map_err(unusable)?;
        let part = PartFile::new(file, path.clone(), found.len() > 0);
        let mut others = self.scan()?;
        others.retain(|entry| entry.path != path);
        self.evict(&others, bytes, bytes.saturating_sub(found.blocks() * SECTOR_BYTES))?;
        part.file.set_len(bytes).map_err(unusable)?;
        reserve(&part.file, bytes).map_err(unusable)?;
        mark_used(&part.file);
        Ok(Some(part))
    }

    /// Gives a file that is whole its lasting name, unless somebody removed it. It stays in use.
    ///
    /// No sync before the rename: a file that a power failure left with holes fails its check when it is next used,
    /// and waiting for the disk would cost every broadcast what only that one saves.
    pub(super) fn seal(&self, blob: &str, part: PartFile) -> Result<Content, StoreError> {
        let _lock = self.lock_to_use()?;
        let path = self.sealed(blob);
        let unusable = |source| StoreError::File { path: path.clone(), source };
        if is_at(&part.file, &part.path).map_err(unusable)? {
            fs::rename(&part.path, &path).map_err(unusable)?;
        } else {
            tracing::warn!(path = %part.path.display(), "the file was removed while it was written: no later run has it");
        }
        let file = part.sealed();
        // On Linux this makes the exclusive lock a shared one, not at once but under the folder's lock.
        file.try_lock_shared().map_err(|error| unusable(error.into()))?;
        self.map(blob, file)
    }

    /// Maps a sealed file that is in use.
    pub(super) fn map(&self, blob: &str, file: Arc<File>) -> Result<Content, StoreError> {
        let map = SealedMap::of(file).map_err(|source| StoreError::File { path: self.sealed(blob), source })?;
        Ok(Arc::new(map))
    }

    /// Makes room for `bytes`, of which `new_bytes` the disk does not have yet.
    fn evict(&self, entries: &[Entry], bytes: u64, new_bytes: u64) -> Result<(), StoreError> {
        let sum = |entries: &[&Entry], of: fn(&Entry) -> u64| entries.iter().map(|entry| of(entry)).sum::<u64>();
        let (in_use, mut idle): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.is_in_use);
        let promised = sum(&in_use, |entry| entry.bytes.saturating_sub(entry.disk_bytes));
        let mut free = self.free_bytes()?.saturating_sub(promised);
        let mut used = sum(&in_use, |entry| entry.bytes);
        let cache_full = |in_use| {
            let [bytes, bytes_max, in_use] = [bytes, self.bytes_max, in_use].map(ByteSize);
            StoreError::CacheFull { bytes, bytes_max, in_use }
        };
        let disk_full = |free| StoreError::DiskFull {
            path: self.blobs.clone(),
            bytes: ByteSize(new_bytes),
            free: ByteSize(free),
        };
        if used.saturating_add(bytes) > self.bytes_max {
            return Err(cache_full(used));
        }
        let can_be_free = free.saturating_add(sum(&idle, |entry| entry.disk_bytes));
        if can_be_free < new_bytes {
            return Err(disk_full(can_be_free));
        }
        used += sum(&idle, |entry| entry.bytes);
        idle.sort_by_key(|entry| (!entry.is_half_written, entry.last_used));
        for entry in idle {
            if used.saturating_add(bytes) <= self.bytes_max && free >= new_bytes {
                break;
            }
            if let Err(error) = fs::remove_file(&entry.path) {
                tracing::warn!(path = %entry.path.display(), %error, "a cache file that nobody uses stays");
                continue;
            }
            tracing::info!(path = %entry.path.display(), bytes = entry.bytes, "dropped from the cache to make room");
            used -= entry.bytes;
            free = free.saturating_add(entry.disk_bytes);
        }
        match () {
            () if used.saturating_add(bytes) > self.bytes_max => Err(cache_full(used)),
            () if free < new_bytes => Err(disk_full(free)),
            () => Ok(()),
        }
    }

    /// Every file of a blob. What else lies in the folder is left alone.
    fn scan(&self) -> Result<Vec<Entry>, StoreError> {
        let unusable = |source| StoreError::File { path: self.blobs.clone(), source };
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.blobs).map_err(unusable)? {
            let path = file.map_err(unusable)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let blob = name.strip_suffix(PART).unwrap_or(name).to_owned();
            if blob.len() != 64 || !blob.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                continue;
            }
            let is_half_written = name.ends_with(PART);
            match look_at(path.clone(), blob, is_half_written) {
                Ok(entry) => entries.push(entry),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // a writer has just given it up
                Err(source) => return Err(StoreError::File { path, source }),
            }
        }
        Ok(entries)
    }

    fn default_bytes_max(&self, entries: &[Entry]) -> Result<u64, StoreError> {
        let held: u64 = entries.iter().map(|entry| entry.disk_bytes).sum();
        Ok((self.free_bytes()?.saturating_add(held) / 2).min(CACHE_BYTES_MAX))
    }

    /// What this user may still write on the folder's disk.
    fn free_bytes(&self) -> Result<u64, StoreError> {
        let disk = rustix::fs::statvfs(&self.blobs);
        let disk = disk.map_err(|error| StoreError::File { path: self.blobs.clone(), source: error.into() })?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn sealed(&self, blob: &str) -> PathBuf {
        self.blobs.join(blob)
    }

    /// The folder's lock for an executor, until the file is dropped. A folder that was removed under it is made again.
    fn lock_to_use(&self) -> Result<File, StoreError> {
        let mut lock = match self.lock() {
            Err(StoreError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(folder = %self.blobs.display(), "the cache folder was removed; it is made again");
                fs::create_dir_all(&self.blobs)
                    .map_err(|source| StoreError::File { path: self.blobs.clone(), source })?;
                self.lock()?
            }
            other => other?,
        };
        if lock.metadata().is_ok_and(|found| found.len() == 0) {
            self.note_limit(&mut lock);
        }
        Ok(lock)
    }

    /// The folder's lock, until the file is dropped.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.blobs.join(LOCK);
        let unusable = |source| StoreError::File { path: path.clone(), source };
        let options = File::options().read(true).write(true).create(true).truncate(false).clone();
        loop {
            let file = options.open(&path).map_err(unusable)?;
            file.lock().map_err(unusable)?;
            // One that was removed while we waited for it keeps nobody out.
            if is_at(&file, &path).map_err(unusable)? {
                return Ok(file);
            }
        }
    }

    /// Writes the limit down, for `cache list`.
    fn note_limit(&self, lock: &mut File) {
        let noted = lock.set_len(0).and_then(|()| lock.write_all(self.bytes_max.to_string().as_bytes()));
        if let Err(error) = noted {
            tracing::debug!(%error, "the limit of the cache could not be noted for `cache list`");
        }
    }
}

/// One file as it is; whoever has it in use has it locked.
fn look_at(path: PathBuf, blob: String, is_half_written: bool) -> io::Result<Entry> {
    let found = fs::metadata(&path)?;
    // Opened for writing, since an exclusive lock on a network's file system wants that.
    let probe = File::options().read(true).write(true).open(&path);
    // A file that cannot be looked at is not ours to remove.
    let is_in_use = !probe.is_ok_and(|file| file.try_lock().is_ok());
    let disk_bytes = found.blocks() * SECTOR_BYTES;
    let bytes = if is_half_written && !is_in_use { found.len().min(disk_bytes) } else { found.len() };
    let last_used = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(Entry { blob, bytes, last_used, is_in_use, is_half_written, disk_bytes, path })
}
