//! The `[search]` table: which configurations are tried, and by which error they are compared.

use std::collections::BTreeMap;

use broadsweep_common::task::Select;

use super::diagnostic::{Diagnostic, Source};
use super::reader::{Node, Table};
use super::sample::{TRIALS_MAX, size};
use super::setting::Use;
use super::{DataSettings, Domain, SamplerKind, Search, space};

const KEYS: &[&str] = &["sampler", "trials", "select", "space"];
const SELECTS: &[(&str, Select)] = &[("validation", Select::Validation), ("test", Select::Test)];
const NO_VALIDATION: &str = "there are no validation rows to choose the best trial by: set `validation_rows` \
                             in [data], or write select = \"test\" in [search]";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Grid,
    Random,
}

const SAMPLERS: &[(&str, Written)] = &[("grid", Written::Grid), ("random", Written::Random)];

/// Reads `[search]`. A study without it has one trial.
pub(super) fn read(
    document: &Table<'_>,
    data: &DataSettings,
    uses: &[Use],
    source: &Source,
) -> Result<Search, Diagnostic> {
    let Some(node) = document.get("search") else {
        space::refuse_uses(uses, source)?;
        if data.validation_rows == 0
            && let Some(data) = document.get("data")
        {
            return Err(data.error(NO_VALIDATION));
        }
        return Ok(Search { sampler: SamplerKind::Grid, select: Select::Validation, space: BTreeMap::new() });
    };
    let table = node.table("[search]", "[search] ")?;
    table.allow(KEYS, |key| misplaced(key, uses))?;
    let select = read_select(&table, data)?;
    let Some(space_node) = table.get("space") else {
        space::refuse_uses(uses, source)?;
        let idle = ["sampler", "trials"].into_iter().find_map(|key| table.get(key));
        return match idle {
            None => Ok(Search { sampler: SamplerKind::Grid, select, space: BTreeMap::new() }),
            Some(node) => Err(node
                .error("there is nothing to search: [search.space] is missing")
                .with_note("write [search.space], and there, for example: rate = { values = [0.01, 0.1] }")),
        };
    };
    let sampler = table.require("sampler", "\"grid\" (every combination) or \"random\"")?.word(SAMPLERS)?;
    let space_table = space_node.table("[search.space]", "[search.space] ")?;
    let space = space::read(&space_table, uses, sampler == Written::Grid, source)?;
    if space.is_empty() {
        return Err(space_table.error("[search.space] is empty: there is nothing to search"));
    }
    let sampler = match sampler {
        Written::Grid => check_grid(&table, &space_node, &space)?,
        Written::Random => SamplerKind::Random { trials: read_trials(&table, &space)? },
    };
    Ok(Search { sampler, select, space })
}

/// What to say of a parameter that stands in `[search]` itself.
fn misplaced(key: &str, uses: &[Use]) -> Option<String> {
    let searched = uses.iter().any(|one| one.parameter == key);
    searched.then(|| format!("the parameter `{key}` belongs in [search.space]"))
}

fn read_select(table: &Table<'_>, data: &DataSettings) -> Result<Select, Diagnostic> {
    let Some(node) = table.get("select") else {
        return if data.validation_rows == 0 { Err(table.error(NO_VALIDATION)) } else { Ok(Select::Validation) };
    };
    match node.word(SELECTS)? {
        Select::Validation if data.validation_rows == 0 => Err(node.error(NO_VALIDATION)),
        Select::Test if !data.source.has_test() => {
            Err(node.error("select = \"test\" needs test rows, and [data] names none"))
        }
        select => Ok(select),
    }
}

fn check_grid(
    table: &Table<'_>,
    space_node: &Node<'_>,
    space: &BTreeMap<String, Domain>,
) -> Result<SamplerKind, Diagnostic> {
    let points = size(space).unwrap_or(u64::MAX);
    if points > u64::from(TRIALS_MAX) {
        let at_least = if points == u64::MAX { "at least " } else { "" };
        return Err(space_node.error(format!("this grid has {at_least}{points} trials; {TRIALS_MAX} are allowed")));
    }
    let Some(trials) = table.get("trials") else { return Ok(SamplerKind::Grid) };
    Err(trials
        .error(format!("a grid takes no `trials`: it tries each of its {points} combinations"))
        .with_note("leave `trials` out, or write sampler = \"random\""))
}

fn read_trials(table: &Table<'_>, space: &BTreeMap<String, Domain>) -> Result<u32, Diagnostic> {
    let node = table.require("trials", "how many configurations are drawn")?;
    let trials = node.whole(1, i64::from(TRIALS_MAX))? as u32;
    match size(space) {
        Some(points) if points < u64::from(trials) => {
            Err(node.error(format!("{trials} different trials are asked for, and the space has only {points}")))
        }
        _ => Ok(trials),
    }
}
