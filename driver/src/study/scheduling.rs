//! The tables `[scheduling]`, how patient the scheduler is (values and ranges are its own), and `[checkpoints]`, what is
//! kept of running trials.

use std::ops::RangeInclusive;

use broadsweep_common::configuration::Value;

use super::CheckpointSettings;
use super::diagnostic::Diagnostic;
use super::reader::{Node, Table};
use broadsweep_scheduler::SchedulingConfig;

const KEYS: &[&str] = &[
    "failures_max",
    "losses_max",
    "backoff_ms",
    "exclude_after",
    "probe_ms",
    "reconnect_ms",
    "hang_factor",
    "hang_ms_min",
    "copies",
];

/// Each key has the default of [`SchedulingConfig`].
pub(super) fn read(node: &Node<'_>) -> Result<SchedulingConfig, Diagnostic> {
    let table = node.table("[scheduling]", "[scheduling] ")?;
    table.allow(KEYS, |_| None)?;
    let defaults = SchedulingConfig::default();
    Ok(SchedulingConfig {
        failures_max: tries(&table, "failures_max", defaults.failures_max)?,
        losses_max: tries(&table, "losses_max", defaults.losses_max)?,
        backoff_ms: whole(&table, "backoff_ms", SchedulingConfig::BACKOFF_MS, defaults.backoff_ms)?,
        exclude_after: tries(&table, "exclude_after", defaults.exclude_after)?,
        probe_ms: whole(&table, "probe_ms", SchedulingConfig::PROBE_MS, defaults.probe_ms)?,
        reconnect_ms: whole(&table, "reconnect_ms", SchedulingConfig::RECONNECT_MS, defaults.reconnect_ms)?,
        hang_factor: table.get("hang_factor").map_or(Ok(defaults.hang_factor), |node| factor(&node))?,
        hang_ms_min: whole(&table, "hang_ms_min", SchedulingConfig::HANG_MS_MIN, defaults.hang_ms_min)?,
        copies: table.get("copies").map_or(Ok(defaults.copies), |node| node.flag())?,
    })
}

/// Reads `[checkpoints]`.
pub(super) fn read_checkpoints(node: &Node<'_>) -> Result<CheckpointSettings, Diagnostic> {
    const INTERVAL_MS_MAX: u64 = 86_400_000;
    let table = node.table("[checkpoints]", "[checkpoints] ")?;
    table.allow(&["interval_ms", "bytes_per_s"], |_| None)?;
    let defaults = CheckpointSettings::default();
    Ok(CheckpointSettings {
        interval_ms: whole(&table, "interval_ms", 0..=INTERVAL_MS_MAX, defaults.interval_ms)?,
        bytes_per_s: whole(&table, "bytes_per_s", 0..=i64::MAX as u64, defaults.bytes_per_s)?,
    })
}

fn tries(table: &Table<'_>, key: &str, default: u32) -> Result<u32, Diagnostic> {
    let (min, max) = SchedulingConfig::TRIES.into_inner();
    let given = table.get(key).map(|node| node.whole(i64::from(min), i64::from(max))).transpose()?;
    Ok(given.map_or(default, |tries| tries as u32))
}

fn whole(table: &Table<'_>, key: &str, range: RangeInclusive<u64>, default: u64) -> Result<u64, Diagnostic> {
    let (min, max) = range.into_inner();
    let given = table.get(key).map(|node| node.whole(min as i64, max as i64)).transpose()?;
    Ok(given.map_or(default, |value| value as u64))
}

fn factor(node: &Node<'_>) -> Result<f64, Diagnostic> {
    let range = SchedulingConfig::HANG_FACTOR;
    let given = match node.scalar() {
        Ok(Value::Real(real)) => Some(real),
        Ok(Value::Integer(integer)) => Some(integer as f64),
        _ => None,
    };
    let expected = || node.refused(&format!("a number from {} to {}", range.start(), range.end()));
    given.filter(|factor| range.contains(factor)).ok_or_else(expected)
}
