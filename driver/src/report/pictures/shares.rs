//! How much each hyperparameter has to do with what came out, asked twice: what counts for being among the best, and what
//! the order of all trials comes from.

use serde_json::{Value, json};

use super::super::among_best::AmongBest;
use super::super::importance::{Importance, TRIALS_MIN, whole};
use super::super::picture::{Picture, Section};
use super::super::text::{html, label, number, numbers, percent};
use super::super::view::View;
use crate::results::show::counted;

const TITLE: &str = "Importance of hyperparameters";
/// Hyperparameters with bars, the largest first.
const BARS_MAX: usize = 12;
/// How far the two bars of a hyperparameter are from its middle, and how thick each is; rows are 1 apart.
const BESIDE: f64 = 0.2;
const THICKNESS: f64 = 0.36;
/// A share of combinations that is worth a bar.
const TOGETHER_MIN: f64 = 0.005;

pub(super) fn section(view: &View<'_>) -> Section {
    if view.importance.is_none() && view.among_best.is_none() {
        let why = if view.parameters.is_empty() {
            "No hyperparameter was searched."
        } else {
            "There are too few results to tell what the error comes from, or they differ by chance alone."
        };
        return Section::without_picture(TITLE, &format!("{why}{}", left_out(view)));
    }
    let rows = rows(view);
    let together = view.importance.as_ref().map(|one| one.together).filter(|share| *share > TOGETHER_MIN);
    let count = rows.len() + usize::from(together.is_some());
    // The first row is the uppermost one.
    let heights: Vec<_> = (0..count).rev().collect();
    let mut names: Vec<_> = rows.iter().map(|place| label(view.parameters[*place].name)).collect();
    names.extend(together.map(|_| "together only".to_owned()));
    let has_both = view.importance.is_some() && view.among_best.is_some();
    let beside = if has_both { BESIDE } else { 0.0 };
    let mut traces = Vec::new();
    let mut widest: f64 = 0.01;
    if let Some(among_best) = &view.among_best {
        let (drawn, end) = among_best_traces(view, among_best, &rows, |row| heights[row] as f64 + beside);
        traces.extend(drawn);
        widest = widest.max(end);
    }
    if let Some(importance) = &view.importance {
        let (drawn, end) = order_trace(importance, &rows, |row| heights[row] as f64 - beside);
        traces.push(drawn);
        widest = widest.max(end);
    }
    let layout = json!({
        "xaxis": { "title": { "text": "share (%)" }, "range": [0, number(widest * 118.0)], "zeroline": false },
        "yaxis": { "tickvals": heights, "ticktext": names, "automargin": true, "showgrid": false, "zeroline": false },
        "barmode": "overlay", "showlegend": has_both,
    });
    let height = 110 + if has_both { 56 } else { 40 } * count as u32;
    let picture = Picture { id: "importance".to_owned(), title: None, traces, layout, height };
    Section { title: TITLE, sentence: sentence(view), pictures: vec![picture] }
}

/// Places of the parameters that are drawn: whichever of their two shares is larger says which come first.
fn rows(view: &View<'_>) -> Vec<usize> {
    let mut shares = vec![0.0_f64; view.parameters.len()];
    for (place, share) in view.importance.iter().flat_map(|importance| &importance.ranked) {
        shares[*place] = shares[*place].max(*share);
    }
    for one in view.among_best.iter().flat_map(|among_best| &among_best.ranked) {
        shares[one.place] = shares[one.place].max(one.share);
    }
    let mut rows: Vec<_> = (0..shares.len()).collect();
    rows.sort_by(|one, other| shares[*other].total_cmp(&shares[*one]));
    rows.truncate(BARS_MAX);
    rows
}

