//! A data file as a stream of bytes: opened with care, unpacked if it is gzip or zstd, read without trust in its length.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use flate2::bufread::GzDecoder;

use super::ahead::ahead_later;
use super::error::{DataError, Origin};

/// The first two bytes of gzip. Names are not looked at: a renamed file is read as what it is.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The first four bytes of zstd.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Memory that unpacking zstd may take, as a power of two: what `zstd` itself allows.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Bytes that one byte of deflate can become at most (zlib technical details, Adler).
const DEFLATE_RATIO_MAX: u64 = 1032;
/// Bytes of a file that is read ahead.
const AHEAD_BYTES_MIN: u64 = 4 << 20;
/// Bytes read at a time; a multiple of every number's size.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// The bytes of a data file, unpacked.
pub(super) struct Source {
    /// Names the file in errors.
    pub(super) file: Origin,
    reader: Box<dyn BufRead>,
    length: Length,
    /// The file itself, where its bytes are read as they are.
    plain: Option<File>,
}

/// The rest of a source, to be read at any place.
pub(super) enum Behind {
    /// It has as many bytes as wanted, which begin there.
    At(File, u64),
    /// It has only so many.
    Short(u64),
    /// It has more.
    Long,
}

/// What is known of a source's length before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes.
    Exactly(u64),
    /// Packed: so many at most.
    AtMost(u64),
}

impl Length {
    /// Of what `packed_bytes` of deflate become.
    pub(super) fn unpacked(packed_bytes: u64) -> Self {
        Self::AtMost(packed_bytes.saturating_mul(DEFLATE_RATIO_MAX))
    }

    /// Bytes that there are at most.
    pub(super) fn bytes_max(self) -> u64 {
        match self {
            Self::Exactly(bytes) | Self::AtMost(bytes) => bytes,
        }
    }
}

/// Opens a regular file that is not empty, and tells its length.
pub(super) fn open_file(file: &Origin) -> Result<(File, u64), DataError> {
    // Asked before opening: to open a pipe would wait for its writer.
    let metadata = fs::metadata(file.lies_at()).map_err(|error| DataError::of_file(file, error))?;
    let file = file.clone();
    if metadata.is_dir() {
        return Err(DataError::Folder { file });
    }
    if !metadata.is_file() {
        return Err(DataError::NotAFile { file });
    }
    if metadata.len() == 0 {
        return Err(DataError::Empty { file });
    }
    let opened = File::open(file.lies_at()).map_err(|error| DataError::of_file(&file, error))?;
    Ok((opened, metadata.len()))
}

impl Source {
    /// Opens a file, gzip or not.
    pub(super) fn open(file: Origin) -> Result<Self, DataError> {
        Self::open_ahead(file, AHEAD_BYTES_MIN)
    }

    /// The bytes that a file begins with once it is unpacked: so many, or all. Nothing is read ahead for them.
    pub(super) fn first_bytes(file: &Origin, count: usize) -> Result<Vec<u8>, DataError> {
        let mut start = vec![0; count];
        let got = Self::open_ahead(file.clone(), u64::MAX)?.fill(&mut start)?;
        start.truncate(got);
        Ok(start)
    }

    /// Some bytes of a file as they lie there, which it has.
    pub(super) fn part(file: Origin, bytes: Range<u64>) -> Result<Self, DataError> {
        let (mut opened, _) = open_file(&file)?;
        opened.seek(SeekFrom::Start(bytes.start)).map_err(|error| DataError::of_file(&file, error))?;
        let length = bytes.end.saturating_sub(bytes.start);
        let reader = boxed(length >= AHEAD_BYTES_MIN, opened.take(length));
        Ok(Self::new(file, reader, Length::Exactly(length)))
    }

