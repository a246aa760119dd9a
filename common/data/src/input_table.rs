//! The rows of a table for a model that is trained: opened as the tables were written that it was trained on, or as this
//! one plainly is.

use broadsweep_common::schema::{Column, ColumnKind, Dialect, Outputs, Schema};
use encoding_rs::Encoding;

use super::any_table::AnyTable;
use super::cells::{self, Cell};
use super::dialect::{self, Written};
use super::error::{Advice, Candidates, DataError, Origin, shown};
use super::fault::Fault;
use super::parquet::ParquetTable;
use super::prepared::outputs_of;
use super::rows::Batch;
use super::source::Source;
use super::table::{Names, Table};
use super::text;
use crate::partition::{KeptCell, Wanted};
use crate::settings::ColumnName;

/// Columns that an error lists.
const COLUMNS_LISTED_MAX: usize = 20;

/// A table that is read for a model.
pub(super) struct InputTable<'s> {
    schema: &'s Schema,
    columns: &'s [Column],
    table: AnyTable,
    /// Of the model's columns.
    places: Vec<usize>,
    /// Of the targets' columns, if the table has all of them.
    labels: Vec<usize>,
    /// Of the columns that are passed on.
    kept: Vec<usize>,
    /// What these have in the row that was taken last.
    passed_on: Vec<KeptCell>,
    /// Whether somebody asked for targets, so that those that no model can have are errors; and whether many rows may be
    /// wrong, of which little is said.
    is_lenient: bool,
    /// Whether every row so far has its target.
    pub(super) has_targets: bool,
    /// Whether no row of the file has been read.
    is_at_start: bool,
}

impl<'s> InputTable<'s> {
    /// Opens a table by what it is; adds what people should know to `remarks`. Its targets are read if it has them.
    pub(super) fn open(
        schema: &'s Schema,
        columns: &'s [Column],
        file: &Origin,
        remarks: &mut Vec<String>,
    ) -> Result<Self, DataError> {
        let mut opened = Self::open_bare(schema, columns, file, remarks)?;
        let find = |name: &String| opened.table.names().find(file, &ColumnName::Name(name.clone()));
        let (labels, width): (Vec<usize>, _) = match &schema.outputs {
            Outputs::Classes { column, .. } => (column.iter().filter_map(|name| find(name).ok()).collect(), 1),
            Outputs::Values { names, .. } => (names.iter().filter_map(|name| find(name).ok()).collect(), names.len()),
        };
        opened.has_targets = labels.len() == width;
        opened.labels = if opened.has_targets { labels } else { Vec::new() };
        opened.want()?;
        Ok(opened)
    }

    /// The same with columns that are passed on, and targets only if somebody asks for them, of the column that they name.
    pub(super) fn open_wanted(
        schema: &'s Schema,
        columns: &'s [Column],
        file: &Origin,
        wanted: &Wanted,
        remarks: &mut Vec<String>,
    ) -> Result<Self, DataError> {
        let mut opened = Self::open_bare(schema, columns, file, remarks)?;
        let labels = match &wanted.labels {
            Some(label) => label_columns(schema, label, file)?,
            None => Vec::new(),
        };
        let names = opened.table.names();
        let find = |name: &str| {
            if names.twice().contains(name) {
                return Err(DataError::ColumnTwice { file: file.clone(), column: name.to_owned() });
            }
            names.find(file, &ColumnName::Name(name.to_owned()))
        };
        opened.kept = wanted.keep.iter().map(|name| find(name)).collect::<Result<_, _>>()?;
        opened.labels = labels.into_iter().map(find).collect::<Result<_, _>>()?;
        opened.has_targets = !opened.labels.is_empty();
        opened.is_lenient = true;
        opened.want()?;
        Ok(opened)
    }

    /// A table and the model's columns in it.
    fn open_bare(
        schema: &'s Schema,
        columns: &'s [Column],
        file: &Origin,
        remarks: &mut Vec<String>,
    ) -> Result<Self, DataError> {
        let table = if super::input::starts_with(file, b"PAR1")? {
            AnyTable::Parquet(ParquetTable::open(file.clone())?)
        } else {
            AnyTable::Text(open_text(&schema.text, columns, file, remarks)?)
        };
        // First: the second one is called otherwise here, as nobody has written it.
        refuse_twice(table.names(), columns, file)?;
        let find = |name: &str| table.names().find(file, &ColumnName::Name(name.to_owned()));
        let places = columns.iter().map(|column| find(&column.name)).collect::<Result<Vec<_>, _>>()?;
        let (labels, kept) = (Vec::new(), Vec::new());
        Ok(Self {
            schema,
            columns,
            table,
            places,
            labels,
            kept,
            passed_on: Vec::new(),
            is_lenient: false,
            has_targets: false,
            is_at_start: true,
        })
    }

