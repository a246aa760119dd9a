//! Parquet tables, row by row. Only the columns that are asked for are read, some rows at a time.
//!
//! Source: the Parquet format, LogicalTypes.md, for what integers and byte arrays mean.

use std::borrow::Cow;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::cells::Cell;
use super::error::{DataError, Origin, ValuePlace, shown};
use super::number::half;
use super::source::open_file;
use super::table::Names;

/// Cells that are decoded at a time.
const CELLS_MAX: usize = 1 << 16;

/// A Parquet file while it is read.
pub(super) struct ParquetTable {
    file: Origin,
    reader: SerializedFileReader<File>,
    names: Names,
    /// Places of the columns that are read, among all.
    wanted: Vec<usize>,
    /// For each column of the file, where it is among those that are read.
    slots: Vec<Option<usize>>,
    group: usize,
    group_rows_left: usize,
    columns: Vec<ColumnReader>,
    /// Decoded, column by column.
    values: Vec<Values>,
    rows: usize,
    /// The row among those that are decoded, and in the file, from 0.
    row: usize,
    row_in_file: usize,
}

/// Some cells of one column.
enum Values {
    Numbers(Vec<Option<f64>>),
    Flags(Vec<Option<bool>>),
    Texts(Vec<Option<ByteArray>>),
}

/// How the numbers of a column are meant.
#[derive(Clone, Copy)]
enum Meaning {
    Signed,
    Unsigned,
    /// Divided by this power of ten.
    Decimal(i32),
}

impl ParquetTable {
    pub(super) fn open(file: Origin) -> Result<Self, DataError> {
        let (mut opened, _) = open_file(&file)?;
        let mut start = [0; 4];
        let got = std::io::Read::read(&mut opened, &mut start).map_err(|error| DataError::of_file(&file, error))?;
        if &start[..got] != b"PAR1" {
            let start = super::idx::hex(&start[..got]);
            return Err(DataError::Magic { file, format: "Parquet", start });
        }
        let reader = guarded(&file, || SerializedFileReader::new(opened))?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let names = Names::of(schema.columns().iter().map(|column| match column.path().parts() {
            [name] => super::cells::name(name.as_bytes()).into_owned(),
            parts => parts.join("."),
        }));
        let slots = vec![None; schema.num_columns()];
        let (wanted, columns, values) = (Vec::new(), Vec::new(), Vec::new());
        let (group, group_rows_left) = (0, 0);
        Ok(Self {
            file,
            reader,
            names,
            wanted,
            slots,
            group,
            group_rows_left,
            columns,
            values,
            rows: 0,
            row: 0,
            row_in_file: 0,
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
        self.row_in_file += 1;
        if self.row < self.rows {
            return Ok(true);
        }
        self.decode()?;
        Ok(self.rows > 0)
    }

    /// Decodes the next rows; none behind the last.
    fn decode(&mut self) -> Result<(), DataError> {
        (self.row, self.rows) = (0, 0);
        while self.group_rows_left == 0 {
            if self.group == self.reader.num_row_groups() {
                self.row_in_file = 0;
                return Ok(());
            }
            let is_first = self.group == 0;
            self.open_group()?;
            if is_first {
                self.row_in_file = 0;
            }
        }
        let rows = (CELLS_MAX / self.wanted.len().max(1)).clamp(1, self.group_rows_left);
        let file = self.file.clone();
        let mut values = Vec::with_capacity(self.columns.len());
        for (reader, &place) in self.columns.iter_mut().zip(&self.wanted) {
            let column = self.reader.metadata().file_metadata().schema_descr().column(place);
            values.push(guarded(&file, || decode(reader, &column, rows))?);
        }
        if values.iter().any(|values| values.len() != rows) {
            let what = "a column has fewer rows than the others".to_owned();
            return Err(DataError::Header { file, what });
        }
        self.values = values;
        self.group_rows_left -= rows;
        self.rows = rows;
        Ok(())
    }

    fn open_group(&mut self) -> Result<(), DataError> {
        let (file, number) = (self.file.clone(), self.group);
        let (rows, columns) = guarded(&file, || {
            let group = self.reader.get_row_group(number)?;
            let columns: Result<Vec<_>, _> =
                self.wanted.iter().map(|&place| group.get_column_reader(place)).collect();
            Ok((group.metadata().num_rows(), columns?))
        })?;
        let rows = usize::try_from(rows).ok().filter(|&rows| u32::try_from(rows).is_ok());
        let what = || format!("{} rows in a row group", self.reader.metadata().row_group(number).num_rows());
        self.group_rows_left = rows.ok_or_else(|| DataError::Header { file: file.clone(), what: what() })?;
        self.columns = columns;
        self.group += 1;
        Ok(())
    }

    pub(super) fn cell(&self, place: usize) -> Cell<'_> {
        let Some(values) = self.slots[place].and_then(|slot| self.values.get(slot)) else { return Cell::Missing };
        match values {
            Values::Numbers(numbers) => numbers[self.row]
                .map_or(Cell::Missing, |number| if number.is_nan() { Cell::Missing } else { Cell::Number(number) }),
            Values::Flags(flags) => flags[self.row]
                .map_or(Cell::Missing, |flag| Cell::Text(Cow::Borrowed(if flag { "true" } else { "false" }))),
            Values::Texts(texts) => match &texts[self.row] {
                None => Cell::Missing,
                Some(bytes) => match std::str::from_utf8(bytes.data()) {
                    Ok("") => Cell::Missing,
                    Ok(text) => Cell::Text(Cow::Borrowed(text)),
                    Err(_) => Cell::Unreadable,
                },
            },
        }
    }

    pub(super) fn place(&self, place: usize) -> ValuePlace {
        ValuePlace::Cell { file: self.file.clone(), row: self.row_in_file, column: self.names.shown(place) }
    }

    pub(super) fn bad_text(&self, place: usize) -> DataError {
        let what =
            "bytes that are no UTF-8 text; write the column anew as text or numbers, or leave it out".to_owned();
        DataError::Row { place: self.place(place), what }
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Flags(flags) => flags.len(),
            Self::Texts(texts) => texts.len(),
        }
    }
}

