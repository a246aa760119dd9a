//! What ranks, an error mostly, against the learning rate, a line for each width of a layer: the picture of the
//! original's article. Any other study has a number and a choice of its own in their places.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::parameters::{Parameter, Scale};
use super::super::picture::{Picture, Section, on_scale, parameter_axis, series, value_axis};
use super::super::text::{html, label, number, numbers, short_label};
use super::super::view::{View, quartiles};
use crate::results::show::counted;

/// Points in the picture; of more trials, the best and an even sample.
const POINTS_MAX: usize = 1500;
/// Values that a line can be drawn through; between more of them trials scatter.
const LINE_VALUES_MAX: usize = 24;
/// Groups of trials whose medians are drawn through a scatter.
const GROUPS: usize = 10;
/// Crosses for diverged trials.
const DIVERGED_MAX: usize = 200;

/// What one line, or one colour, is for.
struct Series {
    name: String,
    colour: String,
    /// Where the trials stand, and their errors.
    trials: Vec<(usize, f64)>,
}

fn title(view: &View<'_>) -> &'static str {
    if view.is_of_errors() { "Error by hyperparameter" } else { "Objective by hyperparameter" }
}

pub(super) fn section(view: &View<'_>) -> Section {
    if view.ranking.is_empty() {
        return Section::without_picture(title(view), "No trial has a result, so there is no error to draw.");
    }
    let Some(across) = across(view) else {
        return Section::without_picture(
            title(view),
            "All trials have the same configuration: no hyperparameter was searched.",
        );
    };
    let (parameter, split) = (&view.parameters[across], split(view, across));
    let sample: Vec<_> =
        view.sample(POINTS_MAX).into_iter().filter(|(trial, _)| parameter.places[*trial].is_some()).collect();
    let as_lines = parameter.values.len() <= LINE_VALUES_MAX;
    let all = series_of(view, split, sample);
    let mut traces: Vec<_> = all.iter().map(|series| trace(view, parameter, series, as_lines)).collect();
    if !as_lines {
        traces.push(median_trace(view, parameter));
    }
    let drawn = || all.iter().flat_map(|series| &series.trials).map(|(_, error)| view.on_axis(*error));
    let (low, high) = (drawn().fold(f64::INFINITY, f64::min), drawn().fold(f64::NEG_INFINITY, f64::max));
    traces.extend(diverged_trace(view, parameter, if view.minimizes() { high } else { low }));
    traces.extend(marked(view, parameter));
    let layout = json!({
        "xaxis": parameter_axis(parameter), "yaxis": value_axis(view, low, high), "showlegend": true,
        "legend": { "title": { "text": split.map(|split| short_label(view.parameters[split].name)).unwrap_or_default() } },
    });
    let picture = Picture { id: "errors".to_owned(), title: None, traces, layout, height: 460 };
    Section { title: title(view), sentence: sentence(view, parameter, split), pictures: vec![picture] }
}

/// The parameter across the picture: a learning rate, or else the most important one with more values than a line has,
/// or else the most important number.
fn across(view: &View<'_>) -> Option<usize> {
    let ordered = view.by_importance();
    let is_rate = |place: &&usize| {
        let parameter = &view.parameters[**place];
        parameter.is_numeric() && (parameter.name.contains("learning_rate") || parameter.name == "lr")
    };
    let find = |fits: &dyn Fn(&Parameter<'_>) -> bool| ordered.iter().find(|place| fits(&view.parameters[**place]));
    let chosen = ordered.iter().find(is_rate).or_else(|| find(&|one| one.is_numeric() && !one.is_discrete()));
    chosen.or_else(|| find(&|one| one.is_numeric())).or_else(|| ordered.first()).copied()
}

/// The parameter whose values have a line each: the most important one with few of them.
fn split(view: &View<'_>, across: usize) -> Option<usize> {
    let fits = |place: &usize| *place != across && view.parameters[*place].is_discrete();
    view.by_importance().into_iter().find(fits)
}

fn series_of(view: &View<'_>, split: Option<usize>, sample: Vec<(usize, f64)>) -> Vec<Series> {
    let Some(split) = split.map(|split| &view.parameters[split]) else {
        return vec![Series { name: "trials".to_owned(), colour: series(0), trials: sample }];
    };
    let mut all: Vec<_> = (0..split.values.len())
        .map(|place| Series {
            name: label(&split.shown(place)),
            // What has an order has colours in order, the largest value the strongest.
            colour: if split.is_numeric() { on_scale(0.9 * (1.0 - split.share(place))) } else { series(place) },
            trials: Vec::new(),
        })
        .collect();
    for (trial, error) in sample {
        if let Some(place) = split.places[trial] {
            all[place].trials.push((trial, error));
        }
    }
    all.retain(|series| !series.trials.is_empty());
    all
}

fn trace(view: &View<'_>, parameter: &Parameter<'_>, series: &Series, as_lines: bool) -> Value {
    if as_lines {
        return line_trace(view, parameter, series);
    }
    let position = |trial: usize| parameter.position(parameter.places[trial].unwrap_or_default());
    let texts = series.trials.iter().map(|(trial, error)| view.point_text(*trial, &view.value_text(*error)));
    json!({
        "type": "scatter", "mode": "markers", "name": series.name,
        "x": numbers(series.trials.iter().map(|(trial, _)| position(*trial))),
        "y": numbers(series.trials.iter().map(|(_, error)| view.on_axis(*error))),
        "text": texts.collect::<Vec<_>>(), "hovertemplate": "%{text}<extra></extra>",
        "marker": { "color": series.colour, "size": 6, "opacity": 0.75 },
    })
}

/// A line through the medians at each value, where one configuration may have several trials.
fn line_trace(view: &View<'_>, parameter: &Parameter<'_>, series: &Series) -> Value {
    let mut at_value: BTreeMap<usize, Vec<(f64, usize)>> = BTreeMap::new();
    for (trial, error) in &series.trials {
        at_value.entry(parameter.places[*trial].unwrap_or_default()).or_default().push((*error, *trial));
    }
    let (mut xs, mut ys, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for (place, mut trials) in at_value {
        trials.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let sorted: Vec<_> = trials.iter().map(|(error, _)| *error).collect();
        let Some([_, median, _]) = quartiles(&sorted) else { continue };
        xs.push(parameter.position(place));
        ys.push(view.on_axis(median));
        texts.push(if let [(error, trial)] = trials[..] {
            view.point_text(trial, &view.value_text(error))
        } else {
            let about = format!("{}, median of {}", view.value_text(median), counted(trials.len() as u64, "trial"));
            format!("{about}<br>{}={}", label(parameter.name), label(&parameter.shown(place)))
        });
    }
    json!({
        "type": "scatter", "mode": "lines+markers", "name": series.name, "x": numbers(xs), "y": numbers(ys),
        "text": texts, "hovertemplate": "%{text}<extra></extra>",
        "line": { "color": series.colour, "width": 2 }, "marker": { "color": series.colour, "size": 7 },
    })
}

/// The median of groups of equally many trials, from the lowest value to the highest.
fn median_trace(view: &View<'_>, parameter: &Parameter<'_>) -> Value {
    let mut trials: Vec<_> =
        view.ranking.iter().filter_map(|(trial, error)| Some((parameter.places[*trial]?, *error))).collect();
    trials.sort_by_key(|(place, _)| *place);
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for group in trials.chunks(trials.len().div_ceil(GROUPS).max(1)) {
        let mut errors: Vec<_> = group.iter().map(|(_, error)| *error).collect();
        errors.sort_by(f64::total_cmp);
        xs.push(parameter.position(group[group.len() / 2].0));
        ys.extend(quartiles(&errors).map(|[_, median, _]| view.on_axis(median)));
    }
    json!({
        "type": "scatter", "mode": "lines", "name": "median", "x": numbers(xs), "y": numbers(ys),
        "hoverinfo": "skip", "line": { "color": "@ink", "width": 2, "dash": "dot" },
    })
}

/// Crosses at the worse end, where the diverged trials' values would be.
fn diverged_trace(view: &View<'_>, parameter: &Parameter<'_>, worst: f64) -> Option<Value> {
    let step = view.diverged.len().div_ceil(DIVERGED_MAX).max(1);
    let shown: Vec<_> = view.diverged.iter().copied().step_by(step).collect();
    let at = |trial: &usize| Some(parameter.position(parameter.places[*trial]?));
    (!shown.is_empty()).then(|| {
        json!({
            "type": "scatter", "mode": "markers", "name": "diverged",
            "x": numbers(shown.iter().filter_map(at)), "y": numbers(shown.iter().filter_map(at).map(|_| worst)),
            "text": shown.iter().map(|trial| view.point_text(*trial, "diverged")).collect::<Vec<_>>(),
            "hovertemplate": "%{text}<extra></extra>",
            "marker": { "color": "@bad", "symbol": "x", "size": 9 },
        })
    })
}

/// The best trial and the control, over all else.
fn marked(view: &View<'_>, parameter: &Parameter<'_>) -> Vec<Value> {
    let best = view.ranking.first().copied().map(|trial| (trial, "best", "star", "@best"));
    let control = view.ranking.iter().copied().find(|(trial, _)| Some(*trial) == view.control());
    let control = control.map(|trial| (trial, "control", "diamond", "@control"));
    let marks = best.into_iter().chain(control);
    let mark = |((trial, error), name, symbol, colour): ((usize, f64), &str, &str, &str)| {
        let position = parameter.position(parameter.places[trial]?);
        Some(json!({
            "type": "scatter", "mode": "markers", "name": name,
            "x": [number(position)], "y": [number(view.on_axis(error))],
            "text": [view.point_text(trial, &view.value_text(error))], "hovertemplate": "%{text}<extra></extra>",
            "marker": { "color": colour, "symbol": symbol, "size": 14, "line": { "color": "@paper", "width": 1.5 } },
        }))
    };
    marks.filter_map(mark).collect()
}

fn sentence(view: &View<'_>, parameter: &Parameter<'_>, split: Option<usize>) -> String {
    let (best, error) = view.ranking[0];
    let name = html(parameter.name);
    let at = parameter.places[best].map(|place| format!(" at {name} = {}", html(&parameter.shown(place))));
    let lines = split.map(|split| format!(", by {}", html(view.parameters[split].name))).unwrap_or_default();
    let way = if parameter.scale == Scale::Words { "each" } else { "the" };
    let mut sentence = format!(
        "The {} against {way} {name}{lines}: the {}, {}, is that of {}{}.",
        view.objective_name(),
        if view.minimizes() { "lowest" } else { "highest" },
        view.value_text(error),
        view.trial_name(best),
        at.unwrap_or_default(),
    );
    if !view.diverged.is_empty() {
        let end = if view.minimizes() { "top" } else { "bottom" };
        sentence.extend([match view.diverged.len() {
            1 => format!(" The cross at the {end} is the trial that diverged."),
            count => format!(" Crosses at the {end} are the {count} trials that diverged."),
        }]);
    }
    if view.ranking.len() > POINTS_MAX {
        sentence.extend([format!(
            " Of {} trials, the best {} and an even sample of the others are drawn.",
            view.ranking.len(),
            POINTS_MAX / 2
        )]);
    }
    sentence
}
