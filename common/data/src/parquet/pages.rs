//! What the pages of a column say of themselves, checked before the library believes it: it takes memory for whatever
//! size a page claims. Only the headers are read here.
//!
//! Source: the Parquet format, parquet.thrift, `PageHeader`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;
use parquet::basic::Type as Physical;
use parquet::schema::types::ColumnDescriptor;

use super::codec::PageCodec;
use super::compact::{Broken, Compact, Kind};
use super::refusal::Refusal;

/// Bytes of a page, unpacked.
const PAGE_BYTES_MAX: usize = 128 << 20;
/// Bytes of the longest header: it may have statistics, with the least and the greatest text.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a header that are read at first; four times as many while it has not ended.
const HEADER_BYTES_READ: u64 = 256;
/// Values of a dictionary. The library keeps 32 bytes for each text, beside its letters.
const DICTIONARY_VALUES_MAX: usize = 1 << 22;

/// Where the pages of one column in one group of rows are, and how they are packed.
pub(super) struct Chunk<'a> {
    pub(super) file: &'a File,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) codec: PageCodec,
    pub(super) column: &'a ColumnDescriptor,
    /// Rows of the group.
    pub(super) rows: u64,
}

/// The pages that a column still has to come.
#[derive(Debug, Default)]
pub(super) struct PageRoom {
    pub(super) pages: VecDeque<DataPage>,
    /// Bytes of memory that its dictionary and its largest page take.
    pub(super) held_bytes: u64,
}

/// Values of a page that are not read yet.
#[derive(Debug)]
pub(super) struct DataPage {
    pub(super) values: usize,
    /// Bytes that are kept while some of its texts are; 0 of numbers.
    pub(super) text_bytes: usize,
    /// Whether each of its texts is written out, and may be as long as all of them.
    pub(super) is_written_out: bool,
}

/// The fields of `PageHeader` and of the headers in it.
#[derive(Default)]
struct PageHeader {
    page_type: Option<i32>,
    unpacked: Option<i32>,
    packed: Option<i32>,
    /// The type of page that the header in it is for.
    inner: Option<i32>,
    values: Option<i32>,
    encoding: i32,
    level_bytes: [i32; 2],
    is_plain: bool,
}

/// How large a page is.
struct PageSize {
    unpacked: usize,
    packed: usize,
    /// Bytes in front that are never packed: the levels of a page of the second version.
    plain: usize,
    codec: PageCodec,
}

impl PageRoom {
    /// Walks through the pages of a chunk.
    pub(super) fn of(chunk: &Chunk<'_>) -> Result<Self, Refusal> {
        let (mut room, mut dictionary, mut largest, mut values_before) = (Self::default(), None, 0, 0);
        let mut at = chunk.start;
        while at < chunk.end {
            let (header, header_bytes) = PageHeader::read(chunk.file, at, chunk.end)?;
            let start = at + header_bytes;
            let size = header.size(chunk.codec, chunk.end - start)?;
            at = start + size.packed as u64;
            size.check_gzip(chunk.file, start)?;
            let values = header.values()?;
            match header.page_type {
                Some(1) => continue, // an index, which the library steps over too
                Some(2) if dictionary.is_some() => return Err(Refusal::corrupt("it has more than one dictionary")),
                Some(2) => {
                    check_dictionary(values, size.unpacked, chunk.column)?;
                    dictionary = Some(size.unpacked + values * 32);
                    continue;
                }
                _ => header.check_encoding(chunk.column.physical_type(), dictionary.is_some())?,
            }
            values_before += values as u64;
            if values_before > chunk.rows {
                return Err(Refusal::corrupt("its pages have more values than its group has rows"));
            }
            largest = largest.max(size.unpacked);
            let is_text =
                matches!(chunk.column.physical_type(), Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY);
            if values > 0 {
                let text_bytes = if is_text { size.unpacked } else { 0 };
                room.pages.push_back(DataPage { values, text_bytes, is_written_out: header.encoding == 7 });
            }
        }
        room.held_bytes = (largest + dictionary.unwrap_or(0)) as u64;
        Ok(room)
    }

    /// So many of the next rows, at most, that their texts keep no more bytes: one at least.
    pub(super) fn rows_at_once(&self, rows_max: usize, bytes_max: usize) -> usize {
        let (mut rows, mut bytes) = (0, 0);
        for page in &self.pages {
            let left = bytes_max.saturating_sub(bytes);
            let fitting = if page.is_written_out {
                page.values.min(left / page.text_bytes.max(1))
            } else if rows == 0 || page.text_bytes <= left {
                page.values
            } else {
                0
            };
            rows += fitting;
            bytes += if page.is_written_out { fitting * page.text_bytes } else { page.text_bytes };
            if fitting < page.values || rows >= rows_max {
                break;
            }
        }
        rows.clamp(1, rows_max.max(1))
    }

