//! `[trainer] kind = "program"`: somebody's own program, how it is called, and what is read of what it prints.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use broadsweep_common::configuration::Value;
use broadsweep_common::metrics::MetricName;
use broadsweep_common::program::{
    GPUS_MAX, Known, PROGRAM_EPOCHS_MAX, Piece, PrintedForm, ProgramDescription, WORDS_MAX, Word, WorkerDescription,
};
use broadsweep_common::setting::Bounds;
use broadsweep_common::size::ByteSize;
use regex::RegexBuilder;

use super::ProgramSettings;
use super::cost::Cost;
use super::diagnostic::Diagnostic;
use super::reader::{Node, Table, nearest};
use super::setting::{Kind, Settings, Use, Uses};

/// All keys but `kind`, in the order of the documentation.
pub(super) const KEYS: &[&str] = &[
    "command",
    "env_prefix",
    "epochs",
    "cost",
    "printed",
    "pattern",
    "outputs",
    "grace_s",
    "memory",
    "disk",
    "worker",
    "requires",
    "deterministic",
];
/// All keys of `requires`.
const REQUIRES_KEYS: &[&str] = &["gpus"];

/// All keys of a worker's table.
const WORKER_KEYS: &[&str] = &["trials", "memory"];

/// Forms of what a program prints that have a name; a pattern has a key of its own.
const PRINTED: &[(&str, Form)] =
    &[("assignments", Form::Assignments), ("tune-metric", Form::TuneMetric), ("keras", Form::Keras)];
/// What stands for all parameters, as words.
const ARGS: &str = "args";
const EPOCHS: Bounds<u32> = Bounds::Within(1, PROGRAM_EPOCHS_MAX);
const GRACE_S_DEFAULT: f64 = 30.0;
const GRACE_S: Bounds<f64> = Bounds::Within(0.0, 3600.0);
const DISK_BYTES_DEFAULT: u64 = 64 << 30;
const WORKER_TRIALS_DEFAULT: u32 = 100;
const WORKER_TRIALS_MAX: i64 = 1_000_000;
const OUTPUTS_MAX: usize = 64;
/// Bytes that a compiled pattern may take: executors apply it to each line.
const PATTERN_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Copy)]
enum Form {
    Assignments,
    TuneMetric,
    Keras,
}

/// Reads a program's settings; every one of `parameters` is told to it, so all of them are noted in `uses`.
pub(super) fn read(table: &Table<'_>, parameters: &[String], uses: &mut Uses) -> Result<ProgramSettings, Diagnostic> {
    let command_node =
        table.require("command", "the words of the command, as in [\"python\", \"train.py\", \"${args}\"]")?;
    let command = read_command(&command_node, parameters, &uses.conditional)?;
    let epochs = Settings { table, uses }.whole("epochs", EPOCHS, Some(1))?;
    // After those that want a certain kind, so that messages name the line of such a setting.
    uses.found.extend(parameters.iter().map(|parameter| Use {
        parameter: parameter.clone(),
        span: command_node.span.clone(),
        place: "a program's parameter".to_owned(),
        kind: Kind::Any,
        is_required: false,
        layer_flag: None,
    }));
    let cost = table.get("cost").map(|node| read_cost(&node, parameters)).transpose()?;
    let description = ProgramDescription {
        command,
        env_prefix: table.get("env_prefix").map(|node| node.text().map(str::to_owned)).transpose()?,
        epochs,
        printed: read_printed(table)?,
        objective: MetricName::VALIDATION_ERROR, // until [search] is read
        outputs: table.get("outputs").map_or(Ok(Vec::new()), |node| read_outputs(&node))?,
        grace_ms: (number(table, "grace_s", GRACE_S, GRACE_S_DEFAULT)? * 1000.0).round() as u64,
        memory_bytes: table.get("memory").map(|node| read_bytes(&node)).transpose()?,
        disk_bytes: table.get("disk").map_or(Ok(DISK_BYTES_DEFAULT), |node| read_bytes(&node))?,
        worker: table.get("worker").map_or(Ok(None), |node| read_worker(&node))?,
        gpus: table.get("requires").map_or(Ok(None), |node| read_requires(&node))?,
        is_deterministic: flag(table, "deterministic")?,
    };
    Ok(ProgramSettings { description, cost })
}

