//! Every error, with its exact message; file names stand without their folder.

use super::*;

const LABELS: LabelKind = LabelKind::Classes;

/// The error of loading these files.
fn error(files: &[(&str, Vec<u8>)], settings: &DataSettings, labels: LabelKind) -> String {
    Folder::with(files).load(settings, labels).unwrap_err()
}

fn labels(classes: &[u8]) -> Vec<u8> {
    idx(8, &[classes.len() as u32], classes)
}

#[test]
fn files_that_cannot_be_read_say_what_to_do() {
    let good = idx(8, &[2, 1], &[3, 4]);
    let packed = gz(&idx(8, &[2, 3000], &[7; 6000]));
    let mut damaged = packed.clone();
    let sum = damaged.len() - 8;
    damaged[sum] ^= 1;
    for (x, want) in [
        (vec![], "x is empty; copy or download it again"),
        (
            packed[..packed.len() - 9].to_vec(),
            "x ends in the middle of its compressed data; copy or download it again",
        ),
        (packed[..7].to_vec(), "x ends in the middle of its compressed data; copy or download it again"),
        (
            damaged,
            "x: its compressed data is damaged (corrupt gzip stream does not have a matching checksum); copy or \
             download it again",
        ),
        (
            b"PK\x03\x04....".to_vec(),
            "x is no IDX file: it starts with 50 4b 03 04; check `format` and the path in [data]",
        ),
        (vec![0, 0, 8], "x is no IDX file: it starts with 00 00 08; check `format` and the path in [data]"),
        (good[..7].to_vec(), "x: its header is damaged: it ends after 0 of 2 sides; copy or write the file again"),
    ] {
        assert_eq!(error(&[("x", x), ("y", labels(&[0, 1]))], &idx_xy(), LABELS), want);
    }
}

#[test]
fn a_missing_file_a_folder_and_a_device_are_refused() {
    let folder = Folder::with(&[("y", labels(&[0]))]);
    let want = "x: no such file; relative paths start at the study file's folder";
    assert_eq!(folder.load(&idx_xy(), LABELS).unwrap_err(), want);
    std::fs::create_dir(folder.path("x")).unwrap();
    assert_eq!(folder.load(&idx_xy(), LABELS).unwrap_err(), "x is a folder; name a file in it");
    let null = settings(DataSource::Idx(PartArrays { train: pair("/dev/null", "y"), ..xy() }));
    let want = "/dev/null is neither a file nor a folder; copy its contents into a file";
    assert_eq!(folder.load(&null, LABELS).unwrap_err(), want);
}

#[test]
fn a_size_that_the_header_denies_is_refused_packed_or_not() {
    let short =
        "x is too short: its header says (2, 3) of u8, 6 bytes of values, but 5 follow; copy or download it again";
    let long = "x is too long: its header says (2, 3) of u8, 6 bytes of values, but more follow; copy or download it \
                again";
    for (values, want) in [(5, short), (7, long)] {
        let x = idx(8, &[2, 3], &vec![1; values]);
        for (name, x) in [("plain", x.clone()), ("packed", gz(&x))] {
            assert_eq!(error(&[("x", x), ("y", labels(&[0, 1]))], &idx_xy(), LABELS), want, "{name} {values}");
        }
    }
}

#[test]
fn sizes_that_no_memory_holds_are_refused_before_memory_is_taken() {
    let claim = idx(0x0e, &[4_000_000_000, 1 << 24], &[0; 8]);
    let short = "x is too short: its header says (4000000000, 16777216) of f64, 536870912000000000 bytes of values, but \
                 8 follow; copy or download it again";
    let packed = "x is too large: its header says (4000000000, 16777216) of f64, more than its packed bytes can become; copy \
                  or download it again";
    for (want, x) in [(short, claim.clone()), (packed, gz(&claim))] {
        assert_eq!(error(&[("x", x), ("y", labels(&[0]))], &idx_xy(), LABELS), want);
    }
    let wide = idx(8, &[1, 1 << 24, 2], &[]);
    let want = "x is too large: rows of (16777216, 2) values; at most 16777216 are read";
    assert_eq!(error(&[("x", wide), ("y", labels(&[0]))], &idx_xy(), LABELS), want);
    let many = npy("|u1", false, "(4294967296, 1)", &[]);
    let want = "x is too large: 4294967296 rows; at most 4294967295 are read";
    assert_eq!(error(&[("x", many), ("y", npy("|u1", false, "(1,)", &[0]))], &npy_xy(), LABELS), want);
}