    /// Forgets so many rows, which were read.
    pub(super) fn advance(&mut self, mut rows: usize) {
        while let Some(page) = self.pages.front_mut() {
            if page.values > rows {
                page.values -= rows;
                return;
            }
            rows -= page.values;
            self.pages.pop_front();
        }
    }
}

impl PageHeader {
    /// Reads the header at `at`, of a chunk that ends at `end`; and its length.
    fn read(file: &File, at: u64, end: u64) -> Result<(Self, u64), Refusal> {
        let mut bytes = Vec::new();
        let mut wanted = HEADER_BYTES_READ;
        loop {
            bytes.resize(wanted.min(end - at) as usize, 0);
            file.read_exact_at(&mut bytes, at)?;
            match Self::parse(&bytes) {
                Err(Broken::Short) if wanted < HEADER_BYTES_MAX && bytes.len() as u64 == wanted => wanted *= 4,
                Err(Broken::Short) => return Err(Refusal::corrupt("a page's header does not end")),
                Err(broken) => return Err(broken.into()),
                Ok((header, bytes)) => return Ok((header, bytes as u64)),
            }
        }
    }

    fn parse(bytes: &[u8]) -> Result<(Self, usize), Broken> {
        let mut header = Self::default();
        let mut input = Compact::new(bytes);
        input.each_field(|input, field, kind| {
            match field {
                1 => header.page_type = Some(input.small(kind)?),
                2 => header.unpacked = Some(input.small(kind)?),
                3 => header.packed = Some(input.small(kind)?),
                4 => drop(input.small(kind)?),
                5 => header.read_inner(0, input, kind, [1, 2], &[3, 4], &[])?,
                6 => header.read_inner(1, input, kind, [-1, -1], &[], &[])?,
                7 => header.read_inner(2, input, kind, [1, 2], &[], &[3])?,
                8 => header.read_inner(3, input, kind, [1, 4], &[2, 3, 5, 6], &[7])?,
                _ => input.skip(kind)?,
            }
            Ok(())
        })?;
        Ok((header, input.position()))
    }

    /// Reads the header for a type of page: the fields of values and encoding, other whole numbers, and flags.
    fn read_inner(
        &mut self,
        page_type: i32,
        input: &mut Compact<'_>,
        kind: Kind,
        [values, encoding]: [i16; 2],
        wholes: &[i16],
        flags: &[i16],
    ) -> Result<(), Broken> {
        if self.inner.replace(page_type).is_some() {
            return Err(Broken::Wrong("a page is said to be two"));
        }
        input.inner(kind, |input, field, kind| {
            if field == values {
                self.values = Some(input.small(kind)?);
            } else if field == encoding {
                self.encoding = input.small(kind)?;
            } else if wholes.contains(&field) {
                let whole = input.small(kind)?;
                if page_type == 3 && field >= 5 {
                    self.level_bytes[field as usize - 5] = whole;
                }
            } else if !flags.contains(&field) {
                input.skip(kind)?;
            } else if !matches!(kind, Kind::True | Kind::False) {
                return Err(Broken::Wrong("a truth value is none"));
            } else if page_type == 3 {
                self.is_plain = kind == Kind::False;
            }
            Ok(())
        })
    }

    fn values(&self) -> Result<usize, Refusal> {
        match self.page_type {
            Some(1) => return Ok(0),
            Some(page_type @ (0 | 2 | 3)) if self.inner == Some(page_type) => {}
            _ => return Err(Refusal::corrupt("a page does not say what it is")),
        }
        let values = self.values.and_then(|values| usize::try_from(values).ok());
        values.ok_or_else(|| Refusal::corrupt("a page does not say how many values it has"))
    }

