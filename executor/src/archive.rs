//! Folders as bytes and back: the study's files, checkpoints, outputs. Files and folders only, below one place, in an order
//! that depends on their names alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, EntryType, Header, HeaderMode};

/// How what is unpacked may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nobody changes it: several attempts read it.
    ReadOnly,
    /// It is one attempt's own.
    Writable,
}

impl Access {
    fn mode(self, is_executable: bool) -> u32 {
        match (self, is_executable) {
            (Self::ReadOnly, false) => 0o444,
            (Self::ReadOnly, true) => 0o555,
            (Self::Writable, false) => 0o644,
            (Self::Writable, true) => 0o755,
        }
    }
}

/// Packs these files and folders below `root`; what is not there is left out. Refuses more than `bytes_max`.
pub(crate) fn pack(root: &Path, names: &[PathBuf], bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut packer = Packer { builder: Builder::new(Vec::new()), bytes_left: bytes_max };
    packer.builder.mode(HeaderMode::Deterministic);
    for name in names {
        packer.add(root, name)?;
    }
    packer.builder.into_inner()
}

struct Packer {
    builder: Builder<Vec<u8>>,
    bytes_left: u64,
}

impl Packer {
    fn add(&mut self, root: &Path, name: &Path) -> io::Result<()> {
        let path = root.join(name);
        let facts = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if facts.is_dir() {
            self.builder.append_dir(name, &path)?;
            let entries = fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name()));
            let mut names = entries.collect::<io::Result<Vec<_>>>()?;
            names.sort();
            return names.iter().try_for_each(|inner| self.add(root, &name.join(inner)));
        }
        if !facts.is_file() {
            return Ok(()); // pipes, sockets and links mean nothing elsewhere
        }
        let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than what may be kept");
        self.bytes_left = self.bytes_left.checked_sub(facts.len()).ok_or_else(too_large)?;
        let mut header = Header::new_gnu();
        header.set_metadata_in_mode(&facts, HeaderMode::Deterministic);
        // It may grow or shrink meanwhile; what is promised has to come.
        let mut content = Vec::new();
        File::open(&path)?.take(facts.len()).read_to_end(&mut content)?;
        header.set_size(content.len() as u64);
        self.builder.append_data(&mut header, name, &content[..])
    }
}

/// Unpacks an archive below `root`.
///
/// # Errors
/// If it is damaged, or would leave `root`.
pub fn unpack(bytes: &[u8], root: &Path, access: Access) -> io::Result<()> {
    let mut folders = Vec::new();
    for entry in Archive::new(bytes).entries()? {
        let mut entry = entry?;
        let path = root.join(inner(&entry.path()?)?);
        match entry.header().entry_type() {
            EntryType::Directory => {
                make_folder(&path)?;
                folders.push(path);
            }
            EntryType::Regular => {
                path.parent().map_or(Ok(()), make_folder)?;
                let is_executable = entry.header().mode()? & 0o100 != 0;
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                io::copy(&mut entry, &mut file)?;
                file.set_permissions(fs::Permissions::from_mode(access.mode(is_executable)))?;
            }
            other => return Err(io::Error::other(format!("{}: a {other:?} is no file", path.display()))),
        }
    }
    // Last, and the inner ones first: nothing can be put into a folder that is read only.
    folders.reverse();
    folders.iter().try_for_each(|path| fs::set_permissions(path, fs::Permissions::from_mode(access.mode(true))))
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A path that stays below where it starts.
fn inner(path: &Path) -> io::Result<PathBuf> {
    let is_inner = |component: &Component<'_>| matches!(component, Component::Normal(_) | Component::CurDir);
    if path.components().all(|component| is_inner(&component)) && path.components().next().is_some() {
        return Ok(path.components().filter(|component| *component != Component::CurDir).collect());
    }
    Err(io::Error::other(format!("{} does not lie below its folder", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn files_and_folders_come_back_and_the_same_ones_are_the_same_bytes() {
        let places = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let packed = places.each_ref().map(|place| {
            let root = place.path();
            fs::create_dir_all(root.join("data/inner")).unwrap();
            for (name, content) in
                [("data/b", "2"), ("data/a ü\n", "1"), ("data/inner/x", ""), ("run.sh", "#!/bin/sh")]
            {
                fs::write(root.join(name), content).unwrap();
            }
            fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", root.join("data/link")).unwrap();
            pack(root, &names(&["data", "missing", "run.sh"]), 100).unwrap()
        });
        assert_eq!(packed[0], packed[1]);
        let place = tempfile::tempdir().unwrap();
        unpack(&packed[0], place.path(), Access::ReadOnly).unwrap();
        let read = |name: &str| fs::read_to_string(place.path().join(name)).unwrap();
        assert_eq!(
            (read("data/b"), read("data/a ü\n"), read("data/inner/x")),
            ("2".into(), "1".into(), String::new())
        );
        let mode = |name: &str| fs::metadata(place.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("run.sh"), mode("data/b"), mode("data")), (0o555, 0o444, 0o555));
        assert!(!place.path().join("data/link").exists());
        assert!(pack(places[0].path(), &names(&["data", "run.sh"]), 10).is_err(), "11 bytes are more");
    }

    #[test]
    fn nothing_is_unpacked_outside_of_its_folder() {
        for name in ["../out", "/etc/out", "a/../../out"] {
            let mut header = Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o644);
            let bytes = name.as_bytes();
            header.as_gnu_mut().unwrap().name[..bytes.len()].copy_from_slice(bytes);
            header.set_cksum();
            let mut builder = Builder::new(Vec::new());
            builder.append(&header, &[][..]).unwrap();
            let place = tempfile::tempdir().unwrap();
            let refused = unpack(&builder.into_inner().unwrap(), place.path(), Access::Writable);
            assert!(refused.is_err(), "{name}");
        }
    }
}
