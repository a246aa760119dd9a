//! A study file from its first key to its last: [`parse`].

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Source};
use super::reader::{Node, Table};
use super::{Scheduling, Study, data, model, search, space, training};

const KEYS: &[&str] = &["name", "seed", "data", "model", "training", "search", "control", "scheduling"];
const NAME_CHARACTERS_MAX: usize = 64;

/// Where each value of a study stands, by its path: `model.layers.2.units`.
pub(super) type Spans = BTreeMap<String, Range<usize>>;

/// Reads and checks a study. `file` is what errors call it.
///
/// # Errors
/// [`Diagnostic`]: the first thing that is wrong, with its line and what was meant. A checked study can still fail
/// to fit its data; [`Study::at_layer`] and [`Study::at`] locate such errors.
pub fn parse(text: &str, file: &str) -> Result<Study, Diagnostic> {
    let source = Source { file: file.to_owned(), text: text.to_owned() };
    let document = DeTable::parse(text).map_err(|error| syntax_error(&source, &error))?;
    let mut spans = Spans::new();
    note_spans("", document.get_ref(), &mut spans);
    read(&Table::document(&source, document.get_ref()), &source, spans)
}

fn syntax_error(source: &Source, error: &toml::de::Error) -> Diagnostic {
    let end = source.text.trim_end().len();
    let span = error.span().unwrap_or(end..end);
    let before = source.text.get(..span.start).unwrap_or_default();
    // The parser calls this "string values must be quoted".
    if span.is_empty() && before.trim_end_matches([' ', '\t']).ends_with('=') {
        return source.error(&span, "this is not TOML: a value is missing after `=`");
    }
    source.error(&span, format!("this is not TOML: {}", error.message()))
}

fn read(document: &Table<'_>, source: &Source, spans: Spans) -> Result<Study, Diagnostic> {
    document.allow(KEYS, elsewhere)?;
    let name = read_name(&document.require("name", "a text in quotes; it names the folder of results")?)?;
    let seed = document.get("seed").map_or(Ok(0), |seed| seed.whole(0, i64::MAX))? as u64;

    let mut uses = Vec::new();
    let data = data::read(&document.require("data", "a table with the files")?)?;
    let model = model::read(&document.require("model", "a table with the layers")?, &mut uses)?;
    let training =
        training::read(&document.require("training", "a table with learning_rate and epochs")?, &mut uses)?;
    let search = search::read(document, &data, &uses, source)?;
    let control = document
        .get("control")
        .map(|control| space::read_control(&control, &search.space, &uses, source))
        .transpose()?;
    let scheduling = document.get("scheduling").map_or(Ok(Scheduling::default()), |node| read_scheduling(&node))?;
    Ok(Study { name, seed, data, model, training, search, control, scheduling, source: source.clone(), spans })
}

/// What to say of a key that belongs into a table.
fn elsewhere(key: &str) -> Option<String> {
    training::KEYS.contains(&key).then(|| format!("`{key}` belongs in [training]"))
}

fn read_name(node: &Node<'_>) -> Result<String, Diagnostic> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '_';
    let fits = |name: &str| {
        name.len() <= NAME_CHARACTERS_MAX && name.chars().all(allowed) && !name.starts_with('-') && !name.is_empty()
    };
    match node.text() {
        Ok(name) if fits(name) => Ok(name.to_owned()),
        _ => Err(node.refused("a text of 1 to 64 letters, digits, `_` and `-` that does not start with `-`")),
    }
}

fn read_scheduling(node: &Node<'_>) -> Result<Scheduling, Diagnostic> {
    let table = node.table("[scheduling]", "[scheduling] ")?;
    table.allow(&["failures_max", "losses_max", "backoff_ms"], |_| None)?;
    let defaults = Scheduling::default();
    let count = |key: &str, default: u32| match table.get(key) {
        Some(node) => node.whole(1, 1000).map(|count| count as u32),
        None => Ok(default),
    };
    Ok(Scheduling {
        failures_max: count("failures_max", defaults.failures_max)?,
        losses_max: count("losses_max", defaults.losses_max)?,
        backoff_ms: match table.get("backoff_ms") {
            Some(node) => node.whole(0, 3_600_000)? as u64,
            None => defaults.backoff_ms,
        },
    })
}

fn note_spans(path: &str, table: &DeTable<'_>, spans: &mut Spans) {
    for (key, value) in table {
        let path = if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
        note_span(path, &value.span(), value.get_ref(), spans);
    }
}

fn note_span(path: String, span: &Range<usize>, value: &DeValue<'_>, spans: &mut Spans) {
    match value {
        DeValue::Table(table) => note_spans(&path, table, spans),
        DeValue::Array(array) if path == "model.layers" => {
            for (index, element) in array.iter().enumerate() {
                note_span(format!("{path}.{index}"), &element.span(), element.get_ref(), spans);
            }
        }
        _ => {}
    }
    spans.insert(path, span.clone());
}
