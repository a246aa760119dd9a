//! Files that a library has written, and files that are forged in one part.

use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, GzipLevel, LogicalType, Repetition, Type as WrittenType, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, Int32Type};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type};

use super::forged::{
    Forged, Form, TEXT, WHOLE, dictionary, differences, page, page_of, second_page, texts, with_footer,
};
use super::pages::DataPage;
use super::*;

impl Forged {
    fn read(&self) -> Result<Vec<String>, String> {
        read(&self.file())
    }
}

/// All cells of a file, row by row, as text.
fn read(bytes: &[u8]) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    std::fs::write(&path, bytes).unwrap();
    let shown = format!("{}/", folder.path().display());
    cells(path).map_err(|error| error.to_string().replace(&shown, ""))
}

fn cells(path: PathBuf) -> Result<Vec<String>, DataError> {
    let mut table = ParquetTable::open(Origin::file(path))?;
    let columns: Vec<usize> = (0..table.slots.len()).collect();
    table.want(&columns)?;
    let mut cells = Vec::new();
    while table.next()? {
        cells.extend(columns.iter().map(|&column| match table.cell(column) {
            Cell::Number(number) => number.to_string(),
            Cell::Text(text) => text.into_owned(),
            Cell::Unreadable => "?".to_owned(),
            Cell::Missing => String::new(),
        }));
    }
    Ok(cells)
}

/// Written by the library, with rows of which some have no `a`.
fn written(properties: WriterProperties) -> Vec<u8> {
    let column = |name: &str, physical, logical, repetition| {
        let built = Type::primitive_type_builder(name, physical).with_logical_type(logical).with_length(2);
        Arc::new(built.with_repetition(repetition).build().unwrap())
    };
    let fields = vec![
        column("a", WrittenType::INT32, None, Repetition::OPTIONAL),
        column("b", WrittenType::DOUBLE, None, Repetition::REQUIRED),
        column("c", WrittenType::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Float16), Repetition::REQUIRED),
        column("d", WrittenType::BYTE_ARRAY, Some(LogicalType::String), Repetition::OPTIONAL),
    ];
    let schema = Type::group_type_builder("rows").with_fields(fields).build().unwrap();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties)).unwrap();
    for from in [0, 500] {
        let mut group = writer.next_row_group().unwrap();
        let rows = || from..from + 500;
        let known: Vec<i16> = rows().map(|row| i16::from(row % 7 > 0)).collect();
        let whole: Vec<i32> = rows().filter(|row| row % 7 > 0).map(|row| row * row - 1000).collect();
        let halves =
            rows().map(|row| ByteArray::from(vec![0, 0x3c + (row % 3) as u8 * 4]).into()).collect::<Vec<_>>();
        let words: Vec<_> = rows().map(|row| ByteArray::from(format!("word {}", row / 90).as_str())).collect();
        write::<Int32Type>(&mut group, &whole, Some(&known));
        write::<DoubleType>(&mut group, &rows().map(|row| f64::from(row) / 8.0).collect::<Vec<_>>(), None);
        write::<FixedLenByteArrayType>(&mut group, &halves, None);
        write::<ByteArrayType>(&mut group, &words, Some(&[1; 500]));
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    values: &[T::T],
    known: Option<&[i16]>,
) {
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(values, known, None).unwrap();
    column.close().unwrap();
}

