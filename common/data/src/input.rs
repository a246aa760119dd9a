//! Rows of a file for a model that is trained: by the schema that came of its training rows, some at a time, so that a
//! file may be larger than memory.

use std::path::Path;

use broadsweep_common::dataset::{Dataset, Element, Header};
use broadsweep_common::schema::{Column, Inputs, Schema};
use csv::{ReaderBuilder, Trim};

use super::cells::{self, Cell};
use super::error::{Candidates, DataError, Origin, shown};
use super::input_array::{InputArray, put_channels_last};
use super::input_table::{InputTable, number_of};
use super::pictures;
use super::prepared::{header_of, lay_out, outputs_of, piece_rows, values_of};
use super::rows::Batch;
use super::source::Source;

/// Rows that a model can be asked about, piece by piece.
pub struct InputRows<'s> {
    schema: &'s Schema,
    /// Of every piece, but for its rows.
    header: Header,
    file: Origin,
    source: RowSource<'s>,
    raw: Batch,
    /// Rows of all pieces so far.
    done: usize,
    /// A piece that was prepared early.
    ahead: Option<Dataset>,
    remarks: Vec<String>,
}

/// Where raw rows are from.
enum RowSource<'s> {
    Table(Box<InputTable<'s>>),
    Array(Box<InputArray>),
    /// A single row, until it is taken.
    One(Option<Vec<f64>>),
}

impl<'s> InputRows<'s> {
    /// Opens a table, an array or a picture, by what the file is.
    ///
    /// # Errors
    /// [`DataError`], for the first thing that is wrong.
    pub fn open(schema: &'s Schema, path: &Path) -> Result<Self, DataError> {
        Self::open_any(schema, path).map_err(DataError::for_model)
    }

    fn open_any(schema: &'s Schema, path: &Path) -> Result<Self, DataError> {
        let (file, mut remarks) = (Origin::file(path.to_owned()), Vec::new());
        let source = match &schema.inputs {
            Inputs::Columns(columns) => {
                RowSource::Table(Box::new(InputTable::open(schema, columns, &file, &mut remarks)?))
            }
            Inputs::Array { .. } if starts_with(&file, b"\x89PNG")? || starts_with(&file, b"\xff\xd8")? => {
                RowSource::One(Some(pictures::read_one(&file, &schema.shape)?))
            }
            Inputs::Array { channels_first, .. } => {
                RowSource::Array(Box::new(InputArray::open(schema, *channels_first, &file)?))
            }
        };
        Ok(Self::new(schema, file, source, remarks))
    }

