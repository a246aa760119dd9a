//! Tests of rows to predict.

use std::fs;

use broadsweep_common::dataset::{Element, Features, Part, Targets};
use broadsweep_common::schema::{ColumnKind, Dialect, Outputs, Scale};

use super::*;

fn schema() -> Schema {
    let scale = Scale { center: 10.0, spread: 2.0 };
    let names = ["red", "blue"].map(str::to_owned).to_vec();
    let kinds = [
        ("age", ColumnKind::Number { scale, fill: Some(12.0) }),
        ("color", ColumnKind::Categories { names, may_miss: true }),
        ("member", ColumnKind::Flag { scale: Scale::NONE, fill: None }),
    ];
    let columns = kinds.map(|(name, kind)| Column { name: name.to_owned(), kind }).to_vec();
    let names = vec!["no".to_owned(), "yes".to_owned()];
    let outputs = Outputs::Classes { column: Some("bought".to_owned()), names };
    let text = Dialect::default();
    Schema { shape: vec![4], inputs: Inputs::Columns(columns), element: Element::F32, outputs, text }
}

/// All rows, and whether each has its target.
#[derive(Debug)]
struct Read {
    features: Vec<f32>,
    classes: Vec<u32>,
    has_targets: bool,
}

fn read(rows: Result<InputRows<'_>, DataError>) -> Result<Read, DataError> {
    let (mut rows, mut features, mut classes) = (rows?, Vec::new(), Vec::new());
    while let Some(piece) = rows.next_piece(3)? {
        match piece.features(Part::Test) {
            Features::F32(of_piece) => features.extend(of_piece.iter()),
            Features::U8(of_piece) => features.extend(of_piece.iter().map(|&byte| f32::from(byte))),
        }
        if let Targets::Classes(of_piece) = piece.targets(Part::Test) {
            classes.extend(of_piece);
        }
    }
    Ok(Read { features, classes, has_targets: rows.has_targets() })
}

fn table(text: &str) -> Result<Read, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    fs::write(&path, text).unwrap();
    read(InputRows::open(&schema(), &path))
}

