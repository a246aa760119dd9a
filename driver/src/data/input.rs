//! Rows of a file for a model that is trained: by the schema that came of its training rows.

use std::path::Path;
use std::sync::Arc;

use broadsweep_common::dataset::{Dataset, DatasetBuilder, Element, Header, Part, TargetKind, TargetScaling};
use broadsweep_common::schema::{Column, ColumnKind, Dialect, Inputs, Outputs, Schema};
use csv::{ReaderBuilder, Trim};

use super::any_table::AnyTable;
use super::array::Array;
use super::cells::{self, Cell};
use super::error::{Candidates, DataError, Origin, Sides, shown};
use super::rows::{Batch, Cells, RowStream};
use super::source::Source;
use super::spool::{Spool, SpoolWriter};
use super::{idx, npy, npz, pictures};
use crate::study::{ColumnName, PartFiles, TableFormat, TableSource};

/// Rows that a model can be asked about.
#[derive(Debug)]
pub struct InputRows {
    /// All rows, as test rows: prepared as those that were trained on.
    pub data: Dataset,
    /// Whether each row has its target; else targets are zeros.
    pub has_targets: bool,
    /// What people should know, though it is no error.
    pub remarks: Vec<String>,
}

/// Reads all rows of a table, an array or a picture, by what the file is.
///
/// # Errors
/// [`DataError`], for the first thing that is wrong.
pub fn read_rows(schema: &Schema, path: &Path) -> Result<InputRows, DataError> {
    let file = Origin::file(path.to_owned());
    let (rows, has_targets) = match &schema.inputs {
        Inputs::Columns(columns) => read_table(schema, columns, &file)?,
        Inputs::Array { channels_first, .. } => (read_array(schema, *channels_first, &file)?, false),
    };
    lay_out(schema, rows, &file).map(|data| InputRows { data, has_targets, remarks: Vec::new() })
}

