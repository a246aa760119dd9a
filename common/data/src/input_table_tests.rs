//! Tests of tables for a model: written as those that it was trained on, plainly otherwise, or in a way that must not be guessed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use broadsweep_common::dataset::{Element, Features, Part};
use broadsweep_common::schema::{Inputs, Scale};
use parquet::basic::{Repetition, Type as Physical};
use parquet::data_type::DoubleType;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::super::input::InputRows;
use super::*;

/// A model of a column of numbers and one of words, called so, that was trained on text which is written so.
fn schema(names: [&str; 2], text: Dialect) -> Schema {
    let words = ["grün", "rot"].map(str::to_owned).to_vec();
    let kinds = [
        ColumnKind::Number { scale: Scale::NONE, fill: None },
        ColumnKind::Categories { names: words, may_miss: false },
    ];
    let columns = names.into_iter().zip(kinds).map(|(name, kind)| Column { name: name.to_owned(), kind });
    let outputs = Outputs::Values { names: vec!["y".to_owned()], scales: vec![Scale::NONE] };
    Schema { shape: vec![3], inputs: Inputs::Columns(columns.collect()), element: Element::F32, outputs, text }
}

/// The first value of each row, and what is remarked.
fn read(schema: &Schema, bytes: &[u8]) -> Result<(Vec<f32>, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    fs::write(&path, bytes).unwrap();
    let place = format!("{}/", folder.path().display());
    let read = || -> Result<_, DataError> {
        let (mut rows, mut first) = (InputRows::open(schema, &path)?, Vec::new());
        while let Some(piece) = rows.next_piece(1)? {
            let Features::F32(features) = piece.features(Part::Test) else { panic!("numbers became bytes") };
            first.extend(features.column(0));
        }
        Ok((first, rows.remarks().iter().map(|remark| remark.replace(&place, "")).collect()))
    };
    read().map_err(|error| error.to_string().replace(&place, ""))
}

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|letter| letter as u32 as u8).collect()
}

fn said(key: &str) -> Dialect {
    let mut dialect = Dialect::default();
    match key {
        "latin1" => dialect.encoding = Some("latin1".to_owned()),
        "decimal" => dialect.decimal = Some(b','),
        "point" => dialect.decimal = Some(b'.'),
        "semicolon" => dialect.delimiter = Some(b';'),
        "bar" => dialect.delimiter = Some(b'|'),
        "no header" => dialect.header = Some(false),
        _ => dialect.header = Some(true),
    }
    dialect
}

#[test]
fn a_table_is_read_as_those_of_the_training_where_a_look_would_read_it_otherwise() {
    for (key, names, bytes) in [
        ("latin1", ["a", "b"], latin("a,b\n1.5,grün\n")),
        // Of thousands and fractions nobody could tell these apart.
        ("decimal", ["a", "b"], b"a;b\n1,500;rot\n".to_vec()),
        // Each line has as many cells by either of them.
        ("bar", ["a", "b"], b"a|b|c;d\n1.5|rot|5;6\n".to_vec()),
        ("no header", ["1", "2"], b"1.5,rot\n".to_vec()),
        ("header", ["a", "b"], b"a,b\n1.5,rot\n".to_vec()),
    ] {
        assert_eq!(read(&schema(names, said(key)), &bytes), Ok((vec![1.5], vec![])), "{key}");
    }
    // Column names that are numbers, and a first row that has them.
    let first = read(&schema(["1", "2"], said("no header")), b"1,rot\n2,rot\n");
    assert_eq!(first, Ok((vec![1.0, 2.0], vec![])));
}

#[test]
fn a_table_that_plainly_is_written_otherwise_is_read_as_it_is_and_that_is_said() {
    let wide: Vec<u8> = "\u{feff}a,b\n1.5,grün\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (key, names, bytes, words) in [
        (
            "latin1",
            ["a", "b"],
            "\u{feff}a,b\n1.5,grün\n".as_bytes(),
            "rows.csv begins with the mark of UTF-8, and is read as that, not as latin1, as the tables were",
        ),
        ("latin1", ["a", "b"], &wide, "begins with the mark of UTF-16LE"),
        (
            "semicolon",
            ["a", "b"],
            "a,b\n1.5,grün\n".as_bytes(),
            "is not written as the tables that the model was trained on (delimiter = \";\"); it is read as it looks, with \
             commas between its cells",
        ),
        ("semicolon", ["a", "b"], b"a\tb\n1,5\trot\n", "with tabs between"),
        ("decimal", ["a", "b"], b"a;b\n1.5;rot\n", "are written with \".\", and are read so, not with \",\""),
        ("point", ["a", "b"], b"a;b\n1,5;rot\n", "are written with \",\", and are read so, not with \".\""),
    ] {
        let (first, remarks) = read(&schema(names, said(key)), bytes).unwrap();
        assert!(first == [1.5] && remarks.len() == 1 && remarks[0].contains(words), "{key}: {first:?} {remarks:?}");
    }
}

