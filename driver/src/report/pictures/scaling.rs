//! What more executors give: the time and the speedup by their number, measured where several sizes were compared, and
//! forecast beyond.

use serde_json::{Value, json};

use super::super::Report;
use super::super::parameters::logarithmic_ticks;
use super::super::picture::{Picture, Section, time_axis};
use super::super::text::{number, numbers, short};
use crate::forecast::{Basis, Cluster, Forecast, Schedule};
use crate::records::run::RunRecord;
use crate::records::searched::SearchRecord;
use crate::results::comparison::Comparison;
use crate::results::show::counted;

const TITLE: &str = "What more executors give";
/// Trials that a forecast is played for: of more, it would take longer than all other pictures together.
const TRIALS_MAX: usize = 10_000;
/// Of a search that saw results, trials by how many of them are under way: likewise.
const LOOKS_MAX: usize = 500_000;
/// The share of the slots' time that waits for the order, from which on it is told.
const ORDER_WORTH_A_WORD: f64 = 0.01;
/// Sizes that a forecast is played for.
const SIZES: [u32; 9] = [1, 2, 4, 8, 13, 20, 32, 64, 128];
/// As far as a forecast goes at least.
const SIZE_MIN: u32 = 13;

/// A number of executors, and what the study took on them in seconds.
type Point = (u32, f64);

pub(in super::super) fn section(report: &Report<'_>) -> Option<Section> {
    let measured: Vec<Point> = match report.comparison {
        Some(comparison) => comparison.sizes.iter().map(|size| (size.executors, size.wall_s)).collect(),
        None => vec![(report.run.executors, report.run.wall_s)],
    };
    let measured: Vec<Point> = measured.into_iter().filter(|(size, wall_s)| *size > 0 && *wall_s > 0.0).collect();
    let (forecast, remark) = forecast(report.run, &measured);
    let tells_nothing = measured.len() < 2 && (forecast.is_empty() || report.run.best().is_none());
    if measured.is_empty() || tells_nothing {
        return None;
    }
    let pictures = vec![times(report.comparison, &measured, &forecast), speedups(&measured, &forecast)];
    Some(Section { title: TITLE, sentence: sentence(&measured, &forecast) + &remark, pictures })
}

/// What the run would take on other numbers of executors like its own, up to twice as many as were measured, and what is
/// to be said of that.
fn forecast(run: &RunRecord, measured: &[Point]) -> (Vec<Point>, String) {
    let largest = measured.iter().map(|(size, _)| *size).max().unwrap_or_default();
    let is_quick = run.trials.len() <= TRIALS_MAX && run.search.as_ref().is_none_or(is_quick);
    let Some(basis) = Basis::of(run).ok().filter(|_| is_quick) else { return (Vec::new(), String::new()) };
    let slots = basis.slots().max(1);
    let last = largest.saturating_mul(2).max(SIZE_MIN);
    let own = measured.iter().map(|(size, _)| *size);
    let mut sizes: Vec<u32> = SIZES.into_iter().filter(|size| *size <= last).chain(own).chain([last]).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let clusters: Vec<_> = sizes.into_iter().map(|executors| Cluster { executors, slots }).collect();
    let forecasts = basis.forecasts(&clusters, Schedule::Queue);
    let remark = forecasts.last().map_or_else(String::new, |last| order_remark(&basis, last));
    let points = forecasts.iter().map(|forecast| (forecast.cluster.executors, forecast.wall_us as f64 / 1e6));
    (points.collect(), remark)
}

/// Whether a search is soon played: each of its moments looks at what is under way.
fn is_quick(search: &SearchRecord) -> bool {
    let under_way = search.steps.len().min(search.parallel as usize);
    search.steps.len().saturating_mul(under_way) <= LOOKS_MAX
}

/// What the order of a search has to do with a forecast.
fn order_remark(basis: &Basis, forecast: &Forecast) -> String {
    if basis.is_asynchronous() {
        return " Results counted as they came, so it would have decided on other trials there: this is a forecast for the \
                same ones."
            .to_owned();
    }
    let slots_us = forecast.wall_us as f64 * forecast.cluster.all_slots() as f64;
    let share = forecast.order_us as f64 / slots_us.max(1.0);
    if share < ORDER_WORTH_A_WORD {
        return String::new();
    }
    format!(" There slots wait {:.0} % of their time for the order in which the search decides.", share * 100.0)
}

