//! Rows that are set aside: where they stand, and why.

use broadsweep_common::application::BadRow;

use crate::error::DataError;

/// Letters of a reason, at most.
const REASON_LETTERS_MAX: usize = 300;

/// The row that has this error alone.
pub(super) fn bad_row(row: u64, error: DataError) -> BadRow {
    let (place, reason) = match error {
        DataError::Ragged { file, line, got, want } => {
            (format!("{file}, line {line}"), format!("{got} fields, but the header line has {want}"))
        }
        DataError::NotFinite { place, value } => {
            (place.to_string(), format!("{value:e} is not a finite 32-bit number"))
        }
        DataError::Row { place, what } => (place.to_string(), what),
        DataError::Dialect { file, line, what, advice: _ } => {
            let line = line.map_or_else(String::new, |line| format!(", line {line}"));
            (format!("{file}{line}"), what)
        }
        DataError::Corrupt { file, what } => (file.to_string(), format!("it is damaged ({what})")),
        DataError::Unsupported { file, what } => (file.to_string(), what),
        DataError::TooLarge { file, what } => (file.to_string(), format!("it is too large: {what}")),
        DataError::Magic { file, format, start } => {
            (file.to_string(), format!("it is no {format} file, but starts with {start}"))
        }
        DataError::Empty { file } => (file.to_string(), "it is empty".to_owned()),
        DataError::Denied { file } => (file.to_string(), "permission denied".to_owned()),
        DataError::Read { file, source } => (file.to_string(), format!("it cannot be read: {source}")),
        other => (String::new(), other.to_string()),
    };
    BadRow { row, place, reason: broadsweep_common::printable::printable(&reason, REASON_LETTERS_MAX) }
}