#[test]
fn files_of_the_library_are_read_whatever_their_codec_version_and_encodings() {
    let want: Vec<String> = (0..1000)
        .flat_map(|row| {
            let whole = if row % 7 > 0 { (row * row - 1000).to_string() } else { String::new() };
            let half = ["1", "2", "4"][row as usize % 3];
            [whole, (f64::from(row) / 8.0).to_string(), half.to_owned(), format!("word {}", row / 90)]
        })
        .collect();
    let zstd = Compression::ZSTD(ZstdLevel::default());
    for codec in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(GzipLevel::default()), zstd] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let properties = WriterProperties::builder().set_compression(codec).set_writer_version(version);
            let properties = properties.set_data_page_row_count_limit(150).set_write_batch_size(50);
            assert_eq!(
                read(&written(properties.clone().build())).unwrap(),
                want,
                "{codec}, {version:?}, dictionaries"
            );
            for [a, b, d] in [
                [Encoding::PLAIN; 3],
                [Encoding::DELTA_BINARY_PACKED, Encoding::BYTE_STREAM_SPLIT, Encoding::DELTA_BYTE_ARRAY],
                [Encoding::BYTE_STREAM_SPLIT, Encoding::PLAIN, Encoding::DELTA_LENGTH_BYTE_ARRAY],
            ] {
                let columns = [("a", a), ("b", b), ("d", d)];
                let plain = properties.clone().set_dictionary_enabled(false);
                let properties = columns
                    .into_iter()
                    .fold(plain, |all, (name, encoding)| all.set_column_encoding(ColumnPath::from(name), encoding));
                assert_eq!(read(&written(properties.build())).unwrap(), want, "{codec}, {version:?}, {columns:?}");
            }
        }
    }
}

#[test]
fn a_file_of_which_nothing_is_forged_is_read() {
    let whole = [1_i32, -2, 3].map(i32::to_le_bytes).concat();
    let good = Forged::new(WHOLE, 3, &[page(2, 0, &whole[..8]), page(0, 0, &[]), page(1, 0, &whole[8..])]);
    assert_eq!(good.read().unwrap(), ["1", "-2", "3"]);
    let second = Forged::new(WHOLE, 3, &[second_page(3, [0, 0], &whole)]);
    assert_eq!(second.read().unwrap(), ["1", "-2", "3"]);
    let missing = [&[2, 0, 0, 0, 3, 0b101][..], &whole[..8]].concat();
    let missing = Forged { is_optional: true, ..Forged::new(WHOLE, 3, &[page(3, 0, &missing)]) };
    assert_eq!(missing.read().unwrap(), ["1", "", "-2"]);
    let words = Forged::new(TEXT, 3, &[dictionary(2, &texts(&["cat", "dog"])), page(3, 8, &[1, 3, 0b010])]);
    assert_eq!(words.read().unwrap(), ["cat", "dog", "cat"]);
}

#[test]
fn sizes_that_pages_cannot_have_are_refused_before_memory_is_taken() {
    let four = page(1, 0, &[1, 0, 0, 0]);
    let zeros = [0; 100];
    let packed = |codec, unpacked| Forged { codec, ..Forged::new(TEXT, 1, &[page_of(unpacked, &zeros, 1, 0)]) };
    let beyond = Forged { length: Some(four.len() as i64 - 1), ..Forged::new(WHOLE, 1, std::slice::from_ref(&four)) };
    for (name, forged, want) in [
        ("longer than its chunk", beyond, "a page is said to be longer than its column"),
        ("grown without a codec", packed(0, 101), "a page of 100 bytes is said to become 101"),
        ("too much for Snappy", packed(1, 2201), "a page of 100 bytes is said to become 2201"),
        ("too much for gzip", packed(2, 103_201), "a page of 100 bytes is said to become 103201"),
        ("too much for zstd", packed(6, 4_369_101), "a page of 100 bytes is said to become 4369101"),
        ("of less than no bytes", packed(0, -1), "a page does not say how large it is"),
        ("of more than 32 bits", packed(0, 1 << 31), "a whole number takes more than 32 bits"),
        ("too many levels", Forged::new(WHOLE, 1, &[second_page(1, [0, 9], &zeros[..8])]), "levels of more bytes"),
        (
            "levels below none",
            Forged::new(WHOLE, 1, &[second_page(1, [-1, 0], &zeros)]),
            "levels of less than no bytes",
        ),
        ("values below none", Forged::new(WHOLE, 1, &[page(-1, 0, &zeros)]), "does not say how many values it has"),
        ("values beyond 32 bits", Forged::new(WHOLE, 1, &[page(1 << 31, 0, &zeros)]), "more than 32 bits"),
        ("a header without an end", Forged::new(WHOLE, 1, &[vec![0x15, 0, 0x15, 8]]), "a page's header does not end"),
    ] {
        let refused = forged.read().unwrap_err();
        assert!(refused.contains(want), "{name}: {refused}");
        assert!(refused.starts_with("t.parquet: its compressed data is damaged (column `a`: "), "{name}: {refused}");
    }
    let large = Forged { codec: 6, ..Forged::new(TEXT, 1, &[page_of((128 << 20) + 1, &[0; 4096], 1, 0)]) };
    assert_eq!(
        large.read().unwrap_err(),
        "t.parquet is too large: column `a`: a page of 134217729 bytes, and 128 MiB are read; write it anew with smaller \
         pages"
    );
}

