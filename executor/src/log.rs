//! What attempts print, while it waits for the session: bounded for each attempt, and never in the way of a report.
//!
//! The first [`KEPT_BYTES`] of an attempt are kept until they are sent; beyond them, as many of the newest. What is left out
//! between is counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use broadsweep_common::ids::AttemptId;
use broadsweep_common::log::{KEPT_BYTES, LogPiece, PIECE_BYTES_MAX, PIECES_BYTES_MAX, PIECES_MAX};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Tells the session that logs wait.
#[derive(Debug, Default)]
pub(crate) struct LogBell {
    is_rung: AtomicBool,
    changed: Notify,
}

impl LogBell {
    fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            self.changed.notify_one();
        }
    }

    /// Waits until it is rung, and not less long than until `due`. Safe to cancel.
    pub(crate) async fn wait(&self, due: Instant) {
        while !self.is_rung.load(Ordering::Acquire) {
            self.changed.notified().await;
        }
        sleep_until(due).await;
    }

    /// Before it is looked what waits: what comes from now on rings again.
    pub(crate) fn silence(&self) {
        self.is_rung.store(false, Ordering::Release);
    }
}

/// What one attempt printed and nobody was sent yet.
#[derive(Debug)]
pub(crate) struct AttemptLog {
    bell: Arc<LogBell>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// Bytes of the log that were taken, or left out.
    taken: u64,
    /// Of the first bytes, which are all kept.
    first: VecDeque<u8>,
    /// How many of these may come yet.
    first_room: usize,
    /// Bytes between them and the newest.
    left_out: u64,
    /// The newest.
    last: VecDeque<u8>,
}

impl AttemptLog {
    pub(crate) fn new(bell: Arc<LogBell>) -> Self {
        let (first, last) = (VecDeque::new(), VecDeque::new());
        Self { bell, waiting: Mutex::new(Waiting { taken: 0, first, first_room: KEPT_BYTES, left_out: 0, last }) }
    }

    /// Adds to the log.
    pub(crate) fn push(&self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        self.bell.ring();
    }

    fn piece(&self, attempt: AttemptId, max: usize) -> Option<LogPiece> {
        let (offset, text) = self.take(max.min(PIECE_BYTES_MAX))?;
        Some(LogPiece { attempt, offset, text: text.into() })
    }

    /// The next bytes of the log, at most `max` of them, and how many of the log were before them. None if nothing waits.
    fn take(&self, max: usize) -> Option<(u64, Vec<u8>)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take(max)
    }
}

/// The logs of a run's attempts here.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    open: BTreeMap<AttemptId, Arc<AttemptLog>>,
    bell: Arc<LogBell>,
    /// Whose log was taken last: others have their turn.
    last: Option<AttemptId>,
}

impl Logs {
    /// Where an attempt that begins here puts what it prints.
    pub(crate) fn open(&mut self, attempt: AttemptId) -> Arc<AttemptLog> {
        let log = Arc::new(AttemptLog::new(self.bell()));
        self.open.insert(attempt, Arc::clone(&log));
        log
    }

    /// Rings when something waits.
    pub(crate) fn bell(&self) -> Arc<LogBell> {
        Arc::clone(&self.bell)
    }

    /// What waits, at most so many bytes, from one attempt after the other.
    pub(crate) fn take(&mut self, bytes_max: usize) -> Vec<LogPiece> {
        self.bell.silence();
        let (mut pieces, mut room) = (Vec::new(), bytes_max);
        let (before, after): (Vec<_>, Vec<_>) =
            self.open.iter().partition(|(attempt, _)| Some(**attempt) <= self.last);
        for (attempt, log) in after.into_iter().chain(before) {
            while room > 0
                && let Some(piece) = log.piece(*attempt, room)
            {
                room = room.saturating_sub(piece.text.len());
                pieces.push(piece);
            }
        }
        if room == 0 {
            self.bell.ring(); // there may be more
        }
        self.last = pieces.last().map(|piece| piece.attempt);
        pieces
    }

    /// The rest of a log, whose attempt has ended.
    pub(crate) fn close(&mut self, attempt: AttemptId) -> Vec<LogPiece> {
        let log = self.open.remove(&attempt);
        log.map(|log| std::iter::from_fn(|| log.piece(attempt, PIECE_BYTES_MAX)).collect()).unwrap_or_default()
    }
}

/// Pieces by the messages that they go in.
pub(crate) fn messages_of(pieces: Vec<LogPiece>) -> Vec<Vec<LogPiece>> {
    let (mut messages, mut bytes): (Vec<Vec<LogPiece>>, usize) = (Vec::new(), 0);
    for piece in pieces {
        bytes += piece.text.len();
        match messages.last_mut() {
            Some(message) if bytes <= PIECES_BYTES_MAX && message.len() < PIECES_MAX => message.push(piece),
            _ => {
                bytes = piece.text.len();
                messages.push(vec![piece]);
            }
        }
    }
    messages
}

