//! The files of the logs, as they are written: whatever an executor sends, they stay within their bounds.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use broadsweep_common::ids::AttemptId;
use broadsweep_common::log::LogPiece;

use super::{FILE_BYTES_MAX, FOLDER, RUN_BYTES_MAX, file_name, of_file_name};

/// Files of one log.
const FILES_MAX: usize = 3;
/// What a file takes of a disk at least.
const DISK_BLOCK_BYTES: u64 = 4096;

/// The logs of a run.
pub(super) struct LogFolder {
    path: PathBuf,
    logs: HashMap<AttemptId, Written>,
    /// By when they were written to.
    by_age: BTreeMap<u64, AttemptId>,
    /// Counts what is written.
    turn: u64,
    bytes: u64,
    bytes_max: u64,
}

/// What there is of one log: its files in order, the first of which is never given up alone.
#[derive(Default)]
struct Written {
    files: Vec<Part>,
    turn: u64,
}

#[derive(Clone, Copy)]
struct Part {
    start: u64,
    bytes: u64,
}

impl Part {
    fn end(self) -> u64 {
        self.start.saturating_add(self.bytes)
    }

    fn on_disk(self) -> u64 {
        self.bytes.max(DISK_BLOCK_BYTES)
    }
}

impl LogFolder {
    /// The logs in the folder of a run: those that an earlier driver wrote, too.
    pub(super) fn open(run: &Path) -> Self {
        Self::with_bound(run, RUN_BYTES_MAX)
    }

    fn with_bound(run: &Path, bytes_max: u64) -> Self {
        let path = run.join(FOLDER);
        let mut folder = Self { path, logs: HashMap::new(), by_age: BTreeMap::new(), turn: 0, bytes: 0, bytes_max };
        for (attempt, parts) in found(&folder.path) {
            folder.bytes += parts.iter().map(|part| part.on_disk()).sum::<u64>();
            folder.turn += 1;
            folder.by_age.insert(folder.turn, attempt);
            folder.logs.insert(attempt, Written { files: parts, turn: folder.turn });
        }
        folder
    }

    /// Writes a piece of a log behind what there is of it. What came before is left out; where something is missing before
    /// it, it begins another file.
    ///
    /// # Errors
    /// What the system said: nothing of the piece, or some of it, is written.
    pub(super) fn keep(&mut self, piece: &LogPiece) -> io::Result<()> {
        self.turn += 1;
        let log = self.logs.entry(piece.attempt).or_default();
        self.by_age.remove(&log.turn);
        log.turn = self.turn;
        self.by_age.insert(self.turn, piece.attempt);
        let known = log.files.last().map_or(0, |last| last.end());
        let skipped = usize::try_from(known.saturating_sub(piece.offset)).unwrap_or(usize::MAX);
        let (mut text, mut offset) = (piece.text.get(skipped..).unwrap_or_default(), piece.offset.max(known));
        while !text.is_empty() {
            let count = self.room(piece.attempt, offset)?.min(text.len() as u64);
            let (now, rest) = text.split_at(usize::try_from(count).unwrap_or(text.len()));
            self.append(piece.attempt, now)?;
            (text, offset) = (rest, offset.saturating_add(count));
        }
        self.make_room(piece.attempt);
        Ok(())
    }

    /// How many bytes the last file of a log takes, the next of which is that at `offset`; another file begins if need be.
    fn room(&mut self, attempt: AttemptId, offset: u64) -> io::Result<u64> {
        let log = self.logs.entry(attempt).or_default();
        if let Some(last) = log.files.last().filter(|last| last.end() == offset && last.bytes < FILE_BYTES_MAX) {
            return Ok(FILE_BYTES_MAX - last.bytes);
        }
        if log.files.len() == FILES_MAX {
            let oldest = log.files.remove(1);
            self.bytes -= oldest.on_disk();
            remove(&self.path.join(file_name(attempt, oldest.start)))?;
        }
        let part = Part { start: offset, bytes: 0 };
        log.files.push(part);
        self.bytes += part.on_disk();
        Ok(FILE_BYTES_MAX)
    }

    /// Writes to the last file of a log.
    fn append(&mut self, attempt: AttemptId, text: &[u8]) -> io::Result<()> {
        let Some(last) = self.logs.get_mut(&attempt).and_then(|log| log.files.last_mut()) else { return Ok(()) };
        let path = self.path.join(file_name(attempt, last.start));
        let open = || File::options().create(true).append(true).open(&path);
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.path)?;
                open()?
            }
            opened => opened?,
        };
        let before = last.on_disk();
        file.write_all(text)?;
        last.bytes += text.len() as u64;
        self.bytes = self.bytes + last.on_disk() - before;
        Ok(())
    }

    /// Gives up what was written to longest ago, but for `current`, until all that is left fits.
    fn make_room(&mut self, current: AttemptId) {
        while self.bytes > self.bytes_max
            && let Some((turn, oldest)) = self.by_age.pop_first()
        {
            if oldest == current {
                self.by_age.insert(turn, oldest);
                break;
            }
            for part in self.logs.remove(&oldest).unwrap_or_default().files {
                self.bytes -= part.on_disk();
                if let Err(error) = remove(&self.path.join(file_name(oldest, part.start))) {
                    tracing::warn!(attempt = %oldest, %error, "an old log stays");
                }
            }
        }
    }
}