#[test]
fn values_that_are_not_there_are_refused() {
    let three = dictionary(1, &texts(&["cat"]));
    for (name, forged) in [
        ("no zstd", Forged { codec: 6, ..Forged::new(TEXT, 1, &[page_of(1000, &[0; 100], 1, 0)]) }),
        ("no dictionary", Forged::new(TEXT, 1, &[page(1, 8, &[1, 3, 0])])),
        ("two dictionaries", Forged::new(TEXT, 1, &[three.clone(), three.clone(), page(1, 8, &[0, 2])])),
        ("a place beyond the dictionary", Forged::new(TEXT, 1, &[three.clone(), page(1, 8, &[1, 2, 1])])),
        ("places of too many bits", Forged::new(TEXT, 1, &[three.clone(), page(1, 8, &[33, 2, 0, 0, 0, 0, 0])])),
        ("a dictionary of fewer texts", Forged::new(TEXT, 1, &[dictionary(2, &texts(&["cat"]))])),
        ("a dictionary of many texts", Forged::new(TEXT, 1, &[dictionary(i64::from(i32::MAX), &texts(&["cat"]))])),
        ("a dictionary of fewer numbers", Forged::new(WHOLE, 1, &[dictionary(3, &[0; 11])])),
        (
            "a run length without an end",
            Forged::new(TEXT, 1, &[three, page(1, 8, &[[1].as_slice(), &[0xff; 11]].concat())]),
        ),
        ("fewer numbers", Forged::new(WHOLE, 2, &[page(2, 0, &[0; 7])])),
        ("a text beyond its page", Forged::new(TEXT, 1, &[page(1, 0, &[0xff, 0xff, 0xff, 0xff, 0])])),
        ("numbers apart that are too few", Forged::new(WHOLE, 3, &[page(3, 9, &[0; 8])])),
        ("differences beyond their count", Forged::new(WHOLE, 2, &[page(2, 5, &differences(&[7]))])),
        ("no differences", Forged::new(WHOLE, 1, &[page(1, 5, &[128, 1, 0, 1, 0])])),
        ("texts of less than no bytes", Forged::new(TEXT, 1, &[page(1, 6, &[128, 1, 4, 1, 1])])),
        ("texts beyond their bytes", Forged::new(TEXT, 1, &[page(1, 6, &[128, 1, 4, 1, 4, b'a'])])),
        (
            "a beginning of none before",
            Forged::new(TEXT, 1, &[page(1, 7, &[differences(&[1]), differences(&[1]), b"a".to_vec()].concat())]),
        ),
        ("an encoding of another type", Forged::new(TEXT, 1, &[page(1, 5, &differences(&[1]))])),
        (
            "levels that are not there",
            Forged { is_optional: true, ..Forged::new(WHOLE, 1, &[page(1, 0, &[9, 0, 0, 0])]) },
        ),
    ] {
        let refused = catch_unwind(|| forged.read()).unwrap_or_else(|_| panic!("{name}")).unwrap_err();
        assert!(refused.starts_with("t.parquet: its compressed data is damaged ("), "{name}: {refused}");
    }
    let fewer = Forged::new(WHOLE, 2, &[page(1, 0, &[0; 4])]).read().unwrap_err();
    assert!(fewer.contains("a column has fewer rows than the others"), "{fewer}");
}

