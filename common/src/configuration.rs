//! One point of the search space: a value for each searched parameter.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Digest;

/// A value that a search can give to a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// A whole number: units, filters, a batch size.
    Integer(i64),
    /// A number: a learning rate, a dropout rate. Never NaN or infinite in a checked study.
    Real(f64),
    /// One of a few words: an activation, an optimizer.
    Choice(String),
    /// Yes or no.
    Flag(bool),
}

/// The values of all searched parameters, by name. Sorted by name, so that equal configurations are equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Configuration(pub BTreeMap<String, Value>);

/// Names a configuration by its values, never by its place in the search: initialisation and dropout draw from
/// it, so a trial is the same in a grid, in a random search and after a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConfigurationDigest(pub Digest);

impl Configuration {
    /// The value of the parameter `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The digest of all names and values. Each part is written with its kind and length, so that no two
    /// configurations share an encoding.
    #[must_use]
    pub fn digest(&self) -> ConfigurationDigest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"broadsweep configuration v1");
        for (name, value) in &self.0 {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            match value {
                Value::Integer(integer) => hasher.update(b"i").update(&integer.to_le_bytes()),
                Value::Real(real) => hasher.update(b"r").update(&real.to_bits().to_le_bytes()),
                Value::Choice(word) => {
                    hasher.update(b"c").update(&(word.len() as u64).to_le_bytes()).update(word.as_bytes())
                }
                Value::Flag(flag) => hasher.update(b"f").update(&[u8::from(*flag)]),
            };
        }
        ConfigurationDigest(Digest(*hasher.finalize().as_bytes()))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Real(real) => write!(f, "{real}"),
            Self::Choice(word) => f.write_str(word),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

impl fmt::Display for Configuration {
    /// `fc1=512 learning_rate=0.01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            write!(f, "{gap}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(values: &[(&str, Value)]) -> Configuration {
        Configuration(values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    #[test]
    fn the_digest_depends_on_names_values_and_kinds() {
        let rows = [
            configuration(&[]),
            configuration(&[("a", Value::Integer(1))]),
            configuration(&[("a", Value::Real(1.0))]),
            configuration(&[("b", Value::Integer(1))]),
            configuration(&[("a", Value::Choice("1".into()))]),
            configuration(&[("a", Value::Flag(true))]),
            configuration(&[("a", Value::Integer(1)), ("b", Value::Integer(1))]),
        ];
        let mut digests: Vec<_> = rows.iter().map(Configuration::digest).collect();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), rows.len());
    }

    #[test]
    fn a_configuration_is_shown_in_order_of_names() {
        let shown = configuration(&[("rate", Value::Real(0.01)), ("fc1", Value::Integer(512))]).to_string();
        assert_eq!(shown, "fc1=512 rate=0.01");
    }
}
