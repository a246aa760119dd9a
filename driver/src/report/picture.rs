//! One picture: what is drawn, and the sentence that explains it.
//!
//! Colours are roles, `@ink` or `@series-0`, which the page's script replaces by those of the light or the dark
//! theme; `@scale-0` to `@scale-100` go from the best to the worst.

use serde_json::{Value, json};

use super::parameters::{Parameter, Scale, linear_ticks, logarithmic_ticks};
use super::text::{label, number, numbers, short};
use super::view::View;

/// Values whose largest is so many times the smallest are drawn by their ratios.
const LOGARITHMIC_RATIO: f64 = 10.0;

/// One picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picture {
    /// Names its element in the page.
    pub(super) id: String,
    /// What stands above it, if it is one of several.
    pub(super) title: Option<String>,
    /// Plotly's traces.
    pub(super) traces: Vec<Value>,
    /// Plotly's layout; the page adds what all pictures share.
    pub(super) layout: Value,
    /// Pixels.
    pub(super) height: u32,
}

/// Several pictures, or one, under one heading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Section {
    /// Its heading.
    pub(super) title: &'static str,
    /// What is to be seen, made from the data.
    pub(super) sentence: String,
    /// None where there is nothing to draw; then the sentence says why.
    pub(super) pictures: Vec<Picture>,
}

impl Section {
    /// A section that says why there is nothing to see.
    pub(super) fn without_picture(title: &'static str, sentence: &str) -> Self {
        Self { title, sentence: sentence.to_owned(), pictures: Vec::new() }
    }
}

/// The colour of a place between the best, 0, and the worst, 1.
pub(super) fn on_scale(share: f64) -> String {
    format!("@scale-{}", (share.clamp(0.0, 1.0) * 100.0).round())
}

/// The colour of one of several things without an order.
pub(super) fn series(place: usize) -> String {
    format!("@series-{}", place % 8)
}

/// The axis of a parameter.
pub(super) fn parameter_axis(parameter: &Parameter<'_>) -> Value {
    let (ticks, names): (Vec<_>, Vec<_>) = parameter.ticks().into_iter().unzip();
    let names: Vec<_> = names.iter().map(|name| label(name)).collect();
    let kind = if parameter.scale == Scale::Logarithmic { "log" } else { "linear" };
    let mut axis = json!({
        "type": kind, "title": { "text": label(parameter.name) }, "tickvals": numbers(ticks), "ticktext": names,
        "zeroline": false
    });
    if parameter.scale == Scale::Words {
        axis["range"] = numbers([-0.5, parameter.values.len() as f64 - 0.5]);
    }
    axis
}

/// The axis of what ranks, between `low` and `high`, as [`View::on_axis`] shows them; logarithmic where they differ much.
pub(super) fn value_axis(view: &View<'_>, low: f64, high: f64) -> Value {
    let title = view.objective_title();
    if low > 0.0 && high.is_finite() && high / low >= LOGARITHMIC_RATIO {
        let ticks = logarithmic_ticks(low, high);
        let names: Vec<_> = ticks.iter().map(|tick| short(*tick)).collect();
        return json!({ "type": "log", "title": { "text": title }, "tickvals": numbers(ticks), "ticktext": names });
    }
    // No error is below 0; what else ranks may lie far from it.
    let range = if view.is_of_errors() { "tozero" } else { "normal" };
    json!({ "title": { "text": title }, "rangemode": range, "zeroline": false })
}

/// The range of that axis, from a value to another with a little room: for pictures that are to have the same one.
pub(super) fn value_range(view: &View<'_>, low: f64, high: f64, is_logarithmic: bool) -> Value {
    let (low, high) = (view.on_axis(low), view.on_axis(high));
    if is_logarithmic {
        return numbers([libm::log10(low) - 0.05, libm::log10(high) + 0.05]);
    }
    let room = ((high - low) * 0.08).max(high.abs() * 0.02).max(f64::MIN_POSITIVE);
    numbers([(low - room).max(if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY }), high + room])
}

/// An axis of seconds, or of minutes or hours where these are many, from the start: its layout, and by what seconds are
/// divided.
pub(super) fn time_axis(last_s: f64, title: &str) -> (Value, f64) {
    let (unit, seconds) = match last_s {
        7200.0.. => ("h", 3600.0),
        180.0..7200.0 => ("min", 60.0),
        _ => ("s", 1.0),
    };
    let ticks = linear_ticks(0.0, last_s / seconds);
    let names: Vec<_> = ticks.iter().map(|tick| short(*tick)).collect();
    let range = [number(0.0), number((last_s / seconds).max(1e-6))];
    let axis = json!({
        "title": { "text": format!("{title} ({unit})") }, "range": range, "tickvals": numbers(ticks),
        "ticktext": names, "zeroline": false
    });
    (axis, seconds)
}
