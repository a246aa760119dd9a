//! What can be wrong with data files, each with the place and with what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broadsweep_common::dataset::DatasetError;
use broadsweep_common::room;
use broadsweep_store::StoreError;

use super::files::FileError;
use broadsweep_common::printable::printable;

/// Classes that labels may have.
pub(super) const CLASSES_MAX: u32 = 65_536;
/// Names that an error lists before it only counts the rest.
const NAMES_LISTED_MAX: usize = 20;
/// Bytes of the longest name that is compared with the one that was asked for.
const NAME_BYTES_MAX: usize = 256;
/// Letters of a name or of a bad field that a message shows.
const LETTERS_SHOWN_MAX: usize = 40;
/// Similarity (Damerau and Levenshtein, 0 to 1) from which a name is offered as the one that was meant.
const SIMILARITY_MIN: f64 = 0.6;

/// What to do where nothing more can be written.
fn advice(error: &io::Error) -> String {
    if room::is_full(error) { format!("; {}", room::advice(error)) } else { String::new() }
}

/// A data file, or one array of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, from the study's folder.
    pub path: Arc<Path>,
    /// The array, in an archive.
    pub array: Option<Arc<String>>,
    /// Where it is read instead: a copy of it, or of some of its parts.
    pub copy: Option<Arc<PathBuf>>,
}

impl Origin {
    pub(super) fn file(path: PathBuf) -> Self {
        Self { path: path.into(), array: None, copy: None }
    }

    /// An array of it.
    pub(super) fn array(&self, name: &str) -> Self {
        Self { array: Some(Arc::new(name.to_owned())), ..self.clone() }
    }

    /// Where it is read.
    pub(super) fn lies_at(&self) -> &Path {
        self.copy.as_deref().map_or(&self.path, PathBuf::as_path)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.array.as_ref().map_or(Ok(()), |array| write!(f, " (array `{array}`)"))
    }
}

/// Where one value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePlace {
    /// In an array; both counted from 0, as `NumPy` does.
    Row {
        /// The array's file.
        file: Origin,
        /// Along the first side.
        row: usize,
        /// Along the others, row-major.
        column: usize,
    },
    /// In a table.
    Line {
        /// The table.
        file: Origin,
        /// Counted from 1, as editors do.
        line: u64,
        /// Its name in the header line.
        column: String,
    },
    /// In a table without lines.
    Cell {
        /// The table.
        file: Origin,
        /// Counted from 0, as programs do.
        row: usize,
        /// Its name.
        column: String,
    },
}

impl fmt::Display for ValuePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { file, row, column } => write!(f, "{file}, row {row}, column {column} (counted from 0)"),
            Self::Cell { file, row, column } => {
                write!(f, "{file}, row {row} (counted from 0), column `{}`", shown(column))
            }
            Self::Line { file, line, column } => write!(f, "{file}, line {line}, column `{}`", shown(column)),
        }
    }
}

/// Sides of an array, shown as `NumPy` does: `(60000, 28, 28)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides(pub Box<[u64]>);

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides: Vec<String> = self.0.iter().map(u64::to_string).collect();
        match sides.as_slice() {
            [side] => write!(f, "({side},)"),
            sides => write!(f, "({})", sides.join(", ")),
        }
    }
}

/// The names there are, and the nearest to the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    nearest: Option<String>,
    listed: String,
}

impl Candidates {
    pub(super) fn of(wanted: &str, names: &[String]) -> Self {
        let likeness =
            |name: &str| strsim::normalized_damerau_levenshtein(&wanted.to_lowercase(), &name.to_lowercase());
        // A file may claim names and cells of any length, and likeness takes memory of both lengths multiplied.
        let is_short = |name: &str| name.len() <= NAME_BYTES_MAX;
        let comparable = names.iter().filter(|name| is_short(name) && is_short(wanted));
        let comparable = comparable.map(|name| (likeness(name), name));
        let nearest =
            comparable.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(likeness, _)| *likeness >= SIMILARITY_MIN);
        let first: Vec<String> = names.iter().take(NAMES_LISTED_MAX).map(|name| shown(name)).collect();
        let listed = match names.len() - first.len() {
            0 => first.join(", "),
            more => format!("{} and {more} more", first.join(", ")),
        };
        Self { nearest: nearest.map(|(_, name)| name.clone()), listed }
    }
}

