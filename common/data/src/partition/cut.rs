//! How files become partitions: of nearly equal rows within a file, as its layout lets it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use broadsweep_common::schema::{Inputs, Schema};

use super::OnDisk as _;
use super::inputs::{self, Listed};
use super::records::{Records, Start};
use super::{Cut, Elsewhere, InputFile, Partition, Portion, Readable, Wanted};
use crate::any_table::AnyTable;
use crate::error::{DataError, Origin, shown};
use crate::input_array::InputArray;
use crate::input_table::InputTable;
use crate::parquet::ParquetTable;
use crate::source::Source;
use crate::table::Table;
use broadsweep_common::application::{KeptColumn, KeptKind, PARTITIONS_MAX};

/// Bytes of a text that are looked at together.
const PIECE_BYTES: usize = 256 << 10;
/// Places of a text where a partition may begin, for each partition: so little more rows may one have than another.
const MARKS: u64 = 32;
/// Pictures of a partition that lie on no file system.
const PICTURES_BROUGHT_MAX: u64 = 256;
/// What a packed text becomes, about, for each of its bytes.
const UNPACKED: u64 = 4;

/// Cuts files and folders into partitions of at most `rows_max` rows, where their layout lets it.
///
/// A folder stands for its data files in the order of their names, without those that begin with `.` or `_`; if it has
/// pictures, in it or in folders in it, for these alone, where the model takes pictures. A text is read through once, to
/// see where its records begin; of other files only what says what they are.
///
/// # Errors
/// [`DataError`], for the first file that cannot be read, is not what the model takes, lacks a column, or changes
/// meanwhile.
pub fn cut(schema: &Schema, inputs: &[PathBuf], wanted: &Wanted, rows_max: u64) -> Result<Cut, DataError> {
    cut_with(schema, inputs, wanted, rows_max, &())
}

/// [`cut`], where some of the inputs may lie on no file system. Those are brought here one at a time.
///
/// # Errors
/// As there.
pub fn cut_with(
    schema: &Schema,
    inputs: &[PathBuf],
    wanted: &Wanted,
    rows_max: u64,
    elsewhere: &dyn Elsewhere,
) -> Result<Cut, DataError> {
    cut_any(schema, inputs, wanted, rows_max.max(1), elsewhere).map_err(DataError::for_model)
}

fn cut_any(
    schema: &Schema,
    inputs: &[PathBuf],
    wanted: &Wanted,
    rows_max: u64,
    elsewhere: &dyn Elsewhere,
) -> Result<Cut, DataError> {
    let mut remarks = Vec::new();
    let is_table = matches!(schema.inputs, Inputs::Columns(_));
    let listed = inputs::list(inputs, !is_table, elsewhere, &mut remarks)?;
    let first = listed.first().map(|file| Origin::file(file.path.clone()));
    let input = first.unwrap_or_else(|| Origin::file("the input".into()));
    check_wanted(wanted, is_table, &input)?;
    let (files, partitions, kinds) = (Vec::new(), Vec::new(), Vec::new());
    let mut cutting = Cutting { schema, wanted, rows_max, elsewhere, files, partitions, kinds, remarks };
    let are_alike = |one: &Listed, next: &Listed| {
        one.is_picture && next.is_picture && one.elsewhere.is_some() == next.elsewhere.is_some()
    };
    for same_kind in listed.chunk_by(are_alike) {
        match same_kind {
            [file @ Listed { is_picture: false, .. }] => cutting.cut_file(file)?,
            pictures => cutting.cut_pictures(pictures)?,
        }
    }
    if cutting.partitions.is_empty() {
        return Err(DataError::NoRows { file: input });
    }
    let kinds = wanted.keep.iter().zip(cutting.kinds);
    let kept = kinds.map(|(name, kind)| KeptColumn { name: name.clone(), kind }).collect();
    Ok(Cut { files: cutting.files, partitions: cutting.partitions, kept, remarks: cutting.remarks })
}

