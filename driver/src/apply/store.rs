//! An output on an object store. Its files have names that no other run gives, and are no part of it before the manifest
//! names them, which is put last, and only if it is still the one that the run began with: of several runs that do so one
//! wins, and the others are told. Nothing is locked.
//!
//! Killed at any point, a run takes its output again and commits again, and the result is the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broadsweep_common::application::KeptColumn;
use broadsweep_data::output::OutputFormat;
use broadsweep_objects::{Condition, ObjectAddress, ObjectError, Objects, Pending, Put};
use serde::{Deserialize, Serialize};

use super::claim::{Onto, Runner, check_name, is_like};
use super::commit::{Committed, OWN_DIGITS, name_of_run, own_digits};
use super::manifest::{MANIFEST, MANIFEST_BYTES_MAX, Manifest, ManifestError};
use super::{OutputError, OutputFile};
use crate::results::folder::write_whole;

/// The file of a run's folder that says what its output was when the run began.
const FOUND: &str = "output.json";
/// Files that are put at the same time.
const PUT_TOGETHER: usize = 6;
/// Objects that may be below an output.
const OBJECTS_MAX: usize = 1 << 20;
/// What the name of an object begins with by which a store shows that it minds conditions.
const PROBE: &str = ".broadsweep-probe-";
/// A tag that no object has.
const NO_TAG: &str = "etag \"0\"";

/// An output on a store that a run writes.
#[derive(Debug)]
pub struct StoreClaim {
    objects: Arc<dyn Objects>,
    place: ObjectAddress,
    run: String,
    onto: Onto,
    found: Found,
    is_committed: bool,
    under_way: RefCell<VecDeque<Pending>>,
}

/// What the output was when the run began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    /// The tag of the manifest, if there was one.
    tag: Option<String>,
    manifest: Option<Manifest>,
}

impl StoreClaim {
    /// Takes an output for a run, or goes on with what the run took before.
    ///
    /// # Errors
    /// [`OutputError`]; then the output is as it was.
    pub fn take(
        objects: Arc<dyn Objects>,
        place: &ObjectAddress,
        onto: Onto,
        run: Runner<'_>,
    ) -> Result<Self, OutputError> {
        let (place, run_id) = (place.clone(), run.id.to_owned());
        let mut claim = Self {
            objects,
            place,
            run: run_id,
            onto,
            found: Found::default(),
            is_committed: false,
            under_way: RefCell::default(),
        };
        let now = claim.look()?;
        claim.is_committed = claim.has_rows_in(now.manifest.as_ref());
        if let Some(found) = Found::remembered(run.folder)? {
            claim.found = found;
        } else {
            claim.check_vacant(&now)?;
            claim.found = now.clone();
            claim.prove_conditions()?;
            claim.found.remember(run.folder)?;
        }
        if !claim.is_committed && now.tag != claim.found.tag {
            return Err(claim.overtaken(now.manifest.as_ref()));
        }
        Ok(claim)
    }

