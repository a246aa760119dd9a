//! Thrift's compact protocol, as far as the footer and the page headers of Parquet need it: the fields of a struct by
//! their numbers; what nobody asks for is skipped.
//!
//! Nothing is reserved for what a length claims: a list cannot have more elements than bytes are left. Fields are read by
//! the kinds that they say of themselves. The library reads some without looking at that, so whoever reads here refuses a
//! field of another kind than its own: else the library would see another file than was checked.
//!
//! Source: Apache Thrift, thrift-compact-protocol.md.

/// Structs and lists inside each other that are skipped.
const DEPTH_MAX: usize = 32;

/// Why bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// They end too early.
    Short,
    /// They say what cannot be.
    Wrong(&'static str),
}

/// The type of a field or of a list's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    True,
    False,
    Byte,
    Whole,
    Double,
    Binary,
    List,
    Struct,
}

/// Bytes, read from the front.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Kind {
    fn of(code: u8) -> Result<Self, Broken> {
        Ok(match code {
            1 => Self::True,
            2 => Self::False,
            3 => Self::Byte,
            4..=6 => Self::Whole,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            12 => Self::Struct,
            _ => return Err(Broken::Wrong("a field has a type that is not known")),
        })
    }
}

impl<'a> Compact<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that were read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Broken> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..bytes)).ok_or(Broken::Short)?;
        self.at += bytes;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        self.take(1).map(|byte| byte[0])
    }

    pub(super) fn varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Broken::Wrong("a whole number takes more than 64 bits"))
    }

    pub(super) fn zigzag(&mut self) -> Result<i64, Broken> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Visits the fields of a struct. Whoever visits reads the field, or skips it.
    pub(super) fn each_field(
        &mut self,
        mut visit: impl FnMut(&mut Self, i16, Kind) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let mut number = 0_i16;
        loop {
            let head = self.byte()?;
            let (step, code) = (head >> 4, head & 0xf);
            if code == 0 {
                return Ok(());
            }
            number = match step {
                0 => i16::try_from(self.zigzag()?).ok(),
                more => number.checked_add(i16::from(more)),
            }
            .ok_or(Broken::Wrong("a field has a number that cannot be"))?;
            visit(self, number, Kind::of(code)?)?;
        }
    }

    /// Visits the elements of a list.
    pub(super) fn each_element(
        &mut self,
        kind: Kind,
        mut visit: impl FnMut(&mut Self, Kind) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        if kind != Kind::List {
            return Err(Broken::Wrong("a list is none"));
        }
        let head = self.byte()?;
        let elements = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        if elements == 0 {
            return Ok(());
        }
        let kind = Kind::of(head & 0xf)?;
        if elements > (self.bytes.len() - self.at) as u64 {
            return Err(Broken::Short);
        }
        (0..elements).try_for_each(|_| visit(self, kind))
    }

    /// A whole number of 32 bits.
    pub(super) fn small(&mut self, kind: Kind) -> Result<i32, Broken> {
        if kind != Kind::Whole {
            return Err(Broken::Wrong("a whole number is none"));
        }
        i32::try_from(self.zigzag()?).map_err(|_| Broken::Wrong("a whole number takes more than 32 bits"))
    }

    pub(super) fn binary(&mut self, kind: Kind) -> Result<&'a [u8], Broken> {
        if kind != Kind::Binary {
            return Err(Broken::Wrong("a text is none"));
        }
        let bytes = usize::try_from(self.varint()?).map_err(|_| Broken::Short)?;
        self.take(bytes)
    }

    /// Visits the fields of a field that is a struct.
    pub(super) fn inner(
        &mut self,
        kind: Kind,
        visit: impl FnMut(&mut Self, i16, Kind) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        if kind == Kind::Struct { self.each_field(visit) } else { Err(Broken::Wrong("a struct is none")) }
    }

    pub(super) fn skip(&mut self, kind: Kind) -> Result<(), Broken> {
        self.skip_within(kind, DEPTH_MAX)
    }

    fn skip_within(&mut self, kind: Kind, depth: usize) -> Result<(), Broken> {
        let Some(depth) = depth.checked_sub(1) else { return Err(Broken::Wrong("its fields are nested too deeply")) };
        match kind {
            Kind::True | Kind::False => Ok(()),
            Kind::Byte => self.take(1).map(drop),
            Kind::Whole => self.varint().map(drop),
            Kind::Double => self.take(8).map(drop),
            Kind::Binary => self.binary(kind).map(drop),
            Kind::Struct => self.each_field(|input, _, kind| input.skip_within(kind, depth)),
            Kind::List => self.each_element(kind, |input, kind| input.skip_element(kind, depth)),
        }
    }

    /// The library skips truth values in a list as if they took no bytes, however many there are said to be. Parquet has
    /// no such lists here.
    fn skip_element(&mut self, kind: Kind, depth: usize) -> Result<(), Broken> {
        if matches!(kind, Kind::True | Kind::False) {
            return Err(Broken::Wrong("it has a list of truth values"));
        }
        self.skip_within(kind, depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(kind: Kind, bytes: &[u8]) -> Result<usize, Broken> {
        let mut input = Compact::new(bytes);
        input.skip(kind).map(|()| input.position())
    }

    #[test]
    fn whatever_nobody_asks_for_is_skipped_whole() {
        for (name, kind, bytes) in [
            ("a truth value", Kind::True, &[][..]),
            ("a whole number", Kind::Whole, &[0x80, 1]),
            ("a double", Kind::Double, &[0; 8]),
            ("a text", Kind::Binary, b"\x03abc"),
            ("a list of bytes", Kind::List, &[0x23, 1, 2]),
            ("a list of texts", Kind::List, b"\x28\x01a\x00"),
            ("an empty list", Kind::List, &[0]),
            ("a struct in a struct", Kind::Struct, &[0x1c, 0x15, 2, 0, 0]),
        ] {
            assert_eq!(skipped(kind, bytes), Ok(bytes.len()), "{name}");
            for cut in 0..bytes.len() {
                assert_eq!(skipped(kind, &bytes[..cut]), Err(Broken::Short), "{name}, cut to {cut}");
            }
        }
    }

    #[test]
    fn a_list_that_claims_more_elements_than_bytes_are_left_is_refused_before_any_is_read() {
        let mut input = Compact::new(&[0xfc, 0xff, 0xff, 0xff, 0x7f, 0, 0]);
        let mut seen = 0;
        let read = input.each_element(Kind::List, |_, _| {
            seen += 1;
            Ok(())
        });
        assert_eq!((read, seen), (Err(Broken::Short), 0));
    }

    #[test]
    fn structs_in_structs_without_an_end_overflow_no_stack() {
        assert!(matches!(skipped(Kind::Struct, &[0x1c; 1 << 10]), Err(Broken::Wrong(_))));
        assert!(matches!(skipped(Kind::List, &[0x19; 1 << 10]), Err(Broken::Wrong(_))));
    }

    #[test]
    fn numbers_beyond_their_bits_are_refused() {
        assert!(matches!(Compact::new(&[0xff; 11]).varint(), Err(Broken::Wrong(_))));
        assert_eq!(Compact::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).small(Kind::Whole), Ok(i32::MIN));
        assert!(matches!(Compact::new(&[0x80, 0x80, 0x80, 0x80, 0x10]).small(Kind::Whole), Err(Broken::Wrong(_))));
    }
}
