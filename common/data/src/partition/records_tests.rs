//! Tests of where records begin: there where the reader of tables finds them, in pieces of any size.

use std::fs;

use broadsweep_common::schema::Dialect;
use proptest::prelude::*;

use super::*;
use crate::table::Table;

/// Where records begin by this: line ends before each, and its bytes.
fn found(text: &[u8], delimiter: u8, piece_bytes: usize) -> Vec<Start> {
    let (file, mut starts) = (Origin::file("t".into()), Vec::new());
    let mut records = Records::new(delimiter, 0);
    for piece in text.chunks(piece_bytes) {
        records.read(&file, piece, |start| starts.push(start)).unwrap();
    }
    records.finish(|start| starts.push(start));
    starts
}

/// The same by the reader of tables: the cells of each.
fn rows_of(text: &[u8], delimiter: u8) -> Vec<Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let given = Dialect { delimiter: Some(delimiter), decimal: Some(b'.'), header: Some(false), encoding: None };
    let Ok(mut table) = Table::find(Origin::file(file.path().into()), &given, None) else { return Vec::new() };
    let mut rows = Vec::new();
    loop {
        match table.next() {
            Ok(false) => return rows,
            Ok(true) | Err(DataError::Ragged { .. }) => {
                let cells = (0..20).map_while(|place| table.has(place).then(|| table.text(place).into_owned()));
                rows.push(cells.collect());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]
    #[test]
    fn records_begin_where_the_reader_finds_them_and_each_is_the_same_alone(
        text in "[a\" ,;\t\r\n]{0,40}",
        delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t'), Just(b' ')],
        piece_bytes in 1_usize..50,
    ) {
        let text = text.as_bytes();
        let starts = found(text, delimiter, piece_bytes);
        let rows = rows_of(text, delimiter);
        prop_assert_eq!(starts.len(), rows.len(), "{:?} {:?}", starts, rows);
        for (place, start) in starts.iter().enumerate() {
            let from = start.from as usize;
            let lines = text[..from].split(|&byte| byte == b'\n').count() - 1;
            prop_assert_eq!(start.lines_before, lines as u64);
            if start.can_begin {
                let until = starts[place + 1..].iter().find(|next| next.can_begin);
                let (until, end) = until.map_or((text.len(), starts.len()), |next| {
                    (next.from as usize, starts.iter().position(|other| other == next).unwrap())
                });
                prop_assert_eq!(&rows_of(&text[from..until], delimiter)[..], &rows[place..end]);
            }
        }
    }
}

#[test]
fn a_record_that_does_not_end_is_refused_before_anybody_reads_it() {
    let (file, mut records) = (Origin::file("t".into()), Records::new(b',', 0));
    let mut piece = vec![b'a'; 1 << 20];
    piece[0] = b'"';
    let mut read = records.read(&file, &piece, |_| ());
    piece[0] = b'\n';
    for _ in 0..64 {
        read = read.and_then(|()| records.read(&file, &piece, |_| ()));
    }
    assert!(read.unwrap_err().to_string().contains("is a quote not closed?"));
}
