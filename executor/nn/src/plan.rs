//! What a network will need, before any of it is allocated: shapes, parameters and FLOPs.
//!
//! Models come over the wire and from study files, so all arithmetic on sizes is checked.

use broadsweep_common::dataset::TargetKind;
use broadsweep_common::model::{Activation, LAYERS_MAX, Layer, Loss, Model, Padding, WINDOW, Window};

use super::activation;
use super::shape::{Axis, Shape, ShapeError, Windows};

/// Parameters that one network may have: 8 GiB of weights.
pub const PARAMETERS_MAX: u64 = 1 << 31;
/// Values that one layer may make of one row.
pub const LAYER_VALUES_MAX: u64 = 1 << 26;
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

/// One tensor of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorPlan {
    /// `layer2.weight`: layers are counted from 1.
    pub name: String,
    /// Its sides.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weights of a product: trained, and reached by L2 and weight decay.
    Weight,
    /// Biases and shifts: trained, never penalised. They start at 0.
    Bias,
    /// Scales of batch norm: trained, never penalised. They start at 1.
    Scale,
    /// Running means of batch norm: not trained. They start at 0.
    Mean,
    /// Running variances of batch norm: not trained. They start at 1.
    Variance,
}

impl Role {
    /// Whether the tensor is measured, and not trained.
    #[must_use]
    pub fn is_statistic(self) -> bool {
        match self {
            Self::Weight | Self::Bias | Self::Scale => false,
            Self::Mean | Self::Variance => true,
        }
    }
}

impl TensorPlan {
    /// Values of the tensor.
    #[must_use]
    pub fn values(&self) -> usize {
        self.shape.iter().product()
    }
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
        let error = |message| ShapeError { layer: Some(index), kind: layer.kind(), message };
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
    let error = |message| Err(ShapeError { layer: Some(last), kind: model.layers[last].kind(), message });
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

/// An error is the message alone; the caller knows the layer.
fn plan_layer(layer: &Layer, index: usize, input: Shape) -> Result<LayerPlan, String> {
    let mut windows = None;
    let output = match layer {
        Layer::Dense { units, .. } => match input {
            Shape::Flat(_) => Shape::Flat(*units),
            Shape::Image { .. } => {
                return Err(format!("needs flat values, but gets an image ({input}); put a flatten layer before it"));
            }
        },
        Layer::Conv2d { filters, kernel, stride, padding, .. } => {
            let found = plan_windows(input, *kernel, *stride, *padding)?;
            windows = Some(found);
            image(found.vertical.output, found.horizontal.output, *filters)
        }
        Layer::MaxPool(Window { size, stride, padding }) | Layer::AveragePool(Window { size, stride, padding }) => {
            let found = plan_windows(input, *size, *stride, *padding)?;
            windows = Some(found);
            image(found.vertical.output, found.horizontal.output, found.channels)
        }
        Layer::Flatten => Shape::Flat(input.values()),
        Layer::Dropout { .. } | Layer::BatchNorm { .. } | Layer::Activation(_) => input,
    };
    check_size(output)?;
    let tensors = tensors(layer, index, input, windows.as_ref())?;
    let trained = tensors.iter().filter(|tensor| !tensor.role.is_statistic());
    let row_bytes = row_bytes(layer, output);
    Ok(LayerPlan {
        kind: layer.kind(),
        output,
        parameters: trained.map(|tensor| tensor.values() as u64).sum(),
        flops: flops(layer, input, output, windows.as_ref()),
        tensors,
        row_bytes,
        windows,
    })
}

fn plan_windows(input: Shape, window: usize, stride: usize, padding: Padding) -> Result<Windows, String> {
    let Shape::Image { height, width, channels } = input else {
        return Err(format!(
            "needs an image (height, width, channels), but gets {input}; put it before the flatten layer, or give \
             the data a shape of an image"
        ));
    };
    let fits = |side: usize| u32::try_from(side).is_ok_and(|side| WINDOW.hold(side));
    if !fits(window) || !fits(stride) {
        return Err(format!("needs a window and a stride {}", WINDOW.in_words()));
    }
    let axis = |side| Axis::new(side, window, stride, padding);
    match (axis(height), axis(width)) {
        (Some(vertical), Some(horizontal)) => Ok(Windows { vertical, horizontal, channels }),
        _ => Err(format!(
            "a window of {window}x{window} does not fit into {input}; use a smaller one, or padding = \"same\""
        )),
    }
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

fn tensors(layer: &Layer, index: usize, input: Shape, windows: Option<&Windows>) -> Result<Vec<TensorPlan>, String> {
    let tensor = |name: &str, shape: &[usize], role| TensorPlan {
        name: format!("layer{}.{name}", index + 1),
        shape: shape.to_vec(),
        role,
    };
    let planned = match (layer, windows) {
        (Layer::Dense { units, .. }, _) => {
            vec![tensor("weight", &[input.values(), *units], Role::Weight), tensor("bias", &[*units], Role::Bias)]
        }
        (Layer::Conv2d { filters, kernel, .. }, Some(windows)) => vec![
            tensor("weight", &[*kernel, *kernel, windows.channels, *filters], Role::Weight),
            tensor("bias", &[*filters], Role::Bias),
        ],
        (Layer::BatchNorm { .. }, _) => {
            let channels = [input.channels()];
            vec![
                tensor("scale", &channels, Role::Scale),
                tensor("shift", &channels, Role::Bias),
                tensor("mean", &channels, Role::Mean),
                tensor("variance", &channels, Role::Variance),
            ]
        }
        _ => Vec::new(),
    };
    for tensor in &planned {
        let values = tensor.shape.iter().try_fold(1_u64, |product, &side| product.checked_mul(side as u64));
        if values.is_none_or(|values| values > PARAMETERS_MAX) {
            return Err(format!("needs weights of shape {:?}, more than 2^31 values; make it smaller", tensor.shape));
        }
    }
    Ok(planned)
}

/// A product of `(a, b)` and `(b, c)` counts `2abc`. Sizes are bounded by now: nothing here comes near 2^64.
fn flops(layer: &Layer, input: Shape, output: Shape, windows: Option<&Windows>) -> u64 {
    match (layer, windows) {
        (Layer::Dense { units, .. }, _) => 2 * input.values() as u64 * *units as u64,
        (Layer::Conv2d { .. }, Some(windows)) => 2 * output.values() as u64 * windows.patch_values() as u64,
        _ => 0,
    }
}

/// Bytes a row of a layer's outputs, and of what the backward pass needs; as they are on plain memory, so that the
/// evaluation batch does not depend on the kernel.
fn row_bytes(layer: &Layer, output: Shape) -> u64 {
    let values = 4 * output.values() as u64;
    let kept = |function: Activation| if activation::needs_inputs(function) { values } else { 0 };
    match layer {
        Layer::Dense { activation, .. } | Layer::Conv2d { activation, .. } | Layer::BatchNorm { activation, .. } => {
            values + kept(*activation)
        }
        Layer::MaxPool(_) | Layer::Dropout { .. } => 2 * values,
        Layer::AveragePool(_) => values,
        Layer::Flatten => 0,
        Layer::Activation(function) => values + kept(*function),
    }
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
