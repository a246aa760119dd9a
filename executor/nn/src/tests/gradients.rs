//! Gradients against finite differences: every layer, activation and loss, in training mode.
//!
//! The first layer with weights is never the one under test alone: its gradient comes through the others, so that
//! the gradients by inputs are held to account too.

use broadsweep_common::dataset::{Dataset, Part, TargetKind};
use broadsweep_common::model::{Activation, Layer, Loss, Model};

use super::{SAME, VALID, batch_norm, classifier, conv, dense, values, wave, window};
use crate::batch::Batch;
use crate::blueprint::Blueprint;
use crate::kernel::Kernel;
use crate::layers::tile_positions;
use crate::network::{Network, Trained};
use crate::optimizer::{OptimizerState, Rule};
use crate::parameters::Parameters;
use crate::plan::plan;

const ROWS: usize = 7;
/// Of a larger tensor, about so many values are compared.
const SAMPLES: usize = 200;

fn data(shape: &[u32], targets: TargetKind) -> Dataset {
    let width: u32 = shape.iter().product();
    let feature = move |_, row| (0..width as usize).map(|value| wave(row * 1000 + value)).collect();
    values(shape, targets, [ROWS as u64, 0, 0], feature, move |_, row| match targets {
        TargetKind::Classes { count } => vec![(row as u32 % count).to_ne_bytes()],
        TargetKind::Values { width } => (0..width).map(|i| wave(row * 77 + i as usize).to_ne_bytes()).collect(),
    })
}

/// Compares every tensor's gradient with central differences, in the Euclidean norm.
fn check(name: &str, model: &Model, data: &Dataset) {
    check_with_step(name, model, data, 4e-3);
}

fn check_with_step(name: &str, model: &Model, data: &Dataset, step: f32) {
    for kernel in Kernel::detect() {
        check_kernel(&format!("{kernel}, {name}"), model, data, step, kernel);
    }
}

/// Where the loss has kinks, the step has to be small enough to cross none of them.
fn check_kernel(name: &str, model: &Model, data: &Dataset, step: f32, kernel: Kernel) {
    let plan = plan(model, &data.header().shape, data.header().targets).unwrap();
    let blueprint = Blueprint::new(model, &plan, kernel.blocking());
    let mut parameters = Parameters::initialize(model, &plan, &blueprint, 11);
    // Away from the special values of the start: biases of 0, scales of 1.
    for place in blueprint.places().filter(|place| !place.packing.role.is_statistic()) {
        for index in 0..place.packing.values() {
            parameters.trained[place.range.start + place.packing.place(index)] +=
                0.1 * wave(place.range.start + index + 5);
        }
    }
    let mut network = Network::new(model, &plan, &blueprint, kernel, ROWS + 2);
    let mut batch = Batch::new(data.header().targets, kernel, blueprint.input, ROWS + 2);
    batch.gather(data, Part::Train, 0..ROWS);
    let mut keeper = OptimizerState::keeping(parameters.trained.len());
    let mut loss = |parameters: &mut Parameters| {
        network.begin_epoch(3, 1); // the same dropout masks each time
        let trained = Trained { parameters, optimizer: &mut keeper, rule: Rule::KEEP };
        (network.train(trained, &batch).mean_loss(), keeper.moments()[0].to_vec())
    };
    let (_, gradient) = loss(&mut parameters);

    let mut slope_at = |parameters: &mut Parameters, index: usize| {
        let value = parameters.trained[index];
        let (above, below) = (value + step, value - step);
        parameters.trained[index] = above;
        let (higher, _) = loss(parameters);
        parameters.trained[index] = below;
        let (lower, _) = loss(parameters);
        parameters.trained[index] = value;
        (higher - lower) / f64::from(above - below)
    };
    for place in blueprint.places().filter(|place| !place.packing.role.is_statistic()) {
        let (mut distance, mut size) = (0.0, 0.0);
        let sparsely = 1 + place.packing.values() / SAMPLES;
        let filling = place.range.len() - place.packing.values();
        let zeros = gradient[place.range.clone()].iter().filter(|value| **value == 0.0).count();
        assert!(zeros >= filling, "{name}, {place:?}: what fills up a block has a gradient");
        for index in (0..place.packing.values()).step_by(sparsely) {
            let index = place.range.start + place.packing.place(index);
            let slope = slope_at(&mut parameters, index);
            distance += (slope - f64::from(gradient[index])).powi(2);
            size += slope * slope;
        }
        let (distance, size) = (distance.sqrt(), size.sqrt());
        let noise = 4e-7 / f64::from(step) * (place.range.len() as f64).sqrt(); // a few last digits of f32
        assert!(distance <= 0.01 * size + noise, "{name}, {place:?}: {distance} from a gradient of size {size}");
        assert!(size < 100.0, "{name}: the check is worthless where the loss is this steep");
    }
}

fn check_image(name: &str, layers: Vec<Layer>) {
    check(name, &classifier(layers), &data(&[6, 5, 2], TargetKind::Classes { count: 3 }));
}

fn ends_with_dense(mut layers: Vec<Layer>) -> Vec<Layer> {
    layers.extend([Layer::Flatten, dense(3, Activation::Linear)]);
    layers
}

