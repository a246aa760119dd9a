//! The study file: read, checked, and the configurations that it asks for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::model::ModelDescription;
use broadsweep_common::task::Select;
use broadsweep_common::training::TrainingDescription;

/// A checked study: nothing in it is out of range or refers to nothing.
#[derive(Clone, Debug)]
pub struct Study {
    /// Names the run folder: letters, digits, `-` and `_`.
    pub name: String,
    /// All random numbers of the study come from it.
    pub seed: u64,
    /// Where the data is and how it is read.
    pub data: DataSettings,
    /// The layers, with searched settings open.
    pub model: ModelDescription,
    /// The training, with searched settings open.
    pub training: TrainingDescription,
    /// What is searched, and how.
    pub search: Search,
    /// The default configuration that the search is compared with.
    pub control: Option<Configuration>,
}

/// The `[data]` table.
#[derive(Clone, Debug)]
pub struct DataSettings {
    /// The files, by format.
    pub source: DataSource,
    /// Shape of one row: 1 side, or `(height, width, channels)`. By default what the file says.
    pub shape: Option<Vec<u32>>,
    /// Training rows that are drawn (by the study's seed) and held out for validation.
    pub validation_rows: u64,
    /// How features are scaled.
    pub scaling: ScalingKind,
    /// When the test rows are looked at.
    pub test: TestUse,
}

/// Paths are as written in the study; relative ones start at the study file's folder.
#[derive(Clone, Debug)]
pub enum DataSource {
    /// IDX files, as MNIST comes; a `.gz` is unpacked.
    Idx(PartPaths),
    /// NumPy arrays, one a file; a `.gz` is unpacked.
    Npy(PartPaths),
    /// NumPy arrays in one archive.
    Npz {
        /// The archive.
        file: PathBuf,
        /// Names of the arrays in it, with or without `.npy`.
        arrays: PartNames,
    },
    /// Comma-separated tables with a header line; a `.gz` is unpacked.
    Csv {
        /// Training (and validation) rows.
        train_file: PathBuf,
        /// Test rows.
        test_file: Option<PathBuf>,
        /// The target's column.
        label_column: String,
        /// The features' columns, in order; by default all others.
        feature_columns: Option<Vec<String>>,
    },
}

/// The four arrays of a data set, as paths or as names in an archive.
#[derive(Clone, Debug)]
pub struct PartArrays<T> {
    /// `(rows, ...)`.
    pub train_features: T,
    /// `(rows,)`, or `(rows, outputs)` for squared error.
    pub train_labels: T,
    /// Test features and labels; both or neither.
    pub test: Option<(T, T)>,
}

/// The four arrays as files.
pub type PartPaths = PartArrays<PathBuf>;
/// The four arrays as names in an archive.
pub type PartNames = PartArrays<String>;

/// `scaling`: how features are scaled while a batch is gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalingKind {
    /// Left as they are.
    None,
    /// To 0 .. 1: pixels by 255, numbers by the least and largest of the training rows (all features together).
    Unit,
    /// To -0.5 .. 0.5, likewise.
    Centered,
    /// Each feature to mean 0 and variance 1 over the training rows; a constant feature to 0.
    Standard,
}

/// `[data] test`: when the test rows are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestUse {
    /// Once, after the search: for the best and the control.
    Winner,
    /// After every epoch of every trial: a column, never used to choose unless `select = "test"`.
    All,
}

/// The `[search]` table.
#[derive(Clone, Debug)]
pub struct Search {
    /// Which configurations are tried.
    pub sampler: SamplerKind,
    /// The part of the data by whose error trials are compared.
    pub select: Select,
    /// Each parameter's values, by name.
    pub space: BTreeMap<String, Domain>,
}

/// Which configurations are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplerKind {
    /// Every combination of the values of all parameters.
    Grid,
    /// So many different draws.
    Random {
        /// Number of draws.
        trials: u32,
    },
}

/// The values that one parameter can take.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// One of these, in this order in a grid.
    Values(Vec<Value>),
    /// Whole numbers from `min` to `max`, both included.
    Integers {
        /// Least.
        min: i64,
        /// Largest.
        max: i64,
        /// Evenly in the logarithm.
        log: bool,
        /// Values in a grid, ends included.
        count: Option<u32>,
    },
    /// Numbers from `min` to `max`.
    Reals {
        /// Least.
        min: f64,
        /// Largest.
        max: f64,
        /// Evenly in the logarithm.
        log: bool,
        /// Values in a grid, ends included.
        count: Option<u32>,
    },
}