    fn want(&mut self) -> Result<(), DataError> {
        let all = self.places.iter().chain(&self.labels).chain(&self.kept);
        self.table.want(&all.copied().collect::<Vec<_>>())
    }

    /// The table itself.
    pub(super) fn table(&self) -> &AnyTable {
        &self.table
    }

    /// The same, to go to rows of it, before any is read: its first row or others.
    pub(super) fn table_from(&mut self, first_row: u64) -> &mut AnyTable {
        self.is_at_start = first_row == 0;
        &mut self.table
    }

    /// Where the columns are that are passed on.
    pub(super) fn kept(&self) -> &[usize] {
        &self.kept
    }

    /// Takes what is passed on of the row that was taken last.
    pub(super) fn passed_on(&mut self) -> impl Iterator<Item = KeptCell> {
        self.passed_on.drain(..)
    }

    /// Whether the table has targets, but not in every row so far.
    pub(super) fn lacks_some_targets(&self) -> bool {
        !self.labels.is_empty() && !self.has_targets
    }

    /// Reads the next rows, at most so many; none behind the last. Targets that are missing are zeros.
    pub(super) fn read(&mut self, rows_max: usize, raw: &mut Batch) -> Result<(), DataError> {
        raw.clear();
        while raw.rows < rows_max
            && let Some(row) = self.take_row(raw)?
        {
            self.has_targets &= row?;
        }
        Ok(())
    }

    /// Adds the next row to `raw`, and tells whether it has its target, which is zeros else; nothing behind the last. The
    /// inner error is one of this row alone: nothing of it is added, and those behind it can be read.
    pub(super) fn take_row(&mut self, raw: &mut Batch) -> Result<Option<Result<bool, DataError>>, DataError> {
        let (cells, labels) = (raw.features.widen().len(), raw.labels.len());
        let taken = match self.table.next() {
            Ok(false) => return Ok(None),
            Ok(true) => self.take_cells(raw).and_then(|has_target| self.pass_on().map(|()| has_target)),
            Err(error @ DataError::Ragged { .. }) => Err(error),
            Err(error) => return Err(error),
        };
        self.is_at_start = false;
        if taken.is_ok() {
            raw.rows += 1;
            raw.labels.resize(labels + outputs_of(self.schema), 0.0);
        } else {
            raw.features.widen().truncate(cells);
            raw.labels.truncate(labels);
        }
        Ok(Some(taken))
    }

    fn take_cells(&self, raw: &mut Batch) -> Result<bool, DataError> {
        let cells = raw.features.widen();
        for (column, &place) in self.columns.iter().zip(&self.places) {
            // Most cells of most tables.
            if let (ColumnKind::Number { .. }, Some(number)) = (&column.kind, self.table.finite(place)) {
                cells.push(number);
                continue;
            }
            let cell = self.table.cell(place);
            let number = if let Cell::Text(text) = &cell { self.table.spelled(text) } else { None };
            cells.push(number_of(column, &cell, number).map_err(|fault| self.bad_cell(place, &fault))?);
        }
        let mut has_target = true;
        for (output, &place) in self.labels.iter().enumerate() {
            let target = self.target_of(output, place)?;
            has_target &= target.is_some();
            raw.labels.push(target.unwrap_or_default());
        }
        Ok(has_target && !self.labels.is_empty())
    }

    fn pass_on(&mut self) -> Result<(), DataError> {
        self.passed_on.clear();
        for &place in &self.kept {
            let cell = self.table.kept_cell(place).ok_or_else(|| self.table.bad_text(place))?;
            self.passed_on.push(cell);
        }
        Ok(())
    }

    fn bad_cell(&self, place: usize, fault: &Fault<'_>) -> DataError {
        let mut what = if self.is_lenient { fault.brief() } else { fault.to_string() };
        let is_without_header = matches!(&self.table, AnyTable::Text(table) if !table.written().header);
        if is_without_header && self.is_at_start {
            what += "; the rows that the model was trained on had no header line: if this line is one, take it out";
        }
        DataError::Row { place: self.table.place(place), what }
    }

