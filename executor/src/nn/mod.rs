//! The built-in trainer: networks, optimizers, the training loop. Pure: no clock, no IO, no threads, no random
//! numbers but those of `broadsweep_common::seeds`. A training's bits depend on model, training, seeds and data only.
//!
//! | file | holds |
//! |---|---|
//! | `plan` | what a network will need: shapes, parameters, FLOPs, memory |
//! | `shape` | shapes of rows, windows on images, and the error for layers that do not fit |
//! | `train` | the training loop, and the control that surrounds it |
//! | `checkpoint` | a training between two epochs: all that the next one starts from, and its bytes |
//! | `evaluate` | scores of whole parts of the data |
//! | `early_stop` | when to stop, and which epoch counts |
//! | `batch` | the order of the rows, and the gathering of a batch |
//! | `network` | layers in a row, forward and backward |
//! | `layers/` | what each kind of layer computes |
//! | `activation`, `loss` | the functions at the end of layers, and of the network |
//! | `optimizer` | from gradients to steps |
//! | `parameters` | the numbers that training makes, and how they start |
//! | `weights` | the same with names, and as a file |
//! | `product` | the one place where matrices are multiplied |
//!
//! Read `train` first; it says what happens, and the others how.

#![cfg_attr(test, expect(clippy::float_cmp, reason = "tests compare bits that have to be equal"))]

mod activation;
mod batch;
mod checkpoint;
mod early_stop;
mod evaluate;
mod layers;
mod loss;
mod network;
mod optimizer;
mod parameters;
mod plan;
mod product;
mod shape;
mod train;
mod weights;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use evaluate::{MeasureError, measure};
pub use plan::{LAYER_VALUES_MAX, LayerPlan, PARAMETERS_MAX, Plan, Role, TensorPlan, plan};
pub use product::KERNEL;
pub use shape::{Shape, ShapeError};
pub use train::{Control, Phase, TrainError, TrainTask, Trained, train};
pub use weights::{Tensor, Weights, WeightsError};
