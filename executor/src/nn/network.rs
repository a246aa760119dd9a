//! Layers in a row, with buffers for one batch: forward, and backward to the first layer with weights.

use std::ops::Range;

use broadsweep_common::model::{Activation, Layer, Model};

use super::activation;
use super::batch::Batch;
use super::layers::{
    AveragePool, Backward, BatchNorm, Conv, Dense, Dropout, MaxPool, Mode, Operation, PassThrough, Tensors,
};
use super::loss::{self, Tally};
use super::parameters::{Parameters, places};
use super::plan::{LayerPlan, Plan};
use super::shape::Shape;

/// A network that can take batches of a fixed number of rows or fewer. Allocates only when it is made.
pub(super) struct Network {
    nodes: Vec<Node>,
    /// Index of the first node with weights.
    first_trained: usize,
    outputs: usize,
    /// The derivative by a layer's outputs and by its inputs; they change places from layer to layer.
    gradients: [Vec<f32>; 2],
}

/// A layer that computes something (`flatten` does not), with the memory of its last batch.
struct Node {
    operation: Box<dyn Operation>,
    activation: Activation,
    outputs: usize,
    trained: Range<usize>,
    statistics: Range<usize>,
    /// After the activation, `(rows, outputs)`.
    output: Vec<f32>,
    /// Before it, where its derivative needs that; else empty.
    before_activation: Vec<f32>,
}

impl Network {
    /// `plan` has to be the model's.
    pub(super) fn new(model: &Model, plan: &Plan, rows_max: usize) -> Self {
        let mut nodes = Vec::new();
        let mut input = plan.input;
        let mut first_trained = 0;
        let mut places = places(plan);
        let (mut trained, mut statistics) = (0..0, 0..0);
        for (index, (layer, planned)) in model.layers.iter().zip(&plan.layers).enumerate() {
            (trained, statistics) = (trained.end..trained.end, statistics.end..statistics.end);
            for place in places.by_ref().take(planned.tensors.len()) {
                let range = if place.role.is_statistic() { &mut statistics } else { &mut trained };
                range.end = place.range.end;
            }
            if index == plan.first_trained {
                first_trained = nodes.len();
            }
            if let Some((operation, activation)) = operation(layer, index, input, planned, rows_max) {
                let values = rows_max * planned.output.values();
                let kept = if activation::needs_inputs(activation) { values } else { 0 };
                nodes.push(Node {
                    operation,
                    activation,
                    outputs: planned.output.values(),
                    trained: trained.clone(),
                    statistics: statistics.clone(),
                    output: vec![0.0; values],
                    before_activation: vec![0.0; kept],
                });
            }
            input = planned.output;
        }
        let gradient = || vec![0.0; rows_max * plan.widest()];
        Self { nodes, first_trained, outputs: plan.outputs(), gradients: [gradient(), gradient()] }
    }

    /// Before the first batch of an epoch (counted from 1).
    pub(super) fn begin_epoch(&mut self, trial_seed: u64, epoch: u32) {
        for node in &mut self.nodes {
            node.operation.begin_epoch(trial_seed, epoch);
        }
    }

    /// Loss of a batch in evaluation mode.
    pub(super) fn evaluate(&mut self, parameters: &mut Parameters, batch: &Batch) -> Tally {
        let width = self.outputs;
        let output = self.forward(Mode::Evaluation, parameters, batch.features(), batch.rows());
        loss::compare(output, width, batch.wanted(), None)
    }

    /// Loss of a batch in training mode. The derivative of its mean by the trained weights replaces `d_trained`.
    pub(super) fn train(&mut self, parameters: &mut Parameters, batch: &Batch, d_trained: &mut [f32]) -> Tally {
        let (features, rows) = (batch.features(), batch.rows());
        self.forward(Mode::Training, parameters, features, rows);
        let values = rows * self.outputs;
        let output = self.nodes.last().map_or(features, |node| &node.output[..values]);
        let d_output = &mut self.gradients[0][..values];
        let tally = loss::compare(output, self.outputs, batch.wanted(), Some(d_output));
        self.backward(&parameters.trained, features, rows, d_trained);
        tally
    }

