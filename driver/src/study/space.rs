//! `[search.space]` and `[control]`: the values of the parameters, checked by every setting where they stand.

use std::collections::BTreeSet;

use broadsweep_common::configuration::{Configuration, PARAMETERS_MAX, TEXT_BYTES_MAX, Value};
use broadsweep_search::{Domain, Space, TRIALS_MAX};

use super::diagnostic::{Diagnostic, Source};
use super::reader::{Entry, Node, Table, nearest};
use super::setting::{Kind, NAME_RULE, Use, is_parameter_name};

const KEYS: &[&str] = &["values", "range", "log_range", "count"];
const EXPECTED: &str = "{ values = [1, 2] }, { range = [0, 1] } or { log_range = [0.001, 1] }";

/// A parameter, with every setting that takes its value; there is at least one.
struct Parameter<'u> {
    name: String,
    uses: Vec<&'u Use>,
    /// Line of its first use, for messages.
    line: usize,
}

/// Reads `[search.space]`. With `grid`, every range needs a `count`.
pub(super) fn read(table: &Table<'_>, uses: &[Use], grid: bool, source: &Source) -> Result<Space, Diagnostic> {
    let entries = table.entries();
    check_names(&entries, uses, source)?;
    if let Some(entry) = entries.get(PARAMETERS_MAX) {
        let count = entries.len();
        return Err(entry.error(format!("[search.space] has {count} parameters; {PARAMETERS_MAX} are allowed")));
    }
    let (mut space, mut text_bytes) = (Space::new(), 0);
    for entry in &entries {
        let parameter = Parameter::new(entry.key, uses, source).ok_or_else(|| unused(entry))?;
        let domain = parameter.read(&entry.node)?;
        if grid && domain.is_open() {
            let message = format!("`{}` needs a `count`: how many values of its range the grid takes", entry.key);
            return Err(entry.node.error(message).with_note("or write sampler = \"random\" and `trials`"));
        }
        text_bytes += entry.key.len() + longest_word(&domain);
        check_text_bytes(&format!("the parameters up to `{}`", entry.key), text_bytes)
            .map_err(|bad| entry.error(bad))?;
        space.insert(entry.key.to_owned(), domain);
    }
    Ok(space)
}

/// An error at the first `"$name"`: the study has no space.
pub(super) fn refuse_uses(uses: &[Use], source: &Source) -> Result<(), Diagnostic> {
    check_names(&[], uses, source)
}

/// Reads `[control]`: a value for every parameter of `space`.
pub(super) fn read_control(
    node: &Node<'_>,
    space: &Space,
    uses: &[Use],
    source: &Source,
) -> Result<Configuration, Diagnostic> {
    let table = node.table("[control]", "[control] ")?;
    let names: Vec<_> = space.keys().map(String::as_str).collect();
    if let Some(entry) = table.entries().iter().find(|entry| !space.contains_key(entry.key)) {
        let near = did_you_mean(entry.key, "", &names);
        return Err(entry.error(format!("[control] gives `{}`, which [search.space] does not have{near}", entry.key)));
    }
    let mut control = Vec::new();
    for name in names {
        let node = table.require(name, "every searched parameter has a value in the control")?;
        if let Some(parameter) = Parameter::new(name, uses, source) {
            control.push((name, parameter.admit(&node)?));
        }
    }
    let control: Configuration = control.into_iter().collect();
    check_text_bytes("the parameters of [control]", control.text_bytes()).map_err(|bad| node.error(bad))?;
    Ok(control)
}

/// Bytes of the longest word that a parameter can be.
fn longest_word(domain: &Domain) -> usize {
    let Domain::Values(values) = domain else { return 0 };
    values.iter().map(Value::text_bytes).max().unwrap_or_default()
}

/// Refuses a configuration that no launch can carry.
fn check_text_bytes(what: &str, bytes: usize) -> Result<(), String> {
    if bytes <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(format!("names and words of {what} can have {bytes} bytes together; {TEXT_BYTES_MAX} are allowed"))
}

