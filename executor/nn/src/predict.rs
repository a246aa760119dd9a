//! What a network makes of rows: the probabilities of classes, or values in the units of the files.

use broadsweep_common::dataset::{Dataset, Header, Part};
use broadsweep_common::model::Model;
use broadsweep_common::schema::Outputs;

use super::evaluate::{MeasureError, Passage, Witness};
use super::kernel::Kernel;
use super::loss::{Tally, Wanted};
use super::measures::Meter;
use super::report::Score;
use super::weights::Weights;

/// What is predicted for one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Prediction<'a> {
    /// One of the classes.
    Class {
        /// The place of the largest output; of equal ones the first.
        class: usize,
        /// Of each class: the softmax of the outputs, in 64 bits.
        probabilities: &'a [f64],
    },
    /// One number for each output, in the units of the files.
    Values(&'a [f64]),
}

/// Predicts rows, piece by piece: the pieces may be more than memory holds.
///
/// The outputs are the same bits as when training measures these rows with this kernel. So is the score, if each piece
/// but the last has a multiple of [`Self::batch_rows`]: then the same rows are in one batch, and sums are taken in the
/// same order.
pub struct Predictor<'a> {
    passage: Passage,
    outputs: &'a Outputs,
    /// Where rows are measured.
    meter: Option<Meter>,
    total: Tally,
    answer: Vec<f64>,
}

impl<'a> Predictor<'a> {
    /// For pieces with this header, however many rows each of them has.
    ///
    /// # Errors
    /// [`MeasureError`], if model, weights and data do not fit.
    pub fn new(
        (model, weights): (&Model, &Weights),
        header: &Header,
        outputs: &'a Outputs,
        kernel: Kernel,
    ) -> Result<Self, MeasureError> {
        let passage = Passage::new(model, weights, header, kernel)?;
        let meter = Some(Meter::of_error(header));
        Ok(Self { passage, outputs, meter, total: Tally::default(), answer: Vec::new() })
    }

    /// The same without a score, for rows of which nobody knows what they should be: that takes less time.
    #[must_use]
    pub fn without_score(self) -> Self {
        Self { meter: None, ..self }
    }

    /// Rows of a batch.
    #[must_use]
    pub fn batch_rows(&self) -> usize {
        self.passage.rows
    }

    /// Predicts the rows of this part of a piece, in order: `take` gets each row's prediction.
    ///
    /// # Panics
    /// If the piece has another shape or other targets than the header.
    pub fn predict(&mut self, (piece, part): (&Dataset, Part), take: impl FnMut(Prediction<'_>)) {
        let Self { passage, outputs, meter, total, answer } = self;
        passage.take(piece, part, &mut Asked { meter, outputs, answer, take }, total);
    }

    /// The score over all rows so far, which means something where they have targets; nothing before the first one, nor
    /// [without one](Self::without_score).
    #[must_use]
    pub fn score(&mut self) -> Option<Score> {
        let meter = self.meter.as_mut().filter(|_| self.total.rows > 0)?;
        Some(meter.score(&self.total))
    }
}

/// Hands on what each row's outputs mean, and measures them.
struct Asked<'a, F> {
    meter: &'a mut Option<Meter>,
    outputs: &'a Outputs,
    answer: &'a mut Vec<f64>,
    take: F,
}

impl<F: FnMut(Prediction<'_>)> Witness for Asked<'_, F> {
    fn compares(&self) -> bool {
        self.meter.is_some()
    }

    fn begin(&mut self, part: Part) {
        if let Some(meter) = self.meter {
            meter.begin(part);
        }
    }

    fn see(&mut self, outputs: &[f32], width: usize, wanted: Wanted<'_>) {
        if let Some(meter) = self.meter {
            meter.see(outputs, width, wanted);
        }
        for row in outputs.chunks_exact(width) {
            (self.take)(prediction(row, self.outputs, self.answer));
        }
    }
}

/// What one row's outputs mean. `answer` is where the numbers are put.
fn prediction<'a>(row: &[f32], outputs: &Outputs, answer: &'a mut Vec<f64>) -> Prediction<'a> {
    answer.clear();
    match outputs {
        Outputs::Classes { .. } => {
            let class = first_largest(row);
            let largest = f64::from(row[class]);
            answer.extend(row.iter().map(|&output| libm::exp(f64::from(output) - largest)));
            let sum: f64 = answer.iter().sum();
            for probability in answer.iter_mut() {
                *probability /= sum;
            }
            Prediction::Class { class, probabilities: answer }
        }
        Outputs::Values { scales, .. } => {
            answer.extend(row.iter().zip(scales).map(|(&output, scale)| scale.undo(f64::from(output))));
            Prediction::Values(answer)
        }
    }
}

/// As the error counts it.
fn first_largest(row: &[f32]) -> usize {
    let mut place = 0;
    for (index, value) in row.iter().enumerate() {
        place = if *value > row[place] { index } else { place };
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use broadsweep_common::schema::Scale;

    fn classes(count: usize) -> Outputs {
        Outputs::Classes { column: None, names: (0..count).map(|class| class.to_string()).collect() }
    }

    #[test]
    fn probabilities_are_the_softmax_of_the_outputs_and_of_equal_ones_the_first_class_is_told() {
        let mut answer = Vec::new();
        let Prediction::Class { class, probabilities } =
            prediction(&[1000.0, 1000.0, -1000.0], &classes(3), &mut answer)
        else {
            panic!("classes became values")
        };
        assert_eq!((class, probabilities), (0, &[0.5, 0.5, 0.0][..]));
        // Outputs so near each other that their probabilities are equal.
        let Prediction::Class { class, .. } = prediction(&[0.0, 1e-30], &classes(2), &mut answer) else { panic!() };
        assert_eq!(class, 1);
    }

    #[test]
    fn values_are_told_in_the_units_of_the_files() {
        let scales = vec![Scale { center: 100.0, spread: 0.5 }, Scale::NONE];
        let outputs = Outputs::Values { names: vec!["a".to_owned(), "b".to_owned()], scales };
        assert_eq!(prediction(&[2.0, -3.0], &outputs, &mut Vec::new()), Prediction::Values(&[101.0, -3.0]));
    }
}
