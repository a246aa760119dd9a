//! The figures are scikit-learn 1.9's (pip install scikit-learn), from the outputs below:
//!
//! ```text
//! p = numpy.exp(outputs) / numpy.exp(outputs).sum(axis=1, keepdims=True); said = outputs.argmax(axis=1)
//! 1 - balanced_accuracy_score(y, said); f1_score(y, said, average="macro", zero_division=0)
//! f1_score(y, said, average=None, labels=[0, 1, 2, 3], zero_division=0)
//! roc_auc_score(y, p, multi_class="ovr"); numpy.mean([roc_auc_score(y == c, p[:, c]) for c in (0, 1, 2)])
//! log_loss(y, p, labels=[0, 1, 2, 3]); mean_squared_error(t, o) ** 0.5; mean_absolute_error(t, o); r2_score(t, o)
//! ```

use std::sync::Arc;

use broadsweep_common::dataset::{DatasetBuilder, Element, Scale, Scaling};
use broadsweep_common::details::{Answer, Details};

use super::*;
use crate::kernel::Kernel;
use crate::loss;

const ALL: [Measure; 4] = [Measure::BalancedError, Measure::F1, Measure::Auc, Measure::ClassF1 { class: 1 }];
/// Outputs of eight rows for four classes, with ties within rows and between them.
const OUTPUTS: [[f32; 4]; 8] = [
    [2.0, 1.0, 0.0, 0.0],
    [0.5, 0.5, 0.0, -1.0],
    [0.0, 3.0, 1.0, 0.0],
    [1.0, 0.0, 0.25, 0.0],
    [0.0, 1.0, 1.0, 0.0],
    [2.0, 0.0, 2.5, 0.0],
    [-1.0, 0.0, 0.0, 0.5],
    [2.0, 1.0, 0.0, 0.0],
];
/// The last class does not occur, but is predicted.
const WANTED: [u32; 8] = [0, 1, 1, 0, 2, 2, 2, 1];

fn data(targets: TargetKind, wanted: &[[u8; 4]], target_scaling: Vec<Scale>) -> Dataset {
    let width = if let TargetKind::Values { width } = targets { width as usize } else { 1 };
    let rows = [0, (wanted.len() / width) as u64, 0];
    let scaling = Scaling::Uniform { factor: 1.0, offset: 0.0 };
    let header =
        Header { shape: vec![1], element: Element::U8, targets, rows, scaling, files_bytes: 0, target_scaling };
    let mut builder = DatasetBuilder::new(header).unwrap();
    for (row, wanted) in wanted.chunks(width).enumerate() {
        builder.target_row(Part::Validation, row).copy_from_slice(wanted.as_flattened());
    }
    Dataset::open(Arc::new(builder.finish())).unwrap()
}

/// The score of these outputs, seen in batches of so many rows; after other rows, of which nothing may be left.
fn score(measures: &[Measure], data: &Dataset, outputs: &[f32], wanted: Wanted<'_>, batch: usize) -> Score {
    let width = data.header().targets.outputs();
    let mut meter = Meter::new(measures, data, &[Part::Validation]);
    for round in 0..2 {
        meter.begin(Part::Validation);
        let mut tally = Tally::default();
        for (number, outputs) in outputs.chunks(batch * width).enumerate() {
            let rows = number * batch..number * batch + outputs.len() / width;
            let wanted = match wanted {
                Wanted::Classes(classes) => Wanted::Classes(&classes[rows]),
                Wanted::Values(values) => Wanted::Values(&values[rows.start * width..rows.end * width]),
            };
            tally.add(loss::compare(Kernel::PORTABLE, outputs, width, wanted, &mut vec![0.0; outputs.len()]));
            meter.see(outputs, width, wanted);
            if round == 0 {
                break;
            }
        }
        if round == 1 {
            return meter.score(&tally);
        }
    }
    unreachable!("there are two rounds")
}