#[test]
fn a_table_is_read_by_the_names_of_its_columns_and_its_labels_are_targets() {
    let rows = table("bought,color,other,member,age\nyes,blue,x,true,14\nno,,y,no,\n").unwrap();
    assert_eq!(rows.features, [2.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!((rows.classes, rows.has_targets), (vec![1, 0], true));
    let unlabelled = table("age,color,member\n14,red,1\n").unwrap();
    assert!(!unlabelled.has_targets);
}

#[test]
fn a_row_is_typed_by_names_and_what_may_be_missing_can_be_left_out() {
    let schema = schema();
    let typed = |text| InputRows::of_row(&schema, text).map(|rows| read(Ok(rows)).unwrap().features);
    assert_eq!(typed("age=14,\"color=blue\",member=yes"), Ok(vec![2.0, 0.0, 1.0, 1.0]));
    assert_eq!(typed("member=0"), Ok(vec![1.0, 0.0, 0.0, 0.0]));
    for (text, words) in [
        ("member=1,colour=red", "no column `colour`; did you mean `color`?"),
        (
            "member=1,color=rad",
            "column `color`: \"rad\" is none of its categories; did you mean `red`? It has: red, blue",
        ),
        ("age=1", "column `member`: the value is missing"),
        ("age=1,age=2", "column `age` is given twice"),
        ("age", "`age` is no `column=value`"),
        ("member=1,age=old", "\"old\" is not a finite number"),
        ("", "column `member`: the value is missing"),
    ] {
        let error = typed(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn what_a_table_lacks_or_has_beyond_the_model_is_named_with_its_line() {
    for (text, words) in [
        ("age,colour,member\n1,red,1\n", "has no column `color`; did you mean `colour`?"),
        ("age,color,member\n1,red,1\n1,pink,1\n", "line 3, column `color`: \"pink\" is none of its categories"),
        ("age,color,member,bought\n1,red,1,maybe\n", "line 2, column `bought`: \"maybe\" is none of the classes"),
        ("age,color,member\n", "has no rows"),
    ] {
        let error = table(text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// Rows of images of 2 x 1 pixels with 3 channels.
fn images(channels_first: bool) -> Schema {
    let inputs = Inputs::Array { scales: vec![Scale::NONE], fills: Vec::new(), channels_first };
    let outputs = Outputs::Values { names: vec!["output1".to_owned()], scales: vec![Scale::NONE] };
    Schema { shape: vec![2, 1, 3], inputs, element: Element::U8, outputs, text: Dialect::default() }
}

#[test]
fn an_array_becomes_rows_whatever_the_order_of_its_channels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.npy");
    let rows = |schema: &Schema| read(InputRows::open(schema, &path));
    let bytes = |schema: &Schema| -> Vec<u8> {
        rows(schema).unwrap().features.into_iter().map(|number| number as u8).collect()
    };
    ndarray_npy::write_npy(&path, &ndarray::array![[[[1_u8, 2, 3]], [[4, 5, 6]]]]).unwrap();
    assert_eq!(bytes(&images(false)), [1, 2, 3, 4, 5, 6]);
    let header = |schema: &Schema| InputRows::open(schema, &path).unwrap().header().element;
    assert_eq!(header(&images(false)), Element::U8, "bytes of a model of bytes stay what they are");
    ndarray_npy::write_npy(&path, &ndarray::array![[[[1_u8], [4]], [[2], [5]], [[3], [6]]]]).unwrap();
    assert_eq!(header(&images(true)), Element::F32, "these are turned");
    assert_eq!(bytes(&images(true)), [1, 2, 3, 4, 5, 6]);
    ndarray_npy::write_npy(&path, &ndarray::array![[0.5, 2.0, 3.0, 4.0, 5.0, 6.0]]).unwrap();
    assert_eq!(
        rows(&images(false)).unwrap().features[..2],
        [0.5, 2.0],
        "a model of bytes takes what lies between them"
    );
    ndarray_npy::write_npy(&path, &ndarray::array![[1_u8, 2]]).unwrap();
    let error = rows(&images(false)).unwrap_err().to_string();
    assert!(error.contains("and the model takes rows of (2, 1, 3)"), "{error}");
}

#[test]
fn a_row_without_names_is_typed_in_order() {
    let images = images(false);
    let typed = |text| InputRows::of_row(&images, text).map(|rows| read(Ok(rows)).unwrap().features);
    assert_eq!(typed("1, 2,3,4,5,255"), Ok(vec![1.0, 2.0, 3.0, 4.0, 5.0, 255.0]));
    assert_eq!(typed("1,2"), Err("a row has 6 values, and these are 2".to_owned()));
    assert_eq!(typed("1,2,3,4,5,six"), Err("`six` is no number".to_owned()));
}

#[test]
fn rows_of_other_sides_are_refused_even_if_they_have_as_many_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.npy");
    ndarray_npy::write_npy(&path, &ndarray::array![[[[1_u8], [4]], [[2], [5]], [[3], [6]]]]).unwrap();
    let error = read(InputRows::open(&images(false), &path)).unwrap_err().to_string();
    assert!(error.contains("and the model takes rows of (2, 1, 3)"), "{error}");
    ndarray_npy::write_npy(&path, &ndarray::array![[1_u8, 2, 3, 4, 5, 6]]).unwrap();
    assert!(InputRows::open(&images(true), &path).is_err(), "laid flat in which order?");
}

#[test]
fn columns_whose_names_are_numbers_are_found_in_a_header_line_if_there_is_one() {
    let column =
        |name: &str| Column { name: name.to_owned(), kind: ColumnKind::Number { scale: Scale::NONE, fill: None } };
    let outputs = Outputs::Values { names: vec!["y".to_owned()], scales: vec![Scale::NONE] };
    let inputs = Inputs::Columns(vec![column("1"), column("2")]);
    let mut schema = Schema { shape: vec![2], inputs, element: Element::F32, outputs, text: Dialect::default() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let read_text = |schema: &Schema, text: &str| {
        fs::write(&path, text).unwrap();
        read(InputRows::open(schema, &path)).map(|rows| rows.features).map_err(|error| error.to_string())
    };
    assert_eq!(read_text(&schema, "0,1,2\n9,5,6\n").unwrap(), [5.0, 6.0]);
    // Which of these columns are meant nobody has said.
    assert!(read_text(&schema, "7,8\n").unwrap_err().contains("names none of the model's columns, which are 1, 2"));
    assert!(read_text(&schema, "1,1,2\n9,5,6\n").unwrap_err().contains('1'), "a name that stands there twice");
    schema.text.header = Some(false);
    assert_eq!(read_text(&schema, "7,8\n").unwrap(), [7.0, 8.0]);
}
