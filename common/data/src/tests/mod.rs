//! Loading whole studies' data from files that the tests write.

mod errors;
mod formats;
mod fuzz;
mod mnist;
pub(crate) mod pictures;
mod recording;
mod same_bytes;
mod tables;
mod unlike;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use broadsweep_common::dataset::{Dataset, Features, Part, Targets};
use broadsweep_common::schema::Dialect;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use tempfile::TempDir;

use super::files::Archive;
use super::{Loaded, load};
use crate::settings::{
    ArrayPair, ColumnName, DataSettings, DataSource, HeldOut, LabelKind, PartArrays, PartFiles, ScalingKind,
    TableFormat, TableSource,
};

/// A folder with data files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn with(files: &[(&str, Vec<u8>)]) -> Self {
        let folder = Self::new();
        for (name, bytes) in files {
            std::fs::write(folder.path(name), bytes).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, settings: &DataSettings, labels: LabelKind) -> Result<Loaded, String> {
        let shown = format!("{}/", self.0.path().display());
        let settings = DataSettings { labels, ..settings.clone() };
        load(&settings, &Archive::default(), 7, self.0.path()).map_err(|error| error.to_string().replace(&shown, ""))
    }
}

fn settings(source: DataSource) -> DataSettings {
    DataSettings::of(source)
}

/// One pair of arrays.
fn pair<T: From<&'static str>>(features: &'static str, labels: &'static str) -> ArrayPair<T> {
    ArrayPair { features: vec![features.into()], labels: vec![labels.into()] }
}

/// Training rows of `x`, with their labels in `y`.
fn xy<T: From<&'static str>>() -> PartArrays<T> {
    PartArrays { train: pair("x", "y"), validation: None, test: None, groups: None }
}

fn idx_xy() -> DataSettings {
    settings(DataSource::Idx(xy()))
}

fn npy_xy() -> DataSettings {
    settings(DataSource::Npy(xy()))
}

fn npz(arrays: PartArrays<String>) -> DataSettings {
    let files = PartFiles { train: vec!["xy.npz".into()], validation: None, test: None };
    settings(DataSource::Npz { files, arrays })
}

fn npz_xy() -> DataSettings {
    npz(xy())
}

/// Tables as a study without further keys reads them.
fn tables(train: &str, test: Option<&str>, format: TableFormat) -> TableSource {
    TableSource {
        files: PartFiles { train: vec![train.into()], validation: None, test: test.map(|test| vec![test.into()]) },
        format,
        label_column: ColumnName::Name("label".to_owned()),
        feature_columns: None,
        leave_out: Vec::new(),
        group_column: None,
        category_columns: Vec::new(),
        categories_max: 64,
    }
}

fn csv(test: bool) -> DataSettings {
    let format = TableFormat::Text(Dialect::default());
    settings(DataSource::Table(tables("train.csv", test.then_some("test.csv"), format)))
}

/// An IDX file.
pub(crate) fn idx(type_code: u8, sides: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, type_code, sides.len() as u8];
    bytes.extend(sides.iter().flat_map(|side| side.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// An NPY file of version 1.
pub(crate) fn npy(descr: &str, fortran: bool, sides: &str, values: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {sides}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values);
    bytes
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A ZIP of files: (name, method, packed bytes, bytes).
pub(crate) fn zip(files: &[(&str, u16, Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, method, packed, bytes) in files {
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        let mut shared = vec![20, 0, 0, 0];
        shared.extend(method.to_le_bytes());
        shared.extend([0; 4]);
        shared.extend(sum.sum().to_le_bytes());
        shared.extend((packed.len() as u32).to_le_bytes());
        shared.extend((bytes.len() as u32).to_le_bytes());
        shared.extend((name.len() as u16).to_le_bytes());
        shared.extend([0; 2]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&shared);
        directory.extend([0; 10]);
        directory.extend((archive.len() as u32).to_le_bytes());
        directory.extend(name.bytes());
        archive.extend(b"PK\x03\x04");
        archive.extend(&shared);
        archive.extend(name.bytes());
        archive.extend(packed);
    }
    let start = archive.len() as u32;
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\x00\x00\x00\x00");
    archive.extend((files.len() as u16).to_le_bytes());
    archive.extend((files.len() as u16).to_le_bytes());
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0; 2]);
    archive
}

pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// All feature values of a part, widened.
fn values(loaded: Loaded, part: Part) -> (Vec<f32>, Vec<f32>) {
    let dataset = Dataset::open(Arc::new(loaded.data.content)).unwrap();
    let features = match dataset.features(part) {
        Features::U8(pixels) => pixels.iter().map(|&pixel| f32::from(pixel)).collect(),
        Features::F32(numbers) => numbers.iter().copied().collect(),
    };
    let targets = match dataset.targets(part) {
        Targets::Classes(classes) => classes.iter().map(|&class| class as f32).collect(),
        Targets::Values(numbers) => numbers.iter().copied().collect(),
    };
    (features, targets)
}
