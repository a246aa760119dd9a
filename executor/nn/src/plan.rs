//! What a network will need, before any of it is allocated: shapes, parameters and FLOPs.
//!
//! Models come over the wire and from study files, so all arithmetic on sizes is checked.

use broadsweep_common::dataset::TargetKind;
use broadsweep_common::model::{LAYERS_MAX, Layer, Loss, Model};

use super::kinds::{self, Description, LAYER_VALUES_MAX, PARAMETERS_MAX, Sides};
use super::shape::{Shape, ShapeError, Windows};
use super::tensor::TensorPlan;

/// Rows of an evaluation batch, where they are small.
const EVALUATION_ROWS_MAX: u64 = 256;
/// Bytes that activations of an evaluation batch may take; larger rows come in smaller batches.
const EVALUATION_BYTES: u64 = 16 << 20;

/// What a network will need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One row of the data.
    pub input: Shape,
    /// One entry for each of the model's layers.
    pub layers: Vec<LayerPlan>,
    /// Trained weights, biases, scales and shifts.
    pub parameters: u64,
    /// Running statistics: kept with the weights, but not trained.
    pub statistics: u64,
    /// Multiplications and additions of matrix products for one row, each counted.
    pub forward_flops: u64,
    /// Forward pass, gradients by weights, and gradients by inputs but for the first layer with weights.
    pub training_flops: u64,
    /// Index of the first layer with weights: the backward pass ends there.
    pub first_trained: usize,
    /// What is predicted.
    pub targets: TargetKind,
}

/// What one layer will need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerPlan {
    /// The layer's name in study files.
    pub kind: &'static str,
    /// What one row looks like after it.
    pub output: Shape,
    /// Weights and statistics, in the order in which they are stored.
    pub tensors: Vec<TensorPlan>,
    /// Trained values among them.
    pub parameters: u64,
    /// Multiplications and additions of the forward product for one row.
    pub flops: u64,
    /// Bytes that grow with the rows of a batch: outputs, and what the backward pass needs.
    row_bytes: u64,
    /// Where windows lie, for layers that have some.
    pub(super) windows: Option<Windows>,
}

/// Plans `model` for rows of shape `input_shape`: `[n]`, `[height, width]` or `[height, width, channels]`.
///
/// # Errors
/// [`ShapeError`], if layers, data and targets do not fit, or if sizes go beyond [`PARAMETERS_MAX`] or
/// [`LAYER_VALUES_MAX`].
pub fn plan(model: &Model, input_shape: &[u32], targets: TargetKind) -> Result<Plan, ShapeError> {
    if model.layers.is_empty() || model.layers.len() > LAYERS_MAX {
        let count = model.layers.len();
        return Err(ShapeError::model(format!("has {count} layers; it needs 1 to {LAYERS_MAX}")));
    }
    let input = input(input_shape)?;
    let mut shape = input;
    let mut layers = Vec::with_capacity(model.layers.len());
    let mut parameters: u64 = 0;
    for (index, layer) in model.layers.iter().enumerate() {
        let error = |message| ShapeError { layer: Some(index), kind: layer.kind(), message, is_of_targets: false };
        let planned = plan_layer(layer, index, shape).map_err(error)?;
        parameters = parameters.saturating_add(planned.parameters);
        if parameters > PARAMETERS_MAX {
            let message = "takes the model above 2^31 parameters; make it or the layers before it smaller";
            return Err(error(message.to_owned()));
        }
        shape = planned.output;
        layers.push(planned);
    }
    check_end(model, shape, targets)?;
    let Some(first_trained) = layers.iter().position(|layer| layer.parameters > 0) else {
        return Err(ShapeError::model("has nothing to train; add a dense layer"));
    };
    let forward_flops = layers.iter().map(|layer| layer.flops).sum();
    Ok(Plan {
        input,
        parameters,
        statistics: layers.iter().map(LayerPlan::statistics).sum(),
        forward_flops,
        training_flops: 3 * forward_flops - layers[first_trained].flops,
        first_trained,
        targets,
        layers,
    })
}

impl LayerPlan {
    fn statistics(&self) -> u64 {
        let tensors = self.tensors.iter().filter(|tensor| tensor.role.is_statistic());
        tensors.map(|tensor| tensor.values() as u64).sum()
    }
}

