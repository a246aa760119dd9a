//! How a table's text is written, found by looking at its beginning: delimiter, decimal mark, header line.

use broadsweep_common::schema::Dialect;
use csv::{ByteRecord, ReaderBuilder, Trim};

use super::cells;
use super::error::{Advice, DataError, Origin, shown};
use crate::settings::ColumnName;

/// What may stand between two cells, the likelier ones first.
const DELIMITERS: [u8; 5] = [b',', b';', b'\t', b'|', b' '];
/// Lines that are looked at.
const LINES_MAX: usize = 50;

/// How one table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Between two cells; of spaces any number.
    pub(super) delimiter: u8,
    /// In numbers.
    pub(super) decimal: u8,
    /// Whether the first line names the columns.
    pub(super) header: bool,
}

impl Written {
    /// As programs write tables that nobody is asked about.
    pub(super) const USUAL: Self = Self { delimiter: b',', decimal: b'.', header: true };
}

/// Looks at the beginning of a table, up to its last whole line; `label` is a column that it has.
pub(super) fn find(
    file: &Origin,
    sample: &[u8],
    is_whole: bool,
    given: &Dialect,
    label: Option<&ColumnName>,
) -> Result<Written, DataError> {
    let sample = whole_lines(sample, is_whole);
    let delimiter = given.delimiter.unwrap_or_else(|| find_delimiter(sample, label));
    let lines = records(sample, delimiter);
    let decimal = match given.decimal {
        Some(decimal) => decimal,
        None => find_decimal(file, &lines, delimiter)?,
    };
    let header = if let Some(header) = given.header {
        header
    } else {
        ask_about_header(file, &lines, decimal)?;
        true
    };
    Ok(Written { delimiter, decimal, header })
}

/// The decimal mark of the numbers in these columns, where the beginning of a table shows plainly that it is not the one
/// that `written` has: numbers have the other one, none has this, and they are no thousands.
pub(super) fn other_decimal(sample: &[u8], is_whole: bool, written: Written, places: &[usize]) -> Option<u8> {
    let other = if written.decimal == b',' { b'.' } else { b',' };
    if other == written.delimiter {
        return None;
    }
    let lines = records(whole_lines(sample, is_whole), written.delimiter);
    let rows = lines.iter().skip(usize::from(written.header));
    let cells = rows.flat_map(|row| places.iter().filter_map(|&place| row.get(place)));
    let texts: Vec<_> = cells.filter_map(|cell| std::str::from_utf8(cell).ok()).collect();
    let are_other = texts.iter().any(|text| {
        // Between commas, a fraction has a point.
        let may_be_thousands = written.delimiter != b',';
        let is_thousands = may_be_thousands && text.rsplit(char::from(other)).next().is_some_and(are_three_digits);
        is_with(text, other) && !is_thousands
    });
    let are_as_written = texts.iter().any(|text| is_with(text, written.decimal));
    (are_other && !are_as_written).then_some(other)
}

/// Whether a text is a number with this mark once, and without the other.
fn is_with(text: &str, mark: u8) -> bool {
    match mark {
        b',' => is_with_comma(text),
        _ => !text.contains(',') && is_with_comma(&text.replace('.', ",")),
    }
}

/// The sample up to its last whole line.
fn whole_lines(sample: &[u8], is_whole: bool) -> &[u8] {
    let end = if is_whole { sample.len() } else { sample.iter().rposition(|&byte| byte == b'\n').unwrap_or(0) };
    if end == 0 { sample } else { &sample[..end] }
}

/// The first records of the text, blank lines left out.
fn records(sample: &[u8], delimiter: u8) -> Vec<ByteRecord> {
    let squeezed = if delimiter == b' ' { squeeze(sample) } else { sample.to_vec() };
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .delimiter(delimiter)
        .from_reader(squeezed.as_slice());
    let records = reader.byte_records().map_while(Result::ok);
    records.filter(|record| record.len() > 1 || !record[0].is_empty()).take(LINES_MAX).collect()
}

/// The text with runs of spaces as one, and none at the ends of a line.
fn squeeze(text: &[u8]) -> Vec<u8> {
    let mut squeezer = Squeezer::default();
    let mut squeezed = text.to_vec();
    let length = squeezer.squeeze(&mut squeezed);
    squeezed.truncate(length);
    squeezed
}

