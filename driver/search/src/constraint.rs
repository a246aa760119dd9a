//! What must hold between parameters: `units_2 <= units_1`, `optimizer != "adam" or rate < 0.1`.
//!
//! | written | means |
//! |---|---|
//! | `64`, `0.5`, `1e-3` | a number |
//! | `"adam"` or `'adam'`, `true`, `false` | a word, a flag |
//! | `units_1`, `${units-1}` | a parameter; in the second form whatever its name is |
//! | `+ - *`, `( )` | sums and products of numbers, rounded to 15 digits: `0.1 + 0.2` is 0.3 |
//! | `< <= > >=` | compares numbers |
//! | `== !=` | compares values of any kind |
//! | `and`, `or`, `not`, `( )` | joins comparisons; `not` binds strongest, `or` least |
//!
//! A comparison with a parameter that is absent holds, also under a `not`: nothing is asked of what is not there. A
//! language of our own and not a crate's, for the reason that costs have one: an error has to tell its place.

mod reading;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use broadsweep_common::configuration::{Configuration, Value};

use super::space::Domain;
use reading::FormulaReader;

/// Bytes that a constraint may have.
const CONSTRAINT_BYTES_MAX: usize = 4096;
/// Words that an error lists.
const WORDS_LISTED_MAX: usize = 8;

/// One of them.
#[derive(Clone, PartialEq)]
pub struct Constraint {
    text: String,
    formula: Formula,
}

/// What is wrong with a constraint, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstraintError {
    /// The bytes of it that are wrong.
    pub span: Range<usize>,
    /// How.
    pub message: String,
}

/// What holds or does not. There is no negation: it is written into the comparisons when they are read.
#[derive(Clone, Debug, PartialEq)]
enum Formula {
    All(Vec<Formula>),
    Any(Vec<Formula>),
    Compared { left: Quantity, relation: Relation, right: Quantity, span: Range<usize> },
}

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
enum Quantity {
    Given(Value, Range<usize>),
    Parameter(String, Range<usize>),
    Negative(Box<Quantity>),
    Combined(Arithmetic, Box<Quantity>, Box<Quantity>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arithmetic {
    Sum,
    Difference,
    Product,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
    Unequal,
}

impl Constraint {
    /// Reads one.
    ///
    /// # Errors
    /// [`ConstraintError`], if it is none.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        if text.len() > CONSTRAINT_BYTES_MAX {
            let message = format!("it has more than {CONSTRAINT_BYTES_MAX} bytes");
            return Err(ConstraintError { span: 0..text.len(), message });
        }
        Ok(Self { text: text.to_owned(), formula: FormulaReader::new(text).whole()? })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of the parameters in it, each with its place.
    #[must_use]
    pub fn names(&self) -> Vec<(&str, Range<usize>)> {
        let mut names = Vec::new();
        self.formula.each_compared(&mut |left, _, right, _| {
            for quantity in [left, right] {
                quantity.each_part(&mut |part| {
                    if let Quantity::Parameter(name, span) = part {
                        names.push((name.as_str(), span.clone()));
                    }
                });
            }
        });
        names
    }

    /// Whether each parameter can be compared as it is: only numbers are added or ordered, and a word is one that the
    /// parameter can be.
    ///
    /// # Errors
    /// [`ConstraintError`] for the first that cannot.
    pub fn check(&self, domains: &BTreeMap<String, Domain>) -> Result<(), ConstraintError> {
        let mut checked = Ok(());
        self.formula.each_compared(&mut |left, relation, right, span| {
            if checked.is_ok() {
                checked = check_compared(left, relation, right, domains).map_err(|(inside, message)| {
                    ConstraintError { span: inside.unwrap_or_else(|| span.clone()), message }
                });
            }
        });
        checked
    }

    /// Whether it holds in a configuration.
    #[must_use]
    pub fn holds(&self, configuration: &Configuration) -> bool {
        self.formula.holds(configuration)
    }
}

impl fmt::Debug for Constraint {
    /// Its text: what it means follows from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Formula {
    fn holds(&self, configuration: &Configuration) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(configuration)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(configuration)),
            Self::Compared { left, relation, right, .. } => {
                match (left.rounded_value(configuration), right.rounded_value(configuration)) {
                    (Some(left), Some(right)) => relation.holds(&left, &right),
                    _ => true,
                }
            }
        }
    }

    fn negated(self) -> Self {
        match self {
            Self::All(parts) => Self::Any(parts.into_iter().map(Self::negated).collect()),
            Self::Any(parts) => Self::All(parts.into_iter().map(Self::negated).collect()),
            Self::Compared { left, relation, right, span } => {
                Self::Compared { left, relation: relation.negated(), right, span }
            }
        }
    }

    fn each_compared<'f>(&'f self, look: &mut impl FnMut(&'f Quantity, Relation, &'f Quantity, &'f Range<usize>)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each_compared(look)),
            Self::Compared { left, relation, right, span } => look(left, *relation, right, span),
        }
    }
}

