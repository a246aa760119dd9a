//! How far predicted numbers are from the wanted ones.

use broadsweep_common::dataset::{Dataset, Header, Part, Targets};

/// Sums over the rows that were seen, by output.
pub(super) struct Distances {
    /// Which unit of the file one unit of the data set is.
    scales: Vec<f64>,
    /// In the data set's units.
    squares: Vec<f64>,
    /// In the file's units.
    absolutes: Vec<f64>,
    rows: u64,
    part: Part,
    /// For each part, the squares of the wanted numbers' distances from their mean, in the data set's units.
    spreads: [Vec<f64>; 3],
}

impl Distances {
    pub(super) fn new(data: &Dataset, parts: &[Part]) -> Self {
        let mut distances = Self::of_error(data.header());
        for part in Part::ALL.into_iter().filter(|part| parts.contains(part)) {
            distances.spreads[part as usize] = spread(data, part);
        }
        distances
    }

    /// Without the spread of what is wanted, which takes all rows beforehand: [`Self::r2`] means nothing.
    pub(super) fn of_error(header: &Header) -> Self {
        let width = header.targets.outputs();
        let zeros = || vec![0.0; width];
        Self {
            scales: (0..width).map(|output| header.target_scaling(output).spread).collect(),
            squares: zeros(),
            absolutes: zeros(),
            rows: 0,
            part: Part::Validation,
            spreads: Part::ALL.map(|_| zeros()),
        }
    }

    pub(super) fn begin(&mut self, part: Part) {
        self.squares.fill(0.0);
        self.absolutes.fill(0.0);
        (self.rows, self.part) = (0, part);
    }

    pub(super) fn see(&mut self, outputs: &[f32], wanted: &[f32]) {
        let width = self.scales.len();
        for (outputs, wanted) in outputs.chunks_exact(width).zip(wanted.chunks_exact(width)) {
            for (place, (output, wanted)) in outputs.iter().zip(wanted).enumerate() {
                let distance = f64::from(*output) - f64::from(*wanted);
                self.squares[place] += distance * distance;
                self.absolutes[place] += distance.abs() * self.scales[place];
            }
            self.rows += 1;
        }
    }

    /// Over rows and outputs, in the file's units.
    pub(super) fn root_mean_square(&self) -> f64 {
        let squares = self.squares.iter().zip(&self.scales).map(|(square, scale)| square * scale * scale);
        (squares.sum::<f64>() / self.values()).sqrt()
    }

    /// Over rows and outputs, in the file's units.
    pub(super) fn mean(&self) -> f64 {
        self.absolutes.iter().sum::<f64>() / self.values()
    }

    /// The mean over outputs. An output whose wanted numbers are all equal counts 1 where it is met, and else 0.
    pub(super) fn r2(&self) -> f64 {
        let outputs = self.squares.iter().zip(&self.spreads[self.part as usize]);
        let of_each = outputs.map(|(left, spread)| match (*left, *spread) {
            (left, _) if left.is_nan() => f64::NAN,
            (0.0, 0.0) => 1.0,
            (_, 0.0) => 0.0,
            (left, spread) => 1.0 - left / spread,
        });
        of_each.sum::<f64>() / self.scales.len() as f64
    }

    fn values(&self) -> f64 {
        self.rows as f64 * self.scales.len() as f64
    }
}

/// The squares of the distances from the part's mean, by output.
fn spread(data: &Dataset, part: Part) -> Vec<f64> {
    let Targets::Values(values) = data.targets(part) else { return Vec::new() };
    let columns = values.columns().into_iter();
    let of_column = columns.map(|column| {
        let mean = column.iter().map(|value| f64::from(*value)).sum::<f64>() / column.len() as f64;
        column.iter().map(|value| f64::from(*value) - mean).map(|distance| distance * distance).sum()
    });
    of_column.collect()
}
