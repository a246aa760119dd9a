//! Checkpoints: a training that goes on from one ends in the same bits, and nothing else is taken for one.

use std::sync::LazyLock;

use crate::report::{EpochReport, TrainingEnd};
use broadsweep_common::codec;
use broadsweep_common::dataset::{Dataset, Part, TargetKind};
use broadsweep_common::measure::{MEASURES_MAX, Measure, Watched, WatchedValue};
use broadsweep_common::metrics::Direction;
use broadsweep_common::model::{Activation, Layer, Loss, Model};
use broadsweep_common::task::Select;
use broadsweep_common::training::{EarlyStop, Optimizer, Training};
use proptest::prelude::*;

use super::{SAME, Watcher, batch_norm, circle, classifier, conv, dense, sgd, small_model, task, values, wave};
use crate::blueprint::Blueprint;
use crate::kernel::Kernel;
use crate::{Checkpoint, CheckpointError, Control, Phase, TrainError, TrainTask, Trained, plan, train, train_until};

/// Magic, length of the header, and the longest header.
const FRONT_BYTES: usize = 12 + 264;

const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay: 0.0 };

/// Takes a checkpoint of every epoch.
#[derive(Default)]
struct Keeper {
    watcher: Watcher,
    taken: Vec<Vec<u8>>,
    were_last: Vec<bool>,
}

impl Control for Keeper {
    fn go_on(&mut self) -> bool {
        self.watcher.go_on()
    }

    fn phase(&mut self, phase: Phase) {
        self.watcher.phase(phase);
    }

    fn epoch_ended(&mut self, report: &EpochReport, checkpoint: &Checkpoint) -> bool {
        self.taken.push(checkpoint.to_bytes());
        self.were_last.push(checkpoint.is_last());
        self.watcher.epoch_ended(report, checkpoint)
    }
}

fn read(bytes: &[u8], task: &TrainTask<'_>, data: &Dataset) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::from_bytes(bytes, task, data.header())
}

/// `epochs_max` is where the control stops the training.
fn run(task: &TrainTask<'_>, data: &Dataset, from: Option<&[u8]>, epochs_max: Option<usize>) -> (Trained, Keeper) {
    let from = from.map(|bytes| read(bytes, task, data).unwrap());
    let mut keeper = Keeper { watcher: Watcher { epochs_max, ..Watcher::default() }, ..Keeper::default() };
    (train(task, data, from, &mut keeper).unwrap(), keeper)
}

/// The outcome and the weights, to the bit.
fn bits(trained: &Trained) -> (Vec<u8>, Option<Vec<u8>>) {
    let weights = trained.weights.as_ref().map(|weights| weights.to_safetensors().unwrap());
    (codec::encode(&trained.training).unwrap(), weights)
}

/// Trains in one go, and then in two around each epoch; gives back the checkpoints of the one go.
fn assert_interruptions_change_nothing(task: &TrainTask<'_>, data: &Dataset) -> Vec<Vec<u8>> {
    let (straight, keeper) = run(task, data, None, None);
    if let TrainingEnd::Complete(_) = straight.training {
        let (last, earlier) = keeper.were_last.split_last().unwrap();
        assert!(*last && !earlier.contains(&true), "{:?}", keeper.were_last);
    }
    let plan = plan(task.model, &data.header().shape, data.header().targets).unwrap();
    let blueprint = Blueprint::new(task.model, &plan, task.kernel.blocking());
    let size_max = blueprint.checkpoint_bytes(task.training);
    for (bytes, epoch) in keeper.taken.iter().zip(1..) {
        let name = format!("{}, {:?} after epoch {epoch}", task.kernel, task.training.optimizer);
        assert!(bytes.len() as u64 <= size_max, "{name}: {} of {size_max} bytes", bytes.len());
        assert_eq!(&read(bytes, task, data).unwrap().to_bytes(), bytes, "{name}");
        let (_, stopped) = run(task, data, None, Some(epoch));
        assert_eq!(stopped.taken.last(), Some(bytes), "{name}, stopped there");
        let (resumed, after) = run(task, data, Some(bytes), None);
        assert_eq!(bits(&resumed), bits(&straight), "{name}");
        let reports = |reports: &[EpochReport]| codec::encode(&reports.to_vec()).unwrap();
        assert_eq!(reports(&after.watcher.reports), reports(&keeper.watcher.reports[epoch..]), "{name}");
        assert_eq!(after.taken, keeper.taken[epoch..], "{name}");
    }
    keeper.taken
}

