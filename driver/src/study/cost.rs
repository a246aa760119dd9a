//! `cost = "epochs * units"`: what a trial of a program costs beside the others, as a study declares it.
//!
//! An expression of our own and not a crate's: it needs five operators and four functions, and an error has to tell its
//! place. The arithmetic is `libm`'s where the system's differs from machine to machine: costs order the trials.

use std::ops::Range;

use broadsweep_common::configuration::{Configuration, Value};

/// Bytes that an expression may have.
const COST_BYTES_MAX: usize = 4096;
/// Parentheses, signs and powers within each other.
const DEPTH_MAX: usize = 64;

/// An expression of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    text: String,
    root: Term,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Number(f64),
    Name(String, Range<usize>),
    Negated(Box<Term>),
    Two(Operator, Box<Term>, Box<Term>),
    Call(Function, Vec<Term>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Min,
    Max,
    Log2,
    Sqrt,
}

/// Each with its name and how many arguments it takes at least and at most.
const FUNCTIONS: [(&str, Function, usize, usize); 4] = [
    ("min", Function::Min, 2, 16),
    ("max", Function::Max, 2, 16),
    ("log2", Function::Log2, 1, 1),
    ("sqrt", Function::Sqrt, 1, 1),
];

/// What is wrong with an expression, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct CostError {
    pub(super) span: Range<usize>,
    message: String,
}

impl Cost {
    /// Reads an expression.
    pub(super) fn parse(text: &str) -> Result<Self, CostError> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        if text.len() > COST_BYTES_MAX {
            return Err(parser.error(0..text.len(), format!("it has more than {COST_BYTES_MAX} bytes")));
        }
        let root = parser.sum()?;
        match parser.peek() {
            None => Ok(Self { text: text.to_owned(), root }),
            Some(_) => Err(parser.unexpected("an operator")),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names in it, each with its place.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        let mut names = Vec::new();
        self.root.collect_names(&mut names);
        names.into_iter()
    }

    /// Its value for a configuration that trains for so many epochs.
    ///
    /// # Errors
    /// In words, if it is no number that is finite and at least 0.
    pub fn of(&self, configuration: &Configuration, epochs: u32) -> Result<f64, String> {
        let value = self.root.value(configuration, epochs)?;
        if value.is_finite() && value >= 0.0 {
            return Ok(value);
        }
        Err(format!("a cost is finite and at least 0, and this is {value}"))
    }
}

impl Term {
    fn collect_names<'t>(&'t self, names: &mut Vec<(&'t str, Range<usize>)>) {
        match self {
            Self::Number(_) => {}
            Self::Name(name, span) => names.push((name, span.clone())),
            Self::Negated(inner) => inner.collect_names(names),
            Self::Two(_, one, other) => {
                one.collect_names(names);
                other.collect_names(names);
            }
            Self::Call(_, arguments) => arguments.iter().for_each(|argument| argument.collect_names(names)),
        }
    }

    fn value(&self, configuration: &Configuration, epochs: u32) -> Result<f64, String> {
        Ok(match self {
            Self::Number(number) => *number,
            Self::Name(name, _) => value_of(name, configuration, epochs)?,
            Self::Negated(inner) => -inner.value(configuration, epochs)?,
            Self::Two(operator, one, other) => {
                operator.apply(one.value(configuration, epochs)?, other.value(configuration, epochs)?)
            }
            Self::Call(function, arguments) => {
                let values: Result<Vec<_>, _> =
                    arguments.iter().map(|argument| argument.value(configuration, epochs)).collect();
                function.apply(&values?)
            }
        })
    }
}

/// A parameter goes before the epochs: where both have the name, they nearly always are the same. One that is absent counts
/// as 0.
fn value_of(name: &str, configuration: &Configuration, epochs: u32) -> Result<f64, String> {
    match configuration.get(name) {
        Some(Value::Integer(integer)) => Ok(*integer as f64),
        Some(Value::Real(real)) => Ok(*real),
        Some(Value::Flag(flag)) => Ok(f64::from(u8::from(*flag))),
        Some(Value::Choice(word)) => Err(format!("`{name}` is the word {word:?}, and no number")),
        None if name == "epochs" => Ok(f64::from(epochs)),
        // A checked cost names parameters only: this one is not in every configuration.
        None => Ok(0.0),
    }
}