    /// One row as people type it: `age=31,color=red`, or its numbers in order where columns have no names. What holds a
    /// comma stands between quotes, as in a table. A cell that may be missing can be left out.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn of_row(schema: &'s Schema, text: &str) -> Result<Self, String> {
        let cells = typed_cells(schema, text)?;
        let file = Origin::file("the row".into());
        let mut rows = Self::new(schema, file, RowSource::One(Some(cells)), Vec::new());
        rows.ahead = rows.next_piece(1).map_err(|error| error.to_string())?;
        Ok(rows)
    }

    fn new(schema: &'s Schema, file: Origin, source: RowSource<'s>, remarks: Vec<String>) -> Self {
        let element = match &source {
            RowSource::Array(array) => array.element(),
            RowSource::Table(_) | RowSource::One(_) => Element::F32,
        };
        let (header, raw) = (header_of(schema, element), Batch::default());
        Self { schema, header, file, source, raw, done: 0, ahead: None, remarks }
    }

    /// What each piece is, but for its rows: here it has none.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What people should know, though it is no error.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Whether each row so far has its target; else some targets are zeros.
    #[must_use]
    pub fn has_targets(&self) -> bool {
        matches!(&self.source, RowSource::Table(table) if table.has_targets)
    }

    /// Whether there is a column with targets that is empty in some rows so far.
    #[must_use]
    pub fn lacks_some_targets(&self) -> bool {
        matches!(&self.source, RowSource::Table(table) if table.lacks_some_targets())
    }

    /// The next rows, as test rows, prepared as those that were trained on; nothing behind the last. All pieces but the
    /// last have a multiple of `batch_rows` rows.
    ///
    /// # Errors
    /// [`DataError`], for the first thing that is wrong.
    pub fn next_piece(&mut self, batch_rows: usize) -> Result<Option<Dataset>, DataError> {
        if let Some(piece) = self.ahead.take() {
            return Ok(Some(piece));
        }
        self.read_piece(batch_rows).map_err(DataError::for_model)
    }

    fn read_piece(&mut self, batch_rows: usize) -> Result<Option<Dataset>, DataError> {
        let rows_max = piece_rows(self.schema, batch_rows);
        match &mut self.source {
            RowSource::Table(table) => table.read(rows_max, &mut self.raw)?,
            RowSource::Array(array) => {
                if let Some(unfit) = array.read(rows_max, &mut self.raw)?.first() {
                    return Err(array.error(unfit));
                }
            }
            RowSource::One(cells) => {
                self.raw.rows = usize::from(cells.is_some());
                *self.raw.features.numbers() = cells.take().unwrap_or_default();
                self.raw.labels = vec![0.0; outputs_of(self.schema)];
            }
        }
        if self.raw.rows > 0 {
            let piece = self.lay_out()?;
            self.done += self.raw.rows;
            return Ok(Some(piece));
        }
        if self.done > 0 { Ok(None) } else { Err(DataError::NoRows { file: self.file.clone() }) }
    }

    /// Prepares the raw rows as a data set of test rows.
    fn lay_out(&self) -> Result<Dataset, DataError> {
        lay_out(self.schema, &self.header, &self.file, &self.raw)?.map_err(|unfit| {
            let row = self.done + unfit.first().copied().unwrap_or_default();
            let what = format!("row {row} (counted from 0) has a value that is no 32-bit number once scaled");
            DataError::Split { file: self.file.clone(), what }
        })
    }
}

/// Whether a file begins so.
pub(super) fn starts_with(file: &Origin, magic: &[u8]) -> Result<bool, DataError> {
    Ok(Source::first_bytes(file, magic.len())? == *magic)
}

/// The cells of a row that somebody typed.
fn typed_cells(schema: &Schema, text: &str) -> Result<Vec<f64>, String> {
    let mut reader = ReaderBuilder::new().has_headers(false).trim(Trim::All).from_reader(text.as_bytes());
    let record = reader.records().next().and_then(Result::ok).unwrap_or_default();
    let words: Vec<&str> = record.iter().collect();
    let channels_first = match &schema.inputs {
        Inputs::Columns(columns) => return named_cells(columns, &words),
        Inputs::Array { channels_first, .. } => *channels_first,
    };
    let wanted = values_of(schema);
    if words.len() != wanted {
        return Err(format!("a row has {wanted} values, and these are {}", words.len()));
    }
    let cells = words.iter().map(|word| word.parse().map_err(|_| format!("`{}` is no number", shown(word))));
    let mut cells = cells.collect::<Result<Vec<f64>, _>>()?;
    if let (true, [.., channels]) = (channels_first, &schema.shape[..]) {
        put_channels_last(&mut cells, (*channels as usize).max(1));
    }
    Ok(cells)
}

/// The cells of all columns, from words like `age=31`.
fn named_cells(columns: &[Column], words: &[&str]) -> Result<Vec<f64>, String> {
    let names = || columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    let mut given = vec![None; columns.len()];
    for word in words.iter().filter(|word| !word.is_empty()) {
        let Some((name, value)) = word.split_once('=') else {
            return Err(format!("`{}` is no `column=value`", shown(word)));
        };
        let Some(place) = columns.iter().position(|column| column.name == name.trim()) else {
            let candidates = Candidates::of(name.trim(), &names());
            return Err(format!("the model has no column `{}`; {candidates}", shown(name.trim())));
        };
        if given[place].replace(value.trim()).is_some() {
            return Err(format!("column `{}` is given twice", shown(name.trim())));
        }
    }
    let cells = columns.iter().zip(given).map(|(column, given)| {
        let text = given.unwrap_or_default();
        let cell = if cells::is_missing(text) { Cell::Missing } else { Cell::Text(text.into()) };
        number_of(column, &cell, cells::number(text.as_bytes(), b'.'))
            .map_err(|what| format!("column `{}`: {what}", shown(&column.name)))
    });
    cells.collect()
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
