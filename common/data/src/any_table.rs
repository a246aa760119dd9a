//! Tables of either kind, row by row: text or Parquet.

use std::path::PathBuf;

use super::cells::{self, Cell};
use super::error::{DataError, Origin, ValuePlace};
use super::parquet::ParquetTable;
use super::table::{Names, Table};
use crate::partition::{KeptCell, KeptKind};
use crate::settings::{TableFormat, TableSource};

/// A table of either kind, at one of its rows.
pub(super) enum AnyTable {
    Text(Table),
    Parquet(ParquetTable),
}

impl AnyTable {
    pub(super) fn open(path: PathBuf, source: &TableSource) -> Result<Self, DataError> {
        let file = Origin::file(path);
        Ok(match &source.format {
            TableFormat::Text(dialect) => Self::Text(Table::find(file, dialect, Some(&source.label_column))?),
            TableFormat::Parquet => Self::Parquet(ParquetTable::open(file)?),
        })
    }

    pub(super) fn file(&self) -> &Origin {
        match self {
            Self::Text(table) => table.file(),
            Self::Parquet(table) => table.file(),
        }
    }

    pub(super) fn names(&self) -> &Names {
        match self {
            Self::Text(table) => table.names(),
            Self::Parquet(table) => table.names(),
        }
    }

    /// Says which columns will be asked for.
    pub(super) fn want(&mut self, places: &[usize]) -> Result<(), DataError> {
        match self {
            Self::Text(_) => Ok(()),
            Self::Parquet(table) => table.want(places),
        }
    }

    pub(super) fn next(&mut self) -> Result<bool, DataError> {
        match self {
            Self::Text(table) => table.next(),
            Self::Parquet(table) => table.next(),
        }
    }

    pub(super) fn cell(&self, place: usize) -> Cell<'_> {
        match self {
            Self::Text(table) => table.cell(place),
            Self::Parquet(table) => table.cell(place),
        }
    }

    /// The finite number that a cell is, where that is known without a look at letters.
    #[inline]
    pub(super) fn finite(&self, place: usize) -> Option<f64> {
        match self {
            Self::Text(_) => None,
            Self::Parquet(table) => table.finite(place),
        }
    }

    /// The same to be passed on, as the file has it; nothing where it is no text.
    pub(super) fn kept_cell(&self, place: usize) -> Option<KeptCell> {
        match self {
            Self::Text(table) => match table.bytes(place) {
                [] => Some(KeptCell::Missing),
                bytes => std::str::from_utf8(bytes).ok().map(|text| KeptCell::Text(text.to_owned())),
            },
            Self::Parquet(table) => table.kept_cell(place),
        }
    }

    /// What the cells of a column are that is passed on.
    pub(super) fn kept_kind(&self, place: usize) -> KeptKind {
        match self {
            Self::Text(_) => KeptKind::Text,
            Self::Parquet(table) => table.kept_kind(place),
        }
    }

    /// The line of the row, from 1, where there are lines.
    pub(super) fn line(&self) -> Option<u64> {
        match self {
            Self::Text(table) => Some(table.line()),
            Self::Parquet(_) => None,
        }
    }

    pub(super) fn place(&self, place: usize) -> ValuePlace {
        match self {
            Self::Text(table) => table.place(place),
            Self::Parquet(table) => table.place(place),
        }
    }

    /// The number that a cell spells.
    pub(super) fn spelled(&self, text: &str) -> Option<f64> {
        cells::number(text.as_bytes(), self.decimal())
    }

    /// The decimal mark of numbers that are text.
    pub(super) fn decimal(&self) -> u8 {
        match self {
            Self::Text(table) => table.decimal(),
            Self::Parquet(_) => b'.',
        }
    }

    pub(super) fn bad_text(&self, place: usize) -> DataError {
        match self {
            Self::Text(table) => table.bad_text(place),
            Self::Parquet(table) => table.bad_text(place),
        }
    }
}
