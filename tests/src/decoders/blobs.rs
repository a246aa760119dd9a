//! What a driver and its executors hand each other as blobs: study, data set, files, weights and checkpoints.

use std::fs;
use std::sync::Arc;

use broadsweep_common::codec;
use broadsweep_common::configuration::Configuration;
use broadsweep_common::dataset::{AlignedBytes, Dataset, DatasetBuilder, Element, Header, Part, Scaling, TargetKind};
use broadsweep_common::ids::TrialId;
use broadsweep_common::measure::Watched;
use broadsweep_common::metrics::Metrics;
use broadsweep_common::model::{Activation, Initialization, Layer, Loss, Model};
use broadsweep_common::replay::{Replay, ReplayEnd};
use broadsweep_common::task::{Replicate, Select, StudyDescription, TrainerDescription};
use broadsweep_common::training::{EarlyStop, Optimizer, Training};
use broadsweep_driver::study;
use broadsweep_executor::archive::{Access, unpack};
use broadsweep_executor::trainers::replay::ReplayState;
use broadsweep_nn::{self as nn, Checkpoint, Control, EpochReport, Kernel, Phase, TrainTask, Weights};

use super::{Bound, folder, studies};

/// What a short input may claim, in texts and lists within each other.
pub(super) const STUDY: Bound = Bound { fixed: 4 << 20, per_byte: 256 };

const REPLICATE: Replicate = Replicate { trial: TrialId(1), repeat: 2, fold: 0 };

/// The description of a study, as an executor prepares it and looks at its first trial.
pub(super) fn study(bytes: &[u8]) {
    let Ok(StudyDescription { trainer, .. }) = codec::decode(bytes) else { return };
    let configuration = Configuration::default();
    match trainer {
        TrainerDescription::Network { model, training } => {
            let (model, training) = (model.resolve(&configuration), training.resolve(&configuration));
            let (Ok(model), Ok(training)) = (model, training) else { return };
            for shape in [&[3][..], &[8, 8, 1]] {
                if let Ok(plan) = nn::plan(&model, shape, TargetKind::Classes { count: 2 }) {
                    let needed = nn::memory_bytes(&model, &plan, &training, Kernel::PORTABLE);
                    assert!(needed <= nn::memory_bytes_max(&model, &plan, &training));
                }
            }
        }
        TrainerDescription::Program(program) => drop(program.epochs.resolve(&configuration, "epochs")),
        TrainerDescription::Model(application) => drop(format!("{application:?}")),
        TrainerDescription::Mapper(mapper) => drop(format!("{mapper:?} {:?}", mapper.given().collect::<Vec<_>>())),
        TrainerDescription::Replay(replays) => {
            if let Ok(replay) = replays.resolve(TrialId(0), &configuration) {
                assert!(replay.is_possible(), "{replay:?}");
            }
        }
    }
}

/// A data set, as executors map it.
pub(super) fn data_set(bytes: &[u8]) {
    let mut aligned = AlignedBytes::zeroed(bytes.len());
    aligned.as_mut().copy_from_slice(bytes);
    let Ok(dataset) = Dataset::open(Arc::new(aligned)) else { return };
    for part in [Part::Train, Part::Validation, Part::Test] {
        let (features, targets) = (dataset.features(part), dataset.targets(part));
        drop(format!("{features:?} {targets:?}"));
    }
}

/// An archive of files, as executors unpack it: whatever it says, nothing lies beside its folder.
pub(super) fn archive(bytes: &[u8]) {
    let beside = || fs::read_dir(folder()).unwrap().count();
    let root = folder().join("unpacked");
    fs::create_dir(&root).unwrap();
    let before = beside();
    drop(unpack(bytes, &root, Access::Writable));
    assert_eq!(beside(), before, "it left its folder");
    fs::remove_dir_all(root).unwrap();
}

/// Weights of the small network.
pub(super) fn weights(bytes: &[u8]) {
    let header = header();
    drop(Weights::from_safetensors(bytes, &model(), &header.shape, header.targets));
}

/// A checkpoint of the small network; one that is taken is trained on from.
pub(super) fn checkpoint(bytes: &[u8]) {
    let (model, training) = (model(), training());
    let task = task(&model, &training);
    if let Ok(checkpoint) = Checkpoint::from_bytes(bytes, &task, &header()) {
        nn::train(&task, &data(), Some(checkpoint), &mut Patient).unwrap();
    }
}

/// A checkpoint of a replay.
pub(super) fn replay_checkpoint(bytes: &[u8]) {
    if let Ok(state) = ReplayState::from_bytes(bytes, REPLICATE) {
        assert_eq!(state.to_bytes(), bytes);
    }
}

