//! The parameters of a sweep, and the values that a study gives them.

use std::collections::BTreeSet;

use toml::Value as Toml;

use super::yaml::{Node, Yaml};
use super::{ImportError, Notes};

/// Values of a stepped range that are listed one by one.
const STEPS_MAX: f64 = 1000.0;
/// A normal distribution is cut so many deviations from its mean.
const DEVIATIONS: f64 = 2.0;

/// A parameter of the study.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    domain: Domain,
}

#[derive(Clone, Debug)]
enum Domain {
    Values(Vec<Toml>),
    Integers { min: i64, max: i64, log: bool },
    Reals { min: f64, max: f64, log: bool },
}

impl Parameter {
    pub(super) fn is_continuous(&self) -> bool {
        matches!(self.domain, Domain::Reals { .. })
    }

    /// Whether each value is a number of epochs.
    pub(super) fn counts(&self) -> bool {
        match &self.domain {
            Domain::Values(values) => values.iter().all(|value| value.as_integer().is_some_and(|count| count > 0)),
            Domain::Integers { min, .. } => *min > 0,
            Domain::Reals { .. } => false,
        }
    }

    fn size(&self) -> Option<u64> {
        match &self.domain {
            Domain::Values(values) => Some(values.len() as u64),
            Domain::Integers { min, max, .. } => max.abs_diff(*min).checked_add(1),
            Domain::Reals { .. } => None,
        }
    }

    /// What stands in `[search.space]`; a grid takes every whole number of a range.
    pub(super) fn domain_text(&self, is_grid: bool) -> String {
        let ends = |key: &str, ends: [Toml; 2]| format!("{key} = [{}, {}]", ends[0], ends[1]);
        let key = |log: bool| if log { "log_range" } else { "range" };
        match &self.domain {
            Domain::Values(values) => format!("{{ values = {} }}", Toml::from(values.clone())),
            Domain::Reals { min, max, log } => format!("{{ {} }}", ends(key(*log), [(*min).into(), (*max).into()])),
            Domain::Integers { min, max, log } => {
                let range = ends(key(*log), [(*min).into(), (*max).into()]);
                let count = self.size().filter(|_| is_grid);
                count.map_or_else(|| format!("{{ {range} }}"), |count| format!("{{ {range}, count = {count} }}"))
            }
        }
    }
}

/// How many configurations there are, if they can be counted.
pub(super) fn size(parameters: &[Parameter]) -> Option<u64> {
    parameters.iter().try_fold(1_u64, |size, parameter| size.checked_mul(parameter.size()?))
}

/// Reads `parameters`; what has no like in a study is left out, and said.
pub(super) fn read(node: &Node, notes: &mut Notes) -> Result<Vec<Parameter>, ImportError> {
    let mut parameters = Vec::new();
    read_into(node, "", &mut parameters, notes)?;
    if parameters.is_empty() {
        return Err(node.error("no parameter of the sweep can be searched"));
    }
    Ok(parameters)
}

fn read_into(node: &Node, prefix: &str, into: &mut Vec<Parameter>, notes: &mut Notes) -> Result<(), ImportError> {
    for (written, node) in node.entries() {
        let written = format!("{prefix}{written}");
        if let Some(inner) = node.get("parameters") {
            read_into(inner, &format!("{written}."), into, notes)?;
            continue;
        }
        let name = name_of(&written);
        if into.iter().any(|known| known.name == name) {
            notes.add(node, format!("`{written}` is left out: it would be called `{name}`, as another one is"));
            continue;
        }
        let Some(domain) = read_domain(node, &written, notes)? else { continue };
        if name != written {
            notes.add(
                node,
                format!("`{written}` is called `{name}`: a parameter's name has letters, digits, `_` and `-`"),
            );
        }
        into.push(Parameter { name, domain });
    }
    Ok(())
}

fn name_of(written: &str) -> String {
    let allowed = |character: char| {
        if character.is_ascii_alphanumeric() || character == '_' || character == '-' { character } else { '_' }
    };
    written.chars().map(allowed).take(64).collect()
}

fn read_domain(node: &Node, name: &str, notes: &mut Notes) -> Result<Option<Domain>, ImportError> {
    if let Some(value) = node.get("value") {
        let values = read_values(std::slice::from_ref(value), name, notes);
        return Ok(if values.is_empty() { None } else { Some(Domain::Values(values)) });
    }
    if let Some(list) = node.get("values") {
        if let Some(probabilities) = node.get("probabilities") {
            notes
                .add(probabilities, format!("the `probabilities` of `{name}` are left out: each value is as likely"));
        }
        let values = read_values(list.elements(), name, notes);
        return Ok(if values.is_empty() { None } else { Some(Domain::Values(values)) });
    }
    let written = node.get("distribution").and_then(Node::text);
    let whole = ["min", "max"].iter().all(|end| node.get(end).is_some_and(Node::is_integer));
    let distribution = match written {
        Some(distribution) => distribution,
        None if node.get("min").is_none() => return Err(node.error(format!("`{name}` has no values"))),
        None if whole => "int_uniform",
        None => "uniform",
    };
    read_distribution(node, name, distribution, notes)
}

fn read_values(list: &[Node], name: &str, notes: &mut Notes) -> Vec<Toml> {
    let (mut values, mut seen) = (Vec::new(), BTreeSet::new());
    for node in list {
        let value = match &node.value {
            Yaml::Flag(flag) => Toml::from(*flag),
            Yaml::Integer(integer) => Toml::from(*integer),
            Yaml::Real(real) => Toml::from(*real),
            Yaml::Text(text) => Toml::from(&text[..]),
            Yaml::Null | Yaml::List(_) | Yaml::Map(_) => {
                let what = if node.value == Yaml::Null { "null" } else { "a list or a map" };
                let text =
                    format!("{what} among the values of `{name}` is left out: values are numbers, words and flags");
                notes.add(node, text);
                continue;
            }
        };
        if seen.insert(value.to_string()) {
            values.push(value);
        }
    }
    values
}

