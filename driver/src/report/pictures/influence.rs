//! How the error lies along each hyperparameter, whatever the others are.

use serde_json::{Value, json};

use super::super::parameters::Parameter;
use super::super::picture::{Picture, Section, parameter_axis, value_axis, value_range};
use super::super::text::{html, label, listed, number, numbers};
use super::super::view::{View, quartiles};
use crate::results::show::counted;

const TITLE: &str = "Sensitivity to hyperparameters";
/// Parameters whose sensitivity is drawn: the most important ones.
const SENSITIVITIES_MAX: usize = 8;
/// A value is left out if another one has more than so many times as many trials.
const RARE: usize = 3;
/// Groups of trials along one parameter.
const GROUPS_MAX: usize = 12;

/// The error along each parameter, whatever the others are.
pub(super) fn section(view: &View<'_>) -> Section {
    if view.ranking.len() < 3 || view.parameters.is_empty() {
        return Section::without_picture(
            TITLE,
            "It takes three trials with results, and a searched hyperparameter, to see a tendency.",
        );
    }
    let shown: Vec<_> = view.by_importance().into_iter().take(SENSITIVITIES_MAX).collect();
    let along: Vec<_> = shown.iter().map(|place| along(view, *place)).collect();
    // One axis for all, so that a flat picture means no effect.
    let ends =
        along.iter().flat_map(|along| &along.groups).flat_map(|group| [group.quartiles[0], group.quartiles[2]]);
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), end| (low.min(end), high.max(end)));
    let axis = value_axis(view, view.on_axis(low), view.on_axis(high));
    let pictures = along.iter().enumerate().map(|(number, Along { place, groups, .. })| {
        let parameter = &view.parameters[*place];
        let mut axis = axis.clone();
        axis["range"] = value_range(view, low, high, axis["type"] == "log");
        let layout = json!({ "xaxis": parameter_axis(parameter), "yaxis": axis, "showlegend": false });
        let traces = traces(view, parameter, groups);
        Picture { id: format!("sensitivity-{number}"), title: None, traces, layout, height: 280 }
    });
    let pictures: Vec<_> = pictures.collect();
    Section { title: TITLE, sentence: sentence(view, &along), pictures }
}

/// How the error lies along one parameter.
struct Along {
    /// The parameter's place.
    place: usize,
    groups: Vec<Group>,
    /// Groups that are not among them, as they are of too few trials.
    left_out: usize,
}

/// The trials with one value, or with neighbouring ones.
struct Group {
    /// Along the axis of the parameter.
    position: f64,
    /// What people call the value, or the values.
    name: String,
    quartiles: [f64; 3],
    trials: usize,
}

fn along(view: &View<'_>, place: usize) -> Along {
    let mut groups = groups(view, &view.parameters[place]);
    // A value that hardly any trial has, the control's perhaps, says less of itself than of those trials.
    let most = groups.iter().map(|group| group.trials).max().unwrap_or_default();
    let all = groups.len();
    groups.retain(|group| group.trials * RARE >= most);
    Along { place, left_out: all - groups.len(), groups }
}

fn groups(view: &View<'_>, parameter: &Parameter<'_>) -> Vec<Group> {
    let mut trials: Vec<_> =
        view.ranking.iter().filter_map(|(trial, error)| Some((parameter.places[*trial]?, *error))).collect();
    trials.sort_by_key(|(place, _)| *place);
    let mut starts: Vec<_> = trials.chunk_by(|(one, _), (other, _)| one == other).map(<[_]>::len).collect();
    if starts.len() > GROUPS_MAX {
        starts = trials.chunks(trials.len().div_ceil(GROUPS_MAX)).map(<[_]>::len).collect();
    }
    let mut rest = &trials[..];
    let mut groups = Vec::new();
    for count in starts {
        let (group, others) = rest.split_at(count);
        rest = others;
        let mut errors: Vec<_> = group.iter().map(|(_, error)| *error).collect();
        errors.sort_by(f64::total_cmp);
        let (first, middle, last) = (group[0].0, group[count / 2].0, group[count - 1].0);
        let (from, to) = (parameter.shown(first), parameter.shown(last));
        let name = if first == last { from } else { format!("{from} to {to}") };
        let position = parameter.position(middle);
        groups.extend(quartiles(&errors).map(|quartiles| Group { position, name, quartiles, trials: count }));
    }
    groups
}

