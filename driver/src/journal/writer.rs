//! The journal as a run sees it: opened, appended to, committed in groups, compacted.

use std::marker::PhantomData;
use std::sync::Arc;

use broadsweep_common::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{JournalError, Torn};
use super::format::{Frame, HEADER_BYTES, RECORD_BYTES_MAX, VERSION, header};
use super::reader::{self, End};
use super::storage::{NewJournal, Storage, StorageError};

/// A journal is compacted once it has grown to more than twice its compacted size, and this. Twice, so that each
/// compaction rewrites no more than was appended since the last one, and the work of all of them is linear in what
/// was ever appended; this, so that a small journal is not rewritten every few records.
pub const COMPACTION_SLACK_BYTES: u64 = 1 << 20;

/// The records `R` of a run, in a file that survives the process and the machine.
#[derive(Debug)]
pub struct Journal<R> {
    storage: Arc<dyn Storage>,
    /// What was appended and not committed.
    pending: Frame,
    /// Committed, with the header.
    bytes: u64,
    /// Committed.
    records: u64,
    compacted_bytes: u64,
    /// The first failure that left it unknown where the file ends.
    broken: Option<StorageError>,
    record: PhantomData<fn(R)>,
}

/// A journal that was opened, ready to go on.
#[derive(Debug)]
pub struct Recovered<R> {
    /// To append to.
    pub journal: Journal<R>,
    /// How many records it holds; each was shown.
    pub records: u64,
    /// What was cut off, for the user to know.
    pub torn: Option<Torn>,
}

impl<R: Serialize + DeserializeOwned> Journal<R> {
    /// Makes an empty journal, durably.
    ///
    /// # Errors
    /// [`JournalError::Exists`], and [`JournalError::Storage`].
    pub fn create(storage: Arc<dyn Storage>) -> Result<Self, JournalError> {
        if storage.journal_bytes()?.is_some() {
            return Err(JournalError::Exists(storage.journal_path()));
        }
        // By way of a new file, so that no crash leaves half a header.
        let mut new = storage.new_journal()?;
        new.append(&header(VERSION))?;
        new.seal()?;
        let bytes = HEADER_BYTES as u64;
        Ok(Self::new(storage, bytes, 0, bytes))
    }

    /// Opens a journal: `visit` is called with the number (from 0) and the value of each record, in their order.
    /// What a crash left of an unfinished commit is cut off; all that was shown is durable when this returns.
    ///
    /// # Errors
    /// [`JournalError`], if there is no journal, if it was damaged, if it is of another build, or if the folder
    /// refuses. `visit` may have been called by then; the file is as it was.
    pub fn open(storage: Arc<dyn Storage>, visit: impl FnMut(u64, R)) -> Result<Recovered<R>, JournalError> {
        let end = reader::read(&*storage, visit)?;
        let torn = torn(&*storage, &end);
        if torn.is_some() {
            storage.truncate_journal(end.bytes)?;
        }
        // Also where nothing was torn: a killed process may have left records that no disk has yet, and what is
        // built on them must not outlive them.
        storage.sync_journal()?;
        let journal = Self::new(storage, end.bytes, end.records, end.compacted_bytes);
        Ok(Recovered { journal, records: end.records, torn })
    }

