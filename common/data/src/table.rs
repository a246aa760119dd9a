//! The text of a table, row by row: cells, and where they stand.

use std::borrow::Cow;
use std::cell::Cell as Shared;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::rc::Rc;

use broadsweep_common::schema::Dialect;
use csv::{ByteRecord, Reader, ReaderBuilder, Terminator, Trim};

use super::cells::{self, Cell};
use super::dialect::{self, Squeezer, Written};
use super::error::{Advice, Candidates, DataError, Origin, ValuePlace};
use super::source::{BUFFER_BYTES, Source};
use super::text::{self, NotInEncoding};
use crate::settings::ColumnName;

/// Bytes that may be read for one line: a quote that is never closed in a packed file must not fill the memory.
pub(super) const LINE_BYTES_MAX: u64 = 64 << 20;

/// A table while it is read, line by line.
pub(super) struct Table {
    file: Origin,
    packed: bool,
    reader: Reader<Lines>,
    allowed: Rc<Shared<u64>>,
    written: Written,
    /// Where in the file the text begins, if it lies there as it is.
    plain_from: Option<u64>,
    /// Bytes of a line, at the beginning.
    line_bytes: u64,
    names: Names,
    record: ByteRecord,
    record_line: u64,
    /// What is added to the reader's count of lines.
    line_offset: i64,
    /// Whether the record is the first row, which was read to count its cells.
    is_ahead: bool,
}

/// What columns are called.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// In their order; empty for a column without a name.
    all: Vec<String>,
    places: BTreeMap<String, usize>,
    /// Names that stood there more than once: all but the first are numbered.
    twice: BTreeSet<String>,
}

impl Names {
    /// Of a header line. A name that stands there again is numbered.
    pub(super) fn of(given: impl Iterator<Item = String>) -> Self {
        let mut names = Self::default();
        for (place, given) in given.enumerate() {
            let mut name = given.clone();
            let mut number = 1;
            while !name.is_empty() && names.places.contains_key(&name) {
                number += 1;
                name = format!("{given}.{number}");
                names.twice.insert(given.clone());
            }
            if !name.is_empty() {
                names.places.insert(name.clone(), place);
            }
            names.all.push(name);
        }
        names
    }

    /// Of columns that have only numbers.
    pub(super) fn numbers(count: usize) -> Self {
        Self::of((1..=count).map(|number| number.to_string()))
    }

    /// In their order.
    pub(super) fn all(&self) -> &[String] {
        &self.all
    }

    /// Those that stood there more than once.
    pub(super) fn twice(&self) -> &BTreeSet<String> {
        &self.twice
    }

    /// Whether [`Self::find`] finds a column of this name. It looks for no similar ones, which takes long among many.
    pub(super) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name) || self.nameless(name).is_some()
    }

    /// Where a column stands.
    pub(super) fn find(&self, file: &Origin, column: &ColumnName) -> Result<usize, DataError> {
        match column {
            ColumnName::Name(name) => {
                self.places.get(name).copied().or_else(|| self.nameless(name)).ok_or_else(|| {
                    if let [only] = &self.all[..]
                        && let Some(between) = [';', ',', '\t', '|'].into_iter().find(|&mark| only.contains(mark))
                    {
                        let what = format!("it has one column, `{}`", super::error::shown(only));
                        let in_study = format!(
                            "if {between:?} stands between its columns, write delimiter = \"{between}\" in [data]"
                        );
                        let advice = Advice { in_study, ..Advice::default() };
                        return DataError::Dialect { file: file.clone(), line: None, what, advice };
                    }
                    let candidates = Candidates::of(name, &self.all);
                    DataError::NoSuchColumn { file: file.clone(), column: name.clone(), candidates }
                })
            }
            ColumnName::Number(number) if *number <= self.all.len() => Ok(number - 1),
            ColumnName::Number(number) => {
                let what = format!("there is no column {number}: it has {}", self.all.len());
                Err(DataError::Dialect { file: file.clone(), line: None, what, advice: Advice::default() })
            }
        }
    }

    /// The column without a name that is called by its number.
    fn nameless(&self, number: &str) -> Option<usize> {
        let place = number.parse::<usize>().ok()?.checked_sub(1)?;
        self.all.get(place).is_some_and(String::is_empty).then_some(place)
    }

    /// How the column at this place is found in another table.
    pub(super) fn reference(&self, place: usize) -> ColumnName {
        match self.all.get(place) {
            Some(name) if !name.is_empty() => ColumnName::Name(name.clone()),
            _ => ColumnName::Number(place + 1),
        }
    }

    /// What messages call the column at this place.
    pub(super) fn shown(&self, place: usize) -> String {
        match self.all.get(place) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => (place + 1).to_string(),
        }
    }
}

