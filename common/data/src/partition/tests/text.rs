//! Tables that are text.

use proptest::prelude::*;

use super::*;
use crate::tests::gz;

/// As many rows, with an age of their own each.
fn rows(count: usize) -> String {
    let row = |row: usize| format!("{},\"{}\",{}\n", row % 90, ["red", "blue"][row % 2], !row.is_multiple_of(3));
    let rows: String = (0..count).map(row).collect();
    format!("age,color,member\n{rows}")
}

#[test]
fn a_text_is_cut_into_nearly_equal_parts_and_their_rows_are_those_of_the_whole() {
    let folder = Folder::with(&[("t.csv", rows(1000).as_bytes())]);
    let path = folder.path("t.csv");
    assert_eq!(same_as_whole(&table(), &path, 1000), [Some(1000)]);
    assert_eq!(same_as_whole(&table(), &path, 999), [Some(496), Some(504)], "marks stand 31 rows apart");
    let even = (0..34).map(|part| Some((part + 1) * 1000 / 34 - part * 1000 / 34)).collect::<Vec<_>>();
    assert_eq!(same_as_whole(&table(), &path, 30), even);
    assert_eq!(same_as_whole(&table(), &path, 1).len(), 1000);
}

#[test]
fn records_with_line_breaks_doubled_quotes_and_blank_lines_are_cut_where_they_begin() {
    for (name, text) in [
        ("line breaks", "age,color,member,note\n1,red,yes,\"a\n1,red,yes,\n\"\n2,blue,no,x\n3,red,no,\"\n\n\"\n"),
        (
            "doubled quotes",
            "age,color,member,note\n1,red,yes,\"\"\"\n\"\n2,blue,no,\"\"\"\"\n3,red,no,\"a\"\"\n\"\"b\"\n",
        ),
        ("quotes within cells", "age,color,member,note\n1,red,yes,5\" x\n2,blue,no,a\"b\"\n3,red,no,\"a\"b\"\n"),
        ("CRLF", "age,color,member\r\n1,red,yes\r\n\r\n2,\"blue\",no\r\n3,red,no\r\n"),
        ("no final newline", "age,color,member\n1,red,yes\n2,blue,no\n3,red,no"),
        ("an open quote at the end", "age,color,member,note\n1,red,yes,\n2,blue,no,\n3,red,no,\"a\nb"),
        ("blank lines", "\n \nage,color,member\n\n\n1,red,yes\n \t\n\"\"\n2,blue,no\n\n3,red,no\n\n  \n"),
        ("a mark", "\u{feff}age,color,member\n1,red,yes\n2,blue,no\n3,red,no\n"),
        ("two marks", "\u{feff}\u{feff}age,color,member\n1,red,yes\n2,blue,no\n3,red,no\n"),
        ("tabs", "age\tcolor\tmember\n1\tred\tyes\n2\tblue\tno\n3\tred\tno\n"),
        ("spaces", "age  color member\n 1 red   yes \n2 \"blue\"  no\n\n3 red no\n"),
        ("quotes between spaces", "age color member note\n1 red yes 5\"\n2 blue no 6\"\n3 red no x\n"),
    ] {
        let folder = Folder::with(&[("t.csv", text.as_bytes())]);
        for rows_max in [1, 2, 3] {
            let rows = same_as_whole(&table(), &folder.path("t.csv"), rows_max);
            let all: u64 = rows.iter().map(|rows| rows.unwrap()).sum();
            assert!(all == 3 && rows.len() as u64 <= 3_u64.div_ceil(rows_max), "{name}: {rows:?}");
        }
    }
}

#[test]
fn text_that_does_not_lie_there_as_it_is_stays_whole_and_what_it_costs_is_guessed() {
    let wide: Vec<u8> = format!("\u{feff}{}", rows(500)).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let packed = gz(rows(500).as_bytes());
    let folder = Folder::with(&[("wide.csv", &wide), ("packed.csv", &packed)]);
    for name in ["wide.csv", "packed.csv"] {
        assert_eq!(same_as_whole(&table(), &folder.path(name), 10), [None], "{name}");
        let cut = cut(&table(), &[folder.path(name)], &Wanted::default(), 10).unwrap();
        assert_eq!(cut.partitions[0].portion, Portion::Whole);
        assert!((50..2000).contains(&cut.partitions[0].cost), "{name}: {:?}", cut.partitions);
    }
}

