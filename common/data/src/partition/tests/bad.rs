//! Rows that are set aside, and labels.

use super::*;

/// Of each bad row: its number, its place and why.
fn bad(folder: &Folder, read: &Read) -> Vec<(u64, String, String)> {
    read.bad.iter().map(|bad| (bad.row, folder.shown(&bad.place), bad.reason.clone())).collect()
}

fn labelled(label: &str) -> Wanted {
    Wanted { keep: Vec::new(), labels: Some(label.to_owned()) }
}

#[test]
fn a_bad_row_is_set_aside_with_its_place_and_its_reason_and_no_other_is_moved() {
    let mut text = b"age,color,member,id\n1,red,yes,a\n".to_vec();
    text.extend(b"old,red,yes,b\n2,red\n3,pink,yes,c\n4,red,,d\n5,red,perhaps,e\ninf,red,yes,f\n");
    text.extend(b"6,\xff,yes,g\n7,red,yes,\xff\n1e300,red,yes,h\n8,red,yes,i,j\n9,blue,no,k\n");
    let (folder, wanted) = (Folder::with(&[("t.csv", &text)]), keep(&["id"]));
    let column = |line: u64, column: &str| format!("t.csv, line {line}, column `{column}`");
    let line = |line: u64| format!("t.csv, line {line}");
    let want = [
        (1, column(3, "age"), "\"old\" is not a finite number"),
        (2, line(4), "2 fields, but the header line has 4"),
        (3, column(5, "color"), "\"pink\" is none of its categories"),
        (
            4,
            column(6, "member"),
            "the value is missing, and none was missing in the rows that the model was trained on",
        ),
        (5, column(7, "member"), "\"perhaps\" is no word for yes or no"),
        (6, column(8, "age"), "\"inf\" is not a finite number"),
        (7, column(9, "color"), "it is no UTF-8 text; save the file as UTF-8"),
        (8, line(10), "the byte ff in \"\u{fffd}\" is no UTF-8"),
        (9, line(11), "it has a value that is no 32-bit number once scaled"),
        (10, line(12), "5 fields, but the header line has 4"),
    ];
    let want = want.map(|(row, place, reason)| (row, place, reason.to_owned()));
    for rows_max in [1, 3, 100] {
        let cut = cut(&table(), &[folder.path("t.csv")], &wanted, rows_max).unwrap();
        let read = read(&table(), &cut, &wanted).unwrap();
        assert_eq!((&read.numbers[..], texts(&read.kept[0])), (&[0, 11][..], vec!["a", "k"]));
        assert_eq!(bad(&folder, &read), want);
    }
    // What nobody asks for may be anything.
    let cut = cut(&table(), &[folder.path("t.csv")], &Wanted::default(), 100).unwrap();
    assert_eq!(read(&table(), &cut, &Wanted::default()).unwrap().numbers, [0, 8, 11]);
}

#[test]
fn reasons_are_bounded_and_no_names_are_compared_with_a_cell_without_end() {
    let text = format!("age,color,member\n1,\"{}\n\",yes\n", "pink".repeat(1 << 18));
    let folder = Folder::with(&[("t.csv", text.as_bytes())]);
    let cut = cut(&table(), &[folder.path("t.csv")], &Wanted::default(), 9).unwrap();
    let read = read(&table(), &cut, &Wanted::default()).unwrap();
    assert!(read.bad[0].reason.len() < 400 && !read.bad[0].reason.contains('\n'), "{:?}", read.bad);
    let schema = table();
    let mut rows = InputRows::open(&schema, &folder.path("t.csv")).unwrap();
    let error = rows.next_piece(1).unwrap_err().to_string();
    assert!(error.contains("is none of its categories; it has: blue, red"), "{error}");
}