/// Bars with their intervals, and a number behind each; and how far the farthest reaches.
fn among_best_traces(
    view: &View<'_>,
    among_best: &AmongBest,
    rows: &[usize],
    height: impl Fn(usize) -> f64,
) -> ([Value; 2], f64) {
    let of_row = |row: usize| among_best.ranked.iter().find(|one| one.place == rows[row]).map(|one| (row, one));
    let bars: Vec<_> = (0..rows.len()).filter_map(of_row).collect();
    let heights = || numbers(bars.iter().map(|(row, _)| height(*row)));
    let ends = || bars.iter().map(|(_, one)| one.interval[1]);
    let text = bars.iter().map(|(_, one)| {
        let [low, high] = one.interval.map(percent);
        format!("{}: {}<br>{low} to {high}", label(view.parameters[one.place].name), percent(one.share))
    });
    let trace = json!({
        "type": "bar", "orientation": "h", "name": "being among the best", "y": heights(), "width": THICKNESS,
        "x": numbers(bars.iter().map(|(_, one)| one.share * 100.0)), "marker": { "color": "@series-1" },
        "text": text.collect::<Vec<_>>(), "textposition": "none", "hovertemplate": "%{text}<extra></extra>",
        "error_x": {
            "type": "data", "symmetric": false, "color": "@ink", "thickness": 1.5, "width": 4,
            "array": numbers(bars.iter().map(|(_, one)| (one.interval[1] - one.share) * 100.0)),
            "arrayminus": numbers(bars.iter().map(|(_, one)| (one.share - one.interval[0]) * 100.0)),
        },
    });
    // A bar's own text would stand in its interval.
    let texts = json!({
        "type": "scatter", "mode": "text", "y": heights(), "x": numbers(ends().map(|end| end * 100.0)),
        "text": bars.iter().map(|(_, one)| format!(" {}", percent(one.share))).collect::<Vec<_>>(),
        "textposition": "middle right", "cliponaxis": false, "hoverinfo": "skip", "showlegend": false,
    });
    ([trace, texts], ends().fold(0.0, f64::max))
}

/// What each explains alone, and what only combinations explain; and how far the longest bar reaches.
fn order_trace(importance: &Importance, rows: &[usize], height: impl Fn(usize) -> f64) -> (Value, f64) {
    let share = |place: &usize| importance.ranked.iter().find(|(known, _)| known == place).map_or(0.0, |one| one.1);
    let mut shares: Vec<_> = rows.iter().map(share).collect();
    let mut colours = vec!["@series-0"; shares.len()];
    if importance.together > TOGETHER_MIN {
        shares.push(importance.together);
        colours.push("@muted");
    }
    let trace = json!({
        "type": "bar", "orientation": "h", "name": "order of all trials", "width": THICKNESS,
        "x": numbers(shares.iter().map(|share| share * 100.0)), "y": numbers((0..shares.len()).map(height)),
        "marker": { "color": colours }, "text": shares.iter().copied().map(percent).collect::<Vec<_>>(),
        "textposition": "outside", "cliponaxis": false, "hoverinfo": "skip",
    });
    (trace, shares.into_iter().fold(0.0, f64::max))
}

fn sentence(view: &View<'_>) -> String {
    let order = match &view.importance {
        Some(importance) => order_sentence(view, importance),
        None => no_order_sentence(view),
    };
    match &view.among_best {
        Some(among_best) => format!("{}{} {order}", among_best_sentence(view, among_best), left_out(view)),
        None => format!(
            "{order} What counts for being among the best cannot be told: the best trials differ from the others by \
             chance alone, or are too few.{}",
            left_out(view)
        ),
    }
}

fn among_best_sentence(view: &View<'_>, among_best: &AmongBest) -> String {
    let first = &among_best.ranked[0];
    let [low, high] = first.interval.map(percent);
    let mut sentence = format!(
        "For being among the best {} of {}, {} counts most: it has {} of what all hyperparameters have to do with that \
         (PED-ANOVA), and {low} to {high} in nine of ten cases where the trials are drawn again, as the line at each bar \
         shows.",
        among_best.best,
        counted(among_best.trials as u64, "trial"),
        html(view.parameters[first.place].name),
        percent(first.share),
    );
    if view.parameters.iter().any(|parameter| parameter.places.contains(&None)) {
        sentence.push_str(
            " One that some trials lack is judged by those that have it, and by how many of the best they are.",
        );
    }
    sentence
}

/// Which trials count in another way than by their value.
fn left_out(view: &View<'_>) -> String {
    let counts = view.run.counts();
    let mut sentence = String::new();
    if counts.diverged > 0 {
        sentence.push_str(" Trials that diverged count as the worst.");
    }
    if counts.paused > 0 {
        let (paused, verb) =
            (counted(counts.paused as u64, "paused trial"), if counts.paused == 1 { "is" } else { "are" });
        sentence.extend([format!(" {paused} {verb} left out, for a value after fewer epochs says something else.")]);
    }
    sentence
}

