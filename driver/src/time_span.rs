//! Spans of time, as the command line and study files have them: `90s`, `30min`, `1h30m`.

use std::str::FromStr;
use std::time::Duration;

/// What people call the units, and their seconds.
const UNITS: [(&str, u32); 9] = [
    ("s", 1),
    ("sec", 1),
    ("m", 60),
    ("min", 60),
    ("h", 3600),
    ("hour", 3600),
    ("hours", 3600),
    ("d", 86_400),
    ("days", 86_400),
];
/// No run is that long: a slip of the pen.
const DAYS_MAX: u64 = 1000;

/// A span of time that is not nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeSpan(pub(crate) Duration);

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no span of time; write 90s, 30min, 2h, 1h30min or 2d");
        let mut rest = text.trim();
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.');
            let (number, after) = rest.split_at(digits.ok_or_else(bad)?);
            let after = after.trim_start();
            let length = after.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, next) = after.split_at(length);
            let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
            seconds += number.parse::<f64>().map_err(|_| bad())? * f64::from(factor);
            rest = next.trim_start();
        }
        let span = Duration::try_from_secs_f64(seconds).map_err(|_| bad())?;
        let is_usable = span > Duration::ZERO && span <= Duration::from_hours(24 * DAYS_MAX);
        is_usable.then_some(Self(span)).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        let rows = [("90s", 90), ("2h", 7200), ("1h30min", 5400), ("1.5 h", 5400), ("1d 2h", 93_600), ("10m", 600)];
        for (text, seconds) in rows {
            assert_eq!(text.parse(), Ok(TimeSpan(Duration::from_secs(seconds))), "{text}");
        }
        assert_eq!("0.5s".parse(), Ok(TimeSpan(Duration::from_millis(500))));
        for text in ["", "90", "0s", "h", "-1h", "2 weeks", "1..5h", "99999999d", "2h30"] {
            assert!(text.parse::<TimeSpan>().unwrap_err().contains("write 90s, 30min"), "{text}");
        }
    }
}
