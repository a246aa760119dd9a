//! Tests of the journal. Its records here are of a type of their own.

mod commits;
mod compaction;
mod crashes;
mod damage;
mod folders;

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Ended,
    Epoch { trial: u64, epoch: u32, loss: f64 },
    Said(String),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Ended),
        (0_u64..50, 0_u32..10, 0.0_f64..3.0).prop_map(|(trial, epoch, loss)| Event::Epoch { trial, epoch, loss }),
        "[a-z]{0,40}".prop_map(Event::Said),
    ]
}

fn said(text: &str) -> Event {
    Event::Said(text.to_owned())
}

/// A record of about `bytes` bytes.
fn long(bytes: usize) -> Event {
    Event::Said("x".repeat(bytes))
}

fn memory() -> Arc<MemoryStorage> {
    Arc::new(MemoryStorage::new())
}

/// A journal with one commit for each of `commits`.
fn journal_of(storage: &Arc<MemoryStorage>, commits: &[&[Event]]) -> Journal<Event> {
    let mut journal = Journal::create(Arc::clone(storage) as _).unwrap();
    for events in commits {
        commit(&mut journal, events).unwrap();
    }
    journal
}

fn commit(journal: &mut Journal<Event>, events: &[Event]) -> Result<(), JournalError> {
    events.iter().try_for_each(|event| journal.append(event))?;
    journal.commit()
}

type Opened = Result<(Recovered<Event>, Vec<Event>), JournalError>;

/// The journal and its records, whose numbers are checked.
fn open<S: Storage + 'static>(storage: &Arc<S>) -> Opened {
    let mut events = Vec::new();
    let recovered = Journal::open(Arc::clone(storage) as _, |number, event| {
        assert_eq!(number, events.len() as u64);
        events.push(event);
    })?;
    assert_eq!(recovered.records, events.len() as u64);
    Ok((recovered, events))
}

/// The records of a journal that is not torn.
fn events<S: Storage + 'static>(storage: &Arc<S>) -> Vec<Event> {
    let (recovered, events) = open(storage).unwrap();
    assert_eq!(recovered.torn, None);
    events
}

/// A folder that fails a test in which the journal reads or writes more than `piece_bytes_max` at once.
#[derive(Debug)]
struct Watched {
    inner: Arc<MemoryStorage>,
    piece_bytes_max: usize,
}

impl Watched {
    fn new(inner: &Arc<MemoryStorage>) -> Arc<Self> {
        let piece_bytes_max = format::HEAD_BYTES + format::PAYLOAD_BYTES_MAX;
        Arc::new(Self { inner: Arc::clone(inner), piece_bytes_max })
    }
}

impl Storage for Watched {
    fn journal_path(&self) -> PathBuf {
        self.inner.journal_path()
    }
    fn journal_bytes(&self) -> Result<Option<u64>, StorageError> {
        self.inner.journal_bytes()
    }
    fn read_journal(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StorageError> {
        assert!(buffer.len() <= self.piece_bytes_max);
        self.inner.read_journal(offset, buffer)
    }
    fn append_journal(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        assert!(bytes.len() <= self.piece_bytes_max);
        self.inner.append_journal(offset, bytes)
    }
    fn sync_journal(&self) -> Result<(), StorageError> {
        self.inner.sync_journal()
    }
    fn truncate_journal(&self, bytes: u64) -> Result<(), StorageError> {
        self.inner.truncate_journal(bytes)
    }
    fn new_journal(&self) -> Result<Box<dyn NewJournal + '_>, StorageError> {
        Ok(Box::new(WatchedNew { inner: self.inner.new_journal()?, piece_bytes_max: self.piece_bytes_max }))
    }
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.inner.write(name, bytes)
    }
    fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.read(name, bytes_max)
    }
    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.inner.remove(name)
    }
    fn list(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        self.inner.list(folder)
    }
}

struct WatchedNew<'a> {
    inner: Box<dyn NewJournal + 'a>,
    piece_bytes_max: usize,
}

impl NewJournal for WatchedNew<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        assert!(bytes.len() <= self.piece_bytes_max);
        self.inner.append(bytes)
    }
    fn seal(self: Box<Self>) -> Result<(), StorageError> {
        self.inner.seal()
    }
}
