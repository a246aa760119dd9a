//! Parquet tables, row by row. Only the columns that are asked for are read, some rows at a time.
//!
//! The library decodes them. It believes what a file says of its sizes, and somebody may have forged the file; so each part
//! is checked before the library sees it.
//!
//! | module | holds |
//! |---|---|
//! | `compact` | the protocol that a file's descriptions are written in |
//! | `footer` | the check of what a file says of itself |
//! | `pages`, `codec` | the check of what its pages say of themselves |
//! | `checked` | the check of pages that are unpacked |
//! | `guard` | calls of the library that may panic |
//! | `refusal` | why a file is not read |
//! | `values` | values as they are decoded, and what they mean |
//!
//! Source: the Parquet format, LogicalTypes.md, for what integers and byte arrays mean.

mod checked;
mod codec;
mod compact;
mod footer;
#[cfg(test)]
mod forged;
mod guard;
mod pages;
mod refusal;
#[cfg(test)]
mod tests;
mod values;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::cells::Cell;
use super::error::{DataError, Origin, ValuePlace, shown};
use super::source::open_file;
use super::table::Names;
use crate::partition::{KeptCell, KeptKind};
use checked::CheckedPages;
use codec::PageCodec;
use guard::guarded;
use pages::{Chunk, PageRoom};
use refusal::Refusal;
use values::{Meaning, Values, decode, is_half};

/// Cells that are decoded at a time.
const CELLS_MAX: usize = 1 << 16;
/// Bytes that the texts among them keep, of all columns together.
const TEXT_BYTES_MAX: usize = 64 << 20;
/// What a file may have beyond what it has bytes for: rows, bytes of its texts, bytes of pages that are open at a time.
/// A run of one value takes no more bytes for being longer, so nothing else bounds them.
const ROWS_FREE: u64 = 1 << 20;
const TEXT_BYTES_FREE: u64 = 256 << 20;
const HELD_BYTES_FREE: u64 = 1 << 30;
/// Rows, and bytes of texts, for each byte of the file: as if it were packed by gzip, which gives no more.
const RATIO_MAX: u64 = 1032;
/// Bytes of open pages for each byte of the file.
const HELD_RATIO_MAX: u64 = 4;

/// A Parquet file while it is read.
pub(super) struct ParquetTable {
    file: Origin,
    /// To look at what the library is about to read.
    opened: File,
    file_bytes: u64,
    /// Where the footer begins, and no values are any more.
    values_end: u64,
    reader: SerializedFileReader<File>,
    names: Names,
    /// Places of the columns that are read, among all.
    wanted: Vec<usize>,
    /// For each column of the file, where it is among those that are read.
    slots: Vec<Option<usize>>,
    /// The groups of rows that are still to be opened.
    groups: Range<usize>,
    group_rows_left: usize,
    columns: Vec<OpenColumn>,
    /// Of the texts that were decoded, however often each of them is kept.
    text_bytes: u64,
    /// Decoded, column by column.
    values: Vec<Values>,
    rows: usize,
    /// The row among those that are decoded, from 0, and rows of the file before these.
    row: usize,
    rows_before: usize,
}

/// A column in the group of rows that is read.
struct OpenColumn {
    reader: ColumnReader,
    room: PageRoom,
}

impl ParquetTable {
    pub(super) fn open(file: Origin) -> Result<Self, DataError> {
        let (opened, file_bytes) = open_file(&file)?;
        let unreadable = |error| DataError::of_file(&file, error);
        let mut start = vec![0; file_bytes.min(4) as usize];
        opened.read_exact_at(&mut start, 0).map_err(unreadable)?;
        if start != b"PAR1" {
            let start = super::idx::hex(&start);
            return Err(DataError::Magic { file, format: "Parquet", start });
        }
        let values_end = footer::check(&opened, file_bytes).map_err(|refusal| refusal.of(&file))?;
        let for_library = opened.try_clone().map_err(unreadable)?;
        let reader = guarded(&file, || SerializedFileReader::new(for_library))?;
        check_groups(&reader, file_bytes, values_end).map_err(|refusal| refusal.of(&file))?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let names = Names::of(schema.columns().iter().map(|column| match column.path().parts() {
            [name] => super::cells::name(name.as_bytes()).into_owned(),
            parts => parts.join("."),
        }));
        let slots = vec![None; schema.num_columns()];
        let (wanted, columns, values) = (Vec::new(), Vec::new(), Vec::new());
        let groups = 0..reader.num_row_groups();
        Ok(Self {
            file,
            opened,
            file_bytes,
            values_end,
            reader,
            names,
            wanted,
            slots,
            groups,
            group_rows_left: 0,
            columns,
            text_bytes: 0,
            values,
            rows: 0,
            row: 0,
            rows_before: 0,
        })
    }

