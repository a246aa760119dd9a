//! Weights outside of training: named tensors, and their file format.
//!
//! The format is safetensors. Bytes come over the wire and from disk: every name, type, shape and length is compared
//! with the model's plan before a value is read.

use broadsweep_common::dataset::TargetKind;
use broadsweep_common::model::Model;
use ndarray::{ArrayD, IxDyn};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, SafeTensorError, TensorView};

use super::blueprint::Blueprint;
use super::parameters::Parameters;
use super::plan::{Plan, plan};
use super::shape::ShapeError;
use super::tensor::TensorPlan;

/// Where a file's metadata says whose weights it holds.
const MODEL: &str = "broadsweep_model";

/// What training made: the tensors of every layer, in layer order, as the plan lists them.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// From input to output.
    pub tensors: Vec<Tensor>,
}

/// One named tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// `layer2.weight`: layers are counted from 1.
    pub name: String,
    /// Dense weights are `(inputs, units)`, those of a convolution `(kernel, kernel, channels, filters)`.
    pub values: ArrayD<f32>,
}

/// Weights that are not the model's, or cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The model itself has no shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The bytes are no safetensors file, or one cannot be made.
    #[error("not weights in the safetensors format: {0}")]
    Format(#[from] SafeTensorError),
    /// The model has a tensor that the weights lack.
    #[error("the weights have no tensor {name}")]
    Missing {
        /// The tensor.
        name: String,
    },
    /// The weights have tensors that the model lacks.
    #[error("the weights have {got} tensors, but the model has {want}")]
    Count {
        /// Tensors of the weights.
        got: usize,
        /// Tensors of the model.
        want: usize,
    },
    /// A tensor has another type or shape.
    #[error("the weights have {name} as {got}, but the model has it as {want}")]
    Mismatch {
        /// The tensor.
        name: String,
        /// Its type and shape.
        got: String,
        /// What they should be.
        want: String,
    },
}

impl Weights {
    /// The bytes of a safetensors file. The same weights give the same bytes.
    ///
    /// # Errors
    /// [`WeightsError::Format`], if there are so many tensors that the format cannot hold their names.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, WeightsError> {
        self.serialize(None)
    }

    /// The same, for a folder with more files: it says of which model these are the weights, by whatever names it. See
    /// [`Self::model_of`].
    ///
    /// # Errors
    /// As [`Self::to_safetensors`].
    pub fn to_safetensors_of(&self, model: &str) -> Result<Vec<u8>, WeightsError> {
        self.serialize(Some(model))
    }

    /// Of which model these bytes say that they are the weights; `None` where they do not say it.
    ///
    /// # Errors
    /// [`WeightsError::Format`].
    pub fn model_of(bytes: &[u8]) -> Result<Option<String>, WeightsError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        Ok(header.metadata().as_ref().and_then(|words| words.get(MODEL).cloned()))
    }

    fn serialize(&self, model: Option<&str>) -> Result<Vec<u8>, WeightsError> {
        let mut bytes = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            bytes.push(tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
        }
        let mut views = Vec::with_capacity(self.tensors.len());
        for (tensor, bytes) in self.tensors.iter().zip(&bytes) {
            let view = TensorView::new(Dtype::F32, tensor.values.shape().to_vec(), bytes)?;
            views.push((tensor.name.as_str(), view));
        }
        // One word alone: more would come in any order.
        let words = model.map(|model| [(MODEL.to_owned(), model.to_owned())].into());
        Ok(safetensors::serialize(views, words)?)
    }

    /// Reads the weights of `model` back, for rows of shape `input_shape` and these targets. They may be NaN or
    /// infinite: that shows when they are used.
    ///
    /// # Errors
    /// [`WeightsError`], if the bytes are not this model's weights.
    pub fn from_safetensors(
        bytes: &[u8],
        model: &Model,
        input_shape: &[u32],
        targets: TargetKind,
    ) -> Result<Self, WeightsError> {
        let plan = plan(model, input_shape, targets)?;
        let file = SafeTensors::deserialize(bytes)?;
        let wanted = || plan.layers.iter().flat_map(|layer| &layer.tensors);
        let tensors = wanted().map(|tensor| read(&file, tensor)).collect::<Result<Vec<_>, _>>()?;
        if file.len() != tensors.len() {
            return Err(WeightsError::Count { got: file.len(), want: tensors.len() });
        }
        Ok(Self { tensors })
    }

    /// `parameters` has to be laid out as `blueprint` says.
    pub(super) fn of(parameters: &Parameters, plan: &Plan, blueprint: &Blueprint) -> Self {
        let planned = plan.layers.iter().flat_map(|layer| &layer.tensors);
        let tensors = planned.zip(blueprint.places()).map(|(tensor, place)| {
            let stored = &parameters.run(place.packing.role)[place.range];
            let values = (0..tensor.values()).map(|index| stored[place.packing.place(index)]);
            Tensor { name: tensor.name.clone(), values: array(&tensor.shape, values.collect()) }
        });
        Self { tensors: tensors.collect() }
    }

    /// As networks with this blueprint read them.
    pub(super) fn parameters(&self, plan: &Plan, blueprint: &Blueprint) -> Result<Parameters, WeightsError> {
        let planned: Vec<_> = plan.layers.iter().flat_map(|layer| &layer.tensors).collect();
        if planned.len() != self.tensors.len() {
            return Err(WeightsError::Count { got: self.tensors.len(), want: planned.len() });
        }
        let mut parameters = Parameters::zeros(blueprint);
        for ((wanted, place), tensor) in planned.into_iter().zip(blueprint.places()).zip(&self.tensors) {
            if wanted.name != tensor.name {
                return Err(WeightsError::Missing { name: wanted.name.clone() });
            }
            if wanted.shape != tensor.values.shape() {
                return Err(mismatch(wanted, Dtype::F32, tensor.values.shape()));
            }
            let stored = &mut parameters.run_mut(place.packing.role)[place.range];
            for (index, value) in tensor.values.iter().enumerate() {
                stored[place.packing.place(index)] = *value;
            }
        }
        Ok(parameters)
    }
}

fn read(file: &SafeTensors<'_>, wanted: &TensorPlan) -> Result<Tensor, WeightsError> {
    let Ok(found) = file.tensor(&wanted.name) else {
        return Err(WeightsError::Missing { name: wanted.name.clone() });
    };
    let right_length = found.data().len() == 4 * wanted.values();
    if found.dtype() != Dtype::F32 || found.shape() != wanted.shape || !right_length {
        return Err(mismatch(wanted, found.dtype(), found.shape()));
    }
    let (words, _) = found.data().as_chunks::<4>();
    let values = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
    Ok(Tensor { name: wanted.name.clone(), values: array(&wanted.shape, values) })
}

fn mismatch(wanted: &TensorPlan, dtype: Dtype, shape: &[usize]) -> WeightsError {
    WeightsError::Mismatch {
        name: wanted.name.clone(),
        got: format!("{dtype:?} {shape:?}"),
        want: format!("{:?} {:?}", Dtype::F32, wanted.shape),
    }
}

#[expect(clippy::expect_used, reason = "the callers cut or counted the values by this shape")]
fn array(shape: &[usize], values: Vec<f32>) -> ArrayD<f32> {
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("as many values as the shape has")
}
