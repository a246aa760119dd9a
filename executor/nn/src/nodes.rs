//! The nodes of a network: what a model's layers become for one kernel, before anything is allocated.
//!
//! Most layers become a node. A flatten layer on plain memory, or of what lies flat already, becomes none; a
//! convolution takes over the max pool behind it where that changes nothing but the time, and the last bits.

use std::ops::Range;

use broadsweep_common::model::Activation::{self, Linear};
use broadsweep_common::model::{Layer, Model};
use broadsweep_common::training::Training;

use super::activation;
use super::blueprint::Blueprint;
use super::kernel::{BLOCKINGS, Blocking, Kernel, Kind};
use super::layers::{
    AveragePool, BatchNorm, Conv, ConvSizes, Dense, DenseSizes, Dropout, Flatten, MaxPool, Operation, PassThrough,
    PlainConv, PlainDense, Windowed,
};
use super::layout::Layout;
use super::optimizer::moments;
use super::plan::{LayerPlan, Plan};
use super::shape::Windows;
use super::simd::Simd;

/// A node to be built.
pub(super) struct NodePlan {
    /// The layer's name in study files.
    pub(super) kind: &'static str,
    pub(super) what: What,
    /// Of its product for one row, forward.
    pub(super) flops: u64,
    /// What the network applies to what it computes.
    pub(super) activation: Activation,
    pub(super) input: Layout,
    pub(super) output: Layout,
    /// Its part of the trained run, and of the statistics.
    pub(super) trained: Range<usize>,
    pub(super) statistics: Range<usize>,
    /// Whether it is the first with weights, or comes after that.
    pub(super) is_trained: bool,
}

/// What a node computes.
pub(super) enum What {
    Dense(DenseSizes),
    Conv(Box<ConvSizes>),
    PlainDense {
        inputs: usize,
        units: usize,
    },
    PlainConv {
        windows: Windows,
        filters: usize,
    },
    MaxPool(Windows),
    AveragePool(Windows),
    /// `layer` is its index in the model: part of the seed.
    Dropout {
        layer: usize,
        rate: f64,
    },
    BatchNorm {
        momentum: f64,
        epsilon: f64,
    },
    Flatten,
    PassThrough,
}

/// The nodes of a model, from input to output. `plan` has to be the model's.
pub(super) fn nodes(model: &Model, plan: &Plan, blueprint: &Blueprint) -> Vec<NodePlan> {
    let mut nodes = Vec::new();
    let mut places = blueprint.places();
    let (mut trained, mut statistics) = (0..0, 0..0);
    for (index, (layer, planned)) in model.layers.iter().zip(&plan.layers).enumerate() {
        (trained, statistics) = (trained.end..trained.end, statistics.end..statistics.end);
        for place in places.by_ref().take(planned.tensors.len()) {
            let range = if place.packing.role.is_statistic() { &mut statistics } else { &mut trained };
            range.end = place.range.end;
        }
        if blueprint.pools_with_its_convolution(model, index) {
            continue; // the convolution has it
        }
        let pool = blueprint.pools_with_its_convolution(model, index + 1).then(|| plan.layers[index + 1].windows);
        let output = if pool.is_some() { index + 1 } else { index };
        let (input, output) = (blueprint.layers[index].input, blueprint.layers[output].output);
        let place =
            Surroundings { blueprint, input, output, pool: pool.flatten(), passes_on: index > plan.first_trained };
        let Some((what, activation)) = what(layer, index, planned, &place) else { continue };
        let (trained, statistics) = (trained.clone(), statistics.clone());
        let is_trained = index >= plan.first_trained;
        nodes.push(NodePlan {
            kind: planned.kind,
            what,
            flops: planned.flops,
            activation,
            input,
            output,
            trained,
            statistics,
            is_trained,
        });
    }
    nodes
}

/// What a layer stands between.
struct Surroundings<'a> {
    blueprint: &'a Blueprint,
    input: Layout,
    output: Layout,
    /// The max pool that it takes over.
    pool: Option<Windows>,
    /// Whether a layer before it has weights.
    passes_on: bool,
}

/// What `layer` computes, and the function after it; `None` if it only gives its input another shape.
fn what(layer: &Layer, index: usize, planned: &LayerPlan, place: &Surroundings<'_>) -> Option<(What, Activation)> {
    let Surroundings { blueprint, input, output, pool, passes_on } = *place;
    let is_plain = blueprint.blocking == Blocking::Plain;
    Some(match (layer, planned.windows) {
        (Layer::Dense { units, activation, .. }, _) if is_plain => {
            (What::PlainDense { inputs: input.values(), units: *units }, *activation)
        }
        (Layer::Dense { activation, .. }, _) => (What::Dense(DenseSizes::new(&input, &output)), *activation),
        (Layer::Conv2d { filters, activation, .. }, Some(windows)) if is_plain => {
            (What::PlainConv { windows, filters: *filters }, *activation)
        }
        (Layer::Conv2d { filters, activation, .. }, Some(windows)) => {
            let packing = blueprint.layers[index].tensors[0];
            let by_network = activation::needs_inputs(*activation);
            let [activation, after] = if by_network { [Linear, *activation] } else { [*activation, Linear] };
            let sizes = ConvSizes { windows, filters: *filters, input, output, packing, pool, activation, passes_on };
            (What::Conv(Box::new(sizes)), after)
        }
        (Layer::MaxPool(_), Some(windows)) => (What::MaxPool(windows), Linear),
        (Layer::AveragePool(_), Some(windows)) => (What::AveragePool(windows), Linear),
        (Layer::Dropout { rate }, _) => (What::Dropout { layer: index, rate: *rate }, Linear),
        (Layer::BatchNorm { momentum, epsilon, activation }, _) => {
            (What::BatchNorm { momentum: *momentum, epsilon: *epsilon }, *activation)
        }
        (Layer::Activation(function), _) => (What::PassThrough, *function),
        (Layer::Flatten, _) if is_plain || matches!(input, Layout::Flat { .. }) => return None,
        (Layer::Flatten, _) => (What::Flatten, Linear),
        (Layer::Conv2d { .. } | Layer::MaxPool(_) | Layer::AveragePool(_), None) => {
            unreachable!("the plan gives windows to every layer that has some")
        }
    })
}