fn read_command(
    node: &Node<'_>,
    parameters: &[String],
    conditional: &BTreeSet<String>,
) -> Result<Vec<Word>, Diagnostic> {
    let words = node.array().map_err(|_| node.refused("an array of words, as in [\"python\", \"train.py\"]"))?;
    let Some(first) = words.first() else { return Err(node.error("`command` is empty: there is nothing to run")) };
    if words.len() > WORDS_MAX {
        return Err(node.error(format!("`command` has {} words; {WORDS_MAX} are allowed", words.len())));
    }
    // An empty word is one, too, but no program is called so.
    first.text()?;
    words.iter().map(|word| read_word(word, parameters, conditional)).collect()
}

fn read_word(node: &Node<'_>, parameters: &[String], conditional: &BTreeSet<String>) -> Result<Word, Diagnostic> {
    let Ok(Value::Choice(text)) = node.scalar() else {
        return Err(node.refused("a text in quotes"));
    };
    if text.contains('\0') {
        return Err(node.error(format!("{} has a zero byte in it, which no program can be given", node.place)));
    }
    let word = Word::parse(&text).map_err(|error| node.error(format!("{}: {error}", node.place)))?;
    if let Some(unknown) = word.parameters().find(|name| !parameters.iter().any(|known| known == name)) {
        return Err(unknown_name(node, &text, unknown, parameters));
    }
    if let Some(absent) = word.parameters().find(|name| conditional.contains(*name)) {
        let message = format!("{} names `{absent}`, which is not in every configuration", node.place);
        return Err(node
            .error(message)
            .with_note(format!("write ${{{ARGS}}} instead: it stands for those that a configuration has")));
    }
    match &word {
        Word::One(pieces) if pieces.contains(&Piece::Variable(String::new())) => {
            Err(node.error(format!("{}: `${{envvar:}}` names no variable", node.place)))
        }
        _ => Ok(word),
    }
}

fn unknown_name(node: &Node<'_>, text: &str, name: &str, parameters: &[String]) -> Diagnostic {
    let known = || Known::ALL.iter().map(|(name, _)| *name).chain([ARGS]);
    let near = nearest(name, parameters.iter().map(String::as_str).chain(known()));
    let near = near.map_or_else(String::new, |near| format!("; did you mean `${{{near}}}`?"));
    let reference = format!("${{{name}}}");
    let start = text.find(&reference).unwrap_or_default();
    let message =
        format!("`{reference}` is neither a parameter of [search.space] nor a name that every trial has{near}");
    let names: Vec<_> = known().map(|name| format!("${{{name}}}")).collect();
    node.error_inside(text, start..start + reference.len(), message).with_note(format!(
        "besides parameters there are {} and ${{envvar:NAME}}; `$$` stands for `$`",
        names.join(", ")
    ))
}

/// What a trial costs beside the others.
pub(super) fn read_cost(node: &Node<'_>, parameters: &[String]) -> Result<Cost, Diagnostic> {
    let text = node.text()?;
    let cost = Cost::parse(text).map_err(|error| {
        node.error_inside(text, error.span.clone(), format!("{}: {error}", node.place))
            .with_note("a cost is made of numbers, parameters, `epochs`, + - * / ^ ( ), min, max, log2 and sqrt")
    })?;
    let is_known = |name: &str| name == "epochs" || parameters.iter().any(|known| known == name);
    let Some((unknown, span)) = cost.names().find(|(name, _)| !is_known(name)) else { return Ok(cost) };
    let near = nearest(unknown, parameters.iter().map(String::as_str).chain(["epochs"]));
    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let message = format!("{}: `{unknown}` is no parameter of [search.space]{near}", node.place);
    Err(node.error_inside(text, span, message))
}

/// What is read from standard output: the forms that have a name, then the pattern.
fn read_printed(table: &Table<'_>) -> Result<Vec<PrintedForm>, Diagnostic> {
    let mut forms = Vec::new();
    for node in table.get("printed").map_or(Ok(Vec::new()), |node| node.array())? {
        let form = match node.word(PRINTED)? {
            Form::Assignments => PrintedForm::Assignments,
            Form::TuneMetric => PrintedForm::TuneMetric,
            Form::Keras => PrintedForm::Keras,
        };
        if forms.contains(&form) {
            return Err(node.error(format!("{} stands in `printed` twice", node.quoted())));
        }
        forms.push(form);
    }
    forms.extend(table.get("pattern").map(|node| read_pattern(&node)).transpose()?);
    Ok(forms)
}

