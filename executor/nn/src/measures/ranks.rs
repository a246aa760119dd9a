//! The probabilities of all rows, and the area under their ROC curves.

use crate::loss::maximum;

/// Probabilities and classes of the rows that were seen.
pub(super) struct Ranks {
    classes: usize,
    /// Of the second of two classes; of more, all of them: `(rows, columns)`.
    probabilities: Vec<f64>,
    wanted: Vec<u32>,
    /// Rows in the order of one column.
    order: Vec<u32>,
    seen: usize,
}

/// Of two classes, one probability tells both.
fn columns(classes: usize) -> usize {
    if classes == 2 { 1 } else { classes }
}

impl Ranks {
    pub(super) fn new(classes: usize, rows_max: usize) -> Self {
        Self {
            classes,
            probabilities: vec![0.0; rows_max * columns(classes)],
            wanted: vec![0; rows_max],
            order: vec![0; rows_max],
            seen: 0,
        }
    }

    pub(super) fn bytes(classes: u64, rows_max: u64) -> u64 {
        rows_max.saturating_mul(8 * columns(classes as usize) as u64 + 8)
    }

    pub(super) fn begin(&mut self) {
        self.seen = 0;
    }

    pub(super) fn see(&mut self, outputs: &[f32], class: u32) {
        let columns = columns(self.classes);
        let largest = f64::from(maximum(outputs));
        let power = |output: &f32| libm::exp(f64::from(*output) - largest);
        let sum: f64 = outputs.iter().map(power).sum();
        let told = &outputs[outputs.len() - columns..];
        let slots = &mut self.probabilities[self.seen * columns..][..columns];
        slots.iter_mut().zip(told).for_each(|(slot, output)| *slot = power(output) / sum);
        self.wanted[self.seen] = class;
        self.seen += 1;
    }

    /// Of two classes, the area of the second one; of more, the mean over those that occur, each against the rest.
    pub(super) fn area(&mut self) -> f64 {
        if self.classes == 2 {
            return self.area_of(0, 1);
        }
        let (mut sum, mut count) = (0.0, 0_u32);
        for class in 0..self.classes {
            if self.wanted[..self.seen].contains(&(class as u32)) {
                sum += self.area_of(class, class as u32);
                count += 1;
            }
        }
        sum / f64::from(count)
    }

    /// How often a row of `class` has a larger probability in `column` than a row of another class; equal ones count
    /// half (Mann and Whitney, 1947). NaN without rows of both kinds, or if a probability is NaN.
    fn area_of(&mut self, column: usize, class: u32) -> f64 {
        let (probabilities, columns) = (&self.probabilities, columns(self.classes));
        let of = |row: u32| probabilities[row as usize * columns + column];
        let order = &mut self.order[..self.seen];
        order.iter_mut().zip(0..).for_each(|(slot, row)| *slot = row);
        if order.iter().any(|row| of(*row).is_nan()) {
            return f64::NAN;
        }
        order.sort_unstable_by(|one, other| of(*one).total_cmp(&of(*other)));
        let (mut ranks_twice, mut positives, mut before) = (0_u128, 0_u128, 0_u128);
        for equal in order.chunk_by(|one, other| of(*one).total_cmp(&of(*other)).is_eq()) {
            let rows = equal.len() as u128;
            let hits = equal.iter().filter(|row| self.wanted[**row as usize] == class).count() as u128;
            // Their ranks are before + 1 to before + rows: each counts as the mean of these.
            ranks_twice += hits * (2 * before + rows + 1);
            positives += hits;
            before += rows;
        }
        let pairs = positives * (before - positives);
        (ranks_twice - positives * (positives + 1)) as f64 / (2 * pairs) as f64
    }
}
