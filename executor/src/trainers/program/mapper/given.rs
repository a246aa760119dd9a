//! Rows on their way to a program: an Arrow stream a partition.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Float32Type, Float64Type, UInt8Type};
use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float64Array, Int64Array, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use broadsweep_common::application::{KeptCell, KeptKind};
use broadsweep_common::mapper::{MapperDescription, VALUES, ValueKind};
use broadsweep_data::partition::PlainValues;

use crate::trainers::trainer::in_words;

/// The stream of one partition.
pub(super) struct GivenStream<'a> {
    description: &'a MapperDescription,
    writer: StreamWriter<Vec<u8>>,
    schema: SchemaRef,
    has_batches: bool,
}

impl<'a> GivenStream<'a> {
    pub(super) fn new(description: &'a MapperDescription) -> Result<Self, String> {
        let schema = Arc::new(schema_of(description)?);
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(in_words)?;
        Ok(Self { description, writer, schema, has_batches: false })
    }

    /// Adds a batch: of each column that is read a cell for each of so many rows, and the values of arrays.
    pub(super) fn push(&mut self, rows: usize, kept: &[Vec<KeptCell>], values: PlainValues) -> Result<(), String> {
        let given = self.description.given.iter().zip(self.description.given());
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (&place, column) in given {
            columns.push(column_of(column.kind, kept.get(place as usize).map_or(&[][..], Vec::as_slice)));
        }
        if let (Some(kind), Some(field)) = (self.description.values, self.schema.fields().last()) {
            columns.push(values_of(kind, field.data_type(), values)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        self.writer.write(&batch.map_err(in_words)?).map_err(in_words)?;
        self.has_batches = true;
        Ok(())
    }

    /// Ends it. A program sees one batch at least, so that its answers always have their columns.
    pub(super) fn end(&mut self) -> Result<(), String> {
        if !self.has_batches {
            let none = vec![Vec::new(); self.description.application.kept.len()];
            self.push(0, &none, PlainValues::Bytes(Vec::new()))?;
        }
        self.writer.finish().map_err(in_words)
    }

    /// Takes what is to be sent.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.get_mut())
    }
}

fn schema_of(description: &MapperDescription) -> Result<Schema, String> {
    let field = |kind| match kind {
        KeptKind::Text => DataType::Utf8,
        KeptKind::Integer => DataType::Int64,
        KeptKind::Number => DataType::Float64,
        KeptKind::Flag => DataType::Boolean,
    };
    let columns = description.given().map(|column| Field::new(&column.name, field(column.kind), true));
    let values = description.values.map(|kind| values_field(kind, &description.schema.shape)).transpose()?;
    Ok(Schema::new(columns.chain(values).collect::<Vec<_>>()))
}

/// The column of an array's values: plain ones of rows that are single numbers, else tensors of one shape, which who does
/// not know them sees as lists (the Arrow columnar format, "Canonical Extension Types", fixed shape tensor).
fn values_field(kind: ValueKind, shape: &[u32]) -> Result<Field, String> {
    let number = match kind {
        ValueKind::Byte => DataType::UInt8,
        ValueKind::Single => DataType::Float32,
        ValueKind::Double => DataType::Float64,
    };
    if shape.is_empty() {
        return Ok(Field::new(VALUES, number, false));
    }
    let sides: Vec<_> = shape.iter().map(u32::to_string).collect();
    let about = [
        ("ARROW:extension:name".to_owned(), "arrow.fixed_shape_tensor".to_owned()),
        ("ARROW:extension:metadata".to_owned(), format!("{{\"shape\":[{}]}}", sides.join(","))),
    ];
    let length = shape.iter().try_fold(1_u32, |product, &side| product.checked_mul(side));
    let length =
        length.and_then(|length| i32::try_from(length).ok()).ok_or("a row has too many values for a batch")?;
    let list = DataType::FixedSizeList(Arc::new(Field::new_list_field(number, false)), length);
    Ok(Field::new(VALUES, list, false).with_metadata(HashMap::from(about)))
}

fn column_of(kind: KeptKind, cells: &[KeptCell]) -> ArrayRef {
    match kind {
        KeptKind::Text => {
            let texts = cells.iter().map(|cell| if let KeptCell::Text(text) = cell { Some(text) } else { None });
            Arc::new(texts.collect::<StringArray>())
        }
        KeptKind::Integer => {
            let integer = |cell: &KeptCell| if let KeptCell::Integer(integer) = cell { Some(*integer) } else { None };
            Arc::new(cells.iter().map(integer).collect::<Int64Array>())
        }
        KeptKind::Number => {
            let number = |cell: &KeptCell| if let KeptCell::Number(number) = cell { Some(*number) } else { None };
            Arc::new(cells.iter().map(number).collect::<Float64Array>())
        }
        KeptKind::Flag => {
            let flag = |cell: &KeptCell| if let KeptCell::Flag(flag) = cell { Some(*flag) } else { None };
            Arc::new(cells.iter().map(flag).collect::<BooleanArray>())
        }
    }
}

fn values_of(kind: ValueKind, of: &DataType, values: PlainValues) -> Result<ArrayRef, String> {
    match kind {
        ValueKind::Byte => listed(of, PrimitiveArray::<UInt8Type>::new(bytes_of(values)?.into(), None)),
        ValueKind::Single => {
            let narrow = |number: f64| number as f32;
            listed(of, PrimitiveArray::<Float32Type>::from_iter_values(numbers_of(values).into_iter().map(narrow)))
        }
        ValueKind::Double => listed(of, PrimitiveArray::<Float64Type>::from_iter_values(numbers_of(values))),
    }
    .map_err(in_words)
}

fn listed<T: ArrowPrimitiveType>(of: &DataType, values: PrimitiveArray<T>) -> Result<ArrayRef, ArrowError> {
    match of {
        DataType::FixedSizeList(field, length) => {
            let list = FixedSizeListArray::try_new(Arc::clone(field), *length, Arc::new(values), None)?;
            Ok(Arc::new(list))
        }
        _ => Ok(Arc::new(values)),
    }
}

/// The files of an input may differ; whoever is given bytes has a place for nothing else.
fn bytes_of(values: PlainValues) -> Result<Vec<u8>, String> {
    let numbers = match values {
        PlainValues::Bytes(bytes) => return Ok(bytes),
        PlainValues::Numbers(numbers) => numbers,
    };
    let is_byte = |number: &f64| (0.0..=255.0).contains(number) && number.fract() == 0.0;
    let other = numbers.iter().find(|number| !is_byte(number));
    match other {
        None => Ok(numbers.into_iter().map(|number| number as u8).collect()),
        Some(other) => Err(format!(
            "it has the value {other}, and the values of the input's first file are bytes; write all files with one type of \
             numbers"
        )),
    }
}

fn numbers_of(values: PlainValues) -> Vec<f64> {
    match values {
        PlainValues::Bytes(bytes) => bytes.into_iter().map(f64::from).collect(),
        PlainValues::Numbers(numbers) => numbers,
    }
}