impl Quantity {
    /// Its value; `None` if a parameter in it is absent. Sums of words have none either: a checked constraint has none.
    fn value(&self, configuration: &Configuration) -> Option<Value> {
        match self {
            Self::Given(value, _) => Some(value.clone()),
            Self::Parameter(name, _) => configuration.get(name).cloned(),
            Self::Negative(inner) => Some(Value::Real(-number(&inner.value(configuration)?)?)),
            Self::Combined(arithmetic, one, other) => {
                let [one, other] = [number(&one.value(configuration)?)?, number(&other.value(configuration)?)?];
                Some(Value::Real(match arithmetic {
                    Arithmetic::Sum => one + other,
                    Arithmetic::Difference => one - other,
                    Arithmetic::Product => one * other,
                }))
            }
        }
    }

    /// What was computed is rounded: 0.1 + 0.2 is 0.3 to whoever writes it.
    fn rounded_value(&self, configuration: &Configuration) -> Option<Value> {
        match (self, self.value(configuration)?) {
            (Self::Combined(..), Value::Real(real)) => {
                Some(Value::Real(format!("{real:.14e}").parse().unwrap_or(real)))
            }
            (_, value) => Some(value),
        }
    }

    fn each_part<'q>(&'q self, look: &mut impl FnMut(&'q Quantity)) {
        look(self);
        match self {
            Self::Given(..) | Self::Parameter(..) => {}
            Self::Negative(inner) => inner.each_part(look),
            Self::Combined(_, one, other) => {
                one.each_part(look);
                other.each_part(look);
            }
        }
    }
}

