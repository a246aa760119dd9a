//! The data set as one aligned run of bytes, and typed views into it.
//!
//! ```text
//! | magic, header length | header | train, validation, test features | train, validation, test targets |
//!   16 bytes               bincode  each part starts at a multiple of 64 bytes, rows lie one after another
//! ```
//!
//! The driver builds these bytes once ([`DatasetBuilder`]); they are broadcast as a blob, and every slot of an
//! executor reads the same copy through [`Dataset`]. Pixels stay `u8`; they are widened and scaled while a batch is
//! gathered.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytemuck::PodCastError;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};

const MAGIC: [u8; 8] = *b"BSDATA\x00\x01";
const ALIGNMENT: usize = 64;
const PREFIX: usize = 16;
/// Values that one row may have.
pub const ROW_VALUES_MAX: usize = 1 << 24;

/// Where features, then targets of each part lie.
type Sections = [Range<usize>; 6];

/// One of the three parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// Rows that weights are fitted to.
    Train,
    /// Rows held out of the training rows, by whose error configurations are compared.
    Validation,
    /// Rows that say how good the chosen model is.
    Test,
}

impl Part {
    const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

/// The type in which features are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Element {
    /// Pixels.
    U8,
    /// Anything else.
    F32,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F32 => 4,
        }
    }
}

/// What a row's target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetKind {
    /// A class, below `count`.
    Classes {
        /// Number of classes.
        count: u32,
    },
    /// `width` numbers.
    Values {
        /// Numbers a row.
        width: u32,
    },
}

impl TargetKind {
    /// Outputs that a network for these targets has.
    #[must_use]
    pub fn outputs(self) -> usize {
        match self {
            Self::Classes { count } => count as usize,
            Self::Values { width } => width as usize,
        }
    }

    fn row_bytes(self) -> usize {
        match self {
            Self::Classes { .. } => 4,
            Self::Values { width } => 4 * width as usize,
        }
    }
}

/// What is done to a feature while a batch is gathered: `x × factor + offset`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scaling {
    /// The same for every feature.
    Uniform {
        /// Multiplies first.
        factor: f32,
        /// Added last.
        offset: f32,
    },
    /// One pair for each value of a row.
    PerFeature {
        /// Multiplies first.
        factors: Vec<f32>,
        /// Added last.
        offsets: Vec<f32>,
    },
}

/// Shapes and types of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Shape of one row of features: `[784]`, or `[28, 28, 1]` for an image (height, width, channels).
    pub shape: Vec<u32>,
    /// The features' type.
    pub element: Element,
    /// What is predicted.
    pub targets: TargetKind,
    /// Rows of the training, validation and test part.
    pub rows: [u64; 3],
    /// Applied to the features of all parts.
    pub scaling: Scaling,
}

impl Header {
    /// Values in one row of features.
    #[must_use]
    pub fn row_values(&self) -> usize {
        self.shape.iter().map(|&side| side as usize).product()
    }

    /// Rows of `part`.
    #[must_use]
    pub fn rows(&self, part: Part) -> usize {
        self.rows[part as usize] as usize
    }

    /// Refuses shapes that no data set has, before any arithmetic on them can overflow.
    fn check(&self) -> Result<(), DatasetError> {
        let values = self.shape.iter().try_fold(1_usize, |product, &side| {
            product.checked_mul(side as usize).filter(|&product| product <= ROW_VALUES_MAX)
        });
        let bad = |what: &'static str| Err(DatasetError::Header { what });
        if values.is_none_or(|values| values == 0) || self.shape.is_empty() || self.shape.len() > 3 {
            return bad("the shape of a row");
        }
        if self.targets.outputs() == 0 || self.targets.outputs() > ROW_VALUES_MAX {
            return bad("the number of targets");
        }
        if self.rows.iter().any(|&rows| rows > u64::from(u32::MAX)) {
            return bad("the number of rows");
        }
        if let Scaling::PerFeature { factors, offsets } = &self.scaling
            && (factors.len() != self.row_values() || offsets.len() != self.row_values())
        {
            return bad("the length of the scaling");
        }
        Ok(())
    }

    /// Where the six sections lie, features first, and the length of the whole; `None` if it overflows.
    fn layout(&self, header_bytes: usize) -> Option<(Sections, usize)> {
        let mut end = PREFIX.checked_add(header_bytes)?;
        let mut ranges = std::array::from_fn(|_| 0..0);
        for (place, range) in ranges.iter_mut().enumerate() {
            let row_bytes = match place {
                0..3 => self.row_values() * self.element.bytes(),
                _ => self.targets.row_bytes(),
            };
            let start = end.checked_next_multiple_of(ALIGNMENT)?;
            end = start.checked_add(row_bytes.checked_mul(self.rows(Part::ALL[place % 3]))?)?;
            *range = start..end;
        }
        Some((ranges, end))
    }
}

