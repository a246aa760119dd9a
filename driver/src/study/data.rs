//! The `[data]` table: which files, and how they are read. Opening them is `crate::data`'s work.

use std::path::PathBuf;

use broadsweep_common::dataset::Part;

use super::diagnostic::Diagnostic;
use super::program::is_below;
use super::reader::{Node, Table};
use super::trainer::TrainerKind;
use super::{DataSettings, DataSource, LabelKind, PartArrays, ScalingKind, TestUse};

/// Sides of a row's shape, and their size at most.
const SIDE_MAX: i64 = 16_777_216;

const ARRAYS: &[&str] = &["train_features", "train_labels", "test_features", "test_labels"];
const SHARED: &[&str] = &["shape", "validation_rows", "scaling", "test", "labels"];
const FORMATS: &[(&str, &[&str])] = &[
    ("idx", ARRAYS),
    ("csv", &["train_file", "test_file", "label_column", "feature_columns"]),
    ("npy", ARRAYS),
    ("npz", &["file", "train_features", "train_labels", "test_features", "test_labels"]),
];

const SCALINGS: &[(&str, ScalingKind)] = &[
    ("none", ScalingKind::None),
    ("unit", ScalingKind::Unit),
    ("centered", ScalingKind::Centered),
    ("standard", ScalingKind::Standard),
];
const TEST_USES: &[(&str, TestUse)] = &[("winner", TestUse::Winner), ("all", TestUse::All)];

const LABELS: &[(&str, LabelKind)] = &[("classes", LabelKind::Classes), ("numbers", LabelKind::Numbers)];

/// Reads `[data]`: rows, and files as they are. Only a program may have the latter, and do without the former.
pub(super) fn read(node: &Node<'_>, kind: TrainerKind) -> Result<(Option<DataSettings>, Vec<String>), Diagnostic> {
    let table = node.table("[data]", "[data] ")?;
    let files_node = table.get("files");
    let files = files_node.as_ref().map_or(Ok(Vec::new()), read_files)?;
    if let Some(node) = files_node.filter(|_| kind != TrainerKind::Program) {
        let message = "`files` are for programs: nothing else looks at them";
        return Err(node.error(message).with_note("leave them out, or write kind = \"program\" in [trainer]"));
    }
    if table.get("format").is_none() && !files.is_empty() {
        table.allow(&["format", "files"], |key| {
            SHARED
                .contains(&key)
                .then(|| format!("`{key}` says how rows are read; with `files` alone there are none"))
        })?;
        return Ok((None, files));
    }
    let rows = read_rows(&table, kind)?;
    if let Some(taken) = files.iter().position(|file| is_of_rows(file)) {
        let message = format!("{:?} is a name that the rows have where a program finds its files", files[taken]);
        let nodes = table.get("files").map_or(Ok(Vec::new()), |node| node.array())?;
        let node = nodes.get(taken).ok_or_else(|| table.error(&message))?;
        return Err(node.error(message).with_note("give it another name, or leave the rows to it: without `format`"));
    }
    Ok((Some(rows), files))
}

/// Whether a file would lie where a program finds the rows.
fn is_of_rows(file: &str) -> bool {
    let first = file.split('/').next().unwrap_or_default();
    Part::ALL.into_iter().any(|part| part.file_names().contains(&first))
}

/// Paths are looked at when they are packed; here, whether they stay below the study's folder.
fn read_files(node: &Node<'_>) -> Result<Vec<String>, Diagnostic> {
    let mut files = Vec::new();
    for file in node.array()? {
        let path = file.text()?;
        let inner = path.trim_start_matches("./").trim_end_matches('/');
        if !is_below(inner) {
            let message = format!("{} is {}, which is not below the study's folder", file.place, file.quoted());
            return Err(file
                .error(message)
                .with_note("write a relative path without `..`, as in \"data/train.csv\""));
        }
        files.push(inner.to_owned());
    }
    if files.is_empty() { Err(node.error("`files` is empty; leave it out")) } else { Ok(files) }
}

fn read_rows(table: &Table<'_>, kind: TrainerKind) -> Result<DataSettings, Diagnostic> {
    let formats: Vec<_> = FORMATS.iter().map(|(format, keys)| (*format, (*format, *keys))).collect();
    let (format, keys) = table.require("format", "one of \"idx\", \"csv\", \"npy\", \"npz\"")?.word(&formats)?;
    let allowed: Vec<_> =
        ["format", "files"].into_iter().chain(keys.iter().copied()).chain(SHARED.iter().copied()).collect();
    table.allow(&allowed, |key| other_format(format, key))?;

    let source = match format {
        "idx" => DataSource::Idx(read_parts(table, "a path")?),
        "npy" => DataSource::Npy(read_parts(table, "a path")?),
        "npz" => DataSource::Npz {
            file: table.require("file", "the path of an archive")?.text()?.into(),
            arrays: read_parts(table, "the name of an array in `file`")?,
        },
        _ => read_csv(table)?,
    };
    let pixels = matches!(source, DataSource::Idx(_));
    let settings = DataSettings {
        shape: table.get("shape").map(|shape| read_shape(&shape)).transpose()?,
        validation_rows: match table.get("validation_rows") {
            Some(rows) => rows.whole(0, i64::MAX)? as u64,
            None => 0,
        },
        scaling: read_scaling(table, kind, pixels)?,
        labels: read_labels(table, kind)?,
        test: match table.get("test") {
            Some(test) => test.word(TEST_USES)?,
            None => TestUse::Winner,
        },
        source,
    };
    match table.get("test") {
        Some(test) if settings.test == TestUse::All && !settings.source.has_test() => {
            let note = format!("name the test rows: {}", test_keys(format));
            Err(test.error("`test = \"all\"` needs test rows, and [data] names none").with_note(note))
        }
        _ => Ok(settings),
    }
}

