//! Shapes and types of a data set, and where its sections lie.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{DatasetError, Scale};
use crate::codec;

pub(super) const MAGIC: [u8; 8] = *b"BSDATA\x00\x04";
pub(super) const ALIGNMENT: usize = 64;
pub(super) const PREFIX: usize = 16;
/// Values that one row may have.
pub const ROW_VALUES_MAX: usize = 1 << 24;

/// Where features, then targets of each part lie, then the files.
pub(super) type Sections = [Range<usize>; 7];
/// The place of the files among them.
pub(super) const FILES: usize = 6;

/// One of the three parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Part {
    /// Rows that weights are fitted to.
    Train,
    /// Rows held out of the training rows, by whose error configurations are compared.
    Validation,
    /// Rows that say how good the chosen model is.
    Test,
}

impl Part {
    /// All three, in their order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// The files in which a program finds its features and its labels.
    #[must_use]
    pub fn file_names(self) -> [&'static str; 2] {
        match self {
            Self::Train => ["train_features.npy", "train_labels.npy"],
            Self::Validation => ["validation_features.npy", "validation_labels.npy"],
            Self::Test => ["test_features.npy", "test_labels.npy"],
        }
    }
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
    pub(super) fn bytes(self) -> usize {
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

    pub(super) fn row_bytes(self) -> usize {
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
    /// Bytes of the archive (tar) of files that a program is given; 0 where the study names none.
    pub files_bytes: u64,
    /// How each output of [`TargetKind::Values`] was standardised, in training and before it was narrowed; empty where
    /// targets lie in the file's units.
    pub target_scaling: Vec<Scale>,
}

impl Header {
    /// How output number `output`, counted from 0, was standardised.
    #[must_use]
    pub fn target_scaling(&self, output: usize) -> Scale {
        self.target_scaling.get(output).copied().unwrap_or(Scale::NONE)
    }

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
        self.check_target_scaling()
    }

    fn check_target_scaling(&self) -> Result<(), DatasetError> {
        let bad = |what: &'static str| Err(DatasetError::Header { what });
        let expected = match self.targets {
            TargetKind::Values { width } => width as usize,
            TargetKind::Classes { .. } => 0,
        };
        if !self.target_scaling.is_empty() && self.target_scaling.len() != expected {
            return bad("the number of target scalings");
        }
        if !self.target_scaling.iter().all(Scale::is_usable) {
            return bad("the scaling of a target");
        }
        Ok(())
    }

    /// Where the sections lie, features first, and where the last of them ends; `None` if it overflows.
    fn layout(&self) -> Option<(Sections, usize)> {
        let mut end = PREFIX;
        let mut ranges = std::array::from_fn(|_| 0..0);
        for (place, range) in ranges.iter_mut().enumerate() {
            let rows = || self.rows(Part::ALL[place % 3]);
            let bytes = match place {
                0..3 => (self.row_values() * self.element.bytes()).checked_mul(rows())?,
                FILES => usize::try_from(self.files_bytes).ok()?,
                _ => self.targets.row_bytes().checked_mul(rows())?,
            };
            let start = end.checked_next_multiple_of(ALIGNMENT)?;
            end = start.checked_add(bytes)?;
            *range = start..end;
        }
        Some((ranges, end))
    }

    /// The same, of shapes that a data set may have.
    pub(super) fn checked_layout(&self) -> Result<(Sections, usize), DatasetError> {
        self.check()?;
        self.layout().ok_or(DatasetError::Header { what: "its sizes" })
    }
}

/// What a data set begins with whose header has so many bytes.
pub(super) fn prefix(header_bytes: usize) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    prefix[..8].copy_from_slice(&MAGIC);
    prefix[8..].copy_from_slice(&(header_bytes as u64).to_le_bytes());
    prefix
}

/// The checked header, and where the sections lie.
pub(super) fn read(all: &[u8]) -> Result<(Header, Sections), DatasetError> {
    let prefix = all.get(..PREFIX).filter(|prefix| prefix[..8] == MAGIC).ok_or(DatasetError::Magic)?;
    let mut length = [0; 8];
    length.copy_from_slice(&prefix[8..]);
    let header_bytes = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    let start = all.len().checked_sub(header_bytes).filter(|&start| start >= PREFIX);
    let start = start.ok_or(DatasetError::Header { what: "its length" })?;
    let header: Header = codec::decode(&all[start..])?;
    let (sections, end) = header.checked_layout()?;
    if start != end {
        return Err(DatasetError::Length { got: all.len(), want: end.saturating_add(header_bytes) });
    }
    Ok((header, sections))
}
