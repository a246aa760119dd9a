//! Parquet tables: groups of rows, and cells that keep every digit.

use std::sync::Arc;

use ::parquet::basic::{LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::Type;

use super::*;

type Group<'a, 'w> = SerializedRowGroupWriter<'a, &'w mut Vec<u8>>;

fn column(name: &str, physical: Physical, logical: Option<LogicalType>) -> Arc<Type> {
    let built = Type::primitive_type_builder(name, physical).with_logical_type(logical);
    Arc::new(built.with_repetition(Repetition::OPTIONAL).with_precision(9).with_scale(2).build().unwrap())
}

/// A file with groups of so many rows each, which `fill` writes: `(group, first row, rows)`.
fn file(
    columns: Vec<Arc<Type>>,
    groups: &[usize],
    mut fill: impl FnMut(&mut Group<'_, '_>, usize, usize),
) -> Vec<u8> {
    let schema = Type::group_type_builder("rows").with_fields(columns).build().unwrap();
    let (mut bytes, mut first) = (Vec::new(), 0);
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), properties).unwrap();
    for &rows in groups {
        let mut group = writer.next_row_group().unwrap();
        fill(&mut group, first, rows);
        group.close().unwrap();
        first += rows;
    }
    writer.close().unwrap();
    bytes
}

/// Writes the next column: nothing where there is no value.
fn write<T: DataType>(group: &mut Group<'_, '_>, cells: impl IntoIterator<Item = Option<T::T>>) {
    let cells: Vec<_> = cells.into_iter().collect();
    let known: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(&values, Some(&known), None).unwrap();
    column.close().unwrap();
}

/// A file with a column of numbers, as many as the groups have.
pub(super) fn counted(groups: &[usize]) -> Vec<u8> {
    file(vec![column("a", Physical::DOUBLE, None)], groups, |group, first, rows| {
        write::<DoubleType>(group, (first..first + rows).map(|row| Some(row as f64 / 4.0)));
    })
}

#[test]
fn small_groups_of_rows_are_read_together_and_a_large_one_alone() {
    let folder = Folder::with(&[("t.parquet", &counted(&[3, 4, 0, 2, 20, 1, 9, 10]))]);
    let (schema, path) = (numbers(&["a"], &["y"]), folder.path("t.parquet"));
    assert_eq!(same_as_whole(&schema, &path, 9), [Some(9), Some(20), Some(1), Some(9), Some(10)]);
    assert_eq!(same_as_whole(&schema, &path, 10), [Some(9), Some(20), Some(10), Some(10)]);
    assert_eq!(same_as_whole(&schema, &path, 100), [Some(49)]);
    assert_eq!(same_as_whole(&schema, &path, 1).len(), 7);
}

#[test]
fn bad_rows_of_a_group_have_their_number_in_the_file() {
    let bytes = file(vec![column("a", Physical::DOUBLE, None)], &[2, 3], |group, first, rows| {
        write::<DoubleType>(group, (first..first + rows).map(|row| (row != 3).then_some(row as f64)));
    });
    let (folder, schema) = (Folder::with(&[("t.parquet", &bytes)]), numbers(&["a"], &["y"]));
    for rows_max in [2, 9] {
        let cut = cut(&schema, &[folder.path("t.parquet")], &Wanted::default(), rows_max).unwrap();
        let read = read(&schema, &cut, &Wanted::default()).unwrap();
        assert_eq!(read.numbers, [0, 1, 2, 4]);
        let place = "t.parquet, row 3 (counted from 0), column `a`";
        assert_eq!((read.bad.len(), read.bad[0].row, &folder.shown(&read.bad[0].place)[..]), (1, 3, place));
    }
}

