//! `NumPy`'s NPZ archives: a ZIP of NPY files, stored or deflated.
//!
//! The archive is read here because `ndarray-npy` cannot tell an array's type before it reads it, and is built
//! without the deflate of `np.savez_compressed`. Only the directory at the archive's end is believed, and checked.
//!
//! Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::array::Array;
use super::error::{Candidates, DataError, Origin, shown};
use super::idx::hex;
use super::npy;
use super::source::{self, BUFFER_BYTES, Length, Source};

const LOCAL: &[u8] = b"PK\x03\x04";
const ENTRY: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCAL_BYTES: usize = 30;
const ENTRY_BYTES: usize = 46;
const END_BYTES: usize = 22;
/// The end record, the longest comment behind it, and the 64-bit records before it.
const TAIL_BYTES: u64 = 22 + 65_535 + 76;
/// Bytes of directory that are read: room for 100,000 arrays.
const DIRECTORY_BYTES_MAX: u64 = 16 << 20;
/// A 32-bit field with this value stands in the 64-bit extra field.
const IN_EXTRA: u64 = 0xffff_ffff;

/// One file of an archive.
#[derive(Debug)]
struct Entry {
    name: String,
    encrypted: bool,
    method: u64,
    crc: u32,
    packed_bytes: u64,
    bytes: u64,
    start: u64,
}

/// Whether the archive at `path` has the array; and if not, the names that it has.
pub(super) fn look(path: &Path, name: &str) -> Result<Result<(), Vec<String>>, DataError> {
    let archive = Origin::file(path.to_owned());
    let (mut file, file_bytes) = source::open_file(&archive)?;
    let entries = directory(&archive, &mut file, file_bytes)?;
    let has = find(&entries, name).is_some();
    Ok(if has { Ok(()) } else { Err(entries.iter().map(|entry| bare(&entry.name).to_owned()).collect()) })
}

/// Opens one array of the archive at `path`; `name` may end in `.npy` or not. Of two of one name, the last one counts,
/// as it does for `NumPy`.
pub(super) fn open(path: &Path, name: &str) -> Result<Array, DataError> {
    open_in(&Origin::file(path.to_owned()), name)
}

fn open_in(archive: &Origin, name: &str) -> Result<Array, DataError> {
    let (mut file, file_bytes) = source::open_file(archive)?;
    let entries = directory(archive, &mut file, file_bytes)?;
    let origin = archive.array(name);
    let Some(entry) = find(&entries, name) else {
        let names: Vec<String> = entries.iter().map(|entry| bare(&entry.name).to_owned()).collect();
        return Err(no_such_array(origin, name, &names));
    };
    npy::read(open_entry(origin, file, file_bytes, entry)?)
}

/// Opens the array of an archive that has no other.
pub(super) fn open_only(archive: &Origin) -> Result<Array, DataError> {
    let (mut file, file_bytes) = source::open_file(archive)?;
    let entries = directory(archive, &mut file, file_bytes)?;
    match entries.as_slice() {
        [entry] => open_in(archive, &entry.name),
        entries => {
            let names: Vec<_> = entries.iter().take(20).map(|entry| shown(bare(&entry.name))).collect();
            let what = format!(
                "it is an archive of {} arrays ({}); save the features alone, as a .npy file",
                entries.len(),
                names.join(", ")
            );
            Err(DataError::Unsupported { file: archive.clone(), what })
        }
    }
}

/// The error of an array that is not there.
pub(super) fn no_such_array(file: Origin, name: &str, names: &[String]) -> DataError {
    DataError::NoSuchArray { file, candidates: Candidates::of(bare(name), names) }
}

fn bare(name: &str) -> &str {
    name.strip_suffix(".npy").unwrap_or(name)
}

fn find<'e>(entries: &'e [Entry], name: &str) -> Option<&'e Entry> {
    let exact = entries.iter().rev().find(|entry| entry.name == name);
    exact.or_else(|| entries.iter().rev().find(|entry| bare(&entry.name) == bare(name)))
}

fn open_entry(origin: Origin, mut file: File, file_bytes: u64, entry: &Entry) -> Result<Source, DataError> {
    let corrupt = |what: &str| DataError::Corrupt { file: origin.clone(), what: what.to_owned() };
    if entry.encrypted {
        let what = "it is encrypted; write the archive without a password".to_owned();
        return Err(DataError::Unsupported { file: origin, what });
    }
    let local = read_at(&mut file, entry.start, LOCAL_BYTES).map_err(|error| DataError::of_packed(&origin, error))?;
    if !local.starts_with(LOCAL) {
        return Err(corrupt("the directory points to no file"));
    }
    let start = entry.start + LOCAL_BYTES as u64 + number(&local, 26, 2) + number(&local, 28, 2);
    if start.checked_add(entry.packed_bytes).is_none_or(|end| end > file_bytes) {
        return Err(DataError::Truncated { file: origin });
    }
    file.seek(SeekFrom::Start(start)).map_err(|error| DataError::of_file(&origin, error))?;
    let packed = BufReader::with_capacity(BUFFER_BYTES, file.take(entry.packed_bytes));
    let (reader, bytes_max): (Box<dyn Read>, u64) = match entry.method {
        0 => (Box::new(packed), entry.packed_bytes),
        8 => (Box::new(DeflateDecoder::new(packed)), Length::unpacked(entry.packed_bytes).bytes_max()),
        method => {
            let what = format!("its compression (ZIP method {method}) is not read; write it with `np.savez`");
            return Err(DataError::Unsupported { file: origin, what });
        }
    };
    let checked = Checked { reader, sum: Crc::new(), want: entry.crc };
    let buffered = BufReader::with_capacity(BUFFER_BYTES, checked);
    Ok(Source::new(origin, Box::new(buffered), Length::AtMost(entry.bytes.min(bytes_max))))
}