#[test]
fn labels_are_read_where_they_are_asked_for_and_only_then_can_they_be_bad() {
    let text = "age,color,member,bought,other\n1,red,yes,yes,no\n2,red,no,maybe,\n3,red,no,no,yes\n";
    let folder = Folder::with(&[("t.csv", text.as_bytes())]);
    let read_with = |wanted: &Wanted| {
        let cut = cut(&table(), &[folder.path("t.csv")], wanted, 2).unwrap();
        let read = read(&table(), &cut, wanted).unwrap();
        let classes: Vec<u32> = read.targets.as_chunks().0.iter().map(|&bytes| u32::from_ne_bytes(bytes)).collect();
        (classes, read.has_target.clone(), bad(&folder, &read))
    };
    assert_eq!(read_with(&Wanted::default()), (vec![0, 0, 0], vec![false; 3], vec![]));
    let reason = "\"maybe\" is none of the classes that the model knows".to_owned();
    let unknown = vec![(1, "t.csv, line 3, column `bought`".to_owned(), reason)];
    assert_eq!(read_with(&labelled("bought")), (vec![1, 0], vec![true; 2], unknown));
    assert_eq!(read_with(&labelled("other")), (vec![0, 0, 1], vec![true, false, true], vec![]));
}

#[test]
fn labels_of_several_values_are_those_of_the_models_own_columns() {
    let schema = numbers(&["a"], &["y", "z"]);
    let folder = Folder::with(&[("t.csv", b"a,y,z,w\n1,2.5,4.5,1\n2,,0.5,1\n3,1e300,0.5,1\n")]);
    let cut_with = |label| cut(&schema, &[folder.path("t.csv")], &labelled(label), 9);
    let read = read(&schema, &cut_with("z").unwrap(), &labelled("z")).unwrap();
    let targets: Vec<f32> = read.targets.as_chunks().0.iter().map(|&bytes| f32::from_ne_bytes(bytes)).collect();
    assert_eq!((targets, read.has_target.clone()), (vec![1.0, 2.0, -0.25, 0.0], vec![true, false]));
    let large = "1e300 is no 32-bit number once scaled".to_owned();
    assert_eq!(bad(&folder, &read), [(2, "t.csv, line 4, column `y`".to_owned(), large)]);
    let error = folder.shown(&cut_with("w").unwrap_err());
    assert_eq!(
        error,
        "t.csv: the model predicts 2 values, and one column, `w`, cannot hold all of them; name one of its own columns, \
         and all are read: it has: y, z"
    );
}

#[test]
fn columns_that_are_not_there_are_named_when_the_input_is_cut() {
    let folder = Folder::with(&[("t.csv", b"age,color,member,bought,id,id\n1,red,yes,yes,1,2\n")]);
    for (wanted, words) in [
        (keep(&["iid"]), "t.csv has no column `iid`; did you mean `id`? It has: age, color"),
        (labelled("bougt"), "t.csv has no column `bougt`; did you mean `bought`?"),
        (keep(&["id"]), "t.csv has more than one column `id`; rename all but one"),
        (keep(&["age", "age"]), "t.csv: the column `age` is to be kept twice; name it once"),
    ] {
        let error = folder.shown(&cut(&table(), &[folder.path("t.csv")], &wanted, 9).unwrap_err());
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_partition_of_bad_rows_alone_has_pieces_without_good_ones() {
    let text = format!("age,color,member\n{}", "x,red,yes\n".repeat(70_000));
    let folder = Folder::with(&[("t.csv", text.as_bytes())]);
    let cut = cut(&table(), &[folder.path("t.csv")], &Wanted::default(), 100_000).unwrap();
    let (schema, wanted, mut sizes) = (table(), Wanted::default(), Vec::new());
    let mut rows =
        PartitionRows::open(&schema, &wanted, &[], here(&cut, &cut.partitions[0]), &cut.partitions[0]).unwrap();
    while let Some(piece) = rows.next_piece(256).unwrap() {
        sizes.push((piece.data.rows(Part::Test), piece.bad.len()));
    }
    assert_eq!(sizes, [(0, 1 << 15), (0, 1 << 15), (0, 70_000 - (1 << 16))], "few at a time");
}
