//! A closer look at the answers to a part's rows: which classes are taken for which, and which rows are worst.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use broadsweep_common::dataset::{Header, Scale};
use broadsweep_common::details::{Answer, Details, ROW_VALUES_TOLD_MAX, WORST_ROWS_MAX, WorstRow};

use crate::loss::{Wanted, maximum, predicted};

/// What was seen of the rows so far.
pub(crate) struct Look {
    scaling: Vec<Scale>,
    confusions: BTreeMap<(u32, u32), u64>,
    worst: Vec<WorstRow>,
    rows: u64,
}

impl Look {
    pub(crate) fn new(data: &Header) -> Self {
        let outputs = data.targets.outputs().min(ROW_VALUES_TOLD_MAX);
        let scaling = (0..outputs).map(|output| data.target_scaling(output)).collect();
        Self { scaling, confusions: BTreeMap::new(), worst: Vec::with_capacity(WORST_ROWS_MAX + 1), rows: 0 }
    }

    /// Takes in the next batch's outputs, `(rows, width)`, and what they should be.
    pub(crate) fn see(&mut self, outputs: &[f32], width: usize, wanted: Wanted<'_>) {
        match wanted {
            Wanted::Classes(classes) => {
                for (outputs, class) in outputs.chunks_exact(width).zip(classes) {
                    let predicted = predicted(outputs) as u32;
                    *self.confusions.entry((*class, predicted)).or_default() += 1;
                    let row = self.next_row();
                    // One that is right, but not sure, is no mistake to look at.
                    if predicted != *class {
                        let answer = |_: &[Scale]| Answer::Class { wanted: *class, predicted };
                        self.rank(row, class_loss(outputs, *class), answer);
                    }
                }
            }
            Wanted::Values(values) => {
                for (outputs, wanted) in outputs.chunks_exact(width).zip(values.chunks_exact(width)) {
                    let row = self.next_row();
                    self.rank(row, values_loss(outputs, wanted), |scaling| Answer::Values {
                        wanted: in_file_units(wanted, scaling),
                        predicted: in_file_units(outputs, scaling),
                    });
                }
            }
        }
    }

    /// The number of the next row.
    fn next_row(&mut self) -> u64 {
        self.rows += 1;
        self.rows - 1
    }

    /// Keeps a row if it is among the worst; of equal ones the first.
    fn rank(&mut self, row: u64, loss: f64, answer: impl FnOnce(&[Scale]) -> Answer) {
        let place = self.worst.partition_point(|known| known.loss.total_cmp(&loss) != Ordering::Less);
        if place < WORST_ROWS_MAX {
            self.worst.insert(place, WorstRow { row, loss, answer: answer(&self.scaling) });
            self.worst.truncate(WORST_ROWS_MAX);
        }
    }

    pub(crate) fn details(self) -> Details {
        let confusions = Details::confusions_of(&self.confusions);
        Details { confusions, worst: self.worst, ..Details::default() }
    }
}

/// The logarithm of what the class's probability is below 1.
fn class_loss(outputs: &[f32], class: u32) -> f64 {
    let largest = f64::from(maximum(outputs));
    let sum: f64 = outputs.iter().map(|output| libm::exp(f64::from(*output) - largest)).sum();
    libm::log(sum) - (f64::from(outputs[class as usize]) - largest)
}

fn values_loss(outputs: &[f32], wanted: &[f32]) -> f64 {
    let distances = outputs.iter().zip(wanted).map(|(output, wanted)| f64::from(*output) - f64::from(*wanted));
    distances.map(|distance| distance * distance).sum::<f64>() / outputs.len() as f64
}

fn in_file_units(values: &[f32], scaling: &[Scale]) -> Vec<f64> {
    values.iter().zip(scaling).map(|(value, scaling)| scaling.undo(f64::from(*value))).collect()
}
