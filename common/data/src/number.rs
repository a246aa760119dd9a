//! The types of numbers in data files, and how their bytes are read.

/// The type of an array's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
    /// So many bytes of a text, the rest zeros.
    Ascii(u32),
    /// So many letters of a text, each in 32 bits.
    Unicode(u32),
}

impl Number {
    /// Bytes of one value.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::Ascii(bytes) => bytes as usize,
            Self::Unicode(letters) => 4 * letters as usize,
        }
    }

    /// As messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Ascii(_) | Self::Unicode(_) => "text",
        }
    }

    /// Whether values are words.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Ascii(_) | Self::Unicode(_))
    }

    /// The word in the bytes of one value, without the zeros that fill it up; `None` if they are no text.
    pub(super) fn word(self, bytes: &[u8], big_endian: bool) -> Option<String> {
        let word = if let Self::Unicode(_) = self {
            let letter =
                |bytes: &[u8; 4]| if big_endian { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) };
            bytes.as_chunks().0.iter().map(|bytes| char::from_u32(letter(bytes))).collect::<Option<String>>()?
        } else {
            std::str::from_utf8(bytes).ok()?.to_owned()
        };
        Some(word.trim_end_matches('\0').to_owned())
    }

    /// Calls `each` with every number of `bytes`; a rest that is no whole number is left.
    ///
    /// All types pass through `f64`, which holds all but 64-bit integers exactly.
    pub(super) fn decode(self, bytes: &[u8], big_endian: bool, each: impl FnMut(f64)) {
        /// Reads numbers of one type in the file's order of bytes.
        macro_rules! numbers {
            ($type:ty, $widen:expr) => {{
                let (numbers, _) = bytes.as_chunks();
                match big_endian {
                    true => numbers.iter().map(|&bytes| $widen(<$type>::from_be_bytes(bytes))).for_each(each),
                    false => numbers.iter().map(|&bytes| $widen(<$type>::from_le_bytes(bytes))).for_each(each),
                }
            }};
        }
        match self {
            Self::Bool => bytes.iter().map(|&byte| f64::from(byte != 0)).for_each(each),
            Self::U8 => bytes.iter().map(|&byte| f64::from(byte)).for_each(each),
            Self::I8 => numbers!(i8, f64::from),
            Self::U16 => numbers!(u16, f64::from),
            Self::I16 => numbers!(i16, f64::from),
            Self::U32 => numbers!(u32, f64::from),
            Self::I32 => numbers!(i32, f64::from),
            Self::U64 => numbers!(u64, |number| number as f64),
            Self::I64 => numbers!(i64, |number| number as f64),
            Self::F16 => numbers!(u16, half),
            Self::F32 => numbers!(f32, f64::from),
            Self::F64 => numbers!(f64, f64::from),
            Self::Ascii(_) | Self::Unicode(_) => {}
        }
    }
}

/// The value of an IEEE 754 half: 1 bit sign, 5 bits exponent, 10 bits fraction.
pub(super) fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match i32::from(bits >> 10 & 0x1f) {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction > 0.0 => f64::NAN,
        31 => f64::INFINITY,
        exponent => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    sign * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(number: Number, bytes: &[u8], big_endian: bool) -> Vec<f64> {
        let mut values = Vec::new();
        number.decode(bytes, big_endian, |value| values.push(value));
        values
    }

    #[test]
    fn each_type_is_read_in_both_orders_of_bytes() {
        for (number, little, want) in [
            (Number::Bool, vec![0, 1, 2], vec![0.0, 1.0, 1.0]),
            (Number::U8, vec![0, 255], vec![0.0, 255.0]),
            (Number::I8, vec![0x80, 0x7f], vec![-128.0, 127.0]),
            (Number::U16, 65_000_u16.to_le_bytes().to_vec(), vec![65_000.0]),
            (Number::I16, (-2_i16).to_le_bytes().to_vec(), vec![-2.0]),
            (Number::U32, 4_000_000_000_u32.to_le_bytes().to_vec(), vec![4e9]),
            (Number::I32, (-7_i32).to_le_bytes().to_vec(), vec![-7.0]),
            (Number::U64, (1_u64 << 40).to_le_bytes().to_vec(), vec![1_099_511_627_776.0]),
            (Number::I64, (-1_i64).to_le_bytes().to_vec(), vec![-1.0]),
            (Number::F32, 0.5_f32.to_le_bytes().to_vec(), vec![0.5]),
            (Number::F64, (-0.1_f64).to_le_bytes().to_vec(), vec![-0.1]),
        ] {
            assert_eq!(decoded(number, &little, false), want, "{} little", number.name());
            if number.bytes() > 1 {
                let big: Vec<u8> = little.into_iter().rev().collect();
                assert_eq!(decoded(number, &big, true), want, "{} big", number.name());
            }
        }
    }

    #[test]
    fn words_end_before_the_zeros_that_fill_them_up_and_what_is_no_text_is_none() {
        let word = |bytes: &[u8]| Number::Ascii(3).word(bytes, false);
        assert_eq!(
            [word(b"ok\0"), word(b"a\0b"), word(b"\0\0\0")],
            ["ok", "a\0b", ""].map(|word| Some(word.to_owned()))
        );
        assert_eq!([word(b"a\xe9\0"), Number::Unicode(1).word(&0xd800_u32.to_le_bytes(), false)], [None, None]);
    }

    #[test]
    fn halves_have_their_values() {
        for (bits, want) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65_504.0),
            (0x0400, 2_f64.powi(-14)),
            (0x0001, 2_f64.powi(-24)),
            (0x7c00, f64::INFINITY),
        ] {
            assert_eq!(half(bits).to_bits(), want.to_bits(), "{bits:#06x}");
        }
        assert!(half(0x7e00).is_nan());
    }
}
