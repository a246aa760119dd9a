//! `report.html`: one file that needs no network, and asks for none.
//!
//! The script that draws, plotly.js, is in the page; so are the page's own script and its colours. A policy in the
//! page allows these two scripts by their digests, and nothing else: no other script, no connection, no frame, no form.
//! Nothing of a study is ever markup (see `text`), so the policy is the second lock and not the only one.

use std::borrow::Cow;
use std::io::Read;

use broadsweep_common::metrics::MetricName;
use broadsweep_common::model::Loss;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Report;
use super::picture::{Picture, Section};
use super::pictures;
use super::sheets::{self, Sheet};
use super::text::{html, script_json};
use super::view::View;
use crate::records::run::{RunRecord, TrialRecord};
use crate::results::measured::{is_error, metric_text, title};
use crate::results::remarks::{best_sentence, remarks};
use crate::results::show::{counted, duration_text, short_real};

/// plotly.js as its makers publish it, in the bundle with lines, points and bars, which is a quarter of the whole and
/// the part that needs no WebGL and makes no code at run time. Compressed: it would be the largest part of the program.
const PLOTLY: &[u8] = include_bytes!("page/plotly-basic-4.1.1.min.js.gz");
/// Draws the pictures, in the colours of the theme.
const SCRIPT: &str = include_str!("page/script.js");
/// The page's looks, and the colours of both themes.
const STYLE: &str = include_str!("page/style.css");

/// The page as a whole.
///
/// # Panics
/// Never: what is unpacked is a part of the program, and a test unpacks it.
pub(super) fn page(report: &Report<'_>) -> String {
    let run = report.run;
    let view = View::of(run);
    let sections = pictures::of_report(report, &view);
    let plotly = plotly();
    let data = json!({ "pictures": sections.iter().flat_map(|section| &section.pictures).map(picture_json).collect::<Vec<_>>() });
    let policy = format!(
        "default-src 'none'; script-src '{}' '{}'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'",
        source_digest(&plotly),
        source_digest(SCRIPT)
    );
    let body: String =
        [header(run), cards(report), sections_html(&sections), tables(report, &view), footer(run)].concat();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} · Broadsweep</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}\
         <script id=\"data\" type=\"application/json\">{data}</script>\n\
         <script>{plotly}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        title = html(&run.study),
        data = script_json(&data),
    )
}

fn plotly() -> String {
    let mut script = String::new();
    let unpacked = GzDecoder::new(PLOTLY).read_to_string(&mut script);
    unpacked.unwrap_or_else(|error| unreachable!("the program's own script is whole: {error}"));
    script
}

/// How a policy names a script by its content.
fn source_digest(script: &str) -> String {
    format!("sha256-{}", base64(&Sha256::digest(script.as_bytes())))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let whole = group.iter().chain([&0, &0]).take(3).fold(0_usize, |whole, byte| whole << 8 | usize::from(*byte));
        let digits = (0..4).map(|place| DIGITS[whole >> (18 - 6 * place) & 63] as char);
        text.extend(digits.take(group.len() + 1));
        text.extend(std::iter::repeat_n('=', 3 - group.len()));
    }
    text
}

fn picture_json(picture: &Picture) -> Value {
    json!({ "id": picture.id, "traces": picture.traces, "layout": picture.layout, "height": picture.height })
}

fn header(run: &RunRecord) -> String {
    let sentence = best_sentence(run);
    let mut letters = sentence.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!(
        "<header>\n<div><p class=\"brand\">Broadsweep</p>\n<h1>{}</h1>\n<p class=\"lead\">{}.</p></div>\n\
         <button id=\"theme\" type=\"button\" hidden>dark</button>\n</header>\n\
         <noscript><p class=\"note\">Pictures need JavaScript; the tables do not.</p></noscript>\n",
        html(&run.study),
        html(&(first + letters.as_str()))
    )
}

