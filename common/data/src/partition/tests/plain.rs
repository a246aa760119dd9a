//! Rows as they are.

use std::fmt::Write as _;

use broadsweep_common::mapper::ValueKind;

use super::super::{PlainInput, PlainPiece, PlainValues, look};
use super::*;
use crate::partition::KeptCell;

/// All pieces of an input, partition by partition.
fn pieces(inputs: &[std::path::PathBuf], rows_max: u64, batch_rows: usize) -> (PlainInput, Vec<Vec<PlainPiece>>) {
    let plain = look(inputs, &()).unwrap();
    let wanted = Wanted { keep: plain.columns.clone(), labels: None };
    let cut = cut(&plain.schema, inputs, &wanted, rows_max).unwrap();
    let read = |partition: &Partition| {
        let opened = PartitionRows::open(&plain.schema, &wanted, &cut.kept, here(&cut, partition), partition);
        let (mut rows, mut pieces) = (opened.unwrap(), Vec::new());
        while let Some(piece) = rows.next_plain(batch_rows).unwrap() {
            pieces.push(piece);
        }
        pieces
    };
    let pieces = cut.partitions.iter().map(read).collect();
    (plain, pieces)
}

#[test]
fn the_columns_of_a_table_are_passed_on_as_they_are() {
    let text = (0..25).fold("id,note\n".to_owned(), |mut text, row| {
        writeln!(text, "{row},{}", if row == 3 { "" } else { "n" }).unwrap();
        text
    });
    let folder = Folder::with(&[("t.csv", text.as_bytes())]);
    let (plain, pieces) = pieces(&[folder.path("t.csv")], 10, 4);
    assert_eq!((plain.columns, plain.values), (vec!["id".to_owned(), "note".to_owned()], None));
    let sizes: Vec<Vec<_>> =
        pieces.iter().map(|pieces| pieces.iter().map(|piece| piece.numbers.len()).collect()).collect();
    assert_eq!(sizes.iter().flatten().sum::<usize>(), 25);
    assert!(sizes.iter().flatten().all(|&rows| rows <= 4), "{sizes:?}");
    let kept: Vec<_> = pieces.iter().flatten().flat_map(|piece| piece.kept[0].clone()).collect();
    assert_eq!(kept, (0..25).map(|row| KeptCell::Text(row.to_string())).collect::<Vec<_>>());
    assert_eq!(pieces[0][0].kept[1][3], KeptCell::Missing);
}

#[test]
fn the_values_of_an_array_are_passed_on_also_those_that_no_model_takes() {
    // IDX: bytes (08) in two dimensions, and doubles (0e) in one.
    let bytes = [&[0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 2][..], &[1, 2, 3, 4, 5, 6]].concat();
    let doubles = [1.5, f64::NAN, f64::INFINITY].map(f64::to_be_bytes).concat();
    let doubles = [&[0, 0, 0x0e, 1, 0, 0, 0, 3][..], &doubles].concat();
    let folder = Folder::with(&[("bytes", &bytes), ("doubles", &doubles)]);
    let (plain, read) = pieces(&[folder.path("bytes")], 2, 100);
    assert_eq!((&plain.schema.shape[..], plain.values), (&[2][..], Some(ValueKind::Byte)));
    let values: Vec<_> = read.into_iter().flatten().map(|piece| piece.values).collect();
    assert_eq!(values, [PlainValues::Bytes(vec![1, 2]), PlainValues::Bytes(vec![3, 4, 5, 6])]);
    let (plain, mut read) = pieces(&[folder.path("doubles")], 5, 100);
    assert_eq!((&plain.schema.shape[..], plain.values), (&[][..], Some(ValueKind::Double)));
    let PlainPiece { values: PlainValues::Numbers(numbers), bad, .. } = read.remove(0).remove(0) else { panic!() };
    assert!(
        numbers[0].to_bits() == 1.5_f64.to_bits()
            && numbers[1].is_nan()
            && numbers[2].is_infinite()
            && bad.is_empty(),
        "{numbers:?}"
    );
}
