//! Lays a data set out: the driver's side.

use super::header::{ALIGNMENT, FILES, PREFIX, Sections, prefix};
use super::{DatasetError, Header, Part};
use crate::codec;

/// A buffer whose first byte lies at a multiple of 64, as a memory map's does.
pub struct AlignedBytes {
    words: Vec<Line>,
    bytes: usize,
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

impl AlignedBytes {
    /// `bytes` zeros, which the system gives: no memory is touched before it is written.
    #[must_use]
    pub fn zeroed(bytes: usize) -> Self {
        Self { words: bytemuck::allocation::zeroed_vec(bytes.div_ceil(ALIGNMENT)), bytes }
    }

    /// Drops what lies behind so many bytes.
    pub(super) fn truncate(&mut self, bytes: usize) {
        self.bytes = self.bytes.min(bytes);
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }
}

impl AsMut<[u8]> for AlignedBytes {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.bytes]
    }
}

/// Lays a data set out, part by part.
///
/// The header fixes every place beforehand, so parts may be written in any order and in pieces.
pub struct DatasetBuilder {
    header: Header,
    sections: Sections,
    bytes: AlignedBytes,
}

impl DatasetBuilder {
    /// Room for the data set that `header` describes.
    ///
    /// # Errors
    /// [`DatasetError::Header`], if no data set has these shapes.
    pub fn new(header: Header) -> Result<Self, DatasetError> {
        let (sections, end) = header.checked_layout()?;
        let encoded = codec::encode(&header)?;
        let mut bytes = AlignedBytes::zeroed(end + encoded.len());
        bytes.as_mut()[..PREFIX].copy_from_slice(&prefix(encoded.len()));
        bytes.as_mut()[end..].copy_from_slice(&encoded);
        Ok(Self { header, sections, bytes })
    }

    /// The bytes of one row of features, to be filled: `u8` values, or `f32` in native order.
    ///
    /// # Panics
    /// If `part` has no such row.
    pub fn feature_row(&mut self, part: Part, row: usize) -> &mut [u8] {
        let row_bytes = self.header.row_values() * self.header.element.bytes();
        let section = self.sections[part as usize].clone();
        &mut self.bytes.as_mut()[section][row * row_bytes..(row + 1) * row_bytes]
    }

    /// The bytes of all rows of features, to be filled: row after row, each as [`Self::feature_row`] has it.
    pub fn features(&mut self, part: Part) -> &mut [u8] {
        let section = self.sections[part as usize].clone();
        &mut self.bytes.as_mut()[section]
    }

    /// The bytes of one row of targets, to be filled: one `u32` class, or `f32` values, in native order.
    ///
    /// # Panics
    /// If `part` has no such row.
    pub fn target_row(&mut self, part: Part, row: usize) -> &mut [u8] {
        let row_bytes = self.header.targets.row_bytes();
        let section = self.sections[3 + part as usize].clone();
        &mut self.bytes.as_mut()[section][row * row_bytes..(row + 1) * row_bytes]
    }

    /// The bytes of the archive of files, to be filled.
    pub fn files(&mut self) -> &mut [u8] {
        let section = self.sections[FILES].clone();
        &mut self.bytes.as_mut()[section]
    }

    /// The finished bytes; [`Dataset::open`](super::Dataset::open) takes them.
    #[must_use]
    pub fn finish(self) -> AlignedBytes {
        self.bytes
    }
}
