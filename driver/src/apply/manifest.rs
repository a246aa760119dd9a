//! `manifest.json`: which files an output has, how many rows are in each, and which runs wrote them.
//!
//! Whoever reads an output by its manifest sees all of a run's rows or none of them, also while others are added.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use broadsweep_common::application::KeptColumn;
use broadsweep_common::ids::Digest;
use broadsweep_data::output::OutputFormat;
use serde::{Deserialize, Serialize};

use super::OutputError;

/// The manifest's name in its output.
pub const MANIFEST: &str = "manifest.json";
/// The number of the form in which manifests are written.
pub const VERSION: u32 = 1;
/// Bytes that a manifest may have: some 300 thousand files.
pub(super) const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a file's name, as file systems have it.
const NAME_BYTES_MAX: usize = 255;
/// Hexadecimal digits of a BLAKE3 digest.
const DIGEST_DIGITS: usize = 64;

/// What an output has. `run`, `model` and `kernel` are those of its latest run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The number of this form, [`VERSION`]; by its name, a manifest of ours is told from those of others.
    #[serde(rename = "broadsweep_output")]
    pub version: u32,
    /// The id of the run that wrote it.
    pub run: String,
    /// The digest of the model that was applied.
    pub model: String,
    /// What it was computed with.
    pub kernel: String,
    /// How its files are written.
    pub format: OutputFormat,
    /// The columns of each file, in their order.
    pub columns: Vec<KeptColumn>,
    /// Rows of all files.
    pub rows: u64,
    /// Rows of the input that could not be used, of all runs.
    pub bad_rows: u64,
    /// The files, in the order of their rows.
    pub files: Vec<OutputFile>,
    /// The runs that wrote the files that were there before, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
}

/// A file of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Its name in the output's folder.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its BLAKE3 digest, in hexadecimal digits.
    pub blake3: String,
    /// The id of the run that wrote it.
    pub run: String,
}

impl OutputFile {
    /// What a manifest says of these bytes.
    #[must_use]
    pub fn of(name: &str, rows: u64, bytes: &[u8], run: &str) -> Self {
        let blake3 = Digest::of(bytes).to_string();
        Self { name: name.to_owned(), rows, bytes: bytes.len() as u64, blake3, run: run.to_owned() }
    }
}

/// A run that added to an output before the latest one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// Its id.
    pub run: String,
    /// The digest of the model that it applied.
    pub model: String,
    /// What that was computed with.
    pub kernel: String,
    /// Rows of the input that it could not use.
    pub bad_rows: u64,
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Of a later program.
    #[error("it has the form {0}, and this program knows form {VERSION}; use the broadsweep that wrote it")]
    Version(u64),
    /// Not what we write.
    #[error("{0}; it was damaged, or changed by hand: bring back the one that was written")]
    Damaged(String),
    /// Larger than any that we write.
    #[error(
        "it would have {0} bytes, more than the {MANIFEST_BYTES_MAX} that it may have; cut the input into fewer partitions"
    )]
    TooLong(u64),
}

impl Manifest {
    /// The runs of which there are files, or could be.
    pub fn runs(&self) -> impl Iterator<Item = &str> {
        self.earlier.iter().map(|earlier| earlier.run.as_str()).chain([self.run.as_str()])
    }

    /// Whether it tells of nothing but what this run wrote.
    pub(super) fn is_of_run_alone(&self, run: &str) -> bool {
        self.run == run && self.earlier.is_empty() && self.files.iter().all(|file| file.run == run)
    }

    /// The names of its files.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.files.iter().map(|file| file.name.as_str()).collect()
    }

    /// The manifest in `folder`; `None` if there is none, or it is somebody else's.
    ///
    /// # Errors
    /// [`OutputError`]: one of ours that is damaged or of a later form, or it cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, OutputError> {
        let path = folder.join(MANIFEST);
        let damaged = |source| OutputError::Manifest { path: path.clone(), source };
        // Looked at before it is opened, which may take forever if it is no file.
        let metadata = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(OutputError::unreadable(&path))?,
        };
        if !metadata.is_file() {
            return Ok(None);
        }
        let file = File::open(&path).map_err(OutputError::unreadable(&path))?;
        if metadata.len() > MANIFEST_BYTES_MAX {
            return Err(damaged(ManifestError::TooLong(metadata.len())));
        }
        let mut bytes = Vec::new();
        file.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes).map_err(OutputError::unreadable(&path))?;
        Self::parse(&bytes).map_err(damaged)
    }

    /// What these bytes say; `None` if they are none of ours.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, ManifestError> {
        /// What tells a manifest of ours, of whatever form.
        #[derive(Deserialize)]
        struct Mark {
            #[serde(rename = "broadsweep_output")]
            version: u64,
        }
        // Only an object is one: the same values in a list would be read too.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Ok(None);
        }
        let Ok(Mark { version }) = serde_json::from_slice(bytes) else { return Ok(None) };
        if version != u64::from(VERSION) {
            return Err(ManifestError::Version(version));
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| ManifestError::Damaged(error.to_string()))?;
        manifest.check()?;
        Ok(Some(manifest))
    }

    /// Its text, with a newline at its end.
    ///
    /// # Errors
    /// [`ManifestError`], if it would not be read again.
    pub(super) fn text(&self) -> Result<String, ManifestError> {
        self.check()?;
        let text =
            serde_json::to_string_pretty(self).map_err(|error| ManifestError::Damaged(error.to_string()))? + "\n";
        let bytes = text.len() as u64;
        if bytes > MANIFEST_BYTES_MAX { Err(ManifestError::TooLong(bytes)) } else { Ok(text) }
    }

    fn check(&self) -> Result<(), ManifestError> {
        let damaged = |what: String| Err(ManifestError::Damaged(what));
        if self.version != VERSION {
            return Err(ManifestError::Version(self.version.into()));
        }
        let (mut names, mut rows) = (BTreeSet::new(), 0_u64);
        let runs: BTreeSet<_> = self.runs().collect();
        for OutputFile { name, blake3, run, .. } in &self.files {
            let shown = name.escape_debug();
            if !is_file_name(name) {
                return damaged(format!("`{shown}` cannot be the name of a file"));
            }
            if !names.insert(name) {
                return damaged(format!("it names `{shown}` twice"));
            }
            if blake3.len() != DIGEST_DIGITS || !blake3.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return damaged(format!("the digest of `{shown}` is none"));
            }
            if !runs.contains(run.as_str()) {
                return damaged(format!("it does not name the run that wrote `{shown}`"));
            }
        }
        for file in &self.files {
            rows = rows.saturating_add(file.rows);
        }
        if rows != self.rows {
            return damaged(format!("it tells of {} rows, and its files have {rows}", self.rows));
        }
        Ok(())
    }

    /// What an output has after this was added to it: the files that were there, then the new ones.
    pub(super) fn added_to(self, former: &Self) -> Self {
        let Manifest { run, model, kernel, .. } = former.clone();
        let bad_rows = former.earlier.iter().fold(former.bad_rows, |left, run| left.saturating_sub(run.bad_rows));
        Self {
            rows: former.rows.saturating_add(self.rows),
            bad_rows: former.bad_rows.saturating_add(self.bad_rows),
            files: [former.files.as_slice(), &self.files].concat(),
            earlier: [former.earlier.as_slice(), &[Earlier { run, model, kernel, bad_rows }]].concat(),
            ..self
        }
    }
}

/// Whether a file of an output can be called so.
pub(super) fn is_file_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains(['/', '\0'])
        && name != MANIFEST
}
