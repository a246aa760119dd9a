//! What the sampler believes of each parameter, whatever the others are: a Gaussian process, which value of the objective is
//! to be expected; a Parzen estimator, where good trials are and where the others are.

use broadsweep_common::configuration::Value as Plain;
use broadsweep_search::{Belief, Believed, DensityPair, Domain, ExpectedLoss};
use serde_json::{Value, json};

use super::super::belief::{Beliefs, ends_of_densities, ends_of_losses};
use super::super::parameters::{Scale, linear_ticks, logarithmic_ticks};
use super::super::picture::{Picture, Section, value_axis, value_range};
use super::super::text::{html, label, listed, numbers, short};
use super::super::view::View;
use crate::results::show::{counted, value_text};

const TITLE: &str = "What the sampler believes";
/// Values that an axis names one by one.
const NAMED_MAX: usize = 8;
/// Words that an axis has room for; of more, every second or third one is named.
const WORDS_MAX: usize = 12;
/// Room at both ends of an axis of numbers: a share of it.
const ROOM: f64 = 0.03;
/// Parameters whose best value a sentence names.
const TOLD_MAX: usize = 3;

/// A section, where the sampler believes something.
pub(super) fn section(view: &View<'_>) -> Option<Section> {
    let beliefs = view.beliefs.as_ref()?;
    let range = range(view, beliefs);
    let pictures = beliefs.all.iter().enumerate().map(|(number, belief)| {
        let along = Axis::of(view, belief);
        let (traces, layout, height) = match &belief.believed {
            Believed::Losses(losses) => (loss_traces(view, &along, losses), loss_layout(view, &along, range), 280),
            Believed::Densities(pairs) => (density_traces(&along, pairs), density_layout(&along, pairs), 330),
        };
        Picture { id: format!("belief-{number}"), title: None, traces, layout, height }
    });
    Some(Section { title: TITLE, sentence: sentence(view, beliefs), pictures: pictures.collect() })
}

/// The axis of a parameter, as the sampler sees it, which is at least as wide as the trials are.
struct Axis<'a> {
    parameter: &'a str,
    layout: Value,
    values: Vec<&'a Plain>,
    positions: Vec<f64>,
    names: Vec<String>,
    is_numeric: bool,
}

fn values(belief: &Belief) -> Vec<&Plain> {
    match &belief.believed {
        Believed::Losses(losses) => losses.iter().map(|one| &one.value).collect(),
        Believed::Densities(pairs) => pairs.iter().map(|one| &one.value).collect(),
    }
}

fn numeric(value: &Plain) -> Option<f64> {
    match value {
        Plain::Integer(integer) => Some(*integer as f64),
        Plain::Real(real) => Some(*real),
        Plain::Choice(_) | Plain::Flag(_) => None,
    }
}

impl<'a> Axis<'a> {
    fn of(view: &View<'_>, belief: &'a Belief) -> Self {
        let values = values(belief);
        let names: Vec<_> = values.iter().map(|value| label(&value_text(value))).collect();
        let as_numbers: Option<Vec<f64>> = values.iter().map(|value| numeric(value)).collect();
        // What the study puts in an order of its own stands in that one.
        let as_numbers = as_numbers.filter(|numbers| numbers.is_sorted());
        let is_numeric = as_numbers.is_some();
        let positions = as_numbers.unwrap_or_else(|| (0..values.len()).map(|place| place as f64).collect());
        let title = label(&belief.parameter);
        let is_log = is_numeric && is_logarithmic(view, &belief.parameter) && positions[0] > 0.0;
        let (first, last) = (positions[0], positions[positions.len() - 1]);
        let (ticks, words): (Vec<f64>, Vec<String>) = if positions.len() <= NAMED_MAX || !is_numeric {
            let step = positions.len().div_ceil(WORDS_MAX);
            positions.iter().copied().zip(names.iter().cloned()).step_by(step).unzip()
        } else {
            let round = if is_log { logarithmic_ticks(first, last) } else { linear_ticks(first, last) };
            round.into_iter().map(|tick| (tick, short(tick))).unzip()
        };
        let mut layout = json!({
            "type": if is_log { "log" } else { "linear" }, "title": { "text": title }, "tickvals": numbers(ticks),
            "ticktext": words, "zeroline": false
        });
        let ends = if is_log { [first, last].map(libm::log10) } else { [first, last] };
        let room = if is_numeric { (ends[1] - ends[0]) * ROOM } else { 0.5 };
        layout["range"] = numbers([ends[0] - room, ends[1] + room]);
        Self { parameter: &belief.parameter, layout, values, positions, names, is_numeric }
    }

    /// How what stands at each value is drawn: a line through many numbers, a mark at each of a few.
    fn mode(&self) -> &'static str {
        match (self.is_numeric, self.positions.len() <= NAMED_MAX) {
            (false, _) => "markers",
            (true, true) => "lines+markers",
            (true, false) => "lines",
        }
    }
}

