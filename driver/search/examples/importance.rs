//! How long it takes to tell which of eight parameters matter, of 10,000 trials unless told otherwise, and what is told.
//!
//!     cargo run --release --package broadsweep-search --example importance -- [TRIALS]

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Instant;

use broadsweep_common::configuration::{Configuration, Value};
use broadsweep_common::seeds::sampler_rng;
use broadsweep_search::importance::importances;
use broadsweep_search::{Domain, Space};

/// Less is better; parameter `x1` matters half as much as `x0`, and so on.
fn loss(configuration: &Configuration) -> f64 {
    let weighted = configuration.iter().enumerate().map(|(place, (_, value))| match value {
        Value::Real(real) => real * libm::exp2(-(place as f64)),
        Value::Integer(_) | Value::Choice(_) | Value::Flag(_) => 0.0,
    });
    weighted.sum()
}

fn main() -> io::Result<()> {
    let trials = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(10_000);
    let domain = Domain::Reals { min: 0.0, max: 1.0, log: false, count: None };
    let space: Space = (0..8).map(|place| (format!("x{place}"), domain.clone())).collect();
    let draw = |number| {
        let mut rng = sampler_rng(1, number);
        space.iter().map(|(name, domain)| (Arc::from(name.as_str()), domain.draw(&mut rng))).collect()
    };
    let configurations: Vec<Configuration> = (0..trials).map(draw).collect();
    let rated: Vec<_> = configurations.iter().map(|configuration| (configuration, loss(configuration))).collect();
    let started = Instant::now();
    let found = importances(&space, &rated, 0.1, 1);
    let seconds = started.elapsed().as_secs_f64();
    let mut out = io::stdout().lock();
    writeln!(out, "{trials} trials, {seconds:.4} s")?;
    for one in found.unwrap_or_default() {
        let [low, high] = one.interval;
        writeln!(out, "{} {:.3} ({low:.3} to {high:.3})", one.name, one.share)?;
    }
    Ok(())
}
