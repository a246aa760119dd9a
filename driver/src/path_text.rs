//! Paths in files that people read: a text where they are one, and their bytes where they are not.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Deserializer, Serializer};

/// Serde's `json` refuses a path that is not UTF-8, long after it was accepted: so each form has a place.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(Vec<u8>),
}

/// Writes a path, or another argument of a command.
///
/// # Errors
/// What the serializer says.
pub(crate) fn serialize<S: Serializer>(path: &impl AsRef<OsStr>, serializer: S) -> Result<S::Ok, S::Error> {
    match path.as_ref().to_str() {
        Some(text) => serializer.serialize_str(text),
        None => serializer.collect_seq(path.as_ref().as_bytes()),
    }
}

/// Reads it back, byte by byte the same.
///
/// # Errors
/// What the deserializer says.
pub(crate) fn deserialize<'de, P: From<OsString>, D: Deserializer<'de>>(deserializer: D) -> Result<P, D::Error> {
    Ok(P::from(match Written::deserialize(deserializer)? {
        Written::Text(text) => text.into(),
        Written::Bytes(bytes) => OsString::from_vec(bytes),
    }))
}
