//! Arrays of one kind of rows, one after another.

use super::array::Array;
use super::error::{DataError, Origin, Sides, ValuePlace};
use super::number::Number;
use super::rows::Cells;

/// Opens an array, as often as it is to be read.
pub(super) type Opener = Box<dyn Fn() -> Result<Array, DataError>>;

/// Arrays of one kind of rows, one after another.
pub(super) struct Series {
    arrays: Vec<Opener>,
    /// Name and rows of each.
    pub(super) known: Vec<(Origin, usize)>,
    /// Sides of a row.
    pub(super) sides: Vec<u64>,
    /// Whether all values are bytes.
    pub(super) are_bytes: bool,
    pub(super) is_text: bool,
    pub(super) rows: usize,
    open: Option<Array>,
    next: usize,
}

impl Series {
    pub(super) fn new(arrays: Vec<Opener>) -> Result<Self, DataError> {
        let mut series = Self {
            arrays,
            known: Vec::new(),
            sides: Vec::new(),
            are_bytes: true,
            is_text: false,
            rows: 0,
            open: None,
            next: 0,
        };
        for place in 0..series.arrays.len() {
            let array = (series.arrays[place])()?;
            let sides = &array.sides().0[1..];
            if place == 0 {
                (series.sides, series.is_text) = (sides.to_vec(), array.number().is_text());
            } else if series.sides != sides || series.is_text != array.number().is_text() {
                let (train, test) = (series.known[0].0.clone(), array.file().clone());
                let (train_shape, test_shape) = (Sides(series.sides.as_slice().into()), Sides(sides.into()));
                return Err(DataError::Unlike { train, train_shape, test, test_shape });
            }
            series.are_bytes &= matches!(array.number(), Number::U8 | Number::Bool);
            series.rows += array.rows();
            series.known.push((array.file().clone(), array.rows()));
            if series.rows > u32::MAX as usize {
                let what = format!("{} rows; at most {} are read", series.rows, u32::MAX);
                return Err(DataError::TooLarge { file: array.file().clone(), what });
            }
        }
        Ok(series)
    }

    pub(super) fn file(&self) -> &Origin {
        &self.known[0].0
    }

    pub(super) fn width(&self) -> usize {
        self.sides.iter().map(|&side| side as usize).product()
    }

    /// All sides of all rows.
    pub(super) fn shape(&self) -> Sides {
        Sides(std::iter::once(self.rows as u64).chain(self.sides.iter().copied()).collect())
    }

    /// Where a value stands, in its own array.
    pub(super) fn place(&self, mut row: usize, column: usize) -> ValuePlace {
        for (file, rows) in &self.known {
            if row < *rows {
                return ValuePlace::Row { file: file.clone(), row, column };
            }
            row -= rows;
        }
        ValuePlace::Row { file: self.file().clone(), row, column }
    }

    pub(super) fn rewind(&mut self) {
        (self.open, self.next) = (None, 0);
    }

    /// The array with the next row; none behind the last.
    fn current(&mut self) -> Result<Option<&mut Array>, DataError> {
        if self.open.is_none() && self.next < self.arrays.len() {
            let array = (self.arrays[self.next])()?;
            let (file, rows) = &self.known[self.next];
            if array.rows() != *rows || array.sides().0[1..] != self.sides[..] {
                let what = "it changed while it was read; run again once nobody writes it".to_owned();
                return Err(DataError::Split { file: file.clone(), what });
            }
            self.open = Some(array);
            self.next += 1;
        }
        Ok(self.open.as_mut())
    }

    /// Adds the values of the next rows to `cells`, at most so many; tells how many rows these are.
    pub(super) fn take(&mut self, rows_max: usize, cells: &mut Cells) -> Result<usize, DataError> {
        let mut rows = 0;
        while rows < rows_max {
            let Some(array) = self.current()? else { break };
            match array.take(rows_max - rows, cells)? {
                0 => self.open = None,
                taken => rows += taken,
            }
        }
        Ok(rows)
    }

    pub(super) fn take_words(&mut self, rows_max: usize, words: &mut Vec<String>) -> Result<usize, DataError> {
        let mut rows = 0;
        while rows < rows_max {
            let Some(array) = self.current()? else { break };
            match array.take_words(rows_max - rows, words)? {
                0 => self.open = None,
                taken => rows += taken,
            }
        }
        Ok(rows)
    }
}
