//! A finished model and the rows that it is applied to: what executors are told of them, and what they give back.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::model::ModelDescription;
use crate::schema::{Outputs, Schema};
use crate::setting::words;

/// Bytes that the answers of one partition may have.
pub const TABLE_BYTES_MAX: usize = 1 << 30;
/// Classes whose answers can be compared with labels: a table of all pairs is kept.
pub const COMPARED_CLASSES_MAX: usize = 1000;
/// Partitions that one application may have.
pub const PARTITIONS_MAX: u64 = 1 << 18;

/// A finished model, with all that is needed to use it on raw rows: broadcast once, in the place of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishedModel {
    /// How raw rows become rows of the network, and its outputs answers.
    pub schema: Schema,
    /// What makes answers of rows.
    pub network: FinishedNetwork,
}

/// What makes answers of rows. Its numbers stand behind the model in its blob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FinishedNetwork {
    /// Built-in layers, every value fixed; their weights are a safetensors file.
    Layers(ModelDescription),
    /// A graph of another program: an ONNX file, of standard operators alone.
    Graph(GraphDescription),
}

/// How a graph of another program is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphDescription {
    /// What it takes; the values of a row are handed out in this order.
    pub inputs: Vec<GraphInput>,
    /// How many rows it takes at a time, where it takes no other number.
    pub batch_rows: Option<u32>,
    /// Whether it takes the channels of an image before its height and width.
    pub channels_first: bool,
    /// The tensor that answers.
    pub output: String,
    /// What that says.
    pub reading: GraphReading,
}

/// An input of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphInput {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub number: GraphNumber,
    /// The sides of a row; none where a row is one number.
    pub sides: Vec<u32>,
}

impl GraphInput {
    /// Values of a row; as many as there are numbers of 64 bits, if there were more.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.sides.iter().fold(1, |values: u64, &side| values.saturating_mul(side.into()))
    }
}

/// What the values of an input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GraphNumber {
    /// Numbers of 32 bits.
    Float,
    /// Whole numbers of 32 bits.
    Integer,
    /// Bytes.
    Byte,
}

/// What the numbers of an answer say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GraphReading {
    /// What is predicted.
    Values,
    /// For each class, how probable it is, or how much speaks for it: the largest is the class.
    Probabilities,
    /// The same before a softmax.
    Scores,
    /// How probable the second of two classes is.
    Second,
    /// The same before a sigmoid.
    SecondScore,
}

impl FinishedModel {
    /// The blob that executors get: itself, and behind it its weights as a safetensors file, or its graph.
    ///
    /// # Errors
    /// [`CodecError::Encode`], if its columns and categories are too many.
    pub fn to_blob(&self, weights: &[u8]) -> Result<Vec<u8>, CodecError> {
        codec::encode_before(self, weights)
    }

    /// The model of a blob, and its weights or its graph.
    ///
    /// # Errors
    /// [`CodecError`], if the bytes are no such blob.
    pub fn of_blob(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        codec::decode_before(bytes)
    }
}

/// What a model is applied to, and what is wanted of its answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// The files of the input, in the order of their rows.
    pub files: Vec<InputFile>,
    /// The pieces that tasks take, in the order of their rows.
    pub partitions: Vec<Partition>,
    /// What is asked of each row beside the model's own columns.
    pub wanted: Wanted,
    /// The columns that are passed through.
    pub kept: Vec<KeptColumn>,
    /// What a partition's answers are written as.
    pub format: OutputFormat,
    /// Whether the probability of each class is written beside the class.
    pub with_probabilities: bool,
}

impl Application {
    /// Where a row of a partition is: the place of its file among all of the input, and its number there.
    #[must_use]
    pub fn place_of(&self, partition: &Partition, number: u64) -> (u32, u64) {
        match partition.portion {
            Portion::Pictures { .. } => (partition.file.saturating_add(u32::try_from(number).unwrap_or(u32::MAX)), 0),
            Portion::Whole | Portion::Rows | Portion::Groups { .. } | Portion::Lines { .. } => {
                (partition.file, number)
            }
        }
    }

    /// What tells a row by where it is, for rows without columns.
    pub fn placed(&self, partition: &Partition, number: u64) -> impl Iterator<Item = KeptCell> {
        let (file, row) = self.place_of(partition, number);
        self.kept.iter().map(move |column| match column.kind {
            KeptKind::Integer => i64::try_from(row).map_or(KeptCell::Missing, KeptCell::Integer),
            KeptKind::Text | KeptKind::Number | KeptKind::Flag => {
                let file = self.files.get(file as usize);
                file.map_or(KeptCell::Missing, |file| KeptCell::Text(file.path.clone()))
            }
        })
    }
}