fn of_classes(measures: &[Measure], outputs: &[f32], wanted: &[u32], count: u32, batch: usize) -> Score {
    let bytes: Vec<_> = wanted.iter().map(|class| class.to_ne_bytes()).collect();
    let data = data(TargetKind::Classes { count }, &bytes, Vec::new());
    score(measures, &data, outputs, Wanted::Classes(wanted), batch)
}

fn of_values(outputs: &[f32], wanted: &[f32], width: u32, scaling: Vec<Scale>) -> Score {
    let bytes: Vec<_> = wanted.iter().map(|value| value.to_ne_bytes()).collect();
    let data = data(TargetKind::Values { width }, &bytes, scaling);
    score(&[Measure::R2, Measure::MeanAbsoluteError], &data, outputs, Wanted::Values(wanted), 3)
}

fn assert_close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{got} is not {want}");
    }
}

#[test]
fn classes_are_measured_as_by_scikit_learn() {
    let outputs = OUTPUTS.as_flattened();
    let score = of_classes(&ALL, outputs, &WANTED, 4, 3);
    assert_close(
        score.further.as_slice(),
        &[0.444_444_444_444_444_53, 0.391_666_666_666_666_66, 0.880_555_555_555_555_5, 0.4],
    );
    assert!((score.loss - 0.874_892_746_120_384_4).abs() < 1e-6, "{}", score.loss);
    assert_close(&[score.error], &[0.5]);
    let each = [0, 1, 2, 3].map(|class| Measure::ClassF1 { class });
    let score = of_classes(&each, outputs, &WANTED, 4, 8);
    assert_close(score.further.as_slice(), &[2.0 / 3.0, 0.4, 0.5, 0.0]);
    let all_occur = [0, 1, 1, 0, 2, 2, 3, 1];
    assert_close(
        of_classes(&[Measure::Auc], outputs, &all_occur, 4, 8).further.as_slice(),
        &[0.910_416_666_666_666_7],
    );
}

#[test]
fn the_size_of_batches_changes_no_bit() {
    let of = |batch| of_classes(&ALL, OUTPUTS.as_flattened(), &WANTED, 4, batch).further;
    for batch in 1..8 {
        assert_eq!(of(batch), of(8), "{batch} rows a batch");
    }
}

#[test]
fn of_two_classes_the_area_is_that_of_the_second_and_ties_count_half() {
    let outputs = [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 2.0, 2.0, 0.0, 3.0, 1.0, 0.5];
    let area = |wanted: [u32; 6]| of_classes(&[Measure::Auc], &outputs, &wanted, 2, 4).further.as_slice()[0];
    assert_close(&[area([1, 0, 1, 0, 1, 0])], &[0.944_444_444_444_444_4]);
    assert_close(&[area([0, 1, 0, 1, 0, 1])], &[1.0 - 0.944_444_444_444_444_4]);
    assert!(area([1; 6]).is_nan() && area([0; 6]).is_nan(), "one class alone has no curve");
    let equal = of_classes(&[Measure::Auc], &[1.0; 8], &[0, 1, 1, 1], 2, 4);
    assert_close(equal.further.as_slice(), &[0.5]);
}

#[test]
fn outputs_that_are_no_numbers_have_no_area_and_a_measure_of_numbers_is_none_of_classes() {
    let outputs = [f32::NAN, 0.0, 1.0, 0.0, 0.0, 1.0];
    let measures = [Measure::Auc, Measure::R2, Measure::ClassF1 { class: 2 }];
    let score = of_classes(&measures, &outputs, &[0, 1, 1], 2, 2);
    assert!(score.loss.is_nan() && score.further.as_slice().iter().all(|value| value.is_nan()), "{score:?}");
    let score = of_values(&[f32::NAN, 1.0], &[0.0, 1.0], 1, Vec::new());
    assert!(score.error.is_nan() && score.further.as_slice().iter().all(|value| value.is_nan()), "{score:?}");
}

#[test]
fn a_class_that_nobody_has_and_nobody_says_counts_for_nothing() {
    let outputs = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
    let measures = [Measure::BalancedError, Measure::F1, Measure::ClassF1 { class: 2 }];
    let score = of_classes(&measures, outputs.as_flattened(), &[0, 1], 3, 2);
    assert_close(score.further.as_slice(), &[0.0, 1.0, 0.0]);
}