    /// Opens a file, which is read ahead if it has so many bytes.
    fn open_ahead(file: Origin, bytes_min: u64) -> Result<Self, DataError> {
        let (mut opened, bytes) = open_file(&file)?;
        let failed = |error| DataError::of_file(&file, error);
        let mut start = Vec::with_capacity(ZSTD_MAGIC.len());
        (&mut opened).take(ZSTD_MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
        opened.rewind().map_err(failed)?;
        let plain = opened.try_clone().map_err(failed)?;
        let buffered = BufReader::with_capacity(BUFFER_BYTES, opened);
        // What is small is read sooner than a thread starts.
        let runs_ahead = bytes >= bytes_min;
        if start.starts_with(&GZIP_MAGIC) {
            let reader = boxed(runs_ahead, Members::Inside(GzDecoder::new(buffered)));
            return Ok(Self::new(file, reader, Length::unpacked(bytes)));
        }
        if start == ZSTD_MAGIC {
            let mut decoder = zstd::Decoder::with_buffer(buffered).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
            let reader = boxed(runs_ahead, decoder);
            // A frame may repeat one byte without an end: nothing bounds what it becomes.
            return Ok(Self::new(file, reader, Length::AtMost(u64::MAX)));
        }
        // As it is: nothing is to be read in small pieces before.
        let reader = boxed(runs_ahead, buffered.into_inner());
        Ok(Self { plain: Some(plain), ..Self::new(file, reader, Length::Exactly(bytes)) })
    }

    /// A source of which something else knows the length.
    pub(super) fn new(file: Origin, reader: Box<dyn BufRead>, length: Length) -> Self {
        Self { file, reader, length, plain: None }
    }

    /// What is known of the length of the whole.
    pub(super) fn length(&self) -> Length {
        self.length
    }

    /// Whether its bytes are those of a file, as they lie there.
    pub(super) fn is_plain(&self) -> bool {
        self.plain.is_some()
    }

    /// Whether its bytes pass a decompressor.
    pub(super) fn is_packed(&self) -> bool {
        matches!(self.length, Length::AtMost(_))
    }

    /// Fills `buffer`, or as much of it as there is; tells how many bytes that are.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, DataError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(filled)
    }

    /// Passes the next bytes on as they lie in memory, so many at most, and each value of `value_bytes` in one piece; tells
    /// how many there are.
    pub(super) fn pass_on(
        &mut self,
        bytes: usize,
        value_bytes: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Result<usize, DataError> {
        let mut left = bytes;
        while left > 0 {
            let ahead = match self.reader.fill_buf() {
                Ok(ahead) => ahead,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error)),
            };
            let whole = ahead.len().min(left) / value_bytes * value_bytes;
            if whole > 0 {
                take(&ahead[..whole]);
                self.reader.consume(whole);
                left -= whole;
                continue;
            }
            // A value that begins in this piece and ends in the next, or the end of the file.
            let mut value = vec![0; value_bytes];
            let got = self.fill(&mut value)?;
            left -= got;
            if got < value_bytes {
                break;
            }
            take(&value);
        }
        Ok(bytes - left)
    }

    /// What follows a header of so many bytes, which has been read: `bytes` of it are wanted, and no more should be there.
    /// What is packed is unpacked into a file without a name.
    pub(super) fn behind(&mut self, header_bytes: u64, bytes: u64) -> Result<Behind, DataError> {
        if let Some(plain) = self.plain.take() {
            return Ok(Behind::At(plain, header_bytes));
        }
        let file = self.file.clone();
        let failed = |source| DataError::Spool { file: file.clone(), folder: std::env::temp_dir(), source };
        let mut unpacked = tempfile::tempfile().map_err(failed)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut left = bytes;
        while left > 0 {
            let want = left.min(BUFFER_BYTES as u64) as usize;
            let got = self.fill(&mut buffer[..want])?;
            unpacked.write_all(&buffer[..got]).map_err(failed)?;
            left -= got as u64;
            if got < want {
                return Ok(Behind::Short(bytes - left));
            }
        }
        // The end has a decompressor check its sum.
        Ok(if self.fill(&mut [0])? > 0 { Behind::Long } else { Behind::At(unpacked, 0) })
    }

    /// What a failure to read means.
    fn failed(&self, error: io::Error) -> DataError {
        if self.is_packed() { DataError::of_packed(&self.file, error) } else { DataError::of_file(&self.file, error) }
    }
}

/// A reader, behind its beginning on a thread of its own, or here.
fn boxed(runs_ahead: bool, reader: impl Read + Send + 'static) -> Box<dyn BufRead> {
    if runs_ahead { ahead_later(reader) } else { Box::new(BufReader::with_capacity(BUFFER_BYTES, reader)) }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// The members of a gzip file, one after another. Zeros between and behind them are padding, as `gzip` itself and
/// Python take them.
enum Members<R> {
    Inside(GzDecoder<R>),
    Between(R),
    Ended,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(self, Self::Ended) {
                Self::Inside(mut member) => match member.read(buffer) {
                    Ok(0) => *self = Self::Between(member.into_inner()),
                    read => {
                        *self = Self::Inside(member);
                        return read;
                    }
                },
                Self::Between(mut rest) => {
                    let ahead = rest.fill_buf()?;
                    let zeros = ahead.iter().take_while(|&&byte| byte == 0).count();
                    if ahead.is_empty() {
                        return Ok(0);
                    }
                    let goes_on = zeros < ahead.len();
                    rest.consume(zeros);
                    *self = if goes_on { Self::Inside(GzDecoder::new(rest)) } else { Self::Between(rest) };
                }
                Self::Ended => return Ok(0),
            }
        }
    }
}
