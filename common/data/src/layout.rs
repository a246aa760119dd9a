//! Raw rows, laid out in the data set: scaled and narrowed, or as the bytes that they are.

use broadsweep_common::dataset::{DatasetWriter, Element, Part};
use broadsweep_common::schema::{ColumnKind, Inputs, Outputs, Scale, Schema};

use super::destination::Sink;
use super::error::{DataError, Origin};
use super::rows::{Batch, RawLabels, RawPart};

/// Writes rows whose features stay the bytes that they are, and whose labels are classes, each to the end of its part of
/// `parts`; `look` sees every batch before.
pub(super) fn keep(
    writer: &mut DatasetWriter<Sink>,
    labels: &RawLabels,
    raw: &mut RawPart,
    parts: &[Part],
    mut look: impl FnMut(&mut Batch, &[Part]),
) -> Result<(), DataError> {
    let cells = raw.cells;
    let RawLabels::Classes { of, .. } = labels else { unreachable!("numbers are scaled") };
    raw.each_batch(|start, batch| {
        let parts = &parts[start..start + batch.rows];
        look(batch, parts);
        let mut features = &batch.features.narrow()[..];
        for run in parts.chunk_by(|one, next| one == next) {
            let (rows, rest) = features.split_at(run.len() * cells);
            writer.feature_rows(run[0], rows).map_err(DataError::Unwritable)?;
            features = rest;
        }
        for (&part, &label) in parts.iter().zip(&batch.labels) {
            let room = writer.target_row(part).map_err(DataError::Unwritable)?;
            room.copy_from_slice(&RawLabels::class(of, label).to_ne_bytes());
        }
        Ok(())
    })
}

/// Writes every row of `raw` to the end of the part that `part_of` says.
pub(super) fn write(
    writer: &mut DatasetWriter<Sink>,
    schema: &Schema,
    labels: &RawLabels,
    raw: &mut RawPart,
    part_of: impl Fn(usize) -> Part,
) -> Result<(), DataError> {
    let (cells, width, file) = (raw.cells, raw.label_width, raw.features.clone());
    let label_file = raw.labels.clone();
    let rows = RowWriter::new(schema, cells);
    let numbers = raw.numbers.clone();
    let number = |row: usize| numbers.as_ref().map_or(row as u32, |numbers| numbers[row]);
    raw.each_batch(|start, batch| {
        rows.ready(batch);
        for row in 0..batch.rows {
            let part = part_of(start + row);
            let room = writer.feature_row(part).map_err(DataError::Unwritable)?;
            let bad = rows.features(batch, row, room);
            if let Some(value) = bad {
                return Err(beyond(&file, schema, number(start + row), value));
            }
            let given = &batch.labels[row * width..(row + 1) * width];
            let room = writer.target_row(part).map_err(DataError::Unwritable)?;
            target(schema, labels, given, room).map_err(|value| {
                let what =
                    format!("the label {value} of row {} is no 32-bit number once scaled", number(start + row));
                DataError::Split { file: label_file.clone(), what }
            })?;
        }
        Ok(())
    })
}

/// The error of a value that 32 bits do not hold once it is scaled: its place in the row, and what it is.
fn beyond(file: &Origin, schema: &Schema, row: u32, (place, value): (usize, f64)) -> DataError {
    let name = match &schema.inputs {
        Inputs::Columns(columns) => columns.get(place).map(|column| super::error::shown(&column.name)),
        Inputs::Array { .. } => None,
    };
    let column = name.map_or_else(|| format!("value {place}"), |name| format!("the column `{name}`"));
    let what = format!(
        "{value:e} in {column} of row {row} (counted from 0, over all files of its part) lies so far outside of the training rows that it is no 32-bit \
         number once scaled; repair it, or leave the row out"
    );
    DataError::Split { file: file.clone(), what }
}

/// Writes the features of rows.
struct RowWriter<'s> {
    schema: &'s Schema,
    cells: usize,
    /// The scale of each cell, where every cell becomes one value and none is filled.
    plain: Option<Vec<Scale>>,
}

