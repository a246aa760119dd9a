//! Columns of tables: what their cells are, found while they are read, and the rows that come of it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use broadsweep_common::dataset::ROW_VALUES_MAX;

use super::any_table::AnyTable;
use super::arrays::NOTHING_LEFT;
use super::cells::{self, Cell};
use super::error::{self, CLASSES_MAX, DataError, Origin, ValuePlace};
use super::ordered::Order;
use super::rows::{RawColumn, RawInputs, RawKind, RawLabels};
use super::spool::{Spool, SpoolWriter};
use super::targets;
use super::words::Words;
use crate::settings::{ColumnName, DataSettings, LabelKind, Missing, ScalingKind, TableSource};

/// Features among which one that stands there twice is looked for: far more than people list.
const DOUBLES_SOUGHT_MAX: usize = 10_000;
/// Names that programs give to a column that had none.
const NAMELESS: &str = "Unnamed: ";

/// What is known of a column's cells.
#[derive(Debug)]
enum Kind {
    /// None has shown it yet.
    Unknown,
    Number {
        /// Whether each number is the one before and 1, and the last one.
        counts_up: Option<f64>,
    },
    Words(Words),
}

/// One feature column.
#[derive(Debug)]
struct Column {
    name: String,
    kind: Kind,
    /// Whether the study says that its cells are words.
    is_said: bool,
}

/// The columns of all tables of a study: the first one says which they are, and every row what they are.
pub(super) struct Columns<'s> {
    source: &'s TableSource,
    settings: &'s DataSettings,
    features: Vec<Column>,
    label_name: String,
    /// The columns of the label and of the groups, as the first table has them.
    label: ColumnName,
    group: Option<ColumnName>,
    /// The classes that occur; nothing where labels are numbers.
    classes: Words,
    groups: Words,
    /// The decimal marks of the tables so far.
    decimals: BTreeSet<u8>,
    /// What people should know, though it is no error.
    pub(super) remarks: Vec<String>,
}

/// Where the columns of one table stand.
struct Places {
    features: Vec<usize>,
    label: usize,
    group: Option<usize>,
}

impl<'s> Columns<'s> {
    pub(super) fn new(source: &'s TableSource, settings: &'s DataSettings) -> Self {
        let (features, label_name) = (Vec::new(), String::new());
        let (classes, groups) = (Words::new(CLASSES_MAX), Words::new(u32::MAX));
        let (label, group) = (source.label_column.clone(), source.group_column.clone());
        let (decimals, remarks) = (BTreeSet::new(), Vec::new());
        Self { source, settings, features, label_name, label, group, classes, groups, decimals, remarks }
    }

    /// Reads the rows of one part, file after file; `with_groups` adds the group of each.
    pub(super) fn read(
        &mut self,
        files: &[PathBuf],
        folder: &Path,
        with_groups: bool,
    ) -> Result<(Spool, Origin, Vec<u32>), DataError> {
        let mut spool: Option<SpoolWriter> = None;
        let mut groups = Vec::new();
        let mut dropped = 0_usize;
        let first = Origin::file(folder.join(files.first().map_or(Path::new(""), PathBuf::as_path)));
        for file in files {
            let mut table = AnyTable::open(folder.join(file), self.source)?;
            self.decimals.insert(table.decimal());
            let places = self.find(&table, with_groups)?;
            let all: Vec<_> = places.features.iter().copied().chain([places.label]).chain(places.group).collect();
            table.want(&all)?;
            let origin = table.file().clone();
            let spool = spool.get_or_insert_with(|| SpoolWriter::new(origin.clone(), places.features.len(), 1));
            let (mut cells, mut before) = (vec![0.0; places.features.len()], spool.rows());
            while table.next()? {
                if let Some(label) = self.row(&table, &places, &mut cells)? {
                    spool.row(&cells, &[label])?;
                } else {
                    spool.leave_out();
                    dropped += 1;
                }
                if let Some(place) = places.group.filter(|_| spool.rows() > before) {
                    groups.push(self.group(&table, place)?);
                    before = spool.rows();
                }
                if spool.rows() > u32::MAX as usize {
                    let what = format!("there is no room for more than {} rows", u32::MAX);
                    return Err(DataError::TooLarge { file: origin, what });
                }
            }
            if spool.rows() == 0 && dropped == 0 {
                return Err(DataError::NoRows { file: origin });
            }
        }
        if dropped > 0 {
            let rows = broadsweep_common::printable::counted(dropped as u64, "row");
            self.remarks.push(format!("{first}: {rows} with missing values left out"));
        }
        let spool = spool.ok_or_else(|| DataError::NoRows { file: first.clone() })?.finish()?;
        if spool.rows == 0 {
            return Err(DataError::Split { file: first, what: NOTHING_LEFT.to_owned() });
        }
        Ok((spool, first, groups))
    }

