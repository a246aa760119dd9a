//! Files that do not fit each other, though each is good.

use super::*;

fn words(words: &[&str]) -> Vec<u8> {
    let letters = words.iter().flat_map(|word| {
        let mut letters: Vec<u32> = word.chars().map(u32::from).collect();
        letters.resize(4, 0);
        letters.into_iter().flat_map(u32::to_le_bytes)
    });
    npy("<U4", false, &format!("({},)", words.len()), &letters.collect::<Vec<_>>())
}

fn column(values: &[u8]) -> Vec<u8> {
    npy("|u1", false, &format!("({}, 1)", values.len()), values)
}

fn labels(values: &[u8]) -> Vec<u8> {
    npy("|u1", false, &format!("({},)", values.len()), values)
}

#[test]
fn labels_that_are_words_stay_words_unless_they_are_whole_numbers_as_programs_write_them() {
    for (given, want) in [
        (["1.5", "1.7", "1.5"], vec!["1.5", "1.7"]),
        (["10", "9", "10"], vec!["9", "10"]),
        (["01", "1", "1"], vec!["01", "1"]),
        (["nan", "0", "0"], vec!["0", "nan"]),
    ] {
        let folder = Folder::with(&[("x", column(&[1, 2, 3])), ("y", words(&given))]);
        assert_eq!(folder.load(&npy_xy(), LabelKind::Classes).unwrap().class_names(), want);
    }
}

#[test]
fn labels_of_one_part_are_not_words_where_those_of_another_are_numbers() {
    let folder = Folder::with(&[("x", column(&[1, 2])), ("y", labels(&[0, 1])), ("v", words(&["1", "0"]))]);
    let settings = settings(DataSource::Npy(PartArrays { test: Some(pair("x", "v")), ..xy() }));
    let refused = folder.load(&settings, LabelKind::Classes).unwrap_err();
    assert_eq!(refused, "y: labels are numbers in one part and text in another; write them in one way");
}

#[test]
fn lists_of_files_are_paired_file_by_file() {
    let folder = Folder::with(&[
        ("a", column(&[1, 2, 3])),
        ("b", column(&[4])),
        ("ya", labels(&[0, 1, 0])),
        ("yb", labels(&[1])),
    ]);
    let with = |labels: [&str; 2]| {
        let train = ArrayPair { features: vec!["a".into(), "b".into()], labels: labels.map(PathBuf::from).to_vec() };
        settings(DataSource::Npy(PartArrays { train, ..xy() }))
    };
    let loaded = folder.load(&with(["ya", "yb"]), LabelKind::Classes).unwrap();
    assert_eq!(values(loaded, Part::Train), (vec![1.0, 2.0, 3.0, 4.0], vec![0.0, 1.0, 0.0, 1.0]));
    let refused = folder.load(&with(["yb", "ya"]), LabelKind::Classes).unwrap_err();
    assert_eq!(refused, "a has 3 rows, but yb has 1; each row of features needs its label");
}

#[test]
fn columns_by_number_are_those_of_the_first_table_in_whatever_order_others_have_them() {
    let folder = Folder::with(&[("train.csv", b"y,a\n0,5\n1,6\n".to_vec()), ("test.csv", b"a,y\n7,1\n".to_vec())]);
    let mut settings = csv(true);
    let DataSource::Table(table) = &mut settings.source else { panic!("no table") };
    table.label_column = ColumnName::Number(1);
    let loaded = folder.load(&settings, LabelKind::Classes).unwrap();
    assert_eq!(values(loaded, Part::Test), (vec![7.0], vec![1.0]));
    for (features, words) in [
        (vec![ColumnName::Number(1)], "`feature_columns` names `y`, the label's column"),
        (
            vec![ColumnName::Number(2), ColumnName::Name("a".to_owned())],
            "`feature_columns` names `a`, a column that stands there already",
        ),
    ] {
        let DataSource::Table(table) = &mut settings.source else { panic!("no table") };
        table.feature_columns = Some(features);
        let refused = folder.load(&settings, LabelKind::Classes).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn an_archive_that_has_nothing_of_the_study_is_named() {
    let (x, y) = (column(&[1, 2]), labels(&[0, 1]));
    let archive = |names: [&str; 2]| zip(&[(names[0], 0, x.clone(), x.clone()), (names[1], 0, y.clone(), y.clone())]);
    let folder = Folder::with(&[("a.npz", archive(["x.npy", "y.npy"])), ("b.npz", archive(["X.npy", "Y.npy"]))]);
    let files = PartFiles { train: vec!["a.npz".into(), "b.npz".into()], validation: None, test: None };
    let refused = folder.load(&settings(DataSource::Npz { files, arrays: xy() }), LabelKind::Classes).unwrap_err();
    assert!(refused.starts_with("b.npz: it has none of the arrays that the study names"), "{refused}");
}

#[test]
fn a_file_that_is_named_twice_is_remarked() {
    let folder = Folder::with(&[("a", column(&[1, 2, 3])), ("y", labels(&[0, 1, 0]))]);
    let train = ArrayPair { features: vec!["a".into(), "./a".into()], labels: vec!["y".into(), "y".into()] };
    let twice = settings(DataSource::Npy(PartArrays { train, ..xy() }));
    let loaded = folder.load(&twice, LabelKind::Classes).unwrap();
    assert!(
        loaded.remarks.iter().any(|remark| remark.contains("each of its rows counts twice")),
        "{:?}",
        loaded.remarks
    );
    let both = PartArrays { train: pair("a", "y"), test: Some(pair("a", "y")), ..xy() };
    let loaded = folder.load(&settings(DataSource::Npy(both)), LabelKind::Classes).unwrap();
    let wanted = "its rows are training rows and test rows too, so that errors look better than they are";
    assert!(loaded.remarks.iter().any(|remark| remark.ends_with(wanted)), "{:?}", loaded.remarks);
    let alone = PartArrays { train: pair("a", "y"), ..xy() };
    let loaded = folder.load(&settings(DataSource::Npy(alone)), LabelKind::Classes).unwrap();
    assert!(!loaded.remarks.iter().any(|remark| remark.contains("twice") || remark.contains("better")));
}

#[test]
fn words_that_are_no_text_are_refused_with_their_place() {
    let bytes = npy("|S2", false, "(3,)", b"okb\xe9no");
    let folder = Folder::with(&[("x", column(&[1, 2, 3])), ("y", bytes)]);
    let refused = folder.load(&npy_xy(), LabelKind::Classes).unwrap_err();
    assert!(refused.starts_with("y, row 1, column 0 (counted from 0): bytes that are no text"), "{refused}");
}
