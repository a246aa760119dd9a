//! Rows that were read once and are needed again: in memory while they are few, else in a file without a name.
//!
//! A block of rows is kept as narrow as its numbers allow: bytes, 32-bit or 64-bit numbers.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::error::{DataError, Origin};
use super::rows::{Batch, Cells, RowStream, is_byte};

/// Bytes that stay in memory.
const MEMORY_BYTES_MAX: usize = 32 << 20;
/// Cells of a block, at least, unless the rows end.
const BLOCK_CELLS: usize = 1 << 16;
/// Each block starts with how its cells are kept, how its labels are, and how many rows it has.
const HEAD_BYTES: usize = 10;

/// How the numbers of a block are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Width {
    U8 = 1,
    F32 = 4,
    F64 = 8,
}

impl Width {
    fn of(numbers: &[f64]) -> Self {
        if numbers.iter().all(|&number| is_byte(number)) {
            Self::U8
        } else if numbers.iter().all(|&number| f64::from(number as f32).to_bits() == number.to_bits()) {
            Self::F32
        } else {
            Self::F64
        }
    }

    fn write(self, numbers: &[f64], bytes: &mut Vec<u8>) {
        match self {
            Self::U8 => bytes.extend(numbers.iter().map(|&number| number as u8)),
            Self::F32 => numbers.iter().for_each(|&number| bytes.extend((number as f32).to_le_bytes())),
            Self::F64 => numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes())),
        }
    }

    fn read(self, bytes: &[u8], numbers: &mut Vec<f64>) {
        match self {
            Self::U8 => numbers.extend(bytes.iter().map(|&byte| f64::from(byte))),
            Self::F32 => numbers.extend(bytes.as_chunks().0.iter().map(|&word| f64::from(f32::from_le_bytes(word)))),
            Self::F64 => numbers.extend(bytes.as_chunks().0.iter().map(|&word| f64::from_le_bytes(word))),
        }
    }

    fn of_tag(tag: u8) -> Self {
        match tag {
            1 => Self::U8,
            4 => Self::F32,
            _ => Self::F64,
        }
    }
}

/// Takes rows, cell by cell.
pub(super) struct SpoolWriter {
    file: Origin,
    cells: usize,
    label_width: usize,
    features: Vec<f64>,
    labels: Vec<f64>,
    rows: usize,
    /// The number of each row that it has, once one was left out; until then they are counted.
    numbers: Option<Vec<u32>>,
    /// Rows that were offered.
    offered: u32,
    are_bytes: bool,
    memory: Vec<u8>,
    disk: Option<File>,
}

impl SpoolWriter {
    /// For rows of so many cells and numbers of labels; errors name `file`.
    pub(super) fn new(file: Origin, cells: usize, label_width: usize) -> Self {
        Self {
            file,
            cells,
            label_width,
            features: Vec::new(),
            labels: Vec::new(),
            rows: 0,
            numbers: None,
            offered: 0,
            are_bytes: true,
            memory: Vec::new(),
            disk: None,
        }
    }

    /// Rows that it has.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes one row.
    pub(super) fn row(&mut self, cells: &[f64], labels: &[f64]) -> Result<(), DataError> {
        self.features.extend(cells);
        self.labels.extend(labels);
        self.rows += 1;
        if let Some(numbers) = &mut self.numbers {
            numbers.push(self.offered);
        }
        self.offered += 1;
        if self.features.len() >= BLOCK_CELLS { self.end_block() } else { Ok(()) }
    }

    /// Notes that a row is left out.
    pub(super) fn leave_out(&mut self) {
        self.numbers.get_or_insert_with(|| (0..self.offered).collect());
        self.offered += 1;
    }

