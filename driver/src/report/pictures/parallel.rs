//! Parallel coordinates, lying down: an axis a row, so that names have room and a narrow screen will do. Each trial is a
//! line from the top row to the error at the bottom.
//!
//! Drawn as plain lines. Plotly's own `parcoords` needs WebGL, which a browser without a graphics card may lack.

use serde_json::{Value, json};

use super::super::parameters::{Parameter, linear_ticks, logarithmic_ticks};
use super::super::picture::{Picture, Section, on_scale};
use super::super::text::{label, number, short};
use super::super::view::View;

const TITLE: &str = "Parallel coordinates";
/// Lines in the picture.
const LINES_MAX: usize = 600;
/// Parameters with an axis: the most important ones.
const AXES_MAX: usize = 10;
/// Shades of lines, from the best to the worst.
const SHADES: usize = 20;
/// How far the lines of one value are spread, the best to the left: a share of the axis.
const SPREAD: f64 = 0.03;
/// Diverged trials with a line.
const DIVERGED_MAX: usize = 60;
/// Pixels from axis to axis.
const ROW_HEIGHT: u32 = 64;

/// The axis of what ranks, from the best value to the worst.
struct ValueAxis {
    best: f64,
    worst: f64,
    logarithmic: bool,
}

impl ValueAxis {
    fn new(best: f64, worst: f64) -> Self {
        let (low, high) = (best.min(worst), best.max(worst));
        Self { best, worst, logarithmic: low > 0.0 && high / low > 10.0 }
    }

    fn share(&self, value: f64) -> f64 {
        let along = |value: f64| if self.logarithmic { libm::log(value) } else { value };
        let (best, worst) = (along(self.best), along(self.worst));
        let share = (along(value) - best) / (worst - best);
        if share.is_finite() { share } else { 0.5 }
    }

    fn ticks(&self) -> Vec<f64> {
        let (low, high) = (self.best.min(self.worst), self.best.max(self.worst));
        if self.logarithmic { logarithmic_ticks(low, high) } else { linear_ticks(low, high) }
    }
}

pub(super) fn section(view: &View<'_>) -> Section {
    let axes: Vec<&Parameter<'_>> =
        view.by_importance().into_iter().take(AXES_MAX).map(|place| &view.parameters[place]).collect();
    let ([(_, best), .., (_, worst)], false) = (&view.ranking[..], axes.is_empty()) else {
        return Section::without_picture(
            TITLE,
            "It takes two trials with results, and a searched hyperparameter, to compare.",
        );
    };
    let values = ValueAxis::new(*best, *worst);
    let sample = view.sample(LINES_MAX);
    let mut traces = diverged_traces(view, &axes);
    traces.extend(shade_traces(&axes, &values, &sample));
    traces.extend(marked(view, &axes, &values));
    let rows = axes.len() as u32 + 1;
    let layout = json!({
        "xaxis": { "visible": false, "range": [-0.06, 1.06], "fixedrange": true },
        "yaxis": { "visible": false, "range": [axes.len() as f64 + 0.45, -0.55], "fixedrange": true },
        "shapes": (0..rows).map(axis_line).collect::<Vec<_>>(),
        "annotations": annotations(view, &axes, &values),
        "showlegend": true, "hovermode": "closest", "legend": { "traceorder": "reversed" },
        "margin": { "l": 16, "r": 16, "t": 12, "b": 4 },
    });
    let picture = Picture { id: "parallel".to_owned(), title: None, traces, layout, height: 70 + rows * ROW_HEIGHT };
    Section { title: TITLE, sentence: sentence(view, sample.len()), pictures: vec![picture] }
}

/// Where the line of a trial crosses each axis, from the top.
fn crossings(axes: &[&Parameter<'_>], trial: usize, quantile: f64) -> Vec<Option<f64>> {
    let crossing = |axis: &&Parameter<'_>| {
        let spread = if axis.is_discrete() { SPREAD * (quantile - 0.5) } else { 0.0 };
        axis.places[trial].map(|place| axis.share(place) + spread)
    };
    axes.iter().map(crossing).collect()
}