    /// Where the columns of a table stand. The first table decides which they are.
    fn find(&mut self, table: &AnyTable, with_groups: bool) -> Result<Places, DataError> {
        let (file, names) = (table.file(), table.names());
        let label = names.find(file, &self.label);
        let label = label.map_err(|error| if self.features.is_empty() { error } else { without_labels(error) })?;
        let group = self.group.as_ref().map(|column| names.find(file, column)).transpose();
        let group = if with_groups { group? } else { group.unwrap_or_default() };
        if names.twice().contains(&names.all()[label]) {
            return Err(DataError::ColumnTwice { file: file.clone(), column: error::shown(&names.all()[label]) });
        }
        if !self.features.is_empty() {
            let find = |column: &Column| names.find(file, &ColumnName::Name(column.name.clone()));
            let features = self.features.iter().map(find).collect::<Result<_, _>>()?;
            return Ok(Places { features, label, group: group.filter(|_| with_groups) });
        }
        let features = self.choose(table, label, group)?;
        self.label_name = names.shown(label);
        // Columns of further tables may stand in another order.
        self.label = names.reference(label);
        self.group = group.map(|place| names.reference(place));
        let said = |place| {
            self.source
                .category_columns
                .iter()
                .any(|column| names.find(file, column).is_ok_and(|found| found == place))
        };
        for column in &self.source.category_columns {
            names.find(file, column)?;
        }
        self.features = features
            .iter()
            .map(|&place| {
                let is_said = said(place);
                let words = || Kind::Words(Words::new(self.source.categories_max));
                let kind = if is_said { words() } else { Kind::Unknown };
                Column { name: names.shown(place), kind, is_said }
            })
            .collect();
        Ok(Places { features, label, group: group.filter(|_| with_groups) })
    }

    /// The places of the features, in their order: those that the study names, or all others.
    fn choose(&mut self, table: &AnyTable, label: usize, group: Option<usize>) -> Result<Vec<usize>, DataError> {
        let (file, names) = (table.file(), table.names());
        let places = if let Some(columns) = &self.source.feature_columns {
            columns.iter().map(|column| names.find(file, column)).collect::<Result<Vec<_>, _>>()?
        } else {
            let left_out = self.source.leave_out.iter().map(|column| names.find(file, column));
            let left_out = left_out.collect::<Result<Vec<_>, _>>()?;
            let others = (0..names.all().len())
                .filter(|place| *place != label && Some(*place) != group && !left_out.contains(place));
            let (nameless, named): (Vec<_>, Vec<_>) = others.partition(|&place| {
                let name = &names.all()[place];
                name.is_empty() || name.starts_with(NAMELESS)
            });
            if !nameless.is_empty() {
                self.remark_nameless(file, &nameless);
            }
            named
        };
        for name in names.twice() {
            let column = error::shown(name);
            self.remarks.push(format!(
                "{file} has more than one column `{column}`: the second is called `{column}.2` here, and so on"
            ));
        }
        for (index, &place) in places.iter().enumerate() {
            let what = match () {
                () if place == label => "the label's column",
                () if Some(place) == group => "the groups' column",
                () if places[..index].contains(&place) && index < DOUBLES_SOUGHT_MAX => {
                    "a column that stands there already"
                }
                () => continue,
            };
            let what = format!("`feature_columns` names `{}`, {what}", error::shown(&names.shown(place)));
            return Err(DataError::Split { file: file.clone(), what });
        }
        if places.is_empty() {
            return Err(DataError::NoFeatures { file: file.clone(), column: error::shown(&names.shown(label)) });
        }
        if places.len() > ROW_VALUES_MAX {
            let what = format!("{} feature columns; at most {ROW_VALUES_MAX} are read", places.len());
            return Err(DataError::TooLarge { file: file.clone(), what });
        }
        Ok(places)
    }

