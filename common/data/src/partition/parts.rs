//! The parts of files that one partition needs, and copies that have these parts alone: for whoever cannot read the files.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use broadsweep_common::application::{InputFile, Partition, Portion, Wanted};
use broadsweep_common::codec;
use broadsweep_common::schema::{Inputs, Schema};
use tempfile::TempDir;

use super::records::Records;
use super::{Held, OnDisk as _, Readable};
use crate::any_table::AnyTable;
use crate::error::{DataError, Origin};
use crate::input_array::InputArray;
use crate::input_table::InputTable;
use crate::source::open_file;
use crate::table::Table;
use crate::text::SAMPLE_BYTES;

/// Bytes of a partition that are sent, at most: they are held in memory on both sides.
pub const SENT_BYTES_MAX: u64 = 1 << 30;
/// Bytes that are read or written at a time.
const PIECE_BYTES: usize = 4 << 20;
/// Copies without names that one partition may have: each takes a descriptor.
const UNNAMED_MAX: usize = 64;
/// Bytes at the beginning of a text by which readers tell how it is written: a sample behind the mark of its encoding.
const HEAD_BYTES: u64 = 2 * SAMPLE_BYTES as u64;

/// The bytes of each file that are read for the rows of a partition: ranges in their order, apart from each other. `files`
/// are those of the partition.
///
/// # Errors
/// [`DataError`], if a file cannot be opened as what it was cut as.
pub fn needed(
    schema: &Schema,
    wanted: &Wanted,
    files: &[Readable],
    partition: &Partition,
) -> Result<Vec<Vec<Range<u64>>>, DataError> {
    // Of an empty file nothing, not even its opening, which fails: an empty picture is a bad row.
    let whole = |file: &Readable| Vec::from_iter((file.file.bytes > 0).then_some(0..file.file.bytes));
    let (Some(file), false) = (files.first(), partition.portion == Portion::Whole) else {
        return Ok(files.iter().map(whole).collect());
    };
    let origin = file.origin();
    let ranges = match (&schema.inputs, &partition.portion) {
        (_, Portion::Whole | Portion::Pictures { .. }) => return Ok(files.iter().map(whole).collect()),
        (Inputs::Columns(columns), portion) => {
            let mut table = InputTable::open_wanted(schema, columns, &origin, wanted, &mut Vec::new())?;
            match (table.table_from(partition.first_row), portion) {
                (AnyTable::Parquet(parquet), &Portion::Groups { first, count }) => {
                    let first = first as usize;
                    parquet.ranges(first..first.saturating_add(count as usize))
                }
                (AnyTable::Text(text), &Portion::Lines { from, until, .. }) => {
                    vec![0..head_of(text, &origin, file.file.bytes)?, from..until]
                }
                _ => whole(file),
            }
        }
        (Inputs::Array { channels_first, .. }, Portion::Rows) => {
            let array = InputArray::open(schema, *channels_first, &origin)?;
            let count = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
            array.ranges(count(partition.first_row), count(partition.rows.unwrap_or(u64::MAX)))
        }
        (Inputs::Array { .. }, _) => whole(file),
    };
    Ok(vec![joined(ranges, file.file.bytes)])
}

/// Where the first record of a text ends, or the sample by which it is told how it is written.
fn head_of(table: &Table, file: &Origin, bytes: u64) -> Result<u64, DataError> {
    let (opened, _) = open_file(file)?;
    let mut records = Records::new(table.written().delimiter, table.plain_from().unwrap_or(0));
    let (mut at, mut ended) = (table.plain_from().unwrap_or(0), false);
    let mut piece = vec![0; HEAD_BYTES as usize];
    while !ended && at < bytes {
        let got = piece.len().min((bytes - at) as usize);
        opened.read_exact_at(&mut piece[..got], at).map_err(|error| DataError::of_file(file, error))?;
        records.read(file, &piece[..got], |_| ended = true)?;
        at += got as u64;
    }
    Ok(at.max(HEAD_BYTES))
}

/// The same bytes in order, and in as few ranges as may be.
fn joined(mut ranges: Vec<Range<u64>>, bytes: u64) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let range = range.start..range.end.min(bytes);
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ if range.is_empty() => {}
            _ => joined.push(range),
        }
    }
    joined
}

