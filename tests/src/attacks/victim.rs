//! What an attacked process takes of the machine.

use std::fs;
use std::time::Duration;

/// Ticks of the clock that `/proc` counts in, a second.
const TICKS: u64 = 100;

/// What a process has taken so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Of the processors.
    pub cpu: Duration,
    /// The most memory that it ever had, in bytes.
    pub memory_peak: u64,
}

/// What the process has taken; `None` once it is gone.
#[must_use]
pub fn taken(process: u32) -> Option<Taken> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?; // after the name, which may hold anything
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
    Some(Taken { cpu: Duration::from_millis(ticks * 1000 / TICKS), memory_peak: kilobytes * 1024 })
}
