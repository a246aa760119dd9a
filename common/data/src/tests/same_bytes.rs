//! One data set of whole numbers gives the same bytes from every format, type and order.

use std::sync::Arc as Shared;

use ndarray::{Array2, ShapeBuilder as _};
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::*;
use crate::settings::Missing;

const ROWS: usize = 12;
const COLUMNS: usize = 3;

/// A value of the data set: whole, from 0 to 16.
fn value(row: usize, column: usize) -> u8 {
    ((row * 7 + column * 5) % 17) as u8
}

fn class(row: usize) -> u8 {
    [1, 3][row % 2]
}

fn all() -> impl Iterator<Item = u8> {
    (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| value(row, column)))
}

/// The bytes of all values as numbers of a type.
fn bytes<const N: usize>(convert: impl Fn(u8) -> [u8; N]) -> Vec<u8> {
    all().flat_map(convert).collect()
}

fn as_text(delimiter: &str, header: bool) -> Vec<u8> {
    let mut text = if header { ["a", "b", "c", "label\n"].join(delimiter) } else { String::new() };
    for row in 0..ROWS {
        let cells: Vec<_> = (0..COLUMNS).map(|column| value(row, column).to_string()).collect();
        text += &[cells.join(delimiter), class(row).to_string()].join(delimiter);
        text += "\n";
    }
    text.into_bytes()
}

