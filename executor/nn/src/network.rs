//! Layers in a row, with buffers for one batch: forward, and backward to the first layer with weights.

use std::ops::Range;

use broadsweep_common::model::Model;

use super::activation::{self, Applied};
use super::batch::Batch;
use super::blueprint::Blueprint;
use super::buffer::Buffer;
use super::kernel::Kernel;
use super::layers::{Backward, Mode, Operation, Tensors};
use super::layout::Layout;
use super::loss::{self, Tally};
use super::nodes::{nodes, widest};
use super::optimizer::{OptimizerState, Rule};
use super::parameters::Parameters;
use super::plan::Plan;

/// A network that can take batches of a fixed number of rows or fewer. Allocates when it is made, and small tables
/// when it first hears of a number of rows.
pub(super) struct Network {
    kernel: Kernel,
    nodes: Vec<Node>,
    /// Index of the first node with weights.
    first_trained: usize,
    width: usize,
    /// The last node's outputs and the derivative of the loss by them, `(rows, width)`.
    outputs: [Buffer; 2],
    /// The derivative by a layer's outputs and by its inputs; they change places from layer to layer.
    gradients: [Buffer; 2],
}

/// A layer that computes something, with the memory of its last batch.
struct Node {
    operation: Box<dyn Operation>,
    activation: Applied,
    layout: Layout,
    trained: Range<usize>,
    statistics: Range<usize>,
    /// After the activation.
    output: Buffer,
    /// Before it, where its derivative needs that; else empty.
    before_activation: Buffer,
}

/// What a step of training changes.
pub(super) struct Trained<'a> {
    pub(super) parameters: &'a mut Parameters,
    pub(super) optimizer: &'a mut OptimizerState,
    pub(super) rule: Rule,
}

impl Network {
    /// `plan` and `blueprint` have to be the model's, and the blueprint the kernel's.
    pub(super) fn new(model: &Model, plan: &Plan, blueprint: &Blueprint, kernel: Kernel, rows_max: usize) -> Self {
        let planned = nodes(model, plan, blueprint);
        let first_trained = planned.iter().position(|node| node.is_trained).unwrap_or(0);
        let gradient = || Buffer::zeroed(rows_max * widest(&planned));
        let plain = || Buffer::zeroed(rows_max * plan.outputs());
        Self {
            kernel,
            first_trained,
            width: plan.outputs(),
            outputs: [plain(), plain()],
            gradients: [gradient(), gradient()],
            nodes: planned
                .into_iter()
                .map(|node| {
                    let values = node.output.len(rows_max);
                    let kept = if activation::needs_inputs(node.activation) { values } else { 0 };
                    Node {
                        operation: node.build(kernel, rows_max),
                        activation: Applied { kernel, activation: node.activation, layout: node.output },
                        layout: node.output,
                        trained: node.trained,
                        statistics: node.statistics,
                        output: Buffer::zeroed(values),
                        before_activation: Buffer::zeroed(kept),
                    }
                })
                .collect(),
        }
    }

    /// Batches of so many rows will come: makes what they need, so that none of them has to.
    pub(super) fn expect(&mut self, rows: usize) {
        self.nodes.iter_mut().for_each(|node| node.operation.expect(rows));
    }

    /// Before the first batch of an epoch (counted from 1).
    pub(super) fn begin_epoch(&mut self, trial_seed: u64, epoch: u32) {
        for node in &mut self.nodes {
            node.operation.begin_epoch(trial_seed, epoch);
        }
    }

    /// Loss of a batch in evaluation mode.
    pub(super) fn evaluate(&mut self, parameters: &mut Parameters, batch: &Batch) -> Tally {
        self.answer(parameters, batch);
        self.compare(batch)
    }

    /// Takes a batch through in evaluation mode, whatever its rows should be.
    pub(super) fn answer(&mut self, parameters: &mut Parameters, batch: &Batch) {
        self.forward(Mode::Evaluation, parameters, batch.features(), batch.rows());
    }

    /// Loss of a batch in training mode, and one step along the derivative of its mean. A loss that is not finite takes
    /// no step.
    pub(super) fn train(&mut self, trained: Trained<'_>, batch: &Batch) -> Tally {
        let (features, rows) = (batch.features(), batch.rows());
        self.forward(Mode::Training, trained.parameters, features, rows);
        let tally = self.compare(batch);
        if tally.loss.is_finite() {
            self.backward(trained, features, rows);
        }
        tally
    }

    /// The outputs of the last batch, of so many rows, and how many a row has.
    pub(super) fn outputs(&self, rows: usize) -> (&[f32], usize) {
        (&self.outputs[0][..rows * self.width], self.width)
    }

    /// Loss of the outputs, whose derivative is written down too.
    fn compare(&mut self, batch: &Batch) -> Tally {
        let [outputs, d_outputs] = &mut self.outputs;
        let values = batch.rows() * self.width;
        loss::compare(self.kernel, &outputs[..values], self.width, batch.wanted(), &mut d_outputs[..values])
    }

    fn forward(&mut self, mode: Mode, parameters: &mut Parameters, features: &[f32], rows: usize) {
        let mut input = features;
        let mut layout = None;
        for node in &mut self.nodes {
            let tensors = Tensors {
                trained: &parameters.trained[node.trained.clone()],
                statistics: &mut parameters.statistics[node.statistics.clone()],
            };
            layout = Some(node.layout);
            input = node.forward(mode, tensors, input, rows);
        }
        if let Some(layout) = layout {
            layout.unpack(rows, input, &mut self.outputs[0]);
        }
    }

    /// Starts from the derivative by the network's outputs.
    fn backward(&mut self, trained: Trained<'_>, features: &[f32], rows: usize) {
        let Trained { parameters, optimizer, rule } = trained;
        let [d_output, d_input] = &mut self.gradients;
        let (mut d_output, mut d_input) = (d_output, d_input);
        if let Some(last) = self.nodes.last() {
            d_output[..last.layout.len(rows)].fill(0.0);
            last.layout.pack(rows, &self.outputs[1], d_output);
        }
        for index in (self.first_trained..self.nodes.len()).rev() {
            let (before, rest) = self.nodes.split_at_mut(index);
            let node = &mut rest[0];
            let input = before.last().map_or(features, |node| &node.output[..node.layout.len(rows)]);
            let d_output_now = &mut d_output[..node.layout.len(rows)];
            let output = &node.output[..d_output_now.len()];
            node.activation.differentiate(rows, &node.before_activation, output, d_output_now);
            node.operation.backward(Backward {
                rows,
                input,
                output,
                d_output: d_output_now,
                d_input: (index > self.first_trained).then(|| &mut d_input[..input.len()]),
                step: optimizer.step(rule, &mut parameters.trained[node.trained.clone()], node.trained.clone()),
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
        let own = self.gradients.iter().chain(&self.outputs).map(|buffer| buffer.len());
        nodes.sum::<usize>() + 4 * own.sum::<usize>()
    }
}

impl Node {
    fn forward(&mut self, mode: Mode, tensors: Tensors<'_>, input: &[f32], rows: usize) -> &[f32] {
        let output = &mut self.output[..self.layout.len(rows)];
        self.operation.forward(mode, rows, tensors, input, output);
        if !self.before_activation.is_empty() {
            self.before_activation[..output.len()].copy_from_slice(output);
        }
        self.activation.apply(rows, output);
        output
    }
}
