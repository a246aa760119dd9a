//! The `[search]` table: which configurations are tried, in which order, and by which error they are compared.

use std::num::NonZeroU32;

use broadsweep_search::space::size;
use broadsweep_search::{COUNTED_MAX, Domain, PrunerKind, SamplerKind, Space, StopRules, TRIALS_MAX};

use super::diagnostic::{Diagnostic, Source};
use super::objectives::{self, Comparable, Compared};
use super::reader::{Node, Table};
use super::setting::Use;
use super::{Order, ReplaySettings, SearchSettings, Trainer, constraints, pruner, space, stop};

const KEYS: &[&str] = &[
    "sampler",
    "trials",
    "pruner",
    "stop",
    "parallel",
    "asynchronous",
    "select",
    "objective",
    "direction",
    "objectives",
    "metrics",
    "space",
    "constraints",
    "initial",
    "initial_from",
];

/// `parallel` where the study does not say it: slots of a cluster of this project's article, and some more.
const PARALLEL_DEFAULT: NonZeroU32 = NonZeroU32::new(16).unwrap();
/// What `parallel` may be.
const PARALLEL_MAX: i64 = 100_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Auto,
    Grid,
    Random,
    Sobol,
    Tpe,
    Gaussian,
    CmaEs,
}

const SAMPLERS: &[(&str, Written)] = &[
    ("auto", Written::Auto),
    ("grid", Written::Grid),
    ("random", Written::Random),
    ("sobol", Written::Sobol),
    ("tpe", Written::Tpe),
    ("gp", Written::Gaussian),
    ("cmaes", Written::CmaEs),
];

/// Reads `[search]`. A study without it has one trial.
pub(super) fn read(
    document: &Table<'_>,
    (comparable, trainer): (Comparable, &Trainer),
    uses: &[Use],
    source: &Source,
) -> Result<SearchSettings, Diagnostic> {
    let Some(node) = document.get("search") else {
        space::refuse_uses(uses, source)?;
        if let (Err(reason), Some(data)) = (comparable.validation, document.get("data")) {
            return Err(data.error(reason));
        }
        // None of its keys stands above all tables: nothing is written.
        let compared = objectives::read(document, comparable)?;
        return Ok(settings((SamplerKind::Grid, PrunerKind::None, Order::default()), compared, Space::new()));
    };
    let table = node.table("[search]", "[search] ")?;
    table.allow(KEYS, |key| misplaced(key, uses))?;
    let compared = objectives::read(&table, comparable)?;
    let Some(space_node) = table.get("space") else {
        space::refuse_uses(uses, source)?;
        let needing = KEYS[..6].iter().chain(&["constraints", "initial", "initial_from"]);
        let idle = needing.copied().find_map(|key| table.get(key));
        return match idle {
            None => Ok(settings((SamplerKind::Grid, PrunerKind::None, Order::default()), compared, Space::new())),
            Some(node) => Err(node
                .error("there is nothing to search: [search.space] is missing")
                .with_note("write [search.space], and there, for example: rate = { values = [0.01, 0.1] }")),
        };
    };
    let sampler_node = table.get("sampler");
    let written = sampler_node.as_ref().map_or(Ok(Written::Auto), |node| node.word(SAMPLERS))?;
    let space_table = space_node.table("[search.space]", "[search.space] ")?;
    let mut space = space::read(&space_table, uses, written == Written::Grid, source)?;
    if space.is_empty() {
        return Err(space_table.error("[search.space] is empty: there is nothing to search"));
    }
    constraints::read(&table, &mut space)?;
    let order = read_order(&table)?;
    let (sampler, why_chosen) = match written {
        Written::Auto => choose(&table, &space, order)?,
        Written::Grid => (check_grid(&table, &space_node, &space)?, None),
        Written::Random => (SamplerKind::Random { trials: read_trials(&table, &space)? }, None),
        Written::Sobol => (SamplerKind::Sobol { trials: read_trials(&table, &space)? }, None),
        Written::Tpe => (SamplerKind::Tpe { trials: read_trials(&table, &space)? }, None),
        Written::Gaussian => (SamplerKind::Gaussian { trials: read_trials(&table, &space)? }, None),
        Written::CmaEs => (SamplerKind::CmaEs { trials: read_trials(&table, &space)? }, None),
    };
    constraints::check_admitted(&table, &space, sampler == SamplerKind::Grid)?;
    if sampler.learns() && matches!(trainer, Trainer::Replay(ReplaySettings::Recorded { .. })) {
        return Err(sampler_node
            .unwrap_or(node)
            .error("recorded trials are replayed in their order, whatever a sampler learns")
            .with_note("write sampler = \"grid\", \"random\" or \"sobol\""));
    }
    let pruner = pruner::read(&table, trainer, (sampler, &space, order.is_asynchronous))?;
    let (stop, max_time) = stop::read(&table, trainer)?;
    Ok(SearchSettings { why_chosen, stop, max_time, ..settings((sampler, pruner, order), compared, space) })
}

