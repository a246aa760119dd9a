//! Changes of a study from the command line, made in its text: what is written into a run's folder is the study that was
//! run, with the comments of whoever wrote it.
//!
//! The text is changed at the place that the parser tells. Whether that was the right place is not reasoned about: the
//! new text has to parse to what the change means. Where no place does, the study is written anew, without comments.

use std::ops::Range;
use std::str::FromStr;

use broadsweep_common::configuration::{self, Configuration};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

/// Where a study says how many configurations are drawn.
const TRIALS: [&str; 2] = ["search", "trials"];

/// One value that a study is to have.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The keys that lead to it; in an array, a number counted from 0.
    path: Vec<String>,
    value: Value,
}

/// A change that cannot be read, or cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no `=`, or no key before it.
    #[error("`{0}` is not KEY=VALUE; write training.epochs=3, or 'data.scaling=\"unit\"'")]
    NoKey(String),
    /// What stands behind `=` is no value.
    #[error("`{0}` is no TOML value; write a text of more than a word in quotes, as in 'name=\"a text\"'")]
    NoValue(String),
    /// The way to the value leads through something else.
    #[error("--set {path}: `{part}` of the study has no keys")]
    NoTable {
        /// The whole path.
        path: String,
        /// Where it ends.
        part: String,
    },
    /// An array has no such element.
    #[error("--set {path}: `{part}` has {length} elements, counted from 0")]
    NoElement {
        /// The whole path.
        path: String,
        /// The array.
        part: String,
        /// What it has.
        length: usize,
    },
    /// A grid tries all that there is.
    #[error(
        "--trials {0}: the study's search is a grid, which tries every combination; add --set search.sampler=random to \
         draw {0} of them"
    )]
    Grid(i64),
}

impl FromStr for Change {
    type Err = ChangeError;

    /// `training.epochs=3`: dotted keys, and a TOML value or a bare word, which is a text.
    fn from_str(text: &str) -> Result<Self, ChangeError> {
        let no_key = || ChangeError::NoKey(text.to_owned());
        let (key, value) = text.split_once('=').ok_or_else(no_key)?;
        let path = read_key(key).ok_or_else(no_key)?;
        let value = read_value(value).ok_or_else(|| ChangeError::NoValue(value.to_owned()))?;
        Ok(Self { path, value })
    }
}

impl Change {
    /// The study has this seed.
    #[must_use]
    pub fn seed(seed: i64) -> Self {
        Self { path: vec!["seed".to_owned()], value: Value::Integer(seed) }
    }

    /// The search draws so many configurations.
    #[must_use]
    pub fn trials(trials: u32) -> Self {
        Self { path: TRIALS.map(str::to_owned).to_vec(), value: Value::Integer(trials.into()) }
    }

    /// Puts the value into a study.
    fn put(&self, study: &mut Table) -> Result<(), ChangeError> {
        let (last, before) = self.path.split_last().ok_or_else(|| ChangeError::NoKey(String::new()))?;
        let error =
            |depth: usize| ChangeError::NoTable { path: dotted(&self.path), part: dotted(&self.path[..depth]) };
        let Some((first, between)) = before.split_first() else {
            study.insert(last.clone(), self.value.clone());
            return Ok(());
        };
        let mut place = study.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
        for (depth, key) in (1..).zip(between.iter().chain([last])) {
            let is_last = depth == self.path.len() - 1;
            place = match place {
                Value::Table(table) if is_last => {
                    table.insert(key.clone(), self.value.clone());
                    return Ok(());
                }
                Value::Table(table) => table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new())),
                Value::Array(array) => {
                    let length = array.len();
                    let element = key.parse().ok().and_then(|index: usize| array.get_mut(index));
                    element.ok_or_else(|| ChangeError::NoElement {
                        path: dotted(&self.path),
                        part: dotted(&self.path[..depth]),
                        length,
                    })?
                }
                _ => return Err(error(depth)),
            };
        }
        *place = self.value.clone(); // an element
        Ok(())
    }
}

