//! A study and its data, as small as they can be, and a network on which nobody answers: for tests.

use std::future::pending;
use std::sync::Arc;

use broadsweep_common::dataset::{AlignedBytes, Dataset, DatasetBuilder, Element, Header, Scaling, TargetKind};
use broadsweep_common::measure::Watched;
use broadsweep_common::model::{Activation, Initialization, LayerDescription, Loss, ModelDescription};
use broadsweep_common::setting::Setting::Fixed;
use broadsweep_common::task::{Select, StudyDescription, TrainerDescription};
use broadsweep_common::training::{OptimizerKind, TrainingDescription};
use broadsweep_proto::dial::{Connect, Connecting};
use tokio::sync::mpsc::UnboundedSender;
use tonic::transport::Endpoint;

/// Tells who is dialled; nobody answers.
pub(crate) struct Silence(pub(crate) UnboundedSender<String>);

impl Connect for Silence {
    fn connect(&self, endpoint: Endpoint) -> Connecting {
        let _ = self.0.send(endpoint.uri().to_string()); // the test may be over
        Box::pin(pending())
    }
}

/// A network of one layer that is trained for one epoch.
pub(crate) fn description() -> StudyDescription {
    let units = Fixed(2);
    let (activation, initialization) = (Fixed(Activation::Linear), Fixed(Initialization::Glorot));
    let training = TrainingDescription {
        optimizer: Fixed(OptimizerKind::Sgd),
        learning_rate: Fixed(0.1),
        learning_rate_decay: Fixed(1.0),
        momentum: Fixed(0.0),
        nesterov: Fixed(false),
        beta1: Fixed(0.9),
        beta2: Fixed(0.999),
        epsilon: Fixed(1e-8),
        weight_decay: Fixed(0.0),
        l2: Fixed(0.0),
        batch_size: Fixed(2),
        epochs: Fixed(1),
        early_stop: None,
    };
    let layers = vec![LayerDescription::Dense { units, activation, initialization }];
    let model = ModelDescription { loss: Loss::CrossEntropy, layers };
    let trainer = TrainerDescription::Network { model, training };
    let (select, watched, measures) = (Select::Validation, Watched::ERROR, Vec::new());
    StudyDescription { seed: 1, trainer, select, watched, measures, test_every_trial: false }
}

/// Zeros, with so many rows of each part.
pub(crate) fn bytes(rows: [u64; 3]) -> AlignedBytes {
    let header = Header {
        shape: vec![3],
        element: Element::F32,
        targets: TargetKind::Classes { count: 2 },
        rows,
        scaling: Scaling::Uniform { factor: 1.0, offset: 0.0 },
        files_bytes: 0,
        target_scaling: Vec::new(),
    };
    DatasetBuilder::new(header).unwrap().finish()
}

pub(crate) fn data(rows: [u64; 3]) -> Dataset {
    Dataset::open(Arc::new(bytes(rows))).unwrap()
}
