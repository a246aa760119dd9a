//! What the cells of a table say: numbers, words, words for yes and no, and that nothing is there.

use std::borrow::Cow;

/// Cells that say that a value is missing, as people and programs write it.
const MISSING: [&str; 12] = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None", "?"];
/// A word that says in a feature that nothing is there, and may be the name of a class.
pub(super) const NONE: &str = "None";
/// Words for yes and for no, in lower case.
const FLAGS: [[&str; 2]; 5] = [["true", "false"], ["yes", "no"], ["t", "f"], ["y", "n"], ["on", "off"]];

/// One cell of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    /// A number that its format knows to be one.
    Number(f64),
    /// Text, which may spell a number.
    Text(Cow<'a, str>),
    /// Text that is not UTF-8.
    Unreadable,
    /// Nothing.
    Missing,
}

/// Whether a text says that nothing is there.
pub(super) fn is_missing(text: &str) -> bool {
    MISSING.contains(&text)
}

/// The finite or infinite number that bytes spell; of commas, at most one is the decimal mark.
pub(super) fn number(bytes: &[u8], decimal: u8) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?;
    if decimal == b',' {
        return spelled_with_comma(text);
    }
    text.parse().ok()
}

fn spelled_with_comma(text: &str) -> Option<f64> {
    if text.contains('.') {
        return None;
    }
    text.replacen(',', ".", 1).parse().ok()
}

/// What a word for yes or no counts as.
pub(super) fn flag(word: &str) -> Option<f64> {
    let word = word.to_lowercase();
    FLAGS.iter().find_map(|[yes, no]| {
        if word == *yes {
            Some(1.0)
        } else if word == *no {
            Some(0.0)
        } else {
            None
        }
    })
}

/// Whether all of these words are for yes and no, of one pair.
pub(super) fn are_flags<'w>(mut words: impl Iterator<Item = &'w str> + Clone) -> bool {
    let Some(first) = words.next().map(str::to_lowercase) else { return false };
    let pair = FLAGS.iter().find(|pair| pair.contains(&first.as_str()));
    pair.is_some_and(|pair| words.all(|word| pair.contains(&word.to_lowercase().as_str())))
}

/// The name of a column: without blanks around it, whatever kind they are of.
pub(super) fn name(bytes: &[u8]) -> Cow<'_, str> {
    let trimmed = |text: &str| text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}').len();
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) if trimmed(text) == text.len() => Cow::Borrowed(text),
        text => {
            Cow::Owned(text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}').to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_with_the_tables_own_decimal_mark() {
        for (text, decimal, want) in [
            ("1.5", b'.', Some(1.5)),
            ("-1e-3", b'.', Some(-0.001)),
            ("1,5", b'.', None),
            ("1,5", b',', Some(1.5)),
            ("1.5", b',', None),
            ("1,2,3", b',', None),
            ("15", b',', Some(15.0)),
            ("12 %", b'.', None),
        ] {
            assert_eq!(number(text.as_bytes(), decimal), want, "{text} {}", decimal as char);
        }
    }

    #[test]
    fn words_for_yes_and_no_are_of_one_pair() {
        assert!(are_flags(["True", "false", "TRUE"].into_iter()));
        assert!(are_flags(["y", "N"].into_iter()));
        assert!(!are_flags(["yes", "no", "perhaps"].into_iter()));
        assert!(!are_flags(["yes", "false"].into_iter()));
        assert_eq!((flag("Yes"), flag("OFF"), flag("maybe")), (Some(1.0), Some(0.0), None));
    }

    #[test]
    fn names_have_no_blanks_around_them() {
        assert_eq!(name("label\u{a0} ".as_bytes()), "label");
        assert_eq!(name("\u{feff}a b".as_bytes()), "a b");
    }
}
