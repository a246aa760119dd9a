//! What is read from each format, and how parts fit together.

use broadsweep_common::dataset::{Element, Part, TargetKind};
use ndarray::{Array2, ShapeBuilder as _, array};
use ndarray_npy::{NpzWriter, WriteNpyExt as _};

use super::*;

#[test]
fn idx_types_are_read_in_their_order_of_bytes_and_only_u8_stays_as_it_is() {
    for (name, type_code, bytes, element, want) in [
        ("u8", 0x08, vec![1, 255], Element::U8, [1.0, 255.0]),
        ("i8", 0x09, vec![1, 255], Element::F32, [1.0, -1.0]),
        ("i16", 0x0b, vec![1, 0, 255, 254], Element::F32, [256.0, -2.0]),
        ("i32", 0x0c, vec![0, 1, 0, 0, 255, 255, 255, 254], Element::F32, [65_536.0, -2.0]),
        (
            "f32",
            0x0d,
            [0.5_f32, -3.0].iter().flat_map(|value| value.to_be_bytes()).collect(),
            Element::F32,
            [0.5, -3.0],
        ),
        (
            "f64",
            0x0e,
            [0.5_f64, -3.0].iter().flat_map(|value| value.to_be_bytes()).collect(),
            Element::F32,
            [0.5, -3.0],
        ),
    ] {
        let files = [("x", idx(type_code, &[2, 1], &bytes)), ("y", idx(8, &[2], &[0, 2]))];
        let loaded = Folder::with(&files).load(&idx_xy(), LabelKind::Classes).unwrap();
        assert_eq!(
            (loaded.header.element, loaded.header.targets),
            (element, TargetKind::Classes { count: 2 }),
            "{name}"
        );
        assert_eq!(values(loaded, Part::Train), (want.to_vec(), vec![0.0, 1.0]), "{name}");
    }
}

#[test]
fn gzip_is_known_by_its_first_bytes_and_gives_the_same_bytes_as_the_file_itself() {
    let (x, y) = (idx(8, &[3, 2, 2], &[7; 12]), idx(8, &[3], &[0, 1, 0]));
    let plain = Folder::with(&[("x", x.clone()), ("y", y.clone())]).load(&idx_xy(), LabelKind::Classes).unwrap();
    let packed = Folder::with(&[("x", gz(&x)), ("y", gz(&y))]).load(&idx_xy(), LabelKind::Classes).unwrap();
    assert_eq!(plain.data.content.as_ref(), packed.data.content.as_ref());
    // Two members in one file, as parallel packers write them.
    let two = [gz(&x[..9]), gz(&x[9..])].concat();
    let joined = Folder::with(&[("x", two), ("y", y)]).load(&idx_xy(), LabelKind::Classes).unwrap();
    assert_eq!(plain.data.content.as_ref(), joined.data.content.as_ref());
}

#[test]
fn rows_have_one_side_or_three() {
    for (name, sides, setting, want) in [
        ("a matrix", vec![2, 12], None, vec![12]),
        ("grey images", vec![2, 3, 4], None, vec![3, 4, 1]),
        ("coloured images", vec![2, 2, 2, 3], None, vec![2, 2, 3]),
        ("a matrix of images", vec![2, 12], Some(vec![2, 6, 1]), vec![2, 6, 1]),
        ("images laid flat", vec![2, 3, 4], Some(vec![12]), vec![12]),
    ] {
        let folder = Folder::with(&[("x", idx(8, &sides, &[0; 24])), ("y", idx(8, &[2], &[0, 1]))]);
        let settings = DataSettings { shape: setting, ..idx_xy() };
        assert_eq!(folder.load(&settings, LabelKind::Classes).unwrap().header.shape, want, "{name}");
    }
}

#[test]
fn arrays_that_ndarray_npy_writes_are_read_in_both_orders() {
    let rows: Array2<f64> = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let mut fortran = Array2::zeros((2, 3).f());
    fortran.assign(&rows);
    for (name, x) in [("C", rows), ("Fortran", fortran)] {
        let (mut x_bytes, mut y_bytes) = (Vec::new(), Vec::new());
        x.write_npy(&mut x_bytes).unwrap();
        array![1_i64, 0].write_npy(&mut y_bytes).unwrap();
        let folder = Folder::with(&[("x", x_bytes), ("y", gz(&y_bytes))]);
        let loaded = folder.load(&npy_xy(), LabelKind::Classes).unwrap();
        assert_eq!(values(loaded, Part::Train), (vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![1.0, 0.0]), "{name}");
    }
}

