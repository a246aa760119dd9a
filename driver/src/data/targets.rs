//! What is predicted: labels as files hold them, and as classes or values.

use broadsweep_common::dataset::TargetKind;

use super::error::{CLASSES_MAX, DataError, Origin, Sides, ValuePlace};
use crate::study::LabelKind;

/// The labels of one part, finite, row after row.
#[derive(Debug)]
pub(super) struct Labels {
    /// Names them in errors.
    pub(super) file: Origin,
    /// How many rows.
    pub(super) rows: usize,
    /// Numbers a row.
    pub(super) width: u32,
    /// `rows × width`. As `f64`, so that a label that is nearly whole does not round to a class.
    pub(super) values: Vec<f64>,
}

impl Labels {
    /// Checks labels that came from an array; a table's are checked line by line.
    pub(super) fn check(&self, kind: LabelKind) -> Result<(), DataError> {
        if kind == LabelKind::Numbers {
            return Ok(());
        }
        if self.width != 1 {
            let shape = Sides([self.rows as u64, u64::from(self.width)].into());
            let want = "labels of classes are one class a row, (rows,); of one-hot rows, take the argmax";
            return Err(DataError::Shape { file: self.file.clone(), shape, want });
        }
        match self.values.iter().position(|&value| !is_class(value)) {
            None => Ok(()),
            Some(row) => {
                let place = ValuePlace::Row { file: self.file.clone(), row, column: 0 };
                Err(DataError::Class { place, value: self.values[row] })
            }
        }
    }
}

/// Whether `value` is the number of a class.
pub(super) fn is_class(value: f64) -> bool {
    (0.0..f64::from(CLASSES_MAX)).contains(&value) && value.fract() == 0.0
}

/// What the targets of a study are, from the labels of its parts.
pub(super) fn kind(kind: LabelKind, train: &Labels, test: Option<&Labels>) -> Result<TargetKind, DataError> {
    match kind {
        LabelKind::Classes => {
            let values = train.values.iter().chain(test.iter().flat_map(|labels| &labels.values));
            let largest = values.fold(0, |largest, &value| largest.max(value as u32));
            Ok(TargetKind::Classes { count: (largest + 1).max(2) })
        }
        LabelKind::Numbers => match test {
            Some(test) if test.width != train.width => {
                let row = |labels: &Labels| Sides([u64::from(labels.width)].into());
                let (train_shape, test_shape) = (row(train), row(test));
                let (train, test) = (train.file.clone(), test.file.clone());
                Err(DataError::Unlike { train, train_shape, test, test_shape })
            }
            _ => Ok(TargetKind::Values { width: train.width }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_from_0_to_65_535_are_classes() {
        for (value, want) in [
            (0.0, true),
            (-0.0, true),
            (65_535.0, true),
            (65_536.0, false),
            (-1.0, false),
            (1.5, false),
            (2.999_999_999_999, false),
            (f64::NAN, false),
            (f64::INFINITY, false),
        ] {
            assert_eq!(is_class(value), want, "{value}");
        }
    }
}
