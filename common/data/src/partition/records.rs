//! Where the records of a text begin: found without a look at what is in them, as whoever reads them sees it.
//!
//! It agrees with the reader of tables, which is `csv`'s with `\n` as the end of a record: a quote counts at the beginning
//! of a cell only, two in one are a letter of it, and between quotes a line may end. A record with a single cell without
//! letters is a blank line, and none.

use crate::dialect::Squeezer;
use crate::error::{DataError, Origin};
use crate::source::BUFFER_BYTES;
use crate::table::LINE_BYTES_MAX;

/// Bytes of a record that surely is not too long for whoever reads it, some at a time.
const RECORD_BYTES_MAX: u64 = LINE_BYTES_MAX - 4 * BUFFER_BYTES as u64;

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// Its first byte, in the file.
    pub(super) from: u64,
    /// Line ends before that.
    pub(super) lines_before: u64,
    /// Whether whoever begins here sees what they do who read on to here.
    pub(super) can_begin: bool,
}

/// Where a record is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before its first byte.
    Record,
    /// Before the first byte of a cell.
    Cell,
    Bare,
    Quoted,
    /// Behind a quote between quotes: it ends them, or is the first of two.
    Quote,
}

/// Finds the records of a text that comes in pieces.
pub(super) struct Records {
    delimiter: u8,
    /// Of a text with spaces between its cells.
    squeezer: Option<Squeezer>,
    state: State,
    /// The record that is read, or else the one that comes.
    start: Start,
    /// Whether it has two cells, or letters.
    is_filled: bool,
    /// The next byte, in the file, and the line ends before it.
    at: u64,
    lines: u64,
    /// Behind the last record.
    ended: u64,
}

impl Records {
    /// Of a text that begins at a byte of its file.
    pub(super) fn new(delimiter: u8, from: u64) -> Self {
        let squeezer = (delimiter == b' ').then(Squeezer::default);
        let start = Start { from, lines_before: 0, can_begin: true };
        Self { delimiter, squeezer, state: State::Record, start, is_filled: false, at: from, lines: 0, ended: from }
    }

    /// Takes the next bytes, and tells each record that has ended.
    pub(super) fn read(
        &mut self,
        file: &Origin,
        piece: &[u8],
        mut found: impl FnMut(Start),
    ) -> Result<(), DataError> {
        let is_quoted = matches!(self.state, State::Quoted | State::Quote);
        if let Some(mut squeezer) = self.squeezer.take() {
            for &byte in piece {
                self.at += 1;
                squeezer.step(byte, |byte| self.step(byte, &mut found));
                if self.state == State::Record {
                    self.start.can_begin = squeezer.is_fresh();
                }
            }
            self.squeezer = Some(squeezer);
        } else if is_quoted || piece.contains(&b'"') {
            for &byte in piece {
                self.at += 1;
                self.step(byte, &mut found);
            }
        } else {
            self.read_plain(piece, &mut found);
        }
        if self.at - self.ended > RECORD_BYTES_MAX {
            let what = format!("a line of more than {RECORD_BYTES_MAX} bytes; is a quote not closed?");
            return Err(DataError::TooLarge { file: file.clone(), what });
        }
        Ok(())
    }

    /// The same of bytes without quotes, where lines are records: far faster.
    fn read_plain(&mut self, mut rest: &[u8], found: &mut impl FnMut(Start)) {
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.skip(&rest[..end]);
            self.at += 1;
            self.step(b'\n', found);
            rest = &rest[end + 1..];
        }
        self.skip(rest);
    }

    /// Steps over a piece of a line.
    fn skip(&mut self, piece: &[u8]) {
        let Some(&last) = piece.last() else { return };
        self.at += piece.len() as u64;
        self.is_filled = self.is_filled || piece.iter().any(|&byte| self.fills(byte));
        self.state = if last == self.delimiter { State::Cell } else { State::Bare };
    }

    /// Whether a byte that is between no quotes makes a line more than blank.
    fn fills(&self, byte: u8) -> bool {
        byte == self.delimiter || !byte.is_ascii_whitespace()
    }

    /// Takes one byte, behind which the next one is known.
    fn step(&mut self, byte: u8, found: &mut impl FnMut(Start)) {
        self.lines += u64::from(byte == b'\n');
        let is_first = matches!(self.state, State::Record | State::Cell);
        match (self.state, byte) {
            (State::Quoted, b'"') => self.state = State::Quote,
            (State::Quoted, _) => self.is_filled |= !byte.is_ascii_whitespace(),
            (State::Quote, b'"') => (self.state, self.is_filled) = (State::Quoted, true),
            (_, b'"') if is_first => self.state = State::Quoted,
            (_, b'\n') => self.end_line(found),
            _ => {
                self.is_filled |= self.fills(byte);
                self.state = if byte == self.delimiter { State::Cell } else { State::Bare };
            }
        }
    }

    /// Ends the record, if there is one.
    fn end_line(&mut self, found: &mut impl FnMut(Start)) {
        if self.state != State::Record {
            self.ended = self.at;
        }
        if self.is_filled {
            found(self.start);
        }
        (self.state, self.is_filled) = (State::Record, false);
        self.start = Start { from: self.at, lines_before: self.lines, can_begin: true };
    }

    /// Ends the text, and tells its last record if that has not ended.
    pub(super) fn finish(mut self, mut found: impl FnMut(Start)) {
        if self.is_filled {
            self.end_line(&mut found);
        }
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
