//! Logs as people read them, also while they grow.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use broadsweep_common::ids::AttemptId;

use super::{FILE_BYTES_MAX, FOLDER, of_file_name};

/// Something of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPart {
    /// What was printed.
    Text(Vec<u8>),
    /// A line that says what is missing there.
    LeftOut(String),
}

/// Reads one log from its beginning on.
#[derive(Debug)]
pub struct LogReader {
    folder: PathBuf,
    attempt: AttemptId,
    /// Bytes of the log that were read, or that are gone.
    at: u64,
}

impl LogReader {
    /// The log of an attempt in the folder of a run, whether there is one yet or not.
    #[must_use]
    pub fn new(run: &Path, attempt: AttemptId) -> Self {
        Self { folder: run.join(FOLDER), attempt, at: 0 }
    }

    /// What has come since.
    ///
    /// # Errors
    /// What the system said. A log that is not there is none.
    pub fn read(&mut self) -> io::Result<Vec<LogPart>> {
        let mut parts = Vec::new();
        for (start, path) in files(&self.folder)?.remove(&self.attempt).unwrap_or_default() {
            let text = match self.read_file(start, &path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // another one took its place
                read => read?,
            };
            if text.is_empty() {
                continue;
            }
            if start > self.at {
                parts.push(LogPart::LeftOut(format!("\n[{} bytes left out]\n", start - self.at)));
            }
            self.at = self.at.max(start).saturating_add(text.len() as u64);
            parts.push(LogPart::Text(text));
        }
        Ok(parts)
    }

    /// What is in a file that was not read yet.
    fn read_file(&self, start: u64, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.at.saturating_sub(start)))?;
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
        Ok(text)
    }
}

/// The attempts of which there is a log in the folder of a run, and the bytes that there are of each.
///
/// # Errors
/// What the system said.
pub fn sizes(run: &Path) -> io::Result<BTreeMap<AttemptId, u64>> {
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |facts| facts.len());
    let logs = files(&run.join(FOLDER))?.into_iter();
    Ok(logs.map(|(attempt, files)| (attempt, files.values().map(size).sum())).collect())
}

/// The files of each log, by their place in it.
fn files(folder: &Path) -> io::Result<BTreeMap<AttemptId, BTreeMap<u64, PathBuf>>> {
    let mut files: BTreeMap<AttemptId, BTreeMap<u64, PathBuf>> = BTreeMap::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if let Some((attempt, start)) = entry.file_name().to_str().and_then(of_file_name) {
            files.entry(attempt).or_default().insert(start, entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TaskId;
    use tempfile::TempDir;

    use super::*;

    const ATTEMPT: AttemptId = AttemptId { task: TaskId(7), number: 2 };

    fn write(run: &TempDir, name: &str, text: &str) {
        fs::create_dir_all(run.path().join(FOLDER)).unwrap();
        fs::write(run.path().join(FOLDER).join(name), text).unwrap();
    }

    fn words(parts: Vec<LogPart>) -> String {
        let word = |part| match part {
            LogPart::Text(text) => String::from_utf8(text).unwrap(),
            LogPart::LeftOut(line) => line,
        };
        parts.into_iter().map(word).collect()
    }

    #[test]
    fn a_log_is_read_on_where_it_has_grown_and_what_is_missing_is_told() {
        let run = tempfile::tempdir().unwrap();
        let mut reader = LogReader::new(run.path(), ATTEMPT);
        assert_eq!(reader.read().unwrap(), []);
        write(&run, "t7.2.log", "one\n");
        write(&run, "t7.20.log", "another's\n");
        assert_eq!(words(reader.read().unwrap()), "one\n");
        assert_eq!(reader.read().unwrap(), []);
        write(&run, "t7.2.log", "one\ntwo\n");
        write(&run, "t7.2.log.8", "three\n");
        assert_eq!(words(reader.read().unwrap()), "two\nthree\n");
        write(&run, "t7.2.log.100", "four\n");
        assert_eq!(words(reader.read().unwrap()), "\n[86 bytes left out]\nfour\n");
        assert_eq!(words(LogReader::new(run.path(), ATTEMPT).read().unwrap()).len(), 8 + 6 + 21 + 5);
        let sizes = sizes(run.path()).unwrap().into_values();
        assert_eq!(sizes.collect::<Vec<_>>(), [8 + 6 + 5, 10]);
    }

    #[test]
    fn a_run_without_logs_has_none() {
        let run = tempfile::tempdir().unwrap();
        assert!(sizes(run.path()).unwrap().is_empty());
    }
}