/// Lets a training go on to its end.
struct Patient;

impl Control for Patient {
    fn go_on(&mut self) -> bool {
        true
    }

    fn phase(&mut self, _: Phase) {}

    fn epoch_ended(&mut self, _: &EpochReport, _: &Checkpoint) -> bool {
        true
    }
}

fn model() -> Model {
    let dense = |units, activation| Layer::Dense { units, activation, initialization: Initialization::Glorot };
    let norm = Layer::BatchNorm { momentum: 0.9, epsilon: 1e-3, activation: Activation::Relu };
    let layers = vec![dense(3, Activation::Tanh), norm, dense(2, Activation::Linear)];
    Model { loss: Loss::CrossEntropy, layers }
}

fn training() -> Training {
    Training {
        optimizer: Optimizer::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.01 },
        learning_rate: 0.1,
        learning_rate_decay: 0.9,
        l2: 0.0,
        batch_size: 2,
        epochs: 3,
        early_stop: Some(EarlyStop { patience: 2, min_delta: 0.0 }),
    }
}

fn task<'a>(model: &'a Model, training: &'a Training) -> TrainTask<'a> {
    TrainTask {
        model,
        training,
        study_seed: 1,
        trial_seed: 2,
        repeat: 0,
        select: Select::Validation,
        watched: Watched::ERROR,
        measures: &[],
        test_every_trial: true,
        kernel: Kernel::PORTABLE,
    }
}

fn header() -> Header {
    Header {
        shape: vec![2],
        element: Element::U8,
        targets: TargetKind::Classes { count: 2 },
        rows: [4, 2, 2],
        scaling: Scaling::Uniform { factor: 0.5, offset: -1.0 },
        files_bytes: 100,
        target_scaling: Vec::new(),
    }
}

/// A data set with this header, whose numbers count up.
fn filled(header: Header) -> AlignedBytes {
    let parts = [Part::Train, Part::Validation, Part::Test];
    let rows = header.rows;
    let mut builder = DatasetBuilder::new(header).unwrap();
    for (part, rows) in parts.into_iter().zip(rows) {
        for row in 0..rows as usize {
            builder.feature_row(part, row).fill(row as u8);
            builder.target_row(part, row)[0] = row as u8 % 2;
        }
    }
    builder.finish()
}

fn data() -> Dataset {
    Dataset::open(Arc::new(filled(header()))).unwrap()
}

pub(super) fn study_seeds() -> Vec<Vec<u8>> {
    let parsed = studies::GOOD.iter().map(|text| study::parse(text, "study.toml").unwrap());
    let end = ReplayEnd::Complete { epoch: 1, metrics: Metrics::default() };
    let recorded = Replay { wait: std::time::Duration::from_secs(1), epochs: 2, end };
    parsed.map(|study| codec::encode(&study.description(vec![recorded.clone()])).unwrap()).collect()
}

pub(super) fn data_set_seeds() -> Vec<Vec<u8>> {
    let scaling = Scaling::PerFeature { factors: vec![1.0, 2.0], offsets: vec![0.0, 3.0] };
    let values = Header { element: Element::F32, targets: TargetKind::Values { width: 2 }, scaling, ..header() };
    [header(), values].map(|header| filled(header).as_ref().to_vec()).into()
}

pub(super) fn archive_seeds() -> Vec<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let long = format!("data/{}/values.csv", "long-name/".repeat(15));
    for (kind, name, content) in [
        (tar::EntryType::Directory, "data", &b""[..]),
        (tar::EntryType::Regular, "train.py", b"print(1)"),
        (tar::EntryType::Regular, &long, b"1,2\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content).unwrap();
    }
    vec![builder.into_inner().unwrap()]
}

pub(super) fn weights_seeds() -> Vec<Vec<u8>> {
    let (model, training) = (model(), training());
    let trained = nn::train(&task(&model, &training), &data(), None, &mut Patient).unwrap();
    vec![trained.weights.unwrap().to_safetensors().unwrap()]
}

pub(super) fn checkpoint_seeds() -> Vec<Vec<u8>> {
    let (model, training) = (model(), training());
    let paused = |epoch| nn::train_until(&task(&model, &training), &data(), None, epoch, &mut Patient).unwrap();
    [1, 2].into_iter().filter_map(|epoch| Some(paused(epoch).checkpoint?.to_bytes())).collect()
}

pub(super) fn replay_checkpoint_seeds() -> Vec<Vec<u8>> {
    vec![ReplayState::new(REPLICATE).to_bytes()]
}