/// Every `"$name"` has its parameter, and every parameter a name that can be written.
fn check_names(entries: &[Entry<'_>], uses: &[Use], source: &Source) -> Result<(), Diagnostic> {
    let names: Vec<_> = entries.iter().map(|entry| entry.key).collect();
    if let Some(entry) = entries.iter().find(|entry| !is_parameter_name(entry.key)) {
        return Err(entry.error(format!("`{}` cannot be a parameter: {NAME_RULE}", entry.key)));
    }
    let Some(missing) = uses.iter().find(|one| !names.contains(&one.parameter.as_str())) else { return Ok(()) };
    let Use { parameter, place, span, .. } = missing;
    let near = did_you_mean(parameter, "$", &names);
    let message = format!("{place} is \"${parameter}\", which [search.space] does not have{near}");
    let example = format!("add to [search.space], for example: {parameter} = {}", missing.kind.example());
    Err(source.error(span, message).with_note(example))
}

/// The end of a message about the unknown name `given`; empty if no candidate is like it.
fn did_you_mean(given: &str, sigil: &str, candidates: &[&str]) -> String {
    nearest(given, candidates.iter().copied())
        .map_or_else(String::new, |near| format!("; did you mean `{sigil}{near}`?"))
}

fn unused(entry: &Entry<'_>) -> Diagnostic {
    let name = entry.key;
    entry
        .error(format!("no setting uses the parameter `{name}`"))
        .with_note(format!("write \"${name}\" in [model], [training] or [trainer], where its value belongs"))
}

/// Two ends of a range in one form: where any value is admitted, one may be whole and the other not.
fn alike(low: Value, high: Value) -> (Value, Value) {
    match (low, high) {
        (Value::Integer(low), high @ Value::Real(_)) => (Value::Real(low as f64), high),
        (low @ Value::Real(_), Value::Integer(high)) => (low, Value::Real(high as f64)),
        ends => ends,
    }
}

impl<'u> Parameter<'u> {
    /// The parameter `name`, if a setting uses it.
    fn new(name: &str, uses: &'u [Use], source: &Source) -> Option<Self> {
        let uses: Vec<_> = uses.iter().filter(|one| one.parameter == name).collect();
        let line = source.line_number(uses.first()?.span.start);
        Some(Self { name: name.to_owned(), uses, line })
    }

    /// Whether a range draws whole numbers: if any setting needs them.
    fn is_whole(&self) -> bool {
        self.uses.iter().any(|one| matches!(one.kind, Kind::Whole(_)))
    }

    /// The value at `node`, in the form that the settings share.
    fn admit(&self, node: &Node<'_>) -> Result<Value, Diagnostic> {
        let given = node.scalar()?;
        let mut shared = None;
        for one in &self.uses {
            let value = one.kind.admit(&given).map_err(|expected| self.refused(node, one, &expected))?;
            let whole = matches!(value, Value::Integer(_));
            shared = if whole || shared.is_none() { Some(value) } else { shared };
        }
        Ok(shared.unwrap_or(given))
    }

    fn refused(&self, node: &Node<'_>, one: &Use, expected: &str) -> Diagnostic {
        let (name, given, place) = (&self.name, node.quoted(), &one.place);
        let message = format!("`{name}` cannot be {given}: {place} has to be {expected}");
        let error = node.error(message);
        match one.kind {
            Kind::Any => error, // it stands nowhere else
            _ => error.with_note(format!("\"${name}\" stands in line {}", self.line)),
        }
    }

    fn read(&self, node: &Node<'_>) -> Result<Domain, Diagnostic> {
        if !node.is_table() {
            let example = if node.is_array() {
                format!("{} = {{ values = {} }}", self.name, node.quoted())
            } else {
                format!("{} = {EXPECTED}", self.name)
            };
            return Err(node
                .error(format!("`{}` has to be a table", self.name))
                .with_note(format!("write {example}")));
        }
        let place = format!("the parameter `{}`", self.name);
        let table = node.table(&place, &format!("{}: ", self.name))?;
        table.allow(KEYS, |_| None)?;
        match (table.get("values"), table.get("range"), table.get("log_range")) {
            (Some(values), None, None) => {
                if let Some(count) = table.get("count") {
                    return Err(count.error("`count` goes with a range; `values` are counted as they stand"));
                }
                self.read_values(&values)
            }
            (None, Some(range), None) => self.read_range(&table, &range, false),
            (None, None, Some(range)) => self.read_range(&table, &range, true),
            (None, None, None) => {
                Err(table.error(format!("{place} has no values")).with_note(format!("write {EXPECTED}")))
            }
            _ => Err(table.error(format!("{place} has more than one of `values`, `range`, `log_range`"))),
        }
    }

    fn read_values(&self, node: &Node<'_>) -> Result<Domain, Diagnostic> {
        let mut seen = BTreeSet::new();
        let mut values = Vec::new();
        for element in node.array()? {
            let value = self.admit(&element)?;
            if !seen.insert(value.to_string()) {
                return Err(element.error(format!("`{}` has the value {value} twice", self.name)));
            }
            values.push(value);
        }
        if values.is_empty() {
            return Err(node.error(format!("`{}` has no values: nothing could be tried", self.name)));
        }
        Ok(Domain::Values(values))
    }

    fn read_range(&self, table: &Table<'_>, node: &Node<'_>, log: bool) -> Result<Domain, Diagnostic> {
        self.check_numeric(node)?;
        let ends = node.array()?;
        let [low, high] = ends.as_slice() else { return Err(node.refused("two numbers, [least, largest]")) };
        let count_node = table.get("count");
        let count = count_node.as_ref().map(|count| count.whole(2, i64::from(TRIALS_MAX))).transpose()?;
        let count = count.map(|count| count as u32);
        if log && matches!(low.scalar()?, Value::Integer(..=0) | Value::Real(..=0.0)) {
            return Err(low.error(format!(
                "a logarithmic range starts above 0; `{}` starts at {}",
                self.name,
                low.quoted()
            )));
        }
        let (domain, ordered) = match alike(self.admit(low)?, self.admit(high)?) {
            (Value::Integer(min), Value::Integer(max)) => (Domain::Integers { min, max, log, count }, min < max),
            (Value::Real(min), Value::Real(max)) => (Domain::Reals { min, max, log, count }, min < max),
            _ => return Err(node.refused("two numbers, [least, largest]")),
        };
        if !ordered {
            let message = format!("`{}` goes from {} to {}", self.name, low.quoted(), high.quoted());
            return Err(node.error(format!("{message}; the first has to be less than the second")));
        }
        let different =
            domain.points().map(|points| points.iter().map(Value::to_string).collect::<BTreeSet<_>>().len());
        match (count_node, count, different) {
            (Some(node), Some(count), Some(different)) if different < count as usize => {
                let whole = if self.is_whole() { "whole numbers" } else { "numbers" };
                Err(node.error(format!("{count} values of this range are only {different} different {whole}")))
            }
            _ => Ok(domain),
        }
    }

    /// A range is of numbers; words and flags are listed.
    fn check_numeric(&self, node: &Node<'_>) -> Result<(), Diagnostic> {
        let listed = self.uses.iter().find(|one| matches!(one.kind, Kind::Flag | Kind::Word(_)));
        let Some(one) = listed else { return Ok(()) };
        let message = format!("`{}` cannot be a range: {} has to be {}", self.name, one.place, one.kind.expected());
        Err(node.error(message).with_note(format!("write {} = {{ values = [...] }}", self.name)))
    }
}
