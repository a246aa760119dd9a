//! Kernels against each other: layers of several blocks, about whose losses and gradients all have to agree.
//!
//! The checks against finite differences cannot look at layers that are as wide as a block of the widest vectors.

use broadsweep_common::dataset::{Dataset, Part, TargetKind};
use broadsweep_common::model::{Activation, Layer, Model};
use broadsweep_common::training::{Optimizer, Training};

use super::{
    SAME, VALID, Watcher, batch_norm, classifier, conv, dense, sgd, task, tutorial_convnet, values, wave, window,
};
use crate::batch::Batch;
use crate::blueprint::Blueprint;
use crate::kernel::Kernel;
use crate::network::{Network, Trained};
use crate::optimizer::{OptimizerState, Rule};
use crate::parameters::Parameters;
use crate::plan::plan;
use crate::{TrainTask, train};

/// A gradient may be so far from that of the portable kernel, as a part of its own length; and of the length of all
/// gradients, since that of a bias in front of a batch norm is made of roundings alone.
const FAR: [f64; 2] = [1e-4, 1e-6];
/// Losses may differ by this part.
const LOSSES_FAR: f64 = 1e-5;

/// What one batch gives.
struct Outcome {
    /// Mean losses in training and in evaluation.
    losses: [f64; 2],
    /// The gradient by each tensor, in the plain order.
    gradients: Vec<Vec<f32>>,
}

fn others() -> impl Iterator<Item = Kernel> {
    Kernel::detect().into_iter().filter(|kernel| *kernel != Kernel::PORTABLE)
}

fn data(shape: &[u32], rows: usize) -> Dataset {
    let width: usize = shape.iter().product::<u32>() as usize;
    let feature = move |_, row| (0..width).map(|value| wave(row * 1000 + value)).collect();
    let class = move |_, row: usize| vec![(row as u32 % 3).to_ne_bytes()];
    values(shape, TargetKind::Classes { count: 3 }, [rows as u64, rows as u64, 0], feature, class)
}

fn outcome(model: &Model, data: &Dataset, rows: usize, kernel: Kernel) -> Outcome {
    let plan = plan(model, &data.header().shape, data.header().targets).unwrap();
    let blueprint = Blueprint::new(model, &plan, kernel.blocking());
    let mut parameters = Parameters::initialize(model, &plan, &blueprint, 11);
    for (number, place) in blueprint.places().enumerate() {
        for index in 0..place.packing.values() {
            let at = place.range.start + place.packing.place(index);
            let shift = 0.05 * wave(number * 10_007 + index);
            let is_statistic = place.packing.role.is_statistic();
            parameters.run_mut(place.packing.role)[at] += if is_statistic { shift.abs() } else { shift };
        }
    }
    // Fewer rows than there is room for, as in the last batch of an epoch.
    let mut network = Network::new(model, &plan, &blueprint, kernel, rows + 2);
    let mut batch = Batch::new(data.header().targets, kernel, blueprint.input, rows + 2);
    batch.gather(data, Part::Train, 0..rows);
    let evaluated = network.evaluate(&mut parameters, &batch).mean_loss();
    let mut keeper = OptimizerState::keeping(parameters.trained.len());
    network.begin_epoch(3, 1);
    let trained = Trained { parameters: &mut parameters, optimizer: &mut keeper, rule: Rule::KEEP };
    let trained = network.train(trained, &batch).mean_loss();
    let kept = keeper.moments()[0];
    let gradients = blueprint.places().filter(|place| !place.packing.role.is_statistic()).map(|place| {
        let value = |index| kept[place.range.start + place.packing.place(index)];
        (0..place.packing.values()).map(value).collect()
    });
    Outcome { losses: [trained, evaluated], gradients: gradients.collect() }
}

