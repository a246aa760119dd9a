//! What a pruner stopped: a column of trials for each rung, the line that decided, and below it where the epochs went.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::picture::{Picture, Section, on_scale, value_axis};
use super::super::rungs::{JudgedRung, JudgedTrial, Rungs};
use super::super::text::{number, numbers};
use super::super::view::View;
use crate::records::run::TrialOutcome;
use crate::results::show::counted;

const TITLE: &str = "What the pruner stopped";
/// Columns in the picture.
const COLUMNS_MAX: usize = 16;
/// Trials of a column: of more, the best half and an even sample of the others.
const TRIALS_MAX: usize = 240;
/// Trials whose way from rung to rung is drawn.
const WAYS_MAX: usize = 30;
/// How far a column reaches to each side; columns are 1 apart.
const HALF_WIDTH: f64 = 0.32;
/// The golden ratio: places by its multiples fill a column evenly, however many there are.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// A section, where a pruner was at work.
pub(super) fn section(view: &View<'_>) -> Option<Section> {
    let rungs = view.rungs.as_ref()?;
    let columns = columns(view, rungs);
    let values = || columns.iter().flat_map(|column| &column.trials).filter_map(|trial| trial.value);
    let on_axis = || values().map(|value| view.on_axis(value));
    let (low, high) = (on_axis().fold(f64::INFINITY, f64::min), on_axis().fold(f64::NEG_INFINITY, f64::max));
    let mut traces: Vec<_> = ways(view, &columns).into_iter().collect();
    traces.extend(points(view, &columns, Kind::Stopped));
    traces.extend(points(view, &columns, Kind::WentOn));
    traces.extend(points(view, &columns, Kind::InFull));
    traces.extend(thresholds(view, &columns));
    traces.extend(epochs(view));
    let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
    let places = numbers((0..columns.len()).map(|place| place as f64));
    let mut values = value_axis(view, low, high);
    // Names of three lines stand between the two panels, or of two.
    values["domain"] = json!([if rungs.has_brackets { 0.31 } else { 0.27 }, 1]);
    let layout = json!({
        "xaxis": {
            "tickvals": places, "ticktext": names, "range": [-0.5, number(columns.len() as f64 - 0.5)], "anchor": "y",
            "zeroline": false, "showgrid": false,
        },
        "yaxis": values,
        "xaxis2": { "title": { "text": "epochs" }, "anchor": "y2", "zeroline": false, "rangemode": "tozero" },
        "yaxis2": {
            "tickvals": [0, 1], "ticktext": ["in full", "trained"], "domain": [0, 0.13], "range": [-0.5, 1.5],
            "anchor": "x2", "showgrid": false, "zeroline": false,
        },
        "barmode": "stack", "showlegend": true, "hovermode": "closest",
    });
    let picture = Picture { id: "rungs".to_owned(), title: None, traces, layout, height: 520 };
    Some(Section { title: TITLE, sentence: sentence(view, rungs), pictures: vec![picture] })
}

/// The trials at a rung, or those at their end.
struct RungColumn {
    name: String,
    trials: Vec<JudgedTrial>,
    threshold: Option<f64>,
    is_end: bool,
}

fn columns(view: &View<'_>, rungs: &Rungs) -> Vec<RungColumn> {
    let of_rung = |rung: &JudgedRung| {
        let bracket = if rungs.has_brackets { format!("<br>bracket {}", rung.bracket + 1) } else { String::new() };
        RungColumn {
            name: format!("epoch {}<br>{} of {}{bracket}", rung.epoch, rung.count_on(), rung.trials.len()),
            trials: rung.trials.clone(),
            threshold: rung.threshold().map(|(line, _)| line),
            is_end: false,
        }
    };
    let mut columns: Vec<_> = rungs.judged.iter().take(COLUMNS_MAX).map(of_rung).collect();
    let ended = view.ranking.iter();
    let trials: Vec<_> =
        ended.map(|(place, value)| JudgedTrial { place: *place, value: Some(*value), went_on: true }).collect();
    if !trials.is_empty() {
        let name = format!("the end<br>{}", trials.len());
        columns.push(RungColumn { name, trials, threshold: None, is_end: true });
    }
    columns
}

/// Where a trial stands in its column: always at the same place.
fn beside(place: usize) -> f64 {
    let along = (place as f64 * GOLDEN).fract();
    (2.0 * along - 1.0) * HALF_WIDTH
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stopped,
    WentOn,
    InFull,
}

impl Kind {
    fn is_of(self, column: &RungColumn, trial: &JudgedTrial) -> bool {
        match self {
            Self::Stopped => !trial.went_on,
            Self::WentOn => trial.went_on && !column.is_end,
            Self::InFull => column.is_end,
        }
    }
}

