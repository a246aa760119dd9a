//! How the values of a parameter look to a sampler that learns: as places in the unit interval, or as choices without an order.

use std::sync::Arc;

use broadsweep_common::configuration::{Configuration, Value};

use crate::space::{Domain, Space, below, fraction};

/// Values that get an interval each, over which kernels are integrated. Where there are more, the kernels are far wider
/// than such an interval, and the density at its middle says the same.
const CELLS_MAX: usize = 32;

/// 2^64.
const BITS_END: f64 = 2.0 * (1_u64 << 63) as f64;

/// One parameter.
#[derive(Clone, Debug)]
pub(crate) struct Coordinate {
    pub(crate) name: Arc<str>,
    pub(crate) kind: PlaceKind,
    /// Whether it is absent from some configurations.
    is_conditional: bool,
}

/// What its values are.
#[derive(Clone, Debug)]
pub(crate) enum PlaceKind {
    /// So many that they are treated as numbers between 0 and 1. Values of a list are in their order.
    Smooth(Domain),
    /// A few in order, each with its interval: from edge `i` to edge `i + 1`.
    Cells { values: Vec<Value>, edges: Vec<f64> },
    /// Without an order.
    Choices(Vec<Value>),
}

/// The parameters of `space`, in the order of their names.
pub(crate) fn coordinates(space: &Space) -> Vec<Coordinate> {
    let of = |(name, domain): (&String, &Domain)| Coordinate {
        name: name.as_str().into(),
        kind: kind(domain),
        is_conditional: !space.conditions(name).is_empty(),
    };
    space.iter().map(of).collect()
}

fn kind(domain: &Domain) -> PlaceKind {
    if let Domain::Ordered(values) = domain {
        return ordered(values.clone(), |edge, count| edge as f64 / count as f64);
    }
    if let Some(mut values) = domain.points() {
        if values.iter().any(|value| number(value).is_none()) {
            return PlaceKind::Choices(values);
        }
        values.sort_by(|one, other| number(one).unwrap_or(0.0).total_cmp(&number(other).unwrap_or(0.0)));
        values.dedup();
        return ordered(values, |edge, count| edge as f64 / count as f64);
    }
    match domain {
        Domain::Integers { min, max, log, .. } if max.abs_diff(*min) < CELLS_MAX as u64 => {
            let values = (*min..=*max).map(Value::Integer).collect();
            let at = |edge: usize| if *log { libm::log(*min as f64 - 0.5 + edge as f64) } else { edge as f64 };
            ordered(values, |edge, count| (at(edge) - at(0)) / (at(count) - at(0)))
        }
        other => PlaceKind::Smooth(other.clone()),
    }
}

fn ordered(values: Vec<Value>, edge: impl Fn(usize, usize) -> f64) -> PlaceKind {
    let count = values.len();
    if count > CELLS_MAX {
        return PlaceKind::Smooth(Domain::Ordered(values));
    }
    PlaceKind::Cells { edges: (0..=count).map(|place| edge(place, count)).collect(), values }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(integer) => Some(*integer as f64),
        Value::Real(real) => Some(*real),
        Value::Choice(_) | Value::Flag(_) => None,
    }
}

impl Coordinate {
    /// Where this parameter of `configuration` stands: between 0 and 1 if it is smooth, else the number of its value.
    /// `None` if it has none that belongs to the space. One that is absent stands in the middle.
    pub(crate) fn place(&self, configuration: &Configuration) -> Option<f64> {
        let Some(value) = configuration.get(&self.name) else {
            return self.is_conditional.then(|| self.kind.middle());
        };
        match &self.kind {
            PlaceKind::Cells { values, .. } | PlaceKind::Choices(values) => {
                values.iter().position(|known| known == value).map(|place| place as f64)
            }
            PlaceKind::Smooth(domain) => smooth_place(domain, value),
        }
    }

    /// The value at a place, with its name.
    pub(crate) fn value(&self, place: f64) -> (Arc<str>, Value) {
        let value = match &self.kind {
            PlaceKind::Cells { values, .. } | PlaceKind::Choices(values) => {
                values[(place as usize).min(values.len() - 1)].clone()
            }
            PlaceKind::Smooth(domain) => domain.at((place * BITS_END) as u64),
        };
        (Arc::clone(&self.name), value)
    }
}

impl PlaceKind {
    /// How many values there are; `None` if without end.
    pub(crate) fn count(&self) -> Option<u64> {
        match self {
            Self::Cells { values, .. } | Self::Choices(values) => Some(values.len() as u64),
            Self::Smooth(domain) => domain.size(),
        }
    }

    /// The place of value `number`, of one that has so many.
    pub(crate) fn place_of(&self, number: u64) -> f64 {
        match self {
            Self::Cells { .. } | Self::Choices(_) => number as f64,
            Self::Smooth(Domain::Integers { min, log: true, max, .. }) => {
                within(*min as f64 - 0.5, *max as f64 + 0.5, true, min.saturating_add_unsigned(number) as f64)
            }
            Self::Smooth(domain) => (number as f64 + 0.5) / domain.size().unwrap_or(1) as f64,
        }
    }

    /// Where a parameter counts as standing that is not there.
    fn middle(&self) -> f64 {
        match self {
            Self::Cells { values, .. } => (values.len() / 2) as f64,
            Self::Choices(_) => 0.0,
            Self::Smooth(_) => 0.5,
        }
    }

    /// The place that `bits` / 2^64 of all values are before.
    pub(crate) fn even_place(&self, bits: u64) -> f64 {
        match self {
            Self::Cells { values, .. } | Self::Choices(values) => below(values.len() as u64, bits) as f64,
            Self::Smooth(_) => fraction(bits),
        }
    }
}

fn smooth_place(domain: &Domain, value: &Value) -> Option<f64> {
    let place = match domain {
        Domain::Values(values) | Domain::Ordered(values) => {
            let before = match number(value) {
                Some(at) if values.iter().all(|known| number(known).is_some()) => {
                    values.partition_point(|known| number(known).is_some_and(|known| known < at))
                }
                _ => values.iter().position(|known| known == value)?,
            };
            (before as f64 + 0.5) / values.len() as f64
        }
        Domain::Integers { min, max, log, .. } => within(*min as f64 - 0.5, *max as f64 + 0.5, *log, number(value)?),
        Domain::Reals { min, max, log, .. } => within(*min, *max, *log, number(value)?),
    };
    place.is_finite().then(|| place.clamp(0.0, 1.0))
}

fn within(low: f64, high: f64, log: bool, value: f64) -> f64 {
    if low >= high {
        return 0.5;
    }
    let scaled = |value: f64| if log { libm::log(value) } else { value };
    (scaled(value) - scaled(low)) / (scaled(high) - scaled(low))
}

#[cfg(test)]
#[path = "coordinate_tests.rs"]
mod tests;
