//! The time in a run folder's name, and in what other programs read. By hand: one function is less than a dependency on a calendar crate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_S: u64 = 86_400;

/// `now` in UTC as `20261122T170102Z` (ISO 8601, basic format), which sorts by time and is a file name on every
/// system. A time before 1970 is shown as its start.
#[must_use]
pub fn compact_utc(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil_from_days(seconds / DAY_S);
    let of_day = seconds % DAY_S;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// The day in UTC, as `2026-11-22`. A time before 1970 is shown as its start.
#[must_use]
pub fn day(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil_from_days(seconds / DAY_S);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The moment so long after 1970-01-01 in UTC, as `2026-11-22T17:01:02.000250+00:00` (ISO 8601), to the microsecond.
#[must_use]
pub fn exact_utc(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (year, month, day) = civil_from_days(seconds / DAY_S);
    let of_day = seconds % DAY_S;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let micros = since_1970.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
}

/// Year, month and day in the Gregorian calendar, `days` after 1970-01-01.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013), `civil_from_days`, without dates before
/// 1970. A year begins in March there, so that the leap day is its last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days since 0000-03-01
    let era = shifted / 146_097; // 400 years
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        // Each row as `date -u +%Y%m%dT%H%M%SZ -d @SECONDS` prints it.
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_795_366_862, "20261122T170102Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
            (253_402_300_799, "99991231T235959Z"),
        ] {
            assert_eq!(compact_utc(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_moment_is_written_to_the_microsecond() {
        for (at, expected) in [
            (Duration::ZERO, "1970-01-01T00:00:00.000000+00:00"),
            (Duration::from_micros(1_795_366_862_000_250), "2026-11-22T17:01:02.000250+00:00"),
            (Duration::from_nanos(951_782_399_999_999_999), "2000-02-28T23:59:59.999999+00:00"),
        ] {
            assert_eq!(exact_utc(at), expected);
        }
    }

    #[test]
    fn every_day_follows_the_one_before_it() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(civil_from_days(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn a_clock_before_1970_is_no_crash() {
        assert_eq!(compact_utc(UNIX_EPOCH - Duration::from_secs(1)), "19700101T000000Z");
    }
}
