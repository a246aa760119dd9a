//! The text of a table: what is no text is named for what it is, and every encoding becomes UTF-8.

use std::io::{self, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use thiserror::Error;

use super::error::{Advice, DataError, Origin};
use super::source::{BUFFER_BYTES, Source};

/// Bytes of a file that are looked at to tell what it is.
pub(super) const SAMPLE_BYTES: usize = 64 << 10;

/// What files are that are no tables, by their first bytes, and what to do.
const OTHERS: &[(&[u8], &str, &str)] = &[
    (b"PAR1", "a Parquet file", "write format = \"parquet\""),
    (b"\x93NUMPY", "a NumPy array", "write format = \"npy\""),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls)", "save it as CSV"),
    (b"\x89HDF", "an HDF5 file", "write it as Parquet or CSV"),
    (b"SQLite format 3\0", "an SQLite database", "write the table as CSV"),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"FEA1", "a Feather file", "write it as Parquet"),
    (b"%PDF", "a PDF document", "write its table as CSV"),
    (b"\x89PNG", "a picture (PNG)", "write format = \"images\" for folders of pictures"),
    (b"\xff\xd8\xff", "a picture (JPEG)", "write format = \"images\" for folders of pictures"),
    (b"BZh", "packed by bzip2", "unpack it, or pack it by gzip or zstd"),
    (b"\xfd7zXZ\0", "packed by xz", "unpack it, or pack it by gzip or zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, and name the table in it"),
    (b"Rar!", "a RAR archive", "unpack it, and name the table in it"),
    (b"\x80\x04\x95", "a Python pickle", "write it as Parquet or CSV"),
    (b"\x7fELF", "a program", "name a table"),
    (b"<!DOCTYPE", "a web page", "download the file behind it"),
    (b"<!doctype", "a web page", "download the file behind it"),
    (b"<html", "a web page", "download the file behind it"),
    (b"<?xml", "XML", "write it as CSV"),
    (b"{\"", "JSON", "write it as CSV"),
    (b"{\n", "JSON", "write it as CSV"),
    (b"[{", "JSON", "write it as CSV"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself with `git lfs pull`"),
];

/// The text of a file as UTF-8 without a mark in front, and the beginning of it.
pub(super) struct Text {
    /// The beginning, up to [`SAMPLE_BYTES`] or the end.
    pub(super) sample: Vec<u8>,
    /// Whether the sample is all.
    pub(super) is_whole: bool,
    /// The encoding whose mark stood in front: it counts, whatever was given.
    pub(super) marked: Option<&'static Encoding>,
    /// Where in the file the text begins, if it lies there as it is.
    pub(super) plain_from: Option<u64>,
    /// Everything, the sample again included.
    pub(super) reader: Box<dyn Read>,
}

/// Opens a file as text in the encoding that is given, or else in the one that its first bytes show.
pub(super) fn open(mut source: Source, encoding: Option<&str>) -> Result<Text, DataError> {
    let file = source.file.clone();
    let mut start = vec![0; SAMPLE_BYTES];
    let got = source.fill(&mut start)?;
    start.truncate(got);
    let given = encoding.and_then(|name| Encoding::for_label(name.as_bytes()));
    let marked = Encoding::for_bom(&start);
    check_kind(&file, &start, marked.map(|(encoding, _)| encoding).or(given))?;
    let encoding = marked.map_or(given.unwrap_or(UTF_8), |(encoding, _)| encoding);
    let mark_bytes = marked.map_or(0, |(_, bytes)| bytes);
    let is_decoded = encoding != UTF_8;
    let plain_from = (source.is_plain() && !is_decoded).then_some(mark_bytes as u64);
    let all = Cursor::new(start.split_off(mark_bytes)).chain(source);
    let mut reader: Box<dyn Read> =
        if is_decoded { Box::new(Decoded::new(Box::new(all), encoding)) } else { Box::new(all) };
    let mut sample = Vec::new();
    (&mut reader).take(SAMPLE_BYTES as u64).read_to_end(&mut sample).map_err(|error| of_reading(&file, error))?;
    let is_whole = sample.len() < SAMPLE_BYTES;
    let reader = Box::new(Cursor::new(sample.clone()).chain(reader));
    Ok(Text { sample, is_whole, marked: marked.map(|(encoding, _)| encoding), plain_from, reader })
}

