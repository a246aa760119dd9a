//! Folders of programs in the cache folder: the study's files and data, once a node, and one for each attempt. Each has a
//! lock beside it, which whoever uses it shares; what nobody uses any more goes. What is in a slot's folder goes with it, and
//! needs no lock of its own.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// What a lock's name ends with.
const LOCK: &str = "lock";
/// What the name of a folder that is being filled ends with.
const PARTIAL: &str = "partial";
/// Its owner may do all with a folder, and nobody else anything: programs put secrets there.
const PRIVATE: u32 = 0o700;
/// The wait before a folder is looked at again whose lock somebody else has for a moment.
const RETRY: Duration = Duration::from_millis(1);
/// Looks at a folder that is not there, and whose lock somebody keeps: a program may have removed it.
const RETRIES_MAX: u32 = 5000;

/// A folder that stays while somebody uses it.
#[derive(Debug)]
pub(super) struct UsedFolder {
    path: PathBuf,
    lock: File,
}

impl UsedFolder {
    /// A new folder of this name in `base`, for its user alone.
    pub(super) fn new(base: &Path, name: &str) -> io::Result<Self> {
        Self::filled(base, name, |_| Ok(()))
    }

    /// The folder of this name in `base`. Whoever is the first makes it with `fill`; it is seen by others once it is whole.
    pub(super) fn filled(base: &Path, name: &str, fill: impl Fn(&Path) -> io::Result<()>) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(PRIVATE).create(base)?;
        let path = base.join(name);
        let mut retries = 0;
        loop {
            let lock = open_lock(&path)?;
            // As long as another one fills it.
            lock.lock_shared()?;
            if is_still_named(&lock, &path)? && path.is_dir() {
                return Ok(Self { path, lock });
            }
            lock.unlock()?;
            match lock.try_lock() {
                Ok(()) => {}
                // Nobody waits for that one: whoever makes the folder then uses it, for as long as its study is there.
                Err(TryLockError::WouldBlock) if retries < RETRIES_MAX => {
                    retries += 1;
                    thread::sleep(RETRY);
                    continue;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::other(format!("{} was removed while it was used", path.display())));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Another one may have made it meanwhile, or have removed it with its lock.
            if is_still_named(&lock, &path)? && !path.is_dir() {
                let partial = path.with_added_extension(PARTIAL);
                remove(&partial)?;
                DirBuilder::new().mode(PRIVATE).create(&partial)?;
                // What is half there can be large, and its disk full.
                fill(&partial).inspect_err(|_| remove(&partial).unwrap_or_default())?;
                fs::rename(&partial, &path)?;
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UsedFolder {
    fn drop(&mut self) {
        if let Err(error) = remove_unused(&self.path, &self.lock) {
            tracing::warn!(folder = %self.path.display(), %error, "a program's folder could not be removed");
        }
    }
}

/// A folder in one that is used: of one attempt or worker, which nobody else looks for.
#[derive(Debug)]
pub(super) struct InnerFolder {
    path: PathBuf,
}

impl InnerFolder {
    /// A new folder of this name, for its user alone.
    pub(super) fn new(outer: &UsedFolder, name: &str) -> io::Result<Self> {
        let path = outer.path.join(name);
        // A program may have removed more than its own folder.
        DirBuilder::new().recursive(true).mode(PRIVATE).create(&outer.path)?;
        DirBuilder::new().mode(PRIVATE).create(&path)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for InnerFolder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "a program's folder could not be removed");
        }
    }
}

/// Removes what executors that were killed have left in `base`.
pub(super) fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    let locks = entries.flatten().map(|entry| entry.path());
    for lock_path in locks.filter(|path| path.extension().is_some_and(|extension| extension == LOCK)) {
        let path = lock_path.with_extension("");
        let swept = File::open(&lock_path).and_then(|lock| remove_unused(&path, &lock));
        if let Err(error) = swept {
            tracing::warn!(folder = %path.display(), %error, "a program's old folder could not be removed");
        }
    }
}

/// Removes a folder with its lock, unless somebody else uses it.
fn remove_unused(path: &Path, lock: &File) -> io::Result<()> {
    if lock.try_lock().is_err() || !is_still_named(lock, path)? {
        return Ok(());
    }
    remove(path)?;
    remove(&path.with_added_extension(PARTIAL))?;
    fs::remove_file(lock_of(path))
}

fn lock_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(LOCK);
    name.into()
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(lock_of(path))
}

