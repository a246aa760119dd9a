//! `model.toml`, as it is written: for people first, so each column and each layer is a line.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use broadsweep_common::dataset::Element;
use broadsweep_common::model::{Layer, Window};
use broadsweep_common::schema::{Column, ColumnKind, Dialect, Inputs, Outputs, Scale, Schema};
use toml::Value;

use super::{About, FORMAT, TrainedModel};

const INTRODUCTION: &str = "\
# A model, with all that is needed to use it on raw rows: `broadsweep predict` reads it together with weights.safetensors.
# model.onnx is the same model for other programs. Its input `rows` takes the cells of a row as numbers, in the order of
# [input]: of a word its place in `names`, counted from 0, of yes or no 1 or 0, and NaN where a cell is missing.
";

/// The text of `model.toml`, but for the digests of the files beside it.
pub(super) fn text(model: &TrainedModel) -> String {
    let TrainedModel { layers, schema, about } = model;
    let mut text = format!("{INTRODUCTION}\n");
    head(&mut text, about);
    text += "\n[model]\n";
    line(&mut text, "loss", &layers.loss.to_string().into());
    list(&mut text, "layers", layers.layers.iter().map(|layer| inline(&layer_entries(layer))));
    input(&mut text, schema);
    output(&mut text, &schema.outputs);
    text += "\n[metrics]\n";
    for (name, value) in about.metrics.iter() {
        line(&mut text, &key(name.as_str()), &Value::Float(value));
    }
    if !about.held_out.is_empty() {
        text += "\n[held_out] # rows of the training file, counted from 0\n";
        line(&mut text, "rows", &runs_text(&about.held_out).into());
    }
    text
}

/// What the text ends with: the SHA-256 of the files that belong to it.
pub(super) fn digests(files: &[(&str, String)]) -> String {
    let mut text = "\n[sha256]\n".to_owned();
    for (name, digest) in files {
        line(&mut text, &key(name), &digest.clone().into());
    }
    text
}

fn head(text: &mut String, about: &About) {
    line(text, "format", &FORMAT.into());
    line(text, "study", &about.study.clone().into());
    line(text, "trial", &i64::from(about.trial.0).into());
    if let Some(epoch) = about.epoch {
        line(text, "epoch", &i64::from(epoch).into());
    }
    line(text, "kernel", &about.kernel.clone().into());
    line(text, "broadsweep", &about.build.clone().into());
}

fn input(text: &mut String, schema: &Schema) {
    *text += "\n[input]\n";
    let sides = schema.shape.iter().map(|&side| Value::from(i64::from(side))).collect();
    line(text, "shape", &Value::Array(sides));
    let element = match schema.element {
        Element::U8 => "bytes",
        Element::F32 => "numbers",
    };
    line(text, "element", &element.into());
    if schema.text != Dialect::default() {
        let _ = writeln!(text, "text = {} # how its tables are written", inline(&dialect_entries(&schema.text)));
    }
    match &schema.inputs {
        Inputs::Columns(columns) => list(text, "columns", columns.iter().map(|column| inline(&entries(column)))),
        Inputs::Array { scales, fills, channels_first } => {
            line(text, "channels_first", &(*channels_first).into());
            list(text, "scales", scales.iter().map(|scale| inline(&scale_entries(*scale))));
            if !fills.is_empty() {
                line(text, "fills", &Value::Array(fills.iter().copied().map(Value::Float).collect()));
            }
        }
    }
}