/// Whether the study spreads a parameter by ratios; of a list of numbers, whether these look so.
fn is_logarithmic(view: &View<'_>, name: &str) -> bool {
    let domain = view.run.search.as_ref().and_then(|search| search.space.get(name));
    match domain {
        Some(Domain::Integers { log, .. } | Domain::Reals { log, .. }) => *log,
        Some(Domain::Values(_) | Domain::Ordered(_)) | None => {
            view.parameters.iter().any(|one| one.name == name && one.scale == Scale::Logarithmic)
        }
    }
}

/// From the least to the largest value that is believed of any parameter: one axis for all, so that flat means no effect.
fn range(view: &View<'_>, beliefs: &Beliefs) -> (f64, f64) {
    let ends = beliefs.all.iter().flat_map(|belief| match &belief.believed {
        Believed::Losses(losses) => losses.as_slice(),
        Believed::Densities(_) => &[],
    });
    let ends = ends.flat_map(|one| [one.low, one.high]).filter(|end| end.is_finite());
    let best = view.ranking.first().map(|(_, value)| *value);
    ends.chain(best).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), end| (low.min(end), high.max(end)))
}

fn loss_layout(view: &View<'_>, along: &Axis<'_>, (low, high): (f64, f64)) -> Value {
    let mut axis = value_axis(view, view.on_axis(low), view.on_axis(high));
    axis["range"] = value_range(view, low, high, axis["type"] == "log");
    json!({ "xaxis": along.layout, "yaxis": axis, "showlegend": false })
}

/// The median, and one deviation around it: a band along numbers, bars at words.
fn loss_traces(view: &View<'_>, along: &Axis<'_>, losses: &[ExpectedLoss]) -> Vec<Value> {
    let of = |which: fn(&ExpectedLoss) -> f64| losses.iter().map(move |one| view.on_axis(which(one)));
    let xs = || numbers(along.positions.iter().copied());
    let text = |(one, name): (&ExpectedLoss, &String)| {
        let [median, low, high] = [one.median, one.low, one.high].map(|value| view.value_text(value));
        format!("{name}<br>{median} is expected<br>{low} to {high}")
    };
    let texts: Vec<_> = losses.iter().zip(&along.names).map(text).collect();
    let mut median = json!({
        "type": "scatter", "mode": along.mode(), "x": xs(), "y": numbers(of(|one| one.median)), "text": texts,
        "hovertemplate": "%{text}<extra></extra>", "line": { "color": "@series-0", "width": 2 },
        "marker": { "color": "@series-0", "size": 6 },
    });
    if !along.is_numeric {
        let apart = |high: fn(&ExpectedLoss) -> f64, low: fn(&ExpectedLoss) -> f64| {
            numbers(of(high).zip(of(low)).map(|(high, low)| (high - low).abs()))
        };
        // Where large values are good, the worse end is the lower one.
        let (up, down) = if view.minimizes() {
            (apart(|one| one.high, |one| one.median), apart(|one| one.median, |one| one.low))
        } else {
            (apart(|one| one.low, |one| one.median), apart(|one| one.median, |one| one.high))
        };
        median["error_y"] = json!({
            "type": "data", "symmetric": false, "color": "@series-0", "thickness": 6, "width": 0, "array": up,
            "arrayminus": down,
        });
        median["marker"] = json!({ "color": "@ink", "size": 9 });
        return [median].into_iter().chain(best_trace(view, along)).collect();
    }
    let edge = |which: fn(&ExpectedLoss) -> f64| {
        json!({
            "type": "scatter", "mode": "lines", "x": xs(), "y": numbers(of(which)),
            "line": { "width": 0, "color": "@band" }, "hoverinfo": "skip",
        })
    };
    let mut other_edge = edge(|one| one.high);
    other_edge["fill"] = "tonexty".into();
    other_edge["fillcolor"] = "@band".into();
    let mut traces = vec![edge(|one| one.low), other_edge, median];
    traces.extend(best_trace(view, along));
    traces
}

/// The best trial, where it stands along the parameter.
fn best_trace(view: &View<'_>, along: &Axis<'_>) -> Option<Value> {
    let (best, value) = view.ranking.first()?;
    let own = view.run.trials[*best].configuration.get(along.parameter)?;
    let place = || along.values.iter().position(|known| *known == own);
    let position = if along.is_numeric { numeric(own)? } else { place()? as f64 };
    Some(json!({
        "type": "scatter", "mode": "markers", "x": numbers([position]), "y": numbers([view.on_axis(*value)]),
        "text": [view.point_text(*best, &format!("the best: {}", view.value_text(*value)))],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": { "color": "@best", "size": 12, "symbol": "star", "line": { "color": "@card", "width": 1 } },
    }))
}

