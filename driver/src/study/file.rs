//! A study file from its first key to its last: [`parse`].

use std::collections::BTreeMap;
use std::ops::Range;

use broadsweep_common::configuration::Configuration;
use broadsweep_common::model::Model;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Source};
use super::objectives::Comparable;
use super::reader::{Node, Table};
use super::setting::Uses;
use super::trainer::TrainerKind;
use super::{
    CheckpointSettings, DataSettings, InitialFrom, LabelKind, SearchSettings, Study, Trainer, apply, conditions,
    data, given, model, scheduling, search, trainer, training,
};
use broadsweep_scheduler::SchedulingConfig;

const KEYS: &[&str] = &[
    "name",
    "seed",
    "trainer",
    "data",
    "model",
    "training",
    "search",
    "control",
    "scheduling",
    "checkpoints",
    "apply",
];
/// Lists whose elements can be wrong one by one, once more than the study is known.
const LISTS: [&str; 2] = ["model.layers", "data.files"];
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

/// Reads the `[model]` table of a text that holds other tables beside it, and in which nothing is searched: each layer is
/// checked as in a study. `file` is what errors call it.
///
/// # Errors
/// As [`parse`].
pub fn parse_model(text: &str, file: &str) -> Result<Model, Diagnostic> {
    let source = Source { file: file.to_owned(), text: text.to_owned() };
    let document = DeTable::parse(text).map_err(|error| syntax_error(&source, &error))?;
    let node = Table::document(&source, document.get_ref()).require("model", "a table with the layers")?;
    let described = model::read(&node, &mut Uses::default())?;
    described.resolve(&Configuration::default()).map_err(|error| node.error(error.to_string()))
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

    let asked = match document.get("apply") {
        Some(node) => asked_to_apply(document, &node)?,
        None => asked_to_search(document, source)?,
    };
    let Asked { trainer, data, files, search, control, initial, initial_from } = asked;
    let scheduling =
        document.get("scheduling").map_or(Ok(SchedulingConfig::default()), |node| scheduling::read(&node))?;
    let checkpoints = document
        .get("checkpoints")
        .map_or(Ok(CheckpointSettings::default()), |node| scheduling::read_checkpoints(&node))?;
    let source = source.clone();
    let class_names = Vec::new();
    Ok(Study {
        name,
        seed,
        trainer,
        data,
        files,
        search,
        control,
        initial,
        initial_from,
        scheduling,
        checkpoints,
        class_names,
        source,
        spans,
    })
}

/// What a study asks for, but for what all of them have.
struct Asked {
    trainer: Trainer,
    data: Option<DataSettings>,
    files: Vec<String>,
    search: SearchSettings,
    control: Option<Configuration>,
    initial: Vec<Configuration>,
    initial_from: Option<InitialFrom>,
}

fn asked_to_apply(document: &Table<'_>, node: &Node<'_>) -> Result<Asked, Diagnostic> {
    let search = apply::no_search(document)?;
    let trainer = Trainer::Model(apply::read(node)?);
    let (data, files, control, initial, initial_from) = (None, Vec::new(), None, Vec::new(), None);
    Ok(Asked { trainer, data, files, search, control, initial, initial_from })
}

fn asked_to_search(document: &Table<'_>, source: &Source) -> Result<Asked, Diagnostic> {
    let mut uses = Uses { conditional: conditions::conditional_names(document), ..Uses::default() };
    let kind = trainer::read_kind(document)?;
    let data = match kind {
        TrainerKind::Network => Some(document.require("data", "a table with the files")?),
        TrainerKind::Replay | TrainerKind::Program => document.get("data"),
    };
    let (mut data, files) = match data {
        Some(node) => data::read(&node, kind)?,
        None => (None, Vec::new()),
    };
    let mut trainer = trainer::read(document, kind, &mut uses)?;
    let uses = uses.found;
    let search = search::read(document, (Comparable::of(&trainer, data.as_ref()), &trainer), &uses, source)?;
    match &mut trainer {
        Trainer::Network { model, .. } => {
            if let Some(data) = &mut data {
                data.labels = LabelKind::of(model.loss);
            }
        }
        Trainer::Program(program) => program.description.objective = search.objectives.first().metric.clone(),
        Trainer::Replay(_) | Trainer::Model(_) => {}
    }
    let control = document
        .get("control")
        .map(|control| given::read_control(&control, &search.space, &uses, source))
        .transpose()?;
    let initial = given::read_initial(document, control.as_ref(), &search.space, &uses, source)?;
    let initial_from = given::read_initial_from(document)?;
    Ok(Asked { trainer, data, files, search, control, initial, initial_from })
}

/// What to say of a key that belongs into a table.
fn elsewhere(key: &str) -> Option<String> {
    let of_training = training::KEYS.contains(&key).then_some("training");
    let table = of_training.or_else(|| trainer::has_key(key).then_some("trainer"))?;
    Some(format!("`{key}` belongs in [{table}]"))
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

fn note_spans(path: &str, table: &DeTable<'_>, spans: &mut Spans) {
    for (key, value) in table {
        let path = if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
        note_span(path, &value.span(), value.get_ref(), spans);
    }
}

fn note_span(path: String, span: &Range<usize>, value: &DeValue<'_>, spans: &mut Spans) {
    match value {
        DeValue::Table(table) => note_spans(&path, table, spans),
        DeValue::Array(array) if LISTS.contains(&&path[..]) => {
            for (index, element) in array.iter().enumerate() {
                note_span(format!("{path}.{index}"), &element.span(), element.get_ref(), spans);
            }
        }
        _ => {}
    }
    spans.insert(path, span.clone());
}