/// The numbers that one looks for first.
fn cards(report: &Report<'_>) -> String {
    let run = report.run;
    let test = |trial: &TrialRecord| {
        let error = trial.metric(&MetricName::TEST_ERROR)?;
        Some(metric_text(run.loss, &MetricName::TEST_ERROR, error))
    };
    let value = |trial: &TrialRecord| Some(metric_text(run.loss, &run.objective().metric, run.value_of(trial)?));
    let test_error = title(run.loss, &MetricName::TEST_ERROR);
    // What ranks is told by its name, where it is no error.
    let objective = Some(title(run.loss, &run.objective().metric)).filter(|_| !is_error(&run.objective().metric));
    let counts = run.counts();
    let mut cards: Vec<(Cow<'_, str>, String)> = Vec::new();
    if let Some(best) = run.best() {
        let error = if run.loss == Loss::MeanSquaredError { "root mean square error" } else { "error" };
        let selected = format!("best {}", objective.as_deref().unwrap_or(error)).into();
        let shown = test(best).map(|error| (format!("best, {test_error}").into(), error));
        cards.extend(shown.or_else(|| Some((selected, value(best)?))));
    }
    let control = run.control_trial();
    let tested = control.and_then(|control| Some((format!("control, {test_error}").into(), test(control)?)));
    let named = || Some((format!("control, {}", objective.as_ref()?).into(), value(control?)?));
    cards.extend(tested.or_else(named));
    let ended = counts.ended();
    if let Some(answers) = &run.answers {
        cards.extend(super::answers::cards(answers));
    }
    cards.push((
        format!("{}s over", run.noun()).into(),
        if ended == counts.planned { ended.to_string() } else { format!("{ended} of {}", counts.planned) },
    ));
    if let Some(comparison) = report.comparison {
        cards.extend(comparison.sizes.last().map(|size| ("executors at most".into(), size.executors.to_string())));
        cards.extend(comparison.sizes.last().map(|size| ("speedup there".into(), format!("{:.1}", size.speedup))));
        cards.push((
            "results of all sizes".into(),
            match &comparison.spread {
                Some(spread) if comparison.agree => {
                    format!("{} apart at most", short_real(spread.largest))
                }
                _ => if comparison.agree { "the same" } else { "not the same" }.to_owned(),
            },
        ));
        return cards_html(cards);
    }
    let wall = std::time::Duration::try_from_secs_f64(run.wall_s).unwrap_or_default();
    cards.push(("wall time".into(), duration_text(wall)));
    cards.push((if run.executors == 1 { "executor" } else { "executors" }.into(), run.executors.to_string()));
    cards.push((if run.slots == 1 { "slot" } else { "slots" }.into(), run.slots.to_string()));
    cards_html(cards)
}

fn cards_html(cards: Vec<(Cow<'_, str>, String)>) -> String {
    let card = |(name, value): (Cow<'_, str>, String)| {
        format!("<div><dt>{}</dt><dd>{}</dd></div>\n", html(&name), html(&value))
    };
    format!("<dl class=\"cards\">\n{}</dl>\n", cards.into_iter().map(card).collect::<String>())
}

fn sections_html(sections: &[Section]) -> String {
    let picture = |picture: &Picture| {
        let title = picture.title.as_ref().map(|title| format!("<h3>{}</h3>", html(title))).unwrap_or_default();
        let (id, height) = (&picture.id, picture.height);
        format!("<figure>{title}<div class=\"plot\" id=\"plot-{id}\" style=\"height:{height}px\"></div></figure>\n")
    };
    let section = |section: &Section| {
        let pictures: String = section.pictures.iter().map(picture).collect();
        let class = if section.pictures.len() > 1 { "pictures many" } else { "pictures" };
        let pictures =
            if pictures.is_empty() { pictures } else { format!("<div class=\"{class}\">\n{pictures}</div>\n") };
        format!("<section>\n<h2>{}</h2>\n<p>{}</p>\n{pictures}</section>\n", html(section.title), section.sentence)
    };
    sections.iter().map(section).collect()
}

fn tables(report: &Report<'_>, view: &View<'_>) -> String {
    let run = report.run;
    let item = |sentence: &String| format!("<li>{}</li>\n", html(sentence));
    let sentences: String = remarks(run).iter().map(item).collect();
    let sheets: String = sheets::of_report(report, view).iter().map(sheet_html).collect();
    format!("{sheets}<section>\n<h2>Remarks</h2>\n<ul>\n{sentences}</ul>\n</section>\n")
}

fn sheet_html(sheet: &Sheet) -> String {
    let class = |column: usize| if sheet.columns[column].is_number { " class=\"number\"" } else { "" };
    let heading =
        |(place, column): (usize, &sheets::Column)| format!("<th{}>{}</th>", class(place), html(&column.name));
    let cell = |(place, cell): (usize, &String)| format!("<td{}>{}</td>", class(place), html(cell));
    let row = |row: &Vec<String>| format!("<tr>{}</tr>\n", row.iter().enumerate().map(cell).collect::<String>());
    format!(
        "<section>\n<h2>{}</h2>\n<div class=\"table\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody>\n</table></div>\n{}</section>\n",
        html(sheet.title),
        sheet.columns.iter().enumerate().map(heading).collect::<String>(),
        sheet.rows.iter().map(row).collect::<String>(),
        sheet.note.as_ref().map(|note| format!("<p class=\"note\">{}</p>\n", html(note))).unwrap_or_default(),
    )
}

fn footer(run: &RunRecord) -> String {
    format!(
        "<footer>\n<p>Broadsweep {} · kernel {} · seed {} · {} · results <code>{}</code></p>\n</footer>\n",
        html(&run.build),
        html(&run.kernel),
        run.seed,
        counted(run.attempts.len() as u64, "attempt"),
        run.results_sha256()
    )
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