/// Refuses what no table of any kind could give.
fn check_wanted(wanted: &Wanted, is_table: bool, input: &Origin) -> Result<(), DataError> {
    let unsupported = |what: String| Err(DataError::Unsupported { file: input.clone(), what });
    if !is_table && let Some(name) = wanted.labels.iter().chain(&wanted.keep).next() {
        let what = format!(
            "the model takes arrays or pictures, and these have no columns; a column `{}` can be named only where it \
             takes tables",
            shown(name)
        );
        return unsupported(what);
    }
    let mut seen = BTreeSet::new();
    match wanted.keep.iter().find(|name| !seen.insert(*name)) {
        Some(twice) => unsupported(format!("the column `{}` is to be kept twice; name it once", shown(twice))),
        None => Ok(()),
    }
}

/// Files while they are cut.
struct Cutting<'c> {
    schema: &'c Schema,
    wanted: &'c Wanted,
    rows_max: u64,
    elsewhere: &'c dyn Elsewhere,
    files: Vec<InputFile>,
    partitions: Vec<Partition>,
    /// Of the columns that are kept, once a file has been seen.
    kinds: Vec<KeptKind>,
    remarks: Vec<String>,
}

impl Cutting<'_> {
    /// Adds a file, and tells its place.
    fn add_file(&mut self, file: InputFile) -> u32 {
        self.files.push(file);
        // As many as there may be were listed.
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    fn add(&mut self, portion: Portion, first_row: u64, rows: u64) {
        let file = self.files.len().saturating_sub(1) as u32;
        self.partitions.push(Partition { file, portion, first_row, rows: Some(rows), cost: rows.max(1) });
    }

    /// Refuses more partitions than there may be: so many more of this file.
    fn check_room(&self, file: &Origin, more: u64) -> Result<(), DataError> {
        let parts = (self.partitions.len() as u64).saturating_add(more);
        if parts <= PARTITIONS_MAX {
            return Ok(());
        }
        let what = format!(
            "with it the input is cut into more than {PARTITIONS_MAX} partitions, of at most {} rows; allow more rows in \
             each, or apply the model to some of the files at a time",
            self.rows_max
        );
        Err(DataError::TooLarge { file: file.clone(), what })
    }

    /// Cuts pictures that follow each other.
    fn cut_pictures(&mut self, pictures: &[Listed]) -> Result<(), DataError> {
        let first = self.files.len();
        for picture in pictures {
            let file = picture.elsewhere.clone().map_or_else(|| InputFile::look(&picture.path), Ok)?;
            self.add_file(file);
        }
        // Of what lies elsewhere each is a copy that is held open.
        let is_elsewhere = pictures.iter().any(|picture| picture.elsewhere.is_some());
        let most = if is_elsewhere { PICTURES_BROUGHT_MAX } else { u64::from(u32::MAX) };
        let (all, rows_max) = (pictures.len() as u64, self.rows_max.min(most));
        let origin = |picture: &Listed| Origin::file(picture.path.clone());
        pictures.first().map_or(Ok(()), |first| self.check_room(&origin(first), all.div_ceil(rows_max)))?;
        for (from, until) in even(all, rows_max) {
            let (file, rows) = ((first as u64 + from) as u32, until - from);
            let portion = Portion::Pictures { count: rows as u32 };
            self.partitions.push(Partition { file, portion, first_row: 0, rows: Some(rows), cost: rows });
        }
        Ok(())
    }

    /// Cuts a table or an array.
    fn cut_file(&mut self, listed: &Listed) -> Result<(), DataError> {
        let readable = match &listed.elsewhere {
            Some(file) => self.elsewhere.bring(file)?,
            None => Readable::here(InputFile::look(&listed.path)?),
        };
        self.add_file(readable.file.clone());
        let before = self.partitions.len();
        let origin = readable.origin();
        let cut = match &self.schema.inputs {
            Inputs::Columns(_) => self.cut_table(&origin, readable.file.bytes),
            Inputs::Array { channels_first, .. } => self.cut_array(&origin, *channels_first),
        };
        match cut {
            Ok(()) | Err(DataError::NoRows { .. }) => {}
            Err(error) => return Err(error),
        }
        if self.partitions.len() == before {
            self.remarks.push(format!("{origin} has no rows"));
        }
        self.check_room(&origin, 0)?;
        readable.check()
    }

    fn cut_array(&mut self, file: &Origin, channels_first: bool) -> Result<(), DataError> {
        let array = InputArray::open(self.schema, channels_first, file)?;
        let rows = array.rows() as u64;
        if !array.can_go() {
            self.add(Portion::Whole, 0, rows);
            return Ok(());
        }
        self.check_room(file, rows.div_ceil(self.rows_max))?;
        for (from, until) in even(rows, self.rows_max) {
            self.add(Portion::Rows, from, until - from);
        }
        Ok(())
    }

    fn cut_table(&mut self, file: &Origin, bytes: u64) -> Result<(), DataError> {
        let Inputs::Columns(columns) = &self.schema.inputs else { return Ok(()) };
        let table = InputTable::open_wanted(self.schema, columns, file, self.wanted, &mut self.remarks)?;
        let kinds = table.kept().iter().map(|&place| table.table().kept_kind(place));
        if self.kinds.is_empty() {
            self.kinds = kinds.collect();
        } else {
            self.kinds = self.kinds.iter().zip(kinds).map(|(known, kind)| known.merged(kind)).collect();
        }
        match table.table() {
            AnyTable::Parquet(parquet) => {
                self.remark_times(parquet, table.kept());
                self.cut_groups(&parquet.group_rows());
                Ok(())
            }
            AnyTable::Text(text) => self.cut_text(text, file, bytes),
        }
    }

    /// Tells of points in time that are passed on as numbers.
    fn remark_times(&mut self, parquet: &ParquetTable, kept: &[usize]) {
        for (name, _) in self.wanted.keep.iter().zip(kept).filter(|&(_, &place)| parquet.is_time(place)) {
            let remark = format!(
                "the column `{}` has points in time, which are passed on as the whole numbers that they are kept as",
                shown(name)
            );
            if !self.remarks.contains(&remark) {
                self.remarks.push(remark);
            }
        }
    }

    /// Whole groups of rows: several small ones that follow each other together.
    fn cut_groups(&mut self, group_rows: &[u64]) {
        let (mut first, mut rows, mut before) = (0, 0, 0);
        for (group, &more) in group_rows.iter().enumerate() {
            if rows > 0 && rows + more > self.rows_max {
                self.add_groups(first, group, before, rows);
                (first, before, rows) = (group, before + rows, 0);
            }
            rows += more;
        }
        if rows > 0 {
            self.add_groups(first, group_rows.len(), before, rows);
        }
    }

    fn add_groups(&mut self, first: usize, end: usize, first_row: u64, rows: u64) {
        // The library counts groups in 16 bits where files say their number, and a list of them in 32.
        let (first, count) = (first as u32, (end - first) as u32);
        self.add(Portion::Groups { first, count }, first_row, rows);
    }

    fn cut_text(&mut self, table: &Table, file: &Origin, bytes: u64) -> Result<(), DataError> {
        let Some(from) = table.plain_from() else {
            let unpacked = if table.is_packed() { bytes.saturating_mul(UNPACKED) } else { bytes };
            let cost = (unpacked / table.line_bytes()).max(1);
            let place = self.files.len().saturating_sub(1) as u32;
            let portion = Portion::Whole;
            self.partitions.push(Partition { file: place, portion, first_row: 0, rows: None, cost });
            return Ok(());
        };
        let written = table.written();
        let stride = (self.rows_max / MARKS).max(1);
        let mut marks = Marks { stride, rows: 0, found: Vec::new(), is_header: written.header };
        let source = Source::part(file.clone(), from..bytes)?;
        let check = |rows: u64| self.check_room(file, rows.div_ceil(self.rows_max));
        look_through(source, from, written.delimiter, &mut marks, check)?;
        if marks.rows == 0 {
            return Ok(());
        }
        if marks.found.first().is_none_or(|first| first.row > 0) {
            // With spaces between its cells, and quotes within them.
            self.add(Portion::Whole, 0, marks.rows);
            return Ok(());
        }
        for (mark, next) in marks.chosen(self.rows_max) {
            let (until, end) = next.map_or((bytes, marks.rows), |next| (next.from, next.row));
            let portion = Portion::Lines { from: mark.from, until, lines_before: mark.lines_before };
            self.add(portion, mark.row, end - mark.row);
        }
        Ok(())
    }
}