/// The sampler of a study that leaves it open, and why it suits.
fn choose(
    table: &Table<'_>,
    space: &Space,
    Order { parallel, .. }: Order,
) -> Result<(SamplerKind, Option<String>), Diagnostic> {
    let Some(node) = table.get("trials") else {
        let points = size(space).filter(|points| *points <= u64::from(TRIALS_MAX));
        return match points.filter(|_| !space.values().any(Domain::is_open)) {
            Some(points) => Ok((SamplerKind::Grid, Some(format!("grid: no `trials`, and {points} configurations")))),
            None => Err(table
                .error("[search] has no `trials`: how many configurations are tried")
                .with_note("write, for example, trials = 50")),
        };
    };
    let trials = node.whole(1, i64::from(TRIALS_MAX))? as u32;
    if SamplerKind::chosen(space, trials, parallel.get()) != SamplerKind::Grid {
        read_trials(table, space)?;
    }
    let chosen = SamplerKind::chosen(space, trials, parallel.get());
    Ok((chosen, Some(SamplerKind::why_chosen(space, trials, parallel.get()))))
}

fn settings(
    (sampler, pruner, order): (SamplerKind, PrunerKind, Order),
    compared: Compared,
    space: Space,
) -> SearchSettings {
    let Compared { select, objectives, watched, measures } = compared;
    let (why_chosen, stop, max_time) = (None, StopRules::default(), None);
    SearchSettings {
        sampler,
        why_chosen,
        pruner,
        stop,
        max_time,
        order,
        select,
        objectives,
        watched,
        measures,
        space,
    }
}

impl Default for Order {
    fn default() -> Self {
        Self { parallel: PARALLEL_DEFAULT, is_asynchronous: false }
    }
}

fn read_order(table: &Table<'_>) -> Result<Order, Diagnostic> {
    let Order { mut parallel, mut is_asynchronous } = Order::default();
    if let Some(node) = table.get("parallel") {
        parallel = NonZeroU32::new(node.whole(1, PARALLEL_MAX)? as u32).unwrap_or(parallel);
    }
    if let Some(node) = table.get("asynchronous") {
        is_asynchronous = node.flag()?;
    }
    Ok(Order { parallel, is_asynchronous })
}

/// What to say of a parameter that stands in `[search]` itself.
fn misplaced(key: &str, uses: &[Use]) -> Option<String> {
    let searched = uses.iter().any(|one| one.parameter == key);
    searched.then(|| format!("the parameter `{key}` belongs in [search.space]"))
}

fn check_grid(table: &Table<'_>, space_node: &Node<'_>, space: &Space) -> Result<SamplerKind, Diagnostic> {
    let points = size(space).unwrap_or(u64::MAX);
    if points > u64::from(TRIALS_MAX) {
        let at_least = if points == u64::MAX || points == COUNTED_MAX { "at least " } else { "" };
        return Err(space_node.error(format!("this grid has {at_least}{points} trials; {TRIALS_MAX} are allowed")));
    }
    let Some(trials) = table.get("trials") else { return Ok(SamplerKind::Grid) };
    Err(trials
        .error(format!("a grid takes no `trials`: it tries each of its {points} combinations"))
        .with_note("leave `trials` out, or write sampler = \"random\" or \"sobol\""))
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