#[test]
fn going_on_from_any_checkpoint_ends_in_the_same_bits_with_every_optimizer() {
    let data = circle([100, 40, 30]);
    let adam_w = Optimizer::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-7, weight_decay: 0.01 };
    let momentum = |momentum, nesterov| Optimizer::Sgd { momentum, nesterov };
    for optimizer in [momentum(0.0, false), momentum(0.9, false), momentum(0.9, true), ADAM, adam_w] {
        for early_stop in [None, Some(EarlyStop { patience: 5, min_delta: 0.0 })] {
            let training = Training { optimizer, learning_rate_decay: 0.9, l2: 1e-3, early_stop, ..sgd(0.05, 16, 5) };
            let model = small_model();
            for kernel in Kernel::detect() {
                let task = TrainTask { test_every_trial: true, kernel, ..task(&model, &training) };
                assert_eq!(assert_interruptions_change_nothing(&task, &data).len(), 5);
            }
        }
    }
}

/// Trains in segments that end at `rungs`, each from the checkpoint of the one before.
fn run_in_segments(task: &TrainTask<'_>, data: &Dataset, rungs: &[u32]) -> (Trained, Vec<EpochReport>) {
    let (mut from, mut reports) = (None, Vec::new());
    for &rung in rungs {
        let mut watcher = Watcher::default();
        let paused = train_until(task, data, from.take(), rung, &mut watcher).unwrap();
        reports.append(&mut watcher.reports);
        let TrainingEnd::Paused(_) = paused.training else { return (paused, reports) };
        assert!(paused.weights.is_none() && reports.last().unwrap().epoch == rung);
        from = Some(read(&paused.checkpoint.unwrap().to_bytes(), task, data).unwrap());
    }
    let mut watcher = Watcher::default();
    let trained = train(task, data, from, &mut watcher).unwrap();
    reports.append(&mut watcher.reports);
    (trained, reports)
}

#[test]
fn a_training_in_segments_ends_in_the_bits_of_one_in_one_go() {
    let data = circle([60, 100, 100]);
    let model = small_model();
    for early_stop in [None, Some(EarlyStop { patience: 4, min_delta: 0.01 })] {
        let training = Training { optimizer: ADAM, early_stop, ..sgd(0.05, 10, 30) };
        let watched = Watched { value: WatchedValue::Measure(0), direction: Direction::Maximize };
        let task = TrainTask { watched, measures: &[Measure::Auc, Measure::F1], ..task(&model, &training) };
        let (straight, keeper) = run(&task, &data, None, None);
        // Also at the last epoch, beyond it, and one rung twice.
        for rungs in [&[1, 3, 9][..], &[2, 2], &[30], &[29, 31]] {
            let (trained, reports) = run_in_segments(&task, &data, rungs);
            assert_eq!(bits(&trained), bits(&straight), "{rungs:?}");
            assert_eq!(reports, keeper.watcher.reports, "{rungs:?}");
            assert!(trained.checkpoint.is_none());
        }
    }
}

#[test]
fn a_stop_at_the_end_of_a_segment_changes_nothing() {
    let (data, model) = (circle([60, 100, 100]), small_model());
    let training = sgd(0.05, 10, 3);
    let mut stopping = Watcher { epochs_max: Some(2), ..Watcher::default() };
    let paused = train_until(&task(&model, &training), &data, None, 2, &mut stopping).unwrap();
    assert!(matches!(paused.training, TrainingEnd::Paused(report) if report.epoch == 2), "{:?}", paused.training);
}

#[test]
fn convolutions_go_on_in_the_same_bits() {
    let pixels = |part: Part, row: usize| (0..36).map(|i| wave(row * 36 + i + 9999 * part as usize)).collect();
    let class = |_, row: usize| vec![(row as u32 % 3).to_ne_bytes()];
    let data = values(&[6, 6, 1], TargetKind::Classes { count: 3 }, [50, 20, 0], pixels, class);
    let model = classifier(vec![
        conv(4, 3, 1, SAME, Activation::Linear),
        batch_norm(Activation::Relu),
        Layer::Flatten,
        Layer::Dropout { rate: 0.3 },
        dense(3, Activation::Linear),
    ]);
    let training = Training { optimizer: ADAM, ..sgd(0.01, 8, 5) };
    for kernel in Kernel::detect() {
        assert_interruptions_change_nothing(&TrainTask { kernel, ..task(&model, &training) }, &data);
    }
}

