//! `[search.space]`: the values of the parameters, checked by every setting where they stand.

use std::collections::BTreeSet;

use broadsweep_common::configuration::{PARAMETERS_MAX, TEXT_BYTES_MAX, Value};
use broadsweep_search::{Domain, Space, TRIALS_MAX};

use super::conditions;
use super::diagnostic::{Diagnostic, Source};
use super::reader::{Entry, Node, Table, nearest};
use super::setting::{Kind, NAME_RULE, Use, is_parameter_name};

const KEYS: &[&str] = &["values", "range", "log_range", "count", "step", "ordered", "when"];
/// How far, for each step, a range may end from a whole number of steps: numbers are not exact.
const STEP_ERROR: f64 = 1e-9;
/// Whole numbers that a real number tells apart.
const STEPPED_MAX: u64 = 1 << 53;
const EXPECTED: &str = "{ values = [1, 2] }, { range = [0, 1] } or { log_range = [0.001, 1] }";

/// A parameter, with every setting that takes its value; there is at least one.
pub(super) struct Parameter<'u> {
    pub(super) name: String,
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
            let note = "or a `step` between them; or write sampler = \"random\" and `trials`";
            return Err(entry.node.error(message).with_note(note));
        }
        text_bytes += entry.key.len() + longest_word(&domain);
        check_text_bytes(&format!("the parameters up to `{}`", entry.key), text_bytes)
            .map_err(|bad| entry.error(bad))?;
        space.insert(entry.key.to_owned(), domain);
    }
    conditions::read(&entries, uses, source, &mut space)?;
    Ok(space)
}

/// An error at the first `"$name"`: the study has no space.
pub(super) fn refuse_uses(uses: &[Use], source: &Source) -> Result<(), Diagnostic> {
    check_names(&[], uses, source)
}

/// Bytes of the longest word that a parameter can be.
fn longest_word(domain: &Domain) -> usize {
    let (Domain::Values(values) | Domain::Ordered(values)) = domain else { return 0 };
    values.iter().map(Value::text_bytes).max().unwrap_or_default()
}