fn times(comparison: Option<&Comparison>, measured: &[Point], forecast: &[Point]) -> Picture {
    let all = || measured.iter().chain(forecast).map(|(_, wall_s)| *wall_s);
    let longest = all().fold(0.0, f64::max);
    let (mut axis, unit_s) = time_axis(longest * 1.05, "time");
    axis["rangemode"] = "tozero".into();
    let mut traces = vec![line(forecast, |wall_s| wall_s / unit_s, "forecast", "dot", "@muted")];
    if let Some(comparison) = comparison {
        let runs =
            || comparison.sizes.iter().flat_map(|size| size.runs.iter().map(move |run| (size.executors, run.wall_s)));
        traces.push(json!({
            "type": "scatter", "mode": "markers", "name": "each run",
            "x": runs().map(|(size, _)| size).collect::<Vec<_>>(), "y": numbers(runs().map(|(_, wall_s)| wall_s / unit_s)),
            "hovertemplate": "%{x} executors: %{y:.2f}<extra></extra>",
            "marker": { "color": "@series-0", "size": 9, "symbol": "line-ew-open", "line": { "width": 1.5 } },
        }));
    }
    traces.push(line(measured, |wall_s| wall_s / unit_s, "measured", "solid", "@series-0"));
    traces.retain(|trace| trace["x"].as_array().is_some_and(|points| !points.is_empty()));
    let layout = json!({ "xaxis": executors_axis(measured, forecast), "yaxis": axis, "showlegend": true, "hovermode": "closest" });
    Picture { id: "times".to_owned(), title: Some("Time".to_owned()), traces, layout, height: 340 }
}

/// Times as fast as one executor; where one was not measured, as the smallest size by its number.
fn speedups(measured: &[Point], forecast: &[Point]) -> Picture {
    let alone_of = |points: &[Point]| points.first().map_or(1.0, |(size, wall_s)| f64::from(*size) * wall_s);
    let speedup = |points: &[Point]| -> Vec<Point> {
        let alone = alone_of(points);
        points.iter().map(|(size, wall_s)| (*size, alone / wall_s)).collect()
    };
    let (first, last) = (1, measured.iter().chain(forecast).map(|(size, _)| *size).max().unwrap_or(1));
    let ideal: Vec<Point> = [first, last].map(|size| (size, f64::from(size))).to_vec();
    // A single measurement has nothing to be faster than but the forecast for one executor.
    let shown = if measured.len() > 1 { speedup(measured) } else { Vec::new() };
    let mut traces = vec![
        line(&ideal, |speedup| speedup, "ideal", "dash", "@axis"),
        line(&speedup(forecast), |speedup| speedup, "forecast", "dot", "@muted"),
        line(&shown, |speedup| speedup, "measured", "solid", "@series-0"),
    ];
    traces.retain(|trace| trace["x"].as_array().is_some_and(|points| !points.is_empty()));
    let ticks = logarithmic_ticks(1.0, f64::from(last.max(2)));
    let names: Vec<_> = ticks.iter().map(|tick| short(*tick)).collect();
    let layout = json!({
        "xaxis": executors_axis(measured, forecast),
        "yaxis": { "type": "log", "title": { "text": "speedup" }, "tickvals": numbers(ticks), "ticktext": names },
        "showlegend": true, "hovermode": "closest",
    });
    Picture { id: "speedups".to_owned(), title: Some("Speedup".to_owned()), traces, layout, height: 340 }
}

fn line(points: &[Point], shown: impl Fn(f64) -> f64, name: &str, dash: &str, colour: &str) -> Value {
    let mode = if dash == "solid" { "lines+markers" } else { "lines" };
    json!({
        "type": "scatter", "mode": mode, "name": name, "x": points.iter().map(|(size, _)| size).collect::<Vec<_>>(),
        "y": numbers(points.iter().map(|(_, value)| shown(*value))),
        "hovertemplate": "%{x} executors: %{y:.2f}<extra></extra>",
        "line": { "color": colour, "width": 2, "dash": dash }, "marker": { "color": colour, "size": 9 },
    })
}

fn executors_axis(measured: &[Point], forecast: &[Point]) -> Value {
    let last = measured.iter().chain(forecast).map(|(size, _)| f64::from(*size)).fold(2.0, f64::max);
    let ticks: Vec<f64> = if measured.len() > 1 && measured.len() <= 6 {
        let beyond = if forecast.iter().any(|(size, _)| f64::from(*size) >= last) { Some(last) } else { None };
        measured.iter().map(|(size, _)| f64::from(*size)).chain(beyond).collect()
    } else {
        logarithmic_ticks(1.0, last)
    };
    let names: Vec<_> = ticks.iter().map(|tick| short(*tick)).collect();
    json!({
        "type": "log", "title": { "text": "executors" }, "tickvals": numbers(ticks), "ticktext": names,
        "range": [number(-0.05), number(libm::log10(last) + 0.05)],
    })
}

fn sentence(measured: &[Point], forecast: &[Point]) -> String {
    let on = |size: u32| counted(size.into(), "executor");
    let mut sentence = match measured {
        [(first, wall_s), .., (last, shortest_s)] => {
            let speedup = f64::from(*first) * wall_s / shortest_s;
            let faster = format!("{speedup:.1} times as fast as on one");
            let ideal = 100.0 * speedup / f64::from(*last);
            format!("On {} the study took {shortest_s:.1} s, {faster}: {ideal:.0} % of what is ideal.", on(*last))
        }
        [(size, wall_s)] => format!("On {} the study took {wall_s:.1} s.", on(*size)),
        [] => String::new(),
    };
    if let Some((last, wall_s)) = forecast.last() {
        sentence.extend([format!(
            " The very scheduler, played with what these trials took, forecasts {wall_s:.1} s on {}.",
            on(*last)
        )]);
    }
    sentence
}
