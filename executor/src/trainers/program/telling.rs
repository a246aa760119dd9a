//! What a program tells of its epochs: lines of JSON in its metrics file, and, where the study says so, lines that it prints.

use broadsweep_common::metrics::{METRICS_MAX, MetricName, Metrics};
use broadsweep_common::program::PrintedForm;
use regex::Regex;
use serde_json::Value;

/// What a line tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    /// Of which epoch, counted from 1, if it says so.
    pub(super) epoch: Option<u64>,
    /// What was measured.
    pub(super) metrics: Metrics,
}

impl Told {
    fn note(&mut self, name: &str, value: f64) {
        if name == "epoch" {
            // What is no whole number counts nothing.
            self.epoch = (value >= 0.0 && value.fract() == 0.0).then_some(value as u64);
        } else if let Ok(name) = MetricName::new(name)
            && (self.metrics.len() < METRICS_MAX || self.metrics.get(&name).is_some())
        {
            self.metrics.set(name, value);
        }
    }

    fn or_nothing(self) -> Option<Self> {
        (self.epoch.is_some() || !self.metrics.is_empty()).then_some(self)
    }
}

/// Reads a line of the metrics file, as `{"epoch": 3, "validation_error": 0.02}`. Numbers count, at any depth below names
/// that are joined by dots; texts and lists do not.
///
/// # Errors
/// Why it is no such line.
pub(super) fn of_json(line: &str) -> Result<Option<Told>, String> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    let value: Value = serde_json::from_str(&with_words_for_no_numbers(line)).map_err(|error| error.to_string())?;
    let Value::Object(members) = value else { return Err("it is no object".to_owned()) };
    let mut told = Told::default();
    for (name, value) in &members {
        note_json(&mut told, name, value);
    }
    Ok(told.or_nothing())
}

fn note_json(told: &mut Told, name: &str, value: &Value) {
    match value {
        Value::Number(number) => told.note(name, number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => {
            if let Some(value) = no_number(text) {
                told.note(name, value);
            }
        }
        Value::Object(members) => {
            members.iter().for_each(|(inner, value)| note_json(told, &format!("{name}.{inner}"), value));
        }
        Value::Null | Value::Bool(_) | Value::Array(_) => {}
    }
}

/// The numbers that JSON has no word for, as programs spell them.
fn no_number(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().trim_start_matches('+') {
        "nan" | "-nan" => Some(f64::NAN),
        "inf" | "infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// JSON with quotes around what Python's own `json` writes for no numbers.
fn with_words_for_no_numbers(line: &str) -> String {
    let (mut fixed, mut is_text, mut is_escaped) = (String::with_capacity(line.len()), false, false);
    let mut rest = line;
    while let Some(character) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| !is_text && rest.starts_with(word));
        if let Some(word) = word {
            fixed.push('"');
            fixed += word;
            fixed.push('"');
            rest = &rest[word.len()..];
            continue;
        }
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_text = !is_text,
            _ => {}
        }
        fixed.push(character);
        rest = &rest[character.len_utf8()..];
    }
    fixed
}

/// Reads what a program prints, in the forms that its study names.
#[derive(Clone, Debug)]
pub(super) struct Printed {
    forms: Vec<Form>,
    /// What Keras said last of where it is.
    keras_epoch: Option<u64>,
}

#[derive(Clone, Debug)]
enum Form {
    Assignments(Regex),
    TuneMetric,
    Keras { epoch: Regex, number: Regex },
    Pattern(Regex),
}

/// A number as programs print it.
const NUMBER: &str =
    r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|[nN][aA][nN]|[iI][nN][fF](?:inity)?)";
/// What begins a line of this form.
const TUNE_METRIC: &str = "[tune-metric]:";

impl Printed {
    /// A reader of these forms.
    ///
    /// # Errors
    /// A pattern that is no regular expression.
    pub(super) fn new(forms: &[PrintedForm]) -> Result<Self, regex::Error> {
        let form = |form: &PrintedForm| {
            Ok(match form {
                PrintedForm::Assignments => Form::Assignments(Regex::new(&format!(
                    r"(?:^|[\s,;(])([A-Za-z_][\w./-]*)\s?=\s?({NUMBER})(?:$|[\s,;)])"
                ))?),
                PrintedForm::TuneMetric => Form::TuneMetric,
                PrintedForm::Keras => Form::Keras {
                    epoch: Regex::new(r"^Epoch (\d+)(?:/\d+)?:?\s*$")?,
                    number: Regex::new(&format!(r"(?:^|\s-\s)([A-Za-z_][\w./-]*): ({NUMBER})"))?,
                },
                PrintedForm::Pattern(pattern) => Form::Pattern(Regex::new(pattern)?),
            })
        };
        Ok(Self { forms: forms.iter().map(form).collect::<Result<_, _>>()?, keras_epoch: None })
    }

