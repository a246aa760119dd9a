//! What programs printed, in files of the run's folder: `logs/t7.2.log` for attempt t7.2.
//!
//! | module | holds |
//! |---|---|
//! | `writing` | the files, within their bounds |
//! | `keeper` | a thread that writes them, so that the run never waits for them |
//! | `reading` | the same files for people, also while they grow |
//!
//! A log is text in one file, or in up to three where it is long: its beginning in `t7.2.log`, then the part that was
//! written last and the one before it, each in a file with the number of the log's bytes before it: `t7.2.log.786432`. What
//! lay between is gone. Nothing else of a run depends on them: they may be removed at any time.

mod keeper;
mod reading;
mod writing;

use broadsweep_common::ids::{AttemptId, TaskId};

pub use keeper::{LogFiles, LogKeeper};
pub use reading::{LogPart, LogReader, sizes};

/// The folder of the logs in the run's folder.
pub const FOLDER: &str = "logs";
/// Bytes of one file of a log: three at most.
pub const FILE_BYTES_MAX: u64 = 256 << 10;
/// Bytes of all logs of a run, where a file counts as 4 KiB at least. Beyond that, those go that were written to longest ago.
pub const RUN_BYTES_MAX: u64 = 1 << 30;

/// The name of a file of an attempt's log, with so many of its bytes before it.
fn file_name(attempt: AttemptId, start: u64) -> String {
    if start == 0 { format!("{attempt}.log") } else { format!("{attempt}.log.{start}") }
}

/// What [`file_name`] was given; `None` for other files.
fn of_file_name(name: &str) -> Option<(AttemptId, u64)> {
    let (attempt, rest) = name.split_once(".log")?;
    let found = (attempt_of(attempt)?, if rest.is_empty() { 0 } else { rest.strip_prefix('.')?.parse().ok()? });
    // One name for each: `t07.2.log` is none.
    (file_name(found.0, found.1) == name).then_some(found)
}

/// The attempt of this name, as `t7.2`.
#[must_use]
pub fn attempt_of(name: &str) -> Option<AttemptId> {
    let (task, number) = name.strip_prefix('t')?.split_once('.')?;
    Some(AttemptId { task: TaskId(task.parse().ok()?), number: number.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_for_its_attempt_and_its_place_in_the_log() {
        let attempt = AttemptId { task: TaskId(7), number: 2 };
        for (start, name) in [(0, "t7.2.log"), (786_432, "t7.2.log.786432")] {
            assert_eq!(file_name(attempt, start), name);
            assert_eq!(of_file_name(name), Some((attempt, start)));
        }
        for other in
            ["t7.2", "t7.log", "7.2.log", "t7.2.log.", "t7.2.log.0", "t07.2.log", "t7.2.log.x", ".t7.2.log", ""]
        {
            assert_eq!(of_file_name(other), None, "{other}");
        }
    }
}
