//! Losses: how wrong a batch's outputs are, and the gradient of that.

use super::functions::exp;
use super::kernel::Kernel;
use super::simd::Work;

/// What the rows of a batch should be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// One class a row.
    Classes(&'a [u32]),
    /// As many numbers a row as the network has outputs.
    Values(&'a [f32]),
}

/// Sums over rows, from which means are taken. In f64, row after row, so that the order is fixed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Sum of the rows' losses.
    pub(super) loss: f64,
    /// Rows whose largest output is not the wanted class; 0 for squared errors.
    pub(super) wrong: u64,
    /// Rows.
    pub(super) rows: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.wrong += other.wrong;
        self.rows += other.rows;
    }

    pub(super) fn mean_loss(&self) -> f64 {
        self.loss / self.rows as f64
    }

    pub(super) fn fraction_wrong(&self) -> f64 {
        self.wrong as f64 / self.rows as f64
    }
}

/// Compares a batch's outputs with what they should be.
///
/// `outputs` is `(rows, width)`, without a softmax. The derivative of the batch's mean loss by each output is written to
/// `gradient`, of the same shape.
pub(super) fn compare(
    kernel: Kernel,
    outputs: &[f32],
    width: usize,
    wanted: Wanted<'_>,
    gradient: &mut [f32],
) -> Tally {
    match wanted {
        Wanted::Classes(classes) => cross_entropy(kernel, outputs, width, classes, gradient),
        Wanted::Values(values) => squared_error(outputs, width, values, gradient),
    }
}

/// The largest output of each row is subtracted first, so that no finite input overflows.
fn cross_entropy(kernel: Kernel, outputs: &[f32], width: usize, classes: &[u32], gradient: &mut [f32]) -> Tally {
    debug_assert_eq!(outputs.len(), width * classes.len());
    let share = 1.0 / classes.len() as f32;
    let mut tally = Tally { rows: classes.len() as u64, ..Tally::default() };
    for (outputs, gradient) in outputs.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
        let largest = maximum(outputs);
        gradient.iter_mut().zip(outputs).for_each(|(slot, output)| *slot = output - largest);
    }
    let gradient = &mut gradient[..outputs.len()];
    kernel.vectorize(Exponentials(&mut *gradient));
    let rows = outputs.chunks_exact(width).zip(gradient.chunks_exact_mut(width));
    for ((outputs, gradient), &class) in rows.zip(classes) {
        let class = class as usize;
        let largest = maximum(outputs);
        tally.wrong += u64::from(first_at_least(outputs, largest) != class);
        let sum = gradient.iter().sum();
        tally.loss += row_loss(sum, outputs[class] - largest);
        for slot in gradient.iter_mut() {
            *slot *= share / sum;
        }
        gradient[class] -= share;
    }
    tally
}

/// `e^x` of each value, to be compiled for wide registers.
struct Exponentials<'a>(&'a mut [f32]);

impl Work for Exponentials<'_> {
    #[inline(always)]
    fn run(self) {
        for value in self.0 {
            *value = exp(*value);
        }
    }
}

fn row_loss(sum: f32, margin: f32) -> f64 {
    libm::log(f64::from(sum)) - f64::from(margin)
}

/// The largest value; NaN if the first one is, since nothing is larger.
pub(super) fn maximum(values: &[f32]) -> f32 {
    values.iter().fold(values[0], |largest, &value| if value > largest { value } else { largest })
}

/// The class that a row's outputs say: the first of the largest.
pub(super) fn predicted(outputs: &[f32]) -> usize {
    first_at_least(outputs, maximum(outputs))
}

/// The place of the first of these values that reaches `wanted`, or 0 if none does. It looks at all of them, from the
/// last one on: where to stop is what no processor guesses.
fn first_at_least(values: &[f32], wanted: f32) -> usize {
    let mut place = 0;
    for (index, value) in values.iter().enumerate().rev() {
        place = if *value >= wanted { index } else { place };
    }
    place
}

/// A row's loss is the mean over its outputs.
fn squared_error(outputs: &[f32], width: usize, wanted: &[f32], gradient: &mut [f32]) -> Tally {
    debug_assert_eq!(outputs.len(), wanted.len());
    let share = 2.0 / outputs.len() as f32;
    for ((slot, output), wanted) in gradient.iter_mut().zip(outputs).zip(wanted) {
        *slot = share * (output - wanted);
    }
    let differences = outputs.iter().zip(wanted).map(|(output, wanted)| f64::from(output - wanted));
    let squares: f64 = differences.map(|difference| difference * difference).sum();
    Tally { loss: squares / width as f64, wrong: 0, rows: (outputs.len() / width) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(outputs: &[f32], width: usize, wanted: Wanted<'_>) -> (Tally, Vec<f32>) {
        let mut gradient = vec![f32::NAN; outputs.len()];
        (super::compare(Kernel::PORTABLE, outputs, width, wanted, &mut gradient), gradient)
    }

    #[test]
    fn equal_outputs_cost_the_logarithm_of_the_number_of_classes() {
        let (tally, gradient) = compare(&[5.0, 5.0, 5.0, 5.0], 4, Wanted::Classes(&[2]));
        assert!((tally.loss - 4.0_f64.ln()).abs() < 1e-7, "{}", tally.loss);
        assert_eq!(gradient, [0.25, 0.25, -0.75, 0.25]);
        assert_eq!(tally.wrong, 1, "of equal outputs the first is the answer");
    }

    #[test]
    fn huge_outputs_do_not_overflow() {
        let (tally, _) = compare(&[1e30, -1e30], 2, Wanted::Classes(&[0]));
        assert_eq!(tally, Tally { loss: 0.0, wrong: 0, rows: 1 });
    }

    #[test]
    fn a_loss_is_no_number_where_an_output_is_none() {
        for outputs in [[f32::NAN, 0.0, 1.0], [0.0, 1.0, f32::NAN], [f32::INFINITY, 0.0, 0.0]] {
            assert!(compare(&outputs, 3, Wanted::Classes(&[1])).0.loss.is_nan(), "{outputs:?}");
        }
    }

    #[test]
    fn a_squared_error_is_the_mean_over_rows_and_outputs() {
        // Differences 1, -1, 3, 1: squares 1 + 1 + 9 + 1 = 12, over 4 values.
        let outputs = [1.0, 2.0, 3.0, 4.0];
        let (tally, gradient) = compare(&outputs, 2, Wanted::Values(&[0.0, 3.0, 0.0, 3.0]));
        assert!((tally.mean_loss() - 3.0).abs() < 1e-12);
        assert_eq!(gradient, [0.5, -0.5, 1.5, 0.5]);
    }
}