/// Refuses a configuration that no launch can carry.
pub(super) fn check_text_bytes(what: &str, bytes: usize) -> Result<(), String> {
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
pub(super) fn did_you_mean(given: &str, sigil: &str, candidates: &[&str]) -> String {
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
    pub(super) fn new(name: &str, uses: &'u [Use], source: &Source) -> Option<Self> {
        let uses: Vec<_> = uses.iter().filter(|one| one.parameter == name).collect();
        let line = source.line_number(uses.first()?.span.start);
        Some(Self { name: name.to_owned(), uses, line })
    }

    /// Whether a range draws whole numbers: if any setting needs them.
    fn is_whole(&self) -> bool {
        self.uses.iter().any(|one| matches!(one.kind, Kind::Whole(_)))
    }

    /// The value at `node`, in the form that the settings share.
    pub(super) fn admit(&self, node: &Node<'_>) -> Result<Value, Diagnostic> {
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
                if let Some(step) = table.get("step") {
                    return Err(step.error("`step` goes with a range; `values` are taken as they stand"));
                }
                self.read_values(&values, table.get("ordered").as_ref())
            }
            (None, Some(range), None) => self.read_range(&table, &range, false),
            (None, None, Some(range)) => self.read_range(&table, &range, true),
            (None, None, None) => {
                Err(table.error(format!("{place} has no values")).with_note(format!("write {EXPECTED}")))
            }
            _ => Err(table.error(format!("{place} has more than one of `values`, `range`, `log_range`"))),
        }
    }

    fn read_values(&self, node: &Node<'_>, ordered: Option<&Node<'_>>) -> Result<Domain, Diagnostic> {
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
        let Some(ordered) = ordered else { return Ok(Domain::Values(values)) };
        let Ok(Value::Flag(is_ordered)) = ordered.scalar() else { return Err(ordered.refused("true or false")) };
        if values.iter().all(|value| matches!(value, Value::Integer(_) | Value::Real(_))) {
            let message = format!("`ordered` is for words, and the values of `{}` are numbers", self.name);
            return Err(ordered.error(message).with_note("leave it out: numbers are ordered by their size"));
        }
        Ok(if is_ordered { Domain::Ordered(values) } else { Domain::Values(values) })
    }

    fn read_range(&self, table: &Table<'_>, node: &Node<'_>, log: bool) -> Result<Domain, Diagnostic> {
        self.check_numeric(node)?;
        if let Some(ordered) = table.get("ordered") {
            return Err(ordered.error("`ordered` goes with `values`; the numbers of a range have an order"));
        }
        let ends = node.array()?;
        let [low, high] = ends.as_slice() else { return Err(node.refused("two numbers, [least, largest]")) };
        if log && matches!(low.scalar()?, Value::Integer(..=0) | Value::Real(..=0.0)) {
            return Err(low.error(format!(
                "a logarithmic range starts above 0; `{}` starts at {}",
                self.name,
                low.quoted()
            )));
        }
        let ends = alike(self.admit(low)?, self.admit(high)?);
        let ordered = match &ends {
            (Value::Integer(min), Value::Integer(max)) => min < max,
            (Value::Real(min), Value::Real(max)) => min < max,
            _ => return Err(node.refused("two numbers, [least, largest]")),
        };
        if matches!(&ends, (Value::Real(min), Value::Real(max)) if !(max - min).is_finite()) {
            return Err(node.error(format!(
                "`{}` is wider than any number: its ends are further apart than 1.8e308",
                self.name
            )));
        }
        if !ordered {
            let message = format!("`{}` goes from {} to {}", self.name, low.quoted(), high.quoted());
            return Err(node.error(format!("{message}; the first has to be less than the second")));
        }
        let counted = self.read_count(table, log, &ends)?;
        let count = counted.as_ref().map(|(_, count)| *count);
        let domain = match ends {
            (Value::Integer(min), Value::Integer(max)) => Domain::Integers { min, max, log, count },
            (Value::Real(min), Value::Real(max)) => Domain::Reals { min, max, log, count },
            _ => return Err(node.refused("two numbers, [least, largest]")),
        };
        let different =
            domain.points().map(|points| points.iter().map(Value::to_string).collect::<BTreeSet<_>>().len());
        match (counted, different) {
            (Some((node, count)), Some(different)) if different < count as usize => {
                let whole = if self.is_whole() { "whole numbers" } else { "numbers" };
                Err(node.error(format!("{count} values of this range are only {different} different {whole}")))
            }
            _ => Ok(domain),
        }
    }

    /// How many values a range has, if that is said, and where.
    fn read_count<'a>(
        &self,
        table: &Table<'a>,
        log: bool,
        ends: &(Value, Value),
    ) -> Result<Option<(Node<'a>, u32)>, Diagnostic> {
        let Some(step) = table.get("step") else {
            let Some(node) = table.get("count") else { return Ok(None) };
            let count = node.whole(2, i64::from(TRIALS_MAX))? as u32;
            return Ok(Some((node, count)));
        };
        if table.get("count").is_some() {
            return Err(step.error("`count` and `step` both say which values a range has; leave one of the two out"));
        }
        if log {
            let message = "`step` goes with `range`: the values of `log_range` are evenly spaced in the logarithm";
            return Err(step.error(message).with_note("write `count` instead: how many values there are"));
        }
        let count = self.steps(&step, ends)?;
        Ok(Some((step, count)))
    }

    /// How many values a `step` makes of a range; the last one has to be its end.
    fn steps(&self, node: &Node<'_>, ends: &(Value, Value)) -> Result<u32, Diagnostic> {
        let is_whole = matches!(ends, (Value::Integer(_), _));
        let refused = || node.refused(if is_whole { "a whole number above 0" } else { "a number above 0" });
        let (low, wide, step) = match (ends, node.scalar().map_err(|_| refused())?) {
            ((Value::Integer(min), Value::Integer(max)), Value::Integer(step @ 1..)) => {
                if min.unsigned_abs().max(max.unsigned_abs()) > STEPPED_MAX {
                    return Err(node.error("a range with a `step` ends at numbers of at most 53 bits"));
                }
                (*min as f64, (max - min) as f64, step as f64)
            }
            ((Value::Real(min), Value::Real(max)), Value::Integer(step @ 1..)) => (*min, max - min, step as f64),
            ((Value::Real(min), Value::Real(max)), Value::Real(step)) if step > 0.0 && step.is_finite() => {
                (*min, max - min, step)
            }
            _ => return Err(refused()),
        };
        let steps = wide / step;
        if (steps - steps.round()).abs() > STEP_ERROR * steps.max(1.0) {
            let last = low + steps.floor() * step;
            let last: f64 = format!("{last:.14e}").parse().unwrap_or(last);
            let (first, end) = ends;
            let message = format!(
                "steps of {} from {first} do not meet {end}, the end of `{}`: the last one before it is at {last}",
                node.quoted(),
                self.name
            );
            let note = "end the range there, or change the step";
            return Err(node.error(message).with_note(note));
        }
        if steps.round() >= f64::from(TRIALS_MAX) {
            return Err(node.error(format!("steps of {} are more than {TRIALS_MAX} values", node.quoted())));
        }
        Ok(steps.round() as u32 + 1)
    }

    /// A range is of numbers; words and flags are listed.
    fn check_numeric(&self, node: &Node<'_>) -> Result<(), Diagnostic> {
        let listed = self.uses.iter().find(|one| matches!(one.kind, Kind::Flag | Kind::Word(_)));
        let Some(one) = listed else { return Ok(()) };
        let message = format!("`{}` cannot be a range: {} has to be {}", self.name, one.place, one.kind.expected());
        Err(node.error(message).with_note(format!("write {} = {{ values = [...] }}", self.name)))
    }
}
