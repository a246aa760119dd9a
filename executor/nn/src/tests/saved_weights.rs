//! Weights as bytes: what comes back, and what is refused.

use broadsweep_common::dataset::TargetKind;
use broadsweep_common::model::{Activation, Layer, Model};
use proptest::prelude::*;

use super::{SAME, batch_norm, classifier, conv, dense};
use crate::blueprint::Blueprint;
use crate::kernel::{BLOCKINGS, Blocking};
use crate::parameters::Parameters;
use crate::{Plan, Weights, WeightsError, plan};

const SHAPE: [u32; 3] = [4, 4, 1];
const TARGETS: TargetKind = TargetKind::Classes { count: 2 };

fn model() -> Model {
    classifier(vec![
        conv(2, 3, 1, SAME, Activation::Relu),
        batch_norm(Activation::Relu),
        Layer::Flatten,
        dense(2, Activation::Linear),
    ])
}

fn plan_and_blueprint(blocking: Blocking) -> (Plan, Blueprint) {
    let plan = plan(&model(), &SHAPE, TARGETS).unwrap();
    let blueprint = Blueprint::new(&model(), &plan, blocking);
    (plan, blueprint)
}

fn weights() -> Weights {
    let (plan, blueprint) = plan_and_blueprint(Blocking::Plain);
    Weights::of(&Parameters::initialize(&model(), &plan, &blueprint, 5), &plan, &blueprint)
}

#[test]
fn weights_say_whose_they_are_and_are_the_same_otherwise() {
    let plain = weights().to_safetensors().unwrap();
    let named = weights().to_safetensors_of("0123").unwrap();
    assert_eq!(Weights::model_of(&plain).unwrap(), None);
    assert_eq!(Weights::model_of(&named).unwrap().as_deref(), Some("0123"));
    assert_eq!(Weights::from_safetensors(&named, &model(), &SHAPE, TARGETS).unwrap(), weights());
    assert!(Weights::model_of(b"not weights").is_err());
}

#[test]
fn weights_come_back_from_their_bytes_bit_by_bit() {
    let weights = weights();
    let bytes = weights.to_safetensors().unwrap();
    let back = Weights::from_safetensors(&bytes, &model(), &SHAPE, TARGETS).unwrap();
    assert_eq!(back, weights);
    assert_eq!(back.to_safetensors().unwrap(), bytes);
    for blocking in BLOCKINGS {
        let (plan, blueprint) = plan_and_blueprint(blocking);
        let parameters = Parameters::initialize(&model(), &plan, &blueprint, 5);
        assert_eq!(back.parameters(&plan, &blueprint).unwrap(), parameters, "{blocking:?}");
        assert_eq!(Weights::of(&parameters, &plan, &blueprint), weights, "the same numbers in every layout");
    }
}

#[test]
fn tensors_are_named_by_layer_and_lie_in_layer_order() {
    let names: Vec<_> = weights().tensors.into_iter().map(|tensor| tensor.name).collect();
    let expected = [
        "layer1.weight",
        "layer1.bias",
        "layer2.scale",
        "layer2.shift",
        "layer2.mean",
        "layer2.variance",
        "layer4.weight",
        "layer4.bias",
    ];
    assert_eq!(names, expected);
    assert_eq!(weights().tensors[0].values.shape(), [3, 3, 1, 2]);
    assert_eq!(weights().tensors[6].values.shape(), [32, 2]);
}

#[test]
fn weights_of_another_model_are_refused_by_tensor() {
    let bytes = weights().to_safetensors().unwrap();
    let read = |model: &Model| Weights::from_safetensors(&bytes, model, &SHAPE, TARGETS).unwrap_err();
    let mut wider = model();
    wider.layers[0] = conv(3, 3, 1, SAME, Activation::Relu);
    let error = read(&wider);
    let expected = "the weights have layer1.weight as F32 [3, 3, 1, 2], but the model has it as F32 [3, 3, 1, 3]";
    assert_eq!(error.to_string(), expected);
    let mut deeper = model();
    deeper.layers.push(dense(2, Activation::Linear));
    assert!(matches!(read(&deeper), WeightsError::Missing { name } if name == "layer5.weight"));
    let mut shorter = model();
    shorter.layers[1] = Layer::Activation(Activation::Relu);
    assert!(matches!(read(&shorter), WeightsError::Count { got: 8, want: 4 }));
}

#[test]
fn weights_of_another_type_are_refused_even_where_their_length_fits() {
    let mut bytes = weights().to_safetensors().unwrap();
    let place = bytes.windows(3).position(|word| word == b"F32").unwrap();
    bytes[place] = b'I';
    let error = Weights::from_safetensors(&bytes, &model(), &SHAPE, TARGETS).unwrap_err();
    assert!(error.to_string().contains(" as I32 "), "{error}");
}

proptest! {
    #[test]
    fn flipped_and_cut_bytes_are_refused_or_read_but_never_panic(
        flips in prop::collection::vec((0_usize..1200, any::<u8>()), 0..6),
        cut in 0_usize..1200,
    ) {
        let mut bytes = weights().to_safetensors().unwrap();
        for (place, value) in flips {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut / 2));
        if let Ok(read) = Weights::from_safetensors(&bytes, &model(), &SHAPE, TARGETS) {
            prop_assert_eq!(read.tensors.len(), 8);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Weights::from_safetensors(&bytes, &model(), &SHAPE, TARGETS).is_err());
    }
}
