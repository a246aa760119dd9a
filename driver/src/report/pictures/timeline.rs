//! What each slot did when: an attempt a bar. Beyond some hundreds of attempts, how busy each executor was, in steps.

use std::collections::BTreeMap;

use broadsweep_common::ids::ExecutorId;
use serde_json::{Value, json};

use super::super::picture::{Picture, Section, time_axis};
use super::super::text::{label, long_label, number, numbers, percent};
use super::super::view::View;
use crate::records::attempt::{AttemptEnd, AttemptRecord, Yield};
use crate::records::run::Purpose;
use crate::results::show::counted;

const TITLE: &str = "What ran where, and when";
/// Attempts with a bar each.
const BARS_MAX: usize = 400;
/// Rows of the picture.
const LANES_MAX: usize = 40;
/// Steps of all rows together.
const STEPS_MAX: usize = 2400;
/// Marks for attempts that came to nothing.
const MARKS_MAX: usize = 200;
/// Characters of a reason beside a mark.
const REASON_CHARACTERS_MAX: usize = 100;

/// What became of an attempt, as the picture tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Trained,
    Measured,
    Applied,
    Examined,
    Checked,
    Stopped,
    Beaten,
    Lost,
    Running,
}

impl Kind {
    fn of(view: &View<'_>, attempt: &AttemptRecord) -> Self {
        let task = attempt.attempt.task;
        let is_look = matches!(view.run.purpose_of(task), Some(Purpose::Examination(..)));
        let is_application = matches!(view.run.purpose_of(task), Some(Purpose::Application { .. }));
        let is_measure = view.run.trained_by(task).is_none();
        match attempt.end.as_ref().map(AttemptEnd::yields) {
            Some(Yield::Result) if view.run.is_check(task) => Self::Checked,
            Some(Yield::Result) if is_look => Self::Examined,
            Some(Yield::Result) if is_application => Self::Applied,
            Some(Yield::Result) if is_measure => Self::Measured,
            Some(Yield::Result) => Self::Trained,
            Some(Yield::Checkpoint) => Self::Stopped,
            Some(Yield::Duplicate) => Self::Beaten,
            Some(Yield::Nothing) => Self::Lost,
            None => Self::Running,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Trained => "trained",
            Self::Measured => "looked at the test rows",
            Self::Applied => "answered",
            Self::Examined => "looked at the answers of the best",
            Self::Checked => "trained again, to see who is right",
            Self::Stopped => "stopped, to go on",
            Self::Beaten => "copy that was beaten",
            Self::Lost => "lost or failed",
            Self::Running => "running at the end",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Trained => "@series-0",
            Self::Measured | Self::Applied => "@series-2",
            Self::Examined => "@series-5",
            Self::Checked => "@series-3",
            Self::Stopped => "@series-4",
            Self::Beaten => "@muted",
            Self::Lost => "@bad",
            Self::Running => "@faint",
        }
    }
}

/// One attempt in its row.
struct Bar<'a> {
    attempt: &'a AttemptRecord,
    kind: Kind,
    slot: usize,
    from_s: f64,
    to_s: f64,
}

pub(super) fn section(view: &View<'_>) -> Section {
    let by_executor = bars(view);
    if by_executor.is_empty() {
        return Section::without_picture(TITLE, "No attempt was launched.");
    }
    let end_s = by_executor.values().flatten().map(|bar| bar.to_s).fold(view.run.wall_s, f64::max);
    let lanes: usize = by_executor.values().map(|bars| slots(bars)).sum();
    let (axis, unit_s) = time_axis(end_s, "time since the start");
    let (traces, names, sentence) = if view.run.attempts.len() <= BARS_MAX && lanes <= LANES_MAX {
        single(view, &by_executor, unit_s)
    } else {
        stepped(view, &by_executor, end_s, unit_s)
    };
    let layout = json!({
        "xaxis": axis,
        "yaxis": {
            "tickvals": (0..names.len()).collect::<Vec<_>>(), "ticktext": names, "autorange": false,
            "range": [names.len() as f64 - 0.4, -0.6], "automargin": true, "showgrid": false, "zeroline": false,
            "tickfont": { "size": 11 },
        },
        "barmode": "overlay", "bargap": 0.2, "showlegend": true, "hovermode": "closest",
        "uniformtext": { "mode": "hide", "minsize": 9 },
    });
    let height = 150 + 24 * names.len().max(2) as u32;
    let picture = Picture { id: "timeline".to_owned(), title: None, traces, layout, height };
    Section { title: TITLE, sentence, pictures: vec![picture] }
}

