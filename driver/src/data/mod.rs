//! Data files, decoded into one aligned data set.
//!
//! | module | holds |
//! |---|---|
//! | `source` | a file as a stream of bytes, unpacked |
//! | `idx`, `npy`, `npz` | the headers of arrays |
//! | `array`, `number` | the values behind them |
//! | `table` | comma-separated tables |
//! | `targets` | labels, as classes or values |
//! | `split` | which rows are held out for validation |
//! | [`files`] | files as they are, packed for programs |
//! | [`recording`] | the trials of an earlier run, to be replayed |
//! | `scaling` | factors and offsets, from the rows that are trained on |
//! | [`error`] | everything that can be wrong, with its place |
//!
//! A file's parts are decoded into memory of their own and then laid out: while `load` runs, the data is held
//! twice. Features are scaled by the executors, while they gather a batch.

pub mod error;
pub mod files;

mod array;
mod idx;
mod npy;
mod npz;
mod number;
pub mod recording;
mod scaling;
mod source;
mod split;
mod table;
mod targets;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use broadsweep_common::dataset::{
    AlignedBytes, DatasetBuilder, DatasetError, Element, Header, Part, Scaling, TargetKind,
};

use crate::study::{DataSettings, DataSource, LabelKind, PartArrays, ScalingKind};

pub use error::DataError;
use error::{Origin, Sides};
pub use files::Archive;
use targets::Labels;

/// A data set, ready to be broadcast.
pub struct Loaded {
    /// Shapes and types.
    pub header: Header,
    /// What [`Dataset::open`](broadsweep_common::dataset::Dataset::open) takes.
    pub bytes: AlignedBytes,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("header", &self.header).finish_non_exhaustive()
    }
}

/// The rows of one pair of files.
#[derive(Debug)]
struct RawPart {
    features: Features,
    labels: Labels,
}

/// The features of one part, finite, row after row.
#[derive(Debug)]
struct Features {
    file: Origin,
    /// One row's: 1 side or 3.
    shape: Vec<u32>,
    rows: usize,
    values: Values,
}

/// Features in the type in which they are kept.
#[derive(Debug)]
enum Values {
    U8(Vec<u8>),
    F32(Vec<f32>),
}

/// Reads, checks and lays out the data of a study. Relative paths start at `folder`, the study file's.
///
/// The same files and settings give the same bytes. Memory is taken for what the files hold, never for what a
/// header claims beyond that.
///
/// # Errors
/// [`DataError`], for the first thing that is wrong.
pub fn load(settings: &DataSettings, files: &Archive, study_seed: u64, folder: &Path) -> Result<Loaded, DataError> {
    let (mut train, mut test) = read(&settings.source, settings.labels, folder)?;
    train.check_counts()?;
    train.features.reshape(settings.shape.as_deref())?;
    if let Some(test) = &mut test {
        test.check_counts()?;
        test.features.reshape(settings.shape.as_deref())?;
        train.features.agree(&mut test.features)?;
    }
    let targets = targets::kind(settings.labels, &train.labels, test.as_ref().map(|test| &test.labels))?;
    let held_out = train.held_out(study_seed, settings.validation_rows)?;
    train.features.check_scaling(settings.scaling)?;
    let rows = train.features.rows as u64 - settings.validation_rows;
    let header = Header {
        shape: train.features.shape.clone(),
        element: train.features.values.element(),
        targets,
        rows: [rows, settings.validation_rows, test.as_ref().map_or(0, |test| test.features.rows as u64)],
        scaling: scaling::of(settings.scaling, &train.features, &held_out),
        files_bytes: files.bytes().map_err(DataError::File)?,
        target_scaling: Vec::new(),
    };
    let file = train.features.file.clone();
    let mut builder = DatasetBuilder::new(header.clone()).map_err(|source| DataError::Layout { file, source })?;
    train.write(&mut builder, targets, |row| if held_out[row] { Part::Validation } else { Part::Train });
    if let Some(test) = test {
        test.write(&mut builder, targets, |_| Part::Test);
    }
    files.write(builder.files()).map_err(DataError::File)?;
    Ok(Loaded { header, bytes: builder.finish() })
}

/// A data set without rows: what a study without `[data]` broadcasts.
///
/// # Errors
/// None in practice: such a header is a good one.
pub fn without_rows() -> Result<Loaded, DatasetError> {
    let header = header_without_rows(0);
    Ok(Loaded { bytes: DatasetBuilder::new(header.clone())?.finish(), header })
}

/// A data set of files alone.
///
/// # Errors
/// [`DataError`], for the first that cannot be packed.
pub fn of_files(files: &Archive) -> Result<Loaded, DataError> {
    let header = header_without_rows(files.bytes().map_err(DataError::File)?);
    let mut builder = DatasetBuilder::new(header.clone()).map_err(DataError::FilesLayout)?;
    files.write(builder.files()).map_err(DataError::File)?;
    Ok(Loaded { bytes: builder.finish(), header })
}

fn header_without_rows(files_bytes: u64) -> Header {
    Header {
        shape: vec![1],
        element: Element::U8,
        targets: TargetKind::Classes { count: 1 },
        rows: [0; 3],
        scaling: Scaling::Uniform { factor: 1.0, offset: 0.0 },
        files_bytes,
        target_scaling: Vec::new(),
    }
}

