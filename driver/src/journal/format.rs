//! The bytes of a journal: its header and its frames, as the module's page lays them out. Pure.

/// The format that is written, and the only one that is read.
pub const VERSION: u32 = 7;
/// Bytes of one encoded record. Records are small (an epoch, a verdict); weights are files of their own.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

pub(super) const HEADER_BYTES: usize = 16;
pub(super) const HEAD_BYTES: usize = 16;
/// Before each record of a payload.
const LENGTH_BYTES: usize = 4;
/// Room for one record of the largest size, or for many.
pub(super) const PAYLOAD_BYTES_MAX: usize = LENGTH_BYTES + RECORD_BYTES_MAX;

const MAGIC: [u8; 8] = *b"bswp-jnl";

/// The bytes that open a journal of format `version`.
pub(super) fn header(version: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The format that a header names; `None` if it is no header, or a damaged one.
pub(super) fn version(bytes: &[u8; HEADER_BYTES]) -> Option<u32> {
    let version = word(&bytes[8..12]);
    (*bytes == header(version)).then_some(version)
}

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Bytes of the payload; never more than [`PAYLOAD_BYTES_MAX`].
    pub(super) length: usize,
    /// The number of the frame's first record.
    pub(super) number: u64,
    crc: u32,
}

impl Head {
    /// `None` if the claimed length is out of bounds.
    pub(super) fn parse(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let length = word(&bytes[..4]) as usize;
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[8..]);
        let head = Self { length, number: u64::from_le_bytes(number), crc: word(&bytes[4..8]) };
        (length <= PAYLOAD_BYTES_MAX).then_some(head)
    }

    /// Whether `payload` and this head were written together, by us.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.length && crc(self.number, payload) == self.crc && is_whole(payload)
    }
}

fn crc(number: u64, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&number.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &(payload.len() as u32).to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

/// The four bytes of a number.
fn word(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(bytes);
    u32::from_le_bytes(word)
}

/// The records of a payload, as bytes, up to the first that it cuts short.
pub(super) fn records(mut payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (record, rest) = split_record(payload)?;
        payload = rest;
        Some(record)
    })
}

/// Whether records fill `payload` to its last byte. Only another program writes one that they do not fill, under a
/// checksum that fits.
fn is_whole(mut payload: &[u8]) -> bool {
    while let Some((_, rest)) = split_record(payload) {
        payload = rest;
    }
    payload.is_empty()
}

/// The first record, and what follows it.
fn split_record(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = payload.split_at_checked(LENGTH_BYTES)?;
    rest.split_at_checked(word(length) as usize)
}

/// A frame in the making, of at most [`HEAD_BYTES`] and [`PAYLOAD_BYTES_MAX`].
#[derive(Debug)]
pub(super) struct Frame {
    /// Room for the head, then the payload.
    bytes: Vec<u8>,
    records: u64,
}

impl Frame {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; HEAD_BYTES], records: 0 }
    }

    /// How many records are in it.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Whether a record of `bytes` bytes, at most [`RECORD_BYTES_MAX`], can be added. An empty frame takes any.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.len() - HEAD_BYTES + LENGTH_BYTES + bytes <= PAYLOAD_BYTES_MAX
    }

    /// Adds a record that there is room for.
    pub(super) fn push(&mut self, record: &[u8]) {
        assert!(self.has_room(record.len()), "a frame holds at most {PAYLOAD_BYTES_MAX} bytes");
        self.bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(record);
        self.records += 1;
    }

    /// All of its bytes, as they stand in the file. `number` is that of its first record.
    pub(super) fn sealed(&mut self, number: u64) -> &[u8] {
        let (head, payload) = self.bytes.split_at_mut(HEAD_BYTES);
        head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[4..8].copy_from_slice(&crc(number, payload).to_le_bytes());
        head[8..].copy_from_slice(&number.to_le_bytes());
        &self.bytes
    }

    /// Takes all records out.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(HEAD_BYTES);
        self.records = 0;
    }
}