/// Two panels: the densities, and below them how many times denser the good trials are.
fn density_layout(along: &Axis<'_>, pairs: &[DensityPair]) -> Value {
    let densities = pairs.iter().flat_map(|pair| [pair.good, pair.others]).fold(1.0, f64::max);
    let ratios = pairs.iter().map(DensityPair::ratio).filter(|ratio| ratio.is_finite() && *ratio > 0.0);
    let far = ratios.map(|ratio| libm::fabs(libm::log10(ratio))).fold(0.35, f64::max) * 1.1;
    let ticks = if far < 1.05 { [0.25, 0.5, 1.0, 2.0, 4.0] } else { [0.01, 0.1, 1.0, 10.0, 100.0] };
    let names: Vec<_> = ticks.iter().map(|tick| short(*tick)).collect();
    let mut below = along.layout.clone();
    below["anchor"] = "y2".into();
    json!({
        "xaxis": below,
        "yaxis": {
            "title": { "text": "density" }, "domain": [0.46, 1], "range": numbers([0.0, densities * 1.08]), "zeroline": false,
        },
        "yaxis2": {
            "title": { "text": "ratio" }, "type": "log", "domain": [0, 0.36], "range": numbers([-far, far]),
            "tickvals": numbers(ticks), "ticktext": names, "zeroline": false,
        },
        "barmode": "group", "showlegend": true, "bargap": 0.3,
    })
}

fn density_traces(along: &Axis<'_>, pairs: &[DensityPair]) -> Vec<Value> {
    let xs = || numbers(along.positions.iter().copied());
    let text = |(pair, name): (&DensityPair, &String)| {
        let [good, others, ratio] = [pair.good, pair.others, pair.ratio()].map(short);
        format!("{name}<br>good {good}<br>others {others}<br>ratio {ratio}")
    };
    let texts: Vec<_> = pairs.iter().zip(&along.names).map(text).collect();
    let side = |name: &str, colour: &str, of: fn(&DensityPair) -> f64| {
        let mut trace = json!({
            "name": name, "x": xs(), "y": numbers(pairs.iter().map(of)), "text": texts, "textposition": "none",
            "hovertemplate": "%{text}<extra></extra>",
        });
        if along.is_numeric {
            trace["type"] = "scatter".into();
            trace["mode"] = along.mode().into();
            trace["line"] = json!({ "color": colour, "width": 2 });
            trace["marker"] = json!({ "color": colour, "size": 6 });
        } else {
            trace["type"] = "bar".into();
            trace["marker"] = json!({ "color": colour });
        }
        trace
    };
    let ratio = json!({
        "type": "scatter", "mode": along.mode(), "x": xs(), "yaxis": "y2",
        "y": numbers(pairs.iter().map(DensityPair::ratio)), "text": texts, "hovertemplate": "%{text}<extra></extra>",
        "line": { "color": "@ink", "width": 2 }, "marker": { "color": "@ink", "size": if along.is_numeric { 6 } else { 9 } }, "showlegend": false,
    });
    let (first, last) = (along.positions[0], along.positions[along.positions.len() - 1]);
    let apart = if along.is_numeric { 0.0 } else { 0.5 };
    let even = json!({
        "type": "scatter", "mode": "lines", "x": numbers([first - apart, last + apart]), "y": [1, 1], "yaxis": "y2",
        "hoverinfo": "skip", "showlegend": false, "line": { "color": "@axis", "width": 1, "dash": "dash" },
    });
    vec![side("others", "@muted", |pair| pair.others), side("good", "@series-1", |pair| pair.good), even, ratio]
}

fn sentence(view: &View<'_>, beliefs: &Beliefs) -> String {
    let mut best = Vec::new();
    for belief in beliefs.all.iter().take(TOLD_MAX) {
        let value = match &belief.believed {
            Believed::Losses(losses) => ends_of_losses(view.run, losses).map(|[best, _]| &best.value),
            Believed::Densities(pairs) => ends_of_densities(pairs).map(|[most, _]| &most.value),
        };
        best.extend(value.map(|value| format!("{} at {}", html(&belief.parameter), html(&value_text(value)))));
    }
    let (trials, best) = (counted(beliefs.trials as u64, "trial"), listed(&best));
    let of_losses = matches!(beliefs.all.first().map(|belief| &belief.believed), Some(Believed::Losses(_)));
    if of_losses {
        return format!(
            "After {trials}, the Gaussian process expects the {} {} with {best}. The line is what it expects along a \
             hyperparameter, on average over the others; the band is one standard deviation to both sides, and the star \
             the best trial, which is better than an average. A flat line says that the hyperparameter does not matter.",
            if view.minimizes() { "lowest" } else { "highest" },
            view.objective_name(),
        );
    }
    format!(
        "Of {trials}, the best tenth are good to the Parzen estimator: along each hyperparameter, how densely these lie and \
         how densely the others do, where 1 is as if they were spread evenly. It looks where \
         good ones are dense and the ratio of the two is large: most for {best}."
    )
}

#[cfg(test)]
#[path = "belief_tests.rs"]
mod tests;
