//! Rows, predictions and hits of each class.

use crate::loss::predicted;

/// Counts of one part, each `(classes,)`.
pub(super) struct Hits {
    rows: Vec<u64>,
    predictions: Vec<u64>,
    right: Vec<u64>,
}

impl Hits {
    pub(super) fn new(classes: usize) -> Self {
        let zeros = || vec![0; classes];
        Self { rows: zeros(), predictions: zeros(), right: zeros() }
    }

    pub(super) fn begin(&mut self) {
        for counts in [&mut self.rows, &mut self.predictions, &mut self.right] {
            counts.fill(0);
        }
    }

    pub(super) fn see(&mut self, outputs: &[f32], class: u32) {
        let (class, predicted) = (class as usize, predicted(outputs));
        self.rows[class] += 1;
        self.predictions[predicted] += 1;
        self.right[class] += u64::from(class == predicted);
    }

    /// 1 less the mean recall of the classes that occur.
    pub(super) fn balanced_error(&self) -> f64 {
        let occurring = self.rows.iter().zip(&self.right).filter(|(rows, _)| **rows > 0);
        1.0 - mean(occurring.map(|(rows, hits)| *hits as f64 / *rows as f64))
    }

    /// The mean F1 of the classes that occur or are predicted.
    pub(super) fn mean_f1(&self) -> f64 {
        let seen = (0..self.rows.len()).filter(|class| self.rows[*class] + self.predictions[*class] > 0);
        mean(seen.filter_map(|class| self.f1(class)))
    }

    /// F1 of one class; 0 where it neither occurs nor is predicted. `None` if there is no such class.
    pub(super) fn f1(&self, class: usize) -> Option<f64> {
        let of_both = self.rows.get(class)? + self.predictions[class];
        Some(if of_both == 0 { 0.0 } else { 2.0 * self.right[class] as f64 / of_both as f64 })
    }
}

/// NaN of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u64);
    for value in values {
        sum += value;
        count += 1;
    }
    sum / count as f64
}
