//! The folder of a run: made or refused, locked, and written so that no half-written file ever stands in it. What comes
//! into its `best/`, the module `best` says.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use broadsweep_common::room;
use rustix::fs::{AtFlags, CWD, OFlags, linkat};

use super::calendar::compact_utc;
use super::columns::trials_parquet;
use super::rows::{attempts_csv, epochs_csv, trials_csv};
use super::summary::summary_json;
use crate::records::run::RunRecord;

/// Which training rows were held out.
pub const HELD_OUT: &str = "held_out.csv";
/// Held while a run lives. Whoever takes it looks whether it still has this name: one that is removed holds nothing.
const LOCK: &str = "lock";
/// Who may do what with a file, before the user's mask: as all programs make them ...
const FOR_ALL: u32 = 0o666;
/// ... and what holds a secret.
const FOR_OWNER: u32 = 0o600;
/// How often a lock is tried that others only look at: far more often than there are any at once.
const LOOKS_MAX: u32 = 10_000;
/// Folders of one study that may begin in the same second.
const SAME_SECOND_MAX: u32 = 1000;

/// A folder that this process alone writes, until it is dropped. Dropped before anything began in it, it is as it was
/// before: also not there, if it was not.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The folders that were made for it, itself included, the outermost first.
    made: Vec<PathBuf>,
    has_begun: bool,
    /// The system releases it when the process ends, however it ends.
    _lock: File,
}

/// Why a run has no folder, or a file is not in it. Whether another folder can be named, the command knows.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something in it.
    #[error("the folder {} is not empty, and a run needs a folder of its own", .0.display())]
    NotEmpty(PathBuf),
    /// A file stands where a folder is needed.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// Nothing was begun there that could go on.
    #[error("{} is no folder of a run: it has no journal; name one that `broadsweep tune` wrote", .0.display())]
    NoRun(PathBuf),
    /// Another process writes there.
    #[error("the folder {} belongs to a run that is still going: wait for its end, or name another one", .0.display())]
    Locked(PathBuf),
    /// All names of this second are taken.
    #[error("{} and its {SAME_SECOND_MAX} variants exist already", .0.display())]
    NoNameLeft(PathBuf),
    /// No room.
    #[error("cannot write {}: {source}; {}", path.display(), room::advice(source))]
    Full {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not allowed.
    #[error("cannot write {}: {source}; see to it that you may", path.display())]
    Denied {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot write {}: {source}", path.display())]
    Failed {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FolderError {
    /// Whether the disk has no room: then no argument was wrong.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Sorts what the system said by what the user can do.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            _ if room::is_full(&source) => Self::Full { path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied { path, source },
            io::ErrorKind::NotADirectory => Self::NotAFolder(path),
            _ => Self::Failed { path, source },
        }
    }
}

impl RunFolder {
    /// Makes and locks the folder of a run: `out` itself, which must be missing or empty, or else a new folder
    /// `<study>-<UTC time>` under `runs`.
    ///
    /// # Errors
    /// [`FolderError`]; then a folder that was there is as it was.
    pub fn create(out: Option<&Path>, runs: &Path, study_name: &str, now: SystemTime) -> Result<Self, FolderError> {
        let (path, made) = match out {
            Some(out) => (out.to_owned(), make_folder(out)?),
            None => new_folder(runs, &format!("{study_name}-{}", compact_utc(now)))?,
        };
        let lock = refuse_content(&path).and_then(|()| take_lock(&path)).inspect_err(|_| remove_empty(&made))?;
        let folder = Self { path, made, has_begun: false, _lock: lock };
        // Again: another run may have come and gone between the first look and the lock.
        if let Err(error) = refuse_content(&folder.path) {
            return Err(folder.left_to_others(error));
        }
        Ok(folder)
    }

    /// What is in the folder belongs to others, and stays.
    fn left_to_others(mut self, error: FolderError) -> FolderError {
        self.has_begun = true;
        error
    }

    /// Locks the folder of a run that was begun.
    ///
    /// # Errors
    /// [`FolderError`]; then the folder is as it was.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        Self::open_with(path, "journal")
    }

    /// The same of any folder that has such a file: a comparison of runs has another one.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, file: &str) -> Result<Self, FolderError> {
        if !path.join(file).is_file() {
            return Err(FolderError::NoRun(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), made: Vec::new(), has_begun: true, _lock: take_lock(path)? })
    }

    /// From now on there is something that can go on: it stays when the folder is dropped.
    pub fn begin(&mut self) {
        self.has_begun = true;
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `study.toml`: the study as it was read.
    ///
    /// # Errors
    /// [`FolderError`]; then no such file stands in the folder, or the one that stood there before.
    pub fn write_study(&self, text: &str) -> Result<(), FolderError> {
        write_whole(&self.path.join("study.toml"), text.as_bytes())
    }

    /// Writes any file of the folder, whole or not at all.
    ///
    /// # Errors
    /// As [`Self::write_study`].
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        write_whole(&self.path.join(name), bytes)
    }

    /// Takes away what was written so far, since nothing of the run began: also the folders that were made for it, if
    /// they are empty then.
    ///
    /// # Errors
    /// [`FolderError`], if a file cannot be removed.
    pub fn withdraw(&self) -> Result<(), FolderError> {
        for name in ["study.toml", "executors.json", "series.json", HELD_OUT, "cut", "journal"] {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FolderError::from_io(&path, error));
                }
                _ => {}
            }
        }
        // What cannot be removed stays: an empty folder is in nobody's way.
        let _ = fs::remove_file(self.path.join(LOCK));
        remove_empty(&self.made);
        Ok(())
    }

    /// Writes `trials.csv`, `epochs.csv`, `attempts.csv`, `trials.parquet` and, last, `summary.json`: where it stands, the
    /// others do. Returns the summary, with a newline at its end.
    ///
    /// # Errors
    /// As [`Self::write_study`].
    pub fn write_results(&self, run: &RunRecord) -> Result<String, FolderError> {
        let write = |name: &str, table: io::Result<Vec<u8>>| {
            let path = self.path.join(name);
            write_whole(&path, &table.map_err(|source| FolderError::from_io(&path, source))?)
        };
        // Of a million trials each takes a second: half of them are made beside the others.
        let (summary, columns) = thread::scope(|scope| {
            let beside = scope.spawn(|| {
                let columns = write("trials.parquet", trials_parquet(run).map_err(io::Error::other));
                (summary_json(run) + "\n", columns)
            });
            write("trials.csv", trials_csv(run))?;
            write("epochs.csv", epochs_csv(run))?;
            write("attempts.csv", attempts_csv(run))?;
            Ok(beside.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })?;
        columns?;
        write_whole(&self.path.join("summary.json"), summary.as_bytes())?;
        Ok(summary)
    }

    /// Writes `report.html`.
    ///
    /// # Errors
    /// As [`Self::write_study`].
    pub fn write_report(&self, page: &str) -> Result<(), FolderError> {
        write_whole(&self.path.join("report.html"), page.as_bytes())
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if !self.has_begun
            && let Err(error) = self.withdraw()
        {
            tracing::warn!(%error, "what was written of a run that did not begin could not be removed");
        }
    }
}

