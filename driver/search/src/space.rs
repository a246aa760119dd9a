//! The values that parameters can take, when each parameter is there, and what must hold between them.
//!
//! Logarithms and powers come from `libm`, whose results do not depend on the platform's C library: a driver linked
//! against another one draws the same configurations.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::seeds::Rng;
use rand_chacha::rand_core::Rng as _;

use super::combinations::{COUNTED_MAX, Combinations};
use super::condition::{Condition, ConditionCycle, Conditions};
use super::constraint::Constraint;

/// The parameters that are searched, by name: as a map it holds their domains. A parameter with conditions is absent from
/// each configuration in which one of them does not hold.
#[derive(Clone, Default, PartialEq)]
pub struct Space {
    domains: BTreeMap<String, Domain>,
    conditions: Conditions,
    constraints: Vec<Constraint>,
}

impl Space {
    /// A space without parameters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter, or gives it another domain.
    pub fn insert(&mut self, name: String, domain: Domain) {
        self.domains.insert(name, domain);
    }

    /// Says when parameters are there, each by its conditions: all of them have to hold. Those that are not named are always
    /// there.
    ///
    /// # Errors
    /// [`ConditionCycle`], if parameters depend on each other; nothing is changed then.
    pub fn set_conditions(&mut self, of: BTreeMap<String, Vec<Condition>>) -> Result<(), ConditionCycle> {
        self.conditions = Conditions::new(of)?;
        Ok(())
    }

    /// Says what must hold between parameters, beside what was said before.
    pub fn constrain(&mut self, constraint: Constraint) {
        self.constraints.push(constraint);
    }

    /// When a parameter is there; nothing if it always is.
    #[must_use]
    pub fn conditions(&self, name: &str) -> &[Condition] {
        self.conditions.of(name)
    }

    /// What must hold between parameters.
    #[must_use]
    pub fn constraints(&self) -> &[Constraint] {
        &self.constraints
    }

    /// Whether some parameter has conditions.
    #[must_use]
    pub fn has_conditions(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// The names, each behind those that decide whether it is there; otherwise in their order.
    #[must_use]
    pub fn names_in_order(&self) -> Vec<&str> {
        self.conditions.ordered(self.domains.keys().map(String::as_str))
    }

    /// Whether a parameter is there, by the values of those that decide it.
    #[must_use]
    pub fn is_active(&self, name: &str, configuration: &Configuration) -> bool {
        self.conditions(name).iter().all(|condition| condition.holds(configuration))
    }

    /// A configuration with a value for every parameter, without those that are not there.
    #[must_use]
    pub fn active(&self, all: &Configuration) -> Configuration {
        self.conditions.active(all)
    }

    /// The first constraint that a configuration breaks.
    #[must_use]
    pub fn broken_constraint(&self, configuration: &Configuration) -> Option<&Constraint> {
        self.constraints.iter().find(|constraint| !constraint.holds(configuration))
    }

    /// [`Self::active`], if it breaks no constraint.
    #[must_use]
    pub fn admitted(&self, all: Configuration) -> Option<Configuration> {
        let configuration = if self.has_conditions() { self.active(&all) } else { all };
        self.broken_constraint(&configuration).is_none().then_some(configuration)
    }
}

impl Deref for Space {
    type Target = BTreeMap<String, Domain>;

    fn deref(&self) -> &Self::Target {
        &self.domains
    }
}

impl<'a> IntoIterator for &'a Space {
    type Item = (&'a String, &'a Domain);
    type IntoIter = std::collections::btree_map::Iter<'a, String, Domain>;

    fn into_iter(self) -> Self::IntoIter {
        self.domains.iter()
    }
}

impl FromIterator<(String, Domain)> for Space {
    fn from_iter<I: IntoIterator<Item = (String, Domain)>>(parameters: I) -> Self {
        Self { domains: parameters.into_iter().collect(), ..Self::default() }
    }
}

impl<const N: usize> From<[(String, Domain); N]> for Space {
    fn from(parameters: [(String, Domain); N]) -> Self {
        parameters.into_iter().collect()
    }
}

impl fmt::Debug for Space {
    /// The domains alone where there is nothing else: runs go on by the digest of what a search prints, also those from
    /// before there was more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.domains, f)?;
        if self.has_conditions() {
            write!(f, " {:?}", self.conditions)?;
        }
        if !self.constraints.is_empty() {
            write!(f, " {:?}", self.constraints)?;
        }
        Ok(())
    }
}