#[test]
fn dense_layers_with_every_activation_have_the_gradient_of_their_loss() {
    let data = data(&[9], TargetKind::Classes { count: 3 });
    for &(name, activation) in Activation::WORDS {
        let layers = vec![dense(8, activation), dense(7, activation), dense(3, Activation::Linear)];
        check(name, &classifier(layers), &data);
        let alone = vec![dense(8, Activation::Linear), Layer::Activation(activation), dense(3, Activation::Linear)];
        check(&format!("{name} alone"), &classifier(alone), &data);
    }
}

#[test]
fn convolutions_of_every_padding_and_stride_have_the_gradient_of_their_loss() {
    for (kernel, stride, padding) in
        [(3, 1, SAME), (3, 2, SAME), (2, 3, SAME), (4, 1, SAME), (3, 1, VALID), (2, 2, VALID), (4, 3, VALID)]
    {
        let layers = vec![conv(3, 3, 1, SAME, Activation::Tanh), conv(4, kernel, stride, padding, Activation::Gelu)];
        check_image(&format!("conv {kernel} {stride} {padding}"), ends_with_dense(layers));
    }
}

#[test]
fn tiles_that_end_within_an_image_add_up_to_the_gradient_of_the_loss() {
    let kernel = 25;
    assert!(tile_positions(kernel * kernel * 2) < ROWS * 6 * 5 / 2, "one tile would hold the whole batch");
    let layers = vec![conv(2, 3, 1, SAME, Activation::Tanh), conv(2, kernel, 1, SAME, Activation::Tanh)];
    check_image("tiles", ends_with_dense(layers));
}

#[test]
fn pooling_of_every_padding_and_stride_has_the_gradient_of_its_loss() {
    for (size, stride, padding) in
        [(2, 2, SAME), (2, 2, VALID), (3, 2, SAME), (3, 1, SAME), (2, 1, VALID), (3, 3, SAME)]
    {
        let window = window(size, stride, padding);
        for pool in [Layer::MaxPool(window), Layer::AveragePool(window)] {
            // A convolution takes over a max pool behind a function that keeps the order of values.
            for activation in [Activation::Tanh, Activation::Linear, Activation::LeakyRelu] {
                let name = format!("{} {size} {stride} {padding} after {activation}", pool.kind());
                let first = conv(3, 3, 1, SAME, Activation::Tanh);
                let layers = vec![first, conv(3, 3, 1, SAME, activation), pool.clone()];
                let data = data(&[6, 5, 2], TargetKind::Classes { count: 3 });
                check_with_step(&name, &classifier(ends_with_dense(layers)), &data, 3e-4);
            }
        }
    }
}

#[test]
fn convolutions_whose_pool_picks_have_the_gradient_of_their_loss() {
    let of = |size, stride, padding| (size, stride, padding);
    for ((kernel, stride, padding), pool) in [
        (of(3, 1, SAME), of(2, 2, SAME)),
        (of(5, 1, SAME), of(2, 2, VALID)),
        (of(2, 1, VALID), of(3, 3, SAME)),
        (of(3, 2, SAME), of(2, 3, SAME)),
        (of(1, 1, SAME), of(2, 2, SAME)),
    ] {
        for activation in [Activation::Linear, Activation::Relu] {
            let name = format!("picked {kernel} {stride} {padding}, {pool:?}, {activation}");
            // So many channels that their block is full enough with every kernel.
            let layers = vec![
                conv(14, 3, 1, SAME, Activation::Tanh),
                conv(5, kernel, stride, padding, activation),
                Layer::MaxPool(window(pool.0, pool.1, pool.2)),
            ];
            let data = data(&[7, 6, 2], TargetKind::Classes { count: 3 });
            check_with_step(&name, &classifier(ends_with_dense(layers)), &data, 3e-4);
        }
    }
}

#[test]
fn batch_norm_in_training_mode_has_the_gradient_of_its_loss() {
    let after_conv = vec![conv(3, 3, 1, SAME, Activation::Linear), batch_norm(Activation::Tanh)];
    check_image("batch norm of channels", ends_with_dense(after_conv));
    let flat =
        vec![Layer::Flatten, dense(6, Activation::Tanh), batch_norm(Activation::Gelu), dense(3, Activation::Linear)];
    check_image("batch norm of values", flat);
    let first = vec![batch_norm(Activation::Sigmoid), conv(3, 2, 2, VALID, Activation::Tanh)];
    check_image("batch norm as the first layer", ends_with_dense(first));
}

#[test]
fn dropout_with_a_fixed_mask_has_the_gradient_of_its_loss() {
    let image = vec![conv(3, 3, 1, SAME, Activation::Tanh), Layer::Dropout { rate: 0.4 }];
    check_image("dropout of pixels", ends_with_dense(image));
    let twice = vec![
        Layer::Dropout { rate: 0.2 },
        Layer::Flatten,
        dense(8, Activation::Tanh),
        Layer::Dropout { rate: 0.5 },
        dense(3, Activation::Linear),
    ];
    check_image("dropout before the first weights", twice);
}

#[test]
fn squared_errors_have_the_gradient_of_their_loss() {
    let layers = vec![dense(8, Activation::Tanh), dense(4, Activation::Linear)];
    let model = Model { loss: Loss::MeanSquaredError, layers };
    check("mean squared error", &model, &data(&[9], TargetKind::Values { width: 4 }));
}
