//! What a plan says, against numbers by hand and against what is allocated.

use broadsweep_common::dataset::TargetKind;
use broadsweep_common::model::{Activation, Layer, Loss, Model};
use broadsweep_common::training::{Optimizer, Training};
use proptest::prelude::*;

use super::{SAME, VALID, batch_norm, circle, classifier, conv, dense, sgd, tutorial_convnet, window};
use crate::batch::Batch;
use crate::blueprint::Blueprint;
use crate::kernel::Kernel;
use crate::network::Network;
use crate::optimizer::OptimizerState;
use crate::parameters::Parameters;
use crate::{Shape, ShapeError, memory_bytes, memory_bytes_max, plan};

const TEN: TargetKind = TargetKind::Classes { count: 10 };

#[test]
fn the_mlp_of_784_512_512_10_takes_3_209_million_flops_a_sample() {
    let relu = Activation::Relu;
    let plan = plan(&classifier(vec![dense(512, relu), dense(512, relu), dense(10, relu)]), &[784], TEN).unwrap();
    // Products: 784 × 512 + 512 × 512 + 512 × 10 = 668,672. Three of each but the first's, which has two.
    assert_eq!(plan.forward_flops, 2 * 668_672);
    assert_eq!(plan.training_flops, 3_209_216);
    assert_eq!(plan.parameters, 668_672 + 512 + 512 + 10);
}

#[test]
fn the_tutorial_convnet_takes_72_38_million_flops_a_sample() {
    let plan = plan(&tutorial_convnet(), &[28, 28, 1], TEN).unwrap();
    assert_eq!(plan.training_flops, 72_384_512);
    // 25 × 32 + 32, 800 × 64 + 64, 3136 × 512 + 512, 512 × 10 + 10.
    assert_eq!(plan.parameters, 832 + 51_264 + 1_606_144 + 5_130);
    assert_eq!(plan.layers[3].output, Shape::Image { height: 7, width: 7, channels: 64 });
    assert_eq!(plan.layers[4].output, Shape::Flat(3136));
    assert_eq!(plan.layers[2].tensors[0].name, "layer3.weight");
    assert_eq!(plan.layers[2].tensors[0].shape, [5, 5, 32, 64]);
}

#[test]
fn an_image_without_channels_has_one() {
    let layers = || vec![conv(2, 3, 1, SAME, Activation::Relu), Layer::Flatten, dense(10, Activation::Linear)];
    let with = plan(&classifier(layers()), &[8, 9, 1], TEN).unwrap();
    assert_eq!(plan(&classifier(layers()), &[8, 9], TEN).unwrap(), with);
}

fn refusal(layers: Vec<Layer>, shape: &[u32]) -> String {
    plan(&classifier(layers), shape, TEN).unwrap_err().to_string()
}

