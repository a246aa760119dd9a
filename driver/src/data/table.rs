//! Comma-separated tables: a header line, then a row a line; columns are found by their names.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;

use broadsweep_common::dataset::ROW_VALUES_MAX;
use csv::{ByteRecord, Reader, ReaderBuilder, Terminator, Trim};

use super::error::{self, Candidates, DataError, Origin, ValuePlace};
use super::source::{BUFFER_BYTES, Source};
use super::targets::{self, Labels};
use super::{Features, RawPart, Values};
use crate::study::LabelKind;

/// Bytes that may be read for one line: a quote that is never closed in a packed file must not fill the memory.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Reads a table; tells the part and the names of its feature columns, by which the next table is read.
pub(super) fn read(
    file: Origin,
    label: &str,
    features: Option<&[String]>,
    kind: LabelKind,
) -> Result<(RawPart, Vec<String>), DataError> {
    let mut table = Table::open(file)?;
    let names = match features {
        Some(names) => names.to_vec(),
        None => table.names.iter().filter(|name| *name != label).cloned().collect(),
    };
    let label_place = table.column(label)?;
    let places = names.iter().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
    if places.is_empty() {
        return Err(DataError::NoFeatures { file: table.file, column: label.to_owned() });
    }
    if places.len() > ROW_VALUES_MAX {
        let what = format!("{} feature columns; at most {ROW_VALUES_MAX} are read", places.len());
        return Err(DataError::TooLarge { file: table.file, what });
    }
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    while table.next()? {
        let class = table.number(label_place)?;
        if kind == LabelKind::Classes && !targets::is_class(class) {
            return Err(DataError::Class { place: table.place(label_place), value: class });
        }
        if labels.len() == u32::MAX as usize
            || labels.try_reserve(1).is_err()
            || values.try_reserve(places.len()).is_err()
        {
            let what = format!("there is no room for the rows from line {} on", table.record_line);
            return Err(DataError::TooLarge { file: table.file, what });
        }
        labels.push(class);
        for &place in &places {
            values.push(table.number(place)? as f32);
        }
    }
    let (file, rows, shape) = (table.file, labels.len(), vec![places.len() as u32]);
    if rows == 0 {
        return Err(DataError::NoRows { file });
    }
    let labels = Labels { file: file.clone(), rows, width: 1, values: labels };
    let features = Features { file, shape, rows, values: Values::F32(values) };
    Ok((RawPart { features, labels }, names))
}

/// A table while it is read, line by line.
pub(super) struct Table {
    file: Origin,
    packed: bool,
    reader: Reader<Lines>,
    allowed: Rc<Cell<u64>>,
    names: Vec<String>,
    /// Where each name stands; `None` if it stands twice.
    places: BTreeMap<String, Option<usize>>,
    record: ByteRecord,
    record_line: u64,
}

impl Table {
    /// Opens a table and reads its header line.
    pub(super) fn open(file: Origin) -> Result<Self, DataError> {
        let source = Source::open(file.clone())?;
        let packed = source.is_packed();
        let allowed = Rc::new(Cell::new(LINE_BYTES_MAX));
        let lines = Lines { source, allowed: Rc::clone(&allowed), last: None };
        let mut builder = ReaderBuilder::new();
        // Ragged lines are found here, where the line and both counts can be named.
        builder.has_headers(false).flexible(true).trim(Trim::All).buffer_capacity(BUFFER_BYTES);
        // By default the reader stops between `\r` and `\n`, and lines cannot be counted; `\r` is trimmed as a blank.
        builder.terminator(Terminator::Any(b'\n'));
        let reader = builder.from_reader(lines);
        let record = ByteRecord::new();
        let mut table = Self {
            file,
            packed,
            reader,
            allowed,
            names: Vec::new(),
            places: BTreeMap::new(),
            record,
            record_line: 0,
        };
        if !table.read_record()? {
            return Err(DataError::NoRows { file: table.file });
        }
        table.names = table.record.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        for (place, name) in table.names.iter().enumerate() {
            table.places.entry(name.clone()).and_modify(|known| *known = None).or_insert(Some(place));
        }
        Ok(table)
    }