/// Makes runs of spaces and tabs one space, outside of quotes, and none at the ends of a line.
#[derive(Debug)]
pub(super) struct Squeezer {
    in_quotes: bool,
    at_start: bool,
    owes_space: bool,
}

impl Default for Squeezer {
    fn default() -> Self {
        Self { in_quotes: false, at_start: true, owes_space: false }
    }
}

impl Squeezer {
    /// Squeezes a piece of text in its place; tells how many bytes are left. A space that is owed comes with the next
    /// letter: never more bytes than came, since it was one of them, or of a piece before.
    pub(super) fn squeeze(&mut self, piece: &mut Vec<u8>) -> usize {
        let mut out = Vec::with_capacity(piece.len() + 1);
        for &byte in piece.iter() {
            self.step(byte, |byte| out.push(byte));
        }
        *piece = out;
        piece.len()
    }

    /// Takes a byte, and gives those that stand for it: none, itself, or itself after a space that was owed.
    pub(super) fn step(&mut self, byte: u8, mut give: impl FnMut(u8)) {
        let is_space = matches!(byte, b' ' | b'\t') && !self.in_quotes;
        if is_space {
            self.owes_space = !self.at_start;
            return;
        }
        let ends_line = matches!(byte, b'\n' | b'\r') && !self.in_quotes;
        if self.owes_space && !ends_line {
            give(b' ');
        }
        (self.owes_space, self.at_start) = (false, ends_line);
        self.in_quotes ^= byte == b'"';
        give(byte);
    }

    /// Whether it is as it was at the beginning: it could begin anew here.
    pub(super) fn is_fresh(&self) -> bool {
        !self.in_quotes && self.at_start && !self.owes_space
    }
}

/// The delimiter by which all lines have as many cells, more than one, and the header names the label.
fn find_delimiter(sample: &[u8], label: Option<&ColumnName>) -> u8 {
    let mut best = ((false, 0, 0), b',');
    for delimiter in DELIMITERS {
        let lines = records(sample, delimiter);
        let Some(first) = lines.first().filter(|first| first.len() > 1) else { continue };
        let names_label = match label {
            Some(ColumnName::Name(label)) => first.iter().any(|cell| cells::name(cell) == *label),
            Some(ColumnName::Number(_)) | None => false,
        };
        let is_even = lines.iter().all(|line| line.len() == first.len());
        let fields = if is_even { first.len() } else { 0 };
        let is_number = |cell: &&[u8]| [b'.', b','].iter().any(|&mark| cells::number(cell, mark).is_some());
        let numbers = lines.iter().flatten().filter(is_number).count();
        if (names_label, fields, numbers) > best.0 {
            best = ((names_label, fields, numbers), delimiter);
        }
    }
    best.1
}

/// The decimal mark of a table that is not written with commas between its cells.
fn find_decimal(file: &Origin, lines: &[ByteRecord], delimiter: u8) -> Result<u8, DataError> {
    if delimiter == b',' {
        return Ok(b'.');
    }
    let texts = || lines.iter().flatten().filter_map(|cell| std::str::from_utf8(cell).ok());
    if texts().any(|text| text.contains('.') && text.parse::<f64>().is_ok()) {
        return Ok(b'.');
    }
    let mut with_comma = texts().filter(|text| is_with_comma(text)).peekable();
    let Some(first) = with_comma.peek().map(|text| shown(text)) else { return Ok(b'.') };
    // `1,234` may be a thousand and more, or a little more than one.
    if with_comma.all(|text| text.rsplit(',').next().is_some_and(are_three_digits)) {
        let what = format!("numbers such as \"{first}\" may be thousands or fractions");
        let in_study =
            "write decimal = \",\" in [data] if the comma is the decimal mark, or take it out of the thousands";
        let for_model = "write fractions with a point, and thousands without a comma";
        let advice = Advice { in_study: in_study.to_owned(), for_model };
        return Err(DataError::Dialect { file: file.clone(), line: None, what, advice });
    }
    Ok(b',')
}