fn order_sentence(view: &View<'_>, importance: &Importance) -> String {
    let (first, share) = importance.ranked[0];
    let is_whole = view.parameters.iter().all(|parameter| !parameter.places.contains(&None));
    format!(
        "Of the order of {}{}, {} alone explains {}, and {} is left to combinations; trees that know only the \
         hyperparameters tell {} of the order of trials that they have not seen.",
        counted(importance.trials as u64, "trial"),
        if is_whole { "" } else { " that have every hyperparameter" },
        html(view.parameters[first].name),
        percent(share),
        percent(importance.together),
        percent(importance.explained),
    )
}

fn no_order_sentence(view: &View<'_>) -> String {
    let whole = whole(view.run, &view.parameters).len();
    if whole >= TRIALS_MIN {
        return "What the order of all trials comes from cannot be told: trees that know only the hyperparameters do not \
                foretell trials that they have not seen."
            .to_owned();
    }
    let there_are = match whole {
        0 => "there is none".to_owned(),
        1 => "there is one".to_owned(),
        more => format!("there are {more}"),
    };
    format!(
        "What the order of all trials comes from cannot be told: that takes {TRIALS_MIN} trials that have every \
         hyperparameter, and {there_are}."
    )
}

#[cfg(test)]
mod tests {
    use broadsweep_common::configuration::Value as Plain;

    use super::*;
    use crate::records::run::{RunRecord, TrialOutcome, TrialRecord};
    use crate::results::fixtures::{configuration, diverged, finished, run};

    /// The error comes from the rate, which only every second trial has if `is_conditional`.
    fn searched(is_conditional: bool) -> RunRecord {
        let trial = |trial: u32| {
            let digest = f64::from(trial.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24);
            let name = if is_conditional && trial % 2 == 1 { "decay" } else { "rate" };
            let error = if name == "rate" { (digest - 0.4).abs() + 0.01 } else { 0.9 };
            let values = [(name, Plain::Real(digest)), ("words", Plain::Flag(trial.is_multiple_of(3)))];
            TrialRecord { configuration: configuration(&values), ..finished(trial, error) }
        };
        run((0..150).map(trial).collect())
    }

    #[test]
    fn a_hyperparameter_has_a_bar_for_each_question() {
        let record = searched(false);
        let section = section(&View::of(&record));
        let picture = &section.pictures[0];
        let names: Vec<_> = picture.traces.iter().filter_map(|trace| trace["name"].as_str()).collect();
        assert_eq!(names, ["being among the best", "order of all trials"]);
        assert_eq!(
            (&picture.layout["yaxis"]["ticktext"][0], &picture.layout["showlegend"]),
            (&json!("rate"), &json!(true))
        );
        let error_bars = &picture.traces[0]["error_x"];
        assert_eq!(
            [&error_bars["array"], &error_bars["arrayminus"]].map(|ends| ends.as_array().unwrap().len()),
            [2, 2]
        );
        for said in
            ["For being among the best 15 of 150 trials, rate counts most", "Of the order of 150 trials, rate alone"]
        {
            assert!(section.sentence.contains(said), "{}", section.sentence);
        }
        assert!(!section.sentence.contains("lack") && !section.sentence.contains("left out"), "{}", section.sentence);
    }

    #[test]
    fn where_no_trial_has_every_hyperparameter_one_question_is_answered_alone() {
        let record = searched(true);
        let section = section(&View::of(&record));
        let picture = &section.pictures[0];
        let names: Vec<_> = picture.traces.iter().filter_map(|trace| trace["name"].as_str()).collect();
        assert_eq!((names, &picture.layout["showlegend"]), (vec!["being among the best"], &json!(false)));
        for said in ["One that some trials lack is judged by those that have it", "and there is none."] {
            assert!(section.sentence.contains(said), "{}", section.sentence);
        }
    }

    #[test]
    fn diverged_and_paused_trials_are_told_of() {
        let mut record = searched(false);
        record.trials[0] = TrialRecord { configuration: record.trials[0].configuration.clone(), ..diverged(0, 1) };
        record.trials[1].outcome = TrialOutcome::Paused { epoch: 1 };
        let sentence = section(&View::of(&record)).sentence;
        for said in ["Trials that diverged count as the worst.", "1 paused trial is left out", "of 149 trials"] {
            assert!(sentence.contains(said), "{sentence}");
        }
    }
}
