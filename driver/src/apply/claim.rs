//! An output, taken for one run before anything is computed: what is there already is looked at, and a folder is made
//! beside it in which the run's files are put. No other run can take it until they are committed.
//!
//! Beside an output `NAME` stands `.NAME.broadsweep`: in it the file `run` says whose it is, and `files` has what is to
//! become the output. Whoever has no `run` there has taken nothing.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use broadsweep_common::application::KeptColumn;
use broadsweep_data::output::OutputFormat;
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use super::commit::AfterStep;
use super::manifest::{MANIFEST, Manifest, is_file_name};
use super::moves::{Moves, is_there, names_in, remove_all, rename, sync};
use super::{OutputError, OutputFile};
use crate::results::folder::{parent_of, write_whole};

/// In the folder beside an output: whose it is.
const RUN: &str = "run";
/// In the folder beside an output: what is to become the output.
const FILES: &str = "files";
/// In the folder beside an output: what the output was, while it is replaced.
const FORMER: &str = "former";
/// What the names of claims begin with that are not made yet.
const PARTIAL_CLAIM: &str = ".run-";
/// How often a claim is tried while another run takes its own away.
const TRIES_MAX: u32 = 100;
/// Bytes of a claim: the longest path that systems know, in JSON.
const CLAIM_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a file's name when it is put: less than it may have, since a longer one may be made of it.
const PUT_NAME_BYTES_MAX: usize = 200;
/// Who may do what with a claim, before the user's mask.
const FOR_ALL: u32 = 0o666;

pub use crate::study::Onto;

/// The run that an output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runner<'a> {
    /// Its id. A run is told from others by it, also when its folder was moved.
    pub id: &'a str,
    /// Its folder, which somebody needs to know who is to resume it.
    pub folder: &'a Path,
}

/// An output that one run has taken. It stays taken when this is dropped, until it is committed or released.
#[derive(Debug)]
pub struct Claim {
    pub(super) site: Site,
    pub(super) run: String,
    pub(super) onto: Onto,
    pub(super) moves: Moves,
    is_committed: bool,
}

/// Where an output is, and what stands beside it.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) parent: PathBuf,
    pub(super) output: PathBuf,
    pub(super) beside: PathBuf,
    pub(super) files: PathBuf,
    pub(super) former: PathBuf,
}

/// What the file `run` says.
#[derive(Serialize, Deserialize)]
struct Owner {
    run: String,
    #[serde(with = "crate::path_text")]
    folder: PathBuf,
}

/// Takes an output for a run, or goes on with what the run took before: then the files that it put there are still
/// there, and those that were not finished are gone.
///
/// An output that this run has committed is no error, whatever others did with it since: see [`Claim::is_committed`].
///
/// # Errors
/// [`OutputError`]; then the output and what is beside it are as they were.
pub fn claim(output: &Path, onto: Onto, run: Runner<'_>) -> Result<Claim, OutputError> {
    let site = Site::of(output)?;
    let is_committed = site.has_rows_of(run.id)?;
    let claim = Claim { site, run: run.id.to_owned(), onto, moves: Moves::Flags, is_committed };
    if is_committed {
        return Ok(claim);
    }
    let site = &claim.site;
    let is_new = match site.owner()? {
        Some(owner) if owner.run == run.id => false,
        Some(owner) => return Err(site.taken(owner)),
        None => {
            site.check(onto)?;
            site.take(run)?;
            true
        }
    };
    // Again: another run may have come and gone between the first look and the claim.
    let prepared = site.prepare().and_then(|()| site.check(onto));
    if prepared.is_err() && is_new {
        claim.tidy(&mut || Ok(()))?;
    }
    prepared.map(|()| claim)
}

impl Claim {
    /// The output's path, without links in it.
    #[must_use]
    pub fn output(&self) -> &Path {
        &self.site.output
    }