/// One trace a shade, the worst first, so that the best lie on top.
fn shade_traces(axes: &[&Parameter<'_>], values: &ValueAxis, sample: &[(usize, f64)]) -> Vec<Value> {
    let mut traces = Vec::new();
    for shade in (0..SHADES).rev() {
        let (first, end) = (shade * sample.len() / SHADES, (shade + 1) * sample.len() / SHADES);
        let mut points = Vec::new();
        for rank in (first..end).rev() {
            let (trial, error) = sample[rank];
            let crossings = crossings(axes, trial, rank as f64 / sample.len() as f64);
            points.extend(line(crossings.into_iter().chain([Some(values.share(error))])));
        }
        if !points.is_empty() {
            let share = shade as f64 / (SHADES - 1) as f64;
            let style = json!({ "color": on_scale(share), "width": if sample.len() > 200 { 0.8 } else { 1.2 } });
            traces.push(lines_trace(&points, &style, 0.9 - 0.35 * share));
        }
    }
    traces
}

/// The points of one line, and a gap after them; none where a value is missing.
fn line(crossings: impl Iterator<Item = Option<f64>>) -> Vec<Option<(f64, usize)>> {
    let points = crossings.enumerate().map(|(row, crossing)| crossing.map(|x| (x, row)));
    points.chain([None]).collect()
}

fn lines_trace(points: &[Option<(f64, usize)>], style: &Value, opacity: f64) -> Value {
    let xs: Vec<_> = points.iter().map(|point| point.map_or(Value::Null, |(x, _)| number(x))).collect();
    let ys: Vec<_> = points.iter().map(|point| point.map(|(_, row)| row)).collect();
    json!({
        "type": "scatter", "mode": "lines", "x": xs, "y": ys, "line": style, "opacity": opacity,
        "hoverinfo": "skip", "showlegend": false,
    })
}

/// Diverged trials end before the error.
fn diverged_traces(view: &View<'_>, axes: &[&Parameter<'_>]) -> Vec<Value> {
    let step = view.diverged.len().div_ceil(DIVERGED_MAX).max(1);
    let lines = view.diverged.iter().step_by(step).flat_map(|trial| line(crossings(axes, *trial, 1.0).into_iter()));
    let points: Vec<_> = lines.collect();
    if points.is_empty() {
        return Vec::new();
    }
    let mut trace = lines_trace(&points, &json!({ "color": "@bad", "width": 1.2, "dash": "dot" }), 0.7);
    trace["name"] = "diverged".into();
    trace["showlegend"] = true.into();
    vec![trace]
}

/// The control and the best, over all others.
fn marked(view: &View<'_>, axes: &[&Parameter<'_>], values: &ValueAxis) -> Vec<Value> {
    let best = view.ranking.first().map(|trial| (*trial, "best", "@best"));
    let control = view.ranking.iter().find(|(trial, _)| Some(*trial) == view.control());
    let control = control.map(|trial| (*trial, "control", "@control"));
    let mark = |((trial, error), name, colour): ((usize, f64), &str, &str)| {
        let points = line(crossings(axes, trial, 0.5).into_iter().chain([Some(values.share(error))]));
        let mut trace = lines_trace(&points, &json!({ "color": colour, "width": 3 }), 1.0);
        trace["mode"] = "lines+markers".into();
        trace["marker"] = json!({ "color": colour, "size": 8 });
        trace["name"] = name.into();
        trace["showlegend"] = true.into();
        trace["text"] = vec![view.point_text(trial, &view.value_text(error)); points.len()].into();
        trace["hoverinfo"] = "text".into();
        trace
    };
    control.into_iter().chain(best).map(mark).collect()
}

fn axis_line(row: u32) -> Value {
    json!({
        "type": "line", "x0": 0, "x1": 1, "y0": row, "y1": row, "layer": "below",
        "line": { "color": "@axis", "width": 1 },
    })
}

/// Names above the axes, ticks below.
fn annotations(view: &View<'_>, axes: &[&Parameter<'_>], values: &ValueAxis) -> Vec<Value> {
    let name = |row: usize, text: String| {
        json!({
            "x": 0, "y": row, "text": format!("<b>{text}</b>"), "showarrow": false, "xanchor": "left",
            "yanchor": "bottom", "yshift": 5, "bgcolor": "@veil", "font": { "color": "@ink", "size": 13 },
        })
    };
    let tick = |row: usize, x: f64, text: String| {
        json!({
            "x": number(x), "y": row, "text": text, "showarrow": false, "yanchor": "top", "yshift": -2,
            "bgcolor": "@veil", "font": { "color": "@muted", "size": 11 },
        })
    };
    let mut all = Vec::new();
    for (row, axis) in axes.iter().enumerate() {
        all.push(name(row, label(axis.name)));
        all.extend(axis.ticks().into_iter().map(|(at, text)| tick(row, axis.share_of(at), label(&text))));
    }
    all.push(name(axes.len(), view.objective_name()));
    let ticks = values.ticks().into_iter();
    all.extend(ticks.map(|at| tick(axes.len(), values.share(at), value_tick(view, at))));
    all
}

fn value_tick(view: &View<'_>, value: f64) -> String {
    if view.is_percent() { format!("{} %", short(value * 100.0)) } else { short(value) }
}

fn sentence(view: &View<'_>, drawn: usize) -> String {
    let mut sentence = format!(
        "Each line is a trial, from its values down to its {}: strong lines are the best trials, faint ones the worst.",
        view.objective_name()
    );
    if drawn < view.ranking.len() {
        sentence.extend([format!(
            " The best and an even sample of the others are drawn, {drawn} of {}.",
            view.ranking.len()
        )]);
    }
    if view.parameters.len() > AXES_MAX {
        sentence.extend([format!(" {} of {} hyperparameters are shown.", AXES_MAX, view.parameters.len())]);
    }
    sentence
}
