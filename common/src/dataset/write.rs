//! Writes a data set out row by row, in little memory: the driver's side where data sets are large.

use std::io::{self, Write};
use std::mem;
use std::ops::Range;

use super::build::AlignedBytes;
use super::header::{FILES, prefix};
use super::{DatasetError, Header, Part, Scaling};
use crate::blob::BLOCK_BYTES;
use crate::codec;

/// What a data set is written into: as many zeros as [`DatasetWriter::bytes_of`] says.
pub trait Target {
    /// Writes some bytes at their place: whole blocks of the data set, but where a section begins or ends.
    ///
    /// # Errors
    /// What the system said.
    fn write_at(&mut self, bytes: Vec<u8>, start: u64) -> io::Result<()>;

    /// Drops what lies behind so many bytes: the header came out shorter than it might have.
    ///
    /// # Errors
    /// What the system said.
    fn end_at(&mut self, bytes: u64) -> io::Result<()>;
}

impl Target for AlignedBytes {
    fn write_at(&mut self, bytes: Vec<u8>, start: u64) -> io::Result<()> {
        let start = start as usize;
        let room = self.as_mut().get_mut(start..start + bytes.len());
        room.ok_or(io::ErrorKind::WriteZero)?.copy_from_slice(&bytes);
        Ok(())
    }

    fn end_at(&mut self, bytes: u64) -> io::Result<()> {
        self.truncate(bytes as usize);
        Ok(())
    }
}

/// Writes a data set: the rows of each part in their order, and whatever part they are of.
///
/// The same rows give the bytes that [`DatasetBuilder`](super::DatasetBuilder) lays out in memory.
pub struct DatasetWriter<T> {
    header: Header,
    /// Where the last section ends.
    end: usize,
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
    /// Writes the whole blocks of what waits, so that so many bytes more may.
    fn make_room<T: Target>(&mut self, more: usize, target: &mut T) -> io::Result<()> {
        let whole_until = (self.start + self.bytes.len()) / BLOCK_BYTES * BLOCK_BYTES;
        if whole_until <= self.start {
            return Ok(());
        }
        let mut waits = Vec::with_capacity(BLOCK_BYTES + more);
        waits.extend_from_slice(&self.bytes[whole_until - self.start..]);
        self.bytes.truncate(whole_until - self.start);
        target.write_at(mem::replace(&mut self.bytes, waits), self.start as u64)?;
        self.start = whole_until;
        Ok(())
    }

    /// What is left of the section.
    fn left(&self) -> usize {
        self.end - self.start - self.bytes.len()
    }
}

impl<T: Target> DatasetWriter<T> {
    /// Bytes of the data set that `header` describes.
    ///
    /// # Errors
    /// [`DatasetError::Header`], if no data set has these shapes.
    pub fn bytes_of(header: &Header) -> Result<u64, DatasetError> {
        let (_, end) = header.checked_layout()?;
        Ok((end + codec::encode(header)?.len()) as u64)
    }

    /// Begins the data set that `header` describes.
    ///
    /// # Errors
    /// [`DatasetError::Header`], if no data set has these shapes.
    pub fn new(header: Header, target: T) -> Result<Self, DatasetError> {
        let (sections, end) = header.checked_layout()?;
        let tail = |section: Range<usize>| Tail { start: section.start, end: section.end, bytes: Vec::new() };
        let tails = sections.map(tail);
        Ok(Self { header, end, target, tails })
    }

