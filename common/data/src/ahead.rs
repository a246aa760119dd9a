//! Reads ahead on a thread of its own: a file is read, or unpacked, while what came before is worked on.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Bytes of a piece. Each wakes a thread.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces that wait to be taken.
const PIECES_MAX: usize = 4;

/// Bytes that are read before there is a thread: whoever looks at the beginning of a file needs none.
const LEAD_BYTES: usize = 512 << 10;

/// What runs on a thread of its own.
type Work = Box<dyn FnOnce() + Send>;

/// The same bytes; a reader that [runs ahead](ahead) once more than the beginning of them is read.
pub(super) fn ahead_later(reader: impl Read + Send + 'static) -> Box<dyn BufRead> {
    Box::new(Later::Here { reader: BufReader::with_capacity(LEAD_BYTES / 8, reader), given: 0 })
}

/// A reader that runs ahead, or may yet.
enum Later<R> {
    Here {
        reader: BufReader<R>,
        given: usize,
    },
    Ahead(Box<dyn BufRead>),
    /// Between the two.
    Nowhere,
}

impl<R: Read + Send + 'static> BufRead for Later<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Self::Here { reader, given } = self
            && *given >= LEAD_BYTES
            && reader.buffer().is_empty()
            && let Self::Here { reader, .. } = std::mem::replace(self, Self::Nowhere)
        {
            *self = Self::Ahead(ahead(reader.into_inner()));
        }
        match self {
            Self::Here { reader, .. } => reader.fill_buf(),
            Self::Ahead(ahead) => ahead.fill_buf(),
            Self::Nowhere => Ok(&[]),
        }
    }

    fn consume(&mut self, bytes: usize) {
        match self {
            Self::Here { reader, given } => {
                *given = given.saturating_add(bytes);
                reader.consume(bytes);
            }
            Self::Ahead(ahead) => ahead.consume(bytes),
            Self::Nowhere => {}
        }
    }
}

impl<R: Read + Send + 'static> Read for Later<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

/// A reader that runs ahead on a thread of its own; where there is no thread to be had, the reader itself, which is slower
/// and gives the same bytes.
pub(super) fn ahead(reader: impl Read + Send + 'static) -> Box<dyn BufRead> {
    let spawn = |work: Work| thread::Builder::new().name("read ahead".to_owned()).spawn(work).map(drop);
    ahead_by(reader, spawn)
}

fn ahead_by(reader: impl Read + Send + 'static, spawn: impl FnOnce(Work) -> io::Result<()>) -> Box<dyn BufRead> {
    // A thread that does not come to be drops its work: what it was to read has to outlive that.
    let shared = Arc::new(Mutex::new(Some(reader)));
    let take = |shared: &Mutex<Option<_>>| shared.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (filled, pieces) = sync_channel(PIECES_MAX);
    // Room for all pieces that there are: nobody waits to give one back.
    let (emptied, empty) = sync_channel(PIECES_MAX + 2);
    let of_thread = Arc::clone(&shared);
    let work = move || {
        if let Some(reader) = take(&of_thread) {
            run(reader, &filled, &empty);
        }
    };
    if let Err(error) = spawn(Box::new(work)) {
        tracing::debug!(%error, "there is no thread to read ahead");
        if let Some(reader) = take(&shared) {
            return Box::new(BufReader::with_capacity(PIECE_BYTES, reader));
        }
    }
    Box::new(Ahead { pieces, emptied, piece: Vec::new(), given: 0, is_over: false })
}

