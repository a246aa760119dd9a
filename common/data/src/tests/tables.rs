//! Tables as people have them: how they are written, what their columns are, which rows are held out.

use broadsweep_common::dataset::{Element, Part, TargetKind};
use broadsweep_common::schema::{ColumnKind, Inputs, Outputs, Scale};

use super::*;
use crate::settings::Missing;

fn table(settings: &mut DataSettings) -> &mut TableSource {
    let DataSource::Table(table) = &mut settings.source else { panic!("no table") };
    table
}

fn written(dialect: Dialect) -> DataSettings {
    let mut settings = csv(false);
    table(&mut settings).format = TableFormat::Text(dialect);
    settings
}

fn name(name: &str) -> ColumnName {
    ColumnName::Name(name.to_owned())
}

fn load_text(text: &str, settings: &DataSettings) -> Result<Loaded, String> {
    Folder::with(&[("train.csv", text.as_bytes().to_vec())]).load(settings, settings.labels)
}

fn columns(loaded: &Loaded) -> Vec<(String, ColumnKind)> {
    let Inputs::Columns(columns) = loaded.schema.clone().unwrap().inputs else { panic!("no columns") };
    columns.into_iter().map(|column| (column.name, column.kind)).collect()
}

fn classes(loaded: &Loaded) -> Vec<String> {
    let Outputs::Classes { names, .. } = loaded.schema.clone().unwrap().outputs else { panic!("no classes") };
    names
}

#[test]
fn one_table_in_every_writing_gives_the_same_bytes() {
    let plain = "a,b,label\n1.5,2,0\n-3,4.25,1\n";
    let want = load_text(plain, &csv(false)).unwrap();
    let wide =
        |unit: fn(u16) -> [u8; 2]| -> Vec<u8> { format!("\u{feff}{plain}").encode_utf16().flat_map(unit).collect() };
    let mut padded = gz(plain.as_bytes());
    padded.extend([0; 512]);
    for (name, bytes) in [
        ("semicolons", b"a;b;label\n1,5;2;0\n-3;4,25;1\n".to_vec()),
        ("tabs", b"a\tb\tlabel\r\n1.5\t2\t0\r\n-3\t4.25\t1".to_vec()),
        ("bars", b"a|b|label\n1.5|2|0\n-3|4.25|1\n".to_vec()),
        ("spaces", b"  a  b label\n 1.5   2  0  \n-3 4.25 1\n".to_vec()),
        ("quotes", b"\"a\",\"b\",\"label\"\n\"1.5\",2,\"0\"\n -3 , 4.25 ,1\n".to_vec()),
        ("a mark", format!("\u{feff}{plain}").into_bytes()),
        ("UTF-16", wide(u16::to_le_bytes)),
        ("UTF-16, the other way", wide(u16::to_be_bytes)),
        ("gzip", gz(plain.as_bytes())),
        ("gzip with padding", padded),
        ("zstd", zstd::encode_all(plain.as_bytes(), 3).unwrap()),
        ("an index of pandas", b",a,b,label\n0,1.5,2,0\n1,-3,4.25,1\n".to_vec()),
        ("an index that was read again", b"Unnamed: 0,a,b,label\n0,1.5,2,0\n1,-3,4.25,1\n".to_vec()),
    ] {
        let loaded = Folder::with(&[("train.csv", bytes)]).load(&csv(false), LabelKind::Classes);
        let loaded = loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(loaded.data.content.as_ref(), want.data.content.as_ref(), "{name}");
        assert_eq!(loaded.remarks.len(), usize::from(name.contains("index")), "{name}: {:?}", loaded.remarks);
    }
}

#[test]
fn encodings_and_dialects_are_as_the_study_says() {
    let latin = written(Dialect { encoding: Some("latin1".to_owned()), ..Dialect::default() });
    let folder = Folder::with(&[("train.csv", b"gr\xf6\xdfe,label\n1,ja\n2,n\xf6\n".to_vec())]);
    let loaded = folder.load(&latin, LabelKind::Classes).unwrap();
    assert_eq!((columns(&loaded)[0].0.as_str(), classes(&loaded)), ("größe", vec!["ja".to_owned(), "nö".to_owned()]));
    let refused = folder.load(&csv(false), LabelKind::Classes).unwrap_err();
    assert!(refused.starts_with("train.csv, line 1: the byte f6 in \"gr"), "{refused}");
    assert!(refused.contains("encoding = \"latin1\""), "{refused}");

    let decimal = written(Dialect { decimal: Some(b','), ..Dialect::default() });
    let loaded = load_text("a;label\n1,234;0\n12,345;1\n", &decimal).unwrap();
    assert_eq!(values(loaded, Part::Train).0, [1.234, 12.345]);
}

