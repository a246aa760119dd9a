//! What an attempt of a small program costs, beside the standard library's `Command`: processor time of this process,
//! its supervisor and all children, and wall time.
//!
//! `cargo run --release -p broadsweep-leash --example cost -- /bin/true 500`

#![expect(clippy::print_stdout, reason = "a program that prints what it measured")]

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use broadsweep_leash::{Allowed, Leash, Order};

/// Processor time of this process and of a supervisor, each with the children that they have waited for.
fn cpu(supervisor: Option<u32>) -> Duration {
    let of = |process: &str| -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
        Some(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
    };
    let supervisor = supervisor.and_then(|pid| of(&pid.to_string()));
    let ticks = of("self").unwrap_or(0) + supervisor.unwrap_or(0);
    Duration::from_millis(ticks * 10)
}

fn print(what: &str, attempts: u32, cpu: Duration, wall: Duration) {
    let each = |time: Duration| time.as_secs_f64() * 1e3 / f64::from(attempts);
    println!("{:7.3} ms CPU {:7.3} ms wall  {what}", each(cpu), each(wall));
}

fn main() -> Result<(), Box<dyn Error>> {
    broadsweep_leash::supervise_if_asked();
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().unwrap_or_else(|| "/bin/true".to_owned());
    let attempts: u32 = arguments.next().map_or(Ok(500), |count| count.parse())?;

    let (began, cpu_before) = (Instant::now(), cpu(None));
    for _ in 0..attempts {
        Command::new(&program).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    }
    print("std::process::Command", attempts, cpu(None).saturating_sub(cpu_before), began.elapsed());

    for (namespaces, groups) in [(true, true), (true, false), (false, true), (false, false)] {
        let leash = Leash::new(Allowed { namespaces, groups });
        let isolation = leash.probe()?;
        let mut slot = leash.slot();
        let order = Order { program: program.clone().into(), folder: "/".into(), ..Order::default() };
        slot.start(&order)?.wait(Instant::now() + Duration::from_secs(9), |_| ());
        let (began, cpu_before) = (Instant::now(), cpu(slot.supervisor()));
        for _ in 0..attempts {
            let ended = slot.start(&order)?.wait(Instant::now() + Duration::from_secs(9), |_| ());
            if ended.is_none_or(|ended| !ended.how.is_success()) {
                return Err("it did not end well".into());
            }
        }
        let cpu_after = cpu(slot.supervisor());
        print(&isolation.to_string(), attempts, cpu_after.saturating_sub(cpu_before), began.elapsed());
    }
    Ok(())
}
