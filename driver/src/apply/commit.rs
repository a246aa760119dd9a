//! The files of a run made visible, all at once.
//!
//! | output | how |
//! |---|---|
//! | a new one | the folder with the files is renamed; it can take the place of an empty folder, and of nothing else |
//! | replaced | both folders are exchanged, then the former one is removed |
//! | added to | the files get names that no manifest has, then the new manifest takes the place of the old one |
//!
//! Killed at any point, a run claims its output again and commits again, and the result is the same. There is one moment
//! in which its rows appear: when a manifest that names the run does.

use std::fs;
use std::path::{Path, PathBuf};

use broadsweep_common::ids::Digest;

use super::claim::{Claim, Onto};
use super::manifest::{MANIFEST, Manifest, ManifestError};
use super::moves::{Exchanged, is_there, names_in, remove_all, rename, sync};
use super::{OutputError, OutputFile};
use crate::results::folder::write_whole;

/// Hexadecimal digits of the digest that tells the files of one run from those of others.
pub(super) const OWN_DIGITS: usize = 16;

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It made the run's rows visible.
    Now,
    /// They were visible before, and are as they were.
    Before,
}

/// Called after each change that a crash could be the next thing after; an error ends the commit there.
pub(super) type AfterStep<'a> = &'a mut dyn FnMut() -> Result<(), OutputError>;

impl Claim {
    /// Makes the files visible that the manifest names, all at once and durably, and removes everything else that was put.
    /// `manifest` is of this run alone: what others wrote before is added to it.
    ///
    /// # Errors
    /// [`OutputError`]; then the run can claim the output again and commit again, unless it says that it cannot.
    pub fn commit(self, manifest: &Manifest) -> Result<Committed, OutputError> {
        self.commit_in_steps(manifest, &mut || Ok(()))
    }

    pub(super) fn commit_in_steps(
        &self,
        manifest: &Manifest,
        after: AfterStep<'_>,
    ) -> Result<Committed, OutputError> {
        if self.site.has_rows_of(&self.run)? {
            self.tidy(after)?;
            return Ok(Committed::Before);
        }
        if !manifest.is_of_run_alone(&self.run) {
            let what = format!("it tells of other runs than `{}`", self.run.escape_debug());
            return Err(self.unfit(ManifestError::Damaged(what)));
        }
        self.site.check(self.onto)?;
        let is_vacant = names_in(&self.site.output)?.is_none_or(|names| names.is_empty());
        match self.onto {
            Onto::Append if !is_vacant => self.add(manifest, after)?,
            Onto::Overwrite if !is_vacant => self.replace(manifest, after)?,
            Onto::New | Onto::Append | Onto::Overwrite => self.appear(manifest, after)?,
        }
        self.tidy(after)?;
        Ok(Committed::Now)
    }

    fn appear(&self, manifest: &Manifest, after: AfterStep<'_>) -> Result<(), OutputError> {
        let site = &self.site;
        self.complete(manifest, after)?;
        rename(&site.files, &site.output)?;
        after()?;
        sync(&site.parent)
    }

    fn replace(&self, manifest: &Manifest, after: AfterStep<'_>) -> Result<(), OutputError> {
        let site = &self.site;
        self.complete(manifest, after)?;
        if self.moves.exchange(&site.files, &site.output)? == Exchanged::Unknown {
            // For a moment there is no output. A run that is killed then puts the former one back when it goes on.
            rename(&site.output, &site.former)?;
            after()?;
            sync(&site.beside)?;
            rename(&site.files, &site.output)?;
        }
        after()?;
        sync(&site.beside)?;
        sync(&site.parent)
    }

    fn add(&self, manifest: &Manifest, after: AfterStep<'_>) -> Result<(), OutputError> {
        let site = &self.site;
        self.check_like(manifest.format, &manifest.columns)?;
        let former = Manifest::read(&site.output)?.ok_or_else(|| OutputError::NotOurs(site.output.clone()))?;
        let mut added = manifest.clone();
        let mut moves: Vec<(PathBuf, PathBuf)> = Vec::new();
        for file in &mut added.files {
            let from = site.files.join(&file.name);
            file.name = name_of_run(&file.name, &self.run);
            let to = site.output.join(&file.name);
            // One that is no longer there was moved before the run was killed.
            let is_to_move = is_there(&from);
            check_file(if is_to_move { &from } else { &to }, file)?;
            if is_to_move {
                moves.push((from, to));
            }
        }
        let text = added.added_to(&former).text().map_err(|error| self.unfit(error))?;
        for (from, to) in &moves {
            // Nobody else gives a file this name: what has it was moved there by this run.
            rename(from, to)?;
            after()?;
        }
        sync(&site.output)?;
        write_whole(&site.output.join(MANIFEST), text.as_bytes())?;
        after()
    }

    /// Makes the folder with the files what the output is to be.
    fn complete(&self, manifest: &Manifest, after: AfterStep<'_>) -> Result<(), OutputError> {
        let files = &self.site.files;
        let text = manifest.text().map_err(|error| self.unfit(error))?;
        for file in &manifest.files {
            check_file(&files.join(&file.name), file)?;
        }
        let ours = manifest.names();
        for name in names_in(files)?.unwrap_or_default() {
            if !name.to_str().is_some_and(|name| ours.contains(name)) {
                remove_all(&files.join(name))?;
                after()?;
            }
        }
        write_whole(&files.join(MANIFEST), text.as_bytes())?;
        after()
    }

    fn unfit(&self, source: ManifestError) -> OutputError {
        OutputError::Manifest { path: self.site.output.join(MANIFEST), source }
    }
}

/// Looks whether a file is there and as long as it is said to be, and makes it durable.
fn check_file(path: &Path, file: &OutputFile) -> Result<(), OutputError> {
    let damaged = |what: String| Err(OutputError::Damaged { path: path.to_owned(), what });
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => damaged("is missing".to_owned()),
        Err(error) => Err(OutputError::unreadable(path)(error)),
        Ok(metadata) if !metadata.is_file() => damaged("is no file".to_owned()),
        Ok(metadata) if metadata.len() != file.bytes => {
            damaged(format!("has {} bytes where {} were written", metadata.len(), file.bytes))
        }
        Ok(_) => sync(path),
    }
}

/// What tells the files of one run from those of others.
pub(super) fn own_digits(run: &str) -> String {
    Digest::of(run.as_bytes()).to_string()[..OWN_DIGITS].to_owned()
}

/// The name of a file that is added to others: `rows-0.csv` becomes `rows-0-DIGEST.csv`.
pub(super) fn name_of_run(name: &str, run: &str) -> String {
    let own = own_digits(run);
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}-{own}.{extension}"),
        None => format!("{name}-{own}"),
    }
}
