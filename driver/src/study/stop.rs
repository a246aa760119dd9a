//! `[search] stop`: when the search ends before its sampler does.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use broadsweep_common::configuration::Value;
use broadsweep_search::StopRules;

use super::diagnostic::Diagnostic;
use super::reader::{Node, Table};
use super::{ReplaySettings, Trainer};
use crate::time_span::TimeSpan;

const KEYS: &[&str] = &["target", "no_progress", "epochs", "flops", "max_time"];
/// Trials and epochs that a rule can be of.
const COUNT_MAX: i64 = 1_000_000_000_000;

/// Reads `stop`: the rules of the search, and the time after which nothing more is begun. Nothing of it where it is not
/// written.
pub(super) fn read(table: &Table<'_>, trainer: &Trainer) -> Result<(StopRules, Option<Duration>), Diagnostic> {
    let Some(node) = table.get("stop") else { return Ok((StopRules::default(), None)) };
    if matches!(trainer, Trainer::Replay(ReplaySettings::Recorded { .. })) {
        return Err(node
            .error("recorded trials are replayed in their order, to the last one")
            .with_note("leave `stop` out; for fewer of them, write `trials`"));
    }
    let rules = node.table("[search] stop", "[search] stop: ")?;
    rules.allow(KEYS, |_| None)?;
    let target = rules.get("target").map(|node| number(&node, "a finite number")).transpose()?;
    let no_progress = rules.get("no_progress").map(|node| node.whole(1, i64::from(u32::MAX))).transpose()?;
    let epochs = rules.get("epochs").map(|node| node.whole(1, COUNT_MAX)).transpose()?;
    let cost = rules.get("flops").map(|node| read_flops(&node, trainer)).transpose()?;
    let read = StopRules {
        target,
        no_progress: no_progress.and_then(|trials| NonZeroU32::new(trials as u32)),
        epochs: epochs.and_then(|epochs| NonZeroU64::new(epochs as u64)),
        cost,
    };
    let max_time = rules.get("max_time").map(|node| read_time(&node)).transpose()?;
    if !read.is_any() && max_time.is_none() {
        return Err(node.error("`stop` has no rule").with_note("write, for example, stop = { no_progress = 20 }"));
    }
    Ok((read, max_time))
}

fn read_time(node: &Node<'_>) -> Result<Duration, Diagnostic> {
    let Ok(Value::Choice(text)) = node.scalar() else { return Err(node.refused("a span of time, as \"2h\"")) };
    let span: TimeSpan = text.parse().map_err(|bad: String| node.error(bad))?;
    Ok(span.0)
}

fn number(node: &Node<'_>, expected: &str) -> Result<f64, Diagnostic> {
    match node.scalar() {
        Ok(Value::Integer(integer)) => Ok(integer as f64),
        Ok(Value::Real(real)) if real.is_finite() => Ok(real),
        Ok(Value::Real(_) | Value::Choice(_) | Value::Flag(_)) | Err(_) => Err(node.refused(expected)),
    }
}

/// FLOPs are counted of networks only.
fn read_flops(node: &Node<'_>, trainer: &Trainer) -> Result<NonZeroU64, Diagnostic> {
    if !matches!(trainer, Trainer::Network { .. }) {
        return Err(node.error("FLOPs are counted of networks only").with_note("write `epochs` instead"));
    }
    let flops = number(node, "a number from 1 on")?;
    let whole = flops.round().clamp(0.0, u64::MAX as f64) as u64;
    NonZeroU64::new(whole).ok_or_else(|| node.refused("a number from 1 on"))
}
