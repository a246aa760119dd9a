//! Learning curves: what ranks after each epoch, with the best trials and the control before the others.

use serde_json::{Value, json};

use super::super::picture::{Picture, Section, on_scale, value_axis};
use super::super::text::{number, numbers};
use super::super::view::View;
use crate::records::run::TrialOutcome;
use crate::results::show::counted;

const TITLE: &str = "Learning curves";
/// Trials with a curve and a colour of its own, besides the control.
const BEST_MAX: usize = 8;
/// Trials with a faint curve.
const OTHERS_MAX: usize = 60;
/// Points of one curve; of more epochs, an even sample that has the last one.
const POINTS_MAX: u32 = 100;
/// Epochs that the axis names.
const TICKS_MAX: usize = 10;

pub(super) fn section(view: &View<'_>) -> Section {
    let paused = paused(view);
    let measured = view.ranking.iter().map(|(trial, _)| *trial).chain(paused.iter().copied());
    let epochs = measured.map(|trial| view.run.trials[trial].curves.epochs()).max().unwrap_or_default();
    if epochs < 2 {
        return Section::without_picture(TITLE, "No trial with a result has a second epoch, so there is no curve.");
    }
    let count = view.ranking.len().min(BEST_MAX);
    let best = &view.ranking[..count];
    let rest = &view.ranking[count..];
    let others = sample(&rest.iter().map(|(trial, _)| *trial).collect::<Vec<_>>());
    let stopped = sample(&paused);
    let control = view.control().filter(|control| view.ranking.iter().any(|(trial, _)| trial == control));
    let mut traces: Vec<_> = stopped_traces(view, &stopped);
    traces.extend(others_trace(view, &others));
    for (rank, (trial, _)) in best.iter().enumerate().rev().filter(|(_, (trial, _))| Some(*trial) != control) {
        let colour = if rank == 0 { "@best".to_owned() } else { on_scale(0.6 * rank as f64 / count as f64) };
        let width = if rank == 0 { 3.0 } else { 1.5 };
        traces.extend(curve(view, *trial, &json!({ "color": colour, "width": width })));
    }
    traces.extend(control.and_then(|trial| curve(view, trial, &json!({ "color": "@control", "width": 3 }))));
    let errors = || {
        let drawn = best.iter().map(|(trial, _)| *trial).chain(others.iter().chain(&stopped).copied()).chain(control);
        drawn.flat_map(|trial| points(view, trial)).map(|(_, error)| error)
    };
    let (low, high) = (errors().fold(f64::INFINITY, f64::min), errors().fold(f64::NEG_INFINITY, f64::max));
    // Whole epochs apart: between the first two, rounded ticks would all read 1 or 2.
    let tick = (epochs as usize).div_ceil(TICKS_MAX);
    let layout = json!({
        "xaxis": { "title": { "text": "epoch" }, "zeroline": false, "tickformat": "d", "tick0": 0, "dtick": tick },
        "yaxis": value_axis(view, low, high), "showlegend": true, "hovermode": "closest",
        "legend": { "traceorder": "reversed" },
    });
    let picture = Picture { id: "curves".to_owned(), title: None, traces, layout, height: 440 };
    Section {
        title: TITLE,
        sentence: sentence(view, count, &others, (&stopped, paused.len()), control),
        pictures: vec![picture],
    }
}

/// The trials that paused and were not continued, those that came farthest first.
fn paused(view: &View<'_>) -> Vec<usize> {
    let is_paused = |place: &usize| matches!(view.run.trials[*place].outcome, TrialOutcome::Paused { .. });
    let mut paused: Vec<_> = (0..view.run.trials.len()).filter(is_paused).collect();
    paused.sort_by_key(|place| std::cmp::Reverse(view.run.trials[*place].curves.epochs()));
    paused
}

/// An even sample.
fn sample(trials: &[usize]) -> Vec<usize> {
    trials.iter().copied().step_by(trials.len().div_ceil(OTHERS_MAX).max(1)).collect()
}

fn points(view: &View<'_>, trial: usize) -> Vec<(u32, f64)> {
    let curves = &view.run.trials[trial].curves;
    let step = curves.epochs().div_ceil(POINTS_MAX).max(1);
    // Counted from the end, so that the last epoch is there.
    let chosen = (1..=curves.epochs()).filter(|epoch| (curves.epochs() - epoch).is_multiple_of(step));
    let value = |epoch| curves.get(epoch, &view.run.objective().metric).filter(|value| value.is_finite());
    chosen.filter_map(|epoch| Some((epoch, view.on_axis(value(epoch)?)))).collect()
}