    fn forward<'a>(
        &'a mut self,
        mode: Mode,
        parameters: &mut Parameters,
        features: &'a [f32],
        rows: usize,
    ) -> &'a [f32] {
        let mut input = features;
        for node in &mut self.nodes {
            let tensors = Tensors {
                trained: &parameters.trained[node.trained.clone()],
                statistics: &mut parameters.statistics[node.statistics.clone()],
            };
            input = node.forward(mode, tensors, input, rows);
        }
        input
    }

    /// Starts from the derivative by the network's outputs, in the first of `gradients`.
    fn backward(&mut self, trained: &[f32], features: &[f32], rows: usize, d_trained: &mut [f32]) {
        let [d_output, d_input] = &mut self.gradients;
        let (mut d_output, mut d_input) = (d_output, d_input);
        for index in (self.first_trained..self.nodes.len()).rev() {
            let (before, rest) = self.nodes.split_at_mut(index);
            let node = &mut rest[0];
            let input = before.last().map_or(features, |node| &node.output[..rows * node.outputs]);
            let values = rows * node.outputs;
            let d_output_now = &mut d_output[..values];
            let kept = if node.before_activation.is_empty() { &[] } else { &node.before_activation[..values] };
            activation::differentiate(node.activation, kept, &node.output[..values], d_output_now);
            node.operation.backward(Backward {
                trained: &trained[node.trained.clone()],
                input,
                d_output: d_output_now,
                d_trained: &mut d_trained[node.trained.clone()],
                d_input: (index > self.first_trained).then_some(&mut d_input[..input.len()]),
            });
            std::mem::swap(&mut d_output, &mut d_input);
        }
    }

    /// Bytes of all buffers.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let nodes = self
            .nodes
            .iter()
            .map(|node| 4 * (node.output.len() + node.before_activation.len()) + node.operation.buffer_bytes());
        nodes.sum::<usize>() + 4 * (self.gradients[0].len() + self.gradients[1].len())
    }
}

impl Node {
    fn forward(&mut self, mode: Mode, tensors: Tensors<'_>, input: &[f32], rows: usize) -> &[f32] {
        let output = &mut self.output[..rows * self.outputs];
        self.operation.forward(mode, tensors, input, output);
        if !self.before_activation.is_empty() {
            self.before_activation[..output.len()].copy_from_slice(output);
        }
        activation::apply(self.activation, output);
        output
    }
}

/// What `layer` computes; `None` if it only gives its input another shape.
fn operation(
    layer: &Layer,
    index: usize,
    input: Shape,
    planned: &LayerPlan,
    rows_max: usize,
) -> Option<(Box<dyn Operation>, Activation)> {
    let values = rows_max * planned.output.values();
    Some(match (layer, planned.windows) {
        (Layer::Dense { units, activation, .. }, _) => (Box::new(Dense::new(input.values(), *units)), *activation),
        (Layer::Conv2d { filters, activation, .. }, Some(windows)) => {
            (Box::new(Conv::new(windows, *filters)), *activation)
        }
        (Layer::MaxPool(_), Some(windows)) => (Box::new(MaxPool::new(windows, rows_max)), Activation::Linear),
        (Layer::AveragePool(_), Some(windows)) => (Box::new(AveragePool::new(windows)), Activation::Linear),
        (Layer::Dropout { rate }, _) => (Box::new(Dropout::new(index, *rate, values)), Activation::Linear),
        (Layer::BatchNorm { momentum, epsilon, activation }, _) => {
            (Box::new(BatchNorm::new(input.channels(), *momentum, *epsilon, values)), *activation)
        }
        (Layer::Activation(function), _) => (Box::new(PassThrough), *function),
        (Layer::Flatten, _) => return None,
        (Layer::Conv2d { .. } | Layer::MaxPool(_) | Layer::AveragePool(_), None) => {
            unreachable!("the plan gives windows to every layer that has some")
        }
    })
}