#[test]
fn a_file_that_unpacks_to_more_than_its_header_says_is_not_unpacked_to_its_end() {
    // 1 GiB of zeros: read to its end in the test profile this would take seconds and is never needed.
    let mut bomb = gz(&idx(8, &[1, 1], &[9]));
    let member = gz(&vec![0; 1 << 20]);
    (0..1024).for_each(|_| bomb.extend(&member));
    let want = "x is too long: its header says (1, 1) of u8, 1 bytes of values, but more follow; copy or download it \
                again";
    assert_eq!(error(&[("x", bomb), ("y", labels(&[0]))], &idx_xy(), LabelKind::Numbers), want);
}

#[test]
fn shapes_that_do_not_fit_name_the_files() {
    let (x, y) = (idx(8, &[2, 4], &[0; 8]), labels(&[0, 1]));
    let shape = |sides: &[u32]| DataSettings { shape: Some(sides.to_vec()), ..idx_xy() };
    let all = settings(DataSource::Idx(PartArrays { test: Some(pair("u", "y")), ..xy() }));
    let validation = |rows| DataSettings { validation: HeldOut::Count(rows), ..idx_xy() };
    let refused = "which `shape` (3, 1, 1) cannot describe; correct `shape`";
    for (settings, x, y, want) in [
        (&idx_xy(), &x, &labels(&[0, 1, 1]), "x has 2 rows, but y has 3; each row of features needs its label"),
        (&shape(&[3, 1, 1]), &x, &y, &format!("x has rows of (4,), 4 values each, {refused}")),
        (
            &shape(&[2, 2]),
            &x,
            &y,
            "x has rows of (4,), 4 values each, which `shape` (2, 2) cannot describe; correct `shape`",
        ),
        (
            &idx_xy(),
            &labels(&[0, 1]),
            &y,
            "x has shape (2,); features are (rows, values), (rows, height, width) or (rows, height, width, channels)",
        ),
        (&idx_xy(), &x, &idx(8, &[1, 2, 1], &[0, 1]), "y has shape (1, 2, 1); labels are (rows,) or (rows, outputs)"),
        (
            &idx_xy(),
            &x,
            &idx(8, &[2, 2], &[0, 1, 1, 0]),
            "y has shape (2, 2); labels of classes are one class a row, (rows,); of one-hot rows, take the \
             argmax",
        ),
        (&idx_xy(), &idx(8, &[2, 0], &[]), &y, "x has shape (2, 0); rows need at least one value"),
        (&idx_xy(), &idx(8, &[0, 4], &[]), &y, "x has no rows; at least one is needed"),
        (&idx_xy(), &idx(8, &[], &[1]), &y, "x has shape (); that is a single number, and rows are needed"),
        (&all, &x, &y, "x has rows of (4,), but u has rows of (2, 2); training and test rows need one shape"),
        (
            &validation(2),
            &x,
            &y,
            "x: it has 2 rows; `validation_rows` is 2 and has to be below that, to leave rows to train on",
        ),
    ] {
        let files = [("x", x.clone()), ("y", y.clone()), ("u", idx(8, &[2, 2, 2], &[0; 8]))];
        assert_eq!(error(&files, settings, LABELS), want);
    }
}

#[test]
fn values_that_are_no_finite_number_or_no_class_are_named_with_their_place() {
    let x = |values: [f64; 4]| npy("<f8", false, "(2, 2)", &values.map(f64::to_le_bytes).concat());
    let y = |values: [f64; 2]| npy("<f8", false, "(2,)", &values.map(f64::to_le_bytes).concat());
    let numbers = x([1.0, 2.0, 3.0, 4.0]);
    let finite = "is not a finite 32-bit number; replace it, or leave the row out";
    let class = "is not a class: classes are whole numbers or words; if \
                 labels are numbers, write loss = \"mean_squared_error\" in [model], or for a program labels = \"numbers\" \
                 in [data]";
    let squared = LabelKind::Numbers;
    let missing = "repair it, or write in [data] missing = \"mean\" (the mean of the column stands for it) or missing = \
                   \"drop\" (its row is left out)";
    for (x, y, loss, want) in [
        (
            x([1.0, f64::NAN, 3.0, 4.0]),
            y([0.0, 1.0]),
            LABELS,
            format!("x, row 0, column 1 (counted from 0): the value is missing; {missing}"),
        ),
        (x([1.0, 2.0, 1e39, 4.0]), y([0.0, 1.0]), LABELS, {
            format!("x, row 1, column 0 (counted from 0): 1e39 {finite}")
        }),
        (numbers.clone(), y([0.0, -f64::INFINITY]), squared, {
            format!("y, row 1, column 0 (counted from 0): -inf {finite}")
        }),
        (numbers.clone(), y([0.0, 1.5]), LABELS, format!("y, row 1, column 0 (counted from 0): 1.5 {class}")),
        (numbers.clone(), y([0.0, f64::NAN]), LABELS, {
            "y, row 1, column 0 (counted from 0): the label is missing; repair it, or write missing = \"drop\" in [data] to \
             leave such rows out"
                .to_owned()
        }),
    ] {
        assert_eq!(error(&[("x", x), ("y", y)], &npy_xy(), loss), want);
    }
}

