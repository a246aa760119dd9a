//! The study file: read, checked, and the configurations that it asks for.
//!
//! | module | holds |
//! |---|---|
//! | `diagnostic` | an error with its line and carets |
//! | `reader` | TOML values that know their place |
//! | `file` | [`parse`]: the file from its first key to its last |
//! | `data`, `model`, `training`, `search`, `space` | one table of the file each |
//! | `setting` | what a setting accepts, fixed or searched |
//! | `sample` | the grid and the random draws |
//!
//! It takes text: reading the file, and the files that it names, is done elsewhere.

mod data;
mod diagnostic;
mod file;
mod model;
mod reader;
mod sample;
mod search;
mod setting;
mod space;
#[cfg(test)]
mod tests;
mod training;

use std::collections::BTreeMap;
use std::path::PathBuf;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::model::ModelDescription;
use broadsweep_common::task::{Select, StudyDescription};
use broadsweep_common::training::TrainingDescription;

use self::diagnostic::Source;
use self::file::Spans;

pub use self::diagnostic::Diagnostic;
pub use self::file::parse;

/// A checked study: nothing in it is out of range or refers to nothing.
#[derive(Clone, Debug)]
pub struct Study {
    /// Names the run folder: letters, digits, `-` and `_`.
    pub name: String,
    /// All random numbers of the study come from it; 0 unless the study says otherwise.
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
    /// When a trial is given up.
    pub scheduling: Scheduling,
    source: Source,
    spans: Spans,
}

impl Study {
    /// What executors need to know of the study besides its data.
    #[must_use]
    pub fn description(&self) -> StudyDescription {
        let watched = self.data.test == TestUse::All || self.search.select == Select::Test;
        StudyDescription {
            seed: self.seed,
            model: self.model.clone(),
            training: self.training.clone(),
            select: self.search.select,
            test_every_trial: watched,
        }
    }

    /// The configurations, each once; trial `n` trains number `n`. The control comes first; then the sampler's, in
    /// its order. A grid takes the parameters in the order of their names, the last one fastest; a random search
    /// makes `trials` different draws (the control counts only if it is drawn too). Without a search there is one
    /// trial, with the empty configuration.
    ///
    /// # Errors
    /// [`Diagnostic`] if a random search did not find so many different configurations.
    pub fn configurations(&self) -> Result<Vec<Configuration>, Diagnostic> {
        let sampled = match self.search.sampler {
            SamplerKind::Grid => sample::grid(&self.search.space),
            SamplerKind::Random { trials } => {
                let drawn = sample::random(self.seed, &self.search.space, trials);
                if drawn.len() < trials as usize {
                    let message = format!("only {} different configurations were drawn; ask for fewer", drawn.len());
                    return Err(self.at("search.trials", message));
                }
                drawn
            }
        };
        let Some(control) = &self.control else { return Ok(sampled) };
        let others = sampled.into_iter().filter(|configuration| configuration != control);
        Ok(std::iter::once(control.clone()).chain(others).collect())
    }

    /// An error at a layer, counted from 0: what only shows once the data's shape is known.
    #[must_use]
    pub fn at_layer(&self, layer: usize, message: impl AsRef<str>) -> Diagnostic {
        self.at(&format!("model.layers.{layer}"), message)
    }

    /// An error at the value that stands at `path`, as in `data.train_labels` or `training.batch_size`; if the
    /// study leaves it out, at the table around it.
    #[must_use]
    pub fn at(&self, path: &str, message: impl AsRef<str>) -> Diagnostic {
        let mut path = path;
        loop {
            if let Some(span) = self.spans.get(path) {
                return self.source.error(span, message);
            }
            match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return self.source.error(&(0..0), message),
            }
        }
    }

    /// The study file's text, as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.source.text
    }
}

/// The `[scheduling]` table: when a trial is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// Failures of the training itself before a trial is given up.
    pub failures_max: u32,
    /// Executors that a trial may lose, without a new checkpoint, before it is given up.
    pub losses_max: u32,
    /// Wait before the second attempt; doubles at each further one.
    pub backoff_ms: u64,
}

impl Default for Scheduling {
    fn default() -> Self {
        Self { failures_max: 4, losses_max: 3, backoff_ms: 1000 }
    }
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
    /// `NumPy` arrays, one a file; a `.gz` is unpacked.
    Npy(PartPaths),
    /// `NumPy` arrays in one archive.
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

impl DataSource {
    /// Whether there are test rows.
    #[must_use]
    pub fn has_test(&self) -> bool {
        match self {
            Self::Idx(paths) | Self::Npy(paths) => paths.test.is_some(),
            Self::Npz { arrays, .. } => arrays.test.is_some(),
            Self::Csv { test_file, .. } => test_file.is_some(),
        }
    }
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

/// `scaling`: how features are scaled while a batch is gathered. Unwritten, pixels (idx) are scaled to `unit` and
/// everything else is left as it is.
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
    /// So many different draws; from the `count` values of a range where it has one.
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