/// The front of a text that a file holds, for a message: in one line, whatever it holds.
pub(super) fn shown(text: &str) -> String {
    printable(text, LETTERS_SHOWN_MAX)
}

impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(nearest) = &self.nearest {
            write!(f, "did you mean `{}`? ", shown(nearest))?;
        }
        write!(f, "{}t has: {}", if self.nearest.is_some() { "I" } else { "i" }, self.listed)
    }
}

/// What to do about words that would be numbers with another decimal mark; nothing where they would not.
#[derive(Clone, Copy, Debug)]
pub struct DecimalHint(pub(super) bool);

impl fmt::Display for DecimalHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = "if they are numbers, say how they are written, as decimal = \",\" in [data]; else ";
        f.write_str(if self.0 { hint } else { "" })
    }
}

/// What to do about how a text is written: a study can say it; where a model is trained already, the file has to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    pub(super) in_study: String,
    pub(super) for_model: &'static str,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.in_study.is_empty() { Ok(()) } else { write!(f, "; {}", self.in_study) }
    }
}

/// Data that a study cannot use. Nothing has been written when it is returned.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages name")]
pub enum DataError {
    /// Name another file.
    #[error("{file}: no such file; relative paths start at the study file's folder")]
    NoSuchFile { file: Origin },
    /// Name a file in it.
    #[error("{file} is a folder; name a file in it")]
    Folder { file: Origin },
    /// Name a regular file: sizes of pipes and devices cannot be checked beforehand.
    #[error("{file} is neither a file nor a folder; copy its contents into a file")]
    NotAFile { file: Origin },
    /// Give the user the right to read it.
    #[error("{file}: permission denied; let this user read it (`chmod u+r`)")]
    Denied { file: Origin },
    /// The operating system could not read it.
    #[error("{file} cannot be read: {source}")]
    Read { file: Origin, source: io::Error },
    /// Fetch it again.
    #[error("{file} is empty; copy or download it again")]
    Empty { file: Origin },
    /// Fetch it again.
    #[error("{file} ends in the middle of its compressed data; copy or download it again")]
    Truncated { file: Origin },
    /// Fetch it again.
    #[error("{file}: its compressed data is damaged ({what}); copy or download it again")]
    Corrupt { file: Origin, what: String },
    /// Name another format, or another file.
    #[error("{file} is no {format} file: it starts with {start}; check `format` and the path in [data]")]
    Magic { file: Origin, format: &'static str, start: String },
    /// Write the file anew in a form that is read here.
    #[error("{file}: {what}")]
    Unsupported { file: Origin, what: String },
    /// It lies on no file system, and who reaches it says what is wrong and what to do.
    #[error("{what}")]
    Elsewhere { what: String },
    /// Fetch it again, or write it anew.
    #[error("{file}: its header is damaged: {what}; copy or write the file again")]
    Header { file: Origin, what: String },
    /// Fetch it again: the header promises more than there is.
    #[error(
        "{file} is too short: its header says {shape} of {number}, {want} bytes of values, but {got} follow; \
         copy or download it again"
    )]
    Short { file: Origin, shape: Sides, number: &'static str, want: u128, got: u64 },
    /// Fetch it again: the header promises less than there is.
    #[error(
        "{file} is too long: its header says {shape} of {number}, {want} bytes of values, but more follow; \
         copy or download it again"
    )]
    Long { file: Origin, shape: Sides, number: &'static str, want: u128 },
    /// Use fewer rows, or smaller ones.
    #[error("{file} is too large: {what}")]
    TooLarge { file: Origin, what: String },
    /// Name another array of the archive.
    #[error("{file}: there is no such array in the archive; {candidates}")]
    NoSuchArray { file: Origin, candidates: Candidates },
    /// Name another column.
    #[error("{file} has no column `{column}`; {candidates}")]
    NoSuchColumn { file: Origin, column: String, candidates: Candidates },
    /// Rename one of the columns.
    #[error("{file} has more than one column `{column}`; rename all but one")]
    ColumnTwice { file: Origin, column: String },
    /// Add columns.
    #[error("{file} has no column besides the label's, `{column}`; features need at least one")]
    NoFeatures { file: Origin, column: String },
    /// Repair the line.
    #[error("{file}, line {line}: {got} fields, but the header line has {want}; repair the line")]
    Ragged { file: Origin, line: u64, got: usize, want: usize },
    /// Repair the value, or leave its row or column out.
    #[error(
        "{place}: \"{text}\" is not a number; repair it, or leave its row or its column out; if the column holds words, list it \
         in `category_columns`"
    )]
    Text { place: ValuePlace, text: String },
    /// Repair the label, or learn classes.
    #[error(
        "{place}: the label \"{text}\" is not a number, and the loss takes numbers; repair it, or leave its row out; if labels \
         are classes, write loss = \"cross_entropy\" in [model]"
    )]
    TextLabel { place: ValuePlace, text: String },
    /// Repair the value, or leave the row out.
    #[error("{place}: {value:e} is not a finite 32-bit number; replace it, or leave the row out")]
    NotFinite { place: ValuePlace, value: f64 },
    /// Number the classes anew, or say that labels are numbers.
    #[error(
        "{place}: {value} is not a class: classes are whole numbers or words; if labels are numbers, write loss = \"mean_squared_error\" in [model], or for a program \
         labels = \"numbers\" in [data]"
    )]
    Class { place: ValuePlace, value: f64 },
    /// Repair the row, or record the run again.
    #[error("{place}: {what}")]
    Row { place: ValuePlace, what: String },
    /// Name a file with rows.
    #[error("{file} has no rows; at least one is needed")]
    NoRows { file: Origin },
    /// Pair the right files.
    #[error(
        "{features} has {feature_rows} rows, but {labels} has {label_rows}; each row of features needs its label"
    )]
    Counts { features: Origin, feature_rows: usize, labels: Origin, label_rows: usize },
    /// Use arrays of another shape.
    #[error("{file} has shape {shape}; {want}")]
    Shape { file: Origin, shape: Sides, want: &'static str },
    /// Correct `shape`.
    #[error(
        "{file} has rows of {shape}, {got} values each, which `shape` {setting} cannot describe; correct `shape`"
    )]
    ShapeSetting { file: Origin, shape: Sides, got: usize, setting: Sides },
    /// Pair the right files.
    #[error(
        "{train} has rows of {train_shape}, but {test} has rows of {test_shape}; training and test rows need one shape"
    )]
    Unlike { train: Origin, train_shape: Sides, test: Origin, test_shape: Sides },
    /// The parts do not fit one data set.
    #[error("{file}: the rows cannot be laid out as a data set: {source}")]
    Layout { file: Origin, source: DatasetError },
    /// They are too many.
    #[error("the files cannot be laid out as a data set: {0}")]
    FilesLayout(DatasetError),
    /// A file that a program is given cannot be packed.
    #[error(transparent)]
    File(FileError),
    /// Make room, or name another folder for temporary files.
    #[error(
        "the rows of {file} cannot be kept in a temporary file in {}: {source}; make room there, or set TMPDIR to a \
         folder that has some", folder.display()
    )]
    Spool { file: Origin, folder: PathBuf, source: io::Error },
    /// Make room.
    #[error("the data set cannot be written: {0}{advice}", advice = advice(.0))]
    Unwritable(io::Error),
    /// It cannot be kept.
    #[error(transparent)]
    Store(StoreError),
    /// Name a table, or its format.
    #[error("{file} is no text table: it is {what}; {advice}")]
    NoTable { file: Origin, what: &'static str, advice: &'static str },
    /// Say how the text is written.
    #[error("{file}{}: {what}{advice}", line.map_or_else(String::new, |line| format!(", line {line}")))]
    Dialect { file: Origin, line: Option<u64>, what: String, advice: Advice },
    /// Say what is to be done about missing values.
    #[error(
        "{place}: the value is missing; repair it, or write in [data] missing = \"mean\" (the mean of the column stands \
         for it) or missing = \"drop\" (its row is left out)"
    )]
    Missing { place: ValuePlace },
    /// Repair the row, or leave it out.
    #[error("{place}: the label is missing; repair it, or write missing = \"drop\" in [data] to leave such rows out")]
    MissingLabel { place: ValuePlace },
    /// Leave the column out, or allow more words.
    #[error(
        "{place}: the column has more than {max} different words (the first are {first}); {hint}leave it out with \
         `leave_out`, or allow more with `categories`"
    )]
    Categories { place: ValuePlace, max: u32, first: String, hint: DecimalHint },
    /// Name labels, or predict.
    #[error(
        "{file} has no column `{column}`, which holds the labels: rows of a test need it; rows without labels are what \
         `broadsweep predict` takes, once a model is trained"
    )]
    NoLabels { file: Origin, column: String },
    /// Label more than one class.
    #[error("{file}: all rows have the class \"{class}\"; at least two classes are needed to tell apart")]
    OneClass { file: Origin, class: String },
    /// Label fewer classes.
    #[error(
        "{file}: there are more than {CLASSES_MAX} classes; if labels are numbers, write loss = \"mean_squared_error\" in \
         [model], or for a program labels = \"numbers\" in [data]"
    )]
    ClassesMax { file: Origin },
    /// Leave the file as it is while it is read, and begin anew.
    #[error(
        "{file} has changed since it was cut into partitions ({what}); leave the input as it is until all of it is done, \
         and run again"
    )]
    Changed { file: Origin, what: String },
    /// Hold fewer rows out, or more.
    #[error("{file}: {what}")]
    Split { file: Origin, what: String },
}