/// Bytes that are no data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The first bytes are others.
    #[error("not a broadsweep data set")]
    Magic,
    /// The header cannot be read.
    #[error("the header {0}")]
    Codec(#[from] CodecError),
    /// The header says something impossible.
    #[error("the header is wrong in {what}")]
    Header {
        /// Which field.
        what: &'static str,
    },
    /// The length is not what the header makes.
    #[error("{got} bytes; the header makes {want}")]
    Length {
        /// Length of the bytes.
        got: usize,
        /// What it should be.
        want: usize,
    },
    /// The bytes do not start at a multiple of 64 in memory.
    #[error("the bytes are not aligned in memory: {0}")]
    Alignment(PodCastError),
    /// A class is not below the number of classes.
    #[error("row {row} of the {part} data has class {class}, but there are {count} classes")]
    Class {
        /// Which part.
        part: Part,
        /// Counted from 0.
        row: usize,
        /// What the row has.
        class: u32,
        /// What it has to be below.
        count: u32,
    },
}

/// Features of some rows, in the type in which they are kept, `(rows, values)`.
#[derive(Clone, Copy, Debug)]
pub enum Features<'a> {
    /// Pixels.
    U8(ArrayView2<'a, u8>),
    /// Anything else.
    F32(ArrayView2<'a, f32>),
}

/// Targets of some rows.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// One class a row, each below the number of classes.
    Classes(&'a [u32]),
    /// `(rows, width)`.
    Values(ArrayView2<'a, f32>),
}

/// A data set in memory or in a memory map. Cloning shares the bytes.
#[derive(Clone)]
pub struct Dataset {
    header: Arc<Header>,
    sections: Sections,
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Dataset {
    /// Views `bytes` as a data set. Everything that views rely on is checked here, so that they cannot fail.
    ///
    /// # Errors
    /// [`DatasetError`], if the bytes are not what a [`DatasetBuilder`] makes.
    pub fn open(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Result<Self, DatasetError> {
        let (header, sections) = read_header((*bytes).as_ref())?;
        let dataset = Self { header: Arc::new(header), sections, bytes };
        dataset.check_views()?;
        Ok(dataset)
    }

    fn check_views(&self) -> Result<(), DatasetError> {
        for part in Part::ALL {
            if self.header.element == Element::F32 {
                bytemuck::try_cast_slice::<u8, f32>(self.section(part as usize)).map_err(DatasetError::Alignment)?;
            }
            let targets = self.section(3 + part as usize);
            let classes = bytemuck::try_cast_slice::<u8, u32>(targets).map_err(DatasetError::Alignment)?;
            let TargetKind::Classes { count } = self.header.targets else { continue };
            if let Some((row, &class)) = classes.iter().enumerate().find(|(_, class)| **class >= count) {
                return Err(DatasetError::Class { part, row, class, count });
            }
        }
        Ok(())
    }

    /// Shapes and types.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Rows of `part`.
    #[must_use]
    pub fn rows(&self, part: Part) -> usize {
        self.header.rows(part)
    }

    /// The features of `part`, unscaled.
    #[must_use]
    pub fn features(&self, part: Part) -> Features<'_> {
        let bytes = self.section(part as usize);
        let shape = (self.rows(part), self.header.row_values());
        match self.header.element {
            Element::U8 => Features::U8(view(shape, bytes)),
            Element::F32 => Features::F32(view(shape, bytemuck::cast_slice(bytes))),
        }
    }

    /// The targets of `part`.
    #[must_use]
    pub fn targets(&self, part: Part) -> Targets<'_> {
        let bytes = self.section(3 + part as usize);
        match self.header.targets {
            TargetKind::Classes { .. } => Targets::Classes(bytemuck::cast_slice(bytes)),
            TargetKind::Values { width } => {
                Targets::Values(view((self.rows(part), width as usize), bytemuck::cast_slice(bytes)))
            }
        }
    }

    fn section(&self, place: usize) -> &[u8] {
        &(*self.bytes).as_ref()[self.sections[place].clone()]
    }
}

/// The checked header, and where the six sections lie.
fn read_header(all: &[u8]) -> Result<(Header, Sections), DatasetError> {
    let prefix = all.get(..PREFIX).filter(|prefix| prefix[..8] == MAGIC).ok_or(DatasetError::Magic)?;
    let mut length = [0; 8];
    length.copy_from_slice(&prefix[8..]);
    let header_bytes = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    let encoded = header_bytes.checked_add(PREFIX).and_then(|end| all.get(PREFIX..end));
    let header: Header = codec::decode(encoded.ok_or(DatasetError::Header { what: "its length" })?)?;
    header.check()?;
    let (sections, want) = header.layout(header_bytes).ok_or(DatasetError::Header { what: "its sizes" })?;
    if all.len() != want {
        return Err(DatasetError::Length { got: all.len(), want });
    }
    Ok((header, sections))
}

#[expect(clippy::expect_used, reason = "`Dataset::open` compared every section's length with its shape")]
fn view<T>(shape: (usize, usize), values: &[T]) -> ArrayView2<'_, T> {
    ArrayView2::from_shape(shape, values).expect("the section has the header's shape")
}

/// A buffer whose first byte lies at a multiple of 64, as a memory map's does.
pub struct AlignedBytes {
    words: Vec<Line>,
    bytes: usize,
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

impl AlignedBytes {
    /// `bytes` zeros.
    #[must_use]
    pub fn zeroed(bytes: usize) -> Self {
        Self { words: vec![Line([0; ALIGNMENT]); bytes.div_ceil(ALIGNMENT)], bytes }
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
        header.check()?;
        let encoded = codec::encode(&header)?;
        let (sections, length) = header.layout(encoded.len()).ok_or(DatasetError::Header { what: "its sizes" })?;
        let mut bytes = AlignedBytes::zeroed(length);
        let start = bytes.as_mut();
        start[..8].copy_from_slice(&MAGIC);
        start[8..PREFIX].copy_from_slice(&(encoded.len() as u64).to_le_bytes());
        start[PREFIX..PREFIX + encoded.len()].copy_from_slice(&encoded);
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

    /// The bytes of one row of targets, to be filled: one `u32` class, or `f32` values, in native order.
    ///
    /// # Panics
    /// If `part` has no such row.
    pub fn target_row(&mut self, part: Part, row: usize) -> &mut [u8] {
        let row_bytes = self.header.targets.row_bytes();
        let section = self.sections[3 + part as usize].clone();
        &mut self.bytes.as_mut()[section][row * row_bytes..(row + 1) * row_bytes]
    }

    /// The finished bytes; [`Dataset::open`] takes them.
    #[must_use]
    pub fn finish(self) -> AlignedBytes {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    fn small(targets: TargetKind) -> DatasetBuilder {
        DatasetBuilder::new(Header {
            shape: vec![3],
            element: Element::U8,
            targets,
            rows: [2, 1, 0],
            scaling: Scaling::Uniform { factor: 1.0, offset: 0.0 },
        })
        .unwrap()
    }

    #[test]
    fn rows_are_read_back_in_their_own_type() {
        let mut builder = small(TargetKind::Classes { count: 2 });
        builder.feature_row(Part::Train, 1).copy_from_slice(&[7, 8, 9]);
        builder.target_row(Part::Train, 1).copy_from_slice(&1_u32.to_ne_bytes());
        let dataset = Dataset::open(Arc::new(builder.finish())).unwrap();
        let Features::U8(features) = dataset.features(Part::Train) else { panic!("pixels were widened") };
        assert_eq!(features, array![[0, 0, 0], [7, 8, 9]]);
        let Targets::Classes(classes) = dataset.targets(Part::Train) else { panic!("classes became values") };
        assert_eq!(classes, [0, 1]);
        assert_eq!((dataset.rows(Part::Validation), dataset.rows(Part::Test)), (1, 0));
    }

    #[test]
    fn a_class_beyond_the_count_is_refused() {
        let mut builder = small(TargetKind::Classes { count: 2 });
        builder.target_row(Part::Validation, 0).copy_from_slice(&2_u32.to_ne_bytes());
        let error = Dataset::open(Arc::new(builder.finish())).unwrap_err();
        assert_eq!(error.to_string(), "row 0 of the validation data has class 2, but there are 2 classes");
    }

    #[test]
    fn a_header_with_impossible_sizes_is_refused() {
        for (shape, rows) in [(vec![], 1), (vec![0], 1), (vec![u32::MAX, u32::MAX], 1), (vec![1], u64::MAX)] {
            let header = Header {
                shape: shape.clone(),
                element: Element::F32,
                targets: TargetKind::Values { width: 1 },
                rows: [rows, 0, 0],
                scaling: Scaling::Uniform { factor: 1.0, offset: 0.0 },
            };
            assert!(DatasetBuilder::new(header).is_err(), "{shape:?} with {rows} rows was accepted");
        }
    }

    proptest! {
        #[test]
        fn flipped_and_cut_bytes_never_panic(place in 0_usize..400, value in any::<u8>(), cut in 0_usize..400) {
            let whole = small(TargetKind::Values { width: 2 }).finish();
            let length = whole.as_ref().len();
            let mut bytes = AlignedBytes::zeroed(length.saturating_sub(cut));
            let kept = bytes.as_ref().len();
            bytes.as_mut().copy_from_slice(&whole.as_ref()[..kept]);
            if let Some(byte) = bytes.as_mut().get_mut(place) {
                *byte = value;
            }
            if let Ok(dataset) = Dataset::open(Arc::new(bytes)) {
                for part in Part::ALL {
                    let _ = (dataset.features(part), dataset.targets(part));
                }
            }
        }
    }
}
