//! `[search] constraints`: what must hold between parameters.

use broadsweep_search::grid::Grid;
use broadsweep_search::random::admitted_draws;
use broadsweep_search::{Constraint, Knowledge, Sampler as _, Space};

use super::diagnostic::Diagnostic;
use super::reader::{Table, nearest};

/// Constraints that a study may have.
const CONSTRAINTS_MAX: usize = 1000;
/// Draws by which it is estimated how much of a space the constraints admit.
const ESTIMATE_DRAWS: u64 = 256;
const GRAMMAR: &str = "a constraint compares parameters, numbers and words in quotes by < <= > >= == !=, with + - * ( ), and joins \
                       comparisons by and, or, not";

/// Reads them into `space`.
pub(super) fn read(search: &Table<'_>, space: &mut Space) -> Result<(), Diagnostic> {
    let Some(list) = search.get("constraints") else { return Ok(()) };
    let nodes = list.array().map_err(|_| list.refused("an array of texts, as in [\"units_2 <= units_1\"]"))?;
    if nodes.len() > CONSTRAINTS_MAX {
        return Err(list.error(format!("there are {} constraints; {CONSTRAINTS_MAX} are allowed", nodes.len())));
    }
    for node in nodes {
        let text = node.text()?;
        let constraint = Constraint::parse(text).map_err(|error| {
            node.error_inside(text, error.span, format!("{}: {}", node.place, error.message)).with_note(GRAMMAR)
        })?;
        let unknown = constraint.names().into_iter().find(|(name, _)| !space.contains_key(*name));
        if let Some((name, span)) = unknown {
            let near = nearest(name, space.keys().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let message = format!("{}: `{name}` is no parameter of [search.space]{near}", node.place);
            let error = node.error_inside(text, span, message);
            return Err(if near.is_empty() { error.with_note("a word is written in quotes") } else { error });
        }
        constraint
            .check(space)
            .map_err(|error| node.error_inside(text, error.span, format!("{}: {}", node.place, error.message)))?;
        space.constrain(constraint);
    }
    Ok(())
}

/// How much of a space the constraints admit.
pub(super) fn admitted_share(space: &Space) -> f64 {
    admitted_draws(0, space, ESTIMATE_DRAWS) as f64 / ESTIMATE_DRAWS as f64
}

/// Refuses a space of which the constraints leave nothing, or so little that no draw finds it.
pub(super) fn check_admitted(search: &Table<'_>, space: &Space, is_grid: bool) -> Result<(), Diagnostic> {
    let Some(list) = search.get("constraints") else { return Ok(()) };
    if is_grid {
        return match Grid::new(space).next(Knowledge::default()) {
            Some(_) => Ok(()),
            None => Err(list.error("no combination of the grid keeps all constraints: nothing could be tried")),
        };
    }
    if admitted_share(space) > 0.0 {
        return Ok(());
    }
    let message = format!("none of {ESTIMATE_DRAWS} draws keeps all constraints: too little of the space is left");
    let note =
        "narrow the ranges to where they can hold, or loosen them; a number drawn from a range never equals another";
    Err(list.error(message).with_note(note))
}