#[test]
fn a_decimal_comma_that_was_found_is_remembered_for_later_tables() {
    let known = |text: &str, settings: &DataSettings| load_text(text, settings).unwrap().schema.unwrap().text.decimal;
    assert_eq!(known("a;label\n1,5;0\n2,25;1\n", &csv(false)), Some(b','));
    assert_eq!(known("a;label\n1.5;0\n2.25;1\n", &csv(false)), None);
    assert_eq!(known("a,label\n1,0\n2,1\n", &csv(false)), None);
    let mixed = Folder::with(&[
        ("train.csv", b"a;label\n1,5;0\n2,25;1\n".to_vec()),
        ("test.csv", b"a;label\n1.5;0\n".to_vec()),
    ]);
    let text = mixed.load(&csv(true), LabelKind::Classes).unwrap().schema.unwrap().text;
    assert_eq!(text, Dialect::default(), "the tables do not agree");
}

#[test]
fn a_word_that_no_training_row_has_is_told() {
    let train = b"color,size,label\nred,5,0\nblue,2,1\nred,9,1\n".to_vec();
    let test = b"color,size,label\nmauve,4,0\nred,5,1\nteal,6,1\n".to_vec();
    let loaded =
        Folder::with(&[("train.csv", train.clone()), ("test.csv", test)]).load(&csv(true), LabelKind::Classes);
    let told = loaded.unwrap().remarks;
    let expected =
        "train.csv: no training row has \"mauve\", \"teal\" in the column `color`, so that nothing is learned of it";
    assert!(told.len() == 1 && told[0].ends_with(expected), "{told:?}");
    let known =
        Folder::with(&[("train.csv", train.clone()), ("test.csv", train)]).load(&csv(true), LabelKind::Classes);
    assert!(known.unwrap().remarks.iter().all(|remark| !remark.contains("no training row")));
    // Of three rows one is held out, and with it its word.
    let drawn = DataSettings { validation: HeldOut::Count(1), ..csv(false) };
    let loaded = load_text("color,size,label\na,1,0\nb,9,1\nc,4,1\n", &drawn).unwrap();
    let held_out = ["a", "b", "c"][loaded.held_out[0][0] as usize];
    let remark = format!("no training row has \"{held_out}\" in the column `color`");
    assert!(loaded.remarks.iter().any(|told| told.contains(&remark)), "{:?}", loaded.remarks);
}

#[test]
fn a_table_with_other_marks_than_the_study_says_says_which_to_write() {
    let commas = written(Dialect { delimiter: Some(b','), ..Dialect::default() });
    let refused = load_text("a;label\n1;0\n", &commas).unwrap_err();
    assert!(refused.contains("it has one column, `a;label`") && refused.contains("delimiter = \";\""), "{refused}");
    let points = written(Dialect { delimiter: Some(b';'), decimal: Some(b'.'), ..Dialect::default() });
    let rows: Vec<_> = (10..90).map(|row| format!("0,{row};{}", row % 2)).collect();
    let refused = load_text(&format!("a;label\n{}\n", rows.join("\n")), &points).unwrap_err();
    assert!(refused.contains("different words") && refused.contains("as decimal = \",\" in [data]"), "{refused}");
    let numbers = DataSettings { labels: LabelKind::Numbers, ..csv(false) };
    let folder = Folder::with(&[("train.csv", b"a,label\n1,cat\n".to_vec())]);
    let refused = folder.load(&numbers, LabelKind::Numbers).unwrap_err();
    assert!(refused.contains("the label \"cat\" is not a number") && refused.contains("cross_entropy"), "{refused}");
}

