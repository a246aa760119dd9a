//! The `[data]` table: which files, and how they are read. Opening them is the work of the crate `broadsweep-data`.

use std::path::PathBuf;

use broadsweep_common::dataset::Part;

use super::data_table::{self, SOURCE as TABLE, TEXT};
use super::diagnostic::Diagnostic;
use super::program::is_below;
use super::reader::{Node, Table};
use super::trainer::TrainerKind;
use super::{
    ArrayPair, DataSettings, DataSource, Extra, HeldOut, ImageLayout, LabelKind, Missing, PartArrays, PartFiles,
    ScalingKind, TestUse,
};

/// Sides of a row's shape, and their size at most.
const SIDE_MAX: i64 = 16_777_216;

const ARRAYS: &[&str] = &[
    "train_features",
    "train_labels",
    "validation_features",
    "validation_labels",
    "test_features",
    "test_labels",
    "train_groups",
    "layout",
];
const ARCHIVES: &[&str] = &["file", "train_file", "validation_file", "test_file"];
const FOLDERS: &[&str] = &["train_folder", "validation_folder", "test_folder"];
const SHARED: &[&str] = &[
    "shape",
    "validation_rows",
    "test_rows",
    "stratified",
    "scaling",
    "range",
    "target_scaling",
    "missing",
    "test",
    "labels",
];
/// The keys that each format has beside those that all have.
const FORMATS: &[(&str, &[&[&str]])] = &[
    ("idx", &[ARRAYS]),
    ("csv", &[TABLE, TEXT]),
    ("parquet", &[TABLE]),
    ("npy", &[ARRAYS]),
    ("npz", &[ARCHIVES, ARRAYS]),
    ("images", &[FOLDERS]),
];

const SCALINGS: &[(&str, ScalingKind)] = &[
    ("none", ScalingKind::None),
    ("unit", ScalingKind::Unit),
    ("centered", ScalingKind::Centered),
    ("standard", ScalingKind::Standard),
];
const TARGET_SCALINGS: &[(&str, bool)] = &[("standard", true), ("none", false)];
const TEST_USES: &[(&str, TestUse)] = &[("winner", TestUse::Winner), ("all", TestUse::All)];
const MISSING: &[(&str, Missing)] = &[("error", Missing::Error), ("mean", Missing::Mean), ("drop", Missing::Drop)];
const LAYOUTS: &[(&str, ImageLayout)] =
    &[("channels_last", ImageLayout::ChannelsLast), ("channels_first", ImageLayout::ChannelsFirst)];
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
    let words: Vec<_> = FORMATS.iter().map(|(format, _)| format!("\"{format}\"")).collect();
    let (format, keys) = table.require("format", &format!("one of {}", words.join(", ")))?.word(&formats)?;
    let own = keys.iter().copied().flatten().copied();
    let allowed: Vec<_> = ["format", "files"].into_iter().chain(own).chain(SHARED.iter().copied()).collect();
    table.allow(&allowed, |key| other_format(format, key))?;

    let mut settings = DataSettings::of(read_source(table, format)?);
    settings.for_program = kind == TrainerKind::Program;
    settings.shape = table.get("shape").map(|shape| read_shape(&shape)).transpose()?;
    settings.layout = table.get("layout").map(|layout| layout.word(LAYOUTS)).transpose()?;
    settings.validation = read_held_out(table, "validation_rows")?;
    settings.test_rows = read_held_out(table, "test_rows")?;
    settings.stratified = table.get("stratified").map(|node| read_flag(&node)).transpose()?;
    let pixels = matches!(settings.source, DataSource::Idx(_) | DataSource::Images { .. });
    settings.scaling = read_scaling(table, kind, pixels)?;
    settings.range = read_range(table, settings.scaling)?;
    settings.scales_targets = read_target_scaling(table, kind)?;
    settings.missing = table.get("missing").map_or(Ok(Missing::Error), |node| node.word(MISSING))?;
    settings.labels = read_labels(table, kind)?;
    settings.test = table.get("test").map_or(Ok(TestUse::Winner), |node| node.word(TEST_USES))?;
    check(table, format, &settings)?;
    Ok(settings)
}