fn input(sides: &[u32]) -> Result<Shape, ShapeError> {
    let shape = match *sides {
        [values] => Shape::Flat(values as usize),
        [height, width] => image(height as usize, width as usize, 1),
        [height, width, channels] => image(height as usize, width as usize, channels as usize),
        _ => {
            let count = sides.len();
            return Err(ShapeError::model(format!(
                "cannot read rows with {count} sides; they need one (values), two or three (height, width, channels)"
            )));
        }
    };
    let values = sides.iter().try_fold(1_u64, |product, &side| product.checked_mul(u64::from(side)));
    match values {
        Some(1..=LAYER_VALUES_MAX) => Ok(shape),
        _ => Err(ShapeError::model(format!("a row of {sides:?} values is empty or larger than 2^26 values"))),
    }
}

fn image(height: usize, width: usize, channels: usize) -> Shape {
    Shape::Image { height, width, channels }
}

fn check_end(model: &Model, shape: Shape, targets: TargetKind) -> Result<(), ShapeError> {
    match (model.loss, targets) {
        (Loss::CrossEntropy, TargetKind::Values { .. }) => {
            let message = "cross_entropy needs classes, but the data's targets are numbers; use mean_squared_error";
            return Err(ShapeError::model(message));
        }
        (Loss::MeanSquaredError, TargetKind::Classes { .. }) => {
            let message = "mean_squared_error needs numbers, but the data's targets are classes; use cross_entropy";
            return Err(ShapeError::model(message));
        }
        (Loss::CrossEntropy, TargetKind::Classes { .. }) | (Loss::MeanSquaredError, TargetKind::Values { .. }) => {}
    }
    let outputs = targets.outputs();
    let wanted = match targets {
        TargetKind::Classes { .. } => format!("the data has {outputs} classes"),
        TargetKind::Values { .. } => format!("the data has {outputs} numbers to predict"),
    };
    let last = model.layers.len() - 1;
    let kind = model.layers[last].kind();
    let error = |message| Err(ShapeError { layer: Some(last), kind, message, is_of_targets: true });
    match shape {
        Shape::Flat(values) if values == outputs => Ok(()),
        Shape::Flat(_) => error(format!(
            "makes {shape}, but {wanted}; the last layer has to make {outputs}, as a dense layer with units = \
             {outputs} does"
        )),
        Shape::Image { .. } => error(format!(
            "makes an image ({shape}), but {wanted}; end with flatten and a dense layer with units = {outputs}"
        )),
    }
}

/// What layer `index` needs. An error is the message alone; the caller knows the layer.
fn plan_layer(layer: &Layer, index: usize, input: Shape) -> Result<LayerPlan, String> {
    let Description { output, tensors, flops, row_bytes, windows } = kinds::describe(layer, input)?;
    let named = |sides: Sides| TensorPlan {
        name: format!("layer{}.{}", index + 1, sides.name),
        shape: sides.shape,
        role: sides.role,
    };
    let tensors: Vec<TensorPlan> = tensors.into_iter().map(named).collect();
    let trained = tensors.iter().filter(|tensor| !tensor.role.is_statistic());
    let parameters = trained.map(|tensor| tensor.values() as u64).sum();
    Ok(LayerPlan { kind: layer.kind(), output, tensors, parameters, flops, row_bytes, windows })
}

impl Plan {
    /// Outputs of the last layer.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.targets.outputs()
    }

    /// Rows of every evaluation batch. It depends on the model alone, so that a score has the same bits wherever
    /// and whenever it is taken.
    #[must_use]
    pub fn evaluation_rows(&self) -> usize {
        (EVALUATION_BYTES / self.row_bytes()).clamp(1, EVALUATION_ROWS_MAX) as usize
    }

    /// Values of one row's target.
    pub(super) fn target_values(&self) -> usize {
        match self.targets {
            TargetKind::Classes { .. } => 1,
            TargetKind::Values { width } => width as usize,
        }
    }

    /// Values of the widest layer's output.
    fn widest(&self) -> usize {
        self.layers.iter().map(|layer| layer.output.values()).max().unwrap_or(0)
    }

    /// Bytes of one row of a batch on plain memory: features, target, outputs, and two gradients on their way back.
    fn row_bytes(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(|layer| layer.row_bytes).sum();
        4 * (self.input.values() as u64 + self.target_values() as u64 + 2 * self.widest() as u64) + layers
    }
}