#[test]
fn columns_without_a_header_line_are_called_by_their_numbers() {
    let mut settings = written(Dialect { header: Some(false), ..Dialect::default() });
    table(&mut settings).label_column = ColumnName::Number(3);
    let loaded = load_text("5.1,3.5,setosa\n4.9,3.0,virginica\n", &settings).unwrap();
    let names: Vec<_> = columns(&loaded).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        (names, classes(&loaded)),
        (vec!["1".to_owned(), "2".to_owned()], vec!["setosa".into(), "virginica".into()])
    );
    assert_eq!(loaded.header.rows, [2, 0, 0]);
    table(&mut settings).label_column = ColumnName::Number(4);
    let refused = load_text("5.1,3.5,setosa\n", &settings).unwrap_err();
    assert_eq!(refused, "train.csv: there is no column 4: it has 3");
}

#[test]
fn words_become_columns_of_their_own_and_words_for_yes_and_no_become_numbers() {
    let text = "color,sunny,label\nred,yes,cat\nblue,no,dog\nred,Yes,cat\n";
    let loaded = load_text(text, &csv(false)).unwrap();
    let kinds = columns(&loaded);
    let names = vec!["blue".to_owned(), "red".to_owned()];
    assert_eq!(kinds[0].1, ColumnKind::Categories { names, may_miss: false });
    assert_eq!(kinds[1].1, ColumnKind::Flag { scale: Scale::NONE, fill: None });
    assert_eq!((loaded.header.shape.clone(), loaded.header.element), (vec![3], Element::U8));
    assert_eq!(classes(&loaded), ["cat", "dog"]);
    let (features, labels) = values(loaded, Part::Train);
    assert_eq!(features, [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(labels, [0.0, 1.0, 0.0]);
}

#[test]
fn words_have_a_bound_and_are_not_mixed_with_numbers_unless_the_study_says_so() {
    let mut settings = csv(false);
    table(&mut settings).categories_max = 2;
    let refused = load_text("a,label\nx,0\ny,1\nz,0\n", &settings).unwrap_err();
    let want = "train.csv, line 4, column `a`: the column has more than 2 different words (the first are \"x\", \"y\"); leave \
                it out with `leave_out`, or allow more with `categories`";
    assert_eq!(refused, want);
    let refused = load_text("a,label\nx,0\n7,1\n", &csv(false)).unwrap_err();
    assert!(
        refused.starts_with("train.csv, line 3, column `a`: \"7\" is a number in a column of words"),
        "{refused}"
    );
    table(&mut settings).category_columns = vec![name("a")];
    let loaded = load_text("a,label\n7,0\n10,1\n7,1\n", &settings).unwrap();
    assert_eq!(values(loaded, Part::Train).0, [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn missing_values_are_an_error_the_mean_or_a_row_less() {
    let text = "a,b,label\n1,x,0\n,y,1\nNA,,1\n5,x,0\n";
    let with = |missing| DataSettings { missing, ..csv(false) };
    let refused = load_text(text, &with(Missing::Error)).unwrap_err();
    assert!(refused.starts_with("train.csv, line 3, column `a`: the value is missing"), "{refused}");
    let loaded = load_text(text, &with(Missing::Mean)).unwrap();
    assert_eq!(columns(&loaded)[0].1, ColumnKind::Number { scale: Scale::NONE, fill: Some(3.0) });
    let (features, _) = values(loaded, Part::Train);
    assert_eq!(features, [1.0, 1.0, 0.0, 3.0, 0.0, 1.0, 3.0, 0.0, 0.0, 5.0, 1.0, 0.0]);
    let loaded = load_text(text, &with(Missing::Drop)).unwrap();
    let dropped =
        loaded.remarks.iter().any(|remark| remark.ends_with("train.csv: 2 rows with missing values left out"));
    assert!(dropped, "{:?}", loaded.remarks);
    let held_out = DataSettings { validation: HeldOut::Count(1), ..with(Missing::Drop) };
    let [validation, _] = load_text(text, &held_out).unwrap().held_out;
    assert!(validation == [0] || validation == [3], "rows are called by their number in the file: {validation:?}");
    let refused = load_text("a,label\n,0\n,1\n", &with(Missing::Drop)).unwrap_err();
    assert!(refused.contains("every row has a missing value"), "{refused}");
    let refused = load_text("a,label\n1,0\n2,\n", &with(Missing::Mean)).unwrap_err();
    assert!(refused.starts_with("train.csv, line 3, column `label`: the label is missing"), "{refused}");
}

#[test]
fn deviations_are_those_of_scikit_learn_with_missing_values_filled() {
    // import numpy as np; from sklearn.pipeline import make_pipeline; from sklearn.impute import SimpleImputer
    // from sklearn.preprocessing import StandardScaler
    // make_pipeline(SimpleImputer(), StandardScaler()).fit_transform([[1.5], [np.nan], [2.5], [9.0]])
    let settings = DataSettings { missing: Missing::Mean, scaling: ScalingKind::Standard, ..csv(false) };
    let loaded = load_text("a,label\n1.5,0\n,1\n2.5,1\n9,0\n", &settings).unwrap();
    let want = [-0.983_958_4_f32, 0.0, -0.636_679, 1.620_637_4];
    for (got, want) in values(loaded, Part::Train).0.into_iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{got} {want}");
    }
}

#[test]
fn times_are_centered_in_64_bits_and_people_are_told_where_they_collapse() {
    let text = "t,label\n1700000000,0\n1700000001,1\n1700000003,1\n";
    let standard = DataSettings { scaling: ScalingKind::Standard, ..csv(false) };
    let (features, _) = values(load_text(text, &standard).unwrap(), Part::Train);
    // numpy.float32((x - x.mean()) / x.std()) of [0, 1, 3]
    for (got, want) in features.iter().zip([-1.069_045_f32, -0.267_261_24, 1.336_306_2]) {
        assert!((got - want).abs() < 1e-6, "{features:?}");
    }
    let remarks = load_text(text, &csv(false)).unwrap().remarks;
    assert!(remarks[0].contains("the column `t` has values so close together"), "{remarks:?}");
    let constant = load_text("a,b,label\n1.5,7,0\n2,7,1\n", &standard).unwrap().remarks;
    let want = "train.csv: the column `b` is the same in all training rows, and nothing can be learned from it";
    assert!(constant[0].ends_with(want), "{constant:?}");
}

#[test]
fn a_value_that_no_scaling_brings_into_32_bits_is_named() {
    let folder = Folder::with(&[
        ("train.csv", b"a,label\n1.5,0\n2.5,1\n".to_vec()),
        ("test.csv", b"a,label\n1e300,0\n".to_vec()),
    ]);
    let settings = DataSettings { scaling: ScalingKind::Standard, ..csv(true) };
    let refused = folder.load(&settings, LabelKind::Classes).unwrap_err();
    assert!(refused.starts_with("test.csv: 1e300 in the column `a` of row 0 (counted from 0, over all"), "{refused}");
}

#[test]
fn targets_get_mean_0_and_variance_1_in_training_unless_the_study_says_otherwise() {
    let text = "a,label\n1,100000\n2,300000\n";
    let numbers = DataSettings { labels: LabelKind::Numbers, ..csv(false) };
    let loaded = load_text(text, &numbers).unwrap();
    let scale = loaded.header.target_scaling(0);
    assert_eq!((scale.center, scale.spread), (200_000.0, 100_000.0));
    assert_eq!(values(loaded, Part::Train).1, [-1.0, 1.0]);
    let loaded = load_text(text, &DataSettings { scales_targets: false, ..numbers }).unwrap();
    assert_eq!((loaded.header.target_scaling.len(), values(loaded, Part::Train).1), (0, vec![100_000.0, 300_000.0]));
}

#[test]
fn targets_that_are_all_the_same_or_become_so_are_named() {
    let numbers = |scales_targets| DataSettings { labels: LabelKind::Numbers, scales_targets, ..csv(false) };
    let constant = load_text("a,label\n1,7\n2,7\n", &numbers(true)).unwrap().remarks;
    assert!(constant.iter().any(|remark| remark.contains("all training targets are 7")), "{constant:?}");
    let close = "a,label\n1,1700000000.01\n2,1700000000.02\n";
    let remarks = load_text(close, &numbers(false)).unwrap().remarks;
    assert!(
        remarks.iter().any(|remark| remark.contains("do not tell them apart (from 1700000000.01")),
        "{remarks:?}"
    );
    let scaled = load_text(close, &numbers(true)).unwrap().remarks;
    assert!(!scaled.iter().any(|remark| remark.contains("training targets")), "{scaled:?}");
}

#[test]
fn names_that_stand_there_twice_are_numbered_and_columns_can_be_left_out() {
    let loaded = load_text("a,a,id,label\n1.5,2,9,0\n3,4,9,1\n", &csv(false)).unwrap();
    let names: Vec<_> = columns(&loaded).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "a.2", "id"]);
    assert!(loaded.remarks[0].contains("more than one column `a`"), "{:?}", loaded.remarks);
    let mut settings = csv(false);
    table(&mut settings).leave_out = vec![name("id"), ColumnName::Number(1)];
    let loaded = load_text("a,a,id,label\n1.5,2,9,0\n3,4,9,1\n", &settings).unwrap();
    assert_eq!(values(loaded, Part::Train).0, [2.0, 4.0]);
}

#[test]
fn rows_are_held_out_by_count_by_share_by_class_and_by_group() {
    let rows = (0..40).map(|row| format!("{row}.5,{},{}", row / 4, u8::from(row % 10 == 0)));
    let text = std::iter::once("a,g,label".to_owned()).chain(rows).collect::<Vec<_>>().join("\n");
    let mut settings = csv(false);
    settings.validation = HeldOut::Share(0.25);
    settings.test_rows = HeldOut::Share(0.25);
    let loaded = load_text(&text, &settings).unwrap();
    assert_eq!(loaded.header.rows, [20, 10, 10]);
    for part in [Part::Validation, Part::Test] {
        let ones = values(load_text(&text, &settings).unwrap(), part).1.iter().sum::<f32>();
        assert!((ones - 1.0).abs() < f32::EPSILON, "a share of the class in each part");
    }
    let mut drawn = loaded.held_out.concat();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 20);

    table(&mut settings).group_column = Some(name("g"));
    let loaded = load_text(&text, &settings).unwrap();
    assert_eq!(loaded.header.rows, [24, 8, 8], "whole groups of four, at most ten rows");
    for part in &loaded.held_out {
        assert!(part.chunks(4).all(|rows| rows.iter().all(|row| row / 4 == rows[0] / 4)), "{part:?}");
    }
    assert_eq!(columns(&loaded).len(), 1, "the groups are no feature");
    settings.stratified = Some(true);
    let refused = load_text(&text, &settings).unwrap_err();
    assert!(refused.contains("`stratified` holds classes out in their shares, and groups stay whole"), "{refused}");
}

#[test]
fn several_files_are_one_table_and_validation_rows_may_have_their_own() {
    let folder = Folder::with(&[
        ("a.csv", b"x,label\n1,0\n2,1\n".to_vec()),
        ("b.csv", b"label,x\n1,3\n".to_vec()),
        ("v.csv", b"x,label\n4,0\n".to_vec()),
    ]);
    let mut settings = csv(false);
    table(&mut settings).files =
        PartFiles { train: vec!["a.csv".into(), "b.csv".into()], validation: Some(vec!["v.csv".into()]), test: None };
    let loaded = folder.load(&settings, LabelKind::Classes).unwrap();
    assert_eq!((loaded.header.rows, loaded.header.targets), ([3, 1, 0], TargetKind::Classes { count: 2 }));
    let load = || folder.load(&settings, LabelKind::Classes).unwrap();
    assert_eq!(values(load(), Part::Train), (vec![1.0, 2.0, 3.0], vec![0.0, 1.0, 1.0]));
    assert_eq!(values(load(), Part::Validation), (vec![4.0], vec![0.0]));
}

#[test]
fn a_table_of_test_rows_without_labels_says_what_it_is_for() {
    let folder = Folder::with(&[("train.csv", b"a,label\n1,0\n2,1\n".to_vec()), ("test.csv", b"a\n1\n".to_vec())]);
    let refused = folder.load(&csv(true), LabelKind::Classes).unwrap_err();
    assert!(refused.contains("rows without labels are what `broadsweep predict` takes"), "{refused}");
}

#[test]
fn a_program_gets_numbers_as_32_bits_and_classes_with_their_own_numbers() {
    let settings = DataSettings { for_program: true, ..csv(false) };
    let loaded = load_text("a,label\n1,3\n2,5\n", &settings).unwrap();
    assert_eq!((loaded.header.element, loaded.header.targets), (Element::F32, TargetKind::Classes { count: 6 }));
    assert_eq!(values(loaded, Part::Train).1, [3.0, 5.0]);
}