/// An error of the system or of what unpacks: which one, whoever reads on will see again.
fn of_reading(file: &Origin, error: io::Error) -> DataError {
    match NotInEncoding::of(&error) {
        Some(what) => what.at(file, None),
        None => DataError::of_packed(file, error),
    }
}

/// Refuses what is no table.
fn check_kind(file: &Origin, start: &[u8], encoding: Option<&Encoding>) -> Result<(), DataError> {
    let refuse = |what, advice| Err(DataError::NoTable { file: file.clone(), what, advice });
    if start.starts_with(b"PK\x03\x04") {
        let has = |name: &[u8]| start.windows(name.len()).any(|window| window == name);
        return if has(b"xl/") || has(b"[Content_Types].xml") {
            refuse("an Excel workbook (.xlsx)", "save it as CSV")
        } else if has(b".npy") {
            refuse("an archive of NumPy arrays", "write format = \"npz\"")
        } else if has(b"opendocument.spreadsheet") {
            refuse("an OpenDocument spreadsheet (.ods)", "save it as CSV")
        } else {
            refuse(
                "a ZIP archive, as spreadsheets are too",
                "save a spreadsheet as CSV; unpack an archive, and name the table in it; gzip and zstd are read as they are",
            )
        };
    }
    if let Some((_, what, advice)) = OTHERS.iter().find(|(magic, _, _)| start.starts_with(magic)) {
        return refuse(what, advice);
    }
    if start.get(257..262) == Some(b"ustar") {
        return refuse("a tar archive", "unpack it, and name the table in it");
    }
    let is_wide = encoding.is_some_and(|encoding| encoding == UTF_16LE || encoding == UTF_16BE);
    if is_wide || !start.contains(&0) {
        return Ok(());
    }
    let zeros = |odd| start.iter().skip(odd).step_by(2).filter(|&&byte| byte == 0).count();
    match (zeros(0), zeros(1)) {
        (0, _) => refuse("UTF-16 without a mark in front", "write encoding = \"utf-16le\""),
        (_, 0) => refuse("UTF-16 without a mark in front", "write encoding = \"utf-16be\""),
        _ => refuse("binary data of a kind that is not known here", "write it as CSV or Parquet"),
    }
}