/// Whether the keys fit each other.
fn check(table: &Table<'_>, format: &str, settings: &DataSettings) -> Result<(), Diagnostic> {
    for (key, extra, part) in
        [("validation_rows", Extra::Validation, "validation"), ("test_rows", Extra::Test, "test")]
    {
        if let Some(node) = table.get(key).filter(|_| settings.source.names(extra)) {
            let message = format!("`{key}` holds training rows out, but the study names {part} rows of their own");
            return Err(node.error(message).with_note(format!("leave out `{key}`, or the others")));
        }
    }
    if let Some(test) = table.get("test").filter(|_| settings.test == TestUse::All && !settings.has_test()) {
        let note = format!("name the test rows: {}, or `test_rows`", test_keys(format));
        return Err(test.error("`test = \"all\"` needs test rows, and [data] names none").with_note(note));
    }
    match table.get("stratified").filter(|_| settings.labels == LabelKind::Numbers) {
        Some(node) => Err(node.error("`stratified` is over classes, and labels are numbers here")),
        None => Ok(()),
    }
}

fn read_source(table: &Table<'_>, format: &str) -> Result<DataSource, Diagnostic> {
    Ok(match format {
        "idx" => DataSource::Idx(read_parts(table, "a path", false)?),
        "npy" => DataSource::Npy(read_parts(table, "a path", false)?),
        "npz" => {
            let (files, alone) = read_archives(table)?;
            DataSource::Npz { files, arrays: read_parts(table, "the name of an array in the archive", alone)? }
        }
        "images" => {
            let folder = |key| table.get(key).map(|node| node.text().map(PathBuf::from)).transpose();
            let expected = "a folder with a folder of pictures for each class";
            DataSource::Images {
                train: table.require("train_folder", expected)?.text()?.into(),
                validation: folder("validation_folder")?,
                test: folder("test_folder")?,
            }
        }
        _ => DataSource::Table(data_table::read(table, format == "csv")?),
    })
}

/// The archives of each part, and whether each part has its own.
fn read_archives(table: &Table<'_>) -> Result<(PartFiles, bool), Diagnostic> {
    if table.get("train_file").is_some() {
        if let Some(file) = table.get("file") {
            return Err(
                file.error("`file` is for all rows, and `train_file` for the training rows: write one of them")
            );
        }
        return read_files_of_parts(table).map(|files| (files, true));
    }
    let all = read_list(&table.require("file", "the path of an archive, or of several")?)?;
    for (key, names) in [("validation_file", "validation_features"), ("test_file", "test_features")] {
        if let Some(node) = table.get(key) {
            let note = format!("write `train_file` instead of `file`, or `{names}` for an array of the same archive");
            return Err(node.error(format!("`{key}` goes with `train_file`")).with_note(note));
        }
    }
    Ok((PartFiles { train: all, validation: None, test: None }, false))
}

/// `train_file` and the other two.
pub(super) fn read_files_of_parts(table: &Table<'_>) -> Result<PartFiles, Diagnostic> {
    let more = |key| table.get(key).map(|node| read_list(&node)).transpose();
    Ok(PartFiles {
        train: read_list(&table.require("train_file", "a path, or several: [\"a\", \"b\"]")?)?,
        validation: more("validation_file")?,
        test: more("test_file")?,
    })
}

/// One text, or a list of them that is not empty.
fn read_list<T: for<'t> From<&'t str>>(node: &Node<'_>) -> Result<Vec<T>, Diagnostic> {
    let refused = || node.refused("a text in quotes, or a list of them");
    if !node.is_array() {
        return node.text().map(|text| vec![text.into()]).map_err(|_| refused());
    }
    let items = node.array()?;
    if items.is_empty() {
        return Err(refused());
    }
    items.iter().map(|item| item.text().map(T::from)).collect()
}

fn read_flag(node: &Node<'_>) -> Result<bool, Diagnostic> {
    match node.scalar() {
        Ok(broadsweep_common::configuration::Value::Flag(flag)) => Ok(flag),
        _ => Err(node.refused("true or false")),
    }
}

/// So many rows, or a share of them.
fn read_held_out(table: &Table<'_>, key: &str) -> Result<HeldOut, Diagnostic> {
    use broadsweep_common::configuration::Value;
    let Some(node) = table.get(key) else { return Ok(HeldOut::NONE) };
    match node.scalar().map_err(|_| held_out_refused(&node))? {
        Value::Integer(count) if count >= 0 => Ok(HeldOut::Count(count as u64)),
        Value::Real(share) if share > 0.0 && share < 1.0 => Ok(HeldOut::Share(share)),
        _ => Err(held_out_refused(&node)),
    }
}