#[test]
fn what_could_be_meant_in_two_ways_is_an_error_in_plain_words() {
    for (key, names, text, words) in [
        ("decimal", ["a", "b"], "a;b\n1.234;rot\n", "line 2, column `a`: \"1.234\" is not a finite number"),
        (
            "no header",
            ["1", "2"],
            "size,color\n1.5,rot\n",
            "line 1, column `1`: \"size\" is not a finite number; the rows that the model was trained on had no header \
             line: if this line is one, take it out",
        ),
        (
            "header",
            ["size", "color"],
            "1.5,rot\n2.5,rot\n",
            "rows.csv: its first line names none of the model's columns, which are size, color; if the file has no header \
             line, write one above its rows",
        ),
        ("header", ["size", "color"], "size,colour\n1.5,rot\n", "has no column `color`; did you mean `colour`?"),
        ("header", ["a", "b"], "a;a\n1.5;rot\n", "rows.csv has more than one column `a`; rename all but one"),
        ("no header", ["1", "2"], "1.5\n", "has no column `2`"),
    ] {
        let error = read(&schema(names, said(key)), text.as_bytes()).unwrap_err();
        assert!(error.contains(words), "{key}: {error}");
    }
    let error = read(&schema(["1", "2"], said("no header")), b"1.5,rot\nx,rot\n").unwrap_err();
    assert!(error.ends_with("\"x\" is not a finite number"), "only a first line may be a header: {error}");
}

#[test]
fn what_is_wrong_with_a_file_is_told_without_the_keys_of_a_study() {
    let wide: Vec<u8> = "a,b\n1.5,rot\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (key, bytes, words) in [
        ("header", &b"\x89PNG...."[..], "it is a picture (PNG), and the model takes tables; save it as CSV in UTF-8"),
        ("header", b"\x93NUMPY..", "it is a NumPy array, and the model takes tables"),
        (
            "header",
            &wide,
            "it is UTF-16 without a mark in front, and the model takes tables; save it as CSV in UTF-8",
        ),
        ("header", b"gr\xf6\xdfe,b\n1,rot\n", "is no UTF-8; save the file as UTF-8"),
        ("header", b"a;b\n1,234;rot\n", "may be thousands or fractions; write fractions with a point"),
    ] {
        let error = read(&schema(["a", "b"], said(key)), bytes).unwrap_err();
        assert!(error.contains(words), "{key}: {error}");
        let is_of_a_study = |key: &&str| error.contains(key);
        assert_eq!(
            ["[data]", "format", "encoding =", "decimal ="].iter().find(|key| is_of_a_study(key)),
            None,
            "{error}"
        );
    }
    let missing = InputRows::open(&schema(["a", "b"], said("header")), Path::new("nowhere.csv")).err().unwrap();
    assert_eq!(missing.to_string(), "nowhere.csv: no such file");
}

#[test]
fn between_commas_a_point_is_the_decimal_mark_whatever_the_tables_of_the_training_had() {
    let (first, remarks) = read(&schema(["a", "b"], said("decimal")), b"a,b\n0.125,rot\n").unwrap();
    assert_eq!((first, remarks.len()), (vec![0.125], 1));
}

#[test]
fn parquet_says_itself_how_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let column = Type::primitive_type_builder("a", Physical::DOUBLE).with_repetition(Repetition::REQUIRED);
    let fields = vec![Arc::new(column.build().unwrap())];
    let columns = Arc::new(Type::group_type_builder("rows").with_fields(fields).build().unwrap());
    let file = fs::File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, columns, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&[1.5, 2.5], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let mut schema = schema(["a", "b"], said("decimal"));
    let Inputs::Columns(columns) = &mut schema.inputs else { panic!("a table has columns") };
    columns.truncate(1);
    schema.shape = vec![1];
    let mut rows = InputRows::open(&schema, &path).unwrap();
    let piece = rows.next_piece(2).unwrap().unwrap();
    let Features::F32(features) = piece.features(Part::Test) else { panic!("numbers became bytes") };
    assert_eq!((features.as_slice().unwrap(), rows.remarks().len()), (&[1.5, 2.5][..], 0));
}
