//! Arrays: plain ones by their rows, others whole.

use super::*;
use crate::tests::{f32_bytes, gz, idx, npy, zip};

#[test]
fn rows_of_plain_arrays_are_read_where_they_lie() {
    let values: Vec<f32> = (0..70).map(|value| value as f32 / 8.0).collect();
    let pixels: Vec<u8> = (0..60).collect();
    for (name, bytes, schema) in [
        ("idx", idx(8, &[10, 2, 3], &pixels), images(&[2, 3, 1], false)),
        ("npy", npy("<f4", false, "(10, 7)", &f32_bytes(&values)), images(&[7], false)),
        ("fortran", npy("<f4", true, "(10, 7)", &f32_bytes(&values)), images(&[7], false)),
        ("fortran of one", npy("|u1", true, "(60, 1)", &pixels), images(&[1], false)),
        ("channels first", npy("|u1", false, "(10, 3, 2, 1)", &pixels), images(&[2, 1, 3], true)),
    ] {
        let folder = Folder::with(&[("rows", &bytes)]);
        let all = if name == "fortran of one" { 60 } else { 10 };
        for rows_max in [1, 3, 4, 7, 100] {
            let rows = same_as_whole(&schema, &folder.path("rows"), rows_max);
            let parts = u64::div_ceil(all, rows_max);
            let even = (0..parts).map(|part| Some((part + 1) * all / parts - part * all / parts));
            assert_eq!(rows, even.collect::<Vec<_>>(), "{name}");
        }
        let cut = cut(&schema, &[folder.path("rows")], &Wanted::default(), 3).unwrap();
        assert!(cut.partitions.iter().all(|part| part.portion == Portion::Rows), "{name}");
    }
}

#[test]
fn arrays_that_are_packed_stay_whole_and_their_rows_are_known() {
    let pixels: Vec<u8> = (0..60).collect();
    let array = npy("|u1", false, "(10, 6)", &pixels);
    let archive = zip(&[("x.npy", 0, array.clone(), array)]);
    let packed = gz(&idx(8, &[10, 6], &pixels));
    for bytes in [archive, packed] {
        let folder = Folder::with(&[("rows", &bytes)]);
        assert_eq!(same_as_whole(&images(&[6], false), &folder.path("rows"), 3), [Some(10)]);
    }
}

#[test]
fn a_row_with_a_value_that_is_no_number_is_set_aside_and_the_others_are_not_moved() {
    let mut values: Vec<f32> = (0..20).map(|value| value as f32).collect();
    (values[5], values[12]) = (f32::NAN, f32::INFINITY);
    let folder = Folder::with(&[("rows.npy", &npy("<f4", false, "(10, 2)", &f32_bytes(&values)))]);
    let schema = images(&[2], false);
    for rows_max in [1, 4, 100] {
        let cut = cut(&schema, &[folder.path("rows.npy")], &Wanted::default(), rows_max).unwrap();
        let read = read(&schema, &cut, &Wanted::default()).unwrap();
        assert_eq!(read.numbers, [0, 1, 3, 4, 5, 7, 8, 9]);
        let first: Vec<f32> = read.features.as_chunks().0.iter().map(|&bytes| f32::from_ne_bytes(bytes)).collect();
        let want = read.numbers.iter().flat_map(|&row| [2.0 * row as f32, 2.0 * row as f32 + 1.0]);
        assert_eq!(first, want.map(|value| (f64::from(value) / 255.0) as f32).collect::<Vec<_>>());
        let bad: Vec<_> = read.bad.iter().map(|bad| (bad.row, folder.shown(&bad.place), &bad.reason[..])).collect();
        let place = |row, column| format!("rows.npy, row {row}, column {column} (counted from 0)");
        assert_eq!(
            bad,
            [
                (2, place(2, 1), "NaN is not a finite 32-bit number"),
                (6, place(6, 0), "inf is not a finite 32-bit number")
            ]
        );
    }
}

#[test]
fn a_row_that_is_no_32_bit_number_once_scaled_is_set_aside() {
    let values: Vec<u8> = [1.0, 1e300, -1e300, 4.0].iter().flat_map(|value: &f64| value.to_le_bytes()).collect();
    let folder = Folder::with(&[("rows.npy", &npy("<f8", false, "(4, 1)", &values))]);
    let schema = images(&[1], false);
    let cut = cut(&schema, &[folder.path("rows.npy")], &Wanted::default(), 100).unwrap();
    let read = read(&schema, &cut, &Wanted::default()).unwrap();
    assert_eq!(read.numbers, [0, 3]);
    let bad: Vec<_> = read.bad.iter().map(|bad| (bad.row, folder.shown(&bad.place))).collect();
    let place = |row| format!("rows.npy, row {row} (counted from 0)");
    assert_eq!(bad, [(1, place(1)), (2, place(2))]);
}

#[test]
fn what_no_array_has_cannot_be_asked_of_it() {
    let folder = Folder::with(&[("rows.npy", &npy("|u1", false, "(4, 1)", &[1, 2, 3, 4]))]);
    for wanted in [keep(&["id"]), Wanted { labels: Some("id".to_owned()), ..Wanted::default() }] {
        let error = cut(&images(&[1], false), &[folder.path("rows.npy")], &wanted, 2).unwrap_err();
        assert!(error.to_string().contains("a column `id` can be named only where it takes tables"), "{error}");
    }
}
