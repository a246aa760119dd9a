//! Measures a folder in small steps, so that a supervisor with a million files before it still hears its executor.

use std::fs::{self, ReadDir};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::order::DiskLimit;

const INTERVAL: Duration = Duration::from_millis(500);
/// Measuring takes at most one part in so many of the time.
const REST_PER_WORK: u32 = 10;
const ENTRIES_PER_STEP: usize = 2_000;
const FINISH_MAX: Duration = Duration::from_millis(500);
/// What a file takes in the file system's own tables, so that empty ones count too.
const ENTRY_BYTES: u64 = 256;

/// Measures one folder again and again.
pub(crate) struct DiskWatch {
    limit: DiskLimit,
    due: Instant,
    walk: Option<Walk>,
}

struct Walk {
    open: Vec<ReadDir>,
    device: u64,
    used_bytes: u64,
    work: Duration,
}

impl DiskWatch {
    pub(crate) fn new(limit: DiskLimit, now: Instant) -> Self {
        Self { limit, due: now + INTERVAL, walk: None }
    }

    /// When to call [`DiskWatch::step`] again.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit.bytes_max
    }

    /// Counts on, if it is time to. What is used is returned if it is too much.
    pub(crate) fn step(&mut self, now: Instant) -> Option<u64> {
        if now < self.due {
            return None;
        }
        let walk = self.walk.get_or_insert_with(|| Walk::new(&self.limit.folder));
        let is_whole = walk.step(ENTRIES_PER_STEP, self.limit.bytes_max);
        walk.work += now.elapsed();
        let excess = Some(walk.used_bytes).filter(|used| *used > self.limit.bytes_max);
        if is_whole {
            self.due = now + INTERVAL.max(walk.work * REST_PER_WORK);
            self.walk = None;
        }
        excess
    }

    /// Counts all at once, when nothing runs any more; for a moment only, since a slot waits for it.
    pub(crate) fn finish(&self) -> Option<u64> {
        let mut walk = Walk::new(&self.limit.folder);
        let deadline = Instant::now() + FINISH_MAX;
        while !walk.step(ENTRIES_PER_STEP, self.limit.bytes_max) && Instant::now() < deadline {}
        Some(walk.used_bytes).filter(|used| *used > self.limit.bytes_max)
    }
}

impl Walk {
    /// What cannot be read counts nothing: the program may have removed it a moment ago.
    fn new(folder: &Path) -> Self {
        let device = fs::metadata(folder).map_or(0, |folder| folder.dev());
        Self { open: fs::read_dir(folder).into_iter().collect(), device, used_bytes: 0, work: Duration::ZERO }
    }

    /// Whether all is counted, or enough of it.
    fn step(&mut self, entries: usize, bytes_max: u64) -> bool {
        for _ in 0..entries {
            if self.used_bytes > bytes_max {
                return true;
            }
            let Some(folder) = self.open.last_mut() else { return true };
            let Some(entry) = folder.next() else {
                self.open.pop();
                continue;
            };
            // Of the entry itself: a link counts as a link.
            let Some((entry, metadata)) = entry.ok().and_then(|entry| entry.metadata().ok().map(|it| (entry, it)))
            else {
                continue;
            };
            if metadata.dev() != self.device {
                continue;
            }
            self.used_bytes += metadata.blocks() * 512 + ENTRY_BYTES;
            if metadata.is_dir() {
                self.open.extend(fs::read_dir(entry.path()));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(folder: &Path, bytes_max: u64, now: Instant) -> DiskWatch {
        DiskWatch::new(DiskLimit { folder: folder.to_owned(), bytes_max }, now)
    }

    #[test]
    fn a_folder_is_measured_with_all_below_it_and_without_what_links_point_to() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("large"), vec![1; 1 << 20]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/file"), vec![1; 100 << 10]).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("a/link")).unwrap();
        let now = Instant::now();
        let later = now + INTERVAL;
        assert_eq!(watch(folder.path(), 10, now).step(now), None, "it is not yet time");
        assert!(watch(folder.path(), 90 << 10, now).step(later).is_some_and(|used| used < 200 << 10));
        assert_eq!(watch(folder.path(), 200 << 10, now).step(later), None);
        assert!(watch(folder.path(), 90 << 10, now).finish().is_some());
    }

    #[test]
    fn many_files_are_counted_in_steps_and_a_folder_that_is_gone_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..ENTRIES_PER_STEP + 10 {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        let now = Instant::now();
        let mut many = watch(folder.path(), ENTRIES_PER_STEP as u64 * ENTRY_BYTES, now);
        assert_eq!(many.step(now + INTERVAL), None);
        assert!(many.due() <= now + INTERVAL, "it goes on at once");
        assert!(many.step(now + INTERVAL).is_some(), "empty files count too");
        fs::remove_dir_all(folder.path()).unwrap();
        assert_eq!(watch(folder.path(), 0, now).step(now + INTERVAL), None);
    }
}