/// The attempts of each executor in the order of their launch, each in the first row that is free.
fn bars<'a>(view: &View<'a>) -> BTreeMap<ExecutorId, Vec<Bar<'a>>> {
    let mut by_executor: BTreeMap<ExecutorId, Vec<Bar<'a>>> = BTreeMap::new();
    for attempt in &view.run.attempts {
        let kind = Kind::of(view, attempt);
        let from_s = if attempt.started_s.is_finite() { attempt.started_s.max(0.0) } else { 0.0 };
        let ended_s = if kind == Kind::Running { view.run.wall_s } else { attempt.ended_s };
        let to_s = if ended_s.is_finite() { ended_s.max(from_s) } else { from_s };
        by_executor.entry(attempt.executor).or_default().push(Bar { attempt, kind, slot: 0, from_s, to_s });
    }
    for bars in by_executor.values_mut() {
        bars.sort_by(|one, other| one.from_s.total_cmp(&other.from_s));
        let mut free_at: Vec<f64> = Vec::new();
        for bar in bars {
            let free = free_at.iter().position(|at| *at <= bar.from_s);
            bar.slot = free.unwrap_or(free_at.len());
            match free {
                Some(slot) => free_at[slot] = bar.to_s,
                None => free_at.push(bar.to_s),
            }
        }
    }
    by_executor
}

