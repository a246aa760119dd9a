//! The files and arrays that a study names, opened and looked through.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use broadsweep_common::dataset::Part;

use super::arrays::Found;
use super::columns::Columns;
use super::error::{DataError, Origin, Sides};
use super::ordered::Order;
use super::rows::RawInputs;
use super::series::Opener;
use super::{Raw, array, arrays, idx, npy, npz, ordered, pictures};
use crate::settings::{ArrayPair, DataSettings, DataSource, ImageLayout, PartArrays, PartFiles, TableSource};

/// Reads what the study names.
pub(super) fn read(settings: &DataSettings, folder: &Path) -> Result<Raw, DataError> {
    let mut raw = match &settings.source {
        DataSource::Idx(paths) => read_paths(paths, settings, folder, idx::open),
        DataSource::Npy(paths) => read_paths(paths, settings, folder, npy::open),
        DataSource::Npz { files, arrays } => read_archives(files, arrays, settings, folder),
        DataSource::Table(source) => read_table(source, settings, folder),
        DataSource::Images { train, validation, test } => {
            let mut pictures = pictures::Pictures::new(settings.shape.as_deref());
            let train = pictures.read(&folder.join(train))?;
            let mut extra =
                |path: &Option<PathBuf>| path.as_ref().map(|path| pictures.read(&folder.join(path))).transpose();
            let (validation, test) = (extra(validation)?, extra(test)?);
            let (inputs, labels, remarks) = pictures.finish();
            Ok(Raw { inputs, labels, train, validation, test, groups: None, decimal: None, remarks })
        }
    }?;
    raw.remarks.extend(repeated(&settings.source, folder));
    Ok(raw)
}

/// Says which rows are read twice, because their file, or their array in it, is named twice.
fn repeated(source: &DataSource, folder: &Path) -> Vec<String> {
    let mut named: Vec<(Part, &PathBuf, &str)> = Vec::new();
    match source {
        DataSource::Idx(paths) | DataSource::Npy(paths) => {
            for (part, pair) in paths.pairs() {
                named.extend(pair.features.iter().map(|path| (part, path, "")));
            }
        }
        DataSource::Npz { files, arrays } => {
            for (part, pair) in arrays.pairs() {
                let own = files_of(files, part);
                named.extend(
                    pair.features.iter().flat_map(|name| own.iter().map(move |file| (part, file, name.as_str()))),
                );
            }
        }
        DataSource::Table(table) => named.extend(table.files.each().map(|(part, path)| (part, path, ""))),
        DataSource::Images { train, validation, test } => {
            let extra = [(Part::Validation, validation), (Part::Test, test)];
            named.push((Part::Train, train, ""));
            named.extend(extra.iter().filter_map(|(part, path)| path.as_ref().map(|path| (*part, path, ""))));
        }
    }
    let mut seen: Vec<(Part, PathBuf, &str)> = Vec::new();
    let mut remarks = Vec::new();
    for (part, path, array) in named {
        let path = folder.join(path);
        let Ok(real) = path.canonicalize() else { continue };
        let shown = if array.is_empty() { Origin::file(path) } else { Origin::file(path).array(array) };
        match seen.iter().find(|(_, file, name)| *file == real && *name == array) {
            Some((first, ..)) if *first == part => {
                remarks.push(format!("{shown}: named twice, so that each of its rows counts twice"));
            }
            Some((first, ..)) => remarks.push(format!(
                "{shown}: its rows are {first} rows and {part} rows too, so that errors look better than they are"
            )),
            None => seen.push((part, real, array)),
        }
    }
    remarks
}

/// The archives in which arrays of this part are looked for: its own, or those of the training rows.
fn files_of(files: &PartFiles, part: Part) -> &[PathBuf] {
    let own = match part {
        Part::Train => None,
        Part::Validation => files.validation.as_ref(),
        Part::Test => files.test.as_ref(),
    };
    own.unwrap_or(&files.train)
}

fn read_table(source: &TableSource, settings: &DataSettings, folder: &Path) -> Result<Raw, DataError> {
    let mut columns = Columns::new(source, settings);
    let (train, train_file, groups) = columns.read(&source.files.train, folder, source.group_column.is_some())?;
    let mut extra = |files: &Option<Vec<PathBuf>>| {
        files.as_ref().map(|files| columns.read(files, folder, false).map(|(rows, file, _)| (rows, file))).transpose()
    };
    let (validation, test) = (extra(&source.files.validation)?, extra(&source.files.test)?);
    let decimal = columns.decimal();
    let (inputs, labels, order, remarks) = columns.finish();
    let RawInputs::Columns(known) = &inputs else { return Err(DataError::NoRows { file: train_file }) };
    let cells = known.len();
    let part = |(rows, file), order: &Order| ordered::part(rows, file, cells, order);
    Ok(Raw {
        train: part((train, train_file), &order),
        validation: validation.map(|read| part(read, &order)),
        test: test.map(|read| part(read, &order)),
        groups: source.group_column.is_some().then_some(groups),
        inputs,
        labels,
        decimal,
        remarks,
    })
}

