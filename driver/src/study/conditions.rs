//! `when` of a parameter: it is there only where others have certain values.

use std::collections::{BTreeMap, BTreeSet};

use broadsweep_common::configuration::Value;
use broadsweep_search::{Condition, ConditionCycle, Domain, Space};

use super::diagnostic::{Diagnostic, Source};
use super::reader::{Entry, Node, Table};
use super::setting::Use;
use super::space::{Parameter, did_you_mean};

const EXAMPLE: &str = "{ optimizer = \"sgd\" } or { optimizer = [\"sgd\", \"adam\"] }";

/// The names of the parameters with conditions; whether these can be read is looked at when the space is.
pub(super) fn conditional_names(document: &Table<'_>) -> BTreeSet<String> {
    let search = document.get("search").and_then(|node| node.table("[search]", "").ok());
    let space = search.and_then(|search| search.get("space")).and_then(|node| node.table("[search.space]", "").ok());
    let entries = space.map_or_else(Vec::new, |space| space.entries());
    let has_when = |entry: &&Entry<'_>| entry.node.table("", "").is_ok_and(|table| table.get("when").is_some());
    entries.iter().filter(has_when).map(|entry| entry.key.to_owned()).collect()
}

/// Reads the conditions of all parameters of `space`.
pub(super) fn read(
    entries: &[Entry<'_>],
    uses: &[Use],
    source: &Source,
    space: &mut Space,
) -> Result<(), Diagnostic> {
    let mut conditions = BTreeMap::new();
    for entry in entries {
        let table = entry.node.table(entry.key, &format!("{}: ", entry.key))?;
        let Some(when) = table.get("when") else { continue };
        conditions.insert(entry.key.to_owned(), read_when(&when, uses, source, space)?);
    }
    if let Err(ConditionCycle(names)) = space.set_conditions(conditions) {
        let first = entries.iter().find(|entry| names.first().is_some_and(|name| name == entry.key));
        let message = cycle_in_words(&names);
        let error = match first.and_then(|entry| entry.node.table("", "").ok()?.get("when")) {
            Some(when) => when.error(message),
            None => source.error(&(0..0), message),
        };
        return Err(error.with_note("leave one of these `when` out"));
    }
    check_defaults(space, uses, source)
}

/// `optimizer = "sgd"`, for messages.
pub(super) fn in_words(conditions: &[Condition]) -> String {
    let each = conditions.iter().map(|Condition { parent, values }| {
        let values: Vec<_> = values.iter().map(written).collect();
        format!("{parent} is {}", values.join(" or "))
    });
    each.collect::<Vec<_>>().join(" and ")
}

fn cycle_in_words(names: &[String]) -> String {
    if let [name] = names {
        return format!("`{name}` needs itself: it could never be there");
    }
    let behind = names.iter().skip(1).chain(names.first());
    let each: Vec<_> = names.iter().zip(behind).map(|(one, next)| format!("`{one}` needs `{next}`")).collect();
    format!("{}: none of them could ever be there", each.join(", "))
}

fn read_when(node: &Node<'_>, uses: &[Use], source: &Source, space: &Space) -> Result<Vec<Condition>, Diagnostic> {
    if !node.is_table() {
        return Err(node.refused(&format!("a table, as in {EXAMPLE}")));
    }
    let entries = node.table(&node.place, &format!("{}.", node.place))?.entries();
    if entries.is_empty() {
        return Err(node.error(format!("{} names no parameter", node.place)).with_note(format!("write {EXAMPLE}")));
    }
    entries.iter().map(|entry| read_condition(entry, uses, source, space)).collect()
}

fn read_condition(entry: &Entry<'_>, uses: &[Use], source: &Source, space: &Space) -> Result<Condition, Diagnostic> {
    let parent = entry.key;
    let (Some(domain), Some(parameter)) = (space.get(parent), Parameter::new(parent, uses, source)) else {
        let names: Vec<_> = space.keys().map(String::as_str).collect();
        let near = did_you_mean(parent, "", &names);
        return Err(entry.error(format!("`when` names `{parent}`, which [search.space] does not have{near}")));
    };
    if matches!(domain, Domain::Reals { count: None, .. }) {
        let message = format!("`when` asks `{parent}` to be one number of a range, which it hardly ever is");
        let note = format!("give `{parent}` `values`, a `count` or a `step`");
        return Err(entry.node.error(message).with_note(note));
    }
    let nodes = if entry.node.is_array() { entry.node.array()? } else { Vec::new() };
    if entry.node.is_array() && nodes.is_empty() {
        return Err(entry.node.error(format!("`when` asks `{parent}` to be nothing at all")));
    }
    let alone = if entry.node.is_array() { None } else { Some(&entry.node) };
    let mut values = Vec::new();
    for node in nodes.iter().chain(alone) {
        let value = parameter.admit(node)?;
        if !can_be(domain, &value) {
            let message = format!("`when` asks `{parent}` to be {}, which it never is", node.quoted());
            return Err(node.error(message).with_note(format!("`{parent}` is {}", domain_in_words(domain))));
        }
        values.push(value);
    }
    Ok(Condition { parent: parent.to_owned(), values })
}

fn can_be(domain: &Domain, value: &Value) -> bool {
    match (domain.points(), domain, value) {
        (Some(points), ..) => points.contains(value),
        (None, Domain::Integers { min, max, .. }, Value::Integer(whole)) => (min..=max).contains(&whole),
        _ => false,
    }
}

fn domain_in_words(domain: &Domain) -> String {
    const LISTED_MAX: usize = 8;
    match (domain, domain.points()) {
        (Domain::Integers { min, max, count: None, .. }, _) => format!("a whole number from {min} to {max}"),
        (_, points) => {
            let points = points.unwrap_or_default();
            let more = if points.len() > LISTED_MAX { ", …" } else { "" };
            let listed: Vec<_> = points.iter().take(LISTED_MAX).map(written).collect();
            format!("one of {}{more}", listed.join(", "))
        }
    }
}

fn written(value: &Value) -> String {
    match value {
        Value::Choice(word) => format!("\"{word}\""),
        other => other.to_string(),
    }
}

/// Refuses a setting that could be left without a value: it has no default, and its parameter can be absent while it is
/// asked for.
fn check_defaults(space: &Space, uses: &[Use], source: &Source) -> Result<(), Diagnostic> {
    for one in uses.iter().filter(|one| one.is_required) {
        let conditions = space.conditions(&one.parameter);
        let known = one.layer_flag.as_deref().map_or_else(BTreeMap::new, |flag| facts(space, flag));
        let is_certain = |condition: &Condition| {
            let values = known.get(condition.parent.as_str());
            values.is_some_and(|values| values.iter().all(|value| condition.values.contains(value)))
        };
        if conditions.iter().all(is_certain) {
            continue;
        }
        let Use { parameter, place, span, .. } = one;
        let message = format!("{place} is \"${parameter}\", which is there only when {}", in_words(conditions));
        let note = match &one.layer_flag {
            Some(flag) => format!("{place} has no default: let `{parameter}` be there whenever `{flag}` is true"),
            None => format!("{place} has no default: leave `when` of `{parameter}` out"),
        };
        return Err(source.error(span, message).with_note(note));
    }
    Ok(())
}

/// The values that parameters can have where a flag is true: its own, and those by which it is there.
fn facts<'s>(space: &'s Space, flag: &'s str) -> BTreeMap<&'s str, Vec<Value>> {
    let mut known = BTreeMap::from([(flag, vec![Value::Flag(true)])]);
    let mut open = vec![flag];
    while let Some(name) = open.pop() {
        for condition in space.conditions(name) {
            if !known.contains_key(condition.parent.as_str()) {
                known.insert(&condition.parent, condition.values.clone());
                open.push(&condition.parent);
            }
        }
    }
    known
}
