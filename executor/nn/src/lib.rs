//! The built-in trainer: networks, optimizers, the training loop. Pure: no clock, no IO, no threads, no random
//! numbers but those of `broadsweep_common::seeds`. A training's bits depend on model, training, seeds, data and kernel only.
//!
//! | file | holds |
//! |---|---|
//! | `plan` | what a network will need: shapes, parameters, FLOPs |
//! | `kinds/` | the same of each kind of layer: a new one begins there |
//! | `tensor` | the tensors of a layer |
//! | `shape` | shapes of rows, windows on images, and the error for layers that do not fit |
//! | `train_task` | what is trained, and how |
//! | `train` | the training loop, and the control that surrounds it |
//! | `report` | what a training reports: of an epoch, of a part of the data, of its end |
//! | `checkpoint` | a training between two epochs: all that the next one starts from, and its bytes |
//! | `measures/` | what a part is measured by beside its loss |
//! | `evaluate` | scores of whole parts of the data |
//! | `predict` | what a network makes of rows: probabilities of classes, or values |
//! | `early_stop` | when to stop, and which epoch counts |
//! | `batch` | the order of the rows, and the gathering of a batch |
//! | `nodes` | what layers become for a kernel, and the memory that takes |
//! | `network` | layers in a row, forward and backward |
//! | `layers/` | what each kind of layer computes |
//! | `activation`, `loss`, `functions` | the functions at the end of layers, and of the network |
//! | `optimizer` | from gradients to steps |
//! | `parameters` | the numbers that training makes, and how they start |
//! | `weights` | the same with names, and as a file |
//! | `kernel` | what multiplies, and what that means for bits |
//! | `blueprint`, `layout`, `buffer` | how weights and batches lie in memory for a kernel |
//! | `pass`, `picks`, `simd` | our own kernels: sums of products in registers, of all or of what is not zero, for each kind of vectors |
//! | `product` | the `gemm` crate behind one safe function |
//! | `workbench` | layers one by one, for benches |
//!
//! Read `train` first; it says what happens, and the others how.

#![expect(clippy::inline_always, reason = "what is not inlined is not compiled for the wide registers of its caller")]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "tests compare bits that have to be equal"))]

mod activation;
mod batch;
mod blueprint;
mod buffer;
mod checkpoint;
mod early_stop;
mod evaluate;
mod functions;
mod kernel;
mod kinds;
mod layers;
mod layout;
mod loss;
mod measures;
mod network;
mod nodes;
mod optimizer;
mod parameters;
mod pass;
mod picks;
mod plan;
mod predict;
mod product;
mod report;
mod shape;
mod simd;
mod tensor;
mod train;
mod train_task;
mod weights;
mod workbench;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use evaluate::{MeasureError, examine, measure};
pub use kernel::{KERNELS, Kernel};
pub use kinds::{LAYER_VALUES_MAX, PARAMETERS_MAX};
pub use measures::measures_bytes;
pub use nodes::{memory_bytes, memory_bytes_max};
pub use plan::{LayerPlan, Plan, plan};
pub use predict::{Prediction, Predictor};
pub use report::{EpochReport, Further, Score, TrainingEnd};
pub use shape::{Shape, ShapeError};
pub use tensor::{Role, TensorPlan};
pub use train::{Control, Phase, TrainError, Trained, check_measures, check_rows, train, train_until};
pub use train_task::TrainTask;
pub use weights::{Tensor, Weights, WeightsError};
pub use workbench::{Piece, Workbench};