fn read_pattern(node: &Node<'_>) -> Result<PrintedForm, Diagnostic> {
    let text = node.text()?;
    let pattern = RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| {
        // Of several lines, the last one says what is wrong.
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        node.error(format!("{} is no regular expression: {reason}", node.place))
    })?;
    let mut names = pattern.capture_names().flatten().peekable();
    if names.peek().is_none() && pattern.captures_len() < 3 {
        return Err(node
            .error(format!(
                "{} needs two groups: the first for a metric's name, the second for its number",
                node.place
            ))
            .with_note("or a named group for each number, as in 'auc: (?<auc>[0-9.]+)'"));
    }
    match names.find_map(|name| MetricName::new(name).err()) {
        Some(bad) => Err(node.error(bad.to_string())),
        None => Ok(PrintedForm::Pattern(text.to_owned())),
    }
}

fn read_outputs(node: &Node<'_>) -> Result<Vec<String>, Diagnostic> {
    let mut outputs = Vec::new();
    for output in node.array()? {
        let path = output.text()?;
        if !is_below(path) {
            let message = format!("{} is {}, which is not below the working folder", output.place, output.quoted());
            return Err(output.error(message).with_note("write a relative path without `..`, as in \"model.keras\""));
        }
        if outputs.iter().any(|known| known == path) {
            return Err(output.error(format!("{} stands in `outputs` twice", output.quoted())));
        }
        outputs.push(path.to_owned());
    }
    if outputs.len() > OUTPUTS_MAX {
        return Err(node.error(format!("`outputs` names {} paths; {OUTPUTS_MAX} are allowed", outputs.len())));
    }
    Ok(outputs)
}

/// Whether a path leads to a place below the folder that it starts from, whatever that is.
pub(super) fn is_below(path: &str) -> bool {
    !path.contains(['\0', '\\'])
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
        && Path::new(path).components().next().is_some()
}

/// How many GPUs an attempt needs for itself, if that is said.
fn read_requires(node: &Node<'_>) -> Result<Option<u32>, Diagnostic> {
    let table = node.table("[trainer] requires", "[trainer] requires.")?;
    table.allow(REQUIRES_KEYS, |_| None)?;
    table.get("gpus").map(|gpus| gpus.whole(0, GPUS_MAX.into()).map(|gpus| gpus as u32)).transpose()
}

fn read_bytes(node: &Node<'_>) -> Result<u64, Diagnostic> {
    let expected = || node.refused("a size in quotes, as in \"2GB\" or \"512MiB\"");
    let ByteSize(bytes) = node.text().map_err(|_| expected())?.parse().map_err(|_| expected())?;
    if bytes == 0 { Err(expected()) } else { Ok(bytes) }
}

/// `true` or a table; each key of it may be left out.
fn read_worker(node: &Node<'_>) -> Result<Option<WorkerDescription>, Diagnostic> {
    let mut worker = WorkerDescription { trials_max: WORKER_TRIALS_DEFAULT, memory_bytes: None };
    if !node.is_table() {
        return match node.scalar() {
            Ok(Value::Flag(stays)) => Ok(stays.then_some(worker)),
            _ => Err(node.refused("true, false, or a table")),
        };
    }
    let table = node.table("[trainer] worker", "[trainer] worker.")?;
    table.allow(WORKER_KEYS, |_| None)?;
    if let Some(trials) = table.get("trials") {
        worker.trials_max = trials.whole(1, WORKER_TRIALS_MAX)? as u32;
    }
    worker.memory_bytes = table.get("memory").map(|node| read_bytes(&node)).transpose()?;
    Ok(Some(worker))
}

/// False unless the study says otherwise.
fn flag(table: &Table<'_>, key: &str) -> Result<bool, Diagnostic> {
    table.get(key).map_or(Ok(false), |node| node.flag())
}

fn number(table: &Table<'_>, key: &str, bounds: Bounds<f64>, default: f64) -> Result<f64, Diagnostic> {
    table.get(key).map_or(Ok(default), |node| super::setting::read_number(&node, bounds))
}
