//! Values of a column as they are decoded, and what they mean.
//!
//! Source: the Parquet format, LogicalTypes.md.

use std::borrow::Cow;

use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescriptor;

use crate::cells::Cell;
use crate::number::half;
use crate::partition::{KeptCell, KeptKind};

/// Digits behind the point of decimals that are passed on as they are: 64 bits have no more.
const DIGITS_MAX: i32 = 18;

/// Some cells of one column.
pub(super) enum Values {
    Wholes(Vec<Option<i64>>, Meaning),
    Numbers(Vec<Option<f64>>),
    Flags(Vec<Option<bool>>),
    Texts(Vec<Option<ByteArray>>),
}

/// How the whole numbers of a column are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Signed,
    /// The same bits.
    Unsigned,
    /// Divided by this power of ten.
    Decimal(i32),
}

impl Values {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Wholes(wholes, _) => wholes.len(),
            Self::Numbers(numbers) => numbers.len(),
            Self::Flags(flags) => flags.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    pub(super) fn text_bytes(&self) -> u64 {
        match self {
            Self::Wholes(..) | Self::Numbers(_) | Self::Flags(_) => 0,
            Self::Texts(texts) => texts.iter().flatten().map(|text| text.len() as u64).sum(),
        }
    }

    /// What a row says, for a model.
    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Wholes(wholes, meaning) => {
                wholes[row].map_or(Cell::Missing, |whole| Cell::Number(meaning.number(whole)))
            }
            Self::Numbers(numbers) => {
                numbers[row].filter(|number| !number.is_nan()).map_or(Cell::Missing, Cell::Number)
            }
            Self::Flags(flags) => flags[row]
                .map_or(Cell::Missing, |flag| Cell::Text(Cow::Borrowed(if flag { "true" } else { "false" }))),
            Self::Texts(texts) => match &texts[row] {
                None => Cell::Missing,
                Some(bytes) => match std::str::from_utf8(bytes.data()) {
                    Ok("") => Cell::Missing,
                    Ok(text) => Cell::Text(Cow::Borrowed(text)),
                    Err(_) => Cell::Unreadable,
                },
            },
        }
    }

    /// The finite number that a row says, where it says one.
    #[inline]
    pub(super) fn finite(&self, row: usize) -> Option<f64> {
        match self {
            Self::Wholes(wholes, meaning) => wholes[row].map(|whole| meaning.number(whole)),
            Self::Numbers(numbers) => numbers[row].filter(|number| number.is_finite()),
            Self::Flags(_) | Self::Texts(_) => None,
        }
    }

    /// What a row says, as it is; nothing where that should be text and is none.
    pub(super) fn kept(&self, row: usize) -> Option<KeptCell> {
        Some(match self {
            Self::Wholes(wholes, meaning) => wholes[row].map_or(KeptCell::Missing, |whole| meaning.kept(whole)),
            Self::Numbers(numbers) => numbers[row].map_or(KeptCell::Missing, KeptCell::Number),
            Self::Flags(flags) => flags[row].map_or(KeptCell::Missing, KeptCell::Flag),
            Self::Texts(texts) => match &texts[row] {
                None => KeptCell::Missing,
                Some(bytes) => KeptCell::Text(std::str::from_utf8(bytes.data()).ok()?.to_owned()),
            },
        })
    }
}

impl Meaning {
    pub(super) fn of(column: &ColumnDescriptor) -> Self {
        if let Some(LogicalType::Decimal(decimal)) = column.logical_type_ref() {
            return Self::Decimal(decimal.scale);
        }
        match column.converted_type() {
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
                Self::Unsigned
            }
            ConvertedType::DECIMAL => Self::Decimal(column.type_scale()),
            _ => Self::Signed,
        }
    }

    #[inline]
    fn number(self, whole: i64) -> f64 {
        match self {
            Self::Signed => whole as f64,
            Self::Unsigned => whole as u64 as f64,
            Self::Decimal(scale) => whole as f64 / libm::pow(10.0, f64::from(scale)),
        }
    }

    /// What the cells of such a column are that is passed on. Where no whole number or fraction of 64 bits holds all of
    /// them, they are text: every digit stays.
    pub(super) fn kept_kind(self, column: &ColumnDescriptor) -> KeptKind {
        match (column.physical_type(), self) {
            (Physical::BOOLEAN, _) => KeptKind::Flag,
            (Physical::INT32, Self::Signed | Self::Unsigned) | (Physical::INT64, Self::Signed) => KeptKind::Integer,
            (Physical::INT32 | Physical::INT64, Self::Decimal(scale)) if !(0..=DIGITS_MAX).contains(&scale) => {
                KeptKind::Number
            }
            (Physical::INT32 | Physical::INT64 | Physical::BYTE_ARRAY, _) => KeptKind::Text,
            _ => KeptKind::Number,
        }
    }

    fn kept(self, whole: i64) -> KeptCell {
        match self {
            Self::Signed => KeptCell::Integer(whole),
            // Those of a narrower column become whole numbers with its kind.
            Self::Unsigned => i64::try_from(whole as u64)
                .map_or_else(|_| KeptCell::Text((whole as u64).to_string()), KeptCell::Integer),
            Self::Decimal(scale @ 0..=DIGITS_MAX) => KeptCell::Text(with_point(whole, scale as usize)),
            Self::Decimal(_) => KeptCell::Number(self.number(whole)),
        }
    }
}

