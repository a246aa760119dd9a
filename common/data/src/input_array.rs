//! The rows of an array for a model that is trained.

use std::ops::Range;

use broadsweep_common::dataset::Element;
use broadsweep_common::schema::{Inputs, Schema};

use super::array::Array;
use super::error::{DataError, Origin, Sides, ValuePlace};
use super::number::Number;
use super::prepared::{outputs_of, values_of};
use super::rows::Batch;
use super::{idx, npy, npz};

/// An array that is read for a model.
pub(super) struct InputArray {
    file: Origin,
    array: Array,
    values: usize,
    outputs: usize,
    /// How many channels a row has, where the file has them before height and width.
    channels: Option<usize>,
    may_miss: bool,
    /// Whether all values are taken, since nobody says how they are scaled.
    takes_any: bool,
    /// Whether its values are bytes, as those of the training rows were: they are handed on as they are.
    are_bytes: bool,
    /// The number of the next row in the file.
    next: usize,
}

/// A value that no model takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Unfit {
    /// The row, among those that were read together.
    pub(super) row: usize,
    /// The same in the file.
    number: usize,
    column: usize,
    value: f64,
}

impl InputArray {
    /// Opens an array by what the file is.
    pub(super) fn open(schema: &Schema, channels_first: bool, file: &Origin) -> Result<Self, DataError> {
        let array = if super::input::starts_with(file, &[0, 0])? {
            idx::open(file.clone())?
        } else if super::input::starts_with(file, b"PK\x03\x04")? {
            npz::open_only(file)?
        } else {
            npy::open(file.clone())?
        };
        if array.number().is_text() {
            let what = "its values are text, and the model takes numbers; write them as numbers".to_owned();
            return Err(DataError::Unsupported { file: file.clone(), what });
        }
        let sides = Sides(array.sides().0[1..].into());
        if !fits(schema, channels_first, &sides.0) {
            let train = Origin::file("the model".into());
            let train_shape = Sides(shape_in_file(schema, channels_first));
            return Err(DataError::Unlike { train, train_shape, test: file.clone(), test_shape: sides });
        }
        Ok(Self {
            file: file.clone(),
            values: values_of(schema),
            outputs: outputs_of(schema),
            channels: channels_first.then(|| schema.shape.last().map_or(1, |&channels| channels as usize)),
            may_miss: matches!(&schema.inputs, Inputs::Array { fills, .. } if !fills.is_empty()),
            takes_any: matches!(&schema.inputs, Inputs::Array { scales, .. } if scales.is_empty()),
            are_bytes: schema.element == Element::U8 && array.number() == Number::U8 && !channels_first,
            array,
            next: 0,
        })
    }

    /// What prepared rows of it are kept as.
    pub(super) fn element(&self) -> Element {
        if self.are_bytes { Element::U8 } else { Element::F32 }
    }

    /// All rows of the file.
    pub(super) fn rows(&self) -> usize {
        self.array.rows()
    }

    /// Values of a row, and numbers of its target.
    pub(super) fn widths(&self) -> (usize, usize) {
        (self.values, self.outputs)
    }

    /// Whether [`Self::go_to`] can be asked for: the values lie in the file as they are.
    pub(super) fn can_go(&self) -> bool {
        self.array.can_go()
    }

    /// Goes to a row, and ends after so many.
    pub(super) fn go_to(&mut self, first: usize, rows: usize) -> Result<(), DataError> {
        self.next = first;
        self.array.go_to(first, rows)
    }

    /// The bytes of the file that are read for some rows of an array that [can go](Self::can_go) there.
    pub(super) fn ranges(&self, first: usize, rows: usize) -> Vec<Range<u64>> {
        self.array.ranges(first, rows)
    }

    /// Reads the next rows, at most so many; none behind the last. Those that no model takes are told, with the first
    /// value in each that is why.
    pub(super) fn read(&mut self, rows_max: usize, raw: &mut Batch) -> Result<Vec<Unfit>, DataError> {
        let Batch { rows, features, labels } = raw;
        labels.clear();
        if self.are_bytes {
            features.bytes();
            *rows = self.array.take(rows_max, features)?;
            self.next += *rows;
            labels.resize(*rows * self.outputs, 0.0);
            return Ok(Vec::new());
        }
        features.numbers();
        *rows = self.array.take(rows_max, features)?;
        let mut unfit = Vec::new();
        for (row, numbers) in features.widen().chunks_exact_mut(self.values).enumerate() {
            let is_bad = |number: &f64| number.is_infinite() || number.is_nan() && !self.may_miss;
            if !self.takes_any
                && let Some(column) = numbers.iter().position(is_bad)
            {
                unfit.push(Unfit { row, number: self.next + row, column, value: numbers[column] });
            }
            if let Some(channels) = self.channels {
                put_channels_last(numbers, channels);
            }
        }
        self.next += *rows;
        labels.resize(*rows * self.outputs, 0.0);
        Ok(unfit)
    }

    /// The error of a row that no model takes.
    pub(super) fn error(&self, &Unfit { number, column, value, .. }: &Unfit) -> DataError {
        let place = ValuePlace::Row { file: self.file.clone(), row: number, column };
        DataError::NotFinite { place, value }
    }
}

/// Whether rows of these sides are such rows. What is laid flat, in the file or for the model, has one order alone.
fn fits(schema: &Schema, channels_first: bool, sides: &[u64]) -> bool {
    let wanted = shape_in_file(schema, channels_first);
    let is_flat = |sides: &[u64]| sides.len() == 1;
    // One channel may stand on either side of height and width, or on none.
    let is_grey = !channels_first
        && matches!(wanted[..], [_, _, 1])
        && (*sides == wanted[..2] || sides.first() == Some(&1) && sides[1..] == wanted[..2]);
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

/// Turns a row that has its channels before height and width.
pub(super) fn put_channels_last(row: &mut [f64], channels: usize) {
    let pixels = row.len() / channels;
    let turned: Vec<f64> = (0..row.len()).map(|place| row[place % channels * pixels + place / channels]).collect();
    row.copy_from_slice(&turned);
}
