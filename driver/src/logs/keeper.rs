//! A thread that writes the logs: the run hands pieces over and never waits for the disk.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use broadsweep_common::log::LogPiece;

use super::writing::LogFolder;

/// Bytes that may wait for the disk; what comes beyond them is left out.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Takes what programs print. The seam at which a simulation has nothing: `()`.
pub trait LogKeeper: Send + Sync {
    /// Keeps a piece of a log if it can, and does not wait.
    fn keep(&self, piece: LogPiece);
}

impl LogKeeper for () {
    fn keep(&self, _: LogPiece) {}
}

/// The logs of a run in its folder.
pub struct LogFiles {
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<Option<io::Error>>>>,
}

impl fmt::Debug for LogFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFiles").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<LogPiece>,
    bytes: usize,
    is_closed: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece; `None` once it is closed and all are written.
    fn next(&self) -> Option<LogPiece> {
        let mut state = self.state();
        loop {
            if let Some(piece) = state.waiting.pop_front() {
                state.bytes -= piece.text.len();
                return Some(piece);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl LogFiles {
    /// Keeps logs in the folder of a run from now on. Nothing is made there before something is printed.
    ///
    /// # Errors
    /// If the system starts no more threads.
    pub fn start(run: &Path) -> io::Result<Self> {
        let queue: Arc<Queue> = Arc::default();
        let (pieces, run) = (Arc::clone(&queue), run.to_owned());
        let writer = thread::Builder::new().name("logs".to_owned()).spawn(move || write(&pieces, &run))?;
        Ok(Self { queue, writer: Mutex::new(Some(writer)) })
    }

    /// Writes what waits, and nothing after it. Returns what the system said where something could not be written first.
    pub fn close(&self) -> Option<io::Error> {
        self.queue.state().is_closed = true;
        self.queue.changed.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        writer.and_then(|writer| writer.join().unwrap_or_else(|_| Some(io::Error::other("its thread panicked"))))
    }
}

impl Drop for LogFiles {
    fn drop(&mut self) {
        if let Some(error) = self.close() {
            tracing::warn!(%error, "some of what programs printed was not kept");
        }
    }
}

impl LogKeeper for LogFiles {
    fn keep(&self, piece: LogPiece) {
        let mut state = self.queue.state();
        if state.is_closed || state.bytes + piece.text.len() > WAITING_BYTES_MAX {
            return; // the next piece shows by its offset that something is missing
        }
        state.bytes += piece.text.len();
        state.waiting.push_back(piece);
        drop(state);
        self.queue.changed.notify_one();
    }
}

/// Writes pieces until no more come; returns the first error.
fn write(pieces: &Queue, run: &Path) -> Option<io::Error> {
    let mut folder = LogFolder::open(run);
    let mut first_error = None;
    while let Some(piece) = pieces.next() {
        if let Err(error) = folder.keep(&piece)
            && first_error.is_none()
        {
            tracing::warn!(attempt = %piece.attempt, %error, "a log is not kept");
            first_error = Some(error);
        }
    }
    first_error
}

#[cfg(test)]
mod tests {
    use std::fs;

    use broadsweep_common::ids::{AttemptId, TaskId};

    use super::*;

    #[test]
    fn what_was_handed_over_is_written_when_it_is_closed_and_an_error_is_told_then() {
        let run = tempfile::tempdir().unwrap();
        let attempt = AttemptId { task: TaskId(7), number: 2 };
        let piece = |offset, text: &str| LogPiece { attempt, offset, text: text.as_bytes().to_vec().into() };
        let logs = LogFiles::start(run.path()).unwrap();
        for (offset, text) in [(0, "one\n"), (4, "two\n")] {
            logs.keep(piece(offset, text));
        }
        assert!(logs.close().is_none());
        logs.keep(piece(8, "too late\n"));
        drop(logs);
        assert_eq!(fs::read(run.path().join("logs/t7.2.log")).unwrap(), b"one\ntwo\n");
        let file = run.path().join("file");
        fs::write(&file, b"").unwrap();
        let nowhere = LogFiles::start(&file).unwrap();
        nowhere.keep(piece(0, "x"));
        assert!(nowhere.close().is_some());
    }
}
