//! Reads a journal in bounded memory: its records, and where it ends. Nothing is changed here.

use std::path::Path;

use broadsweep_common::codec;
use serde::de::DeserializeOwned;

use super::error::{Evidence, JournalError};
use super::format::{self, HEAD_BYTES, HEADER_BYTES, Head, PAYLOAD_BYTES_MAX, VERSION};
use super::storage::{Storage, StorageError};

/// Read at once; a larger frame is read whole.
const PIECE_BYTES: usize = 64 << 10;

/// Where a journal ends, and what is behind.
pub(super) struct End {
    /// Bytes up to the end of the last good frame.
    pub(super) bytes: u64,
    /// Records up to there.
    pub(super) records: u64,
    /// Bytes that the last compaction wrote; those of the header, if there was none.
    pub(super) compacted_bytes: u64,
    /// Bytes behind, of a commit that was not finished.
    pub(super) torn_bytes: u64,
}

/// Calls `visit` with the number and the value of each record, in their order.
///
/// # Errors
/// All but [`JournalError::Exists`] and those of encoding. `visit` may have been called by then.
pub(super) fn read<R: DeserializeOwned>(
    storage: &dyn Storage,
    mut visit: impl FnMut(u64, R),
) -> Result<End, JournalError> {
    let path = storage.journal_path();
    let Some(file_bytes) = storage.journal_bytes()? else { return Err(JournalError::Missing(path)) };
    let mut window = Window { storage, bytes: Vec::new(), start: 0, file_bytes };
    check_header(&mut window, &path)?;

    let header_bytes = HEADER_BYTES as u64;
    let mut end = End { bytes: header_bytes, records: 0, compacted_bytes: header_bytes, torn_bytes: 0 };
    while let Some(payload) = window.frame(end.bytes, |number| number == end.records)? {
        for record in format::records(payload) {
            let number = end.records;
            let value = codec::unpack(record).map_err(|source| JournalError::Undecodable {
                path: path.clone(),
                record: number,
                offset: end.bytes,
                source,
            })?;
            visit(number, value);
            end.records += 1;
        }
        end.bytes += (HEAD_BYTES + payload.len()) as u64;
        if payload.is_empty() {
            end.compacted_bytes = end.bytes;
        }
    }
    end.torn_bytes = file_bytes - end.bytes;
    match window.evidence_of_damage(&end)? {
        None => Ok(end),
        Some(evidence) => Err(JournalError::Corrupt { path, record: end.records, offset: end.bytes, evidence }),
    }
}

fn check_header(window: &mut Window<'_>, path: &Path) -> Result<(), JournalError> {
    let version = match window.array::<HEADER_BYTES>(0)? {
        Some(bytes) => format::version(&bytes),
        None => None,
    };
    match version {
        Some(VERSION) => Ok(()),
        Some(found) => Err(JournalError::Version { path: path.to_owned(), found, known: VERSION }),
        None => Err(JournalError::Header(path.to_owned())),
    }
}

/// The part of the journal that is in memory: at most one frame, or [`PIECE_BYTES`].
struct Window<'a> {
    storage: &'a dyn Storage,
    bytes: Vec<u8>,
    /// Where `bytes` stand in the file.
    start: u64,
    file_bytes: u64,
}

impl Window<'_> {
    /// `length` bytes from `offset` on; `None` where the file ends before.
    fn at(&mut self, offset: u64, length: usize) -> Result<Option<&[u8]>, StorageError> {
        let available = self.file_bytes.saturating_sub(offset);
        if available < length as u64 {
            return Ok(None);
        }
        let held = self.start..=self.start + self.bytes.len() as u64;
        if !held.contains(&offset) || !held.contains(&(offset + length as u64)) {
            let piece = length.max(PIECE_BYTES).min(available as usize);
            self.bytes.resize(piece, 0);
            self.start = offset;
            self.storage.read_journal(offset, &mut self.bytes)?;
        }
        let from = (offset - self.start) as usize;
        Ok(Some(&self.bytes[from..from + length]))
    }

    /// The same, for a length that is known.
    fn array<const N: usize>(&mut self, offset: u64) -> Result<Option<[u8; N]>, StorageError> {
        let bytes = self.at(offset, N)?;
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()))
    }

    /// The payload of the frame at `offset`; `None` if no valid frame with a number that is `wanted` starts there.
    fn frame(&mut self, offset: u64, wanted: impl Fn(u64) -> bool) -> Result<Option<&[u8]>, StorageError> {
        let head = self.array::<HEAD_BYTES>(offset)?.and_then(|bytes| Head::parse(&bytes));
        // The number is asked first: among arbitrary bytes it saves nearly every checksum.
        let Some(head) = head.filter(|head| wanted(head.number)) else { return Ok(None) };
        let payload = self.at(offset + HEAD_BYTES as u64, head.length)?;
        Ok(payload.filter(|payload| head.fits(payload)))
    }

    /// What shows that the bytes from `end` on are not one unfinished commit.
    fn evidence_of_damage(&mut self, end: &End) -> Result<Option<Evidence>, StorageError> {
        if end.torn_bytes > (HEAD_BYTES + PAYLOAD_BYTES_MAX) as u64 {
            return Ok(Some(Evidence::BytesBehind { bytes: end.torn_bytes }));
        }
        for offset in end.bytes + 1..self.file_bytes {
            // A record takes more than a byte, so no more of them than bytes can have been lost before a later frame.
            let numbers = end.records..=end.records + (offset - end.bytes);
            if self.frame(offset, |number| numbers.contains(&number))?.is_some() {
                return Ok(Some(Evidence::CommitBehind { offset }));
            }
        }
        Ok(None)
    }
}
