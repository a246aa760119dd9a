//! Least, largest, mean and deviation, of each cell of a row or of all together. Bytes are summed exactly; other numbers
//! by the method of Welford (1962) and of Chan, Golub and `LeVeque` (1983), which does not cancel where the mean is large.
//! What comes out depends on the values and their order alone, not on how they were read.

use super::scaling::RowCells;

/// What is known of each cell. NaN is missing, and counts as the mean of the others where a deviation is asked for.
pub(super) struct Statistics {
    rows: u64,
    bytes: Vec<Bytes>,
    numbers: Vec<Numbers>,
    cells: usize,
}

#[derive(Clone, Copy)]
struct Bytes {
    least: u8,
    largest: u8,
    sum: u64,
    squares: u64,
}

#[derive(Clone, Copy)]
struct Numbers {
    count: u64,
    least: f64,
    largest: f64,
    mean: f64,
    /// Sum of squared differences from the mean.
    squares: f64,
    /// Whether a value changes where it is narrowed to 32 bits.
    is_rounded: bool,
}

impl Statistics {
    pub(super) fn new(cells: usize) -> Self {
        Self { rows: 0, bytes: Vec::new(), numbers: Vec::new(), cells }
    }

    pub(super) fn len(&self) -> usize {
        self.cells
    }

    /// Adds one row; all of them are bytes, or all are numbers.
    pub(super) fn add(&mut self, row: RowCells<'_>) {
        self.rows += 1;
        match row {
            RowCells::Bytes(row) => {
                self.bytes.resize(self.cells, Bytes { least: u8::MAX, largest: 0, sum: 0, squares: 0 });
                for (known, &value) in self.bytes.iter_mut().zip(row) {
                    known.least = known.least.min(value);
                    known.largest = known.largest.max(value);
                    known.sum += u64::from(value);
                    known.squares += u64::from(value) * u64::from(value);
                }
            }
            RowCells::Numbers(row) => {
                let none = Numbers {
                    count: 0,
                    least: f64::INFINITY,
                    largest: f64::NEG_INFINITY,
                    mean: 0.0,
                    squares: 0.0,
                    is_rounded: false,
                };
                self.numbers.resize(self.cells, none);
                for (known, &value) in self.numbers.iter_mut().zip(row) {
                    if !value.is_nan() {
                        known.add(value);
                    }
                }
            }
        }
    }

    /// Rows in which the cell is not missing.
    pub(super) fn count(&self, cell: usize) -> u64 {
        self.numbers.get(cell).map_or(self.rows, |known| known.count)
    }

    pub(super) fn least(&self, cell: usize) -> f64 {
        self.of(cell, |known| f64::from(known.least), |known| known.least)
    }

    pub(super) fn largest(&self, cell: usize) -> f64 {
        self.of(cell, |known| f64::from(known.largest), |known| known.largest)
    }

    pub(super) fn mean(&self, cell: usize) -> f64 {
        self.of(cell, |known| known.sum as f64 / self.rows as f64, |known| known.mean)
    }

    /// The root of the mean squared difference from the mean; 0 exactly of a constant.
    pub(super) fn deviation(&self, cell: usize) -> f64 {
        let rows = self.rows;
        let of_bytes = |known: &Bytes| {
            // Rows squared times the variance is a whole number.
            let [rows, sum, squares] = [rows, known.sum, known.squares].map(u128::from);
            libm::sqrt((rows * squares - sum * sum) as f64) / rows as f64
        };
        self.of(cell, of_bytes, |known| libm::sqrt(known.squares / rows as f64))
    }

    /// Whether a value of the cell changes where it is narrowed to 32 bits.
    pub(super) fn is_rounded(&self, cell: usize) -> bool {
        self.numbers.get(cell).is_some_and(|known| known.is_rounded)
    }

    fn of(&self, cell: usize, bytes: impl FnOnce(&Bytes) -> f64, numbers: impl FnOnce(&Numbers) -> f64) -> f64 {
        match (self.bytes.get(cell), self.numbers.get(cell)) {
            (Some(known), _) => bytes(known),
            (None, Some(known)) => numbers(known),
            (None, None) => f64::NAN,
        }
    }
}

impl Numbers {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.least = self.least.min(value);
        self.largest = self.largest.max(value);
        self.is_rounded |= f64::from(value as f32).to_bits() != value.to_bits();
        let difference = value - self.mean;
        self.mean += difference / self.count as f64;
        self.squares += difference * (value - self.mean);
    }
}

/// What is known of all values together. Of images no value is missing, or it does not count.
#[derive(Default)]
pub(super) struct Together {
    /// How often each byte occurs.
    bytes: Vec<u64>,
    numbers: Option<Numbers>,
}

impl Together {
    pub(super) fn add(&mut self, row: RowCells<'_>) {
        match row {
            RowCells::Bytes(row) => {
                self.bytes.resize(256, 0);
                for &byte in row {
                    self.bytes[usize::from(byte)] += 1;
                }
            }
            RowCells::Numbers(row) => {
                if let Some(own) = of_row(row) {
                    self.numbers = Some(self.numbers.map_or(own, |all| all.joined(own)));
                }
            }
        }
    }

