//! Where the time of the slots went: the lines of the ledger, a bar a size, or a bar an executor.

use serde_json::json;

use super::super::Report;
use super::super::picture::{Picture, Section};
use super::super::text::{html, label, numbers, percent};
use crate::ledger::{Ledger, Line, sentences};
use crate::results::show::counted;

const TITLE: &str = "Where the time went";
/// Bars: beyond that, executors are put together.
const BARS_MAX: usize = 24;

/// What a bar is for, and the seconds of its lines.
struct Bar {
    name: String,
    seconds: [f64; Line::ALL.len()],
}

pub(in super::super) fn section(report: &Report<'_>) -> Option<Section> {
    let ledger = Ledger::of(report.run);
    let bars = match report.comparison {
        Some(comparison) => comparison
            .sizes
            .iter()
            .map(|size| Bar {
                name: counted(size.executors.into(), "executor"),
                seconds: Line::ALL.map(|line| size.ledger.get(line.key()).copied().unwrap_or_default()),
            })
            .collect(),
        None => by_executor(report, &ledger),
    };
    let bars: Vec<_> = bars.into_iter().filter(|bar| bar.seconds.iter().sum::<f64>() > 0.0).collect();
    if bars.is_empty() {
        return None;
    }
    let places: Vec<_> = (0..bars.len()).collect();
    let traces = Line::ALL.iter().enumerate().filter_map(|(place, line)| {
        let shares = || bars.iter().map(|bar| bar.seconds[place] / bar.seconds.iter().sum::<f64>());
        let texts: Vec<_> = bars
            .iter()
            .zip(shares())
            .map(|(bar, share)| format!("{}: {:.1} s, {}", line.name(), bar.seconds[place], percent(share)))
            .collect();
        shares().any(|share| share > 0.0).then(|| {
            json!({
                "type": "bar", "orientation": "h", "name": line.name(), "y": places,
                "x": numbers(shares().map(|share| share * 100.0)), "hovertext": texts,
                "hovertemplate": "%{hovertext}<extra></extra>",
                "marker": { "color": colour(*line), "line": { "color": "@card", "width": 1 } },
            })
        })
    });
    let names: Vec<_> = bars.iter().map(|bar| label(&bar.name)).collect();
    let layout = json!({
        "xaxis": { "title": { "text": "share of the time (%)" }, "range": [0, 100], "zeroline": false },
        "yaxis": {
            "tickvals": places, "ticktext": names, "automargin": true, "showgrid": false, "autorange": "reversed",
            "zeroline": false,
        },
        "barmode": "stack", "bargap": 0.3, "showlegend": true, "legend": { "traceorder": "normal" },
    });
    let height = 170 + 34 * bars.len() as u32;
    let picture = Picture { id: "ledger".to_owned(), title: None, traces: traces.collect(), layout, height };
    Some(Section { title: TITLE, sentence: sentence(report, &ledger), pictures: vec![picture] })
}

/// The ledger's own words; what they say of single lines stands among the remarks.
fn sentence(report: &Report<'_>, ledger: &Ledger) -> String {
    let words = match report.comparison.and_then(|comparison| comparison.sizes.last()) {
        Some(size) => size.remarks.clone(),
        None => sentences(ledger, report.run),
    };
    let whose = if report.comparison.is_some() { "size" } else { "executor" };
    let last = report.comparison.and_then(|comparison| comparison.sizes.last());
    let place = last.map(|size| format!("on {}, ", counted(size.executors.into(), "executor"))).unwrap_or_default();
    let first = words.first().map(|first| format!(": {place}{first}")).unwrap_or_default();
    html(&format!("Every moment of every slot stands in one line, a bar for each {whose}{first}."))
}

/// A bar an executor; one for all of them where they are many.
fn by_executor(report: &Report<'_>, ledger: &Ledger) -> Vec<Bar> {
    let bar = |name: String, lines: &crate::ledger::Lines| Bar {
        name,
        seconds: Line::ALL.map(|line| lines[line] as f64 / 1e6),
    };
    if ledger.accounts.len() > BARS_MAX {
        return vec![bar(counted(ledger.accounts.len() as u64, "executor"), &ledger.total())];
    }
    let one =
        |account: &crate::ledger::Account| bar(report.run.executor_name(account.executor).to_owned(), &account.lines);
    ledger.accounts.iter().map(one).collect()
}

fn colour(line: Line) -> &'static str {
    match line {
        Line::Training => "@series-0",
        Line::Broadcast => "@series-2",
        Line::StartUp => "@series-4",
        Line::Waiting => "@series-1",
        Line::Order => "@series-3",
        Line::Lost => "@bad",
        Line::Slow => "@series-5",
        Line::Tail => "@muted",
    }
}
