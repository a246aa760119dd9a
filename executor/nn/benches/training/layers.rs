//! Each layer of a network alone, forward and backward, over and over on one batch: the kernels one by one.
//!
//! Its batch stays in the cache, where a training's has been through the other layers meanwhile. FLOPs are those of the
//! products; what else a layer does (activation, pool, the step of its weights) takes time, and counts for nothing.

use anyhow::Result;
use broadsweep_common::dataset::TargetKind;
use broadsweep_nn::{self as nn, Kernel, Piece, Workbench};

use super::clock::Start;
use super::network::Network;
use super::passes::training;
use super::peak::Width;
use super::report::median;

/// One direction through one layer.
struct Timed {
    /// Seconds of CPU time a batch, of each pass.
    batch_s: Vec<f64>,
    /// GFLOP/s of the peak beside it, of each pass and width.
    peaks: Vec<(Width, Vec<f64>)>,
}

/// A table for people.
pub(crate) fn print(network: &Network, kernel: Kernel, passes: u32, seconds: f64) -> Result<()> {
    let plan = nn::plan(&network.model, &network.input, TargetKind::Classes { count: network.classes })?;
    let mut bench = Workbench::new(&network.model, &plan, &training(network, 1), kernel);
    let pieces = bench.pieces();
    let mut rows = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        rows.push((piece, "forward", piece.flops[0], time(|| bench.forward(number), passes, seconds)));
        if piece.is_trained {
            rows.push((piece, "backward", piece.flops[1], time(|| bench.backward(number), passes, seconds)));
        }
    }
    let all: f64 = rows.iter().map(|(.., timed)| median(&timed.batch_s)).sum();
    println!("{}, kernel {kernel}: {:.0} rows a second of CPU time, if these layers were all", network.name, {
        network.batch as f64 / all
    });
    for (Piece { kind, values: [before, behind], .. }, way, flops, Timed { batch_s, peaks }) in &rows {
        let batch_s = median(batch_s);
        print!("  {kind:<12} {before:>6} to {behind:>6} {way:<8} {:6.1} % of the time", 100.0 * batch_s / all);
        if *flops > 0 {
            let gflops = *flops as f64 / batch_s / 1e9;
            print!(" {gflops:7.1} GFLOP/s");
            for (width, peak) in peaks {
                print!(", {:.0} % of the {width} peak", 100.0 * gflops / median(peak));
            }
        }
        println!();
    }
    println!();
    Ok(())
}

/// Passes of about `seconds` together, each with a burst of the peak before it.
fn time(mut batch: impl FnMut(), passes: u32, seconds: f64) -> Timed {
    let start = Start::now();
    batch();
    let rounds = (seconds / f64::from(passes) / start.elapsed().wall_s).ceil().clamp(1.0, 1e7) as u32;
    let mut peaks: Vec<_> = Width::detected().into_iter().map(|width| (width, Vec::new())).collect();
    let batch_s = (0..passes).map(|_| {
        for (width, bursts) in &mut peaks {
            bursts.push(width.burst());
        }
        let start = Start::now();
        (0..rounds).for_each(|_| batch());
        start.elapsed().cpu_s / f64::from(rounds)
    });
    Timed { batch_s: batch_s.collect(), peaks }
}
