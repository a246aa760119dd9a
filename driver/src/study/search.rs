//! The `[search]` table: which configurations are tried, and by which error they are compared.

use broadsweep_common::metrics::{Direction, MetricName, Objective};
use broadsweep_common::task::Select;
use broadsweep_search::space::size;
use broadsweep_search::{SamplerKind, Space, TRIALS_MAX};

use super::diagnostic::{Diagnostic, Source};
use super::reader::{Node, Table};
use super::setting::Use;
use super::{DataSettings, ReplaySettings, SearchSettings, Trainer, space};

const KEYS: &[&str] = &["sampler", "trials", "select", "objective", "direction", "space"];
const SELECTS: &[(&str, Select)] = &[("validation", Select::Validation), ("test", Select::Test)];
const DIRECTIONS: &[(&str, Direction)] = &[("minimize", Direction::Minimize), ("maximize", Direction::Maximize)];
const NO_TEST: &str = "select = \"test\" needs test rows, and [data] names none";
const NO_REPLAYED_TEST: &str = "select = \"test\" needs a test error, and this replay has none";
const NO_VALIDATION: &str = "there are no validation rows to choose the best trial by: set `validation_rows` \
                             in [data], or write select = \"test\" in [search]";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Grid,
    Random,
}

const SAMPLERS: &[(&str, Written)] = &[("grid", Written::Grid), ("random", Written::Random)];

/// Whether trials have an error of each part to be compared by, or why not.
#[derive(Clone, Copy)]
pub(super) struct Comparable {
    validation: Result<(), &'static str>,
    test: Result<(), &'static str>,
    /// Whether they report what the study alone knows.
    any: bool,
}

impl Comparable {
    /// A trained trial has the errors of the rows that there are; a replayed one those that it was given.
    pub(super) fn of(trainer: &Trainer, data: Option<&DataSettings>) -> Self {
        match trainer {
            Trainer::Network { .. } => Self {
                validation: data.filter(|data| data.has_validation()).map(|_| ()).ok_or(NO_VALIDATION),
                test: data.filter(|data| data.has_test()).map(|_| ()).ok_or(NO_TEST),
                any: false,
            },
            Trainer::Replay(ReplaySettings::Given(_)) => {
                Self { validation: Ok(()), test: Err(NO_REPLAYED_TEST), any: false }
            }
            // Whether each row has both is looked at when they are read.
            Trainer::Replay(ReplaySettings::Recorded { .. }) => Self { validation: Ok(()), test: Ok(()), any: false },
            Trainer::Program(_) => Self { validation: Ok(()), test: Ok(()), any: true },
        }
    }
}

/// Reads `[search]`. A study without it has one trial.
pub(super) fn read(
    document: &Table<'_>,
    comparable: Comparable,
    uses: &[Use],
    source: &Source,
) -> Result<SearchSettings, Diagnostic> {
    let Some(node) = document.get("search") else {
        space::refuse_uses(uses, source)?;
        if let (Err(reason), Some(data)) = (comparable.validation, document.get("data")) {
            return Err(data.error(reason));
        }
        let select = Select::Validation;
        let (sampler, objective, space) = (SamplerKind::Grid, select.objective(), Space::new());
        return Ok(SearchSettings { sampler, select, objective, space });
    };
    let table = node.table("[search]", "[search] ")?;
    table.allow(KEYS, |key| misplaced(key, uses))?;
    let (select, objective) = read_objective(&table, comparable)?;
    let Some(space_node) = table.get("space") else {
        space::refuse_uses(uses, source)?;
        let idle = ["sampler", "trials"].into_iter().find_map(|key| table.get(key));
        return match idle {
            None => Ok(SearchSettings { sampler: SamplerKind::Grid, select, objective, space: Space::new() }),
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
    Ok(SearchSettings { sampler, select, objective, space })
}

/// What to say of a parameter that stands in `[search]` itself.
fn misplaced(key: &str, uses: &[Use]) -> Option<String> {
    let searched = uses.iter().any(|one| one.parameter == key);
    searched.then(|| format!("the parameter `{key}` belongs in [search.space]"))
}

/// By what trials are compared: a metric and a direction, or their short form `select`.
fn read_objective(table: &Table<'_>, comparable: Comparable) -> Result<(Select, Objective), Diagnostic> {
    let direction_node = table.get("direction");
    let direction = direction_node.as_ref().map_or(Ok(Direction::Minimize), |node| node.word(DIRECTIONS))?;
    let Some(node) = table.get("objective") else {
        if let Some(direction) = direction_node {
            let message = "`direction` says which way `objective` is better, and there is none";
            return Err(direction.error(message).with_note("add, for example: objective = \"val_accuracy\""));
        }
        return read_select(table, comparable).map(|select| (select, select.objective()));
    };
    let metric = MetricName::new(node.text()?).map_err(|error| node.error(error.to_string()))?;
    if !comparable.any {
        let message = "`objective` is for programs: all other trials are compared by their error";
        return Err(node.error(message).with_note("write select = \"validation\" or select = \"test\" instead"));
    }
    if let Some(select) = table.get("select") {
        let message = "`select` has no effect with `objective`: it is short for an error";
        return Err(select.error(message).with_note("leave one of the two out"));
    }
    Ok((Select::Validation, Objective { metric, direction }))
}

fn read_select(table: &Table<'_>, comparable: Comparable) -> Result<Select, Diagnostic> {
    let Some(node) = table.get("select") else {
        return comparable.validation.map(|()| Select::Validation).map_err(|reason| table.error(reason));
    };
    let select = node.word(SELECTS)?;
    let usable = match select {
        Select::Validation => comparable.validation,
        Select::Test => comparable.test,
    };
    usable.map(|()| select).map_err(|reason| node.error(reason))
}

fn check_grid(table: &Table<'_>, space_node: &Node<'_>, space: &Space) -> Result<SamplerKind, Diagnostic> {
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

fn read_trials(table: &Table<'_>, space: &Space) -> Result<u32, Diagnostic> {
    let node = table.require("trials", "how many configurations are drawn")?;
    let trials = node.whole(1, i64::from(TRIALS_MAX))? as u32;
    match size(space) {
        Some(points) if points < u64::from(trials) => {
            Err(node.error(format!("{trials} different trials are asked for, and the space has only {points}")))
        }
        _ => Ok(trials),
    }
}
