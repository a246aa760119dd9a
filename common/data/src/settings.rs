//! What `[data]` asks for.

use std::path::PathBuf;

use broadsweep_common::dataset::Part;
use broadsweep_common::model::Loss;
use broadsweep_common::schema::Dialect;

/// The `[data]` table. Paths are as written in the study; relative ones start at the study file's folder.
#[derive(Clone, Debug)]
pub struct DataSettings {
    /// The files, by format.
    pub source: DataSource,
    /// Shape of one row: 1 side, or `(height, width, channels)`. By default what the file says.
    pub shape: Option<Vec<u32>>,
    /// How files lay out images; unwritten, channels last.
    pub layout: Option<ImageLayout>,
    /// Training rows that are drawn (by the study's seed) and held out for validation.
    pub validation: HeldOut,
    /// Training rows that are drawn after these, and become the test rows.
    pub test_rows: HeldOut,
    /// Whether each class is held out in its share. Unwritten: shares are, counts are not.
    pub stratified: Option<bool>,
    /// How features are scaled: for a program not at all.
    pub scaling: ScalingKind,
    /// What scaling to `unit` takes for 0 and 1, instead of the least and largest of the training rows.
    pub range: Option<[f64; 2]>,
    /// Whether targets of a regression get mean 0 and variance 1 in training.
    pub scales_targets: bool,
    /// What is done about missing values.
    pub missing: Missing,
    /// What labels are.
    pub labels: LabelKind,
    /// When the test rows are looked at.
    pub test: TestUse,
    /// Whether rows go to a program: as the files have them, and with the classes' own numbers where it can be.
    pub for_program: bool,
}

impl DataSettings {
    /// The data of `source`, read as a study without further keys reads it.
    #[must_use]
    pub fn of(source: DataSource) -> Self {
        Self {
            source,
            shape: None,
            layout: None,
            validation: HeldOut::NONE,
            test_rows: HeldOut::NONE,
            stratified: None,
            scaling: ScalingKind::None,
            range: None,
            scales_targets: true,
            missing: Missing::Error,
            labels: LabelKind::Classes,
            test: TestUse::Winner,
            for_program: false,
        }
    }

    /// Whether there are validation rows.
    #[must_use]
    pub fn has_validation(&self) -> bool {
        self.validation != HeldOut::NONE || self.source.names(Extra::Validation)
    }

    /// Whether there are test rows.
    #[must_use]
    pub fn has_test(&self) -> bool {
        self.test_rows != HeldOut::NONE || self.source.names(Extra::Test)
    }
}

/// How many rows are held out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HeldOut {
    /// So many.
    Count(u64),
    /// This share of them, above 0 and below 1; of a share of a row, the nearest number of rows, or fewer where classes or groups do not allow so many.
    Share(f64),
}

impl HeldOut {
    /// No row.
    pub const NONE: Self = Self::Count(0);

    /// How many of `rows` rows.
    #[must_use]
    pub fn of(self, rows: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Share(share) => (share * rows as f64).round() as u64,
        }
    }
}

/// Where the channels of an image stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageLayout {
    /// `(rows, height, width, channels)`.
    ChannelsLast,
    /// `(rows, channels, height, width)`.
    ChannelsFirst,
}

/// What is done about missing values: empty cells, words such as `NA`, and NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The first one ends the reading.
    Error,
    /// Their column's mean over the training rows; of a text column, none of its categories.
    Mean,
    /// Their row is left out.
    Drop,
}

/// The files, by format.
#[derive(Clone, Debug)]
pub enum DataSource {
    /// IDX files, as MNIST comes.
    Idx(PartPaths),
    /// `NumPy` arrays, one a file.
    Npy(PartPaths),
    /// `NumPy` arrays in archives.
    Npz {
        /// The archives; of arrays of one name the rows follow one another.
        files: PartFiles,
        /// Names of the arrays in them, with or without `.npy`.
        arrays: PartNames,
    },
    /// Tables.
    Table(TableSource),
    /// Folders of pictures, a folder for each class.
    Images {
        /// The folder of the training rows.
        train: PathBuf,
        /// That of the validation rows.
        validation: Option<PathBuf>,
        /// That of the test rows.
        test: Option<PathBuf>,
    },
}

/// Rows that may have files of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Validation rows.
    Validation,
    /// Test rows.
    Test,
}

impl DataSource {
    /// Whether the study names files or arrays with such rows.
    #[must_use]
    pub fn names(&self, extra: Extra) -> bool {
        fn of<T>(arrays: &PartArrays<T>, extra: Extra) -> bool {
            match extra {
                Extra::Validation => arrays.validation.is_some(),
                Extra::Test => arrays.test.is_some(),
            }
        }
        match self {
            Self::Idx(paths) | Self::Npy(paths) => of(paths, extra),
            Self::Npz { arrays, .. } => of(arrays, extra),
            Self::Table(TableSource { files, .. }) => match extra {
                Extra::Validation => files.validation.is_some(),
                Extra::Test => files.test.is_some(),
            },
            Self::Images { validation, test, .. } => match extra {
                Extra::Validation => validation.is_some(),
                Extra::Test => test.is_some(),
            },
        }
    }
}

