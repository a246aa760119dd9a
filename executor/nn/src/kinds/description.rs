//! What one layer will need, and the bounds of that.

use broadsweep_common::model::Activation;

use crate::activation::needs_inputs;
use crate::shape::{Shape, Windows};
use crate::tensor::Role;

/// Parameters that one network may have: 8 GiB of weights.
pub const PARAMETERS_MAX: u64 = 1 << 31;
/// Values that one layer may make of one row.
pub const LAYER_VALUES_MAX: u64 = 1 << 26;

/// What one layer will need. Its sizes are within the bounds.
pub(crate) struct Description {
    /// What one row looks like after it.
    pub(crate) output: Shape,
    /// Weights and statistics, in the order in which they are stored.
    pub(crate) tensors: Vec<Sides>,
    /// Multiplications and additions of the forward product for one row, each counted: a product of `(a, b)` and
    /// `(b, c)` counts `2abc`.
    pub(crate) flops: u64,
    /// Bytes of a row of its outputs, and of what the backward pass needs: as they are on plain memory, so that the
    /// evaluation batch does not depend on the kernel.
    pub(crate) row_bytes: u64,
    /// Where windows lie, for layers that have some.
    pub(crate) windows: Option<Windows>,
}

/// The sides of one tensor.
pub(crate) struct Sides {
    pub(crate) name: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
}

impl Description {
    /// A layer that makes `output`, with these tensors, multiplies nothing, and keeps nothing but its outputs.
    ///
    /// # Errors
    /// What to do, where sizes go beyond [`LAYER_VALUES_MAX`] or [`PARAMETERS_MAX`]. Whatever is counted from them
    /// afterwards is far below 2^64.
    pub(crate) fn new(
        output: Shape,
        tensors: impl IntoIterator<Item = (&'static str, Vec<usize>, Role)>,
    ) -> Result<Self, String> {
        check_size(output)?;
        let mut checked = Vec::new();
        for (name, shape, role) in tensors {
            let values = shape.iter().try_fold(1_u64, |product, &side| product.checked_mul(side as u64));
            if values.is_none_or(|values| values > PARAMETERS_MAX) {
                return Err(format!("needs weights of shape {shape:?}, more than 2^31 values; make it smaller"));
            }
            checked.push(Sides { name, shape, role });
        }
        Ok(Self { output, tensors: checked, flops: 0, row_bytes: output_bytes(output), windows: None })
    }

    /// The same with `function` on its outputs, which may need what it was given on the way back.
    pub(crate) fn with_function(self, function: Activation) -> Self {
        let kept = if needs_inputs(function) { output_bytes(self.output) } else { 0 };
        Self { row_bytes: self.row_bytes + kept, ..self }
    }
}

/// Bytes of one row of outputs.
pub(crate) fn output_bytes(output: Shape) -> u64 {
    4 * output.values() as u64
}

fn check_size(output: Shape) -> Result<(), String> {
    let values = match output {
        Shape::Flat(values) => Some(values as u64),
        Shape::Image { height, width, channels } => {
            (height as u64).checked_mul(width as u64).and_then(|pixels| pixels.checked_mul(channels as u64))
        }
    };
    match values {
        Some(0) => Err("makes no values; it needs at least 1 unit or filter".to_owned()),
        Some(1..=LAYER_VALUES_MAX) => Ok(()),
        _ => Err(format!("makes {output} of each row, more than 2^26 values; make it smaller")),
    }
}