    fn remark_nameless(&mut self, file: &Origin, nameless: &[usize]) {
        let numbers: Vec<_> = nameless.iter().take(5).map(|place| (place + 1).to_string()).collect();
        let more = if nameless.len() > numbers.len() { ", …" } else { "" };
        let (columns, have) = if nameless.len() == 1 { ("column", "has") } else { ("columns", "have") };
        self.remarks.push(format!(
            "{file}: {columns} {}{more} {have} no name, as the index that pandas writes; left out of the features (list \
             numbers in `feature_columns` to use them)",
            numbers.join(", ")
        ));
    }

    /// Takes one row; `None` if it is left out.
    fn row(&mut self, table: &AnyTable, places: &Places, cells: &mut [f64]) -> Result<Option<f64>, DataError> {
        let drops = self.settings.missing == Missing::Drop;
        let mut is_whole = true;
        for ((column, &place), slot) in self.features.iter_mut().zip(&places.features).zip(cells) {
            *slot = column.take(table, place, self.settings, self.source.categories_max)?;
            if slot.is_nan() && self.settings.missing == Missing::Error {
                return Err(DataError::Missing { place: table.place(place) });
            }
            is_whole &= !slot.is_nan();
        }
        let label = match self.settings.labels {
            LabelKind::Classes => self.class(table, places.label)?,
            LabelKind::Numbers => target(table, places.label, self.settings)?,
        };
        match label {
            None if !drops => Err(DataError::MissingLabel { place: table.place(places.label) }),
            label => Ok(label.filter(|_| is_whole || !drops)),
        }
    }

    /// The place of a row's class among the words of the label's column.
    fn class(&mut self, table: &AnyTable, place: usize) -> Result<Option<f64>, DataError> {
        let word = match table.cell(place) {
            Cell::Missing => match table {
                AnyTable::Text(text) if text.bytes(place) == cells::NONE.as_bytes() => Cow::Borrowed(cells::NONE),
                _ => return Ok(None),
            },
            Cell::Unreadable => return Err(table.bad_text(place)),
            Cell::Number(number) => Cow::Owned(number.to_string()),
            Cell::Text(text) => text,
        };
        if let Some(place) = self.classes.known(&word) {
            return Ok(Some(f64::from(place)));
        }
        if let Some(number) = table.spelled(&word) {
            if number.is_nan() {
                return Ok(None);
            }
            targets::check_class(number, || table.place(place))?;
        }
        let added = self.classes.add(&word, || table.place(place));
        added.map(|place| Some(f64::from(place))).ok_or_else(|| DataError::ClassesMax { file: table.file().clone() })
    }

    fn group(&mut self, table: &AnyTable, place: usize) -> Result<u32, DataError> {
        let word = match table.cell(place) {
            Cell::Missing => Cow::Borrowed(""),
            Cell::Unreadable => return Err(table.bad_text(place)),
            Cell::Number(number) => Cow::Owned(number.to_string()),
            Cell::Text(text) => text,
        };
        let known = self.groups.known(&word);
        let added = known.or_else(|| self.groups.add(&word, || table.place(place)));
        added.ok_or_else(|| DataError::ClassesMax { file: table.file().clone() })
    }

    /// The decimal mark of all tables, where it is not the point that everybody expects.
    pub(super) fn decimal(&self) -> Option<u8> {
        self.decimals.iter().eq([&b',']).then_some(b',')
    }

    /// What the columns turned out to be, once all tables are read.
    pub(super) fn finish(self) -> (RawInputs, RawLabels, Order, Vec<String>) {
        let mut remarks = self.remarks;
        let (mut columns, mut orders) = (Vec::new(), Vec::new());
        for Column { name, kind, is_said } in self.features {
            let (kind, order) = match kind {
                Kind::Unknown => (RawKind::Number, None),
                Kind::Number { counts_up } => {
                    if counts_up.is_some_and(f64::is_finite) {
                        let shown = error::shown(&name);
                        remarks.push(format!(
                            "the column `{shown}` only counts the rows; if it says nothing about them, leave it out: \
                             leave_out = [\"{shown}\"] in [data]"
                        ));
                    }
                    (RawKind::Number, None)
                }
                Kind::Words(words) if !is_said && cells::are_flags(words.names()) => {
                    let order = words.names().map(|word| cells::flag(word).unwrap_or_default()).collect();
                    (RawKind::Flag, Some(order))
                }
                Kind::Words(words) => {
                    let (names, order) = words.sorted();
                    (RawKind::Categories(names), Some(order))
                }
            };
            columns.push(RawColumn { name, kind });
            orders.push(order);
        }
        let labels = match self.settings.labels {
            LabelKind::Classes => targets::of_column(&self.classes, self.label_name),
            LabelKind::Numbers => RawLabels::Values { names: vec![self.label_name] },
        };
        (RawInputs::Columns(columns), labels, Order::of(orders), remarks)
    }
}