/// A file of the input, as it was when it was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// From the root.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// When it was changed last, in nanoseconds since 1970.
    pub modified_ns: u64,
}

/// A piece of the input. It depends on the input alone, never on who works on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The place of its file in [`Application::files`]; of pictures, of the first one.
    pub file: u32,
    /// Which part of the file.
    pub portion: Portion,
    /// Its first row in its file, counted from 0.
    pub first_row: u64,
    /// How many there are, where that is known before they are read.
    pub rows: Option<u64>,
    /// What it takes beside others: its rows, or an estimate of them.
    pub cost: u64,
}

/// Which part of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Portion {
    /// All of it: it is packed, or its rows cannot be told apart without reading it.
    Whole,
    /// So many rows of an array, from the partition's first one on.
    Rows,
    /// Groups of rows of a Parquet file.
    Groups {
        /// The first one, counted from 0.
        first: u32,
        /// How many.
        count: u32,
    },
    /// Lines of a text: whole rows.
    Lines {
        /// The first byte.
        from: u64,
        /// The byte behind the last.
        until: u64,
        /// Lines of the file before these.
        lines_before: u64,
    },
    /// Pictures, one a file.
    Pictures {
        /// How many files.
        count: u32,
    },
}

impl Portion {
    /// How many files its rows are in.
    #[must_use]
    pub fn files(&self) -> usize {
        match *self {
            Self::Pictures { count } => count as usize,
            Self::Whole | Self::Rows | Self::Groups { .. } | Self::Lines { .. } => 1,
        }
    }
}

impl Partition {
    /// Its own among all files of the input; fewer where that has no more.
    #[must_use]
    pub fn own<'f>(&self, files: &'f [InputFile]) -> &'f [InputFile] {
        let behind = files.get(self.file as usize..).unwrap_or_default();
        &behind[..behind.len().min(self.portion.files())]
    }
}

/// What is asked of each row beside the model's own columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Columns that are passed through, by name.
    pub keep: Vec<String>,
    /// The column that holds what should have been answered.
    pub labels: Option<String>,
}

/// A column that is passed through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptColumn {
    /// Its name.
    pub name: String,
    /// What its cells are.
    pub kind: KeptKind,
}

/// What the cells of a column are that is passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeptKind {
    /// Text, as files of text have it.
    Text,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// Yes or no.
    Flag,
}

/// A cell that is passed through.
#[derive(Clone, Debug, PartialEq)]
pub enum KeptCell {
    /// Nothing.
    Missing,
    /// As the file has it.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Yes or no.
    Flag(bool),
}

impl KeptKind {
    /// What cells are that have one or the other kind.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        if self == other { self } else { Self::Text }
    }
}

impl KeptCell {
    /// The same in a column of this kind, which is its own or text.
    #[must_use]
    pub fn of_kind(self, kind: KeptKind) -> Self {
        match (kind, self) {
            (KeptKind::Text, Self::Integer(number)) => Self::Text(number.to_string()),
            (KeptKind::Text, Self::Number(number)) => Self::Text(number.to_string()),
            (KeptKind::Text, Self::Flag(flag)) => Self::Text(flag.to_string()),
            (_, cell) => cell,
        }
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let letters = if let Self::Text(text) = self { text.len() } else { 0 };
        size_of::<Self>() + letters
    }
}

/// What answers are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// Parquet.
    Parquet,
    /// Comma-separated values, with a header line.
    Csv,
    /// A JSON object a line.
    #[serde(rename = "jsonl")]
    JsonLines,
}

words!(OutputFormat { Parquet => "parquet", Csv => "csv", JsonLines => "jsonl" });

/// What came out of a partition beside the answers themselves: both are the artifact of its attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Rows that were answered.
    pub rows: u64,
    /// The columns of the answers, where a program chose them.
    pub columns: Vec<KeptColumn>,
    /// Rows that could not be read.
    pub bad_rows: u64,
    /// The first of these, at most [`BAD_ROWS_TOLD_MAX`].
    pub bad: Vec<BadRow>,
    /// How the answers compare with the labels, where there are some.
    pub tally: Option<LabelTally>,
    /// The rows whose answers are furthest from their labels, the furthest first; at most [`FAR_ROWS_MAX`].
    pub far: Vec<FarRow>,
}

impl Applied {
    /// The artifact: itself, and behind it the answers as a file of the output.
    ///
    /// # Errors
    /// [`CodecError::Encode`], if it is too large.
    pub fn to_artifact(&self, table: &[u8]) -> Result<Vec<u8>, CodecError> {
        codec::encode_before(self, table)
    }

    /// What an artifact tells, and the answers behind it.
    ///
    /// # Errors
    /// [`CodecError`], if the bytes are no such artifact.
    pub fn of_artifact(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        codec::decode_before(bytes)
    }
}

