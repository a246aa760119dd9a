//! What the files of one model know each other by.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::written::DIGESTED;

/// The SHA-256 of a file, in hexadecimal digits.
pub(super) fn of_file(bytes: &[u8]) -> String {
    in_hex(Sha256::digest(bytes).as_slice())
}

/// The digest of what `model.toml` says of layers, input and output: of the values, however they are spelt and whatever
/// comments stand beside them.
pub(super) fn of_description(model: &Table) -> String {
    let mut hasher = Sha256::new();
    for part in DIGESTED {
        add_text(&mut hasher, part);
        if let Some(value) = model.get(part) {
            add(&mut hasher, value);
        }
    }
    in_hex(hasher.finalize().as_slice())
}

fn add(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::String(text) => {
            hasher.update(b"s");
            add_text(hasher, text);
        }
        Value::Integer(integer) => {
            hasher.update(b"i");
            hasher.update(integer.to_le_bytes());
        }
        Value::Float(float) => {
            hasher.update(b"f");
            hasher.update(float.to_bits().to_le_bytes());
        }
        Value::Boolean(flag) => hasher.update([b'b', u8::from(*flag)]),
        Value::Datetime(time) => {
            hasher.update(b"d");
            add_text(hasher, &time.to_string());
        }
        Value::Array(values) => {
            hasher.update(b"a");
            hasher.update((values.len() as u64).to_le_bytes());
            for value in values {
                add(hasher, value);
            }
        }
        Value::Table(table) => {
            hasher.update(b"t");
            hasher.update((table.len() as u64).to_le_bytes());
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (key, value) in entries {
                add_text(hasher, key);
                add(hasher, value);
            }
        }
    }
}

fn add_text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text);
}

fn in_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_keeps_its_digest_however_it_is_spelt_and_loses_it_with_any_value() {
        let digest = |text: &str| of_description(&text.parse().unwrap());
        let first = digest("format = 1\n[model]\nlayers = [{ kind = 'dense', units = 3 }]\n[input]\nshape = [4]\n");
        let same =
            "[input] # a comment\nshape = [ 4 ]\n[[model.layers]]\nunits = 3\nkind = \"dense\"\n[metrics]\na = 1.0";
        assert_eq!(digest(same), first);
        assert_eq!(first.len(), 64);
        for other in [
            "[model]\nlayers = [{ kind = 'dense', units = 4 }]\n[input]\nshape = [4]\n",
            "[model]\nlayers = [{ kind = 'dense', units = 3.0 }]\n[input]\nshape = [4]\n",
            "[model]\nlayers = [{ kind = 'dense', units = 3 }]\n[input]\nshape = [4]\n[output]\nclasses = []\n",
        ] {
            assert_ne!(digest(other), first, "{other}");
        }
    }
}