fn read_paths(
    paths: &PartArrays<PathBuf>,
    settings: &DataSettings,
    folder: &Path,
    open: fn(Origin) -> Result<array::Array, DataError>,
) -> Result<Raw, DataError> {
    read_arrays(paths, settings, |paths, _| {
        let opener = |path: &PathBuf| {
            let file = Origin::file(folder.join(path));
            Ok(Box::new(move || open(file.clone())) as Opener)
        };
        paths.iter().map(opener).collect()
    })
}

fn read_archives(
    files: &PartFiles,
    names: &PartArrays<String>,
    settings: &DataSettings,
    folder: &Path,
) -> Result<Raw, DataError> {
    let used = RefCell::new(BTreeSet::new());
    let read = read_arrays(names, settings, |names, part| {
        let mut openers: Vec<Opener> = Vec::new();
        for name in names {
            let (before, mut others) = (openers.len(), Vec::new());
            let files = files_of(files, part);
            for file in files {
                let (path, name) = (folder.join(file), name.clone());
                match npz::look(&path, &name)? {
                    Ok(()) => {
                        used.borrow_mut().insert(file.clone());
                        openers.push(Box::new(move || npz::open(&path, &name)));
                    }
                    Err(names) => others.extend(names),
                }
            }
            if openers.len() == before {
                let path = folder.join(files.first().map_or(Path::new(""), PathBuf::as_path));
                return Err(npz::no_such_array(Origin::file(path).array(name), name, &others));
            }
        }
        Ok(openers)
    })?;
    let all = [Some(&files.train), files.validation.as_ref(), files.test.as_ref()].into_iter().flatten().flatten();
    let used = used.into_inner();
    match all.into_iter().find(|file| !used.contains(*file)) {
        None => Ok(read),
        Some(idle) => {
            let what =
                "it has none of the arrays that the study names; leave it out, or call its arrays so".to_owned();
            Err(DataError::Split { file: Origin::file(folder.join(idle)), what })
        }
    }
}

/// Reads arrays of features and labels; `open` names those of a list, for a part of the rows.
fn read_arrays<T>(
    arrays: &PartArrays<T>,
    settings: &DataSettings,
    open: impl Fn(&[T], Part) -> Result<Vec<Opener>, DataError>,
) -> Result<Raw, DataError> {
    let (mut found, mut remarks) = (Found::default(), Vec::new());
    let mut read = |pair: &ArrayPair<T>, part| {
        let (features, labels) = (open(&pair.features, part)?, open(&pair.labels, part)?);
        arrays::read(features, labels, settings, &mut found, &mut remarks)
    };
    let (train, sides) = read(&arrays.train, Part::Train)?;
    let mut extra = |pair: &Option<ArrayPair<T>>, part| {
        let Some(pair) = pair else { return Ok(None) };
        let (read, own) = read(pair, part)?;
        arrays::check_alike(&train, &sides, &read, &own)?;
        Ok(Some(read))
    };
    let (validation, test) = (extra(&arrays.validation, Part::Validation)?, extra(&arrays.test, Part::Test)?);
    let groups = arrays.groups.as_ref().map(|groups| {
        let series = open(groups, Part::Train)?;
        arrays::groups(series, train.rows, settings.missing)
    });
    if found.are_mixed() {
        let what = "labels are numbers in one part and text in another; write them in one way".to_owned();
        return Err(DataError::Split { file: train.labels, what });
    }
    let labels = found.labels(settings.labels, train.label_width);
    let groups = groups.transpose()?;
    Ok(Raw { inputs: RawInputs::Array { sides }, labels, train, validation, test, groups, decimal: None, remarks })
}

/// The shape of a row as the network takes it.
pub(super) fn shape_of(raw: &Raw, settings: &DataSettings) -> Result<Vec<u32>, DataError> {
    let natural = match &raw.inputs {
        RawInputs::Array { sides } => match sides.as_slice() {
            &[height, width] => vec![height, width, 1],
            sides => sides.to_vec(),
        },
        RawInputs::Columns(_) => vec![raw.inputs.values() as u32],
    };
    let Some(setting) = &settings.shape else { return Ok(natural) };
    let got = raw.inputs.values();
    let is_turned = settings.layout == Some(ImageLayout::ChannelsFirst);
    let product = setting.iter().try_fold(1_usize, |product, &side| product.checked_mul(side as usize));
    // Of channels that come first, another shape would say nothing of their order.
    if product == Some(got) && matches!(setting.len(), 1 | 3) && (!is_turned || *setting == natural) {
        return Ok(setting.clone());
    }
    let sides = |shape: &[u32]| Sides(shape.iter().map(|&side| u64::from(side)).collect());
    let (shape, setting) = (sides(&natural), sides(setting));
    Err(DataError::ShapeSetting { file: raw.train.features.clone(), shape, got, setting })
}
