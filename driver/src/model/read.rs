//! `model.toml`, read back and checked: whatever a file holds, what is returned can be used.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use broadsweep_common::dataset::{Element, ROW_VALUES_MAX};
use broadsweep_common::ids::TrialId;
use broadsweep_common::metrics::{MetricName, Metrics};
use broadsweep_common::schema::{Column, ColumnKind, Dialect, Inputs, Outputs, Scale, Schema};
use serde::Deserialize;
use toml::Table;

use super::error::ModelError;
use super::{About, FORMAT, TrainedModel, digest};
use crate::results::show::printable;
use crate::study::parse_model;

/// Classes that a model may have.
const CLASSES_MAX: usize = 65_536;
/// Characters of a name that a message shows.
const NAME_CHARACTERS_MAX: usize = 40;

/// What `model.toml` says.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) model: TrainedModel,
    /// By which the files beside it know it.
    pub(super) digest: String,
    /// The SHA-256 of these files, by their names.
    pub(super) files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Form {
    study: String,
    trial: u32,
    epoch: Option<u32>,
    kernel: String,
    broadsweep: String,
    input: InputForm,
    output: OutputForm,
    #[serde(default)]
    metrics: BTreeMap<String, f64>,
    #[serde(default)]
    held_out: HeldOutForm,
    #[serde(default)]
    sha256: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputForm {
    shape: Vec<u32>,
    element: ElementForm,
    text: Option<TextForm>,
    columns: Option<Vec<ColumnForm>>,
    channels_first: Option<bool>,
    scales: Option<Vec<Scale>>,
    #[serde(default)]
    fills: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextForm {
    delimiter: Option<char>,
    decimal: Option<char>,
    header: Option<bool>,
    encoding: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ElementForm {
    Bytes,
    Numbers,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum ColumnForm {
    Number { name: String, center: f64, spread: f64, fill: Option<f64> },
    Flag { name: String, center: f64, spread: f64, fill: Option<f64> },
    Categories { name: String, names: Vec<String>, may_miss: bool },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputForm {
    column: Option<String>,
    classes: Option<Vec<String>>,
    values: Option<Vec<ValueForm>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueForm {
    name: String,
    center: f64,
    spread: f64,
}

#[derive(Default, Deserialize)]
struct HeldOutForm {
    rows: String,
}

/// Reads the text of the file at `path`.
///
/// # Errors
/// [`ModelError`], for the first thing that is wrong.
pub(super) fn parse(text: &str, path: &Path) -> Result<Described, ModelError> {
    let wrong = |what: String| ModelError::Wrong { path: path.to_owned(), what };
    let table: Table = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    match table.get("format").and_then(toml::Value::as_integer) {
        Some(1..=FORMAT) => {}
        Some(format) if format > FORMAT => return Err(ModelError::Newer { path: path.to_owned(), format }),
        _ => return Err(wrong(format!("it has no `format = {FORMAT}`"))),
    }
    let form: Form = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let layers = parse_model(text, &path.display().to_string()).map_err(ModelError::Layers)?;
    let metrics = form.metrics.iter().map(|(name, &value)| match MetricName::new(name) {
        Ok(name) => Ok((name, value)),
        Err(_) => Err(wrong(format!("`{}` is no name of a metric", shown(name)))),
    });
    let about = About {
        study: form.study,
        trial: TrialId(form.trial),
        epoch: form.epoch,
        kernel: form.kernel,
        build: form.broadsweep,
        metrics: metrics.collect::<Result<Metrics, _>>()?,
        held_out: runs(&form.held_out.rows).map_err(wrong)?,
    };
    let schema = schema(form.input, form.output).map_err(wrong)?;
    broadsweep_nn::plan(&layers, &schema.shape, schema.outputs.targets()).map_err(ModelError::Shape)?;
    let digest = digest::of_description(&table);
    Ok(Described { model: TrainedModel { layers, schema, about }, digest, files: form.sha256 })
}

fn schema(input: InputForm, output: OutputForm) -> Result<Schema, String> {
    let values = input.shape.iter().try_fold(1_usize, |product, &side| product.checked_mul(side as usize));
    let values = values.filter(|values| (1..=ROW_VALUES_MAX).contains(values));
    let values = values.filter(|_| matches!(input.shape.len(), 1 | 3)).ok_or_else(|| {
        format!("[input] shape is {:?}; it has to be [values] or [height, width, channels]", input.shape)
    })?;
    let element = match input.element {
        ElementForm::Bytes => Element::U8,
        ElementForm::Numbers => Element::F32,
    };
    let inputs = match (input.columns, input.scales) {
        (Some(columns), None) if input.fills.is_empty() && input.channels_first.is_none() => {
            Inputs::Columns(self::columns(columns, values)?)
        }
        (None, Some(_)) if input.text.is_some() => {
            return Err("[input] has `text`, which belongs to `columns` alone".to_owned());
        }
        (None, Some(scales)) => {
            let fills = input.fills;
            let fits = |count: usize| count == values || (count == 1 && values > 0);
            if !fits(scales.len()) || !(fills.is_empty() || fills.len() == values) {
                return Err(format!("[input] has to have a scale, and a fill, for each of {values} values"));
            }
            scales.iter().try_for_each(|scale| check_scale(*scale, "[input]"))?;
            if fills.iter().any(|fill| !fill.is_finite()) {
                return Err("[input] has a fill that is not finite".to_owned());
            }
            Inputs::Array { scales, fills, channels_first: input.channels_first.unwrap_or(false) }
        }
        _ => return Err("[input] has to have either `columns`, or `scales` and `channels_first`".to_owned()),
    };
    let text = input.text.map_or(Ok(Dialect::default()), dialect)?;
    Ok(Schema { shape: input.shape, inputs, element, outputs: outputs(output)?, text })
}

fn dialect(TextForm { delimiter, decimal, header, encoding }: TextForm) -> Result<Dialect, String> {
    let mark = |key: &str, given: Option<char>, known: &[u8]| match given {
        None => Ok(None),
        Some(mark) => match known.iter().find(|&&byte| char::from(byte) == mark) {
            Some(&byte) => Ok(Some(byte)),
            None => Err(format!("[input] text: {mark:?} is no {key}")),
        },
    };
    let (delimiter, decimal) = (mark("delimiter", delimiter, b",;\t| ")?, mark("decimal", decimal, b".,")?);
    if delimiter == Some(b',') && decimal == Some(b',') {
        return Err("[input] text: `delimiter` and `decimal` cannot both be a comma".to_owned());
    }
    match encoding {
        Some(name) if encoding_rs::Encoding::for_label(name.as_bytes()).is_none() => {
            Err(format!("[input] text: `{}` is no encoding", shown(&name)))
        }
        encoding => Ok(Dialect { delimiter, decimal, header, encoding }),
    }
}

fn columns(forms: Vec<ColumnForm>, values: usize) -> Result<Vec<Column>, String> {
    let columns: Vec<Column> = forms.into_iter().map(column).collect();
    unique(columns.iter().map(|column| &column.name), "columns")?;
    for Column { name, kind } in &columns {
        let place = format!("column `{}`", shown(name));
        match kind {
            ColumnKind::Number { scale, fill } | ColumnKind::Flag { scale, fill } => {
                check_scale(*scale, &place)?;
                if fill.is_some_and(|fill| !fill.is_finite()) {
                    return Err(format!("{place} has a fill that is not finite"));
                }
            }
            ColumnKind::Categories { names, .. } => unique(names.iter(), &format!("names in {place}"))?,
        }
    }
    let width: usize = columns.iter().map(|column| column.kind.width()).sum();
    if width == values { Ok(columns) } else { Err(format!("[input] has columns for {width} values, not {values}")) }
}

fn column(form: ColumnForm) -> Column {
    let (name, kind) = match form {
        ColumnForm::Number { name, center, spread, fill } => {
            (name, ColumnKind::Number { scale: Scale { center, spread }, fill })
        }
        ColumnForm::Flag { name, center, spread, fill } => {
            (name, ColumnKind::Flag { scale: Scale { center, spread }, fill })
        }
        ColumnForm::Categories { name, names, may_miss } => (name, ColumnKind::Categories { names, may_miss }),
    };
    Column { name, kind }
}

fn outputs(form: OutputForm) -> Result<Outputs, String> {
    match form {
        OutputForm { column, classes: Some(names), values: None } => {
            if !(1..=CLASSES_MAX).contains(&names.len()) {
                return Err(format!("[output] has {} classes; it has to have 1 to {CLASSES_MAX}", names.len()));
            }
            unique(names.iter(), "classes")?;
            Ok(Outputs::Classes { column, names })
        }
        OutputForm { column: None, classes: None, values: Some(values) } => {
            if !(1..=ROW_VALUES_MAX).contains(&values.len()) {
                return Err("[output] has no values".to_owned());
            }
            let place = |name: &str| format!("output `{}`", shown(name));
            let scaled = |ValueForm { name, center, spread }| {
                let scale = Scale { center, spread };
                check_scale(scale, &place(&name)).map(|()| (name, scale))
            };
            let (names, scales) = values.into_iter().map(scaled).collect::<Result<_, _>>()?;
            Ok(Outputs::Values { names, scales })
        }
        _ => Err("[output] has to have either `classes` or `values`".to_owned()),
    }
}

fn check_scale(scale: Scale, place: &str) -> Result<(), String> {
    let is_usable = scale.center.is_finite() && scale.spread.is_finite() && scale.spread >= 0.0;
    if is_usable {
        Ok(())
    } else {
        Err(format!("{place}: center and spread have to be finite, and no spread below 0"))
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a String>, what: &str) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("`{}` stands twice among the {what}", shown(name)));
        }
    }
    if seen.is_empty() { Err(format!("there are no {what}")) } else { Ok(()) }
}

/// Runs of rows, each behind the one before it.
fn runs(text: &str) -> Result<Vec<RangeInclusive<u64>>, String> {
    let mut runs: Vec<RangeInclusive<u64>> = Vec::new();
    for word in text.split_whitespace() {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let run = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => first..=last,
            _ => return Err(format!("[held_out] rows: `{}` is no run of rows, as 3 or 17-20", shown(word))),
        };
        if runs.last().is_some_and(|before| before.end() >= run.start()) {
            return Err(format!("[held_out] rows: `{}` does not come after the run before it", shown(word)));
        }
        runs.push(run);
    }
    Ok(runs)
}

fn shown(name: &str) -> String {
    printable(name, NAME_CHARACTERS_MAX)
}
