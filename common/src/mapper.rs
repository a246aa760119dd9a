//! Somebody's own program that rows are mapped through, in the place of a model: what executors are told of it.

use serde::{Deserialize, Serialize};

use crate::application::{Application, KeptColumn};
use crate::program::Word;
use crate::schema::Schema;

/// What a column is called that has the values of an array or a picture.
pub const VALUES: &str = "values";
/// Rows that a program may be given together.
pub const BATCH_ROWS_MAX: u32 = 1 << 16;

/// A program, and the rows that are mapped through it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapperDescription {
    /// The program, and what follows it. No shell sees them.
    pub command: Vec<Word>,
    /// A folder whose `bin` comes first where programs are looked for: a virtual environment, or one of conda.
    pub env_prefix: Option<String>,
    /// Rows that it is given together, at most.
    pub batch_rows: u32,
    /// How long it may take no rows and give no answers, in milliseconds.
    pub silent_ms: u64,
    /// Disk that its working folder may take.
    pub disk_bytes: u64,
    /// How rows are read: the shape of those of arrays and pictures, and no columns of tables, which are all passed on.
    pub schema: Schema,
    /// What the values of arrays and pictures are; tables have none.
    pub values: Option<ValueKind>,
    /// The places of the columns that it is given, among those of the application.
    pub given: Vec<u32>,
    /// The places of those that stand beside its answers.
    pub passed_on: Vec<u32>,
    /// The rows. Its columns are those that are read, or of arrays and pictures those that tell where a row is.
    pub application: Application,
}

/// What the values of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueKind {
    /// Whole numbers from 0 to 255.
    Byte,
    /// Numbers of 32 bits.
    Single,
    /// Numbers of 64 bits.
    Double,
}

impl MapperDescription {
    /// The columns that the program is given, but for the values of an array.
    pub fn given(&self) -> impl Iterator<Item = &KeptColumn> {
        self.columns(&self.given)
    }

    /// The columns that stand beside its answers.
    pub fn passed_on(&self) -> impl Iterator<Item = &KeptColumn> {
        self.columns(&self.passed_on)
    }

    /// Those that are there, of these places.
    fn columns<'a>(&'a self, places: &'a [u32]) -> impl Iterator<Item = &'a KeptColumn> {
        places.iter().filter_map(|&place| self.application.kept.get(place as usize))
    }
}