/// A file of two row groups: a column of each of three types, and text for the classes.
fn as_parquet() -> Vec<u8> {
    let column = |name: &str, physical, logical, repetition| {
        let built = Type::primitive_type_builder(name, physical).with_logical_type(logical);
        Shared::new(built.with_repetition(repetition).build().unwrap())
    };
    let fields = vec![
        column("a", Physical::INT32, None, Repetition::REQUIRED),
        column("b", Physical::DOUBLE, None, Repetition::OPTIONAL),
        column("c", Physical::INT64, None, Repetition::REQUIRED),
        column("label", Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::OPTIONAL),
    ];
    let schema = Shared::new(Type::group_type_builder("rows").with_fields(fields).build().unwrap());
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Shared::new(WriterProperties::default())).unwrap();
    for rows in [0..ROWS / 2, ROWS / 2..ROWS] {
        let mut group = writer.next_row_group().unwrap();
        let known = vec![1; rows.len()];
        for column in 0.. {
            let Some(mut writer) = group.next_column().unwrap() else { break };
            let numbers = || rows.clone().map(|row| value(row, column));
            match writer.untyped() {
                ColumnWriter::Int32ColumnWriter(writer) => {
                    writer.write_batch(&numbers().map(i32::from).collect::<Vec<_>>(), None, None).unwrap();
                }
                ColumnWriter::DoubleColumnWriter(writer) => {
                    writer.write_batch(&numbers().map(f64::from).collect::<Vec<_>>(), Some(&known), None).unwrap();
                }
                ColumnWriter::Int64ColumnWriter(writer) => {
                    writer.write_batch(&numbers().map(i64::from).collect::<Vec<_>>(), None, None).unwrap();
                }
                ColumnWriter::ByteArrayColumnWriter(writer) => {
                    let words = rows.clone().map(|row| ByteArray::from(class(row).to_string().as_str()));
                    writer.write_batch(&words.collect::<Vec<_>>(), Some(&known), None).unwrap();
                }
                _ => unreachable!("a type that the schema lacks"),
            }
            writer.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    file
}

/// Arrays of all types and orders.
fn arrays() -> Vec<(String, Vec<u8>)> {
    let sides = format!("({ROWS}, {COLUMNS})");
    let mut arrays = vec![("|u1".to_owned(), npy("|u1", false, &sides, &bytes(|value| [value])))];
    let mut add = |descr: &str, bytes: Vec<u8>| arrays.push((descr.to_owned(), npy(descr, false, &sides, &bytes)));
    add("<i2", bytes(|value| i16::from(value).to_le_bytes()));
    add(">i2", bytes(|value| i16::from(value).to_be_bytes()));
    add("<u4", bytes(|value| u32::from(value).to_le_bytes()));
    add(">u4", bytes(|value| u32::from(value).to_be_bytes()));
    add("<i8", bytes(|value| i64::from(value).to_le_bytes()));
    add(">i8", bytes(|value| i64::from(value).to_be_bytes()));
    add("<f4", bytes(|value| f32::from(value).to_le_bytes()));
    add(">f4", bytes(|value| f32::from(value).to_be_bytes()));
    add("<f8", bytes(|value| f64::from(value).to_le_bytes()));
    add(">f8", bytes(|value| f64::from(value).to_be_bytes()));
    let mut turned = Array2::<u8>::zeros((ROWS, COLUMNS).f());
    turned.indexed_iter_mut().for_each(|((row, column), place)| *place = value(row, column));
    let in_memory: Vec<u8> = turned.t().iter().copied().collect();
    arrays.push(("u1 in Fortran order".to_owned(), npy("|u1", true, &sides, &in_memory)));
    let wide: Vec<u8> = in_memory.iter().flat_map(|&value| f64::from(value).to_le_bytes()).collect();
    arrays.push(("f8 in Fortran order".to_owned(), npy("<f8", true, &sides, &wide)));
    arrays
}

#[test]
fn every_format_type_and_order_gives_the_same_bytes() {
    let classes: Vec<u8> = (0..ROWS).map(class).collect();
    let words: Vec<u8> = classes.iter().flat_map(|class| u32::from(b'0' + class).to_le_bytes()).collect();
    let (rows, y) = (format!("({ROWS},)"), idx(8, &[ROWS as u32], &classes));
    let labels = [npy("|u1", false, &rows, &classes), npy("<U1", false, &rows, &words)];
    let mut cases: Vec<(String, Folder, DataSettings)> = Vec::new();
    for delimiter in [",", ";", "\t"] {
        let folder = Folder::with(&[("train.csv", as_text(delimiter, true))]);
        cases.push((format!("a table by {delimiter:?}"), folder, csv(false)));
    }
    let mut settings = csv(false);
    let DataSource::Table(table) = &mut settings.source else { panic!("no table") };
    table.format = TableFormat::Text(Dialect { header: Some(false), ..Dialect::default() });
    table.label_column = ColumnName::Number(COLUMNS + 1);
    cases.push((
        "a table without a header".to_owned(),
        Folder::with(&[("train.csv", as_text(",", false))]),
        settings,
    ));
    let parquet = settings_of(DataSource::Table(tables("t.parquet", None, TableFormat::Parquet)));
    cases.push(("Parquet".to_owned(), Folder::with(&[("t.parquet", as_parquet())]), parquet));
    for (name, x) in arrays() {
        for labels in &labels {
            cases.push((name.clone(), Folder::with(&[("x", x.clone()), ("y", labels.clone())]), npy_xy()));
        }
        let archive =
            zip(&[("x.npy", 0, x.clone(), x.clone()), ("y.npy", 8, deflated(&labels[0]), labels[0].clone())]);
        cases.push((format!("{name} in an archive"), Folder::with(&[("xy.npz", archive)]), npz_xy()));
    }
    let sides = [ROWS as u32, COLUMNS as u32];
    for (name, x) in [
        ("IDX of bytes", idx(8, &sides, &bytes(|value| [value]))),
        ("IDX of 16 bits", idx(0x0b, &sides, &bytes(|value| i16::from(value).to_be_bytes()))),
        ("IDX of numbers", idx(0x0e, &sides, &bytes(|value| f64::from(value).to_be_bytes()))),
    ] {
        cases.push((name.to_owned(), Folder::with(&[("x", x), ("y", y.clone())]), idx_xy()));
    }
    for scaling in [ScalingKind::None, ScalingKind::Unit, ScalingKind::Centered, ScalingKind::Standard] {
        let mut want: Option<Vec<u8>> = None;
        for (name, folder, settings) in &cases {
            let settings = DataSettings { scaling, validation: HeldOut::Count(4), ..settings.clone() };
            let loaded = folder.load(&settings, LabelKind::Classes).unwrap_or_else(|error| panic!("{name}: {error}"));
            let got = loaded.data.content.as_ref().to_vec();
            assert!(want.get_or_insert_with(|| got.clone()) == &got, "{name}, {scaling:?}");
        }
    }
    assert_eq!(cases.len(), 4 + 1 + 13 * 3 + 3);
}

#[test]
fn rows_that_are_laid_out_while_they_are_looked_at_give_the_bytes_of_two_passes() {
    let (rows, more) = (40, 7);
    let sides = |rows: usize| format!("({rows}, {COLUMNS})");
    let values = |rows: usize| (0..rows * COLUMNS).map(|place| (place * 37 % 251) as u8).collect::<Vec<_>>();
    let labels = |rows: usize| npy("|u1", false, &format!("({rows},)"), &(0..rows).map(class).collect::<Vec<_>>());
    let folder = Folder::with(&[
        ("x", npy("|u1", false, &sides(rows), &values(rows))),
        ("y", labels(rows)),
        ("vx", npy("|u1", false, &sides(more), &values(more))),
        ("vy", labels(more)),
    ]);
    let arrays = PartArrays { validation: Some(pair("vx", "vy")), ..xy() };
    let given = settings_of(DataSource::Npy(arrays));
    for scaling in [ScalingKind::None, ScalingKind::Unit, ScalingKind::Centered, ScalingKind::Standard] {
        for shape in [None, Some(vec![1, COLUMNS as u32, 1])] {
            let settings = DataSettings { scaling, shape, test_rows: HeldOut::Count(9), ..given.clone() };
            let once = folder.load(&settings, LabelKind::Classes).unwrap();
            // Means are known once all rows were seen, and fill nothing here.
            let settings = DataSettings { missing: Missing::Mean, ..settings };
            let twice = folder.load(&settings, LabelKind::Classes).unwrap();
            assert_eq!(once.header, twice.header);
            assert!(once.data.content == twice.data.content, "{scaling:?}");
            assert_eq!(once.header.rows, [rows as u64 - 9, more as u64, 9]);
            let dataset = Dataset::open(Arc::new(once.data.content)).unwrap();
            assert_eq!(*dataset.header(), once.header);
        }
    }
}

fn settings_of(source: DataSource) -> DataSettings {
    DataSettings::of(source)
}
