//! How often a task is tried again, and after what wait: a written form and a checked form.

use std::time::Duration;

use serde::Deserialize;

/// No wait between two attempts is longer, however often it doubled.
const BACKOFF_MAX_MS: u64 = 60_000;

/// More tries than this at one task are a slip of the pen.
const TRIES_MAX: u32 = 100;

/// The written form.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// Failures of the program itself before a task is given up: 1 to 100.
    pub failures_max: u32,
    /// Executors a task may lose before it is given up, 1 to 100: a task that kills its host stops here.
    pub losses_max: u32,
    /// Wait after the first failure; doubles at each further one, up to a minute. At most 60,000.
    pub backoff_ms: u64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { failures_max: 4, losses_max: 3, backoff_ms: 1000 }
    }
}

/// A value of [`RetryConfig`] that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A count of tries that is none at all, or absurd.
    #[error("{name} is {value}; 1 to {max} are possible", max = TRIES_MAX)]
    Tries {
        /// The field.
        name: &'static str,
        /// What it says.
        value: u32,
    },
    /// A first wait above the longest.
    #[error("backoff_ms is {0}; the longest wait is {max} ms", max = BACKOFF_MAX_MS)]
    Backoff(u64),
}

impl RetryConfig {
    /// Checks every value once, at start-up; the scheduler accepts only a [`RetryPolicy`].
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is out of its range.
    pub fn validate(&self) -> Result<RetryPolicy, ConfigError> {
        for (name, value) in [("failures_max", self.failures_max), ("losses_max", self.losses_max)] {
            if !(1..=TRIES_MAX).contains(&value) {
                return Err(ConfigError::Tries { name, value });
            }
        }
        if self.backoff_ms > BACKOFF_MAX_MS {
            return Err(ConfigError::Backoff(self.backoff_ms));
        }
        Ok(RetryPolicy { failures_max: self.failures_max, losses_max: self.losses_max, backoff_ms: self.backoff_ms })
    }
}

/// The checked form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    pub(super) failures_max: u32,
    pub(super) losses_max: u32,
    backoff_ms: u64,
}

impl RetryPolicy {
    /// The wait before the attempt that follows failure number `failures` (from 1).
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1);
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        Duration::from_millis(self.backoff_ms.saturating_mul(factor).min(BACKOFF_MAX_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_the_wait_doubles_up_to_a_minute() {
        let policy = RetryConfig::default().validate().unwrap();
        let waits_s: Vec<u64> = (1..=8).map(|failures| policy.backoff(failures).as_secs()).collect();
        assert_eq!(waits_s, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.backoff(u32::MAX), Duration::from_mins(1));
    }

    #[test]
    fn each_value_out_of_range_is_named() {
        let rows = [
            ("no try at all", RetryConfig { failures_max: 0, ..RetryConfig::default() }, "failures_max is 0"),
            ("too many tries", RetryConfig { failures_max: 101, ..RetryConfig::default() }, "failures_max is 101"),
            ("no loss bearable", RetryConfig { losses_max: 0, ..RetryConfig::default() }, "losses_max is 0"),
            ("too long a wait", RetryConfig { backoff_ms: 60_001, ..RetryConfig::default() }, "backoff_ms is 60001"),
        ];
        for (name, config, message) in rows {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(message), "{name}: {error}");
        }
    }
}