/// Finds the records of a text that begins at a byte of its file, while `check` allows so many rows.
fn look_through(
    mut source: Source,
    from: u64,
    delimiter: u8,
    marks: &mut Marks,
    check: impl Fn(u64) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let file = source.file.clone();
    let mut piece = vec![0; PIECE_BYTES];
    let mut got = source.fill(&mut piece)?;
    // A second mark of UTF-8, which the reader steps over too.
    let skipped = if piece[..got].starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut records = Records::new(delimiter, from + skipped as u64);
    records.read(&file, &piece[skipped..got], |start| marks.add(start))?;
    while got > 0 {
        got = source.fill(&mut piece)?;
        records.read(&file, &piece[..got], |start| marks.add(start))?;
        check(marks.rows)?;
    }
    records.finish(|start| marks.add(start));
    Ok(())
}

/// Ranges of nearly equal length that make up all, each of at most `max`.
fn even(all: u64, max: u64) -> impl Iterator<Item = (u64, u64)> {
    let parts = all.div_ceil(max.max(1));
    (0..parts).map(move |part| (share(all, part, parts), share(all, part + 1, parts)))
}

/// Where a part begins.
fn share(all: u64, part: u64, parts: u64) -> u64 {
    (u128::from(all) * u128::from(part) / u128::from(parts.max(1))) as u64
}

