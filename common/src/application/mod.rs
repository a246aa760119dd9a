//! A finished model and the rows that it is applied to: what executors are told of them, and what they give back.
//!
//! | module | holds |
//! |---|---|
//! | `finished` | the model, broadcast in the place of a data set |
//! | `answered` | what came out of a partition, and how that compares with labels |
//!
//! The application itself is here: its files, their pieces, and what is passed on of each row.

mod answered;
mod finished;

use serde::{Deserialize, Serialize};

use crate::setting::words;

pub use answered::{Applied, BAD_ROWS_TOLD_MAX, BadRow, FAR_ROWS_MAX, FarRow, LabelTally};
pub use finished::{FinishedModel, FinishedNetwork, GraphDescription, GraphInput, GraphNumber, GraphReading};

/// Bytes that the answers of one partition may have.
pub const TABLE_BYTES_MAX: usize = 1 << 30;
/// Classes whose answers can be compared with labels: a table of all pairs is kept.
pub const COMPARED_CLASSES_MAX: usize = 1000;
/// Partitions that one application may have.
pub const PARTITIONS_MAX: u64 = 1 << 18;

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
    /// From the root, or an address.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// When it was changed last, in nanoseconds since 1970.
    pub modified_ns: u64,
    /// Of an object of a store, what it would have another one of if it were changed; of a file, nothing.
    pub tag: String,
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