#[test]
fn layers_that_do_not_fit_are_named_with_what_to_do() {
    let out = || dense(10, Activation::Linear);
    let relu = Activation::Relu;
    let table: [(Vec<Layer>, &[u32], &str); 10] = [
        (vec![out()], &[28, 28], "layer 1 (dense): needs flat values, but gets an image (28x28x1); put a flatten"),
        (
            vec![Layer::Flatten, dense(128, relu), conv(4, 3, 1, SAME, relu)],
            &[28, 28, 1],
            "layer 3 (conv2d): needs an image (height, width, channels), but gets 128 values; put it before",
        ),
        (
            vec![conv(4, 9, 1, VALID, relu)],
            &[8, 8],
            "layer 1 (conv2d): a window of 9x9 does not fit into 8x8x1; use a smaller one, or padding = \"same\"",
        ),
        (vec![Layer::MaxPool(window(0, 1, SAME))], &[8, 8], "layer 1 (max_pool): needs a window and a stride from 1"),
        (vec![dense(9, relu)], &[4], "layer 1 (dense): makes 9 values, but the data has 10 classes; the last layer"),
        (vec![conv(4, 3, 1, SAME, relu)], &[8, 8], "layer 1 (conv2d): makes an image (8x8x4), but the data has 10"),
        (vec![], &[4], "model: has 0 layers"),
        (vec![Layer::Flatten], &[10], "model: has nothing to train"),
        (vec![dense(0, relu), out()], &[4], "layer 1 (dense): makes no values"),
        (vec![out()], &[4, 4, 4, 4], "model: cannot read rows with 4 sides"),
    ];
    for (layers, shape, expected) in table {
        let message = refusal(layers, shape);
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_loss_that_does_not_fit_the_targets_names_the_one_that_does() {
    let layers = || vec![dense(3, Activation::Linear)];
    let values = TargetKind::Values { width: 3 };
    let error = plan(&classifier(layers()), &[4], values).unwrap_err();
    assert!(error.to_string().ends_with("use mean_squared_error"), "{error}");
    let squares = Model { loss: Loss::MeanSquaredError, layers: layers() };
    let error = plan(&squares, &[4], TargetKind::Classes { count: 3 }).unwrap_err();
    assert!(error.to_string().ends_with("use cross_entropy"), "{error}");
    assert!(plan(&squares, &[4], values).is_ok());
}

#[test]
fn sizes_beyond_the_bounds_are_refused_before_they_overflow() {
    let relu = Activation::Relu;
    let wide = || dense(65_536, relu);
    let error: ShapeError = plan(&classifier(vec![wide(), wide()]), &[4], TEN).unwrap_err();
    assert_eq!((error.layer, error.kind), (Some(1), "dense"));
    assert!(plan(&classifier(vec![dense(usize::MAX, relu)]), &[4], TEN).is_err());
    assert!(plan(&classifier(vec![conv(usize::MAX, 64, 1, SAME, relu)]), &[4, 4], TEN).is_err());
    assert!(plan(&classifier(vec![conv(1, usize::MAX, 1, SAME, relu)]), &[4, 4], TEN).is_err());
    assert!(plan(&classifier(vec![conv(1, 3, usize::MAX, SAME, relu)]), &[4, 4], TEN).is_err());
    assert!(plan(&classifier(vec![wide()]), &[u32::MAX, u32::MAX, u32::MAX], TEN).is_err());
}

#[test]
fn planned_memory_is_what_the_trainer_allocates() {
    let image = vec![
        conv(3, 3, 2, SAME, Activation::Gelu),
        batch_norm(Activation::Relu),
        Layer::MaxPool(window(2, 1, SAME)),
        Layer::AveragePool(window(2, 2, VALID)),
        Layer::Activation(Activation::Gelu),
        Layer::Dropout { rate: 0.5 },
        Layer::Flatten,
        dense(2, Activation::Linear),
    ];
    // One convolution whose pool's windows are apart, and one whose windows share pixels.
    let pooled = vec![
        conv(14, 3, 1, SAME, Activation::Tanh),
        conv(20, 3, 1, SAME, Activation::Relu),
        Layer::MaxPool(window(2, 2, SAME)),
        conv(7, 2, 1, SAME, Activation::Relu),
        Layer::MaxPool(window(3, 2, SAME)),
        Layer::Flatten,
        dense(2, Activation::Linear),
    ];
    let flat = vec![dense(50, Activation::Gelu), batch_norm(Activation::Gelu), dense(2, Activation::Linear)];
    let images = || super::values(&[9, 8], TargetKind::Classes { count: 2 }, [0; 3], |_, _| vec![], |_, _| vec![]);
    let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay: 0.0 };
    let plain = Optimizer::Sgd { momentum: 0.0, nesterov: false };
    for (layers, data) in [(image, images()), (pooled, images()), (flat, circle([4, 0, 0]))] {
        let model = classifier(layers);
        let plan = plan(&model, &data.header().shape, data.header().targets).unwrap();
        for ((batch_size, optimizer), kernel) in [(1, adam), (300, plain), (1000, sgd(0.1, 1, 1).optimizer)]
            .into_iter()
            .flat_map(|case| Kernel::detect().into_iter().map(move |kernel| (case, kernel)))
        {
            let training = Training { optimizer, ..sgd(0.1, batch_size, 1) };
            let rows = batch_size.max(plan.evaluation_rows());
            let blueprint = Blueprint::new(&model, &plan, kernel.blocking());
            let parameters = Parameters::initialize(&model, &plan, &blueprint, 0);
            // Weights and their copy, optimizer, network, batch; then a checkpoint on its way out.
            let weights = 4 * 2 * (parameters.trained.len() + parameters.statistics.len());
            let state = weights + OptimizerState::new(&training, &blueprint).bytes();
            let network = Network::new(&model, &plan, &blueprint, kernel, rows);
            let buffers = network.bytes() + Batch::new(data.header().targets, kernel, blueprint.input, rows).bytes();
            let expected = (state + buffers) as u64 + blueprint.checkpoint_bytes(&training);
            let planned = memory_bytes(&model, &plan, &training, kernel);
            assert_eq!(planned, expected, "{kernel}, batches of {batch_size}");
            assert!(planned <= memory_bytes_max(&model, &plan, &training));
        }
    }
}

fn any_layer() -> impl Strategy<Value = Layer> {
    let size = prop_oneof![0_usize..70, Just(65_536), any::<usize>()];
    (0..8, size.clone(), size.clone(), size, any::<bool>()).prop_map(|(kind, a, b, c, same)| {
        let padding = if same { SAME } else { VALID };
        match kind {
            0 => dense(a, Activation::Relu),
            1 => conv(a, b, c, padding, Activation::Gelu),
            2 => Layer::MaxPool(window(a, b, padding)),
            3 => Layer::AveragePool(window(a, b, padding)),
            4 => Layer::Dropout { rate: 0.5 },
            5 => batch_norm(Activation::Linear),
            6 => Layer::Activation(Activation::Tanh),
            _ => Layer::Flatten,
        }
    })
}

proptest! {
    #[test]
    fn no_model_and_no_shape_makes_the_plan_panic(
        layers in prop::collection::vec(any_layer(), 0..8),
        shape in prop::collection::vec(prop_oneof![0_u32..40, any::<u32>()], 0..5),
        batch_size in any::<usize>(),
    ) {
        let Some(outputs) = (1..=layers.len()).rev().find_map(|end| {
            // Try the outputs that the last layer really has, so that many models pass.
            match layers[end - 1] { Layer::Dense { units, .. } => u32::try_from(units).ok(), _ => None }
        }).or(Some(10)) else { unreachable!() };
        let model = classifier(layers);
        if let Ok(plan) = plan(&model, &shape, TargetKind::Classes { count: outputs }) {
            let training = Training { batch_size, ..sgd(0.1, 1, 1) };
            prop_assert!(memory_bytes_max(&model, &plan, &training) >= 4 * 2 * plan.parameters);
            prop_assert!(plan.training_flops >= plan.forward_flops);
            prop_assert!(plan.evaluation_rows() >= 1);
        }
    }
}
