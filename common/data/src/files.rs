//! The files that a program is given, packed into one archive: the same files give the same bytes.
//!
//! Whose they are and when they were written is left out, and of their mode only whether they can be run. Files are
//! read when the archive is written, straight into its place, so little memory is taken for them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

/// Files and folders that a study may send.
const ENTRIES_MAX: usize = 1 << 20;
/// A tar archive is made of such blocks.
const BLOCK_BYTES: u64 = 512;
/// Two empty blocks end it.
const END_BYTES: u64 = 2 * BLOCK_BYTES;

/// What is packed, in the order of its names.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    path: PathBuf,
    kind: Kind,
    /// By which of the study's paths it came in, from 0.
    place: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Folder,
    File { bytes: u64, is_executable: bool },
}

/// A file that cannot be packed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct FileError {
    /// By which of the study's paths it came in, from 0.
    pub place: usize,
    reason: String,
}

impl Archive {
    /// Looks at the files and folders that a study names; the paths start at `folder`.
    ///
    /// # Errors
    /// [`FileError`], for the first that is not there, or is neither a file nor a folder.
    pub fn of(files: &[String], folder: &Path) -> Result<Self, FileError> {
        let mut archive = Self::default();
        for (place, name) in files.iter().enumerate() {
            archive.add(name, folder, place).map_err(|reason| FileError { place, reason })?;
        }
        Ok(archive)
    }

    /// Files, without the folders around them.
    #[must_use]
    pub fn files(&self) -> usize {
        self.entries.values().filter(|entry| matches!(entry.kind, Kind::File { .. })).count()
    }

    /// Where the files lie that are packed, and the folders around them.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.entries.values().map(|entry| entry.path.as_path())
    }

    /// Whether there is nothing to pack.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the archive; 0 of one without files.
    ///
    /// # Errors
    /// [`FileError`], if a name fits no archive.
    pub fn bytes(&self) -> Result<u64, FileError> {
        if self.is_empty() {
            return Ok(0);
        }
        let mut heads = Builder::new(Counter(0));
        let mut contents = END_BYTES;
        for (name, entry) in &self.entries {
            // The head of a file is as long as that of an empty one.
            heads.append_data(&mut header(entry.kind, 0), name, io::empty()).map_err(|error| entry.error(&error))?;
            contents = contents.saturating_add(entry.kind.bytes().next_multiple_of(BLOCK_BYTES));
        }
        Ok(contents.saturating_add(heads.get_ref().0))
    }

    /// Writes the archive into its place, which has room for as many bytes as [`Self::bytes`] said.
    ///
    /// # Errors
    /// [`FileError`], for the first file that cannot be read, or is not what it was when it was looked at.
    pub fn write(&self, room: impl Write) -> Result<(), FileError> {
        if self.is_empty() {
            return Ok(());
        }
        let mut builder = Builder::new(room);
        for (name, entry) in &self.entries {
            entry.append(&mut builder, name).map_err(|error| entry.error(&error))?;
        }
        let ended = builder.into_inner();
        ended.map(|_| ()).map_err(|error| FileError { place: 0, reason: error.to_string() })
    }

    /// Adds what is called `name`, and all that is in it.
    fn add(&mut self, name: &str, folder: &Path, place: usize) -> Result<(), String> {
        check_way(name, folder)?;
        let mut left = vec![name.to_owned()];
        while let Some(name) = left.pop() {
            let path = folder.join(&name);
            let kind = look_at(&path)?;
            if matches!(kind, Kind::Folder) {
                let failed = |error| format!("cannot read the folder {}: {error}", path.display());
                for inner in fs::read_dir(&path).map_err(failed)? {
                    let inner = inner.map_err(failed)?.file_name();
                    let inner = inner
                        .to_str()
                        .ok_or_else(|| format!("{} has a name that is not UTF-8", path.join(&inner).display()))?;
                    left.push(format!("{name}/{inner}"));
                }
            }
            self.entries.entry(name).or_insert(Entry { path, kind, place });
            if self.entries.len() > ENTRIES_MAX {
                return Err(format!("there are more than {ENTRIES_MAX} files and folders"));
            }
        }
        Ok(())
    }
}

/// The folders on the way to a file are folders of the study: a link could lead anywhere.
fn check_way(name: &str, folder: &Path) -> Result<(), String> {
    for (end, _) in name.match_indices('/') {
        let path = folder.join(&name[..end]);
        if fs::symlink_metadata(&path).is_ok_and(|about| about.is_symlink()) {
            return Err(link_text(&path));
        }
    }
    Ok(())
}

/// What lies at `path`. A link to a file is that file; one to anything else is refused, since it could lead out of the
/// folder, or round in circles.
fn look_at(path: &Path) -> Result<Kind, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {}", path.display()),
        _ => format!("cannot read {}: {error}", path.display()),
    };
    let link = fs::symlink_metadata(path).map_err(failed)?.is_symlink();
    let about = fs::metadata(path).map_err(failed)?;
    if about.is_dir() && !link {
        return Ok(Kind::Folder);
    }
    if about.is_file() {
        return Ok(Kind::File { bytes: about.len(), is_executable: about.permissions().mode() & 0o111 != 0 });
    }
    Err(if link { link_text(path) } else { format!("{} is neither a file nor a folder", path.display()) })
}

fn link_text(path: &Path) -> String {
    format!("{} is a symbolic link to a folder; only links to files are followed", path.display())
}

impl Kind {
    fn bytes(self) -> u64 {
        match self {
            Self::Folder => 0,
            Self::File { bytes, .. } => bytes,
        }
    }
}

