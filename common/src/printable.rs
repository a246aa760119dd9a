//! Text that somebody else chose, and counts, as people get to see them.

use std::borrow::Cow;

/// The first `characters_max` characters of `text`, and `…` where there are more. What could move the cursor, break a
/// line, or turn the direction of the text around it, is shown as an escape.
#[must_use]
pub fn printable(text: &str, characters_max: usize) -> String {
    let mut shown = String::new();
    for (place, character) in text.chars().enumerate() {
        if place == characters_max {
            shown.push('…');
            break;
        }
        if is_disruptive(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// `text` in its lines, as for [`printable`] otherwise: what a terminal gets to see.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| character != '\n' && is_disruptive(character), in_rust)
}

/// All of `text` as one line, as for [`printable`] otherwise: for lines with words in them that a node chose, which must
/// not look like lines of their own.
#[must_use]
pub fn printable_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_disruptive, in_rust)
}

fn in_rust(character: char) -> String {
    character.escape_default().to_string()
}

/// The same JSON document, in which what could disturb a terminal is escaped too.
#[must_use]
pub fn printable_json(document: &str) -> Cow<'_, str> {
    // All of these stand inside of texts only, and none is so far out that JSON needs two escapes for it.
    let in_json = |character| format!("\\u{:04x}", u32::from(character));
    escaped(document, |character| character != '\n' && is_disruptive(character), in_json)
}

/// `text` with an escape for all that disturbs.
fn escaped(text: &str, disturbs: fn(char) -> bool, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(disturbs) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if disturbs(character) { shown.push_str(&escape(character)) } else { shown.push(character) }
    }
    Cow::Owned(shown)
}

/// Whether a terminal could take it for an order, or turn the text around it.
#[must_use]
pub fn is_disruptive(character: char) -> bool {
    // Line and paragraph separators, and the marks, embeddings and isolates of right-to-left text.
    let separates = matches!(character, '\u{2028}' | '\u{2029}');
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || separates || turns
}

/// `1 attempt`, `2 attempts`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_lines_and_nothing_else_reaches_a_terminal() {
        assert_eq!(printable_line("a\n\u{1b}[2Jé\r\n"), "a\\n\\u{1b}[2Jé\\r\\n");
        assert_eq!(printable_lines("a\n\u{1b}[2J\u{9b}é\t\r\n"), "a\n\\u{1b}[2J\\u{9b}é\\t\\r\n");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(printable("four", 4), "four");
        assert_eq!(printable("fivé.", 4), "fivé…");
    }

    #[test]
    fn one_is_singular_and_all_else_plural() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "trial")), ["0 trials", "1 trial", "2 trials"]);
    }
}
