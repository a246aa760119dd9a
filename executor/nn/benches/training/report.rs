//! What was measured, for people and for scripts.
//!
//! Fractions of the peak are of medians, both by CPU time.

use broadsweep_nn::Plan;

use super::network::Network;
use super::passes::{Measured, Passes};

/// Samples a second of the passes of one phase.
struct Rates {
    phase: &'static str,
    rows: usize,
    flops: u64,
    by_wall: Vec<f64>,
    by_cpu: Vec<f64>,
}

/// Some lines for people.
pub(crate) fn print(network: &Network, measured: &Measured) {
    let Plan { parameters, .. } = measured.plan;
    println!("{}, {parameters} parameters", network.name);
    for rates in rates(measured) {
        let each: Vec<String> = rates.by_wall.iter().map(|rate| format!("{rate:.0}")).collect();
        println!("  {}, {} rows a pass, samples/s: {}", rates.phase, rates.rows, each.join(" "));
        let (wall, cpu) = (median(&rates.by_wall), median(&rates.by_cpu));
        println!("    median {wall:.0}, best {:.0}; by CPU time median {cpu:.0}", largest(&rates.by_wall));
        let gflops = cpu * rates.flops as f64 / 1e9;
        let fraction = |peak: &[f64]| 100.0 * gflops / median(peak);
        let peaks =
            measured.peaks.iter().map(|(width, peak)| format!(", {:.1} % of the {width} peak", fraction(peak)));
        println!("    {gflops:.1} GFLOP/s by CPU time{}", peaks.collect::<String>());
    }
    for (width, peak) in &measured.peaks {
        println!("  {width} peak, GFLOP/s: median {:.1}, best {:.1}", median(peak), largest(peak));
    }
    println!();
}

/// An object for each phase, a line each. Rates are in samples a second, a number for each pass.
pub(crate) fn print_json(network: &Network, measured: &Measured) {
    let peaks: Vec<String> =
        measured.peaks.iter().map(|(width, peak)| format!(r#""{}":{}"#, width.key(), list(peak))).collect();
    let peaks = peaks.join(",");
    for Rates { phase, rows, flops, by_wall, by_cpu } in rates(measured) {
        let (wall, cpu) = (list(&by_wall), list(&by_cpu));
        println!(
            r#"{{"engine":"broadsweep","network":"{}","phase":"{phase}","rows":{rows},"flops_a_sample":{flops},"wall":{wall},"cpu":{cpu},"peak_gflops":{{{peaks}}}}}"#,
            network.name
        );
    }
}

fn rates(measured: &Measured) -> [Rates; 2] {
    let rates = |phase, flops, passes: &Passes| Rates {
        phase,
        rows: passes.rows,
        flops,
        by_wall: passes.laps.iter().map(|lap| passes.rows as f64 / lap.wall_s).collect(),
        by_cpu: passes.laps.iter().map(|lap| passes.rows as f64 / lap.cpu_s).collect(),
    };
    [
        rates("training", measured.plan.training_flops, &measured.training),
        rates("evaluation", measured.plan.forward_flops, &measured.evaluation),
    ]
}

/// The names that the networks have, and their FLOPs, are plain, so nothing needs escaping.
fn list(numbers: &[f64]) -> String {
    let written: Vec<String> = numbers.iter().map(|number| format!("{number:.2}")).collect();
    format!("[{}]", written.join(","))
}

fn largest(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(f64::MIN, f64::max)
}

pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}
