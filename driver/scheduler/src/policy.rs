//! How patient the scheduler is: a written form and a checked form.

use std::ops::RangeInclusive;
use std::time::Duration;

use broadsweep_common::ids::TaskId;
use serde::Deserialize;

/// No wait between two attempts is longer, however often it doubled.
const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// Waits of as many sizes, from one to two times what they are, keep apart what was launched together.
const APART: u32 = 16;

/// How often the wait of an excluded executor doubles at most: up to 16 times the first.
const PROBE_DOUBLINGS_MAX: u32 = 4;

/// The written form: the `[scheduling]` table of a study.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulingConfig {
    /// Failures of the program itself before a task is given up. 1 where a failure is always the configuration's
    /// fault, so that trying again is a waste; more where the program fails now and then.
    pub failures_max: u32,
    /// Executors that a task may lose without reaching a new checkpoint before it is given up: a task that kills its
    /// host stops here, and so does one whose launch ends each session. Its last try is made on another executor, if
    /// there is one. More on machines that are taken away at any time, as spot instances are, and on networks that are
    /// often cut.
    pub losses_max: u32,
    /// Wait after the first failure, or after a session ended on the launch; doubles at each further one, up to a
    /// minute. More where a failure comes from something outside that needs time to recover, as a shared disk does.
    pub backoff_ms: u64,
    /// Failures in a row, of whatever tasks, after which an executor is excluded if others work; that its process ended with
    /// what was launched there, before anything came of it, is one. More where many
    /// configurations fail by themselves, so that healthy executors are not suspected.
    pub exclude_after: u32,
    /// Wait before a task probes an excluded executor; doubles after each failed probe, up to 16 times. Less where
    /// nodes recover by themselves, more where each probe is a long task lost.
    pub probe_ms: u64,
    /// How long an executor may be out of reach before its attempts are made again elsewhere. More on networks that
    /// are often cut for longer; 0 to make them again at once.
    pub reconnect_ms: u64,
    /// How many times its forecast an epoch may take before its attempt counts as hung. More where epochs of one
    /// task differ widely.
    pub hang_factor: f64,
    /// No attempt counts as hung earlier after its last epoch. More where starting a program, or bringing its result
    /// home, takes long.
    pub hang_ms_min: u64,
    /// Whether slots that are free get a second copy of a slow attempt. `false` where a task must not run twice at a
    /// time: a program that writes to one place, a metered licence.
    pub copies: bool,
}

impl Default for SchedulingConfig {
    fn default() -> Self {
        Self {
            failures_max: 4,
            losses_max: 3,
            backoff_ms: 1000,
            exclude_after: 3,
            probe_ms: 30_000,
            reconnect_ms: 10_000,
            hang_factor: 10.0,
            hang_ms_min: 60_000,
            copies: true,
        }
    }
}

/// A value of [`SchedulingConfig`] that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// It is outside its range.
    #[error("{name} is {value}; {min} to {max} are possible")]
    OutOfRange {
        /// The field.
        name: &'static str,
        /// What it says.
        value: f64,
        /// The least that makes sense.
        min: f64,
        /// The most.
        max: f64,
    },
}

impl SchedulingConfig {
    /// What `failures_max`, `losses_max` and `exclude_after` may be: more tries are a slip of the pen.
    pub const TRIES: RangeInclusive<u32> = 1..=1000;
    /// What `backoff_ms` may be: up to the longest wait.
    pub const BACKOFF_MS: RangeInclusive<u64> = 0..=60_000;
    /// What `probe_ms` may be: up to an hour.
    pub const PROBE_MS: RangeInclusive<u64> = 1..=3_600_000;
    /// What `reconnect_ms` may be: up to an hour.
    pub const RECONNECT_MS: RangeInclusive<u64> = 0..=3_600_000;
    /// What `hang_factor` may be.
    pub const HANG_FACTOR: RangeInclusive<f64> = 1.0..=1000.0;
    /// What `hang_ms_min` may be: up to a day.
    pub const HANG_MS_MIN: RangeInclusive<u64> = 1..=86_400_000;

    /// Checks every value once, at start-up; the scheduler accepts only a [`SchedulingPolicy`].
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is out of its range.
    pub fn validate(&self) -> Result<SchedulingPolicy, ConfigError> {
        let ms = |range: RangeInclusive<u64>| *range.start() as f64..=*range.end() as f64;
        let tries = f64::from(*Self::TRIES.start())..=f64::from(*Self::TRIES.end());
        for (name, value, range) in [
            ("failures_max", f64::from(self.failures_max), tries.clone()),
            ("losses_max", f64::from(self.losses_max), tries.clone()),
            ("backoff_ms", self.backoff_ms as f64, ms(Self::BACKOFF_MS)),
            ("exclude_after", f64::from(self.exclude_after), tries),
            ("probe_ms", self.probe_ms as f64, ms(Self::PROBE_MS)),
            ("reconnect_ms", self.reconnect_ms as f64, ms(Self::RECONNECT_MS)),
            ("hang_factor", self.hang_factor, Self::HANG_FACTOR),
            ("hang_ms_min", self.hang_ms_min as f64, ms(Self::HANG_MS_MIN)),
        ] {
            if !range.contains(&value) {
                return Err(ConfigError::OutOfRange { name, value, min: *range.start(), max: *range.end() });
            }
        }
        Ok(SchedulingPolicy(*self))
    }
}

