//! Which classes the best takes for which: a square for each pair with its number of rows. What is right is the stronger
//! the more of the class's rows are in it; what is wrong is measured by the most frequent confusion.

use std::borrow::Cow;

use broadsweep_common::details::Confusion;
use serde_json::{Value, json};

use super::super::answers;
use super::super::closer::{CLASSES_MAX, classes, rows_of, shown_class};
use super::super::picture::{Picture, Section};
use super::super::text::{html, label, number};
use super::super::view::View;
use crate::records::run::RunRecord;
use crate::results::guess::part_rows;
use crate::results::show::counted;

const TITLE: &str = "What the best takes for what";
/// Pixels of a picture, less what a class takes.
const FRAME: u32 = 160;
/// Classes whose squares have room for a number.
const COUNTED_MAX: usize = 12;
/// Pixels of all classes together.
const SIDE: u32 = 400;

/// `None` where no classes were looked at.
pub(super) fn section(view: &View<'_>) -> Option<Section> {
    let run = view.run;
    let details = run.details.iter().map(|record| Looked {
        id: format!("confusion-{}", record.part),
        who: "the best",
        rows: part_rows(record.part),
        confusions: Cow::Borrowed(&record.details.confusions[..]),
    });
    let answers = answers::confusions(run).map(|confusions| Looked {
        id: "confusion-labels".to_owned(),
        who: "the model",
        rows: "rows with labels",
        confusions: Cow::Owned(confusions),
    });
    let looked: Vec<_> = details.chain(answers).filter(|looked| !looked.confusions.is_empty()).collect();
    let first = looked.first()?;
    let sentence = sentence(run, first);
    let title = if run.trains() { TITLE } else { "What the model takes for what" };
    let drawn = looked.iter().filter(|looked| classes(&looked.confusions).len() <= CLASSES_MAX);
    let pictures: Vec<_> = drawn.map(|looked| picture(run, looked)).collect();
    Some(Section { title, sentence, pictures })
}

/// What was taken for what among some rows.
struct Looked<'a> {
    id: String,
    /// Who took it.
    who: &'static str,
    rows: &'static str,
    confusions: Cow<'a, [Confusion]>,
}

fn picture(run: &RunRecord, looked: &Looked<'_>) -> Picture {
    let confusions = &looked.confusions;
    let classes = classes(confusions);
    let names: Vec<_> = classes.iter().map(|class| label(&shown_class(run, *class))).collect();
    let (mut x, mut y, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut counts, mut colours, mut strengths) = (Vec::new(), Vec::new(), Vec::new());
    let wrong = confusions.iter().filter(|pair| pair.wanted != pair.predicted);
    let most_wrong = wrong.map(|pair| pair.rows).max().unwrap_or(1) as f64;
    for (row, wanted) in classes.iter().enumerate() {
        let all: f64 = classes.iter().map(|predicted| rows_of(confusions, *wanted, *predicted) as f64).sum();
        for (column, predicted) in classes.iter().enumerate() {
            let rows = rows_of(confusions, *wanted, *predicted);
            if rows == 0 {
                continue;
            }
            x.push(column);
            y.push(row);
            let is_right = wanted == predicted;
            colours.push(if is_right { "@series-0" } else { "@bad" });
            // Strong enough to be seen, and weak enough to be read upon; no mistake as strong as what is mostly right.
            let strength = if is_right { 0.6 * rows as f64 / all } else { 0.3 * rows as f64 / most_wrong };
            strengths.push(number(0.12 + strength));
            counts.push(rows.to_string());
            let [wanted, predicted] = [&names[row], &names[column]];
            texts.push(format!("{wanted} taken for {predicted}: {}", counted(rows, "row")));
        }
    }
    let ticks: Vec<_> = (0..classes.len()).collect();
    let size = (f64::from(SIDE) / classes.len() as f64 * 0.8).clamp(6.0, 60.0);
    let trace = json!({
        "type": "scatter", "mode": if classes.len() <= COUNTED_MAX { "markers+text" } else { "markers" },
        "x": x, "y": y, "text": counts, "textfont": { "color": "@ink", "size": 11 },
        "customdata": texts, "hovertemplate": "%{customdata}<extra></extra>",
        "marker": { "symbol": "square", "size": size, "color": colours, "opacity": strengths },
    });
    let axis = |title: &str, is_down: bool| -> Value {
        let mut range = [-0.5, classes.len() as f64 - 0.5];
        if is_down {
            range.reverse();
        }
        json!({ "title": { "text": title }, "tickvals": ticks, "ticktext": names, "range": range, "zeroline": false, "showgrid": false })
    };
    let layout = json!({ "xaxis": axis("taken for", false), "yaxis": axis("is", true), "showlegend": false });
    let title = Some(looked.rows.to_owned());
    Picture { id: looked.id.clone(), title, traces: vec![trace], layout, height: FRAME + SIDE }
}

fn sentence(run: &RunRecord, Looked { who, rows, confusions, .. }: &Looked<'_>) -> String {
    let wrong = confusions.iter().filter(|pair| pair.wanted != pair.predicted);
    match wrong.max_by_key(|pair| (pair.rows, std::cmp::Reverse((pair.wanted, pair.predicted)))) {
        None => format!("None of the {rows} is taken for another class by {who}."),
        Some(pair) => format!(
            "Of the {rows}, {who} most often takes {} for {}: {}.",
            html(&shown_class(run, pair.wanted)),
            html(&shown_class(run, pair.predicted)),
            counted(pair.rows, "row"),
        ),
    }
}