/// The files of each log in a folder, in their order.
fn found(path: &Path) -> BTreeMap<AttemptId, Vec<Part>> {
    let mut found: BTreeMap<AttemptId, Vec<Part>> = BTreeMap::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let Some((attempt, start)) = entry.file_name().to_str().and_then(of_file_name) else { continue };
        let bytes = entry.metadata().map_or(0, |facts| facts.len());
        found.entry(attempt).or_default().push(Part { start, bytes });
    }
    for parts in found.values_mut() {
        parts.sort_by_key(|part| part.start);
    }
    found
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TaskId;
    use tempfile::TempDir;

    use super::*;

    fn piece(task: u32, offset: u64, text: impl AsRef<[u8]>) -> LogPiece {
        let attempt = AttemptId { task: TaskId(task), number: 1 };
        LogPiece { attempt, offset, text: text.as_ref().to_vec().into() }
    }

    /// What lies in the folder of logs, by name.
    fn files(run: &TempDir) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(run.path().join(FOLDER)).unwrap().flatten();
        let mut files: Vec<_> = entries
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn pieces_follow_each_other_and_what_came_before_is_not_written_twice() {
        let run = tempfile::tempdir().unwrap();
        let mut folder = LogFolder::open(run.path());
        for (offset, text) in [(0, "one\n"), (4, "two\n"), (2, "e\ntwo\nthree\n"), (0, "other"), (14, "")] {
            folder.keep(&piece(7, offset, text)).unwrap();
        }
        drop(folder);
        assert_eq!(files(&run), [("t7.1.log".to_owned(), b"one\ntwo\nthree\n".to_vec())]);
        // Another driver goes on.
        let mut folder = LogFolder::open(run.path());
        folder.keep(&piece(7, 14, "four\n")).unwrap();
        folder.keep(&piece(7, 100, "after what was lost\n")).unwrap();
        let expected: [(&str, &[u8]); 2] =
            [("t7.1.log", b"one\ntwo\nthree\nfour\n"), ("t7.1.log.100", b"after what was lost\n")];
        assert_eq!(files(&run), expected.map(|(name, text)| (name.to_owned(), text.to_vec())));
    }

    #[test]
    fn of_a_long_log_the_beginning_and_the_newest_files_stay() {
        let run = tempfile::tempdir().unwrap();
        let mut folder = LogFolder::open(run.path());
        let chunk = 100_000;
        for number in 0..30_u64 {
            folder.keep(&piece(0, number * chunk, vec![b'a' + number as u8; chunk as usize])).unwrap();
        }
        let kept = files(&run);
        let sizes: Vec<_> = kept.iter().map(|(name, text)| (name.as_str(), text.len() as u64)).collect();
        let last = 30 * chunk / FILE_BYTES_MAX * FILE_BYTES_MAX;
        let (before, last_name) = (last - FILE_BYTES_MAX, format!("t0.1.log.{last}"));
        assert_eq!(
            sizes,
            [
                ("t0.1.log", FILE_BYTES_MAX),
                (&format!("t0.1.log.{before}"), FILE_BYTES_MAX),
                (&last_name, 30 * chunk - last)
            ]
        );
        assert_eq!(folder.bytes, sizes.iter().map(|(_, bytes)| bytes).sum::<u64>());
    }

    #[test]
    fn whatever_offsets_are_told_a_log_stays_within_its_bounds() {
        let run = tempfile::tempdir().unwrap();
        let mut folder = LogFolder::open(run.path());
        for offset in [u64::MAX - 1, 0, 5, 1 << 62, u64::MAX - 3, u64::MAX, 7, 1 << 40] {
            folder.keep(&piece(0, offset, "x")).unwrap();
        }
        for number in 0..1000 {
            folder.keep(&piece(1, number * 2, "x")).unwrap();
        }
        assert!(files(&run).len() <= 2 * FILES_MAX, "{:?}", files(&run));
        assert!(folder.bytes <= 6 * DISK_BLOCK_BYTES);
    }

    #[test]
    fn the_logs_of_a_run_take_no_more_than_they_may_and_the_oldest_go_first() {
        let run = tempfile::tempdir().unwrap();
        let mut folder = LogFolder::with_bound(run.path(), 4 * DISK_BLOCK_BYTES);
        for task in 0..4 {
            folder.keep(&piece(task, 0, "x")).unwrap();
        }
        folder.keep(&piece(0, 1, "y")).unwrap();
        folder.keep(&piece(9, 0, vec![b'z'; 2 * DISK_BLOCK_BYTES as usize])).unwrap();
        let names: Vec<_> = files(&run).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["t0.1.log", "t3.1.log", "t9.1.log"]);
        folder.keep(&piece(9, 2 * DISK_BLOCK_BYTES, vec![b'z'; 9 * DISK_BLOCK_BYTES as usize])).unwrap();
        assert_eq!(files(&run).len(), 1, "the one that is being written stays");
        let mut again = LogFolder::with_bound(run.path(), 4 * DISK_BLOCK_BYTES);
        again.keep(&piece(1, 0, "x")).unwrap();
        assert_eq!((files(&run).len(), again.bytes), (1, DISK_BLOCK_BYTES));
    }
}