/// The checked form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SchedulingPolicy(SchedulingConfig);

impl SchedulingPolicy {
    pub(super) fn failures_max(&self) -> u32 {
        self.0.failures_max
    }

    pub(super) fn losses_max(&self) -> u32 {
        self.0.losses_max
    }

    pub(super) fn exclude_after(&self) -> u32 {
        self.0.exclude_after
    }

    pub(super) fn copies(&self) -> bool {
        self.0.copies
    }

    /// The same where nothing hangs and nobody makes copies.
    pub(super) fn unhurried(&self) -> Self {
        Self(SchedulingConfig { copies: false, hang_ms_min: u64::MAX, ..self.0 })
    }

    /// How long an executor may be away.
    #[must_use]
    pub fn reconnect(&self) -> Duration {
        Duration::from_millis(self.0.reconnect_ms)
    }

    /// The wait before the attempt that follows failure number `failures` (from 1).
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        Duration::from_millis(doubled(self.0.backoff_ms, failures.saturating_sub(1))).min(BACKOFF_MAX)
    }

    /// The wait before a task is launched again whose launch was lost with a session, as loss number `losses` (from 1).
    /// Different for tasks that were launched together: one of them may have ended the session, and must not take the
    /// others with it each time.
    pub(super) fn launch_backoff(&self, losses: u32, task: TaskId) -> Duration {
        self.backoff(losses) * (APART + task.0 % APART) / APART
    }

    /// The wait before an excluded executor is probed after `probes` failed ones.
    pub(super) fn probe_wait(&self, probes: u32) -> Duration {
        Duration::from_millis(doubled(self.0.probe_ms, probes.min(PROBE_DOUBLINGS_MAX)))
    }

    /// How long an attempt may be silent whose next epoch is forecast to take `epoch`.
    pub(super) fn hang_after(&self, epoch: Duration) -> Duration {
        let forecast_us = epoch.as_micros() as f64 * self.0.hang_factor;
        Duration::from_micros(forecast_us as u64).max(Duration::from_millis(self.0.hang_ms_min))
    }

    /// The same where nothing was measured yet, so that only an absurdly slow machine would take `generous`.
    pub(super) fn hang_after_unmeasured(&self, generous: Duration) -> Duration {
        Duration::from_millis(self.0.hang_ms_min).saturating_add(generous)
    }
}

fn doubled(ms: u64, doublings: u32) -> u64 {
    ms.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_the_wait_doubles_up_to_a_minute() {
        let policy = SchedulingConfig::default().validate().unwrap();
        let waits_s: Vec<u64> = (1..=8).map(|failures| policy.backoff(failures).as_secs()).collect();
        assert_eq!(waits_s, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.backoff(u32::MAX), Duration::from_mins(1));
    }

    #[test]
    fn the_wait_for_a_probe_doubles_up_to_sixteen_times() {
        let policy = SchedulingConfig::default().validate().unwrap();
        let waits_s: Vec<u64> = (0..7).map(|probes| policy.probe_wait(probes).as_secs()).collect();
        assert_eq!(waits_s, [30, 60, 120, 240, 480, 480, 480]);
    }

    #[test]
    fn an_attempt_may_be_silent_for_ten_epochs_and_for_a_minute_at_least() {
        let policy = SchedulingConfig::default().validate().unwrap();
        assert_eq!(policy.hang_after(Duration::from_secs(1)), Duration::from_mins(1));
        assert_eq!(policy.hang_after(Duration::from_mins(1)), Duration::from_mins(10));
        assert_eq!(policy.hang_after_unmeasured(Duration::from_secs(5)), Duration::from_secs(65));
        assert!(policy.hang_after(Duration::MAX) > Duration::from_hours(1000));
    }

    #[test]
    fn each_value_out_of_range_is_named() {
        let good = SchedulingConfig::default();
        let rows = [
            (SchedulingConfig { failures_max: 0, ..good }, "failures_max is 0; 1 to 1000 are possible"),
            (SchedulingConfig { failures_max: 1001, ..good }, "failures_max is 1001; 1 to 1000 are possible"),
            (SchedulingConfig { losses_max: 0, ..good }, "losses_max is 0; 1 to 1000 are possible"),
            (SchedulingConfig { backoff_ms: 60_001, ..good }, "backoff_ms is 60001; 0 to 60000 are possible"),
            (SchedulingConfig { exclude_after: 0, ..good }, "exclude_after is 0; 1 to 1000 are possible"),
            (SchedulingConfig { probe_ms: 0, ..good }, "probe_ms is 0; 1 to 3600000 are possible"),
            (
                SchedulingConfig { reconnect_ms: 3_600_001, ..good },
                "reconnect_ms is 3600001; 0 to 3600000 are possible",
            ),
            (SchedulingConfig { hang_factor: 0.5, ..good }, "hang_factor is 0.5; 1 to 1000 are possible"),
            (SchedulingConfig { hang_factor: f64::NAN, ..good }, "hang_factor is NaN; 1 to 1000 are possible"),
            (SchedulingConfig { hang_ms_min: 0, ..good }, "hang_ms_min is 0; 1 to 86400000 are possible"),
        ];
        for (config, message) in rows {
            assert_eq!(config.validate().unwrap_err().to_string(), message);
        }
    }
}