#[test]
fn what_an_earlier_batch_left_beside_the_values_is_no_part_of_a_checkpoint() {
    let feature = |part: Part, row: usize| (0..20).map(|i| 5.0 + wave(row * 20 + i + 9999 * part as usize)).collect();
    let class = |_, row: usize| vec![(row as u32 % 3).to_ne_bytes()];
    let data = values(&[20], TargetKind::Classes { count: 3 }, [50, 300, 0], feature, class);
    // A width that is no multiple of any block, normalised as it comes, with an epsilon that alone would be infinite.
    let norm = Layer::BatchNorm { momentum: 0.9, epsilon: 1e-80, activation: Activation::Linear };
    let model = classifier(vec![norm, dense(3, Activation::Linear)]);
    let training = sgd(0.01, 16, 4);
    for kernel in Kernel::detect() {
        let taken = assert_interruptions_change_nothing(&TrainTask { kernel, ..task(&model, &training) }, &data);
        assert_eq!(taken.len(), 4, "{kernel}");
    }
}

#[test]
fn early_stop_goes_on_with_its_best_epoch_and_stops_at_the_same_one() {
    let data = circle([60, 100, 100]);
    let (model, stop) = (small_model(), EarlyStop { patience: 4, min_delta: 0.01 });
    let training = Training { early_stop: Some(stop), ..sgd(0.1, 10, 200) };
    for select in [Select::Validation, Select::Test] {
        let task = TrainTask { select, kernel: Kernel::GEMM, ..task(&model, &training) };
        let checkpoints = assert_interruptions_change_nothing(&task, &data);
        assert!((6..200).contains(&checkpoints.len()), "stopped after {} epochs", checkpoints.len());
        let sizes: Vec<_> = checkpoints.iter().map(Vec::len).collect();
        let values = 16 * 2 + 16 + 4 * 16 + 16 * 2 + 2;
        assert!(sizes.contains(&(sizes[0] + 4 * values)), "no checkpoint has an older best epoch: {sizes:?}");
    }
}

#[test]
fn a_divergence_comes_in_the_same_epoch() {
    let data = circle([200, 50, 0]);
    let layers = vec![dense(8, Activation::Linear), dense(8, Activation::Linear), dense(2, Activation::Linear)];
    let (model, training) = (classifier(layers), sgd(2.0, 100, 50));
    let task = task(&model, &training);
    let checkpoints = assert_interruptions_change_nothing(&task, &data);
    let (trained, _) = run(&task, &data, None, None);
    assert!(!checkpoints.is_empty());
    assert!(matches!(trained.training, TrainingEnd::Diverged { .. }), "{:?}", trained.training);
}

#[test]
fn a_second_moment_may_be_infinite_and_stays_so() {
    let feature = |_, row| vec![1e12 * wave(row)];
    let target = |_, row| vec![wave(row).to_ne_bytes()];
    let data = values(&[1], TargetKind::Values { width: 1 }, [20, 0, 0], feature, target);
    let model = Model { loss: Loss::MeanSquaredError, layers: vec![dense(1, Activation::Linear)] };
    let training = Training { optimizer: ADAM, ..sgd(0.01, 5, 5) };
    let task = task(&model, &training);
    let checkpoints = assert_interruptions_change_nothing(&task, &data);
    let [_, second] = read(&checkpoints[0], &task, &data).unwrap().optimizer.moments().map(<[f32]>::to_vec);
    assert_eq!(second[0], f32::INFINITY);
}

#[test]
fn a_checkpoint_of_the_last_epoch_is_a_complete_training_at_once() {
    let (data, model, training) = (circle([50, 20, 0]), small_model(), sgd(0.05, 10, 3));
    let (straight, keeper) = run(&task(&model, &training), &data, None, None);
    let (resumed, after) = run(&task(&model, &training), &data, Some(&keeper.taken[2]), Some(0));
    assert_eq!(bits(&resumed), bits(&straight));
    assert!(after.watcher.phases.is_empty() && after.taken.is_empty());
}

