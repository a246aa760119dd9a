//! The data set as one aligned run of bytes, and typed views into it.
//!
//! ```text
//! | magic, header length | train, validation, test features | train, validation, test targets | files | header |
//!   16 bytes               each part starts at a multiple of 64 bytes, rows lie one after another  tar     bincode
//! ```
//!
//! The header stands last, since it tells how values are scaled: who writes rows as they come knows that behind the last.
//!
//! The driver writes these bytes once ([`DatasetWriter`]; [`DatasetBuilder`] where all of them are in memory); they are broadcast as a blob, and every slot of an
//! executor reads the same copy through [`Dataset`]. Pixels stay `u8`; they are widened and scaled while a batch is
//! gathered.

mod build;
mod header;
mod scale;
mod write;

use std::fmt;
use std::sync::Arc;

use bytemuck::PodCastError;
use ndarray::ArrayView2;

use crate::codec::CodecError;
use header::{FILES, Sections};

pub use build::{AlignedBytes, DatasetBuilder};
pub use header::{Element, Header, Part, ROW_VALUES_MAX, Scaling, TargetKind};
pub use scale::Scale;
pub use write::{DatasetWriter, Target};

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
        let (header, sections) = header::read((*bytes).as_ref())?;
        let dataset = Self { header: Arc::new(header), sections, bytes };
        dataset.check_views()?;
        Ok(dataset)
    }

    fn check_views(&self) -> Result<(), DatasetError> {
        for part in Part::ALL {
            if self.header.element == Element::F32 {
                bytemuck::try_cast_slice::<u8, f32>(self.feature_bytes(part)).map_err(DatasetError::Alignment)?;
            }
            let targets = self.target_bytes(part);
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
        let bytes = self.feature_bytes(part);
        let shape = (self.rows(part), self.header.row_values());
        match self.header.element {
            Element::U8 => Features::U8(view(shape, bytes)),
            Element::F32 => Features::F32(view(shape, bytemuck::cast_slice(bytes))),
        }
    }

    /// The targets of `part`.
    #[must_use]
    pub fn targets(&self, part: Part) -> Targets<'_> {
        let bytes = self.target_bytes(part);
        match self.header.targets {
            TargetKind::Classes { .. } => Targets::Classes(bytemuck::cast_slice(bytes)),
            TargetKind::Values { width } => {
                Targets::Values(view((self.rows(part), width as usize), bytemuck::cast_slice(bytes)))
            }
        }
    }

    /// The features of `part` as they lie: `rows` times `row_values` elements, row after row.
    #[must_use]
    pub fn feature_bytes(&self, part: Part) -> &[u8] {
        self.section(part as usize)
    }

    /// The targets of `part` as they lie: a `u32` a row for classes, or `width` times an `f32`.
    #[must_use]
    pub fn target_bytes(&self, part: Part) -> &[u8] {
        self.section(3 + part as usize)
    }

    /// The archive (tar) of files that a program is given; empty where there are none.
    #[must_use]
    pub fn files(&self) -> &[u8] {
        self.section(FILES)
    }

    fn section(&self, place: usize) -> &[u8] {
        &(*self.bytes).as_ref()[self.sections[place].clone()]
    }
}
#[expect(clippy::expect_used, reason = "`Dataset::open` compared every section's length with its shape")]
fn view<T>(shape: (usize, usize), values: &[T]) -> ArrayView2<'_, T> {
    ArrayView2::from_shape(shape, values).expect("the section has the header's shape")
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
            files_bytes: 0,
            target_scaling: Vec::new(),
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
    fn files_lie_behind_the_rows_and_come_back_as_they_were() {
        let rows = [2, 1, 0];
        let (shape, element) = (vec![3], Element::U8);
        let (targets, scaling) = (TargetKind::Classes { count: 2 }, Scaling::Uniform { factor: 1.0, offset: 0.0 });
        let mut builder = DatasetBuilder::new(Header {
            shape,
            element,
            targets,
            rows,
            scaling,
            files_bytes: 5,
            target_scaling: Vec::new(),
        })
        .unwrap();
        builder.files().copy_from_slice(b"files");
        builder.target_row(Part::Validation, 0).copy_from_slice(&1_u32.to_ne_bytes());
        let dataset = Dataset::open(Arc::new(builder.finish())).unwrap();
        assert_eq!(dataset.files(), b"files");
        let Targets::Classes(classes) = dataset.targets(Part::Validation) else { panic!("classes became values") };
        assert_eq!(classes, [1]);
    }

    #[test]
    fn a_class_beyond_the_count_is_refused() {
        let mut builder = small(TargetKind::Classes { count: 2 });
        builder.target_row(Part::Validation, 0).copy_from_slice(&2_u32.to_ne_bytes());
        let error = Dataset::open(Arc::new(builder.finish())).unwrap_err();
        assert_eq!(error.to_string(), "row 0 of the validation data has class 2, but there are 2 classes");
    }

    #[test]
    fn targets_are_standardised_for_each_output_or_for_none() {
        let build = |targets, target_scaling: &[Scale]| {
            let (shape, element, scaling) = (vec![1], Element::U8, Scaling::Uniform { factor: 1.0, offset: 0.0 });
            let target_scaling = target_scaling.to_vec();
            let rows = [1, 0, 0];
            DatasetBuilder::new(Header { shape, element, targets, rows, scaling, files_bytes: 0, target_scaling })
                .map(|builder| Dataset::open(Arc::new(builder.finish())).unwrap())
        };
        let of = |center, spread| Scale { center, spread };
        let values = TargetKind::Values { width: 2 };
        let kept = build(values, &[of(-3.5, 0.25), of(1e300, 2.0)]).unwrap();
        assert_eq!(kept.header().target_scaling(1), of(1e300, 2.0));
        assert_eq!(build(values, &[]).unwrap().header().target_scaling(1), Scale::NONE);
        for (targets, scaling, what) in [
            (values, vec![of(0.0, 1.0)], "the number of target scalings"),
            (TargetKind::Classes { count: 2 }, vec![of(0.0, 1.0); 2], "the number of target scalings"),
            (values, vec![of(0.0, 1.0), of(0.0, 0.0)], "the scaling of a target"),
            (values, vec![of(0.0, -1.0), of(0.0, 1.0)], "the scaling of a target"),
            (values, vec![of(f64::NAN, 1.0), of(0.0, 1.0)], "the scaling of a target"),
            (values, vec![of(0.0, f64::INFINITY), of(0.0, 1.0)], "the scaling of a target"),
        ] {
            assert_eq!(build(targets, &scaling).unwrap_err().to_string(), format!("the header is wrong in {what}"));
        }
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
                files_bytes: 0,
                target_scaling: Vec::new(),
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
