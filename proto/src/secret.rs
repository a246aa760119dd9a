//! What a driver shares with the executors that it starts on its own machine, so that they take orders from nobody else.

use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// A secret: whoever opens a connection shows it before anything else is said.
#[derive(Clone)]
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn draw() -> io::Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        Ok(Self(bytes))
    }

    /// The one that comes over a pipe, as [`Secret::bytes`].
    ///
    /// # Errors
    /// If less comes.
    pub fn read(mut pipe: impl Read) -> io::Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        pipe.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// What is said on a pipe or at the beginning of a connection.
    #[must_use]
    pub fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// Whether `shown` is this one: in the same time whatever it is.
    #[must_use]
    pub fn is(&self, shown: &[u8; SECRET_BYTES]) -> bool {
        self.0.iter().zip(shown).fold(0, |differing, (own, shown)| differing | (own ^ shown)) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Secret {}

/// As hexadecimal digits: it has to be kept where a later driver finds it.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
        let digits: String = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        serializer.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let halves: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).and_then(|half| u8::try_from(half).ok())).collect();
        let bytes: Option<Vec<u8>> = halves
            .map(|halves| halves.chunks(2).map(|pair| pair.iter().fold(0, |byte, half| byte << 4 | half)).collect());
        let bytes = bytes.filter(|_| text.len() == 2 * SECRET_BYTES).and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("a secret has {} hexadecimal digits", 2 * SECRET_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_all_of_its_bytes_and_is_never_shown() {
        let secret = Secret::draw().unwrap();
        assert_ne!(secret, Secret::draw().unwrap());
        assert_eq!(Secret::read(&secret.bytes()[..]).unwrap(), secret);
        assert!(Secret::read(&secret.bytes()[1..]).is_err());
        for place in [0, SECRET_BYTES - 1] {
            let mut other = *secret.bytes();
            other[place] ^= 1;
            assert!(!secret.is(&other), "byte {place}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