/// Tables: text with a delimiter, or Parquet.
#[derive(Clone, Debug)]
pub struct TableSource {
    /// Their files.
    pub files: PartFiles,
    /// How the text is written; Parquet says all of it itself.
    pub format: TableFormat,
    /// The target's column.
    pub label_column: ColumnName,
    /// The features' columns, in order; by default all others.
    pub feature_columns: Option<Vec<ColumnName>>,
    /// Columns that are no features.
    pub leave_out: Vec<ColumnName>,
    /// The column whose equal values stay together when rows are held out.
    pub group_column: Option<ColumnName>,
    /// Columns whose values are words even if they look like numbers.
    pub category_columns: Vec<ColumnName>,
    /// Words that a text column may have.
    pub categories_max: u32,
}

/// How a table is written.
#[derive(Clone, Debug, PartialEq)]
pub enum TableFormat {
    /// Text.
    Text(Dialect),
    /// Parquet.
    Parquet,
}

/// What a study calls a column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColumnName {
    /// By its name.
    Name(String),
    /// By its number, from 1.
    Number(usize),
}

/// The files of each part of the rows.
#[derive(Clone, Debug)]
pub struct PartFiles {
    /// Training rows, of which some may be held out.
    pub train: Vec<PathBuf>,
    /// Validation rows of their own.
    pub validation: Option<Vec<PathBuf>>,
    /// Test rows.
    pub test: Option<Vec<PathBuf>>,
}

impl PartFiles {
    /// All files, and the part that each is of.
    pub fn each(&self) -> impl Iterator<Item = (Part, &PathBuf)> {
        let of = |part| move |file| (part, file);
        let train = self.train.iter().map(of(Part::Train));
        let validation = self.validation.iter().flatten().map(of(Part::Validation));
        train.chain(validation).chain(self.test.iter().flatten().map(of(Part::Test)))
    }
}

/// The arrays of a data set, as paths or as names in an archive. The rows of several follow one another.
#[derive(Clone, Debug)]
pub struct PartArrays<T> {
    /// Training rows, of which some may be held out.
    pub train: ArrayPair<T>,
    /// Validation rows of their own.
    pub validation: Option<ArrayPair<T>>,
    /// Test rows.
    pub test: Option<ArrayPair<T>>,
    /// A number for each training row: rows with the same one stay together when rows are held out.
    pub groups: Option<Vec<T>>,
}

impl<T> PartArrays<T> {
    /// The arrays of each part that there is.
    pub fn pairs(&self) -> impl Iterator<Item = (Part, &ArrayPair<T>)> {
        let extra = [(Part::Validation, &self.validation), (Part::Test, &self.test)];
        let extra = extra.into_iter().filter_map(|(part, pair)| pair.as_ref().map(|pair| (part, pair)));
        std::iter::once((Part::Train, &self.train)).chain(extra)
    }
}

/// Features and their labels.
#[derive(Clone, Debug)]
pub struct ArrayPair<T> {
    /// `(rows, ...)`.
    pub features: Vec<T>,
    /// `(rows,)`, or `(rows, outputs)` for squared error.
    pub labels: Vec<T>,
}

/// Arrays as files.
pub type PartPaths = PartArrays<PathBuf>;
/// Arrays as names in an archive.
pub type PartNames = PartArrays<String>;

/// `scaling`: how features are scaled. The columns of a table, and of an array whose rows are no images, each by
/// themselves; all values of images together. Unwritten, pixels (idx, pictures) are scaled to `unit` and everything else is left as
/// it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalingKind {
    /// Left as they are.
    None,
    /// To 0 .. 1, from the least and largest of the training rows, or from `range`; bytes of images (idx, pictures) from 0 .. 255.
    Unit,
    /// To -0.5 .. 0.5, likewise.
    Centered,
    /// To mean 0 and variance 1 over the training rows; what is constant to 0.
    Standard,
}

impl ScalingKind {
    /// As a study writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unit => "unit",
            Self::Centered => "centered",
            Self::Standard => "standard",
        }
    }
}

/// What labels are: a network's loss says it, and else `[data] labels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// One class a row.
    Classes,
    /// One number a row, or several.
    Numbers,
}

impl LabelKind {
    /// What a loss is taken over.
    #[must_use]
    pub fn of(loss: Loss) -> Self {
        match loss {
            Loss::CrossEntropy => Self::Classes,
            Loss::MeanSquaredError => Self::Numbers,
        }
    }

    /// The loss over them.
    #[must_use]
    pub fn loss(self) -> Loss {
        match self {
            Self::Classes => Loss::CrossEntropy,
            Self::Numbers => Loss::MeanSquaredError,
        }
    }
}

/// `[data] test`: when the test rows are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestUse {
    /// Once, after the search: for the best and the control.
    Winner,
    /// After every epoch of every trial: a column, never used to choose unless `select = "test"`.
    All,
}