impl Relation {
    const SIGNS: [(&'static str, Self); 6] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("!=", Self::Unequal),
        ("<", Self::Below),
        (">", Self::Above),
    ];

    fn negated(self) -> Self {
        match self {
            Self::Below => Self::AtLeast,
            Self::AtMost => Self::Above,
            Self::Above => Self::AtMost,
            Self::AtLeast => Self::Below,
            Self::Equal => Self::Unequal,
            Self::Unequal => Self::Equal,
        }
    }

    fn is_of_order(self) -> bool {
        !matches!(self, Self::Equal | Self::Unequal)
    }

    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = match (left, right) {
            (Value::Integer(left), Value::Integer(right)) => Some(left.cmp(right)),
            _ => number(left).zip(number(right)).and_then(|(left, right)| left.partial_cmp(&right)),
        };
        match self {
            Self::Below => order.is_some_and(std::cmp::Ordering::is_lt),
            Self::AtMost => order.is_some_and(std::cmp::Ordering::is_le),
            Self::Above => order.is_some_and(std::cmp::Ordering::is_gt),
            Self::AtLeast => order.is_some_and(std::cmp::Ordering::is_ge),
            Self::Equal => order.map_or_else(|| left == right, std::cmp::Ordering::is_eq),
            Self::Unequal => order.map_or_else(|| left != right, std::cmp::Ordering::is_ne),
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(integer) => Some(*integer as f64),
        Value::Real(real) => Some(*real),
        Value::Choice(_) | Value::Flag(_) => None,
    }
}

/// A place inside the constraint, if it is not the whole comparison, and what is wrong there.
type Misfit = (Option<Range<usize>>, String);

fn check_compared(
    left: &Quantity,
    relation: Relation,
    right: &Quantity,
    domains: &BTreeMap<String, Domain>,
) -> Result<(), Misfit> {
    let mut has_parameter = false;
    for quantity in [left, right] {
        quantity.each_part(&mut |part| has_parameter |= matches!(part, Quantity::Parameter(..)));
    }
    if !has_parameter {
        return Err((None, "this comparison names no parameter".to_owned()));
    }
    match (left, right) {
        _ if relation.is_of_order() => {
            check_numeric(left, domains)?;
            check_numeric(right, domains)
        }
        (Quantity::Parameter(name, _), Quantity::Given(value, span))
        | (Quantity::Given(value, span), Quantity::Parameter(name, _)) => check_value(name, value, span, domains),
        (Quantity::Parameter(..), Quantity::Parameter(..)) => Ok(()),
        _ => {
            check_numeric(left, domains)?;
            check_numeric(right, domains)
        }
    }
}

/// Whether nothing but numbers is in a quantity that is ordered or computed.
fn check_numeric(quantity: &Quantity, domains: &BTreeMap<String, Domain>) -> Result<(), Misfit> {
    let mut wrong = None;
    quantity.each_part(&mut |part| match part {
        Quantity::Given(value, span) if number(value).is_none() => {
            wrong.get_or_insert((span.clone(), "only numbers are ordered or added".to_owned()));
        }
        Quantity::Parameter(name, span) => {
            let is_other = |value: &&Value| number(value).is_none();
            let listed = match domains.get(name) {
                Some(Domain::Values(values) | Domain::Ordered(values)) => values.as_slice(),
                _ => &[],
            };
            if let Some(other) = listed.iter().find(is_other) {
                let message = format!(
                    "only numbers are ordered or added, and `{name}` can be {}; compare it with == or !=",
                    written(other)
                );
                wrong.get_or_insert((span.clone(), message));
            }
        }
        Quantity::Given(..) | Quantity::Negative(_) | Quantity::Combined(..) => {}
    });
    wrong.map_or(Ok(()), |(span, message)| Err((Some(span), message)))
}

/// Whether a parameter can be what it is compared with. A number need not be one that it takes.
fn check_value(
    name: &str,
    value: &Value,
    span: &Range<usize>,
    domains: &BTreeMap<String, Domain>,
) -> Result<(), Misfit> {
    let listed = match domains.get(name) {
        Some(Domain::Values(values) | Domain::Ordered(values)) => values.as_slice(),
        Some(Domain::Integers { .. } | Domain::Reals { .. }) | None => &[],
    };
    let fits = match number(value) {
        Some(_) => listed.is_empty() || listed.iter().any(|known| number(known).is_some()),
        None => listed.contains(value),
    };
    if fits {
        return Ok(());
    }
    let more = if listed.len() > WORDS_LISTED_MAX { ", …" } else { "" };
    let words: Vec<_> = listed.iter().take(WORDS_LISTED_MAX).map(written).collect();
    let known = if listed.is_empty() { "a number".to_owned() } else { format!("one of {}{more}", words.join(", ")) };
    Err((Some(span.clone()), format!("`{name}` is never {}; it is {known}", written(value))))
}

fn written(value: &Value) -> String {
    match value {
        Value::Choice(word) => format!("\"{word}\""),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "constraint/constraint_tests.rs"]
mod tests;