/// Passes bytes on, and at their end compares their sum with the directory's.
struct Checked {
    reader: Box<dyn Read>,
    sum: Crc,
    want: u32,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.read(buffer)?;
        self.sum.update(&buffer[..bytes]);
        if bytes == 0 && !buffer.is_empty() && self.sum.sum() != self.want {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its check sum differs"));
        }
        Ok(bytes)
    }
}

/// The files of an archive, in the order of its directory.
fn directory(archive: &Origin, file: &mut File, file_bytes: u64) -> Result<Vec<Entry>, DataError> {
    let failed = |error| DataError::of_packed(archive, error);
    let damaged = || DataError::Corrupt { file: archive.clone(), what: "its directory is damaged".to_owned() };
    let start = read_at(file, 0, file_bytes.min(4) as usize).map_err(failed)?;
    if start != LOCAL && start != END {
        return Err(DataError::Magic { file: archive.clone(), format: "NPZ", start: hex(&start) });
    }
    let tail_bytes = file_bytes.min(TAIL_BYTES);
    let tail = read_at(file, file_bytes - tail_bytes, tail_bytes as usize).map_err(failed)?;
    let Some((directory_start, directory_bytes)) = find_directory(&tail) else {
        return Err(DataError::Truncated { file: archive.clone() });
    };
    if directory_bytes > DIRECTORY_BYTES_MAX
        || directory_start.checked_add(directory_bytes).is_none_or(|end| end > file_bytes)
    {
        return Err(damaged());
    }
    let directory = read_at(file, directory_start, directory_bytes as usize).map_err(failed)?;
    let mut rest = directory.as_slice();
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (entry, after) = parse_entry(rest).ok_or_else(damaged)?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

/// Start and length of the directory, as the last end record of the file's tail says.
fn find_directory(tail: &[u8]) -> Option<(u64, u64)> {
    let end = tail.len().checked_sub(END_BYTES)?;
    let end = (0..=end).rev().find(|&start| tail[start..].starts_with(END))?;
    let (bytes, start) = (number(tail, end + 12, 4), number(tail, end + 16, 4));
    if start != IN_EXTRA && bytes != IN_EXTRA {
        return Some((start, bytes));
    }
    let end = (0..end).rev().find(|&start| tail[start..].starts_with(END_64))?;
    Some((number(tail, end + 48, 8), number(tail, end + 40, 8)))
}

/// The entry at the front of `bytes`, and what follows it.
fn parse_entry(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (fixed, rest) = bytes.split_at_checked(ENTRY_BYTES)?;
    if !fixed.starts_with(ENTRY) {
        return None;
    }
    let (name, rest) = rest.split_at_checked(number(fixed, 28, 2) as usize)?;
    let (extra, rest) = rest.split_at_checked(number(fixed, 30, 2) as usize)?;
    let (_comment, rest) = rest.split_at_checked(number(fixed, 32, 2) as usize)?;
    let mut wide = wide_numbers(extra).iter();
    let mut widened = |at: usize| match number(fixed, at, 4) {
        IN_EXTRA => wide.next().map(|&bytes| u64::from_le_bytes(bytes)),
        narrow => Some(narrow),
    };
    // The extra field holds these three in this order, each only if it is needed.
    let (bytes, packed_bytes, start) = (widened(24)?, widened(20)?, widened(42)?);
    let entry = Entry {
        name: String::from_utf8_lossy(name).into_owned(),
        encrypted: number(fixed, 8, 2) & 1 == 1,
        method: number(fixed, 10, 2),
        crc: number(fixed, 16, 4) as u32,
        packed_bytes,
        bytes,
        start,
    };
    Some((entry, rest))
}

/// The numbers of the 64-bit extra field, number 1.
fn wide_numbers(mut extra: &[u8]) -> &[[u8; 8]] {
    while extra.len() >= 4 {
        let end = 4 + number(extra, 2, 2) as usize;
        let Some(field) = extra.get(4..end) else { break };
        if number(extra, 0, 2) == 1 {
            return field.as_chunks().0;
        }
        extra = &extra[end..];
    }
    &[]
}

/// A little-endian number; 0 beyond the end, where nothing that is looked for stands.
fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let field = bytes.get(at..at + width).unwrap_or_default();
    field.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn read_at(file: &mut File, start: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut buffer)?;
    Ok(buffer)
}
