//! Rows as Parquet: every column is optional, and one of text, of 64-bit integers, of doubles or of booleans. Row groups
//! have 65536 rows, the last one what is left.

use std::fmt::Display;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type};

use super::{OutputFormat, OutputTableError};
use broadsweep_common::application::{KeptCell, KeptColumn, KeptKind};

/// In the form that readers look for, so that they trust the statistics of text. The number is that of the layout of
/// these files: a release that changes nothing about them gives the same bytes.
const MADE_BY: &str = "broadsweep version 1.0.0";
/// Rows of a row group.
pub(super) const GROUP_ROWS: usize = 64 << 10;

type GroupWriter<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

pub(super) struct ParquetFile {
    writer: SerializedFileWriter<Vec<u8>>,
    /// Of the row group that is not written yet.
    columns: Vec<Cells>,
    rows: usize,
}

/// The cells of a column in one row group: a level of 1 where there is a value, which then follows the one before it.
struct Cells {
    levels: Vec<i16>,
    values: Values,
}

/// Texts share their bytes with the same text a little before, as names of classes do.
#[derive(Default)]
struct Texts {
    cells: Vec<ByteArray>,
    recent: Vec<ByteArray>,
}

/// Texts that are remembered.
const RECENT_MAX: usize = 16;

impl Texts {
    fn push(&mut self, text: &str) {
        let known = self.recent.iter().find(|known| known.data() == text.as_bytes()).cloned();
        let cell = known.unwrap_or_else(|| {
            let new = ByteArray::from(text.as_bytes().to_vec());
            if self.recent.len() == RECENT_MAX {
                self.recent.clear();
            }
            self.recent.push(new.clone());
            new
        });
        self.cells.push(cell);
    }
}

enum Values {
    Texts(Texts),
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    Flags(Vec<bool>),
}

impl ParquetFile {
    pub(super) fn new(columns: &[KeptColumn]) -> Result<Self, OutputTableError> {
        let fields: Vec<_> =
            columns.iter().map(|column| field(column).map(Arc::new)).collect::<Result<_, _>>().map_err(refused)?;
        let schema = Type::group_type_builder("predictions").with_fields(fields).build().map_err(refused)?;
        let compression = Compression::ZSTD(ZstdLevel::default());
        let mut properties =
            WriterProperties::builder().set_created_by(MADE_BY.to_owned()).set_compression(compression);
        for column in columns.iter().filter(|column| column.kind == KeptKind::Number) {
            // Nearly all of them differ: a dictionary would hold each, and their places besides.
            let path = ColumnPath::new(vec![column.name.clone()]);
            properties = properties.set_column_dictionary_enabled(path, false);
        }
        let writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties.build()));
        let cells = columns.iter().map(|column| Cells::new(column.kind)).collect();
        Ok(Self { writer: writer.map_err(refused)?, columns: cells, rows: 0 })
    }

    pub(super) fn push(&mut self, cells: &[KeptCell]) -> Result<(), OutputTableError> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        self.rows += 1;
        if self.rows == GROUP_ROWS { self.write_group().map_err(refused) } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, OutputTableError> {
        if self.rows > 0 {
            self.write_group().map_err(refused)?;
        }
        self.writer.into_inner().map_err(refused)
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            column.write(&mut group)?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl Cells {
    fn new(kind: KeptKind) -> Self {
        let values = match kind {
            KeptKind::Text => Values::Texts(Texts::default()),
            KeptKind::Integer => Values::Integers(Vec::new()),
            KeptKind::Number => Values::Numbers(Vec::new()),
            KeptKind::Flag => Values::Flags(Vec::new()),
        };
        Self { levels: Vec::new(), values }
    }

    /// A cell of the column's kind; any other is as a missing one.
    fn push(&mut self, cell: &KeptCell) {
        match (cell, &mut self.values) {
            (KeptCell::Text(text), Values::Texts(texts)) => texts.push(text),
            (KeptCell::Integer(integer), Values::Integers(integers)) => integers.push(*integer),
            (KeptCell::Number(number), Values::Numbers(numbers)) => numbers.push(*number),
            (KeptCell::Flag(flag), Values::Flags(flags)) => flags.push(*flag),
            _ => return self.levels.push(0),
        }
        self.levels.push(1);
    }

    /// Writes the next column of a row group, and leaves none of its cells.
    fn write(&mut self, group: &mut GroupWriter<'_>) -> Result<(), ParquetError> {
        let levels = &self.levels;
        match &mut self.values {
            Values::Texts(texts) => write::<ByteArrayType>(group, levels, &mut texts.cells),
            Values::Integers(integers) => write::<Int64Type>(group, levels, integers),
            Values::Numbers(numbers) => write::<DoubleType>(group, levels, numbers),
            Values::Flags(flags) => write::<BoolType>(group, levels, flags),
        }?;
        self.levels.clear();
        Ok(())
    }
}

fn write<T: DataType>(
    group: &mut GroupWriter<'_>,
    levels: &[i16],
    values: &mut Vec<T::T>,
) -> Result<(), ParquetError> {
    let mut column =
        group.next_column()?.ok_or_else(|| ParquetError::General("a column without a field".to_owned()))?;
    column.typed::<T>().write_batch(values, Some(levels), None)?;
    values.clear();
    column.close()
}

fn field(column: &KeptColumn) -> Result<Type, ParquetError> {
    let (physical, logical) = match column.kind {
        KeptKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        KeptKind::Integer => (Physical::INT64, None),
        KeptKind::Number => (Physical::DOUBLE, None),
        KeptKind::Flag => (Physical::BOOLEAN, None),
    };
    let builder = Type::primitive_type_builder(&column.name, physical);
    builder.with_repetition(Repetition::OPTIONAL).with_logical_type(logical).build()
}

fn refused(error: impl Display) -> OutputTableError {
    OutputTableError::Refused { format: OutputFormat::Parquet, what: error.to_string() }
}