    /// Its address.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        PathBuf::from(self.place.to_string())
    }

    /// Whether the run has committed before, and there is nothing more to do than to [commit](Self::commit) again, which
    /// removes what was replaced.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.is_committed
    }

    /// Looks whether files of this format, with these columns, can be added to those that are in the output.
    ///
    /// # Errors
    /// [`OutputError::Unlike`].
    pub fn check_like(&self, format: OutputFormat, columns: &[KeptColumn]) -> Result<(), OutputError> {
        let former = self.found.manifest.as_ref().filter(|_| self.onto == Onto::Append);
        former.map_or(Ok(()), |former| is_like(&self.place(), former, format, columns))
    }

    /// Puts a file, or begins to: [`Self::commit`] waits for all of them. The same file may be put again.
    ///
    /// # Errors
    /// [`OutputError`]: it cannot be called so, or one that was put before is not there.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), OutputError> {
        check_name(name)?;
        if self.is_committed {
            return Ok(());
        }
        let address = self.place.join(&name_of_run(name, &self.run))?;
        let mut under_way = self.under_way.borrow_mut();
        while under_way.len() >= PUT_TOGETHER {
            under_way.pop_front().map_or(Ok(()), Pending::wait)?;
        }
        under_way.push_back(self.objects.put(&address, bytes.to_vec()));
        Ok(())
    }

    /// Makes the files visible that the manifest names, all at once. `manifest` is of this run alone: what others wrote
    /// before is added to it.
    ///
    /// # Errors
    /// [`OutputError`]; then the run can take the output again and commit again, unless another run
    /// [was first](OutputError::Overtaken).
    pub fn commit(self, manifest: &Manifest) -> Result<Committed, OutputError> {
        self.under_way.take().into_iter().try_for_each(Pending::wait)?;
        let now = self.look()?;
        if self.has_rows_in(now.manifest.as_ref()) {
            self.tidy(now.manifest.as_ref())?;
            return Ok(Committed::Before);
        }
        if !manifest.is_of_run_alone(&self.run) {
            let what = format!("it tells of other runs than `{}`", self.run.escape_debug());
            return Err(self.unfit(ManifestError::Damaged(what)));
        }
        self.check_like(manifest.format, &manifest.columns)?;
        let mut whole = manifest.clone();
        whole.files.iter_mut().for_each(|file| file.name = name_of_run(&file.name, &self.run));
        self.check_files(&whole.files)?;
        if let Some(former) = self.found.manifest.as_ref().filter(|_| self.onto == Onto::Append) {
            whole = whole.added_to(former);
        }
        let text = whole.text().map_err(|error| self.unfit(error))?;
        let condition = self.found.tag.clone().map_or(Condition::Absent, Condition::Unchanged);
        let put = self.objects.put_if(&self.place.join(MANIFEST)?, text.into_bytes(), &condition);
        if put == Ok(Put::Done) {
            self.tidy(Some(&whole))?;
            return Ok(Committed::Now);
        }
        // The answer to an earlier try may have been lost on the way, and then this run itself was first.
        let now = self.look()?;
        if self.has_rows_in(now.manifest.as_ref()) {
            self.tidy(now.manifest.as_ref())?;
            return Ok(Committed::Now);
        }
        put?;
        let overtaken = self.overtaken(now.manifest.as_ref());
        self.release()?;
        Err(overtaken)
    }

    /// Gives the output back as it was: what this run put is removed.
    ///
    /// # Errors
    /// [`OutputError`], if it cannot be removed.
    pub fn release(self) -> Result<(), OutputError> {
        // What is still on its way would appear after it was removed.
        for pending in self.under_way.take() {
            let _ = pending.wait();
        }
        if self.is_committed {
            return Ok(());
        }
        let own = format!("-{}", own_digits(&self.run));
        let is_own = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).ends_with(&own);
        let listed = self.objects.list(&self.place, OBJECTS_MAX)?.into_iter().map(|object| object.address);
        let own: Vec<_> = listed.filter(|address| address.below(&self.place).is_some_and(is_own)).collect();
        Ok(self.objects.remove(&own)?)
    }

    /// The manifest that is there now.
    fn look(&self) -> Result<Found, OutputError> {
        let address = self.place.join(MANIFEST)?;
        let Some((bytes, tag)) = self.objects.read(&address, MANIFEST_BYTES_MAX)? else {
            return Ok(Found::default());
        };
        let manifest = Manifest::parse(&bytes).map_err(|error| self.unfit(error))?;
        Ok(Found { tag: Some(tag), manifest })
    }

    fn has_rows_in(&self, manifest: Option<&Manifest>) -> bool {
        manifest.is_some_and(|manifest| manifest.runs().any(|run| run == self.run))
    }

    /// Whether the output can be made, replaced or added to.
    fn check_vacant(&self, now: &Found) -> Result<(), OutputError> {
        if self.is_committed {
            return Ok(());
        }
        if now.manifest.is_some() {
            return if self.onto == Onto::New { Err(OutputError::NotEmpty(self.place())) } else { Ok(()) };
        }
        // What runs put that did not end is in nobody's way: no manifest names it.
        let listed = self.objects.list(&self.place, OBJECTS_MAX)?;
        let is_others = |name: Option<&str>| name.is_some_and(|name| !name.is_empty() && !is_left(name));
        if !listed.iter().any(|object| is_others(object.address.below(&self.place))) {
            return Ok(());
        }
        let is_new = self.onto == Onto::New;
        Err(if is_new { OutputError::NotEmpty(self.place()) } else { OutputError::NotOurs(self.place()) })
    }

    /// Has the store show that it minds conditions: one that does not would let two runs lose each other's rows.
    fn prove_conditions(&self) -> Result<(), OutputError> {
        let probe = self.place.join(&format!("{PROBE}{}", own_digits(&self.run)))?;
        let try_put = |condition: &Condition| match self.objects.put_if(&probe, b"probe".to_vec(), condition) {
            Err(ObjectError::Failed { said, .. }) => Err(OutputError::Unconditional { output: self.place(), said }),
            other => Ok(other?),
        };
        // A run that was killed here may have left it, and then the first one is refused already.
        let first = try_put(&Condition::Absent)?;
        let again = try_put(&Condition::Absent)?;
        let changed = try_put(&Condition::Unchanged(NO_TAG.to_owned()))?;
        self.objects.remove(&[probe])?;
        if (again, changed) == (Put::Refused, Put::Refused) {
            return Ok(());
        }
        let said = format!("{first:?}, {again:?} and {changed:?} where all but the first had to be refused");
        Err(OutputError::Unconditional { output: self.place(), said })
    }

    /// Looks whether all files are there, as long as they are said to be.
    fn check_files(&self, files: &[OutputFile]) -> Result<(), OutputError> {
        let listed = self.objects.list(&self.place, OBJECTS_MAX)?;
        let lengths: BTreeMap<_, _> =
            listed.iter().filter_map(|object| Some((object.address.below(&self.place)?, object.bytes))).collect();
        let damaged = |file: &OutputFile, what: String| {
            Err(OutputError::Damaged { path: PathBuf::from(format!("{}/{}", self.place, file.name)), what })
        };
        for file in files {
            match lengths.get(file.name.as_str()) {
                None => return damaged(file, "is missing".to_owned()),
                Some(&bytes) if bytes != file.bytes => {
                    return damaged(file, format!("has {bytes} bytes where {} were written", file.bytes));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Removes the files that were replaced, which the manifest no longer names.
    fn tidy(&self, manifest: Option<&Manifest>) -> Result<(), OutputError> {
        let Some(former) = self.found.manifest.as_ref().filter(|_| self.onto == Onto::Overwrite) else {
            return Ok(());
        };
        let named: BTreeSet<&str> = manifest.map(Manifest::names).unwrap_or_default();
        let replaced = former.files.iter().filter(|file| !named.contains(file.name.as_str()));
        let replaced = replaced.map(|file| self.place.join(&file.name)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.objects.remove(&replaced)?)
    }

    fn overtaken(&self, by: Option<&Manifest>) -> OutputError {
        let by =
            by.map_or_else(|| "somebody who removed its manifest".to_owned(), |by| format!("the run {}", by.run));
        OutputError::Overtaken { output: self.place(), by }
    }

    fn unfit(&self, source: ManifestError) -> OutputError {
        OutputError::Manifest { path: self.place().join(MANIFEST), source }
    }
}

/// Whether an object is what a run leaves that did not end: named as its files are, or its probe.
fn is_left(name: &str) -> bool {
    let mut parts = name.strip_prefix("part-").unwrap_or_default().splitn(3, ['-', '.']);
    let (place, own) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_place = !place.is_empty() && place.bytes().all(|digit| digit.is_ascii_digit());
    let is_own = own.len() == OWN_DIGITS && own.bytes().all(|digit| digit.is_ascii_hexdigit());
    name.starts_with(PROBE) || (is_place && is_own)
}

impl Found {
    /// What a run has written down before.
    fn remembered(folder: &Path) -> Result<Option<Self>, OutputError> {
        let path = folder.join(FOUND);
        match fs::read(&path) {
            Ok(bytes) => {
                let damaged = |error: serde_json::Error| ManifestError::Damaged(error.to_string());
                let found = serde_json::from_slice(&bytes).map_err(damaged);
                found.map(Some).map_err(|source| OutputError::Manifest { path, source })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OutputError::unreadable(&path)(error)),
        }
    }

    fn remember(&self, folder: &Path) -> Result<(), OutputError> {
        let path = folder.join(FOUND);
        let text = serde_json::to_string(self).map_err(|error| OutputError::unwritten(&path)(error.into()))?;
        Ok(write_whole(&path, (text + "\n").as_bytes())?)
    }
}