/// A copy of some ranges of a file: as long as the file, and zeros elsewhere; without a name, or in `folder` under this
/// number. `read` gives the bytes of the file from a place on.
fn copied(
    file: &InputFile,
    ranges: &[Range<u64>],
    (folder, number): (Option<&Arc<TempDir>>, usize),
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), DataError>,
) -> Result<Readable, DataError> {
    let origin = file.origin();
    let unwritten = |source| DataError::Spool { file: origin.clone(), folder: std::env::temp_dir(), source };
    let path = folder.map(|folder| folder.path().join(number.to_string()));
    let copy = path.as_ref().map_or_else(tempfile::tempfile, File::create_new).map_err(unwritten)?;
    copy.set_len(file.bytes).map_err(unwritten)?;
    let mut piece = Vec::new();
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            piece.resize(PIECE_BYTES.min((range.end - at) as usize), 0);
            read(at, &mut piece)?;
            copy.write_all_at(&piece, at).map_err(unwritten)?;
            at += piece.len() as u64;
        }
    }
    let held = match (folder, path) {
        (Some(folder), Some(path)) => Held::Named { _folder: Arc::clone(folder), path: Arc::new(path) },
        _ => Held::Unnamed(Arc::new(copy)),
    };
    Ok(Readable { file: file.clone(), copy: Some(held) })
}

/// What one partition needs of its files, in one piece, to be sent: [`unpack`] gives it back. `files` are those of the
/// partition, on this machine.
///
/// # Errors
/// [`DataError`], if a file cannot be read or has changed, or if that is too much to be sent.
pub fn pack(
    schema: &Schema,
    wanted: &Wanted,
    files: &[Readable],
    partition: &Partition,
) -> Result<Vec<u8>, DataError> {
    files.iter().try_for_each(Readable::check)?;
    let needed = needed(schema, wanted, files, partition)?;
    let all = needed.iter().flatten();
    let bytes = all.fold(0_u64, |sum, range| sum.saturating_add(range.end - range.start));
    if let Some(file) = files.first().filter(|_| bytes > SENT_BYTES_MAX) {
        let what = format!(
            "{bytes} bytes of it are needed at once, and {SENT_BYTES_MAX} may be sent; let executors read it \
             themselves (--allow-files), or write it in smaller files or groups of rows, unpacked"
        );
        return Err(DataError::TooLarge { file: file.origin(), what });
    }
    let ends = |ranges: &Vec<Range<u64>>| ranges.iter().map(|range| (range.start, range.end)).collect();
    let head: Vec<Vec<(u64, u64)>> = needed.iter().map(ends).collect();
    let mut content = vec![0; bytes as usize];
    let mut rest = &mut content[..];
    for (file, ranges) in files.iter().zip(&needed).filter(|(_, ranges)| !ranges.is_empty()) {
        let origin = file.origin();
        let (opened, _) = open_file(&origin)?;
        for range in ranges {
            let (piece, behind) = rest.split_at_mut((range.end - range.start) as usize);
            opened.read_exact_at(piece, range.start).map_err(|error| DataError::of_file(&origin, error))?;
            rest = behind;
        }
    }
    files.iter().try_for_each(Readable::check)?;
    let too_large = |_| DataError::TooLarge {
        file: files.first().map_or_else(|| Origin::file("the input".into()), Readable::origin),
        what: "its parts are too many to be sent".to_owned(),
    };
    codec::encode_before(&head, &content).map_err(too_large)
}

/// Copies of what was [packed](pack); `files` are those of the partition.
///
/// # Errors
/// [`DataError`], if these bytes are no parts of such files, or if the copies cannot be written.
pub fn unpack(packed: &[u8], files: &[InputFile]) -> Result<Vec<Readable>, DataError> {
    let first = || files.first().map_or_else(|| Origin::file("the input".into()), InputFile::origin);
    let corrupt = |what: &str| DataError::Corrupt { file: first(), what: what.to_owned() };
    let (head, mut rest): (Vec<Vec<(u64, u64)>>, _) =
        codec::decode_before(packed).map_err(|error| corrupt(&error.to_string()))?;
    if head.len() != files.len() {
        return Err(corrupt("parts of other files came"));
    }
    let mut copies = Vec::with_capacity(files.len());
    let unwritten = |source| DataError::Spool { file: first(), folder: std::env::temp_dir(), source };
    let folder = (files.len() > UNNAMED_MAX).then(tempfile::tempdir).transpose().map_err(unwritten)?.map(Arc::new);
    for (number, (file, ranges)) in files.iter().zip(head).enumerate() {
        let ranges: Vec<_> = ranges.into_iter().map(|(start, end)| start..end).collect();
        let is_within = |range: &Range<u64>| range.start <= range.end && range.end <= file.bytes;
        if !ranges.iter().all(is_within) {
            return Err(corrupt("parts came that it does not have"));
        }
        copies.push(copied(file, &ranges, (folder.as_ref(), number), |_, piece| {
            let (next, behind) = rest.split_at_checked(piece.len()).ok_or_else(|| corrupt("it came in part"))?;
            piece.copy_from_slice(next);
            rest = behind;
            Ok(())
        })?);
    }
    if rest.is_empty() { Ok(copies) } else { Err(corrupt("more of it came than its parts have")) }
}