/// What the library says of a damaged file. It is read without trust in it: where it panics, that is an error too.
fn guarded<T>(file: &Origin, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, DataError> {
    let corrupt = |what: String| DataError::Corrupt { file: file.clone(), what };
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(ParquetError::NYI(what))) => Err(DataError::Unsupported { file: file.clone(), what }),
        Ok(Err(error)) => Err(corrupt(shown(&error.to_string()))),
        Err(_) => Err(corrupt("it says what cannot be".to_owned())),
    }
}

/// The next rows of one column.
fn decode(reader: &mut ColumnReader, column: &ColumnDescriptor, rows: usize) -> Result<Values, ParquetError> {
    let levels = column.max_def_level();
    let meaning = meaning(column);
    let scaled = |number: f64| match meaning {
        Meaning::Decimal(scale) => number / libm::pow(10.0, f64::from(scale)),
        Meaning::Signed | Meaning::Unsigned => number,
    };
    let is_unsigned = matches!(meaning, Meaning::Unsigned);
    Ok(match reader {
        ColumnReader::BoolColumnReader(reader) => Values::Flags(take(reader, levels, rows, |flag| flag)?),
        ColumnReader::Int32ColumnReader(reader) => Values::Numbers(take(reader, levels, rows, |number| {
            scaled(if is_unsigned { f64::from(number as u32) } else { f64::from(number) })
        })?),
        ColumnReader::Int64ColumnReader(reader) => Values::Numbers(take(reader, levels, rows, |number| {
            scaled(if is_unsigned { number as u64 as f64 } else { number as f64 })
        })?),
        ColumnReader::FloatColumnReader(reader) => Values::Numbers(take(reader, levels, rows, f64::from)?),
        ColumnReader::DoubleColumnReader(reader) => Values::Numbers(take(reader, levels, rows, |number| number)?),
        ColumnReader::ByteArrayColumnReader(reader) => Values::Texts(take(reader, levels, rows, |text| text)?),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            Values::Numbers(take(reader, levels, rows, |bytes: FixedLenByteArray| match bytes.data() {
                [low, high] => half(u16::from_le_bytes([*low, *high])),
                _ => f64::NAN,
            })?)
        }
        ColumnReader::Int96ColumnReader(_) => return Err(ParquetError::NYI("times of type INT96".to_owned())),
    })
}

/// Values, with those that are missing among them.
fn take<D: DataType, T>(
    reader: &mut ColumnReaderImpl<D>,
    levels: i16,
    rows: usize,
    convert: impl Fn(D::T) -> T,
) -> Result<Vec<Option<T>>, ParquetError> {
    let (mut known, mut values) = (Vec::new(), Vec::new());
    let mut taken = 0;
    while taken < rows {
        let wanted = (levels > 0).then_some(&mut known);
        let (records, ..) = reader.read_records(rows - taken, wanted, None, &mut values)?;
        if records == 0 {
            break;
        }
        taken += records;
    }
    let mut values = values.into_iter().map(convert);
    if levels == 0 {
        return Ok(values.map(Some).collect());
    }
    Ok(known.into_iter().map(|level| if level == levels { values.next() } else { None }).collect())
}

fn meaning(column: &ColumnDescriptor) -> Meaning {
    if let Some(LogicalType::Decimal(decimal)) = column.logical_type_ref() {
        return Meaning::Decimal(decimal.scale);
    }
    match column.converted_type() {
        ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
            Meaning::Unsigned
        }
        ConvertedType::DECIMAL => Meaning::Decimal(column.type_scale()),
        _ => Meaning::Signed,
    }
}

fn is_half(column: &ColumnDescriptor) -> bool {
    matches!(column.logical_type_ref(), Some(LogicalType::Float16)) && column.type_length() == 2
}
