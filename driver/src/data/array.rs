//! The values of an array behind its header, whatever format wrote that: sizes checked, numbers decoded, row-major.

use broadsweep_common::dataset::ROW_VALUES_MAX;
use ndarray::{ArrayView, IxDyn, ShapeBuilder};

use super::error::{DataError, Origin, Sides, ValuePlace};
use super::number::Number;
use super::source::{BUFFER_BYTES, Length, Source};
use super::targets::Labels;
use super::{Features, Values};

/// What an array's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ArrayHeader {
    /// Rows first.
    pub(super) sides: Sides,
    /// The type of its values.
    pub(super) number: Number,
    /// Whether a number's first byte is its highest.
    pub(super) big_endian: bool,
    /// Whether the first side varies fastest.
    pub(super) fortran: bool,
    /// Bytes of the header itself.
    pub(super) header_bytes: u64,
}

/// An array whose header has been read and whose values follow.
pub(super) struct Array {
    source: Source,
    header: ArrayHeader,
    rows: usize,
    row_values: usize,
}

impl Array {
    /// Checks everything that the header alone can tell, before memory is taken for it.
    pub(super) fn new(source: Source, header: ArrayHeader) -> Result<Self, DataError> {
        let file = &source.file;
        let too_large = |what: String| DataError::TooLarge { file: file.clone(), what };
        let Some((&rows, row_sides)) = header.sides.0.split_first() else {
            let want = "that is a single number, and rows are needed";
            return Err(DataError::Shape { file: file.clone(), shape: header.sides, want });
        };
        if rows == 0 {
            return Err(DataError::NoRows { file: file.clone() });
        }
        if row_sides.contains(&0) {
            let want = "rows need at least one value";
            return Err(DataError::Shape { file: file.clone(), shape: header.sides, want });
        }
        let rows =
            u32::try_from(rows).map_err(|_| too_large(format!("{rows} rows; at most {} are read", u32::MAX)))?;
        let row_values = row_sides.iter().try_fold(1_u64, |product, &side| product.checked_mul(side));
        let row_values = row_values.filter(|&values| values <= ROW_VALUES_MAX as u64).ok_or_else(|| {
            too_large(format!("rows of {} values; at most {ROW_VALUES_MAX} are read", Sides(row_sides.into())))
        })?;
        let array = Self { rows: rows as usize, row_values: row_values as usize, source, header };
        array.check_length()?;
        Ok(array)
    }

    /// Compares the header with the length of a file that is not packed; a packed one shows it while it is read.
    fn check_length(&self) -> Result<(), DataError> {
        let Length::Exactly(bytes) = self.source.length() else { return Ok(()) };
        let got = bytes.saturating_sub(self.header.header_bytes);
        match u128::from(got).cmp(&self.bytes()) {
            std::cmp::Ordering::Less => Err(self.short(got)),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(self.long()),
        }
    }

    /// Bytes of all values, as the header says.
    fn bytes(&self) -> u128 {
        self.rows as u128 * self.row_values as u128 * self.header.number.bytes() as u128
    }

    /// The values as features of rows of 1 or 3 sides.
    pub(super) fn features(self) -> Result<Features, DataError> {
        let shape = match *self.header.sides.0 {
            [_, values] => vec![values as u32],
            [_, height, width] => vec![height as u32, width as u32, 1],
            [_, height, width, channels] => vec![height as u32, width as u32, channels as u32],
            _ => {
                let want = "features are (rows, values), (rows, height, width) or (rows, height, width, channels)";
                let shape = self.header.sides;
                return Err(DataError::Shape { file: self.source.file, shape, want });
            }
        };
        let (file, rows, row_values) = (self.source.file.clone(), self.rows, self.row_values);
        let values = if self.header.number == Number::U8 {
            Values::U8(self.read(|_, bytes, values| values.extend_from_slice(bytes))?)
        } else {
            let numbers = self.decode(|number| number as f32)?;
            check_finite(&file, row_values, numbers.iter().map(|&number| f64::from(number)))?;
            Values::F32(numbers)
        };
        Ok(Features { file, shape, rows, values })
    }

