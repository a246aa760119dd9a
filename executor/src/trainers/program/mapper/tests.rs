//! Rows to a program and answers from it, as bytes.

use std::sync::Arc;

use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{
    Array as _, ArrayRef, BooleanArray, DictionaryArray, FixedSizeListArray, Float32Array, Int8Array, Int64Array,
    ListArray, NullArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray, UInt64Array,
};
use arrow_ipc::writer::StreamWriter;
use broadsweep_common::application::{Application, KeptCell, KeptColumn, KeptKind, OutputFormat, Wanted};
use broadsweep_common::dataset::Element;
use broadsweep_common::mapper::{MapperDescription, ValueKind};
use broadsweep_common::schema::{Dialect, Inputs, Outputs, Schema};
use broadsweep_data::partition::PlainValues;

use super::answered::{AnswerStream, cell_of};
use super::given::GivenStream;

const KINDS: [(&str, KeptKind); 4] = [
    ("text", KeptKind::Text),
    ("integer", KeptKind::Integer),
    ("number", KeptKind::Number),
    ("flag", KeptKind::Flag),
];

fn description(kept: &[(&str, KeptKind)], shape: &[u32], values: Option<ValueKind>) -> MapperDescription {
    let kept: Vec<_> = kept.iter().map(|(name, kind)| KeptColumn { name: (*name).to_owned(), kind: *kind }).collect();
    let inputs = Inputs::Columns(Vec::new());
    let outputs = Outputs::Values { names: Vec::new(), scales: Vec::new() };
    MapperDescription {
        command: Vec::new(),
        env_prefix: None,
        batch_rows: 10,
        silent_ms: 1000,
        disk_bytes: 1,
        schema: Schema { shape: shape.to_vec(), inputs, element: Element::F32, outputs, text: Dialect::default() },
        values,
        given: (0..kept.len() as u32).collect(),
        passed_on: Vec::new(),
        application: Application {
            files: Vec::new(),
            partitions: Vec::new(),
            wanted: Wanted::default(),
            kept,
            format: OutputFormat::Csv,
            with_probabilities: false,
        },
    }
}

/// All that is read of a stream: its columns, and its cells row by row.
fn read(bytes: &[u8]) -> Result<(Vec<KeptColumn>, Vec<Vec<KeptCell>>), String> {
    let (mut answers, mut rows) = (AnswerStream::default(), Vec::new());
    answers.push(bytes, |columns, batch| {
        assert_eq!(columns.len(), batch.num_columns());
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| cell_of(column, row)).collect::<Result<_, _>>()?);
        }
        Ok(())
    })?;
    assert!(answers.is_over(), "it has no end");
    Ok((answers.columns().unwrap().to_vec(), rows))
}