#[test]
fn arrays_of_other_kinds_are_refused_with_what_is_read() {
    let y = npy("|u1", false, "(1,)", &[0]);
    let types = "are not read; convert them to bool, an integer of 8 to 64 bits, float16, float32 or float64";
    for (x, want) in [
        (npy("<c8", false, "(1, 1)", &[0; 8]), format!("x: values of type `<c8` {types}")),
        (npy("|O", false, "(1, 1)", &[0; 8]), format!("x: values of type `|O` {types}")),
        (b"\x93NUMPY\x09\x00".to_vec(), "x: NPY version 9 is not read; write it anew with version 1 to 3".to_owned()),
        (
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff{".to_vec(),
            "x: its header is damaged: a length of 4294967295 bytes; copy or write the file again".to_owned(),
        ),
        (
            b"\x93NUMPY\x01\x00\x10\x00{'descr'".to_vec(),
            "x: its header is damaged: it is cut short; copy or write the file again".to_owned(),
        ),
        (
            b"\x93NUMPY\x01\x00\x02\x00{}".to_vec(),
            "x: its header is damaged: `descr`, `fortran_order` or `shape` is missing; copy or write the file again"
                .to_owned(),
        ),
        (labels(&[0]), {
            "x is no NPY file: it starts with 00 00 08 01 00 00; check `format` and the path in [data]".to_owned()
        }),
    ] {
        assert_eq!(error(&[("x", x), ("y", y.clone())], &npy_xy(), LABELS), want);
    }
}

#[test]
fn archives_name_the_array() {
    let (x, y) = (npy("|u1", false, "(1, 1)", &[5]), npy("|u1", false, "(1,)", &[0]));
    let archive = |name: &str, method, x: &[u8]| {
        let y = y.clone();
        zip(&[(name, method, x.to_vec(), x.to_vec()), ("y.npy", 0, y.clone(), y)])
    };
    let good = archive("x.npy", 0, &x);
    let mut changed = good.clone();
    let pixel = good.windows(2).position(|pair| pair == b"\n\x05").unwrap() + 1;
    changed[pixel] = 6;
    let mut encrypted = good.clone();
    let entry = good.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    encrypted[entry + 8] = 1;
    for (archive, want) in [
        (archive("xs.npy", 0, &x), "xy.npz (array `x`): there is no such array in the archive; it has: xs, y"),
        (
            archive("x.npy", 12, &x),
            "xy.npz (array `x`): its compression (ZIP method 12) is not read; write it with `np.savez`",
        ),
        (
            archive("x.npy", 0, &x[..x.len() - 1]),
            "xy.npz (array `x`) is too short: its header says (1, 1) of u8, 1 bytes of values, but 0 follow; copy or \
             download it again",
        ),
        (
            changed,
            "xy.npz (array `x`): its compressed data is damaged (its check sum differs); copy or download it again",
        ),
        (encrypted, "xy.npz (array `x`): it is encrypted; write the archive without a password"),
        (good[..good.len() - 30].to_vec(), {
            "xy.npz ends in the middle of its compressed data; copy or download it again"
        }),
        (x.clone(), "xy.npz is no NPZ file: it starts with 93 4e 55 4d; check `format` and the path in [data]"),
    ] {
        assert_eq!(error(&[("xy.npz", archive)], &npz_xy(), LabelKind::Numbers), want);
    }
}

#[test]
fn tables_name_line_and_column() {
    let class = "is not a class: classes are whole numbers or words; if \
                 labels are numbers, write loss = \"mean_squared_error\" in [model], or for a program labels = \"numbers\" \
                 in [data]";
    let number = "is not a number; repair it, or leave its row or its column out; if the column holds words, list it in \
                  `category_columns`";
    let missing = "the value is missing; repair it, or write in [data] missing = \"mean\" (the mean of the column stands for \
                   it) or missing = \"drop\" (its row is left out)";
    let label = "the label is missing; repair it, or write missing = \"drop\" in [data] to leave such rows out";
    let finite = "is not a finite 32-bit number; replace it, or leave the row out";
    for (text, want) in [
        ("a,lable\n1,0\n", "train.csv has no column `label`; did you mean `lable`? It has: a, lable".to_owned()),
        ("a,b\n1,0\n", "train.csv has no column `label`; it has: a, b".to_owned()),
        ("a,label,label\n1,0,1\n", "train.csv has more than one column `label`; rename all but one".to_owned()),
        ("label\n0\n", "train.csv has no column besides the label's, `label`; features need at least one".to_owned()),
        ("a,label\n", "train.csv has no rows; at least one is needed".to_owned()),
        ("\n\n", "train.csv has no rows; at least one is needed".to_owned()),
        ("", "train.csv is empty; copy or download it again".to_owned()),
        (
            "a,label\n1,0\n1,0,3\n",
            "train.csv, line 3: 3 fields, but the header line has 2; repair the line".to_owned(),
        ),
        ("a,label\n1,0\n1\n", "train.csv, line 3: 1 fields, but the header line has 2; repair the line".to_owned()),
        ("a,label\n1,0\ntall,1\n", format!("train.csv, line 3, column `a`: \"tall\" {number}")),
        ("a,label\r\n1,0\r\ntall,1\r\n", format!("train.csv, line 3, column `a`: \"tall\" {number}")),
        ("a,label\n\n\n1,0\n\ntall,1\n", format!("train.csv, line 6, column `a`: \"tall\" {number}")),
        ("a,label\n\"1\",0\n\"2\n3\",0\n", format!("train.csv, line 3, column `a`: \"2\\n3\" {number}")),
        ("a,label\n1,\n", format!("train.csv, line 2, column `label`: {label}")),
        ("a,label\nnan,0\n", format!("train.csv, line 2, column `a`: {missing}")),
        ("a,label\n1e39,0\n", format!("train.csv, line 2, column `a`: 1e39 {finite}")),
        ("a,label\n1,inf\n", format!("train.csv, line 2, column `label`: inf {finite}")),
        ("a,label\n1,0.5\n", format!("train.csv, line 2, column `label`: 0.5 {class}")),
    ] {
        assert_eq!(error(&[("train.csv", text.into())], &csv(false), LABELS), want, "{text:?}");
    }
    let tables = [("train.csv", b"a,label\n1,0\n".to_vec()), ("test.csv", b"A,label\n1,0\n".to_vec())];
    let want = "test.csv has no column `a`; did you mean `A`? It has: A, label";
    assert_eq!(error(&tables, &csv(true), LABELS), want);
    let packed = gz(["a,label\n", &"1,0\n".repeat(9)].concat().as_bytes());
    let cut = packed[..packed.len() - 9].to_vec();
    let want = "train.csv ends in the middle of its compressed data; copy or download it again";
    assert_eq!(error(&[("train.csv", cut)], &csv(false), LABELS), want);
}

#[test]
fn a_quote_that_is_never_closed_does_not_fill_the_memory() {
    let text = ["a,label\n\"".to_owned(), " ".repeat(65 << 20)].concat();
    let want = "train.csv is too large: a line of more than 67108864 bytes; is a quote not closed?";
    assert_eq!(error(&[("train.csv", gz(text.as_bytes()))], &csv(false), LABELS), want);
}

#[test]
fn targets_of_another_width_in_the_test_rows_name_both_files() {
    let (x, y) = (npy("|u1", false, "(2, 1)", &[3, 4]), npy("|u1", false, "(2,)", &[0, 1]));
    let v = npy("|u1", false, "(2, 2)", &[0, 1, 2, 3]);
    let settings = settings(DataSource::Npy(PartArrays { test: Some(pair("x", "v")), ..xy() }));
    let want = "y has rows of (1,), but v has rows of (2,); training and test rows need one shape";
    assert_eq!(error(&[("x", x), ("y", y), ("v", v)], &settings, LabelKind::Numbers), want);
}

#[test]
fn rows_too_wide_for_a_scaling_of_each_value_are_refused() {
    let x = idx(8, &[1, (1 << 22) + 1], &vec![0; (1 << 22) + 1]);
    let standard = DataSettings { scaling: ScalingKind::Standard, ..idx_xy() };
    let want = "x is too large: rows of 4194305 values; `scaling = \"standard\"` takes at most 4194304";
    assert_eq!(error(&[("x", x), ("y", labels(&[0]))], &standard, LabelKind::Numbers), want);
}
