//! Writes a data set out row by row, in little memory: the driver's side where data sets are large.

use std::io::{self, Write};

use super::build::AlignedBytes;
use super::header::{FILES, PREFIX, Sections, prefix};
use super::{DatasetError, Header, Part};
use crate::codec;

/// Bytes of each section that wait to be written, at least, unless one row has more.
const TAIL_BYTES: usize = 1 << 20;

/// What a data set is written into: as many zeros as [`DatasetWriter::bytes_of`] says.
pub trait Target {
    /// Writes some bytes at their place.
    ///
    /// # Errors
    /// What the system said.
    fn write_at(&mut self, bytes: &[u8], start: u64) -> io::Result<()>;
}

impl Target for AlignedBytes {
    fn write_at(&mut self, bytes: &[u8], start: u64) -> io::Result<()> {
        let start = start as usize;
        let room = self.as_mut().get_mut(start..start + bytes.len());
        room.ok_or(io::ErrorKind::WriteZero)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// Writes a data set: the rows of each part in their order, and whatever part they are of.
///
/// The same rows give the bytes that [`DatasetBuilder`](super::DatasetBuilder) lays out in memory.
pub struct DatasetWriter<T> {
    header: Header,
    sections: Sections,
    target: T,
    tails: [Tail; FILES + 1],
}

/// The bytes of a section that are not yet written, and where they belong.
#[derive(Default)]
struct Tail {
    start: usize,
    end: usize,
    bytes: Vec<u8>,
}

impl Tail {
    fn is_full(&self, more: usize) -> bool {
        !self.bytes.is_empty() && self.bytes.len() + more > TAIL_BYTES
    }

    /// What is left of the section.
    fn left(&self) -> usize {
        self.end - self.start - self.bytes.len()
    }

    fn flush<T: Target>(&mut self, target: &mut T) -> io::Result<()> {
        target.write_at(&self.bytes, self.start as u64)?;
        self.start += self.bytes.len();
        self.bytes.clear();
        Ok(())
    }
}

impl<T: Target> DatasetWriter<T> {
    /// Bytes of the data set that `header` describes.
    ///
    /// # Errors
    /// [`DatasetError::Header`], if no data set has these shapes.
    pub fn bytes_of(header: &Header) -> Result<u64, DatasetError> {
        Ok(place(header)?.1 as u64)
    }

    /// Begins the data set that `header` describes.
    ///
    /// # Errors
    /// [`DatasetError::Header`], if no data set has these shapes.
    pub fn new(header: Header, target: T) -> Result<Self, DatasetError> {
        let (sections, _) = place(&header)?;
        let tail =
            |section: std::ops::Range<usize>| Tail { start: section.start, end: section.end, bytes: Vec::new() };
        let tails = sections.clone().map(tail);
        Ok(Self { header, sections, target, tails })
    }

    /// The features of the next row of a part, all zero and to be filled: `u8` values, or `f32` in native order.
    ///
    /// # Errors
    /// What the target said to rows before.
    ///
    /// # Panics
    /// If the part has no more rows.
    pub fn feature_row(&mut self, part: Part) -> io::Result<&mut [u8]> {
        let row_bytes = self.header.row_values() * self.header.element.bytes();
        self.next(part as usize, row_bytes)
    }

    /// The targets of the next row of a part, all zero and to be filled: one `u32` class, or `f32` values, in native
    /// order.
    ///
    /// # Errors
    /// What the target said to rows before.
    ///
    /// # Panics
    /// If the part has no more rows.
    pub fn target_row(&mut self, part: Part) -> io::Result<&mut [u8]> {
        self.next(3 + part as usize, self.header.targets.row_bytes())
    }

    /// Takes the archive of files, from its start to its end.
    pub fn files(&mut self) -> impl Write {
        Files { tail: &mut self.tails[FILES], target: &mut self.target }
    }

    /// Writes what still waits, and the header before all.
    ///
    /// # Errors
    /// What the target said.
    pub fn finish(mut self) -> io::Result<T> {
        for tail in &mut self.tails {
            tail.flush(&mut self.target)?;
        }
        let encoded = codec::encode(&self.header).map_err(io::Error::other)?;
        debug_assert!(PREFIX + encoded.len() <= self.sections[0].start, "the header has its place");
        self.target.write_at(&[&prefix(encoded.len())[..], &encoded].concat(), 0)?;
        Ok(self.target)
    }

    fn next(&mut self, place: usize, row_bytes: usize) -> io::Result<&mut [u8]> {
        let tail = &mut self.tails[place];
        assert!(row_bytes <= tail.left(), "the part has no more rows");
        if tail.is_full(row_bytes) {
            tail.flush(&mut self.target)?;
        }
        let start = tail.bytes.len();
        tail.bytes.resize(start + row_bytes, 0);
        Ok(&mut tail.bytes[start..])
    }
}

fn place(header: &Header) -> Result<(Sections, usize), DatasetError> {
    header.check()?;
    let encoded = codec::encode(header)?;
    header.layout(encoded.len()).ok_or(DatasetError::Header { what: "its sizes" })
}

/// The section of files, as something to write into.
struct Files<'w, T> {
    tail: &'w mut Tail,
    target: &'w mut T,
}

impl<T: Target> Write for Files<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.tail.left()).min(TAIL_BYTES);
        if self.tail.is_full(taken) {
            self.tail.flush(self.target)?;
        }
        self.tail.bytes.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DatasetBuilder, Element, Scaling, TargetKind};
    use super::*;

    /// Rows of so many values: features, targets and files fill more than one tail.
    fn header(rows: u64, values: u32, element: Element) -> Header {
        Header {
            shape: vec![values],
            element,
            targets: TargetKind::Values { width: 3 },
            rows: [rows, 3, 1],
            scaling: Scaling::Uniform { factor: 1.0, offset: 0.0 },
            files_bytes: 2 * TAIL_BYTES as u64 + 5,
            target_scaling: Vec::new(),
        }
    }

    fn fill(bytes: &mut [u8], seed: usize) {
        assert!(bytes.iter().all(|&byte| byte == 0), "what is not filled is zero");
        bytes.iter_mut().enumerate().for_each(|(place, byte)| *byte = (place * 7 + seed * 13) as u8);
    }

    #[test]
    fn what_is_written_is_what_is_built_in_memory_whatever_the_order_of_parts() {
        for (rows, values, element) in
            [(200_000, 1, Element::U8), (2000, 300, Element::F32), (4, 3_000_000, Element::U8)]
        {
            let header = header(rows, values, element);
            let mut builder = DatasetBuilder::new(header.clone()).unwrap();
            let bytes = DatasetWriter::<AlignedBytes>::bytes_of(&header).unwrap();
            let mut writer = DatasetWriter::new(header.clone(), AlignedBytes::zeroed(bytes as usize)).unwrap();
            for row in 0..header.rows(Part::Train) {
                for part in Part::ALL.into_iter().filter(|&part| row < header.rows(part)) {
                    let seed = row + part as usize;
                    fill(builder.feature_row(part, row), seed);
                    fill(writer.feature_row(part).unwrap(), seed);
                    fill(builder.target_row(part, row), seed + 5);
                    fill(writer.target_row(part).unwrap(), seed + 5);
                }
            }
            fill(builder.files(), 3);
            let mut files = vec![0; header.files_bytes as usize];
            fill(&mut files, 3);
            writer.files().write_all(&files[..9]).unwrap();
            writer.files().write_all(&files[9..]).unwrap();
            assert_eq!(writer.files().write(b"more").unwrap(), 0, "beyond the end");
            let (got, want) = (writer.finish().unwrap(), builder.finish());
            assert!(got.as_ref() == want.as_ref(), "{values} values");
        }
    }

    #[test]
    fn a_target_that_is_full_is_an_error_of_a_row_or_of_the_end() {
        struct Full;
        impl Target for Full {
            fn write_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let mut writer = DatasetWriter::new(header(9, 300, Element::F32), Full).unwrap();
        assert!(writer.feature_row(Part::Train).is_ok(), "it waits to be written");
        assert_eq!(writer.finish().err().unwrap().kind(), io::ErrorKind::StorageFull);
        let mut writer = DatasetWriter::new(header(200_000, 1, Element::U8), Full).unwrap();
        let failed = (0..200_000).find_map(|_| writer.target_row(Part::Train).err()).unwrap();
        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
    }
}