/// The text of a study with these changes, one after the other. One that is not TOML stays as it is: what is wrong with
/// it is said when it is read.
///
/// # Errors
/// [`ChangeError`], if a change does not fit the study.
pub fn change(text: &str, changes: &[Change]) -> Result<String, ChangeError> {
    let mut text = text.to_owned();
    for change in changes {
        let Ok(mut wanted) = text.parse::<Table>() else { return Ok(text) };
        change.put(&mut wanted)?;
        let means_it = |text: &String| text.parse::<Table>().is_ok_and(|table| table == wanted);
        text = candidates(&text, change).into_iter().find(means_it).unwrap_or_else(|| wanted.to_string());
    }
    let asked = changes.iter().rev().find(|change| change.path == TRIALS);
    if let Some(trials) = asked.and_then(|change| change.value.as_integer())
        && is_grid(&text)
    {
        return Err(ChangeError::Grid(trials));
    }
    Ok(text)
}

/// The text of a study whose `initial_from` is replaced by these configurations, behind the starting points that it has. Its
/// lines stay where they are, if the study is written as studies are.
#[must_use]
pub fn starting_from(text: &str, points: &[Configuration]) -> String {
    let Ok(mut wanted) = text.parse::<Table>() else { return text.to_owned() };
    let Some(Value::Table(search)) = wanted.get_mut("search") else { return text.to_owned() };
    search.remove("initial_from");
    let more = points
        .iter()
        .map(|point| Value::Table(point.iter().map(|(name, value)| (name.to_owned(), plain(value))).collect()));
    let known = search.get("initial").and_then(Value::as_array).cloned().unwrap_or_default();
    let all = Value::Array(known.into_iter().chain(more).collect());
    search.insert("initial".to_owned(), all.clone());
    let means_it = |text: &String| text.parse::<Table>().is_ok_and(|table| table == wanted);
    initial_candidates(text, &all).into_iter().flatten().find(means_it).unwrap_or_else(|| wanted.to_string())
}

/// Texts of which one has these starting points in place of `initial_from`.
fn initial_candidates(text: &str, all: &Value) -> Option<Vec<String>> {
    let document = DeTable::parse(text).ok()?;
    let search = document.get_ref().get("search")?.get_ref().as_table()?;
    let (key, from) = search.get_key_value("initial_from")?;
    let entry = key.span().start..from.span().end;
    let Some(initial) = search.get("initial") else {
        return Some(vec![replaced(text, entry, &format!("initial = {all}"))]);
    };
    let [first, second] = if entry.start < initial.span().start { [true, false] } else { [false, true] };
    let with_all = |text: &str| replaced(text, initial.span(), &all.to_string());
    // The later place first, so that the earlier one stays where it is.
    let before = |gone: Range<usize>| if second { with_all(&replaced(text, gone, "")) } else { String::new() };
    let after = |gone: Range<usize>| if first { replaced(&with_all(text), gone, "") } else { String::new() };
    let with_comma = entry.start..text[entry.end..].find(',').map_or(entry.end, |comma| entry.end + comma + 1);
    let comma_before = text[..entry.start].rfind(',').unwrap_or(entry.start)..entry.end;
    let gone = [entry, with_comma, comma_before];
    Some(gone.into_iter().flat_map(|gone| [before(gone.clone()), after(gone)]).collect())
}

fn plain(value: &configuration::Value) -> Value {
    match value {
        configuration::Value::Integer(integer) => Value::Integer(*integer),
        configuration::Value::Real(real) => Value::Float(*real),
        configuration::Value::Choice(word) => Value::String(word.clone()),
        configuration::Value::Flag(flag) => Value::Boolean(*flag),
    }
}

