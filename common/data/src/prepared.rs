//! Raw rows for a model that is trained, laid out as its training rows were: a data set of test rows.

use std::sync::Arc;

use broadsweep_common::dataset::{Dataset, DatasetBuilder, Element, Header, Part, TargetKind};
use broadsweep_common::schema::{Outputs, Schema};

use super::error::{DataError, Origin};
use super::rows::{Batch, Cells};

/// Bytes that prepared rows may take at a time, unless one batch has more.
pub(super) const PIECE_BYTES: usize = 8 << 20;

/// Rows of a piece: whole batches.
pub(super) fn piece_rows(schema: &Schema, batch_rows: usize) -> usize {
    let row_bytes = size_of::<f32>() * (values_of(schema) + outputs_of(schema));
    let batches = PIECE_BYTES / row_bytes.saturating_mul(batch_rows).max(1);
    batches.max(1) * batch_rows.max(1)
}

/// Values of a row as the network takes it.
pub(super) fn values_of(schema: &Schema) -> usize {
    schema.shape.iter().map(|&side| side as usize).product()
}

/// Numbers of a row's target.
pub(super) fn outputs_of(schema: &Schema) -> usize {
    match &schema.outputs {
        Outputs::Classes { .. } => 1,
        Outputs::Values { names, .. } => names.len(),
    }
}

/// The header of prepared rows, without any row. Where the training rows were bytes, other ones need not be: `element` says
/// what these are.
pub(super) fn header_of(schema: &Schema, element: Element) -> Header {
    let (targets, target_scaling) = match &schema.outputs {
        Outputs::Classes { names, .. } => (TargetKind::Classes { count: names.len() as u32 }, Vec::new()),
        Outputs::Values { names, scales } => (TargetKind::Values { width: names.len() as u32 }, scales.clone()),
    };
    Header {
        shape: schema.shape.clone(),
        element,
        targets,
        rows: [0; 3],
        scaling: schema.scaling(),
        files_bytes: 0,
        target_scaling,
    }
}

/// Prepares raw rows as a data set of test rows, whose header is `header` but for their number. The inner error has the
/// places of rows with a value that is no 32-bit number once scaled: one at least.
pub(super) fn lay_out(
    schema: &Schema,
    header: &Header,
    file: &Origin,
    raw: &Batch,
) -> Result<Result<Dataset, Vec<usize>>, DataError> {
    let layout = |source| DataError::Layout { file: file.clone(), source };
    let header = Header { rows: [0, 0, raw.rows as u64], ..header.clone() };
    let mut builder = DatasetBuilder::new(header).map_err(layout)?;
    let (cells, outputs) = (schema.inputs.cells(values_of(schema)), outputs_of(schema));
    assert_eq!(raw.labels.len(), raw.rows * outputs, "whole rows were read");
    let mut unfit = Vec::new();
    let numbers = match &raw.features {
        Cells::Numbers(numbers) => &numbers[..],
        // They lie as they are used, and are scaled on their way into a batch.
        Cells::Bytes(bytes) => {
            assert_eq!(bytes.len(), raw.rows * cells, "whole rows were read");
            builder.features(Part::Test).copy_from_slice(bytes);
            &[]
        }
    };
    for (row, numbers) in numbers.chunks_exact(cells).enumerate() {
        let (words, _) = builder.feature_row(Part::Test, row).as_chunks_mut();
        let (mut words, mut is_finite) = (words.iter_mut(), true);
        schema.prepare(numbers, |value| {
            is_finite &= value.is_finite();
            if let Some(word) = words.next() {
                *word = value.to_ne_bytes();
            }
        });
        if !is_finite {
            unfit.push(row);
        }
    }
    for (row, targets) in raw.labels.chunks_exact(outputs).enumerate() {
        let (words, _) = builder.target_row(Part::Test, row).as_chunks_mut();
        for (output, (word, &target)) in words.iter_mut().zip(targets).enumerate() {
            *word = match &schema.outputs {
                Outputs::Classes { .. } => (target as u32).to_ne_bytes(),
                Outputs::Values { scales, .. } => (scales[output].apply(target) as f32).to_ne_bytes(),
            };
        }
    }
    if !unfit.is_empty() {
        return Ok(Err(unfit));
    }
    Dataset::open(Arc::new(builder.finish())).map(Ok).map_err(layout)
}