/// The bytes of a reader that runs ahead. Its thread ends with the reader, with its first error, or soon after this is
/// dropped.
struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// Gives pieces back to be filled again.
    emptied: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    given: usize,
    is_over: bool,
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.given == self.piece.len() && !self.is_over {
            let stopped = |_| io::Error::other("its reader stopped");
            match self.pieces.recv().map_err(stopped).and_then(|piece| piece) {
                Ok(piece) => {
                    self.is_over = piece.is_empty();
                    let emptied = std::mem::replace(&mut self.piece, piece);
                    self.given = 0;
                    // A thread that has ended needs none.
                    let _ = self.emptied.try_send(emptied);
                }
                Err(error) => {
                    self.is_over = true;
                    return Err(error);
                }
            }
        }
        Ok(&self.piece[self.given..])
    }

    fn consume(&mut self, bytes: usize) {
        self.given = (self.given + bytes).min(self.piece.len());
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

/// Passes pieces on, up to the end or an error.
fn run(mut reader: impl Read, filled: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut piece = empty.try_recv().unwrap_or_default();
        piece.resize(PIECE_BYTES, 0);
        let (mut bytes, mut error, mut is_over) = (0, None, false);
        while bytes < piece.len() && error.is_none() && !is_over {
            match reader.read(&mut piece[bytes..]) {
                Ok(more) => (bytes, is_over) = (bytes + more, more == 0),
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
                Err(failed) => error = Some(failed),
            }
        }
        piece.truncate(bytes);
        if bytes > 0 && filled.send(Ok(piece)).is_err() {
            return;
        }
        if let Some(error) = error {
            // Whoever was to hear it is gone.
            let _ = filled.send(Err(error));
            return;
        }
        if is_over {
            // An empty piece is the end.
            let _ = filled.send(Ok(Vec::new()));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    /// Bytes in pieces of odd sizes, then an error if there is one.
    struct Odd {
        bytes: Cursor<Vec<u8>>,
        calls: usize,
        error: Option<&'static str>,
    }

    impl Read for Odd {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let most = buffer.len().min(self.calls * 1001 % 70_000 + 1);
            match (self.bytes.read(&mut buffer[..most])?, self.error) {
                (0, Some(error)) => Err(io::Error::other(error)),
                (read, _) => Ok(read),
            }
        }
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|place| (place * 31 + place / 257) as u8).collect()
    }

    #[test]
    fn the_same_bytes_come_and_an_error_stands_behind_those_before_it() {
        let counts = [0, 1, LEAD_BYTES, LEAD_BYTES + 1, PIECE_BYTES - 1, PIECE_BYTES, 5 * PIECE_BYTES + 7];
        for (count, is_later) in counts.into_iter().flat_map(|count| [(count, false), (count, true)]) {
            for error in [None, Some("broken")] {
                let want = bytes(count);
                let odd = Odd { bytes: Cursor::new(want.clone()), calls: 0, error };
                let mut ahead = if is_later { ahead_later(odd) } else { ahead(odd) };
                let mut got = Vec::new();
                let ended = ahead.read_to_end(&mut got).map_err(|error| error.to_string());
                assert!(got == want, "{count} {error:?}");
                assert_eq!(ended.err().as_deref(), error);
                if is_later && count < LEAD_BYTES {
                    continue; // there was no thread
                }
                assert_eq!(ahead.read(&mut [0; 9]).unwrap(), 0);
            }
        }
    }

    #[test]
    fn where_there_is_no_thread_the_same_bytes_come_without_one() {
        let want = bytes(PIECE_BYTES + 7);
        let none = |_: Work| Err(io::ErrorKind::WouldBlock.into());
        let mut got = Vec::new();
        ahead_by(Cursor::new(want.clone()), none).read_to_end(&mut got).unwrap();
        assert!(got == want);
    }

    #[test]
    fn no_thread_reads_ahead_while_only_the_beginning_is_read() {
        struct OfThread(thread::ThreadId);
        impl Read for OfThread {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(u8::from(thread::current().id() == self.0));
                Ok(buffer.len())
            }
        }
        let mut later = ahead_later(OfThread(thread::current().id()));
        let mut read = vec![0; 2 * LEAD_BYTES];
        later.read_exact(&mut read).unwrap();
        assert!(read[..LEAD_BYTES].iter().all(|&byte| byte == 1) && read[LEAD_BYTES..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn little_is_read_ahead_and_nothing_once_nobody_takes_it() {
        struct Endless(Arc<AtomicU64>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.fetch_add(buffer.len() as u64, Ordering::SeqCst);
                Ok(buffer.len())
            }
        }
        let read = Arc::new(AtomicU64::new(0));
        let mut ahead = ahead(Endless(Arc::clone(&read)));
        ahead.read_exact(&mut [0; 10]).unwrap();
        drop(ahead);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Arc::strong_count(&read) > 1 {
            assert!(Instant::now() < deadline, "the thread goes on");
            thread::yield_now();
        }
        assert!(read.load(Ordering::SeqCst) <= ((PIECES_MAX + 3) * PIECE_BYTES) as u64);
    }
}