#[test]
fn a_checkpoint_of_another_configuration_is_refused() {
    let (data, model, training) = (circle([50, 20, 20]), small_model(), sgd(0.05, 10, 3));
    let own = TrainTask { kernel: Kernel::GEMM, ..task(&model, &training) };
    let (_, keeper) = run(&own, &data, None, Some(1));
    let mut other_model = small_model();
    other_model.layers[2] = Layer::Dropout { rate: 0.2 };
    let other_trainings = [
        Training { learning_rate: 0.05_f64.next_up(), ..training.clone() },
        Training { l2: f64::MIN_POSITIVE, ..training.clone() },
        Training { epochs: 4, ..training.clone() },
        Training { optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: true }, ..training.clone() },
        Training { early_stop: Some(EarlyStop { patience: 9, min_delta: 0.0 }), ..training.clone() },
    ];
    let mut others = vec![
        TrainTask { model: &other_model, ..own },
        TrainTask { study_seed: 7, ..own },
        TrainTask { trial_seed: 7, ..own },
        TrainTask { repeat: 1, ..own },
        TrainTask { select: Select::Test, ..own },
        TrainTask { test_every_trial: true, ..own },
        TrainTask { kernel: Kernel::PORTABLE, ..own },
    ];
    others.extend(other_trainings.iter().map(|training| TrainTask { training, ..own }));
    let refusal = "the checkpoint is of another model, training, seed, kernel or shape of data";
    for other in others {
        let error = read(&keeper.taken[0], &other, &data).unwrap_err();
        assert_eq!(error.to_string(), refusal, "{other:?}");
        let checkpoint = read(&keeper.taken[0], &own, &data).unwrap();
        let error = train(&other, &data, Some(checkpoint), &mut Watcher::default()).unwrap_err();
        assert_eq!(error, TrainError::ForeignCheckpoint, "{other:?}");
    }
    let error = read(&keeper.taken[0], &own, &circle([50, 20, 21])).unwrap_err();
    assert_eq!(error.to_string(), refusal);
}

/// A training whose newest epoch is not its best one, with scores of both parts: the longest of checkpoints.
struct Longest {
    model: Model,
    training: Training,
    data: Dataset,
    bytes: Vec<u8>,
}

/// As many measures as there may be.
const ALL: [Measure; MEASURES_MAX] = [Measure::F1; MEASURES_MAX];

static LONGEST: LazyLock<Longest> = LazyLock::new(|| {
    let (data, model) = (circle([40, 20, 20]), small_model());
    let early_stop = Some(EarlyStop { patience: 100, min_delta: 0.0 });
    let training = Training { optimizer: ADAM, early_stop, ..sgd(0.1, 10, 30) };
    let task = TrainTask { test_every_trial: true, measures: &ALL, kernel: Kernel::GEMM, ..task(&model, &training) };
    let (_, keeper) = run(&task, &data, None, None);
    let bytes = keeper.taken.into_iter().max_by_key(Vec::len).unwrap();
    Longest { model, training, data, bytes }
});

impl Longest {
    fn task(&self) -> TrainTask<'_> {
        TrainTask {
            test_every_trial: true,
            measures: &ALL,
            kernel: Kernel::GEMM,
            ..task(&self.model, &self.training)
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        read(bytes, &self.task(), &self.data)
    }

    /// What is said about the checkpoint with `patch` at `place`.
    fn refusal(&self, place: usize, patch: &[u8]) -> String {
        let mut bytes = self.bytes.clone();
        bytes[place..][..patch.len()].copy_from_slice(patch);
        self.read(&bytes).unwrap_err().to_string()
    }
}

#[test]
fn the_longest_checkpoint_is_as_long_as_the_plan_says() {
    let longest = &*LONGEST;
    let plan = plan(&longest.model, &[2], TargetKind::Classes { count: 2 }).unwrap();
    let blueprint = Blueprint::new(&longest.model, &plan, longest.task().kernel.blocking());
    assert_eq!(longest.bytes.len() as u64, blueprint.checkpoint_bytes(&longest.training));
    let trained = u64::from(2 * 16 + 16 + 2 * 16 + 16 * 2 + 2_u32);
    assert_eq!(longest.bytes.len() as u64, FRONT_BYTES as u64 + 4 * (4 * trained + 2 * 32));
}

#[test]
fn a_checkpoint_cut_or_lengthened_anywhere_is_refused() {
    let longest = &*LONGEST;
    for length in 0..longest.bytes.len() {
        assert!(longest.read(&longest.bytes[..length]).is_err(), "cut to {length} bytes");
    }
    for surplus in [1, 3, 4, 8, 4 * 98] {
        let bytes = [&longest.bytes[..], &vec![0; surplus]].concat();
        assert!(matches!(longest.read(&bytes), Err(CheckpointError::Length { .. })), "{surplus} bytes more");
    }
}

