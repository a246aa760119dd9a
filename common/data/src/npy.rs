//! `NumPy`'s NPY format: a magic, a version, a header that is a Python dictionary, then the values.
//!
//! The header is parsed here because `ndarray-npy` takes memory for what a header claims before it has seen the
//! values, and parses nested brackets by recursion: a forged file could end the process.
//!
//! Source: numpy.lib.format (NEP 1), versions 1.0 to 3.0.

use super::array::{Array, ArrayHeader};
use super::error::{DataError, Origin, Sides, shown};
use super::idx::hex;
use super::number::Number;
use super::source::Source;

const MAGIC: [u8; 6] = *b"\x93NUMPY";
/// Bytes that a header may have; `NumPy` itself reads 10,000.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// Letters of one word, at most.
const TEXT_MAX: u32 = 4096;

/// Opens an NPY file and reads its header.
pub(super) fn open(file: Origin) -> Result<Array, DataError> {
    read(Source::open(file)?)
}

/// Reads the header at the start of `source`.
pub(super) fn read(mut source: Source) -> Result<Array, DataError> {
    let mut start = [0; 8];
    let got = source.fill(&mut start)?;
    if start[..6] != MAGIC {
        let start = hex(&start[..got.min(MAGIC.len())]);
        return Err(DataError::Magic { file: source.file, format: "NPY", start });
    }
    let length_bytes = match start[6] {
        1 => 2,
        2 | 3 => 4,
        version => {
            let what = format!("NPY version {version} is not read; write it anew with version 1 to 3");
            return Err(DataError::Unsupported { file: source.file, what });
        }
    };
    let mut length = [0; 4];
    let got_length = source.fill(&mut length[..length_bytes])?;
    let header_bytes = u32::from_le_bytes(length) as usize;
    if got < start.len() || got_length < length_bytes || header_bytes > HEADER_BYTES_MAX {
        return Err(DataError::Header { file: source.file, what: format!("a length of {header_bytes} bytes") });
    }
    let mut text = vec![0; header_bytes];
    if source.fill(&mut text)? < header_bytes {
        return Err(DataError::Header { file: source.file, what: "it is cut short".to_owned() });
    }
    let header_bytes = (start.len() + length_bytes + header_bytes) as u64;
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut dictionary = Dictionary::default();
    dictionary.parse(&text).map_err(|what| DataError::Header { file: source.file.clone(), what })?;
    let Dictionary { descr: Some(descr), fortran_order: Some(fortran), shape: Some(sides) } = dictionary else {
        let what = "`descr`, `fortran_order` or `shape` is missing".to_owned();
        return Err(DataError::Header { file: source.file, what });
    };
    let Some((number, big_endian)) = number(&descr) else {
        let what = format!(
            "values of type `{}` are not read; convert them to bool, an integer of 8 to 64 bits, float16, float32 or \
             float64",
            shown(&descr)
        );
        return Err(DataError::Unsupported { file: source.file, what });
    };
    Array::new(source, ArrayHeader { sides: Sides(sides.into()), number, big_endian, fortran, header_bytes })
}

/// The type of `<f4` and the like, and whether its highest byte comes first.
fn number(descr: &str) -> Option<(Number, bool)> {
    let (order, name) = descr.split_at_checked(1)?;
    let big_endian = match order {
        "<" | "|" => false,
        ">" => true,
        "=" => cfg!(target_endian = "big"),
        _ => return None,
    };
    let number = match name {
        "b1" => Number::Bool,
        "u1" => Number::U8,
        "i1" => Number::I8,
        "u2" => Number::U16,
        "i2" => Number::I16,
        "u4" => Number::U32,
        "i4" => Number::I32,
        "u8" => Number::U64,
        "i8" => Number::I64,
        "f2" => Number::F16,
        "f4" => Number::F32,
        "f8" => Number::F64,
        text => return text_type(text).map(|number| (number, big_endian)),
    };
    Some((number, big_endian))
}

/// A type of words that have one length, as `U9`.
fn text_type(name: &str) -> Option<Number> {
    let (kind, length) = name.split_at_checked(1)?;
    let length = length.parse().ok().filter(|length| (1..=TEXT_MAX).contains(length))?;
    match kind {
        "S" => Some(Number::Ascii(length)),
        "U" => Some(Number::Unicode(length)),
        _ => None,
    }
}

