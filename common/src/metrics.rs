//! What a trial reports: numbers by name, at an epoch. They depend on the study alone, never on place or time.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::dataset::Part;

/// Bytes that the name of a metric may have.
pub const METRIC_NAME_BYTES_MAX: usize = 64;
/// Metrics that one report may hold.
pub const METRICS_MAX: usize = 64;

/// The metrics of the built-in trainers, in the order in which people read them.
const BUILT_IN: [&str; 7] = [
    "learning_rate",
    "training_loss",
    "training_error",
    "validation_loss",
    "validation_error",
    "test_loss",
    "test_error",
];

/// The name of a metric: 1 to [`METRIC_NAME_BYTES_MAX`] bytes, none of them a control character. Cheap to clone.
///
/// Names are in the order in which people read them: those of the built-in trainers first, as they are listed here,
/// then all others by their letters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricName(Spelling);

/// A name is spelled in one way only, so that equal names are equal values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Spelling {
    /// By its place among [`BUILT_IN`]: the usual ones take no memory of their own.
    BuiltIn(u8),
    Given(Arc<str>),
}

/// A text that names no metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot name a metric: a name has 1 to {METRIC_NAME_BYTES_MAX} bytes, none of them a control character"
)]
pub struct BadMetricName(String);

impl MetricName {
    /// The step size of an epoch.
    pub const LEARNING_RATE: Self = Self(Spelling::BuiltIn(0));
    /// Mean loss a row over an epoch's batches, in training mode, without penalties: nats for cross entropy, the mean
    /// squared error otherwise.
    pub const TRAINING_LOSS: Self = Self(Spelling::BuiltIn(1));
    /// Error over the training rows, of weights that were measured on them.
    pub const TRAINING_ERROR: Self = Self(Spelling::BuiltIn(2));
    /// Mean loss a row over the held-out rows, in the same unit.
    pub const VALIDATION_LOSS: Self = Self(Spelling::BuiltIn(3));
    /// Over the held-out rows: the fraction wrong, or the root mean square error for squared-error losses.
    pub const VALIDATION_ERROR: Self = Self(Spelling::BuiltIn(4));
    /// Mean loss a row over the test rows.
    pub const TEST_LOSS: Self = Self(Spelling::BuiltIn(5));
    /// Error over the test rows.
    pub const TEST_ERROR: Self = Self(Spelling::BuiltIn(6));

    /// The metric that is called `name`.
    ///
    /// # Errors
    /// [`BadMetricName`], with as much of `name` as a name may have.
    pub fn new(name: &str) -> Result<Self, BadMetricName> {
        if let Some(place) = BUILT_IN.iter().position(|known| *known == name) {
            return Ok(Self(Spelling::BuiltIn(place as u8)));
        }
        if name.is_empty() || name.len() > METRIC_NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(BadMetricName(name[..name.floor_char_boundary(METRIC_NAME_BYTES_MAX)].to_owned()));
        }
        Ok(Self(Spelling::Given(name.into())))
    }

    /// The name at this place among those of the built-in trainers, from 0.
    #[must_use]
    pub fn of_built_in(place: u8) -> Option<Self> {
        (usize::from(place) < BUILT_IN.len()).then_some(Self(Spelling::BuiltIn(place)))
    }

    /// Its place among those of the built-in trainers, if it is one of them. Places are on the wire: they never change.
    #[must_use]
    pub fn built_in(&self) -> Option<u8> {
        match self.0 {
            Spelling::BuiltIn(place) => Some(place),
            Spelling::Given(_) => None,
        }
    }

    /// What is measured over a part of the data: its loss and its error.
    #[must_use]
    pub fn of_part(part: Part) -> [Self; 2] {
        match part {
            Part::Train => [Self::TRAINING_LOSS, Self::TRAINING_ERROR],
            Part::Validation => [Self::VALIDATION_LOSS, Self::VALIDATION_ERROR],
            Part::Test => [Self::TEST_LOSS, Self::TEST_ERROR],
        }
    }

    /// Its letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Spelling::BuiltIn(place) => BUILT_IN[usize::from(*place)],
            Spelling::Given(name) => name,
        }
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl Serialize for MetricName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MetricName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Numbers by name: what was measured at one moment of a trial.
///
/// NaN is a value: it says that something was measured, and was no number.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(MetricName, f64)>")]
pub struct Metrics(Vec<(MetricName, f64)>);