impl Column {
    /// What one cell of this column stands for.
    fn take(
        &mut self,
        table: &AnyTable,
        place: usize,
        settings: &DataSettings,
        categories_max: u32,
    ) -> Result<f64, DataError> {
        let cell = table.cell(place);
        let number = match &cell {
            Cell::Missing => return Ok(f64::NAN),
            Cell::Unreadable => return Err(table.bad_text(place)),
            Cell::Number(number) => Some(*number),
            Cell::Text(_) if matches!(self.kind, Kind::Words(_)) => None,
            Cell::Text(text) => table.spelled(text),
        };
        if let Kind::Unknown = self.kind {
            self.kind = match number {
                Some(_) => Kind::Number { counts_up: Some(f64::NEG_INFINITY) },
                None => Kind::Words(Words::new(categories_max)),
            };
        }
        match (&mut self.kind, number) {
            (Kind::Number { counts_up }, Some(number)) => {
                check_finite(number, settings.scaling == ScalingKind::None, || table.place(place))?;
                *counts_up = counts_up.filter(|&last| {
                    last.is_infinite() && number <= 1.0 || (last + 1.0).to_bits() == number.to_bits()
                });
                *counts_up = counts_up.map(|_| number);
                Ok(number)
            }
            (Kind::Words(words), number) => {
                let word = match cell {
                    Cell::Text(text) => text,
                    _ => Cow::Owned(number.unwrap_or_default().to_string()),
                };
                word_place(words, &word, table, place, self.is_said)
            }
            (Kind::Number { .. } | Kind::Unknown, _) => {
                let Cell::Text(text) = cell else { return Ok(f64::NAN) };
                Err(DataError::Text { place: table.place(place), text: error::shown(&text) })
            }
        }
    }
}

/// The place of a word in its column's list.
fn word_place(
    words: &mut Words,
    word: &str,
    table: &AnyTable,
    place: usize,
    is_said: bool,
) -> Result<f64, DataError> {
    if let Some(place) = words.known(word) {
        return Ok(f64::from(place));
    }
    if !is_said && table.spelled(word).is_some() && matches!(table, AnyTable::Text(_)) {
        let what = format!(
            "\"{}\" is a number in a column of words; repair it, or list the column in `category_columns` if numbers are \
             words there",
            error::shown(word)
        );
        return Err(DataError::Row { place: table.place(place), what });
    }
    let added = words.add(word, || table.place(place));
    let is_number =
        |word: &str| [b',', b'.'].iter().any(|&mark| super::cells::number(word.as_bytes(), mark).is_some());
    let are_numbers = added.is_none() && words.names().take(3).all(is_number);
    added.map(f64::from).ok_or_else(|| DataError::Categories {
        place: table.place(place),
        max: words.max(),
        hint: error::DecimalHint(are_numbers),
        first: words.names().take(3).map(|word| format!("\"{}\"", error::shown(word))).collect::<Vec<_>>().join(", "),
    })
}

/// Refuses a number that is infinite, or becomes so where it is narrowed as it is.
fn check_finite(number: f64, is_narrowed: bool, place: impl FnOnce() -> ValuePlace) -> Result<(), DataError> {
    let is_finite = if is_narrowed { (number as f32).is_finite() } else { number.is_finite() };
    if is_finite || number.is_nan() { Ok(()) } else { Err(DataError::NotFinite { place: place(), value: number }) }
}

/// The number in a row's label.
fn target(table: &AnyTable, place: usize, settings: &DataSettings) -> Result<Option<f64>, DataError> {
    let number = match table.cell(place) {
        Cell::Missing => return Ok(None),
        Cell::Unreadable => return Err(table.bad_text(place)),
        Cell::Number(number) => number,
        Cell::Text(text) => match table.spelled(&text) {
            Some(number) => number,
            None => return Err(DataError::TextLabel { place: table.place(place), text: error::shown(&text) }),
        },
    };
    check_finite(number, !settings.scales_targets, || table.place(place))?;
    Ok(Some(number).filter(|number| !number.is_nan()))
}

/// What to say of a table that has no labels, beside one that has.
fn without_labels(error: DataError) -> DataError {
    match error {
        DataError::NoSuchColumn { file, column, .. } => DataError::NoLabels { file, column },
        other => other,
    }
}