impl Entry {
    fn error(&self, error: &io::Error) -> FileError {
        FileError { place: self.place, reason: format!("cannot pack {}: {error}", self.path.display()) }
    }

    fn append<W: Write>(&self, builder: &mut Builder<W>, name: &str) -> io::Result<()> {
        let mut header = header(self.kind, self.kind.bytes());
        match self.kind {
            Kind::Folder => builder.append_data(&mut header, name, io::empty()),
            Kind::File { bytes, .. } => {
                let mut content = Content { file: File::open(&self.path)?, left: bytes };
                builder.append_data(&mut header, name, &mut content)?;
                // Longer than it was?
                if content.file.read(&mut [0])? > 0 { Err(changed()) } else { Ok(()) }
            }
        }
    }
}

fn header(kind: Kind, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(bytes);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    let (entry_type, mode) = match kind {
        Kind::Folder => (EntryType::Directory, 0o755),
        Kind::File { is_executable: true, .. } => (EntryType::Regular, 0o755),
        Kind::File { is_executable: false, .. } => (EntryType::Regular, 0o644),
    };
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    header
}

/// The bytes of a file that has so many: an archive cannot take fewer than it has said.
struct Content {
    file: File,
    left: u64,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(changed());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn changed() -> io::Error {
    io::Error::other("it changed while it was read")
}

/// Counts what is written.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0 += buffer.len() as u64;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A folder with a script, data, a deep name and a link.
    fn study() -> TempDir {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("data/empty")).unwrap();
        fs::create_dir_all(path(&format!("data/{}", "deep/".repeat(60)))).unwrap();
        fs::write(path("train.py"), "print('x=1')\n").unwrap();
        fs::set_permissions(path("train.py"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(path("data/b.csv"), vec![b'b'; 5000]).unwrap();
        fs::write(path("data/a é.csv"), "").unwrap();
        fs::write(path(&format!("data/{}end", "deep/".repeat(60))), "deep").unwrap();
        symlink(path("train.py"), path("data/linked.py")).unwrap();
        folder
    }

    fn pack(files: &[&str], folder: &Path) -> Result<Vec<u8>, FileError> {
        let files: Vec<_> = files.iter().map(|name| (*name).to_owned()).collect();
        let archive = Archive::of(&files, folder)?;
        let mut bytes = vec![0; archive.bytes()? as usize];
        archive.write(&mut bytes[..])?;
        Ok(bytes)
    }

    #[test]
    fn an_archive_holds_each_file_once_by_its_path_and_in_the_order_of_names() {
        let folder = study();
        let bytes = pack(&["train.py", "data", "data/b.csv"], folder.path()).unwrap();
        let mut read = tar::Archive::new(&bytes[..]);
        let mut found = Vec::new();
        for entry in read.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            found.push((path, header.mode().unwrap(), content.len()));
        }
        let deep = |count: usize| format!("data/{}", "deep/".repeat(count).trim_end_matches('/'));
        let mut expected = vec![("data".to_owned(), 0o755, 0), ("data/a é.csv".to_owned(), 0o644, 0)];
        expected.push(("data/b.csv".to_owned(), 0o644, 5000));
        expected.extend((1..=60).map(|count| (deep(count), 0o755, 0)));
        expected.push((format!("{}/end", deep(60)), 0o644, 4));
        expected.push(("data/empty".to_owned(), 0o755, 0));
        expected.push(("data/linked.py".to_owned(), 0o755, 13));
        expected.push(("train.py".to_owned(), 0o755, 13));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_same_files_give_the_same_bytes_whenever_they_were_written_and_whoever_named_them_first() {
        let (one, other) = (study(), study());
        let touched = File::options().write(true).open(other.path().join("data/b.csv")).unwrap();
        touched.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let packed = pack(&["train.py", "data"], one.path()).unwrap();
        assert!(packed == pack(&["data", "train.py"], other.path()).unwrap(), "the bytes differ");
        assert!(pack(&[], one.path()).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_file_of_the_study_is_refused_by_its_name() {
        let folder = study();
        let path = |name: &str| folder.path().join(name);
        symlink(path("data"), path("away")).unwrap();
        symlink(path("gone"), path("broken")).unwrap();
        fs::create_dir(path("inner")).unwrap();
        symlink(path("data"), path("inner/away")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let rows = [
            ("missing.py", "there is no missing.py"),
            ("broken", "there is no broken"),
            ("away", "away is a symbolic link to a folder; only links to files are followed"),
            ("away/b.csv", "away is a symbolic link to a folder; only links to files are followed"),
            ("inner", "inner/away is a symbolic link to a folder; only links to files are followed"),
            ("socket", "socket is neither a file nor a folder"),
        ];
        for (name, message) in rows {
            let error = pack(&["train.py", name], folder.path()).unwrap_err();
            let shown = error.to_string().replace(&format!("{}/", folder.path().display()), "");
            assert_eq!((error.place, &shown[..]), (1, message), "{name}");
        }
    }

    #[test]
    fn a_file_that_changed_since_it_was_looked_at_is_an_error() {
        let folder = study();
        for content in ["longer than it was", "short"] {
            fs::write(folder.path().join("train.py"), "print('x=1')\n").unwrap();
            let archive = Archive::of(&["train.py".to_owned()], folder.path()).unwrap();
            let mut bytes = vec![0; archive.bytes().unwrap() as usize];
            fs::write(folder.path().join("train.py"), content).unwrap();
            let error = archive.write(&mut bytes[..]).unwrap_err().to_string();
            assert!(error.ends_with("it changed while it was read"), "{error}");
        }
    }
}
