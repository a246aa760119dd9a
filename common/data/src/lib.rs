//! Data files, decoded into one aligned data set.
//!
//! | module | holds |
//! |---|---|
//! | `source`, `ahead` | a file as a stream of bytes, unpacked; on a thread of its own where it is large |
//! | `text`, `dialect`, `table`, `cells` | tables that are text: their encoding, how they are written, rows, cells |
//! | `parquet` | tables in Parquet |
//! | `any_table` | tables of either kind |
//! | `columns`, `words`, `ordered` | what the columns of tables are, found while they are read |
//! | `idx`, `npy`, `npz` | the headers of arrays |
//! | `array`, `strips`, `series`, `arrays`, `number` | the values behind them |
//! | `pictures` | folders of pictures |
//! | `named` | what a study names, opened and looked through |
//! | `rows`, `spool` | raw rows on their way, and rows that are needed again |
//! | `targets` | labels, as classes or values |
//! | `split` | which rows are held out |
//! | `statistics`, `scaling` | what is done to values, from the rows that are trained on |
//! | `unseen` | words that none of these rows has |
//! | `layout` | rows, laid out in the data set |
//! | `passes` | how often rows are read for that: once if they lie there as they are |
//! | [`destination`] | where that is put: the cache file that executors map too, or elsewhere |
//! | `index` | what was read before, and need not be read again |
//! | `rowless` | data sets of files alone |
//! | [`input`], `input_table`, `input_array`, `fault`, `prepared` | rows for a model that is trained |
//! | [`partition`] | the same of many files, cut into partitions: the input of `broadsweep apply` |
//! | [`files`] | files as they are, packed for programs |
//! | [`output`] | what a model says of rows, as files |
//! | [`recording`] | the trials of an earlier run, to be replayed |
//! | [`settings`] | what a study's data table asks for |
//! | [`error`] | everything that can be wrong, with its place |
//!
//! Rows are read in passes, some at a time: once to see what they are, once for the statistics of those that are trained
//! on, once to lay them out. Of bytes the last two are one pass, and the type of an array says what they are. Tables are
//! parsed in the first of these passes only.

mod ahead;
mod any_table;
mod array;
mod arrays;
mod cells;
mod columns;
pub mod destination;
mod dialect;
pub mod error;
mod fault;
pub mod files;
mod idx;
mod index;
pub mod input;
mod input_array;
mod input_table;
mod layout;
mod named;
mod npy;
mod npz;
mod number;
mod ordered;
pub mod output;
mod parquet;
pub mod partition;
mod passes;
mod pictures;
mod prepared;
pub mod recording;
mod rowless;
mod rows;
mod scaling;
mod series;
pub mod settings;
mod source;
mod split;
mod spool;
mod statistics;
mod strips;
mod table;
mod targets;
#[cfg(test)]
mod tests;
mod text;
mod unseen;
mod words;

use std::fmt;
use std::path::Path;

use broadsweep_common::blob::Blob;
use broadsweep_common::dataset::{Element, Header, Part, Scaling, TargetKind};
use broadsweep_common::schema::Schema;
use bytes::Bytes;

use crate::settings::{DataSettings, DataSource, HeldOut, LabelKind};

use destination::Destination;
use passes::{LaidOut, Passes};
use rows::{RawInputs, RawLabels, RawPart};
use scaling::Fitting;
use split::Way;

pub use error::DataError;
pub use files::Archive;
pub use index::load_into;
pub use rowless::{of_files, without_rows};

/// A data set, ready to be broadcast.
pub struct Loaded {
    /// Shapes and types.
    pub header: Header,
    /// What [`Dataset::open`](broadsweep_common::dataset::Dataset::open) takes, cut into blocks.
    pub data: Blob<Bytes>,
    /// How rows of files became these; nothing without rows.
    pub schema: Option<Schema>,
    /// Training rows that were drawn for validation and for the test, by their number in the files, from 0; of a table
    /// without its header line.
    pub held_out: [Vec<u32>; 2],
    /// What people should know, though it is no error.
    pub remarks: Vec<String>,
}

impl Loaded {
    /// What its classes are called, in their order; nothing where labels are numbers, or there are no rows.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        self.schema.as_ref().map_or(&[], Schema::class_names)
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("header", &self.header).finish_non_exhaustive()
    }
}

/// All rows of a study, looked through once.
struct Raw {
    inputs: RawInputs,
    labels: RawLabels,
    /// Training rows, of which some may be held out.
    train: RawPart,
    validation: Option<RawPart>,
    test: Option<RawPart>,
    /// The group of each training row, if the study names groups.
    groups: Option<Vec<u32>>,
    /// How the numbers of tables that are text are written, where that was found and is not the usual.
    decimal: Option<u8>,
    remarks: Vec<String>,
}