impl Metrics {
    /// The number of that name.
    #[must_use]
    pub fn get(&self, name: &MetricName) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Notes a number; one of the same name is replaced.
    pub fn set(&mut self, name: MetricName, value: f64) {
        if self.0.last().is_none_or(|(last, _)| *last < name) {
            return self.0.push((name, value)); // they come in their order nearly always
        }
        match self.0.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (name, value)),
        }
    }

    /// All of them, in the order of their names.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&MetricName, f64)> + Clone {
        self.0.iter().map(|(name, value)| (name, *value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(MetricName, f64)> for Metrics {
    /// Of two numbers of one name, the later one stays.
    fn from_iter<I: IntoIterator<Item = (MetricName, f64)>>(numbers: I) -> Self {
        let numbers = numbers.into_iter();
        let mut metrics = Self(Vec::with_capacity(numbers.size_hint().0));
        numbers.for_each(|(name, value)| metrics.set(name, value));
        metrics
    }
}

impl From<Vec<(MetricName, f64)>> for Metrics {
    fn from(numbers: Vec<(MetricName, f64)>) -> Self {
        numbers.into_iter().collect()
    }
}

impl PartialEq for Metrics {
    /// By the exact bits; every NaN is the same one.
    fn eq(&self, other: &Self) -> bool {
        let bits = |(name, value): &(MetricName, f64)| (name.clone(), canonical_bits(*value));
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(one, other)| bits(one) == bits(other))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, value)| (name, value))).finish()
    }
}

/// An objective: the metric by which trials are ranked, and which way is better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// What is compared.
    pub metric: MetricName,
    /// Which way is better.
    pub direction: Direction,
}

/// Which of two values is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// The smaller one.
    Minimize,
    /// The larger one.
    Maximize,
}

impl Direction {
    /// The order of two values, the better one first. NaN stands behind every number, and zeros are equal.
    #[must_use]
    pub fn order(self, one: f64, other: f64) -> Ordering {
        match (one.is_nan(), other.is_nan()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let by_size = one.partial_cmp(&other).unwrap_or(Ordering::Equal);
                match self {
                    Self::Minimize => by_size,
                    Self::Maximize => by_size.reverse(),
                }
            }
        }
    }
}

/// The bits of `value` with every NaN made the same one, so that digests do not depend on a NaN's payload.
#[must_use]
pub fn canonical_bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> MetricName {
        MetricName::new(name).unwrap()
    }

    #[test]
    fn a_name_is_the_same_however_it_was_made_and_those_of_the_built_in_trainers_stand_first() {
        assert_eq!(named("validation_error"), MetricName::VALIDATION_ERROR);
        assert_eq!(MetricName::TEST_ERROR.as_str(), "test_error");
        let of_places: Vec<_> = (0..8).map(MetricName::of_built_in).collect();
        assert_eq!((&of_places[6], &of_places[7]), (&Some(MetricName::TEST_ERROR), &None));
        assert_eq!((MetricName::TEST_ERROR.built_in(), named("auc").built_in()), (Some(6), None));
        let mut names = [named("auc"), named("test_loss"), named("accuracy"), named("learning_rate")];
        names.sort();
        let letters: Vec<_> = names.iter().map(MetricName::as_str).collect();
        assert_eq!(letters, ["learning_rate", "test_loss", "accuracy", "auc"]);
    }

    #[test]
    fn a_text_that_is_no_name_is_refused_and_shown_in_part() {
        let long = "é".repeat(METRIC_NAME_BYTES_MAX);
        for text in ["", "two\nlines", &long] {
            let refused = MetricName::new(text).unwrap_err();
            assert!(refused.0.len() <= METRIC_NAME_BYTES_MAX, "{refused}");
        }
        assert!(MetricName::new(&"n".repeat(METRIC_NAME_BYTES_MAX)).is_ok());
        assert!(crate::codec::decode::<MetricName>(&crate::codec::encode(&"\0".to_owned()).unwrap()).is_err());
    }

    #[test]
    fn metrics_are_equal_by_their_bits_and_hold_each_name_once() {
        let of = |value| Metrics::from_iter([(named("b"), 1.0), (named("a"), value)]);
        assert_eq!(of(f64::NAN), of(-f64::NAN));
        assert_ne!(of(0.0), of(-0.0));
        let mut metrics = of(2.0);
        metrics.set(named("a"), 3.0);
        assert_eq!((metrics.len(), metrics.get(&named("a")), metrics.get(&named("c"))), (2, Some(3.0), None));
        assert_eq!(metrics.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn the_better_value_stands_first_and_nan_last_whatever_the_direction() {
        for (direction, expected) in
            [(Direction::Minimize, [-1.0, 0.0, 2.0]), (Direction::Maximize, [2.0, 0.0, -1.0])]
        {
            let mut values = [f64::NAN, 0.0, 2.0, -1.0];
            values.sort_by(|one, other| direction.order(*one, *other));
            assert_eq!(values[..3], expected);
            assert!(values[3].is_nan());
            assert_eq!(direction.order(0.0, -0.0), Ordering::Equal);
        }
    }
}