/// The keys that a study has for it, those that it gave.
fn dialect_entries(Dialect { delimiter, decimal, header, encoding }: &Dialect) -> Vec<(&'static str, Value)> {
    let mark = |mark: u8| Value::from(char::from(mark).to_string());
    let entries = [
        ("delimiter", delimiter.map(mark)),
        ("decimal", decimal.map(mark)),
        ("header", header.map(Value::from)),
        ("encoding", encoding.clone().map(Value::from)),
    ];
    entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn output(text: &mut String, outputs: &Outputs) {
    *text += "\n[output]\n";
    match outputs {
        Outputs::Classes { column, names } => {
            if let Some(column) = column {
                line(text, "column", &column.clone().into());
            }
            line(text, "classes", &words(names));
        }
        Outputs::Values { names, scales } => {
            let value = |(name, scale): (&String, &Scale)| {
                let mut entries = vec![("name", Value::from(name.clone()))];
                entries.extend(scale_entries(*scale));
                inline(&entries)
            };
            list(text, "values", names.iter().zip(scales).map(value));
        }
    }
}

fn entries(column: &Column) -> Vec<(&'static str, Value)> {
    let mut entries = vec![("name", Value::from(column.name.clone()))];
    match &column.kind {
        ColumnKind::Number { scale, fill } | ColumnKind::Flag { scale, fill } => {
            let is_number = matches!(column.kind, ColumnKind::Number { .. });
            entries.push(("kind", if is_number { "number" } else { "flag" }.into()));
            entries.extend(scale_entries(*scale));
            entries.extend(fill.map(|fill| ("fill", Value::Float(fill))));
        }
        ColumnKind::Categories { names, may_miss } => {
            entries.push(("kind", "categories".into()));
            entries.push(("names", words(names)));
            entries.push(("may_miss", (*may_miss).into()));
        }
    }
    entries
}

fn scale_entries(scale: Scale) -> Vec<(&'static str, Value)> {
    vec![("center", Value::Float(scale.center)), ("spread", Value::Float(scale.spread))]
}

/// A layer as a study writes it.
fn layer_entries(layer: &Layer) -> Vec<(&'static str, Value)> {
    let count = |count: usize| Value::from(count as i64);
    let window = |window: &Window| {
        vec![
            ("size", count(window.size)),
            ("stride", count(window.stride)),
            ("padding", window.padding.to_string().into()),
        ]
    };
    let settings = match layer {
        Layer::Dense { units, activation, initialization } => vec![
            ("units", count(*units)),
            ("activation", activation.to_string().into()),
            ("initialization", initialization.to_string().into()),
        ],
        Layer::Conv2d { filters, kernel, stride, padding, activation, initialization } => vec![
            ("filters", count(*filters)),
            ("kernel", count(*kernel)),
            ("stride", count(*stride)),
            ("padding", padding.to_string().into()),
            ("activation", activation.to_string().into()),
            ("initialization", initialization.to_string().into()),
        ],
        Layer::MaxPool(of_pool) | Layer::AveragePool(of_pool) => window(of_pool),
        Layer::Flatten => Vec::new(),
        Layer::Dropout { rate } => vec![("rate", Value::Float(*rate))],
        Layer::BatchNorm { momentum, epsilon, activation } => vec![
            ("momentum", Value::Float(*momentum)),
            ("epsilon", Value::Float(*epsilon)),
            ("activation", activation.to_string().into()),
        ],
        Layer::Activation(function) => vec![("function", function.to_string().into())],
    };
    std::iter::once(("kind", layer.kind().into())).chain(settings).collect()
}

fn words(words: &[String]) -> Value {
    Value::Array(words.iter().cloned().map(Value::String).collect())
}

fn line(text: &mut String, key: &str, value: &Value) {
    // To write to memory does not fail.
    let _ = writeln!(text, "{key} = {value}");
}

/// A list with an entry a line.
fn list(text: &mut String, key: &str, entries: impl Iterator<Item = String>) {
    let _ = writeln!(text, "{key} = [");
    entries.for_each(|entry| {
        let _ = writeln!(text, "    {entry},");
    });
    *text += "]\n";
}

/// A table in one line.
fn inline(entries: &[(&'static str, Value)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", entries.join(", "))
}

/// A key, between quotes where it needs them.
fn key(name: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    let is_bare = !name.is_empty() && name.chars().all(is_plain);
    if is_bare { name.to_owned() } else { Value::from(name).to_string() }
}

/// `3 17-20 35`: runs of rows, each by its first and its last.
pub(super) fn runs_text(runs: &[RangeInclusive<u64>]) -> String {
    let shown = runs.iter().map(|run| match (run.start(), run.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The parts of a model that its digest covers.
pub(super) const DIGESTED: [&str; 3] = ["model", "input", "output"];
