//! Least, largest, mean and deviation, of each cell of a row or of all together. Bytes are summed exactly; other numbers
//! by the method of Welford (1962) and of Chan, Golub and `LeVeque` (1983), which does not cancel where the mean is large.
//! What comes out depends on the values and their order alone, not on how they were read.

use super::scaling::RowCells;

/// What is known of each cell. NaN is missing, and counts as the mean of the others where a deviation is asked for.
pub(super) struct Statistics {
    rows: u64,
    bytes: Vec<Bytes>,
    /// Rows of bytes that are not yet among these.
    waiting: Vec<u8>,
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

/// Bytes side by side that are summed at once.
const LANES: usize = 16;
/// Bytes one behind the other that are: a lane's sum stays below 2^16.
const DEEP: usize = 256;

/// Rows of bytes that are summed as they come, without a copy, if so many come together.
const SUMMED_ROWS_MIN: usize = 32;

/// Bytes of the rows that wait to be summed, unless one row has more.
const WAITING_BYTES_MAX: usize = 256 << 10;

/// So many bytes side by side while they are summed.
struct Lanes {
    least: [u8; LANES],
    largest: [u8; LANES],
    sums: [u16; LANES],
    squares: [u32; LANES],
}

impl Lanes {
    const NONE: Self = Self { least: [u8::MAX; LANES], largest: [0; LANES], sums: [0; LANES], squares: [0; LANES] };

    /// One after another, at most [`DEEP`] of them. Loops over local arrays, of one step each: so they become
    /// instructions for all lanes at once, where pairs of iterators are left as calls.
    fn of<'b>(pieces: impl Iterator<Item = &'b [u8; LANES]>) -> Self {
        let Self { mut least, mut largest, mut sums, mut squares } = Self::NONE;
        for piece in pieces {
            for lane in 0..LANES {
                least[lane] = least[lane].min(piece[lane]);
            }
            for lane in 0..LANES {
                largest[lane] = largest[lane].max(piece[lane]);
            }
            for lane in 0..LANES {
                sums[lane] += u16::from(piece[lane]);
            }
            for lane in 0..LANES {
                let byte = u16::from(piece[lane]);
                squares[lane] += u32::from(byte * byte);
            }
        }
        Self { least, largest, sums, squares }
    }

    fn each(&self) -> impl Iterator<Item = Bytes> {
        (0..LANES).map(|lane| Bytes {
            least: self.least[lane],
            largest: self.largest[lane],
            sum: u64::from(self.sums[lane]),
            squares: u64::from(self.squares[lane]),
        })
    }
}

impl Bytes {
    const NONE: Self = Self { least: u8::MAX, largest: 0, sum: 0, squares: 0 };

    fn one(byte: u8) -> Self {
        Self { least: byte, largest: byte, sum: byte.into(), squares: u64::from(byte) * u64::from(byte) }
    }

    /// The root of the mean squared difference from the mean of so many.
    fn deviation(&self, count: u64) -> f64 {
        // The count squared times the variance is a whole number.
        let [count, sum, squares] = [count, self.sum, self.squares].map(u128::from);
        libm::sqrt((count * squares - sum * sum) as f64) / count as f64
    }

