//! Rows as they are, for a program that takes them as files have them: no model's schema says what they are, but the first
//! file that has any.

use std::path::PathBuf;

use broadsweep_common::application::{BadRow, KeptCell};
use broadsweep_common::dataset::Element;
use broadsweep_common::mapper::ValueKind;
use broadsweep_common::schema::{Dialect, Inputs, Outputs, Schema};

use super::inputs::{self, Listed};
use super::{Elsewhere, Readable};
use crate::error::{DataError, Origin};
use crate::number::Number;
use crate::parquet::ParquetTable;
use crate::rows::Cells;
use crate::table::{Names, Table};
use crate::{array, idx, input, npy, npz, pictures};

/// What the rows of an input are.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainInput {
    /// How they are cut and read: tables without a column of a model, so that all of them can be passed on.
    pub schema: Schema,
    /// The columns of a table, in their order; a column without a name is called by its number, from 1.
    pub columns: Vec<String>,
    /// What the values of arrays and pictures are.
    pub values: Option<ValueKind>,
}

/// Some rows of a partition, as they are.
#[derive(Debug)]
pub struct PlainPiece {
    /// Of arrays and pictures, row after row; of tables nothing.
    pub values: PlainValues,
    /// Of each good row: its number in its file, from 0. Of a [picture](super::Portion::Pictures), its place among those of
    /// the partition.
    pub numbers: Vec<u64>,
    /// Of each column that is passed on: a cell for each good row.
    pub kept: Vec<Vec<KeptCell>>,
    /// The rows that cannot be read, in their order.
    pub bad: Vec<BadRow>,
}

/// The values of some rows.
#[derive(Clone, Debug, PartialEq)]
pub enum PlainValues {
    /// Whole numbers from 0 to 255.
    Bytes(Vec<u8>),
    /// Any.
    Numbers(Vec<f64>),
}

impl From<Cells> for PlainValues {
    fn from(cells: Cells) -> Self {
        match cells {
            Cells::Bytes(bytes) => Self::Bytes(bytes),
            Cells::Numbers(numbers) => Self::Numbers(numbers),
        }
    }
}

/// Looks what the rows of files and folders are, by the first file that has any.
///
/// # Errors
/// [`DataError`], if that file cannot be read, or if there is none.
pub fn look(inputs: &[PathBuf], elsewhere: &dyn Elsewhere) -> Result<PlainInput, DataError> {
    // Whoever cuts them tells what people should know.
    let listed = inputs::list(inputs, true, elsewhere, &mut Vec::new())?;
    let mut error = None;
    for file in &listed {
        match look_at(file, elsewhere) {
            // Pictures are unreadable one by one.
            Err(other) if file.is_picture || matches!(other, DataError::NoRows { .. }) => {
                error.get_or_insert(other);
            }
            other => return other,
        }
    }
    let first = inputs.first().cloned().unwrap_or_default();
    Err(error.unwrap_or(DataError::NoRows { file: Origin::file(first) }))
}

fn look_at(file: &Listed, elsewhere: &dyn Elsewhere) -> Result<PlainInput, DataError> {
    // Held open while its copy is read.
    let brought = file.elsewhere.as_ref().map(|file| elsewhere.bring(file)).transpose()?;
    let origin = brought.as_ref().map_or_else(|| Origin::file(file.path.clone()), Readable::origin);
    if file.is_picture {
        return Ok(of_values(pictures::shape_of(&origin)?, ValueKind::Byte));
    }
    let starts = |start: &[u8]| input::starts_with(&origin, start);
    let array = if starts(&[0, 0])? {
        idx::open(origin)?
    } else if starts(b"PK\x03\x04")? {
        npz::open_only(&origin)?
    } else if starts(b"\x93NUMPY")? {
        npy::open(origin)?
    } else if starts(b"PAR1")? {
        return Ok(of_columns(ParquetTable::open(origin)?.names()));
    } else {
        let with_header = Dialect { header: Some(true), ..Dialect::default() };
        return Ok(of_columns(Table::find(origin, &with_header, None)?.names()));
    };
    of_array(&array)
}

fn of_array(array: &array::Array) -> Result<PlainInput, DataError> {
    let sides = array.sides().0.iter().skip(1).map(|&side| u32::try_from(side));
    let shape = sides.collect::<Result<Vec<_>, _>>().map_err(|_| {
        let what = "its rows have too many values for one side".to_owned();
        DataError::TooLarge { file: array.file().clone(), what }
    })?;
    Ok(of_values(
        shape,
        match array.number() {
            Number::U8 => ValueKind::Byte,
            Number::F16 | Number::F32 => ValueKind::Single,
            _ => ValueKind::Double,
        },
    ))
}

fn of_values(shape: Vec<u32>, kind: ValueKind) -> PlainInput {
    let element = if kind == ValueKind::Byte { Element::U8 } else { Element::F32 };
    let inputs = Inputs::Array { scales: Vec::new(), fills: Vec::new(), channels_first: false };
    PlainInput { schema: schema_of(shape, inputs, element), columns: Vec::new(), values: Some(kind) }
}

fn of_columns(names: &Names) -> PlainInput {
    let columns = (0..names.all().len()).map(|place| names.shown(place)).collect();
    let schema = schema_of(vec![1], Inputs::Columns(Vec::new()), Element::F32);
    PlainInput { schema, columns, values: None }
}

/// Nothing is predicted.
fn schema_of(shape: Vec<u32>, inputs: Inputs, element: Element) -> Schema {
    let outputs = Outputs::Values { names: Vec::new(), scales: Vec::new() };
    Schema { shape, inputs, element, outputs, text: Dialect::default() }
}