/// Some rows of a text, where partitions may begin.
struct Marks {
    /// Rows between two of them.
    stride: u64,
    /// All rows so far.
    rows: u64,
    found: Vec<Mark>,
    /// Whether the next record names the columns.
    is_header: bool,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    row: u64,
    from: u64,
    lines_before: u64,
}

impl Marks {
    fn add(&mut self, start: Start) {
        if std::mem::take(&mut self.is_header) {
            return;
        }
        let is_due = self.found.last().is_none_or(|last| self.rows / self.stride > last.row / self.stride);
        if is_due && start.can_begin {
            let Start { from, lines_before, .. } = start;
            self.found.push(Mark { row: self.rows, from, lines_before });
        }
        self.rows += 1;
    }

    /// Where partitions begin, and where each ends if that is not the end of the file.
    fn chosen(&self, rows_max: u64) -> Vec<(Mark, Option<Mark>)> {
        // A partition may begin almost a stride before its share does, and have that many rows more.
        let sure = self.rows.div_ceil((rows_max.saturating_add(1) - self.stride).max(1));
        let least = self.chosen_of(self.rows.div_ceil(rows_max));
        let rows_of = |(mark, next): &(Mark, Option<Mark>)| next.map_or(self.rows, |next| next.row) - mark.row;
        if least.iter().all(|part| rows_of(part) <= rows_max) { least } else { self.chosen_of(sure) }
    }

    /// The same of so many parts, or fewer.
    fn chosen_of(&self, parts: u64) -> Vec<(Mark, Option<Mark>)> {
        let mut chosen: Vec<Mark> = Vec::new();
        for part in 0..parts {
            let share = share(self.rows, part, parts);
            let behind = self.found.partition_point(|mark| mark.row <= share);
            let mark = self.found.get(behind.saturating_sub(1));
            chosen.extend(mark.filter(|mark| chosen.last().is_none_or(|last| last.row < mark.row)));
        }
        let ends = chosen.iter().skip(1).copied().map(Some).chain([None]);
        chosen.iter().copied().zip(ends).collect()
    }
}