    fn end_block(&mut self) -> Result<(), DataError> {
        if self.labels.is_empty() && self.features.is_empty() {
            return Ok(());
        }
        let (width, label_width) = (Width::of(&self.features), Width::of(&self.labels));
        self.are_bytes &= width == Width::U8;
        let rows = self.features.len() / self.cells.max(1);
        self.memory.extend([width as u8, label_width as u8]);
        self.memory.extend((rows as u64).to_le_bytes());
        width.write(&self.features, &mut self.memory);
        label_width.write(&self.labels, &mut self.memory);
        self.features.clear();
        self.labels.clear();
        if self.memory.len() > MEMORY_BYTES_MAX { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<(), DataError> {
        let failed = |source| DataError::Spool { file: self.file.clone(), folder: std::env::temp_dir(), source };
        let disk = match &mut self.disk {
            Some(disk) => disk,
            none => none.insert(tempfile::tempfile().map_err(failed)?),
        };
        disk.write_all(&self.memory).map_err(failed)?;
        self.memory.clear();
        Ok(())
    }

    /// The rows, to be read. Whether all of them are bytes is known now.
    pub(super) fn finish(mut self) -> Result<Spool, DataError> {
        self.end_block()?;
        if self.disk.is_some() {
            self.spill()?;
        }
        let store = match self.disk {
            Some(disk) => Store::Disk(disk),
            None => Store::Memory(io::Cursor::new(self.memory)),
        };
        let (cells, label_width, rows) = (self.cells, self.label_width, self.rows);
        let (are_bytes, numbers) = (self.are_bytes, self.numbers);
        let block = Batch::default();
        Ok(Spool { file: self.file, cells, label_width, rows, numbers, are_bytes, store, block, taken: 0 })
    }
}

/// Where the blocks lie.
enum Store {
    Memory(io::Cursor<Vec<u8>>),
    Disk(File),
}

impl Read for Store {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => bytes.read(buffer),
            Self::Disk(file) => file.read(buffer),
        }
    }
}

/// Rows that were taken.
pub(super) struct Spool {
    file: Origin,
    cells: usize,
    label_width: usize,
    pub(super) rows: usize,
    /// The number of each row, where others were left out.
    pub(super) numbers: Option<Vec<u32>>,
    /// Whether all cells of features are bytes.
    pub(super) are_bytes: bool,
    store: Store,
    /// The block that is given out, and rows of it that were.
    block: Batch,
    taken: usize,
}

impl Spool {
    fn failed(&self, source: io::Error) -> DataError {
        DataError::Spool { file: self.file.clone(), folder: std::env::temp_dir(), source }
    }

    /// Reads the next block; none behind the last.
    fn read_block(&mut self) -> Result<(), DataError> {
        (self.block.rows, self.taken) = (0, 0);
        let mut head = [0; HEAD_BYTES];
        match self.store.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other.map_err(|error| self.failed(error))?,
        }
        let [tag, label_tag, count @ ..] = head;
        let rows = u64::from_le_bytes(count) as usize;
        let (width, label_width) = (Width::of_tag(tag), Width::of_tag(label_tag));
        let mut bytes = vec![0; rows * self.cells * width as usize];
        self.store.read_exact(&mut bytes).map_err(|error| self.failed(error))?;
        if width == Width::U8 {
            self.block.features = Cells::Bytes(bytes);
        } else {
            width.read(&bytes, self.block.features.numbers());
        }
        let mut bytes = vec![0; rows * self.label_width * label_width as usize];
        self.store.read_exact(&mut bytes).map_err(|error| self.failed(error))?;
        self.block.labels.clear();
        label_width.read(&bytes, &mut self.block.labels);
        self.block.rows = rows;
        Ok(())
    }
}

impl RowStream for Spool {
    fn rewind(&mut self) -> Result<(), DataError> {
        (self.block.rows, self.taken) = (0, 0);
        match &mut self.store {
            Store::Memory(bytes) => bytes.set_position(0),
            Store::Disk(file) => {
                if let Err(error) = file.seek(SeekFrom::Start(0)) {
                    return Err(self.failed(error));
                }
            }
        }
        Ok(())
    }

    fn next(&mut self, rows_max: usize, batch: &mut Batch) -> Result<(), DataError> {
        if self.taken == self.block.rows {
            self.read_block()?;
        }
        let rows = rows_max.min(self.block.rows - self.taken);
        let cells = self.taken * self.cells..(self.taken + rows) * self.cells;
        match &self.block.features {
            Cells::Bytes(bytes) => batch.features.bytes().extend_from_slice(&bytes[cells]),
            Cells::Numbers(numbers) => batch.features.numbers().extend_from_slice(&numbers[cells]),
        }
        let labels = self.taken * self.label_width..(self.taken + rows) * self.label_width;
        batch.labels.clear();
        batch.labels.extend_from_slice(&self.block.labels[labels]);
        batch.rows = rows;
        self.taken += rows;
        Ok(())
    }
}