impl Table {
    /// Opens a table as programs write it, with a header line.
    pub(super) fn open(file: Origin) -> Result<Self, DataError> {
        let source = Source::open(file)?;
        Self::read(source, &Dialect { delimiter: Some(b','), ..Dialect::default() }, None, Some(Written::USUAL))
    }

    /// Opens a table, finds out how it is written, and reads its header line. `label` is a column that it should have.
    pub(super) fn find(file: Origin, given: &Dialect, label: Option<&ColumnName>) -> Result<Self, DataError> {
        Self::read(Source::open(file)?, given, label, None)
    }

    fn read(
        source: Source,
        given: &Dialect,
        label: Option<&ColumnName>,
        written: Option<Written>,
    ) -> Result<Self, DataError> {
        let (file, packed) = (source.file.clone(), source.is_packed());
        let text = text::open(source, given.encoding.as_deref())?;
        let written = match written {
            Some(written) => written,
            None => dialect::find(&file, &text.sample, text.is_whole, given, label)?,
        };
        let allowed = Rc::new(Shared::new(LINE_BYTES_MAX));
        let sample_lines = text.sample.split(|&byte| byte == b'\n').count();
        let mut table = Self {
            file,
            packed,
            reader: reader_of(text.reader, &allowed, written),
            allowed,
            written,
            plain_from: text.plain_from,
            line_bytes: (text.sample.len() / sample_lines).max(1) as u64,
            names: Names::default(),
            record: ByteRecord::new(),
            record_line: 0,
            line_offset: 0,
            is_ahead: false,
        };
        if !table.read_record()? {
            return Err(DataError::NoRows { file: table.file });
        }
        table.name_columns()?;
        Ok(table)
    }

    fn name_columns(&mut self) -> Result<(), DataError> {
        if !self.written.header {
            (self.names, self.is_ahead) = (Names::numbers(self.record.len()), true);
            return Ok(());
        }
        if let Some(cell) = self.record.iter().find(|cell| std::str::from_utf8(cell).is_err()) {
            return Err(self.unreadable(cell));
        }
        self.names = Names::of(self.record.iter().map(|name| cells::name(name).into_owned()));
        Ok(())
    }

    /// What to say of text that is not UTF-8.
    fn unreadable(&self, cell: &[u8]) -> DataError {
        let byte = cell.utf8_chunks().find_map(|part| part.invalid().first().copied()).unwrap_or_default();
        let what =
            format!("the byte {byte:02x} in \"{}\" is no UTF-8", super::error::shown(&String::from_utf8_lossy(cell)));
        let in_study = "if the text was written in another encoding, say in which: encoding = \"latin1\" or \
                        \"windows-1252\" in [data], for example";
        let advice = Advice { in_study: in_study.to_owned(), for_model: "save the file as UTF-8" };
        DataError::Dialect { file: self.file.clone(), line: Some(self.record_line), what, advice }
    }

    /// The file.
    pub(super) fn file(&self) -> &Origin {
        &self.file
    }

    /// What its columns are called.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// How it is written.
    pub(super) fn written(&self) -> Written {
        self.written
    }

    /// Where in the file its text begins, if it lies there as it is.
    pub(super) fn plain_from(&self) -> Option<u64> {
        self.plain_from
    }

    /// Whether it passes a decompressor.
    pub(super) fn is_packed(&self) -> bool {
        self.packed
    }

    /// Bytes of a line, as those are at the beginning: one at least.
    pub(super) fn line_bytes(&self) -> u64 {
        self.line_bytes
    }

    /// The line of the row, from 1.
    pub(super) fn line(&self) -> u64 {
        self.record_line
    }

    /// Goes to the rows that lie in these bytes of the file: where its text [lies as it is](Self::plain_from), and a
    /// record begins behind so many lines.
    pub(super) fn go_to(&mut self, bytes: Range<u64>, lines_before: u64) -> Result<(), DataError> {
        let part = Source::part(self.file.clone(), bytes)?;
        // At its beginning the reader would take the mark of UTF-8 for one, which stands for a letter here.
        let text = Cursor::new(b"\n").chain(part);
        self.reader = reader_of(Box::new(text), &self.allowed, self.written);
        self.line_offset = i64::try_from(lines_before).unwrap_or(i64::MAX) - 1;
        self.is_ahead = false;
        Ok(())
    }

    /// The decimal mark of its numbers.
    pub(super) fn decimal(&self) -> u8 {
        self.written.decimal
    }

