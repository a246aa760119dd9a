//! Tests of the whole trainer: small models and data sets, and what has to hold for them.

mod checkpoints;
mod gradients;
mod kernels;
mod planning;
mod predicting;
mod saved_weights;
mod training;

use std::sync::Arc;

use crate::report::EpochReport;
use broadsweep_common::dataset::{Dataset, DatasetBuilder, Element, Header, Part, Scaling, TargetKind};
use broadsweep_common::measure::Watched;
use broadsweep_common::model::{Activation, Initialization, Layer, Loss, Model, Padding, Window};
use broadsweep_common::task::Select;
use broadsweep_common::training::{Optimizer, Training};

use crate::{Checkpoint, Control, Kernel, Phase, TrainTask};

pub(super) const SAME: Padding = Padding::Same;
pub(super) const VALID: Padding = Padding::Valid;

pub(super) fn dense(units: usize, activation: Activation) -> Layer {
    Layer::Dense { units, activation, initialization: Initialization::Glorot }
}

pub(super) fn conv(filters: usize, kernel: usize, stride: usize, padding: Padding, activation: Activation) -> Layer {
    Layer::Conv2d { filters, kernel, stride, padding, activation, initialization: Initialization::He }
}

pub(super) fn window(size: usize, stride: usize, padding: Padding) -> Window {
    Window { size, stride, padding }
}

pub(super) fn batch_norm(activation: Activation) -> Layer {
    Layer::BatchNorm { momentum: 0.9, epsilon: 1e-3, activation }
}

pub(super) fn classifier(layers: Vec<Layer>) -> Model {
    Model { loss: Loss::CrossEntropy, layers }
}

/// The convolutional network of TensorFlow's MNIST tutorial.
pub(super) fn tutorial_convnet() -> Model {
    classifier(vec![
        conv(32, 5, 1, SAME, Activation::Relu),
        Layer::MaxPool(window(2, 2, SAME)),
        conv(64, 5, 1, SAME, Activation::Relu),
        Layer::MaxPool(window(2, 2, SAME)),
        Layer::Flatten,
        dense(512, Activation::Relu),
        Layer::Dropout { rate: 0.5 },
        dense(10, Activation::Linear),
    ])
}

pub(super) fn sgd(learning_rate: f64, batch_size: usize, epochs: u32) -> Training {
    Training {
        optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: false },
        learning_rate,
        learning_rate_decay: 1.0,
        l2: 0.0,
        batch_size,
        epochs,
        early_stop: None,
    }
}

/// Numbers between -1 and 1 without a pattern that a network would notice.
pub(super) fn wave(place: usize) -> f32 {
    ((place as f64 * 12.9898 + 4.1414).sin() * 43_758.545_3).fract() as f32
}

/// `rows` rows a part; `feature` and `target` say what stands in each row of each part.
pub(super) fn values(
    shape: &[u32],
    targets: TargetKind,
    rows: [u64; 3],
    feature: impl Fn(Part, usize) -> Vec<f32>,
    target: impl Fn(Part, usize) -> Vec<[u8; 4]>,
) -> Dataset {
    let mut builder = DatasetBuilder::new(Header {
        shape: shape.to_vec(),
        element: Element::F32,
        targets,
        rows,
        scaling: Scaling::Uniform { factor: 1.0, offset: 0.0 },
        files_bytes: 0,
        target_scaling: Vec::new(),
    })
    .unwrap();
    for (part, rows) in [Part::Train, Part::Validation, Part::Test].into_iter().zip(rows) {
        for row in 0..rows as usize {
            let bytes: Vec<u8> = feature(part, row).into_iter().flat_map(f32::to_ne_bytes).collect();
            builder.feature_row(part, row).copy_from_slice(&bytes);
            builder.target_row(part, row).copy_from_slice(target(part, row).as_flattened());
        }
    }
    Dataset::open(Arc::new(builder.finish())).unwrap()
}

/// Two classes, told apart by whether a point lies inside a circle: no linear model can.
pub(super) fn circle(rows: [u64; 3]) -> Dataset {
    let point = |part: Part, row: usize| {
        let place = 2 * row + 100_000 * part as usize;
        vec![wave(place), wave(place + 1)]
    };
    let class = move |part, row| {
        let point = point(part, row);
        vec![u32::from(point[0] * point[0] + point[1] * point[1] < 0.6).to_ne_bytes()]
    };
    values(&[2], TargetKind::Classes { count: 2 }, rows, point, class)
}

/// Writes down what it is told; stops where it is asked to.
#[derive(Default)]
pub(super) struct Watcher {
    batches: usize,
    pub(super) batches_max: Option<usize>,
    pub(super) epochs_max: Option<usize>,
    pub(super) phases: Vec<Phase>,
    pub(super) reports: Vec<EpochReport>,
}

impl Control for Watcher {
    fn go_on(&mut self) -> bool {
        self.batches += 1;
        self.batches_max.is_none_or(|max| self.batches <= max)
    }

    fn phase(&mut self, phase: Phase) {
        self.phases.push(phase);
    }

    fn epoch_ended(&mut self, report: &EpochReport, _checkpoint: &Checkpoint) -> bool {
        self.reports.push(*report);
        self.epochs_max.is_none_or(|max| self.reports.len() < max)
    }
}

pub(super) fn small_model() -> Model {
    classifier(vec![
        dense(16, Activation::Tanh),
        batch_norm(Activation::Relu),
        Layer::Dropout { rate: 0.1 },
        dense(2, Activation::Linear),
    ])
}

pub(super) fn task<'a>(model: &'a Model, training: &'a Training) -> TrainTask<'a> {
    TrainTask {
        model,
        training,
        study_seed: 1,
        trial_seed: 2,
        repeat: 0,
        select: Select::Validation,
        watched: Watched::ERROR,
        measures: &[],
        test_every_trial: false,
        kernel: Kernel::detect()[0],
    }
}
