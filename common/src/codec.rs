//! The one place that knows bincode: blobs, checkpoints and records are encoded here and nowhere else.
//!
//! bincode 2.0.1 is pinned and unmaintained (RUSTSEC-2025-0141); behind these two functions it can be replaced
//! in one file. Its limit bounds what a forged length can make the decoder allocate, and input that is longer
//! than its value is refused.
//!
//! What a digest names has numbers of fixed width, so that one value has one encoding. Records of a journal, most of
//! whose numbers are small, are [`pack`]ed into half as many bytes.

use bincode::config::{Config, Configuration, Fixint, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that one decoded value may claim.
pub const DECODED_BYTES_MAX: usize = 64 << 20;

/// A text of a forged length is allocated before its bytes are looked for, so short inputs have a limit of their own: 16
/// times as much as they have, which is the largest whole number in one packed byte.
const SHORT_BYTES: usize = 64 << 10;
const SHORT_CLAIM_MAX: usize = 16 * SHORT_BYTES;

const FIXED: Configuration<LittleEndian, Fixint, Limit<DECODED_BYTES_MAX>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<DECODED_BYTES_MAX>();
const PACKED: Configuration<LittleEndian, Varint, Limit<DECODED_BYTES_MAX>> =
    bincode::config::standard().with_variable_int_encoding().with_limit::<DECODED_BYTES_MAX>();

/// Bytes that are not the value they should be, or a value that cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value is larger than [`DECODED_BYTES_MAX`], or of a type that bincode cannot write.
    #[error("cannot be encoded: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    /// The bytes are cut short, name an unknown variant, or claim more than the limit.
    #[error("cannot be decoded: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    /// The bytes end before the value does.
    #[error("they end too early")]
    Short,
    /// The bytes go on after the value.
    #[error("{surplus} bytes follow the value")]
    Surplus {
        /// How many.
        surplus: usize,
    },
}

/// The bytes of `value`.
///
/// # Errors
/// [`CodecError::Encode`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(bincode::serde::encode_to_vec(value, FIXED)?)
}

/// The value that `bytes` hold, all of them.
///
/// # Errors
/// [`CodecError::Decode`] and [`CodecError::Surplus`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() <= SHORT_BYTES {
        decode_all(bytes, FIXED.with_limit::<SHORT_CLAIM_MAX>())
    } else {
        decode_all(bytes, FIXED)
    }
}

/// The bytes of `value`, each whole number in 1 to 9 of them by its size.
///
/// # Errors
/// [`CodecError::Encode`].
pub fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(bincode::serde::encode_to_vec(value, PACKED)?)
}

/// The value that `bytes` of [`pack`] hold, all of them.
///
/// # Errors
/// As [`decode`].
pub fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() <= SHORT_BYTES {
        decode_all(bytes, PACKED.with_limit::<SHORT_CLAIM_MAX>())
    } else {
        decode_all(bytes, PACKED)
    }
}

/// The bytes of `head`, with `rest` behind it, which may be larger than any value that is encoded.
///
/// # Errors
/// [`CodecError::Encode`].
pub fn encode_before<T: Serialize>(head: &T, rest: &[u8]) -> Result<Vec<u8>, CodecError> {
    let head = encode(head)?;
    Ok([&(head.len() as u64).to_le_bytes()[..], &head, rest].concat())
}

/// The value that stands before others in bytes of [`encode_before`], and these others.
///
/// # Errors
/// As [`decode`], and [`CodecError::Short`].
pub fn decode_before<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), CodecError> {
    let (length, behind) = bytes.split_first_chunk::<8>().ok_or(CodecError::Short)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| CodecError::Short)?;
    let (head, rest) = behind.split_at_checked(length).ok_or(CodecError::Short)?;
    Ok((decode(head)?, rest))
}

fn decode_all<T: DeserializeOwned>(bytes: &[u8], config: impl Config) -> Result<T, CodecError> {
    let (value, consumed) = bincode::serde::decode_from_slice(bytes, config)?;
    match bytes.len() - consumed {
        0 => Ok(value),
        surplus => Err(CodecError::Surplus { surplus }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::configuration::{Configuration, Value};

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::Integer),
            any::<f64>().prop_filter("NaN is not equal to itself", |real| !real.is_nan()).prop_map(Value::Real),
            ".{0,12}".prop_map(Value::Choice),
            any::<bool>().prop_map(Value::Flag),
        ]
    }

    #[test]
    fn what_stands_behind_a_value_may_be_anything_and_a_forged_length_is_refused() {
        let bytes = encode_before(&7_u32, b"rest").unwrap();
        assert_eq!(decode_before::<u32>(&bytes).unwrap(), (7, &b"rest"[..]));
        assert_eq!(decode_before::<u32>(&bytes[..12]).unwrap(), (7, &b""[..]));
        let mut forged = bytes.clone();
        forged[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        for short in [&forged[..], &bytes[..11], &bytes[..7], b""] {
            assert!(matches!(decode_before::<u32>(short), Err(CodecError::Short)), "{short:?}");
        }
    }

    proptest! {
        #[test]
        fn a_configuration_survives_its_encoding(values in prop::collection::btree_map("[a-z]{1,6}", value(), 0..8)) {
            let configuration = Configuration::from_iter(values);
            let bytes = encode(&configuration).unwrap();
            prop_assert_eq!(&decode::<Configuration>(&bytes).unwrap(), &configuration);
            prop_assert_eq!(unpack::<Configuration>(&pack(&configuration).unwrap()).unwrap(), configuration);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode::<Configuration>(&bytes);
            let _ = unpack::<Configuration>(&bytes);
        }

        #[test]
        fn cut_or_lengthened_bytes_are_refused(cut in 1_usize..8) {
            let configuration = Configuration::from_iter([("rate", Value::Real(0.5))]);
            let mut bytes = encode(&configuration).unwrap();
            prop_assert!(decode::<Configuration>(&bytes[..bytes.len() - cut]).is_err());
            bytes.push(0);
            let refused = matches!(decode::<Configuration>(&bytes), Err(CodecError::Surplus { surplus: 1 }));
            prop_assert!(refused);
        }
    }

    #[test]
    fn a_forged_length_is_refused_before_it_is_allocated() {
        let mut bytes = encode(&"name".to_owned()).unwrap();
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(decode::<String>(&bytes).is_err());
        let largest = [&[253][..], &[0xff; 8]].concat();
        assert!(unpack::<String>(&largest).is_err());
        // Within what a long input may claim; the error says that nobody looked for the bytes.
        bytes[..8].copy_from_slice(&(DECODED_BYTES_MAX as u64 / 2).to_le_bytes());
        let refused = decode::<String>(&bytes).unwrap_err();
        assert!(matches!(refused, CodecError::Decode(bincode::error::DecodeError::LimitExceeded)), "{refused}");
    }

    #[test]
    fn what_packs_best_is_within_what_a_short_input_may_claim() {
        let least: Vec<u128> = vec![0; SHORT_BYTES - 9];
        let packed = pack(&least).unwrap();
        assert!(packed.len() <= SHORT_BYTES, "{} bytes", packed.len());
        assert_eq!(unpack::<Vec<u128>>(&packed).unwrap(), least);
    }
}
