//! Parts of files that are sent: no more than a partition needs, and whatever else comes is an error.

use broadsweep_common::codec;

use super::*;

/// Bytes that are sent for each partition.
fn sent(schema: &Schema, cut: &Cut, wanted: &Wanted) -> Vec<usize> {
    let pack = |partition: &Partition| pack(schema, wanted, &here(cut, partition), partition).unwrap().len();
    cut.partitions.iter().map(pack).collect()
}

#[test]
fn a_partition_needs_its_share_of_a_file_and_what_says_how_it_is_written() {
    let lines: Vec<String> = (0..200_000).map(|row| format!("{row},red,{}\n", ["yes", "no"][row % 2])).collect();
    let text = format!("age,color,member\n{}", lines.concat());
    let pixels = vec![7; 1_000_000];
    let array = crate::tests::idx(8, &[10_000, 10, 10], &pixels);
    let folder = Folder::with(&[
        ("t.csv", text.as_bytes()),
        ("rows.idx", &array),
        ("t.parquet", &parquet::counted(&[30_000, 30_000, 30_000])),
    ]);
    for (name, schema, rows_max, own) in [
        ("t.csv", table(), 20_000, text.len() / 10),
        ("rows.idx", images(&[10, 10, 1], false), 1000, 100_000),
        ("t.parquet", numbers(&["a"], &["y"]), 30_000, 1 << 20),
    ] {
        let wanted = Wanted::default();
        let cut = cut(&schema, &[folder.path(name)], &wanted, rows_max).unwrap();
        assert!(cut.partitions.len() >= 3, "{name}");
        for bytes in sent(&schema, &cut, &wanted) {
            assert!(bytes > own / 9 && bytes < own + own / 5 + (130 << 10), "{name}: {bytes} bytes for about {own}");
        }
        read(&schema, &cut, &wanted).unwrap();
    }
}

#[test]
fn columns_that_nobody_asks_for_are_not_sent() {
    let folder = Folder::with(&[("t.parquet", &parquet::counted(&[50_000]))]);
    let schema = numbers(&["a"], &["y"]);
    let of = |wanted: &Wanted| {
        let cut = cut(&schema, &[folder.path("t.parquet")], wanted, 100_000).unwrap();
        sent(&schema, &cut, wanted)[0]
    };
    let file = fs::metadata(folder.path("t.parquet")).unwrap().len() as usize;
    assert!(of(&Wanted::default()) < file, "{file} bytes");
}

#[test]
fn a_header_longer_than_the_sample_is_sent_whole() {
    let long: Vec<_> = (0..30_000).map(|column| format!("column{column},")).collect();
    let long = long.concat();
    let row = format!("{}1\n", "0,".repeat(30_000));
    let folder = Folder::with(&[("t.csv", format!("{long}a\n{}", row.repeat(9)).as_bytes())]);
    let schema = numbers(&["a"], &["y"]);
    let cut = cut(&schema, &[folder.path("t.csv")], &Wanted::default(), 3).unwrap();
    assert_eq!(cut.partitions.len(), 3);
    assert_eq!(read(&schema, &cut, &Wanted::default()).unwrap().numbers.len(), 9);
}

#[test]
fn what_is_no_part_of_a_file_is_an_error() {
    let folder = Folder::with(&[("t.csv", b"age,color,member\n1,red,yes\n")]);
    let (schema, wanted) = (table(), Wanted::default());
    let cut = cut(&schema, &[folder.path("t.csv")], &wanted, 9).unwrap();
    let packed = pack(&schema, &wanted, &here(&cut, &cut.partitions[0]), &cut.partitions[0]).unwrap();
    let unpacked = |bytes: &[u8]| unpack(bytes, &cut.files).map(|_| ());
    assert!(unpacked(&packed).is_ok());
    let forged = |head: &[&[(u64, u64)]], content: &[u8]| codec::encode_before(&head, content).unwrap();
    for (bytes, words) in [
        (forged(&[], &[]), "parts of other files came"),
        (forged(&[&[(0, 1)], &[]], &[0]), "parts of other files came"),
        (forged(&[&[(0, u64::MAX)]], &[0]), "parts came that it does not have"),
        (forged(&[&[(9, 3)]], &[0]), "parts came that it does not have"),
        (forged(&[&[(0, 9)]], &[0; 8]), "it came in part"),
        (forged(&[&[(0, 9)]], &[0; 10]), "more of it came than its parts have"),
        (packed[..20].to_vec(), "they end too early"),
    ] {
        let error = folder.shown(&unpacked(&bytes).unwrap_err());
        assert!(error.contains(words) && error.starts_with("t.csv"), "{error}");
    }
}

#[test]
fn many_pictures_are_copies_in_one_folder_that_goes_with_them() {
    let picture = crate::tests::pictures::png(::png::ColorType::Grayscale, 7);
    let folder = Folder::with(&[]);
    for number in 0..100 {
        folder.write(&format!("in/{number:03}.png"), &picture);
    }
    let (schema, wanted) = (images(&[2, 2, 1], false), Wanted::default());
    let cut = cut(&schema, &[folder.path("in")], &wanted, 1000).unwrap();
    let [partition] = &cut.partitions[..] else { panic!("{:?}", cut.partitions) };
    let packed = pack(&schema, &wanted, &here(&cut, partition), partition).unwrap();
    let copies = unpack(&packed, partition.own(&cut.files)).unwrap();
    let paths: Vec<_> = copies.iter().map(|copy| copy.origin().lies_at().to_owned()).collect();
    assert!(paths.iter().all(|path| path.parent() == paths[0].parent() && path.is_file()), "{paths:?}");
    drop(copies);
    assert!(!paths[0].parent().unwrap().exists(), "the folder stayed");
    assert_eq!(read(&schema, &cut, &wanted).unwrap().numbers.len(), 100);
}