impl<'s> RowWriter<'s> {
    fn new(schema: &'s Schema, cells: usize) -> Self {
        let is_plain = match &schema.inputs {
            Inputs::Columns(columns) => columns.iter().all(|column| match &column.kind {
                ColumnKind::Number { fill, .. } | ColumnKind::Flag { fill, .. } => fill.is_none(),
                ColumnKind::Categories { .. } => false,
            }),
            Inputs::Array { fills, .. } => fills.is_empty(),
        };
        let plain = is_plain.then(|| {
            let mut scales = schema.inputs.scales();
            let first = scales.first().copied().unwrap_or(Scale::NONE);
            scales.resize(cells, first);
            scales
        });
        Self { schema, cells, plain }
    }

    /// Makes a batch what the data set keeps.
    fn ready(&self, batch: &mut Batch) {
        match (self.schema.element, &self.plain) {
            (Element::U8, Some(_)) => drop(batch.features.narrow()),
            _ => drop(batch.features.widen()),
        }
    }

    /// Writes one row; a value that is no 32-bit number then comes back, with its cell.
    fn features(&self, batch: &Batch, row: usize, bytes: &mut [u8]) -> Option<(usize, f64)> {
        let range = row * self.cells..(row + 1) * self.cells;
        let numbers = match &batch.features {
            super::rows::Cells::Bytes(cells) => {
                bytes.copy_from_slice(&cells[range]);
                return None;
            }
            super::rows::Cells::Numbers(numbers) => &numbers[range],
        };
        if self.schema.element == Element::U8 {
            let mut places = bytes.iter_mut();
            self.schema.inputs.each(numbers, |value, _| {
                if let Some(place) = places.next() {
                    *place = value as u8;
                }
            });
            return None;
        }
        let (words, _) = bytes.as_chunks_mut::<4>();
        let mut is_finite = true;
        if let Some(scales) = &self.plain {
            for ((word, &number), scale) in words.iter_mut().zip(numbers).zip(scales) {
                let value = scale.apply(number) as f32;
                is_finite &= value.is_finite();
                *word = value.to_ne_bytes();
            }
        } else {
            let mut places = words.iter_mut();
            self.schema.prepare(numbers, |value| {
                is_finite &= value.is_finite();
                if let Some(place) = places.next() {
                    *place = value.to_ne_bytes();
                }
            });
        }
        (!is_finite).then(|| self.beyond(numbers))
    }

    /// The first cell whose value is beyond 32 bits.
    fn beyond(&self, numbers: &[f64]) -> (usize, f64) {
        let scales = match &self.schema.inputs {
            Inputs::Array { scales, .. } => scales.clone(),
            Inputs::Columns(columns) => {
                let scale = |kind: &ColumnKind| match kind {
                    ColumnKind::Number { scale, .. } | ColumnKind::Flag { scale, .. } => *scale,
                    ColumnKind::Categories { .. } => Scale::NONE,
                };
                columns.iter().map(|column| scale(&column.kind)).collect()
            }
        };
        let scale = |cell: usize| scales.get(cell).or(scales.first()).copied().unwrap_or(Scale::NONE);
        let bad = numbers
            .iter()
            .enumerate()
            .find(|(cell, number)| !number.is_nan() && !(scale(*cell).apply(**number) as f32).is_finite());
        bad.map_or((0, f64::NAN), |(cell, &number)| (cell, number))
    }
}

/// Writes the label of one row; a number that is no 32-bit number then comes back.
fn target(schema: &Schema, labels: &RawLabels, given: &[f64], bytes: &mut [u8]) -> Result<(), f64> {
    let (words, _) = bytes.as_chunks_mut::<4>();
    match (labels, &schema.outputs) {
        (RawLabels::Classes { of, .. }, _) => {
            for (word, &label) in words.iter_mut().zip(given) {
                *word = RawLabels::class(of, label).to_ne_bytes();
            }
        }
        (RawLabels::Values { .. }, outputs) => {
            let scales: &[Scale] = if let Outputs::Values { scales, .. } = outputs { scales } else { &[] };
            for (output, (word, &label)) in words.iter_mut().zip(given).enumerate() {
                let value = scales.get(output).copied().unwrap_or(Scale::NONE).apply(label) as f32;
                if !value.is_finite() {
                    return Err(label);
                }
                *word = value.to_ne_bytes();
            }
        }
    }
    Ok(())
}