fn length(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

fn check(name: &str, layers: Vec<Layer>, shape: &[u32], rows: usize) {
    let (model, data) = (classifier(layers), data(shape, rows));
    let wanted = outcome(&model, &data, rows, Kernel::PORTABLE);
    let all = length(wanted.gradients.iter().flatten().map(|&value| f64::from(value)));
    for kernel in others() {
        let got = outcome(&model, &data, rows, kernel);
        for (number, (gradient, wanted)) in got.gradients.iter().zip(&wanted.gradients).enumerate() {
            let size = length(wanted.iter().map(|&value| f64::from(value)));
            let distance = length(gradient.iter().zip(wanted).map(|(a, b)| f64::from(*a) - f64::from(*b)));
            assert!(
                distance <= FAR[0] * size + FAR[1] * all,
                "{name}, {kernel}, {rows} rows, tensor {number}: {distance} from one of length {size}"
            );
        }
        for (got, wanted) in got.losses.into_iter().zip(wanted.losses) {
            assert!(
                (got - wanted).abs() <= LOSSES_FAR * wanted,
                "{name}, {kernel}, {rows} rows: {got}, not {wanted}"
            );
        }
    }
}

#[test]
fn dense_layers_of_many_blocks_have_the_same_gradient_with_every_kernel() {
    for (inputs, widths) in [(70, [40, 33]), (33, [16, 17]), (64, [64, 32]), (100, [130, 48]), (5, [31, 65])] {
        for rows in [1, 7, 14, 15, 33] {
            let mut layers = vec![dense(widths[0], Activation::Tanh), dense(widths[1], Activation::Gelu)];
            layers.push(Layer::Dropout { rate: 0.3 });
            if rows > 1 {
                layers.push(batch_norm(Activation::Sigmoid)); // one row has no variance
            }
            layers.push(dense(3, Activation::Linear));
            check(&format!("dense {inputs} {widths:?}"), layers, &[inputs], rows);
        }
    }
}

#[test]
fn images_of_many_blocks_have_the_same_gradient_with_every_kernel() {
    let convolutions = [(20, 3, 1, SAME), (40, 3, 2, SAME), (70, 2, 1, VALID), (16, 5, 1, SAME), (32, 1, 1, VALID)];
    for (number, channels) in [1, 3, 16, 20, 33].into_iter().enumerate() {
        for (filters, size, stride, padding) in convolutions {
            let first = window(2, 1, SAME);
            let second = window(2, 2, SAME);
            let [first, second] = match number % 2 {
                0 => [Layer::MaxPool(first), Layer::AveragePool(second)],
                _ => [Layer::AveragePool(first), Layer::MaxPool(second)],
            };
            let layers = vec![
                conv(filters, size, stride, padding, Activation::Linear),
                first,
                batch_norm(Activation::Tanh),
                conv(36, 3, 1, SAME, Activation::Gelu),
                Layer::Dropout { rate: 0.25 },
                second,
                Layer::Flatten,
                dense(34, Activation::Tanh),
                dense(3, Activation::Linear),
            ];
            check(&format!("images {channels} {filters} {size} {stride} {padding}"), layers, &[7, 6, channels], 3);
        }
    }
}

#[test]
fn convolutions_whose_pool_picks_have_the_same_gradient_with_every_kernel() {
    let convolutions = [(20, 3, 1, SAME), (40, 3, 2, SAME), (70, 2, 1, VALID), (16, 7, 1, SAME), (32, 1, 1, VALID)];
    for (number, channels) in [16, 20, 33, 64].into_iter().enumerate() {
        for (filters, size, stride, padding) in convolutions {
            let activation = [Activation::Relu, Activation::LeakyRelu, Activation::Linear][number % 3];
            let pool = [window(2, 2, SAME), window(3, 3, VALID)][number % 2];
            let layers = vec![
                conv(channels, 3, 1, SAME, Activation::Tanh),
                conv(filters, size, stride, padding, activation),
                Layer::MaxPool(pool),
                Layer::Flatten,
                dense(3, Activation::Linear),
            ];
            check(&format!("picked {channels} {filters} {size} {stride} {padding}"), layers, &[9, 8, 2], 3);
        }
    }
}

#[test]
fn the_tutorial_convnet_has_the_same_gradient_with_every_kernel() {
    let mut layers = tutorial_convnet().layers;
    layers.pop();
    layers.push(dense(3, Activation::Linear));
    check("tutorial", layers, &[28, 28, 1], 2);
}

#[test]
fn a_few_steps_of_every_optimizer_lead_to_the_same_weights_with_every_kernel() {
    let data = data(&[6, 5, 2], 24);
    let model = classifier(vec![
        conv(20, 3, 1, SAME, Activation::Tanh),
        Layer::AveragePool(window(2, 2, SAME)),
        Layer::Flatten,
        dense(40, Activation::Gelu),
        Layer::Dropout { rate: 0.2 },
        dense(3, Activation::Linear),
    ]);
    let descent = |momentum, nesterov| Optimizer::Sgd { momentum, nesterov };
    let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-3, weight_decay: 0.01 };
    for optimizer in [descent(0.0, false), descent(0.9, false), descent(0.9, true), adam] {
        let training = Training { optimizer, l2: 1e-4, ..sgd(0.01, 8, 2) };
        let weights = |kernel| {
            let task = TrainTask { kernel, ..task(&model, &training) };
            let trained = train(&task, &data, None, &mut Watcher::default()).unwrap();
            let weights = trained.weights.unwrap();
            weights.tensors.iter().flat_map(|tensor| tensor.values.clone()).collect::<Vec<f32>>()
        };
        let wanted = weights(Kernel::PORTABLE);
        for kernel in others() {
            let got = weights(kernel);
            let far = got.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(got.len() == wanted.len() && far <= 2e-6, "{optimizer:?}, {kernel}: {far}");
        }
    }
}