impl Operator {
    fn apply(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Add => one + other,
            Self::Subtract => one - other,
            Self::Multiply => one * other,
            Self::Divide => one / other,
            Self::Power => libm::pow(one, other),
        }
    }
}

impl Function {
    fn apply(self, values: &[f64]) -> f64 {
        match (self, values) {
            (Self::Log2, [value]) => libm::log2(*value),
            (Self::Sqrt, [value]) => value.sqrt(),
            (Self::Min, values) => values.iter().copied().fold(f64::INFINITY, f64::min),
            (Self::Max, values) => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            (Self::Log2 | Self::Sqrt, _) => f64::NAN, // the parser counted
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn sum(&mut self) -> Result<Term, CostError> {
        let mut term = self.product()?;
        loop {
            let operator = match self.peek() {
                Some('+') => Operator::Add,
                Some('-') => Operator::Subtract,
                _ => return Ok(term),
            };
            self.at += 1;
            term = Term::Two(operator, Box::new(term), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Term, CostError> {
        let mut term = self.signed()?;
        loop {
            let operator = match self.peek() {
                Some('*') if self.text[self.at..].starts_with("**") => {
                    return Err(self.error(self.at..self.at + 2, "a power is written with `^`".to_owned()));
                }
                Some('*') => Operator::Multiply,
                Some('/') => Operator::Divide,
                _ => return Ok(term),
            };
            self.at += 1;
            term = Term::Two(operator, Box::new(term), Box::new(self.signed()?));
        }
    }

    /// `-a^b` is `-(a^b)`, and `a^-b` is a power too, as in mathematics.
    fn signed(&mut self) -> Result<Term, CostError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(self.at..self.at + 1, format!("more than {DEPTH_MAX} levels within each other")));
        }
        let term = if self.take('-') { Term::Negated(Box::new(self.signed()?)) } else { self.power()? };
        self.depth -= 1;
        Ok(term)
    }

    fn power(&mut self) -> Result<Term, CostError> {
        let base = self.operand()?;
        if !self.take('^') {
            return Ok(base);
        }
        Ok(Term::Two(Operator::Power, Box::new(base), Box::new(self.signed()?)))
    }

    fn operand(&mut self) -> Result<Term, CostError> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let inner = self.sum()?;
                self.close()?;
                Ok(inner)
            }
            Some(first) if first.is_ascii_digit() || first == '.' => self.number(),
            Some(first) if first.is_alphabetic() || first == '_' => self.name(),
            _ => Err(self.unexpected("a number, a parameter or `(`")),
        }
    }

    fn number(&mut self) -> Result<Term, CostError> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        let mut end = start;
        while let Some(byte) = bytes.get(end) {
            let is_sign = matches!(byte, b'+' | b'-') && matches!(bytes[end - 1], b'e' | b'E') && end > start;
            if !(byte.is_ascii_alphanumeric() || *byte == b'.' || *byte == b'_' || is_sign) {
                break;
            }
            end += 1;
        }
        self.at = end;
        let written = self.text[start..end].replace('_', "");
        let number = written.parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Term::Number).ok_or_else(|| self.error(start..end, format!("`{written}` is no number")))
    }

    fn name(&mut self) -> Result<Term, CostError> {
        let start = self.at;
        let rest = &self.text[start..];
        let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(rest.len());
        let name = &rest[..end];
        self.at = start + end;
        if self.peek() != Some('(') {
            return Ok(Term::Name(name.to_owned(), start..start + end));
        }
        let Some((_, function, least, most)) = FUNCTIONS.into_iter().find(|(known, ..)| *known == name) else {
            return Err(self.error(start..start + end, format!("there is no function `{name}`")));
        };
        self.at += 1;
        let mut arguments = vec![self.sum()?];
        while self.take(',') {
            arguments.push(self.sum()?);
        }
        self.close()?;
        if !(least..=most).contains(&arguments.len()) {
            let wanted = if least == most { format!("{least}") } else { format!("{least} to {most}") };
            let message = format!("`{name}` takes {wanted} arguments, and has {}", arguments.len());
            return Err(self.error(start..self.at, message));
        }
        Ok(Term::Call(function, arguments))
    }

    fn close(&mut self) -> Result<(), CostError> {
        if self.take(')') { Ok(()) } else { Err(self.unexpected("`)`")) }
    }

    fn unexpected(&mut self, wanted: &str) -> CostError {
        match self.peek() {
            Some(found) => {
                self.error(self.at..self.at + found.len_utf8(), format!("`{found}` stands where {wanted} should be"))
            }
            None => self.error(self.at..self.at, format!("it ends where {wanted} should be")),
        }
    }

    fn error(&self, span: Range<usize>, message: String) -> CostError {
        CostError { span: span.start.min(self.text.len())..span.end.min(self.text.len()), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration() -> Configuration {
        let values = [
            ("units", Value::Integer(512)),
            ("rate", Value::Real(0.5)),
            ("deep", Value::Flag(true)),
            ("act", Value::Choice("relu".to_owned())),
        ];
        values.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }

    #[test]
    fn an_expression_is_worth_what_mathematics_says() {
        let rows = [
            ("7", 7.0),
            ("epochs * units", 5120.0),
            ("1 + 2 * 3 ^ 2", 19.0),
            ("2 ^ 3 ^ 2", 512.0),
            ("-2 ^ 2 + 5", 1.0),
            ("2 ^ -1", 0.5),
            ("10 - 4 - 3", 3.0),
            ("8 / 2 / 2", 2.0),
            ("(1 + 2) * (3)", 9.0),
            ("log2(units) + sqrt( 4 )", 11.0),
            ("max(1, units, 3) + min(2, rate)", 512.5),
            ("1.5e3 + 1_000 + 2e-1 + deep", 2501.2),
        ];
        for (text, value) in rows {
            assert_eq!(Cost::parse(text).unwrap().of(&configuration(), 10), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_bad_expression_says_what_and_where() {
        let deep = "(".repeat(100);
        let rows = [
            ("", 0..0, "it ends where a number, a parameter or `(` should be"),
            ("units *", 7..7, "it ends where a number, a parameter or `(` should be"),
            ("units 2", 6..7, "`2` stands where an operator should be"),
            ("2 ** 3", 2..4, "a power is written with `^`"),
            ("(1 + 2", 6..6, "it ends where `)` should be"),
            ("1e", 0..2, "`1e` is no number"),
            ("1e999", 0..5, "`1e999` is no number"),
            ("exp(1)", 0..3, "there is no function `exp`"),
            ("log2(1, 2)", 0..10, "`log2` takes 1 arguments, and has 2"),
            ("1 + é€", 6..9, "`€` stands where an operator should be"),
            (&deep, 64..65, "more than 64 levels within each other"),
        ];
        for (text, span, message) in rows {
            let error = Cost::parse(text).unwrap_err();
            assert_eq!((error.span, &error.message[..]), (span, message), "{text}");
        }
    }

    #[test]
    fn a_cost_is_a_finite_number_of_at_least_0() {
        let of = |text: &str| Cost::parse(text).unwrap().of(&configuration(), 1);
        assert_eq!(of("units / 0"), Err("a cost is finite and at least 0, and this is inf".to_owned()));
        assert_eq!(of("-units"), Err("a cost is finite and at least 0, and this is -512".to_owned()));
        assert_eq!(of("act"), Err("`act` is the word \"relu\", and no number".to_owned()));
        assert_eq!(of("0 * units"), Ok(0.0));
    }
}