    /// What a line tells.
    pub(super) fn read(&mut self, line: &str) -> Option<Told> {
        let mut told = Told::default();
        for form in &self.forms {
            match form {
                Form::Assignments(pairs) => note_pairs(&mut told, pairs, line),
                Form::TuneMetric => {
                    let json = line.trim_start().strip_prefix(TUNE_METRIC);
                    if let Some(json) = json.and_then(|json| of_json(json).ok().flatten()) {
                        json.metrics.iter().for_each(|(name, value)| told.note(name.as_str(), value));
                        told.epoch = json.epoch.or(told.epoch);
                    }
                }
                Form::Keras { epoch, number } => {
                    if let Some(found) = epoch.captures(line) {
                        self.keras_epoch = found[1].parse().ok();
                    } else if self.keras_epoch.is_some() && line.contains(" - ") {
                        note_pairs(&mut told, number, line);
                        told.epoch = self.keras_epoch;
                    }
                }
                Form::Pattern(pattern) => note_pattern(&mut told, pattern, line),
            }
        }
        if told.metrics.is_empty() { None } else { Some(told) }
    }
}

fn number(text: &str) -> Option<f64> {
    no_number(text).or_else(|| text.parse().ok())
}

fn note_pairs(told: &mut Told, pairs: &Regex, line: &str) {
    let mut from = 0;
    // The end of one may be the beginning of the next.
    while let Some(found) = pairs.captures_at(line, from) {
        let (Some(name), Some(value)) = (found.get(1), found.get(2)) else { return };
        if let Some(value) = number(value.as_str()) {
            told.note(name.as_str(), value);
        }
        from = value.end();
    }
}

fn note_pattern(told: &mut Told, pattern: &Regex, line: &str) {
    for found in pattern.captures_iter(line) {
        let mut is_named = false;
        for name in pattern.capture_names().flatten() {
            is_named = true;
            if let Some(value) = found.name(name).and_then(|value| number(value.as_str())) {
                told.note(name, value);
            }
        }
        if let (false, Some(name), Some(value)) = (is_named, found.get(1), found.get(2))
            && let Some(value) = number(value.as_str())
        {
            told.note(name.as_str(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As text, since no NaN equals another.
    fn shown(told: Option<Told>) -> String {
        let Some(told) = told else { return "nothing".to_owned() };
        let metrics: Vec<_> = told.metrics.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{:?} {}", told.epoch, metrics.join(" "))
    }

    #[test]
    fn a_line_of_json_tells_its_numbers() {
        let rows = [
            (r#"{"epoch": 3, "validation_error": 0.02}"#, "Some(3) validation_error=0.02"),
            (r#" {"a": 1, "b": {"c": 2.5, "d": "x"}, "e": [1], "f": true, "g": null} "#, "None a=1 b.c=2.5"),
            (r#"{"loss": NaN, "a": -Infinity, "b": "nan", "text": "NaN \" NaN"}"#, "None a=-inf b=NaN loss=NaN"),
            (r#"{"epoch": 1.5, "a": 1e-3}"#, "None a=0.001"),
            ("", "nothing"),
            (r#"{"epoch": 7}"#, "Some(7) "),
        ];
        for (line, wanted) in rows {
            assert_eq!(shown(of_json(line).unwrap()), wanted, "{line}");
        }
        for line in ["[1]", "{", "loss=1", r#"{"a": }"#] {
            assert!(of_json(line).is_err(), "{line}");
        }
        let many: Vec<_> = (0..METRICS_MAX + 5).map(|number| format!("\"m{number}\": 1")).collect();
        let told = of_json(&format!("{{{}}}", many.join(", "))).unwrap().unwrap();
        assert_eq!(told.metrics.len(), METRICS_MAX);
    }

    #[test]
    fn what_is_printed_is_read_in_the_forms_that_were_asked_for_and_no_other() {
        let all = [PrintedForm::Assignments, PrintedForm::TuneMetric, PrintedForm::Keras];
        let rows = [
            ("loss=0.5", "None loss=0.5"),
            ("epoch=2, loss=.5 val_loss = 1e-2; x==3 y=abc", "Some(2) loss=0.5 val_loss=0.01"),
            ("at step 3: accuracy=nan", "None accuracy=NaN"),
            (r#"[tune-metric]: {"epoch": 4, "error": 1}"#, "Some(4) error=1"),
            ("loss: 0.25 - accuracy: 0.5", "nothing"),
            ("Epoch 2/5", "nothing"),
            ("10/10 ━━━━ 1s 5ms/step - loss: 0.25 - val_accuracy: 0.5", "Some(2) loss=0.25 val_accuracy=0.5"),
            ("just words, 100% of them", "nothing"),
        ];
        let mut printed = Printed::new(&all).unwrap();
        for (line, wanted) in rows {
            assert_eq!(shown(printed.read(line)), wanted, "{line}");
        }
        let mut nothing = Printed::new(&[]).unwrap();
        assert!(rows.iter().all(|(line, _)| nothing.read(line).is_none()));
    }

    #[test]
    fn a_pattern_has_named_groups_or_a_name_and_a_number() {
        let read = |pattern: &str, line: &str| {
            shown(Printed::new(&[PrintedForm::Pattern(pattern.to_owned())]).unwrap().read(line))
        };
        let named = r"round (?P<epoch>\d+): error (?P<error>[\d.]+)";
        assert_eq!(read(named, "round 3: error 0.5"), "Some(3) error=0.5");
        assert_eq!(read(r"(\w+) is ([\d.]+)", "this is 1.5, that is 2"), "None that=2 this=1.5");
        assert!(Printed::new(&[PrintedForm::Pattern("(".to_owned())]).is_err());
    }
}