    pub(super) fn file(&self) -> &Origin {
        &self.file
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Reads these columns from now on.
    pub(super) fn want(&mut self, places: &[usize]) -> Result<(), DataError> {
        for &place in places {
            if self.slots[place].is_none() {
                self.check(place)?;
                self.slots[place] = Some(self.wanted.len());
                self.wanted.push(place);
            }
        }
        Ok(())
    }

    fn descriptor(&self, place: usize) -> parquet::schema::types::ColumnDescPtr {
        self.reader.metadata().file_metadata().schema_descr().column(place)
    }

    /// Refuses columns that are no plain ones.
    fn check(&self, place: usize) -> Result<(), DataError> {
        let column = self.descriptor(place);
        let name = shown(&self.names.shown(place));
        let what = if column.max_rep_level() > 0 || column.path().parts().len() > 1 {
            format!("the column `{name}` is nested; write it as columns of its own, or leave it out")
        } else if column.physical_type() == Physical::INT96 {
            format!("the column `{name}` has times in the outdated type INT96; write them anew as 64 bits")
        } else if column.physical_type() == Physical::FIXED_LEN_BYTE_ARRAY && !is_half(&column) {
            format!("the column `{name}` has decimals of fixed length; write them anew as float64")
        } else {
            return Ok(());
        };
        Err(DataError::Unsupported { file: self.file.clone(), what })
    }

    /// Goes to the next row; `false` behind the last.
    pub(super) fn next(&mut self) -> Result<bool, DataError> {
        self.row += 1;
        if self.row >= self.rows {
            self.rows_before += self.rows;
            self.decode()?;
        }
        Ok(self.rows > 0)
    }

    /// Decodes the next rows; none behind the last.
    fn decode(&mut self) -> Result<(), DataError> {
        (self.row, self.rows) = (0, 0);
        while self.group_rows_left == 0 {
            let Some(group) = self.groups.next() else { return Ok(()) };
            self.open_group(group)?;
        }
        let columns = self.wanted.len().max(1);
        let rows_max = (CELLS_MAX / columns).clamp(1, self.group_rows_left);
        let fitting = self.columns.iter().map(|column| column.room.rows_at_once(rows_max, TEXT_BYTES_MAX / columns));
        let rows = fitting.min().unwrap_or(rows_max);
        let file = self.file.clone();
        // What was read goes before memory is taken anew.
        self.values.clear();
        for (open, &place) in self.columns.iter_mut().zip(&self.wanted) {
            let column = self.reader.metadata().file_metadata().schema_descr().column(place);
            let values = guarded(&file, || decode(&mut open.reader, &column, rows))?;
            open.room.advance(rows);
            self.text_bytes = self.text_bytes.saturating_add(values.text_bytes());
            self.values.push(values);
        }
        if self.values.iter().any(|values| values.len() != rows) {
            let what = "a column has fewer rows than the others".to_owned();
            return Err(DataError::Header { file, what });
        }
        if self.text_bytes > self.file_bytes.saturating_mul(RATIO_MAX).saturating_add(TEXT_BYTES_FREE) {
            let what = format!("{} bytes become more than {} bytes of text", self.file_bytes, self.text_bytes);
            return Err(DataError::TooLarge { file, what });
        }
        self.group_rows_left -= rows;
        self.rows = rows;
        Ok(())
    }

    fn open_group(&mut self, group: usize) -> Result<(), DataError> {
        self.columns.clear();
        let rows = self.reader.metadata().row_group(group).num_rows();
        let group_rows = usize::try_from(rows).ok().filter(|&rows| u32::try_from(rows).is_ok());
        self.group_rows_left = group_rows.ok_or_else(|| {
            let what = format!("{rows} rows in a row group");
            DataError::Header { file: self.file.clone(), what }
        })?;
        let mut held_bytes = 0;
        for &place in &self.wanted {
            let column = self.open_column(group, place)?;
            held_bytes += column.room.held_bytes;
            self.columns.push(column);
        }
        if held_bytes > self.file_bytes.saturating_mul(HELD_RATIO_MAX).saturating_add(HELD_BYTES_FREE) {
            let what =
                "its pages take more than 1 GiB at a time; write it anew with smaller pages, or with fewer columns";
            return Err(DataError::TooLarge { file: self.file.clone(), what: what.to_owned() });
        }
        Ok(())
    }

    /// Opens a column in a group.
    fn open_column(&self, group: usize, place: usize) -> Result<OpenColumn, DataError> {
        let column = self.descriptor(place);
        let room = self.room_of(group, place, &column).map_err(|refusal| {
            let name = shown(&self.names.shown(place));
            refusal.in_column(&name).of(&self.file)
        })?;
        let reader = guarded(&self.file, || {
            let pages = self.reader.get_row_group(group)?.get_column_page_reader(place)?;
            let pages = CheckedPages { pages, has_levels: column.max_def_level() > 0 };
            Ok(get_column_reader(column, Box::new(pages)))
        })?;
        Ok(OpenColumn { reader, room })
    }

    /// Looks at the pages of a column in a group.
    fn room_of(&self, group: usize, place: usize, column: &ColumnDescriptor) -> Result<PageRoom, Refusal> {
        let group = self.reader.metadata().row_group(group);
        let values = group.columns().get(place).ok_or_else(|| Refusal::corrupt("it is missing"))?;
        if values.file_path().is_some_and(|path| !path.is_empty()) {
            return Err(Refusal::Unsupported("its values are in another file".into()));
        }
        let range = self.range_of(values);
        let Range { start, end } =
            range.ok_or_else(|| Refusal::corrupt("its values are said to be where no values are"))?;
        let codec = PageCodec::of(values.compression())?;
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        PageRoom::of(&Chunk { file: &self.opened, start, end, codec, column, rows })
    }

    /// Where the pages of a column in a group are, if that is where values are.
    fn range_of(&self, values: &ColumnChunkMetaData) -> Option<Range<u64>> {
        let start = values.dictionary_page_offset().unwrap_or_else(|| values.data_page_offset());
        let (start, bytes) = (u64::try_from(start).ok()?, u64::try_from(values.compressed_size()).ok()?);
        let end = start.checked_add(bytes)?;
        (end <= self.values_end).then_some(start..end)
    }

    /// The bytes of the file that are read for the wanted columns of some groups.
    pub(super) fn ranges(&self, groups: Range<usize>) -> Vec<Range<u64>> {
        let groups = self.reader.metadata().row_groups().iter().take(groups.end).skip(groups.start);
        let chunks = groups.flat_map(|group| self.wanted.iter().filter_map(|&place| group.columns().get(place)));
        let pages = chunks.filter_map(|values| self.range_of(values));
        pages.chain([0..4, self.values_end..self.file_bytes]).collect()
    }

    /// The number of the row in the file, from 0.
    pub(super) fn row_in_file(&self) -> usize {
        self.rows_before + self.row
    }

    /// Rows of each group.
    pub(super) fn group_rows(&self) -> Vec<u64> {
        // Not negative, as was checked when the file was opened.
        self.reader.metadata().row_groups().iter().map(|group| group.num_rows().unsigned_abs()).collect()
    }

    /// Goes to some groups of rows, before any row is read.
    pub(super) fn go_to(&mut self, groups: Range<usize>) {
        let end = groups.end.min(self.reader.num_row_groups());
        let before: u64 = self.group_rows().iter().take(groups.start).sum();
        self.rows_before = usize::try_from(before).unwrap_or(usize::MAX);
        self.groups = groups.start.min(end)..end;
    }

    pub(super) fn cell(&self, place: usize) -> Cell<'_> {
        self.values_of(place).map_or(Cell::Missing, |values| values.cell(self.row))
    }

