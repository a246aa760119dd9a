//! Folders, pictures, and files that change.

use std::os::unix::fs::symlink;
use std::time::{Duration, UNIX_EPOCH};

use ::png::ColorType::{Grayscale, Rgb};

use super::*;
use crate::tests::pictures::png;
use crate::tests::{f32_bytes, npy};

const ROWS: &[u8] = b"age,color,member\n1,red,yes\n2,blue,no\n";

/// The names of a cut's files.
fn names(folder: &Folder, cut: &Cut) -> Vec<String> {
    cut.files.iter().map(|file| folder.shown(&file.path)).collect()
}

#[test]
fn a_folder_stands_for_its_data_files_in_the_order_of_their_names() {
    let files =
        [("in/b.csv", ROWS), ("in/a.csv", ROWS), ("in/_SUCCESS", b""), ("in/.a.crc", b"x"), ("in/deep/c.csv", ROWS)];
    let folder = Folder::with(&files);
    folder.write("in/empty.csv", b"age,color,member\n");
    folder.write("z.csv", ROWS);
    let inputs = [folder.path("z.csv"), folder.path("in")];
    let cut = cut(&table(), &inputs, &Wanted::default(), 1).unwrap();
    assert_eq!(names(&folder, &cut), ["z.csv", "in/a.csv", "in/b.csv", "in/empty.csv"]);
    let places: Vec<_> = cut.partitions.iter().map(|part| (part.file, part.first_row)).collect();
    assert_eq!(places, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    let remarks: Vec<_> = cut.remarks.iter().map(|remark| folder.shown(remark)).collect();
    assert_eq!(remarks, ["in: the folders in it are left out: 1", "in/empty.csv has no rows"]);
    assert_eq!(read(&table(), &cut, &Wanted::default()).unwrap().numbers, [0, 1, 0, 1, 0, 1]);
}

#[test]
fn wildcards_mean_files_in_the_order_of_their_names_and_hidden_ones_only_where_they_say_so() {
    let folder = Folder::with(&[
        ("in/b.csv", ROWS),
        ("in/a.csv", ROWS),
        ("in/a.txt", ROWS),
        ("in/_c.csv", ROWS),
        ("in/.d.csv", ROWS),
        ("in/deep/x/e.csv", ROWS),
        ("in/deep/_tmp/f.csv", ROWS),
        ("in/a-b/g.csv", ROWS),
        ("in/folder.csv/part-0.csv", ROWS),
        ("in[1]/h.csv", ROWS),
        ("in[1]/[ab].csv", ROWS),
        ("in[1]/a.csv", ROWS),
    ]);
    symlink(folder.path("in"), folder.path("in/deep/around")).unwrap();
    let listed = |input: &str| names(&folder, &cut(&table(), &[folder.path(input)], &Wanted::default(), 9).unwrap());
    assert_eq!(listed("in/*.csv"), ["in/a.csv", "in/b.csv"]);
    assert_eq!(listed("in/_*"), ["in/_c.csv"]);
    assert_eq!(listed("in/?.[!t]*"), ["in/a.csv", "in/b.csv"]);
    let deep = ["in/a-b/g.csv", "in/a.csv", "in/b.csv", "in/deep/x/e.csv", "in/folder.csv/part-0.csv"];
    assert_eq!(listed("in/**/*.csv"), deep);
    assert_eq!(listed("in/**/[a-z].*"), ["in/a-b/g.csv", "in/a.csv", "in/a.txt", "in/b.csv", "in/deep/x/e.csv"]);
    assert_eq!(listed("in/deep/**"), ["in/deep/x/e.csv"]);
    assert_eq!(listed("**/x/**/e.csv"), ["in/deep/x/e.csv"]);
    // Folders alone are read as if they were named.
    assert_eq!(listed("in/*-b"), ["in/a-b/g.csv"]);
    // What is there as it is written is meant by it.
    assert_eq!(listed("in[1]/h.*"), ["in[1]/h.csv"]);
    assert_eq!(listed("in[1]/[ab].csv"), ["in[1]/[ab].csv"]);
    let input = folder.path("in/*.csv");
    let told = cut(&table(), std::slice::from_ref(&input), &Wanted::default(), 9).unwrap().remarks;
    assert_eq!(folder.shown(&told[0]), "in/*.csv: the folders that are called so are left out: 1");
    let refused =
        |input: &str| folder.shown(&cut(&table(), &[folder.path(input)], &Wanted::default(), 9).unwrap_err());
    assert!(refused("in/*.parquet").starts_with("in/*.parquet: no file has such a name; look at the folder"));
    assert!(refused("out/*/rows.csv").starts_with("out/*/rows.csv: no file has such a name"));
    let twice = cut(&table(), &[folder.path("in/a.csv"), input], &Wanted::default(), 9).unwrap_err();
    assert!(folder.shown(&twice).starts_with("in/a.csv: the input names it twice"), "{twice}");
}

#[test]
fn wildcards_mean_the_pictures_alone_where_there_are_some() {
    let (one, other) = (png(Grayscale, 7), png(Grayscale, 9));
    let folder = Folder::with(&[("in/a/1.png", &one), ("in/b/2.png", &other), ("in/b/notes.txt", b"left out")]);
    let schema = images(&[2, 2, 1], false);
    let cut = cut(&schema, &[folder.path("in/**")], &Wanted::default(), 9).unwrap();
    assert_eq!(names(&folder, &cut), ["in/a/1.png", "in/b/2.png"]);
    assert_eq!(
        folder.shown(&cut.remarks[0]),
        "in/**: what is no picture (.png, .jpg, .jpeg) is left out: 1 of its files"
    );
}

#[test]
fn an_input_that_is_no_data_says_what_to_do() {
    let folder = Folder::with(&[("t.csv", ROWS), ("none/_SUCCESS", b""), ("empty.csv", b"age,color,member\n")]);
    folder.write("other.csv", b"age,colour,member\n1,red,yes\n");
    let refused = |names: &[&str]| {
        let inputs: Vec<_> = names.iter().map(|name| folder.path(name)).collect();
        folder.shown(&cut(&table(), &inputs, &Wanted::default(), 9).unwrap_err())
    };
    assert!(refused(&["none"]).starts_with("none: the folder has no data files; name one that has"));
    assert!(refused(&["t.csv", "t.csv"]).starts_with("t.csv: the input names it twice"));
    assert_eq!(refused(&["gone.csv"]), "gone.csv: no such file");
    assert_eq!(refused(&["empty.csv"]), "empty.csv has no rows; at least one is needed");
    assert!(refused(&["t.csv", "other.csv"]).starts_with("other.csv has no column `color`; did you mean `colour`?"));
    assert!(refused(&[]).contains("has no rows"));
}

#[test]
fn pictures_are_found_in_folders_of_folders_and_bad_ones_set_aside() {
    let (good, other) = (png(Grayscale, 7), png(Rgb, 9));
    let mut cut_short = good.clone();
    cut_short.truncate(40);
    let folder = Folder::with(&[
        ("in/b/2.PNG", &good),
        ("in/a/x/1.png", &other),
        ("in/a.png", &cut_short),
        ("in/c/3.jpg", b"no picture"),
        ("in/c/4.png", b""),
        ("in/notes.txt", b"left out"),
        ("in/.thumbs/1.png", &good),
    ]);
    let (schema, inputs) = (images(&[2, 2, 1], false), [folder.path("in")]);
    let cut = cut(&schema, &inputs, &Wanted::default(), 2).unwrap();
    assert_eq!(names(&folder, &cut), ["in/a/x/1.png", "in/a.png", "in/b/2.PNG", "in/c/3.jpg", "in/c/4.png"]);
    let parts: Vec<_> = cut.partitions.iter().map(|part| (part.file, part.portion.clone(), part.rows)).collect();
    let pictures = |file, count: u32| (file, Portion::Pictures { count }, Some(u64::from(count)));
    assert_eq!(parts, [pictures(0, 1), pictures(1, 2), pictures(3, 2)]);
    assert_eq!(
        folder.shown(&cut.remarks[0]),
        "in: what is no picture (.png, .jpg, .jpeg) is left out: 1 of its files"
    );
    let read = read(&schema, &cut, &Wanted::default()).unwrap();
    let want = [9.0_f64, 7.0].map(|value| (value / 255.0) as f32);
    let features: Vec<f32> = read.features.as_chunks().0.iter().map(|&bytes| f32::from_ne_bytes(bytes)).collect();
    assert_eq!(features, [[want[0]; 4], [want[1]; 4]].concat());
    assert_eq!(read.numbers, [0, 1]);
    let bad: Vec<_> = read.bad.iter().map(|bad| (bad.row, folder.shown(&bad.place))).collect();
    assert_eq!(bad, [(0, "in/a.png".to_owned()), (0, "in/c/3.jpg".to_owned()), (1, "in/c/4.png".to_owned())]);
    assert!(read.bad[1].reason.starts_with("it is no PNG or JPEG file, but starts with 6e 6f"), "{:?}", read.bad[1]);
    let larger = images(&[3, 3, 1], false);
    let all_bad = super::read(&larger, &cut, &Wanted::default()).unwrap();
    assert!(all_bad.bad.len() == 5 && all_bad.numbers.is_empty());
}

#[test]
fn a_link_that_leads_back_is_named() {
    let folder = Folder::with(&[("in/a/1.png", &png(Grayscale, 7))]);
    symlink(folder.path("in"), folder.path("in/a/back")).unwrap();
    let schema = images(&[2, 2, 1], false);
    let error = cut(&schema, &[folder.path("in")], &Wanted::default(), 2).unwrap_err();
    assert!(folder.shown(&error).starts_with("in/a/back: the link leads back to "), "{error}");
}

#[test]
fn a_file_that_has_changed_is_refused_whatever_it_is() {
    let array = npy("<f4", false, "(2, 4)", &f32_bytes(&[1.0; 8]));
    for (name, bytes, schema) in [
        ("t.csv", ROWS.to_vec(), table()),
        ("rows.npy", array, images(&[4], false)),
        ("a.png", png(Grayscale, 7), images(&[2, 2, 1], false)),
    ] {
        let folder = Folder::with(&[(name, &bytes)]);
        let (path, wanted) = (folder.path(name), Wanted::default());
        let cut = cut(&schema, std::slice::from_ref(&path), &wanted, 1).unwrap();
        let open = || PartitionRows::open(&schema, &wanted, &[], here(&cut, &cut.partitions[0]), &cut.partitions[0]);
        let refused = || folder.shown(&open().err().unwrap());
        let mut rows = open().unwrap();
        let modified = |time| fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        modified(UNIX_EPOCH + Duration::from_nanos(1));
        let advice = "; leave the input as it is until all of it is done, and run again";
        let changed = |what: &str| format!("{name} has changed since it was cut into partitions ({what}){advice}");
        let again = changed("it was written again");
        assert_eq!(refused(), again);
        let ended = loop {
            match rows.next_piece(1) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{name}: what changed while it was read was believed"),
                Err(error) => break folder.shown(&error),
            }
        };
        assert_eq!(ended, again);
        fs::write(&path, [&bytes[..], b"\n"].concat()).unwrap();
        modified(UNIX_EPOCH + Duration::from_nanos(cut.files[0].modified_ns));
        let (had, has) = (bytes.len(), bytes.len() + 1);
        assert_eq!(refused(), changed(&format!("it had {had} bytes and has {has}")));
        fs::remove_file(&path).unwrap();
        assert_eq!(refused(), format!("{name}: no such file"));
    }
}