#[test]
fn cells_are_passed_on_in_their_own_kind_with_every_digit() {
    let unsigned = LogicalType::integer(64, false);
    let columns = vec![
        column("a", Physical::DOUBLE, None),
        column("id", Physical::INT64, None),
        column("hash", Physical::INT64, Some(unsigned)),
        column("price", Physical::INT32, Some(LogicalType::decimal(2, 9))),
        column("day", Physical::INT32, Some(LogicalType::Date)),
        column("name", Physical::BYTE_ARRAY, Some(LogicalType::String)),
        column("is", Physical::BOOLEAN, None),
    ];
    let bytes = file(columns, &[3], |group, _, _| {
        write::<DoubleType>(group, [Some(1.0), Some(2.5), Some(3.0)]);
        write::<Int64Type>(group, [Some((1 << 53) + 1), None, Some(i64::MIN)]);
        write::<Int64Type>(group, [Some(-1), Some(7), None]);
        write::<Int32Type>(group, [Some(-1234), Some(5), None]);
        write::<Int32Type>(group, [Some(20_000), Some(0), None]);
        write::<ByteArrayType>(group, [Some(ByteArray::from("grün")), Some(ByteArray::from("")), None]);
        write::<BoolType>(group, [Some(true), Some(false), None]);
    });
    let (folder, schema) = (Folder::with(&[("t.parquet", &bytes)]), numbers(&["a"], &["y"]));
    let wanted = keep(&["id", "hash", "price", "day", "name", "is", "a"]);
    let cut = cut(&schema, &[folder.path("t.parquet")], &wanted, 9).unwrap();
    let kinds: Vec<_> = cut.kept.iter().map(|column| column.kind).collect();
    let (text, integer) = (KeptKind::Text, KeptKind::Integer);
    assert_eq!(kinds, [integer, text, text, integer, text, KeptKind::Flag, KeptKind::Number]);
    assert!(cut.remarks.len() == 1 && cut.remarks[0].contains("`day` has points in time"), "{:?}", cut.remarks);
    let read = read(&schema, &cut, &wanted).unwrap();
    let words = |words: [&str; 3]| {
        words.map(|word| if word == "-" { KeptCell::Missing } else { KeptCell::Text(word.to_owned()) }).to_vec()
    };
    let [id, hash, price, day, name, is, a] = &read.kept[..] else { panic!("{:?}", read.kept) };
    assert_eq!(*id, [KeptCell::Integer((1 << 53) + 1), KeptCell::Missing, KeptCell::Integer(i64::MIN)]);
    assert_eq!(*hash, words(["18446744073709551615", "7", "-"]));
    assert_eq!(*price, words(["-12.34", "0.05", "-"]));
    assert_eq!(*day, [KeptCell::Integer(20_000), KeptCell::Integer(0), KeptCell::Missing]);
    assert_eq!(*name, words(["grün", "", "-"]));
    assert_eq!(*is, [KeptCell::Flag(true), KeptCell::Flag(false), KeptCell::Missing]);
    assert_eq!(*a, [1.0, 2.5, 3.0].map(KeptCell::Number));
}

#[test]
fn where_files_have_a_column_in_different_kinds_it_is_text() {
    let columns = || vec![column("a", Physical::DOUBLE, None), column("id", Physical::INT64, None)];
    let bytes = file(columns(), &[1], |group, _, _| {
        write::<DoubleType>(group, [Some(1.5)]);
        write::<Int64Type>(group, [Some(i64::MAX)]);
    });
    let folder = Folder::with(&[("in/1.parquet", &bytes), ("in/2.csv", b"id,a\n0x7,2\n")]);
    let (schema, wanted) = (numbers(&["a"], &["y"]), keep(&["id", "a"]));
    let cut = cut(&schema, &[folder.path("in")], &wanted, 9).unwrap();
    assert!(cut.kept.iter().all(|column| column.kind == KeptKind::Text));
    let read = read(&schema, &cut, &wanted).unwrap();
    assert_eq!(texts(&read.kept[0]), ["9223372036854775807", "0x7"]);
    assert_eq!(texts(&read.kept[1]), ["1.5", "2"]);
}
