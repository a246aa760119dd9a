//! Partitions of files that the tests write: all of their rows together are those of the whole.

mod arrays;
mod bad;
mod folders;
mod parquet;
mod parts;
mod plain;
mod text;

use std::fs;
use std::path::PathBuf;

use broadsweep_common::dataset::{Dataset, Element, Part};
use broadsweep_common::schema::{Column, ColumnKind, Dialect, Inputs, Outputs, Scale, Schema};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::input::InputRows;

/// A folder with data files.
struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &[u8])]) -> Self {
        let folder = Self(TempDir::new().unwrap());
        for (name, bytes) in files {
            folder.write(name, bytes);
        }
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A message without the place of this folder.
    fn shown(&self, message: &impl ToString) -> String {
        message.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// A model of a number, a word and a flag, that tells classes apart by the column `bought`.
fn table() -> Schema {
    let scale = Scale { center: 10.0, spread: 3.0 };
    let names = ["blue", "red"].map(str::to_owned).to_vec();
    let kinds = [
        ("age", ColumnKind::Number { scale, fill: Some(12.0) }),
        ("color", ColumnKind::Categories { names, may_miss: true }),
        ("member", ColumnKind::Flag { scale: Scale::NONE, fill: None }),
    ];
    let columns = kinds.map(|(name, kind)| Column { name: name.to_owned(), kind }).to_vec();
    let names = vec!["no".to_owned(), "yes".to_owned()];
    let outputs = Outputs::Classes { column: Some("bought".to_owned()), names };
    let (inputs, text) = (Inputs::Columns(columns), Dialect::default());
    Schema { shape: vec![4], inputs, element: Element::F32, outputs, text }
}

/// A model of these columns, which are numbers, for the values `names`.
fn numbers(columns: &[&str], names: &[&str]) -> Schema {
    let kind = ColumnKind::Number { scale: Scale { center: 1.0, spread: 7.0 }, fill: None };
    let column = |name: &&str| Column { name: (*name).to_owned(), kind: kind.clone() };
    let scales = vec![Scale { center: 0.5, spread: 2.0 }; names.len()];
    let outputs = Outputs::Values { names: names.iter().map(|name| (*name).to_owned()).collect(), scales };
    let inputs = Inputs::Columns(columns.iter().map(column).collect());
    let (shape, text) = (vec![columns.len() as u32], Dialect::default());
    Schema { shape, inputs, element: Element::F32, outputs, text }
}

/// A model of rows of this shape.
fn images(shape: &[u32], channels_first: bool) -> Schema {
    let scales = vec![Scale { center: 0.0, spread: 255.0 }];
    let inputs = Inputs::Array { scales, fills: Vec::new(), channels_first };
    let outputs = Outputs::Values { names: vec!["output1".to_owned()], scales: vec![Scale::NONE] };
    Schema { shape: shape.to_vec(), inputs, element: Element::F32, outputs, text: Dialect::default() }
}

fn keep(names: &[&str]) -> Wanted {
    Wanted { keep: names.iter().map(|name| (*name).to_owned()).collect(), labels: None }
}

/// All rows of an input, partition by partition.
#[derive(Debug, Default, PartialEq)]
struct Read {
    /// Bytes as they are prepared.
    features: Vec<u8>,
    targets: Vec<u8>,
    numbers: Vec<u64>,
    has_target: Vec<bool>,
    /// Column by column.
    kept: Vec<Vec<KeptCell>>,
    bad: Vec<BadRow>,
}

/// The files of a partition, where they are.
fn here(cut: &Cut, partition: &Partition) -> Vec<Readable> {
    partition.own(&cut.files).iter().cloned().map(Readable::here).collect()
}

/// All rows, from the files themselves; from copies of the parts that each partition needs they are the same.
fn read(schema: &Schema, cut: &Cut, wanted: &Wanted) -> Result<Read, DataError> {
    let direct = read_from(schema, cut, wanted, |partition| Ok(here(cut, partition)));
    let from_copies = read_from(schema, cut, wanted, |partition| {
        let packed = pack(schema, wanted, &here(cut, partition), partition)?;
        unpack(&packed, partition.own(&cut.files))
    });
    match (&direct, &from_copies) {
        (Ok(direct), Ok(copied)) => assert!(direct == copied, "a copy has other rows: {direct:?} {copied:?}"),
        (Err(error), Err(of_copies)) => assert_eq!(error.to_string(), of_copies.to_string()),
        differ => panic!("{differ:?}"),
    }
    direct
}

fn read_from(
    schema: &Schema,
    cut: &Cut,
    wanted: &Wanted,
    files_of: impl Fn(&Partition) -> Result<Vec<Readable>, DataError>,
) -> Result<Read, DataError> {
    let mut read = Read { kept: vec![Vec::new(); cut.kept.len()], ..Read::default() };
    for partition in &cut.partitions {
        let mut rows = PartitionRows::open(schema, wanted, &cut.kept, files_of(partition)?, partition)?;
        let mut looked_at = 0;
        while let Some(piece) = rows.next_piece(3)? {
            let good = piece.data.rows(Part::Test);
            assert!(piece.numbers.len() == good && piece.has_target.len() == good);
            assert!(piece.kept.iter().all(|column| column.len() == good));
            looked_at += (good + piece.bad.len()) as u64;
            read.features.extend(piece.data.feature_bytes(Part::Test));
            read.targets.extend(piece.data.target_bytes(Part::Test));
            read.numbers.extend(piece.numbers);
            read.has_target.extend(piece.has_target);
            read.kept.iter_mut().zip(piece.kept).for_each(|(all, column)| all.extend(column));
            read.bad.extend(piece.bad);
        }
        assert!(partition.rows.is_none_or(|rows| rows == looked_at), "{partition:?} has {looked_at} rows");
        assert!(partition.cost > 0 && rows.next_piece(3)?.is_none());
    }
    Ok(read)
}

/// The prepared rows of a whole file, and their targets.
fn whole(schema: &Schema, path: &Path) -> (Vec<u8>, Vec<u8>) {
    let (mut rows, mut features, mut targets) = (InputRows::open(schema, path).unwrap(), Vec::new(), Vec::new());
    while let Some(piece) = rows.next_piece(7).unwrap() {
        let piece: Dataset = piece;
        features.extend(piece.feature_bytes(Part::Test));
        targets.extend(piece.target_bytes(Part::Test));
    }
    (features, targets)
}

/// Cuts a file, and compares its partitions' rows with those of the whole; tells how many rows each has.
fn same_as_whole(schema: &Schema, path: &Path, rows_max: u64) -> Vec<Option<u64>> {
    let cut_now = || cut(schema, &[path.to_owned()], &Wanted::default(), rows_max).unwrap();
    let cut = cut_now();
    assert_eq!(cut, cut_now(), "the same bytes are cut alike");
    let rows = read(schema, &cut, &Wanted::default()).unwrap();
    assert_eq!(rows.bad, []);
    assert_eq!(rows.numbers, (0..rows.numbers.len() as u64).collect::<Vec<_>>());
    assert!(rows.features == whole(schema, path).0, "other bits than those of the whole");
    let ends = cut.partitions.iter().scan(0, |end, part| {
        let is_next = part.first_row == *end;
        *end += part.rows.unwrap_or(0);
        Some(is_next)
    });
    assert!(ends.into_iter().all(|is_next| is_next), "{:?}", cut.partitions);
    cut.partitions.iter().map(|part| part.rows).collect()
}

fn texts(cells: &[KeptCell]) -> Vec<&str> {
    let text = |cell| match cell {
        &KeptCell::Missing => "missing",
        KeptCell::Text(text) => text.as_str(),
        other => panic!("{other:?} is no text"),
    };
    cells.iter().map(text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn damaged_files_are_errors_and_end_nothing(
        kind in 0_usize..5,
        place in 0_usize..300,
        with in prop::collection::vec(any::<u8>(), 0..9),
        cut_off in 0_usize..60,
        rows_max in 1_u64..9,
    ) {
        let pixels: Vec<u8> = (0..60).collect();
        let (mut bytes, schema) = match kind {
            0 => (crate::tests::idx(8, &[10, 2, 3], &pixels), images(&[2, 3, 1], false)),
            1 => (crate::tests::npy("|u1", true, "(10, 6)", &pixels), images(&[6], false)),
            2 => (b"age,color,member\n1,red,yes\n2,\"blue\",no\n".repeat(3), table()),
            3 => (parquet::counted(&[2, 5, 4]), numbers(&["a"], &["y"])),
            _ => (crate::tests::pictures::png(::png::ColorType::Rgb, 7), images(&[2, 2, 3], false)),
        };
        let place = place % bytes.len();
        let end = (place + with.len()).min(bytes.len());
        bytes.splice(place..end, with);
        bytes.truncate(bytes.len() - bytes.len().min(cut_off));
        let folder = Folder::with(&[("t", &bytes)]);
        if let Ok(cut) = cut(&schema, &[folder.path("t")], &Wanted::default(), rows_max) {
            let _ = read(&schema, &cut, &Wanted::default());
        }
    }
}
