//! What each kind of layer will need, before any of it is allocated: one file a kind.
//!
//! A kind says what it makes of a shape, which tensors it has, its FLOPs, and the bytes that grow with the rows of a
//! batch. What it computes is in `layers`, which knows how values lie for a kernel; nothing here does.

mod activation;
mod batch_norm;
mod conv;
mod dense;
mod description;
mod dropout;
mod flatten;
mod pool;
mod windows;

use broadsweep_common::model::Layer;

pub(super) use self::description::{Description, Sides};
pub use self::description::{LAYER_VALUES_MAX, PARAMETERS_MAX};
use super::shape::Shape;

/// What `layer` will need where it gets rows of shape `input`. An error is the message alone; the caller knows the layer.
pub(super) fn describe(layer: &Layer, input: Shape) -> Result<Description, String> {
    match *layer {
        Layer::Dense { units, activation, .. } => dense::describe(units, activation, input),
        Layer::Conv2d { filters, kernel, stride, padding, activation, .. } => {
            conv::describe(filters, windows::on(input, kernel, stride, padding)?, activation)
        }
        Layer::MaxPool(window) => pool::describe_max(windows::below(input, window)?),
        Layer::AveragePool(window) => pool::describe_average(windows::below(input, window)?),
        Layer::Flatten => flatten::describe(input),
        Layer::Dropout { .. } => dropout::describe(input),
        Layer::BatchNorm { activation, .. } => batch_norm::describe(activation, input),
        Layer::Activation(function) => activation::describe(function, input),
    }
}