    /// Where a column stands that no other is called like.
    pub(super) fn column(&self, name: &str) -> Result<usize, DataError> {
        if self.names.twice.contains(name) {
            return Err(DataError::ColumnTwice { file: self.file.clone(), column: name.to_owned() });
        }
        self.names.find(&self.file, &ColumnName::Name(name.to_owned()))
    }

    /// Goes to the next row; `false` behind the last.
    pub(super) fn next(&mut self) -> Result<bool, DataError> {
        let more = std::mem::take(&mut self.is_ahead) || self.read_record()?;
        let (got, want) = (self.record.len(), self.names.all.len());
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
            csv::ErrorKind::Io(error) => match NotInEncoding::of(&error) {
                Some(what) => what.at(&self.file, Some(self.reader_line())),
                None if self.packed => DataError::of_packed(&self.file, error),
                None => DataError::of_file(&self.file, error),
            },
            other => DataError::Corrupt { file: self.file.clone(), what: format!("{other:?}") },
        })?;
        // The reader stands on the line after; the record's own position is before the blank lines above it.
        let quoted_line_ends = self.record.iter().flatten().filter(|&&byte| byte == b'\n').count() as u64;
        self.record_line = self.reader_line().saturating_sub(1 + quoted_line_ends);
        Ok(more)
    }

    /// The line that the reader stands on, from 1.
    fn reader_line(&self) -> u64 {
        self.reader.position().line().saturating_add_signed(self.line_offset)
    }

    /// One field of the row, without the blanks around it.
    pub(super) fn text(&self, place: usize) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes(place))
    }

    /// The same as it stands there.
    pub(super) fn bytes(&self, place: usize) -> &[u8] {
        self.record.get(place).unwrap_or_default()
    }

    /// Whether the row has a field there.
    #[cfg(test)]
    pub(super) fn has(&self, place: usize) -> bool {
        self.record.len() > place
    }

    /// What one field of the row says.
    pub(super) fn cell(&self, place: usize) -> Cell<'_> {
        match std::str::from_utf8(self.bytes(place)) {
            Ok(text) if cells::is_missing(text) => Cell::Missing,
            Ok(text) => Cell::Text(Cow::Borrowed(text)),
            Err(_) => Cell::Unreadable,
        }
    }

    /// Where a field of the row stands.
    pub(super) fn place(&self, place: usize) -> ValuePlace {
        ValuePlace::Line { file: self.file.clone(), line: self.record_line, column: self.names.shown(place) }
    }

    /// The error of a field that is no text.
    pub(super) fn bad_text(&self, place: usize) -> DataError {
        self.unreadable(self.bytes(place))
    }
}

/// Reads records of text that is written so.
fn reader_of(text: Box<dyn Read>, allowed: &Rc<Shared<u64>>, written: Written) -> Reader<Lines> {
    let squeezer = (written.delimiter == b' ').then(Squeezer::default);
    let lines = Lines { text, allowed: Rc::clone(allowed), last: None, squeezer };
    let mut builder = ReaderBuilder::new();
    // Ragged lines are found here, where the line and both counts can be named.
    builder.has_headers(false).flexible(true).trim(Trim::All).buffer_capacity(BUFFER_BYTES);
    // By default the reader stops between `\r` and `\n`, and lines cannot be counted; `\r` is trimmed as a blank.
    builder.terminator(Terminator::Any(b'\n')).delimiter(written.delimiter);
    builder.from_reader(lines)
}

/// The bytes of a table, the last line ended like the others. A line that is too long ends with
/// [`io::ErrorKind::FileTooLarge`].
struct Lines {
    text: Box<dyn Read>,
    allowed: Rc<Shared<u64>>,
    last: Option<u8>,
    /// Of a table with spaces between its cells.
    squeezer: Option<Squeezer>,
}

impl Lines {
    fn read_text(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(squeezer) = &mut self.squeezer else { return self.text.read(buffer) };
        // One byte of room for a space that is owed from the piece before.
        let room = buffer.len().saturating_sub(1).max(1);
        loop {
            let mut piece = vec![0; room];
            let bytes = self.text.read(&mut piece)?;
            piece.truncate(bytes);
            let left = squeezer.squeeze(&mut piece);
            if bytes == 0 || left > 0 {
                buffer[..left].copy_from_slice(&piece);
                return Ok(left);
            }
        }
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.len() < 2 {
            return Err(io::ErrorKind::InvalidInput.into()); // the reader's buffer is far larger
        }
        let mut bytes = self.read_text(buffer)?;
        if bytes == 0 && self.last.is_some_and(|last| last != b'\n') {
            buffer[0] = b'\n';
            bytes = 1;
        }
        self.last = buffer[..bytes].last().copied().or(self.last);
        let allowed = self.allowed.get().checked_sub(bytes as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.allowed.set(allowed);
        Ok(bytes)
    }
}