    /// Where a column stands.
    pub(super) fn column(&self, name: &str) -> Result<usize, DataError> {
        let (file, column) = (self.file.clone(), name.to_owned());
        match self.places.get(name) {
            None => {
                let candidates = Candidates::of(name, &self.names);
                Err(DataError::NoSuchColumn { file, column, candidates })
            }
            Some(Some(place)) => Ok(*place),
            Some(None) => Err(DataError::ColumnTwice { file, column }),
        }
    }

    /// Goes to the next row; `false` behind the last.
    pub(super) fn next(&mut self) -> Result<bool, DataError> {
        let more = self.read_record()?;
        let (got, want) = (self.record.len(), self.names.len());
        if more && got != want {
            return Err(DataError::Ragged { file: self.file.clone(), line: self.record_line, got, want });
        }
        Ok(more)
    }

    /// Reads up to the next line that is not blank.
    fn read_record(&mut self) -> Result<bool, DataError> {
        loop {
            let more = self.read_line()?;
            if !(more && self.record.len() == 1 && self.record[0].is_empty()) {
                return Ok(more);
            }
        }
    }

    fn read_line(&mut self) -> Result<bool, DataError> {
        self.allowed.set(LINE_BYTES_MAX);
        let more = self.reader.read_byte_record(&mut self.record).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let what = format!("a line of more than {LINE_BYTES_MAX} bytes; is a quote not closed?");
                DataError::TooLarge { file: self.file.clone(), what }
            }
            csv::ErrorKind::Io(error) if self.packed => DataError::of_packed(&self.file, error),
            csv::ErrorKind::Io(error) => DataError::of_file(&self.file, error),
            other => DataError::Corrupt { file: self.file.clone(), what: format!("{other:?}") },
        })?;
        // The reader stands on the line after; the record's own position is before the blank lines above it.
        let quoted_line_ends = self.record.iter().flatten().filter(|&&byte| byte == b'\n').count() as u64;
        self.record_line = self.reader.position().line().saturating_sub(1 + quoted_line_ends);
        Ok(more)
    }

    /// One field of the row, without the blanks around it.
    pub(super) fn text(&self, place: usize) -> Cow<'_, str> {
        String::from_utf8_lossy(self.record.get(place).unwrap_or_default())
    }

    /// The finite number in one field of the row.
    fn number(&self, place: usize) -> Result<f64, DataError> {
        let field = self.record.get(place).unwrap_or_default();
        let Some(value) = std::str::from_utf8(field).ok().and_then(|text| text.parse::<f64>().ok()) else {
            let text = error::shown(&String::from_utf8_lossy(field));
            return Err(DataError::Text { place: self.place(place), text });
        };
        if !(value as f32).is_finite() {
            return Err(DataError::NotFinite { place: self.place(place), value });
        }
        Ok(value)
    }

    /// Where a field of the row stands.
    pub(super) fn place(&self, place: usize) -> ValuePlace {
        ValuePlace::Line { file: self.file.clone(), line: self.record_line, column: self.names[place].clone() }
    }
}

/// The bytes of a table, the last line ended like the others. A line that is too long ends with
/// [`io::ErrorKind::FileTooLarge`].
struct Lines {
    source: Source,
    allowed: Rc<Cell<u64>>,
    last: Option<u8>,
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.source.read(buffer)?;
        if bytes == 0 && self.last.is_some_and(|last| last != b'\n') && !buffer.is_empty() {
            buffer[0] = b'\n';
            bytes = 1;
        }
        self.last = buffer[..bytes].last().copied().or(self.last);
        let allowed = self.allowed.get().checked_sub(bytes as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.allowed.set(allowed);
        Ok(bytes)
    }
}
