//! What the best answer gets that is the same for every row: what every model has to beat.

use broadsweep_common::dataset::{Dataset, Part, Targets};
use broadsweep_common::measure::Measure;

use super::Meter;
use crate::loss::{Tally, Wanted};
use crate::report::Score;

/// The score over `part` of the classes' frequencies among the training rows, so that the most frequent class is
/// predicted; or of the training rows' mean. A class that no training row has costs infinity.
pub(crate) fn guess(measures: &[Measure], data: &Dataset, part: Part) -> Score {
    let mut meter = Meter::new(measures, data, &[part]);
    meter.begin(part);
    let mut tally = Tally::default();
    match (data.targets(Part::Train), data.targets(part)) {
        (Targets::Classes(trained), Targets::Classes(classes)) => {
            let logarithms = log_frequencies(trained, data.header().targets.outputs());
            let outputs: Vec<f32> = logarithms.iter().map(|logarithm| *logarithm as f32).collect();
            let predicted = crate::loss::predicted(&outputs);
            for class in classes {
                meter.see(&outputs, outputs.len(), Wanted::Classes(&[*class]));
                let (loss, wrong) = (-logarithms[*class as usize], u64::from(*class as usize != predicted));
                tally.add(Tally { loss, wrong, rows: 1 });
            }
        }
        (Targets::Values(trained), Targets::Values(values)) => {
            let mean = |column: ndarray::ArrayView1<'_, f32>| {
                column.iter().map(|value| f64::from(*value)).sum::<f64>() / column.len() as f64
            };
            let means: Vec<f64> = trained.columns().into_iter().map(mean).collect();
            let outputs: Vec<f32> = means.iter().map(|mean| *mean as f32).collect();
            for row in values.rows() {
                let wanted: Vec<f32> = row.iter().copied().collect();
                meter.see(&outputs, outputs.len(), Wanted::Values(&wanted));
                let squares = means.iter().zip(&wanted).map(|(mean, wanted)| mean - f64::from(*wanted));
                let loss = squares.map(|distance| distance * distance).sum::<f64>() / means.len() as f64;
                tally.add(Tally { loss, wrong: 0, rows: 1 });
            }
        }
        (Targets::Classes(_), Targets::Values(_)) | (Targets::Values(_), Targets::Classes(_)) => {}
    }
    meter.score(&tally)
}

/// The logarithm of each class's share of the rows.
fn log_frequencies(classes: &[u32], count: usize) -> Vec<f64> {
    let mut rows = vec![0_u64; count];
    for class in classes {
        rows[*class as usize] += 1;
    }
    rows.into_iter().map(|rows| libm::log(rows as f64 / classes.len() as f64)).collect()
}