#[test]
fn texts_are_not_multiplied_without_bound() {
    // Each text is the one before, of 1 MiB, and goes on by nothing: 65,536 of them would be 64 GiB.
    let long = vec![b'x'; 1 << 20];
    let mut kept = vec![1 << 20; 1 << 16];
    kept[0] = 0;
    let mut lengths = vec![0; 1 << 16];
    lengths[0] = 1 << 20;
    let page_bytes = [differences(&kept), differences(&lengths), long.clone()].concat();
    let refused = Forged::new(TEXT, 1 << 16, &[page(1 << 16, 7, &page_bytes)]).read().unwrap_err();
    assert!(refused.starts_with("t.parquet is too large: ") && refused.ends_with("bytes of text"), "{refused}");
    // A text of 1 MiB in a dictionary, and a run of places of it.
    let word = dictionary(1, &[(long.len() as u32).to_le_bytes().to_vec(), long].concat());
    let run = Form::default().bytes(&[1]).varint((1 << 20) << 1).bytes(&[0]).0;
    let refused = Forged::new(TEXT, 1 << 20, &[word, page(1 << 20, 8, &run)]).read().unwrap_err();
    assert!(refused.starts_with("t.parquet is too large: ") && refused.ends_with("bytes of text"), "{refused}");
}

#[test]
fn as_many_rows_are_read_at_once_as_keep_no_more_bytes_than_they_may() {
    let page = |values, text_bytes, is_written_out| DataPage { values, text_bytes, is_written_out };
    let of = |pages: Vec<DataPage>| PageRoom { pages: pages.into(), held_bytes: 0 };
    for (name, pages, rows_max, want) in [
        ("numbers", vec![page(50, 0, false), page(100, 0, false)], 120, 120),
        ("texts of pages that are kept together", vec![page(50, 400, false), page(50, 400, false)], 200, 100),
        ("texts of a page too many", vec![page(50, 600, false), page(50, 600, false)], 200, 50),
        ("texts of one page that is large", vec![page(50, 6000, false), page(50, 1, false)], 200, 50),
        ("texts that are written out", vec![page(50, 100, true)], 200, 10),
        ("texts behind a page that is kept", vec![page(5, 500, false), page(50, 100, true)], 200, 10),
        ("one that is larger than all may be", vec![page(50, 6000, true)], 200, 1),
        ("none", vec![], 200, 1),
    ] {
        assert_eq!(of(pages).rows_at_once(rows_max, 1000), want, "{name}");
    }
    let mut room = of(vec![page(5, 0, false), page(7, 0, false)]);
    room.advance(6);
    assert_eq!(room.rows_at_once(100, 0), 6);
}

#[test]
fn a_page_that_gzip_makes_more_of_than_it_says_is_refused_before_it_takes_memory() {
    let zeros = std::io::Read::take(std::io::repeat(0), 160 << 20);
    let mut packed = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(zeros, flate2::Compression::fast());
    std::io::Read::read_to_end(&mut encoder, &mut packed).unwrap();
    let forged = Forged { codec: 2, ..Forged::new(TEXT, 1, &[page_of(4, &packed, 1, 0)]) };
    let refused = forged.read().unwrap_err();
    assert!(refused.contains("a page becomes more than it says"), "{refused}");
}

#[test]
fn lengths_of_texts_are_no_more_than_the_page_has_values() {
    let many = |values: u64| Form::default().varint(1 << 31).varint(1).varint(values).varint(2).bytes(&[0, 0]).0;
    let one = || differences(&[0]);
    for (name, encoding, bytes) in [
        ("lengths", 6, many(1 << 40)),
        ("lengths of one too many", 6, differences(&[0, 0, 0])),
        ("beginnings", 7, many(1 << 40)),
        ("lengths behind beginnings", 7, [one(), many(1 << 40)].concat()),
        ("fewer lengths than beginnings", 7, [differences(&[0, 0]), one()].concat()),
    ] {
        let refused = Forged::new(TEXT, 2, &[page(2, encoding, &bytes)]).read().unwrap_err();
        assert!(
            refused.contains("a page has other values than it says") || refused.contains("ends before"),
            "{name}: {refused}"
        );
    }
}

