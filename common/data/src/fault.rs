//! What is wrong with one cell of a row for a model: in few words, or with what might have been meant.

use std::fmt;

use super::error::{Candidates, shown};

/// What is wrong with a cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault<'n> {
    /// Nothing is there, and no fill is known.
    Missing,
    /// Its bytes are no UTF-8.
    Unreadable,
    /// Not a finite number.
    NoNumber(String),
    /// A number that 32 bits cannot hold once it is scaled.
    TooLarge(f64),
    /// No word for yes or no.
    NoFlag(String),
    /// None of the categories.
    NoCategory(String, &'n [String]),
    /// None of the classes.
    NoClass(String, &'n [String]),
}

impl Fault<'_> {
    /// What is wrong, without a look for what might have been meant: that takes long among many names, and of bad rows
    /// there may be many.
    pub(super) fn brief(&self) -> String {
        match self {
            Self::Missing => {
                "the value is missing, and none was missing in the rows that the model was trained on".to_owned()
            }
            Self::Unreadable => "it is no UTF-8 text; save the file as UTF-8".to_owned(),
            Self::NoNumber(text) => format!("\"{}\" is not a finite number", shown(text)),
            Self::TooLarge(number) => format!("{number:e} is no 32-bit number once scaled"),
            Self::NoFlag(text) => format!("\"{}\" is no word for yes or no", shown(text)),
            Self::NoCategory(text, _) => format!("\"{}\" is none of its categories", shown(text)),
            Self::NoClass(text, _) => format!("\"{}\" is none of the classes that the model knows", shown(text)),
        }
    }
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.brief())?;
        match self {
            Self::NoCategory(text, names) | Self::NoClass(text, names) => {
                write!(f, "; {}", Candidates::of(text, names))
            }
            _ => Ok(()),
        }
    }
}
