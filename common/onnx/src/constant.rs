//! Tensors that do not change: their numbers and texts, wherever the format keeps them.

use crate::error::{OnnxError, shown};
use crate::messages::{BOOL, DOUBLE, FLOAT, INT32, INT64, STRING, TensorMessage};

/// What a tensor holds.
impl TensorMessage {
    /// How many values its sides hold; `None` if that is no number.
    pub(crate) fn values(&self) -> Option<usize> {
        let side = |side: &i64| usize::try_from(*side).ok();
        self.dims.iter().try_fold(1_usize, |values, dim| values.checked_mul(side(dim)?))
    }

    /// Its numbers, in 64 bits.
    pub(crate) fn numbers(&self) -> Result<Vec<f64>, OnnxError> {
        let kind = self.data_type.unwrap_or_default();
        let raw = self.raw_data.as_deref();
        let numbers: Vec<f64> = match (kind, raw) {
            (FLOAT, Some(raw)) => words(raw, |word| f64::from(f32::from_le_bytes(word))),
            (FLOAT, None) => self.float_data.iter().map(|&number| f64::from(number)).collect(),
            (DOUBLE, Some(raw)) => words(raw, f64::from_le_bytes),
            (DOUBLE, None) => self.double_data.clone(),
            (INT64, Some(raw)) => words(raw, |word| i64::from_le_bytes(word) as f64),
            (INT64, None) => self.int64_data.iter().map(|&number| number as f64).collect(),
            (INT32, Some(raw)) => words(raw, |word| f64::from(i32::from_le_bytes(word))),
            (BOOL, Some(raw)) => raw.iter().map(|&flag| f64::from(flag)).collect(),
            (INT32 | BOOL, None) => self.int32_data.iter().map(|&number| f64::from(number)).collect(),
            _ => return Err(self.wrong("it has no numbers that are known here")),
        };
        if Some(numbers.len()) == self.values() {
            Ok(numbers)
        } else {
            Err(self.wrong("its sides do not fit its values"))
        }
    }

    /// What a list of names has: its texts, or its whole numbers as they are written.
    pub(crate) fn names(&self) -> Result<Vec<String>, OnnxError> {
        match self.data_type {
            Some(STRING) => {
                Ok(self.string_data.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
            }
            _ => Ok(self.numbers()?.into_iter().map(|number| number.to_string()).collect()),
        }
    }

    fn wrong(&self, what: &str) -> OnnxError {
        OnnxError::Damaged(format!("the tensor `{}`: {what}", shown(self.name.as_deref().unwrap_or_default())))
    }
}

fn words<const BYTES: usize>(raw: &[u8], number: impl Fn([u8; BYTES]) -> f64) -> Vec<f64> {
    raw.as_chunks().0.iter().map(|&word| number(word)).collect()
}
