//! What came out of a partition, and how that compares with labels.

use serde::{Deserialize, Serialize};

use super::KeptColumn;
use crate::codec::{self, CodecError};
use crate::schema::Outputs;

/// What came out of a partition beside the answers themselves: both are the artifact of its attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Rows that were answered.
    pub rows: u64,
    /// The columns of the answers, where a program chose them.
    pub columns: Vec<KeptColumn>,
    /// Rows that could not be read.
    pub bad_rows: u64,
    /// The first of these, at most [`BAD_ROWS_TOLD_MAX`].
    pub bad: Vec<BadRow>,
    /// How the answers compare with the labels, where there are some.
    pub tally: Option<LabelTally>,
    /// The rows whose answers are furthest from their labels, the furthest first; at most [`FAR_ROWS_MAX`].
    pub far: Vec<FarRow>,
}

impl Applied {
    /// The artifact: itself, and behind it the answers as a file of the output.
    ///
    /// # Errors
    /// [`CodecError::Encode`], if it is too large.
    pub fn to_artifact(&self, table: &[u8]) -> Result<Vec<u8>, CodecError> {
        codec::encode_before(self, table)
    }

    /// What an artifact tells, and the answers behind it.
    ///
    /// # Errors
    /// [`CodecError`], if the bytes are no such artifact.
    pub fn of_artifact(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        codec::decode_before(bytes)
    }
}

/// Rows of one partition that could not be read, and are told one by one.
pub const BAD_ROWS_TOLD_MAX: usize = 10_000;

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Its number in its file, counted from 0; of a picture, its place among those of the partition.
    pub row: u64,
    /// Where that is: file and line, as errors name it.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Rows of one partition, and of the whole, that are told since their answers are far from their labels.
pub const FAR_ROWS_MAX: usize = 20;

/// A row whose answer is far from its label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FarRow {
    /// The place of its file among those of the input.
    pub file: u32,
    /// Its number there, counted from 0.
    pub row: u64,
    /// What should have been answered: the number of a class, or a value (of several, the one that is furthest off).
    pub wanted: f64,
    /// What was answered.
    pub answered: f64,
    /// How far that is: `-ln p` of the wanted class, or the difference in the units of the files.
    pub distance: f64,
}

/// How answers compare with labels. Tallies of partitions are added in the order of the partitions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LabelTally {
    /// How often each class was answered where each was wanted: `counts[wanted * classes + answered]`.
    Classes {
        /// How many classes.
        classes: u32,
        /// Row after row.
        counts: Vec<u64>,
        /// The sum of `-ln p` of the wanted class.
        loss: f64,
    },
    /// Over all outputs, in the units of the files.
    Values {
        /// Rows with labels.
        rows: u64,
        /// For each output, the sum of squared differences.
        squared: Vec<f64>,
        /// For each output, the sum of differences without their sign.
        absolute: Vec<f64>,
    },
}

impl LabelTally {
    /// Nothing yet, for answers of this kind.
    #[must_use]
    pub fn of(outputs: &Outputs) -> Self {
        match outputs {
            Outputs::Classes { names, .. } => {
                let classes = names.len() as u32;
                Self::Classes { classes, counts: vec![0; names.len() * names.len()], loss: 0.0 }
            }
            Outputs::Values { names, .. } => {
                Self::Values { rows: 0, squared: vec![0.0; names.len()], absolute: vec![0.0; names.len()] }
            }
        }
    }

    /// Adds another one of the same kind; one of another kind, which a confused executor may send, changes nothing.
    pub fn add(&mut self, other: &Self) {
        match (self, other) {
            (
                Self::Classes { classes, counts, loss },
                Self::Classes { classes: more, counts: others, loss: other },
            ) if classes == more && counts.len() == others.len() => {
                counts.iter_mut().zip(others).for_each(|(count, other)| *count = count.saturating_add(*other));
                *loss += other;
            }
            (
                Self::Values { rows, squared, absolute },
                Self::Values { rows: more, squared: others, absolute: distances },
            ) if squared.len() == others.len() && absolute.len() == distances.len() => {
                *rows = rows.saturating_add(*more);
                squared.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
                absolute.iter_mut().zip(distances).for_each(|(sum, other)| *sum += other);
            }
            _ => {}
        }
    }

    /// Rows with labels.
    #[must_use]
    pub fn rows(&self) -> u64 {
        match self {
            Self::Classes { counts, .. } => counts.iter().fold(0, |sum, count| sum.saturating_add(*count)),
            Self::Values { rows, .. } => *rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(counts: [u64; 4], loss: f64) -> LabelTally {
        LabelTally::Classes { classes: 2, counts: counts.to_vec(), loss }
    }

    #[test]
    fn tallies_of_one_kind_add_up_and_others_change_nothing() {
        let mut tally = LabelTally::of(&Outputs::Classes { column: None, names: vec!["a".into(), "b".into()] });
        tally.add(&classes([1, 2, 3, 4], 0.5));
        tally.add(&classes([10, 0, 0, u64::MAX], 0.25));
        let values = LabelTally::Values { rows: 1, squared: vec![4.0], absolute: vec![2.0] };
        tally.add(&values);
        tally.add(&LabelTally::Classes { classes: 2, counts: vec![1], loss: 9.0 });
        assert_eq!((tally.clone(), tally.rows()), (classes([11, 2, 3, u64::MAX], 0.75), u64::MAX));
        let mut sum = values.clone();
        sum.add(&values);
        sum.add(&tally);
        assert_eq!(sum, LabelTally::Values { rows: 2, squared: vec![8.0], absolute: vec![4.0] });
    }

    #[test]
    fn an_artifact_is_read_back_and_what_is_none_is_refused() {
        let applied = Applied { rows: 3, bad_rows: 1, tally: Some(classes([1, 0, 0, 2], 0.1)), ..Applied::default() };
        let bytes = applied.to_artifact(b"a,b\n").unwrap();
        assert_eq!(Applied::of_artifact(&bytes).unwrap(), (applied, &b"a,b\n"[..]));
        assert!(Applied::of_artifact(&bytes[..20]).is_err());
    }
}