/// Rows of one partition that could not be read, and are told one by one.
pub const BAD_ROWS_TOLD_MAX: usize = 10_000;

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Its number in its file, counted from 0; of a picture, its place among those of the partition.
    pub row: u64,
    /// Where that is: file and line, as errors name it.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Rows of one partition, and of the whole, that are told since their answers are far from their labels.
pub const FAR_ROWS_MAX: usize = 20;

/// A row whose answer is far from its label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FarRow {
    /// The place of its file among those of the input.
    pub file: u32,
    /// Its number there, counted from 0.
    pub row: u64,
    /// What should have been answered: the number of a class, or a value (of several, the one that is furthest off).
    pub wanted: f64,
    /// What was answered.
    pub answered: f64,
    /// How far that is: `-ln p` of the wanted class, or the difference in the units of the files.
    pub distance: f64,
}

/// How answers compare with labels. Tallies of partitions are added in the order of the partitions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LabelTally {
    /// How often each class was answered where each was wanted: `counts[wanted * classes + answered]`.
    Classes {
        /// How many classes.
        classes: u32,
        /// Row after row.
        counts: Vec<u64>,
        /// The sum of `-ln p` of the wanted class.
        loss: f64,
    },
    /// Over all outputs, in the units of the files.
    Values {
        /// Rows with labels.
        rows: u64,
        /// For each output, the sum of squared differences.
        squared: Vec<f64>,
        /// For each output, the sum of differences without their sign.
        absolute: Vec<f64>,
    },
}

impl LabelTally {
    /// Nothing yet, for answers of this kind.
    #[must_use]
    pub fn of(outputs: &Outputs) -> Self {
        match outputs {
            Outputs::Classes { names, .. } => {
                let classes = names.len() as u32;
                Self::Classes { classes, counts: vec![0; names.len() * names.len()], loss: 0.0 }
            }
            Outputs::Values { names, .. } => {
                Self::Values { rows: 0, squared: vec![0.0; names.len()], absolute: vec![0.0; names.len()] }
            }
        }
    }

    /// Adds another one of the same kind; one of another kind, which a confused executor may send, changes nothing.
    pub fn add(&mut self, other: &Self) {
        match (self, other) {
            (
                Self::Classes { classes, counts, loss },
                Self::Classes { classes: more, counts: others, loss: other },
            ) if classes == more && counts.len() == others.len() => {
                counts.iter_mut().zip(others).for_each(|(count, other)| *count = count.saturating_add(*other));
                *loss += other;
            }
            (
                Self::Values { rows, squared, absolute },
                Self::Values { rows: more, squared: others, absolute: distances },
            ) if squared.len() == others.len() && absolute.len() == distances.len() => {
                *rows = rows.saturating_add(*more);
                squared.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
                absolute.iter_mut().zip(distances).for_each(|(sum, other)| *sum += other);
            }
            _ => {}
        }
    }

    /// Rows with labels.
    #[must_use]
    pub fn rows(&self) -> u64 {
        match self {
            Self::Classes { counts, .. } => counts.iter().fold(0, |sum, count| sum.saturating_add(*count)),
            Self::Values { rows, .. } => *rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(counts: [u64; 4], loss: f64) -> LabelTally {
        LabelTally::Classes { classes: 2, counts: counts.to_vec(), loss }
    }

    #[test]
    fn tallies_of_one_kind_add_up_and_others_change_nothing() {
        let mut tally = LabelTally::of(&Outputs::Classes { column: None, names: vec!["a".into(), "b".into()] });
        tally.add(&classes([1, 2, 3, 4], 0.5));
        tally.add(&classes([10, 0, 0, u64::MAX], 0.25));
        let values = LabelTally::Values { rows: 1, squared: vec![4.0], absolute: vec![2.0] };
        tally.add(&values);
        tally.add(&LabelTally::Classes { classes: 2, counts: vec![1], loss: 9.0 });
        assert_eq!((tally.clone(), tally.rows()), (classes([11, 2, 3, u64::MAX], 0.75), u64::MAX));
        let mut sum = values.clone();
        sum.add(&values);
        sum.add(&tally);
        assert_eq!(sum, LabelTally::Values { rows: 2, squared: vec![8.0], absolute: vec![4.0] });
    }

    #[test]
    fn an_artifact_is_read_back_and_what_is_none_is_refused() {
        let applied = Applied { rows: 3, bad_rows: 1, tally: Some(classes([1, 0, 0, 2], 0.1)), ..Applied::default() };
        let bytes = applied.to_artifact(b"a,b\n").unwrap();
        assert_eq!(Applied::of_artifact(&bytes).unwrap(), (applied, &b"a,b\n"[..]));
        assert!(Applied::of_artifact(&bytes[..20]).is_err());
    }
}