    fn occurring(&self) -> impl DoubleEndedIterator<Item = (u128, u128)> {
        let occurs = self.bytes.iter().enumerate().filter(|(_, count)| **count > 0);
        occurs.map(|(byte, &count)| (byte as u128, u128::from(count)))
    }

    pub(super) fn least(&self) -> f64 {
        let of_bytes = || self.occurring().next().map_or(f64::NAN, |(byte, _)| byte as f64);
        self.numbers.map_or_else(of_bytes, |known| known.least)
    }

    pub(super) fn largest(&self) -> f64 {
        let of_bytes = || self.occurring().next_back().map_or(f64::NAN, |(byte, _)| byte as f64);
        self.numbers.map_or_else(of_bytes, |known| known.largest)
    }

    pub(super) fn mean(&self) -> f64 {
        let of_bytes = || {
            let [count, sum, _] = self.sums();
            sum as f64 / count as f64
        };
        self.numbers.map_or_else(of_bytes, |known| known.mean)
    }

    pub(super) fn deviation(&self) -> f64 {
        let of_bytes = || {
            let [count, sum, squares] = self.sums();
            libm::sqrt((count * squares - sum * sum) as f64) / count as f64
        };
        self.numbers.map_or_else(of_bytes, |known| libm::sqrt(known.squares / known.count as f64))
    }

    /// How many bytes, their sum, and that of their squares.
    fn sums(&self) -> [u128; 3] {
        self.occurring().fold([0; 3], |[all, sum, squares], (byte, count)| {
            [all + count, sum + byte * count, squares + byte * byte * count]
        })
    }
}

/// One row, in two passes.
fn of_row(row: &[f64]) -> Option<Numbers> {
    let known = || row.iter().copied().filter(|value| !value.is_nan());
    let count = known().count() as u64;
    if count == 0 {
        return None;
    }
    let mean = known().sum::<f64>() / count as f64;
    let squares = known().map(|value| (value - mean) * (value - mean)).sum();
    let (least, largest) = known()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, largest), value| (least.min(value), largest.max(value)));
    Some(Numbers { count, least, largest, mean, squares, is_rounded: false })
}

impl Numbers {
    fn joined(self, other: Self) -> Self {
        let count = self.count + other.count;
        let (share, difference) = (other.count as f64 / count as f64, other.mean - self.mean);
        Self {
            count,
            least: self.least.min(other.least),
            largest: self.largest.max(other.largest),
            mean: self.mean + difference * share,
            squares: self.squares + other.squares + difference * difference * self.count as f64 * share,
            is_rounded: false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "these numbers are exact")]

    use super::*;

    fn of(rows: &[&[f64]]) -> Statistics {
        let mut statistics = Statistics::new(rows[0].len());
        for row in rows {
            statistics.add(RowCells::Numbers(row));
        }
        statistics
    }

    #[test]
    fn each_cell_has_its_own_numbers_and_a_constant_no_deviation() {
        let known = of(&[&[1.0, 0.1, 16_777_216.0], &[3.0, 0.1, 16_777_218.0]]);
        let all = |cell| [known.least(cell), known.largest(cell), known.mean(cell), known.deviation(cell)];
        assert_eq!(all(0), [1.0, 3.0, 2.0, 1.0]);
        assert_eq!(all(1), [0.1, 0.1, 0.1, 0.0]);
        assert_eq!(all(2), [16_777_216.0, 16_777_218.0, 16_777_217.0, 1.0]);
        assert_eq!([0, 1, 2].map(|cell| known.is_rounded(cell)), [false, true, false]);
    }

    #[test]
    fn what_is_missing_counts_as_the_mean() {
        let known = of(&[&[1.0], &[f64::NAN], &[3.0], &[f64::NAN]]);
        assert_eq!((known.count(0), known.mean(0)), (2, 2.0));
        assert!((known.deviation(0) - 0.5_f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn bytes_are_summed_exactly_each_and_together() {
        let (mut each, mut together) = (Statistics::new(2), Together::default());
        for row in [[10, 255], [20, 255]] {
            each.add(RowCells::Bytes(&row));
            together.add(RowCells::Bytes(&row));
        }
        assert_eq!([each.mean(0), each.deviation(0), each.deviation(1)], [15.0, 5.0, 0.0]);
        assert_eq!([together.least(), together.largest(), together.mean()], [10.0, 255.0, 135.0]);
        // numpy.std([10, 255, 20, 255])
        assert!((together.deviation() - 120.052_072_035_429_69).abs() < 1e-12);
    }

    #[test]
    fn all_values_together_are_those_of_the_rows_joined() {
        let mut together = Together::default();
        for row in [[1e9, 1e9 + 2.0], [1e9 + 4.0, 1e9 + 6.0]] {
            together.add(RowCells::Numbers(&row));
        }
        assert_eq!([together.least(), together.largest(), together.mean()], [1e9, 1e9 + 6.0, 1e9 + 3.0]);
        assert!((together.deviation() - 5.0_f64.sqrt()).abs() < 1e-12);
    }
}