/// A folder at `path`, with all folders above it; one that is there already will do. Returns those that were made, the
/// outermost first.
///
/// # Errors
/// [`FolderError`]; then none of them is there.
pub fn make_folder(path: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && fs::symlink_metadata(folder).is_err();
    let mut missing: Vec<_> = path.ancestors().take_while(is_missing).map(Path::to_owned).collect();
    missing.reverse();
    match fs::create_dir_all(path) {
        Ok(()) => Ok(missing),
        Err(error) => {
            remove_empty(&missing);
            let is_a_file = error.kind() == io::ErrorKind::AlreadyExists;
            Err(if is_a_file { FolderError::NotAFolder(path.to_owned()) } else { FolderError::from_io(path, error) })
        }
    }
}

/// Removes the folders that are empty, the last one first. What others have written into meanwhile stays.
pub(crate) fn remove_empty(folders: &[PathBuf]) {
    for folder in folders.iter().rev() {
        let _ = fs::remove_dir(folder); // one that was not made is not there
    }
}

/// A folder `runs/<name>` that was not there before; a number follows the name where that is taken. And all folders that
/// were made.
fn new_folder(runs: &Path, name: &str) -> Result<(PathBuf, Vec<PathBuf>), FolderError> {
    let mut made = make_folder(runs)?;
    let first = runs.join(name);
    for number in 1..=SAME_SECOND_MAX {
        let path = if number == 1 { first.clone() } else { runs.join(format!("{name}-{number}")) };
        match fs::create_dir(&path) {
            Ok(()) => {
                made.push(path.clone());
                return Ok((path, made));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                remove_empty(&made);
                return Err(FolderError::from_io(&path, error));
            }
        }
    }
    Err(FolderError::NoNameLeft(first))
}