/// The three entries of a header.
#[derive(Debug, Default, PartialEq)]
struct Dictionary {
    descr: Option<String>,
    fortran_order: Option<bool>,
    shape: Option<Vec<u64>>,
}

impl Dictionary {
    /// Takes `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`; says what is wrong otherwise.
    fn parse(&mut self, text: &str) -> Result<(), String> {
        let mut rest = Rest(text.trim());
        rest.expect("{")?;
        while !rest.take("}") {
            let key = rest.string()?;
            rest.expect(":")?;
            match key {
                "descr" => self.descr = Some(rest.descr()?),
                "fortran_order" => self.fortran_order = Some(rest.boolean()?),
                "shape" => self.shape = Some(rest.sides()?),
                other => return Err(format!("an entry `{}`", shown(other))),
            }
            if !rest.take(",") {
                rest.expect("}")?;
                break;
            }
        }
        if rest.0.is_empty() { Ok(()) } else { Err("it goes on after `}`".to_owned()) }
    }
}

/// What is left to parse; each step takes from its front.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take(&mut self, token: &str) -> bool {
        let after = self.0.trim_start().strip_prefix(token);
        self.0 = after.unwrap_or(self.0);
        after.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(format!("`{token}` is missing")) }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.take("'") { '\'' } else { '"' };
        if quote == '"' {
            self.expect("\"")?;
        }
        let (string, after) = self.0.split_once(quote).ok_or("a quote is missing")?;
        self.0 = after;
        Ok(string)
    }

    /// A type's name. A structured type, a list, is returned as it stands, to be shown as what is not read.
    fn descr(&mut self) -> Result<String, String> {
        let text = self.0.trim_start();
        if !text.starts_with('[') {
            return self.string().map(str::to_owned);
        }
        let end = text.rfind(']').ok_or("`]` is missing")? + 1;
        self.0 = &text[end..];
        Ok(text[..end].to_owned())
    }

    fn boolean(&mut self) -> Result<bool, String> {
        if self.take("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false).map_err(|_| "`fortran_order` is neither True nor False".to_owned())
    }

    fn sides(&mut self) -> Result<Vec<u64>, String> {
        self.expect("(")?;
        let mut sides = Vec::new();
        while !self.take(")") {
            let text = self.0.trim_start();
            let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
            sides.push(text[..digits].parse().map_err(|_| "`shape` has a side that is no whole number")?);
            self.0 = &text[digits..];
            // Python 2 wrote its long integers so.
            self.take("L");
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(sides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_numpy_has_written_are_understood() {
        for (name, text, descr, fortran_order, shape) in [
            ("now", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n", "<f4", false, vec![3, 4]),
            ("one side", "{'descr': '|u1', 'fortran_order': True, 'shape': (7,), }\n", "|u1", true, vec![7]),
            ("no side", "{'descr': '>i8', 'fortran_order': False, 'shape': (), }", ">i8", false, vec![]),
            ("python 2", "{\"shape\": (3L, 4L), 'descr': '<i2', 'fortran_order': False}", "<i2", false, vec![3, 4]),
        ] {
            let mut dictionary = Dictionary::default();
            assert_eq!(dictionary.parse(text), Ok(()), "{name}");
            let want =
                Dictionary { descr: Some(descr.into()), fortran_order: Some(fortran_order), shape: Some(shape) };
            assert_eq!(dictionary, want, "{name}");
        }
    }

    #[test]
    fn headers_that_are_no_dictionary_say_what_is_wrong() {
        for (text, want) in [
            ("", "`{` is missing"),
            ("{'descr': '<f4'", "`}` is missing"),
            ("{'descr: 4}", "a quote is missing"),
            ("{'descr' '<f4'}", "`:` is missing"),
            ("{'extra': 1}", "an entry `extra`"),
            ("{'fortran_order': Maybe}", "`fortran_order` is neither True nor False"),
            ("{'shape': (3, -4)}", "`shape` has a side that is no whole number"),
            ("{'shape': (99999999999999999999,)}", "`shape` has a side that is no whole number"),
            ("{'shape': (3 4)}", "`)` is missing"),
            ("{} 7", "it goes on after `}`"),
        ] {
            assert_eq!(Dictionary::default().parse(text), Err(want.to_owned()), "{text}");
        }
    }
}
