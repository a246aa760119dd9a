//! What was read before: a data set whose files did not change since is taken from the cache folder, and not read again.
//!
//! A file is unchanged if device, inode, size and times are what they were before it was read, and if its times are
//! older than that moment by more than a clock may be coarse: one that was written in the same instant could have
//! changed without a trace, and is not trusted (git's rule for its index). The cache file itself is checked block by
//! block before it is used, by all cores: it may have rotted, and a damaged one costs a reading, no run.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use broadsweep_common::blob::{Blob, Manifest};
use broadsweep_common::codec::{self, DECODED_BYTES_MAX};
use broadsweep_common::dataset::Header;
use broadsweep_common::ids::Digest;
use broadsweep_common::schema::Schema;
use serde::{Deserialize, Serialize};

use super::destination::Destination;
use super::{Archive, DataError, Loaded, pictures};
use crate::settings::{DataSettings, DataSource, PartArrays, PartFiles};

/// What a file system's clock may be too coarse to tell apart: FAT notes every other second.
const CLOCK_TICK: Duration = Duration::from_secs(2);
/// Readings that are remembered, the last ones.
const NOTES_MAX: usize = 256;

/// Reads, checks and lays out the data of a study, unless nothing has changed since the same was read.
///
/// # Errors
/// [`DataError`], for the first thing that is wrong.
pub fn load_into(
    destination: &Destination,
    settings: &DataSettings,
    files: &Archive,
    study_seed: u64,
    folder: &Path,
) -> Result<Loaded, DataError> {
    let read = || super::read_into(destination, settings, files, study_seed, folder);
    let Some(reading) = Reading::of(destination, settings, files, study_seed, folder) else { return read() };
    if let Some(loaded) = reading.find(destination) {
        return Ok(loaded);
    }
    let loaded = read()?;
    if let Err(error) = reading.note(&loaded) {
        tracing::debug!(%error, "what was read is not noted, and will be read again");
    }
    Ok(loaded)
}

/// What is asked for, and the files as they are before they are read.
struct Reading {
    /// The folder of notes.
    notes: PathBuf,
    blobs: PathBuf,
    /// Names settings, paths and program.
    key: Digest,
    began: SystemTime,
    files: Vec<(PathBuf, Stamp)>,
}

/// What shows that a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What came of a reading.
#[derive(Serialize, Deserialize)]
struct Note {
    key: Digest,
    /// Of the files that were read.
    stamps: Digest,
    header: Header,
    schema: Option<Schema>,
    held_out: [Vec<u32>; 2],
    remarks: Vec<String>,
    bytes: u64,
    blocks: Vec<Digest>,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|found| Self::from(&found))
    }

    /// Whether the file may have changed at `moment` or later without another stamp.
    fn is_racy(&self, moment: SystemTime) -> bool {
        let since_1970 = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let certain = since_1970.saturating_sub(CLOCK_TICK);
        let certain = (certain.as_secs() as i64, i64::from(certain.subsec_nanos()));
        self.modified.max(self.changed) >= certain
    }
}

