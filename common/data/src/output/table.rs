//! Rows of one file, put one after the other, and the file's bytes at the end.

use broadsweep_common::printable::printable;
use broadsweep_common::schema::{Outputs, Schema};

use super::columns::columns_of;
use super::csv_text::CsvText;
use super::json_lines::JsonLines;
use super::parquet_file::ParquetFile;
use super::{LETTERS_SHOWN_MAX, OutputFormat};
use broadsweep_common::application::{KeptCell, KeptColumn, KeptKind};

/// The rows of one file, in memory: a partition has some ten thousand at most.
///
/// The same columns and rows give the same bytes wherever this program's same version writes them: there are no times
/// and no places in them. Numbers keep their bits in every format, except that JSON has none that are not finite: they
/// are null there. Of text in CSV, an empty one is as a missing one.
pub struct OutputTable {
    columns: Vec<KeptColumn>,
    /// How many of the columns are passed through; what the model says follows.
    kept: usize,
    /// What classes are called, where classes are predicted.
    classes: Option<Vec<String>>,
    with_probabilities: bool,
    rows: u64,
    /// Of the row that is written, kept for its memory.
    cells: Vec<KeptCell>,
    /// What was written, or why nothing is written any more: [`Self::finish`] tells it.
    written: Result<Written, OutputTableError>,
}

/// The part of a table that differs by format.
enum Written {
    Parquet(ParquetFile),
    Csv(CsvText),
    JsonLines(JsonLines),
}

/// Why there is no table of these rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputTableError {
    /// Two columns would have one name.
    #[error(
        "the output would have two columns `{}`: {}", printable(name, LETTERS_SHOWN_MAX),
        if *both_are_kept { "keep each column once" } else {
            "that is what the model's own is called; do not keep the input's, or rename it there"
        }
    )]
    TwoColumns {
        /// Their name.
        name: String,
        /// Whether both are columns of the input; else one of them is the model's own, or both.
        both_are_kept: bool,
    },
    /// A row is not as the columns are: it was made for another table.
    #[error(
        "row {row} of an output does not fit its columns: {what}; this is a defect of broadsweep, please report it"
    )]
    Unfitting {
        /// Which row, from 0.
        row: u64,
        /// What is not as it has to be.
        what: String,
    },
    /// The format refuses it.
    #[error("the output cannot be written as {format}: {what}; choose another format")]
    Refused {
        /// Which format.
        format: OutputFormat,
        /// What it said.
        what: String,
    },
}

impl OutputTable {
    /// A table without rows. Columns: the kept ones; then of classes `prediction` (the class's name) and, if they are
    /// asked for, `probability.<name>` for each; of values `prediction.<name>` for each, or `prediction` if there is one.
    /// [`check`](super::check) says whether their names differ.
    #[must_use]
    pub fn new(format: OutputFormat, schema: &Schema, kept: &[KeptColumn], with_probabilities: bool) -> Self {
        let columns = columns_of(schema, kept, with_probabilities);
        let classes = match &schema.outputs {
            Outputs::Classes { names, .. } => Some(names.clone()),
            Outputs::Values { .. } => None,
        };
        let written = match format {
            OutputFormat::Parquet => ParquetFile::new(&columns).map(Written::Parquet),
            OutputFormat::Csv => CsvText::new(&columns).map(Written::Csv),
            OutputFormat::JsonLines => Ok(Written::JsonLines(JsonLines::new(&columns))),
        };
        let cells = Vec::with_capacity(columns.len());
        Self { columns, kept: kept.len(), classes, with_probabilities, rows: 0, cells, written }
    }

    /// The next row: its kept cells; the class's place among all, `None` where values are predicted; the probabilities
    /// of all classes, which are left out if nobody asked for them, or the values.
    ///
    /// A row that does not fit the columns makes [`Self::finish`] fail.
    pub fn push(&mut self, kept: impl IntoIterator<Item = KeptCell>, class: Option<usize>, numbers: &[f64]) {
        if self.written.is_ok() {
            let mut cells = std::mem::take(&mut self.cells);
            cells.clear();
            let written = self.fill(&mut cells, kept, (class, numbers)).and_then(|()| self.write(&cells));
            self.cells = cells;
            if let Err(error) = written {
                self.written = Err(error);
            }
        }
        self.rows += 1;
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`OutputTableError`], of the first row that does not fit or could not be written.
    pub fn finish(self) -> Result<Vec<u8>, OutputTableError> {
        match self.written? {
            Written::Parquet(file) => file.finish(),
            Written::Csv(text) => text.finish(),
            Written::JsonLines(lines) => Ok(lines.finish()),
        }
    }

    /// Puts the cells of a row into an empty list, one for each column and each of its column's kind.
    fn fill(
        &self,
        cells: &mut Vec<KeptCell>,
        kept: impl IntoIterator<Item = KeptCell>,
        (class, numbers): (Option<usize>, &[f64]),
    ) -> Result<(), OutputTableError> {
        let unfitting = |what: String| OutputTableError::Unfitting { row: self.rows, what };
        cells.extend(kept);
        if cells.len() != self.kept {
            return Err(unfitting(format!("it has {} kept cells in place of {}", cells.len(), self.kept)));
        }
        match (&self.classes, class) {
            (Some(names), Some(class)) => {
                let name = names.get(class).ok_or_else(|| unfitting(format!("class {class} of {}", names.len())))?;
                cells.push(KeptCell::Text(name.clone()));
            }
            (None, None) => {}
            (Some(_), None) => return Err(unfitting("it has no class".to_owned())),
            (None, Some(_)) => return Err(unfitting("it has a class, and values are predicted".to_owned())),
        }
        if self.classes.is_none() || self.with_probabilities {
            cells.extend(numbers.iter().map(|&number| KeptCell::Number(number)));
        }
        if cells.len() != self.columns.len() {
            return Err(unfitting(format!("{} cells for {} columns", cells.len(), self.columns.len())));
        }
        let misfit = cells.iter().zip(&self.columns).find(|(cell, column)| !is_of_kind(cell, column.kind));
        match misfit {
            Some((_, column)) => Err(unfitting(format!(
                "a cell of `{}` is of another kind",
                printable(&column.name, LETTERS_SHOWN_MAX)
            ))),
            None => Ok(()),
        }
    }

    fn write(&mut self, cells: &[KeptCell]) -> Result<(), OutputTableError> {
        match &mut self.written {
            Ok(Written::Parquet(file)) => file.push(cells),
            Ok(Written::Csv(text)) => text.push(cells),
            Ok(Written::JsonLines(lines)) => {
                lines.push(cells);
                Ok(())
            }
            Err(error) => Err(error.clone()),
        }
    }
}

fn is_of_kind(cell: &KeptCell, kind: KeptKind) -> bool {
    match cell {
        KeptCell::Missing => true,
        KeptCell::Text(_) => kind == KeptKind::Text,
        KeptCell::Integer(_) => kind == KeptKind::Integer,
        KeptCell::Number(_) => kind == KeptKind::Number,
        KeptCell::Flag(_) => kind == KeptKind::Flag,
    }
}
