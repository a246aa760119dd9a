//! The values of an array behind its header, whatever format wrote that: sizes checked, numbers decoded, row-major.

use std::ops::Range;

use broadsweep_common::dataset::ROW_VALUES_MAX;

use super::error::{DataError, Origin, Sides, ValuePlace};
use super::number::Number;
use super::rows::Cells;
use super::source::{Behind, Length, Source};
use super::strips::Strips;

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
    /// The rows that are still to be read.
    left: Range<usize>,
    /// Of an array whose first side varies fastest, once its values are read.
    strips: Option<Strips>,
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
        let (rows, row_values) = (rows as usize, row_values as usize);
        let array = Self { rows, row_values, left: 0..rows, source, header, strips: None };
        array.check_length()?;
        Ok(array)
    }

    /// Compares the header with the length of a file that is not packed; a packed one shows it while it is read.
    fn check_length(&self) -> Result<(), DataError> {
        let bytes = match self.source.length() {
            Length::Exactly(bytes) => bytes,
            Length::AtMost(most) if u128::from(most) < self.bytes() => {
                let what = format!(
                    "its header says {} of {}, more than its packed bytes can become; copy or download it again",
                    self.header.sides,
                    self.header.number.name()
                );
                return Err(DataError::TooLarge { file: self.source.file.clone(), what });
            }
            Length::AtMost(_) => return Ok(()),
        };
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

    pub(super) fn file(&self) -> &Origin {
        &self.source.file
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Rows first.
    pub(super) fn sides(&self) -> &Sides {
        &self.header.sides
    }

    pub(super) fn number(&self) -> Number {
        self.header.number
    }

    /// Whether its values lie in the file as they are.
    pub(super) fn can_go(&self) -> bool {
        self.source.is_plain()
    }

    /// Goes to a row, and ends after so many, which are there. For an array that [can](Self::can_go).
    pub(super) fn go_to(&mut self, first: usize, rows: usize) -> Result<(), DataError> {
        let end = first.saturating_add(rows).min(self.rows);
        self.left = first.min(end)..end;
        if !self.is_turned() {
            let row_bytes = (self.row_values * self.header.number.bytes()) as u64;
            // Not beyond the file, whose length was compared with the header.
            let at = |row: usize| self.header.header_bytes + row as u64 * row_bytes;
            self.source = Source::part(self.source.file.clone(), at(self.left.start)..at(end))?;
        }
        Ok(())
    }

    /// The bytes of the file that are read for some rows, which are there.
    pub(super) fn ranges(&self, first: usize, rows: usize) -> Vec<Range<u64>> {
        let (header, end) = (self.header.header_bytes, first.saturating_add(rows).min(self.rows));
        // Of an array that is turned, every row is everywhere.
        let (first, end) = if self.is_turned() { (0, self.rows) } else { (first.min(end), end) };
        let at = |row: usize| header + (row * self.row_values * self.header.number.bytes()) as u64;
        vec![0..header, at(first)..at(end)]
    }

    /// Whether its first side varies fastest, and that makes a difference.
    fn is_turned(&self) -> bool {
        self.header.fortran && self.row_values > 1
    }

    /// Adds the values of the next rows, at most so many, to `cells`, which hold bytes where the array does; tells how
    /// many rows these are. Behind the last one, the end of the file has been seen too.
    pub(super) fn take(&mut self, rows_max: usize, cells: &mut Cells) -> Result<usize, DataError> {
        let ArrayHeader { number, big_endian, .. } = self.header;
        self.read(rows_max, |bytes| match cells {
            Cells::Bytes(values) if number == Number::Bool => {
                values.extend(bytes.iter().map(|&byte| u8::from(byte != 0)));
            }
            Cells::Bytes(values) => values.extend_from_slice(bytes),
            Cells::Numbers(values) => number.decode(bytes, big_endian, |number| values.push(number)),
        })
    }

    /// The same of an array of words.
    pub(super) fn take_words(&mut self, rows_max: usize, words: &mut Vec<String>) -> Result<usize, DataError> {
        let ArrayHeader { number, big_endian, .. } = self.header;
        let (first, before) = (self.left.start, words.len());
        let mut has_text = true;
        let rows = self.read(rows_max, |bytes| {
            let read = bytes.chunks_exact(number.bytes()).map_while(|bytes| number.word(bytes, big_endian));
            if has_text {
                let known = words.len();
                words.extend(read);
                has_text = words.len() - known == bytes.len() / number.bytes();
            }
        })?;
        if has_text {
            return Ok(rows);
        }
        let value = words.len() - before;
        let (row, column) = (first + value / self.row_values, value % self.row_values);
        let place = ValuePlace::Row { file: self.source.file.clone(), row, column };
        let what = "bytes that are no text; write the words as Unicode, as NumPy's type `U` has them".to_owned();
        Err(DataError::Row { place, what })
    }

    /// Hands out the bytes of the next rows, some whole values at a time.
    fn read(&mut self, rows_max: usize, take: impl FnMut(&[u8])) -> Result<usize, DataError> {
        let rows = rows_max.min(self.left.len());
        let row_bytes = self.row_values * self.header.number.bytes();
        if self.is_turned() {
            return self.read_across(rows, take);
        }
        let before = self.left.start as u128 * row_bytes as u128;
        let got = self.source.pass_on(rows * row_bytes, self.header.number.bytes(), take)?;
        if got < rows * row_bytes {
            return Err(self.short((before + got as u128) as u64));
        }
        self.left.start += rows;
        if rows > 0 && self.left.is_empty() {
            self.check_end()?;
        }
        Ok(rows)
    }

    /// The same of an array whose first side varies fastest.
    fn read_across(&mut self, rows: usize, mut take: impl FnMut(&[u8])) -> Result<usize, DataError> {
        if self.strips.is_none() {
            let (start, bytes) = (self.header.header_bytes, self.bytes());
            // That there are so many is known, or found while they are unpacked.
            let bytes = u64::try_from(bytes).map_err(|_| self.short(self.source.length().bytes_max()))?;
            let (file, start) = match self.source.behind(start, bytes)? {
                Behind::At(file, start) => (file, start),
                Behind::Short(got) => return Err(self.short(got)),
                Behind::Long => return Err(self.long()),
            };
            let sides: Vec<_> = self.header.sides.0.iter().map(|&side| side as usize).collect();
            self.strips = Some(Strips::new(file, start, &sides, self.header.number.bytes()));
        }
        let first = self.left.start;
        let read = self.strips.iter_mut().try_for_each(|strips| strips.read(first..first + rows, &mut take));
        read.map_err(|error| DataError::of_file(&self.source.file, error))?;
        self.left.start += rows;
        Ok(rows)
    }

    /// Finds the end of the file. This has a decompressor check its sum too, which stands there.
    fn check_end(&mut self) -> Result<(), DataError> {
        if self.source.fill(&mut [0])? > 0 { Err(self.long()) } else { Ok(()) }
    }

    fn short(&self, got: u64) -> DataError {
        let (shape, number) = (self.header.sides.clone(), self.header.number.name());
        DataError::Short { file: self.source.file.clone(), shape, number, want: self.bytes(), got }
    }

    fn long(&self) -> DataError {
        let (shape, number) = (self.header.sides.clone(), self.header.number.name());
        DataError::Long { file: self.source.file.clone(), shape, number, want: self.bytes() }
    }
}