    /// How large the page is, of which no more than so many bytes are there.
    fn size(&self, codec: PageCodec, bytes_left: u64) -> Result<PageSize, Refusal> {
        let size = |bytes: Option<i32>| bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let (Some(unpacked), Some(packed)) = (size(self.unpacked), size(self.packed)) else {
            return Err(Refusal::corrupt("a page does not say how large it is"));
        };
        if packed as u64 > bytes_left {
            return Err(Refusal::corrupt("a page is said to be longer than its column"));
        }
        // What cannot be packed may grow a little, and what is packed in vain.
        if unpacked > PAGE_BYTES_MAX || packed > 2 * PAGE_BYTES_MAX {
            let what = format!("a page of {unpacked} bytes, and 128 MiB are read; write it anew with smaller pages");
            return Err(Refusal::TooLarge(what));
        }
        let [Some(definitions), Some(repetitions)] = self.level_bytes.map(|bytes| size(Some(bytes))) else {
            return Err(Refusal::corrupt("a page has levels of less than no bytes"));
        };
        let plain = definitions.saturating_add(repetitions);
        if plain > unpacked.min(packed) {
            return Err(Refusal::corrupt("a page has levels of more bytes than it has"));
        }
        let codec = if self.is_plain { PageCodec::Plain } else { codec };
        // A page without values may have no bytes that could be unpacked.
        if unpacked > plain && !codec.can_make(unpacked - plain, packed - plain) {
            return Err(Refusal::corrupt(format!("a page of {packed} bytes is said to become {unpacked}")));
        }
        Ok(PageSize { unpacked, packed, plain, codec })
    }

    /// Refuses an encoding that the column's type does not have. 0 is `PLAIN`, 2 and 8 are dictionaries, 3 is `RLE`, 5 to 7
    /// are deltas, 9 is `BYTE_STREAM_SPLIT`.
    fn check_encoding(&self, physical: Physical, has_dictionary: bool) -> Result<(), Refusal> {
        let known: &[i32] = match physical {
            Physical::BOOLEAN => &[0, 3],
            Physical::INT32 | Physical::INT64 => &[0, 2, 5, 8, 9],
            Physical::FLOAT | Physical::DOUBLE => &[0, 2, 8, 9],
            Physical::BYTE_ARRAY => &[0, 2, 6, 7, 8],
            Physical::FIXED_LEN_BYTE_ARRAY => &[0, 2, 6, 7, 8, 9],
            Physical::INT96 => &[],
        };
        match self.encoding {
            2 | 8 if physical != Physical::BOOLEAN && !has_dictionary => {
                Err(Refusal::corrupt("a page's dictionary is missing"))
            }
            encoding if known.contains(&encoding) => Ok(()),
            0..10 => Err(Refusal::corrupt("a page is written in a way that is none for its column's type")),
            other => Err(Refusal::Unsupported(format!(
                "its values are encoded in a way that is not read (number {other})"
            ))),
        }
    }
}

/// Refuses a dictionary of more values than its bytes can be: the library takes memory for as many.
fn check_dictionary(values: usize, bytes: usize, column: &ColumnDescriptor) -> Result<(), Refusal> {
    let value_bytes = match column.physical_type() {
        Physical::INT32 | Physical::FLOAT | Physical::BYTE_ARRAY => 4,
        Physical::INT64 | Physical::DOUBLE => 8,
        Physical::FIXED_LEN_BYTE_ARRAY => usize::try_from(column.type_length()).unwrap_or(0).max(1),
        Physical::BOOLEAN | Physical::INT96 => return Err(Refusal::corrupt("its type has no dictionaries")),
    };
    if values > bytes / value_bytes {
        Err(Refusal::corrupt("a dictionary has fewer values than it says"))
    } else if values > DICTIONARY_VALUES_MAX {
        let what = format!("a dictionary of {values} values; write it anew without dictionaries");
        Err(Refusal::TooLarge(what))
    } else {
        Ok(())
    }
}

impl PageSize {
    /// Refuses a page that gzip makes more of than it says: the library unpacks all of it, and compares afterwards. So where
    /// that could be much, it is unpacked here first, and goes nowhere.
    fn check_gzip(&self, file: &File, start: u64) -> Result<(), Refusal> {
        let packed = self.packed - self.plain;
        if self.codec != PageCodec::Gzip || !PageCodec::Gzip.can_make(PAGE_BYTES_MAX, packed) {
            return Ok(());
        }
        let at = start + self.plain as u64;
        let stored = BufReader::with_capacity(1 << 16, Stored { file, at, end: at + packed as u64 });
        let most = (self.unpacked - self.plain) as u64;
        // Where it is damaged, the library says so.
        let mut unpacked = MultiGzDecoder::new(stored).take(most + 1);
        let is_more = io::copy(&mut unpacked, &mut io::sink()).is_ok_and(|bytes| bytes > most);
        if is_more { Err(Refusal::corrupt("a page becomes more than it says")) } else { Ok(()) }
    }
}

/// Some bytes of a file.
struct Stored<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Stored<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(into.len());
        let bytes = self.file.read_at(&mut into[..most], self.at)?;
        self.at += bytes as u64;
        Ok(bytes)
    }
}
