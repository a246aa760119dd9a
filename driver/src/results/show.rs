//! How numbers and names are shown to people. Files and digests hold the exact ones.

use std::time::Duration;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::model::Loss;
use broadsweep_common::size::ByteSize;

pub use broadsweep_common::printable::{
    counted, is_disruptive, printable, printable_json, printable_line, printable_lines,
};

/// An error: a fraction wrong as `2.10 %`, a root mean square error with four digits.
#[must_use]
pub fn error_text(loss: Loss, error: f64) -> String {
    match loss {
        _ if error.is_nan() => "NaN".to_owned(),
        Loss::CrossEntropy => format!("{:.2} %", error * 100.0),
        Loss::MeanSquaredError => short_real(error),
    }
}

/// Characters of a choice that are shown.
const CHOICE_CHARACTERS_MAX: usize = 40;

/// A value in few characters: long reals are rounded to four digits, long choices cut.
#[must_use]
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Real(real) => short_real(*real),
        Value::Choice(word) => printable(word, CHOICE_CHARACTERS_MAX),
        Value::Integer(_) | Value::Flag(_) => value.to_string(),
    }
}

/// `fc1=512`, `learning_rate=0.001668`: the values as [`value_text`] shows them, in order of names.
pub fn configuration_pairs(configuration: &Configuration) -> impl Iterator<Item = String> {
    configuration.iter().map(|(name, value)| format!("{name}={}", value_text(value)))
}

/// The two largest units: `400 ms`, `42 s`, `2 min 10 s`, `3 h 5 min`, `2 d 3 h`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.as_millis() > 0 => format!("{} ms", duration.as_millis()),
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `512 B`, `11.3 MiB`.
#[must_use]
pub fn bytes_text(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// `real` as it is where that is short, else with four digits.
pub(crate) fn short_real(real: f64) -> String {
    let exact = real.to_string();
    if exact.len() <= 8 || !real.is_finite() {
        return exact;
    }
    let rounded: f64 = format!("{real:.3e}").parse().unwrap_or(real);
    if (1e-4..1e7).contains(&rounded.abs()) { rounded.to_string() } else { format!("{rounded:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_percents_only_where_they_are_fractions() {
        assert_eq!(error_text(Loss::CrossEntropy, 0.0123), "1.23 %");
        assert_eq!(error_text(Loss::CrossEntropy, 1.0), "100.00 %");
        assert_eq!(error_text(Loss::MeanSquaredError, 12.345_678_9), "12.35");
        assert_eq!(error_text(Loss::MeanSquaredError, f64::INFINITY), "inf");
        assert_eq!(error_text(Loss::CrossEntropy, f64::NAN), "NaN");
    }

    #[test]
    fn reals_are_shown_short() {
        for (real, shown) in [
            (0.01, "0.01"),
            (512.0, "512"),
            (12_345.0, "12345"),
            (0.001_668_100_537_200_059_2, "0.001668"),
            (1.234_567e-7, "1.235e-7"),
            (1e300, "1e300"),
            (-0.333_333_333_333, "-0.3333"),
            (0.0, "0"),
        ] {
            assert_eq!(value_text(&Value::Real(real)), shown);
        }
    }

    #[test]
    fn a_choice_cannot_move_the_cursor() {
        assert_eq!(value_text(&Value::Choice("a\n\u{1b}[2Jé".into())), "a\\n\\u{1b}[2Jé");
        assert_eq!(value_text(&Value::Choice("\u{202e}a\u{2028}".into())), "\\u{202e}a\\u{2028}");
    }

    #[test]
    fn a_document_stays_the_same_and_nothing_else_reaches_a_terminal() {
        let document = serde_json::json!({ "name": "\u{9b}2J\u{7f}\u{202e}\u{1b}é" });
        let shown = printable_json(&document.to_string()).into_owned();
        assert!(!shown.contains(is_disruptive), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document);
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (130, "2 min 10 s"),
            (3600, "1 h 0 min"),
            (11_100, "3 h 5 min"),
            (183_600, "2 d 3 h"),
        ] {
            assert_eq!(duration_text(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn a_duration_below_a_second_is_not_shown_as_none() {
        let shown = [999_999, 400_000, 1_000, 999, 0].map(|us| duration_text(Duration::from_micros(us)));
        assert_eq!(shown, ["999 ms", "400 ms", "1 ms", "0 s", "0 s"]);
    }
}