    /// Says how features are scaled, where that is known only behind the last row. The header is to be no longer for it
    /// than the one that this was begun with.
    pub fn scale_by(&mut self, scaling: Scaling) {
        self.header.scaling = scaling;
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

    /// Takes the features of the next rows of a part as they lie in the data set.
    ///
    /// # Errors
    /// What the target said to rows before.
    ///
    /// # Panics
    /// If the part has not so many rows more.
    pub fn feature_rows(&mut self, part: Part, rows: &[u8]) -> io::Result<()> {
        let tail = &mut self.tails[part as usize];
        assert!(rows.len() <= tail.left(), "the part has no more rows");
        tail.make_room(rows.len(), &mut self.target)?;
        tail.bytes.extend_from_slice(rows);
        Ok(())
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

    /// Writes what still waits, and the header behind all.
    ///
    /// # Errors
    /// What the target said.
    pub fn finish(mut self) -> io::Result<T> {
        let encoded = codec::encode(&self.header).map_err(io::Error::other)?;
        let prefix = prefix(encoded.len());
        let tails = self.tails.into_iter().map(|tail| (tail.bytes, tail.start));
        for (bytes, start) in tails.chain([(prefix.to_vec(), 0), (encoded.clone(), self.end)]) {
            self.target.write_at(bytes, start as u64)?;
        }
        self.target.end_at((self.end + encoded.len()) as u64)?;
        Ok(self.target)
    }

    fn next(&mut self, place: usize, row_bytes: usize) -> io::Result<&mut [u8]> {
        let tail = &mut self.tails[place];
        assert!(row_bytes <= tail.left(), "the part has no more rows");
        tail.make_room(row_bytes, &mut self.target)?;
        let start = tail.bytes.len();
        tail.bytes.resize(start + row_bytes, 0);
        Ok(&mut tail.bytes[start..])
    }
}

/// The section of files, as something to write into.
struct Files<'w, T> {
    tail: &'w mut Tail,
    target: &'w mut T,
}

impl<T: Target> Write for Files<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.tail.left()).min(BLOCK_BYTES);
        self.tail.make_room(taken, self.target)?;
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
            files_bytes: 2 * BLOCK_BYTES as u64 + 5,
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
            fn write_at(&mut self, _: Vec<u8>, _: u64) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn end_at(&mut self, _: u64) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = DatasetWriter::new(header(9, 300, Element::F32), Full).unwrap();
        assert!(writer.feature_row(Part::Train).is_ok(), "it waits to be written");
        assert_eq!(writer.finish().err().unwrap().kind(), io::ErrorKind::StorageFull);
        let mut writer = DatasetWriter::new(header(200_000, 1, Element::U8), Full).unwrap();
        let failed = (0..200_000).find_map(|_| writer.target_row(Part::Train).err()).unwrap();
        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_is_written_while_rows_come_are_whole_blocks_but_for_the_ends_of_a_section() {
        struct Noted(Vec<(u64, usize)>);
        impl Target for Noted {
            fn write_at(&mut self, bytes: Vec<u8>, start: u64) -> io::Result<()> {
                self.0.push((start, bytes.len()));
                Ok(())
            }

            fn end_at(&mut self, _: u64) -> io::Result<()> {
                Ok(())
            }
        }
        let block = BLOCK_BYTES as u64;
        let mut writer = DatasetWriter::new(header(2000, 3001, Element::U8), Noted(Vec::new())).unwrap();
        let rows = vec![7; 3001 * 100];
        (0..20).for_each(|_| writer.feature_rows(Part::Train, &rows).unwrap());
        assert_eq!(writer.target.0[0], (64, BLOCK_BYTES - 64), "the first block begins with the magic number");
        let later: Vec<_> = writer.target.0[1..].iter().map(|&(start, bytes)| (start, bytes as u64)).collect();
        assert_eq!(later, (1..5).map(|index| (index * block, block)).collect::<Vec<_>>());
    }

    #[test]
    fn a_scaling_that_is_known_behind_the_rows_shortens_the_data_set_by_what_the_header_needs_less() {
        let each = Scaling::PerFeature { factors: vec![0.0; 300], offsets: vec![0.0; 300] };
        let known = Header { files_bytes: 0, ..header(3, 300, Element::U8) };
        let header = Header { scaling: each, ..known.clone() };
        let bytes = DatasetWriter::<AlignedBytes>::bytes_of(&header).unwrap();
        let mut writer = DatasetWriter::new(header, AlignedBytes::zeroed(bytes as usize)).unwrap();
        writer.scale_by(known.scaling.clone());
        let (got, want) = (writer.finish().unwrap(), DatasetBuilder::new(known).unwrap().finish());
        assert!(got.as_ref() == want.as_ref() && got.as_ref().len() + 2000 < bytes as usize);
    }
}
