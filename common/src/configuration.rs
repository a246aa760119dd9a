//! One point of the search space: a value for each searched parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::Digest;

/// Parameters that one configuration may have.
pub const PARAMETERS_MAX: usize = 1024;
/// Bytes that the names and the words of one configuration may have together: they travel with each of its attempts, and
/// fit a message several times.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

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

impl Value {
    /// Bytes of a word.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        if let Self::Choice(word) = self { word.len() } else { 0 }
    }
}

/// The values of all searched parameters, by name. Sorted by name, so that equal configurations are equal bytes.
///
/// A million of these are kept: a clone shares them, and names are shared between configurations (see
/// [`Self::sharing`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration(Arc<[(Arc<str>, Value)]>);

/// Names a configuration by its values, never by its place in the search: initialisation and dropout draw from
/// it, so a trial is the same in a grid, in a random search and after a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConfigurationDigest(pub Digest);

impl Configuration {
    /// The value of the parameter `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let place = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.0[place].1)
    }

    /// Every parameter with its value, in the order of the names.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// The names of the parameters, in order.
    #[must_use]
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// How many parameters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is searched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of its names and words.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.text_bytes()).sum()
    }

    /// Without the parameters whose names are `dropped`.
    #[must_use]
    pub fn without(&self, dropped: impl Fn(&str) -> bool) -> Self {
        if !self.names().any(&dropped) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(name, _)| !dropped(name)).cloned().collect())
    }

    /// The same configuration with the names that others have, too: what was read from a file has its own copy of each.
    #[must_use]
    pub fn sharing(&self, names: &mut BTreeSet<Arc<str>>) -> Self {
        let is_shared = |(name, _): &(Arc<str>, Value)| names.get(name).is_some_and(|known| Arc::ptr_eq(known, name));
        if self.0.iter().all(is_shared) {
            return self.clone();
        }
        let parameters = self.0.iter().map(|(name, value)| {
            let known = names.get(name).cloned();
            let shared = known.unwrap_or_else(|| {
                names.insert(Arc::clone(name));
                Arc::clone(name)
            });
            (shared, value.clone())
        });
        Self(parameters.collect())
    }

    /// The digest of all names and values. Each part is written with its kind and length, so that no two
    /// configurations share an encoding.
    #[must_use]
    pub fn digest(&self) -> ConfigurationDigest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"broadsweep configuration v1");
        for (name, value) in self.iter() {
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

impl<N: Into<Arc<str>>> FromIterator<(N, Value)> for Configuration {
    /// Of two values of one name, the later one stays.
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(parameters: I) -> Self {
        let parameters: Vec<_> = parameters.into_iter().map(|(name, value)| (name.into(), value)).collect();
        if parameters.is_sorted_by(|one: &(Arc<str>, Value), next| one.0 < next.0) {
            return Self(parameters.into());
        }
        Self(parameters.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
    }
}

impl Serialize for Configuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Configuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Parameters)
    }
}

/// Reads a configuration without a map in between: a journal may hold a million of them.
struct Parameters;

impl<'de> Visitor<'de> for Parameters {
    type Value = Configuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the values of parameters, by name")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Configuration, M::Error> {
        let mut parameters = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            parameters.push((name, value));
        }
        Ok(parameters.into_iter().collect())
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
        for (place, (name, value)) in self.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            write!(f, "{gap}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn configuration(values: &[(&str, Value)]) -> Configuration {
        values.iter().map(|(name, value)| (*name, value.clone())).collect()
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
    fn a_configuration_is_the_same_in_whatever_order_it_is_given_and_after_a_file() {
        let (one, two) = (("a", Value::Integer(1)), ("b", Value::Flag(true)));
        let given = configuration(&[two.clone(), one.clone(), two.clone()]);
        assert_eq!(given, configuration(&[one, two]));
        assert_eq!((given.get("b"), given.get("c"), given.len()), (Some(&Value::Flag(true)), None, 2));
        let read: Configuration = codec::decode(&codec::encode(&given).unwrap()).unwrap();
        assert_eq!(read, given);
        let mut names = BTreeSet::new();
        let [first, second] = [given.sharing(&mut names), read.sharing(&mut names)];
        assert_eq!(first, second);
        assert!(first.0.iter().zip(&*second.0).all(|((one, _), (other, _))| Arc::ptr_eq(one, other)));
    }

    #[test]
    fn a_configuration_is_shown_in_order_of_names() {
        let shown = configuration(&[("rate", Value::Real(0.01)), ("fc1", Value::Integer(512))]).to_string();
        assert_eq!(shown, "fc1=512 rate=0.01");
    }
}
