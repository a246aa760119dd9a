//! What is predicted: labels as files hold them, and the classes or values that they are.

use broadsweep_common::dataset::TargetKind;
use broadsweep_common::schema::{Outputs, Scale};

use super::error::{CLASSES_MAX, DataError, Origin, ValuePlace};
use super::rows::RawLabels;
use super::words::Words;

/// Refuses a number that is no class: classes are whole.
pub(super) fn check_class(value: f64, place: impl FnOnce() -> ValuePlace) -> Result<(), DataError> {
    if !value.is_finite() {
        return Err(DataError::NotFinite { place: place(), value });
    }
    if is_class(value) { Ok(()) } else { Err(DataError::Class { place: place(), value }) }
}

/// Whether `value` may be the number of a class: whole, and one that no rounding has changed.
fn is_class(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() <= (1_u64 << 53) as f64
}

/// The classes of a column of a table: where all words are whole numbers, they are in their order, however they are
/// written; else words are in theirs.
pub(super) fn of_column(words: &Words, column: String) -> RawLabels {
    let whole = |word: &str| word.parse().ok().filter(|&number| is_class(number)).map(|number| number as i64);
    of_words(words, Some(column), whole)
}

/// The classes of words without a table: numbers only as programs write them, so that `01` and `1` are two.
pub(super) fn of_names(words: &Words) -> RawLabels {
    of_words(words, None, |word| word.parse::<i64>().ok().filter(|number| number.to_string() == word))
}

fn of_words(words: &Words, column: Option<String>, number: impl Fn(&str) -> Option<i64>) -> RawLabels {
    let numbers: Option<Vec<i64>> = words.names().map(number).collect();
    let Some(numbers) = numbers else {
        let (names, order) = words.sorted();
        let of = order.iter().enumerate().map(|(found, &class)| (found as f64, class as u32)).collect();
        return RawLabels::Classes { column, names, of };
    };
    let mut distinct = numbers.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let class = |number: &i64| distinct.iter().position(|known| known == number).unwrap_or_default() as u32;
    let of = numbers.iter().enumerate().map(|(found, number)| (found as f64, class(number))).collect();
    RawLabels::Classes { column, names: distinct.iter().map(i64::to_string).collect(), of }
}

/// The classes of labels that are numbers, from those that occur, in any order.
pub(super) fn of_numbers(mut found: Vec<f64>) -> RawLabels {
    found.sort_by(f64::total_cmp);
    found.dedup_by_key(|number| number.to_bits());
    let names = found.iter().map(|&number| (number as i64).to_string()).collect();
    let of = found.iter().zip(0..).map(|(&number, class)| (number + 0.0, class)).collect();
    RawLabels::Classes { column: None, names, of }
}

impl RawLabels {
    /// For a program: classes keep their own numbers where these can be places, as all programs number them.
    pub(super) fn with_own_numbers(self) -> Self {
        let Self::Classes { column, names, of } = self else { return self };
        let own: Option<Vec<u32>> =
            names.iter().map(|name| name.parse().ok().filter(|number| *number < CLASSES_MAX)).collect();
        let Some(own) = own else { return Self::Classes { column, names, of } };
        let count = own.iter().max().map_or(0, |largest| largest + 1);
        let of = of.iter().map(|&(label, class)| (label, own[class as usize])).collect();
        Self::Classes { column, names: (0..count.max(2)).map(|class| class.to_string()).collect(), of }
    }

    /// What a data set with these labels predicts.
    pub(super) fn kind(&self, file: &Origin) -> Result<TargetKind, DataError> {
        match self {
            Self::Classes { names, .. } if names.len() > CLASSES_MAX as usize => {
                Err(DataError::ClassesMax { file: file.clone() })
            }
            Self::Classes { names, .. } => match names.as_slice() {
                [class] => Err(DataError::OneClass { file: file.clone(), class: super::error::shown(class) }),
                names => Ok(TargetKind::Classes { count: names.len() as u32 }),
            },
            Self::Values { names } => Ok(TargetKind::Values { width: names.len() as u32 }),
        }
    }

    /// The same for people, with the scale of each value.
    pub(super) fn outputs(&self, scales: Vec<Scale>) -> Outputs {
        match self {
            Self::Classes { column, names, .. } => Outputs::Classes { column: column.clone(), names: names.clone() },
            Self::Values { names } => Outputs::Values { names: names.clone(), scales },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(words: &[&str]) -> (Vec<String>, Vec<(f64, u32)>) {
        let mut list = Words::new(10);
        let place = || ValuePlace::Row { file: Origin::file("x".into()), row: 0, column: 0 };
        for word in words {
            list.add(word, place);
        }
        let RawLabels::Classes { names, of, .. } = of_column(&list, String::new()) else { panic!("no classes") };
        (names, of)
    }

    #[test]
    fn only_whole_numbers_are_classes() {
        for (value, want) in [
            (0.0, true),
            (-0.0, true),
            (-1.0, true),
            (1e15, true),
            (1.5, false),
            (2.999_999_999_999, false),
            (1e17, false),
            (f64::NAN, false),
            (f64::INFINITY, false),
        ] {
            assert_eq!(is_class(value), want, "{value}");
        }
    }

    #[test]
    fn classes_are_those_that_occur_numbers_by_size_and_words_by_letters() {
        let (names, of) = classes(&["10", "9", "-1", "9.0"]);
        assert_eq!(names, ["-1", "9", "10"]);
        assert_eq!(of, [(0.0, 2), (1.0, 1), (2.0, 0), (3.0, 1)]);
        let (names, of) = classes(&["dog", "10", "cat"]);
        assert_eq!(names, ["10", "cat", "dog"]);
        assert_eq!(of, [(0.0, 2), (1.0, 0), (2.0, 1)]);
    }

    #[test]
    fn a_program_gets_the_numbers_that_the_file_has_where_they_can_be_places() {
        let own = |found: &[f64]| {
            let RawLabels::Classes { names, of, .. } = of_numbers(found.to_vec()).with_own_numbers() else {
                panic!("no classes")
            };
            (names.len(), of)
        };
        assert_eq!(own(&[3.0, 1.0]), (4, vec![(1.0, 1), (3.0, 3)]));
        assert_eq!(own(&[3.0, -1.0]), (2, vec![(-1.0, 0), (3.0, 1)]));
    }
}