fn are_three_digits(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text is a number with one comma.
fn is_with_comma(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((whole, fraction)) = text.trim_start_matches(['-', '+']).split_once(',') else { return false };
    let fraction = fraction.split(['e', 'E']).next().unwrap_or_default();
    (digits(whole) || whole.is_empty()) && digits(fraction)
}

/// Asks whether the first line names columns, if it looks like a row: a number over a number.
fn ask_about_header(file: &Origin, lines: &[ByteRecord], decimal: u8) -> Result<(), DataError> {
    let [first, second, ..] = lines else { return Ok(()) };
    let occurs_below = |place: usize, word: &[u8]| lines[1..].iter().any(|line| line.get(place) == Some(word));
    let is_value = |(place, word): &(usize, &[u8])| !word.is_empty() && occurs_below(*place, word);
    let repeated = first.iter().enumerate().find(is_value).map(|(_, word)| word);
    let is_number = |cell: &[u8]| cells::number(cell, decimal).is_some_and(f64::is_finite);
    let number = first.iter().zip(second).find(|(above, below)| is_number(above) && is_number(below));
    let Some(value) = number.map(|(above, _)| above).or(repeated) else { return Ok(()) };
    let what = format!(
        "\"{}\" in the first line looks like a value, not like the name of a column; write header = false in [data] if \
         the file has no header line (its columns are then called by their numbers, from 1), or header = true if it \
         has",
        shown(&String::from_utf8_lossy(value))
    );
    Err(DataError::Dialect { file: file.clone(), line: Some(1), what, advice: Advice::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, label: &str) -> Result<Written, String> {
        let (file, label) = (Origin::file("t".into()), ColumnName::Name(label.to_owned()));
        find(&file, text.as_bytes(), true, &Dialect::default(), Some(&label)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_delimiter_is_the_one_by_which_all_lines_are_as_long() {
        let by_number = |text: &str| {
            let (file, given) = (Origin::file("t".into()), Dialect { header: Some(false), ..Dialect::default() });
            find(&file, text.as_bytes(), true, &given, Some(&ColumnName::Number(2))).unwrap().delimiter
        };
        assert_eq!(by_number("1,5;0\n2,5;1\n"), b';');
        for (text, delimiter) in [
            ("a,b,y\n1,2,0\n", b','),
            ("a;b;y\n1,5;2,5;0\n", b';'),
            ("a\tb\ty\n1\t2\t0\n", b'\t'),
            ("a|b|y\n1|2|0\n", b'|'),
            ("a  b y\n 1 2   0\n", b' '),
            ("sepal length,y\n5 1,0\n", b','),
            ("\"a;b\",y\n1,0\n", b','),
            ("y\n1\n", b','),
            ("a,y\n1,0\n1,0,3\n", b','), // ragged: the header says it
        ] {
            assert_eq!(found(text, "y").unwrap().delimiter, delimiter, "{text:?}");
        }
    }

    #[test]
    fn a_comma_is_the_decimal_mark_only_where_it_can_be_nothing_else() {
        for (text, decimal) in [
            ("a;y\n1,5;0\n2;1\n", b','),
            ("a;y\n1.5;0\n", b'.'),
            ("a;y\nx,1;0\n", b'.'),
            ("a\ty\n-0,5e3\t0\n", b','),
            ("a,y\n1,5\n", b'.'),
        ] {
            assert_eq!(found(text, "y").unwrap().decimal, decimal, "{text:?}");
        }
        let asked = found("a;y\n1,234;0\n12,345;1\n", "y").unwrap_err();
        assert!(asked.starts_with("t: numbers such as \"1,234\" may be thousands or fractions"), "{asked}");
    }

    #[test]
    fn a_first_line_that_looks_like_a_row_is_asked_about() {
        let asked = found("5.1,3.5,setosa\n4.9,3.0,setosa\n", "species").unwrap_err();
        assert!(asked.starts_with("t, line 1: \"5.1\" in the first line looks like a value"), "{asked}");
        let asked = found("p,x,s\ne,x,y\n", "p").unwrap_err();
        assert!(asked.starts_with("t, line 1: \"x\" in the first line looks like a value"), "{asked}");
        assert!(found("a,1st\n1,2\n", "a").unwrap().header, "a name may begin with a digit");
        assert!(found("a,2019\nx,y\n", "a").unwrap().header, "a number over a word is a name");
    }
}
