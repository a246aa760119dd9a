//! The layers of a network one by one, on numbers that mean nothing: for benches, which take their time.

use broadsweep_common::model::Model;
use broadsweep_common::training::Training;

use super::activation::{self, Applied};
use super::blueprint::Blueprint;
use super::buffer::Buffer;
use super::kernel::Kernel;
use super::layers::{Backward, Mode, Operation, Tensors};
use super::nodes::{NodePlan, nodes};
use super::optimizer::OptimizerState;
use super::parameters::Parameters;
use super::plan::Plan;

/// The layers of a network, each with batches of its own before and behind it.
pub struct Workbench {
    rows: usize,
    parameters: Parameters,
    optimizer: OptimizerState,
    benched: Vec<BenchedNode>,
}

/// One layer.
struct BenchedNode {
    planned: NodePlan,
    operation: Box<dyn Operation>,
    activation: Applied,
    passes_on: bool,
    input: Buffer,
    output: Buffer,
    d_output: Buffer,
    d_input: Buffer,
}

/// What a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its name in study files. A convolution may have taken over the max pool behind it.
    pub kind: &'static str,
    /// Values of a row before and behind it.
    pub values: [usize; 2],
    /// FLOPs of its products for one batch: forward, and backward with the gradients by weights and, but for the first
    /// layer with weights, by inputs.
    pub flops: [u64; 2],
    /// Whether training comes back to it.
    pub is_trained: bool,
}

impl Workbench {
    /// Batches have `batch_size` rows. `plan` has to be the model's.
    #[must_use]
    pub fn new(model: &Model, plan: &Plan, training: &Training, kernel: Kernel) -> Self {
        let rows = training.batch_size;
        let blueprint = Blueprint::new(model, plan, kernel.blocking());
        let planned = nodes(model, plan, &blueprint);
        let first_trained = planned.iter().position(|node| node.is_trained).unwrap_or(0);
        let benched = planned.into_iter().enumerate().map(|(index, planned)| {
            let mut operation = planned.build(kernel, rows);
            operation.expect(rows);
            operation.begin_epoch(1, 1);
            let values = |values: usize| {
                let mut buffer = Buffer::zeroed(values);
                buffer.iter_mut().enumerate().for_each(|(place, value)| *value = (place % 7) as f32 * 0.125);
                buffer
            };
            let (input, output) = (planned.input.len(rows), planned.output.len(rows));
            BenchedNode {
                operation,
                activation: Applied { kernel, activation: planned.activation, layout: planned.output },
                passes_on: index > first_trained,
                input: values(input),
                output: values(output),
                d_output: Buffer::zeroed(output),
                d_input: Buffer::zeroed(input),
                planned,
            }
        });
        Self {
            rows,
            parameters: Parameters::initialize(model, plan, &blueprint, 1),
            optimizer: OptimizerState::new(training, &blueprint),
            benched: benched.collect(),
        }
    }

    /// The layers, from input to output. Those that compute nothing are left out.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        let piece = |place: &BenchedNode| {
            let NodePlan { input, output, flops, is_trained, .. } = &place.planned;
            let forward = self.rows as u64 * flops;
            Piece {
                kind: place.planned.kind,
                values: [input.values(), output.values()],
                flops: [forward, if place.passes_on { 2 * forward } else { forward }],
                is_trained: *is_trained,
            }
        };
        self.benched.iter().map(piece).collect()
    }

    /// One batch forward through layer `number`, with its activation.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn forward(&mut self, number: usize) {
        let BenchedNode { planned, operation, activation, input, output, .. } = &mut self.benched[number];
        let tensors = Tensors {
            trained: &self.parameters.trained[planned.trained.clone()],
            statistics: &mut self.parameters.statistics[planned.statistics.clone()],
        };
        operation.forward(Mode::Training, self.rows, tensors, input, output);
        activation.apply(self.rows, output);
    }

    /// The same batch back through layer `number`, with its activation and the step of its weights.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn backward(&mut self, number: usize) {
        let BenchedNode { planned, operation, activation, passes_on, input, output, d_output, d_input } =
            &mut self.benched[number];
        // Small, so that weights stay what they are however often this is done.
        d_output.fill(1e-6);
        let inputs: &[f32] = if activation::needs_inputs(activation.activation) { output } else { &[] };
        activation.differentiate(self.rows, inputs, output, d_output);
        let rule = self.optimizer.begin(1e-6);
        let range = planned.trained.clone();
        operation.backward(Backward {
            rows: self.rows,
            input,
            output,
            d_output,
            d_input: passes_on.then_some(d_input),
            step: self.optimizer.step(rule, &mut self.parameters.trained[range.clone()], range),
        });
    }
}

#[cfg(test)]
mod tests {
    use broadsweep_common::dataset::TargetKind;
    use broadsweep_common::model::{Activation, Layer, Loss};

    use super::*;
    use crate::plan;
    use crate::tests::{SAME, conv, dense, sgd, window};

    #[test]
    fn every_layer_can_be_run_alone_and_the_flops_add_up() {
        let layers = vec![
            conv(3, 3, 1, SAME, Activation::Relu),
            Layer::MaxPool(window(2, 2, SAME)),
            conv(2, 3, 1, SAME, Activation::Gelu),
            Layer::Flatten,
            dense(4, Activation::Linear),
        ];
        let model = Model { loss: Loss::CrossEntropy, layers };
        let plan = plan(&model, &[6, 6, 1], TargetKind::Classes { count: 4 }).unwrap();
        for kernel in Kernel::detect() {
            let mut bench = Workbench::new(&model, &plan, &sgd(0.1, 5, 1), kernel);
            let pieces = bench.pieces();
            for number in 0..pieces.len() {
                bench.forward(number);
                bench.backward(number);
            }
            assert!(bench.parameters.are_finite(), "{kernel}");
            let flops: u64 = pieces.iter().map(|piece| piece.flops[0] + piece.flops[1]).sum();
            assert_eq!(flops, bench.rows as u64 * plan.training_flops, "{kernel}");
        }
    }
}
