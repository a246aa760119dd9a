//! The real run folder: written with `pwrite`, synced, and renamed into place.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::storage::{NewJournal, Storage, StorageError, checked_folder, split_name};

const JOURNAL: &str = "journal";

/// A run folder on a file system. The folder must be there, and locked by this process if it writes.
#[derive(Debug)]
pub struct FolderStorage {
    folder: PathBuf,
    /// Opened once: a file that was opened again may not be told of an earlier failure to write it back.
    journal: Mutex<Option<File>>,
    is_writable: bool,
}

impl FolderStorage {
    /// The folder at `folder`. Nothing is read or written yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), journal: Mutex::new(None), is_writable: true }
    }

    /// The same for one who only reads: it needs no lock, and no permission to write.
    pub fn for_reading(folder: impl Into<PathBuf>) -> Self {
        Self { is_writable: false, ..Self::new(folder) }
    }

    fn held(&self) -> MutexGuard<'_, Option<File>> {
        // What a panic elsewhere left here is a file or none, and both are whole.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `with` use the journal.
    fn with_journal<T>(
        &self,
        doing: &'static str,
        with: impl FnOnce(&File) -> io::Result<T>,
    ) -> Result<T, StorageError> {
        let path = self.journal_path();
        let mut held = self.held();
        let file = match held.take() {
            Some(file) => Ok(file),
            None => File::options().read(true).write(self.is_writable).open(&path),
        };
        let done = file.and_then(|file| with(held.insert(file)));
        done.map_err(|error| StorageError::from_io(doing, &path, error))
    }

    /// The path of the file `name`, and that of its folder.
    fn locate(&self, doing: &'static str, name: &str) -> Result<(PathBuf, PathBuf), StorageError> {
        let (folder, file) = split_name(doing, name)?;
        let folder = self.folder.join(folder);
        Ok((folder.join(file), folder))
    }
}

impl Storage for FolderStorage {
    fn journal_path(&self) -> PathBuf {
        self.folder.join(JOURNAL)
    }

    fn journal_bytes(&self) -> Result<Option<u64>, StorageError> {
        let path = self.journal_path();
        if !path.try_exists().map_err(|error| StorageError::from_io("read", &path, error))? {
            return Ok(None);
        }
        self.with_journal("open", |file| Ok(Some(file.metadata()?.len())))
    }

    fn read_journal(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        self.with_journal("read", |file| file.read_exact_at(buffer, offset))
    }

    fn append_journal(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let found = self.with_journal("write", |file| Ok(file.metadata()?.len()))?;
        if found != offset {
            return Err(StorageError::second_writer(&self.journal_path(), found, offset));
        }
        self.with_journal("write", |file| {
            file.write_all_at(bytes, offset).inspect_err(|_| {
                // Best effort: what is left behind reads as the end of an unfinished commit.
                let _ = file.set_len(offset);
            })
        })
    }

    fn sync_journal(&self) -> Result<(), StorageError> {
        self.with_journal("sync", File::sync_data)
    }

    fn truncate_journal(&self, bytes: u64) -> Result<(), StorageError> {
        self.with_journal("cut", |file| file.set_len(bytes))
    }

    fn new_journal(&self) -> Result<Box<dyn NewJournal + '_>, StorageError> {
        let path = self.journal_path();
        let partial = Partial::create(&path).map_err(|error| StorageError::from_io("write", &path, error))?;
        Ok(Box::new(NewFile { storage: self, path, partial }))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let (path, folder) = self.locate("write", name)?;
        let made = if folder == self.folder { Ok(()) } else { make_folder(&folder) };
        let written = made.and_then(|()| {
            let mut partial = Partial::create(&path)?;
            partial.file.write_all(bytes)?;
            partial.put(&path).map(drop)
        });
        written.map_err(|error| StorageError::from_io("write", &path, error))
    }

    fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let (path, _) = self.locate("read", name)?;
        let failed = |error| StorageError::from_io("read", &path, error);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let length = file.metadata().map_err(failed)?.len();
        if length > bytes_max {
            return Err(StorageError::too_long(&path, length, bytes_max));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let (path, _) = self.locate("remove", name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| StorageError::from_io("remove", &path, error)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let path = self.folder.join(checked_folder(folder)?);
        match file_names(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|error| StorageError::from_io("list", &path, error)),
        }
    }
}

/// A journal that is written beside the present one.
struct NewFile<'a> {
    storage: &'a FolderStorage,
    path: PathBuf,
    partial: Partial,
}

impl NewJournal for NewFile<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.partial.file.write_all(bytes).map_err(|error| StorageError::from_io("write", &self.path, error))
    }

    fn seal(self: Box<Self>) -> Result<(), StorageError> {
        let Self { storage, path, partial } = *self;
        // Held throughout: no one may write the old file once its name is gone.
        let mut held = storage.held();
        let file = partial.put(&path).map_err(|error| StorageError::from_io("write", &path, error))?;
        *held = Some(file);
        Ok(())
    }
}

/// A file that has no name of its own yet. Dropped, it is removed.
struct Partial {
    file: File,
    /// `.<name>.partial`, beside where the file will be: a rename stays within one file system.
    path: PathBuf,
    is_put: bool,
}

impl Partial {
    /// Begins a file that will stand at `path`. What a crash left of an earlier one is overwritten.
    fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().display().to_string();
        let path = path.with_file_name(format!(".{name}.partial"));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(Self { file, path, is_put: false })
    }

    /// Syncs it, gives it its name, and makes that durable. The file stays open.
    fn put(mut self, path: &Path) -> io::Result<File> {
        self.file.sync_all()?;
        fs::rename(&self.path, path)?;
        self.is_put = true;
        sync_folder(path.parent().unwrap_or(path))?;
        self.file.try_clone()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_put {
            // Best effort: what matters to the caller is why the file was given up.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A folder in the run folder, durably; one that is there already will do.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(folder.parent().unwrap_or(folder)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The finished files in `folder`, in the order of their names. Names that are no text are not ours.
fn file_names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
            && entry.file_type()?.is_file()
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