#[test]
fn forged_headers_are_refused_with_what_cannot_be() {
    // Header: identity 32, epoch 4, steps 8, course 1 + 8 + 8 + 4, then the report that counts.
    let (epoch, steps, course, report) = (12 + 32, 12 + 36, 12 + 44, 12 + 65);
    let nan = f64::NAN.to_le_bytes();
    for (place, patch, expected) in [
        (0, &b"BSDATA"[..], "not a checkpoint in this version's layout"),
        (7, &[1], "not a checkpoint in this version's layout"),
        (8, &[0xff; 4], "the length of its header cannot be"),
        (8, &263_u32.to_le_bytes(), "the checkpoint's header cannot be decoded"),
        (8, &265_u32.to_le_bytes(), "the checkpoint's header 1 bytes follow the value"),
        (12, &[0; 32], "the checkpoint is of another model"),
        (epoch, &[0; 4], "its epoch cannot be"),
        (epoch, &[31], "its epoch cannot be"),
        (steps, &[1], "its number of steps cannot be"),
        (course + 1, &nan, "the course of early stop cannot be"),
        (course + 9, &nan, "the course of early stop cannot be"),
        (course + 9, &[0; 8], "the course of early stop cannot be"),
        (course + 17, &[0xff; 4], "the course of early stop cannot be"),
        (report, &[2], "the checkpoint's header cannot be decoded"),
        (report + 1, &[0; 4], "the epoch that counts cannot be"),
        (report + 5, &nan, "the epoch that counts cannot be"),
        (report + 13, &nan, "the epoch that counts cannot be"),
        (report + 22, &nan, "the epoch that counts cannot be"),
        (report + 30, &nan, "the epoch that counts cannot be"),
    ] {
        let refusal = LONGEST.refusal(place, patch);
        assert!(refusal.contains(expected), "{patch:?} at {place}: {refusal}");
    }
}

#[test]
fn numbers_that_a_divergence_would_leave_are_refused_wherever_they_stand() {
    let longest = &*LONGEST;
    let values = (longest.bytes.len() - FRONT_BYTES) / 4;
    for value in 0..values {
        let refusal = longest.refusal(FRONT_BYTES + 4 * value, &f32::NAN.to_le_bytes());
        assert!(refusal.contains("cannot be"), "value {value}: {refusal}");
    }
    for infinity in [f32::INFINITY, f32::NEG_INFINITY] {
        assert!(longest.refusal(FRONT_BYTES, &infinity.to_le_bytes()).contains("a weight that is not finite"));
    }
}

#[test]
fn a_bit_flipped_in_front_of_the_arrays_is_refused_or_read_as_it_stands() {
    let longest = &*LONGEST;
    let mut refused = 0;
    for bit in 0..8 * FRONT_BYTES {
        let mut bytes = longest.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match longest.read(&bytes) {
            Ok(checkpoint) => assert_eq!(checkpoint.to_bytes(), bytes, "bit {bit}"),
            Err(_) => refused += 1,
        }
    }
    // Only values that the trainer hands through can change unnoticed: losses, measures, errors of a part that nobody
    // watches, and the error that early stop measures a fall against.
    assert!(8 * FRONT_BYTES - refused <= (5 + 2 * MEASURES_MAX) * 64, "{refused} refused");
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300), starts_well: bool) {
        if starts_well {
            let front = bytes.len().min(12);
            bytes[..front].copy_from_slice(&LONGEST.bytes[..front]);
        }
        prop_assert!(LONGEST.read(&bytes).is_err());
    }

    #[test]
    fn several_bytes_changed_anywhere_never_panic_and_what_is_read_can_be_trained_on(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        in_front: bool,
    ) {
        let longest = &*LONGEST;
        let mut bytes = longest.bytes.clone();
        let end = if in_front { FRONT_BYTES } else { bytes.len() };
        for (place, value) in changes {
            bytes[place.index(end)] = value;
        }
        if let Ok(checkpoint) = longest.read(&bytes) {
            prop_assert_eq!(checkpoint.to_bytes(), bytes);
            train(&longest.task(), &longest.data, Some(checkpoint), &mut Watcher::default()).unwrap();
        }
    }
}
