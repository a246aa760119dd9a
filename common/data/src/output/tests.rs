//! Every format is read back by a reader that knows nothing of the writer.

use broadsweep_common::dataset::Element;
use broadsweep_common::ids::Digest;
use broadsweep_common::schema::{Dialect, Inputs, Outputs, Scale, Schema};
use bytes::Bytes;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;

use super::parquet_file::GROUP_ROWS;
use super::*;
use broadsweep_common::application::{KeptCell, KeptColumn, KeptKind};

/// Names that a format could stumble over.
const HOSTILE: [&str; 8] =
    ["", "a,b", "say \"no\"", "two\r\nlines", "tab\t\\\u{0}", "größe.\u{1f980}", " x ", "\u{2028}"];
/// A number for each way in which they are written, and three that JSON lacks.
const NUMBERS: [f64; 11] =
    [0.1, -0.0, 1.0, 1e300, -5e-324, 1e16, f64::MAX, 1.0 / 3.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

fn schema(outputs: Outputs) -> Schema {
    let inputs = Inputs::Array { scales: vec![Scale::NONE], fills: Vec::new(), channels_first: false };
    Schema { shape: vec![1], inputs, element: Element::F32, outputs, text: Dialect::default() }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn classes(names: &[&str]) -> Schema {
    schema(Outputs::Classes { column: None, names: owned(names) })
}

fn values(names: &[&str]) -> Schema {
    schema(Outputs::Values { names: owned(names), scales: vec![Scale::NONE; names.len()] })
}

fn kept(columns: &[(&str, KeptKind)]) -> Vec<KeptColumn> {
    columns.iter().map(|&(name, kind)| KeptColumn { name: name.to_owned(), kind }).collect()
}

/// A kept column of each kind.
fn of_all_kinds() -> Vec<KeptColumn> {
    kept(&[
        ("name", KeptKind::Text),
        ("id", KeptKind::Integer),
        ("weight", KeptKind::Number),
        ("is_new", KeptKind::Flag),
    ])
}

/// Rows of hostile classes with cells of all kinds, and one in which all kept cells are missing.
fn written(format: OutputFormat) -> Vec<u8> {
    let mut table = OutputTable::new(format, &classes(&HOSTILE), &of_all_kinds(), true);
    for (row, &number) in NUMBERS.iter().enumerate() {
        let cells = match row {
            5 => vec![KeptCell::Missing; 4],
            _ => vec![
                KeptCell::Text(HOSTILE[row % HOSTILE.len()].to_owned()),
                KeptCell::Integer(i64::MAX - row as i64),
                KeptCell::Number(number),
                KeptCell::Flag(row % 2 == 0),
            ],
        };
        table.push(cells, Some(row % HOSTILE.len()), &[number; HOSTILE.len()]);
    }
    assert_eq!(table.rows(), NUMBERS.len() as u64);
    table.finish().unwrap()
}

/// The names of the columns of that table.
fn header() -> Vec<String> {
    let fixed = owned(&["name", "id", "weight", "is_new", "prediction"]);
    fixed.into_iter().chain(HOSTILE.map(|name| format!("probability.{name}"))).collect()
}

fn parquet(bytes: Vec<u8>) -> SerializedFileReader<Bytes> {
    SerializedFileReader::new(Bytes::from(bytes)).unwrap()
}

fn parquet_rows(bytes: Vec<u8>) -> Vec<Vec<(String, Field)>> {
    parquet(bytes).get_row_iter(None).unwrap().map(|row| row.unwrap().into_columns()).collect()
}

fn csv_records(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// A row a line, its members as they are written.
fn json_rows(bytes: &[u8]) -> Vec<serde_json::Map<String, Value>> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.split_terminator('\n').map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_parquet_file_has_a_type_for_each_column_and_every_bit_of_its_cells() {
    let rows = parquet_rows(written(OutputFormat::Parquet));
    assert_eq!(rows.len(), NUMBERS.len());
    for (row, (columns, number)) in rows.iter().zip(NUMBERS).enumerate() {
        let names: Vec<_> = columns.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, header());
        let cells: Vec<_> = columns.iter().map(|(_, cell)| cell).collect();
        if row == 5 {
            assert!(cells[..4].iter().all(|cell| **cell == Field::Null), "{cells:?}");
        } else {
            assert_eq!(*cells[0], Field::Str(HOSTILE[row % HOSTILE.len()].to_owned()));
            assert_eq!(*cells[1], Field::Long(i64::MAX - row as i64));
            assert!(has_bits(cells[2], number), "{row}");
            assert_eq!(*cells[3], Field::Bool(row % 2 == 0));
        }
        assert_eq!(*cells[4], Field::Str(HOSTILE[row % HOSTILE.len()].to_owned()));
        assert!(cells[5..].iter().all(|cell| has_bits(cell, number)), "{row}: {cells:?}");
    }
}

fn has_bits(cell: &Field, number: f64) -> bool {
    matches!(cell, Field::Double(read) if read.to_bits() == number.to_bits())
}

#[test]
fn the_columns_of_a_parquet_file_are_optional_text_integers_doubles_and_booleans() {
    let reader = parquet(written(OutputFormat::Parquet));
    let file = reader.metadata().file_metadata();
    assert!(file.key_value_metadata().is_none());
    let kinds =
        file.schema_descr().columns().iter().map(|column| (column.physical_type(), column.logical_type_ref()));
    let kinds: Vec<_> = kinds.map(|(physical, logical)| (physical, logical.cloned())).collect();
    let text = (Physical::BYTE_ARRAY, Some(LogicalType::String));
    let first = [text.clone(), (Physical::INT64, None), (Physical::DOUBLE, None), (Physical::BOOLEAN, None), text];
    assert_eq!(kinds[..5], first);
    assert!(kinds[5..].iter().all(|kind| *kind == (Physical::DOUBLE, None)));
    let columns = file.schema().get_fields();
    assert!(columns.iter().all(|column| column.get_basic_info().repetition() == Repetition::OPTIONAL));
}

#[test]
fn a_csv_file_has_numbers_that_parse_back_to_the_same_bits() {
    let records = csv_records(&written(OutputFormat::Csv));
    assert_eq!(records[0], header());
    assert_eq!(records.len(), 1 + NUMBERS.len());
    for (row, (cells, number)) in records[1..].iter().zip(NUMBERS).enumerate() {
        let has_bits = |cell: &String| cell.parse::<f64>().unwrap().to_bits() == number.to_bits();
        if row == 5 {
            assert!(cells[..4].iter().all(String::is_empty), "{cells:?}");
        } else {
            assert_eq!(cells[0], HOSTILE[row % HOSTILE.len()]);
            assert_eq!(cells[1], (i64::MAX - row as i64).to_string());
            assert!(has_bits(&cells[2]), "{row}: {}", cells[2]);
            assert_eq!(cells[3], (row % 2 == 0).to_string());
        }
        assert_eq!(cells[4], HOSTILE[row % HOSTILE.len()]);
        assert!(cells[5..].iter().all(has_bits), "{row}: {cells:?}");
    }
}

#[test]
fn json_lines_keep_integers_exact_and_have_null_for_what_json_lacks() {
    let rows = json_rows(&written(OutputFormat::JsonLines));
    assert_eq!(rows.len(), NUMBERS.len());
    for (row, (members, number)) in rows.iter().zip(NUMBERS).enumerate() {
        assert_eq!(members.len(), header().len());
        let is_number = |cell: &Value| match cell.as_f64() {
            // The reader may be off by the last bit: that the digits are right, the next test proves.
            Some(read) => (read - number).abs() <= number.abs() * f64::EPSILON,
            None => cell.is_null() && !number.is_finite(),
        };
        if row == 5 {
            assert!(["name", "id", "weight", "is_new"].iter().all(|name| members[*name].is_null()));
        } else {
            assert_eq!(members["name"], HOSTILE[row % HOSTILE.len()]);
            assert_eq!(members["id"].as_i64(), Some(i64::MAX - row as i64));
            assert!(is_number(&members["weight"]), "{row}");
            assert_eq!(members["is_new"], row % 2 == 0);
        }
        assert_eq!(members["prediction"], HOSTILE[row % HOSTILE.len()]);
        for name in HOSTILE {
            assert!(is_number(&members[&format!("probability.{name}")]), "{row}: {name}");
        }
    }
}

#[test]
fn json_lines_are_objects_in_the_order_of_the_columns() {
    let columns = kept(&[("z", KeptKind::Number), ("a", KeptKind::Integer)]);
    let mut table = OutputTable::new(OutputFormat::JsonLines, &classes(&["no", "yes"]), &columns, true);
    table.push([KeptCell::Number(-5e-324), KeptCell::Integer(-7)], Some(1), &[0.1 + 0.2, 1e-7]);
    table.push([KeptCell::Missing, KeptCell::Missing], Some(0), &[f64::NAN, 1e16]);
    let expected = concat!(
        r#"{"z":-5e-324,"a":-7,"prediction":"yes","probability.no":0.30000000000000004,"probability.yes":1e-7}"#,
        "\n",
        r#"{"z":null,"a":null,"prediction":"no","probability.no":null,"probability.yes":1e16}"#,
        "\n",
    );
    assert_eq!(String::from_utf8(table.finish().unwrap()).unwrap(), expected);
}

#[test]
fn a_table_of_classes_has_probabilities_only_where_they_are_asked_for() {
    let mut table = OutputTable::new(OutputFormat::Csv, &classes(&["no", "yes"]), &[], false);
    table.push([], Some(1), &[0.25, 0.75]);
    assert_eq!(table.finish().unwrap(), b"prediction\nyes\n");
}

#[test]
fn a_table_of_values_names_each_unless_there_is_only_one() {
    for with_probabilities in [false, true] {
        let table = |names: &[&str], numbers: &[f64]| {
            let id = kept(&[("id", KeptKind::Integer)]);
            let mut table = OutputTable::new(OutputFormat::Csv, &values(names), &id, with_probabilities);
            table.push([KeptCell::Integer(3)], None, numbers);
            String::from_utf8(table.finish().unwrap()).unwrap()
        };
        assert_eq!(table(&["price"], &[1.5]), "id,prediction\n3,1.5\n");
        assert_eq!(table(&["low", "high"], &[1.5, 2.0]), "id,prediction.low,prediction.high\n3,1.5,2.0\n");
    }
}

#[test]
fn a_file_without_rows_is_a_file_with_columns() {
    let none = |format| OutputTable::new(format, &classes(&HOSTILE), &of_all_kinds(), true).finish().unwrap();
    assert_eq!(csv_records(&none(OutputFormat::Csv)), [header()]);
    assert!(json_rows(&none(OutputFormat::JsonLines)).is_empty());
    let reader = parquet(none(OutputFormat::Parquet));
    let file = reader.metadata().file_metadata();
    let names: Vec<_> = file.schema_descr().columns().iter().map(|column| column.name().to_owned()).collect();
    assert_eq!((file.num_rows(), names), (0, header()));
}

#[test]
fn equal_rows_are_equal_bytes_and_other_rows_are_others() {
    for (_, format) in OutputFormat::WORDS.iter().copied() {
        assert_eq!(written(format), written(format), "{format}");
        let of_class = |class| {
            let mut table = OutputTable::new(format, &classes(&["no", "yes"]), &[], true);
            table.push([], Some(class), &[0.5, 0.5]);
            table.finish().unwrap()
        };
        assert_ne!(of_class(0), of_class(1), "{format}");
    }
}

/// Nothing about a machine may slip in: neither a time, nor the order of a hash table, nor what a processor can do. A
/// newer encoder of Parquet may give other bytes, and then runs that are resumed with it must not mix them.
#[test]
fn the_bytes_are_those_that_other_machines_wrote() {
    let digests = [OutputFormat::Parquet, OutputFormat::Csv, OutputFormat::JsonLines].map(|format| {
        let mut table = OutputTable::new(format, &classes(&["no", "yes"]), &kept(&[("id", KeptKind::Integer)]), true);
        for row in 0..3000_u32 {
            let share = f64::from(row) / 3000.0;
            table.push([KeptCell::Integer(i64::from(row))], Some(row as usize % 2), &[share, 1.0 - share]);
        }
        Digest::of(&table.finish().unwrap()).to_string()
    });
    let expected = [
        "4be6b0df50ef6e2f0282bb22df5335d15db6cc4125a4f5851b24a05525e770b5",
        "7682410ba0b1d3e43285ab4c177240788983eb37f3a38592467395d4903339bf",
        "edc7571083a7b1526f33932e43f7fa81ddd1bed9929e50fd2852181a49fb0d53",
    ];
    assert_eq!(digests, expected);
}

#[test]
fn a_parquet_file_has_a_row_group_for_every_65536_rows() {
    let rows = GROUP_ROWS + 5;
    let mut table = OutputTable::new(OutputFormat::Parquet, &classes(&["no", "yes"]), &of_all_kinds(), false);
    for row in 0..rows {
        let id = if row % 3 == 0 { KeptCell::Missing } else { KeptCell::Integer(row as i64) };
        table.push([KeptCell::Missing, id, KeptCell::Missing, KeptCell::Missing], Some(row % 2), &[]);
    }
    let bytes = table.finish().unwrap();
    let groups: Vec<_> =
        parquet(bytes.clone()).metadata().row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!(groups, [GROUP_ROWS as i64, 5]);
    for (row, columns) in parquet_rows(bytes).iter().enumerate() {
        let id = if row % 3 == 0 { Field::Null } else { Field::Long(row as i64) };
        let class = Field::Str(["no", "yes"][row % 2].to_owned());
        assert_eq!((&columns[1].1, &columns[4].1), (&id, &class), "{row}");
    }
}

#[test]
fn two_columns_of_one_name_are_refused_before_anything_is_computed() {
    let text = |names: &[&str]| kept(&names.iter().map(|&name| (name, KeptKind::Text)).collect::<Vec<_>>());
    let two = classes(&["no", "yes"]);
    assert_eq!(check(&two, &text(&["id", "probability", "predictions"]), true), Ok(()));
    for (schema, columns, with_probabilities, name, both_are_kept) in [
        (&two, text(&["prediction"]), false, "prediction", false),
        (&two, text(&["id", "probability.yes"]), true, "probability.yes", false),
        (&two, text(&["id", "name", "id"]), true, "id", true),
        (&values(&["price"]), text(&["prediction"]), false, "prediction", false),
        (&values(&["low", "high"]), text(&["prediction.high"]), false, "prediction.high", false),
    ] {
        let refused = OutputTableError::TwoColumns { name: name.to_owned(), both_are_kept };
        assert_eq!(check(schema, &columns, with_probabilities), Err(refused.clone()));
        assert!(refused.to_string().contains(&format!("`{name}`")), "{refused}");
    }
    assert_eq!(check(&two, &text(&["probability.yes"]), false), Ok(()), "nobody asked for probabilities");
    assert_eq!(check(&values(&["low", "high"]), &text(&["prediction"]), true), Ok(()));
}

#[test]
fn a_row_that_does_not_fit_is_told_at_the_end_and_the_first_one_is() {
    type Row = (Vec<KeptCell>, Option<usize>, Vec<f64>);
    let id = kept(&[("id", KeptKind::Integer)]);
    let fine = || -> Row { (vec![KeptCell::Integer(1)], Some(1), vec![0.5, 0.5]) };
    let rows: [(Row, &str); 6] = [
        ((Vec::new(), Some(1), vec![0.5, 0.5]), "0 kept cells in place of 1"),
        ((vec![KeptCell::Text("1".to_owned())], Some(1), vec![0.5, 0.5]), "a cell of `id` is of another kind"),
        ((vec![KeptCell::Missing], Some(2), vec![0.5, 0.5]), "class 2 of 2"),
        ((vec![KeptCell::Missing], None, vec![0.5, 0.5]), "no class"),
        ((vec![KeptCell::Missing], Some(0), vec![0.5]), "3 cells for 4 columns"),
        ((vec![KeptCell::Missing, KeptCell::Missing], Some(0), vec![0.5]), "2 kept cells in place of 1"),
    ];
    for (_, format) in OutputFormat::WORDS.iter().copied() {
        for (row, what) in rows.clone() {
            let mut table = OutputTable::new(format, &classes(&["no", "yes"]), &id, true);
            for (kept, class, numbers) in [fine(), row, fine(), (Vec::new(), None, Vec::new())] {
                table.push(kept, class, &numbers);
            }
            let said = table.finish().unwrap_err().to_string();
            assert!(said.starts_with("row 1 of an output") && said.contains(what), "{said}");
        }
    }
    let mut table = OutputTable::new(OutputFormat::Csv, &values(&["price"]), &[], true);
    table.push([], Some(0), &[1.0]);
    assert!(table.finish().unwrap_err().to_string().contains("values are predicted"));
}
