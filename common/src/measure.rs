//! What the rows of a part are measured by beside loss and error, and which number early stop watches.

use serde::{Deserialize, Serialize};

use crate::dataset::{Part, TargetKind};
use crate::metrics::{BadMetricName, Direction, MetricName};

/// Measures that one study may ask for.
pub const MEASURES_MAX: usize = 8;

/// What a trained network can be measured by, over all rows of a part, beside its loss and its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Measure {
    /// 1 less the mean recall of the classes that occur.
    BalancedError,
    /// The mean F1 of the classes that occur or are predicted.
    F1,
    /// F1 of one class: 2 × hits / (rows of it + predictions of it); 0 without either.
    ClassF1 {
        /// Counted from 0.
        class: u32,
    },
    /// The area under the ROC curve of the second of two classes; of more classes, the mean of each against the rest.
    /// Equal probabilities count half. NaN where the rows have one class alone.
    Auc,
    /// 1 less the squared errors over those of the part's mean: the mean of that over the outputs.
    R2,
    /// The mean distance, over rows and outputs, in the file's units.
    MeanAbsoluteError,
}

/// What stands before the name of a class.
const OF_CLASS: &str = "f1_of_";

impl Measure {
    /// Those that a study names by a word alone.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("balanced_error", Self::BalancedError),
        ("f1", Self::F1),
        ("auc", Self::Auc),
        ("r2", Self::R2),
        ("mae", Self::MeanAbsoluteError),
    ];

    /// Those of regression, which is always measured by them.
    pub const OF_VALUES: [(&'static str, Self); 2] = [("r2", Self::R2), ("mae", Self::MeanAbsoluteError)];

    /// Which way is better.
    #[must_use]
    pub fn direction(self) -> Direction {
        match self {
            Self::BalancedError | Self::MeanAbsoluteError => Direction::Minimize,
            Self::F1 | Self::ClassF1 { .. } | Self::Auc | Self::R2 => Direction::Maximize,
        }
    }

    /// Whether it is one of numbers, not of classes.
    #[must_use]
    pub fn is_of_values(self) -> bool {
        match self {
            Self::R2 | Self::MeanAbsoluteError => true,
            Self::BalancedError | Self::F1 | Self::ClassF1 { .. } | Self::Auc => false,
        }
    }

    /// Whether rows with such targets can be measured by it.
    #[must_use]
    pub fn fits(self, targets: TargetKind) -> bool {
        match (self, targets) {
            (Self::ClassF1 { class }, TargetKind::Classes { count }) => class < count,
            (_, TargetKind::Classes { .. }) => !self.is_of_values(),
            (_, TargetKind::Values { .. }) => self.is_of_values(),
        }
    }
}

/// A measure with the names under which trials report it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// What is measured.
    pub measure: Measure,
    /// Of the training, validation and test rows.
    names: [MetricName; 3],
}

impl Reported {
    /// A measure that is called `word`, after the part's name: `validation_f1`.
    ///
    /// # Errors
    /// [`BadMetricName`], where no metric can be called so.
    pub fn new(measure: Measure, word: &str) -> Result<Self, BadMetricName> {
        let [train, validation, test] = Part::ALL.map(|part| MetricName::new(&format!("{part}_{word}")));
        Ok(Self { measure, names: [train?, validation?, test?] })
    }

    /// F1 of one class, by what the data calls it; its number is known once there is data.
    ///
    /// # Errors
    /// [`BadMetricName`], where no metric can be called so.
    pub fn of_class(name: &str) -> Result<Self, BadMetricName> {
        Self::new(Measure::ClassF1 { class: u32::MAX }, &format!("{OF_CLASS}{name}"))
    }

    /// What the data calls the class that this is about; nothing where it is about all.
    #[must_use]
    pub fn class_name(&self) -> Option<&str> {
        let Measure::ClassF1 { .. } = self.measure else { return None };
        let of_training = self.names[Part::Train as usize].as_str();
        of_training.split_once('_').and_then(|(_, word)| word.strip_prefix(OF_CLASS))
    }

    /// The metric of a part.
    #[must_use]
    pub fn metric(&self, part: Part) -> &MetricName {
        &self.names[part as usize]
    }
}

/// The number that early stop watches, over the rows that the study selects by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Which one.
    pub value: WatchedValue,
    /// Which way is better.
    pub direction: Direction,
}

/// Which number that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchedValue {
    /// The error.
    Error,
    /// The mean loss.
    Loss,
    /// The measure at this place among those of the study, from 0.
    Measure(u32),
}

impl Watched {
    /// The error, the smaller the better.
    pub const ERROR: Self = Self { value: WatchedValue::Error, direction: Direction::Minimize };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_is_reported_under_the_name_of_its_part() {
        let reported = Reported::new(Measure::Auc, "auc").unwrap();
        let names = Part::ALL.map(|part| reported.metric(part).as_str().to_owned());
        assert_eq!(names, ["training_auc", "validation_auc", "test_auc"]);
        assert!(Reported::new(Measure::F1, &"x".repeat(60)).is_err(), "no metric has such a name");
    }

    #[test]
    fn classes_and_numbers_have_measures_of_their_own() {
        let (classes, values) = (TargetKind::Classes { count: 2 }, TargetKind::Values { width: 2 });
        for (word, measure) in Measure::WORDS {
            let of_values = Measure::OF_VALUES.contains(&(word, measure));
            assert_eq!([measure.fits(classes), measure.fits(values)], [!of_values, of_values], "{word}");
        }
        assert!(Measure::ClassF1 { class: 1 }.fits(classes) && !Measure::ClassF1 { class: 2 }.fits(classes));
        assert!(!Measure::ClassF1 { class: 0 }.fits(values));
    }
}
