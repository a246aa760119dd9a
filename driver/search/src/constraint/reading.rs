//! The text of a constraint, read from left to right. What is compared and what holds are told apart while they are read:
//! parentheses are around either.

use std::ops::Range;

use broadsweep_common::configuration::Value;

use super::{Arithmetic, ConstraintError, Formula, Quantity, Relation};

/// Parentheses, signs and `not`s within each other.
const DEPTH_MAX: usize = 64;
/// What other languages write, and what is written here.
const HINTS: [(&str, &str); 7] = [
    ("&&", "`and` joins comparisons of which all have to hold"),
    ("||", "`or` joins comparisons of which one has to hold"),
    ("=", "equality is written with `==`"),
    ("!", "a negation is written with `not`, and inequality with `!=`"),
    ("/", "there is no division; multiply the other side instead"),
    ("^", "there are no powers; multiply instead"),
    ("%", "there are no remainders; give the range a `step` instead"),
];
const KEYWORDS: [&str; 5] = ["and", "or", "not", "true", "false"];

/// A part of a constraint that has been read, with its place.
struct Part {
    span: Range<usize>,
    is: Read,
}

enum Read {
    Holding(Formula),
    Compared(Quantity),
}

/// The text, and how far it is read.
pub(super) struct FormulaReader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> FormulaReader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// All of it.
    pub(super) fn whole(mut self) -> Result<Formula, ConstraintError> {
        let part = self.any()?;
        if self.peek().is_some() {
            return Err(self.unexpected("`and`, `or` or its end"));
        }
        self.formula(part)
    }

    fn any(&mut self) -> Result<Part, ConstraintError> {
        self.joined("or", Self::all, Formula::Any)
    }

    fn all(&mut self) -> Result<Part, ConstraintError> {
        self.joined("and", Self::negation, Formula::All)
    }

    /// What `read` reads, as often as `word` stands between.
    fn joined(
        &mut self,
        word: &str,
        read: fn(&mut Self) -> Result<Part, ConstraintError>,
        join: fn(Vec<Formula>) -> Formula,
    ) -> Result<Part, ConstraintError> {
        let first = read(self)?;
        if !self.take_word(word) {
            return Ok(first);
        }
        let start = first.span.start;
        let mut parts = vec![self.formula(first)?];
        loop {
            let next = read(self)?;
            let end = next.span.end;
            parts.push(self.formula(next)?);
            if !self.take_word(word) {
                return Ok(Part { span: start..end, is: Read::Holding(join(parts)) });
            }
        }
    }

    fn negation(&mut self) -> Result<Part, ConstraintError> {
        self.skip_spaces();
        let start = self.at;
        if !self.take_word("not") {
            return self.comparison();
        }
        self.enter()?;
        let inner = self.negation()?;
        self.depth -= 1;
        let span = start..inner.span.end;
        Ok(Part { span, is: Read::Holding(self.formula(inner)?.negated()) })
    }

    fn comparison(&mut self) -> Result<Part, ConstraintError> {
        let left = self.sum()?;
        let Some(relation) = self.take_relation() else { return Ok(left) };
        let right = self.sum()?;
        let span = left.span.start..right.span.end;
        if self.take_relation().is_some() {
            let message = "two comparisons are joined with `and`, as in a < b and b < c".to_owned();
            return Err(ConstraintError { span: span.start..self.at, message });
        }
        let (left, right) = (quantity(left)?, quantity(right)?);
        let compared = Formula::Compared { left, relation, right, span: span.clone() };
        Ok(Part { span, is: Read::Holding(compared) })
    }

    fn sum(&mut self) -> Result<Part, ConstraintError> {
        let mut part = self.product()?;
        loop {
            let arithmetic = match self.peek() {
                Some('+') => Arithmetic::Sum,
                Some('-') => Arithmetic::Difference,
                _ => return Ok(part),
            };
            self.at += 1;
            let other = self.product()?;
            part = combined(arithmetic, part, other)?;
        }
    }

    fn product(&mut self) -> Result<Part, ConstraintError> {
        let mut part = self.signed()?;
        while self.peek() == Some('*') {
            self.at += 1;
            let other = self.signed()?;
            part = combined(Arithmetic::Product, part, other)?;
        }
        Ok(part)
    }

    fn signed(&mut self) -> Result<Part, ConstraintError> {
        if self.peek() != Some('-') {
            return self.operand();
        }
        let start = self.at;
        self.at += 1;
        self.enter()?;
        let inner = self.signed()?;
        self.depth -= 1;
        let span = start..inner.span.end;
        Ok(Part { span, is: Read::Compared(Quantity::Negative(Box::new(quantity(inner)?))) })
    }

    fn operand(&mut self) -> Result<Part, ConstraintError> {
        let Some(first) = self.peek() else { return Err(self.unexpected("a number or a parameter")) };
        let start = self.at;
        let read = match first {
            '(' => {
                self.at += 1;
                self.enter()?;
                let inner = self.any()?;
                if self.peek() != Some(')') {
                    return Err(self.unexpected("`)`"));
                }
                self.at += 1;
                self.depth -= 1;
                inner.is
            }
            '"' | '\'' => Read::Compared(self.word(first)?),
            '$' => Read::Compared(self.braced()?),
            _ if first.is_ascii_digit() || first == '.' => Read::Compared(self.number()?),
            _ if is_of_name(first) => Read::Compared(self.name()?),
            _ => return Err(self.unexpected("a number or a parameter")),
        };
        Ok(Part { span: start..self.at, is: read })
    }

    fn word(&mut self, quote: char) -> Result<Quantity, ConstraintError> {
        let start = self.at;
        let inside = &self.text[start + 1..];
        let Some(length) = inside.find(quote) else {
            return Err(error(start..self.text.len(), format!("a {quote} is missing behind this word")));
        };
        self.at = start + length + 2;
        Ok(Quantity::Given(Value::Choice(inside[..length].to_owned()), start..self.at))
    }

    /// `${any-name}`.
    fn braced(&mut self) -> Result<Quantity, ConstraintError> {
        let start = self.at;
        let inside = self.text[start..].strip_prefix("${").and_then(|rest| rest.split_once('}'));
        let Some((name, _)) = inside else {
            let message = "a parameter is written by its name, or as ${name}".to_owned();
            return Err(error(start..start + 1, message));
        };
        self.at = start + name.len() + 3;
        Ok(Quantity::Parameter(name.to_owned(), start..self.at))
    }

    fn number(&mut self) -> Result<Quantity, ConstraintError> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        let mut end = start;
        while let Some(byte) = bytes.get(end) {
            let is_sign = end > start && matches!(byte, b'+' | b'-') && matches!(bytes[end - 1], b'e' | b'E');
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || is_sign) {
                break;
            }
            end += 1;
        }
        self.at = end;
        let digits = self.text[start..end].replace('_', "");
        let value = match (digits.parse(), digits.parse::<f64>()) {
            (Ok(integer), _) => Value::Integer(integer),
            (Err(_), Ok(real)) if real.is_finite() => Value::Real(real),
            _ => return Err(error(start..end, format!("`{digits}` is no number"))),
        };
        Ok(Quantity::Given(value, start..end))
    }

    fn name(&mut self) -> Result<Quantity, ConstraintError> {
        let start = self.at;
        let rest = &self.text[start..];
        let length = rest.find(|character| !is_of_name(character)).unwrap_or(rest.len());
        let span = start..start + length;
        self.at = span.end;
        match &rest[..length] {
            "true" => Ok(Quantity::Given(Value::Flag(true), span)),
            "false" => Ok(Quantity::Given(Value::Flag(false), span)),
            name if KEYWORDS.contains(&name) => Err(error(span, format!("a comparison is missing before `{name}`"))),
            name => Ok(Quantity::Parameter(name.to_owned(), span)),
        }
    }

    /// What has to hold; a parameter alone does not say when.
    fn formula(&self, part: Part) -> Result<Formula, ConstraintError> {
        match part.is {
            Read::Holding(formula) => Ok(formula),
            Read::Compared(_) => {
                let text = self.text.get(part.span.clone()).unwrap_or_default();
                let message = format!("`{text}` is compared with nothing; a flag is asked for by {text} == true");
                Err(ConstraintError { span: part.span, message })
            }
        }
    }

    fn take_relation(&mut self) -> Option<Relation> {
        self.skip_spaces();
        let rest = &self.text[self.at..];
        let (sign, relation) = Relation::SIGNS.into_iter().find(|(sign, _)| rest.starts_with(sign))?;
        self.at += sign.len();
        Some(relation)
    }

    fn take_word(&mut self, word: &str) -> bool {
        self.skip_spaces();
        let Some(rest) = self.text[self.at..].strip_prefix(word) else { return false };
        let is_whole = !rest.starts_with(is_of_name);
        if is_whole {
            self.at += word.len();
        }
        is_whole
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        self.skip_spaces();
        self.text[self.at..].chars().next()
    }

    fn enter(&mut self) -> Result<(), ConstraintError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(error(self.at..self.at, format!("more than {DEPTH_MAX} levels within each other")));
        }
        Ok(())
    }

    fn unexpected(&mut self, expected: &str) -> ConstraintError {
        let Some(character) = self.peek() else {
            return error(self.text.len()..self.text.len(), format!("it ends where {expected} is missing"));
        };
        let rest = &self.text[self.at..];
        let hint = HINTS.into_iter().find(|(sign, _)| rest.starts_with(sign));
        let (length, message) = match hint {
            Some((sign, hint)) => (sign.len(), hint.to_owned()),
            None => (character.len_utf8(), format!("`{character}` stands where {expected} is expected")),
        };
        error(self.at..self.at + length, message)
    }
}

fn error(span: Range<usize>, message: String) -> ConstraintError {
    ConstraintError { span, message }
}

fn combined(arithmetic: Arithmetic, one: Part, other: Part) -> Result<Part, ConstraintError> {
    let span = one.span.start..other.span.end;
    let both = Quantity::Combined(arithmetic, Box::new(quantity(one)?), Box::new(quantity(other)?));
    Ok(Part { span, is: Read::Compared(both) })
}

/// What is compared or computed with: no comparison.
fn quantity(part: Part) -> Result<Quantity, ConstraintError> {
    match part.is {
        Read::Compared(quantity) => Ok(quantity),
        Read::Holding(_) => Err(ConstraintError {
            span: part.span,
            message: "a comparison cannot itself be compared or added; join it with `and` or `or`".to_owned(),
        }),
    }
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