    fn join(&mut self, other: Self) {
        self.least = self.least.min(other.least);
        self.largest = self.largest.max(other.largest);
        self.sum += other.sum;
        self.squares += other.squares;
    }
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
        Self { rows: 0, bytes: Vec::new(), waiting: Vec::new(), numbers: Vec::new(), cells }
    }

    pub(super) fn len(&self) -> usize {
        self.cells
    }

    /// Adds some rows; all of them are bytes, or all are numbers. What is asked for is known once all are
    /// [`Self::settled`].
    pub(super) fn add(&mut self, rows: RowCells<'_>) {
        match rows {
            RowCells::Bytes(rows) => {
                self.rows += (rows.len() / self.cells) as u64;
                // Few are summed together with those that come next.
                if rows.len() >= SUMMED_ROWS_MIN * self.cells {
                    rows.chunks(DEEP * self.cells).for_each(|rows| sum_up(&mut self.bytes, self.cells, rows));
                    return;
                }
                for row in rows.chunks_exact(self.cells) {
                    self.waiting.extend_from_slice(row);
                    let is_deep = self.waiting.len() == DEEP * self.cells;
                    if is_deep || self.waiting.len() + self.cells > WAITING_BYTES_MAX {
                        self.sum_waiting();
                    }
                }
            }
            RowCells::Numbers(rows) => {
                let none = Numbers {
                    count: 0,
                    least: f64::INFINITY,
                    largest: f64::NEG_INFINITY,
                    mean: 0.0,
                    squares: 0.0,
                    is_rounded: false,
                };
                self.numbers.resize(self.cells, none);
                for row in rows.chunks_exact(self.cells) {
                    self.rows += 1;
                    for (known, &value) in self.numbers.iter_mut().zip(row) {
                        if !value.is_nan() {
                            known.add(value);
                        }
                    }
                }
            }
        }
    }

    /// All rows have been added.
    pub(super) fn settled(mut self) -> Self {
        self.sum_waiting();
        self
    }

    /// Adds the rows of bytes that wait.
    fn sum_waiting(&mut self) {
        if !self.waiting.is_empty() {
            sum_up(&mut self.bytes, self.cells, &self.waiting);
            self.waiting.clear();
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
        self.of(cell, |known| known.deviation(rows), |known| libm::sqrt(known.squares / rows as f64))
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

/// Adds rows of bytes, at most [`DEEP`] of them.
fn sum_up(known: &mut Vec<Bytes>, cells: usize, rows: &[u8]) {
    known.resize(cells, Bytes::NONE);
    let whole = cells / LANES * LANES;
    for (nth, known) in known.chunks_exact_mut(LANES).enumerate() {
        let pieces = rows.chunks_exact(cells).filter_map(|row| row[nth * LANES..].first_chunk());
        known.iter_mut().zip(Lanes::of(pieces).each()).for_each(|(known, more)| known.join(more));
    }
    for row in rows.chunks_exact(cells) {
        for (known, &byte) in known[whole..].iter_mut().zip(&row[whole..]) {
            known.join(Bytes::one(byte));
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
    bytes: Option<(u64, Bytes)>,
    numbers: Option<Numbers>,
}

impl Together {
    /// Adds some rows of so many cells.
    pub(super) fn add(&mut self, rows: RowCells<'_>, cells: usize) {
        match rows {
            RowCells::Bytes(rows) => {
                let (count, known) = self.bytes.get_or_insert((0, Bytes::NONE));
                *count += rows.len() as u64;
                let (pieces, rest) = rows.as_chunks();
                for pieces in pieces.chunks(DEEP) {
                    Lanes::of(pieces.iter()).each().for_each(|more| known.join(more));
                }
                for &byte in rest {
                    known.join(Bytes::one(byte));
                }
            }
            RowCells::Numbers(rows) => {
                for own in rows.chunks_exact(cells).filter_map(of_row) {
                    self.numbers = Some(self.numbers.map_or(own, |all| all.joined(own)));
                }
            }
        }
    }

    pub(super) fn least(&self) -> f64 {
        self.of(|_, known| f64::from(known.least), |known| known.least)
    }

    pub(super) fn largest(&self) -> f64 {
        self.of(|_, known| f64::from(known.largest), |known| known.largest)
    }

    pub(super) fn mean(&self) -> f64 {
        self.of(|count, known| known.sum as f64 / count as f64, |known| known.mean)
    }

    pub(super) fn deviation(&self) -> f64 {
        self.of(|count, known| known.deviation(count), |known| libm::sqrt(known.squares / known.count as f64))
    }

    fn of(&self, bytes: impl FnOnce(u64, &Bytes) -> f64, numbers: impl FnOnce(&Numbers) -> f64) -> f64 {
        match (&self.bytes, &self.numbers) {
            (_, Some(known)) => numbers(known),
            (Some((count, known)), None) => bytes(*count, known),
            (None, None) => f64::NAN,
        }
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
        statistics.settled()
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
            together.add(RowCells::Bytes(&row), row.len());
        }
        let each = each.settled();
        assert_eq!([each.mean(0), each.deviation(0), each.deviation(1)], [15.0, 5.0, 0.0]);
        assert_eq!([together.least(), together.largest(), together.mean()], [10.0, 255.0, 135.0]);
        // numpy.std([10, 255, 20, 255])
        assert!((together.deviation() - 120.052_072_035_429_69).abs() < 1e-12);
    }

    #[test]
    fn many_bytes_are_summed_as_one_by_one() {
        let (rows, cells) = (2 * DEEP + 3, 2 * LANES + 5);
        let byte = |row: usize, cell: usize| if cell == 3 { 255 } else { (row * 31 + cell * 7 + row / 19) as u8 };
        let (mut each, mut together) = (Statistics::new(cells), Together::default());
        for row in 0..rows {
            let row: Vec<u8> = (0..cells).map(|cell| byte(row, cell)).collect();
            each.add(RowCells::Bytes(&row));
            together.add(RowCells::Bytes(&row), row.len());
        }
        let each = each.settled();
        let mut all = Bytes::NONE;
        for cell in 0..cells {
            let mut known = Bytes::NONE;
            (0..rows).for_each(|row| known.join(Bytes::one(byte(row, cell))));
            let (sum, deviation) = (known.sum as f64, known.deviation(rows as u64));
            assert_eq!([each.mean(cell), each.deviation(cell)], [sum / rows as f64, deviation], "{cell}");
            assert_eq!([each.least(cell), each.largest(cell)], [known.least, known.largest].map(f64::from));
            all.join(known);
        }
        let count = (rows * cells) as u64;
        assert_eq!([together.mean(), together.deviation()], [all.sum as f64 / count as f64, all.deviation(count)]);
        assert_eq!(each.deviation(3), 0.0);
        let mut wide = Together::default();
        wide.add(RowCells::Bytes(&vec![255; DEEP * LANES + 1]), DEEP * LANES + 1);
        assert_eq!((wide.mean(), wide.deviation()), (255.0, 0.0));
    }

    #[test]
    fn all_values_together_are_those_of_the_rows_joined() {
        let mut together = Together::default();
        for row in [[1e9, 1e9 + 2.0], [1e9 + 4.0, 1e9 + 6.0]] {
            together.add(RowCells::Numbers(&row), 2);
        }
        assert_eq!([together.least(), together.largest(), together.mean()], [1e9, 1e9 + 6.0, 1e9 + 3.0]);
        assert!((together.deviation() - 5.0_f64.sqrt()).abs() < 1e-12);
    }
}