/// A range, by W&B's name of it.
fn read_distribution(
    node: &Node,
    name: &str,
    distribution: &str,
    notes: &mut Notes,
) -> Result<Option<Domain>, ImportError> {
    let number = |key: &str| {
        node.get(key)
            .map(|value| value.number().ok_or_else(|| value.error(format!("`{key}` of `{name}` is no number"))))
            .transpose()
    };
    let ends = || -> Result<[f64; 2], ImportError> {
        match (number("min")?, number("max")?) {
            (Some(min), Some(max)) => Ok([min, max]),
            _ => Err(node.error(format!("`{name}` has no `min` or no `max`"))),
        }
    };
    let normal = || -> Result<[f64; 2], ImportError> {
        let (mu, sigma) = (number("mu")?.unwrap_or(0.0), number("sigma")?.unwrap_or(1.0));
        Ok([mu - DEVIATIONS * sigma, mu + DEVIATIONS * sigma])
    };
    let step = number("q")?.unwrap_or(1.0);
    let real = |[min, max]: [f64; 2], log: bool| range(node, name, [min, max], log);
    let mut changed = |text: &str| notes.add(node, format!("`{name}`: {text}"));
    let domain = match distribution {
        "uniform" => real(ends()?, false)?,
        "int_uniform" => whole(node, name, ends()?, false)?,
        "log_uniform_values" => real(ends()?, true)?,
        "log_uniform" => real(ends()?.map(f64::exp), true)?,
        "inv_log_uniform_values" | "inv_log_uniform" => {
            changed("an inverse logarithmic range becomes a logarithmic one: other values are as likely");
            real(if distribution == "inv_log_uniform" { ends()?.map(|end| (-end).exp()) } else { ends()? }, true)?
        }
        "q_uniform" => stepped(node, name, ends()?, step, &mut changed)?,
        "q_log_uniform_values" | "q_log_uniform" => {
            let ends = if distribution == "q_log_uniform" { ends()?.map(f64::exp) } else { ends()? };
            if is_one(step) {
                whole(node, name, ends, true)?
            } else {
                changed("the step `q` of a logarithmic range is left out");
                real(ends, true)?
            }
        }
        "normal" | "q_normal" => {
            changed("a normal distribution becomes a range of two deviations around its mean");
            if distribution == "normal" {
                real(normal()?, false)?
            } else {
                stepped(node, name, normal()?, step, &mut changed)?
            }
        }
        "log_normal" | "q_log_normal" => {
            changed("a log-normal distribution becomes a logarithmic range of two deviations around its mean");
            real(normal()?.map(f64::exp), true)?
        }
        "beta" | "q_beta" => {
            changed("a beta distribution becomes a range from 0 to 1");
            real([0.0, 1.0], false)?
        }
        other => return Err(node.error(format!("`{name}` has the distribution `{other}`, which is not known"))),
    };
    Ok(Some(domain))
}

/// Reals between two ends, or the one value of a range that has no width.
fn range(node: &Node, name: &str, [mut min, mut max]: [f64; 2], log: bool) -> Result<Domain, ImportError> {
    if min > max {
        std::mem::swap(&mut min, &mut max);
    }
    if !min.is_finite() || !max.is_finite() || (log && min <= 0.0) {
        return Err(node.error(format!("`{name}` goes from {min} to {max}, which is no range")));
    }
    Ok(if min < max { Domain::Reals { min, max, log } } else { Domain::Values(vec![Toml::from(min)]) })
}

fn whole(node: &Node, name: &str, ends: [f64; 2], log: bool) -> Result<Domain, ImportError> {
    let ends = [ends[0].min(ends[1]).ceil(), ends[0].max(ends[1]).floor()];
    let [min, max] = ends.map(|end| end as i64);
    let least = if log { 1 } else { i64::MIN };
    if min > max || min < least || ends.iter().any(|end| end.abs() > 9e15) {
        return Err(node.error(format!("`{name}` goes from {} to {}, which is no range", ends[0], ends[1])));
    }
    Ok(if min < max { Domain::Integers { min, max, log } } else { Domain::Values(vec![Toml::from(min)]) })
}

/// The multiples of `step` from end to end, as W&B rounds to them.
fn stepped(
    node: &Node,
    name: &str,
    ends: [f64; 2],
    step: f64,
    changed: &mut impl FnMut(&str),
) -> Result<Domain, ImportError> {
    let is_whole = step.fract() == 0.0;
    let steps = [(ends[0] / step).round(), (ends[1] / step).round()];
    if is_one(step) {
        return whole(node, name, steps, false);
    }
    let count = steps[1] - steps[0];
    if !(0.0..STEPS_MAX).contains(&count) {
        changed("the step `q` is left out: it makes too many values to list");
        return range(node, name, ends, false);
    }
    // Sums of a step would gather errors, and products show them: 3 × 0.1 is 0.30000000000000004.
    let digits = step.to_string().split_once('.').map_or(0, |(_, behind)| behind.len());
    let value = |place: f64| {
        if is_whole {
            Some(Toml::from((place * step) as i64))
        } else {
            format!("{:.digits$}", place * step).parse().ok().map(|value: f64| Toml::from(value + 0.0))
        }
    };
    Ok(Domain::Values((0..=count as u32).filter_map(|place| value(steps[0] + f64::from(place))).collect()))
}

/// Whether a step makes whole numbers of all values.
fn is_one(step: f64) -> bool {
    step.to_bits() == 1.0_f64.to_bits()
}