impl DataError {
    /// The error of opening or reading a file as it lies on disk.
    pub(super) fn of_file(file: &Origin, source: io::Error) -> Self {
        let file = file.clone();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NoSuchFile { file },
            io::ErrorKind::IsADirectory => Self::Folder { file },
            io::ErrorKind::PermissionDenied => Self::Denied { file },
            _ => Self::Read { file, source },
        }
    }

    /// The same for rows that a trained model is asked about: there is no study any more that could say something else.
    pub(super) fn for_model(self) -> Self {
        let (file, what) = match self {
            Self::NoSuchFile { file } => (file, "no such file".to_owned()),
            Self::Magic { file, format, start } => {
                let what = format!(
                    "it is no {format} file, but starts with {start}; the model takes arrays: NPY, IDX, or an NPZ of one"
                );
                (file, what)
            }
            Self::NoTable { file, what, .. } => {
                (file, format!("it is {what}, and the model takes tables; save it as CSV in UTF-8, or as Parquet"))
            }
            Self::Unlike { train: _, train_shape, test, test_shape } => {
                (test, format!("it has rows of {test_shape}, and the model takes rows of {train_shape}"))
            }
            Self::Dialect { file, line, what, advice } => {
                let advice = Advice { in_study: advice.for_model.to_owned(), ..advice };
                return Self::Dialect { file, line, what, advice };
            }
            other => return other,
        };
        Self::Unsupported { file, what }
    }

    /// The error of reading through a decompressor.
    pub(super) fn of_packed(file: &Origin, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated { file: file.clone() },
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Self::Corrupt { file: file.clone(), what: source.to_string() }
            }
            _ => Self::of_file(file, source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_this_user_may_not_read_says_how_to_change_that() {
        let file = Origin::file("rows.csv".into());
        let error = DataError::of_file(&file, io::ErrorKind::PermissionDenied.into());
        assert!(matches!(error, DataError::Denied { .. }));
        assert_eq!(error.to_string(), "rows.csv: permission denied; let this user read it (`chmod u+r`)");
    }

    #[test]
    fn the_nearest_name_is_offered_only_if_it_is_near_and_long_lists_are_cut() {
        let names: Vec<String> = (0..23).map(|number| format!("pixel{number}")).chain(["label".into()]).collect();
        let near = Candidates::of("Lable", &names).to_string();
        assert!(near.starts_with("did you mean `label`? It has: pixel0, pixel1,"), "{near}");
        assert!(near.ends_with(", pixel19 and 4 more"), "{near}");
        let long = ["label".repeat(99), "é".repeat(41)];
        let cut = format!("it has: {}…, {}…", "label".repeat(8), "é".repeat(40));
        assert_eq!(Candidates::of(&long[0], &long).to_string(), cut);
        let two_lines = ["label\nerror: all is lost".to_owned()];
        let shown = Candidates::of("label\nerror: all is", &two_lines).to_string();
        assert!(shown.starts_with("did you mean `label\\nerror: all is lost`?") && !shown.contains('\n'), "{shown}");
        let far = Candidates::of("zzz", &names).to_string();
        assert!(far.starts_with("it has: pixel0"), "{far}");
    }
}