/// Reads one row as people type it: `age=31,color=red`, or its numbers in order where columns have no names. What holds
/// a comma stands between quotes, as in a table. A cell that may be missing can be left out.
///
/// # Errors
/// What is wrong, in words.
pub fn read_row(schema: &Schema, text: &str) -> Result<InputRows, String> {
    let mut reader = ReaderBuilder::new().has_headers(false).trim(Trim::All).from_reader(text.as_bytes());
    let record = reader.records().next().and_then(Result::ok).unwrap_or_default();
    let words: Vec<&str> = record.iter().collect();
    let cells = match &schema.inputs {
        Inputs::Columns(columns) => named_cells(columns, &words)?,
        Inputs::Array { .. } => {
            let wanted: usize = schema.shape.iter().map(|&side| side as usize).product();
            if words.len() != wanted {
                return Err(format!("a row has {wanted} values, and these are {}", words.len()));
            }
            let cells = words.iter().map(|word| word.parse().map_err(|_| format!("`{}` is no number", shown(word))));
            let mut cells = cells.collect::<Result<Vec<f64>, _>>()?;
            if let (Inputs::Array { channels_first: true, .. }, [.., channels]) = (&schema.inputs, &schema.shape[..])
            {
                put_channels_last(&mut cells, (*channels as usize).max(1));
            }
            cells
        }
    };
    let file = Origin::file("the row".into());
    let laid_out = || {
        let mut spool = SpoolWriter::new(file.clone(), cells.len(), outputs_of(schema));
        spool.row(&cells, &vec![0.0; outputs_of(schema)])?;
        lay_out(schema, spool.finish()?, &file)
    };
    let data = laid_out().map_err(|error| error.to_string())?;
    Ok(InputRows { data, has_targets: false, remarks: Vec::new() })
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

/// Numbers of a row's target.
fn outputs_of(schema: &Schema) -> usize {
    match &schema.outputs {
        Outputs::Classes { .. } => 1,
        Outputs::Values { names, .. } => names.len(),
    }
}

/// The first bytes of a file.
fn starts_with(file: &Origin, magic: &[u8]) -> Result<bool, DataError> {
    let mut start = vec![0; magic.len()];
    let got = Source::open(file.clone())?.fill(&mut start)?;
    Ok(start[..got] == *magic)
}

/// A table as its file is written: with a header line that names the columns, or, where they are called by their
/// numbers, without.
fn open_table(columns: &[Column], file: &Origin) -> Result<AnyTable, DataError> {
    let open = |format| {
        let source = TableSource {
            files: PartFiles { train: Vec::new(), validation: None, test: None },
            format,
            label_column: ColumnName::Name(columns.first().map_or_else(String::new, |column| column.name.clone())),
            feature_columns: None,
            leave_out: Vec::new(),
            group_column: None,
            category_columns: Vec::new(),
            categories_max: 0,
        };
        AnyTable::open(file.path.to_path_buf(), &source)
    };
    if starts_with(file, b"PAR1")? {
        return open(TableFormat::Parquet);
    }
    let with_header = |header| open(TableFormat::Text(Dialect { header: Some(header), ..Dialect::default() }));
    let named = with_header(true)?;
    let has = |column: &Column| named.names().find(file, &ColumnName::Name(column.name.clone())).is_ok();
    let are_numbers = columns.iter().all(|column| column.name.parse::<usize>().is_ok());
    if are_numbers && !columns.iter().all(has) { with_header(false) } else { Ok(named) }
}

fn read_table(schema: &Schema, columns: &[Column], file: &Origin) -> Result<(Spool, bool), DataError> {
    let mut table = open_table(columns, file)?;
    let find = |name: &str| table.names().find(file, &ColumnName::Name(name.to_owned()));
    let places = columns.iter().map(|column| find(&column.name)).collect::<Result<Vec<_>, _>>()?;
    let labels: Vec<usize> = match &schema.outputs {
        Outputs::Classes { column, .. } => column.iter().filter_map(|name| find(name).ok()).collect(),
        Outputs::Values { names, .. } => names.iter().filter_map(|name| find(name).ok()).collect(),
    };
    let width = outputs_of(schema);
    let mut has_targets = labels.len() == width;
    let labels = if has_targets { labels } else { Vec::new() };
    let all: Vec<usize> = places.iter().chain(&labels).copied().collect();
    table.want(&all)?;
    let (mut row, mut targets) = (vec![0.0; columns.len()], vec![0.0; width]);
    let mut spool = SpoolWriter::new(file.clone(), columns.len(), width);
    while table.next()? {
        for ((column, &place), slot) in columns.iter().zip(&places).zip(&mut row) {
            let cell = table.cell(place);
            let number = if let Cell::Text(text) = &cell { table.spelled(text) } else { None };
            let read = number_of(column, &cell, number);
            *slot = read.map_err(|what| DataError::Row { place: table.place(place), what })?;
        }
        for (&place, slot) in labels.iter().zip(&mut targets) {
            match target_of(schema, &table, place)? {
                Some(target) => *slot = target,
                None => has_targets = false,
            }
        }
        spool.row(&row, &targets)?;
    }
    if spool.rows() == 0 {
        return Err(DataError::NoRows { file: file.clone() });
    }
    Ok((spool.finish()?, has_targets))
}

/// What a cell stands for, or what is wrong with it; `number` is what its text spells.
fn number_of(column: &Column, cell: &Cell<'_>, number: Option<f64>) -> Result<f64, String> {
    let (fill, may_miss) = match &column.kind {
        ColumnKind::Number { fill, .. } | ColumnKind::Flag { fill, .. } => (*fill, false),
        ColumnKind::Categories { may_miss, .. } => (None, *may_miss),
    };
    let is_missing = matches!(cell, Cell::Missing) || number.is_some_and(f64::is_nan);
    let text = match cell {
        _ if is_missing && (fill.is_some() || may_miss) => return Ok(f64::NAN),
        Cell::Missing if fill.is_some() || may_miss => return Ok(f64::NAN),
        Cell::Missing => {
            return Err("the value is missing, and none was missing in the rows that the model was trained on".into());
        }
        Cell::Unreadable => return Err("it is no UTF-8 text; save the file as UTF-8".into()),
        Cell::Number(number) => number.to_string(),
        Cell::Text(text) => text.to_string(),
    };
    let number = if let Cell::Number(number) = cell { Some(*number) } else { number };
    match &column.kind {
        ColumnKind::Number { .. } => match number {
            Some(number) if number.is_finite() => Ok(number),
            _ => Err(format!("\"{}\" is not a finite number", shown(&text))),
        },
        ColumnKind::Flag { .. } => cells::flag(&text)
            .or(number.filter(|number| [0.0, 1.0].contains(number)))
            .ok_or_else(|| format!("\"{}\" is no word for yes or no", shown(&text))),
        ColumnKind::Categories { names, .. } => {
            let place = names.binary_search(&text).ok().or_else(|| names.iter().position(|name| *name == text));
            let unknown =
                || format!("\"{}\" is none of its categories; {}", shown(&text), Candidates::of(&text, names));
            place.map(|place| place as f64).ok_or_else(unknown)
        }
    }
}

/// The target of a row, if it has one.
fn target_of(schema: &Schema, table: &AnyTable, place: usize) -> Result<Option<f64>, DataError> {
    let (text, number) = match table.cell(place) {
        Cell::Missing => match table {
            AnyTable::Text(text) if text.bytes(place) == cells::NONE.as_bytes() => (cells::NONE.to_owned(), None),
            _ => return Ok(None),
        },
        Cell::Unreadable => return Err(table.bad_text(place)),
        Cell::Number(number) => (number.to_string(), Some(number)),
        Cell::Text(text) => (text.to_string(), table.spelled(&text)),
    };
    match &schema.outputs {
        Outputs::Values { .. } => match number {
            Some(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(DataError::Text { place: table.place(place), text: shown(&text) }),
        },
        Outputs::Classes { names, .. } => {
            let whole = number.filter(|number| number.fract() == 0.0).map(|number| (number as i64).to_string());
            let known = names.iter().position(|name| *name == text || whole.as_ref() == Some(name));
            let what = || {
                let candidates = Candidates::of(&text, names);
                format!("\"{}\" is none of the classes that the model knows; {candidates}", shown(&text))
            };
            let known = known.ok_or_else(|| DataError::Row { place: table.place(place), what: what() })?;
            Ok(Some(known as f64))
        }
    }
}

/// The rows of an array, or the one of a picture.
fn read_array(schema: &Schema, channels_first: bool, file: &Origin) -> Result<Spool, DataError> {
    let values: usize = schema.shape.iter().map(|&side| side as usize).product();
    if starts_with(file, b"\x89PNG")? || starts_with(file, b"\xff\xd8")? {
        return pictures::read_one(file, &schema.shape, outputs_of(schema));
    }
    let mut array = if starts_with(file, &[0, 0])? {
        idx::open(file.clone())?
    } else if starts_with(file, b"PK\x03\x04")? {
        npz::open_only(&file.path)?
    } else {
        npy::open(file.clone())?
    };
    let sides = Sides(array.sides().0[1..].into());
    if !fits(schema, channels_first, &sides.0) {
        let (train, train_shape) = (Origin::file("the model".into()), Sides(shape_in_file(schema, channels_first)));
        return Err(DataError::Unlike { train, train_shape, test: file.clone(), test_shape: sides });
    }
    let channels = channels_first.then(|| schema.shape.last().map_or(1, |&channels| channels as usize));
    let fills = matches!(&schema.inputs, Inputs::Array { fills, .. } if !fills.is_empty());
    keep(&mut array, file, values, channels, fills, outputs_of(schema))
}

/// Whether rows of these sides are such rows. What is laid flat, in the file or for the model, has one order alone.
fn fits(schema: &Schema, channels_first: bool, sides: &[u64]) -> bool {
    let wanted = shape_in_file(schema, channels_first);
    let is_flat = |sides: &[u64]| sides.len() == 1;
    let is_grey = !channels_first && wanted.len() == 3 && wanted[2] == 1 && *sides == wanted[..2];
    let is_alike = (is_flat(sides) || is_flat(&wanted)) && !channels_first;
    *sides == *wanted || is_grey || is_alike && sides.iter().product::<u64>() == wanted.iter().product::<u64>()
}

fn shape_in_file(schema: &Schema, channels_first: bool) -> Box<[u64]> {
    let mut sides: Vec<u64> = schema.shape.iter().map(|&side| u64::from(side)).collect();
    if channels_first {
        sides.rotate_right(1);
    }
    sides.into()
}

fn keep(
    array: &mut Array,
    file: &Origin,
    values: usize,
    channels: Option<usize>,
    may_miss: bool,
    outputs: usize,
) -> Result<Spool, DataError> {
    let (mut spool, targets) = (SpoolWriter::new(file.clone(), values, outputs), vec![0.0; outputs]);
    loop {
        let mut cells = Cells::Numbers(Vec::new());
        if array.take(((1 << 16) / values).max(1), &mut cells)? == 0 {
            return spool.finish();
        }
        for row in cells.widen().chunks_exact_mut(values) {
            if let Some(column) = row.iter().position(|number| number.is_infinite() || number.is_nan() && !may_miss) {
                let place = super::error::ValuePlace::Row { file: file.clone(), row: spool.rows(), column };
                return Err(DataError::NotFinite { place, value: row[column] });
            }
            if let Some(channels) = channels {
                put_channels_last(row, channels);
            }
            spool.row(row, &targets)?;
        }
    }
}

fn put_channels_last(row: &mut [f64], channels: usize) {
    let pixels = row.len() / channels;
    let turned: Vec<f64> = (0..row.len()).map(|place| row[place % channels * pixels + place / channels]).collect();
    row.copy_from_slice(&turned);
}

/// Prepares rows as a data set of test rows.
fn lay_out(schema: &Schema, mut rows: Spool, file: &Origin) -> Result<Dataset, DataError> {
    let (targets, target_scaling) = match &schema.outputs {
        Outputs::Classes { names, .. } => (TargetKind::Classes { count: names.len() as u32 }, Vec::new()),
        Outputs::Values { names, scales } => {
            let scaling = |scale: &broadsweep_common::schema::Scale| TargetScaling {
                center: scale.center,
                scale: scale.spread,
            };
            (TargetKind::Values { width: names.len() as u32 }, scales.iter().map(scaling).collect())
        }
    };
    let header = Header {
        shape: schema.shape.clone(),
        // Also where the training rows were bytes: these need not be.
        element: Element::F32,
        targets,
        rows: [0, 0, rows.rows as u64],
        scaling: schema.scaling(),
        files_bytes: 0,
        target_scaling,
    };
    let layout = |source| DataError::Layout { file: file.clone(), source };
    let mut builder = DatasetBuilder::new(header).map_err(layout)?;
    let values: usize = schema.shape.iter().map(|&side| side as usize).product();
    let (cells, outputs) = (schema.inputs.cells(values), outputs_of(schema));
    let (mut batch, mut done) = (Batch::default(), 0);
    rows.rewind()?;
    loop {
        rows.next(((1 << 16) / cells.max(1)).max(1), &mut batch)?;
        if batch.rows == 0 {
            return Dataset::open(Arc::new(builder.finish())).map_err(layout);
        }
        let numbers = batch.features.widen();
        for (row, targets) in numbers.chunks_exact(cells).zip(batch.labels.chunks_exact(outputs)) {
            let (words, _) = builder.feature_row(Part::Test, done).as_chunks_mut();
            let (mut words, mut is_finite) = (words.iter_mut(), true);
            schema.prepare(row, |value| {
                is_finite &= value.is_finite();
                if let Some(word) = words.next() {
                    *word = value.to_ne_bytes();
                }
            });
            if !is_finite {
                let what = format!("row {done} (counted from 0) has a value that is no 32-bit number once scaled");
                return Err(DataError::Split { file: file.clone(), what });
            }
            let (words, _) = builder.target_row(Part::Test, done).as_chunks_mut();
            for (output, (word, &target)) in words.iter_mut().zip(targets).enumerate() {
                *word = match &schema.outputs {
                    Outputs::Classes { .. } => (target as u32).to_ne_bytes(),
                    Outputs::Values { scales, .. } => (scales[output].apply(target) as f32).to_ne_bytes(),
                };
            }
            done += 1;
        }
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