/// The values that one parameter can take.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// One of these, in this order in a grid. Numbers are ordered by their size, words and flags not at all.
    Values(Vec<Value>),
    /// Whole numbers from `min` to `max`, both included.
    Integers {
        /// Least.
        min: i64,
        /// Largest.
        max: i64,
        /// Evenly in the logarithm.
        log: bool,
        /// Values in a grid, ends included.
        count: Option<u32>,
    },
    /// Numbers from `min` to `max`.
    Reals {
        /// Least.
        min: f64,
        /// Largest.
        max: f64,
        /// Evenly in the logarithm.
        log: bool,
        /// Values in a grid, ends included.
        count: Option<u32>,
    },
    /// One of these, each between its neighbours: "small", "medium", "large".
    Ordered(Vec<Value>),
}

impl Domain {
    /// The values that a grid takes, or a random search draws from; `None` where a range has no `count`.
    #[must_use]
    pub fn points(&self) -> Option<Vec<Value>> {
        match self {
            Self::Values(values) | Self::Ordered(values) => Some(values.clone()),
            Self::Integers { min, max, log, count } => count.map(|count| {
                let point = |place| (interpolate(*min as f64, *max as f64, *log, place, count)).round() as i64;
                (0..count).map(|place| Value::Integer(point(place))).collect()
            }),
            Self::Reals { min, max, log, count } => count.map(|count| {
                (0..count).map(|place| Value::Real(interpolate(*min, *max, *log, place, count))).collect()
            }),
        }
    }

    /// How many different values there are; `None` if without end.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::Values(values) | Self::Ordered(values) => Some(values.len() as u64),
            Self::Integers { count: Some(count), .. } | Self::Reals { count: Some(count), .. } => {
                Some(u64::from(*count))
            }
            Self::Integers { min, max, count: None, .. } => Some(max.abs_diff(*min).saturating_add(1)),
            Self::Reals { count: None, .. } => None,
        }
    }

    /// Whether this is a range without `count`, which no grid can take.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Integers { count: None, .. } | Self::Reals { count: None, .. })
    }

    /// One of its values, all of them equally likely.
    #[must_use]
    pub fn draw(&self, rng: &mut Rng) -> Value {
        self.at(rng.next_u64())
    }

    /// The value that stands `bits` / 2^64 of the way from its first one to its last.
    #[must_use]
    pub fn at(&self, bits: u64) -> Value {
        match self {
            Self::Values(values) | Self::Ordered(values) => values[below(values.len() as u64, bits) as usize].clone(),
            Self::Integers { min, max, log: false, .. } => {
                let steps = max.abs_diff(*min).saturating_add(1);
                Value::Integer(min.saturating_add_unsigned(below(steps, bits)))
            }
            Self::Integers { min, max, log: true, .. } => {
                // Half a step on both sides, so that the ends are as likely as their neighbours.
                let drawn = between_logs(*min as f64 - 0.5, *max as f64 + 0.5, fraction(bits));
                Value::Integer((drawn.round() as i64).clamp(*min, *max))
            }
            Self::Reals { min, max, log: false, .. } => {
                Value::Real((min + (max - min) * fraction(bits)).clamp(*min, *max))
            }
            Self::Reals { min, max, log: true, .. } => {
                Value::Real(between_logs(*min, *max, fraction(bits)).clamp(*min, *max))
            }
        }
    }
}

/// How many configurations `space` has before its constraints; `None` if without end. With conditions they are counted, up
/// to [`COUNTED_MAX`].
#[must_use]
pub fn size(space: &Space) -> Option<u64> {
    if space.has_conditions() {
        return Combinations::new(space).map(|combinations| combinations.count_up_to(COUNTED_MAX));
    }
    space.values().try_fold(1_u64, |product, domain| Some(product.saturating_mul(domain.size()?)))
}

/// Value `place` of `count` from `min` to `max`, whose ends are exact. In between, 15 significant digits: 0.3 and
/// 0.01, not 0.30000000000000004.
fn interpolate(min: f64, max: f64, log: bool, place: u32, count: u32) -> f64 {
    if place == 0 {
        return min;
    }
    if place + 1 >= count {
        return max;
    }
    let fraction = f64::from(place) / f64::from(count - 1);
    let value = if log {
        let (low, high) = (libm::log10(min), libm::log10(max));
        libm::pow(10.0, low + (high - low) * fraction)
    } else {
        min + (max - min) * fraction
    };
    format!("{value:.14e}").parse().unwrap_or(value).clamp(min, max)
}

fn between_logs(min: f64, max: f64, fraction: f64) -> f64 {
    let (low, high) = (libm::log(min), libm::log(max));
    libm::exp(low + (high - low) * fraction)
}

/// A whole number below `bound`, by the high half of a product (Lemire, 2019); the bias is below `bound` / 2^64.
pub(crate) fn below(bound: u64, bits: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// 53 random bits in 0 .. 1.
pub(crate) fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
#[path = "space_tests.rs"]
mod tests;
