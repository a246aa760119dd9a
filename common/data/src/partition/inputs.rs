//! Files and folders, and those that wildcards mean, listed in their order: the same on any machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::InputFile;
use super::elsewhere::{Elsewhere, list_elsewhere};
use super::globs::expand;
use crate::error::{DataError, Origin};
use crate::input::starts_with;
use crate::pictures::{entries, is_hidden, is_picture};

/// What stands beside the files of an earlier output.
pub(super) const MANIFEST: &str = "manifest.json";
/// Files of an input, at most: each is remembered.
const FILES_MAX: usize = 10_000_000;

/// A file of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// From the root.
    pub(super) path: PathBuf,
    /// Whether it is one row.
    pub(super) is_picture: bool,
    /// What it is where that lies on no file system.
    pub(super) elsewhere: Option<InputFile>,
}

/// The files that are meant by these paths; pictures only where the model takes them. Adds what people should know to
/// `remarks`.
pub(super) fn list(
    inputs: &[PathBuf],
    takes_pictures: bool,
    elsewhere: &dyn Elsewhere,
    remarks: &mut Vec<String>,
) -> Result<Vec<Listed>, DataError> {
    let mut listed = Vec::new();
    for input in inputs {
        let origin = Origin::file(input.clone());
        if elsewhere.is_meant(input) {
            listed.extend(list_elsewhere(elsewhere, input, takes_pictures, remarks)?);
            check_count(&origin, listed.len())?;
            continue;
        }
        let path = std::path::absolute(input).map_err(|error| DataError::of_file(&origin, error))?;
        match expand(&path, remarks)? {
            None => list_path(&path, takes_pictures, &mut listed, remarks)?,
            Some(paths) => {
                let first = listed.len();
                for path in paths {
                    list_path(&path, takes_pictures, &mut listed, remarks)?;
                }
                leave_out_others(&origin, &mut listed, first, remarks);
            }
        }
        check_count(&origin, listed.len())?;
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = listed.iter().find(|file| !seen.insert(&file.path)) {
        let what = "the input names it twice, and each row is read once; name it once".to_owned();
        return Err(DataError::Unsupported { file: Origin::file(twice.path.clone()), what });
    }
    Ok(listed)
}

pub(super) fn check_count(origin: &Origin, count: usize) -> Result<(), DataError> {
    if count <= FILES_MAX {
        return Ok(());
    }
    let what =
        format!("with it the input has more than {FILES_MAX} files; apply the model to some of them at a time");
    Err(DataError::TooLarge { file: origin.clone(), what })
}

/// A file, or those of a folder.
fn list_path(
    path: &Path,
    takes_pictures: bool,
    listed: &mut Vec<Listed>,
    remarks: &mut Vec<String>,
) -> Result<(), DataError> {
    let file = Origin::file(path.to_owned());
    if fs::metadata(path).map_err(|error| DataError::of_file(&file, error))?.is_dir() {
        return list_folder(path, takes_pictures, listed, remarks);
    }
    let is_picture =
        takes_pictures && (is_picture(path) || starts_with(&file, b"\x89PNG")? || starts_with(&file, b"\xff\xd8")?);
    listed.push(Listed { path: path.to_owned(), is_picture, elsewhere: None });
    Ok(())
}

/// Leaves out what wildcards mean beside pictures, from `first` on, as in a folder.
fn leave_out_others(origin: &Origin, listed: &mut Vec<Listed>, first: usize, remarks: &mut Vec<String>) {
    let meant = listed.split_off(first);
    let (pictures, others): (Vec<_>, Vec<_>) = meant.into_iter().partition(|file| file.is_picture);
    if !pictures.is_empty() && !others.is_empty() {
        remarks.push(no_pictures(origin, others.len() as u64));
    }
    listed.extend(if pictures.is_empty() { others } else { pictures });
}

pub(super) fn no_pictures(origin: &Origin, others: u64) -> String {
    format!("{origin}: what is no picture (.png, .jpg, .jpeg) is left out: {others} of its files")
}

/// The pictures of a folder and of those in it, or else its data files.
fn list_folder(
    folder: &Path,
    takes_pictures: bool,
    listed: &mut Vec<Listed>,
    remarks: &mut Vec<String>,
) -> Result<(), DataError> {
    let origin = Origin::file(folder.to_owned());
    if takes_pictures {
        let mut found = Found::default();
        found.search(folder)?;
        if !found.pictures.is_empty() {
            if found.others > 0 {
                remarks.push(no_pictures(&origin, found.others));
            }
            let pictures = found.pictures.into_iter();
            listed.extend(pictures.map(|path| Listed { path, is_picture: true, elsewhere: None }));
            return Ok(());
        }
    }
    let is_data = |path: &PathBuf| !is_hidden(path) && !is_marker(path) && !path.ends_with(MANIFEST);
    let (files, others): (Vec<_>, Vec<_>) =
        entries(&origin, folder)?.into_iter().filter(is_data).partition(|path| path.is_file());
    if files.is_empty() {
        let what = "the folder has no data files; name one that has, or the files themselves (files whose names begin \
                    with `.` or `_`, and folders in it, are left out)";
        return Err(DataError::Unsupported { file: origin, what: what.to_owned() });
    }
    if !others.is_empty() {
        remarks.push(format!("{origin}: the folders in it are left out: {}", others.len()));
    }
    listed.extend(files.into_iter().map(|path| Listed { path, is_picture: false, elsewhere: None }));
    Ok(())
}

/// Whether a file is no data but a note of whoever wrote that, as `_SUCCESS` is.
fn is_marker(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_'))
}

/// The pictures of a folder.
#[derive(Default)]
struct Found {
    pictures: Vec<PathBuf>,
    /// Other files.
    others: u64,
    /// The folders around, without links: one that leads back to them would have no end.
    around: Vec<PathBuf>,
}

impl Found {
    fn search(&mut self, folder: &Path) -> Result<(), DataError> {
        let origin = Origin::file(folder.to_owned());
        let real = folder.canonicalize().map_err(|error| DataError::of_file(&origin, error))?;
        if self.around.contains(&real) {
            let what = format!("the link leads back to {}, which it is in; take it out", real.display());
            return Err(DataError::Unsupported { file: origin, what });
        }
        self.around.push(real);
        for path in entries(&origin, folder)?.into_iter().filter(|path| !is_hidden(path)) {
            if path.is_dir() {
                self.search(&path)?;
            } else if is_picture(&path) {
                self.pictures.push(path);
            } else {
                self.others += 1;
            }
        }
        self.around.pop();
        check_count(&origin, self.pictures.len())
    }
}