/// The training rows, and the test rows if the study names some.
fn read(source: &DataSource, kind: LabelKind, folder: &Path) -> Result<(RawPart, Option<RawPart>), DataError> {
    let file = |path: &Path| Origin::file(folder.join(path));
    match source {
        DataSource::Idx(paths) => read_arrays(paths, kind, |path| idx::open(file(path))),
        DataSource::Npy(paths) => read_arrays(paths, kind, |path| npy::open(file(path))),
        DataSource::Npz { file, arrays } => {
            let path = folder.join(file);
            read_arrays(arrays, kind, |name| npz::open(&path, name))
        }
        DataSource::Csv { train_file, test_file, label_column, feature_columns } => {
            let (train, names) = table::read(file(train_file), label_column, feature_columns.as_deref(), kind)?;
            let test = test_file.as_ref().map(|test| table::read(file(test), label_column, Some(&names), kind));
            Ok((train, test.transpose()?.map(|(test, _)| test)))
        }
    }
}

fn read_arrays<T>(
    arrays: &PartArrays<T>,
    kind: LabelKind,
    open: impl Fn(&T) -> Result<array::Array, DataError>,
) -> Result<(RawPart, Option<RawPart>), DataError> {
    let read = |features: &T, labels: &T| {
        let labels = open(labels)?.labels()?;
        labels.check(kind)?;
        Ok(RawPart { features: open(features)?.features()?, labels })
    };
    let train = read(&arrays.train_features, &arrays.train_labels)?;
    let test = arrays.test.as_ref().map(|(features, labels)| read(features, labels)).transpose()?;
    Ok((train, test))
}

impl RawPart {
    fn check_counts(&self) -> Result<(), DataError> {
        let (feature_rows, label_rows) = (self.features.rows, self.labels.rows);
        if feature_rows == label_rows {
            return Ok(());
        }
        let (features, labels) = (self.features.file.clone(), self.labels.file.clone());
        Err(DataError::Counts { features, feature_rows, labels, label_rows })
    }

    /// A mark for each row that is held out for validation.
    fn held_out(&self, study_seed: u64, validation_rows: u64) -> Result<Vec<bool>, DataError> {
        let rows = self.features.rows;
        if validation_rows >= rows as u64 {
            return Err(DataError::ValidationRows { file: self.features.file.clone(), rows, validation_rows });
        }
        Ok(split::held_out(study_seed, rows, validation_rows as usize))
    }

    /// Copies each row to the end of the part that `part` says.
    fn write(self, builder: &mut DatasetBuilder, targets: TargetKind, part: impl Fn(usize) -> Part) {
        let (row_values, width) = (self.features.row_values(), self.labels.width as usize);
        let mut written = [0; 3];
        for row in 0..self.features.rows {
            let part = part(row);
            let place = written[part as usize];
            written[part as usize] += 1;
            let values = row * row_values..(row + 1) * row_values;
            let bytes = match &self.features.values {
                Values::U8(pixels) => &pixels[values],
                Values::F32(numbers) => bytemuck::cast_slice(&numbers[values]),
            };
            builder.feature_row(part, place).copy_from_slice(bytes);
            let labels = &self.labels.values[row * width..(row + 1) * width];
            let (targets_bytes, _) = builder.target_row(part, place).as_chunks_mut();
            for (bytes, &label) in targets_bytes.iter_mut().zip(labels) {
                *bytes = match targets {
                    TargetKind::Classes { .. } => (label as u32).to_ne_bytes(),
                    TargetKind::Values { .. } => (label as f32).to_ne_bytes(),
                };
            }
        }
    }
}

impl Features {
    fn row_values(&self) -> usize {
        self.shape.iter().map(|&side| side as usize).product()
    }

    /// Gives rows the shape that the study asks for.
    fn reshape(&mut self, setting: Option<&[u32]>) -> Result<(), DataError> {
        let Some(setting) = setting else { return Ok(()) };
        let got = self.row_values();
        let product = setting.iter().try_fold(1_usize, |product, &side| product.checked_mul(side as usize));
        if product != Some(got) || !matches!(setting.len(), 1 | 3) {
            let (shape, setting) = (sides(&self.shape), sides(setting));
            return Err(DataError::ShapeSetting { file: self.file.clone(), shape, got, setting });
        }
        self.shape = setting.to_vec();
        Ok(())
    }

    /// Checks that training rows (`self`) and test rows have one shape, and gives them one type.
    fn agree(&mut self, test: &mut Self) -> Result<(), DataError> {
        if self.shape != test.shape {
            let (train_shape, test_shape) = (sides(&self.shape), sides(&test.shape));
            let (train, test) = (self.file.clone(), test.file.clone());
            return Err(DataError::Unlike { train, train_shape, test, test_shape });
        }
        if self.values.element() != test.values.element() {
            self.values.widen();
            test.values.widen();
        }
        Ok(())
    }

    fn check_scaling(&self, scaling: ScalingKind) -> Result<(), DataError> {
        if scaling != ScalingKind::Standard || self.row_values() <= scaling::STANDARD_VALUES_MAX {
            return Ok(());
        }
        let what = format!(
            "rows of {} values; `scaling = \"standard\"` takes at most {}",
            self.row_values(),
            scaling::STANDARD_VALUES_MAX
        );
        Err(DataError::TooLarge { file: self.file.clone(), what })
    }
}

impl Values {
    fn element(&self) -> Element {
        match self {
            Self::U8(_) => Element::U8,
            Self::F32(_) => Element::F32,
        }
    }

    fn widen(&mut self) {
        if let Self::U8(pixels) = self {
            *self = Self::F32(pixels.iter().map(|&pixel| f32::from(pixel)).collect());
        }
    }
}

fn sides(shape: &[u32]) -> Sides {
    Sides(shape.iter().map(|&side| u64::from(side)).collect())
}
