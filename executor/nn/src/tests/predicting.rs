//! Rows that are predicted piece by piece: as if they came at once, and as training measured them.

use std::ops::Range;
use std::sync::Arc;

use broadsweep_common::dataset::{Dataset, DatasetBuilder, Features, Header, Part, Scale, TargetKind, Targets};
use broadsweep_common::model::{Activation, Loss, Model};
use broadsweep_common::schema::Outputs;
use ndarray::ArrayView1;

use super::training::{completed, run};
use super::{circle, dense, sgd, small_model, task, values, wave};
use crate::report::Score;
use crate::{Kernel, Prediction, Predictor, TrainTask, Weights};

const PART: Part = Part::Validation;
/// Rows that are held out: two batches and a bit.
const ROWS: usize = 600;

/// Rows under another header: of each part of that as many as it says, from the row `first` on.
fn under(header: &Header, data: &Dataset, first: usize) -> Dataset {
    let mut builder = DatasetBuilder::new(header.clone()).unwrap();
    let bytes = |row: ArrayView1<'_, f32>| row.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>();
    for (part, rows) in Part::ALL.into_iter().zip(header.rows) {
        let Features::F32(features) = data.features(part) else { panic!("numbers became bytes") };
        for place in 0..rows as usize {
            builder.feature_row(part, place).copy_from_slice(&bytes(features.row(first + place)));
            let target = match data.targets(part) {
                Targets::Classes(classes) => classes[first + place].to_ne_bytes().to_vec(),
                Targets::Values(values) => bytes(values.row(first + place)),
            };
            builder.target_row(part, place).copy_from_slice(&target);
        }
    }
    Dataset::open(Arc::new(builder.finish())).unwrap()
}

/// Some of the held out rows, as a data set of its own.
fn cut(data: &Dataset, rows: Range<usize>) -> Dataset {
    under(&Header { rows: [0, rows.len() as u64, 0], ..data.header().clone() }, data, rows.start)
}

/// Predicts in pieces of so many batches: what is said of each row, and the score.
fn predicted(
    (model, weights): (&Model, &Weights),
    data: &Dataset,
    outputs: &Outputs,
    (kernel, batches): (Kernel, usize),
) -> (Vec<(usize, Vec<f64>)>, Score) {
    let mut predictor = Predictor::new((model, weights), data.header(), outputs, kernel).unwrap();
    let (rows, mut answers) = (batches * predictor.batch_rows(), Vec::new());
    assert!(predictor.score().is_none());
    for start in (0..ROWS).step_by(rows) {
        let piece = cut(data, start..ROWS.min(start + rows));
        predictor.predict((&piece, PART), |prediction| {
            answers.push(match prediction {
                Prediction::Class { class, probabilities } => (class, probabilities.to_vec()),
                Prediction::Values(values) => (0, values.to_vec()),
            });
        });
    }
    let score = predictor.score().unwrap();
    let mut unscored = Predictor::new((model, weights), data.header(), outputs, kernel).unwrap().without_score();
    let mut place = 0;
    unscored.predict((data, PART), |prediction| {
        let told = match prediction {
            Prediction::Class { class, probabilities } => (class, probabilities.to_vec()),
            Prediction::Values(values) => (0, values.to_vec()),
        };
        assert!(told == answers[place], "row {place} is answered otherwise where nothing is measured");
        place += 1;
    });
    assert_eq!((place, unscored.score()), (ROWS, None));
    (answers, score)
}

#[test]
fn classes_score_the_bits_that_training_reported_and_are_wrong_as_often_whatever_the_pieces() {
    let data = circle([500, ROWS as u64, 0]);
    let (model, training) = (small_model(), sgd(0.05, 64, 2));
    let outputs = Outputs::Classes { column: None, names: vec!["out".to_owned(), "in".to_owned()] };
    for kernel in Kernel::detect() {
        let (trained, _) = run(&TrainTask { kernel, ..task(&model, &training) }, &data);
        let validation = completed(&trained).validation.unwrap();
        let model = (&model, &trained.weights.unwrap());
        let (whole, score) = predicted(model, &data, &outputs, (kernel, 100));
        for (class, probabilities) in &whole {
            assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{probabilities:?}");
            assert!(probabilities.iter().all(|other| *other <= probabilities[*class]), "{probabilities:?}");
        }
        assert_eq!(score, validation, "{kernel}");
        assert!(predicted(model, &data, &outputs, (kernel, 1)) == (whole.clone(), score), "{kernel}");
        let Targets::Classes(classes) = data.targets(PART) else { panic!("classes became values") };
        let wrong =
            whole.iter().zip(classes).filter(|((predicted, _), class)| *predicted != **class as usize).count();
        assert_eq!((whole.len(), wrong as f64 / ROWS as f64), (ROWS, validation.error), "{kernel}");
    }
}

#[test]
fn numbers_score_the_bits_that_training_reported_whatever_the_pieces() {
    let target = |_, row| vec![wave(row).to_ne_bytes(), (0.5 * wave(row + 7)).to_ne_bytes()];
    let data = values(&[1], TargetKind::Values { width: 2 }, [200, ROWS as u64, 0], |_, row| vec![wave(row)], target);
    let target_scaling = [3.0, 0.7].map(|spread| Scale { center: 1.0, spread }).to_vec();
    let header = Header { target_scaling, ..data.header().clone() };
    let layers = vec![dense(8, Activation::Gelu), dense(2, Activation::Linear)];
    let model = Model { loss: Loss::MeanSquaredError, layers };
    let scales = vec![Scale { center: 1.0, spread: 3.0 }, Scale { center: 1.0, spread: 0.7 }];
    let outputs = Outputs::Values { names: vec!["a".to_owned(), "b".to_owned()], scales };
    let data = under(&header, &data, 0);
    for kernel in Kernel::detect() {
        let training = sgd(0.05, 20, 2);
        let (trained, _) = run(&TrainTask { kernel, ..task(&model, &training) }, &data);
        let validation = completed(&trained).validation.unwrap();
        let model = (&model, &trained.weights.unwrap());
        let (whole, score) = predicted(model, &data, &outputs, (kernel, 100));
        assert_eq!(score, validation, "{kernel}");
        assert!(predicted(model, &data, &outputs, (kernel, 1)) == (whole, score), "{kernel}");
    }
}