    /// The values as labels: one a row, or some numbers a row.
    pub(super) fn labels(self) -> Result<Labels, DataError> {
        let width = match *self.header.sides.0 {
            [_] => 1,
            [_, width] => width as u32,
            _ => {
                let want = "labels are (rows,) or (rows, outputs)";
                let shape = self.header.sides;
                return Err(DataError::Shape { file: self.source.file, shape, want });
            }
        };
        let (file, rows, row_values) = (self.source.file.clone(), self.rows, self.row_values);
        let values = self.decode(|number| number)?;
        check_finite(&file, row_values, values.iter().copied())?;
        Ok(Labels { file, rows, width, values })
    }

    /// Reads all values as numbers.
    fn decode<T: Copy>(self, convert: impl Fn(f64) -> T) -> Result<Vec<T>, DataError> {
        self.read(|header, bytes, values| {
            header.number.decode(bytes, header.big_endian, |number| values.push(convert(number)));
        })
    }

    /// Reads all values, a buffer of whole ones at a time, and finds the end of the file behind them.
    fn read<T: Copy>(mut self, take: impl Fn(&ArrayHeader, &[u8], &mut Vec<T>)) -> Result<Vec<T>, DataError> {
        let number_bytes = self.header.number.bytes();
        let mut left = self.bytes();
        let mut values = Vec::new();
        // What the header asks for, but never more than the file can hold.
        let claimed = left.min(u128::from(self.source.length().bytes_max())) as usize / number_bytes;
        values.try_reserve_exact(claimed).map_err(|_| self.no_memory())?;
        let mut buffer = vec![0; BUFFER_BYTES];
        while left > 0 {
            let want = left.min(BUFFER_BYTES as u128) as usize;
            let got = self.source.fill(&mut buffer[..want])?;
            let whole = got / number_bytes * number_bytes;
            values.try_reserve(whole / number_bytes).map_err(|_| self.no_memory())?;
            take(&self.header, &buffer[..whole], &mut values);
            left -= got as u128;
            if got < want {
                return Err(self.short((self.bytes() - left) as u64));
            }
        }
        // Also has a decompressor check its sum, which stands at the end.
        if self.source.fill(&mut buffer[..1])? > 0 {
            return Err(self.long());
        }
        if self.header.fortran { self.row_major(&values) } else { Ok(values) }
    }

    fn row_major<T: Copy>(&self, values: &[T]) -> Result<Vec<T>, DataError> {
        let sides: Vec<usize> = self.header.sides.0.iter().map(|&side| side as usize).collect();
        let view = ArrayView::from_shape(IxDyn(&sides).f(), values);
        let view = view.map_err(|error| DataError::TooLarge { file: self.file(), what: error.to_string() })?;
        Ok(view.iter().copied().collect())
    }

    fn file(&self) -> Origin {
        self.source.file.clone()
    }

    fn no_memory(&self) -> DataError {
        let what = format!("there is no memory for {} of {}", self.header.sides, self.header.number.name());
        DataError::TooLarge { file: self.file(), what }
    }

    fn short(&self, got: u64) -> DataError {
        let (shape, number) = (self.header.sides.clone(), self.header.number.name());
        DataError::Short { file: self.file(), shape, number, want: self.bytes(), got }
    }

    fn long(&self) -> DataError {
        let (shape, number) = (self.header.sides.clone(), self.header.number.name());
        DataError::Long { file: self.file(), shape, number, want: self.bytes() }
    }
}

fn check_finite(file: &Origin, row_values: usize, values: impl Iterator<Item = f64>) -> Result<(), DataError> {
    let bad = values.enumerate().find(|(_, value)| !(*value as f32).is_finite());
    bad.map_or(Ok(()), |(index, value)| {
        let place = ValuePlace::Row { file: file.clone(), row: index / row_values, column: index % row_values };
        Err(DataError::NotFinite { place, value })
    })
}