#[test]
fn fortran_images_are_turned_to_row_major() {
    let x = npy("|u1", true, "(2, 2, 2)", &[0, 4, 2, 6, 1, 5, 3, 7]);
    let folder = Folder::with(&[("x", x), ("y", npy("|b1", false, "(2,)", &[0, 1]))]);
    let loaded = folder.load(&npy_xy(), LabelKind::Classes).unwrap();
    assert_eq!((loaded.header.element, loaded.header.shape.as_slice()), (Element::U8, [2, 2, 1].as_slice()));
    assert_eq!(values(loaded, Part::Train).0, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
}

#[test]
fn archives_are_read_stored_and_deflated_with_names_with_and_without_npy() {
    let (x, y) = (npy("<f4", false, "(2, 1)", &f32_bytes(&[0.5, 1.5])), npy("|u1", false, "(2,)", &[1, 0]));
    let mut stored = NpzWriter::new(std::io::Cursor::new(Vec::new()));
    stored.add_array("x", &array![[0.5_f32], [1.5]]).unwrap();
    stored.add_array("y", &array![1_u8, 0]).unwrap();
    let packed = zip(&[("x.npy", 8, deflated(&x), x.clone()), ("y.npy", 8, deflated(&y), y.clone())]);
    let wide = zip_64("x.npy", &x, "y.npy", &y);
    let bare = zip(&[("x", 0, x.clone(), x), ("y", 0, y.clone(), y)]);
    for (name, archive) in
        [("stored", stored.finish().unwrap().into_inner()), ("deflated", packed), ("64 bits", wide), ("bare", bare)]
    {
        for ending in ["", ".npy"] {
            let folder = Folder::with(&[("xy.npz", archive.clone())]);
            let train = ArrayPair { features: vec![format!("x{ending}")], labels: vec![format!("y{ending}")] };
            let settings = npz(PartArrays { train, test: Some(pair("x", "y")), ..xy() });
            let loaded = folder.load(&settings, LabelKind::Classes).unwrap();
            assert_eq!(loaded.header.rows, [2, 0, 2], "{name}{ending}");
            assert_eq!(values(loaded, Part::Test), (vec![0.5, 1.5], vec![1.0, 0.0]), "{name}{ending}");
        }
    }
}

#[test]
fn squared_error_takes_one_number_a_row_or_some() {
    for (name, sides, width, want) in
        [("one", "(2,)", 1, vec![0.5, -1.5]), ("two", "(2, 2)", 2, vec![1.0, 2.0, 3.0, 4.0])]
    {
        let folder = Folder::with(&[
            ("x", npy("|u1", false, "(2, 1)", &[3, 4])),
            ("y", npy("<f4", false, sides, &f32_bytes(&want))),
        ]);
        let settings = DataSettings { scales_targets: false, ..npy_xy() };
        let loaded = folder.load(&settings, LabelKind::Numbers).unwrap();
        assert_eq!(loaded.header.targets, TargetKind::Values { width }, "{name}");
        assert_eq!(values(loaded, Part::Train).1, want, "{name}");
    }
}

#[test]
fn classes_are_those_that_occur_in_training_and_test_rows() {
    for (test_label, count) in [(1, 2), (6, 2), (0_u8, 1)] {
        let one = |label: u8| (idx(8, &[1, 1], &[0]), idx(8, &[1], &[label]));
        let ((x, y), (u, v)) = (one(0), one(test_label));
        let folder = Folder::with(&[("x", x), ("y", y), ("u", u), ("v", v)]);
        let settings = settings(DataSource::Idx(PartArrays { test: Some(pair("u", "v")), ..xy() }));
        let loaded = folder.load(&settings, LabelKind::Classes);
        if count == 1 {
            let want = "y: all rows have the class \"0\"; at least two classes are needed to tell apart";
            assert_eq!(loaded.unwrap_err(), want);
            continue;
        }
        let loaded = loaded.unwrap();
        assert_eq!(loaded.header.targets, TargetKind::Classes { count }, "test label {test_label}");
        let last = test_label.to_string();
        assert_eq!(loaded.schema.unwrap().output_name(1), Some(last.as_str()));
    }
}

#[test]
fn pixels_are_widened_if_the_other_part_has_numbers() {
    let folder = Folder::with(&[
        ("x", npy("|u1", false, "(1, 1)", &[200])),
        ("y", npy("|u1", false, "(1,)", &[0])),
        ("u", npy("<f4", false, "(1, 1)", &f32_bytes(&[0.5]))),
    ]);
    let mut settings = settings(DataSource::Npy(PartArrays { test: Some(pair("u", "y")), ..xy() }));
    settings.scales_targets = false;
    let loaded = folder.load(&settings, LabelKind::Numbers).unwrap();
    assert_eq!(loaded.header.element, Element::F32);
    assert_eq!(values(loaded, Part::Train).0, [200.0]);
}

#[test]
fn columns_of_tables_are_found_by_name_in_each_file() {
    let train = "\u{feff}a, label ,\"b, c\"\r\n1,0,2.5\r\n-3e1,1, 4 \r\n";
    let folder = Folder::with(&[
        ("train.csv", gz(train.as_bytes())),
        ("test.csv", b"\"b, c\",other,label,a\n\n7,text,2,8".to_vec()),
    ]);
    let loaded = folder.load(&csv(true), LabelKind::Classes).unwrap();
    assert_eq!((loaded.header.rows, loaded.header.targets), ([2, 0, 1], TargetKind::Classes { count: 3 }));
    assert_eq!(values(loaded, Part::Train), (vec![1.0, 2.5, -30.0, 4.0], vec![0.0, 1.0]));
    let loaded = folder.load(&csv(true), LabelKind::Classes).unwrap();
    assert_eq!(values(loaded, Part::Test), (vec![8.0, 7.0], vec![2.0]));

    let mut chosen = csv(false);
    chosen.scales_targets = false;
    let DataSource::Table(table) = &mut chosen.source else { panic!("csv() is no table") };
    table.feature_columns = Some(vec![ColumnName::Name("b, c".to_owned())]);
    let loaded = folder.load(&chosen, LabelKind::Numbers).unwrap();
    assert_eq!(values(loaded, Part::Train), (vec![2.5, 4.0], vec![0.0, 1.0]));
}

#[test]
fn the_same_files_and_seed_give_the_same_bytes_with_every_row_in_one_part() {
    let rows: Vec<u8> = (0..50).collect();
    let folder = Folder::with(&[("x", idx(8, &[50, 1], &rows)), ("y", idx(8, &[50], &rows))]);
    let settings = DataSettings { validation: HeldOut::Count(20), scaling: ScalingKind::Standard, ..idx_xy() };
    let load = || folder.load(&settings, LabelKind::Classes).unwrap();
    assert_eq!(load().data.content.as_ref(), load().data.content.as_ref());
    let (train, validation) = (values(load(), Part::Train), values(load(), Part::Validation));
    assert!(train.0.is_sorted() && validation.0.is_sorted(), "a part left the file's order");
    assert_eq!((&train.0, &validation.0), (&train.1, &validation.1));
    let mut all = [train.0, validation.0].concat();
    all.sort_by(f32::total_cmp);
    assert_eq!(all, (0..50).map(|row| row as f32).collect::<Vec<_>>());
}

/// A ZIP of two stored files in which every size and place that can be is written with 64 bits.
fn zip_64(first: &str, first_bytes: &[u8], second: &str, second_bytes: &[u8]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in [(first, first_bytes), (second, second_bytes)] {
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        let size = (bytes.len() as u64).to_le_bytes();
        let mut shared = [&[45, 0, 0, 0, 0, 0, 0, 0, 0, 0], &sum.sum().to_le_bytes()[..], &[0xff; 8]].concat();
        shared.extend((name.len() as u16).to_le_bytes());
        let start = (archive.len() as u64).to_le_bytes();
        // An extra field of another kind stands before the one that counts.
        let extra = [&[9, 0, 1, 0, 7, 1, 0, 24, 0][..], &size, &size, &start].concat();
        directory
            .extend([&b"PK\x01\x02\x2d\x00"[..], &shared, &[extra.len() as u8, 0], &[0; 10], &[0xff; 4]].concat());
        directory.extend([name.as_bytes(), &extra].concat());
        let extra = [&[1, 0, 16, 0][..], &size, &size].concat();
        archive.extend([&b"PK\x03\x04"[..], &shared, &[20, 0], name.as_bytes(), &extra, bytes].concat());
    }
    let (start, end) =
        ((archive.len() as u64).to_le_bytes(), ((archive.len() + directory.len()) as u64).to_le_bytes());
    let length = (directory.len() as u64).to_le_bytes();
    archive.extend([&directory[..], b"PK\x06\x06", &[0; 36], &length, &start].concat());
    archive.extend([&b"PK\x06\x07"[..], &[0; 4], &end, &[1, 0, 0, 0]].concat());
    archive.extend([&b"PK\x05\x06"[..], &[0; 4], &[0xff; 12], &[0; 2]].concat());
    archive
}