    /// The folder in which files are put: by [`Self::put`], or by executors that see it too. They write to a name with a
    /// dot in front, sync, and rename.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.site.files
    }

    /// Whether the run has committed before: its rows are in the output, and there is nothing more to do than to
    /// [commit](Self::commit) again, which removes what is left beside it.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.is_committed
    }

    /// Looks whether files of this format, with these columns, can be added to those that are in the output.
    ///
    /// # Errors
    /// [`OutputError::Unlike`], or the output's manifest cannot be read.
    pub fn check_like(&self, format: OutputFormat, columns: &[KeptColumn]) -> Result<(), OutputError> {
        let former = if self.onto == Onto::Append { Manifest::read(&self.site.output)? } else { None };
        former.map_or(Ok(()), |former| is_like(&self.site.output, &former, format, columns))
    }

    /// Puts a file into the output that is not visible yet: whole, and durably. The same file may be put again; of an
    /// output that is committed nothing is written.
    ///
    /// # Errors
    /// [`OutputError`]: a file of this name has other bytes, it cannot be called so, or it cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), OutputError> {
        check_name(name)?;
        if self.is_committed {
            return Ok(());
        }
        let path = self.site.files.join(name);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(write_whole(&path, bytes)?),
            Err(error) => Err(OutputError::unreadable(&path)(error)),
            Ok(metadata) => {
                let is_same = metadata.len() == bytes.len() as u64
                    && fs::read(&path).map_err(OutputError::unreadable(&path))? == bytes;
                if is_same { Ok(()) } else { Err(OutputError::Differs(path)) }
            }
        }
    }

    /// Gives the output back as it was, with nothing beside it: what was put is removed.
    ///
    /// # Errors
    /// [`OutputError`], if it cannot be removed.
    pub fn release(self) -> Result<(), OutputError> {
        self.tidy(&mut || Ok(()))
    }

    /// Removes what this run has beside the output, and the claim last.
    pub(super) fn tidy(&self, after: AfterStep<'_>) -> Result<(), OutputError> {
        let site = &self.site;
        match site.owner()? {
            Some(owner) if owner.run == self.run => {}
            Some(_) => return Ok(()),
            None => {
                // Killed after its claim was gone, this run left an empty folder. Whoever is about to take it makes it again.
                let _ = fs::remove_dir(&site.beside);
                return Ok(());
            }
        }
        for folder in [&site.files, &site.former] {
            remove_former(folder, &self.run, after)?;
        }
        for name in names_in(&site.beside)?.unwrap_or_default() {
            if name != RUN {
                remove_all(&site.beside.join(name))?;
            }
        }
        remove_all(&site.beside.join(RUN))?;
        after()?;
        // Another run may be about to take it: then it stays.
        let _ = fs::remove_dir(&site.beside);
        after()?;
        sync(&site.parent)
    }
}

/// Refuses a name that no file of an output can have.
pub(super) fn check_name(name: &str) -> Result<(), OutputError> {
    let is_good = is_file_name(name) && name.len() <= PUT_NAME_BYTES_MAX;
    if is_good { Ok(()) } else { Err(OutputError::BadName(name.to_owned())) }
}

/// Looks whether files of this format, with these columns, can be added to those of an output.
pub(super) fn is_like(
    output: &Path,
    former: &Manifest,
    format: OutputFormat,
    columns: &[KeptColumn],
) -> Result<(), OutputError> {
    let unlike = |had, given| Err(OutputError::Unlike { output: output.to_owned(), had, given });
    if former.format != format {
        return unlike(format!("files in {}", former.format), format.to_string());
    }
    if former.columns != columns {
        return unlike(shown(&former.columns), shown(columns));
    }
    Ok(())
}

/// Columns in a message.
fn shown(columns: &[KeptColumn]) -> String {
    let names = columns.iter().map(|KeptColumn { name, kind }| format!("{} ({kind:?})", name.escape_debug()));
    format!("the columns {}", names.collect::<Vec<_>>().join(", "))
}