impl Waiting {
    fn push(&mut self, text: &[u8]) {
        let (first, rest) = text.split_at(text.len().min(self.first_room));
        self.first.extend(first);
        self.first_room -= first.len();
        let kept = &rest[rest.len().saturating_sub(KEPT_BYTES)..];
        let surplus = (self.last.len() + kept.len()).saturating_sub(KEPT_BYTES);
        self.last.drain(..surplus);
        self.last.extend(kept);
        self.left_out += (surplus + rest.len() - kept.len()) as u64;
    }

    fn take(&mut self, max: usize) -> Option<(u64, Vec<u8>)> {
        if self.first.is_empty() {
            self.taken += std::mem::take(&mut self.left_out);
        }
        let waiting = if self.first.is_empty() { &mut self.last } else { &mut self.first };
        let text: Vec<u8> = waiting.drain(..waiting.len().min(max)).collect();
        let offset = self.taken;
        self.taken += text.len() as u64;
        (!text.is_empty()).then_some((offset, text))
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::ids::TaskId;

    use super::*;

    fn log() -> AttemptLog {
        AttemptLog::new(Arc::default())
    }

    fn all(log: &AttemptLog, max: usize) -> (Vec<u64>, Vec<u8>) {
        let pieces: Vec<_> = std::iter::from_fn(|| log.take(max)).collect();
        (pieces.iter().map(|(offset, _)| *offset).collect(), pieces.into_iter().flat_map(|(_, text)| text).collect())
    }

    #[test]
    fn what_is_taken_in_pieces_is_what_was_pushed() {
        let log = log();
        log.push(b"one\ntwo\n");
        assert_eq!(log.take(3), Some((0, b"one".to_vec())));
        log.push(b"three\n");
        assert_eq!(all(&log, 8), (vec![3, 11], b"\ntwo\nthree\n".to_vec()));
        assert_eq!(log.take(8), None);
    }

    #[test]
    fn of_a_long_log_the_first_and_the_last_bytes_wait_and_offsets_tell_what_is_missing() {
        let log = log();
        let text: Vec<u8> = (0..10 * KEPT_BYTES).map(|place| place.to_string().as_bytes()[0]).collect();
        text.chunks(1000).for_each(|piece| log.push(piece));
        let (offsets, taken) = all(&log, KEPT_BYTES);
        assert_eq!(offsets, [0, 9 * KEPT_BYTES as u64]);
        assert!(taken == [&text[..KEPT_BYTES], &text[9 * KEPT_BYTES..]].concat());
        // The first bytes are kept once: later on, the newest are.
        log.push(&vec![b'x'; KEPT_BYTES + 5]);
        assert_eq!(log.take(64).unwrap().0, 10 * KEPT_BYTES as u64 + 5);
    }

    #[test]
    fn attempts_have_their_turns_and_a_log_goes_once_its_rest_is_taken() {
        let mut logs = Logs::default();
        let attempts = [0, 1, 2].map(|task| AttemptId { task: TaskId(task), number: 1 });
        let open = attempts.map(|attempt| logs.open(attempt));
        for log in &open {
            log.push(&[b'x'; 10]);
        }
        let took =
            |pieces: Vec<LogPiece>| pieces.iter().map(|it| (it.attempt.task.0, it.text.len())).collect::<Vec<_>>();
        assert_eq!(took(logs.take(15)), [(0, 10), (1, 5)]);
        open[0].push(b"more");
        assert_eq!(took(logs.take(12)), [(2, 10), (0, 2)]);
        assert_eq!(took(logs.close(attempts[1])), [(1, 5)]);
        assert_eq!((logs.close(attempts[1]), took(logs.take(100))), (Vec::new(), vec![(0, 2)]));
    }

    #[test]
    fn a_message_has_no_more_pieces_and_no_more_bytes_than_it_may() {
        let attempt = AttemptId { task: TaskId(0), number: 1 };
        let pieces = |count, bytes| vec![LogPiece { attempt, offset: 0, text: vec![0; bytes].into() }; count];
        let counts = |pieces| messages_of(pieces).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(pieces(0, 1)), [0; 0]);
        assert_eq!(counts(pieces(PIECES_MAX + 1, 1)), [PIECES_MAX, 1]);
        assert_eq!(counts(pieces(17, PIECES_BYTES_MAX / 8)), [8, 8, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bell_is_heard_by_who_comes_later_and_not_before_it_is_due() {
        let log = log();
        let due = Instant::now() + std::time::Duration::from_secs(1);
        let soon = |bell: Arc<LogBell>| async move {
            tokio::time::timeout(std::time::Duration::from_millis(1), bell.wait(Instant::now())).await.is_ok()
        };
        let bell = Arc::clone(&log.bell);
        assert!(!soon(Arc::clone(&bell)).await, "nothing waits");
        log.push(b"x");
        assert!(soon(Arc::clone(&bell)).await && soon(Arc::clone(&bell)).await, "until it is silenced");
        bell.wait(due).await;
        assert_eq!(Instant::now(), due);
        bell.silence();
        assert!(!soon(bell).await);
    }
}