#[test]
fn numbers_are_measured_as_by_scikit_learn_in_the_units_of_the_file() {
    let wanted = [1.0, 2.5, 2.0, -1.0, 4.0, 0.5, -3.0, 0.25];
    let outputs = [1.5, 2.0, 2.0, 0.0, 3.0, 1.5, -2.0, 0.25];
    let scaling = [(10.0, 2.0), (-5.0, 100.0)].map(|(center, spread)| Scale { center, spread });
    let score = of_values(&outputs, &wanted, 2, scaling.to_vec());
    assert_close(&[score.error], &[53.043_614_130_260_77]);
    assert_close(score.further.as_slice(), &[0.778_070_719_602_977_7, 31.875]);
    let own = of_values(&outputs, &wanted, 2, Vec::new());
    assert_close(&[own.error, own.loss], &[score.loss.sqrt(), score.loss]);
    assert_close(&own.further.as_slice()[..1], &score.further.as_slice()[..1]);
}

#[test]
fn an_output_whose_wanted_numbers_are_equal_counts_1_where_it_is_met_and_else_0() {
    let wanted = [1.0, 2.0, 2.0, 2.0, 4.0, 2.0];
    let r2 = |outputs: &[f32]| of_values(outputs, &wanted, 2, Vec::new()).further.as_slice()[0];
    assert_close(&[r2(&[1.0, 2.0, 2.0, 2.0, 5.0, 2.0])], &[0.892_857_142_857_142_8]);
    assert_close(&[r2(&[1.0, 2.0, 2.0, 2.0, 5.0, 3.0])], &[0.392_857_142_857_142_85]);
}

fn look(data: &Dataset, outputs: &[f32], wanted: Wanted<'_>, batch: usize) -> Details {
    let width = data.header().targets.outputs();
    let mut look = Look::new(data.header());
    for (number, outputs) in outputs.chunks(batch * width).enumerate() {
        let rows = number * batch..number * batch + outputs.len() / width;
        let wanted = match wanted {
            Wanted::Classes(classes) => Wanted::Classes(&classes[rows]),
            Wanted::Values(values) => Wanted::Values(&values[rows.start * width..rows.end * width]),
        };
        look.see(outputs, width, wanted);
    }
    look.details()
}

#[test]
fn a_look_counts_which_classes_are_taken_for_which_and_ranks_the_worst_rows() {
    let bytes: Vec<_> = WANTED.iter().map(|class| class.to_ne_bytes()).collect();
    let data = data(TargetKind::Classes { count: 4 }, &bytes, Vec::new());
    let of = |batch| look(&data, OUTPUTS.as_flattened(), Wanted::Classes(&WANTED), batch);
    let details = of(8);
    let told: Vec<_> = details.confusions.iter().map(|one| (one.wanted, one.predicted, one.rows)).collect();
    assert_eq!(told, [(0, 0, 2), (1, 0, 2), (1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 3, 1)]);
    let rows: Vec<_> = details.worst.iter().map(|row| row.row).collect();
    // numpy.argsort([-log_loss([y[i]], p[i:i + 1], labels=[0, 1, 2, 3]) for i in range(8)]) without those that are right
    assert_eq!(rows, [7, 6, 1, 4]);
    assert_eq!(details.worst[0].answer, Answer::Class { wanted: 1, predicted: 0 });
    let losses: f64 = details.worst.iter().map(|row| row.loss).sum();
    assert!((losses - 4.930_813_380_836_374_5).abs() < 1e-12, "{losses}");
    (1..8).for_each(|batch| assert_eq!(of(batch), details, "{batch} rows a batch"));
}