impl Site {
    /// Where an output is, without links, so that what is beside it is on the same disk.
    fn of(output: &Path) -> Result<Self, OutputError> {
        let absolute = match fs::canonicalize(output) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if is_there(output) {
                    return Err(OutputError::LinkToNothing(output.to_owned()));
                }
                let name = output.file_name().ok_or_else(|| OutputError::NoName(output.to_owned()))?;
                let parent = parent_of(output);
                fs::canonicalize(parent).map_err(|_| OutputError::NoParent(parent.to_owned()))?.join(name)
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(OutputError::NotAFolder(parent_of(output).to_owned()));
            }
            Err(error) => return Err(OutputError::unreadable(output)(error)),
        };
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(OutputError::NoName(output.to_owned()));
        };
        if let Some(file) = [&absolute, parent].into_iter().find(|path| is_there(path) && !path.is_dir()) {
            return Err(OutputError::NotAFolder(file.to_owned()));
        }
        let mut beside = OsString::from(".");
        beside.push(name);
        beside.push(".broadsweep");
        let (parent, beside) = (parent.to_owned(), parent.join(beside));
        let (files, former) = (beside.join(FILES), beside.join(FORMER));
        Ok(Self { parent, output: absolute, beside, files, former })
    }

    /// Whether a run has committed to this output.
    pub(super) fn has_rows_of(&self, run: &str) -> Result<bool, OutputError> {
        match Manifest::read(&self.output) {
            Ok(manifest) => Ok(manifest.is_some_and(|manifest| manifest.runs().any(|other| other == run))),
            // Who may do something about the output is told so by the checks that follow.
            Err(OutputError::Manifest { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the output can be made, replaced or added to.
    pub(super) fn check(&self, onto: Onto) -> Result<(), OutputError> {
        let names = names_in(&self.output)?;
        let device = |path: &Path| fs::metadata(path).map(|data| data.dev()).map_err(OutputError::unreadable(path));
        if names.is_some() && device(&self.output)? != device(&self.parent)? {
            return Err(OutputError::MountPoint(self.output.clone()));
        }
        let names = names.unwrap_or_default();
        if names.is_empty() {
            return Ok(());
        }
        if onto == Onto::New {
            return Err(OutputError::NotEmpty(self.output.clone()));
        }
        let manifest = Manifest::read(&self.output)?.ok_or_else(|| OutputError::NotOurs(self.output.clone()))?;
        if onto == Onto::Overwrite {
            refuse_foreign(&self.output, &names, &manifest)?;
        }
        access(&self.output, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| OutputError::unwritten(&self.output)(error.into()))
    }

    /// Whose the output is; nobody's without a claim.
    fn owner(&self) -> Result<Option<Owner>, OutputError> {
        let path = self.beside.join(RUN);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(OutputError::InTheWay(self.beside.clone()));
            }
            other => other.map_err(OutputError::unreadable(&path))?,
        };
        let mut bytes = Vec::new();
        file.take(CLAIM_BYTES_MAX).read_to_end(&mut bytes).map_err(OutputError::unreadable(&path))?;
        serde_json::from_slice(&bytes).map(Some).map_err(|_| OutputError::InTheWay(path))
    }

    fn taken(&self, owner: Owner) -> OutputError {
        let former = (is_there(&self.former) && !is_there(&self.output)).then(|| self.former.clone());
        OutputError::Taken { output: self.output.clone(), run: owner.folder, beside: self.beside.clone(), former }
    }

    /// Makes the claim: its file appears at once and whole, and never in place of another one.
    fn take(&self, run: Runner<'_>) -> Result<(), OutputError> {
        let folder = fs::canonicalize(run.folder).or_else(|_| std::path::absolute(run.folder));
        let folder = folder.map_err(OutputError::unreadable(run.folder))?;
        let owner = Owner { run: run.id.to_owned(), folder };
        let failed = OutputError::unwritten(&self.beside);
        let text = serde_json::to_string(&owner).map_err(|error| failed(error.into()))? + "\n";
        for _ in 0..TRIES_MAX {
            match fs::create_dir(&self.beside) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
            if self.is_in_the_way()? {
                let owner = self.owner()?;
                return Err(
                    owner.map_or_else(|| OutputError::InTheWay(self.beside.clone()), |owner| self.taken(owner))
                );
            }
            match self.write_claim(text.as_bytes()) {
                Ok(()) => {
                    sync(&self.beside)?;
                    return sync(&self.parent);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if let Some(owner) = self.owner()? {
                        return Err(self.taken(owner));
                    }
                }
                // Another run has just removed the folder with its own claim.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(OutputError::InTheWay(self.beside.clone()))
    }

    fn write_claim(&self, text: &[u8]) -> io::Result<()> {
        let permissions = Permissions::from_mode(FOR_ALL);
        let mut partial =
            tempfile::Builder::new().prefix(PARTIAL_CLAIM).permissions(permissions).tempfile_in(&self.beside)?;
        partial.write_all(text)?;
        partial.as_file().sync_all()?;
        partial.persist_noclobber(self.beside.join(RUN)).map(drop).map_err(|error| error.error)
    }

    /// Whether the folder beside the output has anything in it that no run puts there before its claim.
    fn is_in_the_way(&self) -> Result<bool, OutputError> {
        let is_partial = |name: &OsString| name.as_encoded_bytes().starts_with(PARTIAL_CLAIM.as_bytes());
        Ok(!names_in(&self.beside)?.unwrap_or_default().iter().all(is_partial))
    }

    /// Makes everything as it was after the claim, but for files that are whole.
    fn prepare(&self) -> Result<(), OutputError> {
        // The run was killed while it replaced the output, on a file system that cannot do that in one step.
        if is_there(&self.former) && names_in(&self.output)?.is_none_or(|names| names.is_empty()) {
            rename(&self.former, &self.output)?;
            sync(&self.parent)?;
        }
        if !is_there(&self.files) {
            fs::create_dir(&self.files).map_err(OutputError::unwritten(&self.files))?;
        }
        for folder in [&self.beside, &self.files] {
            for name in names_in(folder)?.unwrap_or_default() {
                if name.as_encoded_bytes().starts_with(b".") {
                    remove_all(&folder.join(name))?;
                }
            }
        }
        sync(&self.beside)
    }
}

/// Removes an output that was replaced, its manifest last; but nothing that its manifest does not name. A folder without a
/// manifest, or with one of `run`, never was an output.
fn remove_former(folder: &Path, run: &str, after: AfterStep<'_>) -> Result<(), OutputError> {
    let Some(names) = names_in(folder)? else { return Ok(()) };
    if let Some(manifest) = Manifest::read(folder)?.filter(|manifest| manifest.run != run) {
        refuse_foreign(folder, &names, &manifest)?;
        for OutputFile { name, .. } in &manifest.files {
            remove_all(&folder.join(name))?;
            after()?;
        }
        refuse_foreign(folder, &names_in(folder)?.unwrap_or_default(), &manifest)?;
    }
    remove_all(folder)?;
    after()
}

/// Refuses what an output's manifest does not name.
fn refuse_foreign(folder: &Path, names: &[OsString], manifest: &Manifest) -> Result<(), OutputError> {
    let ours = manifest.names();
    let is_ours = |name: &OsStr| {
        let own_name = name.to_str().unwrap_or_default();
        own_name == MANIFEST || own_name == format!(".{MANIFEST}.partial") || ours.contains(own_name)
    };
    match names.iter().find(|name| !is_ours(name)) {
        Some(name) => Err(OutputError::Foreign(folder.join(name))),
        None => Ok(()),
    }
}