/// A whole number as text, with a point before its last `digits`.
fn with_point(whole: i64, digits: usize) -> String {
    let sign = if whole < 0 { "-" } else { "" };
    let text = format!("{:0>width$}", whole.unsigned_abs(), width = digits + 1);
    let (front, back) = text.split_at(text.len() - digits);
    if digits == 0 { format!("{sign}{front}") } else { format!("{sign}{front}.{back}") }
}

/// The next rows of one column.
pub(super) fn decode(
    reader: &mut ColumnReader,
    column: &ColumnDescriptor,
    rows: usize,
) -> Result<Values, ParquetError> {
    let (levels, meaning) = (column.max_def_level(), Meaning::of(column));
    let is_unsigned = meaning == Meaning::Unsigned;
    Ok(match reader {
        ColumnReader::BoolColumnReader(reader) => Values::Flags(take(reader, levels, rows, |flag| flag)?),
        ColumnReader::Int32ColumnReader(reader) => {
            let widen = |number: i32| if is_unsigned { i64::from(number.cast_unsigned()) } else { i64::from(number) };
            Values::Wholes(take(reader, levels, rows, widen)?, meaning)
        }
        ColumnReader::Int64ColumnReader(reader) => {
            Values::Wholes(take(reader, levels, rows, |number| number)?, meaning)
        }
        ColumnReader::FloatColumnReader(reader) => Values::Numbers(take(reader, levels, rows, f64::from)?),
        ColumnReader::DoubleColumnReader(reader) => Values::Numbers(take(reader, levels, rows, |number| number)?),
        ColumnReader::ByteArrayColumnReader(reader) => Values::Texts(take(reader, levels, rows, |text| text)?),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            Values::Numbers(take(reader, levels, rows, |bytes: FixedLenByteArray| match bytes.data() {
                [low, high] => half(u16::from_le_bytes([*low, *high])),
                _ => f64::NAN,
            })?)
        }
        ColumnReader::Int96ColumnReader(_) => return Err(ParquetError::NYI("times of type INT96".to_owned())),
    })
}

/// Values, with those that are missing among them.
fn take<D: DataType, T>(
    reader: &mut ColumnReaderImpl<D>,
    levels: i16,
    rows: usize,
    convert: impl Fn(D::T) -> T,
) -> Result<Vec<Option<T>>, ParquetError> {
    let (mut known, mut values) = (Vec::new(), Vec::new());
    let mut taken = 0;
    while taken < rows {
        let wanted = (levels > 0).then_some(&mut known);
        let (records, ..) = reader.read_records(rows - taken, wanted, None, &mut values)?;
        if records == 0 {
            break;
        }
        taken += records;
    }
    let mut values = values.into_iter().map(convert);
    if levels == 0 {
        return Ok(values.map(Some).collect());
    }
    Ok(known.into_iter().map(|level| if level == levels { values.next() } else { None }).collect())
}

pub(super) fn is_half(column: &ColumnDescriptor) -> bool {
    matches!(column.logical_type_ref(), Some(LogicalType::Float16)) && column.type_length() == 2
}

/// Whether the whole numbers of a column are points in time.
pub(super) fn is_time(column: &ColumnDescriptor) -> bool {
    let is_logical = matches!(
        column.logical_type_ref(),
        Some(LogicalType::Date | LogicalType::Time(_) | LogicalType::Timestamp(_))
    );
    let is_converted = matches!(
        column.converted_type(),
        ConvertedType::DATE
            | ConvertedType::TIME_MILLIS
            | ConvertedType::TIME_MICROS
            | ConvertedType::TIMESTAMP_MILLIS
            | ConvertedType::TIMESTAMP_MICROS
    );
    is_logical || is_converted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_every_digit() {
        for (whole, digits, text) in [
            (1234, 2, "12.34"),
            (-5, 3, "-0.005"),
            (0, 1, "0.0"),
            (7, 0, "7"),
            (i64::MIN, 18, "-9.223372036854775808"),
        ] {
            assert_eq!(with_point(whole, digits), text);
        }
    }

    #[test]
    fn whole_numbers_without_a_sign_keep_every_digit() {
        assert_eq!(Meaning::Unsigned.kept(-1), KeptCell::Text(u64::MAX.to_string()));
        assert_eq!(Meaning::Unsigned.kept(7), KeptCell::Integer(7));
        assert_eq!(Meaning::Signed.kept(i64::MAX), KeptCell::Integer(i64::MAX));
    }
}
