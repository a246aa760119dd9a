//! What a program answers: an Arrow stream a partition, of flat columns. Nothing in it is believed.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::{DataType, Schema};
use broadsweep_common::application::{KeptCell, KeptColumn, KeptKind, TABLE_BYTES_MAX};
use broadsweep_common::printable::printable;

use super::frames::{Frame, Frames};

/// Columns that answers may have.
const COLUMNS_MAX: usize = 10_000;
/// Characters of a name that are shown.
const SHOWN_MAX: usize = 80;

/// The answers to one partition.
#[derive(Default)]
pub(super) struct AnswerStream {
    frames: Frames,
    decoder: StreamDecoder,
    columns: Option<Vec<KeptColumn>>,
    bytes: usize,
    is_over: bool,
}

impl AnswerStream {
    /// Takes in what came, and tells each batch that is now whole.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        mut on_batch: impl FnMut(&[KeptColumn], &RecordBatch) -> Result<(), String>,
    ) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > TABLE_BYTES_MAX {
            return Err(format!(
                "its answers to one partition have more than {TABLE_BYTES_MAX} bytes; give it fewer rows a partition \
                 (--partition-rows)"
            ));
        }
        self.frames.push(bytes);
        while !self.is_over
            && let Some(frame) = self.frames.next()?
        {
            let message = match frame {
                Frame::Schema(schema, message) => {
                    if self.columns.is_some() {
                        return Err("its answers name their columns twice in one stream".to_owned());
                    }
                    self.columns = Some(columns_of(&schema)?);
                    message
                }
                Frame::Other(message) => message,
                Frame::End => {
                    self.is_over = true;
                    break;
                }
            };
            let Some(columns) = &self.columns else {
                return Err("its answers do not name their columns first".to_owned());
            };
            if let Some(batch) = decode(&mut self.decoder, message)? {
                on_batch(columns, &batch)?;
            }
        }
        if self.is_over && !self.frames.is_empty() {
            return Err("it answered more than it was asked: bytes came behind the end of its answers".to_owned());
        }
        Ok(())
    }

    /// Whether the stream has ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The columns, once they are known.
    pub(super) fn columns(&self) -> Option<&[KeptColumn]> {
        self.columns.as_deref()
    }
}

/// Decodes a message. The library may panic at one that was made up.
fn decode(decoder: &mut StreamDecoder, message: Vec<u8>) -> Result<Option<RecordBatch>, String> {
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        let mut left = Buffer::from_vec(message);
        let mut batch = None;
        while !left.is_empty() {
            batch = decoder.decode(&mut left)?.or(batch);
        }
        Ok::<_, arrow_schema::ArrowError>(batch)
    }));
    match decoded {
        Ok(Ok(batch)) => Ok(batch),
        Ok(Err(error)) => Err(format!("its answers cannot be read: {error}")),
        Err(_) => Err("its answers cannot be read: a message is damaged".to_owned()),
    }
}

/// The columns that answers have.
fn columns_of(schema: &Schema) -> Result<Vec<KeptColumn>, String> {
    let fields = schema.fields();
    if fields.is_empty() || fields.len() > COLUMNS_MAX {
        return Err(format!("its answers have {} columns; 1 to {COLUMNS_MAX} may be", fields.len()));
    }
    let mut names = BTreeSet::new();
    fields
        .iter()
        .map(|field| {
            let shown = printable(field.name(), SHOWN_MAX);
            if field.name().is_empty() || !names.insert(field.name()) {
                return Err(format!("two columns of its answers are called \"{shown}\", or one has no name"));
            }
            let kind = kind_of(field.data_type()).ok_or_else(|| no_kind(&shown, field.data_type()))?;
            Ok(KeptColumn { name: field.name().clone(), kind })
        })
        .collect()
}

fn no_kind(column: &str, of: &DataType) -> String {
    let advice = match of {
        DataType::Null => {
            "has no type, since all its values are missing; give it one, as in pa.array(values, pa.float64())"
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Struct(_) => {
            "is nested; write a column for each of its values"
        }
        _ => "is of a type that no output has; cast it to whole numbers, numbers, text or booleans",
    };
    format!("the column \"{column}\" of its answers ({}) {advice}", printable(&of.to_string(), SHOWN_MAX))
}

/// What the cells of a column become; nothing for one that is not flat.
fn kind_of(of: &DataType) -> Option<KeptKind> {
    Some(match of {
        DataType::Boolean => KeptKind::Flag,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => KeptKind::Integer,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => KeptKind::Number,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => KeptKind::Text,
        DataType::Dictionary(_, words) => kind_of(words).filter(|kind| *kind == KeptKind::Text)?,
        _ => return None,
    })
}

/// A cell of a batch, in a row that it has.
///
/// # Errors
/// In words, if no cell of an output can hold it.
pub(super) fn cell_of(column: &dyn Array, row: usize) -> Result<KeptCell, String> {
    if column.is_null(row) {
        return Ok(KeptCell::Missing);
    }
    let integer = |whole: i64| Ok(KeptCell::Integer(whole));
    let number = |number: f64| Ok(KeptCell::Number(number));
    let text = |text: &str| Ok(KeptCell::Text(text.to_owned()));
    match column.data_type() {
        DataType::Boolean => Ok(KeptCell::Flag(column.as_boolean().value(row))),
        DataType::Int8 => integer(column.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => integer(column.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => integer(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => integer(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => integer(column.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => integer(column.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => integer(column.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => {
            let whole = column.as_primitive::<UInt64Type>().value(row);
            i64::try_from(whole).map(KeptCell::Integer).map_err(|_| {
                format!("{whole} is too large for a whole number of 64 bits with a sign; write it as text")
            })
        }
        DataType::Float16 => number(column.as_primitive::<Float16Type>().value(row).to_f64()),
        DataType::Float32 => number(column.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => number(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => text(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => text(column.as_string::<i64>().value(row)),
        DataType::Utf8View => text(column.as_string_view().value(row)),
        DataType::Dictionary(..) => {
            let words = column.as_any_dictionary();
            match cell_of(words.keys(), row)? {
                KeptCell::Integer(key) if usize::try_from(key).is_ok_and(|key| key < words.values().len()) => {
                    cell_of(words.values(), key as usize)
                }
                _ => Err("it refers to a word that is not there".to_owned()),
            }
        }
        other => Err(format!("it is of the type {other}")),
    }
}