    /// The target of a row, if it has one.
    fn target_of(&self, output: usize, place: usize) -> Result<Option<f64>, DataError> {
        let (schema, table) = (self.schema, &self.table);
        let (text, number) = match table.cell(place) {
            Cell::Missing => match table {
                AnyTable::Text(text)
                    if is_class(schema, cells::NONE) && text.bytes(place) == cells::NONE.as_bytes() =>
                {
                    (cells::NONE.to_owned(), None)
                }
                _ => return Ok(None),
            },
            Cell::Unreadable => return Err(table.bad_text(place)),
            Cell::Number(number) => (number.to_string(), Some(number)),
            Cell::Text(text) => (text.to_string(), table.spelled(&text)),
        };
        let target = match &schema.outputs {
            Outputs::Values { scales, .. } => {
                let fits = |number: f64| !self.is_lenient || (scales[output].apply(number) as f32).is_finite();
                match number {
                    Some(number) if number.is_finite() && fits(number) => Ok(number),
                    Some(number) if number.is_finite() => Err(Fault::TooLarge(number)),
                    _ => Err(Fault::NoNumber(text)),
                }
            }
            Outputs::Classes { names, .. } => {
                let whole = number.filter(|number| number.fract() == 0.0).map(|number| (number as i64).to_string());
                let known = names.iter().position(|name| *name == text || whole.as_ref() == Some(name));
                known.map(|known| known as f64).ok_or(Fault::NoClass(text, names))
            }
        };
        target.map(Some).map_err(|fault| {
            let what = if self.is_lenient { fault.brief() } else { fault.to_string() };
            DataError::Row { place: table.place(place), what }
        })
    }
}

/// The columns with targets where somebody names one: of several that the model predicts, that is all of them.
fn label_columns<'n>(schema: &'n Schema, label: &'n str, file: &Origin) -> Result<Vec<&'n str>, DataError> {
    match &schema.outputs {
        Outputs::Values { names, .. } if names.len() > 1 => {
            if names.iter().any(|name| name == label) {
                return Ok(names.iter().map(String::as_str).collect());
            }
            let what = format!(
                "the model predicts {} values, and one column, `{}`, cannot hold all of them; name one of its own \
                 columns, and all are read: {}",
                names.len(),
                shown(label),
                Candidates::of(label, names)
            );
            Err(DataError::Unsupported { file: file.clone(), what })
        }
        Outputs::Values { .. } | Outputs::Classes { .. } => Ok(vec![label]),
    }
}

/// Refuses a table that has a column of the model twice, unless the model knows both: which one is meant is not known.
fn refuse_twice(names: &Names, columns: &[Column], file: &Origin) -> Result<(), DataError> {
    let knows = |name: &str| columns.iter().any(|column| column.name == name);
    let twice = names.twice().iter().find(|name| knows(name) && !knows(&format!("{name}.2")));
    twice.map_or(Ok(()), |name| Err(DataError::ColumnTwice { file: file.clone(), column: name.clone() }))
}

/// Opens text as that was written that the model was trained on, as far as that is known. Where the model's columns are found only if the text is looked at
/// without that, it is read as it looks.
fn open_text(
    said: &Dialect,
    columns: &[Column],
    file: &Origin,
    remarks: &mut Vec<String>,
) -> Result<Table, DataError> {
    let has_header = said.header != Some(false);
    let label = columns.first().filter(|_| has_header).map(|column| ColumnName::Name(column.name.clone()));
    let find = |dialect: &Dialect| Table::find(file.clone(), dialect, label.as_ref());
    let has = |table: &Table, column: &Column| table.names().has(&column.name);
    let has_all = |table: &Table| columns.iter().all(|column| has(table, column));
    let as_said = Dialect { header: Some(has_header), ..said.clone() };
    let table = find(&as_said);
    if matches!(&table, Ok(table) if has_all(table)) {
        return table.and_then(|table| correct(table, said, columns, remarks));
    }
    let other_marks = Dialect { delimiter: None, decimal: None, ..as_said.clone() };
    for as_seen in [&other_marks, &Dialect { encoding: None, ..other_marks.clone() }] {
        let seen = find(as_seen).ok().filter(|seen| *as_seen != as_said && has_all(seen));
        let Some(seen) = seen else { continue };
        let (said, between) = (said_keys(said), delimiter_name(seen.written().delimiter));
        remarks.push(format!(
            "{file} is not written as the tables that the model was trained on ({said}); it is read as it looks, with \
             {between} between its cells"
        ));
        return Ok(seen);
    }
    let table = table?;
    if has_header && !columns.iter().any(|column| has(&table, column)) {
        return Err(without_header(file, columns));
    }
    Ok(table)
}