/// Slots that were in use at the same time.
fn slots(bars: &[Bar<'_>]) -> usize {
    bars.iter().map(|bar| bar.slot + 1).max().unwrap_or_default()
}

type Drawn = (Vec<Value>, Vec<String>, String);

/// A bar an attempt, a row a slot.
fn single(view: &View<'_>, by_executor: &BTreeMap<ExecutorId, Vec<Bar<'_>>>, unit_s: f64) -> Drawn {
    let mut names = Vec::new();
    let mut by_kind: BTreeMap<Kind, Vec<(usize, &Bar<'_>)>> = BTreeMap::new();
    for (executor, bars) in by_executor {
        let first = names.len();
        let (name, count) = (label(view.run.executor_name(*executor)), slots(bars));
        names.extend((0..count).map(|slot| if count == 1 { name.clone() } else { format!("{name} · {}", slot + 1) }));
        for bar in bars {
            by_kind.entry(bar.kind).or_default().push((first + bar.slot, bar));
        }
    }
    let trace = |(kind, bars): (Kind, Vec<(usize, &Bar<'_>)>)| {
        let trial = |bar: &Bar<'_>| {
            let task = bar.attempt.attempt.task;
            match (view.run.purpose_of(task), view.run.trained_by(task)) {
                (Some(Purpose::Application { partition }), _) => partition.to_string(),
                (_, trial) => trial.map(|trial| trial.trial.0.to_string()).unwrap_or_default(),
            }
        };
        json!({
            "type": "bar", "orientation": "h", "name": kind.name(),
            "y": bars.iter().map(|(row, _)| row).collect::<Vec<_>>(),
            "base": numbers(bars.iter().map(|(_, bar)| bar.from_s / unit_s)),
            "x": numbers(bars.iter().map(|(_, bar)| (bar.to_s - bar.from_s) / unit_s)),
            "text": bars.iter().map(|(_, bar)| trial(bar)).collect::<Vec<_>>(),
            "textposition": "inside", "insidetextanchor": "middle", "textangle": 0,
            "insidetextfont": { "color": "@paper" },
            "hovertext": bars.iter().map(|(_, bar)| bar_text(view, bar)).collect::<Vec<_>>(),
            "hovertemplate": "%{hovertext}<extra></extra>",
            "marker": { "color": kind.colour(), "line": { "color": "@paper", "width": 1 } },
        })
    };
    let lost = by_kind.get(&Kind::Lost).map_or(0, Vec::len);
    let traces = by_kind.into_iter().map(trace).collect();
    let mut sentence = format!(
        "{}, each a bar with the number of its {}",
        counted(view.run.attempts.len() as u64, "attempt"),
        view.run.noun()
    );
    sentence.push_str(&busy(view));
    if lost > 0 {
        sentence.extend([format!(" {lost} of them were lost or failed.")]);
    }
    (traces, names, sentence)
}

fn bar_text(view: &View<'_>, bar: &Bar<'_>) -> String {
    let attempt = bar.attempt;
    let end = attempt.end.as_ref().map_or("still running", AttemptEnd::word);
    let reason = attempt.end.as_ref().map(AttemptEnd::reason).unwrap_or_default();
    let reason = long_label(&reason, REASON_CHARACTERS_MAX);
    let reason = if reason.is_empty() { reason } else { format!("<br>{reason}") };
    let executor = label(view.run.executor_name(attempt.executor));
    let seconds = bar.to_s - bar.from_s;
    format!(
        "{} on {executor}<br>{end} after {seconds:.1} s, epochs {} to {}{reason}",
        attempt.attempt, attempt.from_epoch, attempt.epoch
    )
}

/// A row an executor, in steps whose strength says how many of its slots were at work; marks for what was lost.
fn stepped(view: &View<'_>, by_executor: &BTreeMap<ExecutorId, Vec<Bar<'_>>>, end_s: f64, unit_s: f64) -> Drawn {
    let shown: Vec<_> = by_executor.iter().take(LANES_MAX).collect();
    let steps = (STEPS_MAX / shown.len()).clamp(20, 120);
    let step_s = (end_s / steps as f64).max(f64::MIN_POSITIVE);
    let (mut rows, mut starts, mut opacities, mut texts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (row, (_, bars)) in shown.iter().enumerate() {
        for (step, busy_s) in busy_by_step(bars, step_s, steps).into_iter().enumerate() {
            let share = busy_s / (step_s * slots(bars) as f64);
            if share > 0.005 {
                rows.push(row);
                starts.push(step as f64 * step_s / unit_s);
                opacities.push(0.15 + 0.85 * share.min(1.0));
                texts.push(format!("{} of its slots at work", percent(share.min(1.0))));
            }
        }
    }
    let names = shown.iter().map(|(executor, _)| label(view.run.executor_name(**executor))).collect();
    let at_work = json!({
        "type": "bar", "orientation": "h", "name": "slots at work", "y": rows, "base": numbers(starts.iter().copied()),
        "x": numbers(starts.iter().map(|_| step_s / unit_s)), "hovertext": texts,
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": { "color": "@series-0", "opacity": numbers(opacities), "line": { "width": 0 } },
    });
    let (marks, lost) = marks(view, &shown, unit_s);
    let mut sentence = format!(
        "How many of each executor's slots were at work, over {}",
        counted(view.run.attempts.len() as u64, "attempt")
    );
    sentence.push_str(&busy(view));
    match lost {
        0 => {}
        1..=MARKS_MAX => sentence.extend([format!(" Crosses mark the {lost} that were lost or failed.")]),
        _ => sentence.extend([format!(" Crosses mark {MARKS_MAX} of the {lost} that were lost or failed.")]),
    }
    if by_executor.len() > shown.len() {
        sentence.extend([format!(" The first {} of {} executors are shown.", shown.len(), by_executor.len())]);
    }
    ([at_work].into_iter().chain(marks).collect(), names, sentence)
}

/// The seconds of each step that the bars of one executor cover, all slots together.
fn busy_by_step(bars: &[Bar<'_>], step_s: f64, steps: usize) -> Vec<f64> {
    let mut busy = vec![0.0; steps];
    for bar in bars {
        let (first, last) = ((bar.from_s / step_s) as usize, (bar.to_s / step_s) as usize);
        for (step, busy_s) in busy.iter_mut().enumerate().take(last + 1).skip(first) {
            let (from, to) = (step as f64 * step_s, (step + 1) as f64 * step_s);
            *busy_s += (bar.to_s.min(to) - bar.from_s.max(from)).max(0.0);
        }
    }
    busy
}

/// A cross where an attempt came to nothing, and how many there were.
fn marks(view: &View<'_>, shown: &[(&ExecutorId, &Vec<Bar<'_>>)], unit_s: f64) -> (Option<Value>, usize) {
    let rows = shown.iter().enumerate().flat_map(|(row, (_, bars))| bars.iter().map(move |bar| (row, bar)));
    let lost: Vec<_> = rows.filter(|(_, bar)| bar.kind == Kind::Lost).collect();
    let step = lost.len().div_ceil(MARKS_MAX).max(1);
    let marked: Vec<_> = lost.iter().step_by(step).collect();
    let trace = (!marked.is_empty()).then(|| {
        json!({
            "type": "scatter", "mode": "markers", "name": Kind::Lost.name(),
            "x": numbers(marked.iter().map(|(_, bar)| bar.to_s / unit_s)),
            "y": marked.iter().map(|(row, _)| row).collect::<Vec<_>>(),
            "text": marked.iter().map(|(_, bar)| bar_text(view, bar)).collect::<Vec<_>>(),
            "hovertemplate": "%{text}<extra></extra>",
            "marker": { "color": Kind::Lost.colour(), "symbol": "x", "size": 9, "line": { "color": "@paper", "width": 1 } },
        })
    });
    (trace, lost.len())
}

/// The share of all slots' time that attempts took.
fn busy(view: &View<'_>) -> String {
    let whole_s = f64::from(view.run.slots) * view.run.wall_s;
    let busy_s: f64 = view.run.attempts.iter().map(|attempt| attempt.training_s + attempt.evaluation_s).sum();
    let share = busy_s / whole_s;
    let slots = counted(u64::from(view.run.slots), "slot");
    if !(0.0..=1.005).contains(&share) || number(share).is_null() {
        return ".".to_owned();
    }
    format!(": training and measuring took {} of the time of {slots}.", percent(share.min(1.0)))
}