/// The median, and the middle half around it: a band along numbers, bars at words.
fn traces(view: &View<'_>, parameter: &Parameter<'_>, groups: &[Group]) -> Vec<Value> {
    let of = |which: usize| groups.iter().map(move |group| view.on_axis(group.quartiles[which]));
    let positions = || groups.iter().map(|group| group.position);
    let texts: Vec<_> = groups
        .iter()
        .map(|group| {
            let [low, median, high] = group.quartiles.map(|error| view.value_text(error));
            let trials = counted(group.trials as u64, "trial");
            format!("{}<br>median {median}<br>half of {trials} from {low} to {high}", label(&group.name))
        })
        .collect();
    let mut median = json!({
        "type": "scatter", "mode": "lines+markers", "x": numbers(positions()), "y": numbers(of(1)), "text": texts,
        "hovertemplate": "%{text}<extra></extra>", "line": { "color": "@series-0", "width": 2 },
        "marker": { "color": "@series-0", "size": 7 },
    });
    if !parameter.is_numeric() {
        median["mode"] = "markers".into();
        median["error_y"] = json!({
            "type": "data", "symmetric": false, "color": "@series-0", "thickness": 6, "width": 0,
            "array": numbers(of(2).zip(of(1)).map(|(high, median)| high - median)),
            "arrayminus": numbers(of(1).zip(of(0)).map(|(median, low)| median - low)),
        });
        median["opacity"] = number(0.9);
        median["marker"] = json!({ "color": "@ink", "size": 9 });
        return vec![median];
    }
    let edge = |which: usize| {
        json!({
            "type": "scatter", "mode": "lines", "x": numbers(positions()), "y": numbers(of(which)),
            "line": { "width": 0, "color": "@band" }, "hoverinfo": "skip",
        })
    };
    let mut upper = edge(2);
    upper["fill"] = "tonexty".into();
    upper["fillcolor"] = "@band".into();
    vec![edge(0), upper, median]
}

fn sentence(view: &View<'_>, along: &[Along]) -> String {
    let best = along.iter().filter_map(|Along { place, groups, .. }| {
        let order =
            |one: &&Group, other: &&Group| view.run.objective().direction.order(one.quartiles[1], other.quartiles[1]);
        let best = groups.iter().min_by(order)?;
        Some(format!("{} at {}", html(view.parameters[*place].name), html(&best.name)))
    });
    let best: Vec<_> = best.take(3).collect();
    let rare = along.iter().filter(|along| along.left_out > 0);
    let rare: Vec<_> =
        rare.map(|along| format!("{} of {}", along.left_out, html(view.parameters[along.place].name))).collect();
    let left_out = if rare.is_empty() {
        String::new()
    } else {
        format!(" Values that too few trials have for that are left out: {}.", listed(&rare))
    };
    format!(
        "The median {} of all trials with a value, whatever else they have, and the middle half of them around it: it \
         is {} with {}.{left_out}",
        view.objective_name(),
        if view.minimizes() { "lowest" } else { "highest" },
        listed(&best)
    )
}

#[cfg(test)]
mod tests {
    use broadsweep_common::configuration::Value as Plain;

    use super::*;
    use crate::results::fixtures::{configuration, finished, run};

    #[test]
    fn a_value_that_is_too_rare_to_be_drawn_is_counted() {
        let trial = |number: u32| {
            let mut trial = finished(number, 0.1 + f64::from(number) / 100.0);
            let width = [64, 128, 7][if number == 8 { 2 } else { number as usize % 2 }];
            trial.configuration = configuration(&[("width", Plain::Integer(width))]);
            trial
        };
        let sentence = |trials: u32| {
            let record = run((0..trials).map(trial).collect());
            section(&View::of(&record)).sentence
        };
        let left_out = "Values that too few trials have for that are left out: 1 of width.";
        assert!(sentence(9).ends_with(left_out), "{}", sentence(9));
        assert!(!sentence(8).contains("left out"), "{}", sentence(8));
    }
}