fn is_grid(text: &str) -> bool {
    let study: Table = text.parse().unwrap_or_default();
    let sampler = study.get("search").and_then(|search| search.get("sampler"));
    sampler.and_then(Value::as_str) == Some("grid")
}

/// Texts of which one has the change, if the study is written as studies are.
fn candidates(text: &str, change: &Change) -> Vec<String> {
    let Ok(document) = DeTable::parse(text) else { return Vec::new() };
    let value = change.value.to_string();
    match find(document.get_ref(), &change.path) {
        Found::Value(span) => vec![replaced(text, span, &value)],
        Found::Missing { depth: 0, .. } => {
            let (last, tables) =
                change.path.split_last().map_or(("", &[][..]), |(last, tables)| (last.as_str(), tables));
            let line = format!("{} = {value}\n", key(last));
            if tables.is_empty() {
                return vec![replaced(text, 0..0, &line), replaced(text, 3..3, &line)]; // behind a byte order mark
            }
            vec![format!("{}\n\n[{}]\n{line}", text.trim_end(), dotted(tables))]
        }
        Found::Missing { table, depth } => {
            let assignment = format!("{} = {value}", dotted(&change.path[depth..]));
            let line_end = text[table.start..].find('\n').map_or(text.len(), |end| table.start + end + 1);
            let inside = table.start + 1;
            vec![
                replaced(text, inside..inside, &format!(" {assignment} ")), // {}
                replaced(text, inside..inside, &format!(" {assignment},")), // { a = 1 }
                replaced(text, line_end..line_end, &format!("{assignment}\n")), // below [a]
                format!("{text}\n{assignment}\n"),                          // below [a], at the end of the file
                replaced(text, 0..0, &format!("{} = {value}\n", dotted(&change.path))), // a.b = 1
            ]
        }
    }
}

/// Where a value stands, or the innermost table on the way to it that there is.
enum Found {
    Value(Range<usize>),
    Missing { table: Range<usize>, depth: usize },
}

fn find(document: &DeTable<'_>, path: &[String]) -> Found {
    let Some(mut place) = path.first().and_then(|key| document.get(key.as_str())) else {
        return Found::Missing { table: 0..0, depth: 0 };
    };
    for (depth, key) in path.iter().enumerate().skip(1) {
        let next = match place.get_ref() {
            DeValue::Table(table) => table.get(key.as_str()),
            DeValue::Array(array) => key.parse().ok().and_then(|index: usize| array.get(index)),
            _ => None,
        };
        let Some(next) = next else { return Found::Missing { table: place.span(), depth } };
        place = next;
    }
    Found::Value(place.span())
}

fn replaced(text: &str, span: Range<usize>, with: &str) -> String {
    let before = text.get(..span.start).unwrap_or(text);
    let after = text.get(span.end..).unwrap_or_default();
    format!("{before}{with}{after}")
}

/// The keys of `a.b."c d"`.
fn read_key(key: &str) -> Option<Vec<String>> {
    let mut table: Table = format!("{key} = 0").parse().ok()?;
    let mut path = Vec::new();
    loop {
        let (key, value) = if table.len() == 1 { table.into_iter().next()? } else { return None };
        path.push(key);
        match value {
            Value::Table(inner) => table = inner,
            Value::Integer(0) => return Some(path),
            _ => return None,
        }
    }
}

fn read_value(text: &str) -> Option<Value> {
    let is_word = |character: char| character.is_alphanumeric() || "_-./$".contains(character);
    match format!("value = {text}").parse::<Table>() {
        Ok(mut table) if table.len() == 1 => table.remove("value"),
        Ok(_) => None,
        Err(_) => (!text.is_empty() && text.chars().all(is_word)).then(|| Value::String(text.to_owned())),
    }
}

fn dotted(path: &[String]) -> String {
    path.iter().map(|part| key(part)).collect::<Vec<_>>().join(".")
}

/// A key as it is written.
fn key(name: &str) -> String {
    let is_bare = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { Value::from(name).to_string() }
}
