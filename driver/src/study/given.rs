//! The configurations that a study gives: `[control]`, and the starting points in `[search] initial`.

use broadsweep_common::configuration::Configuration;
use broadsweep_search::Space;

use super::conditions;
use super::diagnostic::{Diagnostic, Source};
use super::reader::{Node, Table};
use super::setting::Use;
use super::space::{Parameter, check_text_bytes, did_you_mean};

/// Starting points that a study may have.
pub const INITIAL_MAX: usize = 1000;

/// Starting points that are taken from an earlier run, unless the study says how many.
const BEST_DEFAULT: i64 = 5;

/// An earlier run whose best configurations are starting points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialFrom {
    /// Its folder, as written in the study; it starts at the study file's folder.
    pub run: String,
    /// How many of its best configurations are taken.
    pub best: usize,
}

/// Reads `[search] initial_from`: the folder of a run, or a table with it.
pub(super) fn read_initial_from(document: &Table<'_>) -> Result<Option<InitialFrom>, Diagnostic> {
    let search = document.get("search").map(|node| node.table("[search]", "[search] ")).transpose()?;
    let Some(node) = search.and_then(|search| search.get("initial_from")) else { return Ok(None) };
    if !node.is_table() {
        let expected = "the folder of a run, as \"runs/mine\", or a table, as { run = \"runs/mine\", best = 10 }";
        let run = node.text().map_err(|_| node.refused(expected))?.to_owned();
        return Ok(Some(InitialFrom { run, best: BEST_DEFAULT as usize }));
    }
    let table = node.table("[search] initial_from", "[search] initial_from: ")?;
    table.allow(&["run", "best"], |_| None)?;
    let run = table.require("run", "the folder of a run")?.text()?.to_owned();
    let best = table.get("best").map_or(Ok(BEST_DEFAULT), |best| best.whole(1, INITIAL_MAX as i64))?;
    Ok(Some(InitialFrom { run, best: best as usize }))
}

/// Reads `[control]`: a value for every parameter of `space` that is there.
pub(super) fn read_control(
    node: &Node<'_>,
    space: &Space,
    uses: &[Use],
    source: &Source,
) -> Result<Configuration, Diagnostic> {
    read(&node.table("[control]", "[control] ")?, node, space, uses, source)
}

/// Reads the starting points, each of them as the control, and none of them twice.
pub(super) fn read_initial(
    document: &Table<'_>,
    control: Option<&Configuration>,
    space: &Space,
    uses: &[Use],
    source: &Source,
) -> Result<Vec<Configuration>, Diagnostic> {
    let search = document.get("search").map(|node| node.table("[search]", "[search] ")).transpose()?;
    let Some(list) = search.and_then(|search| search.get("initial")) else { return Ok(Vec::new()) };
    let nodes = list.array().map_err(|_| list.refused("an array of tables, as in [{ rate = 0.1 }]"))?;
    if nodes.len() > INITIAL_MAX {
        return Err(list.error(format!("there are {} starting points; {INITIAL_MAX} are allowed", nodes.len())));
    }
    let mut initial: Vec<Configuration> = Vec::new();
    for node in &nodes {
        let table = node.table(&node.place, &format!("{}: ", node.place))?;
        let given = read(&table, node, space, uses, source)?;
        if control == Some(&given) {
            return Err(node.error(format!("{} is the same as [control], which comes first anyway", node.place)));
        }
        if let Some(known) = initial.iter().position(|known| *known == given) {
            return Err(node.error(format!("{} is the same as {}", node.place, nodes[known].place)));
        }
        initial.push(given);
    }
    Ok(initial)
}

fn read(
    table: &Table<'_>,
    node: &Node<'_>,
    space: &Space,
    uses: &[Use],
    source: &Source,
) -> Result<Configuration, Diagnostic> {
    let place = &table.place;
    let entries = table.entries();
    if let Some(entry) = entries.iter().find(|entry| !space.contains_key(entry.key)) {
        let names: Vec<_> = space.keys().map(String::as_str).collect();
        let near = did_you_mean(entry.key, "", &names);
        return Err(entry.error(format!("{place} gives `{}`, which [search.space] does not have{near}", entry.key)));
    }
    let mut values = Vec::new();
    // Parents come first: by their values it is known what else is there.
    for name in space.names_in_order() {
        let is_conditional = !space.conditions(name).is_empty();
        if is_conditional && !space.is_active(name, &values.iter().cloned().collect()) {
            let Some(entry) = entries.iter().find(|entry| entry.key == name) else { continue };
            let message = format!("{place} gives `{name}`, which is not there with these values");
            let conditions = conditions::in_words(space.conditions(name));
            return Err(entry.error(message).with_note(format!("leave it out: it is there when {conditions}")));
        }
        let whose = if is_conditional { " that is there" } else { "" };
        let node = table.require(name, &format!("every searched parameter{whose} has a value in {place}"))?;
        if let Some(parameter) = Parameter::new(name, uses, source) {
            values.push((name, parameter.admit(&node)?));
        }
    }
    let given: Configuration = values.into_iter().collect();
    check_text_bytes(&format!("the parameters of {place}"), given.text_bytes()).map_err(|bad| node.error(bad))?;
    match space.broken_constraint(&given) {
        Some(broken) => Err(node.error(format!("{place} breaks the constraint `{}`", broken.text()))),
        None => Ok(given),
    }
}