fn stream(columns: &[(&str, ArrayRef)]) -> Vec<u8> {
    let fields =
        columns.iter().map(|(name, column)| arrow_schema::Field::new(*name, column.data_type().clone(), true));
    let schema = Arc::new(arrow_schema::Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.iter().map(|(_, column)| Arc::clone(column)).collect();
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn a_program_that_gives_its_rows_back_answers_what_it_was_given() {
    let description = description(&KINDS, &[1], None);
    let mut given = GivenStream::new(&description).unwrap();
    let some = vec![
        vec![KeptCell::Text("a \u{1f980}".to_owned()), KeptCell::Missing, KeptCell::Text(String::new())],
        vec![KeptCell::Integer(i64::MIN), KeptCell::Integer(7), KeptCell::Missing],
        vec![KeptCell::Missing, KeptCell::Number(-0.0), KeptCell::Number(f64::INFINITY)],
        vec![KeptCell::Flag(true), KeptCell::Missing, KeptCell::Flag(false)],
    ];
    given.push(3, &some, PlainValues::Bytes(Vec::new())).unwrap();
    given.push(3, &some, PlainValues::Bytes(Vec::new())).unwrap();
    given.end().unwrap();
    let (columns, rows) = read(&given.take()).unwrap();
    assert_eq!(columns, description.application.kept);
    let across: Vec<Vec<_>> = (0..3).map(|row| some.iter().map(|column| column[row].clone()).collect()).collect();
    assert_eq!(rows, [across.clone(), across].concat());
}

#[test]
fn a_partition_without_good_rows_is_one_batch_without_rows() {
    for values in [None, Some(ValueKind::Single)] {
        let description = description(&KINDS, &[2, 3], values);
        let mut given = GivenStream::new(&description).unwrap();
        given.end().unwrap();
        let mut batches = 0;
        let reader = arrow_ipc::reader::StreamReader::try_new(std::io::Cursor::new(given.take()), None).unwrap();
        for batch in reader {
            assert_eq!(batch.unwrap().num_rows(), 0);
            batches += 1;
        }
        assert_eq!(batches, 1);
    }
}

#[test]
fn values_of_arrays_have_their_shape_and_those_of_another_file_are_turned_only_where_nothing_is_lost() {
    let numbers = || PlainValues::Numbers(vec![1.0, 2.0, 3.0, 4.0, 5.0, 255.0]);
    for (kind, values) in [
        (ValueKind::Byte, PlainValues::Bytes(vec![1, 2, 3, 4, 5, 255])),
        (ValueKind::Byte, numbers()),
        (ValueKind::Single, numbers()),
        (ValueKind::Double, numbers()),
    ] {
        let description = description(&[("row", KeptKind::Integer)], &[3, 1], Some(kind));
        let mut given = GivenStream::new(&description).unwrap();
        given.push(2, &[vec![KeptCell::Integer(0), KeptCell::Integer(1)]], values).unwrap();
        given.end().unwrap();
        let mut reader = arrow_ipc::reader::StreamReader::try_new(std::io::Cursor::new(given.take()), None).unwrap();
        let batch = reader.next().unwrap().unwrap();
        let field = batch.schema().field(1).clone();
        assert_eq!(field.metadata()["ARROW:extension:metadata"], "{\"shape\":[3,1]}");
        let list = batch.column(1).as_any().downcast_ref::<FixedSizeListArray>().unwrap();
        assert_eq!((list.len(), list.value_length(), list.values().len()), (2, 3, 6));
    }
    let description = description(&[], &[2], Some(ValueKind::Byte));
    let mut given = GivenStream::new(&description).unwrap();
    let error = given.push(1, &[], PlainValues::Numbers(vec![1.0, 0.5])).unwrap_err();
    assert!(error.contains("it has the value 0.5"), "{error}");
}

#[test]
fn flat_columns_of_any_width_are_cells_and_words_may_be_dictionaries() {
    use KeptKind::{Flag, Integer, Number, Text};
    let words: DictionaryArray<Int8Type> = [Some("no"), None, Some("yes")].into_iter().collect();
    let bytes = stream(&[
        ("small", Arc::new(Int8Array::from(vec![Some(-1), None, Some(3)]))),
        ("single", Arc::new(Float32Array::from(vec![0.5, f32::NAN, 2.0]))),
        ("words", Arc::new(words)),
        ("views", Arc::new(StringViewArray::from(vec![Some("a word of more than twelve letters"), None, Some("b")]))),
        ("flags", Arc::new(BooleanArray::from(vec![true, false, true]))),
        ("large", Arc::new(UInt64Array::from(vec![0, 1, 1 << 40]))),
    ]);
    let (columns, rows) = read(&bytes).unwrap();
    let kinds: Vec<_> = columns.iter().map(|column| column.kind).collect();
    assert_eq!(kinds, [Integer, Number, Text, Text, Flag, Integer]);
    let text = |text: &str| KeptCell::Text(text.to_owned());
    let last = [
        KeptCell::Integer(3),
        KeptCell::Number(2.0),
        text("yes"),
        text("b"),
        KeptCell::Flag(true),
        KeptCell::Integer(1 << 40),
    ];
    assert_eq!(rows[2], last);
    assert_eq!((&rows[1][0], &rows[1][2], &rows[1][3]), (&KeptCell::Missing, &KeptCell::Missing, &KeptCell::Missing));
    assert!(matches!(rows[1][1], KeptCell::Number(number) if number.is_nan()));
}

#[test]
fn answers_that_no_output_can_hold_are_named_with_what_to_do() {
    let integers = || -> ArrayRef { Arc::new(Int64Array::from(vec![1, 2])) };
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)]), None]);
    let nested: ArrayRef = Arc::new(lists);
    let good = stream(&[("a", integers())]);
    let rows = [
        (stream(&[("a", integers()), ("a", integers())]), "two columns of its answers are called \"a\""),
        (stream(&[("", integers())]), "or one has no name"),
        (stream(&[("a", Arc::new(NullArray::new(2)))]), "has no type, since all its values are missing"),
        (stream(&[("a\n", nested)]), "the column \"a\\n\" of its answers"),
        (stream(&[("a", Arc::new(UInt64Array::from(vec![u64::MAX, 1])))]), "too large for a whole number"),
        (stream(&[]), "its answers have 0 columns"),
        (good.repeat(2), "bytes came behind the end"),
        ([&good[..good.len() - 8], &good[..]].concat(), "name their columns twice"),
        (good[good.len() - 200..].to_vec(), "no Arrow stream"),
    ];
    for (bytes, fragment) in rows {
        let error = read(&bytes).unwrap_err();
        assert!(error.contains(fragment), "{fragment}: {error}");
    }
    let names: Vec<_> = (0..10_001).map(|place| format!("c{place}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), integers())).collect();
    assert!(read(&stream(&many)).unwrap_err().contains("10001 columns"));
}

#[test]
fn damaged_answers_are_errors_and_take_nobody_down() {
    let words: DictionaryArray<Int8Type> = [Some("no"), None, Some("yes")].into_iter().collect();
    let texts = StringArray::from(vec![Some("some"), None, Some("text")]);
    let whole = stream(&[("words", Arc::new(words)), ("texts", Arc::new(texts))]);
    let mut refused = 0;
    for place in 0..whole.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[place] ^= change;
            let mut answers = AnswerStream::default();
            let read = answers.push(&damaged, |_, batch| {
                for row in 0..batch.num_rows().min(8) {
                    batch.columns().iter().try_for_each(|column| cell_of(column, row).map(drop))?;
                }
                Ok(())
            });
            refused += usize::from(read.is_err());
        }
    }
    assert!(refused > whole.len() / 4, "{refused} of {} were refused", 3 * whole.len());
}