/// A program gets rows as they are in the files: what it makes of them is its own.
fn read_scaling(table: &Table<'_>, kind: TrainerKind, pixels: bool) -> Result<ScalingKind, Diagnostic> {
    let written = table.get("scaling").map(|node| node.word(SCALINGS).map(|scaling| (node, scaling))).transpose()?;
    match written {
        Some((node, scaling)) if kind == TrainerKind::Program && scaling != ScalingKind::None => {
            let message = "`scaling` has no effect for a program: it gets values as the files have them";
            Err(node.error(message).with_note("leave it out, and scale in the program"))
        }
        Some((_, scaling)) => Ok(scaling),
        None if pixels && kind != TrainerKind::Program => Ok(ScalingKind::Unit),
        None => Ok(ScalingKind::None),
    }
}

/// Classes, unless the study says otherwise; of a network, its loss says it once that is read.
fn read_labels(table: &Table<'_>, kind: TrainerKind) -> Result<LabelKind, Diagnostic> {
    let Some(node) = table.get("labels") else { return Ok(LabelKind::Classes) };
    let labels = node.word(LABELS)?;
    if kind == TrainerKind::Network {
        let message = "`labels` is for programs: of a network, `loss` in [model] says what labels are";
        return Err(node.error(message).with_note("leave it out; loss = \"mean_squared_error\" is over numbers"));
    }
    Ok(labels)
}

fn test_keys(format: &str) -> &'static str {
    if format == "csv" { "`test_file`" } else { "`test_features` and `test_labels`" }
}

/// What to say of a key that other formats have.
fn other_format(format: &str, key: &str) -> Option<String> {
    let owners: Vec<_> =
        FORMATS.iter().filter(|(_, keys)| keys.contains(&key)).map(|(name, _)| format!("\"{name}\"")).collect();
    (!owners.is_empty())
        .then(|| format!("`{key}` belongs to format = {}; here format = \"{format}\"", owners.join(" or ")))
}

/// The four arrays, as paths or as names.
fn read_parts<T: for<'t> From<&'t str>>(table: &Table<'_>, expected: &str) -> Result<PartArrays<T>, Diagnostic> {
    let required = |key: &str| table.require(key, expected)?.text().map(T::from);
    let train_features = required("train_features")?;
    let train_labels = required("train_labels")?;
    let test = match (table.get("test_features"), table.get("test_labels")) {
        (None, None) => None,
        (Some(features), Some(labels)) => Some((T::from(features.text()?), T::from(labels.text()?))),
        (Some(features), None) => return Err(features.error("`test_features` is given without `test_labels`")),
        (None, Some(labels)) => return Err(labels.error("`test_labels` is given without `test_features`")),
    };
    Ok(PartArrays { train_features, train_labels, test })
}

fn read_csv(table: &Table<'_>) -> Result<DataSource, Diagnostic> {
    let label_column = table.require("label_column", "the name of a column")?.text()?.to_owned();
    Ok(DataSource::Csv {
        train_file: table.require("train_file", "a path")?.text()?.into(),
        test_file: table.get("test_file").map(|file| file.text().map(PathBuf::from)).transpose()?,
        feature_columns: table
            .get("feature_columns")
            .map(|columns| read_columns(&columns, &label_column))
            .transpose()?,
        label_column,
    })
}

fn read_columns(node: &Node<'_>, label_column: &str) -> Result<Vec<String>, Diagnostic> {
    let columns = node.array()?;
    if columns.is_empty() {
        return Err(node.error("`feature_columns` is empty").with_note("leave it out to take all other columns"));
    }
    let mut names = std::collections::BTreeSet::new();
    for column in &columns {
        let name = column.text()?;
        if name == label_column {
            return Err(column.error(format!("`{name}` is the label's column; it cannot be a feature too")));
        }
        if !names.insert(name) {
            return Err(column.error(format!("`{name}` stands in `feature_columns` twice")));
        }
    }
    columns.iter().map(|column| column.text().map(str::to_owned)).collect()
}

fn read_shape(node: &Node<'_>) -> Result<Vec<u32>, Diagnostic> {
    let sides = node.array()?;
    if sides.len() != 1 && sides.len() != 3 {
        return Err(node.refused("[features] or [height, width, channels]"));
    }
    sides.iter().map(|side| side.whole(1, SIDE_MAX).map(|side| side as u32)).collect()
}
