//! Whole trainings: what is learnt, how trainings end, and that their bits depend on nothing else.

use crate::report::{EpochReport, Score, TrainingEnd};
use broadsweep_common::dataset::{Dataset, Part, TargetKind};
use broadsweep_common::measure::{Measure, Watched, WatchedValue};
use broadsweep_common::metrics::Direction;
use broadsweep_common::model::{Activation, Layer, Loss, Model};
use broadsweep_common::task::Select;
use broadsweep_common::training::{EarlyStop, Optimizer, Training};

use super::{SAME, Watcher, circle, classifier, conv, dense, sgd, small_model, task, values, wave, window};
use crate::batch::Batch;
use crate::blueprint::Blueprint;
use crate::evaluate::{self, Means};
use crate::kernel::Kernel;
use crate::measures::Meter;
use crate::network::Network;
use crate::plan::plan;
use crate::{Phase, TrainError, TrainTask, Trained, measure, train};

pub(super) fn run(task: &TrainTask<'_>, data: &Dataset) -> (Trained, Watcher) {
    let mut watcher = Watcher::default();
    (train(task, data, None, &mut watcher).unwrap(), watcher)
}

pub(super) fn completed(trained: &Trained) -> EpochReport {
    match trained.training {
        TrainingEnd::Complete(report) => report,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_problem_that_no_linear_model_solves_is_learnt_by_every_optimizer() {
    let data = circle([2000, 500, 500]);
    let adam = |weight_decay| Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay };
    for (optimizer, learning_rate) in [
        (Optimizer::Sgd { momentum: 0.0, nesterov: false }, 0.3),
        (Optimizer::Sgd { momentum: 0.9, nesterov: false }, 0.05),
        (Optimizer::Sgd { momentum: 0.9, nesterov: true }, 0.05),
        (adam(0.0), 0.01),
        (adam(0.01), 0.01),
    ] {
        let training = Training { optimizer, ..sgd(learning_rate, 32, 15) };
        let model = small_model();
        let (trained, watcher) = run(&task(&model, &training), &data);
        let error = completed(&trained).validation.unwrap().error;
        assert!(error < 0.06, "{optimizer:?}: {error}");
        let losses: Vec<_> = watcher.reports.iter().map(|report| report.training_loss).collect();
        assert!(losses[14] < 0.6 * losses[0], "{optimizer:?}: {losses:?}");
    }
}

#[test]
fn a_convolution_learns_to_tell_lines_apart_from_pixels() {
    let pixels = |part: Part, row: usize| {
        let place = (row / 2 + part as usize * 3) % 8;
        (0..64).map(|i| if [i % 8, i / 8][row % 2] == place { 1.0 } else { 0.3 * wave(row * 64 + i) }).collect()
    };
    let class = |_, row: usize| vec![(row as u32 % 2).to_ne_bytes()];
    let data = values(&[8, 8, 1], TargetKind::Classes { count: 2 }, [600, 200, 0], pixels, class);
    let model = classifier(vec![
        conv(6, 3, 1, SAME, Activation::Relu),
        Layer::MaxPool(window(2, 2, SAME)),
        Layer::Flatten,
        dense(2, Activation::Linear),
    ]);
    let (trained, _) = run(&task(&model, &sgd(0.02, 20, 6)), &data);
    let error = completed(&trained).validation.unwrap().error;
    assert!(error < 0.02, "{error}");
}

#[test]
fn numbers_are_predicted_with_squared_errors() {
    let target = |part: Part, row: usize| {
        let x = wave(row + 50_000 * part as usize);
        vec![(x * x).to_ne_bytes(), (0.5 * x).to_ne_bytes()]
    };
    let feature = |part: Part, row| vec![wave(row + 50_000 * part as usize)];
    let data = values(&[1], TargetKind::Values { width: 2 }, [1000, 200, 0], feature, target);
    let layers = vec![dense(16, Activation::Gelu), dense(2, Activation::Linear)];
    let model = Model { loss: Loss::MeanSquaredError, layers };
    let training = sgd(0.05, 20, 20);
    let measures = [Measure::R2, Measure::MeanAbsoluteError];
    let (trained, _) = run(&TrainTask { measures: &measures, ..task(&model, &training) }, &data);
    let Score { loss, error, further } = completed(&trained).validation.unwrap();
    assert!(further.as_slice()[0] > 0.95 && further.as_slice()[1] < error, "{further:?}");
    assert!(error < 0.05, "{error}");
    assert!((error - loss.sqrt()).abs() < 1e-6, "the loss is of differences in f32, the error of differences in f64");
}

#[test]
fn the_same_task_gives_the_same_bits() {
    let data = circle([333, 100, 100]);
    let (model, training) = (small_model(), Training { learning_rate_decay: 0.9, l2: 1e-3, ..sgd(0.05, 32, 3) });
    let task = task(&model, &training);
    let ((first, first_watcher), (second, second_watcher)) = (run(&task, &data), run(&task, &data));
    assert_eq!(first_watcher.reports, second_watcher.reports);
    let bytes = |trained: &Trained| trained.weights.as_ref().unwrap().to_safetensors().unwrap();
    assert_eq!(bytes(&first), bytes(&second));
    for other in
        [TrainTask { trial_seed: 3, ..task }, TrainTask { study_seed: 2, ..task }, TrainTask { repeat: 1, ..task }]
    {
        assert_ne!(bytes(&first), bytes(&run(&other, &data).0));
    }
}

#[test]
fn measured_weights_score_the_bits_that_training_reported() {
    let data = circle([500, 300, 270]);
    let (model, training) = (small_model(), sgd(0.05, 64, 2));
    for kernel in Kernel::detect() {
        let measures = [Measure::Auc, Measure::F1, Measure::BalancedError];
        let task = TrainTask { test_every_trial: true, kernel, measures: &measures, ..task(&model, &training) };
        let (trained, _) = run(&task, &data);
        let report = completed(&trained);
        let weights = trained.weights.unwrap();
        let measured = |part| measure(&model, &weights, &data, part, (kernel, &measures)).unwrap();
        assert_eq!(measured(Part::Validation), report.validation.unwrap(), "{kernel}");
        assert_eq!(measured(Part::Test), report.test.unwrap(), "{kernel}");
    }
}

#[test]
fn weights_are_not_measured_on_a_part_without_rows() {
    let data = circle([40, 5, 0]);
    let (model, training) = (small_model(), sgd(0.05, 8, 1));
    let weights = run(&task(&model, &training), &data).0.weights.unwrap();
    let error = measure(&model, &weights, &data, Part::Test, (Kernel::PORTABLE, &[])).unwrap_err();
    assert_eq!(error.to_string(), "the data has no test rows");
}

#[test]
fn every_row_is_scored_whatever_the_size_of_batches_leaves_over() {
    let data = circle([64, 19, 1]);
    let (model, training) = (small_model(), sgd(0.05, 64, 1));
    let kernel = Kernel::PORTABLE;
    let (trained, _) = run(&TrainTask { kernel, ..task(&model, &training) }, &data);
    let plan = plan(&model, &data.header().shape, data.header().targets).unwrap();
    let blueprint = Blueprint::new(&model, &plan, kernel.blocking());
    let mut parameters = trained.weights.unwrap().parameters(&plan, &blueprint).unwrap();
    let mut tally = |rows| {
        let mut network = Network::new(&model, &plan, &blueprint, kernel, rows);
        let mut batch = Batch::new(data.header().targets, kernel, blueprint.input, rows);
        let mut meter = Meter::new(&[], &data, &[Part::Validation]);
        let means = Means { batch: &mut batch, rows, witness: &mut meter };
        evaluate::score(&mut network, &mut parameters, &data, Part::Validation, means, || true).unwrap()
    };
    let one_by_one = tally(1);
    assert_eq!(one_by_one.rows, 19);
    for rows in [2, 4, 5, 18, 19, 20, 64] {
        let batched = tally(rows);
        assert_eq!((batched.rows, batched.wrong), (19, one_by_one.wrong), "{rows} rows a batch");
        assert!((batched.loss - one_by_one.loss).abs() < 1e-4, "{rows} rows a batch: {batched:?}");
    }
}

#[test]
fn an_absurd_learning_rate_is_a_divergence_without_weights() {
    let data = circle([200, 50, 0]);
    let layers = vec![dense(8, Activation::Linear), dense(8, Activation::Linear), dense(2, Activation::Linear)];
    let (model, training) = (classifier(layers), sgd(1e6, 16, 50));
    let (trained, watcher) = run(&task(&model, &training), &data);
    let TrainingEnd::Diverged { epoch } = trained.training else { panic!("{:?}", trained.training) };
    assert_eq!(watcher.reports.len() as u32, epoch - 1);
    assert!(trained.weights.is_none());
}

#[test]
fn a_validation_loss_that_is_not_finite_is_a_divergence() {
    let feature = |part: Part, row| vec![if part == Part::Validation { f32::INFINITY } else { wave(row) }];
    let class = |_, row: usize| vec![(row as u32 % 2).to_ne_bytes()];
    let data = values(&[1], TargetKind::Classes { count: 2 }, [20, 4, 0], feature, class);
    let model =
        classifier(vec![dense(4, Activation::Linear), dense(4, Activation::Linear), dense(2, Activation::Linear)]);
    let training = sgd(0.5, 5, 3);
    assert_eq!(run(&task(&model, &training), &data).0.training, TrainingEnd::Diverged { epoch: 1 });
}

#[test]
fn a_loss_that_is_not_finite_on_either_of_two_parts_that_count_is_a_divergence() {
    let class = |_, row: usize| vec![(row as u32 % 2).to_ne_bytes()];
    let (model, training) = (classifier(vec![dense(2, Activation::Linear)]), sgd(0.5, 5, 3));
    for infinite in [Part::Validation, Part::Test] {
        let feature = |part: Part, row| vec![if part == infinite { f32::INFINITY } else { wave(row) }];
        let data = values(&[1], TargetKind::Classes { count: 2 }, [20, 4, 4], feature, class);
        let task = TrainTask { select: Select::Test, ..task(&model, &training) };
        assert_eq!(run(&task, &data).0.training, TrainingEnd::Diverged { epoch: 1 }, "{infinite}");
    }
}

#[test]
fn a_last_step_into_infinity_is_a_divergence() {
    let class = |_, row: usize| vec![(row as u32 % 2).to_ne_bytes()];
    let data = values(&[1], TargetKind::Classes { count: 2 }, [4, 0, 0], |_, row| vec![1e37 * wave(row)], class);
    let (model, training) = (classifier(vec![dense(2, Activation::Linear)]), sgd(1e6, 4, 1));
    assert_eq!(run(&task(&model, &training), &data).0.training, TrainingEnd::Diverged { epoch: 1 });
}

#[test]
fn a_stop_between_batches_leaves_the_last_complete_epoch() {
    let data = circle([100, 0, 0]);
    let (model, training) = (small_model(), sgd(0.05, 10, 5));
    let task = task(&model, &training);
    let mut watcher = Watcher { batches_max: Some(10 + 4), ..Watcher::default() };
    let stopped = train(&task, &data, None, &mut watcher).unwrap();
    assert_eq!(stopped.training, TrainingEnd::Stopped(Some(watcher.reports[0])));
    let one_epoch = sgd(0.05, 10, 1);
    let (complete, _) = run(&TrainTask { training: &one_epoch, ..task }, &data);
    assert_eq!(stopped.weights, complete.weights);

    let mut at_once = Watcher { batches_max: Some(4), ..Watcher::default() };
    let stopped = train(&task, &data, None, &mut at_once).unwrap();
    assert_eq!(stopped.training, TrainingEnd::Stopped(None));
    assert!(stopped.weights.is_none());
}

#[test]
fn a_stop_at_an_epochs_end_counts_that_epoch_and_after_the_last_one_changes_nothing() {
    let data = circle([100, 20, 0]);
    let (model, training) = (small_model(), sgd(0.05, 10, 3));
    for (epochs_max, is_complete) in [(2, false), (3, true)] {
        let mut watcher = Watcher { epochs_max: Some(epochs_max), ..Watcher::default() };
        let trained = train(&task(&model, &training), &data, None, &mut watcher).unwrap();
        let last = watcher.reports[epochs_max - 1];
        let expected = if is_complete { TrainingEnd::Complete(last) } else { TrainingEnd::Stopped(Some(last)) };
        assert_eq!(trained.training, expected);
        assert!(trained.weights.is_some());
    }
}

#[test]
fn early_stop_ends_the_training_and_the_best_epoch_is_its_result() {
    let data = circle([60, 400, 400]);
    let stop = EarlyStop { patience: 3, min_delta: 0.0 };
    let training = Training { early_stop: Some(stop), ..sgd(0.1, 10, 200) };
    let model = small_model();
    for select in [Select::Validation, Select::Test] {
        let (trained, watcher) = run(&TrainTask { select, ..task(&model, &training) }, &data);
        let (part, score): (_, fn(&EpochReport) -> Score) = match select {
            Select::Validation => (Part::Validation, |report| report.validation.unwrap()),
            Select::Test => (Part::Test, |report| report.test.unwrap()),
        };
        let best = completed(&trained);
        let lowest = watcher.reports.iter().map(|report| score(report).error).fold(f64::INFINITY, f64::min);
        assert_eq!(score(&best).error.to_bits(), lowest.to_bits());
        assert_eq!(watcher.reports.len() as u32, best.epoch + 3, "three epochs in vain end it");
        let kernel = task(&model, &training).kernel;
        assert_eq!(measure(&model, &trained.weights.unwrap(), &data, part, (kernel, &[])).unwrap(), score(&best));
    }
}

#[test]
fn early_stop_watches_the_number_that_the_study_ranks_by() {
    let data = circle([60, 400, 0]);
    let training = Training { early_stop: Some(EarlyStop { patience: 3, min_delta: 0.0 }), ..sgd(0.1, 10, 200) };
    let (model, measures) = (small_model(), [Measure::F1, Measure::Auc]);
    for (value, direction) in [
        (WatchedValue::Measure(1), Direction::Maximize),
        (WatchedValue::Loss, Direction::Minimize),
        (WatchedValue::Measure(7), Direction::Maximize),
    ] {
        let watched = Watched { value, direction };
        let (trained, watcher) = run(&TrainTask { watched, measures: &measures, ..task(&model, &training) }, &data);
        let number = |report: &EpochReport| match value {
            WatchedValue::Loss => report.validation.unwrap().loss,
            _ => report.validation.unwrap().further.as_slice().get(1).copied().unwrap(),
        };
        let best = completed(&trained);
        assert_eq!(watcher.reports.len() as u32, best.epoch + 3, "three epochs in vain end it");
        if value == WatchedValue::Measure(7) {
            assert_eq!(best.epoch, 1, "a number that is not there never gets better");
        } else {
            let order = |one: &&EpochReport, other: &&EpochReport| direction.order(number(one), number(other));
            assert_eq!(number(watcher.reports.iter().min_by(order).unwrap()), number(&best));
        }
    }
}

#[test]
fn what_the_data_cannot_be_measured_by_is_refused() {
    let (model, training) = (small_model(), sgd(0.1, 10, 1));
    let refuse = |measures: &[Measure]| {
        let task = TrainTask { measures, ..task(&model, &training) };
        train(&task, &circle([5, 5, 5]), None, &mut Watcher::default()).unwrap_err()
    };
    assert_eq!(refuse(&[Measure::F1, Measure::R2]), TrainError::Measure(Measure::R2));
    assert_eq!(refuse(&[Measure::F1; 9]), TrainError::TooManyMeasures(9));
}

#[test]
fn a_report_holds_the_parts_that_the_study_looks_at() {
    let (model, training) = (small_model(), sgd(0.05, 10, 1));
    let base = task(&model, &training);
    for (rows, select, test_every_trial, expected) in [
        ([50, 20, 20], Select::Validation, false, (true, false)),
        ([50, 20, 20], Select::Validation, true, (true, true)),
        ([50, 0, 20], Select::Test, false, (false, true)),
        ([50, 0, 0], Select::Test, true, (false, false)),
    ] {
        let (trained, watcher) = run(&TrainTask { select, test_every_trial, ..base }, &circle(rows));
        let report = completed(&trained);
        assert_eq!((report.validation.is_some(), report.test.is_some()), expected);
        assert_eq!(watcher.phases, [Phase::Training, Phase::Evaluation]);
    }
}

#[test]
fn the_learning_rate_decays_from_epoch_to_epoch() {
    let training = Training { learning_rate_decay: 0.5, ..sgd(0.08, 10, 3) };
    let (_, watcher) = run(&task(&small_model(), &training), &circle([30, 0, 0]));
    let rates: Vec<_> = watcher.reports.iter().map(|report| report.learning_rate).collect();
    assert_eq!(rates, [0.08, 0.04, 0.02]);
}

#[test]
fn data_that_cannot_be_trained_on_is_refused_with_the_reason() {
    let model = small_model();
    let refuse = |training: &Training, rows| {
        train(&task(&model, training), &circle(rows), None, &mut Watcher::default()).unwrap_err()
    };
    assert_eq!(refuse(&sgd(0.1, 10, 1), [0, 5, 5]), TrainError::NoTrainingRows);
    let early_stop = Some(EarlyStop { patience: 1, min_delta: 0.0 });
    let error = refuse(&Training { early_stop, ..sgd(0.1, 10, 1) }, [5, 0, 5]);
    assert_eq!(error.to_string(), "early stop watches the validation rows, but the data has none");
}