/// Whether the lock that is held is the one that others would open.
fn is_still_named(lock: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let held = lock.metadata()?;
    match fs::metadata(lock_of(path)) {
        Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a folder with all that is in it, whatever a program has forbidden there; it may be gone.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if gone(fs::remove_dir_all(path)).is_ok() {
        return Ok(());
    }
    allow(path)?;
    gone(fs::remove_dir_all(path))
}

/// Lets folders be emptied.
fn allow(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(PRIVATE))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            allow(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_folder_is_filled_once_and_goes_with_its_last_user() {
        let base = tempfile::tempdir().unwrap();
        let fill = |path: &Path| fs::write(path.join("data"), b"rows");
        let first = UsedFolder::filled(base.path(), "study", fill).unwrap();
        let second = UsedFolder::filled(base.path(), "study", |_| panic!("it is there")).unwrap();
        assert_eq!(fs::read(second.path().join("data")).unwrap(), b"rows");
        let path = first.path().to_owned();
        drop(first);
        assert!(path.is_dir(), "somebody uses it");
        fs::set_permissions(&path, Permissions::from_mode(0o500)).unwrap();
        drop(second);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0, "nothing is left of it");
    }

    #[test]
    fn all_who_come_together_get_the_folder_while_the_one_that_made_it_keeps_it() {
        const USERS: usize = 4;
        let base = tempfile::tempdir().unwrap().keep();
        let (done, rounds) = channel();
        let rival = base.clone();
        // Its threads are left behind if they wait for each other.
        thread::spawn(move || {
            for round in 0..200 {
                let together = Barrier::new(USERS);
                let use_it = || {
                    let fill = |path: &Path| fs::write(path.join("data"), b"rows");
                    together.wait();
                    let folder = UsedFolder::filled(&rival, &format!("study-{round}"), fill).unwrap();
                    together.wait();
                    folder.path().join("data").is_file()
                };
                let used: Vec<_> = thread::scope(|scope| {
                    let users: Vec<_> = (0..USERS).map(|_| scope.spawn(use_it)).collect();
                    users.into_iter().map(|user| user.join().unwrap()).collect()
                });
                done.send(used).unwrap();
            }
        });
        for round in 0..200 {
            let used = rounds.recv_timeout(Duration::from_secs(20));
            assert_eq!(used, Ok(vec![true; USERS]), "round {round}: they wait for each other");
        }
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn one_that_could_not_be_filled_is_made_anew_and_what_a_killed_executor_left_is_swept() {
        let base = tempfile::tempdir().unwrap();
        let full = |path: &Path| fs::write(path.join("half"), b"").and(Err(io::ErrorKind::StorageFull.into()));
        assert!(UsedFolder::filled(base.path(), "study", full).is_err());
        let used = UsedFolder::new(base.path(), "study").unwrap();
        assert_eq!(fs::read_dir(used.path()).unwrap().count(), 0, "what was half there is gone");
        let inner = InnerFolder::new(&used, "attempt").unwrap();
        assert!(InnerFolder::new(&used, "attempt").is_err(), "nobody else has it");
        fs::create_dir(inner.path().join("locked")).unwrap();
        fs::set_permissions(inner.path().join("locked"), Permissions::from_mode(0o000)).unwrap();
        drop(inner);
        assert_eq!(fs::read_dir(used.path()).unwrap().count(), 0, "it goes with its user");
        fs::remove_dir(used.path()).unwrap();
        assert!(InnerFolder::new(&used, "next").is_ok(), "what a program removed is made again");
        fs::create_dir(base.path().join("killed")).unwrap();
        fs::write(base.path().join("killed.lock"), b"").unwrap();
        sweep(base.path());
        assert!(used.path().is_dir() && !base.path().join("killed").exists());
        drop(used);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