impl NodePlan {
    /// Values of all buffers for batches of so many rows.
    pub(super) fn buffer_len(&self, rows: u64) -> u64 {
        let outputs = rows.saturating_mul(self.output.row_len() as u64);
        let kept = if activation::needs_inputs(self.activation) { outputs } else { 0 };
        let own = match &self.what {
            What::Dense(sizes) => sizes.buffer_len(rows),
            What::Conv(sizes) => sizes.buffer_len(rows),
            What::PlainDense { inputs, units } => PlainDense::buffer_len(*inputs, *units) as u64,
            What::PlainConv { windows, filters } => PlainConv::buffer_len(windows, *filters) as u64,
            What::MaxPool(_) => rows.saturating_mul(self.output.values_with_lanes() as u64),
            What::Dropout { .. } => rows.saturating_mul(self.input.row_len() as u64),
            What::BatchNorm { .. } => BatchNorm::buffer_len(&self.input) as u64,
            What::AveragePool(_) | What::Flatten | What::PassThrough => 0,
        };
        outputs.saturating_add(kept).saturating_add(own)
    }

    pub(super) fn build(&self, kernel: Kernel, rows_max: usize) -> Box<dyn Operation> {
        match kernel.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(simd) => self.build_with(simd, kernel, rows_max),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => self.build_with(simd, kernel, rows_max),
            Kind::Gemm => self.build_any(kernel, rows_max),
            Kind::Portable(simd) => self.build_with(simd, kernel, rows_max),
        }
    }

    fn build_with<S: Simd>(&self, simd: S, kernel: Kernel, rows_max: usize) -> Box<dyn Operation> {
        match &self.what {
            What::Dense(sizes) => Box::new(Dense::new(simd, *sizes, rows_max)),
            What::Conv(sizes) => Box::new(Conv::new(simd, kernel, sizes, rows_max)),
            _ => self.build_any(kernel, rows_max),
        }
    }

    /// What is the same for all vectors.
    fn build_any(&self, kernel: Kernel, rows_max: usize) -> Box<dyn Operation> {
        let (input, output) = (self.input, self.output);
        match &self.what {
            What::Dense(_) | What::Conv(_) => unreachable!("blocks of lanes come with a kernel for them"),
            What::PlainDense { inputs, units } => Box::new(PlainDense::new(*inputs, *units)),
            What::PlainConv { windows, filters } => Box::new(PlainConv::new(*windows, *filters)),
            What::MaxPool(windows) => {
                Box::new(MaxPool::new(kernel, Windowed::new(*windows, rows_max, input, output)))
            }
            What::AveragePool(windows) => Box::new(AveragePool::new(kernel, *windows, input, output)),
            What::Dropout { layer, rate } => Box::new(Dropout::new(*layer, *rate, (input, output), rows_max)),
            What::BatchNorm { momentum, epsilon } => {
                Box::new(BatchNorm::new(kernel, (*momentum, *epsilon), (input, output)))
            }
            What::Flatten => Box::new(Flatten::new(input, output)),
            What::PassThrough => Box::new(PassThrough { input, output }),
        }
    }
}

/// Values of the widest node's outputs of one row: what a gradient on its way back needs.
pub(super) fn widest(nodes: &[NodePlan]) -> usize {
    nodes.iter().map(|node| node.output.row_len()).max().unwrap_or(0)
}

/// Bytes that the trainer allocates for one network with this kernel: weights, optimizer state, the copy of the epoch
/// that counts, activations and work buffers of the larger of a training and an evaluation batch, and the bytes of one
/// checkpoint. The order of the rows (4 bytes each) and the tables of passes come on top: 24 bytes for every few inputs
/// of a dense layer, and for every few pixels of one image.
#[must_use]
pub fn memory_bytes(model: &Model, plan: &Plan, training: &Training, kernel: Kernel) -> u64 {
    bytes_with(model, plan, training, kernel.blocking())
}

/// [`memory_bytes`] with the kernel that needs most.
#[must_use]
pub fn memory_bytes_max(model: &Model, plan: &Plan, training: &Training) -> u64 {
    BLOCKINGS.into_iter().map(|blocking| bytes_with(model, plan, training, blocking)).max().unwrap_or(0)
}

fn bytes_with(model: &Model, plan: &Plan, training: &Training, blocking: Blocking) -> u64 {
    let blueprint = Blueprint::new(model, plan, blocking);
    let [trained, statistics] = blueprint.run_lengths().map(|values| values as u64);
    let weights = (2 + moments(training.optimizer)) * trained + 2 * statistics;
    let nodes = nodes(model, plan, &blueprint);
    let rows = (training.batch_size as u64).max(plan.evaluation_rows() as u64);
    // Features, target, outputs and the derivative by them in plain order, and two gradients on their way back.
    let per_row = blueprint.input.row_len() + plan.target_values() + 2 * plan.outputs() + 2 * widest(&nodes);
    let buffers =
        nodes.iter().map(|node| node.buffer_len(rows)).fold(rows.saturating_mul(per_row as u64), u64::saturating_add);
    let checkpoint = blueprint.checkpoint_bytes(training);
    weights.saturating_add(buffers).saturating_mul(4).saturating_add(checkpoint)
}