#[test]
fn a_run_of_one_value_is_as_many_rows_as_a_file_may_have_and_no_more() {
    let run = |rows: u64| Form::default().bytes(&[1]).varint(rows << 1).bytes(&[0]).0;
    let of = |rows: u64| {
        Forged::new(WHOLE, rows as i64, &[dictionary(1, &[7, 0, 0, 0]), page(rows as i64, 8, &run(rows))])
    };
    assert_eq!(of(1_000_000).read().unwrap().len(), 1_000_000);
    let refused = of(i32::MAX as u64).read().unwrap_err();
    assert!(refused.ends_with(" bytes are 2147483647 rows"), "{refused}");
}

#[test]
fn a_footer_that_says_what_cannot_be_is_refused_and_reserves_nothing() {
    let good = Forged::new(WHOLE, 1, &[page(1, 0, &[0; 4])]);
    let many = |field| Form::default().head(field, 9).bytes(&[0xfc]).varint(i32::MAX as u64).0;
    let truths = with_footer(&[], &Form::default().head(10, 9).bytes(&[0x11]).end());
    let element = || Form::default().whole(1, WHOLE).whole(3, 0).text(4, "a");
    let of_schema = |elements| with_footer(&[], &Form::default().list(2, elements).end());
    for (name, bytes, want) in [
        ("columns that are not there", with_footer(&[], &many(2)), "ends too early"),
        ("groups that are not there", with_footer(&[], &many(4)), "ends too early"),
        ("no columns", with_footer(&[], &[0]), "damaged"),
        ("a longer footer than file", b"PAR1\xff\xff\xff\xffPAR1".to_vec(), "longer than the file"),
        ("another end", b"PAR1\0\0\0\0PAR2".to_vec(), "no end of a Parquet file"),
        ("half an end", b"PAR1\0".to_vec(), "ends too early"),
        ("encryption", b"PAR1\0\0\0\0PARE".to_vec(), "it is encrypted"),
        ("fewer columns", of_schema(vec![Form::default().text(4, "rows").whole(5, 2), element()]), "damaged"),
        ("more columns", of_schema(vec![Form::default().whole(5, 1), element(), element()]), "belong nowhere"),
        ("truth values that take no bytes", truths, "a list of truth values"),
        ("a text for a number", with_footer(&[], &Form::default().text(1, "1").end()), "of another kind"),
        ("groups of the same bytes", good.file_of_groups(9), "its columns have the same bytes"),
        ("a type that is none", of_schema(vec![Form::default().whole(5, 1), Form::default().whole(1, 9)]), "damaged"),
        ("a chunk behind the end", Forged { start: Some(1 << 40), ..good.clone() }.file(), "where no values are"),
        ("one before the start", Forged { start: Some(-4), ..good.clone() }.file(), "where no values are"),
        ("one of less than no bytes", Forged { length: Some(-1), ..good.clone() }.file(), "less than none"),
        ("one of all bytes", Forged { length: Some(i64::MAX), ..good.clone() }.file(), "the same bytes"),
        ("less than no rows", Forged { rows: -1, ..good.clone() }.file(), "less than none"),
        ("another codec", Forged { codec: 4, ..good }.file(), "its pages are packed by Brotli"),
    ] {
        let refused = read(&bytes).unwrap_err();
        assert!(refused.contains(want), "{name}: {refused}");
    }
}

#[test]
fn names_of_columns_in_each_other_are_bounded() {
    let name = "n".repeat(1 << 20);
    let groups = (0..60).map(|_| Form::default().text(4, &name).whole(5, 1));
    let mut elements: Vec<_> = std::iter::once(Form::default().whole(5, 1)).chain(groups).collect();
    elements.pop();
    elements.push(Form::default().text(4, &name).whole(5, 1000));
    elements.extend((0..1000).map(|_| Form::default().whole(1, WHOLE).whole(3, 0).text(4, "a")));
    let refused = read(&with_footer(&[], &Form::default().list(2, elements).end())).unwrap_err();
    assert!(refused.contains("the names of its columns take more than 64 MiB"), "{refused}");
    let deep = (0..100_000).map(|_| Form::default().whole(5, 1)).collect();
    let refused = read(&with_footer(&[], &Form::default().list(2, deep).end())).unwrap_err();
    assert!(refused.contains("nested too deeply"), "{refused}");
}