#[test]
fn a_text_without_a_header_line_is_cut_from_its_first_row_on() {
    let mut schema = numbers(&["1", "2"], &["3"]);
    schema.text.header = Some(false);
    let folder = Folder::with(&[("t.csv", b"1,2\n3,4\n\n5,6\n")]);
    assert_eq!(same_as_whole(&schema, &folder.path("t.csv"), 2), [Some(1), Some(2)]);
    let cut = cut(&schema, &[folder.path("t.csv")], &keep(&["2"]), 2).unwrap();
    assert_eq!(texts(&read(&schema, &cut, &keep(&["2"])).unwrap().kept[0]), ["2", "4", "6"]);
}

#[test]
fn cells_are_passed_on_as_they_stand_there() {
    let text =
        "id,age,note,color,member\n007,1,NA,red,yes\n\"8\n\",2,,red,yes\n\u{feff}9,3,\"a, \"\"b\"\"\",red,yes\n";
    let (folder, wanted) = (Folder::with(&[("t.csv", text.as_bytes())]), keep(&["note", "id"]));
    for rows_max in [1, 5] {
        let cut = cut(&table(), &[folder.path("t.csv")], &wanted, rows_max).unwrap();
        let column = |name: &str| KeptColumn { name: name.to_owned(), kind: KeptKind::Text };
        assert_eq!(cut.kept, [column("note"), column("id")]);
        let read = read(&table(), &cut, &wanted).unwrap();
        assert_eq!(texts(&read.kept[0]), ["NA", "missing", "a, \"b\""]);
        assert_eq!(
            texts(&read.kept[1]),
            ["007", "8", "\u{feff}9"],
            "a letter of the cell, wherever a partition begins"
        );
    }
}

#[test]
fn an_input_of_more_partitions_than_there_may_be_is_refused_before_they_are_made() {
    let text = format!("a\n{}", "1\n".repeat((1 << 18) + 1));
    let array = crate::tests::npy("|u1", false, "(262145, 1)", &vec![1; (1 << 18) + 1]);
    let folder = Folder::with(&[("t.csv", text.as_bytes()), ("rows.npy", &array)]);
    for (name, schema) in [("t.csv", numbers(&["a"], &["y"])), ("rows.npy", images(&[1], false))] {
        let error = folder.shown(&cut(&schema, &[folder.path(name)], &Wanted::default(), 1).unwrap_err());
        let words =
            "is too large: with it the input is cut into more than 262144 partitions, of at most 1 rows; allow more";
        assert!(error.starts_with(&format!("{name} {words}")), "{error}");
        assert_eq!(
            cut(&schema, &[folder.path(name)], &Wanted::default(), 2).unwrap().partitions.len(),
            (1 << 17) + 1
        );
    }
}

/// A piece of a cell, as hostile as it may be.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(" ".to_owned()),
        "[a-z]{0,3}",
        Just("a\"b".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"\n\"".to_owned()),
        Just("\"a,\n\n\"\"b\r\n\"".to_owned()),
        Just("\"a\" b".to_owned()),
        Just("\"\"\"\"".to_owned()),
        Just("\u{feff}".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_quotes_a_text_has_its_parts_have_the_rows_of_the_whole(
        cells in prop::collection::vec((cell(), cell(), prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n"), Just("\n \n")]), 1..40),
        rows_max in 1_u64..9,
        is_ended in any::<bool>(),
        delimiter in prop_oneof![Just(','), Just('\t'), Just(' ')],
    ) {
        let d = delimiter;
        let mut text = format!("a{d}x{d}z\n");
        for (row, (one, other, end)) in cells.iter().enumerate() {
            let [one, other] = [one, other].map(|cell| cell.replace(',', &d.to_string()));
            let row = row.to_string();
            text.extend([row.as_str(), &d.to_string(), &one, &d.to_string(), &other, *end]);
        }
        let text = if is_ended { text.as_str() } else { text.trim_end_matches(['\r', '\n', ' ']) };
        let folder = Folder::with(&[("t.csv", text.as_bytes())]);
        let mut schema = numbers(&["a"], &["y"]);
        schema.text.delimiter = Some(delimiter as u8);
        // What is ragged is set aside in either way: one partition is read as the whole is.
        let wanted = keep(&["x"]);
        let together = cut(&schema, &[folder.path("t.csv")], &wanted, 1000).unwrap();
        let apart = cut(&schema, &[folder.path("t.csv")], &wanted, rows_max).unwrap();
        let (together, parts) = (read(&schema, &together, &wanted).unwrap(), read(&schema, &apart, &wanted).unwrap());
        prop_assert_eq!(&together, &parts);
        if parts.bad.is_empty() {
            let (features, _) = whole(&schema, &folder.path("t.csv"));
            prop_assert!(features == parts.features);
        }
    }
}