/// Bytes that stand for no letter in the encoding of this name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("bytes that are no text in {0}")]
pub(super) struct NotInEncoding(pub(super) &'static str);

impl NotInEncoding {
    /// Whether that is what a reader said.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// The error of a file that has them, at a line if that is known.
    pub(super) fn at(self, file: &Origin, line: Option<u64>) -> DataError {
        let advice = Advice {
            in_study: "write the encoding that the file has, or save it as UTF-8".to_owned(),
            for_model: "save it in that encoding, as the tables were that the model was trained on",
        };
        DataError::Dialect { file: file.clone(), line, what: self.to_string(), advice }
    }
}

/// Text of another encoding on its way to UTF-8.
struct Decoded {
    source: Box<dyn Read>,
    decoder: Decoder,
    raw: Vec<u8>,
    /// Bytes of `raw` that are to be decoded.
    left: std::ops::Range<usize>,
    is_last: bool,
    is_wrong: bool,
    is_over: bool,
    text: Vec<u8>,
    given: usize,
}

impl Decoded {
    fn new(source: Box<dyn Read>, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        Self {
            source,
            decoder,
            raw: vec![0; BUFFER_BYTES],
            left: 0..0,
            is_last: false,
            is_wrong: false,
            is_over: false,
            text: Vec::new(),
            given: 0,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        while self.given == self.text.len() && !self.is_over {
            if self.left.is_empty() && !self.is_last {
                let bytes = self.source.read(&mut self.raw)?;
                (self.left, self.is_last) = (0..bytes, bytes == 0);
            }
            self.text.resize(2 * BUFFER_BYTES, 0);
            let raw = &self.raw[self.left.clone()];
            let decoder = &mut self.decoder;
            let (result, read, written) =
                decoder.decode_to_utf8_without_replacement(raw, &mut self.text, self.is_last);
            self.text.truncate(written);
            (self.left.start, self.given) = (self.left.start + read, 0);
            self.is_wrong = matches!(result, DecoderResult::Malformed(..));
            self.is_over = self.is_wrong || self.is_last && result == DecoderResult::InputEmpty;
        }
        Ok(())
    }
}

impl Read for Decoded {
    /// Ends with [`NotInEncoding`] behind the last letter before bytes that stand for none.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        if self.is_wrong && self.given == self.text.len() && !buffer.is_empty() {
            let encoding = self.decoder.encoding().name();
            return Err(io::Error::new(io::ErrorKind::InvalidData, NotInEncoding(encoding)));
        }
        let bytes = buffer.len().min(self.text.len() - self.given);
        buffer[..bytes].copy_from_slice(&self.text[self.given..self.given + bytes]);
        self.given += bytes;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Length;
    use super::*;

    fn text(bytes: &[u8], encoding: Option<&str>) -> Result<String, String> {
        let source = Source::new(
            Origin::file("t".into()),
            Box::new(Cursor::new(bytes.to_vec())),
            Length::Exactly(bytes.len() as u64),
        );
        let mut opened = open(source, encoding).map_err(|error| error.to_string())?;
        let mut text = String::new();
        opened.reader.read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    #[test]
    fn marks_go_and_other_encodings_become_utf_8() {
        let wide = |unit: fn(u16) -> [u8; 2]| "\u{feff}größe".encode_utf16().flat_map(unit).collect::<Vec<_>>();
        for (bytes, encoding) in [
            ("größe".as_bytes().to_vec(), None),
            ("\u{feff}größe".as_bytes().to_vec(), None),
            (wide(u16::to_le_bytes), None),
            (wide(u16::to_be_bytes), None),
            (wide(u16::to_le_bytes), Some("latin1")), // the mark says it better
            (wide(u16::to_le_bytes)[2..].to_vec(), Some("utf-16le")),
            (b"gr\xf6\xdfe".to_vec(), Some("latin1")),
        ] {
            assert_eq!(text(&bytes, encoding).unwrap(), "größe", "{bytes:?}");
        }
    }

    #[test]
    fn a_long_text_is_the_same_whatever_the_pieces_it_is_decoded_in() {
        let long: String = (0..100_000).map(|place| if place % 7 == 0 { 'ß' } else { 'a' }).collect();
        let latin: Vec<u8> = long.chars().map(|letter| letter as u32 as u8).collect();
        assert_eq!(text(&latin, Some("iso-8859-1")).unwrap(), long);
    }

    #[test]
    fn bytes_that_stand_for_no_letter_are_refused_and_not_replaced() {
        let mut wide: Vec<u8> = "a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        wide.extend([0x00, 0xd8, 0x31, 0x00]);
        for (bytes, encoding) in [(b"a,b\n1,\x81\x01\n".to_vec(), "shift_jis"), (wide, "utf-16le")] {
            let refused = text(&bytes, Some(encoding)).unwrap_err();
            assert!(refused.contains("that are no text in"), "{refused}");
        }
    }

    #[test]
    fn what_is_no_text_is_named_for_what_it_is() {
        for (bytes, what) in [
            (b"PK\x03\x04....xl/workbook.xml".to_vec(), "an Excel workbook (.xlsx); save it as CSV"),
            (
                b"PK\x03\x04....mimetypeapplication/vnd.oasis.opendocument.spreadsheet".to_vec(),
                "an OpenDocument spreadsheet (.ods); save it as CSV",
            ),
            (
                b"PK\x03\x04....data.csv".to_vec(),
                "a ZIP archive, as spreadsheets are too; save a spreadsheet as CSV; unpack an archive, and name the table",
            ),
            (b"PAR1....".to_vec(), "a Parquet file; write format = \"parquet\""),
            (b"a\0,\0b\0".to_vec(), "UTF-16 without a mark in front; write encoding = \"utf-16le\""),
            (b"\0a\0,\0b".to_vec(), "UTF-16 without a mark in front; write encoding = \"utf-16be\""),
            (b"a\0\0\0\0".to_vec(), "binary data of a kind that is not known here; write it as CSV or Parquet"),
            (b"<!DOCTYPE html>".to_vec(), "a web page; download the file behind it"),
        ] {
            let refused = text(&bytes, None).unwrap_err();
            assert!(refused.starts_with(&format!("t is no text table: it is {what}")), "{refused}");
        }
    }
}