    /// The finite number that a cell is, where it is one.
    #[inline]
    pub(super) fn finite(&self, place: usize) -> Option<f64> {
        self.values_of(place).and_then(|values| values.finite(self.row))
    }

    /// The same to be passed on, as the file has it; nothing where it is no text.
    pub(super) fn kept_cell(&self, place: usize) -> Option<KeptCell> {
        self.values_of(place).map_or(Some(KeptCell::Missing), |values| values.kept(self.row))
    }

    /// What the cells of a column are that is passed on.
    pub(super) fn kept_kind(&self, place: usize) -> KeptKind {
        let column = self.descriptor(place);
        Meaning::of(&column).kept_kind(&column)
    }

    /// Whether a column has points in time, as whole numbers.
    pub(super) fn is_time(&self, place: usize) -> bool {
        values::is_time(&self.descriptor(place))
    }

    #[inline]
    fn values_of(&self, place: usize) -> Option<&Values> {
        self.slots[place].and_then(|slot| self.values.get(slot))
    }

    pub(super) fn place(&self, place: usize) -> ValuePlace {
        ValuePlace::Cell { file: self.file.clone(), row: self.row_in_file(), column: self.names.shown(place) }
    }

    pub(super) fn bad_text(&self, place: usize) -> DataError {
        let what =
            "bytes that are no UTF-8 text; write the column anew as text or numbers, or leave it out".to_owned();
        DataError::Row { place: self.place(place), what }
    }
}

/// Refuses more rows than the file can have, and columns that share their bytes: a small file could else be unpacked again
/// and again.
fn check_groups(reader: &SerializedFileReader<File>, file_bytes: u64, values_end: u64) -> Result<(), Refusal> {
    let (mut rows, mut bytes) = (0_u64, 0_u64);
    for group in reader.metadata().row_groups() {
        let negative = |_| Refusal::corrupt("a group of rows is said to have less than none");
        rows = rows.saturating_add(u64::try_from(group.num_rows()).map_err(negative)?);
        for column in group.columns() {
            bytes = bytes.saturating_add(u64::try_from(column.compressed_size()).map_err(negative)?);
        }
    }
    if rows > file_bytes.saturating_mul(RATIO_MAX).saturating_add(ROWS_FREE) {
        Err(Refusal::TooLarge(format!("it says that {file_bytes} bytes are {rows} rows")))
    } else if bytes > values_end {
        Err(Refusal::corrupt("its columns have the same bytes"))
    } else {
        Ok(())
    }
}