/// What a table plainly is that the model does not know: with a mark of another encoding in front, which has been believed
/// already, or with the other decimal mark.
fn correct(table: Table, said: &Dialect, columns: &[Column], remarks: &mut Vec<String>) -> Result<Table, DataError> {
    let file = table.file().clone();
    let text = text::open(Source::open(file.clone())?, said.encoding.as_deref())?;
    let said_encoding = said.encoding.as_deref().and_then(|name| Encoding::for_label(name.as_bytes()));
    if let (Some(encoding), Some(marked)) = (said_encoding, text.marked)
        && encoding != marked
    {
        let (marked, encoding) = (marked.name(), said.encoding.as_deref().unwrap_or_default());
        remarks.push(format!(
            "{file} begins with the mark of {marked}, and is read as that, not as {encoding}, as the tables were that the \
             model was trained on"
        ));
    }
    let Written { delimiter, decimal, header } = table.written();
    let is_number = |column: &&Column| matches!(column.kind, ColumnKind::Number { .. });
    let find = |column: &Column| table.names().find(&file, &ColumnName::Name(column.name.clone()));
    let places: Vec<usize> = columns.iter().filter(is_number).filter_map(|column| find(column).ok()).collect();
    let other = || dialect::other_decimal(&text.sample, text.is_whole, table.written(), &places);
    let Some(other) = said.decimal.and_then(|_| other()) else { return Ok(table) };
    let (decimal, shown) = (char::from(decimal), char::from(other));
    remarks.push(format!(
        "the numbers of {file} are written with \"{shown}\", and are read so, not with \"{decimal}\", as the tables had them \
         that the model was trained on"
    ));
    let encoding = said.encoding.clone();
    let seen = Dialect { delimiter: Some(delimiter), decimal: Some(other), header: Some(header), encoding };
    Table::find(file, &seen, None)
}

/// The model's own keys that say how text was written, but for the header line.
fn said_keys(Dialect { delimiter, decimal, encoding, .. }: &Dialect) -> String {
    let mark = |key: &str, mark: u8| format!("{key} = {:?}", char::from(mark).to_string());
    let keys = [
        delimiter.map(|delimiter| mark("delimiter", delimiter)),
        decimal.map(|decimal| mark("decimal", decimal)),
        encoding.as_ref().map(|encoding| format!("encoding = {encoding:?}")),
    ];
    keys.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn delimiter_name(delimiter: u8) -> &'static str {
    match delimiter {
        b';' => "semicolons",
        b'\t' => "tabs",
        b'|' => "\"|\"",
        b' ' => "spaces",
        _ => "commas",
    }
}

/// The error of a table whose first line names nothing that the model knows.
fn without_header(file: &Origin, columns: &[Column]) -> DataError {
    let listed: Vec<_> = columns.iter().take(COLUMNS_LISTED_MAX).map(|column| shown(&column.name)).collect();
    let more = match columns.len() - listed.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = format!(
        "its first line names none of the model's columns, which are {}{more}; if the file has no header line, write one \
         above its rows",
        listed.join(", ")
    );
    DataError::Dialect { file: file.clone(), line: None, what, advice: Advice::default() }
}

/// What a cell stands for, or what is wrong with it; `number` is what its text spells.
pub(super) fn number_of<'c>(column: &'c Column, cell: &Cell<'_>, number: Option<f64>) -> Result<f64, Fault<'c>> {
    let (fill, may_miss) = match &column.kind {
        ColumnKind::Number { fill, .. } | ColumnKind::Flag { fill, .. } => (*fill, false),
        ColumnKind::Categories { may_miss, .. } => (None, *may_miss),
    };
    let is_missing = matches!(cell, Cell::Missing) || number.is_some_and(f64::is_nan);
    match cell {
        _ if is_missing && (fill.is_some() || may_miss) => return Ok(f64::NAN),
        Cell::Missing => return Err(Fault::Missing),
        Cell::Unreadable => return Err(Fault::Unreadable),
        Cell::Number(_) | Cell::Text(_) => {}
    }
    let number = if let Cell::Number(number) = cell { Some(*number) } else { number };
    // Most cells are good numbers, of which nobody needs the text.
    let text = || match cell {
        Cell::Text(text) => text.to_string(),
        _ => number.unwrap_or(f64::NAN).to_string(),
    };
    match &column.kind {
        ColumnKind::Number { .. } => {
            number.filter(|number| number.is_finite()).ok_or_else(|| Fault::NoNumber(text()))
        }
        ColumnKind::Flag { .. } => cells::flag(&text())
            .or(number.filter(|number| [0.0, 1.0].contains(number)))
            .ok_or_else(|| Fault::NoFlag(text())),
        ColumnKind::Categories { names, .. } => {
            let text = text();
            let place = names.binary_search(&text).ok().or_else(|| names.iter().position(|name| *name == text));
            place.map(|place| place as f64).ok_or(Fault::NoCategory(text, names))
        }
    }
}

fn is_class(schema: &Schema, name: &str) -> bool {
    matches!(&schema.outputs, Outputs::Classes { names, .. } if names.iter().any(|known| known == name))
}

#[cfg(test)]
#[path = "input_table_tests.rs"]
mod tests;
