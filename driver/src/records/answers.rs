//! What a model answered to the rows that it was applied to, as plain data: `applied.json` in the folder of its run.

use serde::{Deserialize, Serialize};

/// The file of the run's folder that has it: where that stands, the output is committed.
pub const APPLIED: &str = "applied.json";

/// What a model answered, counted and compared with labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswersRecord {
    /// The folder that has the answers.
    pub output: String,
    /// Rows that were answered.
    pub rows: u64,
    /// Rows that could not be read.
    pub bad_rows: u64,
    /// Files of the input.
    pub files: u64,
    /// Partitions that it was cut into.
    pub partitions: u64,
    /// Seconds from the run's start to its end.
    pub wall_s: f64,
    /// Rows that were answered in a second.
    pub rows_per_s: u64,
    /// Rows with labels, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled_rows: Option<u64>,
    /// How the answers compare with these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelsRecord>,
    /// The rows whose answers are furthest off, the furthest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<Vec<FarRecord>>,
}

/// How answers compare with labels. What no row tells of is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelsRecord {
    /// The fraction of rows that was answered wrongly, or the root mean square error over all outputs.
    pub error: Option<f64>,
    /// The mean of `-ln p` of the wanted class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// In the order of the model's classes; none where it answers values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassRecord>,
    /// Rows by the class that was wanted, then by the one that was answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confusion: Vec<Vec<u64>>,
    /// In the order of the model's values; none where it tells classes apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputRecord>,
}

/// How one class was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassRecord {
    /// Its name.
    pub class: String,
    /// Rows of it.
    pub rows: u64,
    /// Of the rows that were answered so, the share that is so.
    pub precision: Option<f64>,
    /// Of the rows that are so, the share that was answered so.
    pub recall: Option<f64>,
    /// The harmonic mean of both.
    pub f1: Option<f64>,
}

/// How one value was answered, in the units of the files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputRecord {
    /// Its name.
    pub output: String,
    /// The root mean square error.
    pub rmse: Option<f64>,
    /// The mean absolute error.
    pub mae: Option<f64>,
}

/// A row whose answer is far from its label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FarRecord {
    /// Its file.
    pub file: String,
    /// Its number there, from 0.
    pub row: u64,
    /// Its label.
    pub wanted: Told,
    /// What was answered.
    pub answered: Told,
    /// `-ln p` of the wanted class, or the difference in the units of the files; absent where it has no end.
    pub distance: Option<f64>,
}

/// A label or an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Told {
    /// A class.
    Class(String),
    /// A value; absent where it is no number.
    Value(Option<f64>),
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Class(name) => f.write_str(name),
            Self::Value(Some(value)) => write!(f, "{value}"),
            Self::Value(None) => f.write_str("no number"),
        }
    }
}

impl AnswersRecord {
    /// As `applied.json` has it.
    ///
    /// # Errors
    /// [`serde_json::Error`]: none, as it is plain data.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// What a file has; nothing where it is damaged, or of another version.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_what_no_row_tells_of_is_absent() {
        let far = FarRecord {
            file: "/data/größe.csv".to_owned(),
            row: 7,
            wanted: Told::Class("red".to_owned()),
            answered: Told::Value(Some(0.1)),
            distance: None,
        };
        let class = ClassRecord { class: "red".to_owned(), rows: 0, precision: None, recall: Some(0.5), f1: None };
        let labels = LabelsRecord {
            error: Some(0.25),
            loss: None,
            classes: vec![class],
            confusion: vec![vec![0]],
            outputs: Vec::new(),
        };
        let plain = AnswersRecord {
            output: "/out".to_owned(),
            rows: 3,
            bad_rows: 1,
            files: 1,
            partitions: 2,
            wall_s: 0.5,
            rows_per_s: 6,
            labelled_rows: None,
            labels: None,
            worst: None,
        };
        let labelled =
            AnswersRecord { labelled_rows: Some(2), labels: Some(labels), worst: Some(vec![far]), ..plain.clone() };
        for record in [plain, labelled] {
            assert_eq!(AnswersRecord::read(record.to_json().unwrap().as_bytes()), Some(record));
        }
        assert_eq!(AnswersRecord::read(b"{\"rows\": 3"), None);
    }
}