fn held_out_refused(node: &Node<'_>) -> Diagnostic {
    node.refused("a whole number of rows, 0 or more, or a share of them between 0 and 1, as in 0.2")
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

fn read_range(table: &Table<'_>, scaling: ScalingKind) -> Result<Option<[f64; 2]>, Diagnostic> {
    use broadsweep_common::configuration::Value;
    let Some(node) = table.get("range") else { return Ok(None) };
    if !matches!(scaling, ScalingKind::Unit | ScalingKind::Centered) {
        let message = "`range` says what `scaling` takes for 0 and 1, and here it looks at neither";
        return Err(node.error(message).with_note("write scaling = \"unit\" or \"centered\", or leave `range` out"));
    }
    let refused = || node.refused("two numbers, the smaller one first, as in [0, 255]");
    let ends = node.array().map_err(|_| refused())?;
    let ends: Vec<_> = ends.iter().map(Node::scalar).collect::<Result<_, _>>().map_err(|_| refused())?;
    let ends: Vec<f64> = ends
        .into_iter()
        .filter_map(|end| match end {
            Value::Integer(end) => Some(end as f64),
            Value::Real(end) => Some(end),
            _ => None,
        })
        .collect();
    match ends[..] {
        [low, high] if low < high && low.is_finite() && (high - low).is_finite() => Ok(Some([low, high])),
        _ => Err(refused()),
    }
}

fn read_target_scaling(table: &Table<'_>, kind: TrainerKind) -> Result<bool, Diagnostic> {
    let Some(node) = table.get("target_scaling") else { return Ok(kind != TrainerKind::Program) };
    let scales = node.word(TARGET_SCALINGS)?;
    if scales && kind == TrainerKind::Program {
        let message = "`target_scaling` has no effect for a program: it gets targets as the files have them";
        return Err(node.error(message).with_note("leave it out, and scale in the program"));
    }
    Ok(scales)
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
    match format {
        "csv" | "parquet" => "`test_file`",
        "images" => "`test_folder`",
        _ => "`test_features` and `test_labels`",
    }
}

/// What to say of a key that other formats have.
fn other_format(format: &str, key: &str) -> Option<String> {
    let has = |keys: &[&[&str]]| keys.iter().any(|keys| keys.contains(&key));
    let owners: Vec<_> =
        FORMATS.iter().filter(|(_, keys)| has(keys)).map(|(name, _)| format!("\"{name}\"")).collect();
    (!owners.is_empty())
        .then(|| format!("`{key}` belongs to format = {}; here format = \"{format}\"", owners.join(" or ")))
}

/// The arrays, as paths or as names. Where each part has archives of its own, arrays are called as those of the training
/// rows unless they are named.
fn read_parts<T: Clone + for<'t> From<&'t str>>(
    table: &Table<'_>,
    expected: &str,
    alone: bool,
) -> Result<PartArrays<T>, Diagnostic> {
    let train = ArrayPair {
        features: read_list(&table.require("train_features", expected)?)?,
        labels: read_list(&table.require("train_labels", expected)?)?,
    };
    let extra = |part: &str| {
        let [features_key, labels_key] = ["features", "labels"].map(|what| format!("{part}_{what}"));
        let as_training = alone && table.get(&format!("{part}_file")).is_some();
        let [features, labels] = [&features_key, &labels_key].map(|key| table.get(key));
        match (features, labels) {
            (None, None) => Ok(as_training.then(|| train.clone())),
            (Some(features), Some(labels)) => {
                Ok(Some(ArrayPair { features: read_list(&features)?, labels: read_list(&labels)? }))
            }
            (Some(features), None) if as_training => {
                Ok(Some(ArrayPair { features: read_list(&features)?, labels: train.labels.clone() }))
            }
            (None, Some(labels)) if as_training => {
                Ok(Some(ArrayPair { features: train.features.clone(), labels: read_list(&labels)? }))
            }
            (Some(features), None) => {
                Err(features.error(format!("`{features_key}` is given without `{labels_key}`")))
            }
            (None, Some(labels)) => Err(labels.error(format!("`{labels_key}` is given without `{features_key}`"))),
        }
    };
    let (validation, test) = (extra("validation")?, extra("test")?);
    let groups = table.get("train_groups").map(|node| read_list(&node)).transpose()?;
    Ok(PartArrays { train, validation, test, groups })
}

fn read_shape(node: &Node<'_>) -> Result<Vec<u32>, Diagnostic> {
    let sides = node.array()?;
    if sides.len() != 1 && sides.len() != 3 {
        return Err(node.refused("[features] or [height, width, channels]"));
    }
    sides.iter().map(|side| side.whole(1, SIDE_MAX).map(|side| side as u32)).collect()
}