/// A lock file alone is no content: it is what a run leaves that ended before it wrote anything.
fn refuse_content(folder: &Path) -> Result<(), FolderError> {
    let failed = |error| FolderError::from_io(folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        if entry.map_err(failed)?.file_name() != LOCK {
            return Err(FolderError::NotEmpty(folder.to_owned()));
        }
    }
    Ok(())
}

fn take_lock(folder: &Path) -> Result<File, FolderError> {
    let path = folder.join(LOCK);
    let failed = |error| FolderError::from_io(&path, error);
    for _ in 0..LOOKS_MAX {
        let lock = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) if has_name(&lock, &path) => return Ok(lock),
            Ok(()) => continue, // a run that did not begin has just removed it
            Err(TryLockError::WouldBlock) => {}
            // Some cluster file systems know no locks (Lustre without `-o flock`): better a run without one than none.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // A run shares it with nobody. Those who do share it only look, and are gone in a moment.
        if lock.try_lock_shared().is_err() {
            break;
        }
        lock.unlock().map_err(failed)?;
        thread::yield_now();
    }
    Err(FolderError::Locked(folder.to_owned()))
}

/// Whether the file at `path` is still this one.
fn has_name(file: &File, path: &Path) -> bool {
    let same = |named: &Metadata, held: &Metadata| (named.dev(), named.ino()) == (held.dev(), held.ino());
    fs::metadata(path).is_ok_and(|named| file.metadata().is_ok_and(|held| same(&named, &held)))
}

/// Whether a run lives in this folder. Where that cannot be told, none does.
#[must_use]
pub fn is_held(folder: &Path) -> bool {
    let Ok(lock) = File::open(folder.join(LOCK)) else { return false };
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Writes a file whole or not at all: to a temporary name beside it, synced, then renamed. After a crash of the machine
/// the file has all of its bytes, or its former ones.
///
/// # Errors
/// [`FolderError`]; then no such file stands there, or the one that stood there before.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    write_whole_with(path, FOR_ALL, |file| file.write_all(bytes))
}

/// [`write_whole`], for bytes that are made while they are written. That may take long, and whoever ends the process
/// meanwhile leaves nothing behind, where the file system knows files without a name.
///
/// # Errors
/// As there.
pub fn write_whole_by(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), FolderError> {
    let write = |file: &mut File| {
        let mut buffered = BufWriter::new(file.try_clone()?);
        write(&mut buffered)?;
        buffered.flush()
    };
    let Some(mut unnamed) = unnamed(parent_of(path)) else { return write_whole_with(path, FOR_ALL, write) };
    put_whole(path, |partial| {
        write(&mut unnamed)?;
        unnamed.sync_all()?;
        match name(&unnamed, partial) {
            // Of a process that was ended when files had names from the beginning.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(partial)?;
                name(&unnamed, partial)
            }
            named => named,
        }
    })
}

/// A new file in a folder, which goes with its last user unless it is given a name; `None` where there are none.
fn unnamed(folder: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE.bits() as i32;
    let file = File::options().write(true).mode(FOR_ALL).custom_flags(flags).open(folder).ok()?;
    Path::new(&by_descriptor(&file)).exists().then_some(file)
}

/// Gives a file without a name one that is not taken.
fn name(file: &File, path: &Path) -> io::Result<()> {
    Ok(linkat(CWD, by_descriptor(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

fn by_descriptor(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The folder in which a file is.
pub(crate) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// [`write_whole`], but nobody else can read the file.
///
/// # Errors
/// As there.
pub fn write_whole_for_owner(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    write_whole_with(path, FOR_OWNER, |file| file.write_all(bytes))
}

fn write_whole_with(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), FolderError> {
    put_whole(path, |partial| write_synced(partial, mode, write))
}

/// Puts a file into its place that `make` makes, synced, under a temporary name beside it.
fn put_whole(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), FolderError> {
    let folder = parent_of(path);
    let failed = |error: io::Error| {
        let is_folder_none = error.kind() == io::ErrorKind::NotADirectory;
        FolderError::from_io(if is_folder_none { folder } else { path }, error)
    };
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::IsADirectory.into()))?;
    let partial = folder.join(format!(".{}.partial", name.display()));
    let written =
        make(&partial).and_then(|()| fs::rename(&partial, path)).and_then(|()| File::open(folder)?.sync_all());
    written.map_err(|error| {
        // Best effort: what matters to the caller is why the write failed.
        let _ = fs::remove_file(&partial);
        failed(error)
    })
}

fn write_synced(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(path)?;
    write(&mut file)?;
    file.sync_all()
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