    /// Shows the records of a journal, also of one that a run is writing: `visit` is called as by [`Self::open`].
    /// Nothing is changed; what may be an unfinished commit at its end is not shown, but returned.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read(storage: &dyn Storage, visit: impl FnMut(u64, R)) -> Result<Option<Torn>, JournalError> {
        let end = reader::read(storage, visit)?;
        Ok(torn(storage, &end))
    }

    fn new(storage: Arc<dyn Storage>, bytes: u64, records: u64, compacted_bytes: u64) -> Self {
        Self { storage, pending: Frame::new(), bytes, records, compacted_bytes, broken: None, record: PhantomData }
    }

    /// Takes a record into the next commit. It counts once [`Self::commit`] has returned; where memory for the
    /// commit (about [`RECORD_BYTES_MAX`]) is full, what was appended before is committed here.
    ///
    /// # Errors
    /// [`JournalError::Unencodable`] and [`JournalError::TooLarge`]: the record was not taken, all else stands.
    /// [`JournalError::Storage`] as [`Self::commit`].
    pub fn append(&mut self, record: &R) -> Result<(), JournalError> {
        self.check_usable()?;
        let bytes = encode(record)?;
        if !self.pending.has_room(bytes.len()) {
            self.commit()?;
        }
        self.pending.push(&bytes);
        Ok(())
    }

    /// Makes durable what was appended: one write and one sync, and after a crash all of it is there or none.
    ///
    /// # Errors
    /// [`JournalError::Storage`]. It is not known then what is on the disk, so the journal repeats this error
    /// from now on; the run is resumed by [`Self::open`].
    pub fn commit(&mut self) -> Result<(), JournalError> {
        self.check_usable()?;
        if self.pending.records() == 0 {
            return Ok(());
        }
        let frame = self.pending.sealed(self.records);
        let frame_bytes = frame.len() as u64;
        let written = self.storage.append_journal(self.bytes, frame).and_then(|()| {
            self.storage.sync_journal().inspect_err(|_| {
                // Best effort: the system may have dropped these bytes or not, and they did not count.
                let _ = self.storage.truncate_journal(self.bytes);
            })
        });
        written.map_err(|error| self.broken_by(error))?;
        self.bytes += frame_bytes;
        self.records += self.pending.records();
        self.pending.clear();
        Ok(())
    }

    /// Whether the file has grown so much that [`Self::compact`] is worth its work.
    #[must_use]
    pub fn wants_compaction(&self) -> bool {
        self.bytes > 2 * self.compacted_bytes + COMPACTION_SLACK_BYTES
    }

    /// What the journal holds by now is told in as few records as it takes: a compaction would gain nothing until it has
    /// grown.
    pub fn is_compact(&mut self) {
        self.compacted_bytes = self.bytes;
    }

    /// Puts a new journal of `records` in the place of this one, and goes on with it; records count from 0 again.
    /// `records` must tell all that the journal tells, with what was appended: that is committed first. After a
    /// crash at any point there is the old journal or the new one.
    ///
    /// # Errors
    /// [`JournalError`]. As long as the new journal is being written, a failure changes nothing, and the old one
    /// can be used further, and it asks for the next compaction once it has grown to twice its size; one that comes
    /// later is repeated, as by [`Self::commit`].
    pub fn compact(&mut self, records: impl Iterator<Item = R>) -> Result<(), JournalError> {
        self.commit()?;
        self.compacted_bytes = self.bytes; // unless this succeeds, below
        let storage = Arc::clone(&self.storage);
        let mut new = storage.new_journal()?;
        let (bytes, records) = write_compacted(&mut *new, records)?;
        new.seal().map_err(|error| self.broken_by(error))?;
        (self.bytes, self.records, self.compacted_bytes) = (bytes, records, bytes);
        Ok(())
    }

    /// Bytes of the file, as far as it is committed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records that are committed.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Whether it can be appended to: no failure left it unknown where the file ends.
    ///
    /// # Errors
    /// [`JournalError::Storage`]: that failure.
    pub fn check_usable(&self) -> Result<(), JournalError> {
        match &self.broken {
            None => Ok(()),
            Some(first) => Err(first.clone().into()),
        }
    }

    fn broken_by(&mut self, error: StorageError) -> JournalError {
        self.broken = Some(error.clone());
        error.into()
    }
}

/// What stands behind the last whole commit, if anything does.
fn torn(storage: &dyn Storage, end: &End) -> Option<Torn> {
    let (path, offset, bytes, records) = (storage.journal_path(), end.bytes, end.torn_bytes, end.records);
    (bytes > 0).then_some(Torn { path, offset, bytes, records })
}

/// The bytes of a record that a frame has room for.
fn encode<R: Serialize>(record: &R) -> Result<Vec<u8>, JournalError> {
    let bytes = codec::pack(record).map_err(JournalError::Unencodable)?;
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(JournalError::TooLarge { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// Writes a whole journal: its header, its records in full frames, and the empty frame that ends them. It returns
/// how many bytes and records there are.
fn write_compacted<R: Serialize>(
    new: &mut dyn NewJournal,
    records: impl Iterator<Item = R>,
) -> Result<(u64, u64), JournalError> {
    let (mut bytes, mut number) = (0, 0);
    let mut write = |piece: &[u8]| {
        bytes += piece.len() as u64;
        new.append(piece)
    };
    write(&header(VERSION))?;
    let mut frame = Frame::new();
    for record in records {
        let record = encode(&record)?;
        if !frame.has_room(record.len()) {
            write(frame.sealed(number))?;
            number += frame.records();
            frame.clear();
        }
        frame.push(&record);
    }
    if frame.records() > 0 {
        write(frame.sealed(number))?;
        number += frame.records();
        frame.clear();
    }
    write(frame.sealed(number))?;
    Ok((bytes, number))
}
