//! The rows of an array for a model that is trained.

use broadsweep_common::schema::{Inputs, Schema};

use super::array::Array;
use super::error::{DataError, Origin, Sides, ValuePlace};
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
    rows: usize,
}

impl InputArray {
    /// Opens an array by what the file is.
    pub(super) fn open(schema: &Schema, channels_first: bool, file: &Origin) -> Result<Self, DataError> {
        let array = if super::input::starts_with(file, &[0, 0])? {
            idx::open(file.clone())?
        } else if super::input::starts_with(file, b"PK\x03\x04")? {
            npz::open_only(&file.path)?
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
            array,
            values: schema.shape.iter().map(|&side| side as usize).product(),
            outputs: super::input::outputs_of(schema),
            channels: channels_first.then(|| schema.shape.last().map_or(1, |&channels| channels as usize)),
            may_miss: matches!(&schema.inputs, Inputs::Array { fills, .. } if !fills.is_empty()),
            rows: 0,
        })
    }

    /// Reads the next rows, at most so many; none behind the last.
    pub(super) fn read(&mut self, rows_max: usize, raw: &mut Batch) -> Result<(), DataError> {
        let Batch { rows, features, labels } = raw;
        features.numbers();
        *rows = self.array.take(rows_max, features)?;
        for row in features.widen().chunks_exact_mut(self.values) {
            let is_bad = |number: &f64| number.is_infinite() || number.is_nan() && !self.may_miss;
            if let Some(column) = row.iter().position(is_bad) {
                let place = ValuePlace::Row { file: self.file.clone(), row: self.rows, column };
                return Err(DataError::NotFinite { place, value: row[column] });
            }
            if let Some(channels) = self.channels {
                put_channels_last(row, channels);
            }
            self.rows += 1;
        }
        labels.clear();
        labels.resize(*rows * self.outputs, 0.0);
        Ok(())
    }
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

/// Turns a row that has its channels before height and width.
pub(super) fn put_channels_last(row: &mut [f64], channels: usize) {
    let pixels = row.len() / channels;
    let turned: Vec<f64> = (0..row.len()).map(|place| row[place % channels * pixels + place / channels]).collect();
    row.copy_from_slice(&turned);
}