#[test]
fn the_worst_rows_of_numbers_are_told_in_the_units_of_the_file_and_of_equal_ones_the_first() {
    let (wanted, mut outputs) = ([0.0_f32; 30], [1.0_f32; 30]);
    outputs[7] = -2.0;
    outputs[29] = f32::NAN;
    let bytes: Vec<_> = wanted.iter().map(|value| value.to_ne_bytes()).collect();
    let data = data(TargetKind::Values { width: 1 }, &bytes, vec![Scale { center: 10.0, spread: 4.0 }]);
    let worst = look(&data, &outputs, Wanted::Values(&wanted), 4).worst;
    let rows: Vec<_> = worst.iter().map(|row| row.row).collect();
    assert_eq!((&rows[..5], rows.len()), (&[29, 7, 0, 1, 2][..], 20));
    assert_eq!(worst[1].answer, Answer::Values { wanted: vec![10.0], predicted: vec![2.0] });
    assert_close(&[worst[1].loss], &[4.0]);
}

/// Training rows of these classes or numbers, and validation rows.
fn two_parts(targets: TargetKind, rows: [&[[u8; 4]]; 2], target_scaling: Vec<Scale>) -> Dataset {
    let scaling = Scaling::Uniform { factor: 1.0, offset: 0.0 };
    let counts = [rows[0].len() as u64, rows[1].len() as u64, 0];
    let header = Header {
        shape: vec![1],
        element: Element::U8,
        targets,
        rows: counts,
        scaling,
        files_bytes: 0,
        target_scaling,
    };
    let mut builder = DatasetBuilder::new(header).unwrap();
    for (part, rows) in [Part::Train, Part::Validation].into_iter().zip(rows) {
        for (row, target) in rows.iter().enumerate() {
            builder.target_row(part, row).copy_from_slice(target);
        }
    }
    Dataset::open(Arc::new(builder.finish())).unwrap()
}

#[test]
fn a_constant_guess_of_classes_is_the_most_frequent_one_of_the_training_rows() {
    let bytes = |classes: &[u32]| classes.iter().map(|class| class.to_ne_bytes()).collect::<Vec<_>>();
    let (train, validation) = (bytes(&[1, 1, 1, 0, 0, 2]), bytes(&[0, 1, 1, 2]));
    let data = two_parts(TargetKind::Classes { count: 3 }, [&train, &validation], Vec::new());
    let score = guess(&ALL, &data, Part::Validation);
    // Log loss of 1/3, 1/2, 1/2 and 1/6; F1 of class 1 is 2 x 2 / (2 + 4).
    let loss = ((3.0_f64).ln() + 2.0 * (2.0_f64).ln() + (6.0_f64).ln()) / 4.0;
    assert_close(&[score.error, score.loss], &[0.5, loss]);
    assert_close(score.further.as_slice(), &[1.0 - 1.0 / 3.0, 2.0 / 9.0, 0.5, 2.0 / 3.0]);
    let unseen = two_parts(TargetKind::Classes { count: 3 }, [&bytes(&[1, 0]), &validation], Vec::new());
    let score = guess(&ALL, &unseen, Part::Validation);
    assert_eq!((score.loss, score.error), (f64::INFINITY, 0.75), "of equally many the first class");
}

#[test]
fn a_constant_guess_of_numbers_is_the_mean_of_the_training_rows() {
    let bytes = |values: &[f32]| values.iter().map(|value| value.to_ne_bytes()).collect::<Vec<_>>();
    let (train, validation) = (bytes(&[1.0, 3.0]), bytes(&[2.0, 4.0, 0.0, 6.0]));
    let scaling = vec![Scale { center: 5.0, spread: 10.0 }];
    let data = two_parts(TargetKind::Values { width: 1 }, [&train, &validation], scaling);
    let score = guess(&[Measure::R2, Measure::MeanAbsoluteError], &data, Part::Validation);
    // Distances 0, 2, 2, 4 from 2; from the rows' own mean, 3: 1, 1, 3, 3.
    assert_close(&[score.loss, score.error], &[6.0, 10.0 * 6.0_f64.sqrt()]);
    assert_close(score.further.as_slice(), &[1.0 - 24.0 / 20.0, 20.0]);
}
