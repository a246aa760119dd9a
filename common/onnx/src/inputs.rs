//! What a graph takes: each input's name, type and sides.

use broadsweep_common::application::{GraphInput, GraphNumber};

use crate::error::{OnnxError, shown};
use crate::messages::{BOOL, DOUBLE, DimensionValue, FLOAT, FLOAT16, INT32, INT64, STRING, UINT8, ValueInfo};

/// Values that a row may have, over all inputs.
const ROW_VALUES_MAX: u64 = 1 << 26;
/// Rows that a graph may take at a time, where it takes no other number.
const BATCH_ROWS_MAX: i64 = 1 << 16;

/// What the graph takes, and how many rows at a time where it takes no other number.
pub(crate) fn inputs_of(inputs: &[ValueInfo]) -> Result<(Vec<GraphInput>, Option<u32>), OnnxError> {
    let mut batch_rows = None;
    let mut read = Vec::new();
    for input in inputs {
        let (input, rows) = input_of(input)?;
        if let Some(rows) = rows
            && batch_rows.replace(rows).is_some_and(|others| others != rows)
        {
            return Err(OnnxError::Unsupported(
                "its inputs take different numbers of rows; export it with one number, or with any".to_owned(),
            ));
        }
        read.push(input);
    }
    if read.is_empty() {
        return Err(OnnxError::Unsupported("its answer depends on no input".to_owned()));
    }
    let values = read.iter().try_fold(0_u64, |sum, input| sum.checked_add(input.values()));
    match values.filter(|values| (1..=ROW_VALUES_MAX).contains(values)) {
        Some(_) => Ok((read, batch_rows)),
        None => Err(OnnxError::Unsupported(format!("a row of it has no value, or more than {ROW_VALUES_MAX}"))),
    }
}

fn input_of(input: &ValueInfo) -> Result<(GraphInput, Option<u32>), OnnxError> {
    let name = input.name.clone().unwrap_or_default();
    let refused = |what: String| OnnxError::Unsupported(format!("its input `{}` {what}", shown(&name)));
    let tensor = input.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    let tensor = tensor.ok_or_else(|| refused("is no tensor; export the model with tensors alone".to_owned()))?;
    let number = match tensor.element.unwrap_or_default() {
        FLOAT | DOUBLE | FLOAT16 => GraphNumber::Float,
        INT32 | INT64 | BOOL => GraphNumber::Integer,
        UINT8 => GraphNumber::Byte,
        STRING => {
            return Err(refused(
                "takes text, which is not supported; turn words into numbers before the model, and export it without \
                 that step"
                    .to_owned(),
            ));
        }
        other => {
            return Err(refused(format!("takes values of ONNX type {other}, which are not supported; use float")));
        }
    };
    let dimensions = tensor.shape.as_ref().map_or(&[][..], |shape| &shape.dim);
    let [rows, sides @ ..] = dimensions else {
        return Err(refused("has no sides; export the model with the first one for rows".to_owned()));
    };
    let rows = match &rows.value {
        Some(DimensionValue::Fixed(rows @ 1..=BATCH_ROWS_MAX)) => Some(*rows as u32),
        Some(DimensionValue::Fixed(rows)) => return Err(refused(format!("takes {rows} rows at a time"))),
        Some(DimensionValue::Named(_)) | None => None,
    };
    let side = |(place, side): (usize, &crate::messages::Dimension)| match &side.value {
        Some(DimensionValue::Fixed(side)) if (1..=i64::from(u32::MAX)).contains(side) => Ok(*side as u32),
        _ => Err(refused(format!(
            "does not say how long side {} of a row is; export the model with fixed sides, only the first one (of rows) \
             open",
            place + 1
        ))),
    };
    let sides = sides.iter().enumerate().map(side).collect::<Result<Vec<_>, _>>()?;
    Ok((GraphInput { name, number, sides }, rows))
}
