//! Inputs that lie on no file system, as objects of stores: listed as folders would be, by whoever can reach them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::globs::{is_hidden_name, root_of};
use super::inputs::{Listed, check_count, no_pictures};
use super::{InputFile, Readable};
use crate::error::{DataError, Origin};

/// Who reaches inputs that lie on no file system.
pub trait Elsewhere {
    /// Whether an input is such a one.
    fn is_meant(&self, input: &Path) -> bool;

    /// What has this name now; `None` if nothing has.
    ///
    /// # Errors
    /// [`DataError::Elsewhere`], if that cannot be told.
    fn look(&self, name: &str) -> Result<Option<InputFile>, DataError>;

    /// All that is below a name, at any depth, in the order of the parts of the names.
    ///
    /// # Errors
    /// [`DataError::Elsewhere`], if that cannot be told.
    fn list(&self, below: &str) -> Result<Vec<InputFile>, DataError>;

    /// A copy of what says how a file can be cut.
    ///
    /// # Errors
    /// [`DataError`], if it cannot be read or has changed.
    fn bring(&self, file: &InputFile) -> Result<Readable, DataError>;
}

/// Nothing lies elsewhere.
impl Elsewhere for () {
    fn is_meant(&self, _: &Path) -> bool {
        false
    }

    fn look(&self, _: &str) -> Result<Option<InputFile>, DataError> {
        Ok(None)
    }

    fn list(&self, _: &str) -> Result<Vec<InputFile>, DataError> {
        Ok(Vec::new())
    }

    fn bring(&self, file: &InputFile) -> Result<Readable, DataError> {
        Ok(Readable::here(file.clone()))
    }
}

/// What an input means: the one thing that is called so, or what its wildcards mean, or what is directly below it; where
/// the model takes pictures and there are some, these alone, at any depth.
pub(super) fn list_elsewhere(
    elsewhere: &dyn Elsewhere,
    input: &Path,
    takes_pictures: bool,
    remarks: &mut Vec<String>,
) -> Result<Vec<Listed>, DataError> {
    let origin = Origin::file(input.to_owned());
    let name = input.to_string_lossy();
    let listed = |file: InputFile| {
        let path = PathBuf::from(&file.path);
        let is_picture = takes_pictures && has_picture_name(&path);
        Listed { path, is_picture, elsewhere: Some(file) }
    };
    if let Some(file) = elsewhere.look(&name)? {
        return Ok(vec![listed(file)]);
    }
    let pattern = root_of(&name);
    let root = pattern.as_ref().map_or(name.trim_end_matches('/'), |(root, _)| root);
    let (files, empty): (Vec<_>, Vec<_>) =
        elsewhere.list(root)?.into_iter().partition(|file| file.bytes > 0 || file.path.len() <= root.len());
    if !empty.is_empty() {
        remarks.push(format!("{origin}: what has no bytes is left out: {}", empty.len()));
    }
    let parts = |file: &InputFile| -> Vec<String> {
        let below = file.path.get(root.len()..).unwrap_or_default().trim_start_matches('/');
        below.split('/').map(ToOwned::to_owned).collect()
    };
    let files: Vec<InputFile> = match &pattern {
        Some((_, names)) => files.into_iter().filter(|file| names.are(&parts(file))).collect(),
        None => files.into_iter().filter(|file| !parts(file).iter().any(|part| is_hidden_name(part))).collect(),
    };
    check_count(&origin, files.len())?;
    let (pictures, others): (Vec<_>, Vec<_>) = files.into_iter().map(listed).partition(|file| file.is_picture);
    if !pictures.is_empty() {
        if !others.is_empty() {
            remarks.push(no_pictures(&origin, others.len() as u64));
        }
        return Ok(pictures);
    }
    let is_direct =
        |file: &Listed| pattern.is_some() || file.elsewhere.as_ref().is_some_and(|it| parts(it).len() == 1);
    let (direct, deeper): (Vec<_>, Vec<_>) = others.into_iter().partition(is_direct);
    if direct.is_empty() {
        let what = "nothing is called so, nor is data directly below it; look at its name, and at the wildcards (names \
                    that begin with `.` or `_` are left out)";
        return Err(DataError::Unsupported { file: origin, what: what.to_owned() });
    }
    let folders: BTreeSet<_> =
        deeper.iter().filter_map(|file| parts(file.elsewhere.as_ref()?).into_iter().next()).collect();
    if !folders.is_empty() {
        remarks.push(format!("{origin}: the folders in it are left out: {}", folders.len()));
    }
    Ok(direct)
}

fn has_picture_name(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    ["png", "jpg", "jpeg"].contains(&ending.as_str())
}