/// Reads, checks and lays out the data of a study. Relative paths start at `folder`, the study file's.
///
/// The same rows and settings give the same bytes, whatever format the rows come in. Room is taken for what the files
/// hold, never for what a header claims beyond that.
///
/// # Errors
/// [`DataError`], for the first thing that is wrong.
fn read_into(
    destination: &Destination,
    settings: &DataSettings,
    files: &Archive,
    study_seed: u64,
    folder: &Path,
) -> Result<Loaded, DataError> {
    let mut raw = named::read(settings, folder)?;
    if settings.for_program {
        raw.labels = raw.labels.with_own_numbers();
    }
    let targets = raw.labels.kind(&raw.train.labels)?;
    let shape = named::shape_of(&raw, settings)?;
    let parts = raw.assign(study_seed, settings)?;
    let are_images = raw.inputs.are_images(settings.shape.as_deref());
    // A program gets the type that the files have.
    let is_narrow = |part: &RawPart| if settings.for_program { part.has_byte_type } else { part.are_bytes };
    let element = if raw.all_parts().all(is_narrow) { Element::U8 } else { Element::F32 };
    let fitting = Fitting {
        settings,
        element,
        are_images,
        are_pixels: are_images && has_pixels(&settings.source) && element == Element::U8,
        outputs: if let TargetKind::Values { width } = targets { width as usize } else { 0 },
        inputs: raw.inputs.clone(),
    };
    let counted = |part| parts.iter().filter(|&&other| other == part).count();
    let rows_of = |extra: &Option<RawPart>| extra.as_ref().map_or(0, |part| part.rows);
    let rows = [
        counted(Part::Train),
        counted(Part::Validation) + rows_of(&raw.validation),
        counted(Part::Test) + rows_of(&raw.test),
    ];
    let passes = Passes {
        settings,
        files,
        destination,
        parts: &parts,
        header: Header {
            shape,
            element,
            targets,
            rows: rows.map(|rows| rows as u64),
            scaling: Scaling::Uniform { factor: 1.0, offset: 0.0 },
            files_bytes: files.bytes().map_err(DataError::File)?,
            target_scaling: Vec::new(),
        },
    };
    let LaidOut { header, schema, data } = passes.lay_out(&mut raw, fitting)?;
    let rows = |part| (0..).zip(&parts).filter(move |(_, other)| **other == part).map(|(row, _)| row);
    let drawn = |part| rows(part).map(|row| raw.train.number(row)).collect();
    Ok(Loaded {
        header,
        data,
        schema: Some(schema),
        held_out: [drawn(Part::Validation), drawn(Part::Test)],
        remarks: raw.remarks,
    })
}

/// The data of a study, in memory: for little.
///
/// # Errors
/// [`DataError`], for the first thing that is wrong.
pub fn load(settings: &DataSettings, files: &Archive, study_seed: u64, folder: &Path) -> Result<Loaded, DataError> {
    read_into(&Destination::Memory, settings, files, study_seed, folder)
}

/// Whether bytes of images run from 0 to 255, whichever of them occur: the format says it.
fn has_pixels(source: &DataSource) -> bool {
    matches!(source, DataSource::Idx(_) | DataSource::Images { .. })
}

impl Raw {
    fn all_parts(&self) -> impl Iterator<Item = &RawPart> {
        [Some(&self.train), self.validation.as_ref(), self.test.as_ref()].into_iter().flatten()
    }

    /// The part of each training row.
    fn assign(&mut self, study_seed: u64, settings: &DataSettings) -> Result<Vec<Part>, DataError> {
        let (file, rows) = (self.train.features.clone(), self.train.rows);
        let [validation, test] = [settings.validation, settings.test_rows].map(|held| held.of(rows as u64));
        let refuse = |what| Err(DataError::Split { file: file.clone(), what });
        if validation.saturating_add(test) >= rows as u64 {
            let keys = match (validation, test) {
                (_, 0) => format!("`validation_rows` is {validation}"),
                (0, _) => format!("`test_rows` is {test}"),
                _ => format!("`validation_rows` and `test_rows` are {validation} and {test}"),
            };
            return refuse(format!("it has {rows} rows; {keys} and has to be below that, to leave rows to train on"));
        }
        for (key, held, rows) in
            [("validation_rows", settings.validation, validation), ("test_rows", settings.test_rows, test)]
        {
            if let (HeldOut::Share(share), 0) = (held, rows) {
                return refuse(format!(
                    "`{key}` is a share of {share}, and of {} rows that is none",
                    self.train.rows
                ));
            }
        }
        let counts = [validation as usize, test as usize];
        let is_share = |held| matches!(held, HeldOut::Share(_));
        let of_classes = settings.labels == LabelKind::Classes;
        let default = is_share(settings.validation) || is_share(settings.test_rows);
        let is_stratified = of_classes && settings.stratified.unwrap_or(default && self.groups.is_none());
        if let Some(groups) = &self.groups {
            if is_stratified {
                return refuse(
                    "`stratified` holds classes out in their shares, and groups stay whole: write one".into(),
                );
            }
            let parts = split::parts(study_seed, rows, counts, Way::Grouped(groups));
            return if parts.contains(&Part::Train) {
                Ok(parts)
            } else {
                refuse("its groups are so few that none is left to train on; hold fewer rows out".into())
            };
        }
        if !is_stratified {
            return Ok(split::parts(study_seed, rows, counts, Way::Plain));
        }
        let mut classes = Vec::with_capacity(rows);
        let labels = &self.labels;
        self.train.each_batch(|_, batch| {
            if let RawLabels::Classes { of, .. } = labels {
                classes.extend(batch.labels.iter().map(|&label| RawLabels::class(of, label)));
            }
            Ok(())
        })?;
        Ok(split::parts(study_seed, rows, counts, Way::Stratified(&classes)))
    }
}
