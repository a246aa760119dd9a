//! A setting is written in the study, or searched: `units = 512` or `units = "$units"`.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::configuration::{Configuration, Value};

/// A setting as a study writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Setting<T> {
    /// The study gives the value.
    Fixed(T),
    /// Each configuration gives the value, under this name.
    Searched(String),
    /// Configurations that have the parameter give the value; in others the setting is as if it were not written.
    Conditional {
        /// The parameter's name.
        parameter: String,
        /// The value without it.
        default: T,
    },
}

/// What can stand in a setting.
pub trait SettingValue: Sized + Clone {
    /// What is expected, in a user's words: "a whole number", "one of relu, tanh".
    fn expected() -> String;
    /// The value, if `value` can be one.
    fn from_value(value: &Value) -> Option<Self>;
}

/// Why a setting has no usable value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingError {
    /// The configuration lacks the parameter.
    #[error("{place} is searched as `${parameter}`, which the configuration does not have")]
    Missing {
        /// Which setting: "layer 3 (dense): units".
        place: String,
        /// The parameter's name.
        parameter: String,
    },
    /// The configuration's value is of another kind.
    #[error("{place} is `{value}` (from `${parameter}`); it has to be {expected}")]
    Kind {
        /// Which setting.
        place: String,
        /// The parameter's name.
        parameter: String,
        /// What the configuration has.
        value: String,
        /// What was expected.
        expected: String,
    },
    /// The value is out of range.
    #[error("{place} is {value}; it has to be {expected}")]
    Range {
        /// Which setting.
        place: String,
        /// The value.
        value: String,
        /// The allowed range, in words.
        expected: String,
    },
}

impl<T: SettingValue> Setting<T> {
    /// The value under `configuration`.
    ///
    /// # Errors
    /// [`SettingError::Missing`] or [`SettingError::Kind`]; `place` names the setting in them.
    pub fn resolve(&self, configuration: &Configuration, place: &str) -> Result<T, SettingError> {
        let parameter = match self {
            Self::Fixed(value) => return Ok(value.clone()),
            Self::Conditional { parameter, default } if configuration.get(parameter).is_none() => {
                return Ok(default.clone());
            }
            Self::Searched(parameter) | Self::Conditional { parameter, .. } => parameter,
        };
        let Some(value) = configuration.get(parameter) else {
            return Err(SettingError::Missing { place: place.to_owned(), parameter: parameter.clone() });
        };
        T::from_value(value).ok_or_else(|| SettingError::Kind {
            place: place.to_owned(),
            parameter: parameter.clone(),
            value: value.to_string(),
            expected: T::expected(),
        })
    }
}

/// The range that a number has to lie in; says so in words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bounds<T> {
    /// `min ..= max`.
    Within(T, T),
    /// `min .. max`: `max` itself is refused.
    Below(T, T),
    /// Above `min`, up to `max`: `min` itself is refused.
    Above(T, T),
}

impl<T: PartialOrd + Display + Copy> Bounds<T> {
    /// The bounds of a closed range.
    #[must_use]
    pub fn of(range: &RangeInclusive<T>) -> Self {
        Self::Within(*range.start(), *range.end())
    }

    /// Whether `value` lies inside. NaN never does.
    #[must_use]
    pub fn hold(&self, value: T) -> bool {
        match *self {
            Self::Within(min, max) => min <= value && value <= max,
            Self::Below(min, max) => min <= value && value < max,
            Self::Above(min, max) => min < value && value <= max,
        }
    }

    /// The range in words: "at least 0 and below 1".
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Within(min, max) => format!("from {min} to {max}"),
            Self::Below(min, max) => format!("at least {min} and below {max}"),
            Self::Above(min, max) => format!("above {min} and at most {max}"),
        }
    }

    /// `value`, if it lies inside.
    ///
    /// # Errors
    /// [`SettingError::Range`], naming `place`.
    pub fn check(&self, value: T, place: &str) -> Result<T, SettingError> {
        if self.hold(value) {
            return Ok(value);
        }
        Err(SettingError::Range { place: place.to_owned(), value: value.to_string(), expected: self.in_words() })
    }
}

impl SettingValue for u32 {
    fn expected() -> String {
        "a whole number, 0 or more".to_owned()
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(integer) => Self::try_from(*integer).ok(),
            Value::Real(_) | Value::Choice(_) | Value::Flag(_) => None,
        }
    }
}

impl SettingValue for f64 {
    fn expected() -> String {
        "a number".to_owned()
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(integer) => Some(*integer as Self),
            Value::Real(real) => Some(*real),
            Value::Choice(_) | Value::Flag(_) => None,
        }
    }
}

impl SettingValue for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Flag(flag) => Some(*flag),
            Value::Integer(_) | Value::Real(_) | Value::Choice(_) => None,
        }
    }
}

/// Gives an enum of plain words its names in study files, one row a word.
macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// Every word that a study may write here, in the order of the documentation.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }

        impl $crate::setting::SettingValue for $type {
            fn expected() -> String {
                let words: Vec<_> = Self::WORDS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                format!("one of {}", words.join(", "))
            }

            fn from_value(value: &$crate::configuration::Value) -> Option<Self> {
                let $crate::configuration::Value::Choice(given) = value else { return None };
                Self::WORDS.iter().find(|(word, _)| word == given).map(|(_, value)| *value)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_searched_setting_takes_the_value_of_the_configuration() {
        let setting: Setting<u32> = Setting::Searched("units".into());
        let configuration = Configuration::from_iter([("units", Value::Integer(64))]);
        assert_eq!(setting.resolve(&configuration, "units"), Ok(64));
        assert!(matches!(setting.resolve(&Configuration::default(), "units"), Err(SettingError::Missing { .. })));
    }

    #[test]
    fn a_setting_of_a_parameter_that_is_absent_is_as_if_it_were_not_written() {
        let setting: Setting<u32> = Setting::Conditional { parameter: "units".into(), default: 7 };
        let with = |value| Configuration::from_iter([("units", value)]);
        assert_eq!(setting.resolve(&with(Value::Integer(64)), "units"), Ok(64));
        assert_eq!(setting.resolve(&Configuration::default(), "units"), Ok(7));
        assert!(matches!(setting.resolve(&with(Value::Flag(true)), "units"), Err(SettingError::Kind { .. })));
    }

    #[test]
    fn a_value_of_another_kind_says_what_was_expected() {
        let setting: Setting<u32> = Setting::Searched("units".into());
        let configuration = Configuration::from_iter([("units", Value::Real(0.5))]);
        let error = setting.resolve(&configuration, "layer 1 (dense): units").unwrap_err();
        assert_eq!(
            error.to_string(),
            "layer 1 (dense): units is `0.5` (from `$units`); it has to be a whole number, 0 or more"
        );
    }

    #[test]
    fn bounds_refuse_nan_and_their_open_end() {
        assert!(!Bounds::Within(0.0, 1.0).hold(f64::NAN));
        assert!(!Bounds::Below(0.0, 1.0).hold(1.0));
        assert!(!Bounds::Above(0.0, 1.0).hold(0.0));
        assert!(Bounds::Within(0.0, 1.0).hold(1.0));
    }
}
