//! An error in a study file, shown as its line with carets under what is wrong.
//!
//! Plain text: a terminal's colours and exit codes are the command line's.

use std::fmt;
use std::ops::Range;

/// Columns of a source line that are shown at most; a longer line is cut around the carets.
const EXCERPT_COLUMNS_MAX: usize = 160;
/// Columns that a tab takes when it is shown.
const TAB: &str = "    ";

/// The text of a study file, and what errors call the file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) file: String,
    pub(super) text: String,
}

/// What is wrong with a study, and where.
///
/// ```text
/// study.toml:14:1: unknown key `momentun` in [training]; did you mean `momentum`?
///    |
/// 14 | momentun = 0.9
///    | ^^^^^^^^
///    = [training] has: optimizer, learning_rate, ...
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic(Box<Parts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    file: String,
    line: usize,
    column: usize,
    message: String,
    excerpt: String,
    /// Columns of `excerpt`, from 0.
    carets: Range<usize>,
    note: Option<String>,
}

impl Source {
    /// An error at the bytes `span`. Any span will do: it is cut to the text and to whole characters.
    pub(super) fn error(&self, span: &Range<usize>, message: impl AsRef<str>) -> Diagnostic {
        let start = self.text.floor_char_boundary(span.start);
        let (line_start, line_end) = self.line_around(start);
        let end = self.text.floor_char_boundary(span.end).min(line_end).max(start);
        let before = &self.text[line_start..start];
        let prefix = shown(before);
        let marked = shown(&self.text[start..end]);
        let suffix = shown(self.text.get(end..line_end).unwrap_or(""));
        let first_caret = prefix.chars().count();
        let carets = first_caret..first_caret + marked.chars().count().max(1);
        let (excerpt, carets) = cut(&format!("{prefix}{marked}{suffix}"), carets);
        Diagnostic(Box::new(Parts {
            file: self.file.clone(),
            line: self.line_number(start),
            column: before.trim_start_matches('\u{feff}').chars().count() + 1,
            message: shown(message.as_ref()),
            excerpt,
            carets,
            note: None,
        }))
    }

    /// The line of byte `at`, counted from 1.
    pub(super) fn line_number(&self, at: usize) -> usize {
        let at = self.text.floor_char_boundary(at);
        self.text[..at].matches('\n').count() + 1
    }

    /// What the study says at `span`, if it is short enough to be repeated in a message.
    pub(super) fn quoted(&self, span: &Range<usize>) -> Option<&str> {
        let text = self.text.get(span.clone())?;
        (text.len() <= 40 && !text.is_empty() && !text.contains('\n')).then_some(text)
    }

    fn line_around(&self, at: usize) -> (usize, usize) {
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline);
        (start, start + self.text[start..end].trim_end_matches('\r').len())
    }
}

impl Diagnostic {
    /// Adds a line that helps to mend it.
    #[must_use]
    pub(crate) fn with_note(mut self, note: impl AsRef<str>) -> Self {
        self.0.note = Some(shown(note.as_ref()));
        self
    }

    /// Line of the study, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.0.line
    }

    /// Column of that line in characters, counted from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.0.column
    }

    /// What is wrong, without its place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { file, line, column, message, excerpt, carets, note } = &*self.0;
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        let source_line = format!("{number} | {excerpt}");
        writeln!(f, "{file}:{line}:{column}: {message}")?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{}", source_line.trim_end())?;
        write!(f, "{gutter} | {}{}", " ".repeat(carets.start), "^".repeat(carets.len()))?;
        match note {
            Some(note) => write!(f, "\n{gutter} = {note}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// `text` as one line that a terminal shows and does not obey: tabs as spaces, other control characters replaced.
fn shown(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => line.push_str(TAB),
            '\u{feff}' => {}
            control if control.is_control() => line.push('\u{fffd}'),
            other => line.push(other),
        }
    }
    line
}

/// The part of a long line around its carets, and where they stand in it.
fn cut(line: &str, carets: Range<usize>) -> (String, Range<usize>) {
    let columns = line.chars().count();
    if columns <= EXCERPT_COLUMNS_MAX {
        return (line.to_owned(), carets);
    }
    let room_before = EXCERPT_COLUMNS_MAX / 2;
    let first = carets.start.saturating_sub(room_before);
    let part: String = line.chars().skip(first).take(EXCERPT_COLUMNS_MAX).collect();
    let left = if first > 0 { "..." } else { "" };
    let right = if first + EXCERPT_COLUMNS_MAX < columns { "..." } else { "" };
    let start = carets.start - first + left.len();
    let end = (carets.end - first).min(EXCERPT_COLUMNS_MAX) + left.len();
    (format!("{left}{part}{right}"), start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { file: "s.toml".into(), text: text.into() }
    }

    fn at(text: &str, marked: &str) -> String {
        let start = text.find(marked).unwrap();
        source(text).error(&(start..start + marked.len()), "wrong").to_string()
    }

    #[test]
    fn the_carets_stand_under_the_span() {
        let shown = at("a = 1\nbc = 22 # end\n", "22");
        assert_eq!(shown, "s.toml:2:6: wrong\n  |\n2 | bc = 22 # end\n  |      ^^");
    }

    #[test]
    fn a_note_stands_below_the_carets() {
        let shown = source("\n\n\n\n\n\n\n\n\nname = 1").error(&(9..13), "wrong").with_note("it helps").to_string();
        assert_eq!(shown, "s.toml:10:1: wrong\n   |\n10 | name = 1\n   | ^^^^\n   = it helps");
    }

    #[test]
    fn tabs_are_shown_as_four_columns_and_count_as_one() {
        assert_eq!(at("\ta =\t1", "1"), "s.toml:1:6: wrong\n  |\n1 |     a =    1\n  |            ^");
    }

    #[test]
    fn columns_are_characters_not_bytes() {
        assert_eq!(
            at("größe = \"½\" # é", "\"½\""),
            "s.toml:1:9: wrong\n  |\n1 | größe = \"½\" # é\n  |         ^^^"
        );
    }

    #[test]
    fn a_span_of_many_lines_is_marked_to_the_end_of_its_first() {
        let shown = at("a = [\r\n  1,\r\n]\r\n", "[\r\n  1,\r\n]");
        assert_eq!(shown, "s.toml:1:5: wrong\n  |\n1 | a = [\n  |     ^");
    }

    #[test]
    fn the_end_of_the_text_can_be_marked() {
        assert_eq!(source("a =").error(&(3..3), "wrong").to_string(), "s.toml:1:4: wrong\n  |\n1 | a =\n  |    ^");
        assert_eq!(source("").error(&(7..9), "wrong").to_string(), "s.toml:1:1: wrong\n  |\n1 |\n  | ^");
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let shown = source("a\u{1b}[2J = 1").error(&(0..1), "key `\u{1b}[2J`\n").to_string();
        assert!(!shown.contains('\u{1b}'), "{shown}");
        assert_eq!(shown.lines().count(), 4);
    }

    #[test]
    fn a_long_line_is_cut_around_its_carets() {
        let text = format!("a = [{}77, 1]", "1, ".repeat(300));
        let shown = at(&text, "77");
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[2].len() < 200, "{shown}");
        assert_eq!(&lines[2][lines[3].find('^').unwrap()..][..2], "77");
    }
}