fn curve(view: &View<'_>, trial: usize, line: &Value) -> Option<Value> {
    let points = points(view, trial);
    let name = if Some(trial) == view.control() { "control".to_owned() } else { view.trial_name(trial) };
    let about = view.run.value_of(&view.run.trials[trial]).map(|value| view.value_text(value))?;
    Some(json!({
        "type": "scatter", "mode": if points.len() < 20 { "lines+markers" } else { "lines" }, "name": name,
        "x": points.iter().map(|(epoch, _)| epoch).collect::<Vec<_>>(),
        "y": numbers(points.iter().map(|(_, error)| *error)),
        "text": view.point_text(trial, &about),
        "hovertemplate": "epoch %{x}: %{y}<br>%{text}<extra></extra>", "line": line, "marker": { "size": 5 },
    }))
}

/// All other curves in one trace, with gaps between them.
fn others_trace(view: &View<'_>, others: &[usize]) -> Option<Value> {
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for trial in others {
        for (epoch, error) in points(view, *trial) {
            xs.push(Some(epoch));
            ys.push(number(error));
        }
        xs.push(None);
        ys.push(Value::Null);
    }
    (!others.is_empty()).then(|| {
        json!({
            "type": "scatter", "mode": "lines", "name": "others", "x": xs, "y": ys, "hoverinfo": "skip",
            "line": { "color": "@faint", "width": 1 },
        })
    })
}

/// The curves of trials that paused, as far as they go: dotted, in one trace with gaps, and a mark where each ends.
fn stopped_traces(view: &View<'_>, stopped: &[usize]) -> Vec<Value> {
    let (mut xs, mut ys, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for trial in stopped {
        let points = points(view, *trial);
        for (epoch, error) in &points {
            xs.push(Some(*epoch));
            ys.push(number(*error));
        }
        xs.push(None);
        ys.push(Value::Null);
        ends.extend(points.last().map(|(epoch, value)| (*trial, *epoch, *value)));
    }
    if ends.is_empty() {
        return Vec::new();
    }
    let value = |trial: usize, epoch: u32| view.run.trials[trial].curves.get(epoch, &view.run.objective().metric);
    let text = |(trial, epoch, _): &(usize, u32, f64)| {
        let value = value(*trial, *epoch).map(|value| view.value_text(value)).unwrap_or_default();
        view.point_text(*trial, &format!("paused after epoch {epoch}: {value}"))
    };
    let lines = json!({
        "type": "scatter", "mode": "lines", "name": "paused", "x": xs, "y": ys, "hoverinfo": "skip", "showlegend": false,
        "legendgroup": "paused", "line": { "color": "@muted", "width": 1, "dash": "dot" },
    });
    let marks = json!({
        "type": "scatter", "mode": "markers", "name": "paused", "legendgroup": "paused",
        "x": ends.iter().map(|(_, epoch, _)| epoch).collect::<Vec<_>>(),
        "y": numbers(ends.iter().map(|(_, _, value)| *value)), "text": ends.iter().map(text).collect::<Vec<_>>(),
        "hovertemplate": "%{text}<extra></extra>",
        "marker": { "color": "@muted", "size": 5, "symbol": "circle-open" },
    });
    vec![lines, marks]
}

fn sentence(
    view: &View<'_>,
    best: usize,
    others: &[usize],
    (stopped, paused): (&[usize], usize),
    control: Option<usize>,
) -> String {
    let shown = match others.len() {
        0 => "Each trial with a result".to_owned(),
        _ => format!("The best {best}, and {} in the background", counted(others.len() as u64, "other trial")),
    };
    let mut sentence = format!("{shown}: the {} after each epoch.", view.objective_name());
    if paused > 0 {
        let shown = if stopped.len() < paused { format!("{} of ", stopped.len()) } else { String::new() };
        let trials = counted(paused as u64, "trial");
        sentence.extend([format!(" Dotted are {shown}{trials} that paused, as far as they were trained.")]);
    }
    let Some(control) = control else { return sentence };
    let (Some((_, to_beat)), Some((best, _))) = (points(view, control).last().copied(), view.ranking.first()) else {
        return sentence;
    };
    let passed = points(view, *best).into_iter().find(|(_, value)| view.is_better(*value, to_beat));
    if let Some((epoch, _)) = passed.filter(|_| *best != control) {
        let (name, last) = (view.trial_name(*best), view.run.trials[control].curves.epochs());
        let epochs = counted(last as u64, "epoch");
        let beyond = if view.minimizes() { "below" } else { "above" };
        sentence.extend([format!(" {name} is {beyond} what the control reaches in {epochs} after epoch {epoch}.")]);
        sentence = sentence.replace(". trial", ". Trial");
    }
    sentence
}