impl From<&Metadata> for Stamp {
    fn from(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

impl Reading {
    /// Nothing where nothing is kept.
    fn of(
        destination: &Destination,
        settings: &DataSettings,
        files: &Archive,
        study_seed: u64,
        folder: &Path,
    ) -> Option<Self> {
        let cache = destination.folder()?;
        // Of a study that is named without its folder, the folder is empty.
        let folder = std::env::current_dir().ok()?.join(folder);
        let began = SystemTime::now();
        // Another program may read the same files in another way.
        let program = Stamp::of(&std::env::current_exe().ok()?).ok()?;
        let key = format!("{:?}", (&settings, files, study_seed, &folder, program));
        let named = named_files(&settings.source, &folder)?;
        let all = named.into_iter().chain(files.paths().map(Path::to_owned));
        let files = all.map(|path| Stamp::of(&path).map(|stamp| (path, stamp))).collect::<io::Result<_>>().ok()?;
        let [notes, blobs] = ["loaded", "blobs"].map(|name| cache.join(name));
        Some(Self { notes, blobs, key: Digest::of(key.as_bytes()), began, files })
    }

    /// Names the files as they were.
    fn stamps(&self) -> Option<Digest> {
        codec::encode(&self.files).ok().map(|encoded| Digest::of(&encoded))
    }

    fn path(&self) -> PathBuf {
        self.notes.join(self.key.to_string())
    }

    /// What came of the same files before, if that is there and right.
    fn find(&self, destination: &Destination) -> Option<Loaded> {
        if destination.rehashes() {
            return None;
        }
        let Note { key, stamps, header, schema, held_out, remarks, bytes, blocks } = read_note(&self.path())?;
        if key != self.key || stamps != self.stamps()? {
            return None;
        }
        let manifest = Manifest::checked(bytes, blocks).ok()?;
        let content = destination.cache()?.ok()?.find_whole(&manifest).ok()??;
        Some(Loaded { header, data: Blob { manifest, content }, schema, held_out, remarks })
    }

    /// Writes down what came of it, whole or not at all, if it is kept and no file can have changed meanwhile.
    fn note(&self, loaded: &Loaded) -> io::Result<()> {
        let manifest = &loaded.data.manifest;
        let is_kept = self.blobs.join(manifest.digest().to_string()).is_file();
        let is_sure = |(path, stamp): &(PathBuf, Stamp)| {
            !stamp.is_racy(self.began) && Stamp::of(path).is_ok_and(|now| now == *stamp)
        };
        if !is_kept || !self.files.iter().all(is_sure) {
            return Ok(());
        }
        let note = Note {
            key: self.key,
            stamps: self.stamps().ok_or(io::ErrorKind::InvalidData)?,
            header: loaded.header.clone(),
            schema: loaded.schema.clone(),
            held_out: loaded.held_out.clone(),
            remarks: loaded.remarks.clone(),
            bytes: manifest.bytes(),
            blocks: manifest.blocks().to_vec(),
        };
        let encoded = codec::encode(&note).map_err(io::Error::other)?;
        fs::create_dir_all(&self.notes)?;
        self.drop_old()?;
        let mut file = tempfile::NamedTempFile::new_in(&self.notes)?;
        file.write_all(&Digest::of(&encoded).0)?;
        file.write_all(&encoded)?;
        file.persist(self.path())?;
        Ok(())
    }

    /// Drops the oldest notes, so that one more may come.
    fn drop_old(&self) -> io::Result<()> {
        let mut known = Vec::new();
        for entry in fs::read_dir(&self.notes)? {
            let entry = entry?;
            known.push((entry.metadata()?.modified()?, entry.path()));
        }
        known.sort();
        for (_, path) in known.iter().take((known.len() + 1).saturating_sub(NOTES_MAX)) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// The note at `path`; nothing where it is damaged.
fn read_note(path: &Path) -> Option<Note> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(DECODED_BYTES_MAX as u64).read_to_end(&mut bytes).ok()?;
    let (digest, encoded) = bytes.split_first_chunk::<32>()?;
    if Digest::of(encoded).0 != *digest {
        return None;
    }
    codec::decode(encoded).ok()
}

/// The files that a study names, and of folders of pictures all that is in them.
fn named_files(source: &DataSource, folder: &Path) -> Option<Vec<PathBuf>> {
    let named = match source {
        DataSource::Idx(paths) | DataSource::Npy(paths) => array_files(paths),
        DataSource::Npz { files, .. } => part_files(files),
        DataSource::Table(table) => part_files(&table.files),
        DataSource::Images { train, validation, test } => {
            let mut all = Vec::new();
            for part in [Some(train), validation.as_ref(), test.as_ref()].into_iter().flatten() {
                all.extend(pictures::all_files(&folder.join(part)).ok()?);
            }
            return Some(all);
        }
    };
    Some(named.into_iter().map(|path| folder.join(path)).collect())
}

fn part_files(files: &PartFiles) -> Vec<&PathBuf> {
    files.each().map(|(_, file)| file).collect()
}

fn array_files(arrays: &PartArrays<PathBuf>) -> Vec<&PathBuf> {
    let files = arrays.pairs().flat_map(|(_, pair)| pair.features.iter().chain(&pair.labels));
    files.chain(arrays.groups.iter().flatten()).collect()
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
