//! Data files as studies name them, and the table of an earlier run's trials.

use std::io::Write as _;
use std::sync::Arc;

use broadsweep_common::dataset::Dataset;
use broadsweep_common::schema::Dialect;
use broadsweep_common::task::Select;
use broadsweep_data as data;
use broadsweep_data::recording;
use broadsweep_driver::study::{
    ArrayPair, ColumnName, DataSettings, DataSource, HeldOut, LabelKind, Missing, PartArrays, PartFiles, ScalingKind,
    TableFormat, TableSource,
};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use super::{file, folder};

/// A table as a run leaves it.
const TRIALS: &str = include_str!("../../studies/original.csv");

/// Loads the study's data, once as classes and once as values; what is loaded can be opened.
pub(super) fn load(source: &DataSource) {
    let kinds = [(LabelKind::Classes, ScalingKind::Standard), (LabelKind::Numbers, ScalingKind::Unit)];
    for ((labels, scaling), missing) in kinds.into_iter().zip([Missing::Mean, Missing::Drop]) {
        let validation = HeldOut::Count(1);
        let settings = DataSettings { validation, scaling, labels, missing, ..DataSettings::of(source.clone()) };
        if let Ok(loaded) = data::load(&settings, &data::Archive::default(), 7, folder()) {
            let header = loaded.header;
            assert_eq!(*Dataset::open(Arc::new(loaded.data.content)).unwrap().header(), header);
        }
    }
}

/// Features in `x`, labels in `y`.
fn xy<T: From<&'static str>>() -> PartArrays<T> {
    let train = ArrayPair { features: vec!["x".into()], labels: vec!["y".into()] };
    PartArrays { train, validation: None, test: None, groups: None }
}

/// The bytes of features, beside good labels.
pub(super) fn idx(bytes: &[u8]) {
    file("x", bytes);
    file("y", &idx_of(8, &[2], &[0, 1]));
    load(&DataSource::Idx(xy()));
}

/// Likewise.
pub(super) fn npy(bytes: &[u8]) {
    file("x", bytes);
    file("y", &npy_of("|u1", false, "(2,)", &[0, 1]));
    load(&DataSource::Npy(xy()));
}

/// An archive with both.
pub(super) fn npz(bytes: &[u8]) {
    file("xy.npz", bytes);
    let files = PartFiles { train: vec!["xy.npz".into()], validation: None, test: None };
    load(&DataSource::Npz { files, arrays: xy() });
}

/// A table with both.
pub(super) fn csv(bytes: &[u8]) {
    file("train.csv", bytes);
    load(&table("train.csv", TableFormat::Text(Dialect::default())));
}

/// A table whose label is called so.
pub(super) fn table(file: &str, format: TableFormat) -> DataSource {
    DataSource::Table(TableSource {
        files: PartFiles { train: vec![file.into()], validation: None, test: None },
        format,
        label_column: ColumnName::Name("label".to_owned()),
        feature_columns: None,
        leave_out: Vec::new(),
        group_column: None,
        category_columns: Vec::new(),
        categories_max: 64,
    })
}

/// The trials of an earlier run.
pub(super) fn recorded_trials(bytes: &[u8]) {
    let path = file("trials.csv", bytes);
    for select in [Select::Validation, Select::Test] {
        if let Ok(replays) = recording::read(&path, 2.0, select, 1000) {
            assert!(replays.iter().all(broadsweep_common::replay::Replay::is_possible));
        }
    }
}

/// An IDX file.
fn idx_of(type_code: u8, sides: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, type_code, sides.len() as u8];
    bytes.extend(sides.iter().flat_map(|side| side.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// An NPY file of version 1.
fn npy_of(descr: &str, fortran: bool, sides: &str, values: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {sides}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values);
    bytes
}

/// A ZIP of these files, deflated or stored.
fn zip_of(files: &[(&str, Vec<u8>)], deflated: bool) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let packed = if deflated { deflate(bytes) } else { bytes.clone() };
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        let mut shared = vec![20, 0, 0, 0, if deflated { 8 } else { 0 }, 0, 0, 0, 0, 0];
        shared.extend([sum.sum(), packed.len() as u32, bytes.len() as u32].iter().flat_map(|it| it.to_le_bytes()));
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
    archive.extend([files.len() as u16; 2].iter().flat_map(|count| count.to_le_bytes()));
    archive.extend([directory.len() as u32, start].iter().flat_map(|number| number.to_le_bytes()));
    archive.extend([0; 2]);
    archive
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Four numbers, two a row.
fn features() -> Vec<u8> {
    npy_of("<f4", true, "(2, 2)", &[1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat())
}

pub(super) fn idx_seeds() -> Vec<Vec<u8>> {
    let pixels = idx_of(8, &[2, 1, 2], &[1, 2, 3, 4]);
    let numbers = idx_of(0x0d, &[2, 1], &[0; 8]);
    vec![gzip(&pixels), pixels, gzip(&numbers), numbers, idx_of(0x0b, &[2, 1], &[0, 1, 255, 255])]
}

pub(super) fn npy_seeds() -> Vec<Vec<u8>> {
    let halves = npy_of(">f2", false, "(2, 1, 1)", &[0x3c, 0, 0xbc, 0]);
    let large = npy_of("|u1", false, "(2L, 3L, 1L, 2L)", &[9; 12]);
    let words = npy_of("<U2", false, "(2,)", &[97, 0, 0, 0, 98, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0]);
    vec![features(), gzip(&features()), halves, large, words]
}

pub(super) fn npz_seeds() -> Vec<Vec<u8>> {
    let files = [("x.npy", features()), ("y.npy", npy_of("|u1", false, "(2,)", &[0, 1]))];
    vec![zip_of(&files, true), zip_of(&files, false)]
}

pub(super) fn csv_seeds() -> Vec<Vec<u8>> {
    let table = b"a,b,label\n1,2,0\n\"3\",4e-1,1\n";
    let words = "\u{feff}color;on;label\nred;yes;cat\n;no;dog\nblue;no;cat\n";
    let wide = words.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let spaced = b"a  b label\n 1 2.5 0\nNA \"3\" 1\n".to_vec();
    let tabs = b"a\tlabel\n1,5\t-1\n2\t7\n".to_vec();
    let quoted = b"label, \"a\"\"b\"\r\n1,2\r\n0, -3 \r\n".to_vec();
    vec![table.to_vec(), gzip(table), quoted, words.as_bytes().to_vec(), wide, spaced, tabs]
}

pub(super) fn recorded_trials_seeds() -> Vec<Vec<u8>> {
    let few = TRIALS.split_inclusive('\n').take(4).collect::<String>();
    vec![gzip(few.as_bytes()), few.into_bytes()]
}