/// The trials of a kind, in all columns.
fn points(view: &View<'_>, columns: &[RungColumn], kind: Kind) -> Option<Value> {
    let (mut xs, mut ys, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for (number_of_column, column) in columns.iter().enumerate() {
        for trial in sample(&column.trials) {
            let Some(value) = trial.value.filter(|_| kind.is_of(column, trial)) else { continue };
            xs.push(number_of_column as f64 + beside(trial.place));
            ys.push(view.on_axis(value));
            texts.push(view.point_text(trial.place, &view.value_text(value)));
        }
    }
    let (name, marker) = match kind {
        Kind::Stopped => ("stopped", json!({ "color": "@muted", "size": 6, "symbol": "circle-open" })),
        Kind::WentOn => ("went on", json!({ "color": "@series-0", "size": 7 })),
        Kind::InFull => ("trained to the end", json!({ "color": "@best", "size": 9, "symbol": "diamond" })),
    };
    (!xs.is_empty()).then(|| {
        json!({
            "type": "scatter", "mode": "markers", "name": name, "x": numbers(xs), "y": numbers(ys), "text": texts,
            "hovertemplate": "%{text}<extra></extra>", "marker": marker,
        })
    })
}

fn sample(trials: &[JudgedTrial]) -> impl Iterator<Item = &JudgedTrial> {
    let (best, others) = trials.split_at(trials.len().min(TRIALS_MAX / 2));
    best.iter().chain(others.iter().step_by(others.len().div_ceil(TRIALS_MAX / 2).max(1)))
}

/// The value that divides best those that went on from those that stopped, at each rung.
fn thresholds(view: &View<'_>, columns: &[RungColumn]) -> Option<Value> {
    let (mut xs, mut ys, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for (place, column) in columns.iter().enumerate() {
        let Some(threshold) = column.threshold else { continue };
        let (place, shown) = (place as f64, number(view.on_axis(threshold)));
        xs.extend([number(place - 0.44), number(place + 0.44), Value::Null]);
        ys.extend([shown.clone(), shown, Value::Null]);
        let text = format!("threshold: {}", view.value_text(threshold));
        texts.extend([text.clone(), text, String::new()]);
    }
    (!xs.is_empty()).then(|| {
        json!({
            "type": "scatter", "mode": "lines", "name": "threshold", "x": xs, "y": ys, "text": texts,
            "hovertemplate": "%{text}<extra></extra>", "line": { "color": "@control", "width": 2.5 },
        })
    })
}

/// The way of the best trials from rung to rung, as one trace with gaps.
fn ways(view: &View<'_>, columns: &[RungColumn]) -> Option<Value> {
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for (best, _) in view.ranking.iter().take(WAYS_MAX) {
        for (place, column) in columns.iter().enumerate() {
            let Some(trial) = column.trials.iter().find(|trial| trial.place == *best) else { continue };
            xs.push(number(place as f64 + beside(*best)));
            ys.push(trial.value.map_or(Value::Null, |value| number(view.on_axis(value))));
        }
        xs.push(Value::Null);
        ys.push(Value::Null);
    }
    (!xs.is_empty()).then(|| {
        json!({
            "type": "scatter", "mode": "lines", "x": xs, "y": ys, "hoverinfo": "skip", "showlegend": false,
            "line": { "color": "@faint", "width": 1 },
        })
    })
}

/// Where the trained epochs went, by where trials stopped, beside what all would have taken.
fn epochs(view: &View<'_>) -> Vec<Value> {
    let Some(rungs) = &view.rungs else { return Vec::new() };
    // The end comes behind all rungs, and what failed behind that.
    let mut parts: BTreeMap<(u8, u32), (u64, usize)> = BTreeMap::new();
    for trial in &view.run.trials {
        let key = match trial.outcome {
            TrialOutcome::Paused { epoch } => (0, epoch),
            TrialOutcome::Finished { .. } => (1, 0),
            TrialOutcome::Diverged { .. }
            | TrialOutcome::GivenUp { .. }
            | TrialOutcome::NotRun
            | TrialOutcome::LeftOut => (2, 0),
        };
        let part = parts.entry(key).or_default();
        part.0 += u64::from(trial.curves.epochs());
        part.1 += usize::from(trial.attempts > 0);
    }
    parts.retain(|_, (epochs, _)| *epochs > 0);
    let last = parts.len().saturating_sub(1).max(1) as f64;
    let bar = |row: u8, epochs: u64, colour: String, text: String| {
        json!({
            "type": "bar", "orientation": "h", "xaxis": "x2", "yaxis": "y2", "x": [epochs], "y": [row],
            "marker": { "color": colour }, "width": 0.72, "text": text, "textposition": "none",
            "hovertemplate": "%{text}<extra></extra>", "showlegend": false,
        })
    };
    let bars = parts.iter().enumerate().map(|(place, ((kind, epoch), (epochs, trials)))| {
        let (colour, what) = match kind {
            0 => (on_scale(1.0 - 0.75 * place as f64 / last), format!("stopped after epoch {epoch}")),
            1 => ("@best".to_owned(), "trained to the end".to_owned()),
            _ => ("@bad".to_owned(), "diverged, given up, or not over".to_owned()),
        };
        let text = format!("{what}: {}<br>{}", counted(*trials as u64, "trial"), counted(*epochs, "epoch"));
        bar(1, *epochs, colour, text)
    });
    let mut bars: Vec<_> = bars.collect();
    let text = format!("all {} in full: {}", rungs.begun, counted(rungs.epochs_in_full, "epoch"));
    bars.push(bar(0, rungs.epochs_in_full, "@axis".to_owned(), text));
    bars
}

fn sentence(view: &View<'_>, rungs: &Rungs) -> String {
    let mut sentence = rungs.sentence(view.run.is_over());
    if let Some(first) = sentence.get(..1) {
        sentence.replace_range(..1, &first.to_uppercase());
    }
    sentence.push_str(
        " Each column has the trials that paused after that epoch, and below it how many of them went on; the line divides \
         these from the others as well as one value can.",
    );
    let wrong: usize = rungs.judged.iter().filter_map(JudgedRung::threshold).map(|(_, wrong)| wrong).sum();
    if wrong > 0 {
        let (who, were) = (counted(wrong as u64, "point"), if wrong == 1 { "is" } else { "are" });
        sentence.extend([format!(" {who} {were} on its wrong side: each was judged by what was known by then, and by what was expected of it in the end.")]);
    }
    if rungs.has_brackets {
        sentence.push_str(" Each bracket is judged by itself.");
    }
    if rungs.judged.len() > COLUMNS_MAX {
        sentence.extend([format!(" {COLUMNS_MAX} of {} rungs are drawn.", rungs.judged.len())]);
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::super::super::rungs::tests::{climbed, pruned};
    use super::*;
    use crate::records::run::RunRecord;

    fn drawn(record: &RunRecord) -> Section {
        section(&View::of(record)).expect("there are rungs")
    }

    fn of<'a>(section: &'a Section, name: &str) -> &'a Value {
        section.pictures[0].traces.iter().find(|trace| trace["name"] == name).expect("it is drawn")
    }

    #[test]
    fn each_trial_stands_in_the_column_of_each_rung_that_it_came_to() {
        let record = pruned();
        let section = drawn(&record);
        let columns = |name: &str| -> Vec<i64> {
            of(&section, name)["x"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap().round() as i64).collect()
        };
        assert_eq!(columns("stopped"), [0, 0, 0, 1]);
        assert_eq!(columns("went on"), [0, 0, 1]);
        assert_eq!(columns("trained to the end"), [2]);
        assert_eq!(of(&section, "threshold")["y"], json!([20.0, 20.0, null, 10.0, 10.0, null]));
        let names = &section.pictures[0].layout["xaxis"]["ticktext"];
        assert_eq!(*names, json!(["epoch 1<br>2 of 5", "epoch 4<br>1 of 2", "the end<br>1"]));
        let text = of(&section, "stopped")["text"][0].as_str().unwrap();
        assert!(text.starts_with("trial 5<br>25.00 %<br>fc1="), "{text}");
    }

    #[test]
    fn the_bars_are_as_long_as_the_epochs() {
        let section = drawn(&pruned());
        let bars: Vec<_> = section.pictures[0].traces.iter().filter(|trace| trace["type"] == "bar").collect();
        let lengths: Vec<_> = bars.iter().map(|bar| (bar["y"][0].as_u64(), bar["x"][0].as_u64())).collect();
        let length = |row, epochs| (Some(row), Some(epochs));
        assert_eq!(lengths, [length(1, 3), length(1, 4), length(1, 8), length(0, 40)]);
        assert_eq!(bars[0]["text"], "stopped after epoch 1: 3 trials<br>3 epochs");
    }

    #[test]
    fn the_sentence_says_what_it_came_to_and_what_no_line_divides() {
        let sentence = drawn(&pruned()).sentence;
        assert!(sentence.starts_with("Asha trained 6 configurations with 38 % of the epochs"), "{sentence}");
        assert!(sentence.contains(" 1 point is on its wrong side: "), "{sentence}");
    }

    #[test]
    fn a_column_is_bounded() {
        let trials = (0..5000).map(|trial| climbed(trial, &[f64::from(trial) / 5000.0], &[1], true));
        let section = drawn(&RunRecord { trials: trials.collect(), ..pruned() });
        let points = of(&section, "stopped")["x"].as_array().unwrap().len();
        assert!((TRIALS_MAX - 2..=TRIALS_MAX).contains(&points), "{points}");
    }

    #[test]
    fn a_run_without_a_pruner_has_no_such_section() {
        assert_eq!(section(&View::of(&RunRecord { search: None, ..pruned() })), None);
    }
}
