//! What Optuna is told of a parameter's values. One distribution holds for all trials of a parameter: where they differ,
//! Optuna's samplers and its importances leave the parameter out.

use broadsweep_common::configuration::Value;
use broadsweep_search::Domain;
use serde_json::json;

use super::lines::Plain;

/// The values of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Distribution {
    Reals { low: f64, high: f64, log: bool },
    Integers { low: i64, high: i64, log: bool },
    Categories(Vec<Value>),
}

impl Distribution {
    /// That of a parameter of the space, made wide enough for all values that trials have: a control may stand beside the
    /// space. Without a domain, and where a word stands in a range, there is nothing but these values.
    pub(super) fn of<'a>(domain: Option<&Domain>, seen: impl Iterator<Item = &'a Value> + Clone) -> Self {
        let numbers = seen.clone().all(|value| matches!(value, Value::Integer(_) | Value::Real(_)));
        let own = match domain {
            Some(Domain::Values(values) | Domain::Ordered(values)) => Self::Categories(values.clone()),
            Some(Domain::Integers { min, max, log, .. }) if numbers => {
                Self::Integers { low: *min, high: *max, log: *log }
            }
            Some(Domain::Reals { min, max, log, .. }) if numbers => Self::Reals { low: *min, high: *max, log: *log },
            Some(Domain::Integers { .. } | Domain::Reals { .. }) | None => Self::Categories(Vec::new()),
        };
        seen.fold(own, Self::with)
    }

    /// The same, with room for one value more.
    fn with(self, value: &Value) -> Self {
        match (self, value) {
            (Self::Integers { low, high, log }, Value::Integer(integer)) => {
                Self::Integers { low: low.min(*integer), high: high.max(*integer), log: log && *integer > 0 }
            }
            (Self::Integers { low, high, log }, Value::Real(_)) => {
                Self::Reals { low: low as f64, high: high as f64, log }.with(value)
            }
            (Self::Reals { low, high, log }, Value::Real(_) | Value::Integer(_)) => {
                let number = number(value);
                Self::Reals { low: low.min(number), high: high.max(number), log: log && number > 0.0 }
            }
            (Self::Categories(mut choices), value) => {
                if !choices.contains(value) {
                    choices.push(value.clone());
                }
                Self::Categories(choices)
            }
            (range @ (Self::Integers { .. } | Self::Reals { .. }), Value::Choice(_) | Value::Flag(_)) => range,
        }
    }

    /// The number by which Optuna writes a value down: a category's place, or the number itself.
    pub(super) fn internal(&self, value: &Value) -> f64 {
        match self {
            Self::Categories(choices) => {
                choices.iter().position(|known| known == value).map_or(f64::NAN, |place| place as f64)
            }
            Self::Integers { .. } | Self::Reals { .. } => number(value),
        }
    }

    /// As Optuna writes it down, in JSON.
    pub(super) fn json(&self) -> String {
        let told = match self {
            Self::Reals { low, high, log } => json!({
                "name": "FloatDistribution",
                "attributes": { "step": null, "low": low, "high": high, "log": log },
            }),
            Self::Integers { low, high, log } => json!({
                "name": "IntDistribution",
                "attributes": { "step": 1, "low": low, "high": high, "log": log },
            }),
            Self::Categories(choices) => json!({
                "name": "CategoricalDistribution",
                "attributes": { "choices": choices.iter().map(Plain::of).collect::<Vec<_>>() },
            }),
        };
        told.to_string()
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Integer(integer) => *integer as f64,
        Value::Real(real) => *real,
        Value::Choice(_) | Value::Flag(_) => f64::NAN,
    }
}
