//! Raw rows on their way from files into a data set, some at a time.

use super::error::{DataError, Origin};

/// Cells of a batch, at most, unless one row has more.
const BATCH_CELLS: usize = 1 << 16;

/// Some rows: a number for each cell of features, then those of labels.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// How many.
    pub(super) rows: usize,
    /// Row after row.
    pub(super) features: Cells,
    /// Row after row.
    pub(super) labels: Vec<f64>,
}

impl Batch {
    /// Takes all rows out; what comes is numbers.
    pub(super) fn clear(&mut self) {
        self.rows = 0;
        self.features.numbers();
        self.labels.clear();
    }

    /// Takes these rows out, which are in order; rows have so many cells and numbers of labels.
    pub(super) fn remove(&mut self, rows: &[usize], cells: usize, labels: usize) {
        remove_runs(self.features.widen(), rows, cells);
        remove_runs(&mut self.labels, rows, labels);
        self.rows -= rows.len();
    }
}

/// Takes these out of runs of so many values each; they are in order.
pub(super) fn remove_runs<T>(values: &mut Vec<T>, removed: &[usize], width: usize) {
    let (mut place, mut removed) = (0, removed.iter().peekable());
    values.retain(|_| {
        let run = place / width.max(1);
        place += 1;
        while removed.next_if(|&&next| next < run).is_some() {}
        removed.peek() != Some(&&run)
    });
}

/// Cells of features: numbers as files have them, the places of words in their column's list, NaN for what is missing.
#[derive(Debug)]
pub(super) enum Cells {
    /// Whole numbers from 0 to 255, none missing.
    Bytes(Vec<u8>),
    /// Any.
    Numbers(Vec<f64>),
}

impl Default for Cells {
    fn default() -> Self {
        Self::Bytes(Vec::new())
    }
}

impl Cells {
    /// Empties them, and makes them bytes.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        if let Self::Numbers(_) = self {
            *self = Self::Bytes(Vec::new());
        }
        let Self::Bytes(bytes) = self else { unreachable!("they were made bytes") };
        bytes.clear();
        bytes
    }

    /// Empties them, and makes them numbers.
    pub(super) fn numbers(&mut self) -> &mut Vec<f64> {
        if let Self::Bytes(_) = self {
            *self = Self::Numbers(Vec::new());
        }
        let Self::Numbers(numbers) = self else { unreachable!("they were made numbers") };
        numbers.clear();
        numbers
    }

    /// As numbers, whatever they were.
    pub(super) fn widen(&mut self) -> &mut Vec<f64> {
        if let Self::Bytes(bytes) = self {
            *self = Self::Numbers(bytes.iter().map(|&byte| f64::from(byte)).collect());
        }
        let Self::Numbers(numbers) = self else { unreachable!("they were made numbers") };
        numbers
    }

    /// As bytes, which all of them are.
    pub(super) fn narrow(&mut self) -> &mut Vec<u8> {
        if let Self::Numbers(numbers) = self {
            *self = Self::Bytes(numbers.iter().map(|&number| number as u8).collect());
        }
        let Self::Bytes(bytes) = self else { unreachable!("they were made bytes") };
        bytes
    }
}

/// Whether a number is one that a byte holds.
pub(super) fn is_byte(number: f64) -> bool {
    // A comparison of bits, since -0 is no byte.
    f64::from(number as u8).to_bits() == number.to_bits()
}

/// Rows of one part, which can be read again and again.
pub(super) trait RowStream {
    /// Goes back to the first row.
    fn rewind(&mut self) -> Result<(), DataError>;

    /// The next rows, at most so many; none behind the last.
    fn next(&mut self, rows_max: usize, batch: &mut Batch) -> Result<(), DataError>;
}

/// The rows of one part, looked through once.
pub(super) struct RawPart {
    /// Names the features in errors.
    pub(super) features: Origin,
    /// Names the labels in errors.
    pub(super) labels: Origin,
    /// How many there are.
    pub(super) rows: usize,
    /// Cells of a row's features.
    pub(super) cells: usize,
    /// Numbers of a row's labels.
    pub(super) label_width: usize,
    /// Whether all cells of features are bytes.
    pub(super) are_bytes: bool,
    /// Whether their type in the files is a byte too.
    pub(super) has_byte_type: bool,
    /// The number of each row in the files, from 0, where others were left out.
    pub(super) numbers: Option<Vec<u32>>,
    /// The rows.
    pub(super) stream: Box<dyn RowStream>,
}

impl RawPart {
    /// The number in the files, from 0, of a row that is here.
    pub(super) fn number(&self, row: usize) -> u32 {
        self.numbers.as_ref().map_or(row as u32, |numbers| numbers[row])
    }

    /// Calls `each` with every batch, from the first row on, and the number of its first row.
    pub(super) fn each_batch(
        &mut self,
        mut each: impl FnMut(usize, &mut Batch) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let rows_max = (BATCH_CELLS / self.cells.max(1)).max(1);
        self.stream.rewind()?;
        let (mut batch, mut start) = (Batch::default(), 0);
        loop {
            self.stream.next(rows_max, &mut batch)?;
            if batch.rows == 0 {
                return Ok(());
            }
            each(start, &mut batch)?;
            start += batch.rows;
        }
    }
}

/// What is known of a row's cells before anything is scaled.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RawInputs {
    /// Columns of a table.
    Columns(Vec<RawColumn>),
    /// Numbers without names: the sides of a row as files have it.
    Array {
        /// 1 to 3.
        sides: Vec<u32>,
    },
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RawColumn {
    pub(super) name: String,
    pub(super) kind: RawKind,
}

/// What the cells of a column are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RawKind {
    Number,
    /// Words for 1 and 0.
    Flag,
    /// Words, in their order.
    Categories(Vec<String>),
}

impl RawInputs {
    /// Whether scaling takes all values together.
    pub(super) fn are_images(&self, shape: Option<&[u32]>) -> bool {
        let in_file = matches!(self, Self::Array { sides } if sides.len() > 1);
        in_file || shape.is_some_and(|shape| shape.len() > 1)
    }

    /// Values that the network takes for a row.
    pub(super) fn values(&self) -> usize {
        match self {
            Self::Array { sides } => sides.iter().map(|&side| side as usize).product(),
            Self::Columns(columns) => columns
                .iter()
                .map(|column| match &column.kind {
                    RawKind::Number | RawKind::Flag => 1,
                    RawKind::Categories(names) => names.len(),
                })
                .sum(),
        }
    }
}

/// What the classes or targets of all parts are, with what stands for each in a row's labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RawLabels {
    /// The number in a row's label, and the class that it stands for; in the order of the numbers.
    Classes { column: Option<String>, names: Vec<String>, of: Vec<(f64, u32)> },
    /// As they are.
    Values { names: Vec<String> },
}

impl RawLabels {
    /// The class that a label stands for.
    pub(super) fn class(of: &[(f64, u32)], label: f64) -> u32 {
        of.binary_search_by(|(known, _)| known.total_cmp(&(label + 0.0))).map_or(0, |place| of[place].1)
    }
}