#[test]
fn a_partition_that_no_file_has_is_an_error() {
    let folder = Folder::with(&[("t.csv", ROWS), ("rows.npy", &npy("|u1", false, "(2, 4)", &[1; 8]))]);
    let wanted = Wanted::default();
    for (name, schema) in [("t.csv", table()), ("rows.npy", images(&[4], false))] {
        let cut = cut(&schema, &[folder.path(name)], &wanted, 9).unwrap();
        let lines = Portion::Lines { from: 1 << 40, until: 1 << 50, lines_before: u64::MAX };
        let forged = [Portion::Groups { first: 0, count: u32::MAX }, Portion::Pictures { count: 9 }, lines];
        for portion in forged {
            let partition = Partition { portion, ..cut.partitions[0].clone() };
            let rows = PartitionRows::open(&schema, &wanted, &[], here(&cut, &partition), &partition);
            assert!(rows.and_then(|mut rows| rows.next_piece(1)).is_err(), "{partition:?}");
        }
        for (file, first_row, rows) in [(1, 0, Some(2)), (u32::MAX, 0, Some(2)), (0, u64::MAX, Some(u64::MAX))] {
            let partition = Partition { file, first_row, rows, ..cut.partitions[0].clone() };
            let rows = PartitionRows::open(&schema, &wanted, &[], here(&cut, &partition), &partition);
            let Ok(mut rows) = rows else { continue };
            while let Ok(Some(_)) = rows.next_piece(1) {}
        }
    }
}
